"""Answers the walks from the index, many things at a time; no record is read. Remembers what it saw, for one question.

Rows are asked for by their numbers, which are whole numbers of the index itself and stand in the SQL as such.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dvlite.oid import FILE, MANIFEST, RUN, Oid, format_oid
from dvlite.runs.index import RunIndex
from dvlite.runs.schema import HOLDER, INPUT, OUTPUT, digest_of, loaded_text

_AT_ONCE = 5000  # numbers in one query
_DIGESTS_AT_ONCE = 500  # arguments of one query
_LEFT_SOMETHING = "('ok', 'cached', 'tainted')"

Row = tuple[Any, ...]


TELLING_BYTES = 64


class Node(NamedTuple):  # a walk makes hundreds of thousands of them
    """Content, and what somebody called it; without a path, it is the bytes wherever they are.

    `inside` is the directory (path and version) that held it for the run that began with it, as that run recorded it.
    """

    oid: Oid
    path: str = ""
    size_bytes: int = 0
    files: int = 1
    inside: tuple[str, Oid] | None = None

    @property
    def key(self) -> str:
        """What it is known by in a walk: its oid, and where that is not telling, its path too."""
        return self.oid if self.size_bytes >= TELLING_BYTES or not self.path else f"{self.oid} {self.path}"


class Ran(NamedTuple):
    """What a walk needs of a run: its stage, what it began with (left out where it is not needed) and what it left."""

    stage: str
    file: str
    status: str
    start: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]


Ends = Mapping[Oid, Sequence[tuple[Oid, str]]]  # content -> runs, each with the path of the content there


class Lookups:
    """What walks ask of the index (`graph.Lookup`), and what is asked of it beside them."""

    def __init__(self, index: RunIndex) -> None:
        self._select = index.select
        self._objects: dict[int, Oid] = {}
        self._object_numbers: dict[Oid, int] = {}
        self._runs: dict[int, Oid] = {}
        self._run_numbers: dict[Oid, int] = {}
        self._paths: dict[int, str] = {}
        self._below: dict[tuple[str, bool], list[Node]] = {}

    # --- graph.Lookup ---

    def makers(self, oids: Sequence[Oid]) -> Ends:
        """Returns, for each of these that runs left, those runs (ok, cached, tainted), and what they called it."""
        sql = "SELECT io.obj, io.run, io.path FROM io JOIN run ON run.id = io.run WHERE io.output = {} AND status IN {} AND io.obj IN"
        return self._ends(sql.format(OUTPUT, _LEFT_SOMETHING), oids)

    def users(self, oids: Sequence[Oid]) -> Ends:
        """Returns, for each of these that runs began with, those runs, and what they called it."""
        return self._ends(f"SELECT obj, run, path FROM io WHERE output = {INPUT} AND obj IN", oids)  # noqa: S608  # numbers of ours

    def runs(self, oids: Sequence[Oid], *, inputs: bool) -> Mapping[Oid, Ran]:
        """Returns what walks need of runs; of those that are known. Without `inputs`, only what they left."""
        wanted = self._numbers_of_runs(oids)
        ends: dict[int, tuple[list[Node], list[Node]]] = {number: ([], []) for number in wanted}
        which = "" if inputs else f"output = {OUTPUT} AND "
        rows = self._by_number(f"SELECT run, output, path, obj, size, files FROM io WHERE {which}run IN", wanted)  # noqa: S608
        objects, paths = self._objects_named({row[3] for row in rows}), self._paths_named({row[2] for row in rows})
        for run, output, path, content, size_bytes, files in rows:
            if output != HOLDER:
                ends[run][output].append(Node(objects[content], paths[path], size_bytes, files))
        for run, output, path, content, _, _ in rows:
            if output == HOLDER:
                ends[run] = (_within(ends[run][INPUT], paths[path], objects[content]), ends[run][OUTPUT])
        sql = "SELECT id, stage, file, status, start FROM run WHERE id IN"
        found = {}
        for number, stage, file, status, start in self._by_number(sql, wanted):
            before, after = ends[number]
            ran = Ran(loaded_text(stage), loaded_text(file), status, start, tuple(before), tuple(after))
            found[self._runs[number]] = ran
        return found

    # --- directories ---

    def parts(self, directory: Node) -> list[Node]:
        """Returns what runs began with that lay inside this directory version, as they recorded it."""
        number = self._numbers_of_objects([directory.oid])
        sql = f"SELECT DISTINCT run FROM io WHERE output = {HOLDER} AND obj IN"  # noqa: S608
        users = [run for (run,) in self._by_number(sql, number)]
        sql = f"SELECT DISTINCT path, obj, size, files FROM io WHERE output = {INPUT} AND run IN"  # noqa: S608
        start = directory.path + "/"
        return [thing for thing in self._things(self._by_number(sql, users)) if thing.path.startswith(start)]

    def below(self, folder: str, *, made: bool) -> list[Node]:
        """Returns everything that runs began with, or with `made` left, at paths below a folder."""
        key = (folder, made)
        if key not in self._below:
            paths = [number for number, _ in self._select(*_paths_below(folder))]
            output = OUTPUT if made else INPUT
            sql = f"SELECT DISTINCT path, obj, size, files FROM io WHERE output = {output} AND path IN"  # noqa: S608
            self._below[key] = self._things(self._by_number(sql, paths))
        return self._below[key]

    def directories(self) -> list[Node]:
        """Returns the directories that runs left, or that held something that they began with; each once for a path."""
        sql = (
            "SELECT path, obj, max(size), max(files) FROM io WHERE output IN (?, ?) AND"
            " obj IN (SELECT id FROM obj WHERE directory) GROUP BY obj, path"
        )
        return self._things(self._select(sql, OUTPUT, HOLDER))

    def amount(self, oid: Oid) -> tuple[int, int] | None:
        """Returns bytes and files of content, as a run recorded them that left it or began with it."""
        sql = "SELECT size, files FROM io WHERE output IN (0, 1) AND obj IN"
        rows = self._by_number(sql, self._numbers_of_objects([oid]), " LIMIT 1")
        return None if not rows else (int(rows[0][0]), int(rows[0][1]))

    # --- what notes say ---

    def commits(self, runs: Sequence[Oid]) -> dict[Oid, str]:
        """Returns the commit that the oldest note of each run names, of those that have one."""
        found: dict[Oid, str] = {}
        sql = "SELECT run, value FROM note WHERE op = 'commit' AND run IN ({}) ORDER BY time, id"
        for run, commit in self._by_digest(sql, runs):
            found.setdefault(format_oid(RUN, run), loaded_text(commit))
        return found

    def source(self, content: Oid) -> str | None:
        """Returns the commit that was the first to name this content; of several that were noted, the oldest."""
        sql = "SELECT value FROM note WHERE op = 'source' AND content = ? ORDER BY written, time, id LIMIT 1"
        return next((loaded_text(commit) for (commit,) in self._select(sql, content)), None)

    def described(self, commits: Iterable[str]) -> dict[str, tuple[str, str, str]]:
        """Returns subject, author and time of commits, as notes have them; of those that notes have them of."""
        found = {}
        sql = "SELECT subject, author, written FROM note WHERE op IN ('commit', 'source') AND value = ? AND subject != '' LIMIT 1"
        for commit in dict.fromkeys(commits):
            for subject, author, written in self._select(sql, commit):
                found[commit] = (loaded_text(subject), loaded_text(author), written.replace(".000", ""))
        return found

    # --- rows ---

    def _ends(self, sql: str, oids: Sequence[Oid]) -> Ends:
        rows = self._by_number(sql, self._numbers_of_objects(oids))
        runs, paths = self._runs_named({row[1] for row in rows}), self._paths_named({row[2] for row in rows})
        found: dict[int, list[tuple[Oid, str]]] = {}
        for content, run, path in rows:
            found.setdefault(content, []).append((runs[run], paths[path]))
        return {self._objects[content]: ends for content, ends in found.items()}

    def _things(self, rows: Sequence[Row]) -> list[Node]:
        objects, paths = self._objects_named({row[1] for row in rows}), self._paths_named({row[0] for row in rows})
        return [Node(objects[content], paths[path], size, files) for path, content, size, files in rows]

    def _numbers_of_objects(self, oids: Iterable[Oid]) -> list[int]:
        new = [oid for oid in oids if oid not in self._object_numbers]
        sql = "SELECT id, digest, directory FROM obj WHERE digest IN ({})"
        for number, digest, directory in self._by_digest(sql, new):
            self._note_object(number, digest, directory)
        return [number for oid in oids if (number := self._object_numbers.get(oid)) is not None]

    def _numbers_of_runs(self, oids: Sequence[Oid]) -> list[int]:
        new = [oid for oid in oids if oid not in self._run_numbers]
        for number, digest in self._by_digest("SELECT id, digest FROM record WHERE digest IN ({})", new):
            self._runs[number] = oid = format_oid(RUN, digest)
            self._run_numbers[oid] = number
        return [number for oid in oids if (number := self._run_numbers.get(oid)) is not None]

    def _objects_named(self, numbers: set[int]) -> Mapping[int, Oid]:
        new = numbers.difference(self._objects)
        for row in self._by_number("SELECT id, digest, directory FROM obj WHERE id IN", sorted(new)):
            self._note_object(*row)
        return self._objects

    def _note_object(self, number: int, digest: bytes, directory: int) -> None:
        self._objects[number] = oid = format_oid(MANIFEST if directory else FILE, digest)
        self._object_numbers[oid] = number

    def _runs_named(self, numbers: set[int]) -> Mapping[int, Oid]:
        new = numbers.difference(self._runs)
        for number, digest in self._by_number("SELECT id, digest FROM record WHERE id IN", sorted(new)):
            self._runs[number] = oid = format_oid(RUN, digest)
            self._run_numbers[oid] = number
        return self._runs

    def _paths_named(self, numbers: set[int]) -> Mapping[int, str]:
        new = numbers.difference(self._paths)
        for number, path in self._by_number("SELECT id, path FROM path WHERE id IN", sorted(new)):
            self._paths[number] = loaded_text(path)
        return self._paths

    def _by_number(self, sql: str, numbers: Sequence[int], end: str = "") -> list[Row]:
        rows: list[Row] = []
        for at in range(0, len(numbers), _AT_ONCE):
            rows += self._select(f"{sql} ({','.join(map(str, numbers[at : at + _AT_ONCE]))}){end}")
        return rows

    def _by_digest(self, sql: str, oids: Sequence[Oid]) -> Iterator[Row]:
        for at in range(0, len(oids), _DIGESTS_AT_ONCE):
            digests = [digest_of(oid) for oid in oids[at : at + _DIGESTS_AT_ONCE]]
            yield from self._select(sql.format(",".join("?" * len(digests))), *digests)


def _within(inputs: Sequence[Node], path: str, directory: Oid) -> list[Node]:
    """Returns the inputs, those in this directory with the word that they were."""
    start = path + "/"
    return [thing._replace(inside=(path, directory)) if thing.path.startswith(start) else thing for thing in inputs]


def _paths_below(folder: str) -> tuple[str, str, str, bytes, bytes]:
    """Returns the query for the paths below a folder, and its arguments; paths that are not UTF-8 are kept as bytes (see `rows`)."""
    start, end = os.fsencode(f"{folder}/"), os.fsencode(f"{folder}0")  # 0 is what follows the slash
    sql = "SELECT id, path FROM path WHERE path >= ? AND path < ? OR path >= ? AND path < ?"
    return sql, start.decode(errors="replace"), end.decode(errors="replace"), start, end
