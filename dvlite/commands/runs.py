"""`dvlite runs`: lists, shows, compares, tags and annotates runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dvlite.errors import DvliteError, ObjectMissing, UsageError
from dvlite.formats import record
from dvlite.formats.record import Note, Operation, Run
from dvlite.formats.series import SeriesFile, is_series
from dvlite.git.output import is_pipeline_file
from dvlite.oid import Oid, parse_oid
from dvlite.registry.models import load
from dvlite.repo.repository import open_cache
from dvlite.results import Result, TableResult, even, moment, plain
from dvlite.runs import columns
from dvlite.runs.columns import RunColumn, RunSummary
from dvlite.runs.compare import RunCompareRow, RunDifference, compare_runs, side_by_side
from dvlite.runs.filters import Condition, Filters, SortOrder
from dvlite.runs.history import History, locked_now
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.names import find_run, name_of, names_of, suggestion
from dvlite.runs.options import RunsOptions, order_of, parsed, resolved
from dvlite.runs.outputs import series_of
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import Records, open_records
from dvlite.runs.schema import ENV, METRIC, PARAM, RunRow
from dvlite.runs.sides import RunSide, code_paths_of, record_of_run, side_of, whole_record
from dvlite.runs.upstream import source_data, upstream_params
from dvlite.show import quote, size_text, some, word

if TYPE_CHECKING:
    from dvlite.formats.pipeline import Direction
    from dvlite.progress import Progress
    from dvlite.repo.repository import Repo

_MILLION = 10**6
_MILLISECOND_NS = 10**6
_MOST_SERIES_BYTES = 8 << 20  # drawn in the terminal: 0.7 s to read


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsListResult(TableResult):
    """Runs and the columns of a listing; `more`: other runs match too."""

    schema: ClassVar[str] = "dvlite.runs-list/1"
    ROWS = ("runs", RunSummary)
    now: str  # the reference of `2m ago`
    runs: tuple[RunSummary, ...] = ()
    columns: tuple[RunColumn, ...] = ()
    chosen: bool = False  # the columns were requested: all are shown
    more: bool = False
    known: int = 0  # all runs of this clone
    named: int = 0  # if this clone has none: those that lockfiles name
    warnings: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """Returns a row for each run, with the columns that were requested, else with all: fields, parameters, metrics, inputs."""
        if self.chosen:
            return self._rows(self.columns)
        fields = [name for name in columns.FIELDS if name != "when"]
        return self._rows(columns.requested((*fields, columns.ALL), self.runs))

    def _view(self) -> list[dict[str, Any]]:
        return self._rows([column for column in self.columns if column.differs or self.chosen])

    def _rows(self, shown: Sequence[RunColumn]) -> list[dict[str, Any]]:
        names: dict[str, RunColumn] = {}
        for column in shown:
            title = column.key if column.space == "run" else column.title
            names[title if title not in ("name", *names) else f"{column.space}.{column.key}"] = column
        return even(
            {"name": plain(run.name)} | {name: _cell(run, column) for name, column in names.items()}
            for run in self.runs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """A text that a user added to a run."""

    text: str
    time: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsShowResult(Result):
    """Everything about a run; `log` is the text of its log, `diff` that of its edits, if requested."""

    schema: ClassVar[str] = "dvlite.runs-show/1"
    now: str
    run: str
    name: str
    record: Run
    commits: tuple[str, ...] = ()  # whose lockfiles name it
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # versions in the registry that it made: birds@7 (prod)
    notes: tuple[RunNote, ...] = ()
    log: str | None = None
    diff: str | None = None
    series: SeriesFile | None = field(default=None, metadata={"json": False})
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsDiffResult(Result):
    """Two runs and the changes between them."""

    schema: ClassVar[str] = "dvlite.runs-diff/1"
    old: RunSide
    new: RunSide
    changes: RunDifference
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsCompareResult(TableResult):
    """Several runs, and the values in which they differ, in the order of the runs."""

    schema: ClassVar[str] = "dvlite.runs-compare/1"
    ROWS = ("rows", RunCompareRow)
    runs: tuple[RunSide, ...]
    rows: tuple[RunCompareRow, ...] = ()
    warnings: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """Returns a row for each value that differs, with a column for each run."""
        names = [run.name for run in self.runs]
        return even(
            {"part": row.part, "key": plain(row.key)}
            | {name: plain(cell.value) for name, cell in zip(names, row.cells, strict=True)}
            for row in self.rows
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsTagResult(Result):
    """The tags of a run after it was tagged or untagged; `changed` are those added or removed."""

    schema: ClassVar[str] = "dvlite.runs-tag/1"
    run: str
    name: str
    action: Literal["tag", "untag"] = "tag"
    changed: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsNoteResult(Result):
    """The note that was added to a run."""

    schema: ClassVar[str] = "dvlite.runs-note/1"
    run: str
    name: str
    note: RunNote
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsBestResult(Result):
    """The run with the best value of a metric; of several, the newest."""

    schema: ClassVar[str] = "dvlite.runs-best/1"
    now: str
    metric: str
    better: Direction
    value: float
    run: RunSummary
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsRmResult(Result):
    """The runs that lists leave out now or, with `undo`, show again; those that they did already are not among them."""

    schema: ClassVar[str] = "dvlite.runs-rm/1"
    undo: bool = False
    runs: tuple[RunSide, ...] = ()
    warnings: tuple[str, ...] = ()


def runs_list(repo: Repo, options: RunsOptions, *, now_ns: int, progress: Progress) -> RunsListResult:
    """Returns the runs that match, newest first or sorted, and the columns to show."""
    filters = parsed(repo, options, now_ns // _MILLION)
    with _open(repo, progress) as (_, index):
        count = index.count_runs()
        if count:
            filters = resolved(repo, index, filters)
        rows = (
            index.find(filters) if options.sort is None else index.find_sorted(filters, order_of(options.sort, index))
        )
        runs = _summaries(rows[: options.limit], index, repo)
        requested = bool(options.columns)
        shown = columns.requested(options.columns, runs) if requested and runs else columns.default(runs)
        return RunsListResult(
            now=record.time_text(now_ns),
            runs=tuple(runs),
            columns=tuple(columns.judged(shown, _better(repo, runs), in_order=requested)),
            chosen=requested,
            more=len(runs) < len(rows),
            known=count,
            named=0 if count else len(locked_now(repo)),
        )


def runs_best(
    repo: Repo, metric: str, options: RunsOptions, *, better: Direction | None, now_ns: int, progress: Progress
) -> RunsBestResult:
    """Returns the run with the best value of a metric among those that match and have outputs.

    `better` is as the pipeline file declares it, if not given; raises UsageError if neither says it, or no run has such a number.
    """
    with _open(repo, progress) as (_, index):
        filters = resolved(repo, index, parsed(repo, options, now_ns // _MILLION))
        keys = columns.find_keys(metric, {"metric": index.keys(METRIC)})
        if len(keys) != 1:
            known = [key.partition(":")[2] or key for key in index.keys(METRIC)]
            hint = f"one of: {some([key for _, key in keys])}" if keys else suggestion(metric, known, "metrics")
            raise UsageError(
                f"{quote(metric)} is {'any of several metrics' if keys else 'no metric of a run'}", hint=hint
            )
        key = keys[0][1]
        better = better or _declared_better(repo, key)
        is_number = Condition(METRIC, key, "<=", "inf")
        filters = replace(
            filters,
            statuses=filters.statuses or ("ok", "cached", "asserted"),
            conditions=(*filters.conditions, is_number),
            limit=1,
        )
        rows = index.find_sorted(filters, SortOrder("metric", key, better == "higher"))
        if not rows:
            raise UsageError(f"no run that matches has a number for {quote(key)}", hint="dvlite runs --all")
        run = _summaries(rows, index, repo)[0]
        now = record.time_text(now_ns)
        return RunsBestResult(now=now, metric=key, better=better, value=run.metrics[key], run=run)


def runs_show(
    repo: Repo, text: str, *, log: bool = False, diff: bool = False, now_ns: int, progress: Progress
) -> RunsShowResult:
    """Returns everything about a run and its series, or with `log` its log, with `diff` the edits that it ran with; these are fetched if missing.

    Raises UsageError if the run has no log or diff, ObjectMissing if neither the cache nor the default remote has it.
    """
    if log and diff:
        raise UsageError("--log and --diff cannot be given together", hint="give one of them")
    with _open(repo, progress) as (_, index):
        oid = find_run(index, text, repo.relative)
        run = record_of_run(index, oid)
        commits = index.commits([oid]).get(oid) or filter(None, [History(repo).commit_of_run(oid)])
        name = name_of(run.stage, oid)
        return RunsShowResult(
            now=record.time_text(now_ns),
            run=oid,
            name=name,
            record=run,
            commits=tuple(commits),
            tags=tuple(index.tags(oid)),
            models=load(repo.git).labels().get(oid, ()),
            notes=tuple(RunNote(text=note.text, time=note.time, user=note.user) for note in index.notes(oid)),
            log=_log(repo, run, name, progress) if log else None,
            diff=_edits(repo, run, name, progress) if diff else None,
            series=None if log or diff else _series(repo, run, progress),
        )


def runs_diff(repo: Repo, old: str, new: str, *, progress: Progress) -> RunsDiffResult:
    """Compares two runs: parameters, metrics, data, code, command, environment, outputs."""
    with _open(repo, progress) as (_, index):
        oids = find_run(index, old, repo.relative), find_run(index, new, repo.relative)
        before, after = whole_record(index, oids[0]), whole_record(index, oids[1])
        if "asserted" in (before.status, after.status):  # nothing is known of where it ran
            before, after = replace(before, environment={}), replace(after, environment={})
        changes = compare_runs(before, after, code_paths_of(repo, index, (before, after)), _better(repo, [after]))
        return RunsDiffResult(old=side_of(oids[0], before), new=side_of(oids[1], after), changes=changes)


def runs_compare(repo: Repo, texts: Sequence[str], *, progress: Progress) -> RunsCompareResult:
    """Compares two runs or more: parameters, metrics, data, code. Metrics are better or worse than those of the first run."""
    if len(texts) < 2:
        raise UsageError("one run is nothing to compare", hint="name two or more of those that dvlite runs lists")
    with _open(repo, progress) as (_, index):
        oids = [find_run(index, text, repo.relative) for text in texts]
        runs = [whole_record(index, oid) for oid in oids]
        code_paths = code_paths_of(repo, index, runs)
        better = _better(repo, runs)
        differences = [compare_runs(runs[0], run, code_paths, better) for run in runs[1:]]
        sides = tuple(map(side_of, oids, runs))
    return RunsCompareResult(runs=sides, rows=tuple(side_by_side(differences)))


def runs_tag(repo: Repo, text: str, tags: Sequence[str], *, now_ns: int, progress: Progress) -> RunsTagResult:
    """Adds tags to a run; those that it has already are skipped."""
    for tag in tags:
        if not record.is_tag(tag):
            raise UsageError(
                f"{quote(tag)} is not a tag", hint="no spaces or commas, no '!' at its start, at most 100 characters"
            )
    return _tagged(repo, text, tags, "tag", now_ns, progress)


def runs_untag(repo: Repo, text: str, tag: str, *, now_ns: int, progress: Progress) -> RunsTagResult:
    """Removes a tag from a run; raises UsageError if the run does not have it."""
    return _tagged(repo, text, [tag], "untag", now_ns, progress)


def runs_rm(
    repo: Repo, texts: Sequence[str], *, failed: bool = False, undo: bool = False, now_ns: int, progress: Progress
) -> RunsRmResult:
    """Lets lists leave runs out, with `failed` all that failed or were canceled; or, with `undo`, show them again. Their records stay."""
    if bool(texts) == failed:
        raise UsageError("which runs?", hint="dvlite runs rm train-7f3a9c   or   dvlite runs rm --failed")
    with _open(repo, progress) as (records, index):
        hidden = {row.oid for row in index.find(Filters(hidden=True))}
        wanted = [row.oid for row in index.find(Filters(statuses=("failed", "canceled")))] if failed else []
        wanted += [find_run(index, text, repo.relative) for text in texts]
        changed = [oid for oid in dict.fromkeys(wanted) if (oid in hidden) == undo]
        for oid in changed:
            records.put(_note(repo, oid, "unhide" if undo else "hide", "", _after(index, oid, now_ns)), durable=False)
        records.sync()
        rows = (_row(index, oid) for oid in changed)
        sides = (RunSide(run=row.oid, name=name_of(row.stage, row.oid), status=row.status) for row in rows)
        return RunsRmResult(undo=undo, runs=tuple(sides))


def runs_note(repo: Repo, text: str, words: str, *, now_ns: int, progress: Progress) -> RunsNoteResult:
    """Adds a text to a run."""
    if not words.strip():
        raise UsageError("the note is empty", hint="dvlite runs note RUN 'cleaned labels'")
    with _open(repo, progress) as (records, index):
        oid = find_run(index, text, repo.relative)
        note = _note(repo, oid, "note", words, now_ns)
        records.put(note)
        row = _row(index, oid)
    return RunsNoteResult(
        run=oid, name=name_of(row.stage, oid), note=RunNote(text=note.value, time=note.time, user=note.user)
    )


# --- listing ---


def _cell(run: RunSummary, column: RunColumn) -> Any:
    value = columns.value_in(run, column)
    return moment(value) if column.space == "run" and column.key in ("when", "start") else plain(value)


@contextlib.contextmanager
def _open(repo: Repo, progress: Progress) -> Iterator[tuple[Records, RunIndex]]:
    records = open_records(repo, progress)
    with open_index(records) as index:
        yield records, index


def _summaries(rows: Sequence[RunRow], index: RunIndex, repo: Repo) -> list[RunSummary]:
    """Returns runs with everything that a listing may show."""
    oids = [row.oid for row in rows]
    values = {space: index.values(oids, space) for space in (PARAM, METRIC, ENV)}
    inherited = upstream_params(index, oids)
    queries = RunQueries(index)
    inputs, sources = queries.inputs(oids), source_data(repo, queries, oids)
    models = load(repo.git).labels()
    history, noted, tags = History(repo), index.commits(oids), index.tags_of(oids)
    return [
        RunSummary(
            run=row.oid,
            stage=row.stage,
            file=row.file,
            status=row.status,
            start=row.start,
            seconds=row.seconds,
            exit_code=row.exit_code,
            of=row.origin,
            code=row.code,
            edited=row.dirty,
            user=row.user,
            host=row.host,
            sweep=row.sweep,
            name=name,
            commit=next(iter(noted.get(row.oid, ())), None) or history.commit_of_run(row.oid),
            tags=tuple(tags.get(row.oid, ())),
            models=models.get(row.oid, ()),
            params=values[PARAM][row.oid],
            upstream_params=inherited[row.oid],
            metrics=values[METRIC][row.oid],
            env=values[ENV][row.oid],
            inputs={item.path: item.oid for item in inputs[row.oid]},
            sources=sources[row.oid],
        )
        for row, name in zip(rows, names_of(rows), strict=True)
    ]


# --- one run ---


def _row(index: RunIndex, oid: Oid) -> RunRow:
    row = index.row(oid)
    if row is None:
        raise ObjectMissing(f"the run {oid} is missing", hint="dvlite pull fetches a remote's copy")
    return row


def _series(repo: Repo, run: Run, progress: Progress) -> SeriesFile:
    size_bytes = sum(item.size_bytes for item in run.metric_files if is_series(item.path))
    if size_bytes > _MOST_SERIES_BYTES:
        return SeriesFile({}, (f"{size_text(size_bytes)}, too much for a terminal: dvlite view",))
    cache = open_cache(repo)
    if not all(cache.has_file(parse_oid(file.oid)[1], file.size_bytes) for file in run.curves):
        from dvlite.runs.logs import bring  # as in `_text`

        bring(repo, (file.oid for file in run.curves), progress)
        cache = open_cache(repo)
    return series_of(run, cache)


_NOTHING_RAN = {
    "cached": "its outputs were reused from another run",
    "asserted": "its outputs were accepted by dvlite commit or import-dvc, and nothing was run",
}


def _log(repo: Repo, run: Run, name: str, progress: Progress) -> str:
    if run.log is None:
        because = _NOTHING_RAN.get(run.status, "nothing was printed, or it was not kept")
        raise UsageError(f"the run {name} has no log: {because}", hint=f"dvlite runs show {word(name)}")
    return _text(repo, run.log, f"the log of {name}", run, progress)


def _edits(repo: Repo, run: Run, name: str, progress: Progress) -> str:
    if run.code.diff is None:
        because = "too long to be kept" if run.code.dirty else "none: it ran as the commit is"
        raise UsageError(f"the edits that {name} ran with are {because}", hint=f"dvlite runs show {word(name)}")
    return _text(repo, run.code.diff, f"the diff of {name}", run, progress)


def _text(repo: Repo, oid: Oid, what: str, run: Run, progress: Progress) -> str:
    from dvlite.runs.logs import load_text  # the remote side, slow to load: no list of runs pays it

    by = "@".join(part for part in (run.user.partition("@")[0], run.host) if part)
    return load_text(repo, oid, what, by, progress)


def _better(repo: Repo, runs: Iterable[Run | RunSummary]) -> dict[str, Direction]:
    """Returns which values of metrics are better, as the pipeline files of these runs declare it now."""
    return _declared(repo, {run.file for run in runs if run.metrics})


def _declared(repo: Repo, files: Iterable[str]) -> dict[str, Direction]:
    """Returns what pipeline files declare `better`; those that do not have the word are not parsed."""
    declaring = []
    for file in filter(is_pipeline_file, files):
        with contextlib.suppress(DvliteError):
            declaring += [file] if b"better" in (repo.work_tree.read(file) or b"") else []
    if not declaring:
        return {}
    from dvlite.pipeline import stages  # 40 ms that only these pay

    return stages.declared_better(repo.work_tree, declaring)


def _declared_better(repo: Repo, key: str) -> Direction:
    """Returns which values of a metric are better, as the pipeline files declare it now. Raises UsageError if they do not."""
    better = _declared(repo, repo.work_tree.pipeline_files())
    if key in better:
        return better[key]
    raise UsageError(
        f"it is not known whether higher or lower values of {quote(key)} are better",
        hint="give --higher or --lower, or declare it in the pipeline file: metrics: [{path: ..., better: {acc: higher}}]",
    )


# --- tags and notes ---


def _tagged(
    repo: Repo, text: str, tags: Sequence[str], action: Literal["tag", "untag"], now_ns: int, progress: Progress
) -> RunsTagResult:
    with _open(repo, progress) as (records, index):
        oid = find_run(index, text, repo.relative)
        row = _row(index, oid)
        name, had = name_of(row.stage, oid), index.tags(oid)
        changed = [tag for tag in dict.fromkeys(tags) if (tag in had) == (action == "untag")]
        if action == "untag" and not changed:
            hint = f"it has {', '.join(map(quote, had))}" if had else "it has none"
            raise UsageError(f"the run {name} has no tag {quote(tags[0])}", hint=hint)
        first_ns = _after(index, oid, now_ns)  # a millisecond apart, in the order given
        for number, tag in enumerate(changed):
            records.put(_note(repo, oid, action, tag, first_ns + number * _MILLISECOND_NS), durable=False)
        records.sync()
    left = [*had, *changed] if action == "tag" else [tag for tag in had if tag not in changed]
    return RunsTagResult(run=oid, name=name, action=action, changed=tuple(changed), tags=tuple(left))


def _after(index: RunIndex, run: Oid, now_ns: int) -> int:
    """Returns a time after all notes that this clone knows of, whatever the clocks of other machines said."""
    return max(now_ns, record.time_ns(index.latest_note_time(run)) + _MILLISECOND_NS)


def _note(repo: Repo, run: Oid, operation: Operation, value: str, now_ns: int) -> Note:
    return Note(
        id=record.new_id(now_ns, os.urandom(8)),
        run=run,
        op=operation,
        value=value,
        time=record.time_text(now_ns),
        user=repo.git.config_get("user.email") or "",
        project=repo.config.project or "",
    )
