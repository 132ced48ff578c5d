"""Makes a path on disk equal a version, as planned; bytes that the plan does not name are never overwritten or removed.

Every write goes through the descriptor of an opened folder, follows no symlink and appears under its final name complete. A tree that does
not exist yet is built under a temporary name and renamed once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing, reason_of
from dvlite.files import os_error, temporary_name, wait_out
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, SYMLINK, Entries
from dvlite.oid import DIGEST_BYTES, Digest, format_oid
from dvlite.oid import FILE as FILE_OID
from dvlite.progress import NullProgress, Progress
from dvlite.show import quote
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE
from dvlite.workspace import sparse
from dvlite.workspace.checkout_plan import CheckoutPlan, selected
from dvlite.workspace.dirfd import Folders, place_new, remove_entries, replace_entry
from dvlite.workspace.hashing import Snapshot, symlink_problem
from dvlite.workspace.scan import Scan
from dvlite.workspace.writer_process import WriteJob, WriteReport, WriterOptions

SHARE_FROM = 4000  # entries of a fresh tree from which a second process is worth its while
_CREATE = os.O_CREAT | os.O_EXCL | files.NO_FOLLOW


@dataclass(frozen=True, slots=True)
class CheckoutOutcome:
    """What was done: the state of the disk afterwards, and the objects that could not be used."""

    scan: Scan
    digests: bytes | bytearray
    racy: bytearray
    damaged: list[tuple[Digest, DvliteError]]
    missing: list[int]  # of what was wanted: not in the cache
    blocked: list[bytes]  # paths that could not be written because a local file is in the way
    abandoned: (
        bool  # a fresh tree that could not be made whole: nothing was written, for its gaps would look like deletions
    )


def apply(
    todo: CheckoutPlan,
    want: Entries,
    have: Snapshot | None,
    root: Path,
    path: bytes,
    cache: Cache,
    *,
    progress: Progress,
    options: WriterOptions | None = None,
) -> CheckoutOutcome:
    """Carries out a plan at `path` inside `root`.

    Objects that are damaged or missing are listed in the outcome, not raised: everything else is still done.
    """
    writer = TreeWriter(want, cache, root, path, progress, options or WriterOptions())
    single = want.paths == [b""]
    if have is None:
        if single:
            writer.single_file()
        else:
            writer.fresh_tree(todo.write)
    elif single:
        writer.update_single(todo, have)
    else:
        writer.update_tree(todo, have)
    return writer.outcome(todo, have)


def write_part(job: WriteJob) -> WriteReport:
    """Writes a job's entries of a fresh tree, one leaf at a time; runs in the second process. What fails there is left for the first."""
    cache = Cache(Path(job.cache), pack_below_bytes=job.pack_below_bytes)
    first, chooses = os.fsencode(job.first), sparse.selector(job.patterns) if job.patterns else None
    reach = sparse.reach(job.patterns)
    report = WriteReport(array("q"), array("q"), array("Q"), [])

    def may_hold(after: bytes, end: bytes) -> bool:
        return end >= first and (reach is None or reach(after, end))

    with Folders(Path(job.work_tree), os.fsencode(job.folder)) as folders:
        for leaf in manifest.leaves(Digest(bytes.fromhex(job.root)), cache.read_node, may_hold=may_hold):
            want = leaf if chooses is None else selected(leaf, chooses)
            place = (Path(job.work_tree), os.fsencode(job.folder))
            writer = TreeWriter(want, cache, *place, NullProgress(), WriterOptions())
            writer.write_quietly(range(bisect_left(want.paths, first), len(want)), folders, report)
    return report


class TreeWriter:
    """Writes one tracked path; `scan` grows into the state of the disk, entry by entry of `want`."""

    def __init__(
        self, want: Entries, cache: Cache, root: Path, path: bytes, progress: Progress, options: WriterOptions
    ) -> None:
        count = len(want)
        self._want, self._cache = want, cache
        self._root, self._path, self._target = root, path, root / os.fsdecode(path)
        self._above, _, self._name = path.rpartition(b"/")
        self._progress, self._link = progress, options.link
        self._helper, self._version = options.helper, options.version
        self._theirs: tuple[int, int] | None = None  # the entries that the second process writes
        self._building = path  # the folder that grows: the path itself, or one beside it
        self._abandoned = False
        self._have: Snapshot | None = None  # what is replaced, of an existing path
        self._replaces: dict[int, int] = {}
        zeros = array("q", bytes(8 * count))
        self._scan = Scan(
            want.paths, bytearray(want.flags), array("q", want.sizes), zeros[:], zeros[:], array("Q", bytes(8 * count))
        )
        self._racy = bytearray(count)
        self._failed: dict[int, DvliteError] = {}
        self._blocked: set[int] = set()

    # --- a path that is not there yet ---

    def fresh_tree(self, write: Sequence[int]) -> None:
        """Builds the whole directory beside its place, then renames it once: it is never visible half done."""
        with Folders(self._root, self._above, create=True) as above:
            temporary = temporary_name().encode()
            try:
                os.mkdir(temporary, dir_fd=above.top)
                self._building = self._above + b"/" + temporary if self._above else temporary
                with Folders(self._root, self._building) as folders:
                    self._write_all(write, folders, fresh=True)
                if self._failed or self._blocked:
                    self._abandoned = True
                    shutil.rmtree(temporary, dir_fd=above.top)
                    return
                if len(self._scan.paths):
                    wait_out(max(self._scan.ctimes), files.racy_window_ns(files.existing_folder(self._target.parent)))
                os.rename(temporary, self._name, src_dir_fd=above.top, dst_dir_fd=above.top)
            except OSError as error:
                shutil.rmtree(temporary, ignore_errors=True, dir_fd=above.top)
                raise os_error(error, "write", self._target) from error
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True, dir_fd=above.top)
                raise

    def single_file(self) -> None:
        """Writes a tracked file that is not there."""
        with Folders(self._root, self._above, create=True) as above:
            self._write(0, above.top, self._name, fresh=False)

    # --- a path that is there ---

    def update_single(self, todo: CheckoutPlan, have: Snapshot) -> None:
        """Replaces or completes a tracked file."""
        self._have, self._replaces = have, todo.replace
        with Folders(self._root, self._above) as above:
            for i in todo.write:
                self._write(i, above.top, self._name, fresh=False)
            for i in todo.chmod:
                self._chmod(i, above.top, self._name)

    def update_tree(self, todo: CheckoutPlan, have: Snapshot) -> None:
        """Brings an existing directory up to date in place."""
        self._have, self._replaces = have, todo.replace
        with Folders(self._root, self._path) as folders:
            remove_entries(folders, have.scan, todo.remove)
            self._write_all(todo.write, folders, fresh=False)
            for i in todo.chmod:
                folder, name = folders.split(self._want.paths[i])
                self._chmod(i, folder, name)

    # --- a second process ---

    def _share(self, ordinary: Sequence[int]) -> Sequence[int]:
        """Gives half of a large fresh tree to the second process; returns what is left to do here."""
        helper, version = self._helper, self._version
        if helper is None or version is None or not helper.ready or len(ordinary) < SHARE_FROM:
            return ordinary
        middle = ordinary[len(ordinary) // 2]
        folder = self._want.paths[middle].rpartition(b"/")[0]
        while middle > 0 and self._want.paths[middle - 1].rpartition(b"/")[0] == folder:
            middle -= 1  # at the border of a folder, where the two do not meet
        middle = middle or ordinary[len(ordinary) // 2]
        cache = self._cache
        root, patterns = version
        self._theirs = (middle, len(self._want))
        helper.start(
            WriteJob(
                str(cache.folder),
                cache.pack_below_bytes,
                root.hex(),
                patterns,
                str(self._root),
                os.fsdecode(self._building),
                os.fsdecode(self._want.paths[middle]),
            )
        )
        return ordinary[: bisect_left(ordinary, middle)]

    def _collect(self) -> None:
        """Takes over what the second process wrote; what it could not is done here, where errors have their place."""
        if self._theirs is None or self._helper is None:
            return
        start, stop = self._theirs
        report = self._helper.finish(stop - start)
        scan = self._scan
        if report is None:
            raise DvliteError("a helper process ended early", hint="run the command again")
        scan.mtimes[start:stop], scan.ctimes[start:stop], scan.inodes[start:stop] = (
            report.mtimes,
            report.ctimes,
            report.inodes,
        )
        self._progress.advance(size_bytes=sum(scan.sizes[start:stop]), files=stop - start - len(report.unwritten))
        with Folders(self._root, self._building) as folders:
            for number in report.unwritten:
                folder, name = folders.split(self._want.paths[start + number], create=True)
                self._write(start + number, folder, name, fresh=True)

    # --- writing ---

    def _write_all(self, write: Sequence[int], folders: Folders, *, fresh: bool) -> None:
        want = self._want
        links = [i for i in write if want.flags[i] == SYMLINK] if SYMLINK in want.flags else []
        ordinary = [i for i in write if want.flags[i] != SYMLINK] if links else write
        self._progress.start("writing files", total_bytes=sum(want.sizes[i] for i in write), total_files=len(write))

        def work(part: Sequence[int], mine: Folders) -> None:
            for i in part:
                try:
                    folder, name = mine.split(want.paths[i], create=True)
                except (FileExistsError, NotADirectoryError):
                    self._blocked.add(i)
                    continue
                if want.flags[i] == EMPTY_DIR and i in self._replaces:
                    with contextlib.suppress(FileNotFoundError):  # a file that is in the cache gives way to the folder
                        os.unlink(name, dir_fd=folder)
                self._write(i, folder, name, fresh=fresh)

        work(self._share(ordinary) if fresh else ordinary, folders)
        self._collect()
        work(links, folders)  # last: nothing is ever written through one
        self._progress.finish()

    def _write(self, i: int, folder: int, name: bytes, *, fresh: bool) -> None:
        """Writes entry i of the version as `name`, complete or not at all; a damaged object is noted, not raised."""
        want = self._want
        flags = want.flags[i]
        counted = False  # of its bytes, as they were written
        try:
            if flags == EMPTY_DIR:
                self._empty_folder(folder, name)
                return
            if flags == SYMLINK:
                status = self._symlink(i, folder, name)
            elif want.sizes[i] <= self._cache.pack_below_bytes or self._cache.has_packed(want.digest(i), (KIND_FILE,)):
                status = self._small(i, folder, name, fresh=fresh)
            else:
                status, counted = self._large(i, folder, name, fresh=fresh), True
        except (ObjectCorrupt, ObjectMissing, FormatError) as error:
            self._failed[i] = error
            return
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            self._blocked.add(i)
            return
        except OSError as error:
            raise os_error(error, "write", self._target / os.fsdecode(want.paths[i])) from error
        self._record(i, status, racy=not fresh)
        self._progress.advance(size_bytes=0 if counted else want.sizes[i], files=1)

    def _publish(self, i: int, temporary: bytes, name: bytes, folder: int) -> None:
        """Gives a complete file its name, if what stands there is still what was planned for; a user's edit of this moment stays."""
        j = self._replaces.get(i)
        if j is None or self._have is None:
            place_new(temporary, name, folder)
        else:
            replace_entry(temporary, name, folder, self._have.scan, j)

    def _empty_folder(self, folder: int, name: bytes) -> None:
        try:
            os.mkdir(name, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                raise

    def _small(self, i: int, folder: int, name: bytes, *, fresh: bool) -> os.stat_result:
        want = self._want
        raw = self._cache.read_in_order(want.digest(i), want.sizes[i])
        _require_size(len(raw), want, i)
        mode = 0o777 if want.flags[i] & EXECUTABLE else 0o666
        temporary = name if fresh else temporary_name().encode()
        descriptor = os.open(temporary, os.O_WRONLY | _CREATE, mode, dir_fd=folder)
        try:
            files.write_all(descriptor, raw)
            if not fresh:
                self._publish(i, temporary, name, folder)
            return os.fstat(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)

    def _large(self, i: int, folder: int, name: bytes, *, fresh: bool) -> os.stat_result:
        want = self._want
        source = self._cache.large_path(want.digest(i))
        temporary = name if fresh else temporary_name().encode()
        digest = want.digest(i)
        is_verified = digest in self._cache.just_verified
        opener = self._cache.open_large(digest) if is_verified else self._cache.open_verified(digest, want.sizes[i])
        with opener as opened:
            _require_size(os.fstat(opened).st_size, want, i)
            try:
                if self._link and not want.flags[i] & EXECUTABLE:
                    os.link(source, temporary, dst_dir_fd=folder)
                    status = None
                else:
                    status = self._copy(i, opened, temporary, folder)
                if not fresh:
                    self._publish(i, temporary, name, folder)
                return os.stat(name, dir_fd=folder, follow_symlinks=False) if status is None or not fresh else status
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    def _copy(self, i: int, source: int, temporary: bytes, folder: int) -> os.stat_result:
        want = self._want
        descriptor = os.open(
            temporary,
            os.O_RDWR | _CREATE,
            0o777 if want.flags[i] & EXECUTABLE else 0o666,
            dir_fd=folder,
        )
        try:
            if not files.share_blocks(source, descriptor):
                files.copy_range(
                    source, descriptor, want.sizes[i], lambda size: self._progress.advance(size_bytes=size)
                )
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _symlink(self, i: int, folder: int, name: bytes) -> os.stat_result:
        want = self._want
        target = self._cache.read_file(want.digest(i), want.sizes[i])
        problem = symlink_problem(want.paths[i], target)
        if problem is not None:
            raise FormatError(
                f"refused the symbolic link {quote(os.fsdecode(want.paths[i]))}: it {problem}",
                hint="this version cannot be used",
            )
        temporary = temporary_name().encode()
        os.symlink(target, temporary, dir_fd=folder)
        try:
            self._publish(i, temporary, name, folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def _chmod(self, i: int, folder: int, name: bytes) -> None:
        """Sets or clears the executable bits, where the file may be read, of a file whose content is right."""
        try:
            descriptor = os.open(name, files.READ | files.NO_FOLLOW, dir_fd=folder)
        except OSError as error:
            raise os_error(error, "change", self._target / os.fsdecode(self._want.paths[i])) from error
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o777
            executable = bool(self._want.flags[i] & EXECUTABLE)
            os.fchmod(descriptor, mode | ((mode & 0o444) >> 2) if executable else mode & ~0o111)
            self._record(i, os.fstat(descriptor), racy=True)
        finally:
            os.close(descriptor)

    def _record(self, i: int, status: os.stat_result, *, racy: bool) -> None:
        scan = self._scan
        scan.sizes[i] = status.st_size
        scan.mtimes[i] = status.st_mtime_ns
        scan.ctimes[i] = status.st_ctime_ns
        scan.inodes[i] = status.st_ino
        self._racy[i] = racy

    def write_quietly(self, part: range, folders: Folders, report: WriteReport) -> None:
        """Writes entries that are no symlinks, and adds to a report what the disk says of them, and which could not be written, whatever the reason."""
        for i in part:
            if self._want.flags[i] == SYMLINK:
                continue
            try:
                folder, name = folders.split(self._want.paths[i], create=True)
                self._write(i, folder, name, fresh=True)
            except (OSError, DvliteError) as error:
                self._failed[i] = DvliteError(reason_of(error))
        before = len(report.mtimes) - part.start
        report.unwritten.extend(before + i for i in sorted(self._blocked | set(self._failed)))
        for column, rows in zip(report.columns, (self._scan.mtimes, self._scan.ctimes, self._scan.inodes), strict=True):
            column.extend(rows[part.start : part.stop])

    # --- afterwards ---

    def _named(self, i: int, error: DvliteError) -> DvliteError:
        """Returns an error about an object as one about the file that it is."""
        inner = os.fsdecode(self._want.paths[i])
        name = f"{self._target.name}/{inner}" if inner else self._target.name
        return type(error)(f"cannot write {quote(name)}: {error.message}", hint=error.hint)

    def outcome(self, todo: CheckoutPlan, have: Snapshot | None) -> CheckoutOutcome:
        """Returns the state of the disk: what was wanted and is there, and what was there and was kept."""
        scan, want = self._scan, self._want
        digests: bytes | bytearray = want.digests
        if have is not None:
            for i, j in todo.keep:
                scan.mtimes[i], scan.ctimes[i], scan.inodes[i] = (
                    have.scan.mtimes[j],
                    have.scan.ctimes[j],
                    have.scan.inodes[j],
                )
                self._racy[i] = have.racy[j]
        absent = set(self._failed) | self._blocked
        local = [] if have is None else sorted([*todo.conflicts, *todo.extra])
        if absent or local or len(todo.write) + len(todo.chmod) + len(todo.keep) != len(want):
            done = {*todo.write, *todo.chmod, *(i for i, _ in todo.keep)}
            present = [i for i in range(len(want)) if i in done and i not in absent]
            scan, digests, self._racy = _merge(scan, want.digests, self._racy, present, have, local)
        lost = [i for i, error in sorted(self._failed.items()) if isinstance(error, ObjectMissing)]
        damaged = [
            (want.digest(i), self._named(i, error)) for i, error in sorted(self._failed.items()) if i not in lost
        ]
        blocked = sorted(want.paths[i] for i in self._blocked)
        return CheckoutOutcome(scan, digests, self._racy, damaged, lost, blocked, self._abandoned)


def _require_size(size_bytes: int, want: Entries, i: int) -> None:
    """Raises ObjectCorrupt if an intact object does not have the size in its listing or pointer."""
    if size_bytes != want.sizes[i]:
        name = f"object {format_oid(FILE_OID, want.digest(i))}"
        raise ObjectCorrupt(
            f"{name} has {size_bytes} bytes, its pointer says {want.sizes[i]}", hint="restore the pointer from git"
        )


def _merge(
    scan: Scan, digests: bytes, racy: bytearray, present: list[int], have: Snapshot | None, local: list[int]
) -> tuple[Scan, bytearray, bytearray]:
    """Builds the state of the disk from two sources, in path order."""
    rows: list[tuple[bytes, Scan, int, bytes, int]] = [
        (scan.paths[i], scan, i, digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES], racy[i]) for i in present
    ]
    if have is not None:
        rows.extend((have.scan.paths[j], have.scan, j, have.digest(j), have.racy[j]) for j in local)
    rows.sort(key=lambda row: row[0])
    merged = Scan()
    for _, source, i, _, _ in rows:
        merged.copy_from(source, i)
    return merged, bytearray(b"".join(row[3] for row in rows)), bytearray(row[4] for row in rows)
