"""`dvlite plots show` and `plots diff`: what columns of the files of stages look like, and images, of one revision or of several over each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from dvlite.errors import DvliteError, PartlyDone
from dvlite.pipeline.stages import load
from dvlite.plots.charts import drawings_of
from dvlite.plots.collect import Plot, plots_of
from dvlite.plots.draw import Drawing
from dvlite.plots.side import open_side
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, place_of_page
from dvlite.repo.revisions import WORK_TREE
from dvlite.results import Result
from dvlite.show import Show, count

_HEAD = "HEAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotRevision:
    """A side: the workspace, a revision, or (no commit either) a run."""

    revision: str
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PlotsResult(Result):
    """The plots of one side or several, with their points; `file` is the page, if one was asked for."""

    schema: ClassVar[str] = "dvlite.plots/1"
    revisions: tuple[PlotRevision, ...] = ()
    plots: tuple[Plot, ...] = ()
    file: str | None = None
    size_bytes: int | None = None
    opened: bool | None = None  # null: not asked for
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns of how many plots something could not be read."""
        number = sum(bool(plot.problems) for plot in self.plots)
        if number:
            return PartlyDone(
                f"of {count(number, 'plot')}, something could not be read or drawn", hint="see the warnings above"
            )
        return PartlyDone("not all plots are known", hint="see the warnings above") if self.warnings else None


@dataclass(frozen=True, slots=True)
class PlotsPage:
    """What the page shows: the result, and the charts of its plots by position."""

    title: str
    result: PlotsResult
    charts: Mapping[int, Drawing] = field(default_factory=dict)


Write = Callable[[PlotsPage, str], int]


@dataclass(frozen=True, slots=True)
class PlotsOptions:
    """The page, if one is wanted: its file ('' for one in git's folder), and what writes it."""

    html: str | None = None
    write: Write = lambda _page, _file: 0


def plots_show(
    repo: Repo, targets: Sequence[str], *, revision: str | None, options: PlotsOptions, progress: Progress
) -> PlotsResult:
    """Returns the plots of the work tree, of a revision or a run; with a page, draws them and writes it.

    Raises UsageError for a target that is no plot, and for a page where vl-convert is not installed.
    """
    return _plots(repo, [revision or WORK_TREE], targets, options, progress)


def plots_diff(
    repo: Repo, revisions: Sequence[str], targets: Sequence[str], *, options: PlotsOptions, progress: Progress
) -> PlotsResult:
    """Returns the plots of several sides: HEAD and the work tree, `A` and the work tree, `A..B`, or all that are given; as `plots_show`."""
    names = list(revisions)
    if len(names) == 1 and ".." in names[0]:
        names = [name or _HEAD for name in names[0].split("..", 1)]
    elif len(names) < 2:
        names = [*(names or [_HEAD]), WORK_TREE]
    return _plots(repo, list(dict.fromkeys(names)), targets, options, progress)


def _plots(
    repo: Repo, names: Sequence[str], targets: Sequence[str], options: PlotsOptions, progress: Progress
) -> PlotsResult:
    place = None if options.html is None else place_of_page(repo, options.html or None, "plots.html")
    sides = [open_side(repo, name, progress) for name in names]
    at = next((side.at for side in reversed(sides) if side.at is not None), repo.work_tree)
    loaded = load(at)
    progress.start("reading plots")
    plots = plots_of(sides, [*loaded.stages, *loaded.loose], {word: repo.relative(word) for word in targets})
    warnings = [error.message for error in loaded.broken]
    revisions = tuple(
        PlotRevision(revision=side.name, commit=None if side.at is None else side.at.commit) for side in sides
    )
    result = PlotsResult(revisions=revisions, plots=tuple(plots))
    if place is not None:
        progress.start("drawing plots")
        drawings = drawings_of(at, plots)
        plots = [
            replace(plot, problems=(*plot.problems, drawings[number].problem))
            if number in drawings and drawings[number].problem
            else plot
            for number, plot in enumerate(plots)
        ]
        result = replace(result, plots=tuple(plots), file=place)
        result = replace(result, size_bytes=options.write(PlotsPage(repo.root.name, result, drawings), place))
    progress.finish()
    problems = [f"{plot.title}: {problem}" for plot in plots for problem in plot.problems]
    return replace(result, warnings=tuple(dict.fromkeys([*warnings, *problems])))
