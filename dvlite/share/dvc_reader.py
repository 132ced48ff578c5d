"""Reads the data of a repository of DVC as it is: what a path means comes out of DVC's cache or remote into a cache of dvlite.

DVC names a file by its md5, which covers all of it: so files come whole, and none is used before its md5 was checked. What came once is
found again by a note of the user's, in a later command too.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.files import NO_FOLLOW, read_own, write_all
from dvlite.formats import manifest
from dvlite.formats.config import Config
from dvlite.formats.dvc_files import DvcOut
from dvlite.formats.manifest import EXECUTABLE, FILE, Entry
from dvlite.formats.pointer import Pointer
from dvlite.oid import DIGEST_BYTES, Digest
from dvlite.paths import ancestors, is_inside
from dvlite.progress import NullProgress, Progress
from dvlite.repo import config_files, dvc_version
from dvlite.repo.dvc_remote import DvcRemote
from dvlite.repo.dvc_version import DvcVersion
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote, some, word
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer, version_of_entries
from dvlite.store.checked import StoredBytes
from dvlite.store.dvc_objects import DvcName, DvcObjects, DvcPlace, Folder, read_listing

_NOTES_BYTES = 32 << 20  # 250,000 files


class DvcReader:
    """Reads one version; `config` says which places the user approved. Thread-safe."""

    def __init__(self, version: DvcVersion, config: Config, environ: Mapping[str, str], cache: Cache) -> None:
        self._version, self._cache = version, cache
        self._lock = threading.RLock()
        self._listings: dict[str, dict[str, DvcName]] = {}
        self._notes = _notes(environ)
        self._known = _recall(self._notes)
        theirs = dvc_version.config_of(version, environ)
        root = Path(version.root) if version.root else None
        named = theirs.searched(out.remote for out in version.outs.values())
        self._remotes = [DvcRemote(config, root, theirs, cache.folder / "tmp", name) for name in named]
        folders = dvc_version.caches(root, theirs) if root is not None else []
        self._places: list[DvcPlace] = [*map(Folder, folders), *self._remotes]

    def close(self) -> None:
        """Closes connections."""
        for remote in self._remotes:
            remote.close()

    def above(self, path: str) -> tuple[str, DvcOut] | None:
        """Returns what a path is, or is inside of, if DVC tracks that."""
        outs = self._version.outs
        return next(((name, outs[name]) for name in (path, *ancestors(path)) if name in outs), None)

    def listing(self, path: str) -> Mapping[str, DvcName]:
        """Returns the files of a directory by their paths in it, sorted. Raises ObjectMissing, ObjectCorrupt and FormatError."""
        with self._lock:
            if path not in self._listings:
                self._cache.create()
                with self._explained(path):
                    self._listings[path] = dict(read_listing(self._places, name_of(self._version.outs[path])))
            return self._listings[path]

    def tracked(self, path: str, progress: Progress) -> list[Tracked]:
        """Brings what is at a path or below it into the cache, and returns it as versions of dvlite.

        A directory that the path is inside of comes with that part only. Raises ObjectMissing and ObjectCorrupt.
        """
        outs = self._version.at(path)
        if not outs:
            return []
        parts: dict[str, list[tuple[str, DvcName]]] = {}
        for name, out in outs.items():
            inner = path[len(name) + 1 :] if path.startswith(name + "/") else ""
            if out.is_directory:
                parts[name] = [row for row in self.listing(name).items() if is_inside(row[0], inner)]
            elif not inner:
                parts[name] = [("", name_of(out))]
        is_whole = not any(path.startswith(name + "/") for name in parts)
        size = sum(outs[name].size_bytes for name in parts) if is_whole else 0
        progress.start("reading", total_bytes=size or None, total_files=sum(map(len, parts.values())))
        with self._writing(progress) as (objects, writer):
            tracked = []
            objects.expect(inner for rows in parts.values() for _, inner in rows)
            for name, rows in parts.items():
                with self._explained(name):
                    version = version_of_rows(
                        rows, objects, writer, executable=outs[name].executable and not outs[name].is_directory
                    )
                tracked.append(Tracked(name, version))
        progress.finish()
        return tracked

    def file(self, path: str, name: DvcName) -> StoredBytes:
        """Brings the file at a path into the cache. Raises ObjectMissing and ObjectCorrupt."""
        with self._explained(path), self._writing(NullProgress()) as (objects, _):
            return objects.take(name)

    def bring(self, names: Sequence[DvcName]) -> None:
        """Brings files into the cache, several at a time; passes over those that are not there whole."""
        with self._writing(NullProgress()) as (objects, _):
            objects.expect(names)
            for name in names:
                with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                    objects.take(name)

    @contextlib.contextmanager
    def _writing(self, progress: Progress) -> Iterator[tuple[DvcObjects, Writer]]:
        """Opens the cache to take objects; what was taken stays, whatever fails then."""
        with (
            self._lock,
            Writer(self._cache, progress, durable=False) as writer,
            contextlib.closing(DvcObjects(self._places, writer, progress, self._known)) as objects,
        ):
            try:
                yield objects, writer
            finally:
                writer.commit()
                new = {name: stored for name, stored in objects.taken.items() if self._known.get(name) != stored}
                _remember(self._notes, new)
                self._known |= new

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """Lets the error for an object say which path it is of, and what helps."""
        found = self.above(path)
        if found is not None and not found[1].md5:
            raise ObjectMissing(
                f"cannot read {quote(path)}: DVC has not stored its data", hint="dvc commit, and dvc push"
            )
        try:
            yield
        except (ObjectMissing, ObjectCorrupt) as error:
            origin = self._version.origins.get(found[0]) if found is not None else None
            hint = f"it is imported, and DVC leaves such data where it is: dvlite ls {word(origin)}" if origin else None
            hint = hint or "dvc push, in a clone that has it"
            raise type(error)(f"cannot read {quote(path)}: {error.message}", hint=hint) from None


def version_of_rows(
    rows: Iterable[tuple[str, DvcName]], objects: DvcObjects, writer: Writer, *, executable: bool = False
) -> Pointer:
    """Stores the files of a version, and returns it. Raises ObjectMissing or ObjectCorrupt with the names of all that are not there whole."""
    flags = FILE | EXECUTABLE if executable else FILE
    entries: list[Entry] = []
    lost: dict[str, ObjectMissing | ObjectCorrupt] = {}
    for inner, name in rows:
        try:
            content = objects.take(name)
        except (ObjectMissing, ObjectCorrupt) as error:
            lost[inner] = error
            continue
        entries.append(Entry(os.fsencode(inner), flags, content.size_bytes, content.digest))
    if lost:
        first = next(iter(lost.values()))
        raise type(first)(f"{some([*lost])}: {first.message}" if any(lost) else first.message)
    return version_of_entries(manifest.from_entries(entries), writer)


def name_of(out: DvcOut) -> DvcName:
    """Returns what DVC calls the data of an output."""
    return DvcName(out.md5, out.old)


# --- notes: what dvlite calls the files that DVC names ---


def _notes(environ: Mapping[str, str]) -> Path | None:
    folder = config_files.own_cache_folder(environ)
    return None if folder is None else folder / "dvc-names"


def _recall(path: Path | None) -> dict[DvcName, StoredBytes]:
    """Returns what came before, also what the cache may lack now; losing the note costs a download."""
    known = {}
    data = read_own(path, 2 * _NOTES_BYTES) if path is not None else None
    for line in (data or b"").split(b"\n")[:-1]:  # what a killed process left of a line does not count
        with contextlib.suppress(ValueError):
            md5, kind, digest, size = line.decode().split(" ")
            if len(content := bytes.fromhex(digest)) == DIGEST_BYTES:
                known[DvcName(md5, kind == "old")] = StoredBytes(Digest(content), int(size))
    return known


def _remember(path: Path | None, taken: Mapping[DvcName, StoredBytes]) -> None:
    """Appends to the note; one that is full begins again."""
    lines = "".join(
        f"{name.md5} {'old' if name.old else 'new'} {stored.digest.hex()} {stored.size_bytes}\n"
        for name, stored in taken.items()
    )
    if path is None or not lines:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | NO_FOLLOW, 0o600)
        try:
            if os.fstat(descriptor).st_size + len(lines) > _NOTES_BYTES:
                os.ftruncate(descriptor, 0)
            write_all(descriptor, lines.encode())
        finally:
            os.close(descriptor)
