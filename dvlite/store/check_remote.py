"""What is wrong on a remote: objects against their names, packs against indexes, and all that its roots need, down to the chunks.

A look costs requests proportional to packs and roots; `read_packs` and `read_files` read the bytes as well. Writes nothing. In memory
are 4 bytes for each row of an index, and about 150 for each version, large file and term of a recipe.
"""

from __future__ import annotations

import contextlib
import re
from array import array
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from dvlite.errors import FormatError, LaterVersion, ObjectCorrupt, ObjectMissing
from dvlite.formats import recipe, root, store_config, task
from dvlite.formats.root import Root, RootName
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import FILE, Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.store import index, snapshots
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog, pack_sizes
from dvlite.store.check import (
    AT_ONCE,
    Found,
    IndexRows,
    Lost,
    PackReader,
    Read,
    ahead,
    compare,
    lost,
    makes_file,
    read_pack,
)
from dvlite.store.index import Index, RecordLocation
from dvlite.store.object_store import ObjectAbsent, ObjectEntry
from dvlite.store.pack import CHUNKS, KIND_FILE, KIND_MANIFEST, KIND_RECIPE, Record
from dvlite.store.push_protocol import lost_claims
from dvlite.store.recipes import LargeFile, Recipes

Segment = str  # the name of an index object

_NAMES = re.compile(
    r"config|(packs|index|condemned|purged|keys)/[0-9a-f]{64}|roots/[0-9a-f]{64}-[0-9a-f]{32}-[0-9a-f]{32}"
    r"|runs/[0-9a-f]{32}/[0-9a-f]{64}|test/[0-9a-f]{32}"
)
_PACK = re.compile("packs/[0-9a-f]{64}")
_RECIPES = 256  # read together
_TERM_FIELDS = 4  # first chunk, number of chunks, their length, 1 if they may be longer


@dataclass(slots=True)
class ClaimedVersion:
    """A version that roots claim, and whose roots these are, as they name themselves."""

    version: Version
    users: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class RemoteState:
    """What a look at a remote found. Packs that are bad are distrusted in `catalog`, so that nothing counts as safe in them."""

    catalog: Catalog
    cache: Cache
    progress: Progress
    is_over: Callable[[], bool] = lambda: False
    found: Found = field(default_factory=Found)
    listed: frozenset[Digest] = frozenset()  # the packs that stood there when this look began
    claimed_by: list[tuple[ObjectEntry, RootName]] = field(default_factory=list)  # the roots, listed before all else
    checked: set[Digest] = field(default_factory=set)  # packs whose bytes were read and are right
    proven: set[Digest] = field(default_factory=set)  # recipes, by the BLAKE3 of their bytes, whose chunks are the file
    recipes: dict[Digest, tuple[Digest, Digest]] = field(default_factory=dict)  # file -> BLAKE3 of its recipe, and pack
    misplaced: dict[Digest, str] = field(
        default_factory=dict
    )  # packs that stand whole under the name of another object
    roots: dict[str, tuple[RootName, Root | None]] = field(default_factory=dict)
    counts: dict[Digest, int] = field(default_factory=dict)  # of the versions of each snapshot
    claims: dict[VersionId, ClaimedVersion] = field(default_factory=dict)
    missing_roots: list[Digest] = field(default_factory=list)  # the snapshots of roots of this clone that are gone
    lost: Lost = field(default_factory=Lost)
    nowhere: Lost = field(default_factory=Lost)  # what of that is not even in condemned packs that stand
    lost_snapshots: dict[Digest, list[str]] = field(default_factory=dict)  # and the roots that name them
    left_by_runs: frozenset[Digest] = frozenset()  # logs, diffs and outputs, which no root names
    indexed: dict[Segment, Index] = field(default_factory=dict)  # as they stand there, right or wrong

    def bad(self, name: Digest, reason: str) -> None:
        """Notes a pack that must not be relied on, here and by the next push."""
        self.found.bad(name, reason)
        self.catalog.note_damaged(name)
        self.checked.discard(name)

    @property
    def packs(self) -> list[Digest]:
        """The packs that stand there, and are not going away, in order."""
        return sorted(name for name in self.catalog.packs if name not in self.catalog.condemned)


def look(check: RemoteState) -> None:
    """Looks at the remote; compares names, sizes, indexes and the ends of packs. Roots come first: what a root needs stands before it."""
    catalog = check.catalog
    check.claimed_by = snapshots.listed(catalog.remote)
    catalog.look()
    check.progress.start(f"checking {catalog.remote.shown}")
    check.listed = frozenset(catalog.packs)
    _names(check)
    for name in catalog.misnamed():
        check.found.note(name, "damaged", "its bytes are not the ones that its name promises")
    rows = IndexRows(catalog.indexes())
    check.indexed = rows.segments
    for name in catalog.damaged:
        check.found.note(name, "damaged", "it is not what its name says")
    _footers(check, rows)
    _missing_packs(check, rows)
    for name, right in check.found.replaced.items():
        entries = {each: entry for each, entry in rows.segments[name].packs.items() if each in catalog.packs}
        catalog.indexes()[name] = Index(index.encode(right, bytes(16), entries), name)
    check.progress.finish()


def _names(check: RemoteState) -> None:
    """Lists everything: what has no name of ours, what is too short or too long to be a pack, and what claims nothing."""
    catalog = check.catalog
    entries = catalog.remote.store.list("").entries
    sizes = {entry.name: entry.size_bytes for entry in entries}
    possible = pack_sizes(entry for entry in entries if _PACK.fullmatch(entry.name))
    for name, size in sizes.items():
        if _NAMES.fullmatch(name) is None and task.task_of(name) is None:
            check.found.note(name, "foreign", "dvlite writes no such name")
        elif name.startswith("packs/"):
            pack_name = Digest(bytes.fromhex(name[6:]))
            if pack_name not in possible and pack_name not in catalog.condemned:  # others may be newer than the look
                check.bad(pack_name, f"no pack has {size:,} bytes")
    if catalog.config is None and sizes and not catalog.settings.is_damaged:
        check.found.note(store_config.NAME, "missing", "every remote has one")


def _footers(check: RemoteState, rows: IndexRows) -> None:
    """Reads the ends of packs of small files and trees and compares them with the rows of the indexes; recipes say more of chunks."""
    catalog, remote = check.catalog, check.catalog.remote
    chunks = rows.of_class(CHUNKS)
    wanted = [name for name in check.packs if name not in chunks]

    def read(name: Digest) -> list[Record]:
        return catalog.read_footer(name, catalog.packs[name], keep=False)

    for name, future in ahead(remote.submit, read, wanted, remote.jobs):
        records = _records(check, name, future)
        if records is not None:
            compare(check.found, rows, name, records, partial(catalog.pack_bytes, name))
            if name in check.found.bad_packs:
                check.bad(name, "")
        if check.is_over():
            check.found.stopped = True
            return


def _records(check: RemoteState, name: Digest, future: Future[list[Record]]) -> list[Record] | None:
    try:
        return future.result()
    except ObjectAbsent:
        check.catalog.packs.pop(name, None)  # whether it is missing is seen by a fresh look
    except LaterVersion:
        check.found.later.add(f"packs/{name.hex()}")
    except ObjectCorrupt as error:
        check.bad(name, error.message)
    return None


def _missing_packs(check: RemoteState, rows: IndexRows) -> None:
    """Finds packs that an index names and that are gone although no list condemns them: by a fresh look, for gc may be at work."""
    catalog = check.catalog

    def gone() -> dict[Digest, list[Segment]]:
        known = catalog.packs.keys() | catalog.condemned | check.found.bad_packs.keys()
        return rows.naming(lambda name: name not in known)

    if not gone():
        return
    distrusted = set(catalog.distrusted)
    catalog.look()
    catalog.distrusted |= distrusted
    for name, named_by in gone().items():
        standing = [each for each in named_by if each in catalog.index_sizes]
        if standing:
            check.found.note(f"packs/{name.hex()}", "missing", "an index names it, and it is not there")
        for each in standing:
            rows.correct(check.found, each, name, ())


def was_disturbed(check: RemoteState) -> bool:
    """Returns whether packs came or went since the look began, or index objects went: others moved things, so a new look is needed."""
    indexes = {entry.name for entry in check.catalog.remote.store.list("index/").entries}
    return not indexes.issuperset(check.catalog.index_sizes) or check.catalog.standing_packs() != check.listed


# --- bytes ---


def read_packs(check: RemoteState, names: Sequence[Digest], read: Read) -> None:
    """Reads whole packs and hashes all in them; calls `read` for each. Stops when the time is over."""
    catalog, remote = check.catalog, check.catalog.remote
    names = [name for name in names if name in catalog.packs and name not in check.found.bad_packs]
    total = sum(catalog.packs[name] for name in names)
    check.progress.start(f"reading {remote.shown}", total_bytes=total)

    def look_at(name: Digest) -> tuple[str, Digest | None]:
        checked = read_pack(catalog, name)
        check.progress.advance(size_bytes=len(checked.data))
        return checked.problem, digest_bytes(checked.data) if checked.problem else None

    for name, future in ahead(remote.submit, look_at, names, AT_ONCE):
        try:
            problem, other = future.result()
        except ObjectAbsent:
            continue
        except LaterVersion:
            check.found.later.add(f"packs/{name.hex()}")
            continue
        if problem:
            check.bad(name, problem)
            check.misplaced[other or name] = f"packs/{name.hex()}"
        else:
            check.checked.add(name)
        read(name, right=not problem)
        if check.is_over():
            check.found.stopped = True
            break
    check.progress.finish()


def read_files(check: RemoteState, digests: Sequence[Digest], read: Read) -> None:
    """Puts large files together from their chunks and hashes them; calls `read` for the recipe of each that is right."""
    packs = PackReader(check.catalog, check.progress)
    check.progress.start(f"reading large files on {check.catalog.remote.shown}")

    def is_good(name: Digest) -> bool:
        content = packs.get(name)
        if content.problem:
            check.bad(name, content.problem)
        return not content.problem

    for digest in digests:
        file = _large_files(check, [digest]).get(digest)
        if file is None:
            continue
        try:
            is_file = makes_file(packs, digest, check.catalog.recipes.terms(file), is_good)
        except (ObjectAbsent, ObjectCorrupt, LaterVersion):
            continue
        if is_file:
            read(check.recipes[digest][0], right=True)
        elif is_file is False:
            check.bad(file.records[0].pack, f"its recipe of blake3:{digest.hex()} does not make the file")
        if check.is_over():
            check.found.stopped = True
            break
    check.progress.finish()


# --- what roots need ---


def close(check: RemoteState) -> None:
    """Walks all that the roots need, and notes what no sound place has; may be called again when packs proved bad since."""
    check.progress.start(f"checking what is kept on {check.catalog.remote.shown}")
    check.claims.clear()
    check.lost_snapshots.clear()
    _roots(check)
    check.lost = _lost(check)
    if (check.lost or check.lost_snapshots) and check.found.unindexed:
        _take_up_unindexed(check)
    for name in (check.catalog.distrusted | check.catalog.doubted).intersection(
        check.catalog.packs
    ) - check.found.bad_packs.keys():
        check.bad(name, "what it holds is damaged")
    check.nowhere = check.lost
    if check.lost and not check.catalog.condemned.isdisjoint(check.catalog.packs):
        with check.catalog.counting_condemned(damaged_too=False):
            check.nowhere = _lost(check)
    check.progress.finish()


def given_up_at(check: RemoteState) -> float:
    """Returns when the first of the packs that stand was condemned, by the store's own clock; now, if the last of them went meanwhile."""
    catalog = check.catalog
    return min((at for name, at in catalog.condemned_at.items() if name in catalog.packs), default=catalog.now)


def _lost(check: RemoteState) -> Lost:
    holder = RemoteHolder(check)
    versions = [(version_id, claim.version.size_bytes) for version_id, claim in check.claims.items()]
    result = lost(versions, holder)
    result.files.update(holder.without_chunks())
    return result


def _take_up_unindexed(check: RemoteState) -> None:
    """Looks for what is lost in packs that no index names: an index object is missing."""
    segments = check.catalog.indexes()
    rows = [place for places in check.found.unindexed.values() for place in places]
    before = (len(check.lost.nodes), len(check.lost.files), len(check.lost_snapshots))
    segments["of packs in no index"] = Index(index.encode(rows, bytes(16)), "of packs in no index")
    check.claims.clear()
    check.lost_snapshots.clear()
    _roots(check)
    check.lost = _lost(check)
    if (len(check.lost.nodes), len(check.lost.files), len(check.lost_snapshots)) != before:
        for name in check.found.unindexed:
            check.found.note(f"packs/{name.hex()}", "stale", "no index names it, and it holds what is needed")


def _roots(check: RemoteState) -> None:
    """Reads every root, and the snapshots that they name."""
    catalog = check.catalog
    bodies = catalog.remote.run_all(lambda name: _body(check, name), [entry.name for entry, _ in check.claimed_by])
    trees: dict[Digest, list[tuple[str, Root | None]]] = {}
    for (entry, name), body in zip(check.claimed_by, bodies, strict=True):
        check.roots[entry.name] = name, body
        trees.setdefault(name.snapshot, []).append((entry.name, body))
    read = snapshots.reader(catalog, trees)
    for digest, named_by in trees.items():
        users = [body.user for _, body in named_by if body is not None and body.user]
        count = 0
        try:
            for version in snapshots.versions(catalog, digest, read):
                count += 1
                claim = check.claims.setdefault(version.id, ClaimedVersion(version))
                claim.users.update(dict.fromkeys(users))
            check.counts[digest] = count
            for each, body in named_by:
                if body is not None and body.count not in (0, count):
                    check.found.note(
                        each, "damaged", f"it names {body.count:,} versions, and its snapshot has {count:,}"
                    )
        except (ObjectMissing, ObjectCorrupt, FormatError, ObjectAbsent):
            check.lost_snapshots[digest] = [each for each, _ in named_by]
    for digest in check.left_by_runs:  # as far as it was sent: an index names it
        places = (place for segment in check.indexed.values() for place in segment.find(digest, (KIND_FILE,)))
        if (place := next(places, None)) is not None:
            version = Version("", FILE, digest, place.record.raw_length)
            check.claims.setdefault(version.id, ClaimedVersion(version))


def _body(check: RemoteState, name: str) -> Root | None:
    named = root.parse_name(name)
    try:
        body = root.parse(check.catalog.remote.get(name, end=root.MAX_BYTES + 1), name)
    except LaterVersion:
        check.found.later.add(name)
        return None
    except ObjectAbsent:
        return None
    except (FormatError, ObjectCorrupt) as error:
        check.found.note(name, "damaged", error.reason if isinstance(error, FormatError) else error.message)
        return None
    if named is not None and body.clone not in ("", named.clone):
        check.found.note(name, "damaged", "its bytes are those of another clone's root")
        return None
    return body


def find_own_roots(check: RemoteState, needed: Callable[[], Container[VersionId]]) -> None:
    """Notes that roots of this clone are gone whose snapshots are whole and name what it needs: else gc may drop that."""
    remote = check.catalog.remote
    check.missing_roots = list(lost_claims(check.catalog, (name for name, _ in check.roots.values()), needed))
    for digest in check.missing_roots:
        name = root.prefix(digest, remote.clone) + "..."
        check.found.note(name, "missing", "this clone put it, and needs what it names")


class RemoteHolder:
    """A remote, asked for what versions need; large files are looked up together, at the end."""

    def __init__(self, check: RemoteState) -> None:
        self._check, self._catalog = check, check.catalog
        self._large: dict[Digest, None] = {}

    def read_nodes(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        places = {digest: self._catalog.locations(digest, (KIND_MANIFEST,)) for digest in digests}
        return _read_each(self._catalog, {digest: found for digest, found in places.items() if found})

    def lacking(self, files: Sequence[tuple[Digest, int]]) -> set[Digest]:
        gone = set()
        purged = self._catalog.remote.cache.purged
        for digest, _ in files:
            if digest in purged or self._catalog.locations(digest, (KIND_FILE,)):
                continue
            if self._catalog.locations(digest, (KIND_RECIPE,)):
                self._large[digest] = None
            else:
                gone.add(digest)
        return gone

    def without_chunks(self) -> set[Digest]:
        """Returns those large files that no recipe makes of chunks which are there; one request or two for each pack of chunks."""
        gone: set[Digest] = set()
        wanted = list(self._large)
        while wanted:
            terms: dict[Digest, array[int]] = {}
            users: dict[Digest, list[Digest]] = {}
            for at in range(0, len(wanted), _RECIPES):
                part = wanted[at : at + _RECIPES]
                files = _large_files(self._check, part)
                gone.update(digest for digest in part if digest not in files)
                for digest, file in files.items():
                    for term in self._catalog.recipes.terms(file):
                        numbers = terms.setdefault(term.pack, array("Q"))
                        length = term.length_bytes // term.repeat + (term.skip_bytes or 0)
                        numbers.extend((term.first, term.count, length, term.skip_bytes is not None))
                        users.setdefault(term.pack, []).append(digest)
            bad = _without_terms(self._check, terms)
            wanted = list(dict.fromkeys(digest for name in bad for digest in users[name]))
        return gone


def _without_terms(check: RemoteState, terms: dict[Digest, array[int]]) -> list[Digest]:
    """Returns the packs of chunks that lack what recipes take from them."""
    remote, sizes = check.catalog.remote, check.catalog.packs
    bad = []
    names = [name for name in terms if name in sizes]
    for name, future in ahead(
        remote.submit, lambda name: check.catalog.read_footer(name, sizes[name], keep=False), names, remote.jobs
    ):
        records = _records(check, name, future)
        if records is not None and not _has_terms(records, terms[name]):
            check.bad(name, "it does not hold the chunks that recipes take from it")
            records = None
        if records is None:
            check.catalog.distrusted.add(name)
            bad.append(name)
    return bad


def _has_terms(records: Sequence[Record], numbers: array[int]) -> bool:
    for at in range(0, len(numbers), _TERM_FIELDS):
        first, count, length, is_stretch = numbers[at : at + _TERM_FIELDS]
        chosen = records[first : first + count]
        stored = sum(record.raw_length for record in chosen)
        if len(chosen) != count or stored < length or (stored > length and not is_stretch):
            return False
    return True


def _large_files(check: RemoteState, digests: Sequence[Digest]) -> dict[Digest, LargeFile]:
    """Returns how large files lie there, of those with a recipe whose packs all stand and are good; keeps none."""
    recipes = Recipes(check.catalog, check.catalog.remote.store.label)
    found: dict[Digest, LargeFile] = {}
    try:
        found = recipes.find(digests)
    except (ObjectCorrupt, ObjectAbsent, LaterVersion):  # one by one: a damaged one does not keep the others
        for digest in digests:
            try:
                found |= recipes.find([digest])
            except LaterVersion:
                check.found.later.add(f"the recipe of blake3:{digest.hex()}")
            except (ObjectCorrupt, ObjectAbsent):
                continue
    for digest in digests:
        if digest not in found and isinstance(check.catalog.damage.get(digest), LaterVersion):
            check.found.later.add(f"the recipe of blake3:{digest.hex()}")
    for digest, file in found.items():
        check.recipes[digest] = digest_bytes(recipe.dump(file.recipe)), file.records[0].pack
    return found


def _read_each(catalog: Catalog, places: dict[Digest, list[RecordLocation]]) -> dict[Digest, bytes]:
    """Returns those objects that one of their places has; together if nothing is damaged, else one by one."""
    read: dict[Digest, bytes] = {}
    with contextlib.suppress(ObjectAbsent):
        data = catalog.read_meta([found[0] for found in places.values()])
        read = {place.record.digest: raw for place, raw in data.items()}
    for digest, found in places.items():
        for place in found if digest not in read else ():
            with contextlib.suppress(ObjectAbsent):
                read |= {each.record.digest: raw for each, raw in catalog.read_meta([place]).items()}
        damage = catalog.damage.get(digest)
        if digest not in read and isinstance(damage, LaterVersion):
            raise damage
    return read
