"""gc of a remote, by the protocol 'publish, then look' (docs/explanation/protocol.md): condemn, look at what is needed, copy, delete.

First a plan (pure data), then its execution, which trusts nothing of the plan but what it chose to condemn: what has to stay is worked out
after that, from fresh listings. Safe at any request beside pushes, pulls and other collectors; a run that died is finished by the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from dvlite.errors import ObjectCorrupt, ObjectMissing, RemoteError
from dvlite.formats import condemned, manifest
from dvlite.formats.manifest import Branch
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import FILE, MANIFEST, Digest, digest_bytes, format_oid
from dvlite.progress import Progress
from dvlite.show import quote, short_oid, some
from dvlite.store import claims, copy_objects, fetch, index, purged_packs, push_protocol, snapshots, usage
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.claims import Claim, Claims
from dvlite.store.copy_objects import Copied
from dvlite.store.index import PackEntry
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, KIND_RECIPE
from dvlite.store.pack_upload import PackUpload
from dvlite.store.purged_packs import Held
from dvlite.store.usage import Needed, Usage

YOUNG_SECONDS = 24 * 3600  # a pack that a push may be about to name, or that a reader may be reading
_MOST_WASTE = 0.02  # of what is needed, that stays in packs
_SMALL_BYTES = 4 << 20
_MANY_SMALL = 16  # packs of a class
_MOST_REPACKED = 1000  # packs a run: 32 GiB, and 400 MB of memory for the chunks in them
_ROUNDS = 5
_MOST_FLAGS = 5  # in a hint
_ROOT_KINDS = {FILE: (KIND_FILE, KIND_RECIPE), MANIFEST: (KIND_MANIFEST,)}


@dataclass(frozen=True, slots=True)
class RunNeeds:
    """What stays besides the versions that roots claim: that of run records which are kept.

    `given_up` are versions, by how the hex digits of their oids begin, that keep nothing where their list of files is lost: the user says
    that no copy of it is left.
    """

    versions: tuple[VersionId, ...] = ()
    files: frozenset[Digest] = frozenset()
    given_up: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectPlan:
    """What a collection would do; sizes in bytes. Packs are given with their size."""

    claims: Claims
    own: tuple[Version, ...] = ()  # versions of this clone that the remote has all of
    also: tuple[VersionId, ...] = ()  # these, and those of which it has a part
    garbage: dict[Digest, int]  # packs without anything that is needed
    repacked: dict[Digest, int]  # packs of which little is needed, or that are small: what is needed of them is copied
    copied_bytes: int
    due: dict[Digest, int]  # packs that were condemned long enough ago
    waiting: dict[Digest, int]  # packs that were condemned, and stay for now
    young: dict[Digest, int]  # packs without anything that is needed, and too young to judge
    live: dict[Digest, int]  # packs that stay
    live_bytes: int  # that are needed, wherever they are
    absent: int = 0  # objects that are needed and nowhere on the remote
    held: Held = field(default_factory=Held)  # of purged files: its packs are among those that go, whatever their age


@dataclass(slots=True)
class Collected:
    """What a collection did: packs that were deleted now, records that were copied."""

    deleted_packs: int = 0
    deleted_bytes: int = 0
    condemned_packs: int = 0
    roots: int = 0
    copied: list[Copied] = field(default_factory=list)


def look(catalog: Catalog) -> list[Claim]:
    """Looks at a remote as a collector must: roots first, for what a root needs stands before it; packs in no index object count too.

    Returns the roots. Raises ObjectCorrupt while index objects or condemned lists are damaged, or a pack cannot be read: something might
    look unneeded.
    """
    roots = claims.listed(catalog)
    catalog.counts_unindexed = True
    catalog.look().indexes()
    _refuse_damaged(catalog)
    return roots


def _refuse_damaged(catalog: Catalog) -> None:
    if not catalog.damaged and not catalog.unread:
        return
    lists = sorted(name for name in catalog.damaged if name.startswith(condemned.FOLDER))
    hint = "dvlite push writes it again; then run dvlite gc again"
    if lists:
        hint = f"if no dvlite gc runs anywhere, delete this object from the store, which nothing can write again: {lists[0]}"
    elif not catalog.damaged:
        hint = "see which object: dvlite fsck --remote"
    raise ObjectCorrupt(
        f"cannot collect on {catalog.remote.store.label}: an object that says what is there is damaged; nothing was deleted",
        hint=hint,
    )


def plan(
    catalog: Catalog,
    cache: Cache,
    divide: Callable[[Sequence[Version]], Claims],
    runs: RunNeeds,
    own: Sequence[Version] = (),
    *,
    young_seconds: float = YOUNG_SECONDS,
) -> CollectPlan:
    """Compares the last look with what roots claim, runs need, and `own`, the versions of this clone.

    `divide` divides the roots, given those of `own` that the remote has all of; of others, what is there is needed too. What lies in
    condemned packs only is there while they stand. Raises what `usage.gather` does: then nothing may go.
    """
    unindexed = catalog.unindexed.packs if catalog.unindexed is not None else {}
    readable, whole = _readable(catalog, cache, own)
    while True:  # mostly once: again without the versions that turned out to lack something
        divided = divide(whole)
        needed = _gather(catalog, cache, divided.standing, runs, [version.id for version in whole])
        used, absent = _survey(catalog, cache, needed)
        lacking = _Lacking(cache, absent)
        lack = {version.id for version in whole if lacking.version(version)} if absent else set[VersionId]()
        if not lack:
            break
        whole = [version for version in whole if version.id not in lack]
    if len(whole) < len(readable):
        needed = _gather(catalog, cache, divided.standing, runs, [version.id for version in readable])
        used, _ = _survey(catalog, cache, needed)
    old = catalog.now - young_seconds
    usable = {name: size for name, size in catalog.packs.items() if name not in catalog.condemned}
    unused = {name: size for name, size in usable.items() if not used.live.get(name)}
    held = purged_packs.look(catalog, cache.purged, used) if cache.purged else Held()
    garbage = {name: size for name, size in unused.items() if catalog.modified[name] <= old or name in held.packs}
    live = {name: size for name, size in usable.items() if name not in unused}
    repacked = _chosen(catalog, used, live, old)
    repacked |= {name: size for name, size in live.items() if name in unindexed and catalog.modified[name] <= old}
    repacked |= {name: size for name, size in live.items() if name in held.packs}
    standing = {name: size for name, size in catalog.packs.items() if name in catalog.condemned}
    due = {name: size for name, size in standing.items() if catalog.condemned_at[name] <= old}
    return CollectPlan(
        claims=divided,
        own=tuple(whole),
        also=tuple(version.id for version in readable),
        garbage=garbage,
        repacked=repacked,
        copied_bytes=sum(used.live[name] for name in repacked),
        due=due,
        waiting={name: size for name, size in standing.items() if name not in due},
        young={name: size for name, size in unused.items() if name not in garbage},
        live={name: size for name, size in live.items() if name not in repacked},
        live_bytes=sum(used.live.values()),
        absent=len(absent - runs.files),
        held=held,
    )


def _readable(catalog: Catalog, cache: Cache, own: Sequence[Version]) -> tuple[list[Version], list[Version]]:
    """Returns the versions of which all that they consist of is known, and those of them that the remote may have all of."""
    with catalog.counting_condemned():
        there = {each.id for each in own if catalog.locations(each.digest, _ROOT_KINDS[each.kind])}
        lists = [each for each in own if each.kind == MANIFEST and (each.id in there or cache.has_node(each.digest))]
        cut = _cut(catalog, cache, (each.digest for each in lists))
    known = {each.id for each in lists if each.digest not in cut}
    readable = [each for each in own if each.id in known or (each.kind != MANIFEST and each.id in there)]
    return readable, [each for each in readable if each.id in there]


def _survey(catalog: Catalog, cache: Cache, needed: Needed) -> tuple[Usage, set[Digest]]:
    """Returns how what is needed lies in usable packs, and what of it is in none that stands."""
    used = usage.survey(catalog, cache, needed)
    absent = set[Digest]()
    if used.lacks():
        with catalog.counting_condemned():
            absent.update(*usage.survey(catalog, cache, needed).absent.values())
    return used, absent


def _cut(catalog: Catalog, cache: Cache, lists: Iterable[Digest]) -> set[Digest]:
    """Returns those lists of files of which a part is neither on the remote nor in the cache; brings the others into the cache.

    Raises ObjectCorrupt: what it needs is not known.
    """
    problems = fetch.fetch_nodes(catalog, cache, lists)
    for problem in problems.values():
        if not isinstance(problem, ObjectMissing):
            raise problem
    return set(problems)


class _Lacking:
    """Whether a version needs one of some objects; each node of a list of files is read once, whatever shares it."""

    def __init__(self, cache: Cache, absent: AbstractSet[Digest]) -> None:
        self._cache, self._absent = cache, absent
        self._known: dict[Digest, bool] = {}

    def version(self, version: Version) -> bool:
        return version.digest in self._absent if version.kind != MANIFEST else self._node(version.digest)

    def _node(self, digest: Digest) -> bool:
        known = self._known.get(digest)
        if known is None:
            known = digest in self._absent
            if not known:
                node = manifest.decode(self._cache.read_node(digest), digest)
                if isinstance(node, Branch):
                    known = any(self._node(child) for child in node.digests)
                else:
                    known = any(node.digest(i) in self._absent for i in range(len(node)))
            self._known[digest] = known
        return known


def _gather(
    catalog: Catalog, cache: Cache, standing: Sequence[Claim], runs: RunNeeds, also: Sequence[VersionId]
) -> Needed:
    """Returns what is needed; what lies in condemned packs only is needed all the same. Raises ObjectMissing if that is not known."""
    with catalog.counting_condemned():
        named = [
            version for version in runs.versions if catalog.locations(version[1], _ROOT_KINDS[version[0]])
        ]  # others were never pushed
        named += also
        claimed = dict.fromkeys(claim.snapshot for claim in standing)
        try:
            needed = usage.gather(catalog, cache, claimed, named, runs.files)
        except ObjectMissing as error:
            left = _still_there(catalog, standing)
            if len(left) != len(standing):
                return _gather(catalog, cache, left, runs, also)
            lost = _lost_lists(catalog, cache, standing, named)
            if not lost or not all(version.digest.hex().startswith(runs.given_up) for version in lost):
                raise _explained(catalog, lost, error) from error
            needed = usage.gather(catalog, cache, claimed, named, runs.files, but={version.id for version in lost})
    _refuse_damaged(catalog)  # it may have looked again
    return needed


def _still_there(catalog: Catalog, standing: Sequence[Claim]) -> list[Claim]:
    """Returns those claims that stand now: what one that fell meanwhile names may be gone."""
    names = {claim.name for claim in claims.listed(catalog)}
    return [claim for claim in standing if claim.name in names]


def _lost_lists(catalog: Catalog, cache: Cache, standing: Sequence[Claim], named: Sequence[VersionId]) -> list[Version]:
    """Returns the versions whose list of files is lost, each under a path that it has. Raises ObjectMissing for a claim whose snapshot is."""
    versions: dict[VersionId, Version] = {}
    for claim in standing:
        try:
            for version in snapshots.versions(catalog, claim.snapshot):
                versions.setdefault(version.id, version)
        except ObjectMissing:
            raise claims.lost(catalog, claim) from None
    for kind, digest in named:
        versions.setdefault((kind, digest), Version("", kind, digest, -1))
    cut = _cut(catalog, cache, (digest for kind, digest in versions if kind == MANIFEST))
    return [version for version in versions.values() if version.digest in cut]


def _explained(catalog: Catalog, lost: Sequence[Version], error: ObjectMissing) -> ObjectMissing:
    label = catalog.remote.store.label
    if not lost:
        return ObjectMissing(
            f"cannot collect on {label}: {error.message}", hint="see what is missing: dvlite fsck --remote"
        )
    names = some(
        [f"{quote(each.path or 'an output of a run')} ({short_oid(format_oid(*each.id))})" for each in lost], 3
    )
    flags = " ".join(f"--forget-version {each.digest.hex()[:12]}" for each in lost[:_MOST_FLAGS])
    return ObjectMissing(
        f"cannot collect on {label}: the list of files of {names} is lost, so what it needs is not known; nothing was deleted",
        hint="to bring it back: dvlite fsck --remote --repair, or dvlite push in a clone that has it; "
        f"if no copy is left anywhere: dvlite gc --remote {flags}",
    )


def _chosen(catalog: Catalog, used: Usage, packs: dict[Digest, int], old: float) -> dict[Digest, int]:
    """Returns the packs to write again: those with the most waste until little is left, and small ones if they are many."""
    chosen: dict[Digest, int] = {}
    wasted = {
        name: size - used.live[name] - usage.EMPTY_BYTES
        for name, size in packs.items()
        if catalog.modified[name] <= old
    }
    waste = sum(wasted.values())
    most = int(_MOST_WASTE * sum(used.live.values()))
    for name in sorted(wasted, key=lambda name: (-wasted[name] / packs[name], name)):
        if waste <= most or wasted[name] <= 0:
            break
        chosen[name] = packs[name]
        waste -= wasted[name]
    classes: dict[int, list[Digest]] = {}
    for segment in catalog.indexes().values():
        for name, entry in segment.packs.items():
            if name in wasted and packs[name] < _SMALL_BYTES:
                classes.setdefault(entry.pack_class, []).append(name)
    for names in classes.values():
        if len(small := dict.fromkeys(names)) > _MANY_SMALL:
            chosen |= {name: packs[name] for name in small}
    return dict(list(chosen.items())[:_MOST_REPACKED])


def run(
    catalog: Catalog,
    cache: Cache,
    todo: CollectPlan,
    run_needs: Callable[[], RunNeeds],
    progress: Progress,
    *,
    young_seconds: float = YOUNG_SECONDS,
) -> Collected:
    """Carries out a plan. `run_needs` is asked after packs were condemned, each time that what is needed is looked up."""
    catalog.require_writable()
    done = Collected()
    falling = {claim.name for claim, _ in todo.claims.falling}
    snapshots.let_go(catalog.remote, falling)
    done.roots = len(falling)
    condemn(catalog, (*todo.garbage, *todo.repacked))
    done.condemned_packs = len(todo.garbage) + len(todo.repacked)

    def look_again() -> Needed:
        runs = run_needs()
        return _gather(catalog, cache, look(catalog), runs, todo.also)

    seen = _secure(catalog, cache, look_again, done, progress)
    if not seen.issuperset({*todo.garbage, *todo.repacked}):
        raise RemoteError(
            f"{catalog.remote.store.label} took the list of what is to be deleted and does not have it; no data was deleted",
            hint="check the store: dvlite remote test",
        )
    due = {
        name: size
        for name, size in catalog.packs.items()
        if name in seen and catalog.condemned_at.get(name, catalog.now) <= catalog.now - young_seconds
    }
    if due:
        _delete(catalog, set(due))
        done.deleted_packs, done.deleted_bytes = len(due), sum(due.values())
        catalog.look()
    push_protocol.merge_condemned(catalog)
    push_protocol.merge_indexes(catalog, {})
    return done


def condemn(catalog: Catalog, packs: Iterable[Digest]) -> None:
    """Puts lists of packs that are going to be deleted."""
    names = sorted(packs)
    for start in range(0, len(names), condemned.MOST_PACKS):
        data = condemned.dump(names[start : start + condemned.MOST_PACKS], os.urandom(16))
        catalog.remote.put(f"{condemned.FOLDER}{digest_bytes(data).hex()}", data)


def _secure(
    catalog: Catalog, cache: Cache, look_again: Callable[[], Needed], done: Collected, progress: Progress
) -> frozenset[Digest]:
    """Copies what is needed and lies in condemned packs only, until fresh listings show nothing of the kind.

    Returns the packs that may be deleted: those that were condemned before the roots were listed. A root of a push that relies on a pack
    condemned later may be newer than that listing.
    """
    for _ in range(_ROUNDS):
        catalog.look_at_condemned()
        seen = catalog.condemned
        progress.start(f"looking at what is needed on {catalog.remote.shown}")
        try:
            used = usage.survey(catalog, cache, look_again())
            if not used.lacks():
                return seen
            gone = catalog.condemned
            upload = PackUpload(catalog, at_once=copy_objects.PACKS_SENT_AT_ONCE)
            with catalog.counting_condemned():
                copied = copy_objects.run(catalog, upload, copy_objects.plan(catalog, used.absent), gone, progress)
        except ObjectAbsent:  # another collector deleted a pack meanwhile
            continue
        for damage in copied.damaged.values():
            raise damage
        if not copied.records and not upload.sent:
            return seen
        done.copied.append(copied)
        catalog.has_all(upload.sent)  # says what is not there: lost, or taken for superfluous by another collector
    raise RemoteError(
        f"cannot collect on {catalog.remote.store.label}: what was listed or copied keeps disappearing; no data was deleted",
        hint="is another dvlite gc running? run it again later; else check the store: dvlite remote test",
    )


def _delete(catalog: Catalog, due: set[Digest]) -> None:
    """Replaces the index objects that name packs by ones without their rows, deletes exactly these, then the packs."""
    replaced = {
        name: segment
        for name, segment in catalog.indexes().items()
        if name in catalog.index_sizes and not due.isdisjoint(segment.packs)
    }
    for name, segment in replaced.items():
        rows = index.known_rows(segment)
        if rows is None:
            raise RemoteError(f"cannot read all of {name[:20]}: a later dvlite wrote it", hint="upgrade dvlite")
        entries: dict[Digest, PackEntry] = {key: entry for key, entry in segment.packs.items() if key not in due}
        if entries:
            data = index.encode([place for place in rows if place.pack not in due], os.urandom(16), entries)
            catalog.remote.put(f"index/{digest_bytes(data).hex()}", data)
    catalog.remote.delete(sorted(replaced))
    catalog.remote.delete([f"packs/{name.hex()}" for name in sorted(due)])
