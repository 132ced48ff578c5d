"""A repository to run commands in, as a person would: files, git, and the dvlite command line in this process."""

import json
import os
import subprocess
from pathlib import Path


class Project:
    """One work tree. `dvlite` and `git` run in it and fail the test unless they succeed, or leave with the code that is given (None: any)."""

    def __init__(self, root, invoke):
        self.root = Path(root)
        self._invoke = invoke

    def dvlite(self, *args, code=0, cwd="."):
        done = self._invoke(*args, cwd=self.root / cwd)
        assert code in (None, done.returncode), f"dvlite {args} left with {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *args, code=0, cwd="."):
        return json.loads(self.dvlite("--json", *args, code=code, cwd=cwd).stdout)

    def git(self, *args):
        return subprocess.run(["git", *args], cwd=self.root, check=True, capture_output=True, text=True).stdout

    def commit(self, message="Change"):
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def write(self, path, data):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())
        return target

    def read(self, path):
        return (self.root / path).read_bytes()

    def has(self, path):
        return os.path.lexists(self.root / path)

    def tracked(self):
        return [entry["path"] for entry in self.json("ls")["entries"]]

    def is_clean(self):
        """Neither git nor dvlite has anything to say."""
        return self.git("status", "--porcelain") == "" and self.json("status")["clean"]

    @property
    def cache(self):
        return self.root / ".git" / "dvlite" / "cache"


def tree(folder):
    """Returns everything below a folder: bytes of files, targets of links, None for folders."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        else:
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100)) if path.is_file() else None
    return found


def fill(project, path="data"):
    """Writes a directory with some of everything, and returns what it holds."""
    project.write(f"{path}/a.txt", "alpha")
    project.write(f"{path}/sub/b.txt", "beta")
    project.write(f"{path}/sub/deep/c.bin", b"\0" * 10)
    project.write(f"{path}/big.bin", os.urandom(300_000))
    project.write(f"{path}/run.sh", "#!/bin/sh\n").chmod(0o755)
    (project.root / path / "empty").mkdir()
    (project.root / path / "link").symlink_to("sub/b.txt")
    return tree(project.root / path)
