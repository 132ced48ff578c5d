"""Which columns a listing of runs has: what was asked for, or what runs are compared by. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dvlite.errors import UsageError
from dvlite.files import quote

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
MOST = 50  # columns of values, unless they are asked for
_SPACES: tuple[tuple[Space, Callable[[RunSummary], Mapping[str, Any]]], ...] = (
    ("param", lambda run: {**run.upstream_params, **run.params}),
    ("metric", lambda run: run.metrics),
    ("input", lambda run: {**run.sources, **run.inputs}),
    ("env", lambda run: run.env),
)


Space = Literal["run", "param", "metric", "env", "input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunColumn:
    """A column of a listing. `space` says where the value of a run is found: `run` (a field of it) or one of its mappings."""

    title: str
    space: Space
    key: str
    differs: bool = True  # between runs of one stage; a column that does not is left out unless asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run of a listing. `commit` is the one whose lockfile names the run, `code` the one that was checked out, `edited` with edits."""

    run: str
    name: str  # with the folder of its pipeline file where stages of one name are listed
    stage: str
    file: str
    status: str
    start: str
    seconds: float
    exit_code: int | None = None
    of: str | None = None  # a cached run's outputs are those of this run
    commit: str | None = None
    code: str | None = None
    edited: bool = False
    tags: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    upstream_params: Mapping[str, Any] = field(default_factory=dict)  # of the runs before it, that it has not itself
    metrics: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)  # data that no run made, also of the runs before it
    user: str = ""
    host: str = ""


def value_in(run: RunSummary, column: RunColumn) -> Any:
    """Returns what a run has in a column; None where it has nothing."""
    if column.space == "run":
        return getattr(run, {"when": "start"}.get(column.key, column.key))
    return dict(_SPACES)[column.space](run).get(column.key)


def usual(runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns run, when, status, parameters, metrics, source data, tags if any, commit; `differs` says what is worth its room.

    Where no stage ran twice there is nothing to compare, and everything counts as differing. Of very many, those that differ and metrics
    come before others.
    """
    stages = [(run.stage, run.file) for run in runs]
    alone = len(set(stages)) == len(stages)
    sources = {path for run in runs for path in run.sources}
    found = [
        replace(column, differs=column.differs or alone)
        for column in _values(runs, ("param", "metric", "input"))
        if column.space != "input" or column.key in sources
    ]
    if len(found) > MOST:
        best = sorted(found, key=lambda column: (not column.differs, column.space != "metric"))[:MOST]
        kept = {(column.space, column.key) for column in best}
        found = [column for column in found if (column.space, column.key) in kept]
    first = [_field(key) for key in ("run", "when", "status")]
    last = [_field(key) for key in ("tags", "commit") if key != "tags" or any(run.tags for run in runs)]
    return [*first, *found, *last]


def asked(words: Iterable[str], runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns the columns that people mean: a field of the run, a key of a parameter, metric or surrounding, the path of an input; `all`."""
    found: dict[tuple[Space, str], RunColumn] = {}
    for word in words:
        matching = [_field(word)] if word in FIELDS else _all(runs) if word == ALL else _matching(word, runs)
        if not matching:
            raise UsageError(
                f"no run that is listed has {quote(word)}",
                hint=f"columns are {ALL}, {', '.join(FIELDS)}, and the keys of parameters, metrics, captured values and inputs",
            )
        for column in matching:
            found.setdefault((column.space, column.key), column)
    values = {(c.space, c.key): c for c in _titled([c for c in found.values() if c.space != "run"], runs)}
    return [values.get(place, column) for place, column in found.items()]


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
    found = [RunColumn(title=key, space=space, key=key) for space in spaces for key in _keys(runs, space)]
    return _titled(found, runs)


def _matching(word: str, runs: Sequence[RunSummary]) -> list[RunColumn]:
    keys = {space: _keys(runs, space) for space, _ in _SPACES}
    return [RunColumn(title=key, space=space, key=key) for space, key in meant(word, keys)]


def _keys(runs: Sequence[RunSummary], space: Space) -> list[str]:
    mapping = dict(_SPACES)[space]
    return list(dict.fromkeys(key for run in runs for key in mapping(run)))


def _titled(found: Sequence[RunColumn], runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Gives columns of values the short titles that no other has, and says in which of them runs differ."""
    short = Counter(_short(column.space, column.key) for column in found)
    differing = {space: _differing(space, runs) for space in {column.space for column in found}}
    return [
        replace(
            column,
            title=title if short[title] == 1 else column.key,
            differs=column.key in differing[column.space],
        )
        for column in found
        for title in [_short(column.space, column.key)]
    ]


def _short(space: Space, key: str) -> str:
    return key if space in {"input", "env"} else key.partition(":")[2] or key


def _differing(space: Space, runs: Sequence[RunSummary]) -> set[str]:
    """Returns the keys in which runs of one stage have different values: that another stage has none says nothing."""
    values_of = dict(_SPACES)[space]
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    found: set[str] = set()
    for run in runs:
        values = values_of(run)
        before = first.setdefault((run.stage, run.file), values)
        if before is not values:
            keys = before.keys() | values.keys()
            found.update(key for key in keys if repr(before.get(key)) != repr(values.get(key)))
    return found


def _field(key: str) -> RunColumn:
    return RunColumn(title=key.upper().replace("_", " "), space="run", key=key)
