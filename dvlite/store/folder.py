"""A remote in a folder: the same objects under the same names as in a bucket, and the same promise that an answer means durable.

Own calls to the operating system and no fsspec: its local `put_file` is a plain copy that an interruption tears under the final name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dvlite.errors import DvliteError, NoSpace, RemoteError
from dvlite.files import os_error, read_at, require_space, sync_path, temporary_name, write_all
from dvlite.show import quote
from dvlite.store.object_store import Buffer, Listing, ObjectAbsent, ObjectEntry, is_name, require_name, require_prefix

# Readable by all, writable by none: objects never change.
_MODE = 0o444
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class FolderStore:
    """Objects as files below one folder, which the first put creates (its parent must exist: an unmounted disk is an error).

    A kill leaves at most a temporary file, which no listing shows. Keeps no connection and no state.
    """

    def __init__(self, folder: Path) -> None:
        self.label = quote(str(folder))
        self._folder = folder

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        require_name(name)
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not block us
            try:
                status = os.fstat(descriptor)
                if stat.S_ISDIR(status.st_mode):  # names below it exist, as keys do in a bucket
                    raise ObjectAbsent(name, self.label)
                if not stat.S_ISREG(status.st_mode):
                    raise RemoteError(f"cannot read {quote(str(path))}: not a file")
                first = start or 0
                last = status.st_size if end is None else min(end, status.st_size)
                return read_at(descriptor, max(0, last - first), first)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            self._require_reachable()
            raise ObjectAbsent(name, self.label) from None
        except OSError as error:
            raise _failed(error, "read", path) from error

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        require_name(name)
        path = self._folder / name
        self._make_folder(path.parent)
        require_space(path.parent, memoryview(data).nbytes, f"writing {quote(name)} to {self.label}")
        temporary = path.parent / temporary_name()
        try:
            _write_durably(temporary, data)
            self._open_to_group(temporary, _MODE)
            if only_if_absent:
                created = _link(temporary, path)
            else:
                os.replace(temporary, path)
                created = True
            sync_path(path.parent)
        except OSError as error:
            raise _failed(error, "write", path) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return created or self.get(name, end=memoryview(data).nbytes + 1) == data

    def list(self, prefix: str) -> Listing:
        require_prefix(prefix)
        now = time.time()
        self._require_reachable()
        above = prefix.rpartition("/")[0]
        try:
            entries = tuple(_walk(self._folder / above, f"{above}/" if above else "", prefix))
        except OSError as error:
            raise _failed(error, "list", self._folder / above) from error
        return Listing(entries, now)

    def delete(self, names: Sequence[str]) -> None:
        folders = set()
        for name in names:
            require_name(name)
            path = self._folder / name
            try:
                os.unlink(path)
                folders.add(path.parent)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise _failed(error, "remove", path) from error
        for folder in folders:
            sync_path(folder)

    def close(self) -> None:
        return

    def _require_reachable(self) -> None:
        """Raises RemoteError for a store that is not there, as opposed to empty: a wrong path, or a disk that is not mounted."""
        if self._folder.is_dir():
            return
        if os.path.lexists(self._folder):
            if self._folder.is_dir():  # somebody else's first put has just created it
                return
            raise RemoteError(f"cannot use {self.label} as a remote: not a folder")
        if not self._folder.parent.is_dir():
            raise RemoteError(
                f"cannot find the folder {quote(str(self._folder.parent))}",
                hint="mount the disk, or create the folder with mkdir -p",
            )

    def _make_folder(self, folder: Path) -> None:
        """Creates what is missing between the remote's folder and `folder`, durably."""
        if folder.is_dir():
            return
        self._require_reachable()
        missing = [folder]
        while missing[-1] != self._folder and not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for path in reversed(missing):
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path)
                    self._open_to_group(path, 0o2777)
                sync_path(path.parent)
            except OSError as error:
                raise _failed(error, "create", path) from error

    def _open_to_group(self, path: Path, mode: int) -> None:
        """Gives what was made the rights of the remote's folder, as far as `mode` goes, where a group writes to it: whatever the umask."""
        above = os.stat(self._folder).st_mode
        if path != self._folder and above & stat.S_IWGRP:
            os.chmod(path, above & mode)


def _write_durably(path: Path, data: Buffer) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(temporary: Path, path: Path) -> bool:
    """Gives a complete file its name if that is free; a link does both in one step, where the file system has links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(
            path
        ):  # a race is possible here: conditional creation is a check, the protocol does not rest on it
            return False
        os.replace(temporary, path)
    return True


def _walk(folder: Path, above: str, prefix: str) -> Iterator[ObjectEntry]:
    """Yields the objects below `folder` whose names start with `prefix`; temporary and foreign files are not objects."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for item in entries:
        name = above + item.name
        if not is_name(name) or not (name.startswith(prefix) or prefix.startswith(f"{name}/")):
            continue
        try:
            status = item.stat()
        except FileNotFoundError:  # deleted meanwhile, or a dangling link
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(folder / item.name, f"{name}/", prefix)
        elif stat.S_ISREG(status.st_mode):
            yield ObjectEntry(name, status.st_size, status.st_mtime)


def _failed(error: OSError, verb: str, path: Path) -> DvliteError:
    explained = os_error(error, verb, path)
    if isinstance(explained, NoSpace):
        return explained
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return RemoteError(explained.message, hint="check who may write there" if denied else None)
