"""What the built-in rules of a check see in a table: each rule becomes SQL for the table engine, and its answer a sentence.

Rows are counted in one pass; what groups or joins them takes one more each. Cells of CSV and JSON lines have no type: they are read as what
a rule needs them to be, and a cell that cannot be read so breaks the rule. Empty cells break `not_null` alone.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dvlite.formats.checks import CheckSpec, Rule
from dvlite.formats.record import RuleOutcome, time_text
from dvlite.formats.strict_yaml import Tree
from dvlite.show import count, duration_text, printable_text, some, value_text
from dvlite.tables.engine import Connection, literal, reading
from dvlite.tables.relation import Column, Relation

_EXAMPLES = 3
_LONGEST = 40  # letters of a value
_INTEGERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
)
_NUMBERS = (*_INTEGERS, "FLOAT", "DOUBLE", "DECIMAL")
_TYPED: Mapping[str, tuple[str, ...]] = {
    "integer": _INTEGERS,
    "number": _NUMBERS,
    "text": ("VARCHAR",),
    "boolean": ("BOOLEAN",),
    "date": ("DATE",),
    "timestamp": ("TIMESTAMP",),
}
_READABLE = {  # a cell of text that has this type
    "integer": "regexp_full_match({}, '[+-]?[0-9]+')",
    "number": "TRY_CAST({} AS DOUBLE) IS NOT NULL",
    "text": "true",
    "boolean": "lower({}) IN ('true', 'false', '0', '1')",
    "date": "(regexp_full_match({0}, '[0-9]+-[0-9]+-[0-9]+') AND TRY_CAST({0} AS DATE) IS NOT NULL)",
    "timestamp": "TRY_CAST({} AS TIMESTAMP) IS NOT NULL",
}
_COUNTING = ("columns", "not_null", "ranges", "allowed")  # rules that look at each row alone
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A version of a table; `typed`: its file says the types of its columns."""

    relation: Relation
    typed: bool

    def column(self, name: str) -> Column | None:
        return self.relation.column(name)


@dataclass(frozen=True, slots=True)
class Tables:
    """What a check reads: the table that is checked, others by their paths, and the version that `drift` compares with."""

    data: OpenTable
    references: Mapping[str, OpenTable]
    base: OpenTable | None = None


def outcomes(engine: Connection, spec: CheckSpec, tables: Tables, now_ns: int) -> tuple[list[RuleOutcome], str]:
    """Returns what each rule sees, and until when the newest row counts as new ('' without such a rule). Raises FormatError."""
    judge = _Judge(engine, tables, now_ns)
    with reading("cannot read the table"):
        judge.count_ahead(spec.rules)
        seen = [judge.outcome(rule) for rule in spec.rules]
    return seen, judge.expires


class _Judge:
    def __init__(self, engine: Connection, tables: Tables, now_ns: int) -> None:
        self._engine, self._tables, self._now_ns = engine, tables, now_ns
        self._data = tables.data
        self._rows: int | None = None
        self._counts: dict[str, int] = {}  # of the rows that meet a condition
        self._wanted: list[str] | None = None  # while conditions are collected
        self.expires = ""

    def count_ahead(self, rules: Sequence[Rule]) -> None:
        """Counts in one pass what most rules ask for; a pass over a large CSV takes a second."""
        wanted: list[str] = []
        self._wanted = wanted
        for rule in rules:
            if rule.kind in _COUNTING and all(self._data.column(name) is not None for name in _named(rule)):
                for _ in self._sees(rule.kind)(rule.terms):
                    pass
        filters = "".join(f", count(*) FILTER (WHERE {condition})" for condition in wanted)
        self._rows, *counts = self._one(f"SELECT count(*){filters} FROM {self._from}")
        self._counts, self._wanted = dict(zip(wanted, counts, strict=True)), None

    def _sees(self, kind: str) -> Callable[[Mapping[str, Tree]], Iterator[str]]:
        return {
            "columns": self._columns,
            "rows": self._count,
            "unique": self._unique,
            "not_null": self._not_null,
            "ranges": self._range,
            "allowed": self._allowed,
            "references": self._reference,
            "fresh": self._fresh,
            "drift": self._drift,
        }[kind]

    def outcome(self, rule: Rule) -> RuleOutcome:
        """Returns what one rule sees."""
        absent = [name for name in _named(rule) if self._data.column(name) is None]
        title = _title(rule)
        if absent:
            return RuleOutcome(rule=title, passed=False, detail=f"there is no column {some(list(map(_shown, absent)))}")
        problem = "; ".join(self._sees(rule.kind)(rule.terms))
        return RuleOutcome(rule=title, passed=not problem, detail=problem)

    # -- the rules: each yields what is wrong

    def _columns(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        types = terms["types"]
        assert isinstance(types, dict)
        missing = [name for name in types if self._data.column(name) is None]
        if missing:
            yield f"there is no column {some(list(map(_shown, missing)))}"
        others = [column.name for column in self._data.relation.columns if column.name not in types]
        if terms.get("exact") and others:
            yield f"there is also {some(list(map(_shown, others)))}"
        for name, kind in types.items():
            column = self._data.column(name)
            if column is not None and kind != "any":
                yield from self._type(column, str(kind))

    def _type(self, column: Column, kind: str) -> Iterator[str]:
        if self._data.typed:
            if not column.type.startswith(_TYPED[kind]):
                yield f"{_shown(column.name)} is {column.type}, not {kind}"
            return
        text = _text(column)
        yield from self._bad(column, f"NOT {_READABLE[kind].format(text)}", f"are no {kind}")

    def _count(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        rows, least, most = self._all(), terms.get("min"), terms.get("max")
        if isinstance(least, int) and rows < least:
            yield f"{count(rows, 'row')}, at least {least:,} are demanded"
        if isinstance(most, int) and rows > most:
            yield f"{count(rows, 'row')}, at most {most:,} are allowed"

    def _unique(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        columns = [self._data.column(str(name)) for name in _list(terms["columns"])]
        cells = [column.sql for column in columns if column is not None]
        names = ", ".join(f"{cell} AS k{i}" for i, cell in enumerate(cells))
        keys = ", ".join(f"k{i}" for i in range(len(cells)))
        whole = " AND ".join(f"k{i} IS NOT NULL" for i in range(len(cells)))
        groups = f"(SELECT {keys}, count(*) AS n FROM (SELECT {names} FROM {self._from}) WHERE {whole} GROUP BY {keys} HAVING n > 1)"
        (times,) = self._one(f"SELECT count(*) FROM {groups}")
        if times:
            rows = self._engine.execute(
                f"SELECT {keys} FROM {groups} ORDER BY n DESC, {keys} LIMIT {_EXAMPLES}"
            ).fetchall()
            shown = ", ".join(" / ".join(map(_value, row)) for row in rows)
            yield f"{count(times, 'value occurs', 'values occur')} more than once: {shown}{_more(times)}"

    def _not_null(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        bad = self._counted(f"{_cell(self._of(terms))} IS NULL")
        if bad:
            yield f"{bad:,} of {count(self._all(), 'row')} have no value"

    def _range(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        column, ends = (
            self._of(terms),
            [(sign, terms[key]) for key, sign in (("min", "<"), ("max", ">")) if key in terms],
        )
        if all(isinstance(end, int | float) for _, end in ends):
            cell = _number(column)
            wrong = " OR ".join(f"{cell} {sign} {float(str(end))!r}" for sign, end in ends)
            wrong = f"{cell} IS NULL OR isnan({cell}) OR {wrong}"
        else:
            cell, limits = _text(column), [(sign, str(end)) for sign, end in ends]
            if all(_is_time(end) for _, end in limits):
                cell = f"TRY_CAST({cell} AS TIMESTAMP)"
                limits = [(sign, f"TIMESTAMP {literal(end)}") for sign, end in limits]
            else:
                limits = [(sign, literal(end)) for sign, end in limits]
            wrong = f"{cell} IS NULL OR " + " OR ".join(f"{cell} {sign} {end}" for sign, end in limits)
        yield from self._bad(column, f"({wrong})", f"are not in {_bounds(terms)}")

    def _allowed(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        column, values = self._of(terms), _list(terms["values"])
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        texts = [value_text(value) if not isinstance(value, str) else value for value in values]
        known = f"{_text(column)} IN ({', '.join(map(literal, texts))})"
        if numbers:
            known += (
                f" OR coalesce({_number(column)} IN ({', '.join(f'{float(number)!r}' for number in numbers)}), false)"
            )
        yield from self._bad(column, f"NOT ({known})", "are not allowed")

    def _reference(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        column, other = self._of(terms), self._tables.references[str(terms["path"])]
        target = other.column(str(terms["other"]))
        if target is None:
            yield f"{_shown(str(terms['path']))} has no column {_shown(str(terms['other']))}"
            return
        there = f"SELECT {_text(target)} FROM {other.relation.sql} WHERE {_cell(target)} IS NOT NULL"
        yield from self._bad(column, f"{_text(column)} NOT IN ({there})", f"are not in {_shown(str(terms['path']))}")

    def _fresh(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        column, seconds = self._of(terms), terms["seconds"]
        assert isinstance(seconds, int)
        (newest,) = self._one(f"SELECT max(TRY_CAST({_text(column)} AS TIMESTAMP)) FROM {self._from}")
        if not isinstance(newest, dt.datetime) or not 1 < newest.year < 9000:
            yield "it has no time"
            return
        until = newest.replace(tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
        until_ns = int(until.timestamp()) * 10**9
        self.expires = min(filter(None, (self.expires, time_text(until_ns))))
        if until_ns <= self._now_ns:
            yield f"the newest is {newest:%Y-%m-%d %H:%M}, older than {_age(seconds)}"

    def _drift(self, terms: Mapping[str, Tree]) -> Iterator[str]:
        base, against = self._tables.base, _shown(str(terms["against"]))
        assert base is not None
        wanted = [str(name) for name in _list(terms["columns"])] if "columns" in terms else None
        pairs = [
            (column, other)
            for column in self._data.relation.columns
            if (other := base.column(column.name)) is not None and (wanted is None or column.name in wanted)
        ]
        if not pairs:
            yield f"it has no column in common with {against}"
            return
        if "changed" in terms:
            yield from self._changed(base, pairs, _share(terms["changed"]), against)
        if {"mean", "quantile"} & terms.keys():
            sides = [
                self._spreads(table, columns)
                for table, columns in ((base, [other for _, other in pairs]), (self._data, [one for one, _ in pairs]))
            ]
            for (column, _), before, after in zip(pairs, *sides, strict=True):
                if before is not None and after is not None:
                    yield from _shifted(column.name, before, after, terms, against)

    def _changed(
        self, base: OpenTable, pairs: Sequence[tuple[Column, Column]], most: float, against: str
    ) -> Iterator[str]:
        """Compares rows by hashes of 64 bits, as often as they occur."""
        cells = [_cell if one.type == other.type else _text for one, other in pairs]
        new = ", ".join(cell(one) for cell, (one, _) in zip(cells, pairs, strict=True))
        old = ", ".join(cell(other) for cell, (_, other) in zip(cells, pairs, strict=True))
        (changed,) = self._one(
            f"SELECT count(*) FROM (SELECT hash({new}) FROM {self._from} EXCEPT ALL SELECT hash({old}) FROM {base.relation.sql})"
        )
        share = changed / self._all() if changed else 0.0
        if share > most:
            yield f"{share:.2%} of the rows are not in {against}, at most {most:.2%} may differ"

    def _spreads(self, table: OpenTable, columns: Sequence[Column]) -> list[tuple[float, ...] | None]:
        """Returns mean and quantiles of columns, None for one that holds no numbers; quantiles are close, for memory."""
        numeric = [column for column in columns if not table.typed or column.type.startswith(_NUMBERS)]
        asked = []
        for number, cell in ((_number(column), _cell(column)) for column in numeric):
            finite = f"FILTER (isfinite({number}))"
            asked += [
                f"count({cell}) = count({number}) AND count({number}) > 0",
                f"avg({number}) {finite}",
                f"approx_quantile({number}, {[*_QUANTILES]}) {finite}",
            ]
        answers = iter(self._one(f"SELECT {', '.join(asked)} FROM {table.relation.sql}") if asked else ())
        spreads: dict[str, tuple[float, ...]] = {}
        for column in numeric:
            is_number, mean, quantiles = itertools.islice(answers, 3)
            if is_number and mean is not None:
                spreads[column.name] = (mean, *quantiles)
        return [spreads.get(column.name) for column in columns]

    # -- the parts

    @property
    def _from(self) -> str:
        return self._data.relation.sql

    def _of(self, terms: Mapping[str, Tree]) -> Column:
        column = self._data.column(str(terms["column"]))
        assert column is not None  # looked for before
        return column

    def _all(self) -> int:
        if self._rows is None:
            (self._rows,) = self._one(f"SELECT count(*) FROM {self._from}")
        return self._rows or 0

    def _bad(self, column: Column, wrong: str, what: str) -> Iterator[str]:
        """Yields how many cells with a value are wrong, with examples."""
        condition = f"{_cell(column)} IS NOT NULL AND {wrong}"
        bad = self._counted(condition)
        if bad:
            sql = (
                f"SELECT DISTINCT {_text(column)} AS v FROM {self._from} WHERE {condition} ORDER BY v LIMIT {_EXAMPLES}"
            )
            rows = self._engine.execute(sql).fetchall()
            shown = ", ".join(_value(value) for (value,) in rows)
            yield f"{bad:,} of {count(self._all(), 'row')} {what}: {shown}{_more(bad)}"

    def _counted(self, condition: str) -> int:
        if self._wanted is not None:
            self._wanted += [] if condition in self._wanted else [condition]
            return 0
        if condition not in self._counts:
            (self._counts[condition],) = self._one(f"SELECT count(*) FROM {self._from} WHERE {condition}")
        return self._counts[condition]

    def _one(self, sql: str) -> Any:
        return self._engine.execute(sql).fetchone()


def _named(rule: Rule) -> list[str]:
    """Returns the columns that a rule cannot do without."""
    if rule.kind in ("columns", "rows"):
        return []
    if rule.kind == "unique" or (rule.kind == "drift" and "columns" in rule.terms):
        return [str(name) for name in _list(rule.terms["columns"])]
    return [str(rule.terms["column"])] if "column" in rule.terms else []


def _title(rule: Rule) -> str:
    """Returns what a rule demands, in a few words."""
    if rule.kind == "drift":
        return printable_text(f"drift from {rule.terms['against']}")[:200]
    names = ", ".join(_named(rule))
    return printable_text(f"{rule.kind}: {names}" if names else rule.kind)[:200]


def _cell(column: Column) -> str:
    """Returns a cell as SQL; a null of JSON is none."""
    return f"({column.sql} ->> '$')" if column.type == "JSON" else column.sql


def _text(column: Column) -> str:
    cell = _cell(column)
    return cell if column.type in ("VARCHAR", "JSON") else f"CAST({cell} AS VARCHAR)"


def _number(column: Column) -> str:
    return f"TRY_CAST({_cell(column)} AS DOUBLE)"


def _shifted(
    name: str, before: Sequence[float], after: Sequence[float], terms: Mapping[str, Tree], against: str
) -> Iterator[str]:
    """Yields how far mean and quantiles moved: the mean by its size, quantiles by the width between the outer ones."""
    (mean, *quantiles), (now, *moved) = before, after
    if "mean" in terms and (shift := _by(now - mean, mean)) > _share(terms["mean"]):
        yield f"the mean of {_shown(name)} moved by {shift:.1%} from {against}: {value_text(mean)} -> {value_text(now)}"
    if "quantile" in terms:
        width = quantiles[-1] - quantiles[0]
        shift, at = max((_by(new - old, width), q) for old, new, q in zip(quantiles, moved, _QUANTILES, strict=True))
        if shift > _share(terms["quantile"]):
            yield f"the {at:.0%} quantile of {_shown(name)} moved by {shift:.1%} of its width from {against}"


def _by(difference: float, size: float) -> float:
    return abs(difference / size) if size else float(bool(difference))


def _share(value: Tree) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _list(value: Tree) -> list[Tree]:
    return value if isinstance(value, list) else []


def _is_time(text: str) -> bool:
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _age(seconds: int) -> str:
    return count(seconds // 86_400, "day") if seconds % 86_400 == 0 else duration_text(seconds)


def _bounds(terms: Mapping[str, Tree]) -> str:
    least, most = (value_text(terms[key]) if key in terms else "" for key in ("min", "max"))
    return f"{least}..{most}"


def _shown(name: str) -> str:
    return printable_text(name)[:_LONGEST]


def _value(value: object) -> str:
    text = printable_text(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _more(number: int) -> str:
    return " ..." if number > _EXAMPLES else ""
