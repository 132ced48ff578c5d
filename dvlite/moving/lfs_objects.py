"""Objects of Git LFS on a remote of dvlite: which there are, sending and fetching one, with what is likely to be asked for next.

git-lfs names an object by its SHA-256, the store by its BLAKE3. The snapshots that pushes leave on the remote say which is which: a version
with the path `lfs/<sha256>`. So they are looked up, claimed, collected and checked as all others are, and need no list of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import snapshot
from dvlite.formats.lfs_transfer import LfsPointer
from dvlite.formats.snapshot import Version
from dvlite.moving.lfs_ahead import PushedTogether, beside
from dvlite.moving.lfs_folder import copy_out, object_in
from dvlite.oid import DIGEST_BYTES, FILE, Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.repo.open_stores import refuse_emptied, signature
from dvlite.repo.repository import Repo
from dvlite.show import quote
from dvlite.store import fetch, push_protocol, snapshots
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.index import RecordLocation
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE
from dvlite.store.push_plan import no_bases
from dvlite.store.remote import Remote

_NAMES = "lfs"  # notes in the clone: which objects of Git LFS a snapshot names, once it was read
_ROW = struct.Struct(f"{DIGEST_BYTES}s{DIGEST_BYTES}sQ")
_AT_ONCE = 1000  # objects in one round of a push
_OTHERS_BYTES = (
    64 << 20
)  # of those that go with the one that git-lfs waits for; the last may go beyond, a larger one goes alone
_WINDOW_BYTES = (
    1 << 20
)  # of a pack: what one request brings, because git-lfs is likely to ask for what lies beside an object

Content = tuple[Digest, int]  # of a file, with its size in bytes


class LfsObjects:
    """The objects of Git LFS on an open remote, for one process of a clone; others use it at the same time."""

    def __init__(self, repo: Repo, cache: Cache, remote: Remote, name: str, progress: Progress) -> None:
        self._repo, self._cache, self._remote, self._progress = repo, cache, remote, progress
        self._name = name
        self._catalog = Catalog(remote, progress)
        self._known: defaultdict[str, dict[Content, None]] = defaultdict(dict)
        self._read: set[str] = set()  # snapshots whose objects are known
        self._sent: set[str] = set()  # by this process
        self._together: PushedTogether | None = None
        self._local = Path()  # the folder of git-lfs
        self._looked = False
        self._damage: DvliteError | None = None  # of a snapshot, which may name what is looked for
        remote.folder.mkdir(parents=True, exist_ok=True)

    # --- sending ---

    def look_ahead(self, git_remote: str, folder: Path) -> None:
        """Lets what is pushed with an object to one of git's remotes go in the same round, out of the folder in which git-lfs keeps it."""
        self._together, self._local = PushedTogether(self._repo.git, git_remote), folder

    def send(self, asked: LfsPointer, path: Path) -> None:
        """Makes an object complete on the remote; returns only when it is.

        git-lfs waits for that before it asks for the next, and a round costs the same for one object and for many: so what is pushed with it
        goes in its round, up to a limit. Raises FormatError if the file is not the object, RemoteError.
        """
        if asked.sha256 in self._sent:
            return
        with Writer(self._cache, durable=False) as writer:  # the files stay where they are
            objects = {asked.sha256: self._take_in(asked, path, writer)}
            self._take_others(asked, objects, writer)
            writer.commit()
        with files.lock(self._remote.folder / "lock", waiting=self._progress.warn):
            self._push(objects)
        self._sent.update(name for name, content in objects.items() if content[0] not in self._cache.purged)
        if asked.sha256 not in self._sent:
            raise DvliteError(
                f"object {asked.sha256} was purged: dvlite does not send it", hint="remove it from git's history"
            )

    def _take_others(self, asked: LfsPointer, objects: dict[str, Content], writer: Writer) -> None:
        others: Iterator[LfsPointer] = iter(()) if self._together is None else self._together.others(asked)
        left_bytes = _OTHERS_BYTES
        while len(objects) < _AT_ONCE and left_bytes > 0 and (other := next(others, None)) is not None:
            if other.size_bytes <= _OTHERS_BYTES and other.sha256 not in self._sent:
                with contextlib.suppress(DvliteError):  # it is not here, or damaged: git-lfs may not ask for it
                    objects[other.sha256] = self._take_in(other, object_in(self._local, other.sha256), writer)
                    left_bytes -= other.size_bytes

    def _take_in(self, pointer: LfsPointer, path: Path, writer: Writer) -> Content:
        """Brings an object into the cache."""
        try:
            with open(path, "rb", buffering=0, opener=files.open_without_waiting) as file:
                size_bytes = os.fstat(file.fileno()).st_size
                if (
                    size_bytes != pointer.size_bytes
                    or hashlib.file_digest(file, "sha256").hexdigest() != pointer.sha256
                ):
                    raise FormatError(
                        f"{quote(str(path))} is damaged: its bytes are not those of object {pointer.sha256}",
                        hint="git lfs fsck; then fetch it again, or add the file again",
                    )
                if size_bytes <= self._cache.pack_below_bytes:
                    raw = files.read_at(file.fileno(), size_bytes)
                    digest = digest_bytes(raw)
                    writer.put(KIND_FILE, digest, raw)
                else:
                    digest = writer.put_large(file.fileno(), str(path))
                return digest, size_bytes
        except OSError as error:
            raise files.os_error(error, "read", path) from error

    def _push(self, objects: dict[str, Content]) -> None:
        catalog = self.look()
        refuse_emptied(catalog, self._name)
        versions = [snapshot.lfs_version(sha256, *content) for sha256, content in objects.items()]
        if self._cache.purged:
            named = {content[0] for content in objects.values()} & self._cache.purged.keys()
            push_protocol.send_tombstones(catalog, self._repo.config.project or "", named)
        push_protocol.run(
            catalog,
            self._cache,
            versions,
            no_bases,
            lambda path: self._earlier(path.rpartition("/")[2], objects),
            signature(self._repo, self._repo.git.config_get("user.email") or "", ""),
            self._progress,
        )
        self._remember(snapshot.build(versions).root, versions)

    def _earlier(self, sha256: str, objects: Mapping[str, Content]) -> list[Digest]:
        """Returns what the file of a large object had before or after it, as far as git's history has that and it was sent."""
        return self._beside(LfsPointer(sha256, objects[sha256][1]))

    def _beside(self, pointer: LfsPointer) -> list[Digest]:
        return [digest for name in beside(self._repo.git, pointer) for digest, _ in self._contents(name)]

    # --- fetching ---

    def fetch(self, asked: LfsPointer, folder: Path) -> Path:
        """Brings an object from the remote into a new file in a folder, and returns its path.

        Raises ObjectMissing if the remote does not have it, ObjectCorrupt if what it has under that name is something else.
        """
        contents = self._contents(asked.sha256, asked.size_bytes) or self._contents_there(asked)
        if not contents:
            raise self._damage or ObjectMissing(
                f"object {asked.sha256} is not on {self._remote.store.label}",
                hint="in a clone that has it: git lfs push --all origin",
            )
        for digest, _ in contents:
            self._bring(digest, asked)
            path = self._copy(digest, asked, folder)
            if path is not None:
                return path
        raise ObjectCorrupt(
            f"what {self._remote.store.label} has as object {asked.sha256} has another SHA-256",
            hint="in a clone that has it: git lfs push --all origin",
        )

    def _bring(self, digest: Digest, pointer: LfsPointer) -> None:
        """Brings a content into the cache; of a small one, what lies beside it in its pack too."""
        if self._cache.has_file(digest, pointer.size_bytes):
            return
        if not self._looked:
            self.look()
        if (by := self._cache.purged.get(digest)) is not None:
            raise ObjectMissing(
                f"object {pointer.sha256} was purged ({by.time[:10]}, {by.user}): {by.reason}",
                hint="dvlite purge --list",
            )
        is_small = pointer.size_bytes <= self._cache.pack_below_bytes
        bases = () if is_small else tuple(self._beside(pointer))
        places = self._catalog.locations(digest, (KIND_FILE,))
        others: list[Need] = []
        if places:
            with contextlib.suppress(ObjectAbsent, ObjectCorrupt):
                others = self._in_window(places[0])
        self._fetch([Need(digest, pointer.size_bytes, f"lfs/{pointer.sha256}", bases), *others])

    def _in_window(self, place: RecordLocation) -> list[Need]:
        """Returns the files that lie in the same part of a pack as a record."""
        window = place.record.offset // _WINDOW_BYTES
        records = self._catalog.footers([place.pack])[place.pack]
        near = (each for each in records if each.kind == KIND_FILE and each.offset // _WINDOW_BYTES == window)
        return [Need(each.digest, each.raw_length, "") for each in near]

    def _fetch(self, needs: Sequence[Need]) -> None:
        """Brings files into the cache; raises DvliteError if the first is not there then."""
        left = fetch.run(self._catalog, self._cache, needs, self._progress)
        if any(need.digest == needs[0].digest for need in left.needs):
            raise left.damage or self._catalog.missing(needs[0].digest, FILE)

    def _copy(self, digest: Digest, pointer: LfsPointer, folder: Path) -> Path | None:
        """Copies a content out of the cache; returns None, and leaves nothing, if it is not the object."""
        folder.mkdir(parents=True, exist_ok=True)
        # git-lfs removes what it finds under such a name and does not need
        path = folder / f"{pointer.sha256}-{files.temporary_name()}"
        try:
            with contextlib.ExitStack() as left:
                left.callback(path.unlink, missing_ok=True)
                self._cache.refresh_if_changed()
                is_right = copy_out(self._cache, digest, pointer.size_bytes, path) == pointer.sha256
                if is_right:
                    left.pop_all()
                return path if is_right else None
        except OSError as error:
            raise files.os_error(error, "write", path) from error

    # --- which there are ---

    def _contents(self, sha256: str, size_bytes: int | None = None) -> list[Content]:
        """Returns what the store has under a name of Git LFS, of a size if one is given, by what is known here."""
        if not self._known[sha256]:
            self._recall()
        return [content for content in self._known[sha256] if size_bytes in (None, content[1])]

    def _contents_there(self, pointer: LfsPointer) -> list[Content]:
        """Returns what the store has of an object, by a look at it now."""
        self.look()
        for _ in self.claimed():
            pass
        return self._contents(pointer.sha256, pointer.size_bytes)

    def claimed(self) -> Iterator[tuple[str, Content]]:
        """Yields the objects that snapshots on the remote name which some clone claims now; reads those that are new here."""
        roots = dict.fromkeys(name.snapshot for _, name in snapshots.listed(self._remote))
        new = [digest for digest in roots if digest.hex() not in self._read]
        read = snapshots.reader(self._catalog, new)
        for digest in roots:
            if digest.hex() not in self._read:
                try:
                    self._remember(digest, snapshots.versions(self._catalog, digest, read))
                except (ObjectCorrupt, FormatError) as error:
                    self._damage = self._remote.damaged(error)
                except (ObjectMissing, ObjectAbsent):
                    pass
            yield from _rows(self._remote.recall(_NAMES, digest.hex()) or b"")

    def _remember(self, digest: Digest, versions: Iterable[Version]) -> None:
        named = ((snapshot.lfs_sha256(version), version) for version in versions)
        objects = [(sha256, (each.digest, each.size_bytes)) for sha256, each in named if sha256 is not None]
        self._remote.remember(_NAMES, digest.hex(), b"".join(_row(*each) for each in objects))
        self._take(digest.hex(), objects)

    def _recall(self) -> None:
        for name in self._remote.remembered(_NAMES) - self._read:
            self._take(name, _rows(self._remote.recall(_NAMES, name) or b""))

    def _take(self, name: str, objects: Iterable[tuple[str, Content]]) -> None:
        self._read.add(name)
        for sha256, content in objects:
            self._known[sha256][content] = None

    def look(self) -> Catalog:
        self._looked = True
        self._progress.start(f"looking at {self._remote.shown}")
        return self._catalog.look()


def _row(sha256: str, content: Content) -> bytes:
    return _ROW.pack(bytes.fromhex(sha256), *content)


def _rows(data: bytes) -> Iterator[tuple[str, Content]]:
    for sha256, digest, size_bytes in _ROW.iter_unpack(data[: len(data) - len(data) % _ROW.size]):
        yield sha256.hex(), (Digest(digest), size_bytes)
