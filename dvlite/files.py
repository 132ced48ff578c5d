"""Durable and careful use of the file system: atomic writes, copies that share blocks, locks, free space, and the errors for files.

Knows nothing of stores or repositories.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import signal
import stat
import sys
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from dvlite.errors import Busy, DvliteError, FormatError, FormatProblem, NoSpace
from dvlite.show import printable, quote, size_text

TEMP_PREFIX = ".dvl-"
TEMP_PATTERN = TEMP_PREFIX + "[0-9a-f]" * 24  # for git's ignore files
_TEMPORARY = re.compile(rb"\.dvl-([0-9a-f]{16})([0-9a-f]{8})")
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # the module must load on systems without this flag
FOLDER_ONLY = getattr(os, "O_DIRECTORY", 0)
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)  # does not wait at a FIFO
_LOCAL_FILE_SYSTEMS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "f2fs"}
_FICLONE = 0x40049409
_RENAME_EXCHANGE = 2
_SYNCED_TOGETHER = 16  # a disk writes its log once for all of them
_RACY_LOCAL_NS = 20_000_000
_RACY_OTHER_NS = 2_000_000_000


def sync_path(path: Path) -> None:
    """Makes a file or directory durable; an error is final (a second fsync would lie: PostgreSQL's fsyncgate)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_above(path: Path, root: Path) -> None:
    """Makes the names in all folders between a path and `root` durable; folders that are gone are passed over."""
    for folder in path.parents:
        with contextlib.suppress(FileNotFoundError):
            sync_path(folder)
        if folder == root:
            return


def temporary_name() -> str:
    """Returns a short name that no other process uses; it ends in a checksum of itself, so that no file of a user's is taken for one."""
    name = os.urandom(8).hex()
    return f"{TEMP_PREFIX}{name}{zlib.crc32(name.encode()):08x}"


def is_temporary_name(name: bytes) -> bool:
    """Returns whether a name is of `temporary_name`: a file that a killed run may have left."""
    match = _TEMPORARY.fullmatch(name)
    return match is not None and int(match[2], 16) == zlib.crc32(match[1])


def write_atomic(
    path: Path,
    *parts: bytes | bytearray | memoryview,
    mode: int = 0o666,
    sync: bool = True,
    aside: Path | None = None,
) -> None:
    """Replaces or creates a file of these parts so that its name only ever shows all of the old or all of the new bytes.

    `aside` is a folder for the temporary file, on the same disk, where nothing that it may leave is seen.
    """
    temporary = (path.parent if aside is None else aside) / temporary_name()
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            for part in parts:
                write_all(descriptor, part)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise os_error(error, "write", path) from error
    if sync:
        sync_path(path.parent)


class Waits(Protocol):
    """What goes on elsewhere; `result` waits for its end."""

    def result(self) -> object: ...


def write_together(contents: Mapping[Path, bytes], sync_soon: Callable[[int], Waits]) -> None:
    """Replaces or creates many files, each as `write_atomic` does; 16 are on their way to the disk at a time, and each folder is synced once.

    `sync_soon` starts to make an open file durable, which each is before it has its name. Stopped anywhere, the first ones are written.
    """
    waiting: list[tuple[Path, Path, int, Waits]] = []
    try:
        for path, data in contents.items():
            waiting.append(_written(path, data, sync_soon))
            if len(waiting) >= _SYNCED_TOGETHER:
                _give_name(waiting.pop(0))
        while waiting:
            _give_name(waiting.pop(0))
    finally:
        for _, temporary, descriptor, synced in waiting:
            with contextlib.suppress(OSError):
                synced.result()
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
    for folder in dict.fromkeys(path.parent for path in contents):
        sync_path(folder)


def _written(path: Path, data: bytes, sync_soon: Callable[[int], Waits]) -> tuple[Path, Path, int, Waits]:
    temporary = path.parent / temporary_name()
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            write_all(descriptor, data)
            return path, temporary, descriptor, sync_soon(descriptor)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise os_error(error, "write", path) from error


def _give_name(unnamed: tuple[Path, Path, int, Waits]) -> None:
    path, temporary, descriptor, synced = unnamed
    try:
        try:
            synced.result()
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise os_error(error, "write", path) from error


def read_regular(path: Path, where: str, limit_bytes: int, *, follow: bool = False) -> bytes | None:
    """Reads the first bytes of an untrusted ordinary file; None if it is missing. Never blocks.

    Raises FormatError for a symbolic link (which could show any file of this machine), unless the user may have one there (`follow`), and
    for anything that is not a file.
    """
    try:
        descriptor = os.open(path, READ if follow else READ | NO_FOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise refused(where, "it is a symbolic link", hint="replace it by a file") from None
        raise os_error(error, "read", where) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            hint = "replace it by a file" if follow else "remove it, or restore it from git"
            raise refused(where, "it is not an ordinary file", hint=hint, kind="malformed")
        return read_at(descriptor, limit_bytes)
    except OSError as error:
        raise os_error(error, "read", where) from error
    finally:
        os.close(descriptor)


def read_own(path: Path, limit_bytes: int = 1 << 24) -> bytes | None:
    """Reads a file that dvlite wrote and can do without; None if it is not there, not an ordinary file or too large. Never waits."""
    try:
        with open(os.open(path, READ | NO_FOLLOW), "rb") as file:
            status = os.fstat(file.fileno())
            return file.read() if stat.S_ISREG(status.st_mode) and status.st_size <= limit_bytes else None
    except OSError:
        return None


def open_without_waiting(path: str, flags: int) -> int:
    """Opens a file that may be a FIFO, which would wait for its other end: an `opener` for `open`."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def is_there(path: Path) -> bool:
    """Returns whether a name exists, of a dangling link too; raises DvliteError where the system cannot say: an error is not absence."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise os_error(error, "read", path) from error
    return True


def holds(path: Path, data: bytes) -> bool:
    """Returns whether an ordinary file has exactly these bytes; reads at most one byte more. False for a link or an unreadable file."""
    try:
        return read_regular(path, str(path), len(data) + 1) == data
    except DvliteError:
        return False


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Writes every byte, however many calls the kernel takes for it."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def write_at(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Writes every byte at an offset, however many calls the kernel takes for it."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def read_at(descriptor: int, size_bytes: int, offset: int = 0) -> bytes:
    """Returns the bytes at an offset, fewer only where the file ends: network file systems return less than what is asked for."""
    data = os.pread(descriptor, size_bytes, offset)
    if len(data) == size_bytes or not data:
        return data
    pieces = [data]
    left = size_bytes - len(data)
    while left and (data := os.pread(descriptor, left, offset + size_bytes - left)):
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)


def exchange(one: bytes, other: bytes, folder: int) -> bool:
    """Swaps two names in a folder at one stroke; returns False where the system or file system cannot."""
    import ctypes  # 8 ms: only where something is replaced

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(folder, one, folder, other, _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), os.fsdecode(other))


def read_piece(descriptor: int, limit_bytes: int) -> bytes:
    """Returns what a pipe has just now, nothing at its end; the caller reads on. Raises BlockingIOError if it has nothing yet."""
    return os.read(descriptor, limit_bytes)


def is_being_written(descriptor: int) -> bool:
    """Returns whether someone has an open file open or mapped for writing; False where the system does not say.

    Linux refuses a read lease then. Through a mapping bytes change without a change of times. Without a lease, waits for a write that is in progress.
    """
    import fcntl  # Unix only

    is_refused = False
    if hasattr(fcntl, "F_SETLEASE"):
        try:
            # Who opens it for writing meanwhile waits, and the system signals it here: by SIGIO, which ends a process, unless another is named.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            return False
        except OSError as error:
            is_refused = error.errno == errno.EAGAIN  # else: another user's file, or a file system without leases
    with contextlib.suppress(OSError):
        os.lseek(descriptor, 0, getattr(os, "SEEK_HOLE", os.SEEK_SET))  # it needs the lock that a write holds
        os.lseek(descriptor, 0, os.SEEK_SET)
    return is_refused


def os_error(error: OSError, verb: str, path: Path | str) -> DvliteError:
    """Returns an operating system error as an error for the user."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"cannot {verb} {quote(str(path))}: {reason}", hint="free some space and run the command again")
    return DvliteError(f"cannot {verb} {quote(str(path))}: {reason}")


def format_error(
    where: str, line: int | None, reason: str, *, hint: str | None, usual: str, failed: str = "cannot read"
) -> FormatError:
    """Returns the error for a file whose content is wrong on a line; `usual` is the hint if there is no better one."""
    at = "" if line is None else f" line {line}"
    kind: FormatProblem = "malformed" if hint is None else "other"
    message = f"{failed} {quote(where)}{at}: {reason}"
    return FormatError(message, hint=hint or usual, file=where, line=line, reason=reason, kind=kind)


def later_format(where: str, line: int, reason: str) -> FormatError:
    """Returns the error for a file that a later dvlite wrote: what it names is not known, so nothing may be decided by it."""
    message = f"cannot read {quote(where)} line {line}: {reason}"
    hint = "a newer dvlite wrote it: upgrade dvlite"
    return FormatError(message, hint=hint, file=where, line=line, reason=reason, kind="later")


def merge_conflict(where: str, line: int, hint: str) -> FormatError:
    """Returns the error for a file with markers of an unresolved merge conflict."""
    reason = "there is an unresolved merge conflict"
    message = f"cannot read {quote(where)} line {line}: {reason}"
    return FormatError(message, hint=hint, file=where, line=line, reason=reason, kind="conflict")


def refused(where: str, reason: str, *, hint: str | None = None, kind: FormatProblem = "other") -> FormatError:
    """Returns the error for a file that is not opened."""
    return FormatError(f"refused {quote(where)}: {reason}", hint=hint, file=where, reason=reason, kind=kind)


@contextlib.contextmanager
def lock(
    path: Path, *, shared: bool = False, wait: bool = True, waiting: Callable[[str], None] | None = None
) -> Iterator[int]:
    """Holds a kernel lock on `path` (created, never removed); the kernel releases it with the process, so it is never stale.

    `waiting` is called once, with a sentence, if another process holds it. Raises Busy when `wait` is false. Yields the descriptor: a child process that
    inherits it holds the lock too if this process is killed, but not once it leaves here.
    """
    import fcntl  # Unix only: kept out of the top level so that the package imports anywhere

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise
        descriptor = os.open(path, READ)  # another user's: a kernel lock needs no right to write
    try:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                _, holder = lock_holder(descriptor)
                raise Busy(
                    f"another dvlite command is running here{holder and f' ({holder})'}",
                    hint="wait for it, or leave out --no-wait",
                ) from None
            if waiting is not None:
                _, holder = lock_holder(descriptor)
                waiting(f"waiting for another dvlite command here{holder and f' ({holder})'}")
            fcntl.flock(descriptor, operation)
        yield descriptor
    finally:
        try:
            with contextlib.suppress(OSError):  # closing does the same, but for a child that inherited the lock
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)


def lock_holder(descriptor: int) -> tuple[int, str]:
    """Returns the process that holds a kernel lock, and its name (`process 4711, dvlite repro`), as Linux knows it; 0 and '' where that is not known.

    One that inherited it from a killed process is found by its open files.
    """
    try:
        held = os.fstat(descriptor)
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        rows = [row for row in rows if "FLOCK" in row and row[-3].rpartition(":")[2] == str(held.st_ino)]
        holders = [row[-4] for row in rows if row[1] != "->"]
        alive = [pid for pid in holders if os.path.exists(f"/proc/{pid}")]
        pid = (alive or _inheritors(held, {row[-4] for row in rows}))[0]
        program, *words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (OSError, IndexError):
        return 0, ""
    text = " ".join([os.path.basename(program), *words]).strip()
    text = re.sub(r"^python\S* (-\S+ )*\S*/dvlite ", "dvlite ", text)
    left = "" if alive else " which a killed dvlite left running:"
    return int(pid), f"process {pid},{left} {printable(text[:80])}"


def _inheritors(held: os.stat_result, but: Collection[str]) -> list[str]:
    """Returns the processes of /proc that have a file open, the youngest last."""
    pids = []
    for pid in (name for name in os.listdir("/proc") if name.isdigit() and name not in but):
        with contextlib.suppress(OSError):
            opened = (os.stat(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
            if int(pid) != os.getpid() and any(os.path.samestat(held, status) for status in opened):
                pids.append(pid)
    return sorted(pids, key=int)


def share_blocks(source: int, target: int) -> bool:
    """Makes one open file share the blocks of another (Linux FICLONE: btrfs, xfs); returns False where the file system cannot."""
    try:
        import fcntl  # Unix only

        fcntl.ioctl(target, _FICLONE, source)
    except (ImportError, OSError):
        return False
    return True


def can_share_blocks(near: Path, folder: Path) -> bool:
    """Returns whether a file beside `near` can share its blocks with one in `folder`, by trying."""
    source, target = near / temporary_name(), folder / "tmp" / temporary_name()
    try:
        source.write_bytes(b"dvlite" * 1024)
        with open(source, "rb") as opened, open(target, "wb") as copy:
            return share_blocks(opened.fileno(), copy.fileno())
    except OSError:
        return False
    finally:
        for path in (source, target):
            with contextlib.suppress(OSError):  # neither is there: a folder is read-only
                path.unlink(missing_ok=True)


def copy_range(source: int, target: int, size_bytes: int, advance: Callable[[int], None] | None = None) -> None:
    """Copies the first `size_bytes` of one open file to another inside the kernel, keeping holes; stops early at end of file.

    The size is set only where the file ends in a hole: after a power cut, a file that was not synced is empty then, and not full of zeros.
    """
    in_kernel = hasattr(os, "copy_file_range")
    offset = 0
    while offset < size_bytes:
        start, end = _next_data(source, offset, size_bytes)
        if start >= size_bytes:
            break
        offset = start
        while offset < end:
            count, copied = min(end - offset, 1 << 26), 0
            if in_kernel:
                try:
                    copied = os.copy_file_range(source, target, count, offset, offset)
                except OSError as error:
                    if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
                        raise
                    in_kernel = False
            if not in_kernel:
                data = read_at(source, min(count, 1 << 20), offset)
                write_at(target, data, offset)
                copied = len(data)
            if not copied:
                return
            offset += copied
            if advance is not None:
                advance(copied)
    if offset < size_bytes:
        os.ftruncate(target, size_bytes)


def _next_data(descriptor: int, offset: int, end: int) -> tuple[int, int]:
    """Returns the next run of bytes that is not a hole."""
    if not hasattr(os, "SEEK_DATA"):
        return offset, end
    try:
        start = os.lseek(descriptor, offset, os.SEEK_DATA)
        return start, min(end, os.lseek(descriptor, start, os.SEEK_HOLE))
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole is left
            return end, end
        return offset, end


def require_space(folder: Path, needed_bytes: int, purpose: str, *, hint: str | None = None) -> None:
    """Raises NoSpace, before anything is written, if `folder`'s disk has less than `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise NoSpace(
            f"{purpose} needs {size_text(needed_bytes)}, {size_text(free)} is free on the disk of {quote(str(folder))}; nothing was written",
            hint=hint or "free some space and run the command again",
        )


def racy_window_ns(path: Path) -> int:
    """Returns for how many nanoseconds after a change a later change may leave the same times."""
    if sys.platform == "darwin":
        return _RACY_LOCAL_NS
    return _RACY_LOCAL_NS if file_system(path) in _LOCAL_FILE_SYSTEMS else _RACY_OTHER_NS


def existing_folder(path: Path) -> Path:
    """Returns a folder, or the nearest one above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def file_system(path: Path) -> str:
    """Returns the type of the file system that holds `path`, as the kernel names it, or an empty string.

    A btrfs subvolume has a device number of its own that mountinfo does not list: for it, the longest mount point counts.
    """
    with contextlib.suppress(OSError):
        return _file_system_of(os.stat(path).st_dev) or _file_system_above(os.path.realpath(path))
    return ""


@functools.cache
def _file_system_of(device: int) -> str:
    numbers = f"{os.major(device)}:{os.minor(device)}"
    return next((kind for listed, _, kind in _mounts() if listed == numbers), "")


def _file_system_above(path: str) -> str:
    above = [(point, kind) for _, point, kind in _mounts() if path == point or path.startswith(point.rstrip("/") + "/")]
    return max(above, key=lambda mount: len(mount[0]), default=("", ""))[1]


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Yields the device numbers, the mount point and the type of each mount, as they are now."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for fields in (line.split(" ") for line in lines):
            yield fields[2], fields[4], fields[fields.index("-") + 1]


def wait_out(change_ns: int, window_ns: int) -> None:
    """Sleeps until `change_ns` is more than the racy window ago; a time in the future is not waited for."""
    left = change_ns + window_ns - time.time_ns()
    if 0 < left <= window_ns + 1_000_000:
        time.sleep(left / 1e9)


def bytes_on_disk(folder: Path) -> int:
    """Returns the bytes on disk of all files below a folder (holes use none)."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total
