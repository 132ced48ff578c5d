"""Compares the outputs of a stage in the clean clone with those in the lockfile.

The recorded version is read from git or the cache; from the remote only if the files themselves have to be compared.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite.compare.files import comparator_for, compare_files
from dvlite.compare.outcome import MOST_LINES, Comparison, clipped
from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.comparator import Comparator
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, SYMLINK, Entry
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import digest_bytes, digest_path, format_oid, parse_oid
from dvlite.pipeline.content import same_data
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.stages import Stage
from dvlite.rerun.differences import differences
from dvlite.rerun.sandbox import RunOutcome, Sandbox, declared_out
from dvlite.show import size_text
from dvlite.verify.findings import OutputVerdict

_SHOWN_FILES = 4  # of a folder, with their first difference
_COMMAND_MISSING = (126, 127)  # how a shell says that a program cannot be started
Pairs = list[tuple[Entry | None, Entry | None]]


class Unavailable(Exception):  # not an error: it becomes part of a verdict
    """The recorded version is unavailable, so that nothing can be compared with it."""


@dataclass(frozen=True, slots=True)
class _Folders:
    """The files of a folder that differ, and how; equivalent ones are only counted."""

    changed: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    equivalent: int


class Judge:
    """Compares outputs of one clone with the lockfile."""

    def __init__(self, sandbox: Sandbox, fetcher: Fetcher | None) -> None:
        self._sandbox, self._fetcher = sandbox, fetcher
        self._recorded = sandbox.clone.aside / "recorded"

    def verdicts(self, stage: Stage, rerun: RunOutcome) -> tuple[OutputVerdict, ...]:
        """Returns a verdict for each output that is in the lockfile or was produced by the rerun."""
        locked = self._sandbox.locked_outputs(stage)
        return tuple(
            self._verdict(stage, path, locked.get(path), rerun.outputs.get(path))
            for path in sorted({**locked, **rerun.outputs})
        )

    def _verdict(self, stage: Stage, path: str, old: Locked | None, new: Locked | None) -> OutputVerdict:
        if old is None or new is None:
            return OutputVerdict(
                path=path,
                verdict="extra" if old is None else "missing",
                old_oid=None if old is None else old.oid,
                new_oid=None if new is None else new.oid,
                old_size_bytes=None if old is None else old.size_bytes,
                size_bytes=None if new is None else new.size_bytes,
            )
        if same_data(old, new):
            return _verdict("identical", path, old, new)
        out = declared_out(stage, path)
        compare = {} if out is None else out.spec.compare
        with contextlib.ExitStack() as stack:
            stack.callback(self._clear)
            try:
                return self._compared(stage, path, old, new, compare)
            except Unavailable as error:
                lines = (*_sizes(old, new), str(error))
                declared = next(iter(compare.values()), None)
                if declared is None:
                    return _verdict("different", path, old, new, lines=lines)
                return _verdict("inconclusive", path, old, new, declared.kind, lines)

    def _compared(
        self, stage: Stage, path: str, old: Locked, new: Locked, compare: Mapping[str, Comparator]
    ) -> OutputVerdict:
        kinds = {parse_oid(old.oid)[0], parse_oid(new.oid)[0]}
        if len(kinds) == 2:
            words = "it is a folder now" if parse_oid(old.oid)[0] == FILE_OID else "it is a file now"
            return _verdict("different", path, old, new, lines=(words,))
        if FILE_OID not in kinds:
            return self._compared_folder(stage, path, old, new, compare)
        if old.oid == new.oid:
            return _verdict("different", path, old, new, lines=(_mode_words(executable=new.executable),))
        how = comparator_for(compare, "", path.rpartition("/")[2])
        recorded = self._recorded_file(path, "", old)
        if how is None:
            lines = differences(recorded, self._sandbox.repo.root / path, path)
            return _verdict("different", path, old, new, lines=lines)
        compared = self._compare(stage, recorded, self._sandbox.repo.root / path, path, how)
        equivalent = compared.equivalent and old.executable == new.executable
        lines = compared.lines or (() if equivalent else (_mode_words(executable=new.executable),))
        return _verdict("equivalent" if equivalent else "different", path, old, new, how.kind, lines)

    def _compare(self, stage: Stage, old: Path, new: Path, name: str, how: Comparator) -> Comparison:
        def run(script: str, one: Path, other: Path) -> Comparison:
            if one.is_relative_to(self._sandbox.work.cache.folder):  # a script must not write there, and needs its name
                one = Path(shutil.copy(one, self._folder() / name.rpartition("/")[2]))
            ended, tail = self._sandbox.script(stage, script, (one, other))
            if ended.exit_code in _COMMAND_MISSING:
                raise Unavailable(f"the comparison cannot be started: {clipped(tail[-1] if tail else how.run)}")
            if ended.exit_code is None:
                raise Unavailable(f"the comparison was killed by signal {ended.signal}")
            return Comparison(ended.exit_code == 0, tuple(map(clipped, tail)))

        return compare_files(old, new, name, how, run)

    # -- folders

    def _compared_folder(
        self, stage: Stage, path: str, old: Locked, new: Locked, compare: Mapping[str, Comparator]
    ) -> OutputVerdict:
        folders = self._folders(stage, path, self._pairs(path, old, new), compare)
        kind = next((how.kind for how in compare.values()), "bytes")
        if not (folders.changed or folders.new or folders.gone):
            return _verdict(
                "equivalent", path, old, new, kind, (f"{folders.equivalent:,} files differ and are equivalent",)
            )
        counts = [
            f"{len(names):,} {word}"
            for word, names in (("differ", folders.changed), ("new", folders.new), ("gone", folders.gone))
            if names
        ]
        listed = [*folders.changed, *(f"+ {name}" for name in folders.new), *(f"- {name}" for name in folders.gone)]
        lines = (f"of {old.files:,} files {', '.join(counts)}", *map(clipped, listed[: MOST_LINES - 1]))
        only_new = folders.new and not folders.changed and not folders.gone
        return _verdict("extra" if only_new else "different", path, old, new, kind, lines)

    def _folders(self, stage: Stage, path: str, pairs: Pairs, compare: Mapping[str, Comparator]) -> _Folders:
        changed: list[str] = []
        new: list[str] = []
        gone: list[str] = []
        equivalent = 0
        for one, other in pairs:
            if one is None or other is None:
                entry = one or other
                assert entry is not None
                (gone if other is None else new).append(os.fsdecode(entry.path))
                continue
            line = self._difference(stage, path, one, other, compare, shown=len(changed) < _SHOWN_FILES)
            if line is None:
                equivalent += 1
            else:
                changed.append(line)
        return _Folders(tuple(changed), tuple(new), tuple(gone), equivalent)

    def _difference(
        self, stage: Stage, path: str, one: Entry, other: Entry, compare: Mapping[str, Comparator], *, shown: bool
    ) -> str | None:
        """Returns how a file of a folder differs, its name first; None if it is equivalent."""
        inner = os.fsdecode(one.path)
        if one.kind != FILE or other.kind != FILE:
            return f"{inner}: it is {_KINDS[other.kind]} now" if one.kind != other.kind else f"{inner}: another link"
        if one.digest == other.digest:
            return f"{inner}: {_mode_words(executable=bool(other.flags & EXECUTABLE))}"
        name = inner.rpartition("/")[2]
        how = comparator_for(compare, inner, name)
        if how is None and not shown:
            return inner
        new = self._sandbox.repo.root / path / inner
        version = Locked(f"{path}/{inner}", format_oid(FILE_OID, one.digest), one.size_bytes)
        try:
            recorded = self._recorded_file(path, inner, version)
        except Unavailable as error:
            if how is not None:
                raise
            return f"{inner}: {error}"
        if how is None:
            return f"{inner}: {'; '.join(differences(recorded, new, name)[:1])}"
        comparison = self._compare(stage, recorded, new, name, how)
        same_mode = not (one.flags ^ other.flags) & EXECUTABLE
        return None if comparison.equivalent and same_mode else f"{inner}: {'; '.join(comparison.lines[:1])}"

    def _pairs(self, path: str, old: Locked, new: Locked) -> Pairs:
        """Returns the entries that differ between two versions of a folder."""
        contents, digests = self._sandbox.contents, [parse_oid(version.oid)[1] for version in (old, new)]
        if path in self._sandbox.kept:
            return list(_paired(self._entries(self._sandbox.kept[path]), self._entries(self._sandbox.repo.root / path)))
        for attempt in range(2):
            try:
                return list(manifest.compare(digests[0], digests[1], contents.read_node))
            except ObjectMissing:
                if attempt or not self._fetched(old):
                    break
            except ObjectCorrupt as error:
                raise Unavailable(f"the recorded version cannot be read: {error.message}") from None
        raise Unavailable("the recorded version is neither in the cache nor on the remote")

    def _entries(self, folder: Path) -> dict[bytes, Entry]:
        """Returns the entries of a folder of the clone, hashed."""
        entries = {}
        for place, folders, names in os.walk(folder):
            for name in [*names, *(inner for inner in folders if os.path.islink(os.path.join(place, inner)))]:
                location = Path(place) / name
                inner = os.fsencode(location.relative_to(folder))
                if location.is_symlink():
                    target = os.fsencode(os.readlink(location))
                    entries[inner] = Entry(inner, SYMLINK, len(target), digest_bytes(target))
                else:
                    status = location.stat()
                    flags = FILE | EXECUTABLE if status.st_mode & 0o100 else FILE
                    digest, size_bytes = digest_path(location)
                    entries[inner] = Entry(inner, flags, size_bytes, digest)
        return entries

    # -- the recorded version

    def _recorded_file(self, path: str, inner: str, version: Locked) -> Path:
        """Returns the path at which a recorded file can be read. Raises Unavailable."""
        if path in self._sandbox.kept:
            return self._sandbox.kept[path] / inner if inner else self._sandbox.kept[path]
        cache, digest = self._sandbox.work.cache, parse_oid(version.oid)[1]
        if not cache.has_file(digest, version.size_bytes) and not self._fetched(version):
            raise Unavailable("the recorded version is neither in the cache nor on the remote")
        if cache.has_large(digest, version.size_bytes):
            return cache.large_path(digest)
        place = self._folder() / (inner or path).rpartition("/")[2]
        try:
            place.write_bytes(cache.read_file(digest, version.size_bytes))
        except DvliteError as error:
            raise Unavailable(f"the recorded version cannot be read: {error.message}") from None
        return place

    def _fetched(self, version: Locked) -> bool:
        try:
            return self._fetcher is not None and self._fetcher.bring([version])
        except DvliteError:
            return False

    def _folder(self) -> Path:
        self._recorded.mkdir(exist_ok=True)
        return self._recorded

    def _clear(self) -> None:
        if self._recorded.is_dir():
            for place in self._recorded.iterdir():
                place.unlink()


_KINDS = {FILE: "a file", SYMLINK: "a symbolic link", EMPTY_DIR: "an empty folder"}


def _paired(old: Mapping[bytes, Entry], new: Mapping[bytes, Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    for path in sorted({**old, **new}):
        if old.get(path) != new.get(path):
            yield old.get(path), new.get(path)


def _verdict(
    verdict: str, path: str, old: Locked, new: Locked, comparator: str = "bytes", lines: tuple[str, ...] = ()
) -> OutputVerdict:
    return OutputVerdict(
        path=path,
        verdict=verdict,  # type: ignore[arg-type]  # the callers write literals
        old_oid=old.oid,
        new_oid=new.oid,
        old_size_bytes=old.size_bytes,
        size_bytes=new.size_bytes,
        comparator=comparator,
        detail=lines[:MOST_LINES],
    )


def _sizes(old: Locked, new: Locked) -> tuple[str, ...]:
    return (f"{size_text(old.size_bytes)} -> {size_text(new.size_bytes)}",) if old.size_bytes != new.size_bytes else ()


def _mode_words(*, executable: bool) -> str:
    return "it is executable now" if executable else "it is not executable any more"
