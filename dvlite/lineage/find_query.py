"""Parses the terms of `lineage find` (`lr=0.01`, `metric.acc>0.9`, `tag=prod`) into filters of runs and of their outputs."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from dvlite.errors import UsageError
from dvlite.formats.record import Status
from dvlite.oid import Oid
from dvlite.paths import is_inside
from dvlite.runs.filters import Condition, Filters, keys_meant, parse_condition
from dvlite.runs.index import RunIndex
from dvlite.runs.schema import ENV, METRIC, PARAM
from dvlite.show import quote

_SPACES = (PARAM, METRIC, ENV)
_WORDS = ("tag", "stage", "status", "commit", "path")
_STATUSES = get_args(Status)


@dataclass(frozen=True, slots=True)
class FindQuery:
    """Filters of runs; `keys` (space and key) are the values to show, `paths` patterns of outputs."""

    filters: Filters
    keys: tuple[tuple[str, str], ...] = ()
    paths: tuple[str, ...] = ()

    def matches(self, path: str) -> bool:
        """Returns whether the path of an output matches; a path inside a directory asks for the directory."""
        asked = (pattern.rstrip("/") for pattern in self.paths)
        return not self.paths or any(is_inside(one, path) or fnmatch.fnmatchcase(path, one) for one in asked)

    def values_of(self, run: Oid, values: Mapping[str, Mapping[Oid, Mapping[str, Any]]]) -> dict[str, Any]:
        """Returns a run's values of `keys`."""
        shown: dict[str, Any] = {}
        for space, key in self.keys:
            of_run = values.get(space, {}).get(run, {})
            names = keys_meant(key, of_run)
            shown |= {key if len(names) == 1 else name: of_run[name] for name in names}
        return shown


def parse_query(terms: Sequence[str], index: RunIndex) -> FindQuery:
    """Parses terms; raises UsageError for one that is malformed."""
    query = FindQuery(Filters())
    for word in terms:
        condition = _condition(word)
        space, dot, key = condition.key.partition(".")
        if condition.key in _WORDS:
            query = _with_word(query, condition)
        elif dot and space in _SPACES:
            query = _with_value(query, replace(condition, space=space, key=key))
        else:
            query = _with_value(query, _bare(condition, index))
    return query


def _condition(word: str) -> Condition:
    try:
        return parse_condition(PARAM, word)
    except UsageError as error:
        raise UsageError(
            error.message, hint="for example lr=0.01 'acc>0.9' tag=best stage=train path=model.pt"
        ) from None


def _bare(condition: Condition, index: RunIndex) -> Condition:
    """Returns a condition on a parameter; on a metric if only metrics match."""
    for space in (PARAM, METRIC):
        candidate = replace(condition, space=space)
        if index.find(Filters(conditions=(candidate,), limit=1)):
            return candidate
    return condition


def _with_value(query: FindQuery, condition: Condition) -> FindQuery:
    filters = replace(query.filters, conditions=(*query.filters.conditions, condition))
    key = (condition.space, condition.key)
    return replace(query, filters=filters, keys=query.keys if key in query.keys else (*query.keys, key))


def _with_word(query: FindQuery, condition: Condition) -> FindQuery:
    key, value, filters = condition.key, condition.value, query.filters
    negated = condition.operator == "!="
    if condition.operator not in ("=", "!=") or (negated and key != "tag"):
        raise UsageError(f"{quote(key)} can only be compared with =", hint=f"for example {key}=NAME")
    if key == "status" and value not in _STATUSES:
        raise UsageError(f"{quote(value)} is not a status", hint=f"one of: {', '.join(_STATUSES)}")
    if key == "path":
        return replace(query, paths=(*query.paths, value))
    if key == "tag":
        tag = f"!{value}" if negated else value
        return replace(query, filters=replace(filters, tags=(*filters.tags, tag)))
    if key == "status":
        return replace(query, filters=replace(filters, statuses=(*filters.statuses, value)))
    if key == "stage":
        return replace(query, filters=replace(filters, stage=value))
    return replace(query, filters=replace(filters, commit=value))
