"""`dvlite runs`: lists, shows and compares what was run, and says something of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from dvlite.errors import DvliteError, ObjectMissing, UsageError
from dvlite.files import quote
from dvlite.formats import lockfile, record
from dvlite.formats.record import Note, Run, Status
from dvlite.oid import MANIFEST, Oid
from dvlite.pipeline import stages
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.runs import columns
from dvlite.runs import filters as search
from dvlite.runs.columns import RunColumn, RunSummary, Space
from dvlite.runs.compare import RunValueChange, difference
from dvlite.runs.filters import Filters, Order, condition
from dvlite.runs.history import History, in_git
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.logs import kept_text
from dvlite.runs.names import address_of, chosen, meant_hint, moment_ms, name_of, stage_meant
from dvlite.runs.records import Records, open_records
from dvlite.runs.schema import ENV, METRIC, PARAM, RunRow
from dvlite.runs.upstream_data import source_data
from dvlite.runs.upstream_params import params_before

_MILLION = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsListResult:
    """Runs, and the columns that a listing has; `more`: there are others that match."""

    schema: ClassVar[str] = "dvlite.runs-list/1"
    now: str  # what `2m ago` is relative to
    runs: tuple[RunSummary, ...] = ()
    columns: tuple[RunColumn, ...] = ()
    chosen: bool = False  # the columns were asked for: all are shown
    more: bool = False
    known: int = 0  # runs that are here, whether they match or not
    named: int = 0  # where none is here: those that lockfiles name
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """A text that somebody noted of a run."""

    text: str
    time: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsShowResult:
    """All that is known of a run; `log` is the text of its log, `diff` that of its edits, if they were asked for."""

    schema: ClassVar[str] = "dvlite.runs-show/1"
    now: str
    run: str
    name: str
    record: Run
    commits: tuple[str, ...] = ()  # whose lockfiles name it
    tags: tuple[str, ...] = ()
    notes: tuple[RunNote, ...] = ()
    log: str | None = None
    diff: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSide:
    """One of the runs that are compared."""

    run: str
    name: str
    status: str
    code: str | None = None
    edited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsDiffResult:
    """What differs between two runs; the parts that do not are named in `same`. Values of `data` and `code` are object ids."""

    schema: ClassVar[str] = "dvlite.runs-diff/1"
    old: RunSide
    new: RunSide
    params: tuple[RunValueChange, ...] = ()
    metrics: tuple[RunValueChange, ...] = ()
    data: tuple[RunValueChange, ...] = ()
    code: tuple[RunValueChange, ...] = ()  # inputs that git keeps; EDITS: `paths` and kept `diff`
    command: tuple[RunValueChange, ...] = ()
    environment: tuple[RunValueChange, ...] = ()
    outputs: tuple[RunValueChange, ...] = ()
    same: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTagResult:
    """The tags of a run after it was tagged or untagged; `changed` are those that it had not, or had, before."""

    schema: ClassVar[str] = "dvlite.runs-tag/1"
    run: str
    name: str
    action: Literal["tag", "untag"] = "tag"
    changed: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsNoteResult:
    """The note that was added to a run."""

    schema: ClassVar[str] = "dvlite.runs-note/1"
    run: str
    name: str
    note: RunNote
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsOptions:
    """Which runs are listed, and how, as people write it. `sort` is a column, with `-` before it from the highest down."""

    stage: str | None = None
    statuses: Sequence[str] = ()
    tags: Sequence[str] = ()
    params: Sequence[str] = ()
    metrics: Sequence[str] = ()
    since: str | None = None
    until: str | None = None
    commit: str | None = None
    limit: int | None = 20
    columns: Sequence[str] = ()
    sort: str | None = None


def runs_list(repo: Repo, asked: RunsOptions, *, now_ns: int, progress: Progress) -> RunsListResult:
    """Returns the runs that match, newest first or sorted, and the columns to show them in."""
    filters = _filters(repo, asked, now_ns // _MILLION)
    with _opened(repo, progress) as (_, index):
        known = index.count_runs()
        if known:
            _require_keys(index, filters)
        if known and asked.stage is not None:
            filters = replace(filters, stage=stage_meant(index, asked.stage))
        rows = index.find(filters) if asked.sort is None else index.find_sorted(filters, _order(asked.sort, index))
        more = asked.limit is not None and len(rows) > asked.limit
        runs = _summaries(rows[: asked.limit], index, repo)
        shown = columns.asked(asked.columns, runs) if asked.columns and runs else columns.usual(runs)
        return RunsListResult(
            now=record.time_text(now_ns),
            runs=tuple(runs),
            columns=tuple(shown),
            chosen=bool(asked.columns),
            more=more,
            known=known,
            named=0 if known else _named_by_lockfiles(repo),
        )


def runs_show(
    repo: Repo, text: str, *, log: bool = False, diff: bool = False, now_ns: int, progress: Progress
) -> RunsShowResult:
    """Returns all that is known of a run, with `log` its log, with `diff` the edits that it ran with; these are fetched if need be.

    Raises UsageError if the run has none, ObjectMissing if it is neither here nor on the default remote.
    """
    if log and diff:
        raise UsageError("--log and --diff cannot be given together", hint="give one of them")
    with _opened(repo, progress) as (_, index):
        oid = chosen(index, text)
        found = _record(index, oid)
        commits = index.commits(oid) or [commit for commit in [History(repo).commit_of_run(oid)] if commit]
        name = name_of(found.stage, oid)
        return RunsShowResult(
            now=record.time_text(now_ns),
            run=oid,
            name=name,
            record=found,
            commits=tuple(commits),
            tags=tuple(index.tags(oid)),
            notes=tuple(RunNote(text=note.text, time=note.time, user=note.user) for note in index.notes(oid)),
            log=_log(repo, found, name, progress) if log else None,
            diff=_edits(repo, found, name, progress) if diff else None,
        )


def runs_diff(repo: Repo, old: str, new: str, *, progress: Progress) -> RunsDiffResult:
    """Compares two runs: parameters, metrics, data, code, command, environment, outputs."""
    with _opened(repo, progress) as (_, index):
        before, after = chosen(index, old), chosen(index, new)
        one, other = _record(index, before), _record(index, after)
        found = difference(one, other, _code_paths(repo, index, (one, other)), _directions(repo, other))
        return RunsDiffResult(
            old=_side(before, one),
            new=_side(after, other),
            params=found.params,
            metrics=found.metrics,
            data=found.data,
            code=found.code,
            command=found.command,
            environment=found.environment,
            outputs=found.outputs,
            same=found.same,
        )


def runs_tag(repo: Repo, text: str, tags: Sequence[str], *, now_ns: int, progress: Progress) -> RunsTagResult:
    """Gives a run tags; those that it has already are passed over."""
    for tag in tags:
        if not record.is_tag(tag):
            raise UsageError(
                f"{quote(tag)} is no tag", hint="no spaces or commas, no '!' at its start, at most 100 characters"
            )
    return _tagged(repo, text, tags, "tag", now_ns, progress)


def runs_untag(repo: Repo, text: str, tag: str, *, now_ns: int, progress: Progress) -> RunsTagResult:
    """Takes a tag from a run; raises UsageError if it has no such tag."""
    return _tagged(repo, text, [tag], "untag", now_ns, progress)


def runs_note(repo: Repo, text: str, words: str, *, now_ns: int, progress: Progress) -> RunsNoteResult:
    """Adds a text to what is known of a run."""
    if not words.strip():
        raise UsageError("the note is empty", hint="dvlite runs note RUN 'what is worth knowing of it'")
    with _opened(repo, progress) as (records, index):
        oid = chosen(index, text)
        note = _note(repo, oid, "note", words, now_ns)
        records.put(note)
        row = _row(index, oid)
    return RunsNoteResult(
        run=oid, name=name_of(row.stage, oid), note=RunNote(text=note.value, time=note.time, user=note.user)
    )


# --- choosing ---


@contextmanager
def _opened(repo: Repo, progress: Progress) -> Iterator[tuple[Records, RunIndex]]:
    records = open_records(repo, progress)
    with open_index(records) as index:
        yield records, index


def _filters(repo: Repo, asked: RunsOptions, now_ms: int) -> Filters:
    known = get_args(Status)
    for status in asked.statuses:
        if status not in known:
            raise UsageError(f"{quote(status)} is no status of a run", hint=f"one of {', '.join(known)}")
    conditions = [condition(PARAM, text) for text in asked.params] + [condition(METRIC, text) for text in asked.metrics]
    return Filters(
        stage=asked.stage,
        statuses=tuple(asked.statuses),
        tags=tuple(tag for words in asked.tags for tag in words.split(",") if tag),
        conditions=tuple(conditions),
        since_ms=None if asked.since is None else moment_ms(asked.since, now_ms),
        until_ms=None if asked.until is None else moment_ms(asked.until, now_ms, end=True),
        commit=None if asked.commit is None else _commit(repo, asked.commit),
        limit=None if asked.limit is None else asked.limit + 1,
    )


def _require_keys(index: RunIndex, filters: Filters) -> None:
    """Raises UsageError for a parameter or metric that no run has."""
    words: dict[str, tuple[Space, str]] = {PARAM: ("param", "parameter"), METRIC: ("metric", "metric")}
    for wanted in filters.conditions:
        space, noun = words[wanted.space]
        known = index.keys(space)
        if not columns.meant(wanted.key, {space: known}):
            hint = meant_hint(wanted.key, [key.partition(":")[2] or key for key in known], f"{noun}s")
            raise UsageError(f"no run has a {noun} {quote(wanted.key)}", hint=hint)


def _named_by_lockfiles(repo: Repo) -> int:
    """Returns how many runs the lockfiles name; of one that cannot be read, none."""
    found: set[Oid] = set()
    for path in repo.work_tree.lockfiles():
        try:
            stages_there = lockfile.parse(repo.work_tree.read(path) or b"", path).stages
        except DvliteError:
            continue
        found.update(stage.run for stage in stages_there if stage.run is not None)
    return len(found)


def _commit(repo: Repo, text: str) -> str:
    """Returns the digits of a commit: those given, or of the revision that is meant."""
    if len(text) >= 4 and all(digit in "0123456789abcdef" for digit in text):
        return text
    return repo.git.resolve(text)


def _order(text: str, index: RunIndex) -> Order:
    """Returns what a word means to sort by; with `-` before it, from the highest down."""
    word = text.removeprefix("-")
    if word in search.COLUMNS:
        return Order("run", word, word != text)
    spaces: tuple[Literal["param", "metric", "env"], ...] = ("param", "metric", "env")
    found = columns.meant(word, {space: index.keys(space) for space in spaces})
    if len(found) != 1:
        meant = [f"it may be {', '.join(key for _, key in found)}"] if found else []
        hint = "; ".join(
            ["give the key of a parameter or metric", *(meant or [f"or one of {', '.join(search.COLUMNS)}"])]
        )
        raise UsageError(f"{quote(word)} is no column to sort by", hint=hint)
    return Order(*found[0], word != text)


def _summaries(rows: Sequence[RunRow], index: RunIndex, repo: Repo) -> list[RunSummary]:
    """Returns runs with all that a listing may show."""
    oids = [row.oid for row in rows]
    values = {space: index.values(oids, space) for space in (PARAM, METRIC, ENV)}
    before = params_before(index, oids)
    inputs, sources = index.inputs(oids), source_data(repo, index, oids)
    names = {(row.stage, row.file) for row in rows}
    several = {stage for stage, _ in names if sum(other == stage for other, _ in names) > 1}
    history = History(repo)
    return [
        _summary(
            row,
            name=name_of(address_of(row.file, row.stage) if row.stage in several else row.stage, row.oid),
            commit=_named_by(index, history, row.oid),
            tags=tuple(index.tags(row.oid)),
            params=values[PARAM][row.oid],
            upstream_params=before[row.oid],
            metrics=values[METRIC][row.oid],
            env=values[ENV][row.oid],
            inputs=inputs[row.oid],
            sources=sources[row.oid],
        )
        for row in rows
    ]


def _summary(row: RunRow, **more: Any) -> RunSummary:
    return RunSummary(
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
        **more,
    )


def _named_by(index: RunIndex, history: History, run: Oid) -> str | None:
    """Returns the commit whose lockfile names a run: as git has it here, or as a push noted it."""
    return next(iter(index.commits(run)), None) or history.commit_of_run(run)


# --- one run ---


def _record(index: RunIndex, oid: Oid) -> Run:
    found = index.run(oid)
    if found is None:
        raise ObjectMissing(f"the record of the run {oid} cannot be read", hint="dvlite pull fetches what a remote has")
    return found


def _row(index: RunIndex, oid: Oid) -> RunRow:
    row = index.row(oid)
    if row is None:
        raise ObjectMissing(f"the run {oid} is gone", hint="dvlite pull fetches what a remote has")
    return row


def _log(repo: Repo, run: Run, name: str, progress: Progress) -> str:
    if run.log is None:
        because = (
            "it was taken from another run" if run.status == "cached" else "nothing was printed, or it was not kept"
        )
        raise UsageError(f"the run {name} has no log: {because}", hint=f"dvlite runs show {name}")
    return kept_text(repo, run.log, f"the log of {name}", _by(run), progress)


def _edits(repo: Repo, run: Run, name: str, progress: Progress) -> str:
    if run.code.diff is None:
        because = "too long to be kept" if run.code.dirty else "none: it ran as the commit is"
        raise UsageError(f"the edits that {name} ran with are {because}", hint=f"dvlite runs show {name}")
    return kept_text(repo, run.code.diff, f"the diff of {name}", _by(run), progress)


def _by(run: Run) -> str:
    return "@".join(part for part in (run.user.partition("@")[0], run.host) if part)


def _side(oid: Oid, run: Run) -> RunSide:
    edited = bool(run.code.dirty or run.code.diff)
    return RunSide(run=oid, name=name_of(run.stage, oid), status=run.status, code=run.code.commit, edited=edited)


def _code_paths(repo: Repo, index: RunIndex, runs: Sequence[Run]) -> set[str]:
    """Returns the inputs that git keeps, at the commits of the runs; where those are not here, files that no run made."""
    found: set[str] = set()
    for run in runs:
        paths = [item.path for item in run.inputs]
        known = in_git(repo.git, run.code.commit, paths) if run.code.commit is not None else set()
        found |= known or {
            item.path for item in run.inputs if not item.oid.startswith(MANIFEST) and not index.makers(item.oid)
        }
    return found - {item.path for run in runs for item in run.inputs if item.oid.startswith(MANIFEST)}


def _directions(repo: Repo, run: Run) -> dict[str, str]:
    """Returns in which direction the metrics of a run get better, as its pipeline file says now."""
    loaded = stages.load(repo.work_tree, [run.file])
    return {
        f"{path}:{key}": direction
        for stage in loaded.stages
        if stage.name == run.stage
        for out in stage.outs
        for path in (out.path, stage.local(out.path))
        for key, direction in out.spec.better.items()
    }


# --- saying something of a run ---


def _tagged(
    repo: Repo, text: str, tags: Sequence[str], action: Literal["tag", "untag"], now_ns: int, progress: Progress
) -> RunsTagResult:
    with _opened(repo, progress) as (records, index):
        oid = chosen(index, text)
        row = _row(index, oid)
        name, had = name_of(row.stage, oid), index.tags(oid)
        changed = [tag for tag in dict.fromkeys(tags) if (tag in had) == (action == "untag")]
        if action == "untag" and not changed:
            known = f"it has {', '.join(map(quote, had))}" if had else "it has none"
            raise UsageError(f"the run {name} has no tag {quote(tags[0])}", hint=known)
        for number, tag in enumerate(changed):  # a microsecond apart: the order in which they were given
            records.put(_note(repo, oid, action, tag, now_ns + number * 1000), durable=False)
        records.sync()
    left = [*had, *changed] if action == "tag" else [tag for tag in had if tag not in changed]
    return RunsTagResult(run=oid, name=name, action=action, changed=tuple(changed), tags=tuple(left))


def _note(repo: Repo, run: Oid, operation: Literal["tag", "untag", "note"], value: str, now_ns: int) -> Note:
    return Note(
        id=record.new_id(now_ns, os.urandom(8)),
        run=run,
        op=operation,
        value=value,
        time=record.time_text(now_ns),
        user=repo.git.config_get("user.email") or "",
        project=repo.config.project or "",
    )
