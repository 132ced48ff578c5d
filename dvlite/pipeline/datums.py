"""The datums of a map stage: which files are one, what each is called, and what it makes. In columns or one by one: there may be a million.

Files come from listings of folders at some time: of what is here now, or of what an earlier run began with. A datum is known by its key, which
is its name: the path below the fixed folder of the pattern where each file or folder is a datum, else the captures that group the files.
"""

from __future__ import annotations

import os
import posixpath
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from dvlite.errors import FormatError, UsageError
from dvlite.formats import manifest
from dvlite.formats.manifest import EXECUTABLE, Entries, Entry, KeepNode, ReadNode
from dvlite.formats.map_stage import MapInput, MapOut, pieces, spec_of
from dvlite.formats.record import Input, Run
from dvlite.formats.task import TaskFile, TaskUnit
from dvlite.oid import DIGEST_BYTES, FILE, MANIFEST, Digest, format_oid, parse_oid
from dvlite.paths import check_paths
from dvlite.pipeline.globs import expression
from dvlite.pipeline.map_inputs import OverContent, gathered, matcher, path_texts, selected, within
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.task_folder import LISTS
from dvlite.show import quote

_LOOK_CLOSER = re.compile(r"(?:^|/)\.|//|~|[^ -~]")  # of paths that must not be written; all others are harmless
_Row = tuple[
    str, bool, Digest, int, int, bool
]  # path below the fixed folder, is a folder, digest, bytes, files, executable


@dataclass(frozen=True, slots=True)
class MapShape:
    """How files become datums, and what these make; all paths are relative to the repository."""

    over: tuple[MapInput, ...]
    by: tuple[str, ...]
    outs: tuple[MapOut, ...]
    wdir: str = ""

    @property
    def folders(self) -> tuple[str, ...]:
        """The outputs of the stage."""
        return tuple(dict.fromkeys(out.folder for out in self.outs))


def shape_of(stage: Stage) -> MapShape:
    """Returns the shape of a map stage."""
    assert stage.spec.map is not None
    return MapShape(tuple(item.spec for item in stage.over), stage.spec.map.by, stage.templates, stage.wdir)


def shape_of_run(run: Run) -> MapShape:
    """Returns the shape that a map stage had in a run, from its record alone."""
    spec = spec_of(run.facts.map, run.facts.cmd)
    wdir = posixpath.normpath(posixpath.join(posixpath.dirname(run.file), run.facts.wdir))
    over = tuple(replace(item, pattern=posixpath.normpath(posixpath.join(wdir, item.pattern))) for item in spec.over)
    outs = tuple(out.placed(wdir) for out in spec.outs)
    return MapShape(over, spec.by, outs, "" if wdir == "." else wdir)


@dataclass(frozen=True, slots=True)
class OverListing:
    """The listing of a directory in which a pattern is looked up: below `prefix`, which has a `/` at its end."""

    root: Digest
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class OverListings:
    """Where the files of each pattern are, in its order; `nodes` of listings that no store has."""

    each: tuple[OverListing, ...]
    nodes: Mapping[Digest, bytes] = field(default_factory=dict)

    def reading(self, read: ReadNode) -> ReadNode:
        """Returns what reads their nodes, others with `read`."""
        nodes = self.nodes
        return read if not nodes else lambda digest: nodes[digest] if digest in nodes else read(digest)


def listings_now(shape: MapShape, content: OverContent) -> OverListings:
    """Returns where the files are that a map stage goes over now."""
    found, nodes = list[OverListing](), dict[Digest, bytes]()
    for over in shape.over:
        place = within(content, over)
        if place is not None:
            found.append(OverListing(parse_oid(place.version.oid)[1], place.prefix))
            continue
        tree = manifest.build(gathered(content, over))
        nodes |= dict(tree.nodes)
        found.append(OverListing(tree.root))
    return OverListings(tuple(found), nodes)


def listings_of_run(shape: MapShape, inputs: Iterable[Input]) -> OverListings | None:
    """Returns where the files were that a run went over, from its record; None if that does not say it."""
    rows = {item.path: item for item in inputs}
    found = []
    for over in shape.over:
        row = rows.get(over.glob)
        if row is None or not row.oid.startswith(MANIFEST):
            return None
        fixed = over.fixed
        if row.inside is None or row.inside_oid is None:
            found.append(OverListing(parse_oid(row.oid)[1]))
        elif row.inside_oid.startswith(MANIFEST) and f"{fixed}/".startswith(f"{row.inside}/"):
            prefix = f"{fixed[len(row.inside) + 1 :]}/" if fixed != row.inside else ""
            found.append(OverListing(parse_oid(row.inside_oid)[1], prefix))
        else:
            return None
    return OverListings(tuple(found))


class Datums:
    """The datums of listings. `keep` gets the nodes of the listings of folders that are inputs, when these are asked for."""

    def __init__(
        self, shape: MapShape, listings: OverListings, read: ReadNode, keep: KeepNode = lambda *_: None
    ) -> None:
        self.shape, self.listings = shape, listings.each
        self._fixed = [f"{over.fixed}/" if over.fixed else "" for over in shape.over]
        self._captures = bool(shape.over[0].captures)
        self._templates = [[(part, is_value) for part, is_value, _ in pieces(out.template)] for out in shape.outs]
        used = {part for template in self._templates for part, is_value in template if is_value}
        self._out_captures = bool(used - {"name", "path", "stem"})
        self._read, self._keep = listings.reading(read), keep

    @property
    def is_grouped(self) -> bool:
        return bool(self.shape.by)

    # -- keys

    def all_keys(self) -> Iterator[str]:
        """Yields the keys of all datums, in the order in which they are listed; of groups only those that all inputs have."""
        if self.is_grouped:
            yield from sorted(set.intersection(*self.keys_by_input()))
            return
        over = self.shape.over[0]
        if not over.folders:
            for leaf in self._leaves(0, None):
                yield from path_texts(leaf.paths)
            return
        matches = matcher(over)
        units = (
            match["unit"]
            for leaf in self._leaves(0, None)
            for text in path_texts(leaf.paths)
            if (match := matches(text))
        )
        yield from (unit for unit, _ in groupby(units))

    def keys_by_input(self) -> list[set[str]]:
        """Returns for each input the groups that have a file of it."""
        found: list[set[str]] = []
        for number, over in enumerate(self.shape.over):
            key_of = self._key_of(over)
            found.append({key_of(text) for leaf in self._leaves(number, None) for text in path_texts(leaf.paths)})
        return found

    def key_of(self, number: int, path: str) -> str | None:
        """Returns the datum that a file of an input belongs to, by its path below the fixed folder; None if the pattern does not match it."""
        over = self.shape.over[number]
        return None if matcher(over)(path) is None else self._key_of(over)(path)

    def _key_of(self, over: MapInput) -> Callable[[str], str]:
        matches, by = matcher(over), self.shape.by
        if by:
            return lambda path: "/".join(_groups(matches(path), by))
        return (lambda path: _groups(matches(path), ("unit",))[0]) if over.folders else (lambda path: path)

    # -- what a datum makes

    def outs(self, key: str) -> tuple[str, ...]:
        """Returns the paths that a datum makes, relative to the repository. Raises UsageError for one that must not be written."""
        return self._outs(key, self._texts_of(key, captures=self._out_captures))

    def _outs(self, key: str, values: Mapping[str, str]) -> tuple[str, ...]:
        paths = tuple(
            ["".join([values[part] if is_value else part for part, is_value in one]) for one in self._templates]
        )
        for path in paths:
            if _LOOK_CLOSER.search(path):
                try:
                    check_paths([os.fsencode(path)])
                except FormatError as error:
                    raise UsageError(
                        f"the datum {quote(key)} cannot make {quote(path)}: {error.message}",
                        hint="name the output in another way",
                    ) from None
        return paths

    def _texts_of(self, key: str, *, captures: bool) -> dict[str, str]:
        """Returns the values that are single texts."""
        by = self.shape.by
        if by:
            return {"name": key, **dict(zip(by, key.split("/"), strict=True))}
        values = {"name": key, "path": key, "stem": posixpath.splitext(key)[0]}
        if captures and self._captures:
            match = _unit_matcher(self.shape.over[0])(key)
            assert match is not None  # the key was made by this pattern
            values |= match.groupdict()
        return values

    # -- units

    def units(self, keys: Collection[str] | None = None) -> Iterator[TaskUnit]:
        """Yields the datums, all or those with these keys, lazily; of groups only those of which all inputs have a file."""
        wanted = None if keys is None else frozenset(keys)
        if wanted is not None and not wanted:
            return
        if self.is_grouped:
            yield from self._grouped(wanted)
            return
        for row in self._rows(0, wanted):
            yield self._unit(row[0], ((self._file(0, row),),))

    def _unit(self, key: str, files: tuple[tuple[TaskFile, ...], ...]) -> TaskUnit:
        texts, several = self._texts_of(key, captures=True), list[str]()
        outs = self._outs(key, texts)
        values: dict[str, tuple[str, ...]] = {name: (text,) for name, text in texts.items()}
        named = [("in", tuple([file for part in files for file in part]))]
        named += [(f"in.{over.name}", part) for over, part in zip(self.shape.over, files, strict=True) if over.name]
        for name, part in named:
            values[name] = tuple([self._local(file.path) for file in part])
            if self.is_grouped:
                several.append(name)
        values["out"] = tuple(map(self._local, outs))
        if len(outs) > 1:
            several.append("out")
        if several:
            values[LISTS] = tuple(several)
        return TaskUnit(name=key, inputs=named[0][1], values=values, outs=outs)

    def _local(self, path: str) -> str:
        """Returns a path as the command has it; never one that a program could take for an option."""
        path = posixpath.relpath(path, self.shape.wdir) if self.shape.wdir else path
        return f"./{path}" if path[0] == "-" else path

    def _file(self, number: int, row: _Row) -> TaskFile:
        path, is_folder, digest, size_bytes, files, executable = row
        oid = format_oid(MANIFEST if is_folder else FILE, digest)
        return TaskFile(
            path=self._fixed[number] + path,
            oid=oid,
            size_bytes=size_bytes,
            files=files,
            executable=executable,
        )

    def _grouped(self, wanted: frozenset[str] | None) -> Iterator[TaskUnit]:
        inputs = [
            _Grouped(self._rows(number, None), self._group_of(number), wanted) for number in range(len(self.listings))
        ]
        columns = [iter(grouped) for grouped in inputs]
        heads = [next(column, None) for column in columns]
        while all(head is not None for head in heads):
            keys = [head[0] for head in heads if head is not None]
            last = max(keys)
            if min(keys) == last:
                parts = [
                    tuple(self._file(n, row) for row in head[1]) for n, head in enumerate(heads) if head is not None
                ]
                yield self._unit(last, tuple(parts))
                heads = [next(column, None) for column in columns]
            else:
                heads = [
                    next(column, None) if key < last else head
                    for key, head, column in zip(keys, heads, columns, strict=True)
                ]

    def _group_of(self, number: int) -> Callable[[str], str]:
        matches, by = _unit_matcher(self.shape.over[number]), self.shape.by
        return lambda path: "/".join(_groups(matches(path), by))

    # -- rows

    def _rows(self, number: int, wanted: frozenset[str] | None) -> Iterator[_Row]:
        """Yields the files or folders of an input, in order."""
        leaves = self._leaves(number, wanted)
        if self.shape.over[number].folders:
            yield from self._folder_rows(number, leaves, wanted)
            return
        for leaf in leaves:
            for i, text in enumerate(path_texts(leaf.paths)):
                if wanted is None or text in wanted:
                    yield text, False, leaf.digest(i), leaf.sizes[i], 1, bool(leaf.flags[i] & EXECUTABLE)

    def _folder_rows(self, number: int, leaves: Iterable[Entries], wanted: frozenset[str] | None) -> Iterator[_Row]:
        matches = matcher(self.shape.over[number])

        def entries() -> Iterator[tuple[str, Entry]]:
            for leaf in leaves:
                for i, text in enumerate(path_texts(leaf.paths)):
                    yield _groups(matches(text), ("unit",))[0], leaf[i]

        for unit, inside in groupby(entries(), key=itemgetter(0)):
            if wanted is not None and unit not in wanted:
                continue
            cut = len(os.fsencode(unit)) + 1
            part = manifest.from_entries(replace(entry, path=entry.path[cut:]) for _, entry in inside)
            tree = manifest.build(part, keep=self._keep)
            yield unit, True, tree.root, tree.size_bytes, tree.files, False

    def _leaves(self, number: int, wanted: frozenset[str] | None) -> Iterator[Entries]:
        """Yields what an input's pattern matches, relative to its fixed folder; with `wanted`, more than these keys, but not all."""
        source, over = self.listings[number], self.shape.over[number]
        may_hold = _reach(source.prefix, wanted, is_folder=over.folders)
        for leaf in manifest.leaves(source.root, self._read, may_hold=may_hold):
            found = selected(leaf, source.prefix, over)
            if len(found):
                yield found


class _Grouped:
    """Files of one input by group, in order of the groups; in columns, for there may be a million."""

    def __init__(self, rows: Iterable[_Row], key_of: Callable[[str], str], wanted: frozenset[str] | None) -> None:
        self._keys: list[str] = []
        self._paths: list[str] = []
        self._digests, self._flags = bytearray(), bytearray()
        self._sizes, self._files = array("Q"), array("Q")
        shared: dict[str, str] = {}
        for path, is_folder, digest, size_bytes, files, executable in rows:
            key = key_of(path)
            if wanted is not None and key not in wanted:
                continue
            self._keys.append(shared.setdefault(key, key))
            self._paths.append(path)
            self._digests += digest
            self._flags.append(is_folder | executable << 1)
            self._sizes.append(size_bytes)
            self._files.append(files)

    def __iter__(self) -> Iterator[tuple[str, list[_Row]]]:
        keys = self._keys
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for key, places in groupby(order, key=keys.__getitem__):
            yield key, [self._row(i) for i in places]

    def _row(self, i: int) -> _Row:
        digest = Digest(bytes(self._digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]))
        flags = self._flags[i]
        return self._paths[i], bool(flags & 1), digest, self._sizes[i], self._files[i], bool(flags & 2)


def _groups(match: re.Match[str] | None, names: Sequence[str]) -> list[str]:
    assert match is not None  # the path was selected by this pattern
    return [match[name] for name in names]


@lru_cache(1000)
def _unit_matcher(over: MapInput) -> Callable[[str], re.Match[str] | None]:
    """Returns what matches the path of a unit, a file or a folder, below the fixed folder."""
    return re.compile(
        expression(over.pattern[len(over.fixed) :].lstrip("/"), captures=True).pattern, re.DOTALL
    ).fullmatch


def _reach(prefix: str, wanted: Collection[str] | None, *, is_folder: bool) -> manifest.MayHold | None:
    """Returns a test whether a node may hold something of what is wanted."""
    start = os.fsencode(prefix)
    if wanted is None:
        return None if not prefix else lambda after, end: start <= end and (after <= start or after.startswith(start))
    ends = b"/" if is_folder else b""
    begins = sorted(start + os.fsencode(key) + ends for key in wanted)

    def may_hold(after: bytes, end: bytes) -> bool:
        at = bisect_right(begins, end) - 1
        return at >= 0 and (begins[at] > after or (is_folder and begins[at][:-1] + b"0" > after))

    return may_hold


def is_collision_free(shape: MapShape) -> bool:
    """Returns whether no two datums can make one path, whatever they are called: their only output has the whole name, and nothing after it."""
    if len(shape.outs) != 1:
        return False
    parts = pieces(shape.outs[0].template)
    values = [part for part, is_value, _ in parts if is_value]
    return len(values) == 1 and values[0] in ("name", "path") and parts[-1][1]
