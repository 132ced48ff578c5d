"""What a reviewer sees beside the data that changed: metrics and plots that differ between two sides, and the charts of these as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.files import os_error, write_atomic
from dvlite.pipeline.metric_files import MetricDifference, differences, read_metrics
from dvlite.pipeline.stages import load
from dvlite.plots.charts import drawings_of
from dvlite.plots.collect import Plot, plots_of
from dvlite.plots.side import PlotSide, open_side
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Revision

_FULL = re.compile(r"^([0-9a-f]{7})[0-9a-f]{33,}$")  # the id of a commit, shown by its first digits
_MOST_LETTERS = 80  # of the name of a chart's file


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Metrics and plots that differ between two sides; `charts` are the names of files that were written, by position of the plot."""

    old: str
    new: str
    metrics: tuple[MetricDifference, ...] = ()
    plots: tuple[Plot, ...] = ()
    charts: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def review(repo: Repo, old: str, new: str, charts: str | None, progress: Progress) -> Review:
    """Compares two revisions, runs or `workspace`; with `charts`, draws the plots that differ into files of that folder.

    Of a run, metrics are not compared. What cannot be read is a warning.
    """
    sides = [open_side(repo, name, progress, shown=_FULL.sub(r"\1", name)) for name in (old, new)]
    at = next((side.at for side in reversed(sides) if side.at is not None), repo.work_tree)
    loaded = load(at)
    plots = [plot for plot in plots_of(sides, [*loaded.stages, *loaded.loose]) if _differs(plot, sides)]
    files, problems = {}, [f"{plot.title}: {problem}" for plot in plots for problem in plot.problems]
    if charts is not None:
        progress.start("drawing plots")
        files = _written(charts, at, plots, problems)
    metrics = _metrics(repo, sides, problems)
    progress.finish()
    warnings = tuple(dict.fromkeys([*(error.message for error in loaded.broken), *problems]))
    return Review(
        old=sides[0].name, new=sides[1].name, metrics=metrics, plots=tuple(plots), charts=files, warnings=warnings
    )


def _differs(plot: Plot, sides: list[PlotSide]) -> bool:
    curves = [
        [(c.file, c.column, *map(tuple, (c.x, c.y, c.counts))) for c in plot.curves if c.revision == side.name]
        for side in sides
    ]
    images = [[(image.file, image.content) for image in plot.images if image.revision == side.name] for side in sides]
    return curves[0] != curves[1] or images[0] != images[1]


def _metrics(repo: Repo, sides: list[PlotSide], problems: list[str]) -> tuple[MetricDifference, ...]:
    at = [side.at for side in sides if side.at is not None]
    if len(at) < len(sides):
        return ()
    before, after = read_metrics(repo, at, ())
    problems += [*before.problems.values(), *after.problems.values()]
    rows = differences(before, after, sorted(before.files | after.files))
    return tuple(row for row in rows if row.state != "equal")


def _written(folder: str, at: Revision, plots: list[Plot], problems: list[str]) -> dict[int, str]:
    """Writes the charts, called as their plots, and returns the names."""
    names: dict[int, str] = {}
    for number, drawing in drawings_of(at, plots, titled=True).items():
        if drawing.problem:
            problems.append(f"{plots[number].title}: {drawing.problem}")
            continue
        start = re.sub(r"[^A-Za-z0-9._-]+", "-", plots[number].title).strip("-.")[:_MOST_LETTERS] or "plot"
        name = f"{start}.svg" if f"{start}.svg" not in names.values() else f"{start}-{number}.svg"
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            write_atomic(Path(folder, name), drawing.svg.encode(), sync=False)
        except OSError as error:
            raise os_error(error, "write", Path(folder, name)) from error
        names[number] = name
    return names
