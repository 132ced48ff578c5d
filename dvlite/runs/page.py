"""What the page of runs shows, read from the index: runs with all their values by column, content, notes, and who ran before whom.

Everything is read by columns, many runs at a time: ten thousand runs take a second. Knows no page and reads no content.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dvlite.oid import Oid
from dvlite.runs import schema
from dvlite.runs.filters import Filters, SortOrder
from dvlite.runs.index import RunIndex
from dvlite.runs.names import names_of
from dvlite.runs.schema import HOLDER, CheckRow, NoteRow, RunRow, loaded_text, object_id
from dvlite.runs.upstream import makers_of

_SPACES = (schema.PARAM, schema.METRIC, schema.ENV)
Stored = float | str  # a value as the index has it: a number, or JSON


@dataclass(frozen=True, slots=True)
class PageColumn:
    """The values of one parameter, metric or fact of the environment, by the position of the run."""

    space: str
    key: str
    values: Mapping[int, Stored]


@dataclass(frozen=True, slots=True)
class PageContent:
    """A file or directory that a run read (`output` 0) or wrote (1)."""

    run: int
    output: int
    path: str
    oid: Oid
    size_bytes: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsOfPage:
    """Runs, and what is known of them by their position: the first `listed` were asked for, the rest ran before one of these."""

    runs: Sequence[RunRow]
    names: Sequence[str]
    listed: int
    columns: Sequence[PageColumn]
    contents: Sequence[PageContent]
    checks: Mapping[Oid, Sequence[CheckRow]]  # of these contents: the newest result of each check
    makers: Mapping[int, Sequence[int]]
    tags: Mapping[int, Sequence[str]]
    notes: Mapping[int, Sequence[NoteRow]]
    commits: Mapping[int, str]  # whose lockfile names the run, as noted


def read(index: RunIndex, filters: Filters, order: SortOrder | None, models: Mapping[Oid, Sequence[str]]) -> RunsOfPage:
    """Returns the runs that match, newest first or sorted, with all runs upstream of them.

    `models` are the versions in the registry by the runs that made them: they stand among the tags.
    """
    rows = index.find(filters) if order is None else index.find_sorted(filters, order)
    numbers_of = index.numbers([row.oid for row in rows])
    numbers = [numbers_of[row.oid] for row in rows]
    makers = makers_of(index, numbers)
    known = set(numbers)
    numbers += sorted((number for number in makers if number not in known), reverse=True)
    place = {number: position for position, number in enumerate(numbers)}
    rows += _rows(index, numbers[len(rows) :])
    oids = [row.oid for row in rows]
    contents, tags_of = _contents(index, place), index.tags_of(oids)
    at = {oid: position for position, oid in enumerate(oids)}
    return RunsOfPage(
        runs=rows,
        names=names_of(rows),
        listed=len(known),
        columns=_columns(index, place),
        contents=contents,
        checks=index.checks_of({item.oid for item in contents}),
        makers={
            place[run]: [place[maker] for maker in before if maker in place] for run, before in makers.items() if before
        },
        tags={at[oid]: tags for oid in oids if (tags := (*models.get(oid, ()), *tags_of.get(oid, ())))},
        notes={at[oid]: notes for oid, notes in index.notes_of(oids).items()},
        commits={at[oid]: commits[0] for oid, commits in index.commits(oids).items()},
    )


def _rows(index: RunIndex, numbers: Sequence[int]) -> list[RunRow]:
    sql = f"SELECT run.id, {schema.RUN_COLUMNS} FROM run JOIN record ON record.id = run.id WHERE run.id IN"  # noqa: S608  # constants only
    by_number = {number: schema.loaded_run(row) for number, *row in index.select_in(sql, numbers)}
    return [by_number[number] for number in numbers]


def _columns(index: RunIndex, place: Mapping[int, int]) -> list[PageColumn]:
    values: defaultdict[int, dict[int, Any]] = defaultdict(dict)
    for name, run, value in index.select_in("SELECT name, run, v FROM kv WHERE run IN", [*place]):
        values[name][place[run]] = value
    names = {number: (space, loaded_text(key)) for number, space, key in index.select("SELECT id, ns, k FROM name")}
    columns = [PageColumn(*names[number], values[number]) for number in sorted(values)]
    return [column for space in _SPACES for column in columns if column.space == space]


def _contents(index: RunIndex, place: Mapping[int, int]) -> list[PageContent]:
    sql = (
        "SELECT io.run, io.output, path.path, obj.digest, obj.directory, io.size, io.files FROM io"
        " JOIN path ON path.id = io.path JOIN obj ON obj.id = io.obj WHERE io.output != ? AND io.run IN"
    )
    return [
        PageContent(place[run], output, loaded_text(path), object_id(digest, directory), size_bytes, files)
        for run, output, path, digest, directory, size_bytes, files in index.select_in(sql, [*place], HOLDER)
    ]
