"""`dvlite export`: runs for the programs of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.exports import mlflow, tensorboard
from dvlite.exports.exported_run import ExportedRun
from dvlite.files import os_error
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.runs.index import open_index
from dvlite.runs.names import names_of
from dvlite.runs.options import RunsOptions, parsed, resolved
from dvlite.runs.outputs import series_of
from dvlite.runs.records import open_records
from dvlite.show import Show, count, quote

_MILLION = 10**6


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportResult(Result):
    """The runs that were written for another program; `problems`: by run, what of its series could not be read."""

    schema: ClassVar[str] = "dvlite.export/1"
    to: str
    folder: str
    runs: int = 0
    points: int = 0
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns of how many runs something could not be read."""
        message = f"of {count(len(self.problems), 'run')}, series could not be read"
        return (
            PartlyDone(message, hint="what was pushed with a commit comes with: dvlite fetch --all-commits")
            if self.problems
            else None
        )


def export_tensorboard(
    repo: Repo, folder: str, options: RunsOptions, *, now_ns: int, progress: Progress
) -> ExportResult:
    """Writes the runs that match as event files of TensorBoard, each in a folder of its name; what is there of an earlier export is replaced.

    Raises UsageError where no run matches, or the folder is a file.
    """
    return _exported(repo, "tensorboard", folder, options, tensorboard.write_run, now_ns, progress)


def export_mlflow(repo: Repo, folder: str, options: RunsOptions, *, now_ns: int, progress: Progress) -> ExportResult:
    """Writes the runs that match as a tracking folder of MLflow, in an experiment that is called as the repository; as `export_tensorboard`."""
    experiment = mlflow.experiment_folder(Path(repo.cwd, folder), repo.root.name)
    result = _exported(
        repo, "mlflow", folder, options, lambda run, _: mlflow.write_run(run, experiment), now_ns, progress
    )
    mlflow.write_experiment(experiment, repo.root.name)
    return result


def _exported(
    repo: Repo,
    to: str,
    folder: str,
    options: RunsOptions,
    write: Callable[[ExportedRun, Path], int],
    now_ns: int,
    progress: Progress,
) -> ExportResult:
    place = Path(repo.cwd, folder)
    if place.exists() and not place.is_dir():
        raise UsageError(f"{quote(folder)} is a file", hint="name a folder, which is made if it is not there")
    cache, points, problems = open_cache(repo), 0, dict[str, tuple[str, ...]]()
    with open_index(open_records(repo, progress)) as index:
        filters = resolved(repo, index, parsed(repo, replace(options, limit=None), now_ns // _MILLION))
        rows = index.find(filters)
        if not rows:
            raise UsageError("no run matches", hint="see which there are: dvlite runs")
        tags = index.tags_of([row.oid for row in rows])
        progress.start("exporting runs", total_files=len(rows))
        for row, name in zip(rows, names_of(rows), strict=True):
            run = index.run(row.oid)
            if run is not None:
                found = series_of(run, cache)
                exported = ExportedRun(run, row.oid, name, tuple(tags.get(row.oid, ())), found.series)
                try:
                    points += write(exported, place)
                except OSError as error:
                    raise os_error(error, "write", place) from error
                if found.problems:
                    problems[name] = found.problems
            progress.advance(files=1)
        progress.finish()
    warnings = tuple(f"{name}: {text}" for name, texts in problems.items() for text in texts)
    return ExportResult(to=to, folder=folder, runs=len(rows), points=points, problems=problems, warnings=warnings)
