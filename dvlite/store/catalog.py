"""What a remote holds, by a fresh look at it: which packs can be relied on, and where each object lies.

Listings are never remembered; the immutable objects that they name (indexes, condemned lists, pack footers, small meta packs) are kept in
the cache's `remote/` folder, so a look costs a few round trips. Knows the layout of a remote; the bytes of files go through upload and
download.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from dvlite.errors import DvliteError, LaterVersion, ObjectCorrupt, ObjectMissing, RemoteError
from dvlite.formats import condemned, store_config
from dvlite.formats.store_config import StoreConfig
from dvlite.oid import Buffer, Digest, digest_bytes, format_oid
from dvlite.progress import NullProgress, Progress
from dvlite.store import index, pack, tombstones
from dvlite.store.config_object import ConfigObject
from dvlite.store.index import Index, PackEntry, RecordLocation, mapped, ranges, unpack_at
from dvlite.store.object_store import ObjectAbsent, ObjectEntry
from dvlite.store.pack import KIND_CHUNK, Record
from dvlite.store.recipes import Recipes
from dvlite.store.remote import Remote

_NAMED = re.compile(r"(packs|index|condemned)/([0-9a-f]{64})")
_MANY = 4000  # a folder with more objects than this is listed in 16 parts at once
WHOLE_BELOW_BYTES = 1024 * 1024  # a meta pack smaller than this is fetched and kept whole
COMPLETE = "complete"  # notes in the clone: versions that a push made complete, by kind and digest
DAMAGED = "distrusted"  # kind of the notes about damaged packs in the cache's `remote/` folder
_MOST_FOOTERS = 256  # in memory: about 250 KB each
_OTHER_ROWS = 8  # of one object that are tried when a row is wrong: an index may hold any number of wrong ones
_TRIES = 4  # listings of condemned/ while its objects are merged


class Catalog:
    """One look at a remote. `packs` maps the packs that stand there to their size in bytes.

    What is only looked at `to_read` may come from condemned packs too, where no other pack has it, as long as they stand.
    """

    def __init__(self, remote: Remote, progress: Progress | None = None, *, to_read: bool = False) -> None:
        self.remote = remote
        self._progress = progress or NullProgress()
        self.settings = ConfigObject(remote, self._progress)
        self.packs: dict[Digest, int] = {}
        self.modified: dict[Digest, float] = {}  # of the packs, in unix seconds by the store's own clock
        self.now = 0.0  # by the store's own clock, at the last look at condemned/
        self.condemned: frozenset[Digest] = frozenset()
        self._counts_condemned = to_read
        self.distrusted: set[Digest] = set()  # packs that are not relied on: damaged
        self.doubted: set[Digest] = set()  # packs with a damaged object: a push does not rely on them
        self.damage: dict[Digest, DvliteError] = {}  # objects that were read and are nowhere sound, and why
        self.wrong_rows: set[RecordLocation] = set()  # rows that are not where the object is, while another row may be
        self.condemned_sizes: dict[str, int] = {}  # of the condemned lists at the last look, in bytes
        self.condemned_at: dict[Digest, float] = {}  # when each pack was condemned, by the store's own clock
        self.index_sizes: dict[str, int] = {}  # of the index objects at the last look, in bytes
        self.tombstones: set[str] = set()  # their names, at the last look
        self.unread_tombstones: set[str] = set()  # those of them that are damaged, and that the cache does not know
        self.damaged: dict[str, bytes | None] = {}  # index objects and condemned lists; with their bytes if kept
        self.unindexed: Index | None = None  # rows from footers, in place of damaged index objects
        self.counts_unindexed = False  # whether packs that no index object names count too, by their footers
        self.unread = False  # a pack in no index could not be read just now
        self._indexes: dict[str, Index] | None = None
        self._lengths: dict[Digest, set[int]] | None = None  # of packs, as index objects say; 0 is not known
        self._misfits: set[Digest] | None = None  # packs of another length than every index says
        self._footers: OrderedDict[Digest, list[Record]] = OrderedDict()  # the last ones: a large file may have 300,000
        self.recipes = Recipes(self, remote.store.label)

    # --- looking ---

    def look(self, *, search: bool = False) -> Self:
        """Lists the remote again: config, condemned/, index/ and packs/ at the same time. Indexes are read when first needed.

        With `search`, packs that no index names are read too from now on: an index object may be lost.
        Where the config says that there are tombstones, those that the cache does not know are read into it. Raises ObjectCorrupt for
        one that is damaged: content that must not come back might.
        """
        remote = self.remote
        kept = self.settings.kept
        config = remote.submit(self.settings.look)
        purged = remote.submit(lambda: tombstones.listed(remote)) if kept is not None and kept.has_tombstones else None
        packs = remote.submit(lambda: self._list_packs("packs/"))
        indexes = remote.submit(lambda: remote.store.list("index/").entries)
        self.look_at_condemned()
        config.result()
        if purged is not None or (self.config is not None and self.config.has_tombstones):
            self.tombstones = tombstones.listed(remote) if purged is None else purged.result()
            self._receive_tombstones()
        self._take_packs(packs.result())
        self.index_sizes = {entry.name: entry.size_bytes for entry in indexes.result() if _is_named(entry.name)}
        self.counts_unindexed |= search
        self._indexes = self._lengths = self._misfits = self.unindexed = None
        self.damaged = {name: data for name, data in self.damaged.items() if name in self.condemned_sizes}
        self.recipes = Recipes(self, self.remote.store.label)
        return self

    def _receive_tombstones(self) -> None:
        self.unread_tombstones = tombstones.receive(self.remote, self.tombstones)
        for name in sorted(self.unread_tombstones):
            raise ObjectCorrupt(
                f"object purged/{name[:8]} on {self.remote.store.label} is damaged: what was purged there is not known",
                hint="in a clone that was used since the purge: dvlite fsck --remote --repair",
            )

    def look_at_condemned(self) -> frozenset[Digest]:
        """Lists condemned/ again and returns the packs that were not condemned at the last look.

        A damaged list is left out with a warning. One known from before that is not listed any more was merged: a listing made meanwhile
        may show neither it nor the new one, so it is made again.
        """
        before, known = self.condemned, self.condemned_sizes.keys()
        for attempt in range(_TRIES):
            listed = self.remote.store.list(condemned.FOLDER)
            self.now = listed.now
            sizes = {entry.name: entry.size_bytes for entry in listed.entries if _is_named(entry.name)}
            is_settled, known, self.condemned_sizes = known <= sizes.keys(), sizes.keys(), sizes
            try:
                entries = self.remote.run_all(self._read_condemned, list(sizes))
                if is_settled:
                    break
            except ObjectAbsent:  # merged since it was listed
                if attempt == _TRIES - 1:
                    raise
        dates = {entry.name: entry.modified for entry in listed.entries}
        self.condemned_at = {}
        for name, packs in zip(sizes, entries, strict=True):
            for pack_name in packs:
                self.condemned_at[pack_name] = min(dates[name], self.condemned_at.get(pack_name, dates[name]))
        self.condemned = frozenset(self.condemned_at)
        return self.condemned - before

    def _read_condemned(self, name: str) -> Collection[Digest]:
        data = self._read_named(name, self.condemned_sizes[name], condemned.MAX_BYTES)
        if data is not None:
            try:
                return condemned.parse(data, f"{name} on {self.remote.store.label}")
            except ObjectCorrupt:  # named by its bytes, and yet no list
                self._note_named(name, None)
        return ()

    def _read_named(self, name: str, size_bytes: int | None, limit_bytes: int) -> bytes | None:
        """Returns an object that is named by its content: as it was kept, else read with one request, checked and kept.

        None, with a warning, for one that is damaged; what was kept stands for one that a listing shows with another size. Raises
        ObjectAbsent.
        """
        folder, _, short = name.partition("/")
        data = self.remote.recall(folder, short)
        if data is not None and digest_bytes(data).hex() == short:
            if size_bytes not in (None, len(data)):
                self._note_named(name, data)
            return data
        data = self.remote.get(name, end=limit_bytes + 1)
        if digest_bytes(data).hex() != short:
            self._note_named(name, None)
            return None
        self.remote.remember(folder, short, data)
        return data

    def _note_named(self, name: str, data: bytes | None) -> None:
        if name not in self.damaged:
            remedy = "the next dvlite push writes it again" if data or name.startswith("index/") else "it is left out"
            self._progress.warn(f"object {name[:20]} on {self.remote.store.label} is damaged: {remedy}")
        self.damaged[name] = data

    def misnamed(self) -> list[str]:
        """Reads index objects, condemned lists and tombstones from the remote, whatever was kept of them; returns those that are damaged, with the config."""
        names = [*self.index_sizes, *self.condemned_sizes, *(f"purged/{name}" for name in self.tombstones)]

        def is_sound(name: str) -> bool:
            folder, _, short = name.partition("/")
            limit_bytes = index.MAX_BYTES if folder == "index" else condemned.MAX_BYTES
            try:
                return digest_bytes(self.remote.get(name, end=limit_bytes + 1)).hex() == short
            except ObjectAbsent:
                return True

        bad = [name for name, sound in zip(names, self.remote.run_all(is_sound, names), strict=True) if not sound]
        return [*bad, store_config.NAME] if self.settings.is_damaged else bad

    @property
    def config(self) -> StoreConfig | None:
        """What the config said at the last look; None for none, or one that is damaged."""
        return self.settings.value

    @property
    def is_empty(self) -> bool:
        """The last look found nothing, not even the config that the first push writes before all else."""
        return not (self.config or self.settings.is_damaged or self.packs or self.index_sizes)

    def empty_error(self) -> RemoteError:
        """Returns the error for an empty remote where data was expected: never pushed to, or the wrong folder."""
        return RemoteError(
            f"{self.remote.store.label} is empty or not there",
            hint="is it the right place, and is its disk mounted? if nothing was pushed yet: dvlite push, from a clone that has the data",
        )

    def require_writable(self, *, writes: bool = True) -> StoreConfig:
        """Returns the config, writing it (if `writes`) where the remote has none; see `ConfigObject.require_writable`."""
        return self.settings.require_writable(has_data=bool(self.packs or self.index_sizes), writes=writes)

    def has_all(self, sent: Mapping[str, int]) -> bool:
        """Returns whether packs and index objects stand with the sizes that were written; lists both folders again if there are any."""
        if not sent:
            return True
        indexes = self.remote.submit(lambda: self.remote.store.list("index/").entries)
        listed = {entry.name: entry.size_bytes for entry in [*self._list_packs("packs/"), *indexes.result()]}
        lost = [name for name, size_bytes in sent.items() if listed.get(name) != size_bytes]
        for name in lost:
            if name in listed or name.startswith("packs/"):  # an index object may have been merged by another push
                self._progress.warn(f"{self.remote.store.label} took {name[:20]} and does not have all of it")
        return not lost

    def _list_packs(self, prefix: str) -> list[ObjectEntry]:
        """Lists the packs, in 16 parts at once if there were many last time."""
        count = int.from_bytes(self.remote.recall("size", "packs") or b"", "big")
        if count < _MANY:
            entries = list(self.remote.store.list(prefix).entries)
        else:
            with ThreadPoolExecutor(min(16, max(2, self.remote.jobs))) as pool:
                parts = pool.map(lambda digit: self.remote.store.list(prefix + digit).entries, "0123456789abcdef")
                entries = [entry for part in parts for entry in part]
        if (count >= _MANY) != (len(entries) >= _MANY):
            self.remote.remember("size", "packs", len(entries).to_bytes(8, "big"))
        return [entry for entry in entries if _is_named(entry.name)]

    def _take_packs(self, listed: list[ObjectEntry]) -> None:
        self.packs = pack_sizes(listed)
        self.modified = {Digest(bytes.fromhex(entry.name[6:])): entry.modified for entry in listed}

    def standing_packs(self) -> set[Digest]:
        """Lists the packs again; other than at a look, those of an impossible length count too."""
        return {Digest(bytes.fromhex(entry.name[6:])) for entry in self._list_packs("packs/")}

    # --- finding ---

    def usable(self, name: Digest) -> bool:
        """Returns whether a pack stands there, is not condemned and was not found damaged."""
        is_condemned = name in self.condemned and not self._counts_condemned
        return name in self.packs and not is_condemned and name not in self.distrusted

    def note_damaged(self, name: Digest) -> None:
        """Records that a pack was read and is damaged, so that the next push sends its objects again."""
        self.distrusted.add(name)
        self.remote.remember(DAMAGED, name.hex(), b"")

    def damage_notes(self) -> set[Digest]:
        """Returns the packs that were noted as damaged."""
        return set(_digests(self.remote.remembered(DAMAGED)))

    def apply_damage_notes(self) -> None:
        """Stops relying on packs noted as damaged, or shorter or longer than every index says; drops notes of packs that are gone.

        For pushes only: a pull may use their sound records.
        """
        self.indexes()  # may list the packs again
        noted = self.damage_notes()
        self.remote.forget(DAMAGED, {name.hex() for name in noted if name not in self.packs})
        if self._misfits is None:
            self._misfits = {name for name in self.packs if not self.is_whole(name)}
        self.distrusted.update(noted, self.doubted, self._misfits)

    @contextlib.contextmanager
    def counting_condemned(self, *, damaged_too: bool = True) -> Iterator[None]:
        """Within it, condemned and damaged packs that still stand count as usable: to copy what only they have."""
        before, self._counts_condemned = self._counts_condemned, True
        noted = set[Digest]() if damaged_too else self.condemned.intersection(_digests(self.remote.remembered(DAMAGED)))
        distrusted, self.distrusted = self.distrusted, set() if damaged_too else self.distrusted | noted
        self.recipes = Recipes(self, self.remote.store.label)
        try:
            yield
        finally:
            self._counts_condemned = before
            self.distrusted = self.distrusted - noted | distrusted
            self.recipes = Recipes(self, self.remote.store.label)

    def locations(self, digest: Digest, kinds: tuple[int, ...], *, condemned_too: bool = False) -> list[RecordLocation]:
        """Returns where an object lies in packs that can be relied on (or that at least still stand)."""
        places = (place for segment in self.indexes().values() for place in segment.find(digest, kinds))
        held = [place for place in places if self.holds(place, condemned_too=condemned_too)]
        return sorted(held, key=lambda place: place.pack in self.condemned) if len(held) > 1 else held

    def holds(self, place: RecordLocation, *, condemned_too: bool = False) -> bool:
        """Returns whether a row can be relied on (or at least names a place in a pack that stands)."""
        if not self.usable(place.pack) and not (condemned_too and place.pack in self.packs):
            return False
        end = place.record.offset + place.record.stored_length
        return end <= self.packs[place.pack] and place not in self.wrong_rows

    def doubt(self, place: RecordLocation) -> None:
        """Notes that an object is not where a row says: the row is wrong if there is another one for the same pack, else the pack is."""
        others = self.locations(place.record.digest, (place.record.kind,), condemned_too=True)
        if not any(other.pack == place.pack and other != place for other in others):
            self.doubted.add(place.pack)
        self.wrong_rows.add(place)

    def indexes(self) -> dict[str, Index]:
        """Returns the index objects of the last look, fetching those not seen before; rows from footers stand for damaged ones."""
        if self._indexes is None:
            loaded = self.remote.run_all(self.read_index, list(self.index_sizes))
            self._indexes = {
                name: segment for name, segment in zip(self.index_sizes, loaded, strict=True) if segment is not None
            }
            self.remote.forget("index", self.remote.remembered("index") - {name[6:] for name in self.index_sizes})
            if self.counts_unindexed or any(
                data is None and name in self.index_sizes for name, data in self.damaged.items()
            ):
                self.unindexed = self._index_the_rest(
                    {pack for segment in self._indexes.values() for pack in segment.packs}
                )
                self._indexes[""] = self.unindexed
        return self._indexes

    def read_index(self, name: str) -> Index | None:
        """Returns one index object, or None if it is gone or damaged."""
        try:
            data = self._read_named(name, self.index_sizes.get(name), index.MAX_BYTES)
            if data is None:
                return None
            return Index(mapped(self.remote.folder / "index" / name[6:], data), name)
        except ObjectAbsent:  # merged since it was listed: its rows are in an object that a new look finds
            return None
        except ObjectCorrupt:  # named by its bytes, and yet no index
            self._note_named(name, None)
            return None

    def _index_the_rest(self, named: set[Digest]) -> Index:
        """Returns an index of the packs that no sound index object names; one request or two for each whose footer was not kept.

        Packs are listed again: a pack stands before an index object names it, so this listing has all that a damaged one named.
        """
        self._take_packs(self._list_packs("packs/"))
        names = [name for name in self.packs if name not in named and (self.counts_unindexed or self.usable(name))]
        self._progress.start(f"reading what {len(names):,} packs on {self.remote.shown} hold")

        def rows_of(text: str) -> list[RecordLocation] | None:
            with contextlib.suppress(LaterVersion):
                return self._rows_of(Digest(bytes.fromhex(text)))
            return None

        parts = self.remote.run_all(rows_of, [name.hex() for name in names])
        self.unread = None in parts
        read = {name: part for name, part in zip(names, parts, strict=True) if part is not None}
        entries = {
            name: PackEntry(index.class_of(places[0].record.kind if places else KIND_CHUNK), self.packs[name])
            for name, places in read.items()
        }
        rows = [place for places in read.values() for place in places if place.record.kind != KIND_CHUNK]
        return Index(index.encode(rows, bytes(16), entries), "of packs in no index")

    def _rows_of(self, name: Digest) -> list[RecordLocation] | None:
        """Returns where a pack's objects lie: of a damaged one its sound records; None if less than all of it arrived."""
        try:
            records = self._kept_footer(name) or self.read_footer(name, self.packs[name])
            return [RecordLocation(name, each) for each in records]
        except ObjectAbsent:
            return []
        except ObjectCorrupt:
            data = self.pack_bytes(name)
        if len(data) != self.packs[name]:
            return None
        with contextlib.suppress(ObjectCorrupt):
            places = (RecordLocation(name, record) for record in pack.open_whole(data, name))
            return [place for place in places if place.record.kind != KIND_CHUNK and index.is_sound(place, data)]
        return []

    # --- footers ---

    def is_whole(self, name: Digest) -> bool:
        """Returns whether a pack that stands is as long as some index says; True if none says it."""
        lengths = self.indexed_packs().get(name, set()) - {0}
        return not lengths or self.packs[name] in lengths

    def footers(self, names: Iterable[Digest]) -> dict[Digest, list[Record]]:
        """Returns the records of packs; a footer that was never seen costs one ranged request, all at the same time."""
        names = list(dict.fromkeys(names))
        known = {name: records for name in names if (records := self._footers.get(name)) is not None}
        unknown = [name.hex() for name in names if name not in known]
        read = self.remote.run_all(lambda text: self.footer(Digest(bytes.fromhex(text))), unknown)
        known.update((Digest(bytes.fromhex(name)), records) for name, records in zip(unknown, read, strict=True))
        return {name: known[name] for name in names}

    def keep_footer(self, name: Digest, data: Buffer) -> None:
        """Keeps the footer that ends a pack, whole or its last part, if it is sound and ends where a listing says."""
        with contextlib.suppress(ObjectCorrupt):
            footer = memoryview(data)[len(data) - pack.footer_length(data, name) :]
            self._footers[name] = pack.decode_footer(footer, name, self.packs[name])
            if len(self._footers) > _MOST_FOOTERS:
                self._footers.popitem(last=False)
            self.remote.remember_checked("footers", name.hex(), bytes(footer))

    def each_footer(self, names: Iterable[Digest]) -> Iterator[tuple[Digest, list[Record]]]:
        """Yields the records of any number of packs, each once, with no more of them in memory than are kept anyway."""
        names = list(dict.fromkeys(names))
        for start in range(0, len(names), _MOST_FOOTERS):
            yield from self.footers(names[start : start + _MOST_FOOTERS]).items()

    def _kept_footer(self, name: Digest) -> list[Record] | None:
        data = self.remote.recall_checked("footers", name.hex())
        if data is not None:
            with contextlib.suppress(ObjectCorrupt):
                return pack.decode_footer(data, name, self.packs[name])
        return None

    def unfinished_packs(self) -> set[Digest]:
        """Returns packs of chunks that an interrupted push left here without a recipe, and that stand whole; one request each."""
        names = _digests(self.remote.remembered("unfinished"))
        return self.sound_packs(name for name in names if self.usable(name))

    def footer(self, name: Digest) -> list[Record]:
        """Returns the records of one pack; one request, or two for a long footer, if it was never seen."""
        text = name.hex()
        size = self.packs.get(name)
        if size is None:
            raise ObjectMissing(
                f"pack {text} is not on {self.remote.store.label}", hint="push again from a clone that has the data"
            )
        records = self._kept_footer(name)
        if records is not None:
            return records
        try:
            return self.read_footer(name, size)
        except ObjectCorrupt:  # rebuilt from the records themselves, and not kept: the next answer may be better
            return pack.open_whole(self.pack_bytes(name), name)

    def pack_bytes(self, name: Digest) -> bytes:
        """Returns a whole pack, unverified, and no more of it than its listed size; one request."""
        return self.remote.get(f"packs/{name.hex()}", end=self.packs[name])

    def read_footer(self, name: Digest, size: int, *, keep: bool = True) -> list[Record]:
        """Returns the records of a pack, from its end as it is now; one request, or two. Raises ObjectAbsent, ObjectCorrupt, LaterVersion.

        An end that is not right is read again: what goes bad on the way is no damage there.
        """
        try:
            return self._read_footer(name, size, keep=keep)
        except ObjectCorrupt:
            return self._read_footer(name, size, keep=keep)

    def _read_footer(self, name: Digest, size: int, *, keep: bool) -> list[Record]:
        text = name.hex()
        guess = min(size, max(4096, size // 256))
        tail = self.remote.get(f"packs/{text}", start=size - guess, end=size)
        length = pack.footer_length(tail, name)
        if length > len(tail):
            tail = self.remote.get(f"packs/{text}", start=max(0, size - length), end=size)
        records = pack.decode_footer(tail[-length:], name, size)
        if keep:
            self.keep_footer(name, tail)
        return records

    # --- reading small things ---

    def read_meta(self, places: Sequence[RecordLocation]) -> dict[RecordLocation, bytes]:
        """Returns the verified bytes of listing nodes and recipes; small packs are fetched and kept whole, others in ranges.

        What is damaged, and sound nowhere else, is left out: `missing` says why.
        """
        groups: dict[Digest, list[RecordLocation]] = {}
        for place in dict.fromkeys(places):
            groups.setdefault(place.pack, []).append(place)
        contents: dict[RecordLocation, bytes] = {}
        for part in self.remote.run_all(
            lambda text: self._read_meta(groups[Digest(bytes.fromhex(text))]), [name.hex() for name in groups]
        ):
            contents.update(part)
        return contents

    def _read_meta(self, places: list[RecordLocation]) -> dict[RecordLocation, bytes]:
        name = places[0].pack
        size = self.packs[name]
        data = self.remote.recall("meta", name.hex())
        if data is not None and digest_bytes(data) != name:  # went bad on our disk: the remote has the last word
            data = None
        parts = ranges(places)
        is_mostly_wanted = len(parts) > 1 and sum(place.record.stored_length for place in places) * 4 > size
        if data is None and (size < WHOLE_BELOW_BYTES or is_mostly_wanted):
            data = self.pack_bytes(name)
            if size < WHOLE_BELOW_BYTES and digest_bytes(data) == name:
                self.remote.remember("meta", name.hex(), data)
        if data is not None:
            return self._sound(places, data, 0)
        contents = {}
        for start, end, group in parts:
            data = self.remote.get(f"packs/{name.hex()}", start=start, end=end)
            contents.update(self._sound(group, data, start))
        return contents

    def _sound(self, places: Iterable[RecordLocation], data: bytes, start: int) -> dict[RecordLocation, bytes]:
        contents = {}
        for place in places:
            try:
                contents[place] = self._unpacked(place, data, start)
            except (ObjectCorrupt, LaterVersion) as error:
                self.damage[place.record.digest] = error
        return contents

    def _unpacked(self, place: RecordLocation, data: bytes, start: int) -> bytes:
        """Returns an object from where a row says that it is, else from where one of a few others does. Raises ObjectCorrupt."""
        for _ in range(_OTHER_ROWS):
            try:
                return unpack_at(place, data, start)[1]
            except ObjectCorrupt as error:
                self.doubt(place)
                others = self.locations(place.record.digest, (place.record.kind,))
                if not others:
                    raise
                failure = error
            place = next((other for other in others if other.pack != place.pack), others[0])
            start = place.record.offset
            data = self.remote.get(f"packs/{place.pack.hex()}", start=start, end=start + place.record.stored_length)
        raise failure

    # --- what is complete ---

    def complete(self, kind: str, digest: Digest) -> frozenset[Digest] | None:
        """Returns the packs that a version relies on if this clone knows them from before and all can be relied on now.

        Which packs hold a version never changes; whether they stand, whole and indexed, is known from the last look.
        """
        data = self.remote.recall_checked(COMPLETE, f"{kind}-{digest.hex()}")
        if data is None or len(data) % 40:
            return None
        sizes = {
            Digest(data[at : at + 32]): int.from_bytes(data[at + 32 : at + 40], "big") for at in range(0, len(data), 40)
        }
        indexed = self.indexed_packs()
        whole = all(self.usable(name) and name in indexed and self.packs[name] == size for name, size in sizes.items())
        return frozenset(sizes) if whole else None

    def indexed_packs(self) -> dict[Digest, set[int]]:
        """Returns the packs that an index of the last look names, with their lengths there; made once per look: a push may ask often."""
        if self._lengths is None:
            self._lengths = {}
            for segment in self.indexes().values():
                for name, entry in segment.packs.items():
                    self._lengths.setdefault(name, set()).add(entry.size_bytes)
        return self._lengths

    def keep_complete(self, kind: str, digest: Digest, names: Iterable[Digest]) -> None:
        body = b"".join(name + self.packs[name].to_bytes(8, "big") for name in sorted(names))
        self.remote.remember_checked(COMPLETE, f"{kind}-{digest.hex()}", body)

    def sound_packs(self, names: Iterable[Digest]) -> set[Digest]:
        """Returns those packs whose end, read now, is that of a whole pack of the listed size; one request each."""
        wanted = [name.hex() for name in dict.fromkeys(names)]
        return {
            Digest(bytes.fromhex(name))
            for name, sound in zip(wanted, self.remote.run_all(self._has_sound_end, wanted), strict=True)
            if sound
        }

    def _has_sound_end(self, text: str) -> bool:
        """Returns whether a pack is as long as an index says and ends in a footer of its own: of another pack, the index names other places."""
        name = Digest(bytes.fromhex(text))
        try:
            records = self.read_footer(name, self.packs[name])
        except (KeyError, ObjectCorrupt, ObjectAbsent, LaterVersion):
            return False
        if not records or not self.is_whole(name):
            return False
        first = records[0]
        if first.kind == pack.KIND_CHUNK or name not in self.indexed_packs():
            return True  # recipes name chunks, no index does
        places = self.locations(first.digest, (first.kind,), condemned_too=True)
        return any((place.pack, place.record.offset) == (name, first.offset) for place in places)

    def missing(self, digest: Digest, kind: str) -> DvliteError:
        """Returns the error for an object that a fresh look did not find, or found damaged."""
        if digest in self.damage:
            return self.remote.damaged(self.damage[digest])
        return ObjectMissing(
            f"object {format_oid(kind, digest)} is not on {self.remote.store.label}",
            hint="push it from a clone that has it",
        )


def _is_named(name: str) -> bool:
    return _NAMED.fullmatch(name) is not None


def _digests(notes: Iterable[str]) -> list[Digest]:
    """Returns the packs that notes are named after; what else lies in their folder is passed over."""
    return [Digest(bytes.fromhex(name)) for name in notes if _is_named(f"packs/{name}")]


def pack_sizes(listed: Iterable[ObjectEntry]) -> dict[Digest, int]:
    """Returns the packs of a listing. Nothing of ours is larger (never read a stranger's terabyte); what is shorter than an empty pack holds nothing."""
    smallest = pack.HEADER_BYTES + pack.TRAILER_BYTES
    return {
        Digest(bytes.fromhex(entry.name[6:])): entry.size_bytes
        for entry in listed
        if smallest <= entry.size_bytes <= pack.MAX_PACK_BYTES
    }
