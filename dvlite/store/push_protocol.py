"""Brings versions from the cache to a remote by the protocol 'publish, then look' (docs/explanation/protocol.md).

Order: packs, index, run records, root; then a second look at what was condemned meanwhile; only then success. No locks, no leases, no clocks
in the safety argument. First a plan (pure data), then its execution with a bounded number of packs in memory. A push deletes no root, not
even its own: what may fall depends on the git server, which only gc asks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing, RemoteError
from dvlite.formats import condemned, root, snapshot, tombstone
from dvlite.formats.manifest import Tree
from dvlite.formats.root import RootName
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import DIGEST_BYTES, Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.store import fetch, index, push_plan, snapshots, tombstones
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.index import PackEntry, RecordLocation
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_SNAPSHOT
from dvlite.store.push_plan import Bases, PushPlan, refuse_missing
from dvlite.store.push_send import Sender
from dvlite.store.remote import Remote

_ROOT_YOUNG_SECONDS = 7 * 24 * 3600
_ROOT_OLD_SECONDS = 30 * 24 * 3600
_NEWEST = ("claims", "newest")  # the note of when this clone put its last root, and of what
ROUNDS = 5  # times that a gc may get in the way before the push gives up


@dataclass(frozen=True, slots=True)
class RootAuthor:
    """What a root says of its push; `time` is RFC 3339, `commit` is empty unless its tree names exactly the versions pushed."""

    project: str
    user: str
    time: str
    commit: str = ""


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """What a push did: `sent` are the versions of which it sent something."""

    files: int
    size_bytes: int
    sent: set[VersionId]
    plan: PushPlan


def run(
    catalog: Catalog,
    cache: Cache,
    versions: Sequence[Version],
    bases: Bases,
    chunk_bases: Callable[[str], Sequence[Digest]],
    signer: RootAuthor,
    progress: Progress,
    first: PushPlan | None = None,
    *,
    also: Sequence[tuple[Digest, int]] = (),
    send_records: Callable[[], object] = lambda: None,
) -> PushOutcome:
    """Pushes versions; returns only when all of them are complete on the remote and the second look found nothing in the way.

    `chunk_bases` gives, for the path of a large file, the digests of earlier versions of it. `send_records`, called once, puts the
    records that need the files `also`. Raises ObjectMissing naming paths if something is neither in the cache nor on the remote; nothing
    was published then.
    """
    files = size_bytes = 0
    sent: set[VersionId] = set()
    tree = snapshot.build(versions)
    publish = publisher(catalog, tree, signer, send_records)
    for _ in range(ROUNDS):
        todo = first or plan(catalog, cache, versions, bases, also=also)
        first = None
        if rescued(catalog, cache, todo, progress):
            todo = plan(catalog, cache, versions, bases, also=also, may_rescue=False)
        refuse_missing(todo, catalog)
        files += todo.files
        size_bytes += todo.size_bytes
        sent |= todo.sending
        catalog.require_writable()
        nodes, relied = missing_nodes(catalog, tree)
        sender = Sender(catalog, cache, progress)
        sender.send(todo, chunk_bases, nodes)
        relied.update(sender.packs, todo.relies_also, *todo.relies.values())
        progress.start(f"checking {catalog.remote.shown}")
        if sender.sent and not also:  # beside the listings of what was sent; what is put in between would make it void
            catalog.remote.list_ahead(root.prefix(tree.root, catalog.remote.clone))
        if settle(catalog, sender.sent, relied, publish):
            for version in todo.incomplete:
                catalog.keep_complete(
                    version.kind, version.digest, todo.relies[version.kind, version.digest] | sender.packs
                )
            return PushOutcome(files, size_bytes, sent, todo)
    raise disturbed(catalog)


def ask_ahead(remote: Remote, versions: Sequence[Version]) -> None:
    """Starts the listing with this clone's root of what a push is about, if that is what it pushed last: it counts if nothing is written until then."""
    newest, digest = newest_claim(remote), snapshot.build(versions).root
    if newest is not None and newest[1] == digest:
        remote.list_ahead(root.prefix(digest, remote.clone))


def rescued(catalog: Catalog, cache: Cache, todo: PushPlan, progress: Progress) -> bool:
    """Brings into the cache what only condemned packs have of a plan; returns whether there was any: then what could not be read is missing in a new plan."""
    contents = [Need(digest, size, "") for digest, size in todo.rescue]
    if contents or todo.rescue_nodes:
        fetch.rescue(catalog, cache, todo.rescue_nodes, contents, progress)
        return True
    return False


def settle(catalog: Catalog, sent: Mapping[str, int], relied: AbstractSet[Digest], publish: Callable[[], None]) -> bool:
    """Ends a round, after objects were `sent` (with their sizes): looks at them, calls `publish`, which puts the root, and looks for packs that were condemned.

    Returns whether success may be reported; if not, a new look at the remote was taken.
    """
    mend_indexes(catalog)
    merge_condemned(catalog)
    if catalog.has_all(merge_indexes(catalog, sent)):
        publish()
        if not (catalog.look_at_condemned() & relied):
            return True
    catalog.look()
    return False


def disturbed(catalog: Catalog) -> RemoteError:
    """Returns the error of a push that gives up."""
    return RemoteError(
        f"cannot push to {catalog.remote.store.label}: what this push wrote or relied on there keeps disappearing",
        hint="run dvlite push again, and check the store: dvlite remote test; nothing was lost here",
    )


def plan(
    catalog: Catalog,
    cache: Cache,
    versions: Sequence[Version],
    bases: Bases,
    *,
    also: Sequence[tuple[Digest, int]] = (),
    may_rescue: bool = True,
) -> PushPlan:
    """Compares versions with the last look at the remote; looks again while gc deletes what that look listed."""
    for _ in range(ROUNDS):
        try:
            return push_plan.plan(catalog, cache, versions, bases, also=also, may_rescue=may_rescue)
        except ObjectAbsent:
            catalog.look()
    return push_plan.plan(catalog, cache, versions, bases, also=also, may_rescue=may_rescue)


def missing_nodes(catalog: Catalog, tree: Tree) -> tuple[list[tuple[Digest, bytes]], set[Digest]]:
    """Returns the nodes of a snapshot that the remote lacks, and the packs in which it has the others; no request."""
    nodes: list[tuple[Digest, bytes]] = []
    relied: set[Digest] = set()
    for digest, data in tree.nodes:
        places = catalog.locations(digest, (KIND_SNAPSHOT,))
        if places:
            relied.add(places[0].pack)
        else:
            nodes.append((digest, data))
    return nodes, relied


def publisher(
    catalog: Catalog, tree: Tree, signer: RootAuthor, send_records: Callable[[], object]
) -> Callable[[], None]:
    """Returns what publishes the versions of a snapshot: the run records, once, then the root; no root for no versions."""
    pending = [send_records]

    def publish() -> None:
        while pending:
            pending.pop()()
        snapshots.mend_roots(catalog.remote)
        if tree.files:
            _publish(catalog, tree, signer)

    return publish


def _publish(catalog: Catalog, tree: Tree, signer: RootAuthor) -> None:
    """Puts this clone's root of a snapshot, unless it has a young one there; the commit point.

    The older one stays: a listing of many pages that a gc is reading could show neither of the two.
    """
    remote = catalog.remote
    listing = remote.listing(root.prefix(tree.root, remote.clone))
    ages = [listing.now - entry.modified for entry in listing.entries if root.parse_name(entry.name) is not None]
    if ages and min(ages) < _ROOT_YOUNG_SECONDS:
        return
    body = root.Root(signer.project, remote.clone, signer.commit, signer.user, signer.time, tree.files)
    if not claim(remote, tree.root, body, listing.now):
        raise RemoteError(
            f"cannot push to {remote.store.label}: it took the root of this push and does not have it",
            hint="see whether it keeps what it acknowledges: dvlite remote test",
        )


def newest_claim(remote: Remote) -> tuple[float, Digest] | None:
    """Returns when this clone put its newest root there, by the store's clock, and the snapshot that it names; None if that is not known."""
    note = remote.recall_checked(*_NEWEST) or b""
    if len(note) != 8 + DIGEST_BYTES:
        return None
    return int.from_bytes(note[:8], "big"), Digest(note[8:])


def claim(remote: Remote, digest: Digest, body: root.Root, now: float) -> bool:
    """Puts a root, twice if need be; returns whether a listing shows all of it."""
    name = root.name(digest, remote.clone, os.urandom(16))
    for _ in range(2):
        size_bytes = snapshots.put_root(remote, name, body)
        entries = remote.store.list(root.prefix(digest, remote.clone)).entries
        if any(entry.name == name and entry.size_bytes == size_bytes for entry in entries):
            remote.remember_checked(*_NEWEST, int(now).to_bytes(8, "big") + digest)
            return True
    return False


def lost_claims(
    catalog: Catalog, standing: Iterable[RootName], needed: Callable[[], Container[VersionId]]
) -> dict[Digest, list[Version]]:
    """Returns the snapshots that this clone claimed and whose roots are gone, each with what is `needed` of it and no other root of this clone claims.

    Of the newest, all that is needed counts: it shows that the clone is awake. Snapshots that cannot be read are left out. A clone that lost
    its notes knows of none.
    """
    remote, newest = catalog.remote, newest_claim(catalog.remote)
    last = [] if newest is None else [newest[1]]
    own = {name.snapshot for name in standing if name.clone == remote.clone}
    gone = [digest for digest in (*(snapshots.own(remote).keys() - last), *last) if digest not in own]
    if not gone:
        return {}
    wanted, lost = needed(), dict[Digest, list[Version]]()
    claimed = {version.id for digest in own for version in _readable(catalog, digest)}
    for digest in gone:
        versions = [version for version in _readable(catalog, digest) if version.id in wanted]
        lacking = versions if digest in last else [version for version in versions if version.id not in claimed]
        if lacking:
            lost[digest] = lacking
    return lost


def _readable(catalog: Catalog, digest: Digest) -> list[Version]:
    with contextlib.suppress(ObjectMissing, ObjectCorrupt, FormatError, ObjectAbsent):
        return list(snapshots.versions(catalog, digest))
    return []


def claim_again(catalog: Catalog, lost: Iterable[Digest]) -> None:
    """Puts roots of this clone for snapshots again: as they were, where that is known."""
    remote = catalog.remote
    names = snapshots.own(remote)
    for digest in lost:
        kept = snapshots.bodies(remote, [names[digest]])[0] if digest in names else None
        claim(remote, digest, kept or root.Root(clone=remote.clone), catalog.now)


def stay_awake(catalog: Catalog) -> None:
    """Claims again what this clone claimed last, if that was over 30 days ago by the store's own dates; else makes no request.

    gc takes a clone without a newer root than 90 days for gone. Where nothing may be written, all stays as it is.
    """
    remote = catalog.remote
    newest = newest_claim(remote)
    if newest is None or catalog.now - newest[0] < _ROOT_OLD_SECONDS:
        return
    digest = newest[1]
    with contextlib.suppress(DvliteError):
        standing = [entry.name for entry, _ in snapshots.listed(remote, root.prefix(digest, remote.clone))][:1]
        for body in snapshots.bodies(remote, standing):
            claim(remote, digest, body or root.Root(clone=remote.clone), catalog.now)


def send_tombstones(catalog: Catalog, project: str, named: Collection[Digest] = ()) -> None:
    """Puts the tombstones that a remote lacks, of a project and of contents that are `named` there, after its config says that there are some. Idempotent.

    The config is written again where another client, which saw none, has written its own over it. Raises RemoteError.
    """
    known = ((name, data, tombstone.parse(data, name)) for name, data in catalog.remote.cache.tombstones.items())
    own = {
        name: data
        for name, data, each in known
        if each.project == project or any(digest in named for digest in each.files)
    }
    lacking = {name: data for name, data in own.items() if name not in catalog.tombstones}
    if not lacking and (not own or (catalog.config is not None and catalog.config.has_tombstones)):
        return
    catalog.require_writable()
    catalog.settings.require(tombstone.FEATURE)
    for name, data in lacking.items():
        catalog.remote.put(tombstone.FOLDER + name, data)
    catalog.tombstones = tombstones.listed(catalog.remote)
    if not catalog.tombstones.issuperset(lacking):
        raise RemoteError(
            f"{catalog.remote.store.label} took a tombstone and does not have it; nothing was deleted",
            hint="check the store: dvlite remote test",
        )


def mend_indexes(catalog: Catalog) -> None:
    """Writes what stands for damaged objects, then deletes these.

    What was kept whole is written again under its name; other index objects are replaced by one of rows from footers.
    """
    catalog.indexes()
    remote = catalog.remote
    for name, kept in list(catalog.damaged.items()):
        if kept is not None:
            remote.put(name, kept)
            del catalog.damaged[name]
    lost = [name for name in catalog.damaged if name in catalog.index_sizes]
    if not lost or catalog.unindexed is None or catalog.unread:
        return
    data = index.encode(list(catalog.unindexed), os.urandom(16), catalog.unindexed.packs)
    name = f"index/{digest_bytes(data).hex()}"
    remote.put(name, data)
    remote.remember("index", name[6:], data)
    remote.delete(lost)
    for bad in lost:
        del catalog.damaged[bad], catalog.index_sizes[bad]
    catalog.index_sizes[name] = len(data)


def merge_condemned(catalog: Catalog) -> None:
    """Merges condemned lists if they are many; deletes exactly those whose packs the acknowledged new one names."""
    names = sorted(catalog.condemned_sizes.keys() - catalog.damaged.keys())
    if len(names) <= condemned.MERGE_ABOVE:
        return
    data = condemned.dump(catalog.condemned, os.urandom(16))
    if len(data) <= condemned.MAX_BYTES:
        catalog.remote.put(f"{condemned.FOLDER}{digest_bytes(data).hex()}", data)
        catalog.remote.delete(names)


def merge_indexes(catalog: Catalog, sent: Mapping[str, int]) -> dict[str, int]:
    """Merges many small index objects into one; deletes exactly those whose rows the acknowledged new one holds.

    Rows of packs that are gone are left out. A pack stands before an index names it, so packs are listed after the index objects. `sent` are the objects that the push wrote, with their sizes; returns those that stand after it.
    """
    sizes = catalog.index_sizes | {name: size for name, size in sent.items() if name.startswith("index/")}
    small = [name for name, size in sizes.items() if size < index.MERGE_BELOW_BYTES and name not in catalog.damaged]
    if len(small) <= index.MERGE_ABOVE:
        return dict(sent)
    remote = catalog.remote
    standing = catalog.standing_packs()
    stale = [
        name
        for name, segment in catalog.indexes().items()
        if name in sizes and name not in small and not standing.issuperset(segment.packs)
    ]
    entries: dict[Digest, PackEntry] = {}
    segments: dict[str, list[RecordLocation]] = {}
    free = index.MAX_BYTES // 2
    for name in (*small, *sorted(stale, key=sizes.__getitem__)):
        free -= sizes[name]
        segment = catalog.read_index(name) if free > 0 else None
        if segment is not None and (rows := index.known_rows(segment)) is not None:
            segments[name] = [place for place in rows if place.pack in standing]
            entries |= {
                pack: entry
                for pack, entry in segment.packs.items()
                if pack in standing and (entry.size_bytes or pack not in entries)
            }
    if len(segments) < 2 or not _can_delete(remote):
        return dict(sent)
    data = index.encode([place for rows in segments.values() for place in rows], os.urandom(16), entries)
    name = f"index/{digest_bytes(data).hex()}"
    remote.put(name, data)
    remote.remember("index", name[6:], data)
    remote.delete(sorted(segments))
    return {name: size for name, size in sent.items() if name not in segments} | {name: len(data)}


def _can_delete(remote: Remote) -> bool:
    """Returns whether the store lets go of objects: a bucket that keeps everything takes pushes, and merging would only add to it. One request."""
    try:
        remote.delete(["test/absent"])
    except RemoteError:
        return False
    return True
