"""The command that restores a file that cannot be used: from git's index, the last commit, or an earlier one; none if none would help.

Only the work tree's version of that file is lost by it. Knows no format: the caller says which content can be used.
"""

from __future__ import annotations

from collections.abc import Callable

from dvlite.git.output import split
from dvlite.git.program import Git
from dvlite.repo.revisions import Revision
from dvlite.show import word

LIMIT_BYTES = 64 << 20
_MOST_VERSIONS = 20  # of the history of a file
IsGood = Callable[[bytes], bool]  # of the content of a file


class Restoring:
    """Looks for versions of files, of one repository. Of many commits with the same file, it looks once."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._known: dict[tuple[str, str], str | None] = {}
        self._recent: dict[str, tuple[bytes | None, bytes | None]] = {}  # committed, staged

    def command(self, at: Revision, file: str, is_good: IsGood) -> str | None:
        """Returns the command that brings back the last version that can be used, or None."""
        blob = at.blob(file)
        if at.commit is None or blob is None:
            return self.recent(file, is_good) or self._earlier("HEAD", file, is_good)
        if (file, blob) not in self._known:
            is_settled = self._is_good("HEAD", file, is_good)  # and nothing can be done about the commits before it
            self._known[file, blob] = None if is_settled else self._earlier(at.commit, file, is_good)
        return self._known[file, blob]

    def recent(self, file: str, is_good: IsGood) -> str | None:
        """Returns the command that gives up what the work tree has of a file: what is staged or committed can be used; else None."""
        if self._git.head() is None:
            return None
        if file not in self._recent:
            self._recent[file] = self._read("HEAD", file), self._read(":0", file)
        committed, staged = self._recent[file]
        if staged is not None and staged != committed and is_good(staged):
            return f"git checkout -- {word(file)}"
        if committed is not None and is_good(committed):
            return f"git checkout HEAD -- {word(file)}"
        return None

    def _earlier(self, commit: str, file: str, is_good: IsGood) -> str | None:
        options = ("-z", f"--max-count={_MOST_VERSIONS}", "--format=%h")
        commits = split(self._git.run("log", *options, commit, "--", f":(literal){file}", check=False))
        good = next((commit for commit in commits if self._is_good(commit, file, is_good)), None)
        return None if good is None else f"git checkout {good} -- {word(file)}"

    def _is_good(self, revision: str, file: str, is_good: IsGood) -> bool:
        data = self._read(revision, file)
        return data is not None and is_good(data)

    def _read(self, revision: str, file: str) -> bytes | None:
        """Returns a file of a commit, or of the index (`:0`)."""
        name = f"{revision}:{file}"
        size = self._git.run("cat-file", "-s", name, check=False).strip()
        fits = bool(size) and int(size) <= LIMIT_BYTES
        return self._git.run("cat-file", "blob", name, check=False) if fits else None
