"""Which datums of a map stage run, and which have their result from earlier runs with the same base: pure data, made before anything runs.

Costs what changed where each file is a datum and an earlier run is complete: two listings are compared, and equal nodes are never read. Else it
walks the listings. Two datums that would make one path are an error here, with both names.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.lockfile import LockedStage
from dvlite.formats.manifest import Entry, KeepNode, ReadNode
from dvlite.formats.manifest_parts import LazyListing
from dvlite.formats.record import Run
from dvlite.formats.task import TaskUnit
from dvlite.oid import MANIFEST, Digest, parse_oid
from dvlite.paths import ancestors
from dvlite.pipeline.datums import (
    Datums,
    MapShape,
    OverListings,
    is_collision_free,
    listings_now,
    listings_of_run,
    shape_of,
)
from dvlite.pipeline.map_inputs import NO_ENTRY, OverContent
from dvlite.pipeline.stages import Stage
from dvlite.show import count, quote

_MOST_RUNS = 10  # earlier ones that are asked for datums which the first does not have
_MOST_LOOKED_AT = 30
_MOST_ASKED = 100_000  # datums that they are asked for: each costs several reads
Edits = dict[bytes, Entry | None]


@dataclass(frozen=True, slots=True)
class KeptListing:
    """An earlier version of an output folder (None: there is none), and what of it does not stay: entries added or (None) removed."""

    root: Digest | None
    edits: Mapping[bytes, Entry | None]


@dataclass(frozen=True, slots=True)
class Lacking:
    """Groups of which an input has no file, so that they are no datums: how many, and one of them."""

    pattern: str
    groups: int
    example: str


@dataclass(frozen=True, slots=True)
class MapPlan:
    """What a map stage is to do: of `total` datums, `left` run and `reused` have their result; `removed` ones vanished.

    `kept`, by output folder, is the listing that new results are added to; `nodes` are those of the listing of inputs that no store has: with a run,
    they are to be stored, else no later run can be compared with it.
    """

    base: str
    total: int
    reused: int
    removed: int
    kept: Mapping[str, KeptListing]
    lacking: tuple[Lacking, ...]
    datums: Datums
    nodes: Mapping[Digest, bytes]
    pending: tuple[str, ...] | None  # keys, in order; None: all

    @property
    def left(self) -> int:
        return self.total - self.reused

    @property
    def title(self) -> str:
        return (
            count(self.total, "datum") if self.left == self.total else f"{self.left:,} of {count(self.total, 'datum')}"
        )

    def to_run(self) -> Iterator[TaskUnit]:
        """Yields the datums that run, in order, each when it is asked for; from the start each time that it is called."""
        return self.datums.units(self.pending)


def plan_map(
    stage: Stage,
    now: LockedStage,
    content: OverContent,
    read: ReadNode,
    earlier: Iterable[Run] = (),
    keep: KeepNode = lambda *_: None,
) -> MapPlan:
    """Returns the plan of a map stage that would run with `now`; `earlier` are runs with the same base, the best first (none: all datums run).

    `read` reads nodes of listings, `keep` gets those of folders that are inputs, when the datums are asked for. Runs whose listings cannot be read do not count.
    Raises FormatError for two datums that would make one path, and for groups that have nothing in common.
    """
    shape = shape_of(stage)
    base = stage.base(now)
    listings = listings_now(shape, content)
    reading = listings.reading(read)
    planner = _MapPlanner(stage, Datums(shape, listings, reading, keep), listings.nodes, reading)
    runs = islice(earlier, _MOST_LOOKED_AT)
    candidates = [known for run in runs if (known := _known(shape, base, run, reading)) is not None]
    candidates.sort(key=lambda known: known.listings.each != listings.each)  # stable: with the same inputs first
    rows = {item.path: item for item in now.deps}
    files = rows[stage.local(stage.over[0].path)].files
    while True:
        try:
            return planner.plan(base, candidates[: _MOST_RUNS + 1], files)
        except (ObjectMissing, ObjectCorrupt):
            if not candidates:
                raise
            del candidates[0]


@dataclass(frozen=True, slots=True)
class _Known:
    """What an earlier run began with, and the listings of its outputs."""

    listings: OverListings
    outputs: Mapping[str, Digest]
    is_complete: bool


def _known(shape: MapShape, base: str, run: Run, read: ReadNode) -> _Known | None:
    listings = listings_of_run(shape, run.inputs)
    outputs = {out.path: parse_oid(out.oid)[1] for out in run.outputs if out.oid.startswith(MANIFEST)}
    if run.mapped is None or run.mapped.base != base or listings is None or not outputs.keys() >= set(shape.folders):
        return None
    try:
        for root in (*(source.root for source in listings.each), *outputs.values()):
            read(root)
    except (ObjectMissing, ObjectCorrupt):
        return None
    return _Known(listings, outputs, run.status == "ok" and not run.mapped.failed)


class _Made:
    """The outputs of an earlier run: whether a datum's are there, and their entries."""

    def __init__(self, shape: MapShape, known: _Known, read: ReadNode) -> None:
        self._folders = sorted(shape.folders, key=len, reverse=True)
        self._listings = {folder: LazyListing(known.outputs[folder], read) for folder in shape.folders}

    def place(self, out: str) -> tuple[str, bytes]:
        """Returns the output folder of a path, and the path in it."""
        folder = next(folder for folder in self._folders if out.startswith(folder + "/"))
        return folder, os.fsencode(out[len(folder) + 1 :])

    def entries(self, out: str) -> Iterator[tuple[str, Entry]]:
        """Yields what is at a path: a file, or all in a folder; with the output folder."""
        folder, path = self.place(out)
        listing = self._listings[folder]
        entry = listing.find(path)
        if entry is not None:
            yield folder, entry
            return
        for name in listing.below(path):
            inner = listing.find(name)
            if inner is not None:
                yield folder, inner

    def has(self, out: str) -> bool:
        return next(self.entries(out), None) is not None

    def is_in_the_way(self, out: str, gone: Mapping[str, Edits]) -> bool:
        """Returns whether what stays has something at a path, inside, or a file where it needs a folder."""
        if any(entry.path not in gone[folder] for folder, entry in self.entries(out)):
            return True
        folder, path = self.place(out)
        above = (os.fsencode(name) for name in ancestors(os.fsdecode(path)))
        return any(self._listings[folder].find(name) is not None and name not in gone[folder] for name in above)


class _MapPlanner:
    def __init__(self, stage: Stage, datums: Datums, nodes: Mapping[Digest, bytes], read: ReadNode) -> None:
        self._stage, self._shape, self._datums, self._nodes, self._read = stage, datums.shape, datums, nodes, read

    def plan(self, base: str, candidates: Sequence[_Known], files: int) -> MapPlan:
        lacking: tuple[Lacking, ...] = ()
        total = files
        if self._datums.is_grouped:
            total, lacking = self._groups()
        elif self._shape.over[0].folders:
            total = sum(1 for _ in self._datums.all_keys())
        edits: dict[str, Edits] = {folder: {} for folder in self._shape.folders}
        if not candidates:
            self._refuse_clashes(None)
            kept = {folder: KeptListing(None, {}) for folder in edits}
            return MapPlan(base, total, 0, 0, kept, lacking, self._datums, self._nodes, None)
        first, others = candidates[0], candidates[1:]
        made = _Made(self._shape, first, self._read)
        added, changed, gone = self._differences(first)
        removed = sum(self._drop(key, made, edits) for key in gone)
        for key in changed:
            self._drop(key, made, edits)
        pending = added | changed
        if not first.is_complete:
            pending |= {key for key in self._datums.all_keys() if key not in pending and not self._is_made(key, made)}
        self._refuse_clashes(pending, made, edits)
        if len(pending) <= _MOST_ASKED:
            for known in others:
                pending = self._asked(known, pending, edits) if pending else pending
        keys = tuple(sorted(pending, key=os.fsencode))
        kept = {folder: KeptListing(first.outputs[folder], edits[folder]) for folder in edits}
        return MapPlan(base, total, total - len(keys), removed, kept, lacking, self._datums, self._nodes, keys)

    def _groups(self) -> tuple[int, tuple[Lacking, ...]]:
        """Returns of how many groups all inputs have a file, and what the others lack."""
        each = self._datums.keys_by_input()
        every, complete = set[str]().union(*each), set.intersection(*each)
        lacking = []
        for item, keys in zip(self._stage.over, each, strict=True):
            missing = every - keys
            if missing:
                lacking.append(Lacking(item.spec.written, len(missing), min(missing)))
        if not complete:
            names = " and ".join(quote(item.spec.written) for item in self._stage.over)
            by = " and ".join(self._shape.by)
            raise self._stage.wrong(
                self._stage.over[0].line,
                f"{names} have no {by} in common: {self._stage.address} has no datum",
                hint=f"for example, {quote(min(every))} is in one of them only",
            )
        return len(complete), tuple(lacking)

    def _differences(self, known: _Known) -> tuple[set[str], set[str], set[str]]:
        """Returns the datums that are new, those that have other inputs than in an earlier run, and those that are no more."""
        before = Datums(self._shape, known.listings, self._read)
        added, changed, gone = set[str](), set[str](), set[str]()
        for number, (old, new) in enumerate(zip(before.listings, self._datums.listings, strict=True)):
            if old == new:
                continue
            if old.prefix != new.prefix:  # another folder became data: no node says what stayed
                return self._sorted_out(before, None)
            start = os.fsencode(new.prefix)
            for one, other in manifest.compare(old.root, new.root, self._read):
                path = (one or other or NO_ENTRY).path
                key = self._datums.key_of(number, os.fsdecode(path[len(start) :])) if path.startswith(start) else None
                if key is not None:
                    (added if one is None else gone if other is None else changed).add(key)
        if self._datums.is_grouped or self._shape.over[0].folders:  # with one file more or less, it is the same datum
            return self._sorted_out(before, added | changed | gone)
        return added, changed, gone

    def _sorted_out(self, before: Datums, touched: set[str] | None) -> tuple[set[str], set[str], set[str]]:
        old = {unit.name: unit.inputs for unit in before.units(touched)}
        new = {unit.name: unit.inputs for unit in self._datums.units(touched)}
        changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
        return new.keys() - old.keys(), changed, old.keys() - new.keys()

    def _drop(self, key: str, made: _Made, edits: dict[str, Edits]) -> bool:
        """Takes the outputs of a datum out; returns whether there were any."""
        found = [(folder, entry.path) for out in self._datums.outs(key) for folder, entry in made.entries(out)]
        for folder, path in found:
            edits[folder][path] = None
        return bool(found)

    def _is_made(self, key: str, made: _Made) -> bool:
        return all(made.has(out) for out in self._datums.outs(key))

    def _asked(self, known: _Known, pending: set[str], edits: dict[str, Edits]) -> set[str]:
        """Takes from another run the results of datums that had the same inputs there; returns the datums that are left."""
        made = _Made(self._shape, known, self._read)
        try:
            now = {unit.name: unit.inputs for unit in self._datums.units(pending)}
            before = {unit.name: unit.inputs for unit in Datums(self._shape, known.listings, self._read).units(pending)}
            same = {key for key, inputs in before.items() if now[key] == inputs and self._is_made(key, made)}
            found = [
                (folder, entry) for key in same for out in self._datums.outs(key) for folder, entry in made.entries(out)
            ]
        except (ObjectMissing, ObjectCorrupt):  # of a run that is not needed
            return pending
        for folder, entry in found:
            edits[folder][entry.path] = entry
        return pending - same

    # -- two datums, one path

    def _refuse_clashes(
        self, keys: Collection[str] | None, made: _Made | None = None, edits: Mapping[str, Edits] | None = None
    ) -> None:
        if is_collision_free(self._shape):
            return
        outs = self._outs(keys)
        if (clash := _clash(outs)) is not None:
            raise self._clash_of(_path(clash))
        if made is not None and edits is not None:
            taken = next((out for out in map(_path, outs) if made.is_in_the_way(out, edits)), None)
            if taken is not None:
                raise self._clash_of(taken)

    def _outs(self, keys: Collection[str] | None) -> list[bytes]:
        """Returns what datums make, with NUL for `/`, sorted: what is inside of a path then follows it at once."""
        every: Iterable[str] = self._datums.all_keys() if keys is None else keys
        return sorted([os.fsencode(out).replace(b"/", b"\0") for key in every for out in self._datums.outs(key)])

    def _clash_of(self, path: str) -> DvliteError:
        """Returns the error for a path that two datums make; looks for their names."""
        names: list[str] = []
        for key in self._datums.all_keys():
            for out in self._datums.outs(key):
                if out == path or out.startswith(path + "/") or path.startswith(out + "/"):
                    names.append(key)
            if len(names) == 2:
                break
        shown = " and ".join(quote(name[:200]) for name in dict.fromkeys(names))
        what = f"two outputs of the datum {shown}" if len(set(names)) == 1 else f"the datums {shown}"
        return self._stage.wrong(
            self._stage.outs[0].line,
            f"{what} of {self._stage.address} would both make {quote(path[:200])}",
            hint="name outputs by the whole name of a datum:  ${name}  or  ${path}",
        )


def _path(out: bytes) -> str:
    return os.fsdecode(out.replace(b"\0", b"/"))


def _clash(outs: Sequence[bytes]) -> bytes | None:
    """Returns a path of `_MapPlanner._outs` that stands there twice, or has another inside."""
    for before, out in pairwise(outs):
        if out == before or out.startswith(before + b"\0"):
            return before
    return None
