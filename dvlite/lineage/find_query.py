"""What `lineage find` is asked for: `lr=0.01`, `metric.acc>0.9`, `tag=prod`, as filters of runs and of their outputs."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dvlite.errors import UsageError
from dvlite.files import quote
from dvlite.oid import Oid
from dvlite.runs import filters as search
from dvlite.runs.filters import Condition, Filters
from dvlite.runs.schema import ENV, METRIC, PARAM, RunRow

_SPACES = (PARAM, METRIC, ENV)
_WORDS = ("tag", "stage", "status", "commit", "path")
_STATUSES = ("ok", "failed", "cached", "tainted", "canceled")


class Finds(Protocol):
    """What is needed of the index."""

    def find(self, filters: Filters) -> list[RunRow]:
        """Returns the runs that match."""


@dataclass(frozen=True, slots=True)
class FindOptions:
    """What runs have to be; `keys` (space and key) are the values that were asked, `paths` the patterns of outputs."""

    filters: Filters
    keys: tuple[tuple[str, str], ...] = ()
    paths: tuple[str, ...] = ()

    def names(self, path: str) -> bool:
        """Says whether an output is asked for."""
        return not self.paths or any(path == wanted or fnmatch.fnmatchcase(path, wanted) for wanted in self.paths)

    def values_of(self, run: Oid, values: Mapping[str, Mapping[Oid, Mapping[str, Any]]]) -> dict[str, Any]:
        """Returns a run's values of the keys that were asked."""
        found: dict[str, Any] = {}
        for space, key in self.keys:
            known = values.get(space, {}).get(run, {})
            for end in ("", ":", "."):
                matching = {
                    name: value for name, value in known.items() if (name.endswith(end + key) if end else name == key)
                }
                if matching:
                    found |= {key if len(matching) == 1 else name: value for name, value in matching.items()}
                    break
        return found


def asked_for(words: Sequence[str], index: Finds) -> FindOptions:
    """Reads what is asked; raises UsageError for a word that asks nothing that is known."""
    asked = FindOptions(Filters())
    for word in words:
        condition = _condition(word)
        space, dot, key = condition.key.partition(".")
        if condition.key in _WORDS:
            asked = _with_word(asked, condition)
        elif dot and space in _SPACES:
            asked = _with_value(asked, replace(condition, space=space, key=key))
        else:
            asked = _with_value(asked, _bare(condition, index))
    return asked


def _condition(word: str) -> Condition:
    try:
        return search.condition(PARAM, word)
    except UsageError as error:
        raise UsageError(
            error.message, hint="for example lr=0.01 'acc>0.9' tag=best stage=train path=model.pt"
        ) from None


def _bare(condition: Condition, index: Finds) -> Condition:
    """Returns a condition on a parameter of that name, or where no run has one with such a value, on a metric."""
    for space in (PARAM, METRIC):
        found = replace(condition, space=space)
        if index.find(Filters(conditions=(found,), limit=1)):
            return found
    return condition


def _with_value(asked: FindOptions, condition: Condition) -> FindOptions:
    filters = replace(asked.filters, conditions=(*asked.filters.conditions, condition))
    key = (condition.space, condition.key)
    return replace(asked, filters=filters, keys=asked.keys if key in asked.keys else (*asked.keys, key))


def _with_word(asked: FindOptions, condition: Condition) -> FindOptions:
    key, value, filters = condition.key, condition.value, asked.filters
    negated = condition.operator == "!="
    if condition.operator not in ("=", "!=") or (negated and key != "tag"):
        raise UsageError(f"{quote(key)} can only be compared with =", hint=f"for example {key}=NAME")
    if key == "status" and value not in _STATUSES:
        raise UsageError(f"{quote(value)} is not a status", hint=f"one of: {', '.join(_STATUSES)}")
    if key == "path":
        return replace(asked, paths=(*asked.paths, value))
    if key == "tag":
        tag = f"!{value}" if negated else value
        return replace(asked, filters=replace(filters, tags=(*filters.tags, tag)))
    if key == "status":
        return replace(asked, filters=replace(filters, statuses=(*filters.statuses, value)))
    if key == "stage":
        return replace(asked, filters=replace(filters, stage=value))
    return replace(asked, filters=replace(filters, commit=value))
