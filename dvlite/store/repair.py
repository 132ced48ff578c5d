"""Puts right on a remote what a check found wrong there, as far as good bytes are known. Deletes no pack.

An object is replaced under its own name where its very bytes are known. Else what is lost is sent again from the cache, in new packs, and a
bad pack that nothing needs any more is condemned: gc deletes it. Each step may be done again after a kill.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from dvlite.errors import DvliteError, FormatError, ObjectCorrupt
from dvlite.formats import condemned, recipe, root, snapshot
from dvlite.formats.root import Root
from dvlite.formats.snapshot import Version
from dvlite.oid import Buffer, Digest, digest_bytes, digest_snapshot
from dvlite.progress import Progress
from dvlite.store import fetch, index, pack
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import DAMAGED, Catalog
from dvlite.store.check import check_pack
from dvlite.store.check_remote import RemoteState
from dvlite.store.fetch import Need
from dvlite.store.index import PackEntry
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_CHUNK, KIND_FILE, KIND_MANIFEST, KIND_RECIPE, KIND_SNAPSHOT
from dvlite.store.push_plan import PushPlan
from dvlite.store.push_protocol import mend_indexes
from dvlite.store.push_send import Sender


def replace_objects(check: RemoteState, cache: Cache, others: Sequence[Catalog]) -> None:
    """Writes damaged and missing objects again under their names, where their bytes are known: here, misplaced, or on another remote.

    Before a pack is written over that stands under the name of another one, its bytes are read, and go to their own name next.
    """
    remote = check.catalog.remote
    standing = _misplaced(check)
    names = list(check.found.damages)
    held: Buffer | None = None  # the bytes of the first of `names`
    while names:
        name = names.pop(0)
        folder, _, short = name.partition("/")
        data, held = held, None
        if data is None and folder == "packs" and len(short) == 64:
            data = _pack_bytes(check, cache, Digest(bytes.fromhex(short)), others)
        elif folder in ("index", "condemned"):
            limit = index.MAX_BYTES if folder == "index" else condemned.MAX_BYTES
            data = _named(short, remote.recall(folder, short), *(_get(other, name, limit) for other in others))
        elif folder == "roots":
            data = _root(check, name, others)
        elif folder == "purged":
            data = cache.tombstones.get(short)  # other remotes have been asked
        if data is not None and name not in check.found.replaced:
            if (other := standing.get(name)) in names:
                held = _named(other[6:], _get(check.catalog, name, pack.MAX_PACK_BYTES))
                names.remove(other)
                names.insert(0, other)
            remote.put(name, bytes(data))
            remote.forget(DAMAGED, {short})
            check.catalog.distrusted.discard(Digest(bytes.fromhex(short[:64])))


def _misplaced(check: RemoteState) -> dict[str, str]:
    """Returns the names under which packs stand that have another name, and that; reads those bad packs of which it is not known."""
    known = set(check.misplaced.values())
    for name in (f"packs/{bad.hex()}" for bad in check.found.bad_packs):
        data = _get(check.catalog, name, pack.MAX_PACK_BYTES) if name not in known else None
        if data is not None:
            check.misplaced.setdefault(digest_bytes(data), name)
    return {name: f"packs/{digest.hex()}" for digest, name in check.misplaced.items()}


def _pack_bytes(check: RemoteState, cache: Cache, name: Digest, others: Sequence[Catalog]) -> Buffer | None:
    """Returns the bytes of a pack, if they stand anywhere as a whole."""
    remote = check.catalog.remote
    short = name.hex()
    with contextlib.suppress(DvliteError):
        mapped = memoryview(cache.map_pack(name))
        if digest_bytes(mapped) == name:
            return mapped
    kept = _named(short, remote.recall("meta", short))
    if kept is not None:
        return kept
    misplaced = check.misplaced.get(name)
    if misplaced is not None:
        data = _named(short, _get(check.catalog, misplaced, pack.MAX_PACK_BYTES))
        if data is not None:
            return data
    return _named(
        short, *(_get(other, f"packs/{short}", pack.MAX_PACK_BYTES) for other in others if name in other.packs)
    )


def _named(short: str, *candidates: bytes | None) -> bytes | None:
    return next((data for data in candidates if data is not None and digest_bytes(data).hex() == short), None)


def _get(catalog: Catalog, name: str, limit_bytes: int) -> bytes | None:
    with contextlib.suppress(DvliteError):
        return catalog.remote.get(name, end=limit_bytes + 1)
    return None


def _root(check: RemoteState, name: str, others: Sequence[Catalog]) -> bytes | None:
    """Returns the body of a root: as it was kept, as another remote has it, else one that says what its name says."""
    named = root.parse_name(name)
    if named is None:
        return None
    kept = check.catalog.remote.recall("roots", name.removeprefix(root.FOLDER))
    count = check.counts.get(named.snapshot, 0)
    for data in (kept, *(_get(other, name, root.MAX_BYTES) for other in others)):
        with contextlib.suppress(FormatError, ObjectCorrupt):
            if data is not None:
                body = root.parse(data, name)
                if body.clone == named.clone and count in (0, body.count):
                    return data
    return root.dump(Root(clone=named.clone, count=count), name)


# --- what is lost ---


def salvage(check: RemoteState, cache: Cache, wanted: Sequence[Need]) -> None:
    """Copies into the cache what only bad or condemned packs have of it: sound records, and large files whose own chunks are sound."""
    catalog, remote = check.catalog, check.catalog.remote
    with contextlib.suppress(DvliteError):
        fetch.rescue(catalog, cache, sorted(check.lost.nodes - check.nowhere.nodes), (), check.progress)
    with Writer(cache, check.progress) as writer:
        for name in check.found.bad_packs:
            with contextlib.suppress(ObjectAbsent, FormatError):
                data = remote.get(f"packs/{name.hex()}", end=pack.MAX_PACK_BYTES)
                content = check_pack(data, name)
                for record in content.records:
                    unwanted = record.digest in content.damaged or record.digest in cache.purged
                    if record.kind in (KIND_FILE, KIND_MANIFEST) and not unwanted:
                        writer.put_stored(record, data[record.offset : record.offset + record.stored_length])
        writer.commit()
    for need in wanted:
        if not cache.has_file(need.digest, need.size_bytes):
            with contextlib.suppress(DvliteError):
                fetch.rescue(catalog, cache, (), [need], check.progress)


def send_lost(
    check: RemoteState, cache: Cache, needs: Sequence[Need], snapshots: Mapping[Digest, bytes], progress: Progress
) -> None:
    """Sends what is lost and the cache has, in new packs with an index; of large files only the chunks that no good pack has."""
    catalog = check.catalog
    todo = PushPlan()
    for need in needs:
        if not cache.is_sound(need.digest, need.size_bytes):
            continue
        if need.size_bytes > cache.pack_below_bytes:
            todo.large.append((need.digest, need.size_bytes, need.path))
        else:
            todo.small += need.digest
        todo.files += 1
        todo.size_bytes += need.size_bytes
    for node in sorted(check.lost.nodes):
        with contextlib.suppress(DvliteError):
            cache.read_node(node)
            todo.nodes.append(node)
    sender = Sender(catalog, cache, progress)
    sender.send(todo, lambda _: (), sorted(snapshots.items()), _known_packs(check, todo))


def _known_packs(check: RemoteState, todo: PushPlan) -> set[Digest]:
    """Returns the good packs that the recipes of large files which are sent again name."""
    known: set[Digest] = set()
    for digest, _, _ in todo.large:
        with check.catalog.counting_condemned():
            places = check.catalog.locations(digest, (KIND_RECIPE,))
        for place in places:
            with contextlib.suppress(ObjectCorrupt, ObjectAbsent, KeyError):
                parsed = recipe.parse(check.catalog.read_meta([place])[place], digest)
                known.update(recipe.packs_of(parsed.terms))
    good = [name for name in known if check.catalog.usable(name)]
    return check.catalog.sound_packs(good)


def snapshot_nodes(
    check: RemoteState, others: Sequence[Catalog], rebuilt: Callable[[Root], Iterable[Version]]
) -> dict[Digest, bytes]:
    """Returns the nodes of lost snapshots: from bad packs, other remotes, and `rebuilt`, the versions of the commit that a root names."""
    nodes: dict[Digest, bytes] = {}
    if not check.lost_snapshots:
        return nodes
    for name in check.found.bad_packs:
        data = _get(check.catalog, f"packs/{name.hex()}", pack.MAX_PACK_BYTES)
        if data is not None:
            nodes |= _sound_nodes(data, name)
    for other in others:
        for segment in other.indexes().values():
            places = [place for place in segment if place.record.kind == KIND_SNAPSHOT and other.usable(place.pack)]
            with contextlib.suppress(DvliteError):
                nodes |= {place.record.digest: raw for place, raw in other.read_meta(places).items()}
    for digest, named_by in check.lost_snapshots.items():
        for each in named_by:
            body = check.roots[each][1]
            if body is not None and body.commit:
                tree = snapshot.build(rebuilt(body))
                nodes |= dict(tree.nodes) if tree.root == digest else {}
    return {digest: raw for digest, raw in nodes.items() if digest_snapshot(raw) == digest and not _has(check, digest)}


def _sound_nodes(data: bytes, name: Digest) -> dict[Digest, bytes]:
    nodes: dict[Digest, bytes] = {}
    with contextlib.suppress(FormatError):
        for record in check_pack(data, name).records:
            stored = data[record.offset : record.offset + record.stored_length]
            with contextlib.suppress(ObjectCorrupt):
                if record.kind == KIND_SNAPSHOT:
                    nodes[record.digest] = pack.unpack(record, stored)
    return nodes


def _has(check: RemoteState, digest: Digest) -> bool:
    return bool(check.catalog.locations(digest, (KIND_SNAPSHOT,)))


# --- indexes, and packs that nothing needs ---


def correct_indexes(check: RemoteState) -> None:
    """Puts index objects with right rows, and those of needed packs that no index names; then deletes exactly those that were wrong."""
    catalog, remote = check.catalog, check.catalog.remote
    mend_indexes(catalog)
    lost_index = [name for name in check.found.unindexed if f"packs/{name.hex()}" in check.found.damages]
    rows = [place for name in lost_index for place in check.found.unindexed[name]]
    wrong = [name for name in check.found.replaced if name in catalog.index_sizes]
    rows += [place for name in wrong for place in check.found.replaced[name]]
    if not rows and not wrong:
        return
    classes = {place.pack: index.class_of(place.record.kind) for place in rows}
    tables = [segment.packs for name in wrong if (segment := catalog.read_index(name)) is not None]
    classes |= {name: entry.pack_class for packs in tables for name, entry in packs.items()}
    table = {name: PackEntry(each, catalog.packs[name]) for name, each in classes.items() if name in catalog.packs}
    data = index.encode([place for place in rows if place.pack in table], os.urandom(16), table)
    short = digest_bytes(data).hex()
    remote.put(f"index/{short}", data)
    remote.remember("index", short, data)
    remote.delete(wrong)


def condemn_bad(check: RemoteState) -> bool:
    """Condemns bad packs that hold nothing which is still lost; to be called with what a fresh check found.

    Returns whether there were any: then look again, as every collector does, for another one may have condemned the other copies.
    """
    names = {name for name in check.found.bad_packs if not _may_help(check, name)}
    names -= check.catalog.condemned
    if names:
        data = condemned.dump(names, os.urandom(16))
        check.catalog.remote.put(f"{condemned.FOLDER}{digest_bytes(data).hex()}", data)
    return bool(names)


def _may_help(check: RemoteState, name: Digest) -> bool:
    """Returns whether something that is lost may be read from a bad pack one day."""
    if not check.lost and not check.lost_snapshots:
        return False
    data = _get(check.catalog, f"packs/{name.hex()}", pack.MAX_PACK_BYTES)
    with contextlib.suppress(FormatError, ObjectCorrupt):
        records = pack.open_whole(data or b"", name)
        if check.lost_snapshots and any(record.kind == KIND_SNAPSHOT for record in records):
            return True
        wanted = check.lost.nodes | check.lost.files
        return any(record.kind == KIND_CHUNK or record.digest in wanted for record in records)
    return True
