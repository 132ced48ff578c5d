"""A project with branches that change the same directory, for the tests of merges and of resolve."""

import subprocess

from tests.commands.project import Project, tree


class Merging(Project):
    """A project that merges: `try_git` may fail, and returns what git said."""

    def try_git(self, *args):
        done = subprocess.run(["git", *args], cwd=self.root, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    def branch(self, name, edits, start="main", message=None):
        """Makes a branch with edits of `data` (None: removed), and goes back."""
        self.git("checkout", "-q", "-B", name, start)
        self.dvlite("checkout", "--force")
        self.edit(edits)
        self.git("commit", "-qm", message or f"Edit {name}")
        self.git("checkout", "-q", "main")
        self.dvlite("checkout")

    def edit(self, edits):
        for path, content in edits.items():
            (self.root / "data" / path).unlink(missing_ok=True)
            if content is not None:
                self.write(f"data/{path}", content)
        self.dvlite("add", "data")

    def main(self, edits, message="Edit main"):
        self.edit(edits)
        self.git("commit", "-qm", message)

    def files(self):
        """Returns what `data` has once the workspace follows."""
        self.dvlite("checkout")
        return {name: found[0].decode() for name, found in tree(self.root / "data").items() if found}


BASE = {"a": "1", "b": "1", "c": "1"}
