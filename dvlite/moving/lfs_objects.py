"""Objects of Git LFS on a remote of dvlite: which there are, sending some, fetching one.

git-lfs names an object by its SHA-256, the store by its BLAKE3. The snapshots that pushes leave on the remote say which is which: a version
with the path `lfs/<sha256>`. So they are looked up, claimed, collected and checked as all others are, and need no list of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing, RemoteError
from dvlite.formats import lfs_transfer, snapshot
from dvlite.formats.snapshot import Version
from dvlite.git.program import Git
from dvlite.moving.lfs_folder import copy_out
from dvlite.oid import DIGEST_BYTES, FILE, Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.repo.open_stores import refuse_emptied, signature
from dvlite.repo.repository import Repo
from dvlite.show import quote
from dvlite.store import fetch, push_protocol, snapshots
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import WHOLE_BELOW_BYTES, Catalog
from dvlite.store.fetch import Need
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE, Record
from dvlite.store.push_plan import no_bases
from dvlite.store.remote import Remote

_NAMES = "lfs"  # notes in the clone: which objects of Git LFS a snapshot names, once it was read
_WAITING = "lfs-waiting"  # and which are in the cache and wait for a push
_FAILED = "lfs-failed"  # why the last push of them failed
_ROW = struct.Struct(f"{DIGEST_BYTES}s{DIGEST_BYTES}sQ")
_AT_ONCE = 256  # objects in one push
_MOMENT_SECONDS = 0.02
_CHANGES = 4  # of a pointer in git's history, among which the earlier content of a file is looked for
_MESSAGE_BYTES = 4096

Content = tuple[Digest, int]  # of a file, with its size in bytes


class LfsObjects:
    """The objects of Git LFS on an open remote, for one process of a clone; others use it at the same time."""

    def __init__(self, repo: Repo, cache: Cache, remote: Remote, name: str, progress: Progress) -> None:
        self._repo, self._cache, self._remote, self._progress = repo, cache, remote, progress
        self._name = name
        self._user = repo.git.config_get("user.email") or ""
        self._catalog = Catalog(remote, progress)
        self._known: defaultdict[str, dict[Content, None]] = defaultdict(dict)
        self._read: set[str] = set()  # snapshots whose objects are known
        self.agents = 1  # that git-lfs runs at once
        self._looked = False
        self._damage: DvliteError | None = None  # of a snapshot, which may name what is looked for
        remote.folder.mkdir(parents=True, exist_ok=True)

    # --- sending ---

    def send(self, sha256: str, size_bytes: int, path: Path) -> None:
        """Makes an object complete on the remote; returns only when it is.

        What other processes of this clone want to send meanwhile goes with it: who has the lock sends all that waits. Raises FormatError if the
        file is not the object, RemoteError also for a push of another process that had it to send and could not.
        """
        content = self._take_in(sha256, size_bytes, path)
        waiting = self._remote.folder / _WAITING
        waiting.mkdir(exist_ok=True)
        files.write_atomic(waiting / sha256, _row(sha256, content), sync=False)
        began = time.time_ns()
        with files.lock(self._remote.folder / "lock", waiting=self._progress.warn):
            if not (waiting / sha256).exists():  # another process has sent it
                return
            self._refuse_after_failure(began)
            objects = self._waiting(waiting, sha256)
            try:
                self._push(objects)
            except RemoteError as error:
                files.write_atomic(self._remote.folder / _FAILED, error.message.encode()[:_MESSAGE_BYTES], sync=False)
                raise
            for each in objects:
                (waiting / each).unlink(missing_ok=True)
        if content[0] in self._cache.purged:
            raise DvliteError(
                f"object {sha256} was purged: dvlite does not send it", hint="remove it from git's history"
            )

    def _take_in(self, sha256: str, size_bytes: int, path: Path) -> Content:
        """Brings an object into the cache, not synced: its file stays where it is."""
        try:
            with open(path, "rb", buffering=0, opener=files.open_without_waiting) as file:
                actual_bytes = os.fstat(file.fileno()).st_size
                if actual_bytes != size_bytes or hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise FormatError(
                        f"{quote(str(path))} is damaged: its bytes are not those of object {sha256}",
                        hint="git lfs fsck; then fetch it again, or add the file again",
                    )
                with Writer(self._cache, durable=False) as writer:
                    if size_bytes <= self._cache.pack_below_bytes:
                        raw = files.read_at(file.fileno(), size_bytes)
                        digest = digest_bytes(raw)
                        writer.put(KIND_FILE, digest, raw)
                    else:
                        digest = writer.put_large(file.fileno(), str(path))
                    writer.commit()
                return digest, size_bytes
        except OSError as error:
            raise files.os_error(error, "read", path) from error

    def _refuse_after_failure(self, began_ns: int) -> None:
        """Raises the error of a push that failed while this process waited for it: the store has had its time to answer."""
        failed = self._remote.folder / _FAILED
        with contextlib.suppress(OSError):
            if failed.stat().st_mtime_ns >= began_ns:
                raise RemoteError((files.read_own(failed, _MESSAGE_BYTES) or b"").decode(errors="replace"))

    def _waiting(self, folder: Path, first: str) -> dict[str, Content]:
        """Returns the objects that wait for a push, and are in the cache; of a killed process too."""
        others = os.listdir(folder)
        before = 0
        while (
            before < len(others) < self.agents
        ):  # the others were answered at the same time: they have theirs in a moment
            before = len(others)
            time.sleep(_MOMENT_SECONDS)
            others = os.listdir(folder)
        names = [first, *(name for name in sorted(others) if name != first)]
        self._cache.refresh()
        rows = (row for name in names for row in _rows(files.read_own(folder / name, _ROW.size) or b""))
        return dict(itertools.islice((row for row in rows if self._cache.has_file(*row[1])), _AT_ONCE))

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
            signature(self._repo, self._user, ""),
            self._progress,
        )
        self._remember(snapshot.build(versions).root, versions)

    def _earlier(self, sha256: str, objects: Mapping[str, Content]) -> list[Digest]:
        """Returns what the file of a large object had before or after it, as far as git's history has that and it was sent."""
        names = beside(self._repo.git, sha256, objects[sha256][1])
        return [digest for name in names for digest, _ in self._contents(name)]

    # --- fetching ---

    def fetch(self, sha256: str, size_bytes: int, folder: Path) -> Path:
        """Brings an object from the remote into a new file in a folder, and returns its path.

        Raises ObjectMissing if the remote does not have it, ObjectCorrupt if what it has under that name is something else.
        """
        contents = self._contents(sha256, size_bytes) or self._contents(sha256, size_bytes, again=True)
        if not contents:
            raise self._damage or ObjectMissing(
                f"object {sha256} is not on {self._remote.store.label}",
                hint="in a clone that has it: git lfs push --all origin",
            )
        for digest, _ in contents:
            self._bring(digest, size_bytes, sha256)
            path = self._copy(digest, size_bytes, sha256, folder)
            if path is not None:
                return path
        raise ObjectCorrupt(
            f"what {self._remote.store.label} has as object {sha256} has another SHA-256",
            hint="in a clone that has it: git lfs push --all origin",
        )

    def _bring(self, digest: Digest, size_bytes: int, sha256: str) -> None:
        """Brings a content into the cache."""
        if self._cache.has_file(digest, size_bytes):
            return
        if not self._looked:
            self.look()
        if (by := self._cache.purged.get(digest)) is not None:
            raise ObjectMissing(
                f"object {sha256} was purged ({by.time[:10]}, {by.user}): {by.reason}", hint="dvlite purge --list"
            )
        bases: Sequence[Digest] = ()
        if size_bytes > self._cache.pack_below_bytes:
            others = beside(self._repo.git, sha256, size_bytes)
            bases = [base for name in others for base, _ in self._contents(name)]
            self._fetch([Need(digest, size_bytes, f"lfs/{sha256}", tuple(bases))])
            return
        places = self._catalog.locations(digest, (KIND_FILE,))
        name = next((place.pack for place in places if self._catalog.packs[place.pack] <= WHOLE_BELOW_BYTES), None)
        if name is None:
            self._fetch([Need(digest, size_bytes, f"lfs/{sha256}")])
            return
        # one request brings the whole pack, where the others find what they are asked for next
        with files.lock(self._remote.folder / "lfs.lock", waiting=self._progress.warn):
            self._cache.refresh_if_changed()
            if not self._cache.has_file(digest, size_bytes):
                records: Sequence[Record] = ()
                with contextlib.suppress(ObjectAbsent, ObjectCorrupt):
                    records = self._catalog.footers([name])[name]
                beside_it = [Need(each.digest, each.raw_length, "") for each in records if each.kind == KIND_FILE]
                self._fetch([Need(digest, size_bytes, f"lfs/{sha256}"), *beside_it])

    def _fetch(self, needs: Sequence[Need]) -> None:
        """Brings files into the cache; raises DvliteError if the first is not there then."""
        left = fetch.run(self._catalog, self._cache, needs, self._progress)
        if any(need.digest == needs[0].digest for need in left.needs):
            raise left.damage or self._catalog.missing(needs[0].digest, FILE)

    def _copy(self, digest: Digest, size_bytes: int, sha256: str, folder: Path) -> Path | None:
        """Copies a content out of the cache; returns None, and leaves nothing, if it is not the object."""
        folder.mkdir(parents=True, exist_ok=True)
        # git-lfs removes what it finds under such a name and does not need
        path = folder / f"{sha256}-{files.temporary_name()}"
        try:
            with contextlib.ExitStack() as left:
                left.callback(path.unlink, missing_ok=True)
                self._cache.refresh_if_changed()
                is_right = copy_out(self._cache, digest, size_bytes, path) == sha256
                if is_right:
                    left.pop_all()
                return path if is_right else None
        except OSError as error:
            raise files.os_error(error, "write", path) from error

    # --- which there are ---

    def _contents(self, sha256: str, size_bytes: int | None = None, *, again: bool = False) -> list[Content]:
        """Returns what the store has under a name of Git LFS, of a size if one is given: by what is known here, or `again` by a look at the remote."""
        if again:
            # one process reads what is new, the others its notes
            with files.lock(self._remote.folder / "lfs.lock", waiting=self._progress.warn):
                self._recall()
                if not self._known[sha256]:
                    self.look()
                    for _ in self.claimed():
                        pass
        elif not self._known[sha256]:
            self._recall()
        return [content for content in self._known[sha256] if size_bytes in (None, content[1])]

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


def beside(git: Git, sha256: str, size_bytes: int) -> list[str]:
    """Returns the objects of Git LFS that git's history has before and after this one in the same file, the nearest first."""
    pointer = lfs_transfer.pointer(sha256, size_bytes)
    blob = git.run("hash-object", "--stdin", "--no-filters", stdin=pointer).decode().strip()
    changes = git.run(
        "log", "--all", "--raw", "--no-abbrev", "--no-renames", "--format=", f"-{_CHANGES}", f"--find-object={blob}"
    )
    words = [line.split()[2:4] for line in changes.decode(errors="replace").splitlines() if line.startswith(":")]
    others = dict.fromkeys(other for pair in words for other in pair if other != blob and other.strip("0"))
    contents = dict(git.blobs_within(dict.fromkeys(others, lfs_transfer.POINTER_BYTES)))
    names = (lfs_transfer.pointed_at(contents[other]) for other in others if other in contents)
    return [name for name in dict.fromkeys(names) if name is not None]


def _row(sha256: str, content: Content) -> bytes:
    return _ROW.pack(bytes.fromhex(sha256), *content)


def _rows(data: bytes) -> Iterator[tuple[str, Content]]:
    for sha256, digest, size_bytes in _ROW.iter_unpack(data[: len(data) - len(data) % _ROW.size]):
        yield sha256.hex(), (Digest(digest), size_bytes)
