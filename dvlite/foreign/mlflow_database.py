"""Runs in a database of MLflow that is a file of SQLite, read without MLflow: its client makes its tables in any file it is given.

Source: mlflow/store/tracking/dbmodels/models.py. The file is opened to read only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dvlite.errors import DvliteError
from dvlite.foreign.curves import Curves
from dvlite.foreign.foreign_run import ForeignRun
from dvlite.foreign.mlflow_folder import artifacts_in
from dvlite.foreign.mlflow_run import DELETED, MlflowRun, require_experiments
from dvlite.foreign.opened import ODD, Database, odd, open_database
from dvlite.formats.record import ImportedArtifact
from dvlite.show import quote

_TABLES = ("experiments", "runs", "params", "tags", "metrics", "latest_metrics")
_EXPERIMENTS = "SELECT experiment_id, name FROM experiments WHERE lifecycle_stage != ? ORDER BY experiment_id"
_RUNS = (
    "SELECT run_uuid, name, status, start_time, end_time, user_id, artifact_uri FROM runs"
    " WHERE experiment_id = ? AND lifecycle_stage != ? ORDER BY start_time, run_uuid"
)
_VALUES = "SELECT key, value FROM {} WHERE run_uuid = ? ORDER BY key"
_POINTS = "SELECT key, step, value, is_nan, timestamp FROM metrics WHERE run_uuid = ? ORDER BY key, timestamp, step"
_LAST = "SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = ? ORDER BY key"


def read_runs(path: Path, shown: str, experiments: Sequence[str]) -> Iterator[ForeignRun | DvliteError]:
    """Yields the runs of a file, or those of some experiments by name; deleted ones are left out. Raises UsageError for another file."""
    hint = "name a tracking folder, a database (MLflow's own is called mlflow.db) or a URI"
    unread = "if a later MLflow wrote it, import from its server: dvlite runs import mlflow http://..."
    with open_database(path, shown, "MLflow", _TABLES, hint=hint, unread=unread) as database:
        known = {str(name): number for number, name in database.execute(_EXPERIMENTS, (DELETED,))}
        require_experiments(experiments, known)
        for name in experiments or known:
            for row in database.execute(_RUNS, (known[name], DELETED)):
                try:
                    yield _run(database, row, name, path.parent).run()
                except ODD:
                    yield odd(f"the run {quote(str(row[0]))} in {quote(shown)}")


def _run(database: Database, row: Sequence[object], experiment: str, near: Path) -> MlflowRun:
    run_id, name, status, start, end, user, artifact_uri = row
    curves = Curves()
    for key, step, value, is_nan, timestamp in database.execute(_POINTS, (run_id,)):
        curves.add(str(key), float(step), math.nan if is_nan else float(value), float(timestamp) / 1000)
    params, tags = (
        {
            str(key): "" if value is None else str(value)
            for key, value in database.execute(_VALUES.format(table), (run_id,))
        }
        for table in ("params", "tags")
    )
    last = {str(key): math.nan if is_nan else float(value) for key, value, is_nan in database.execute(_LAST, (run_id,))}
    return MlflowRun(
        id=str(run_id),
        experiment=experiment,
        name=str(name or ""),
        status=str(status or ""),
        start_ms=start if isinstance(start, int) else 0,
        end_ms=end if isinstance(end, int) else None,
        user=str(user or ""),
        artifact_uri=str(artifact_uri or ""),
        params=params,
        tags=tags,
        last=last,
        curves=curves,
        artifacts=_artifacts(str(artifact_uri or ""), near),
    )


def _artifacts(uri: str, near: Path) -> list[ImportedArtifact]:
    """Returns the files of a run where they lie beside the database: nothing else on this machine is looked at."""
    parts = urlsplit(uri)
    folder = (near / unquote(parts.path)).resolve()
    if parts.scheme not in ("", "file") or not parts.path or not folder.is_relative_to(near.resolve()):
        return []
    return artifacts_in(folder)
