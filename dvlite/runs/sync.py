"""Run records to and from a remote: batches `runs/<project>/<64 hex>`, write-once and merged when they are many.

Safe without locks: records are only added, a batch's name is never used twice, and whoever merges deletes exactly the batches whose
records its acknowledged PUT holds. So the union of all records on the remote never shrinks, whoever pushes at the same time and
wherever a push dies. What cannot be read is named, and neither merged nor deleted. Knows no data: logs and outputs are pushed by others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dvlite.errors import FormatError, ObjectCorrupt, RemoteError
from dvlite.oid import Oid
from dvlite.runs.index import open_index
from dvlite.runs.records import Records, hex_of, nonces
from dvlite.store import batch
from dvlite.store.object_store import ObjectAbsent, ObjectEntry
from dvlite.store.remote import Remote

SMALL_BYTES = 4 << 20  # stored
MOST_SMALL = 16
_SMALL_RAW_BYTES = (
    16 << 20
)  # well below the size at which a writer begins another batch: what was merged once is not merged again
_MOST_LOOKS = 8
_ONE_BY_ONE = 1000  # so many records are looked up each for itself; of more, everything is read
_DAMAGED = "damaged-runs"  # notes in the cache
_NAME = re.compile(r"runs/[0-9a-f]{32}/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class RemoteRuns:
    """What a remote lacks of a project's records: those in `unsent`; `listed` are its batches that are here too (name -> stored bytes).

    `damaged` are batches there that are not what they are here: their records count as unsent.
    """

    listed: dict[str, int]
    unsent: tuple[Oid, ...]
    damaged: tuple[str, ...] = ()


def receive(remote: Remote, records: Records, project: str | None) -> int:
    """Fetches the batches of a project (None: of all) that are not here; returns how many records are new here. One LIST, and a GET each."""
    before = records.batches()
    listed, _ = _fetched(remote, records, project)
    fetched = records.batches() - before
    if not fetched:
        return 0
    with open_index(records) as index:
        new = index.only_in(fetched)
    _tidy(remote, records, project, listed)
    return new


def look(remote: Remote, records: Records, project: str) -> RemoteRuns:
    """Fetches what is not here, and compares."""
    listed, damaged = _fetched(remote, records, project)
    with open_index(records) as index:
        return RemoteRuns(listed, tuple(index.not_in(listed, project)), damaged)


def send(remote: Remote, records: Records, project: str, found: RemoteRuns | None = None) -> tuple[Oid, ...]:
    """Uploads what the remote lacks as one batch (several, if they are very many), and merges batches if they are many.

    `found` is what `look` returned, if the caller had to upload the logs of these runs first. Returns the records that were sent.
    """
    found = found or look(remote, records, project)
    listed = dict(found.listed)
    for made in batch.encode(_bytes_of(records, found.unsent), nonces()):
        _publish(remote, records, project, made)
        listed[made.name] = len(made.data)
    if found.damaged:  # what they should hold is there now
        remote.store.delete([f"{batch.FOLDER}{project}/{name}" for name in found.damaged])
        remote.forget(_DAMAGED, set(found.damaged))
    changed = _merge(remote, records, project, listed) or bool(found.unsent)
    if found.unsent:
        records.drop_loose([hex_of(oid) for oid in found.unsent])
    if changed or records.batches() - listed.keys():
        _tidy(remote, records, project, listed)
    return found.unsent


def _tidy(remote: Remote, records: Records, project: str | None, listed: Collection[str]) -> None:
    """Drops the batches all of whose records the remote's have, but for those that another remote has; merges others that are small.

    What a remote has under its name stays: else it would be fetched again each time.
    """
    place = _place(remote, project)
    records.note_listed(place, listed)
    if records.batches() <= set(listed):
        return
    with open_index(records) as index:
        merged = set(index.redundant(listed)) - records.listed(but=place)
    if merged:
        records.drop_batches(merged)
    records.merge_small()


def _place(remote: Remote, project: str | None) -> str:
    return f"{remote.folder.name}-{project or 'all'}"


def _publish(remote: Remote, records: Records, project: str, made: batch.Batch) -> None:
    remote.put(f"{batch.FOLDER}{project}/{made.name}", made.data)
    records.adopt(made.name, made.data)


def _bytes_of(records: Records, wanted: Sequence[Oid]) -> Iterator[bytes]:
    if len(wanted) > _ONE_BY_ONE:
        chosen = frozenset(wanted)
        yield from (data for oid, data in records if oid in chosen)
    elif wanted:
        with open_index(records) as index:
            yield from (data for oid in wanted if (data := index.read_bytes(oid)) is not None)


def note_damaged(remote: Remote, name: str) -> None:
    """Notes that the bytes of a batch are not what its name promises, so that the next push replaces it."""
    remote.keep(_DAMAGED, name, b"")


def _fetched(remote: Remote, records: Records, project: str | None) -> tuple[dict[str, int], tuple[str, ...]]:
    """Fetches the batches that are not here; returns those of a fresh listing that are now, with their stored bytes, and damaged ones."""
    prefix = batch.FOLDER if project is None else f"{batch.FOLDER}{project}/"
    unusable: set[str] = set()
    for _ in range(_MOST_LOOKS):
        listing = {
            match[1]: entry for entry in remote.store.list(prefix).entries if (match := _NAME.fullmatch(entry.name))
        }
        here = records.batches()
        wanted = [name for name in listing if name not in here and name not in unusable]
        if wanted:
            records.progress.start("fetching run records", total_bytes=sum(listing[name].size_bytes for name in wanted))
        kept = remote.each(partial(_fetch, remote, records, listing, unusable), wanted)
        records.progress.finish()
        if all(kept):
            here = records.batches()
            found = {name: entry.size_bytes for name, entry in listing.items() if name in here}
            damaged = tuple(name for name, size in found.items() if _is_damaged(remote, records, name, size))
            for name in damaged:
                del found[name]
            records.note_listed(_place(remote, project), found)
            return found, damaged
    raise RemoteError(
        f"the run records on {remote.store.label} changed each time that they were listed", hint="run the command again"
    )


def _is_damaged(remote: Remote, records: Records, name: str, size_bytes: int) -> bool:
    """Says whether a batch on the remote was cut, or noted as damaged, and is whole here."""
    if records.batch_bytes(name) == size_bytes and remote.kept(_DAMAGED, name) is None:
        return False
    return records.read_batch(name) is not None


def _fetch(remote: Remote, records: Records, listing: dict[str, ObjectEntry], unusable: set[str], name: str) -> bool:
    """Fetches one batch; returns False if it is gone: its records are in one that a new listing shows."""
    entry = listing[name]
    where = f"{entry.name} on {remote.store.label}"
    try:
        if entry.size_bytes > batch.MAX_BYTES:
            raise ObjectCorrupt(f"{where} is larger than a batch of run records may be")
        data = remote.get(entry.name, end=batch.MAX_BYTES + 1)
        if batch.name_of(data) != name:
            raise ObjectCorrupt(f"{where} is damaged: its bytes are not the ones that its name promises")
        for _ in batch.decode(data, where):
            pass
    except ObjectAbsent:
        return False
    except (ObjectCorrupt, FormatError) as error:
        unusable.add(name)
        records.progress.warn(f"{error.message}; the run records in it are left out")
        return True
    records.adopt(name, data)
    records.progress.advance(size_bytes=len(data))
    return True


def _merge(remote: Remote, records: Records, project: str, listed: dict[str, int]) -> bool:
    """Makes one batch of many small ones, then deletes exactly those; `listed` follows. Returns whether there was something to merge."""
    small = sorted(name for name, size in listed.items() if size < SMALL_BYTES)
    if len(small) > MOST_SMALL:
        small = [name for name in small if _is_small(records, name)]
    if len(small) <= MOST_SMALL:
        return False
    records.progress.start("merging run records")
    covered: list[str] = []
    for done in list(batch.encode(records.union(small, covered), nonces())):
        _publish(remote, records, project, done)
        listed[done.name] = len(done.data)
    remote.store.delete([f"{batch.FOLDER}{project}/{name}" for name in covered])
    records.drop_batches(covered)
    for name in covered:
        del listed[name]
    records.progress.finish()
    return True


def _is_small(records: Records, name: str) -> bool:
    data = records.read_batch(name)
    return data is not None and batch.raw_size(data, name[:8]) < _SMALL_RAW_BYTES
