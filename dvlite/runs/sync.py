"""Run records to and from a remote: batches `runs/<project>/<64 hex>`, write-once and merged when they are many.

Safe without locks: records are only added, a batch's name is never used twice, and a merge deletes exactly the batches whose records
its acknowledged PUT holds. So the union of all records on the remote never shrinks, for any number of concurrent pushes and wherever a
push dies. Unreadable batches are reported, and neither merged nor deleted; of a damaged one the good records are saved first. Logs and outputs are pushed by `share`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dvlite.errors import FormatError, ObjectCorrupt, RemoteError
from dvlite.oid import RUN, Digest, Oid, format_oid
from dvlite.runs.index import open_index
from dvlite.runs.records import Records, bytes_of, hex_of, nonces
from dvlite.store import batch
from dvlite.store.batch import Line
from dvlite.store.object_store import ObjectAbsent, ObjectEntry
from dvlite.store.remote import Remote

SMALL_BYTES = 4 << 20  # stored
MOST_SMALL = 16
_SMALL_RAW_BYTES = (
    16 << 20
)  # well below the size at which a writer begins another batch: what was merged once is not merged again
_MOST_LOOKS = 8
_ONE_BY_ONE = 1000  # records looked up one by one; for more, all batches are read
_DAMAGED = "damaged-runs"  # notes in the cache
_NAME = re.compile(r"runs/[0-9a-f]{32}/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class RemoteRuns:
    """The records of a project that a remote lacks (`unsent`), and its batches that this clone has too (`listed`: name -> stored bytes).

    `damaged` are batches that are damaged on the remote, and sound here or saved as far as they are good: their records count as unsent.
    """

    listed: dict[str, int]
    unsent: tuple[Oid, ...]
    damaged: tuple[str, ...] = ()


def folder_of(project: str | None) -> str:
    """Returns where the batches of a project (None: of all) stand on a remote."""
    return batch.FOLDER if project is None else f"{batch.FOLDER}{project}/"


def receive(remote: Remote, records: Records, project: str | None) -> int:
    """Fetches the missing batches of a project (None: of all); returns how many records are new. One LIST, and a GET each.

    They are indexed by whoever asks the index first: who pulls for the data alone does not wait for that.
    """
    before = records.batches()
    listed, _ = _fetched(remote, records, project)
    fetched = records.batches() - before
    if not fetched:
        return 0
    new = records.only_in(fetched)
    _tidy(remote, records, project, listed)
    return new


def receive_some(remote: Remote, records: Records, project: str, wanted: Iterable[Oid]) -> int:
    """Fetches these records alone, those that the tables of batches there list, and keeps them as one batch; returns how many.

    One LIST, and two GETs for each batch that is not here. What cannot be read is left for `receive` to report.
    """
    left = frozenset(map(bytes_of, wanted))

    def lines_of(entry: ObjectEntry) -> list[Line]:
        def read(start: int, end: int) -> bytes:
            return remote.get(entry.name, start=start, end=end)

        with contextlib.suppress(ObjectAbsent, ObjectCorrupt):
            return list(batch.find(read, min(entry.size_bytes, batch.MAX_BYTES), left, entry.name))
        return []

    here = records.batches()
    entries = {name: entry for name, entry in _listing(remote, project).items() if name not in here}
    lines = remote.run_all(lambda name: lines_of(entries[name]), list(entries))
    fetched = {line.digest: line.data for part in lines for line in part}
    for new in batch.encode(fetched.values(), nonces()):
        records.adopt(new.name, new.data)
    return len(fetched)


def compare(remote: Remote, records: Records, project: str) -> RemoteRuns:
    """Fetches the missing batches and compares; costs as `receive`."""
    listed, damaged = _fetched(remote, records, project)
    with open_index(records) as index:
        return RemoteRuns(listed, tuple(index.not_in(listed, project)), damaged)


def send(remote: Remote, records: Records, project: str, remote_runs: RemoteRuns | None = None) -> tuple[Oid, ...]:
    """Uploads the records that the remote lacks as one batch (very many: as several), and merges batches if they are many.

    `remote_runs` is the result of `compare`, if the caller uploaded the logs of these runs in between. Returns the records sent.
    """
    remote_runs = remote_runs or compare(remote, records, project)
    listed = dict(remote_runs.listed)
    for new in batch.encode(_bytes_of(records, remote_runs.unsent), nonces()):
        _publish(remote, records, project, new)
        listed[new.name] = len(new.data)
    if remote_runs.damaged:  # their records were sent again
        remote.delete([f"{batch.FOLDER}{project}/{name}" for name in remote_runs.damaged])
        remote.forget(_DAMAGED, set(remote_runs.damaged))
    changed = _merge(remote, records, project, listed) or bool(remote_runs.unsent)
    if remote_runs.unsent:
        records.drop_loose([hex_of(oid) for oid in remote_runs.unsent])
    if changed or records.batches() - listed.keys():
        _tidy(remote, records, project, listed)
    return remote_runs.unsent


def send_again(remote: Remote, records: Records, project: str, damaged: Sequence[str]) -> None:
    """Sends what the remote lacks, and takes batches off it whose bytes are not the ones that their names promise.

    Their bytes are kept among the damaged files of this clone, and their good records are sent first. Who has one whole sends it again with
    the next push: no remote lists it.
    """
    kept = [name for name in damaged if _is_kept_aside(remote, records, f"{batch.FOLDER}{project}/{name}")]
    for name in kept:
        note_damaged(remote, name)
    send(remote, records, project)
    for name in kept:
        if _damaged_bytes(remote, f"{batch.FOLDER}{project}/{name}") is not None:
            remote.delete([f"{batch.FOLDER}{project}/{name}"])


def _is_kept_aside(remote: Remote, records: Records, name: str) -> bool:
    data = _damaged_bytes(remote, name)
    if data is not None:
        records.keep_damaged(name.rpartition("/")[2], data)
    return data is not None


def _damaged_bytes(remote: Remote, name: str) -> bytes | None:
    """Returns the bytes of a damaged batch, read twice: one bad answer is no damage. None for one that is sound, gone, or longer than any batch."""
    with contextlib.suppress(ObjectAbsent):
        data, again = (remote.get(name, end=batch.MAX_BYTES + 1) for _ in range(2))
        if data == again and len(data) <= batch.MAX_BYTES and not name.endswith(f"/{batch.name_of(data)}"):
            return data
    return None


def vanished(remote: Remote, records: Records, project: str, listing: Collection[str]) -> set[Oid]:
    """Returns the records in batches that stood on a remote when it was listed last, and that no batch of a fresh listing has."""
    gone = records.listed_by(_place(remote, project)).difference(listing) & records.batches()
    lost: set[Digest] = set()
    for name in gone:
        with contextlib.suppress(ObjectCorrupt, FormatError):  # of a later dvlite, or damaged here
            lost.update(line.digest for line in records.lines(name))
    for name in listing if lost else ():
        try:
            data = records.read_batch(name) or remote.get(f"{batch.FOLDER}{project}/{name}", end=batch.MAX_BYTES + 1)
        except ObjectAbsent:  # merged meanwhile: where its records are now, the next check sees
            return set()
        with contextlib.suppress(ObjectCorrupt, FormatError):
            lost.difference_update([line.digest for line in batch.decode(data, name)])
    return {format_oid(RUN, digest) for digest in lost}


def _note_listed(records: Records, place: str, listed: Collection[str]) -> None:
    """Keeps which batches a remote has; also those that went with records which no other batch there has, until a push sends these again."""
    gone = records.listed_by(place).difference(listed) & records.batches()
    records.note_listed(place, (gone - records.redundant(gone, listed)).union(listed))


def _tidy(remote: Remote, records: Records, project: str | None, listed: Collection[str]) -> None:
    """Drops local batches all of whose records are in the remote's batches, and merges small ones.

    Batches that any remote has under the same name stay: else they would be fetched again each time.
    """
    place = _place(remote, project)
    _note_listed(records, place, listed)
    others = records.batches().difference(listed) - records.listed(but=place)
    merged = records.redundant(others, listed)
    if merged:
        records.drop_batches(merged)
    records.merge_small()


def _place(remote: Remote, project: str | None) -> str:
    return f"{remote.folder.name}-{project or 'all'}"


def _publish(remote: Remote, records: Records, project: str, new: batch.Batch) -> None:
    remote.put(f"{batch.FOLDER}{project}/{new.name}", new.data)
    records.adopt(new.name, new.data)


def _bytes_of(records: Records, wanted: Sequence[Oid]) -> Iterator[bytes]:
    if len(wanted) > _ONE_BY_ONE:
        oids = frozenset(wanted)
        yield from (data for oid, data in records if oid in oids)
    elif wanted:
        with open_index(records) as index:
            yield from (data for oid in wanted if (data := index.read_bytes(oid)) is not None)


def note_damaged(remote: Remote, name: str) -> None:
    """Notes that a batch on the remote is damaged, so that the next push replaces it."""
    remote.remember(_DAMAGED, name, b"")


def _fetched(remote: Remote, records: Records, project: str | None) -> tuple[dict[str, int], tuple[str, ...]]:
    """Fetches missing batches; returns the batches of a fresh listing that this clone has now, with their stored bytes, and damaged ones."""
    unusable: dict[str, bool] = {}  # and whether the good records of it were saved
    for _ in range(_MOST_LOOKS):
        listing = _listing(remote, project)
        batches = records.batches()
        missing = [name for name in listing if name not in batches and name not in unusable]
        if missing:
            total_bytes = sum(listing[name].size_bytes for name in missing)
            records.progress.start("fetching run records", total_bytes=total_bytes)
        fetched = remote.run_all(partial(_fetch, remote, records, listing, unusable), missing)
        records.progress.finish()
        if all(fetched):
            batches = records.batches()
            listed = {name: entry.size_bytes for name, entry in listing.items() if name in batches}
            damaged = tuple(name for name, size in listed.items() if _is_damaged(remote, records, name, size))
            for name in damaged:
                del listed[name]
            _note_listed(records, _place(remote, project), listed)
            return listed, (*damaged, *(name for name in listing if unusable.get(name)))
    raise RemoteError(
        f"the run records on {remote.store.label} changed each time they were listed", hint="run the command again"
    )


def _listing(remote: Remote, project: str | None) -> dict[str, ObjectEntry]:
    """Lists the batches of a project (None: of all), by their short names."""
    prefix = folder_of(project)
    return {match[1]: entry for entry in remote.listing(prefix).entries if (match := _NAME.fullmatch(entry.name))}


def _is_damaged(remote: Remote, records: Records, name: str, size_bytes: int) -> bool:
    """Returns whether a batch on the remote is truncated, or noted as damaged, while this clone's copy is sound."""
    if records.batch_bytes(name) == size_bytes and remote.recall(_DAMAGED, name) is None:
        return False
    return records.read_batch(name) is not None


def _fetch(
    remote: Remote, records: Records, listing: dict[str, ObjectEntry], unusable: dict[str, bool], name: str
) -> bool:
    """Fetches one batch; returns False if it was deleted: a new listing shows the batch that has its records."""
    entry = listing[name]
    where = f"{entry.name} on {remote.store.label}"
    try:
        if entry.size_bytes > batch.MAX_BYTES:
            raise ObjectCorrupt(f"{where} is larger than any batch of run records")
        again = data = remote.get(entry.name, end=batch.MAX_BYTES + 1)
        if batch.name_of(data) != name:
            again, data = data, remote.get(entry.name, end=batch.MAX_BYTES + 1)  # one bad answer is no damage
        if batch.name_of(data) != name:
            unusable[name] = again == data and len(data) == entry.size_bytes and _save(records, data, where)
            raise ObjectCorrupt(f"{where} is damaged: its bytes do not match its name")
        for _ in batch.decode(data, where):
            pass
    except ObjectAbsent:
        return False
    except (ObjectCorrupt, FormatError) as error:
        fate = "its good run records are kept, and the next push replaces it"
        saved = unusable.setdefault(name, False)
        records.progress.warn(f"{error.message}; {fate if saved else 'the run records in it are left out'}")
        return True
    records.adopt(name, data)
    records.progress.advance(size_bytes=len(data))
    return True


def _save(records: Records, data: bytes, where: str) -> bool:
    """Keeps the good records of a damaged batch as batches of this clone, for the next push; returns whether there are any."""
    good = batch.salvage(data, where)
    for new in batch.encode(good, nonces()):
        records.adopt(new.name, new.data)
    return bool(good)


def _merge(remote: Remote, records: Records, project: str, listed: dict[str, int]) -> bool:
    """Merges small batches into one if they are many, then deletes exactly those; updates `listed`. Returns whether it merged any."""
    small = sorted(name for name, size in listed.items() if size < SMALL_BYTES)
    if len(small) > MOST_SMALL:
        small = [name for name in small if _is_small(records, name)]
    if len(small) <= MOST_SMALL:
        return False
    records.progress.start("merging run records")
    covered: list[str] = []
    for merged in list(batch.encode(records.union(small, covered), nonces())):
        _publish(remote, records, project, merged)
        listed[merged.name] = len(merged.data)
    remote.delete([f"{batch.FOLDER}{project}/{name}" for name in covered])
    records.drop_batches(covered)
    for name in covered:
        del listed[name]
    records.progress.finish()
    return True


def _is_small(records: Records, name: str) -> bool:
    data = records.read_batch(name)
    return data is not None and batch.raw_size(data, name[:8]) < _SMALL_RAW_BYTES
