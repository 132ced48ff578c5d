"""A folder in which models stand for servers. A version gets its name by one rename, complete and durable; the file
that a server follows is replaced by another.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dvlite import files
from dvlite.errors import ObjectCorrupt, UsageError
from dvlite.files import is_temporary_name, os_error, require_space, sync_path, temporary_name, write_all
from dvlite.serving.place import (
    MOST_FILES,
    PIECE_BYTES,
    Hashed,
    Hasher,
    ServedContent,
    ServingPlace,
    VersionTaken,
    hashed_content,
)
from dvlite.show import quote

_LOCK = ".dvlite-export"


class FolderPlace:
    """A folder; it need not be there before the first export."""

    def __init__(self, root: Path) -> None:
        self.root, self.url = root, str(root)
        self.label = quote(str(root))

    def above(self) -> tuple[ServingPlace, str] | None:
        return (FolderPlace(self.root.parent), self.root.name) if self.root.name else None

    def children(self, folder: str) -> list[str]:
        try:
            names = sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise os_error(error, "read", self.root / folder) from error
        if len(names) > MOST_FILES:
            raise UsageError(f"{quote(str(self.root / folder))} holds more than {MOST_FILES:,} names")
        return [name for name in names if not is_temporary_name(os.fsencode(name))]

    def sizes(self, folder: str) -> dict[str, int]:
        found: dict[str, int] = {}
        top = self.root / folder
        waiting, entered = [""], set()
        try:
            while waiting:
                inside = waiting.pop()
                for item in os.scandir(top / inside):
                    name = f"{inside}{item.name}"
                    status = _status(item)
                    if not stat.S_ISDIR(status.st_mode):
                        found[name] = status.st_size if stat.S_ISREG(status.st_mode) else -1
                    elif (status.st_dev, status.st_ino) not in entered:  # a link may lead back
                        entered.add((status.st_dev, status.st_ino))
                        waiting.append(f"{name}/")
                    if len(found) + len(waiting) > MOST_FILES:
                        raise UsageError(f"{quote(str(top))} holds more than {MOST_FILES:,} files")
        except (FileNotFoundError, NotADirectoryError):
            return found
        except OSError as error:
            raise os_error(error, "read", top) from error
        return found

    def head(self, path: str, limit_bytes: int) -> bytes | None:
        return files.read_regular(self.root / path, str(self.root / path), limit_bytes, follow=True)

    def hashed(self, path: str, most_bytes: int, advance: Callable[[int], None]) -> Hashed | None:
        return hashed_file(self.root / path, most_bytes, advance)

    @contextlib.contextmanager
    def fetched(self, path: str) -> Iterator[Path | None]:
        yield self.root / path if (self.root / path).is_file() else None

    @contextlib.contextmanager
    def held(self, name: str, warn: Callable[[str], None]) -> Iterator[None]:
        base = self.root / name
        self._make(base)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(files.lock(base / _LOCK, waiting=warn))
                for folder in (self.root, base):
                    for leftover in os.listdir(folder):
                        if is_temporary_name(os.fsencode(leftover)):
                            _remove(folder / leftover)
            except OSError as error:
                raise os_error(error, "write in", base) from error
            yield

    def write_version(self, folder: str, contents: Mapping[str, ServedContent], sidecar: str, last: str) -> int:
        """Writes all of it under a temporary name, reads it again, and renames the folder."""
        target = self.root / folder
        total = sum(content.size_bytes for content in contents.values())
        require_space(files.existing_folder(target), total, f"writing {quote(str(target))}")
        temporary = target.parent / temporary_name()
        try:
            self._make(target.parent)
            os.mkdir(temporary)
            folders = {temporary}
            for path, content in contents.items():
                place = temporary / path
                place.parent.mkdir(parents=True, exist_ok=True)
                folders |= {above for above in place.parents if above.is_relative_to(temporary)}
                written = hashed_content(content)
                _write_durably(place, content)
                if hashed_file(place, content.size_bytes, lambda _: None) != written:
                    raise ObjectCorrupt(
                        f"{quote(str(target / path))} does not read as it was written",
                        hint="check that disk, and export again",
                    )
            for each in folders:
                sync_path(each)
            os.rename(temporary, target)
            sync_path(target.parent)
        except OSError as error:
            if os.path.lexists(target):
                raise VersionTaken(f"{quote(str(target))} was made meanwhile", hint="run it again") from error
            raise os_error(error, "write", target) from error
        finally:
            with contextlib.suppress(OSError):
                _remove(temporary)
        return total

    def complete(self, folder: str, contents: Mapping[str, ServedContent], last: str) -> int:
        return 0  # a folder of a version is complete, or is not there

    def write(self, path: str, content: ServedContent) -> None:
        target = self.root / path
        self._make(target.parent)
        require_space(target.parent, content.size_bytes, f"writing {quote(str(target))}")
        temporary = target.parent / temporary_name()
        try:
            _write_durably(temporary, content)
            os.replace(temporary, target)
            sync_path(target.parent)
        except OSError as error:
            raise os_error(error, "write", target) from error
        finally:
            temporary.unlink(missing_ok=True)

    def link(self, path: str, to: str) -> None:
        """Makes a symbolic link, in place of one that is there."""
        target = self.root / path
        temporary = target.parent / temporary_name()
        try:
            os.symlink(to, temporary)
            os.replace(temporary, target)
            sync_path(target.parent)
        except OSError as error:
            raise os_error(error, "write", target) from error
        finally:
            temporary.unlink(missing_ok=True)

    def linked(self, path: str) -> str | None:
        """Returns what a symbolic link has in it, None where there is none. Raises UsageError for something else of that name."""
        try:
            return os.readlink(self.root / path)
        except FileNotFoundError:
            return None
        except OSError:
            raise UsageError(
                f"{quote(str(self.root / path))} is no symbolic link", hint="move it away, or choose another --name"
            ) from None

    def move(self, folder: str, to: str) -> None:
        """Moves a folder of a version, at one stroke."""
        target = self.root / to
        try:
            self._make(target.parent)
            os.rename(self.root / folder, target)
            sync_path(target.parent)
            sync_path((self.root / folder).parent)
        except OSError as error:
            raise os_error(error, "move", self.root / folder) from error

    def remove_version(self, folder: str, sidecar: str) -> None:
        path = self.root / folder
        temporary = path.parent / temporary_name()
        try:
            os.rename(path, temporary)
            sync_path(path.parent)
            _remove(temporary)
        except OSError as error:
            raise os_error(error, "remove", path) from error

    def _make(self, folder: Path) -> None:
        """Makes a folder and those above it, durably. Raises UsageError where a file is in the way."""
        try:
            above = files.existing_folder(folder)
            folder.mkdir(parents=True, exist_ok=True)
            if above != folder:
                files.sync_above(folder, above)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"{quote(str(folder))} is no folder", hint="choose another place: --dest") from None
        except OSError as error:
            raise os_error(error, "make", folder) from error


def hashed_file(path: Path, most_bytes: int, advance: Callable[[int], None]) -> Hashed | None:
    """Reads a file on disk and hashes it, no more of it than `most_bytes` and one; None if it is not there. Raises DvliteError."""
    try:
        with open(path, "rb", buffering=0, opener=files.open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise files.refused(str(path), "it is not an ordinary file", hint="remove it")
            hasher = Hasher()
            while piece := file.read(min(PIECE_BYTES, most_bytes + 1 - hasher.size_bytes)):
                hasher.update(piece)
                advance(len(piece))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise os_error(error, "read", path) from error
    return hasher.hashed()


def _status(item: os.DirEntry[str]) -> os.stat_result:
    """Returns what a name is, or what a link leads to: the init container of KServe makes links."""
    try:
        return item.stat()
    except OSError:
        return item.stat(follow_symlinks=False)


def _write_durably(path: Path, content: ServedContent) -> None:
    mode = 0o777 if content.executable else 0o666
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with content.opened() as data:
            write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
