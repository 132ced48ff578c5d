"""The snapshots on a remote: which there are, who claims them, what they name. A remote describes itself with these, without git.

Reads only. Roots and the nodes of snapshots are written once, so each is read once and kept in the cache; listings are never kept.
What roots say is for people and for gc: that a push may rely on a version is proven by packs (`push_plan`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import root, snapshot
from dvlite.formats.manifest import ReadNode
from dvlite.formats.root import Root, RootName
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import SNAPSHOT, Digest
from dvlite.show import quote
from dvlite.store.catalog import Catalog
from dvlite.store.object_store import ObjectAbsent, ObjectEntry
from dvlite.store.pack import KIND_SNAPSHOT
from dvlite.store.remote import Remote

_LEAST_DIGITS = 4  # of a snapshot's name
_TOGETHER = 64  # first nodes of snapshots fetched at a time
_KEPT = "roots"  # notes in the clone: bodies of roots
_DAMAGED = "damaged-roots"  # and which of them were damaged on the remote


def listed(remote: Remote, prefix: str = root.FOLDER) -> list[tuple[ObjectEntry, RootName]]:
    """Returns the roots that stand there, the newest by the store's own dates first; one listing."""
    return listed_at(remote, prefix)[1]


def listed_at(remote: Remote, prefix: str = root.FOLDER) -> tuple[float, list[tuple[ObjectEntry, RootName]]]:
    """Returns what `listed` does, after the store's own clock at that moment."""
    listing = remote.store.list(prefix)
    named = ((entry, root.parse_name(entry.name)) for entry in listing.entries)
    roots = [(entry, name) for entry, name in named if name is not None]
    return listing.now, sorted(roots, key=lambda pair: (-pair[0].modified, pair[0].name))


def chosen(remote: Remote, digits: str) -> Digest:
    """Returns the snapshot whose name begins with these hex digits. Raises UsageError for none or several; one listing."""
    names = {name.snapshot for _, name in listed(remote) if name.snapshot.hex().startswith(digits)}
    if len(digits) < _LEAST_DIGITS or len(names) != 1:
        found = "no snapshot begins" if not names else "several snapshots begin"
        raise UsageError(
            f"{found} with {quote(digits)} on {remote.store.label}"
            if len(digits) >= _LEAST_DIGITS
            else f"{quote(digits)} is too short for the name of a snapshot",
            hint="see what is there: dvlite ls --remote URL",
        )
    return names.pop()


def bodies(remote: Remote, names: Sequence[str]) -> list[Root | None]:
    """Returns what roots that were listed say; None for one that is malformed, too long or gone. One request for each, once."""
    return remote.run_all(lambda name: _body(remote, name), names)


def _body(remote: Remote, name: str) -> Root | None:
    short = name.removeprefix(root.FOLDER)
    try:
        data = remote.recall(_KEPT, short)
        if data is None:
            data = remote.get(name, end=root.MAX_BYTES + 1)
        body = root.parse(data, name)
    except (FormatError, ObjectAbsent, ObjectCorrupt):
        return None
    remote.remember(_KEPT, short, data)
    return body


def put_root(remote: Remote, name: str, body: Root) -> int:
    """Writes a root, and keeps it; returns its size in bytes."""
    data = root.dump(body, name)
    remote.put(name, data)
    remote.remember(_KEPT, name.removeprefix(root.FOLDER), data)
    return len(data)


def own(remote: Remote) -> dict[Digest, str]:
    """Returns the snapshots that this clone claimed and did not let go, by its notes, each with the name of a root; no request."""
    names = (f"{root.FOLDER}{short}" for short in sorted(remote.remembered(_KEPT)))
    parsed = ((root.parse_name(name), name) for name in names)
    return {named.snapshot: name for named, name in parsed if named is not None and named.clone == remote.clone}


def let_go(remote: Remote, names: Iterable[str]) -> None:
    """Deletes roots. They are forgotten first: one that is gone and known counts as lost."""
    names = sorted(names)
    remote.forget(_KEPT, {name.removeprefix(root.FOLDER) for name in names})
    remote.delete(names)


def damaged_roots(remote: Remote, names: Sequence[str]) -> list[str]:
    """Reads roots, whatever was kept of them, and returns the names of damaged ones; notes them for the next push."""

    def is_sound(name: str) -> bool:
        try:
            root.parse(remote.get(name, end=root.MAX_BYTES + 1), name)
        except ObjectCorrupt:
            return False
        except (FormatError, ObjectAbsent):
            pass
        return True

    damaged = [name for name, sound in zip(names, remote.run_all(is_sound, names), strict=True) if not sound]
    for name in damaged:
        remote.remember(_DAMAGED, name.removeprefix(root.FOLDER), b"")
    return damaged


def mend_roots(remote: Remote) -> None:
    """Writes damaged roots that were noted again under their names, as they were kept here or without what is for people; else makes no request.

    What a root keeps stands in its name. One that is gone by now was dropped by its clone and stays gone.
    """
    noted = remote.remembered(_DAMAGED)
    for name in sorted(f"{root.FOLDER}{short}" for short in noted):
        named = root.parse_name(name)
        with contextlib.suppress(ObjectAbsent, FormatError):
            try:
                root.parse(remote.get(name, end=root.MAX_BYTES + 1), name)
            except ObjectCorrupt:
                kept = remote.recall(_KEPT, name.removeprefix(root.FOLDER)) or b""
                body = Root(clone=named.clone if named else "")
                with contextlib.suppress(ObjectCorrupt):
                    body = root.parse(kept, name)
                put_root(remote, name, body)
    remote.forget(_DAMAGED, noted)


def versions(catalog: Catalog, digest: Digest, read: ReadNode | None = None) -> Iterator[Version]:
    """Yields the versions of a snapshot; raises ObjectMissing if the last look did not find all of it, ObjectCorrupt and FormatError."""
    return snapshot.versions(digest, read or reader(catalog))


def reader(catalog: Catalog, ahead: Iterable[Digest] = ()) -> ReadNode:
    """Returns what reads the nodes of snapshots; it raises ObjectMissing for one that the last look did not find.

    The snapshots `ahead` are going to be read, mostly in this order: the first nodes of many are fetched at the same time, for each lies in the
    pack of another push. Condemned packs count while they stand: a collector may have died before it copied what is needed of them.
    """
    waiting = dict.fromkeys(ahead)
    held: dict[Digest, bytes] = {}

    def fetch(nodes: Sequence[Digest]) -> dict[Digest, bytes]:
        locations = ((node, catalog.locations(node, (KIND_SNAPSHOT,), condemned_too=True)) for node in nodes)
        first = {node: places[0] for node, places in locations if places}
        contents = catalog.read_meta(list(first.values()))
        return {node: contents[place] for node, place in first.items() if place in contents}

    def read(node: Digest) -> bytes:
        if node in waiting:
            nodes = list(itertools.islice(waiting, _TOGETHER))
            with contextlib.suppress(ObjectAbsent):  # one of them: the others are read alone
                held.update(fetch(nodes))
            for each in (node, *nodes):
                waiting.pop(each, None)
        data = held.pop(node, None)
        if data is None and (data := fetch([node]).get(node)) is None:
            raise catalog.missing(node, SNAPSHOT)
        return data

    return read


def claimed(catalog: Catalog, wanted: Iterable[VersionId], clone: str = "") -> set[VersionId]:
    """Returns those versions that stand in a snapshot which some clone, or the one given, claims.

    Reads snapshots from the newest on until all are found; one that cannot be read claims nothing.
    """
    left, found = set(wanted), set[VersionId]()
    roots = listed(catalog.remote) if left else []
    for digest in dict.fromkeys(name.snapshot for _, name in roots if clone in ("", name.clone)):
        try:
            found.update(left.intersection(version.id for version in versions(catalog, digest)))
        except (ObjectMissing, ObjectCorrupt, FormatError, ObjectAbsent):
            continue
        left -= found
        if not left:
            break
    return found


def claims(catalog: Catalog, clone: str) -> Iterator[VersionId]:
    """Yields the versions that a clone claims, from the newest snapshot on, each once; one that cannot be read claims nothing."""
    seen: set[VersionId] = set()
    for digest in dict.fromkeys(name.snapshot for _, name in listed(catalog.remote) if name.clone == clone):
        try:
            new = [version.id for version in versions(catalog, digest) if version.id not in seen]
        except (ObjectMissing, ObjectCorrupt, FormatError, ObjectAbsent):
            continue
        seen.update(new)
        yield from new


def claimed_together(catalog: Catalog, wanted: Sequence[Version]) -> set[VersionId]:
    """Returns what `claimed` does; one listing by prefix if these very versions are what some clone pushed last."""
    ids = {version.id for version in wanted}
    if wanted and listed(catalog.remote, root.prefix(snapshot.build(wanted).root)):
        return ids
    return claimed(catalog, ids)
