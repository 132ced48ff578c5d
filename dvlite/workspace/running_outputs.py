"""The outputs that a running `repro` has moved away and is producing, so that no other command restores the old ones.

A note beside the lock of pipeline runs; it counts only while that lock is held, so that a killed run leaves nothing to clear up.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from dvlite import files
from dvlite.errors import Busy, DvliteError, UsageError
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import quote
from dvlite.workspace import sparse

LOCK = "repro.lock"
_NOTE = "making"


@contextlib.contextmanager
def hold(repo: Repo, environ: Mapping[str, str], progress: Progress) -> Iterator[int]:
    """Holds the lock of pipeline runs, and yields its descriptor; warns of what it waits for.

    Raises UsageError in a stage's own command, which would wait for the run that it is part of, and Busy if nothing waits.
    """
    repo.state_dir.mkdir(parents=True, exist_ok=True)

    def waiting(sentence: str) -> None:
        if environ.get("DVLITE_REPRO") == os.fspath(repo.state_dir):
            stage = environ.get("DVLITE_STAGE", "")
            raise UsageError(
                f"the stage {quote(stage)} runs this command, which would wait for the run that {quote(stage)} is part of",
                hint=f"take it out of the cmd of {stage}; to run another stage before it, make an output of that one a dependency",
            )
        progress.warn(sentence.replace("command", "repro", 1))

    with files.lock(repo.state_dir / LOCK, wait=repo.waits, waiting=waiting) as descriptor:
        yield descriptor


def note(repo: Repo, paths: Sequence[str]) -> None:
    """Says what is being made, patterns included; for the run that holds the lock."""
    files.write_atomic(repo.state_dir / _NOTE, os.fsencode("\0".join(paths)), sync=False)


def outputs(repo: Repo) -> tuple[str, ...]:
    """Returns what a run here is making now, nothing if none runs."""
    text = os.fsdecode(files.read_own(repo.state_dir / _NOTE) or b"")
    if not text:
        return ()
    with contextlib.suppress(Busy, DvliteError), files.lock(repo.state_dir / LOCK, shared=True, wait=False):
        return ()
    return tuple(text.split("\0"))


def skip_running_outputs(repo: Repo, warn: Callable[[str], None]) -> Callable[[str], bool]:
    """Returns a test for tracked paths that are to be left alone, which warns of each one that is."""
    patterns = outputs(repo)
    chosen = sparse.selector(patterns) if patterns else None

    def is_being_made(path: str) -> bool:
        if chosen is None or not chosen(os.fsencode(path)):
            return False
        warn(f"{quote(repo.display(path))} is being made by a running dvlite repro; it is left alone")
        return True

    return is_being_made
