"""What runs inherit from the runs upstream, which wrote their inputs: parameters, and the data that no run wrote.

Content is followed only where it is beyond doubt: by its bytes, under the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dvlite.formats.record import AXES_FILE
from dvlite.oid import MANIFEST, Oid
from dvlite.paths import ancestors
from dvlite.repo.repository import Repo
from dvlite.runs.index import RunIndex
from dvlite.runs.queries import Artefact, RunQueries
from dvlite.runs.schema import MAKER_OF_USED, PARAM

_MOST_MAKERS = 20  # of the same content: the newest
_AXIS = f"{AXES_FILE}:"
_MOST_LEVELS = 100  # of runs before one another: a stage that reads its own output adds one each time it runs

_MAKER = f"SELECT DISTINCT used.run, {MAKER_OF_USED} FROM io used WHERE used.output IN (0, 2) AND used.run IN"  # noqa: S608  # constants only

RunKey = TypeVar("RunKey", Oid, int)


def walk(
    start: Iterable[RunKey], neighbours: Callable[[list[RunKey]], Mapping[RunKey, Sequence[RunKey]]]
) -> dict[RunKey, Sequence[RunKey]]:
    """Walks over runs breadth first, 100 levels at most, and returns the neighbours of each run reached.

    `neighbours` is called once a level, with runs not met before.
    """
    reached: dict[RunKey, Sequence[RunKey]] = {}
    level = list(dict.fromkeys(start))
    for _ in range(_MOST_LEVELS):
        if not level:
            break
        reached |= neighbours(level)
        level = [run for run in dict.fromkeys(after for run in level for after in reached[run]) if run not in reached]
    return reached


# --- parameters ---


def upstream_params(index: RunIndex, runs: Sequence[Oid]) -> dict[Oid, dict[str, Any]]:
    """Returns, for each run, the parameters of the runs upstream that it does not have itself; the nearest run wins.

    Of several runs that wrote the same bytes under a path, the newest before the run counts: so `filters` finds what a listing shows.
    """
    numbers = index.numbers(runs)
    makers = makers_of(index, numbers.values())
    values = index.values_by_number([*makers], PARAM)
    return {oid: _inherited(numbers[oid], makers, values) if oid in numbers else {} for oid in runs}


def makers_of(index: RunIndex, runs: Iterable[int]) -> dict[int, Sequence[int]]:
    """Returns, for these runs and all upstream of them, the runs that wrote their inputs; by the index's numbers of runs."""
    return walk(runs, lambda level: _makers(index, level))


def _makers(index: RunIndex, runs: list[int]) -> dict[int, list[int]]:
    makers: dict[int, list[int]] = {run: [] for run in runs}
    for run, maker in index.select_in(_MAKER, runs):
        if maker is not None:
            makers[run].append(maker)
    return makers


def _inherited(
    run: int, makers: Mapping[int, Sequence[int]], values: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    own, inherited = values.get(run, {}), dict[str, Any]()

    def neighbours(level: list[int]) -> dict[int, Sequence[int]]:
        for before in sorted(level, reverse=True):
            for key, value in values.get(before, {}).items():
                if key not in own and not key.startswith(_AXIS):  # a stage after all instances has the value of none
                    inherited.setdefault(key, value)
        return {before: makers.get(before, ()) for before in level}

    walk([run], neighbours)
    return inherited


# --- runs ---


def upstream_runs(queries: RunQueries, runs: Sequence[Oid]) -> dict[Oid, list[Oid]]:
    """Returns, for each run, the runs upstream of it, the nearest first: those that wrote its inputs, or the folders that held these."""
    makers = walk(runs, _SourceData(queries, ()).makers)
    return {run: [*walk([run], lambda level: {one: makers.get(one, ()) for one in level})][1:] for run in runs}


# --- source data ---


def source_data(repo: Repo, queries: RunQueries, runs: Sequence[Oid]) -> dict[Oid, dict[str, Oid]]:
    """Returns, for each run, path and content of the data upstream that no run wrote. The cost grows with the runs upstream.

    A path is left out where the runs that wrote the same bytes lead to different versions of it. Code, which git keeps, is no data.
    """
    tracked = {item.path for item in repo.work_tree.tracked(broken=[]) if not item.lockfile}
    upstream = _SourceData(queries, tracked)
    makers = walk(runs, upstream.makers)
    sources = _with_inherited(runs, makers, upstream.sources)
    untracked = {path for own in upstream.sources.values() for path in own if not _is_within(path, tracked)}
    code = {name for path in repo.git.tracked_under([*untracked]) for name in (path, *ancestors(path))}
    return {run: {path: oid for path, oid in sources[run].items() if oid and path not in code} for run in runs}


@dataclass(slots=True)
class _SourceData:
    """Finds the makers of runs' inputs; `sources` collects the inputs that no run wrote."""

    queries: RunQueries
    tracked: Collection[str]  # paths that have a pointer
    sources: dict[Oid, dict[str, Oid]] = field(default_factory=dict)
    _makers: dict[tuple[str, Oid], list[Oid]] = field(default_factory=dict)

    def makers(self, runs: list[Oid]) -> dict[Oid, list[Oid]]:
        """Returns the runs that wrote the inputs of each run, or the directories that held these inputs."""
        inputs = [
            (run, item, self._written(item)) for run, items in self.queries.inputs(runs).items() for item in items
        ]
        self._read_makers({content for _, _, contents in inputs for content in contents})
        makers: dict[Oid, list[Oid]] = {run: [] for run in runs}
        self.sources |= {run: {} for run in runs}
        for run, item, contents in inputs:
            writers = next((self._makers[content] for content in contents if self._makers[content]), [])
            makers[run] += writers
            if not writers and (not contents or item.oid.startswith(MANIFEST)):
                self.sources[run][item.path] = item.oid
        return makers

    def _written(self, item: Artefact) -> list[tuple[str, Oid]]:
        """Returns path and content of what a run may have written: an input, else the directory that held it; nothing tracked."""
        if _is_within(item.path, self.tracked):
            return []
        return [(item.path, item.oid), *([] if item.inside is None else [item.inside])]

    def _read_makers(self, contents: Collection[tuple[str, Oid]]) -> None:
        new = [content for content in contents if content not in self._makers]
        makers = self.queries.makers([*dict.fromkeys(oid for _, oid in new)])
        for path, oid in new:
            writers = [run for run, name in reversed(makers.get(oid, ())) if name == path]
            self._makers[path, oid] = writers[:_MOST_MAKERS]


def _with_inherited(
    runs: Sequence[Oid], makers: Mapping[Oid, Sequence[Oid]], sources: Mapping[Oid, Mapping[str, Oid]]
) -> dict[Oid, dict[str, Oid | None]]:
    """Returns the sources of runs and of all runs upstream; None is the content where that is ambiguous."""
    combined: dict[Oid, dict[str, Oid | None]] = {}
    for run in _oldest_first(runs, makers):
        inherited: dict[str, Oid | None] = {}
        for maker in makers.get(run, ()):
            # One that comes later has nothing yet: records of strangers may form a circle.
            for path, oid in combined.get(maker, {}).items():
                inherited[path] = oid if inherited.get(path, oid) == oid else None
        own = sources.get(run, {})
        combined[run] = {**own, **inherited, **own}
    return combined


def _oldest_first(runs: Sequence[Oid], makers: Mapping[Oid, Sequence[Oid]]) -> list[Oid]:
    """Returns the runs and all runs upstream, each after its makers."""
    ordered: list[Oid] = []
    seen: set[Oid] = set()
    stack = [(run, False) for run in runs]
    while stack:
        run, is_left = stack.pop()
        if is_left:
            ordered.append(run)
        elif run not in seen:
            seen.add(run)
            stack.append((run, True))
            stack += [(maker, False) for maker in makers.get(run, ())]
    return ordered


def _is_within(path: str, folders: Collection[str]) -> bool:
    return path in folders or any(parent in folders for parent in ancestors(path))
