"""Reads every byte of versions on a remote and hashes it: packs against their names, records against their ids, large files as a whole.

Holds at most a few packs at a time. Keeps nothing of what it reads.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from dvlite.errors import DvliteError, ObjectCorrupt
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.recipe import Recipe
from dvlite.oid import Digest, FileHasher, digest_bytes
from dvlite.progress import Progress
from dvlite.runs import sync
from dvlite.show import printable, some
from dvlite.store import batch, pack
from dvlite.store.catalog import Catalog
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE, KIND_RECIPE, Record
from dvlite.verify.findings import Finding, Unchecked
from dvlite.verify.remote_complete import Mention, Requirement, corrupt, damaged_object
from dvlite.verify.source import ContentSource

_AT_ONCE = 3  # packs in memory, of at most 80 MiB


@dataclass(slots=True)
class _Pack:
    data: bytes
    records: list[Record]
    damaged: dict[Digest, str] = field(default_factory=dict)  # records that are not what they should be
    reason: str = ""


def read_all(
    source: ContentSource, complete: Mapping[Requirement, frozenset[Digest]], progress: Progress
) -> Iterator[Finding | Unchecked]:
    """Yields what is damaged of versions that are complete by their listings; a pack is reported once, with the first path that needs it."""
    catalog = source.catalog()
    users: dict[Digest, list[Requirement]] = {}
    for wanted, names in complete.items():
        for name in names:
            users.setdefault(name, []).append(wanted)
    large = _large_files(source, catalog, complete)
    recipes = catalog.recipes(large)
    chunks = {name for each in recipes.values() for name in each.packs}
    total = sum(catalog.packs.get(name, 0) for name in users)
    progress.start(f"reading all of {catalog.remote.store.label}", total_bytes=total)
    packs = _Packs(catalog, progress)
    reported: set[Digest] = set()
    for name in packs.each(sorted(users.keys() - chunks)):
        yield from _pack(source, packs, name, users[name], reported)
    for digest, (path, wanted) in large.items():
        if digest in recipes:
            holder = catalog.recipe_pack(digest)
            yield from _file(source, packs, recipes[digest], holder, path, wanted, users, reported)
    progress.finish()
    yield from _records(source, catalog)
    for damaged in catalog.read_named_again():
        if damaged not in catalog.damaged:
            yield damaged_object(source, damaged)


class _Packs:
    """The packs last read; the next is on its way while one is looked at."""

    def __init__(self, catalog: Catalog, progress: Progress) -> None:
        self._catalog, self._progress = catalog, progress
        self._here: OrderedDict[Digest, Future[_Pack]] = OrderedDict()

    def each(self, names: Sequence[Digest]) -> Iterator[Digest]:
        for number, name in enumerate(names):
            for coming in names[number : number + _AT_ONCE - 1]:
                self._ask(coming)
            yield name

    def get(self, name: Digest) -> _Pack:
        """Returns a pack. Raises RemoteError."""
        return self._ask(name).result()

    def distrust(self, name: Digest) -> None:
        """Has the next push from here send again what a pack holds."""
        self._catalog.note_damaged(name)

    def _ask(self, name: Digest) -> Future[_Pack]:
        if name in self._here:
            self._here.move_to_end(name)
            return self._here[name]
        while len(self._here) >= _AT_ONCE:
            self._here.popitem(last=False)
        self._here[name] = self._catalog.remote.submit(lambda: self._read(name))
        return self._here[name]

    def _read(self, name: Digest) -> _Pack:
        data = self._catalog.pack_bytes(name)
        self._progress.advance(size_bytes=len(data))
        whole = digest_bytes(data) == name
        try:
            records = pack.open_whole(data, name)
        except ObjectCorrupt as error:
            return _Pack(data, [], reason=error.message)
        made = _Pack(data, records, reason="" if whole else "its bytes are not the ones that its name promises")
        view = memoryview(data)
        for record in records:
            try:
                pack.unpack_view(record, view[record.offset : record.offset + record.stored_length])
            except ObjectCorrupt as error:
                made.damaged[record.digest] = error.message
        return made


def _pack(
    source: ContentSource, packs: _Packs, name: Digest, users: Sequence[Requirement], reported: set[Digest]
) -> Iterator[Finding | Unchecked]:
    """Yields what is wrong with one pack, once."""
    if name in reported:
        return
    try:
        content = packs.get(name)
    except ObjectAbsent:
        reported.add(name)
        yield corrupt(
            f"{_paths(users)}: bytes that were listed on {source.name} are gone", users[0].place, users[0].path
        )
        return
    except DvliteError as error:
        reported.add(name)
        yield Unchecked(what=f"bytes of {_paths(users)} on {source.name}", why=error.message, hint=error.hint)
        return
    if not content.reason and not content.damaged:
        return
    reported.add(name)
    packs.distrust(name)
    example = next(_names(source, users, content.damaged), None)
    what = f"bytes of {_paths(users)} on {source.name} are damaged"
    example_text = f": {printable(example)}" if example is not None else f" (object packs/{name.hex()[:8]})"
    yield corrupt(what + example_text, users[0].place, users[0].path)


def _file(
    source: ContentSource,
    packs: _Packs,
    recipe: Recipe,
    holder: Digest,
    path: str,
    wanted: Requirement,
    users: Mapping[Digest, Sequence[Requirement]],
    reported: set[Digest],
) -> Iterator[Finding | Unchecked]:
    """Hashes a large file, chunk by chunk."""
    hasher = FileHasher()
    for term in recipe.terms:
        before = len(reported)
        yield from _pack(source, packs, term.pack, users.get(term.pack, [wanted]), reported)
        if term.pack in reported or len(reported) != before:
            return
        content = packs.get(term.pack)
        view = memoryview(content.data)
        for _ in range(term.repeat):
            for record in content.records[term.first : term.first + term.count]:
                hasher.update(pack.unpack_view(record, view[record.offset : record.offset + record.stored_length]))
    if hasher.digest() != recipe.digest:
        packs.distrust(holder)
        yield corrupt(
            f"the chunks of {printable(path)} on {source.name} do not make the file", wanted.place, wanted.path
        )


def _records(source: ContentSource, catalog: Catalog) -> Iterator[Finding]:
    """Reads the batches of run records, which are small."""
    for entry in catalog.remote.store.list(f"{batch.FOLDER}{source.repo.config.project}/").entries:
        name = entry.name.rpartition("/")[2]
        if batch.name_of(catalog.remote.get(entry.name, end=batch.MAX_BYTES + 1)) != name:
            sync.note_damaged(catalog.remote, name)
            message = f"run records on {source.name} are damaged (object {name[:8]})"
            yield corrupt(message, Mention(".dvlite/config.yaml", lambda: 1), None)


def _large_files(
    source: ContentSource, catalog: Catalog, complete: Iterable[Requirement]
) -> dict[Digest, tuple[str, Requirement]]:
    """Returns the files that are stored in chunks, each once, in path order."""
    large: dict[Digest, tuple[str, Requirement]] = {}
    for wanted in complete:
        for path, digest in _contents(source, wanted):
            if (
                digest not in large
                and not catalog.locations(digest, (KIND_FILE,))
                and catalog.locations(digest, (KIND_RECIPE,))
            ):
                large[digest] = (path, wanted)
    return large


def _contents(source: ContentSource, wanted: Requirement) -> Iterator[tuple[str, Digest]]:
    entries = source.entries(wanted.path, wanted.pointer)
    for i, flags in enumerate(entries.flags):
        if flags != EMPTY_DIR:
            inner = os.fsdecode(entries.paths[i])
            yield f"{wanted.path}/{inner}" if inner else wanted.path, entries.digest(i)


def _names(source: ContentSource, users: Sequence[Requirement], damaged: Mapping[Digest, str]) -> Iterator[str]:
    """Yields the files that damaged records are the content of."""
    for wanted in users if damaged else ():
        for path, digest in _contents(source, wanted):
            if digest in damaged:
                yield path


def _paths(users: Sequence[Requirement]) -> str:
    return some([printable(user.path) for user in users], 1)
