"""The `repro` that runs here: its process and stages, and the outputs that it has moved away, so that no other command restores the old ones.

A note beside the lock of pipeline runs; it counts only while that lock is held, so that a killed run leaves nothing to clear up.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from dvlite import files
from dvlite.errors import Busy, DvliteError, UsageError
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import quote
from dvlite.workspace import sparse

LOCK = "repro.lock"
_NOTE = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStage:
    """A stage whose command runs now, or is about to."""

    stage: str
    seconds: float  # since it began
    outs: tuple[str, ...] = ()  # that it makes, patterns included
    series: tuple[str, ...] = field(default=(), metadata={"json": False})  # those of them with metrics over steps


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRepro:
    """A `repro` or `commit` that runs in this worktree now; `stages` is empty while it looks at files."""

    pid: int | None  # None: the system does not say
    process: str = ""  # its number and command line; of a killed one, what it left running
    stages: tuple[RunningStage, ...] = ()


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
        (repo.state_dir / _NOTE).unlink(missing_ok=True)  # of a killed run
        yield descriptor


def note(repo: Repo, stages: Mapping[str, tuple[int, list[str], list[str]]]) -> None:
    """Writes which stages run, since when (in ns), what they make, patterns included, and which of it are series; for the run that holds the lock."""
    files.write_atomic(repo.state_dir / _NOTE, json.dumps(stages).encode(), sync=False)


def running(repo: Repo) -> RunningRepro | None:
    """Returns the run that goes on here, None if there is none."""
    lock = repo.state_dir / LOCK
    if not lock.exists():
        return None
    try:
        with files.lock(lock, shared=True, wait=False):
            return None
    except Busy:
        with open(lock, "rb", opener=files.open_without_waiting) as held:
            pid, process = files.lock_holder(held.fileno())
    except (DvliteError, OSError):
        return None
    return RunningRepro(pid=pid or None, process=process, stages=noted(repo))


def noted(repo: Repo) -> tuple[RunningStage, ...]:
    """Returns the stages that the note of a work tree has; they run only if its run does."""
    stages: dict[str, tuple[int, list[str], list[str]]] = {}
    with contextlib.suppress(ValueError):  # torn by a power cut
        stages = json.loads(files.read_own(repo.state_dir / _NOTE) or "{}")
    now_ns = time.time_ns()
    return tuple(
        RunningStage(stage=stage, seconds=(now_ns - began_ns) / 1e9, outs=tuple(outs), series=tuple(series))
        for stage, (began_ns, outs, series) in stages.items()
    )


def skip_running_outputs(repo: Repo, warn: Callable[[str], None]) -> Callable[[str], bool]:
    """Returns a test for tracked paths that are to be left alone, which warns of each one that is."""
    now = running(repo)
    patterns = [path for stage in now.stages for path in stage.outs] if now is not None else []
    chosen = sparse.selector(patterns) if patterns else None

    def is_being_made(path: str) -> bool:
        if chosen is None or not chosen(os.fsencode(path)):
            return False
        warn(f"{quote(repo.display(path))} is being made by a running dvlite repro; it is left alone")
        return True

    return is_being_made
