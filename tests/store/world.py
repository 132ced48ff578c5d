"""A small world for store tests: one remote in memory, and sites (clones without git) that push to it and fetch from it."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.formats import manifest, store_config
from dvlite.formats.manifest import FILE, Entry
from dvlite.formats.snapshot import Version, VersionId
from dvlite.formats.store_config import StoreConfig
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, Digest, digest_bytes
from dvlite.progress import NullProgress
from dvlite.store import fetch, push_protocol
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.object_store import Buffer, Listing, ObjectStore
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from dvlite.store.push_protocol import RootAuthor
from dvlite.store.remote import Remote

PACK_BELOW = 1024  # files above it are large: chunked on the remote, whole in the cache
CHUNKS = StoreConfig(256, 1024, 4096)
SIGNER = RootAuthor("ab" * 16, "you@example.com", "2026-11-22T14:02:00Z")
QUIET = NullProgress()


def noise(size: int, seed: int) -> bytes:
    """Returns bytes that do not compress and are the same each time."""
    return random.Random(seed).randbytes(size)


@dataclass
class Site:
    """A cache and its connection to a remote."""

    cache: Cache
    remote: Remote
    versions: dict[str, list[Version]] = field(default_factory=dict)

    def add(self, path: str, content: dict[str, bytes] | bytes) -> Version:
        """Stores a file, or a directory given as path -> bytes, in the cache."""
        return self.add_all({path: content})[0]

    def add_all(self, contents: Mapping[str, dict[str, bytes] | bytes]) -> list[Version]:
        """Stores a file or directory for each path, in one go."""
        made = []
        with Writer(self.cache, durable=False) as writer:  # no test here cuts the power
            for path, content in contents.items():
                if isinstance(content, bytes):
                    version = Version(path, FILE_OID, self._store(writer, content), len(content))
                else:
                    rows = [
                        Entry(os.fsencode(name), FILE, len(data), self._store(writer, data))
                        for name, data in sorted(content.items(), key=lambda item: os.fsencode(item[0]))
                    ]
                    tree = manifest.build(manifest.from_entries(rows))
                    for digest, data in tree.nodes:
                        writer.put(KIND_MANIFEST, digest, data)
                    version = Version(path, MANIFEST, tree.root, tree.size_bytes)
                self.versions.setdefault(path, []).insert(0, version)
                made.append(version)
            writer.commit()
        return made

    def _store(self, writer, data: bytes) -> Digest:
        digest = digest_bytes(data)
        if len(data) <= self.cache.pack_below_bytes:
            writer.put(KIND_FILE, digest, data)
            return digest
        temporary = writer.temporary()
        temporary.write_bytes(data)
        with open(temporary, "rb") as file:
            assert writer.put_large(file.fileno(), "x") == digest
        temporary.unlink()
        return digest

    def push(self, *versions: Version, **how) -> push_protocol.PushOutcome:
        """Pushes by the protocol, with what this site pushed before as earlier versions."""

        def bases(_paths: Sequence[str]) -> dict[str, list[VersionId]]:
            return {
                version.path: [
                    (known.kind, known.digest) for known in self.versions.get(version.path, ()) if known != version
                ]
                for version in versions
            }

        return push_protocol.run(
            Catalog(self.remote).look(), self.cache, versions, bases, self._chunk_bases, SIGNER, QUIET, **how
        )

    def _chunk_bases(self, path: str) -> Sequence[Digest]:
        return [known.digest for known in self.versions.get(path, ()) if known.kind == FILE_OID]

    def fetch(self, *versions: Version, bases: tuple[Digest, ...] = ()) -> list[Need]:
        """Brings versions into the cache, but for what was purged; returns what no fresh look found."""
        catalog = Catalog(self.remote, to_read=True).look()
        needs = [
            Need(version.digest, version.size_bytes, version.path, bases)
            for version in versions
            if version.kind == FILE_OID
        ]
        trees = [version.digest for version in versions if version.kind != FILE_OID]
        problems = fetch.fetch_nodes(catalog, self.cache, trees)
        for digest in trees:
            if digest not in problems:
                entries = manifest.load(digest, self.cache.read_node)
                needs += [
                    Need(entries.digest(i), entries.sizes[i], os.fsdecode(entries.paths[i]))
                    for i in range(len(entries))
                    if entries.digest(i) not in self.cache.purged
                ]
        left, damage = fetch.run(catalog, self.cache, needs, QUIET)
        for problem in (*problems.values(), damage):
            if problem is not None:
                raise problem
        return left

    def content(self, version: Version) -> dict[str, bytes] | bytes:
        """Reads a version from the cache, verified, but for what was purged."""
        if version.kind == FILE_OID:
            return self.cache.read_file(version.digest, version.size_bytes)
        entries = manifest.load(version.digest, self.cache.read_node)
        return {
            os.fsdecode(entries.paths[i]): self.cache.read_file(entries.digest(i), entries.sizes[i])
            for i in range(len(entries))
            if entries.digest(i) not in self.cache.purged
        }


class World:
    """Makes sites around one store; closes them at the end."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self.folder, self.store = folder, store
        self._sites: list[Site] = []
        if not store.list("").entries:
            store.put(store_config.NAME, store_config.dump(CHUNKS))

    def site(self, name: str, *, store: ObjectStore | None = None, jobs: int = 2) -> Site:
        cache = Cache(self.folder / name, pack_below_bytes=PACK_BELOW)
        cache.create()
        made = Site(
            cache, Remote(store or self.store, cache, "origin", jobs=jobs, clone=digest_bytes(name.encode()).hex()[:32])
        )
        self._sites.append(made)
        return made

    def close(self) -> None:
        for made in self._sites:
            made.remote.__exit__(None)


class Interrupted(Exception):
    """Stands for a process that died here. Not an error of ours, so that nothing handles it."""


class HookStore:
    """Passes calls on; runs `action` once, before call number `at` (counted from 1) of those that `matches` accepts."""

    def __init__(
        self,
        store: ObjectStore,
        at: int,
        action: Callable[[], None],
        matches: Callable[[str, str], bool] = lambda _operation, _name: True,
    ) -> None:
        self.label, self.store = store.label, store
        self._at, self._action, self._matches = at, action, matches
        self._lock = threading.RLock()
        self.calls = 0

    @property
    def happened(self) -> bool:
        return self.calls >= self._at

    def _before(self, operation: str, name: str) -> None:
        with self._lock:
            if self._matches(operation, name):
                self.calls += 1
                if self.calls == self._at:
                    self._action()

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        self._before("get", name)
        return self.store.get(name, start=start, end=end)

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        self._before("put", name)
        return self.store.put(name, data, only_if_absent=only_if_absent)

    def list(self, prefix: str) -> Listing:
        self._before("list", prefix)
        return self.store.list(prefix)

    def delete(self, names: Sequence[str]) -> None:
        self._before("delete", ",".join(names))
        self.store.delete(names)

    def close(self) -> None:
        return
