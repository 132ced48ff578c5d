"""Work trees in which git's hooks really run: real git, and the `dvlite` program on PATH, as a person would have it."""

import os
import subprocess

from tests import hints
from tests.commands.project import Project
from tests.copies import first_commit


class Hooked(Project):
    """One work tree; `does` and `refuses` run git and return what it and its hooks said on standard error."""

    def does(self, *args, cwd=".", **env):
        return self._git(args, cwd, env, fails=False)

    def refuses(self, *args, cwd=".", **env):
        return self._git(args, cwd, env, fails=True)

    def _git(self, args, cwd, env, *, fails):
        done = subprocess.run(
            ["git", *map(str, args)],
            cwd=self.root / cwd,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert bool(done.returncode) == fails, f"git {args} left with {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        if hints.REPORT:
            hints.walk(["git", *map(str, args)], self.root / cwd, "", done.stderr)
        return done.stderr

    @property
    def hooks(self):
        return self.root / ".git" / "hooks"

    @property
    def head(self):
        return self.git("rev-parse", "HEAD").strip()

    def listing(self, path="data"):
        folder = self.root / path
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())

    def save(self, message="Change"):
        """Takes in what changed and commits everything."""
        self.dvlite("add", "-u", "-q")
        self.does("add", "-A")
        return self.does("commit", "-qm", message)


def with_hooks(folder, invoke):
    """Makes a folder a repository with dvlite and its hooks, committed; `dvlite` is on PATH."""
    first_commit(folder)
    made = Hooked(folder, invoke)
    made.dvlite("init")
    made.commit("Use dvlite")


def said(stderr):
    """Returns what dvlite said, without `dvlite: `."""
    return [line.removeprefix("dvlite: ") for line in stderr.splitlines() if line.startswith("dvlite: ")]
