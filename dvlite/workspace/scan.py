"""Reads what lies on disk at a tracked path, without opening a file: names, kinds, sizes and times, in path order, as columns."""

from __future__ import annotations

import os
import stat
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from dvlite.errors import DvliteError, StrangeFile, UsageError
from dvlite.files import TEMP_PREFIX, is_temporary_name, os_error
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, SYMLINK
from dvlite.formats.table_formats import DELTA_LOG, MARKS
from dvlite.oid import Digest, signature
from dvlite.paths import path_pieces
from dvlite.progress import Progress
from dvlite.show import quote

Column = TypeVar("Column", list[bytes], bytearray, "array[int]")
# (path relative to the tracked directory, is a folder) -> leave out? None: no rule but names
IgnoreRule = Callable[[bytes, bool], bool] | None
_TEMPORARY = TEMP_PREFIX.encode()
_EXECUTE = stat.S_IXUSR
_KIND = 0o170000  # the part of a mode that says what kind of file it is
_START = b"\0" + _TEMPORARY
_TOGETHER = 1000  # files of a folder whose states are in memory at a time
_name = attrgetter("name")
_SPECIAL = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


@dataclass(frozen=True, slots=True)
class DeltaTable:
    """A Delta table in a scan, by its log: the newest version, which of its files are not there, and why it cannot be a whole table."""

    version: int | None = None
    absent: tuple[bytes, ...] = ()
    problem: str | None = None
    unread: str | None = None  # how its log could be read, which it was not
    hint: Digest | None = None  # the content of its hint of the last checkpoint, which alone of a log is written again


@dataclass(slots=True)
class Scan:
    """Column i of each list is entry i; entries are in path order. A tracked file has one entry, whose path is empty. Times in ns."""

    paths: list[bytes] = field(default_factory=list)
    flags: bytearray = field(default_factory=bytearray)  # as in formats.manifest
    sizes: array[int] = field(default_factory=lambda: array("q"))
    mtimes: array[int] = field(default_factory=lambda: array("q"))
    ctimes: array[int] = field(default_factory=lambda: array("q"))
    inodes: array[int] = field(default_factory=lambda: array("Q"))
    left_out: Counter[str] = field(default_factory=Counter)
    leftovers: list[bytes] = field(default_factory=list)  # temporary files of killed runs; no entries
    root: Path = Path()  # the tracked path on disk
    shown: str = ""  # how messages call it
    trusts_modes: bool = True  # False: executable bits are what is known of the files, whatever the disk says
    tables: dict[bytes, DeltaTable | None] = field(
        default_factory=dict
    )  # of Delta, by their folders; None: its log was not read
    marks: list[bytes] = field(default_factory=list)  # folders that have a name as logs of tables have

    def append(self, path: bytes, flags: int, status: os.stat_result) -> None:
        self.paths.append(path)
        self.flags.append(flags)
        self.sizes.append(0 if flags == EMPTY_DIR else status.st_size)
        self.mtimes.append(status.st_mtime_ns)
        self.ctimes.append(status.st_ctime_ns)
        self.inodes.append(status.st_ino)

    def copy_from(self, other: Scan, i: int) -> None:
        """Appends entry i of another scan."""
        self.paths.append(other.paths[i])
        self.flags.append(other.flags[i])
        self.sizes.append(other.sizes[i])
        self.mtimes.append(other.mtimes[i])
        self.ctimes.append(other.ctimes[i])
        self.inodes.append(other.inodes[i])

    def extend(self, other: Scan) -> None:
        """Appends the entries of another scan."""
        self.paths += other.paths
        self.flags += other.flags
        self.sizes += other.sizes
        self.mtimes += other.mtimes
        self.ctimes += other.ctimes
        self.inodes += other.inodes

    def splice(self, other: Scan, places: Sequence[Sequence[int]]) -> None:
        """Puts parts of another scan in the place of parts of this one, as `spliced`: a column at a time, for each takes 8 MB of a million files."""
        self.paths = spliced(self.paths, other.paths, places)
        self.flags = spliced(self.flags, other.flags, places)
        self.sizes = spliced(self.sizes, other.sizes, places)
        self.mtimes = spliced(self.mtimes, other.mtimes, places)
        self.ctimes = spliced(self.ctimes, other.ctimes, places)
        self.inodes = spliced(self.inodes, other.inodes, places)

    def is_still(self, i: int, status: os.stat_result) -> bool:
        """Returns whether a file is in the state that entry i has."""
        return (
            self.mtimes[i] == status.st_mtime_ns
            and self.ctimes[i] == status.st_ctime_ns
            and self.sizes[i] == status.st_size
            and self.inodes[i] == status.st_ino
        )

    def replace(self, i: int, status: os.stat_result) -> None:
        """Records the state of a regular file when it was opened."""
        if self.trusts_modes:
            self.flags[i] = FILE | EXECUTABLE if status.st_mode & _EXECUTE else FILE
        self.sizes[i] = status.st_size
        self.mtimes[i] = status.st_mtime_ns
        self.ctimes[i] = status.st_ctime_ns
        self.inodes[i] = status.st_ino

    def set_executables(self, are: Callable[[bytes], bool]) -> None:
        """Takes the executable bits of files from elsewhere than the disk, by the path of each."""
        self.trusts_modes = False
        for i, path in enumerate(self.paths):
            if self.flags[i] & ~EXECUTABLE == FILE:
                self.flags[i] = FILE | EXECUTABLE if are(path) else FILE

    def signature(self) -> int:
        """Returns a hash of all columns: equal for two scans means that no file was touched in between. An empty folder's times do not count."""
        mtimes, ctimes, inodes = self.mtimes, self.ctimes, self.inodes
        if EMPTY_DIR in self.flags:
            mtimes, ctimes, inodes = mtimes[:], ctimes[:], inodes[:]
            for i, flags in enumerate(self.flags):
                if flags == EMPTY_DIR:
                    mtimes[i] = ctimes[i] = inodes[i] = 0
        columns = [memoryview(column) for column in (self.sizes, mtimes, ctimes, inodes)]
        return signature(chain(path_pieces(self.paths), [self.flags], columns))


def scan(path: Path, shown: str, ignore: IgnoreRule, names: frozenset[bytes], progress: Progress) -> Scan | None:
    """Returns what is at `path`, or None for nothing. `names` are ignored wherever they stand (a fast form of `ignore`).

    Raises StrangeFile for a FIFO, socket or device, and an error for an unreadable folder.
    """
    result = Scan(root=path, shown=shown)
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(status.st_mode):
        _Scan(os.fsencode(path), shown, ignore, names, result, progress).folder(b"", 0)
    elif stat.S_ISREG(status.st_mode):
        result.append(b"", FILE | EXECUTABLE if status.st_mode & _EXECUTE else FILE, status)
    elif stat.S_ISLNK(status.st_mode):
        result.append(b"", SYMLINK, status)
    else:
        raise special_file(shown, status.st_mode, path)
    return result


def spliced(column: Column, other: Column, places: Sequence[Sequence[int]]) -> Column:
    """Returns a column with parts of another in the place of parts of its own, in order: `(start, stop)` of it, `(first, end)` of the other."""
    joined, at = column[:0], 0
    for start, stop, first, end in places:
        joined += column[at:start]
        joined += other[first:end]
        at = stop
    joined += column[at:]
    return joined


def selected_scan(scan: Scan, chooses: Callable[[bytes], bool]) -> Scan:
    """Returns the entries of a scan whose path is chosen."""
    part = Scan(root=scan.root, shown=scan.shown, trusts_modes=scan.trusts_modes, tables=scan.tables, marks=scan.marks)
    for i, path in enumerate(scan.paths):
        if chooses(path):
            part.copy_from(scan, i)
    return part


def special_file(shown: str, mode: int, place: Path) -> DvliteError:
    """Returns the error for what is neither a file, a folder nor a symlink."""
    return StrangeFile(
        f"cannot track {quote(shown)}: it is {_SPECIAL.get(stat.S_IFMT(mode), 'not a file')}",
        hint="move it away, or name it in .dvliteignore",
        place=place,
    )


class _Scan:
    """One walk over one tracked directory."""

    __slots__ = ("_ignore", "_logs", "_names", "_progress", "_result", "_root", "_shown")

    def __init__(
        self, root: bytes, shown: str, ignore: IgnoreRule, names: frozenset[bytes], result: Scan, progress: Progress
    ) -> None:
        self._root, self._shown = root, shown
        self._ignore, self._names = ignore, names
        self._result, self._progress = result, progress
        self._logs: dict[bytes, Scan] = {}  # of Delta tables, by their folders: looked at before what they name

    def folder(self, prefix: bytes, depth: int) -> bool:
        """Appends everything below one folder; returns False if there was nothing that counts."""
        result = self._result
        before = len(result.paths)
        while True:
            try:
                with os.scandir(self._root + b"/" + prefix) as listing:
                    entries = list(listing)
            except OSError as error:
                raise os_error(error, "read", self._name(prefix)) from error
            folders = {e.name for e in entries if e.is_dir(follow_symlinks=False)}
            if DELTA_LOG not in folders or prefix + DELTA_LOG in self._logs:
                break
            self._scan_log(prefix, depth)
        result.marks += [prefix + name for name in folders & MARKS]
        if folders:
            entries.sort(key=lambda e: e.name + b"/" if e.name in folders else e.name)  # the order of whole paths
            self._one_by_one(prefix, depth, entries, folders)
        else:
            entries.sort(key=_name)
            for at in range(0, len(entries), _TOGETHER):
                part = entries[at : at + _TOGETHER]
                if not self._together(prefix, part):
                    self._one_by_one(prefix, depth, part, folders)
        return len(result.paths) > before

    def _scan_log(self, prefix: bytes, depth: int) -> None:
        """Looks at the log of a Delta table: then the folder is listed again, so that what the log names is there, whoever writes to the table meanwhile."""
        result = self._result
        log = Scan(root=result.root, shown=result.shown, left_out=result.left_out, leftovers=result.leftovers)
        walk = _Scan(self._root, self._shown, self._ignore, self._names, log, self._progress)
        walk.folder(prefix + DELTA_LOG + b"/", depth + 1)
        self._logs[prefix + DELTA_LOG] = log
        result.tables[prefix.rstrip(b"/")] = None

    def _together(self, prefix: bytes, entries: list[os.DirEntry[bytes]]) -> bool:
        """Appends files of one folder, unless one of them needs a look of its own: an eighth less time than one by one."""
        names, result = [e.name for e in entries], self._result
        if self._ignore is not None or not self._names.isdisjoint(names) or _START in b"\0" + b"\0".join(names):
            return False
        try:
            states = [e.stat(follow_symlinks=False) for e in entries]
        except FileNotFoundError:
            return False
        modes = [state.st_mode for state in states]
        if any(mode & _KIND != stat.S_IFREG for mode in modes):
            return False
        result.paths += [prefix + name for name in names]
        result.flags += bytes([FILE | EXECUTABLE if mode & _EXECUTE else FILE for mode in modes])
        result.sizes.extend([state.st_size for state in states])
        result.mtimes.extend([state.st_mtime_ns for state in states])
        result.ctimes.extend([state.st_ctime_ns for state in states])
        result.inodes.extend([state.st_ino for state in states])
        return True

    def _one_by_one(self, prefix: bytes, depth: int, entries: list[os.DirEntry[bytes]], folders: set[bytes]) -> None:
        """Appends entries of one folder, and all below those that are folders."""
        result = self._result
        add = result.append
        for entry in entries:
            name = entry.name
            if name in self._names or (self._ignore is not None and self._ignore(prefix + name, name in folders)):
                result.left_out[os.fsdecode(name)] += 1
                continue
            if name.startswith(_TEMPORARY) and is_temporary_name(name):
                result.leftovers.append(prefix + name)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            mode = status.st_mode
            if stat.S_ISREG(mode):
                add(prefix + name, FILE | EXECUTABLE if mode & _EXECUTE else FILE, status)
            elif stat.S_ISDIR(mode):
                if depth >= 255:
                    raise UsageError(
                        f"cannot track {quote(self._name(prefix + name))}: it is more than 255 folders deep"
                    )
                log = self._logs.get(prefix + name)
                if log is not None:
                    result.extend(log)
                if not (log.paths if log is not None else self.folder(prefix + name + b"/", depth + 1)):
                    add(prefix + name, EMPTY_DIR, status)
            elif stat.S_ISLNK(mode):
                add(prefix + name, SYMLINK, status)
            else:
                raise special_file(self._name(prefix + name), mode, result.root / os.fsdecode(prefix + name))

    def _name(self, path: bytes) -> str:
        return f"{self._shown}/{os.fsdecode(path)}".rstrip("/")
