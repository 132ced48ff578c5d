"""Makes what is on disk equal a version: first a plan (pure data), then the writes.

Bytes that are not in the cache are never overwritten or removed. Every write goes through the descriptor of an opened folder, follows no
symlink and appears under its final name complete. A tree that does not exist yet is built under a temporary name and renamed once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing
from dvlite.files import os_error, quote, temporary_name, wait_out
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, SYMLINK, Entries
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import format_oid
from dvlite.progress import Progress
from dvlite.store.cache import Cache
from dvlite.store.large import open_large, open_verified
from dvlite.store.pack import KIND_FILE, unpack
from dvlite.workspace.folders import Folders, publish, unchanged
from dvlite.workspace.identify import Snapshot, symlink_problem
from dvlite.workspace.outcome import Outcome, merge
from dvlite.workspace.planning import Plan
from dvlite.workspace.scan import Scan

_CREATE = os.O_CREAT | os.O_EXCL | files.NO_FOLLOW


def apply(
    made: Plan,
    want: Entries,
    have: Snapshot | None,
    target: Path,
    cache: Cache,
    *,
    jobs: int,
    progress: Progress,
    link: bool = False,
) -> Outcome:
    """Carries out a plan at `target`. `link` makes large files read-only hard links into the cache.

    Objects that are damaged or missing are listed in the outcome, not raised: everything else is still done.
    """
    writer = _Writer(want, cache, target, progress, link=link)
    single = want.paths == [b""]
    if have is None:
        if single:
            writer.single_file()
        else:
            writer.fresh_tree(made.write, jobs)
    elif single:
        writer.update_single(made, have)
    else:
        writer.update_tree(made, have, jobs)
    return writer.outcome(made, have)


class _Writer:
    """Writes one tracked path; `scan` grows into the state of the disk, entry by entry of `want`."""

    def __init__(self, want: Entries, cache: Cache, target: Path, progress: Progress, *, link: bool) -> None:
        count = len(want)
        self._want, self._cache, self._target = want, cache, target
        self._progress, self._link = progress, link
        zeros = array("q", bytes(8 * count))
        self._scan = Scan(
            want.paths, bytearray(want.flags), array("q", want.sizes), zeros[:], zeros[:], array("Q", bytes(8 * count))
        )
        self._racy = bytearray(count)
        self._failed: dict[int, DvliteError] = {}
        self._blocked: set[int] = set()
        self._window = files.racy_window_ns(_existing(target.parent))
        cache.segments()  # read once, before threads share it

    # --- a path that is not there yet ---

    def fresh_tree(self, write: Sequence[int], jobs: int) -> None:
        """Builds the whole directory beside its place, then renames it once: nobody sees it half done."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._target.parent / temporary_name()
        try:
            os.mkdir(temporary)
            with Folders(temporary) as folders:
                self._write_all(write, folders, jobs, fresh=True)
            if len(self._scan):
                wait_out(max(self._scan.ctimes), self._window)
            os.rename(temporary, self._target)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise os_error(error, "write", self._target) from error
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def single_file(self) -> None:
        """Writes a tracked file that is not there."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        with Folders(self._target.parent) as folders:
            self._write(0, folders.top, os.fsencode(self._target.name), fresh=False)

    # --- a path that is there ---

    def update_single(self, made: Plan, have: Snapshot) -> None:
        """Replaces or completes a tracked file."""
        with Folders(self._target.parent) as folders:
            name = os.fsencode(self._target.name)
            for i in made.write:
                if unchanged(folders.top, name, have.scan, made.replace.get(i)):
                    self._write(i, folders.top, name, fresh=False)
                else:
                    self._blocked.add(i)
            for i in made.chmod:
                self._chmod(i, folders.top, name)

    def update_tree(self, made: Plan, have: Snapshot, jobs: int) -> None:
        """Brings an existing directory up to date in place."""
        with Folders(self._target) as folders:
            self._remove(made, have, folders)
            self._write_all(made.write, folders, jobs, fresh=False, made=made, have=have)
            for i in made.chmod:
                folder, name = folders.split(self._want.paths[i])
                self._chmod(i, folder, name)

    def _remove(self, made: Plan, have: Snapshot, folders: Folders) -> None:
        """Removes files, then the folders that this leaves empty unless the version has them."""
        emptied: set[bytes] = set()
        for j in made.remove:
            path = have.scan.paths[j]
            folder, name = folders.split(path)
            if have.scan.flags[j] == EMPTY_DIR:
                emptied.add(path)
            elif unchanged(folder, name, have.scan, j):
                os.unlink(name, dir_fd=folder)
            if b"/" in path:
                emptied.add(path[: path.rfind(b"/")])
        while emptied:
            path = max(emptied, key=len)
            emptied.discard(path)
            folder, name = folders.split(path)
            with contextlib.suppress(OSError):  # not empty: something else lives there
                folders.forget(path)
                os.rmdir(name, dir_fd=folder)
                if b"/" in path:
                    emptied.add(path[: path.rfind(b"/")])

    # --- writing ---

    def _write_all(
        self,
        write: Sequence[int],
        folders: Folders,
        jobs: int,
        *,
        fresh: bool,
        made: Plan | None = None,
        have: Snapshot | None = None,
    ) -> None:
        want = self._want
        ordinary = [i for i in write if want.flags[i] != SYMLINK]
        links = [i for i in write if want.flags[i] == SYMLINK]  # last: nothing is ever written through one
        self._progress.start("writing files", total_bytes=sum(want.sizes[i] for i in write), total_files=len(write))

        def work(part: Sequence[int], mine: Folders) -> None:
            for i in part:
                try:
                    folder, name = mine.split(want.paths[i], create=True)
                except (FileExistsError, NotADirectoryError):
                    self._blocked.add(i)
                    continue
                if (
                    made is not None
                    and have is not None
                    and not unchanged(folder, name, have.scan, made.replace.get(i))
                ):
                    self._blocked.add(i)
                    continue
                if made is not None and want.flags[i] == EMPTY_DIR and i in made.replace:
                    with contextlib.suppress(FileNotFoundError):  # a file that is in the cache gives way to the folder
                        os.unlink(name, dir_fd=folder)
                self._write(i, folder, name, fresh=fresh)

        workers = max(1, min(jobs, len(ordinary) // 500))
        if workers == 1:
            work(ordinary, folders)
        else:
            with ThreadPoolExecutor(workers) as pool, contextlib.ExitStack() as stack:
                parts = [
                    ordinary[len(ordinary) * k // workers : len(ordinary) * (k + 1) // workers] for k in range(workers)
                ]
                mine = [stack.enter_context(Folders(folders.path)) for _ in parts]
                for done in [pool.submit(work, part, own) for part, own in zip(parts, mine, strict=True)]:
                    done.result()
        work(links, folders)
        self._progress.finish()

    def _write(self, i: int, folder: int, name: bytes, *, fresh: bool) -> None:
        """Writes entry i of the version as `name`, complete or not at all; a damaged object is noted, not raised."""
        want = self._want
        flags = want.flags[i]
        try:
            if flags == EMPTY_DIR:
                self._empty_folder(folder, name)
                return
            if flags == SYMLINK:
                status = self._symlink(i, folder, name)
            elif want.sizes[i] <= self._cache.pack_below_bytes or self._cache.has_packed(want.digest(i), (KIND_FILE,)):
                status = self._small(i, folder, name, fresh=fresh)
            else:
                status = self._large(i, folder, name, fresh=fresh)
        except (ObjectCorrupt, ObjectMissing, FormatError) as error:
            self._failed[i] = error
            return
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            self._blocked.add(i)
            return
        except OSError as error:
            raise os_error(error, "write", self._target / os.fsdecode(want.paths[i])) from error
        self._record(i, status, racy=not fresh)
        self._progress.advance(size_bytes=want.sizes[i], files=1)

    def _empty_folder(self, folder: int, name: bytes) -> None:
        try:
            os.mkdir(name, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                raise

    def _small(self, i: int, folder: int, name: bytes, *, fresh: bool) -> os.stat_result:
        want = self._want
        raw = self._read_small(i)
        _require_size(len(raw), want, i)
        mode = 0o777 if want.flags[i] & EXECUTABLE else 0o666
        temporary = name if fresh else temporary_name().encode()
        descriptor = os.open(temporary, os.O_WRONLY | _CREATE, mode, dir_fd=folder)
        try:
            if raw and os.write(descriptor, raw) != len(raw):
                os.lseek(descriptor, 0, os.SEEK_SET)
                files.write_all(descriptor, raw)
            if not fresh:
                publish(temporary, name, folder)
            return os.fstat(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)

    def _read_small(self, i: int) -> bytes:
        digest = self._want.digest(i)
        places = self._cache.locations(digest, (KIND_FILE,))
        if len(places) == 1:
            return unpack(places[0].record, self._cache.stored(places[0]))
        return self._cache.read_file(digest, self._want.sizes[i])

    def _large(self, i: int, folder: int, name: bytes, *, fresh: bool) -> os.stat_result:
        want = self._want
        source = self._cache.large_path(want.digest(i))
        temporary = name if fresh else temporary_name().encode()
        opener = open_large(source, want.digest(i))
        if want.digest(i) not in self._cache.just_verified:
            opener = open_verified(source, want.digest(i), want.sizes[i])
        with opener as opened:
            _require_size(os.fstat(opened).st_size, want, i)
            try:
                if self._link and not want.flags[i] & EXECUTABLE:
                    os.link(source, temporary, dst_dir_fd=folder)
                    status = None
                else:
                    status = self._copy(i, opened, temporary, folder)
                if not fresh:
                    publish(temporary, name, folder)
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
                files.copy_range(source, descriptor, want.sizes[i])
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _symlink(self, i: int, folder: int, name: bytes) -> os.stat_result:
        want = self._want
        target = self._read_small(i)
        problem = symlink_problem(want.paths[i], target)
        if problem is not None:
            raise FormatError(
                f"refused the symbolic link {quote(os.fsdecode(want.paths[i]))}: it {problem}",
                hint="this version cannot be used",
            )
        temporary = temporary_name().encode()
        os.symlink(target, temporary, dir_fd=folder)
        try:
            publish(temporary, name, folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def _chmod(self, i: int, folder: int, name: bytes) -> None:
        """Sets or clears the executable bits, where the file may be read, of a file whose content is right."""
        try:
            descriptor = os.open(name, os.O_RDONLY | files.NO_FOLLOW, dir_fd=folder)
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

    # --- afterwards ---

    def outcome(self, made: Plan, have: Snapshot | None) -> Outcome:
        """Returns the state of the disk: what was wanted and is there, and what was there and was kept."""
        scan, want = self._scan, self._want
        digests = bytearray(want.digests)
        if have is not None:
            for i, j in made.keep:
                scan.mtimes[i], scan.ctimes[i], scan.inodes[i] = (
                    have.scan.mtimes[j],
                    have.scan.ctimes[j],
                    have.scan.inodes[j],
                )
                self._racy[i] = have.racy[j]
        absent = set(self._failed) | self._blocked
        local = [] if have is None else sorted([*made.conflicts, *made.extra])
        missing = {want.paths[i] for i in absent}
        done = set(made.write) | set(made.chmod) | {i for i, _ in made.keep}
        if absent or local or len(done) != len(want):
            kept = [i for i in range(len(want)) if i in done and i not in absent]
            scan, digests, self._racy = merge(scan, digests, self._racy, kept, have, local)
        damaged = [(want.digest(i), error) for i, error in sorted(self._failed.items())]
        return Outcome(scan, digests, self._racy, damaged, sorted(missing - {want.paths[i] for i in self._failed}))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _require_size(size_bytes: int, want: Entries, i: int) -> None:
    """Raises ObjectCorrupt if an object, sound in itself, has not the size that its listing or pointer says."""
    if size_bytes != want.sizes[i]:
        name = f"object {format_oid(FILE_OID, want.digest(i))}"
        raise ObjectCorrupt(
            f"{name} has {size_bytes} bytes, its pointer says {want.sizes[i]}", hint="restore the pointer from git"
        )
