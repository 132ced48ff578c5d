"""Repositories as git-lfs leaves them, written by hand: pointers in git, objects in its folder, data in the work tree."""

import hashlib

LINE = "filter=lfs diff=lfs merge=lfs -text"


class LfsRepository:
    """What git-lfs does in a project; no filter of it is set in git's config."""

    def __init__(self, project):
        self.project, self._checked_out = project, {}

    def give(self, *patterns, folder=""):
        """Gives patterns to Git LFS, in front of dvlite's lines."""
        name = f"{folder}.gitattributes"
        before = self.project.read(name).decode() if self.project.has(name) else ""
        self.project.write(name, "".join(f"{pattern} {LINE}\n" for pattern in patterns) + before)

    def track(self, path, data, *, kept=True, checked_out=True, size=None, more=""):
        """Writes a pointer; the object is in the folder if it is `kept`, and in the work tree after `commit` if it is checked out."""
        name = hashlib.sha256(data).hexdigest()
        size = len(data) if size is None else size
        self.project.write(path, f"version https://git-lfs.github.com/spec/v1\n{more}oid sha256:{name}\nsize {size}\n")
        if kept:
            self.project.write(self.object(name), data)
        if checked_out:
            self._checked_out[path] = data
        return name

    def object(self, name):
        return f".git/lfs/objects/{name[:2]}/{name[2:4]}/{name}"

    def commit(self):
        self.project.commit()
        for path, data in self._checked_out.items():
            self.project.write(path, data)
        self._checked_out.clear()
