"""Checks of data as a pipeline file declares them: `checks:` (docs/reference/formats/pipeline.md). Only parses the declaration. Knows no disk."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from dvlite.errors import FormatError
from dvlite.formats.config import duration_seconds
from dvlite.formats.strict_yaml import Path, Tree
from dvlite.formats.templates import kind_of
from dvlite.show import closest, quote

Event = Literal["push", "merge", "ci"]
Effect = Literal["block", "warn"]
EVENTS: tuple[Event, ...] = get_args(Event)
EFFECTS: tuple[Effect, ...] = get_args(Effect)
TYPES = ("integer", "number", "text", "boolean", "date", "timestamp", "any")
RULE_KEYS = (
    *("columns", "exact", "rows", "unique", "not_null", "ranges", "allowed", "references", "fresh", "drift"),
    "cmd",
)
CHECK_KEYS = ("path", *RULE_KEYS, "deps", "timeout", "on", "desc")
DRIFT_KEYS = ("against", "changed", "mean", "quantile", "columns")
FRESH_KEYS = ("column", "within")
REFERENCE_KEYS = ("path", "column")
BOUND_KEYS = ("min", "max")
MOST_CHECKS = 1000
MOST_COLUMNS = 1000
MOST_ALLOWED = 10_000
_MOST_LETTERS = 1000  # of the name of a column
_EXAMPLE = "for example  {path: data/sales.csv, rows: 1.., unique: [id], not_null: [id]}"
_ROWS = re.compile(r"([0-9]{0,18})\.\.([0-9]{0,18})")
_SHARE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?%")

Wrong = Callable[[Path, str, str | None], FormatError]
PathOf = Callable[[Tree, Path], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a check demands of a table: `kind` is its key in the file, `terms` what stands there, in one form."""

    kind: str
    line: int
    terms: Mapping[str, Tree]


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """What a check demands of the data at `path`, and where a failure counts; its script, if any, is the `cmd` of its stage.

    `references` are the other tables that it reads; `against` the revision that `drift` compares with.
    """

    path: str
    rules: tuple[Rule, ...] = ()
    references: tuple[str, ...] = ()
    against: str = ""
    on: Mapping[Event, Effect] = field(default_factory=lambda: dict.fromkeys(EVENTS, "block"))

    def terms(self) -> list[Tree]:
        """Returns what is demanded, for the key of a result: neither lines nor what a failure leads to."""
        return [[rule.kind, dict(rule.terms)] for rule in self.rules]


class CheckReader:
    """Reads declarations; `path_of` checks a path or pattern and returns its plain form, `wrong` makes errors with file and line."""

    def __init__(self, line_of: Callable[[Path], int], path_of: PathOf, wrong: Wrong) -> None:
        self._line, self._path, self._wrong = line_of, path_of, wrong

    def check(self, item: dict[str, Tree], at: Path) -> CheckSpec:
        """Returns one check, of a mapping with the keys CHECK_KEYS."""
        self._check_keys(item, at, CHECK_KEYS, "a check")
        if "path" not in item:
            raise self._wrong(at, "a check without a path", _EXAMPLE)
        if not any(item.get(key) for key in RULE_KEYS):
            raise self._wrong(at, "a check that demands nothing", _EXAMPLE)
        rules = tuple(self._rules(item, at))
        referred = [str(rule.terms["path"]) for rule in rules if rule.kind == "references"]
        against = next((str(rule.terms["against"]) for rule in rules if rule.kind == "drift"), "")
        return CheckSpec(
            path=self._path(item["path"], (*at, "path")),
            rules=rules,
            references=tuple(dict.fromkeys(referred)),
            against=against,
            on=self._on(item.get("on"), (*at, "on")),
        )

    def _rules(self, item: dict[str, Tree], at: Path) -> Iterator[Rule]:
        readers = {
            "columns": self._columns,
            "rows": self._rows,
            "unique": self._unique,
            "not_null": self._not_null,
            "ranges": self._ranges,
            "allowed": self._allowed,
            "references": self._references,
            "fresh": self._fresh,
            "drift": self._drift,
        }
        exact = item.get("exact", False)
        if not isinstance(exact, bool) or (exact and not item.get("columns")):
            raise self._wrong((*at, "exact"), "'exact' is true or false, beside 'columns'", None)
        for key, read in readers.items():
            if item.get(key) is not None:
                place = (*at, key)
                for terms in read(item[key], place):
                    more: dict[str, Tree] = {"exact": True} if key == "columns" and exact else {}
                    yield Rule(key, self._line(place), terms | more)

    def _columns(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        named = value if isinstance(value, dict) else dict.fromkeys(self._names(value, at), "any")
        for name, kind in named.items():
            if not isinstance(kind, str) or kind not in TYPES:
                close = closest(kind[:60], TYPES) if isinstance(kind, str) else ""
                meant = f"; did you mean '{close}'?" if close else ""
                what = quote(kind[:60]) if isinstance(kind, str) else kind_of(kind)
                raise self._wrong((*at, name), f"{what} is not a type{meant}", f"one of {', '.join(TYPES)}")
            self._name(name, at)
        types: dict[str, Tree] = dict(named)
        yield {"types": types}

    def _rows(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        match = _ROWS.fullmatch(value) if isinstance(value, str) else None
        ends: Tree = {"min": value, "max": value} if isinstance(value, int) else value
        if match is not None and value != "..":
            ends = {key: int(text) for key, text in zip(BOUND_KEYS, match.groups(), strict=True) if text}
        bounds = self._bounds(ends, at, "for example  rows: 1..   or   rows: 100..5000")
        if not all(isinstance(bound, int) and bound >= 0 for bound in bounds.values()):
            raise self._wrong(at, "'rows' are whole numbers of at least 0", "for example  rows: 1..")
        yield bounds

    def _unique(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            names: list[Tree] = [*self._names(item, (*at, str(number)))]
            yield {"columns": names}

    def _not_null(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        for name in self._names(value, at):
            yield {"column": name}

    def _ranges(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        example = "for example  ranges: {price: {min: 0, max: 1000}}"
        for name, ends in self._mapping(value, at, example).items():
            yield {"column": self._name(name, at), **self._bounds(ends, (*at, name), example)}

    def _allowed(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        example = "for example  allowed: {state: [new, paid]}"
        for name, values in self._mapping(value, at, example).items():
            simple = isinstance(values, list) and not any(isinstance(one, dict | list) for one in values)
            if not isinstance(values, list) or not simple or not 0 < len(values) <= MOST_ALLOWED:
                reason = f"'allowed' needs a list of 1 to {MOST_ALLOWED:,} values, not {kind_of(values)}"
                raise self._wrong((*at, name), reason, example)
            yield {"column": self._name(name, at), "values": values}

    def _references(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        example = "for example  references: {shop: {path: data/shops.csv, column: id}}"
        for name, other in self._mapping(value, at, example).items():
            place = (*at, name)
            target = self._mapping(other, place, example)
            self._check_keys(target, place, REFERENCE_KEYS, "a reference")
            if set(target) != set(REFERENCE_KEYS):
                raise self._wrong(place, "a reference names the 'path' and the 'column' of a table", example)
            path, column = self._path(target["path"], (*place, "path")), self._name(target["column"], place)
            yield {"column": self._name(name, at), "path": path, "other": column}

    def _fresh(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        example = "for example  fresh: {column: day, within: 7d}"
        item = self._mapping(value, at, example)
        self._check_keys(item, at, FRESH_KEYS, "'fresh'")
        seconds = duration_seconds(item.get("within"))
        if not seconds or "column" not in item:
            raise self._wrong(at, "'fresh' names a 'column' with times, and 'within' which time the newest is", example)
        yield {"column": self._name(item["column"], at), "seconds": seconds}

    def _drift(self, value: Tree, at: Path) -> Iterator[dict[str, Tree]]:
        example = "for example  drift: {against: v1.0, changed: 5%, mean: 10%}"
        item = self._mapping(value, at, example)
        self._check_keys(item, at, DRIFT_KEYS, "'drift'")
        against = item.get("against")
        if not isinstance(against, str) or not against or against.startswith("-") or len(against) > _MOST_LETTERS:
            raise self._wrong(at, "'drift' names the revision to compare with, as 'against'", example)
        terms: dict[str, Tree] = {"against": against}
        for key in ("changed", "mean", "quantile"):
            if key in item:
                terms[key] = self._share(item[key], (*at, key), example)
        if len(terms) == 1:
            raise self._wrong(at, "'drift' sets no limit: changed, mean or quantile", example)
        if "columns" in item:
            terms["columns"] = [*self._names(item["columns"], (*at, "columns"))]
        yield terms

    # -- the parts

    def _on(self, value: Tree, at: Path) -> dict[Event, Effect]:
        if value is None:
            return dict.fromkeys(EVENTS, "block")
        example = "for example  on: [push, ci]   or   on: {push: warn, ci: block}"
        items = [value] if isinstance(value, str) else value
        blocking: dict[str, Tree] = dict.fromkeys(map(str, items), "block") if isinstance(items, list) else {}
        named = blocking if isinstance(items, list) else items
        effects: dict[Event, Effect] = {}
        for name, said in self._mapping(named, at, example).items():
            event = next((each for each in EVENTS if each == name), None)
            effect = next((each for each in EFFECTS if each == said), None)
            if event is None or effect is None:
                raise self._wrong(at, "'on' names push, merge or ci, each with block or warn", example)
            effects[event] = effect
        return effects

    def _bounds(self, value: Tree, at: Path, example: str) -> dict[str, Tree]:
        ends = self._mapping(value, at, example)
        self._check_keys(ends, at, BOUND_KEYS, "a range")
        if not ends or not all(map(_is_bound, ends.values())):
            raise self._wrong(at, "a range needs a 'min' or a 'max', a number or a date", example)
        least, most = ends.get("min"), ends.get("max")
        if None not in (least, most) and (type(least) is str) != (type(most) is str):
            raise self._wrong(at, "the ends of a range are of two types", example)
        if None not in (least, most) and least > most:  # type: ignore[operator]  # both numbers, or both texts
            raise self._wrong(at, "the 'min' of a range is above its 'max'", example)
        return dict(ends)

    def _share(self, value: Tree, at: Path, example: str) -> float:
        match = _SHARE.fullmatch(value) if isinstance(value, str) else None
        share = float(match[1]) / 100 if match is not None else value
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < math.inf:
            raise self._wrong(at, f"'{at[-1]}' is a share like 5% or 0.05, not {kind_of(value)}", example)
        return float(share)

    def _names(self, value: Tree, at: Path) -> list[str]:
        names = value if isinstance(value, list) else [value]
        if not 0 < len(names) <= MOST_COLUMNS:
            raise self._wrong(at, f"'{at[-1]}' names 1 to {MOST_COLUMNS:,} columns, not {len(names):,}", None)
        return list(dict.fromkeys(self._name(name, at) for name in names))

    def _name(self, value: Tree, at: Path) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= _MOST_LETTERS or "\0" in value:
            raise self._wrong(at, f"a column is named by text, not {kind_of(value)}", "put it in quotes if it is text")
        return value

    def _mapping(self, value: Tree, at: Path, example: str) -> dict[str, Tree]:
        if not isinstance(value, dict) or not value:
            raise self._wrong(at, f"'{at[-1]}' must be a mapping, not {kind_of(value)}", example)
        return value

    def _check_keys(self, item: Mapping[str, Tree], at: Path, known: tuple[str, ...], kind: str) -> None:
        for key in item:
            if key not in known:
                close = closest(key[:60], known)
                meant = f"; did you mean '{close}'?" if close else ""
                reason = f"{quote(key[:60])} is not known in {kind}{meant}"
                raise self._wrong((*at, key), reason, f"the keys of {kind}: {', '.join(known)}")


def _is_bound(value: Tree) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
