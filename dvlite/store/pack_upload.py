"""Builds packs and uploads them, as many at once as there are connections; indexes what arrived. For pushes, and for copies between stores.

A bounded number of packs is in memory. An index or a recipe may name a pack only when it arrived, so what is promised a place in an open
pack gets a slot.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future
from typing import NamedTuple

from dvlite.oid import Buffer, Digest, digest_bytes
from dvlite.store import pack
from dvlite.store.catalog import WHOLE_BELOW_BYTES, Catalog
from dvlite.store.index import MANY_ROWS, PackEntry, Rows
from dvlite.store.pack import PackWriter

CHECKPOINT_PACKS = 8  # an index object at least this often, so that what was interrupted continues


class PackSlot:
    """A pack that has no name before it is finished, and may not be named before it arrived."""

    __slots__ = ("arrived", "pack")

    def __init__(self, name: Digest | None = None) -> None:
        self.pack = name
        self.arrived = name is not None


class _Upload(NamedTuple):
    """A pack on its way: the request, what will index it, the slot that its chunks were promised in."""

    sent: Future[None]
    name: Digest
    entry: PackEntry
    table: Buffer
    slot: PackSlot | None


class PackUpload:
    """Packs on their way to a remote. `packs` are those written, `sent` what was written with its size in bytes."""

    def __init__(self, catalog: Catalog, *, at_once: int | None = None) -> None:
        self.catalog = catalog
        self._remote = catalog.remote
        self._at_once = min(at_once or self._remote.jobs, self._remote.jobs)
        self._open: dict[int, PackWriter] = {}
        self._slots: dict[int, PackSlot] = {}
        self._flying: list[_Upload] = []
        self._arrived = Rows()  # packs that are in no index yet
        self._since_index = 0
        self.packs: set[Digest] = set()
        self.sent: dict[str, int] = {}

    @property
    def is_index_due(self) -> bool:
        return self._since_index >= CHECKPOINT_PACKS

    def writer(self, pack_class: int) -> PackWriter:
        """Returns the open pack of a class."""
        writer = self._open.get(pack_class)
        if writer is None:
            writer = self._open[pack_class] = PackWriter(pack_class, os.urandom(pack.NONCE_BYTES))
        return writer

    def slot(self, pack_class: int) -> PackSlot:
        """Returns what the open pack of a class will be."""
        return self._slots.setdefault(pack_class, PackSlot())

    def ship_if_full(self, writer: PackWriter) -> bool:
        if writer.size_bytes < pack.TARGET_BYTES:
            return False
        self.ship(writer.pack_class)
        return True

    def ship(self, pack_class: int) -> None:
        """Hands a pack to the upload threads; waits if as many as may be are on their way: `at_once`, else one for each connection."""
        writer = self._open.pop(pack_class, None)
        slot = self._slots.pop(pack_class, None)
        if writer is None:
            return
        while len(self._flying) >= self._at_once:
            self._arrive()
        finished = writer.finish()  # after the wait: its parts and the whole are in memory for a moment
        if slot is not None:
            slot.pack = finished.name
        name = f"packs/{finished.name.hex()}"
        sent = self._remote.submit(lambda: self._remote.put(name, finished.data))
        entry = PackEntry(pack_class, len(finished.data))
        self._flying.append(_Upload(sent, finished.name, entry, finished.table, slot))
        self.packs.add(finished.name)
        self.catalog.packs[finished.name] = self.sent[name] = len(finished.data)
        if pack_class == pack.CHUNKS:
            self.catalog.keep_footer(finished.name, finished.data)
            self._remote.remember("unfinished", finished.name.hex(), b"")
        elif pack_class == pack.META and len(finished.data) < WHOLE_BELOW_BYTES:
            self._remote.remember("meta", finished.name.hex(), bytes(finished.data))

    def ship_all(self, *, but: int | None = None) -> None:
        """Ships every open pack, but those of one class, and waits until all that is on its way arrived."""
        for pack_class in [pack_class for pack_class in self._open if pack_class != but]:
            self.ship(pack_class)
        while self._flying:
            self._arrive()

    def _arrive(self) -> None:
        """Waits for the oldest pack on its way; only now may an index or a recipe name it."""
        sent, name, entry, table, slot = self._flying.pop(0)
        sent.result()
        self._arrived.add(name, entry, table)
        self._since_index += 1
        if slot is not None:
            slot.arrived = True
        if len(self._arrived) >= MANY_ROWS:
            self.put_index()

    def take_up(self, names: Iterable[Digest]) -> None:
        """Has the next index name packs of chunks too that an interrupted push left."""
        for name in names:
            self._arrived.packs[name] = PackEntry(pack.CHUNKS, self.catalog.packs[name])

    def put_index(self) -> None:
        """Puts an index object for all that arrived since the last one."""
        self._since_index = 0
        if not self._arrived.packs:
            return
        data = self._arrived.encode(os.urandom(16))
        name = digest_bytes(data).hex()
        self._remote.put(f"index/{name}", data)
        self._remote.remember("index", name, data)
        self.sent[f"index/{name}"] = len(data)
        self._arrived = Rows()
