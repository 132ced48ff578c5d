"""Copies versions from one remote to another by the protocol of a push (`push_protocol`): packs, index, run records, root, a second look.

Listings come into the cache; the content of files passes through memory, a few packs at a time, and is never on the disk. What the target
has is not copied. An interrupted copy continues as a push does: packs are indexed every few, chunks are found by kept footers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache as once

from dvlite.errors import DvliteError, ObjectCorrupt
from dvlite.formats import snapshot
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import FILE, MANIFEST, Digest
from dvlite.progress import Progress
from dvlite.store import copy_objects, fetch, pack, push_protocol, reachable, usage
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.copy_objects import CopyPlan
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE, KIND_RECIPE, KIND_SNAPSHOT
from dvlite.store.pack_upload import PackUpload
from dvlite.store.push_protocol import RootAuthor
from dvlite.store.push_send import KnownChunks
from dvlite.store.usage import Needed, Usage

_MOST_BASE_PACKS = 2000  # of earlier versions, whose chunks are known: as many as a push remembers

_MOST_NOTED = 100_000  # packs in the notes of what is complete, which say of each version all packs of the copy: 4 MB

Lacking = dict[
    Version, dict[Digest, DvliteError]
]  # versions that cannot be copied: the objects that keep them from it, each with the reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be complete on the target: versions, and files of no version, as far as the source has them (`also`).

    Chunks of the versions `bases` are looked for on the target.
    """

    versions: Sequence[Version]
    also: frozenset[Digest] = frozenset()
    bases: Sequence[VersionId] = ()


@dataclass(slots=True)
class SyncPlan:
    """What a copy has to do. `lacking` are the versions of which something is nowhere, or damaged."""

    needed: Needed = field(default_factory=Needed)
    used: Usage = field(default_factory=Usage)  # of what the target has
    copies: CopyPlan = field(default_factory=CopyPlan)
    versions: list[Version] = field(default_factory=list)  # the others
    incomplete: list[Version] = field(default_factory=list)  # those of them of which something is copied
    lacking: Lacking = field(default_factory=dict)

    @property
    def files(self) -> int:
        return sum(kind == KIND_FILE for those in self.copies.small.values() for kind, _ in those) + len(
            self.copies.large
        )


@dataclass(slots=True)
class SyncOutcome:
    """What a copy did: files and records copied, their stored bytes, and the versions that are not complete on the target, with the reasons."""

    files: int = 0
    records: int = 0
    stored_bytes: int = 0
    lacking: Lacking = field(default_factory=dict)
    damaged: set[Digest] = field(default_factory=set)  # files of no version


def plan(source: Catalog, target: Catalog, cache: Cache, wanted: Wanted) -> SyncPlan:
    """Compares what is wanted with the last looks at both remotes; looks again while gc deletes what was just listed."""
    for _ in range(push_protocol.ROUNDS):
        try:
            return _plan(source, target, cache, wanted)
        except ObjectAbsent:
            source.look()
            target.look()
    return _plan(source, target, cache, wanted)


def _plan(source: Catalog, target: Catalog, cache: Cache, wanted: Wanted) -> SyncPlan:
    target.apply_damage_notes()
    todo = SyncPlan()
    for version in wanted.versions:
        problem = _unlisted(source, cache, version)
        if problem is None or _unlisted(target, cache, version) is None:
            todo.versions.append(version)
        else:
            todo.lacking[version] = {version.digest: problem}
    todo.needed = usage.gather(source, cache, (), [version.id for version in todo.versions])
    known = _known_to_be_there(source, wanted.also)
    todo.needed.files |= known
    todo.used = usage.survey(target, cache, todo.needed, weighs=False)
    todo.copies = copy_objects.plan(source, todo.used.absent)
    gone = {digest: source.missing(digest, FILE) for those in todo.copies.nowhere.values() for digest in those}
    if gone:
        lacking = _lacking(cache, todo.versions, gone)
        rest = _plan(source, target, cache, _without(wanted, todo.lacking | lacking, gone))
        rest.lacking |= todo.lacking | lacking
        return rest
    absent = set[Digest]().union(*todo.used.absent.values())
    if absent:
        for version in todo.versions:
            whole = reachable.reachable(version.id, cache.read_node)
            if not absent.isdisjoint(whole.nodes) or not absent.isdisjoint(whole.files):
                todo.incomplete.append(version)
    return todo


def _unlisted(catalog: Catalog, cache: Cache, version: Version) -> DvliteError | None:
    """Returns why not all of a version's listing is in the cache now, where it is brought."""
    return fetch.fetch_nodes(catalog, cache, [version.digest] if version.kind == MANIFEST else ()).get(version.digest)


def _lacking(cache: Cache, versions: Iterable[Version], gone: Mapping[Digest, DvliteError]) -> Lacking:
    """Returns the versions that need objects which cannot be copied."""
    lacking: Lacking = {}
    for version in versions:
        whole = reachable.reachable(version.id, cache.read_node)
        if those := gone.keys() & (whole.nodes | whole.files):
            lacking[version] = {digest: gone[digest] for digest in those}
    return lacking


def _without(wanted: Wanted, lacking: Lacking, gone: Mapping[Digest, DvliteError]) -> Wanted:
    kept = [version for version in wanted.versions if version not in lacking]
    return replace(wanted, versions=kept, also=wanted.also.difference(gone))


def _known_to_be_there(catalog: Catalog, digests: Iterable[Digest]) -> set[Digest]:
    return {digest for digest in digests if catalog.locations(digest, (KIND_FILE, KIND_RECIPE))}


def run(
    source: Catalog,
    target: Catalog,
    cache: Cache,
    wanted: Wanted,
    signer: RootAuthor,
    progress: Progress,
    first: SyncPlan | None = None,
    *,
    send_tombstones: Callable[[], object] = lambda: None,
    send_records: Callable[[Collection[Digest]], object] = lambda _: None,
) -> SyncOutcome:
    """Copies versions; returns only when they are complete on the target and the second look found nothing in the way.

    Those of which something is nowhere, or damaged on the source and not on the target, are left out, and named in the result. `first` is
    the plan by the last looks, if there is one. `send_tombstones`, called for each plan, puts those of what the plan leaves out as purged: a
    later look at the source may have found more of them. `send_records`, called once, puts the records that need the files `also`, but for those that
    need the ones it is given, which are damaged.
    """
    outcome = SyncOutcome()
    send_once = once(lambda: send_records(outcome.damaged))
    for _ in range(push_protocol.ROUNDS):
        todo = first or plan(source, target, cache, wanted)
        first = None
        send_tombstones()
        outcome.lacking |= todo.lacking
        wanted = _without(wanted, todo.lacking, {})
        if outcome.lacking:
            signer = replace(signer, commit="")
        tree = snapshot.build(wanted.versions)
        publish = push_protocol.publisher(target, tree, signer, send_once)
        target.require_writable()
        nodes, relied = push_protocol.missing_nodes(target, tree)
        upload = PackUpload(target, at_once=copy_objects.PACKS_SENT_AT_ONCE)
        for digest, data in nodes:
            writer = upload.writer(pack.META)
            writer.add(KIND_SNAPSHOT, digest, data)
            upload.ship_if_full(writer)
        unfinished = target.unfinished_packs() if todo.copies.large else set()
        upload.take_up(unfinished)
        try:
            copied = copy_objects.run(
                source,
                upload,
                todo.copies,
                source.packs,
                progress,
                known=_known_chunks(target, cache, todo, wanted.bases, unfinished),
            )
        except ObjectAbsent:  # a collector moved it since the last look
            source.look()
            target.look()
            continue
        outcome.files += todo.files
        outcome.records += copied.records
        outcome.stored_bytes += copied.stored_bytes
        if copied.damaged:
            damaged = _lacking(cache, wanted.versions, copied.damaged)
            outcome.damaged |= wanted.also & copied.damaged.keys()
            wanted = _without(wanted, damaged, copied.damaged)
            outcome.lacking |= damaged
            target.look()
            continue
        relied.update(upload.packs, copied.reused, todo.used.live, todo.used.runs)
        if push_protocol.settle(target, upload.sent, relied, publish):
            if len(relied) * len(todo.versions) <= _MOST_NOTED:
                for version in todo.versions:
                    target.keep_complete(version.kind, version.digest, relied)
            target.remote.forget("unfinished", {name.hex() for name in relied})
            return outcome
        source.look()
    raise push_protocol.disturbed(target)


def _known_chunks(
    target: Catalog, cache: Cache, todo: SyncPlan, bases: Sequence[VersionId], unfinished: set[Digest]
) -> KnownChunks | None:
    """Returns the chunks that the target has of earlier versions, and of a copy that was interrupted."""
    if not todo.copies.large:
        return None
    for kind, digest in bases:
        if kind == MANIFEST:
            fetch.fetch_nodes(target, cache, [digest])
    files = reachable.files_of([*bases, *(version.id for version in todo.versions)], cache)
    packs = dict.fromkeys(unfinished)
    try:
        for large in target.recipes.find(
            digest for digest in files if target.locations(digest, (KIND_RECIPE,))
        ).values():
            packs |= dict.fromkeys(large.packs)
    except ObjectCorrupt:  # an earlier version only saves work
        pass
    return KnownChunks(target, list(packs)[:_MOST_BASE_PACKS])
