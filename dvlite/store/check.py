"""Whether the bytes of a store are what their names promise: packs, large files in chunks, and that all that versions need is there.

What a cache and a remote have in common, and what `fsck` and `verify --remote --deep` do. Reads only; holds a few packs at a time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from dvlite.errors import LaterVersion, ObjectCorrupt
from dvlite.formats import manifest, recipe
from dvlite.formats.manifest import EMPTY_DIR, Branch
from dvlite.formats.recipe import Term
from dvlite.formats.snapshot import VersionId
from dvlite.oid import MANIFEST, Buffer, Digest, FileHasher, digest_bytes
from dvlite.progress import Progress
from dvlite.store import pack
from dvlite.store.catalog import Catalog
from dvlite.store.index import Index, RecordLocation
from dvlite.store.pack import KIND_CHUNK, KIND_RECIPE, Record

AT_ONCE = 3  # packs in memory, of at most 80 MiB, or more of small ones
_MEMORY_BYTES = 64 * 1024 * 1024  # of small packs, and as much of chunks of which stretches are taken
_NODES = 256  # read together
_WRONG_BYTES = "its bytes are not the ones that its name promises"

Problem = Literal["damaged", "missing", "stale", "foreign"]
Item = TypeVar("Item")
T = TypeVar("T")


class Read(Protocol):
    """Is called with each object that was read, and whether it was right."""

    def __call__(self, item: Digest, *, right: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Damage:
    """An object of a store, by its name there, that is not what it should be."""

    name: str
    problem: Problem
    reason: str


@dataclass(slots=True)
class Found:
    """What a check found in a store so far."""

    damages: dict[str, Damage] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)  # objects that a later dvlite wrote: not checked
    bad_packs: dict[Digest, str] = field(default_factory=dict)  # and why
    unindexed: dict[Digest, list[RecordLocation]] = field(default_factory=dict)  # packs in no index, and what they hold
    replaced: dict[str, list[RecordLocation]] = field(
        default_factory=dict
    )  # index objects with wrong rows -> right rows
    stopped: bool = False  # the time was over

    def note(self, name: str, problem: Problem, reason: str) -> None:
        self.damages.setdefault(name, Damage(name, problem, reason))

    def bad(self, name: Digest, reason: str) -> None:
        """Notes a pack that must not be relied on."""
        self.bad_packs.setdefault(name, reason)
        self.note(f"packs/{name.hex()}", "damaged", reason)


class IndexRows:
    """The index objects of a store, and which rows of them are about which pack."""

    def __init__(self, segments: Mapping[str, Index]) -> None:
        self.segments = dict(segments)
        self._rows = {name: segment.by_pack() for name, segment in segments.items()}

    def of_class(self, pack_class: int) -> set[Digest]:
        """Returns the packs that an index says are of a class."""
        tables = (segment.packs.items() for segment in self.segments.values())
        return {name for table in tables for name, entry in table if entry.pack_class == pack_class}

    def of_pack(self, name: Digest) -> dict[str, set[RecordLocation | None]]:
        """Returns what each index object says of a pack, of those that name it. Raises LaterVersion."""
        return {
            named_by: {self.segments[named_by].row(at) for at in rows[name]}
            for named_by, rows in self._rows.items()
            if name in rows
        }

    def naming(self, is_gone: Callable[[Digest], bool]) -> dict[Digest, list[str]]:
        """Returns the packs that are gone, each with the index objects that name it."""
        gone: dict[Digest, list[str]] = {}
        for named_by, segment in self.segments.items():
            for name in segment.packs:
                if is_gone(name):
                    gone.setdefault(name, []).append(named_by)
        return gone

    def correct(self, found: Found, named_by: str, name: Digest, rows: Iterable[RecordLocation]) -> None:
        """Notes what an index object should say of a pack."""
        right = found.replaced.get(named_by)
        if right is None:
            right = list(self.segments[named_by])
        found.replaced[named_by] = [place for place in right if place.pack != name] + list(rows)


def compare(
    found: Found, rows: IndexRows, name: Digest, records: Iterable[Record], whole: Callable[[], Buffer]
) -> None:
    """Compares what a pack's table says with the rows of it; if they differ, the pack's bytes decide which of the two is right."""
    expected = {RecordLocation(name, record) for record in records if record.kind != KIND_CHUNK}
    try:
        indexed = rows.of_pack(name)
    except LaterVersion as error:
        found.later.add(error.message)
        return
    if not indexed:
        found.unindexed[name] = sorted(expected)
        return
    wrong = [named_by for named_by, known in indexed.items() if known - expected]
    if not wrong and expected <= set().union(*indexed.values()):
        return
    if digest_bytes(whole()) != name:
        found.bad(name, "its table is not that of the pack of this name")
        return
    for named_by in wrong or list(indexed)[:1]:
        found.note(
            f"index/{named_by.removeprefix('index/')}", "damaged", f"it does not say what pack {name.hex()[:8]} holds"
        )
        rows.correct(found, named_by, name, expected)


@dataclass(frozen=True, slots=True)
class CheckedPack:
    """A whole pack, read. `damaged`: records that are not what they should be, and why; `reason`: what else is wrong, or nothing."""

    data: Buffer
    records: list[Record]
    damaged: dict[Digest, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def problem(self) -> str:
        """Says what is wrong with it, or nothing."""
        return self.reason or next(iter(self.damaged.values()), "")


def check_pack(data: Buffer, name: Digest) -> CheckedPack:
    """Hashes a pack as a whole, and each record of it. Raises LaterVersion for a sound one that a later dvlite wrote."""
    whole = digest_bytes(data) == name
    try:
        records = pack.open_whole(data, name)
    except ObjectCorrupt as error:
        return CheckedPack(data, [], reason=error.message)
    checked = CheckedPack(data, records, reason="" if whole else _WRONG_BYTES)
    for record in records:
        try:
            stored = memoryview(data)[record.offset : record.offset + record.stored_length]
            raw = pack.unpack_view(record, stored)
            if record.kind == KIND_RECIPE:
                recipe.parse(bytes(raw), record.digest)
        except LaterVersion:
            continue
        except ObjectCorrupt as error:
            checked.damaged[record.digest] = error.message
    return checked


def read_pack(catalog: Catalog, name: Digest) -> CheckedPack:
    """Reads a whole pack of a remote, and again if it is not right: what goes bad on the way is no damage there. Raises RemoteError, LaterVersion."""
    checked = check_pack(catalog.pack_bytes(name), name)
    return check_pack(catalog.pack_bytes(name), name) if checked.problem else checked


class PackReader:
    """The packs of a remote that were read last; the next is on its way while one is looked at."""

    def __init__(self, catalog: Catalog, progress: Progress) -> None:
        self._catalog, self._progress = catalog, progress
        self._here: OrderedDict[Digest, Future[CheckedPack]] = OrderedDict()

    def each(self, names: Sequence[Digest]) -> Iterator[Digest]:
        """Yields the names; `get` returns each one's pack without a wait."""
        for number, name in enumerate(names):
            for coming in names[number : number + AT_ONCE - 1]:
                self._ask(coming)
            yield name

    def get(self, name: Digest) -> CheckedPack:
        """Returns a pack. Raises RemoteError, LaterVersion."""
        return self._ask(name).result()

    def _ask(self, name: Digest) -> Future[CheckedPack]:
        if name in self._here:
            self._here.move_to_end(name)
            return self._here[name]
        sizes = self._catalog.packs
        while len(self._here) >= AT_ONCE and sum(sizes.get(each, 0) for each in self._here) > _MEMORY_BYTES:
            self._here.popitem(last=False)
        self._here[name] = self._catalog.remote.submit(lambda: self._read(name))
        return self._here[name]

    def _read(self, name: Digest) -> CheckedPack:
        checked = read_pack(self._catalog, name)
        self._progress.advance(size_bytes=len(checked.data))
        return checked


def makes_file(
    packs: PackReader, digest: Digest, terms: Iterable[Term], is_good: Callable[[Digest], bool]
) -> bool | None:
    """Returns whether the chunks that terms name are the file `digest`; None as soon as a pack is not good.

    A pack is read again if more than two others were in between, and these were large; chunks of which stretches are taken are kept.
    """
    hasher = FileHasher()
    kept_bytes = 0
    opened: OrderedDict[tuple[Digest, int], Buffer] = OrderedDict()
    for term in terms:
        if term.skip_bytes is not None and (chunk := opened.get((term.pack, term.first))) is not None:
            opened.move_to_end((term.pack, term.first))
            hasher.update(recipe.stretch_of(term, chunk))
            continue
        if not is_good(term.pack):
            return None
        content = packs.get(term.pack)
        view = memoryview(content.data)
        for _ in range(term.repeat):
            for record in content.records[term.first : term.first + term.count]:
                chunk = pack.unpack_view(record, view[record.offset : record.offset + record.stored_length])
                if term.skip_bytes is not None:
                    opened[term.pack, term.first] = chunk = bytes(chunk)
                    kept_bytes += len(chunk)
                    while kept_bytes > _MEMORY_BYTES:
                        kept_bytes -= len(opened.popitem(last=False)[1])
                hasher.update(recipe.stretch_of(term, chunk))
    return hasher.digest() == digest


def ahead(
    submit: Callable[[Callable[[], T]], Future[T]], work: Callable[[Item], T], items: Iterable[Item], at_once: int
) -> Iterator[tuple[Item, Future[T]]]:
    """Yields items, in order, with their work done or on its way in a pool; never more than `at_once` results are held."""
    flying: deque[tuple[Item, Future[T]]] = deque()
    for item in items:
        flying.append((item, submit(lambda item=item: work(item))))  # type: ignore[misc]  # mypy: a default of a lambda
        if len(flying) >= at_once:
            yield flying.popleft()
    yield from flying


# --- what versions need ---


class Holder(Protocol):
    """A store, asked for what versions need."""

    def read_nodes(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        """Returns those nodes of listings that are there and sound."""

    def lacking(self, files: Sequence[tuple[Digest, int]]) -> set[Digest]:
        """Returns those files, given with their sizes in bytes, that are not there whole."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What versions need and a store does not have in any sound place: nodes of listings, and files."""

    nodes: set[Digest] = field(default_factory=set)
    files: set[Digest] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.files)


def lost(versions: Iterable[tuple[VersionId, int]], holder: Holder) -> Lost:
    """Returns what is not there of versions, given with their sizes in bytes. A node that many share is looked at once."""
    result = Lost()
    alone, queue = [], []
    for (kind, digest), size_bytes in versions:
        if kind == MANIFEST:
            queue.append(digest)
        else:
            alone.append((digest, size_bytes))
    result.files.update(holder.lacking(alone))
    walked = set(queue)
    while queue:
        now, queue = queue[-_NODES:], queue[:-_NODES]
        read = holder.read_nodes(now)
        for digest in now:
            try:
                node = manifest.decode(read[digest], digest)
            except (KeyError, ObjectCorrupt):
                result.nodes.add(digest)
                continue
            if isinstance(node, Branch):
                children = [child for child in dict.fromkeys(node.digests) if child not in walked]
                walked.update(children)
                queue += children
            else:
                files = [(node.digest(i), node.sizes[i]) for i, flags in enumerate(node.flags) if flags != EMPTY_DIR]
                result.files.update(holder.lacking(files))
    return result


def lost_paths(version: VersionId, gone: Lost, holder: Holder) -> list[bytes] | None:
    """Returns which files of a version are lost, by their path inside of it; None if its listing is. A file is itself under ''."""
    kind, digest = version
    if kind != MANIFEST:
        return [b""] if digest in gone.files else []
    paths: list[bytes] = []

    def read(node: Digest) -> bytes:
        if node in gone.nodes or not (data := holder.read_nodes([node])):
            raise ObjectCorrupt("a part of the list of files is lost")
        return data[node]

    try:
        for leaf in manifest.leaves(digest, read):
            paths += [path for i, path in enumerate(leaf.paths) if leaf.digest(i) in gone.files]
    except ObjectCorrupt:
        return None
    return paths
