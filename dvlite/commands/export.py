"""`dvlite export`: runs for the programs of others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, ClassVar

from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.exports import mlflow, table, tensorboard
from dvlite.exports.exported_run import ExportedRun
from dvlite.exports.mlmd import MlmdRun, MlmdStore, holders_of
from dvlite.exports.openlineage import EventFile, EventFolder, EventStream
from dvlite.exports.table import Part, RunValues
from dvlite.files import os_error, temporary_name
from dvlite.foreign.mlmd_database import require_store
from dvlite.formats import parquet
from dvlite.formats.parquet import ColumnType
from dvlite.formats.strict_yaml import Tree
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.logs import bring
from dvlite.runs.names import names_of
from dvlite.runs.options import RunsOptions, parsed, resolved
from dvlite.runs.outputs import series_of
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import open_records
from dvlite.runs.schema import METRIC, PARAM, RunRow
from dvlite.runs.upstream import upstream_params
from dvlite.show import Show, count, quote

_MILLION = 10**6
_AT_ONCE = 200  # runs whose inherited parameters are asked for together; of ML-Metadata, one transaction


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportResult(Result):
    """The runs that were written for another program; `problems`: by run, what of its series could not be read."""

    schema: ClassVar[str] = "dvlite.export/1"
    to: str
    place: str  # as given: a folder, a file, or `-` for standard output
    runs: int = 0
    points: int = 0
    unchanged: int = 0  # runs that an earlier export wrote: nothing of them changed since
    artifacts: int = 0  # of ML-Metadata, as contexts
    events: int = 0  # of ML-Metadata or OpenLineage
    contexts: int = 0
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns of how many runs something could not be read."""
        if not self.problems:
            return None
        message = f"of {count(len(self.problems), 'run')}, series could not be read"
        return PartlyDone(message, hint="what was pushed with a commit comes with: dvlite fetch --all-commits")


def export_tensorboard(
    repo: Repo, folder: str, options: RunsOptions, *, now_ns: int, progress: Progress
) -> ExportResult:
    """Writes the runs that match as event files of TensorBoard, each in a folder of its name; what is there of an earlier export is replaced.

    Raises UsageError where no run matches, or the folder is a file.
    """
    pair = tensorboard.is_written, tensorboard.write_run
    return _exported(repo, "tensorboard", folder, options, pair, now_ns, progress)


def export_mlflow(repo: Repo, folder: str, options: RunsOptions, *, now_ns: int, progress: Progress) -> ExportResult:
    """Writes the runs that match as a tracking folder of MLflow, in an experiment that is called as the repository; as `export_tensorboard`."""
    experiment = mlflow.experiment_folder(Path(repo.cwd, folder), repo.root.name)
    pair = lambda run, _: mlflow.is_written(run, experiment), lambda run, _: mlflow.write_run(run, experiment)
    result = _exported(repo, "mlflow", folder, options, pair, now_ns, progress)
    mlflow.write_experiment(experiment, repo.root.name)
    return result


def export_csv(
    repo: Repo,
    file: str | BinaryIO,
    options: RunsOptions,
    *,
    series: bool = False,
    now_ns: int,
    progress: Progress,
) -> ExportResult:
    """Writes the runs that match as a table, with `series` the points of their series, into a file or a stream; a file is replaced."""
    write = _series_table if series else _runs_table
    return write(repo, "csv", file, options, table.write_csv, now_ns, progress)


def export_parquet(
    repo: Repo, file: str, options: RunsOptions, *, series: bool = False, now_ns: int, progress: Progress
) -> ExportResult:
    """Writes a Parquet file; as `export_csv`."""
    write = _series_table if series else _runs_table
    return write(repo, "parquet", file, options, parquet.write, now_ns, progress)


def export_mlmd(repo: Repo, file: str, options: RunsOptions, *, now_ns: int, progress: Progress) -> ExportResult:
    """Adds the runs that match to a file of ML-Metadata, which is made if it is not there; those that are in it already stay as they are.

    Raises UsageError where no run matches, the file is of another program, or ml-metadata is not installed.
    """
    place = Path(repo.cwd, file)
    if place.is_dir() or not place.parent.is_dir():
        why = "is a folder" if place.is_dir() else "is in a folder that does not exist"
        raise UsageError(f"{quote(file)} {why}", hint="name the file of ML-Metadata, which is made if it is not there")
    with open_index(open_records(repo, progress)) as index:
        rows = _chosen(repo, index, options, now_ns)
        if place.exists():
            require_store(place, file)
        store = MlmdStore(place, file)
        directories = {item.oid: item for item in RunQueries(index).directories() if item.size_bytes}
        exporting = _Exporting(repo, index, rows[::-1], progress)
        parts = [
            store.write([MlmdRun(run, inherited, holders_of(run.run, directories)) for run, inherited in part])
            for part in exporting.batches()
        ]
    return replace(
        exporting.result("mlmd", file),
        unchanged=len(rows) - sum(part.runs + part.updated for part in parts),
        artifacts=sum(part.artifacts for part in parts),
        events=sum(part.events for part in parts),
        contexts=sum(part.contexts for part in parts),
    )


def export_openlineage(
    repo: Repo, place: str | BinaryIO, options: RunsOptions, *, now_ns: int, progress: Progress
) -> ExportResult:
    """Writes the runs that match as events of OpenLineage: to a stream, into a folder, or at the end of a file; what is there stays as it is.

    Raises UsageError where no run matches, or the file holds something else.
    """
    shown = place if isinstance(place, str) else "-"
    with open_index(open_records(repo, progress)) as index:
        exporting = _Exporting(repo, index, _chosen(repo, index, options, now_ns)[::-1], progress)
        events = unchanged = 0
        try:
            with contextlib.closing(_events_in(repo, place)) as target:
                for part in exporting.batches():
                    added = [target.add(run, inherited) for run, inherited in part]
                    events += sum(added)
                    unchanged += added.count(0)
        except BrokenPipeError:  # `| head`
            raise
        except OSError as error:
            raise os_error(error, "write", shown) from error
    return replace(exporting.result("openlineage", shown), unchanged=unchanged, events=events)


def _events_in(repo: Repo, place: str | BinaryIO) -> EventFolder | EventFile | EventStream:
    if not isinstance(place, str):
        return EventStream(place)
    path = Path(repo.cwd, place)
    return EventFolder(path) if place.endswith("/") or path.is_dir() else EventFile(path, place)


Write = Callable[[BinaryIO, Mapping[str, ColumnType], Iterable[Part]], None]


def _runs_table(
    repo: Repo, to: str, file: str | BinaryIO, options: RunsOptions, write: Write, now_ns: int, progress: Progress
) -> ExportResult:
    with open_index(open_records(repo, progress)) as index:
        rows = _chosen(repo, index, options, now_ns)
        oids = [row.oid for row in rows]
        inherited, params = upstream_params(index, oids), index.values(oids, PARAM)
        metrics, tags = index.values(oids, METRIC), index.tags_of(oids)
    values = [RunValues({**inherited[oid], **params[oid]}, metrics[oid], tags.get(oid, ())) for oid in oids]
    columns, part = table.of_runs(rows, table.unique_names(names_of(rows), oids), values)
    with _opened(repo, file) as stream:
        write(stream, columns, [part])
    return ExportResult(to=to, place=file if isinstance(file, str) else "-", runs=len(rows))


def _series_table(
    repo: Repo, to: str, file: str | BinaryIO, options: RunsOptions, write: Write, now_ns: int, progress: Progress
) -> ExportResult:
    with open_index(open_records(repo, progress)) as index:
        exporting = _Exporting(repo, index, _chosen(repo, index, options, now_ns), progress)
        parts = (part for run in exporting.runs() for part in table.of_series(exporting.with_series(run)))
        with _opened(repo, file) as stream:
            write(stream, table.SERIES_COLUMNS, exporting.counted(parts))
    return exporting.result(to, file if isinstance(file, str) else "-")


@contextmanager
def _opened(repo: Repo, file: str | BinaryIO) -> Iterator[BinaryIO]:
    """Opens what is written; a file gets its name when it is complete."""
    if not isinstance(file, str):
        yield file
        return
    place = Path(os.path.realpath(repo.cwd / file))
    if file.endswith("/") or (place.exists() and not place.is_file()):
        raise UsageError(f"{quote(file)} is no file", hint="name the file to write; of csv, - is standard output")
    temporary = place.parent / temporary_name()
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as stream:
            yield stream
        os.replace(temporary, place)
    except OSError as error:
        raise os_error(error, "write", file) from error
    finally:
        temporary.unlink(missing_ok=True)


def _exported(
    repo: Repo,
    to: str,
    folder: str,
    options: RunsOptions,
    pair: tuple[Callable[[ExportedRun, Path], bool], Callable[[ExportedRun, Path], int]],
    now_ns: int,
    progress: Progress,
) -> ExportResult:
    place = Path(repo.cwd, folder)
    if place.exists() and not place.is_dir():
        raise UsageError(f"{quote(folder)} is a file", hint="name a folder, which is made if it is not there")
    is_written, write = pair
    points = unchanged = 0
    with open_index(open_records(repo, progress)) as index:
        exporting = _Exporting(repo, index, _chosen(repo, index, options, now_ns), progress)
        for run in exporting.runs():
            try:
                if is_written(run, place):
                    unchanged += 1
                else:
                    points += write(exporting.with_series(run), place)
            except OSError as error:
                raise os_error(error, "write", place) from error
    return replace(exporting.result(to, folder), points=points, unchanged=unchanged)


def _chosen(repo: Repo, index: RunIndex, options: RunsOptions, now_ns: int) -> list[RunRow]:
    rows = index.find(resolved(repo, index, parsed(repo, replace(options, limit=None), now_ns // _MILLION)))
    if not rows:
        raise UsageError("no run matches", hint="see which there are: dvlite runs")
    return rows


class _Exporting:
    """Reads runs, one after the other, and of those for which it is asked the series; keeps what could not be read."""

    def __init__(self, repo: Repo, index: RunIndex, rows: Sequence[RunRow], progress: Progress) -> None:
        self._repo, self._index, self._rows, self._progress = repo, index, rows, progress
        self._points = 0
        self._cache, self._is_brought = open_cache(repo), False
        self._problems: dict[str, tuple[str, ...]] = {}

    def runs(self) -> Iterator[ExportedRun]:
        oids = [row.oid for row in self._rows]
        tags = self._index.tags_of(oids)
        names = table.unique_names(names_of(self._rows), oids)
        self._progress.start("exporting runs", total_files=len(oids))
        for oid, name in zip(oids, names, strict=True):
            run = self._index.run(oid)
            if run is not None:
                yield ExportedRun(run, oid, name, tuple(tags.get(oid, ())))
            self._progress.advance(files=1)
        self._progress.finish()

    def batches(self) -> Iterator[list[tuple[ExportedRun, Mapping[str, Tree]]]]:
        """Yields runs, some at a time, each with the parameters of the runs upstream."""
        runs = self.runs()
        while part := [*islice(runs, _AT_ONCE)]:
            inherited = upstream_params(self._index, [run.oid for run in part])
            yield [(run, inherited[run.oid]) for run in part]

    def with_series(self, exported: ExportedRun) -> ExportedRun:
        """Reads the series of a run; what is missing of any of the runs is fetched together."""
        found = series_of(exported.run, self._cache)
        if found.problems and not self._is_brought:
            self._is_brought = True
            runs = filter(None, (self._index.run(row.oid) for row in self._rows))
            bring(self._repo, (file.oid for run in runs for file in run.curves), self._progress)
            self._cache = open_cache(self._repo)
            found = series_of(exported.run, self._cache)
        if found.problems:
            self._problems[exported.name] = found.problems
        return replace(exported, series=found.series, is_whole=not found.problems)

    def counted(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Yields parts of a table, and counts their rows."""
        for part in parts:
            self._points += len(part[0])
            yield part

    def result(self, to: str, place: str) -> ExportResult:
        warnings = tuple(f"{name}: {text}" for name, texts in self._problems.items() for text in texts)
        runs, points = len(self._rows), self._points
        return ExportResult(to=to, place=place, runs=runs, points=points, problems=self._problems, warnings=warnings)
