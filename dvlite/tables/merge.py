"""Merges three versions of a table by a key, cell by cell: theirs' changes since the common ancestor are applied to ours.

A cell that only one side changed has that side's value; one that both changed to different values is a conflict, and so is a row that one
side changed and the other removed. Columns may be added on either side; removed or of another type, they stop the merge.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dvlite.errors import FormatError
from dvlite.show import quote
from dvlite.tables import rewrite
from dvlite.tables.diff import why_no_key
from dvlite.tables.engine import Connection, connected, literal, one_row, reading
from dvlite.tables.relation import Column, Relation, TableFile, format_of, open_relation
from dvlite.tables.versions import Pair

Take = Literal["", "ours", "theirs", "union"]
_NAMES = ("the common ancestor", "ours", "theirs")
MOST_CONFLICTS = 10_000  # rows that are listed, without those that were chosen for one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class CellConflict:
    """A cell that both sides changed, or (`column` None) a row that one side changed and the other removed. Cells are text."""

    key: str
    column: str | None
    base: str | None = None
    ours: str | None = None
    theirs: str | None = None
    reason: Literal["changed on both sides", "added on both sides", "removed by ours", "removed by theirs"]
    take: Take = ""


@dataclass(frozen=True, slots=True)
class MergedRows:
    """What a merge came to: rows taken from theirs, and the first conflicts, those that were settled included. Without `is_settled` nothing was written.

    `waiting`: how many cells and removed rows need a choice, listed or not.
    """

    is_settled: bool
    taken: int
    conflicts: tuple[CellConflict, ...]
    waiting: int = 0


def merge_rows(
    versions: Sequence[TableFile],
    key: Sequence[str],
    target: Path,
    *,
    take: Take = "",
    rows: Mapping[str, Take] | None = None,
) -> MergedRows:
    """Merges `(base, ours, theirs)` into a new file, as ours is written; `take` settles conflicts, `rows` those of single keys.

    A key of several columns is `us,17`. Raises FormatError if the versions cannot be merged by rows.
    """
    ours = versions[1]
    kinds = {format_of(file.name) for file in versions}
    if len(kinds) != 1 or not rewrite.can_write(format_of(ours.name)):
        raise FormatError(f"rows of {format_of(ours.name) or 'such'} files are not merged")
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        pairs = []
        for number, other in enumerate(versions[1:]):
            Path(folder, str(number)).mkdir()
            pairs.append(Pair(versions[0], other, Path(folder, str(number))))
        with connected([*(file.path for file in versions), *(path for pair in pairs for path in pair.paths)]) as engine:
            sides = [open_relation(engine, [file], which) for file, which in zip(versions, _NAMES, strict=True)]
            columns = _columns(sides, may_lack=kinds == {"JSON lines"})
            for side, which in zip(sides, _NAMES, strict=True):
                problem = why_no_key(engine, side, which, key)
                if problem is not None:
                    raise FormatError(problem)
            apart = [pair.apart(engine, sides[0], side) for pair, side in zip(pairs, sides[1:], strict=True)]
            with reading("cannot merge these versions"):
                merged = _merge(engine, apart, columns, key, take, rows or {})
                if merged.is_settled:
                    rewrite.write(engine, ours, sides[1], rewrite.Edited(tuple(columns), tuple(key)), target)
    return merged


def _columns(sides: Sequence[Relation], *, may_lack: bool) -> list[Column]:
    """Returns the columns of the result: those of ours, then those that theirs added. Raises FormatError for removed ones and other types.

    `may_lack`: a column that a side lacks has no values there, as in JSON lines.
    """
    base, ours, theirs = sides
    for column in () if may_lack else base.columns:
        for side, word in ((ours, "ours"), (theirs, "theirs")):
            if side.column(column.name) is None:
                raise FormatError(f"{word} removed the column {quote(column.name)}")
    found = {column.name: column for column in (*theirs.columns, *ours.columns)}
    for name, column in found.items():
        for side in sides:
            other = side.column(name)
            if other is not None and other.type != column.type:
                raise FormatError(f"the type of the column {quote(name)} differs: {column.type} and {other.type}")
    return [found[name] for name in dict.fromkeys(column.name for column in (*ours.columns, *theirs.columns))]


def _merge(
    engine: Connection,
    pairs: Sequence[tuple[Relation, Relation]],
    columns: Sequence[Column],
    key: Sequence[str],
    take: Take,
    rows: Mapping[str, Take],
) -> MergedRows:
    """Fills the table `edits` in the engine: what has to happen to ours (`action`), by key. `pairs`: the ancestor with ours, and with theirs."""
    keys, values = range(len(key)), range(len(columns))
    same = " AND ".join(f"x.k{i} IS NOT DISTINCT FROM y.k{i}" for i in keys)
    for name, sides in zip(("mine", "their"), pairs, strict=True):
        base, side = (_select(relation, columns, key) for relation in sides)
        differs = " OR ".join(f"x.v{i} IS DISTINCT FROM y.v{i}" for i in values)
        engine.execute(
            f"CREATE TEMP TABLE {name} AS SELECT {', '.join(f'coalesce(x.k{i}, y.k{i}) AS k{i}' for i in keys)},"
            f" x.p AS bp, y.p AS p, {', '.join(f'x.v{i} AS b{i}, y.v{i} AS v{i}' for i in values)}"
            f" FROM ({base}) x FULL JOIN ({side}) y ON {same} WHERE x.p IS NULL OR y.p IS NULL OR {differs}"
        )
    label = _label(keys)
    engine.execute("CREATE TEMP TABLE chosen (row_key VARCHAR, take VARCHAR)")
    for name, choice in rows.items():
        engine.execute("INSERT INTO chosen VALUES (?, ?)", [name, choice])
    # x: ours, all of it NULL where ours left the row alone; y: theirs
    clash = [
        f"(x.v{i} IS DISTINCT FROM y.v{i} AND (y.bp IS NULL OR"
        f" (y.v{i} IS DISTINCT FROM y.b{i} AND x.v{i} IS DISTINCT FROM y.b{i})))"
        for i in values
    ]
    engine.execute(
        f"CREATE TEMP TABLE met AS SELECT {', '.join(f'y.k{i}' for i in keys)}, {label} AS row_key,"
        f" coalesce(c.take, {literal(take)}) AS take, c.take IS NOT NULL AS is_chosen, y.bp, x.p AS op, y.p AS tp,"
        " CASE WHEN x.mine IS NULL THEN NULL WHEN x.p IS NULL AND y.p IS NULL THEN NULL"
        " WHEN x.p IS NULL THEN 'removed by ours' WHEN y.p IS NULL THEN 'removed by theirs'"
        f" WHEN {' OR '.join(clash)} THEN if(y.bp IS NULL, 'added on both sides', 'changed on both sides') END AS reason,"
        f" x.mine, {', '.join(f'y.b{i}, x.v{i} AS o{i}, y.v{i} AS t{i}, {clash[i]} AS c{i}' for i in values)}"
        f" FROM their y LEFT JOIN (SELECT *, 1 AS mine FROM mine) x ON {same}"
        f" LEFT JOIN chosen c ON c.row_key = {label}"
    )
    wins = "(take = 'theirs' OR (take = 'union' AND reason = 'removed by ours'))"
    merged = [
        f"CASE WHEN mine IS NULL OR op IS NULL THEN t{i} WHEN c{i} THEN if({wins}, t{i}, o{i})"
        f" WHEN t{i} IS NOT DISTINCT FROM b{i} THEN o{i} ELSE t{i} END AS v{i}"
        for i in values
    ]
    engine.execute(
        f"CREATE TEMP TABLE edits AS SELECT * FROM (SELECT {', '.join(f'k{i}' for i in keys)},"
        " CASE WHEN mine IS NULL THEN if(tp IS NULL, 'remove', if(bp IS NULL, 'add', 'set'))"
        f" WHEN op IS NULL THEN if(tp IS NOT NULL AND {wins}, 'add', NULL)"
        f" WHEN tp IS NULL THEN if({wins}, 'remove', NULL) ELSE 'set' END AS action, mine,"
        f" {', '.join(f'o{i}' for i in values)}, {', '.join(merged)} FROM met)"
        " WHERE action IN ('add', 'remove') OR (action = 'set' AND"
        f" (mine IS NULL OR {' OR '.join(f'v{i} IS DISTINCT FROM o{i}' for i in values)}))"
    )
    waiting = "take = '' OR (take = 'union' AND reason IN ('changed on both sides', 'added on both sides'))"
    cells = f"if(starts_with(reason, 'removed'), 1, {' + '.join(f'coalesce(c{i}, false)::BIGINT' for i in values)})"
    (unsettled,) = one_row(
        engine, f"SELECT coalesce(sum({cells}), 0)::BIGINT FROM met WHERE reason IS NOT NULL AND ({waiting})"
    )
    (taken,) = one_row(engine, "SELECT count(*) FROM edits")
    return MergedRows(not unsettled, taken, tuple(_conflicts(engine, columns, values)), unsettled)


def _label(keys: Sequence[int]) -> str:
    """Returns the key of a row as one text; of several columns as a line of CSV, so that no two keys are one text."""
    cells = [f"coalesce(CAST(y.k{i} AS VARCHAR), '')" for i in keys]
    if len(cells) > 1:
        quoted = """'"' || replace({0}, '"', '""') || '"'"""
        cells = [f"""if({cell} SIMILAR TO '.*[,"\\n\\r].*', {quoted.format(cell)}, {cell})""" for cell in cells]
    return "concat_ws(',', " + ", ".join(cells) + ")"


def _select(side: Relation, columns: Sequence[Column], key: Sequence[str]) -> str:
    """Returns the query for the rows of a side, with all columns of the result."""
    cells = {column.name: column.sql for column in side.columns}
    chosen = [f"{cells[name]} AS k{i}" for i, name in enumerate(key)]
    chosen += [
        f"{cells[column.name]} AS v{i}" if column.name in cells else f"CAST(NULL AS {column.type}) AS v{i}"
        for i, column in enumerate(columns)
    ]
    return f"SELECT 1 AS p, {', '.join(chosen)} FROM {side.sql}"


def _conflicts(engine: Connection, columns: Sequence[Column], values: Sequence[int]) -> list[CellConflict]:
    cells = ", ".join(f"c{i}, CAST(b{i} AS VARCHAR), CAST(o{i} AS VARCHAR), CAST(t{i} AS VARCHAR)" for i in values)
    found, order = [], "TRY_CAST(row_key AS DOUBLE) NULLS LAST, row_key"
    for row_key, reason, take, *rest in engine.execute(
        f"SELECT row_key, reason, take, {cells} FROM met WHERE reason IS NOT NULL"
        f" QUALIFY is_chosen OR row_number() OVER (PARTITION BY is_chosen ORDER BY {order}) <= {MOST_CONFLICTS}"
        f" ORDER BY {order}"
    ).fetchall():
        if reason in ("removed by ours", "removed by theirs"):
            found.append(CellConflict(key=row_key, column=None, reason=reason, take=take))
            continue
        settled: Take = "" if take == "union" else take  # a cell has one value
        for i, column in enumerate(columns):
            clashes, base, ours, theirs = rest[4 * i : 4 * i + 4]
            if clashes:
                found.append(
                    CellConflict(
                        key=row_key,
                        column=column.name,
                        base=base,
                        ours=ours,
                        theirs=theirs,
                        reason=reason,
                        take=settled,
                    )
                )
    return found
