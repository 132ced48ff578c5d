"""Reads every byte of versions on a remote and hashes it: packs against their names, records against their ids, large files as a whole.

Holds at most a few packs at a time. Keeps nothing of what it reads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from dvlite.errors import DvliteError
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.snapshot import Version
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.runs import sync
from dvlite.share.needs import named_versions
from dvlite.show import count, printable, some
from dvlite.store import batch, snapshots
from dvlite.store.catalog import Catalog
from dvlite.store.check import PackReader, makes_file
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.pack import KIND_FILE, KIND_RECIPE
from dvlite.store.push_protocol import lost_claims
from dvlite.store.recipes import LargeFile
from dvlite.verify.findings import Finding, Unchecked
from dvlite.verify.remote_complete import CONFIG_FILE, Requirement, corrupt, damaged_object, not_there
from dvlite.verify.source import ContentSource


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
    there, findings = _recipes(source, large)
    yield from findings
    chunks = {name for file in there.values() for name in file.packs}
    total = sum(catalog.packs.get(name, 0) for name in users)
    progress.start(f"reading all of {catalog.remote.shown}", total_bytes=total)
    packs = PackReader(catalog, progress)
    reported: set[Digest] = set()
    for name in packs.each(sorted(users.keys() - chunks)):
        yield from _pack(source, packs, name, users[name], reported)
    for digest, (path, wanted) in large.items():
        if digest in there:
            yield from _file(source, packs, there[digest], path, wanted, users, reported)
    progress.finish()
    yield from _records(source, catalog)
    misnamed = catalog.misnamed()
    catalog.remote.forget("index", {name.removeprefix("index/") for name in misnamed})  # the next push looks at these
    yield from (damaged_object(source, name) for name in misnamed if name not in {*catalog.damaged, "config"})
    yield from _claims(source, catalog)


def _recipes(
    source: ContentSource, large: Mapping[Digest, tuple[str, Requirement]]
) -> tuple[dict[Digest, LargeFile], list[Finding]]:
    """Returns how large files lie there, and findings for those that a damaged recipe is of."""
    catalog = source.catalog()
    there = catalog.recipes.find(large)
    for name in catalog.doubted if len(there) < len(large) else ():
        catalog.note_damaged(name)
    lost = [(path, wanted) for digest, (path, wanted) in large.items() if digest not in there]
    what = f"on {source.name} are damaged: which chunks it has is not known"
    return there, [corrupt(f"bytes of {printable(path)} {what}", wanted.place, wanted.path) for path, wanted in lost]


def _pack(
    source: ContentSource, packs: PackReader, name: Digest, users: Sequence[Requirement], reported: set[Digest]
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
    if not content.problem:
        return
    reported.add(name)
    source.catalog().note_damaged(name)
    example = next(_names(source, users, content.damaged), None)
    what = f"bytes of {_paths(users)} on {source.name} are damaged"
    example_text = f": {printable(example)}" if example is not None else f" (object packs/{name.hex()[:8]})"
    yield corrupt(what + example_text, users[0].place, users[0].path)


def _file(
    source: ContentSource,
    packs: PackReader,
    file: LargeFile,
    path: str,
    wanted: Requirement,
    users: Mapping[Digest, Sequence[Requirement]],
    reported: set[Digest],
) -> Iterator[Finding | Unchecked]:
    """Hashes a large file, chunk by chunk."""
    catalog = source.catalog()
    if file.recipe.parts and not file.holders.isdisjoint(reported):
        return
    of_packs: list[Finding | Unchecked] = []

    def is_good(name: Digest) -> bool:
        of_packs.extend(_pack(source, packs, name, users.get(name, [wanted]), reported))
        return name not in reported

    try:
        is_file = makes_file(packs, file.recipe.digest, catalog.recipes.terms(file), is_good)
    except ObjectAbsent as error:  # a part of the recipe, or a pack, went meanwhile
        yield Unchecked(what=f"bytes of {printable(path)} on {source.name}", why=error.message, hint=error.hint)
        return
    yield from of_packs
    if is_file is False:
        for holder in file.holders:
            catalog.note_damaged(holder)
        yield corrupt(
            f"the chunks of {printable(path)} on {source.name} do not make the file", wanted.place, wanted.path
        )


def _claims(source: ContentSource, catalog: Catalog) -> Iterator[Finding]:
    """Reads the roots, and looks for those that this clone put and that are gone."""
    roots = snapshots.listed(catalog.remote)
    for name in snapshots.damaged_roots(catalog.remote, [entry.name for entry, _ in roots]):
        yield damaged_object(source, name)
    lost: dict[Digest, list[Version]] = {}
    with contextlib.suppress(DvliteError):  # what is needed here cannot be read: `dvlite fsck` says it
        needed = partial(named_versions, source.repo, source.progress)
        lost = lost_claims(catalog, (name for _, name in roots), needed)
    for versions in lost.values():
        paths = some([printable(version.path) for version in versions], 1)
        message = f"{source.name} does not promise any more to keep {paths}, which this clone pushed"
        yield not_there(message, "dvlite fsck --remote --repair")


def _records(source: ContentSource, catalog: Catalog) -> Iterator[Finding]:
    """Reads the batches of run records, which are small."""
    project = source.repo.config.project or ""
    entries = catalog.remote.store.list(f"{batch.FOLDER}{project}/").entries
    gone = sync.vanished(catalog.remote, source.records, project, {entry.name.rpartition("/")[2] for entry in entries})
    if gone:
        yield not_there(f"{count(len(gone), 'run record')} that stood on {source.name} before are gone", "dvlite push")
    for entry in entries:
        name = entry.name.rpartition("/")[2]
        if batch.name_of(catalog.remote.get(entry.name, end=batch.MAX_BYTES + 1)) != name:
            sync.note_damaged(catalog.remote, name)
            message = f"run records on {source.name} are damaged (object {name[:8]})"
            yield corrupt(message, CONFIG_FILE, None)


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
        if flags != EMPTY_DIR and entries.digest(i) not in source.cache.purged:
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
