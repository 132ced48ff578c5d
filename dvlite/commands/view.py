"""`dvlite view` and `dvlite runs --html`: writes a page with runs, what they ran with and what came out, to look at in a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from dvlite.checks.verdicts import State, standing
from dvlite.formats import record
from dvlite.formats.pipeline import Direction
from dvlite.formats.record import CheckRecord, Record, RuleOutcome, Run
from dvlite.formats.series import SeriesFile, is_series
from dvlite.git.output import is_pipeline_file
from dvlite.oid import Digest, Oid
from dvlite.pipeline.stages import declared_better
from dvlite.registry.models import load
from dvlite.repo.repository import open_cache, place_of_page
from dvlite.results import Result
from dvlite.runs import page as runs_page
from dvlite.runs.history import History
from dvlite.runs.index import open_index
from dvlite.runs.logs import bring, lacking
from dvlite.runs.options import RunsOptions, order_of, parsed, resolved
from dvlite.runs.outputs import series_of
from dvlite.runs.page import RunsOfPage
from dvlite.runs.previews import FilePreview, Previews, TextPreview
from dvlite.runs.records import Records, open_records
from dvlite.runs.schema import OUTPUT, CheckRow, digest_of
from dvlite.store.cache import Cache

if TYPE_CHECKING:
    from dvlite.progress import Progress
    from dvlite.repo.repository import Repo

_DETAILED = 500  # runs with command, edits and log: the first on the page
_MOST_REASONS = 500  # failed checks whose reasons are on the page
_MOST_PROBLEMS = 5  # of a check
_MOST_FILES = 8  # pictures and tables of a run
_MOST_SERIES_BYTES = 64 << 20  # of the files with series
_MILLION = 10**6


@dataclass(frozen=True, slots=True)
class RunDetail:
    """What only the record of a run has, with the end of its log and the start of its edits."""

    record: Run
    log: TextPreview | None = None
    diff: TextPreview | None = None


@dataclass(frozen=True, slots=True)
class PageCheck:
    """How the result of a check stands, and why; the reasons are left out (none) where the page has enough of them."""

    check: str
    state: State
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPage:
    """All that the page shows. Details, files and series are by the position of the run."""

    title: str
    written: str
    known: int  # all runs of this clone
    runs: RunsOfPage
    commits: Mapping[int, str]
    checks: Mapping[Oid, tuple[PageCheck, ...]]  # by what was checked
    details: Mapping[int, RunDetail]
    files: Mapping[int, Sequence[FilePreview]]
    series: Mapping[int, SeriesFile]
    columns: Sequence[str] = ()  # asked for
    order: str | None = None
    better: Mapping[str, Direction] = field(default_factory=dict)  # which values of metrics are


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ViewResult(Result):
    """The page that was written: its place, and how many of the known runs it has."""

    schema: ClassVar[str] = "dvlite.view/1"
    file: str
    runs: int
    known: int
    size_bytes: int
    opened: bool | None = None  # null: not asked for
    absent: int = 0  # logs, edits and curves of the runs shown that are not in the cache: dvlite view --fetch
    fetched: bool = False  # the default remote was asked for them
    warnings: tuple[str, ...] = ()


def view(
    repo: Repo,
    options: RunsOptions,
    file: str | None,
    *,
    write: Callable[[ViewPage, str], int],
    fetch: bool = False,
    now_ns: int,
    progress: Progress,
) -> ViewResult:
    """Writes the page of the runs that match, by `write`. Asks no remote, but with `fetch` for logs, edits and curves that are not here.

    Without a file, it is `dvlite/view/runs.html` in git's folder.
    """
    place = place_of_page(repo, file, "runs.html")
    page = _page(repo, options, now_ns, progress, fetch=fetch)
    size_bytes = write(page, place)
    absent = lacking(open_cache(repo), (oid for detail in page.details.values() for oid in detail.record.left_apart))
    return ViewResult(
        file=place, runs=page.runs.listed, known=page.known, size_bytes=size_bytes, absent=len(absent), fetched=fetch
    )


def _page(repo: Repo, options: RunsOptions, now_ns: int, progress: Progress, *, fetch: bool) -> ViewPage:
    records = open_records(repo, progress)
    filters = replace(parsed(repo, options, now_ns // _MILLION), limit=options.limit)
    with open_index(records) as index:
        known = index.count_runs()
        if known:
            filters = resolved(repo, index, filters)
        order = None if options.sort is None else order_of(options.sort, index)
        runs = runs_page.read(index, filters, order, load(repo.git).labels())
    shown = range(min(runs.listed, _DETAILED))
    read = _read(records, runs, shown)
    if fetch:
        bring(repo, (oid for run in read.values() for oid in run.left_apart), progress, must_ask=True)
    cache = open_cache(repo)
    previews = Previews(cache)
    details = _details(read, previews)
    history = History(repo)
    in_git = {place: history.commit_of_run(run.oid) for place, run in enumerate(runs.runs)}
    return ViewPage(
        title=repo.root.name,
        written=record.time_text(now_ns),
        known=known,
        runs=runs,
        checks=_checks(records, runs, record.time_text(now_ns)),
        commits={**{place: commit for place, commit in in_git.items() if commit is not None}, **runs.commits},
        files=_files(runs, shown, previews),
        details=details,
        series=_series(details, cache),
        columns=tuple(options.columns),
        order=options.sort,
        better=declared_better(repo.work_tree, filter(is_pipeline_file, {run.file for run in runs.runs})),
    )


def _files(runs: RunsOfPage, shown: range, previews: Previews) -> dict[int, list[FilePreview]]:
    """Returns the pictures and tables among the outputs of the first runs."""
    shown_files: dict[int, list[FilePreview]] = {}
    for item in sorted(runs.contents, key=lambda item: (item.run, item.path)):
        if item.output == OUTPUT and item.run in shown:
            own = shown_files.setdefault(item.run, [])
            for preview in previews.outputs(item.path, item.oid, item.size_bytes, item.files):
                if len(own) < _MOST_FILES:
                    own.append(preview)
    return {run: own for run, own in shown_files.items() if own}


def _checks(records: Records, runs: RunsOfPage, now: str) -> dict[Oid, tuple[PageCheck, ...]]:
    """Returns how the checks of all contents of runs stand; the records of those that failed are read for the reasons."""
    failed = [(oid, row.oid) for oid, rows in runs.checks.items() for row in rows if not row.passed]
    explained = {*failed[:_MOST_REASONS]}
    wanted = {Digest(digest_of(result)) for _, result in explained}
    rules = {digest: _broken(records.parsed(data)) for digest, data in records.find(wanted)}

    def check_of(oid: Oid, row: CheckRow) -> PageCheck:
        own = rules.get(Digest(digest_of(row.oid)), ()) if (oid, row.oid) in explained else ()
        state, problems = standing(row, own, now)
        return PageCheck(row.name, state, tuple(problems))

    return {oid: tuple(check_of(oid, row) for row in rows) for oid, rows in runs.checks.items()}


def _broken(result: Record | None) -> Sequence[RuleOutcome]:
    rules = result.rules if isinstance(result, CheckRecord) else ()
    return [each for each in rules if not each.passed][:_MOST_PROBLEMS]


def _read(records: Records, runs: RunsOfPage, shown: range) -> dict[int, Run]:
    """Returns the records of runs, in order."""
    places = {Digest(digest_of(runs.runs[place].oid)): place for place in shown}
    read = {places[digest]: records.parsed(data) for digest, data in records.find(places.keys())}
    return {place: run for place in shown if isinstance(run := read.get(place), Run)}


def _details(read: Mapping[int, Run], previews: Previews) -> dict[int, RunDetail]:
    details = {}
    for place, run in read.items():  # the first ones get texts while there is room
        log = None if run.log is None else previews.text(run.log, "end")
        diff = None if run.code.diff is None else previews.text(run.code.diff, "start")
        details[place] = RunDetail(run, log, diff)
    return details


def _series(details: Mapping[int, RunDetail], cache: Cache) -> dict[int, SeriesFile]:
    """Returns what the metrics files of runs have of metrics over steps: all that the page shows of it comes from here."""
    series, left_bytes = {}, _MOST_SERIES_BYTES
    for place, detail in details.items():
        sizes = [item.size_bytes for item in detail.record.metric_files if is_series(item.path)]
        if sizes and sum(sizes) > left_bytes:
            series[place] = SeriesFile({}, ("the series are left out, for the page has enough of them",))
        elif sizes:
            left_bytes -= sum(sizes)
            series[place] = series_of(detail.record, cache)
    return series
