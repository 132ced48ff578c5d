"""The pipeline in a clean clone: what a stage would run with, one run of it, and the outputs of that run. Stores nothing.

Outputs are hashed in place; those in git are moved aside before the first run, so that they can be compared.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import DvliteError
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.pipeline import graph as graphs
from dvlite.pipeline.content import Contents
from dvlite.pipeline.environment import Surroundings
from dvlite.pipeline.executor import Command, Ended, tail_of
from dvlite.pipeline.params import Params
from dvlite.pipeline.process import Processes
from dvlite.pipeline.stages import Stage, StageOut, load
from dvlite.pipeline.staleness import Evaluator, of_stages, read_locks
from dvlite.progress import Progress
from dvlite.repo.tracked_paths import Tracked
from dvlite.rerun.clean_clone import CleanClone
from dvlite.rerun.datums import rerun_datums
from dvlite.store.cache import Cache
from dvlite.workspace import sparse
from dvlite.workspace.workspace import Workspace

# Created beside code by interpreters and tools, and not ignored in many repositories.
_BYPRODUCTS = frozenset(("__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".DS_Store"))


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One run of a stage: how it ended, the end of its log, and its outputs by path."""

    ended: Ended
    log_tail: tuple[str, ...]
    outputs: Mapping[str, Locked]
    problem: str | None = None  # why its outputs cannot be read

    @property
    def failure(self) -> str | None:
        """Returns why the run does not count, or None."""
        if self.ended.exit_code == 0:
            return self.problem
        return self.ended.problem

    def is_same(self, other: RunOutcome) -> bool:
        """Returns whether another run produced the same outputs, byte for byte."""
        return _versions(self.outputs) == _versions(other.outputs)


class Sandbox:
    """One clean clone with its pipeline. Raises FormatError for a pipeline that cannot be run."""

    def __init__(self, clone: CleanClone, cache: Cache, progress: Progress) -> None:
        self.clone, self.repo, self._progress = clone, clone.repo, progress
        loaded = load(self.repo.work_tree)
        if loaded.broken:
            raise loaded.broken[0]
        self.graph = graphs.build(loaded.stages)
        self.locks = read_locks(self.repo.work_tree, loaded.stages)
        self.tracked: list[Tracked] = of_stages(self.repo.work_tree.tracked(), loaded.stages)
        self.work = Workspace(self.repo, cache, progress)
        self.contents = Contents(self.work, self.tracked, fetches=False)
        self.surroundings = Surroundings(self.repo, clone.environ, progress, loaded.stages)
        self._params = Params(self.repo.work_tree.read)
        self.evaluator = Evaluator(self.contents, self._params, self.surroundings, self.locks)
        self.kept: dict[str, Path] = {}  # outputs that git keeps, as they were checked out
        outs = [out.path for stage in self.graph.stages for out in stage.outs]
        self._declared = sparse.selector([*outs, *(item.path for item in self.tracked), "dvlite.lock"])
        self._logs = clone.aside / "logs"
        self._undeclared: set[str] = set()  # files that no stage declares, as reported so far
        self._changed: set[str] = set()  # files in git, as reported so far

    # -- before a run

    def locked_outputs(self, stage: Stage) -> dict[str, Locked]:
        """Returns the outputs of a stage in the lockfile, by path in the repository."""
        return {out.path: out for out in stage.placed_outs(self.evaluator.locked_stage(stage))}

    def entry_now(self, stage: Stage, locked: LockedStage | None) -> LockedStage:
        """Returns what a stage would run with now, with everything read again. Raises DvliteError for a missing dependency or parameter."""
        self.contents.forget([path for place in stage.deps for path in self.contents.matches(place.path)])
        self.contents.forget([place.spec.fixed for place in stage.over])
        self._params.forget()
        return self.evaluator.entry_now(stage, locked)

    def clear_outputs(self, stage: Stage) -> None:
        """Removes the outputs of a stage and creates the folders that hold them."""
        locked = self.locked_outputs(stage)
        for out in stage.outs:
            for path in self.contents.matches(out.path):
                place = self.repo.root / path
                place.parent.mkdir(parents=True, exist_ok=True)
                if path in locked and path not in self.kept and not locked[path].cache and self.contents.has(path):
                    kept = self.clone.aside / "kept" / str(len(self.kept)) / place.name
                    kept.parent.mkdir(parents=True)
                    os.rename(place, kept)
                    self.kept[path] = kept
                self.remove(path)

    def remove(self, path: str) -> None:
        """Removes a file or folder of the clone, if it exists."""
        place = self.repo.root / path
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            with contextlib.suppress(FileNotFoundError):
                place.unlink()
        self.contents.forget([path])

    # -- a run

    def run(self, stage: Stage, now: LockedStage, variables: Mapping[str, str], words: str) -> RunOutcome:
        """Runs the command of a stage, whose outputs are removed. Raises KeyboardInterrupt after it and its child processes have stopped."""
        show = self._progress.print_line
        command = self.surroundings.command(stage, now.key, self._log(stage.name), show, variables)
        show(f"running {words}: {command.title}")
        try:
            if stage.spec.map is not None:
                ended, tail = rerun_datums(self, stage, now, self.clone.aside / "datums", self._progress)
            else:
                ended, tail = _ended(command)
            return RunOutcome(ended, tail, self._outputs(stage) if ended.problem is None else {})
        except DvliteError as error:
            return RunOutcome(Ended(stage.address, 0, None), (), {}, error.message)

    def script(self, stage: Stage, text: str, arguments: Sequence[Path]) -> tuple[Ended, tuple[str, ...]]:
        """Runs a script in the folder and environment of a stage, with arguments `$1` ...; returns how it ended and the end of its output."""
        names = [f"DVLITE_ARGUMENT_{number}" for number in range(1, len(arguments) + 1)]
        values = dict(zip(names, map(os.fspath, arguments), strict=True))
        environ = {**self.surroundings.environ_of(stage), **values}
        given = " ".join(f'"${name}"' for name in names)
        script, folder = f"set -- {given}\n{text}", self.repo.root / stage.wdir
        return _ended(Command(stage.address, script, folder, environ, self._log("compare"), lambda _: None))

    def _log(self, name: str) -> Path:
        self._logs.mkdir(exist_ok=True)
        return self._logs / f"{name}-{time.time_ns()}"

    # -- after a run

    def _outputs(self, stage: Stage) -> dict[str, Locked]:
        self.contents.forget([out.path for out in stage.outs])
        outputs: dict[str, Locked] = {}
        for path in (path for out in stage.outs for path in self.contents.matches(out.path)):
            self.contents.forget([path])
            output = self.contents.here(path)
            if output is not None:
                outputs[path] = output
        return outputs

    def undeclared(self) -> tuple[list[str], list[str]]:
        """Returns the new files that no stage declares and the changed files in git, each once."""
        new, changed = list[str](), list[str]()
        for path, is_in_git in self.repo.git.changes():
            if self._declared(os.fsencode(path)) or not _BYPRODUCTS.isdisjoint(path.split("/")):
                continue
            (changed if is_in_git else new).append(path)
        fresh = [path for path in new if path not in self._undeclared]
        edited = [path for path in changed if path not in self._changed]
        self._undeclared.update(fresh)
        self._changed.update(edited)
        return fresh, edited

    def tidy(self, ran: Iterable[Stage]) -> None:
        """Removes what stages created, declared or not, and restores the files in git: the next stage has its declared inputs only."""
        for stage in ran:
            self.clear_outputs(stage)
        self.repo.git.run("checkout", "--quiet", "--force", "HEAD", "--", ".")
        for path in self._undeclared:
            self.remove(path)
        self.contents.forget([""])


def declared_out(stage: Stage, path: str) -> StageOut | None:
    """Returns the output of a stage that a path belongs to."""
    for out in stage.outs:
        if out.path == path or (sparse.is_glob(out.path) and sparse.selector([out.path])(os.fsencode(path))):
            return out
    return None


def _versions(outputs: Mapping[str, Locked]) -> dict[str, tuple[str, bool]]:
    return {path: (output.oid, output.executable) for path, output in outputs.items()}


def _ended(command: Command) -> tuple[Ended, tuple[str, ...]]:
    """Runs a command to its end; returns how it ended and the end of its output."""
    executor = Processes()
    try:
        executor.start(command)
        ended = executor.wait()[0]
    finally:
        executor.stop()
    tail = tail_of(command.log)
    command.log.unlink()
    return ended, tail
