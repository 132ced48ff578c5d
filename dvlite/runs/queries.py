"""Queries for walks over runs, many ids at a time, answered by the index without reading a record; caches rows for one command.

Also the types that walks pass around: content as `Artefact`, a run as `RunIO`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from dvlite.formats.record import Input
from dvlite.oid import MANIFEST, RUN, Oid, format_oid
from dvlite.paths import ancestors
from dvlite.runs.index import RunIndex
from dvlite.runs.schema import HOLDER, INPUT, OUTPUT, WITH_OUTPUTS, loaded_text, object_id

TELLING_BYTES = 64

Row = tuple[Any, ...]
Name = TypeVar("Name", bound=str)


class Artefact(NamedTuple):  # a walk creates hundreds of thousands of them
    """Content and its path in some run or pointer; without a path, the bytes wherever they are.

    `inside` is the directory (path and version) that held it for the run that read it, as that run recorded it.
    """

    oid: Oid
    path: str = ""
    size_bytes: int = 0
    files: int = 1
    inside: tuple[str, Oid] | None = None

    @property
    def key(self) -> str:
        """Its identity in a walk: the oid; for content too small to identify a file, with the path."""
        return self.oid if self.size_bytes >= TELLING_BYTES or not self.path else f"{self.oid} {self.path}"


def artefact_of(item: Input) -> Artefact:
    """Returns an input of a record as walks use it."""
    inside = None if item.inside is None or item.inside_oid is None else (item.inside, item.inside_oid)
    return Artefact(item.oid, item.path, item.size_bytes, item.files, inside)


class RunIO(NamedTuple):
    """What a walk needs of a run: its stage, inputs (empty if not asked for) and outputs."""

    stage: str
    file: str
    status: str
    start: str
    inputs: tuple[Artefact, ...]
    outputs: tuple[Artefact, ...]


RunsByContent = Mapping[Oid, Sequence[tuple[Oid, str]]]  # content -> runs, each with the content's path there


class RunQueries:
    """Answers from one index. Not for several threads."""

    def __init__(self, index: RunIndex) -> None:
        self._index = index
        self._objects = _Names(index, "id, digest, directory FROM obj", object_id)
        self._runs = _Names(index, "id, digest FROM record", lambda digest: format_oid(RUN, digest))
        self._paths = _Names(index, "id, path FROM path", loaded_text)
        self._below: dict[tuple[str, int], list[Artefact]] = {}

    # --- runs ---

    def makers(self, oids: Sequence[Oid]) -> RunsByContent:
        """Returns the runs (ok, cached, tainted) that wrote each of these contents, oldest first; content without one is left out."""
        sql = "SELECT io.obj, io.run, io.path FROM io JOIN run ON run.id = io.run WHERE io.output = {} AND status IN {} AND io.obj IN"
        return self._runs_by_content(sql.format(OUTPUT, WITH_OUTPUTS), oids)

    def users(self, oids: Sequence[Oid]) -> RunsByContent:
        """Returns the runs that read each of these contents, oldest first; content without one is left out."""
        return self._runs_by_content(f"SELECT obj, run, path FROM io WHERE output = {INPUT} AND obj IN", oids)  # noqa: S608  # numbers of ours

    def inputs(self, oids: Sequence[Oid]) -> dict[Oid, list[Artefact]]:
        """Returns the inputs of runs; unknown runs are left out."""
        numbers = self._runs.numbers(oids)
        names, contents = self._runs.of(numbers), self._contents(f"output IN ({INPUT}, {HOLDER}) AND", numbers)
        return {names[number]: contents[number][INPUT] for number in numbers}

    def runs(self, oids: Sequence[Oid], *, inputs: bool) -> Mapping[Oid, RunIO]:
        """Returns runs with outputs and, if asked, inputs; unknown ones are left out."""
        numbers = self._runs.numbers(oids)
        names, contents = self._runs.of(numbers), self._contents("" if inputs else f"output = {OUTPUT} AND", numbers)
        runs = {}
        sql = "SELECT id, stage, file, status, start FROM run WHERE id IN"
        for number, stage, file, status, start in self._index.select_in(sql, numbers):
            before, after = map(tuple, contents[number])
            runs[names[number]] = RunIO(loaded_text(stage), loaded_text(file), status, start, before, after)
        return runs

    # --- directories ---

    def parts(self, directory: Artefact) -> list[Artefact]:
        """Returns the inputs that runs recorded as lying inside this directory version."""
        sql = f"SELECT DISTINCT run FROM io WHERE output = {HOLDER} AND obj IN"  # noqa: S608
        users = [run for (run,) in self._index.select_in(sql, self._objects.numbers([directory.oid]))]
        start = directory.path + "/"
        return [item for item in self._distinct(f"output = {INPUT} AND run", users) if item.path.startswith(start)]

    def selections(self) -> list[Artefact]:
        """Returns what map stages went over: inputs with the path of a pattern, each once."""
        sql = "SELECT id FROM path WHERE instr(path, '*') OR instr(path, '?') OR instr(path, '[')"
        paths = [number for (number,) in self._index.select(sql)]
        return [item for item in self._distinct(f"output = {INPUT} AND path", paths) if item.oid.startswith(MANIFEST)]

    def with_parts(self, item: Artefact) -> list[Artefact]:
        """Returns content as runs may have read it: itself, and of a directory version what runs read inside it."""
        return [item, *self.parts(item)] if item.oid.startswith(MANIFEST) and item.path else [item]

    def below(self, folder: str, *, outputs: bool) -> list[Artefact]:
        """Returns every input of runs, or with `outputs` every output, at paths below a folder."""
        key = (folder, OUTPUT if outputs else INPUT)
        if key not in self._below:
            paths = [number for number, _ in self._index.select(*_paths_below(folder))]
            self._below[key] = self._distinct(f"output = {key[1]} AND path", paths)
        return self._below[key]

    def directories(self) -> list[Artefact]:
        """Returns the directories that runs wrote or that held one of their inputs, once for each path."""
        sql = (
            "SELECT path, obj, max(size), max(files) FROM io WHERE output IN (?, ?) AND"
            " obj IN (SELECT id FROM obj WHERE directory) GROUP BY obj, path"
        )
        return self._artefacts(self._index.select(sql, OUTPUT, HOLDER))

    def amount(self, oid: Oid) -> tuple[int, int] | None:
        """Returns bytes and files of content, as recorded by a run that wrote or read it."""
        sql = f"SELECT size, files FROM io WHERE output IN ({INPUT}, {OUTPUT}) AND obj = ? LIMIT 1"  # noqa: S608
        rows = [row for number in self._objects.numbers([oid]) for row in self._index.select(sql, number)]
        return (int(rows[0][0]), int(rows[0][1])) if rows else None

    # --- notes ---

    def source(self, content: Oid) -> str | None:
        """Returns the first commit that named this content, as noted by a push; of several notes, the oldest."""
        sql = "SELECT value FROM note WHERE op = 'source' AND content = ? ORDER BY written, time, id LIMIT 1"
        return next((loaded_text(commit) for (commit,) in self._index.select(sql, content)), None)

    def noted_commits(self, commits: Iterable[str]) -> dict[str, tuple[str, str, str]]:
        """Returns subject, author and time of commits, as noted by a push; commits without a note are left out."""
        texts = {}
        sql = "SELECT subject, author, written FROM note WHERE op IN ('commit', 'source') AND value = ? AND subject != '' LIMIT 1"
        for commit in dict.fromkeys(commits):
            for subject, author, written in self._index.select(sql, commit):
                texts[commit] = (loaded_text(subject), loaded_text(author), written.replace(".000", ""))
        return texts

    # --- rows ---

    def _runs_by_content(self, sql: str, oids: Sequence[Oid]) -> RunsByContent:
        rows = self._index.select_in(sql, self._objects.numbers(oids))
        rows.sort(key=lambda row: row[1])
        objects, runs = self._objects.of(row[0] for row in rows), self._runs.of(row[1] for row in rows)
        paths = self._paths.of(row[2] for row in rows)
        by_content: dict[Oid, list[tuple[Oid, str]]] = {}
        for content, run, path in rows:
            by_content.setdefault(objects[content], []).append((runs[run], paths[path]))
        return by_content

    def _contents(self, condition: str, runs: Sequence[int]) -> dict[int, tuple[list[Artefact], list[Artefact]]]:
        """Returns inputs and outputs by run number, each input with the directory that held it."""
        contents: dict[int, tuple[list[Artefact], list[Artefact]]] = {number: ([], []) for number in runs}
        sql = f"SELECT run, output, path, obj, size, files FROM io WHERE {condition} run IN"  # noqa: S608
        rows = self._index.select_in(sql, runs)
        objects, paths = self._objects.of(row[3] for row in rows), self._paths.of(row[2] for row in rows)
        holders: dict[int, dict[str, Oid]] = {}
        for run, output, path, content, size_bytes, files in rows:
            if output == HOLDER:
                holders.setdefault(run, {})[paths[path]] = objects[content]
            else:
                contents[run][output].append(Artefact(objects[content], paths[path], size_bytes, files))
        for run, held_by in holders.items():
            contents[run][INPUT][:] = [_with_holder(item, held_by) for item in contents[run][INPUT]]
        return contents

    def _distinct(self, condition: str, numbers: Sequence[int]) -> list[Artefact]:
        sql = f"SELECT DISTINCT path, obj, size, files FROM io WHERE {condition} IN"  # noqa: S608
        return self._artefacts(self._index.select_in(sql, numbers))

    def _artefacts(self, rows: Sequence[Row]) -> list[Artefact]:
        objects, paths = self._objects.of(row[1] for row in rows), self._paths.of(row[0] for row in rows)
        return [Artefact(objects[content], paths[path], size, files) for path, content, size, files in rows]


@dataclass(slots=True)
class _Names(Generic[Name]):
    """What the numbers of rows in one table stand for; each row is read once."""

    index: RunIndex
    columns: str  # the number and what the name is made of, FROM the table
    load: Callable[..., Name]
    _by_number: dict[int, Name] = field(default_factory=dict)
    _numbers: dict[Name, int] = field(default_factory=dict)

    def of(self, numbers: Iterable[int]) -> Mapping[int, Name]:
        """Returns the names of these numbers, and of others."""
        new = sorted({*numbers}.difference(self._by_number))
        self._add(self.index.select_in(f"SELECT {self.columns} WHERE id IN", new))
        return self._by_number

    def numbers(self: _Names[Oid], oids: Sequence[Oid]) -> list[int]:
        """Returns the numbers of ids, unknown ones left out."""
        new = [oid for oid in oids if oid not in self._numbers]
        self._add(self.index.select_digests(f"SELECT {self.columns} WHERE digest IN ({{}})", new))
        return [self._numbers[oid] for oid in oids if oid in self._numbers]

    def _add(self, rows: Iterable[Row]) -> None:
        for number, *values in rows:
            self._by_number[number] = name = self.load(*values)
            self._numbers[name] = number


def _with_holder(item: Artefact, holders: Mapping[str, Oid]) -> Artefact:
    holder = next((folder for folder in ancestors(item.path) if folder in holders), None)
    return item if holder is None else item._replace(inside=(holder, holders[holder]))


def _paths_below(folder: str) -> tuple[str, str, str, bytes, bytes]:
    """Returns the query for the paths below a folder, and its arguments; paths that are not UTF-8 are stored as bytes (see `schema`)."""
    start, end = os.fsencode(f"{folder}/"), os.fsencode(f"{folder}0")  # 0 follows the slash in ASCII
    sql = "SELECT id, path FROM path WHERE path >= ? AND path < ? OR path >= ? AND path < ?"
    return sql, start.decode(errors="replace"), end.decode(errors="replace"), start, end
