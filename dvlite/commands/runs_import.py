"""`dvlite runs import`: runs of MLflow, W&B, Neptune and ML-Metadata as run records, marked as imported."""

from __future__ import annotations

import io
import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, FormatError, PartlyDone, UsageError
from dvlite.foreign import mlflow_store, mlmd_database, neptune_folder, wandb_folder
from dvlite.foreign.curves import MOST_POINTS, dump
from dvlite.foreign.foreign_run import ForeignRun, notes_of, record_of
from dvlite.formats import record
from dvlite.formats.record import Note, Operation, Output, Run
from dvlite.oid import FILE, Oid, digest_bytes, format_oid
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.names import name_of
from dvlite.runs.outputs import HISTORY
from dvlite.runs.records import Records, open_records
from dvlite.show import Show, count, quote
from dvlite.store.cache_writer import Writer

Program = Literal["mlflow", "wandb", "neptune", "mlmd"]
_AT_ONCE = 200  # runs that are stored together
_OWN_TAG = "dvlite.run"  # of the runs that `export mlflow` and `export mlmd` wrote
_RUN = re.compile(r"run:[0-9a-f]{64}")
_HISTORY_FILE = "history.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsImportResult(Result):
    """The runs that were imported. `replaced` are those of them that went on since an earlier import, whose records are hidden now.

    `known` were there already; `exported` are runs of this repository that come back. `problems`: what of each run could not be read;
    `unread`: what could not be read at all.
    """

    schema: ClassVar[str] = "dvlite.runs-import/1"
    program: Program
    source: str
    runs: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    points: int = 0
    replaced: int = 0
    known: int = 0
    exported: int = 0
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns that something of some runs could not be read."""
        if not self.problems and not self.unread:
            return None
        return PartlyDone(
            f"of {count(len(self.problems) + len(self.unread), 'run')}, something could not be read",
            hint="what could be read is imported; the same command again adds what can be read by then",
        )


def runs_import(
    repo: Repo, program: Program, source: str, *, experiments: Sequence[str] = (), progress: Progress
) -> RunsImportResult:
    """Imports the runs of a folder, file or server of another program; those that are known already are left as they are.

    Nothing of it makes a stage up to date. What is stored stays if the command is interrupted. Raises UsageError where there is no such run.
    """
    if experiments and program != "mlflow":
        raise UsageError(
            "--experiment is for mlflow", hint=f"name the place of the runs: dvlite runs import {program} PLACE"
        )
    records = open_records(repo, progress)
    progress.start("importing runs")
    with open_index(records) as index:
        importer = _Importer(repo, program, records, index, progress, repo.git.config_get("user.email") or "")
        importer.take(_runs(repo, program, source, experiments))
    progress.finish()
    return importer.result(source)


def _runs(repo: Repo, program: Program, source: str, experiments: Sequence[str]) -> Iterator[ForeignRun | DvliteError]:
    place = repo.cwd / source
    if program == "mlflow":
        return mlflow_store.read_runs(place, source, experiments)
    if not place.exists():
        raise UsageError(f"{quote(source)} does not exist", hint=f"dvlite runs import {program} PLACE")
    readers = {"wandb": wandb_folder.read_runs, "neptune": neptune_folder.read_runs, "mlmd": mlmd_database.read_runs}
    return readers[program](place, source)


@dataclass(slots=True)
class _Importer:
    """Stores runs, some at a time: their histories in the cache, then their records."""

    repo: Repo
    program: Program
    records: Records
    index: RunIndex
    progress: Progress
    user: str
    names: list[str] = field(default_factory=list)
    stages: dict[str, None] = field(default_factory=dict)
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    thinned: list[str] = field(default_factory=list)
    points: int = 0
    replaced: int = 0
    known: int = 0
    exported: int = 0
    _seen: set[str] = field(default_factory=set)

    def take(self, runs: Iterator[ForeignRun | DvliteError]) -> None:
        """Imports all runs."""
        is_over = False
        while not is_over:
            is_over, new = True, list[bytes]()
            with Writer(open_cache(self.repo), self.progress) as writer:
                for run in itertools.islice(runs, _AT_ONCE):  # one in memory: its points may take much
                    is_over = False
                    try:
                        if isinstance(run, DvliteError):
                            raise run
                        new += self._one(run, writer)
                    except DvliteError as error:
                        self.unread.append(error.message)
                    self.progress.advance(files=1)
                writer.commit()
            self.records.add(new)

    def _one(self, run: ForeignRun, writer: Writer) -> list[bytes]:
        """Stores the history of a run, if it is new, and returns its record and notes."""
        if self._is_exported(run):
            self.exported += 1
            return []
        data = dump(run.series, HISTORY, f"the metrics of the run {quote(run.id)}")
        history = Output(
            path=_HISTORY_FILE, oid=format_oid(FILE, digest_bytes(data)), size_bytes=len(data), role="metric"
        )
        made = record_of(run, self.program, self.repo.config.project or "", history if data else None)
        try:
            dumped = record.dump(made)
        except RecursionError:
            raise FormatError(f"the parameters of the run {quote(run.id)} are nested too deeply") from None
        oid = record.name(dumped)
        earlier = self.index.imported(self.program, made.imported.id if made.imported else "")
        if run.id in self._seen or oid in earlier:
            self.known += 1
            return []
        self._seen.add(run.id)
        if data:
            writer.put_stream(io.BytesIO(data), _silent)
        notes = list(notes_of(run, oid, made))
        notes += [note for old in earlier for note in self._moved(old, oid, notes)]
        self._count(run, made, oid, is_replaced=bool(earlier))
        return [dumped, *map(record.dump, notes)]

    def _is_exported(self, run: ForeignRun) -> bool:
        tag = run.tags.get(_OWN_TAG, "")
        return _RUN.fullmatch(tag) is not None and self.index.is_known(Oid(tag))

    def _moved(self, old: Oid, new: Oid, notes: Sequence[Note]) -> Iterator[Note]:
        """Yields what hides an earlier record of a run, and the tags and notes that users gave it."""
        had = {(note.op, note.value) for note in notes}
        given: list[tuple[Operation, str, str]] = [("tag", tag, self.user) for tag in self.index.tags(old)]
        given += [("note", note.text, note.user) for note in self.index.notes(old)]
        for operation, value, user in given:
            if (operation, value) not in had:
                yield self._note(new, operation, value, user)
        yield self._note(old, "hide", "", self.user)

    def _note(self, run: Oid, operation: Operation, value: str, user: str) -> Note:
        now_ns = time.time_ns()
        return Note(
            id=record.new_id(now_ns, os.urandom(8)),
            run=run,
            op=operation,
            value=value,
            time=record.time_text(now_ns),
            user=user,
            project=self.repo.config.project or "",
        )

    def _count(self, run: ForeignRun, made: Run, oid: Oid, *, is_replaced: bool) -> None:
        name = name_of(made.stage, oid)
        self.names.append(name)
        self.stages[made.stage] = None
        self.points += sum(len(one.steps) for one in run.series.values())
        self.replaced += is_replaced
        if run.is_thinned:
            self.thinned.append(f"{name}: of more than {MOST_POINTS:,} points of metrics some are left out, no peak is")
        if run.problems:
            self.problems[name] = run.problems

    def result(self, source: str) -> RunsImportResult:
        """Returns what was imported."""
        warnings = [f"{name}: {text}" for name, texts in self.problems.items() for text in texts]
        return RunsImportResult(
            program=self.program,
            source=source,
            runs=tuple(self.names),
            stages=tuple(self.stages),
            points=self.points,
            replaced=self.replaced,
            known=self.known,
            exported=self.exported,
            problems=self.problems,
            unread=tuple(self.unread),
            warnings=(*warnings, *self.thinned, *self.unread),
        )


def _silent(_size_bytes: int) -> None:
    return
