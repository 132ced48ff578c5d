"""Turns a scan into content ids: from the stat index where it can be trusted, else by reading the file through a `Reader`."""

from __future__ import annotations

import errno
import os
import stat
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dvlite import files
from dvlite.errors import FileChanged, StrangeFile
from dvlite.files import os_error, wait_out
from dvlite.formats.manifest import EMPTY_DIR, KIND_MASK, SYMLINK, Entries
from dvlite.oid import DIGEST_BYTES, Buffer, Digest, digest_bytes, digest_file
from dvlite.paths import is_reserved
from dvlite.progress import Progress
from dvlite.show import quote
from dvlite.workspace.scan import Scan, special_file
from dvlite.workspace.statindex import StatRows

_TRIES = 4  # the first finds what changed since the scan
_TOGETHER = 512  # rows compared at a time
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
SMALL_BYTES = 1 << 20  # read in one piece below this

Lacking = Callable[
    [Buffer, Sequence[int]], Iterable[int]
]  # (digests, sizes in bytes) -> positions of those not in the cache
Advance = Callable[[int], None]  # called with the bytes read since the last call


class Reader(Protocol):
    """Takes the content of files and returns their digests; may store it on the way."""

    doing: str
    """What a progress display calls it: `adding`."""

    limit_bytes: int
    """Up to which size a file is small."""

    def small(self, raw: bytes) -> Digest:
        """Takes a small file, or the target of a symlink."""

    def large(self, descriptor: int, name: str, advance: Advance) -> Digest:
        """Takes an open large file; calls `advance` as its bytes are read."""

    def expect(self, sizes: Sequence[int]) -> None:
        """Receives the sizes of all files to be read, before the first; may raise to refuse them."""


class HashOnly:
    """A reader that stores nothing."""

    doing = "reading"
    limit_bytes = SMALL_BYTES

    def small(self, raw: bytes) -> Digest:
        return digest_bytes(raw)

    def large(self, descriptor: int, name: str, advance: Advance) -> Digest:
        return digest_file(descriptor, os.fstat(descriptor).st_size, advance)

    def expect(self, sizes: Sequence[int]) -> None:
        return


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A scan with the content of every entry known. `racy[i]` = 1: read too soon after a change to be trusted later."""

    scan: Scan
    digests: bytearray
    racy: bytearray
    read_files: int  # how many had to be read

    def digest(self, i: int) -> Digest:
        return Digest(bytes(self.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]))

    def entries(self) -> Entries:
        """Returns it as the entries of a manifest."""
        return Entries(self.scan.paths, bytes(self.scan.flags), array("Q", self.scan.sizes), bytes(self.digests))


def identify(
    scan: Scan,
    rows: StatRows | None,
    progress: Progress,
    reader: Reader | None = None,
    *,
    lacking: Lacking | None = None,
    patient: bool = True,
) -> Snapshot:
    """Returns the content of every entry of a scan; a file whose row in `rows` is trusted is not opened, the others go to `reader`.

    `lacking`: of those, files are read again whose bytes are not in the cache. A file that changed this very moment is waited for, so that its row can
    be trusted later; not `patient`: it is read at once, and again at the next look. Raises FileChanged for a file that keeps changing,
    UsageError for a symlink that leaves the tracked directory.
    """
    reader = reader or HashOnly()
    count = len(scan.paths)
    digests, racy = bytearray(count * DIGEST_BYTES), bytearray(count)
    unknown = array("I", _unknown(scan, rows, digests, lacking))
    sizes = array("q", (scan.sizes[i] for i in unknown))
    reader.expect(sizes)
    progress.start(f"{reader.doing} {scan.shown}", total_bytes=sum(sizes), total_files=len(unknown))
    del sizes
    window = files.racy_window_ns(scan.root.parent) if unknown else 0
    entries = _EntryReader(scan, reader, window, lambda size: progress.advance(size_bytes=size), patient=patient)
    limit = reader.limit_bytes
    for i in unknown:
        digest, racy[i] = entries.read(i)
        digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] = digest
        progress.advance(size_bytes=scan.sizes[i] if scan.sizes[i] <= limit else 0, files=1)  # large: already counted
    progress.finish()
    return Snapshot(scan, digests, racy, len(unknown))


def reread(have: Snapshot, chosen: Sequence[int], progress: Progress) -> bool:
    """Reads chosen files again, and returns whether all are what they were taken for; the snapshot says then what they are.

    Asked before bytes are removed: that times did not change is no proof that a file did not.
    """
    if not chosen:
        return True
    scan = have.scan
    window = files.racy_window_ns(scan.root.parent)
    entries = _EntryReader(scan, HashOnly(), window, lambda size: progress.advance(size_bytes=size), patient=False)
    is_same = True
    for i in chosen:
        digest, have.racy[i] = entries.read(i)
        is_same = is_same and digest == have.digest(i)
        have.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] = digest
    return is_same


def _unknown(scan: Scan, rows: StatRows | None, digests: bytearray, lacking: Lacking | None) -> Iterator[int]:
    """Fills in the digests of rows that can be trusted; yields the entries that must be read."""
    width, at, flags = DIGEST_BYTES, 0, scan.flags
    for start, stop, j in _trusted(scan, rows) if rows is not None else ():
        yield from (i for i in range(at, start) if flags[i] != EMPTY_DIR)
        known = memoryview(rows.digests if rows is not None else b"")[j * width : (j + stop - start) * width]
        digests[start * width : stop * width] = known
        if lacking is not None:
            yield from (start + i for i in lacking(known, scan.sizes[start:stop]) if flags[start + i] != EMPTY_DIR)
        at = stop
    yield from (i for i in range(at, len(flags)) if flags[i] != EMPTY_DIR)


def _trusted(scan: Scan, rows: StatRows) -> Iterator[tuple[int, int, int]]:
    """Yields `(start, stop, j)` for entries whose rows, from j on, can be trusted; equal rows are compared many at a time."""
    old = rows.scan
    i = j = begun = 0  # the entries since `begun` are trusted, and yielded together
    count, old_count, old_paths = len(scan.paths), len(old.paths), old.paths
    while i < count:
        stop = min(i + _TOGETHER, count)
        if stop - i <= old_count - j and are_trusted(scan, rows, slice(i, stop), slice(j, j + stop - i)):
            i, j = stop, j + stop - i
            continue
        for k in range(i, stop):
            path = scan.paths[k]
            skipped = j
            while j < old_count and old_paths[j] < path:
                j += 1
            is_known = j < old_count and old_paths[j] == path
            is_trusted = is_known and _is_trusted(scan, k, rows, j)
            if begun < k and (j > skipped or not is_trusted):
                yield begun, k, skipped - (k - begun)
                begun = k
            begun += not is_trusted
            j += is_known
        i = stop
    if begun < count:
        yield begun, count, j - (count - begun)


def are_trusted(scan: Scan, rows: StatRows, these: slice, those: slice) -> bool:
    """Returns whether entries and rows are equal throughout, and no row is racy."""
    old = rows.scan
    return (
        rows.racy.find(1, those.start, those.stop) < 0
        and scan.ctimes[these] == old.ctimes[those]
        and scan.mtimes[these] == old.mtimes[those]
        and scan.sizes[these] == old.sizes[those]
        and scan.inodes[these] == old.inodes[those]
        and scan.flags[these] == old.flags[those]
        and scan.paths[these] == old.paths[those]
    )


def _is_trusted(scan: Scan, i: int, rows: StatRows, j: int) -> bool:
    """Returns whether what row j knows of an entry of that path holds still."""
    old = rows.scan
    return (
        not rows.racy[j]
        and scan.ctimes[i] == old.ctimes[j]
        and scan.mtimes[i] == old.mtimes[j]
        and scan.sizes[i] == old.sizes[j]
        and scan.inodes[i] == old.inodes[j]
        and (scan.flags[i] & KIND_MASK) == (old.flags[j] & KIND_MASK)
    )


class _EntryReader:
    """Reads the entries of one scan, and updates the scan with what was read."""

    __slots__ = ("_advance", "_limit", "_patient", "_reader", "_root", "_scan", "_window")

    def __init__(self, scan: Scan, reader: Reader, window_ns: int, advance: Advance, *, patient: bool) -> None:
        self._scan, self._root = scan, os.fsencode(scan.root)
        self._reader, self._window, self._advance = reader, window_ns, advance
        self._limit, self._patient = reader.limit_bytes, patient

    def read(self, i: int) -> tuple[Digest, int]:
        """Returns the digest of entry i and whether it is racy."""
        scan, limit = self._scan, self._limit
        inner = scan.paths[i]
        path = self._root + b"/" + inner if inner else self._root
        try:
            if scan.flags[i] == SYMLINK:
                return self._symlink(i, path), int(time.time_ns() <= scan.ctimes[i] + self._window)
            for _ in range(_TRIES):
                started = time.time_ns()
                if self._patient and started <= scan.ctimes[i] + self._window:
                    wait_out(scan.ctimes[i], self._window)
                    started = time.time_ns()
                descriptor = os.open(path, _OPEN)
                try:
                    # Asked once: who begins to write from here on moves a time, and that time is too new for the row to be trusted.
                    is_written = files.is_being_written(descriptor)
                    size_bytes = scan.sizes[i]
                    if size_bytes <= limit:
                        content = files.read_at(descriptor, size_bytes)
                    else:
                        content = self._reader.large(descriptor, self._name(i), self._advance)
                    after = os.fstat(descriptor)
                finally:
                    os.close(descriptor)
                if not stat.S_ISREG(after.st_mode):
                    raise special_file(self._name(i), after.st_mode, Path(os.fsdecode(path)))
                if scan.is_still(i, after):  # nothing torn is stored: it is as it was before
                    digest = self._reader.small(content) if size_bytes <= limit else Digest(content)
                    return digest, int(is_written or started <= after.st_ctime_ns + self._window)
                scan.replace(i, after)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FileChanged(
                    f"cannot read {quote(self._name(i))}: it became a symbolic link while dvlite looked"
                ) from error
            if error.errno in (errno.ESPIPE, errno.EISDIR):  # it became what cannot be read at an offset
                raise special_file(self._name(i), os.lstat(path).st_mode, Path(os.fsdecode(path))) from error
            raise os_error(error, "read", self._name(i)) from error
        raise FileChanged(
            f"cannot read {quote(self._name(i))}: it changed while it was read",
            hint="run the command again when nothing writes to it",
        )

    def _symlink(self, i: int, path: bytes) -> Digest:
        target = inner_target(self._root, self._scan.paths[i], os.readlink(path))
        problem = symlink_problem(self._scan.paths[i], target)
        if (
            problem is not None and self._scan.paths[i]
        ):  # in the place of a tracked file it is a change, wherever it points
            raise link_that_leaves(self._name(i), problem)
        self._scan.sizes[i] = len(target)
        return self._reader.small(target)

    def _name(self, i: int) -> str:
        path = os.fsdecode(self._scan.paths[i])
        return f"{self._scan.shown}/{path}" if path else self._scan.shown


def inner_target(root: bytes, path: bytes, target: bytes) -> bytes:
    """Returns an absolute target of the link at `path` in `root` as relative if it is inside: there it means the same wherever the folder is."""
    if not target.startswith(b"/") or not path:
        return target
    real = os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))
    root = os.path.realpath(root)
    if not real.startswith(root + b"/"):
        return target
    return os.path.relpath(real[len(root) + 1 :], os.path.dirname(path) or b".")


def link_that_leaves(name: str, problem: str) -> StrangeFile:
    """Returns the error for a link in a directory with what `symlink_problem` said of it."""
    return StrangeFile(
        f"cannot track {quote(name)}: the symbolic link {problem}",
        hint="a link in a tracked directory must lead to something inside it, with '..' only at the start; replace it or name it in .dvliteignore",
    )


def symlink_problem(path: bytes, target: bytes) -> str | None:
    """Returns why a symlink at `path` (relative to the tracked directory) may not be stored or made, or None.

    Leading `..` are counted against the depth of its folder, which is a real folder; a later `..` could follow another link out.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return f"has an absolute target, {quote(os.fsdecode(target))}"
    depth = path.count(b"/")
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    leading = 0
    while leading < len(parts) and parts[leading] == b"..":
        leading += 1
    if leading > depth or b".." in parts[leading:]:
        return f"leaves the tracked directory, {quote(os.fsdecode(target))}"
    for part in parts[leading:]:
        if is_reserved(part):
            return f"points to {quote(os.fsdecode(target))}"
    return None
