"""Brings versions from the cache to a remote by the protocol 'publish, then look' (DESIGN section 5, docs/explanation/protocol.md).

Order: packs, index, root; then a second look at what was condemned meanwhile; only then success. No locks, no leases, no clocks in the
safety argument. First a plan (pure data), then its execution with a bounded number of packs in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dvlite.errors import RemoteError
from dvlite.formats import root
from dvlite.oid import Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.store import fetch, index, push_plan
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.push_plan import Bases, PushPlan, PushVersion, refuse_missing
from dvlite.store.push_send import Sender
from dvlite.store.reachable import is_of_project, own_root, root_key

_ROOT_YOUNG_SECONDS = 7 * 24 * 3600
_ROUNDS = 5  # times that a gc may get in the way before the push gives up


@dataclass(frozen=True, slots=True)
class RootAuthor:
    """What roots say of who made them; `time` is RFC 3339."""

    project: str
    user: str
    time: str


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """What a push did."""

    files: int
    size_bytes: int
    plan: PushPlan


def run(
    catalog: Catalog,
    cache: Cache,
    versions: Sequence[PushVersion],
    bases: Bases,
    chunk_bases: Callable[[str], Sequence[Digest]],
    signer: RootAuthor,
    progress: Progress,
    first: PushPlan | None = None,
    *,
    also: Sequence[tuple[Digest, int]] = (),
) -> PushOutcome:
    """Pushes versions; returns only when all of them are complete on the remote and the second look found nothing in the way.

    `chunk_bases` gives, for the path of a large file, the digests of earlier versions of it. Raises ObjectMissing naming paths if
    something is neither in the cache nor on the remote; nothing was published then.
    """
    files = size_bytes = 0
    for _ in range(_ROUNDS):
        todo = first or plan(catalog, cache, versions, bases, also=also)
        first = None
        if todo.rescue or todo.rescue_nodes:
            contents = [Need(digest, size, "") for digest, size in todo.rescue]
            fetch.rescue(catalog, cache, todo.rescue_nodes, contents, progress)
            todo = plan(catalog, cache, versions, bases, also=also, may_rescue=False)
        refuse_missing(todo, catalog)
        files += todo.files
        size_bytes += todo.size_bytes
        catalog.require_writable()
        sender = Sender(catalog, cache, progress)
        sender.send(todo, chunk_bases)
        catalog.mend_indexes()
        if not catalog.has_all(merge_indexes(catalog, sender.sent)):
            catalog.look()
            continue
        relied = {name for names in todo.relies.values() for name in names} | sender.packs
        _publish(catalog, [*todo.present, *todo.incomplete], signer)
        if not (catalog.look_at_condemned() & relied):
            for version in todo.incomplete:
                catalog.keep_complete(
                    version.kind, version.digest, todo.relies[version.kind, version.digest] | sender.packs
                )
            return PushOutcome(files, size_bytes, todo)
        catalog.look()
    raise RemoteError(
        f"cannot push to {catalog.remote.store.label}: what this push wrote or relied on there keeps disappearing",
        hint="run dvlite push again, and check the store: dvlite remote test; nothing was lost here",
    )


def plan(
    catalog: Catalog,
    cache: Cache,
    versions: Sequence[PushVersion],
    bases: Bases,
    *,
    also: Sequence[tuple[Digest, int]] = (),
    may_rescue: bool = True,
) -> PushPlan:
    """Compares versions with the last look at the remote; looks again while gc deletes what that look listed."""
    for _ in range(_ROUNDS):
        try:
            return push_plan.plan(catalog, cache, versions, bases, also=also, may_rescue=may_rescue)
        except ObjectAbsent:
            catalog.look()
    return push_plan.plan(catalog, cache, versions, bases, also=also, may_rescue=may_rescue)


def _publish(catalog: Catalog, versions: Sequence[PushVersion], signer: RootAuthor) -> None:
    """Puts a root for each version, unless this project put one lately; the commit point."""
    remote = catalog.remote
    unique = list({(version.kind, version.digest): version for version in versions}.values())
    keys = {root_key((version.kind, version.digest)): version for version in unique}

    def one(key: str) -> None:
        version = keys[key]
        mine = own_root(remote, (version.kind, version.digest))
        for entry, age in catalog.roots(version.kind, version.digest):
            if age < _ROOT_YOUNG_SECONDS and (entry.name == mine or is_of_project(remote, entry.name, signer.project)):
                return
        body = root.Root(version.path, version.size_bytes, signer.project, version.commit, signer.user, signer.time)
        name = root.name(version.kind, version.digest, os.urandom(16))
        remote.put(name, root.dump(body))
        remote.remember("roots", key, name.encode())

    remote.run_all(one, list(keys))


def merge_indexes(catalog: Catalog, sent: Mapping[str, int]) -> dict[str, int]:
    """Merges many small index objects into one; deletes exactly those whose rows the acknowledged new one holds.

    `sent` are the objects that the push wrote, with their sizes; returns those that stand after it.
    """
    sizes = catalog.index_sizes | {name: size for name, size in sent.items() if name.startswith("index/")}
    small = [name for name, size in sizes.items() if size < index.MERGE_BELOW_BYTES and name not in catalog.damaged]
    if len(small) <= index.MERGE_ABOVE:
        return dict(sent)
    remote = catalog.remote
    segments = {name: segment for name in small if (segment := catalog.read_index(name)) is not None}
    rows = [place for segment in segments.values() for place in segment]
    named = {name for segment in segments.values() for name in segment.packs}
    data = index.encode(rows, os.urandom(16), also=named)
    name = f"index/{digest_bytes(data).hex()}"
    remote.put(name, data)
    remote.remember("index", name[6:], data)
    remote.store.delete(sorted(segments))
    return {name: size for name, size in sent.items() if name not in segments} | {name: len(data)}
