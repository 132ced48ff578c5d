"""Which columns a listing of runs has: what was asked for, or what runs are compared by. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dvlite.errors import UsageError
from dvlite.files import quote
from dvlite.results.runs import RunColumn, RunSummary, Space

FIELDS = (
    "run",
    "when",
    "start",
    "status",
    "stage",
    "file",
    "commit",
    "tags",
    "seconds",
    "exit_code",
    "user",
    "host",
    "of",
)
ALL = "all"
_SPACES: tuple[tuple[Space, Callable[[RunSummary], Mapping[str, Any]]], ...] = (
    ("param", lambda run: {**run.upstream_params, **run.params}),
    ("metric", lambda run: run.metrics),
    ("input", lambda run: {**run.sources, **run.inputs}),
    ("env", lambda run: run.env),
)


def value_in(run: RunSummary, column: RunColumn) -> Any:
    """Returns what a run has in a column; None where it has nothing."""
    if column.space == "run":
        return getattr(run, {"when": "start"}.get(column.key, column.key))
    return dict(_SPACES)[column.space](run).get(column.key)


def usual(runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns run, when, status, parameters, metrics, source data, tags if any, commit; `differs` says what is worth its room.

    Where no stage ran twice there is nothing to compare, and everything counts as differing.
    """
    stages = [(run.stage, run.file) for run in runs]
    alone = len(set(stages)) == len(stages)
    sources = {path for run in runs for path in run.sources}
    found = [
        replace(column, differs=column.differs or alone)
        for column in _values(runs, ("param", "metric", "input"))
        if column.space != "input" or column.key in sources
    ]
    first = [_field(key) for key in ("run", "when", "status")]
    last = [_field(key) for key in ("tags", "commit") if key != "tags" or any(run.tags for run in runs)]
    return [*first, *found, *last]


def asked(words: Iterable[str], runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns the columns that people mean: a field of the run, a key of a parameter, metric or surrounding, the path of an input; `all`."""
    found: list[RunColumn] = []
    for word in words:
        matching = [_field(word)] if word in FIELDS else _all(runs) if word == ALL else _matching(word, runs)
        if not matching:
            raise UsageError(
                f"no run that is listed has {quote(word)}",
                hint=f"columns are {ALL}, {', '.join(FIELDS)}, and the keys of parameters, metrics, captured values and inputs",
            )
        found += [column for column in matching if column not in found]
    keys = [(column.space, column.key) for column in found]
    return [c if c.space == "run" else _column(c.space, c.key, runs, keys) for c in found]


def meant(word: str, keys: Mapping[Space, Sequence[str]]) -> list[tuple[Space, str]]:
    """Returns the keys that a word may stand for: all of one, what follows its file, or its last words; `metric.acc` of that space only."""
    space, dot, rest = word.partition(".")
    spaces = {known: found for known, found in keys.items() if dot and known == space}
    for end in ("", ":", "."):
        for known, found in (spaces or keys).items():
            wanted = rest if spaces else word
            matching = [key for key in found if (key.endswith(end + wanted) if end else key == wanted)]
            if matching:
                return [(known, key) for key in matching]
    return []


def _all(runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns what runs have beside their surroundings."""
    first, last = ("run", "when", "status"), ("tags", "seconds", "user", "host", "commit")
    values = _values(runs, ("param", "metric", "input"))
    return [*map(_field, first), *values, *map(_field, last)]


def _values(runs: Sequence[RunSummary], spaces: Sequence[Space]) -> list[RunColumn]:
    keys = [(space, key) for space in spaces for key in _keys(runs, space)]
    return [_column(space, key, runs, keys) for space, key in keys]


def _matching(word: str, runs: Sequence[RunSummary]) -> list[RunColumn]:
    keys = {space: _keys(runs, space) for space, _ in _SPACES}
    return [RunColumn(title=key, space=space, key=key) for space, key in meant(word, keys)]


def _keys(runs: Sequence[RunSummary], space: Space) -> list[str]:
    mapping = dict(_SPACES)[space]
    return list(dict.fromkeys(key for run in runs for key in mapping(run)))


def _column(space: Space, key: str, runs: Sequence[RunSummary], keys: Sequence[tuple[Space, str]]) -> RunColumn:
    title = _short(space, key)
    if sum(_short(*other) == title for other in keys) > 1:
        title = key
    column = RunColumn(title=title, space=space, key=key)
    return RunColumn(title=title, space=space, key=key, differs=_differs(column, runs))


def _short(space: Space, key: str) -> str:
    return key if space in {"input", "env"} else key.partition(":")[2] or key


def _differs(column: RunColumn, runs: Sequence[RunSummary]) -> bool:
    """Says whether runs of one stage have different values: that another stage has none says nothing."""
    first: dict[tuple[str, str], str] = {}
    return any(
        first.setdefault((run.stage, run.file), repr(value_in(run, column))) != repr(value_in(run, column))
        for run in runs
    )


def _field(key: str) -> RunColumn:
    return RunColumn(title=key.upper().replace("_", " "), space="run", key=key)
