"""What names data at one revision, parsed: pointers, lockfiles, pipeline files. A file that cannot be read is a finding; the rest is checked."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dvlite.errors import DvliteError, FormatError
from dvlite.formats import lockfile, pointer
from dvlite.formats.lockfile import LockedStage, Lockfile
from dvlite.formats.pointer import SUFFIX
from dvlite.git.output import is_lockfile, is_pipeline_file, is_pointer
from dvlite.pipeline import stages
from dvlite.pipeline.graph import StageGraph, build
from dvlite.pipeline.stages import Stage
from dvlite.repo import tracked_paths
from dvlite.repo.revisions import Revision
from dvlite.repo.tracked_paths import Tracked, Unusable
from dvlite.show import some, value_text, word
from dvlite.verify.findings import Finding
from dvlite.verify.fix_commands import Restoring

T = TypeVar("T")


class Lock:
    """One lockfile, and the lines of its fields."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self._data = data
        self.content: Lockfile = lockfile.parse(data, file)
        self.outputs: Sequence[Tracked] = tracked_paths.read_lockfile(file, data, file)  # the cached ones
        self.by_name = {entry.name: entry for entry in self.content.stages}
        self._lines: Sequence[str] | None = None

    def line(self, entry: LockedStage, name: str, item: str | None = None) -> int:
        """Returns the line of a field of an entry, or of an item in it."""
        if self._lines is None:
            self._lines = self._data.decode("utf-8", "surrogateescape").split("\n")
        return lockfile.line_of(self._lines, entry, name, item)


@dataclass(frozen=True, slots=True)
class TrackedFiles:
    """What one revision names. `pointers` have a file of their own; `broken` are files that cannot be read."""

    pointers: tuple[Tracked, ...]
    locks: Mapping[str, Lock]
    stages: tuple[Stage, ...]
    checks: tuple[Stage, ...]
    pipelines: frozenset[str]  # pipeline files that can be read
    broken: frozenset[str]
    graph: StageGraph | None
    findings: tuple[Finding, ...]

    @property
    def tracked(self) -> int:
        """How many paths are tracked, cached outputs included."""
        return len(self.pointers) + sum(len(lock.outputs) for lock in self.locks.values())


@dataclass(slots=True)
class Memo:
    """What files said, by path and blob: of many commits, each version of a file is read once in a row."""

    _known: dict[str, tuple[Any, dict[str, str | None]]] = field(default_factory=dict)

    def parsed(self, at: Revision, path: str, parse: Callable[[], T]) -> T:
        """Returns what `parse` returns, or raises what it raises; remembered by the blobs of the file and of those that it takes values from."""
        known = self._known.get(path)
        if known is None or at.blob(path) is None or any(at.blob(file) != blob for file, blob in known[1].items()):
            parsed = parse()
            values = parsed[0].values if isinstance(parsed, list) and parsed else ()
            self._known[path] = known = (parsed, {file: at.blob(file) for file in (path, *values)})
        found: T = known[0]
        return found


def read(at: Revision, memo: Memo, restoring: Restoring) -> TrackedFiles:
    """Reads everything that names data."""
    return _Parser(at, memo, restoring).named()


def as_format_error(error: DvliteError) -> FormatError:
    """Returns an error with the fields of those about the content of files; of one of another kind nothing is known but its message."""
    return error if isinstance(error, FormatError) else FormatError(error.message, hint=error.hint)


def correction(file: str, error: FormatError) -> str:
    """Returns what to do about a file that only its author can correct; a hint that says no more than that is left out."""
    where = word(file) if error.line is None else f"line {error.line} of {word(file)}"
    hint = error.hint if error.kind == "other" else None
    return f"correct {where}" + (f" ({hint.replace(chr(10), '; ')})" if hint is not None else "")


def finding_of(error: DvliteError, kind: str, what: str, file: str, restored: str | None = None) -> Finding:
    """Returns the finding for a file that cannot be used; `restored` is the command that brings back a version that can be."""
    known = as_format_error(error)
    conflict = known.kind == "conflict"
    return Finding(
        kind="merge-conflict" if conflict else kind,
        message=f"{what} has an unresolved merge conflict" if conflict else f"{what} cannot be used: {known.reason}",
        file=file,
        line=known.line or 1,
        fix=f"dvlite resolve {word(file)}" if conflict and is_pointer(file) else restored or correction(file, known),
    )


def _is_well_formed(file: str, data: bytes) -> bool:
    try:
        (tracked_paths.read_lockfile if is_lockfile(file) else tracked_paths.read_pointer)(file, data, file)
    except DvliteError:
        return False
    return True


class _Parser:
    def __init__(self, at: Revision, memo: Memo, restoring: Restoring) -> None:
        self._at, self._memo, self._restoring = at, memo, restoring
        self._findings: list[Finding] = []
        self._broken: set[str] = set()
        self._locks: dict[str, Lock] = {}

    def named(self) -> TrackedFiles:
        at = self._at
        pointers = [
            item
            for name in at.pointers()
            if (item := self._try(name, "pointer-malformed", "the pointer", self._pointer)) is not None
        ]
        for name in at.lockfiles(as_seen=True):
            lock = self._try(name, "lockfile-malformed", "the lockfile", self._lock)
            if lock is not None:
                self._locks[name] = lock
        loaded: list[Stage] = []
        checks: list[Stage] = []
        pipelines: set[str] = set()
        for name in at.pipeline_files(as_seen=True):
            read = self._try(name, "pipeline-malformed", "the pipeline file", self._stages)
            if read is not None:
                loaded += (stage for stage in read if stage.spec.check is None)
                checks += (stage for stage in read if stage.spec.check is not None)
                pipelines.add(name)
        graph = None
        try:
            graph = build(loaded)
        except DvliteError as error:
            self._refuse_graph(error)
        self._refuse_overlaps(pointers)
        return TrackedFiles(
            tuple(pointers),
            self._locks,
            tuple(graph.stages if graph is not None else loaded),
            tuple(checks),
            frozenset(pipelines),
            frozenset(self._broken),
            graph,
            tuple(self._findings),
        )

    def _stages(self, name: str) -> list[Stage] | None:
        return stages.stages_of(self._at, name)

    def _pointer(self, name: str) -> Tracked | None:
        data = self._at.read(name, pointer.LIMIT_BYTES)
        return None if data is None else tracked_paths.read_pointer(name, data, name)

    def _lock(self, name: str) -> Lock | None:
        data = self._at.read(name, lockfile.LIMIT_BYTES)
        return None if data is None else Lock(name, data)

    def _try(self, name: str, kind: str, what: str, parse: Callable[[str], T | None]) -> T | None:
        try:
            return self._memo.parsed(self._at, name, lambda: parse(name))
        except DvliteError as error:
            self._broken.add(name)
            restored = None
            if not is_pipeline_file(name) and as_format_error(error).kind == "malformed":
                restored = self._restoring.command(self._at, name, lambda data: _is_well_formed(name, data))
            self._findings.append(finding_of(error, kind, what, name, restored))
            return None

    def _refuse_graph(self, error: DvliteError) -> None:
        file, what = as_format_error(error).file or "dvlite.yaml", "the pipeline file"
        self._findings.append(finding_of(error, "pipeline-malformed", what, file))

    def _refuse_overlaps(self, pointers: list[Tracked]) -> None:
        data = [*pointers, *(item for lock in self._locks.values() for item in lock.outputs)]
        by_file = {(item.lockfile, item.path): item for item in data if item.lockfile}

        def refuse(error: Unusable) -> None:
            item = by_file.get((error.file, error.path))
            fix = f"git rm --cached {word(error.file)}" if item is None else f"edit {word(error.file)}"
            self._overlap(error.file, item, error.reason, fix)

        tracked_paths.without_overlap(data, refuse)
        for item in data:
            names = [name for name in self._at.in_git(item.path) if self._is_held_twice(name, item.path)]
            if names:
                self._in_git_too(item, names)

    def _is_held_twice(self, name: str, path: str) -> bool:
        """Returns whether a file that git has belongs to data too: `.dvliteignore` may leave it to git."""
        return not (is_pointer(name) or is_pipeline_file(name) or self._at.ignore_rules.leaves_out(name, path))

    def _in_git_too(self, item: Tracked, names: Sequence[str]) -> None:
        file = item.lockfile or item.path + SUFFIX
        where = "" if names[0] == item.path else f" and inside {value_text(item.path)}"
        message = f"{some([value_text(name) for name in names], 1)} is in git{where}, which {file} tracks"
        self._overlap(file, item, message, f"git rm -r -q --cached {word(names[0] if len(names) == 1 else item.path)}")

    def _overlap(self, file: str, item: Tracked | None, message: str, fix: str) -> None:
        line = 1
        if item is not None and item.lockfile:
            entry = self._locks[file].by_name[item.stage.rpartition(":")[2]]
            local = posixpath.relpath(item.path, posixpath.dirname(file) or ".")
            line = self._locks[file].line(entry, "outs", local)
        path = file.removesuffix(SUFFIX) if item is None else item.path
        self._findings.append(Finding(kind="overlap", message=message, file=file, line=line, path=path, fix=fix))
