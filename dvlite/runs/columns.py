"""Chooses the columns of a listing of runs: those asked for, or those in which runs differ. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from dvlite.errors import UsageError
from dvlite.git.output import is_pipeline_file
from dvlite.repo.stage_names import template_of
from dvlite.runs.filters import keys_meant
from dvlite.show import quote

if TYPE_CHECKING:
    from dvlite.formats.pipeline import Direction  # slow to load

FIELDS = (
    "run",
    "when",
    "start",
    "status",
    "stage",
    "file",
    "commit",
    "models",
    "tags",
    "seconds",
    "exit_code",
    "user",
    "host",
    "of",
    "sweep",
)
ALL = "all"
MOST = 50  # columns of values, unless asked for
_SPACES: tuple[tuple[Space, Callable[[RunSummary], Mapping[str, Any]]], ...] = (
    ("param", lambda run: {**run.upstream_params, **run.params}),
    ("metric", lambda run: run.metrics),
    ("input", lambda run: {**run.sources, **run.inputs}),
    ("env", lambda run: run.env),
)


Space = Literal["run", "param", "metric", "env", "input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunColumn:
    """A column of a listing. `space` is where a run has the value: `run` (a field) or one of its mappings."""

    title: str
    space: Space
    key: str
    differs: bool = True  # between runs of one stage; other columns are shown only if asked for
    better: Direction | None = None  # which values of a metric are better, as the pipeline file declares it now


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run of a listing. `commit` is the first one whose lockfile names it, `code` was checked out, `edited` with uncommitted edits."""

    run: str
    name: str  # with the folder of its pipeline file if listed stages share a name
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
    models: tuple[str, ...] = ()  # versions in the registry that it made: birds@7 (prod)
    params: Mapping[str, Any] = field(default_factory=dict)
    upstream_params: Mapping[str, Any] = field(
        default_factory=dict
    )  # of the runs upstream, that it does not have itself
    metrics: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)  # data that no run wrote, of the runs upstream too
    user: str = ""
    host: str = ""
    sweep: str = ""


def value_in(run: RunSummary, column: RunColumn) -> Any:
    """Returns a run's value in a column, or None."""
    if column.space == "run":
        return getattr(run, {"when": "start"}.get(column.key, column.key))
    return dict(_SPACES)[column.space](run).get(column.key)


def default(runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns run, when, status, parameters, metrics, source data, tags if any, commit; `differs` marks those worth showing.

    If no stage ran twice, every column counts as differing. Of more than MOST, columns that differ and metrics are kept first.
    """
    stages = [(template_of(run.stage), run.file) for run in runs]
    alone = len(set(stages)) == len(stages)
    sources = {path for run in runs for path in run.sources}
    values = [
        replace(column, differs=column.differs or alone)
        for column in _values(runs, ("param", "metric", "input"))
        if column.space != "input" or column.key in sources
    ]
    if len(values) > MOST:
        best = sorted(values, key=lambda column: (not column.differs, column.space != "metric"))[:MOST]
        values = [column for column in values if column in best]
    first = [_field(key) for key in ("run", "when", "status")]
    if not all(is_pipeline_file(run.file) for run in runs):  # some were imported: their file is the program
        first.insert(1, _field("file"))
    has = {"models": any(run.models for run in runs), "tags": any(run.tags for run in runs), "commit": True}
    last = [_field(key) for key, is_there in has.items() if is_there]
    return [*first, *values, *last]


def requested(words: Iterable[str], runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns columns by words: a field of runs, a key of a parameter, metric or environment value, the path of an input; `all`."""
    columns: dict[tuple[Space, str], RunColumn] = {}
    for word in words:
        matching = [_field(word)] if word in FIELDS else _all(runs) if word == ALL else _matching(word, runs)
        if not matching:
            raise UsageError(
                f"no listed run has {quote(word)}",
                hint=f"columns are {ALL}, {', '.join(FIELDS)}, and the keys of parameters, metrics, captured values and inputs",
            )
        for column in matching:
            columns.setdefault((column.space, column.key), column)
    values = {(c.space, c.key): c for c in _titled([c for c in columns.values() if c.space != "run"], runs)}
    return [values.get(place, column) for place, column in columns.items()]


def judged(columns: Sequence[RunColumn], better: Mapping[str, Direction], *, in_order: bool = False) -> list[RunColumn]:
    """Returns columns with what is `better` in those of metrics; these come first among the metrics, unless all stay `in_order`."""
    metrics = [replace(column, better=better.get(column.key)) for column in columns if column.space == "metric"]
    if not in_order:
        metrics.sort(key=lambda column: column.better is None)
    waiting = iter(metrics)
    return [next(waiting) if column.space == "metric" else column for column in columns]


def extremes(column: RunColumn, values: Iterable[Any]) -> tuple[float, float] | None:
    """Returns the best and the worst number of a column; None if they are equal, or it is not known which is better."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    numbers = [value for value in numbers if not math.isnan(value)]
    if column.better is None or not numbers or min(numbers) == max(numbers):
        return None
    return (max(numbers), min(numbers)) if column.better == "higher" else (min(numbers), max(numbers))


def find_keys(word: str, keys: Mapping[Space, Sequence[str]]) -> list[tuple[Space, str]]:
    """Returns the keys that a word may stand for, of the first space with the best match; `metric.acc` is one of that space only."""
    space, dot, rest = word.partition(".")
    if dot and space in keys:
        return [(name, key) for name, names in keys.items() if name == space for key in keys_meant(rest, names)]
    matching = keys_meant(word, (key for names in keys.values() for key in names))
    spaces = [name for name, names in keys.items() if not set(matching).isdisjoint(names)]
    return [(name, key) for name in spaces[:1] for key in keys[name] if key in matching]


def _all(runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns all columns but those of the environment."""
    models = ["models"] if any(run.models for run in runs) else []
    first, last = ("run", "when", "status"), (*models, "tags", "seconds", "user", "host", "commit")
    values = _values(runs, ("param", "metric", "input"))
    return [*map(_field, first), *values, *map(_field, last)]


def _values(runs: Sequence[RunSummary], spaces: Sequence[Space]) -> list[RunColumn]:
    return _titled([RunColumn(title=key, space=space, key=key) for space in spaces for key in _keys(runs, space)], runs)


def _matching(word: str, runs: Sequence[RunSummary]) -> list[RunColumn]:
    keys = {space: _keys(runs, space) for space, _ in _SPACES}
    return [RunColumn(title=key, space=space, key=key) for space, key in find_keys(word, keys)]


def _keys(runs: Sequence[RunSummary], space: Space) -> list[str]:
    mapping = dict(_SPACES)[space]
    return list(dict.fromkeys(key for run in runs for key in mapping(run)))


def _titled(columns: Sequence[RunColumn], runs: Sequence[RunSummary]) -> list[RunColumn]:
    """Returns columns of values with short titles where these are unique, and with `differs`."""
    short = Counter(_short(column.space, column.key) for column in columns)
    differing = {space: _differing(space, runs) for space in {column.space for column in columns}}
    return [
        replace(
            column,
            title=title if short[title] == 1 else column.key,
            differs=column.key in differing[column.space],
        )
        for column in columns
        for title in [_short(column.space, column.key)]
    ]


def _short(space: Space, key: str) -> str:
    return key if space in {"input", "env"} else key.partition(":")[2] or key


def _differing(space: Space, runs: Sequence[RunSummary]) -> set[str]:
    """Returns the keys in which runs of one stage have different values; the instances of a template are one stage."""
    values_of = dict(_SPACES)[space]
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    differing: set[str] = set()
    for run in runs:
        values = values_of(run)
        before = first.setdefault((template_of(run.stage), run.file), values)
        if before is not values:
            keys = before.keys() | values.keys()
            differing.update(key for key in keys if repr(before.get(key)) != repr(values.get(key)))
    return differing


def _field(key: str) -> RunColumn:
    return RunColumn(title=key.upper().replace("_", " "), space="run", key=key)
