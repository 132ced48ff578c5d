"""Repositories as DVC 3 leaves them, written by hand: its files in git, its cache in `.dvc/cache`."""

import hashlib
import json


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class DvcRepository:
    """The files of DVC in a project; `store` is the folder of its cache, or of a remote."""

    def __init__(self, project, store=".dvc/cache"):
        self.project, self.store = project, store
        remote = b"[core]\n    remote = far\n['remote \"far\"']\n    url = ../../far\n"
        project.write(".dvc/config", b"" if store == ".dvc/cache" else remote)
        project.write(".dvc/.gitignore", b"/config.local\n/tmp\n/cache\n")

    def put(self, data, suffix="", *, name=None):
        """Stores bytes and returns what DVC calls them."""
        name = (name or md5(data)) + suffix
        self.project.write(f"{self.store}/files/md5/{name[:2]}/{name[2:]}", data)
        return name

    def folder(self, contents):
        """Stores the files of a directory and returns the name of its listing."""
        rows = [{"md5": self.put(data), "relpath": path} for path, data in sorted(contents.items())]
        return self.put(json.dumps(rows).encode(), ".dir")

    def track(self, path, name, more=""):
        """Writes the file that names a version."""
        base = path.rpartition("/")[2]
        self.project.write(f"{path}.dvc", f"outs:\n- md5: {name}\n  hash: md5\n  path: {base}\n{more}".encode())
