"""Writes into folders through their descriptors, without following symlinks; knows names, not versions."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from dvlite.files import FOLDER_ONLY, NO_FOLLOW, exchange, temporary_name
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.workspace.scan import Scan

_DIRECTORY = os.O_RDONLY | FOLDER_ONLY | NO_FOLLOW


class Folders:
    """Descriptors of the folders below `inner`, which is inside `root`; a few kept open.

    No symbolic link is followed on the way from `root` down, `inner` included: a folder swapped for a link is an error.
    """

    _KEEP = 8

    def __init__(self, root: Path, inner: bytes = b"", *, create: bool = False) -> None:
        self.root, self.inner = root, inner
        self.top = _walk(root, inner, create=create)
        self._open: dict[bytes, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (*self._open.values(), self.top):
            os.close(descriptor)

    def split(self, path: bytes, *, create: bool = False) -> tuple[int, bytes]:
        """Returns the descriptor of a path's folder, and its last name."""
        cut = path.rfind(b"/")
        return (self.top, path) if cut < 0 else (self._folder(path[:cut], create=create), path[cut + 1 :])

    def forget(self, path: bytes) -> None:
        """Closes a folder that is about to be removed."""
        for name in [name for name in self._open if name == path or name.startswith(path + b"/")]:
            os.close(self._open.pop(name))

    def _folder(self, path: bytes, *, create: bool) -> int:
        descriptor = self._open.get(path)
        if descriptor is not None:
            return descriptor
        parent, name = self.split(path, create=create)
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
            with contextlib.suppress(FileExistsError):  # another thread may have made it
                os.mkdir(name, dir_fd=parent)
            descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
        if len(self._open) >= self._KEEP:
            for old in list(self._open)[:4]:  # what is above is not needed once this is open
                os.close(self._open.pop(old))
        self._open[path] = descriptor
        return descriptor


def _walk(root: Path, inner: bytes, *, create: bool) -> int:
    descriptor = os.open(root, os.O_RDONLY | FOLDER_ONLY)
    try:
        for name in inner.split(b"/") if inner else ():
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
            below = os.open(name, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def remove_entries(folders: Folders, scan: Scan, chosen: Sequence[int]) -> None:
    """Removes entries of a scan that are still what they were, then the folders that this leaves empty."""
    emptied: set[bytes] = set()
    for j in chosen:
        path = scan.paths[j]
        folder, name = folders.split(path)
        if scan.flags[j] == EMPTY_DIR:
            emptied.add(path)
        else:
            remove_entry(name, folder, scan, j)
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


def publish(temporary: bytes, name: bytes, folder: int) -> None:
    """Gives a complete file its name; an empty folder in its place gives way."""
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError as blocked:
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError:  # something of the user's is in it
            raise blocked from None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def replace_entry(temporary: bytes, name: bytes, folder: int, scan: Scan, j: int) -> None:
    """Gives a complete file the name of an entry of a scan; raises FileExistsError, and leaves what is there, if that is not the entry any more.

    Where names can be swapped, what came out is compared: an edit in the last moment is put back. Else it is compared just before.
    """
    if not unchanged(folder, name, scan, j):
        raise FileExistsError(name)
    try:
        is_swapped = exchange(temporary, name, folder)
    except FileNotFoundError:
        is_swapped = False
    if not is_swapped:
        publish(temporary, name, folder)
    elif _is_entry(folder, temporary, scan, j):
        _drop(temporary, folder)
    else:
        exchange(temporary, name, folder)
        raise FileExistsError(name)


def remove_entry(name: bytes, folder: int, scan: Scan, j: int) -> None:
    """Removes an entry of a scan; what came in its place is left, or put back if it came in the last moment."""
    if not unchanged(folder, name, scan, j):
        return
    aside = temporary_name().encode()
    with contextlib.suppress(FileNotFoundError):
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        if _is_entry(folder, aside, scan, j):
            _drop(aside, folder)
        else:
            place_new(aside, name, folder)


def _is_entry(folder: int, name: bytes, scan: Scan, j: int) -> bool:
    """Returns whether a file that was just renamed, which moves its time of change, is an entry of a scan."""
    now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if scan.flags[j] == EMPTY_DIR:
        return stat.S_ISDIR(now.st_mode)
    return (now.st_size, now.st_mtime_ns, now.st_ino) == (scan.sizes[j], scan.mtimes[j], scan.inodes[j])


def _drop(name: bytes, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):
        os.rmdir(name, dir_fd=folder)


def place_new(temporary: bytes, name: bytes, folder: int) -> None:
    """Gives a complete file a name that must be free; raises FileExistsError for whatever appeared there meanwhile."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        publish(temporary, name, folder)  # an empty folder gives way
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            publish(temporary, name, folder)  # a file system without hard links
        else:
            raise FileExistsError(name) from None
    else:
        os.unlink(temporary, dir_fd=folder)


def unchanged(folder: int, name: bytes, scan: Scan, j: int | None) -> bool:
    """Returns whether what stands at a name is still what the plan was made for (nothing, if j is None)."""
    try:
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return True
    if j is None:
        return stat.S_ISDIR(now.st_mode)  # the write itself decides
    if scan.flags[j] == EMPTY_DIR:
        return stat.S_ISDIR(now.st_mode)
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino) == (
        scan.sizes[j],
        scan.mtimes[j],
        scan.ctimes[j],
        scan.inodes[j],
    )


def remove_empty_folders(root: Path, current: Path, path: str) -> None:
    """Removes the folders above a path as far as they are empty, as git does; never `root` and none that holds `current`."""
    folder = (root / path).parent
    with contextlib.suppress(OSError):  # not empty: something else lives there
        while folder != root and not current.is_relative_to(folder):
            os.rmdir(folder)
            folder = folder.parent
