"""Runs of MLflow: a tracking folder, a file of SQLite, or whatever else its own client (the extra `mlflow`) opens by a URI, as a server.

The only owner of mlflow, which is given no folder and no file: it writes into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dvlite.errors import DvliteError, UsageError
from dvlite.foreign import mlflow_database, mlflow_folder
from dvlite.foreign.curves import Curves
from dvlite.foreign.foreign_run import MOST_ARTIFACTS, ForeignRun
from dvlite.foreign.mlflow_run import MlflowRun, require_experiments
from dvlite.formats.record import ImportedArtifact
from dvlite.git.program import without_credentials
from dvlite.show import one_line, quote

_AT_ONCE = 200  # runs in one answer
_MOST_FOLDERS = 100  # of artifacts of a run
_RETRIES = 2  # its own 7 take minutes until a server that is not there is said to be none


def read_runs(place: Path, source: str, experiments: Sequence[str]) -> Iterator[ForeignRun | DvliteError]:
    """Yields the runs of a store, or those of some experiments by name; deleted ones are left out, and an error stands for one that cannot be read.

    `place` is where `source` is, if that is no URI. Raises UsageError for what cannot be opened, and for an unknown experiment.
    """
    scheme, is_uri, path = source.partition("://")
    if is_uri and scheme not in ("file", "sqlite"):
        return _of_client(source, experiments)
    if is_uri:
        place = Path(unquote(path) if scheme == "file" else path.removeprefix("/"))
    if not place.exists():
        raise UsageError(f"{quote(source)} does not exist", hint="give a folder (mlruns), a file (mlflow.db) or a URI")
    reader = mlflow_folder.read_runs if place.is_dir() else mlflow_database.read_runs
    return reader(place, source, experiments)


def _of_client(uri: str, experiments: Sequence[str]) -> Iterator[ForeignRun | DvliteError]:
    client = _client(uri)
    try:
        known = {one.name: one for one in _pages(client.search_experiments)}
    except Exception as error:  # of its own, of its network, of its database
        reason, hint = _reason(error), "give the URI as mlflow takes it"
        raise UsageError(f"MLflow cannot open {quote(without_credentials(uri))}: {reason}", hint=hint) from error
    require_experiments(experiments, known)
    for name in experiments or known:
        ids = [known[name].experiment_id]
        for run in _pages(partial(client.search_runs, ids, max_results=_AT_ONCE)):
            try:
                yield _run(client, run, name).run()
            except Exception as error:  # as above
                yield DvliteError(f"cannot read the run {run.info.run_id} of MLflow: {_reason(error)}")


def _client(uri: str) -> Any:
    try:
        import mlflow
        from mlflow import environment_variables
    except ImportError:
        message = "the package mlflow, which reads servers of MLflow, is not installed"
        raise UsageError(message, hint="pip install 'dvlite[mlflow]'") from None
    settings: Any = environment_variables
    if not settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.is_set():
        settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_RETRIES)
    return mlflow.MlflowClient(tracking_uri=uri)


def _pages(ask: Callable[..., Any]) -> Iterator[Any]:
    """Yields what all pages of an answer hold."""
    token = None
    while True:
        page = ask(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _run(client: Any, run: Any, experiment: str) -> MlflowRun:
    about, curves = run.info, Curves()
    for key in run.data.metrics:
        for point in client.get_metric_history(about.run_id, key):
            curves.add(key, point.step, point.value, point.timestamp / 1000)
    artifacts, problems = _artifacts(client, about.run_id)
    return MlflowRun(
        id=about.run_id,
        experiment=experiment,
        name=about.run_name or "",
        status=about.status,
        start_ms=about.start_time or 0,
        end_ms=about.end_time,
        user=about.user_id or "",
        artifact_uri=about.artifact_uri or "",
        params=run.data.params,
        tags=run.data.tags,
        last=run.data.metrics,
        curves=curves,
        artifacts=artifacts,
        problems=problems,
    )


def _artifacts(client: Any, run_id: str) -> tuple[list[ImportedArtifact], list[str]]:
    """Returns the files of a run; where they cannot be listed, for the store is elsewhere, why not."""
    found: list[ImportedArtifact] = []
    folders = [""]
    try:
        while folders and len(found) < MOST_ARTIFACTS:
            for file in client.list_artifacts(run_id, folders.pop(0) or None):
                if file.is_dir and len(folders) < _MOST_FOLDERS:
                    folders.append(file.path)
                elif not file.is_dir and len(found) < MOST_ARTIFACTS:
                    found.append(ImportedArtifact(path=file.path, size_bytes=file.file_size))
    except Exception as error:  # the clients of buckets raise their own
        return found, [f"its artifacts cannot be listed: {_reason(error)}"]
    return found, []


def _reason(error: Exception) -> str:
    return one_line((str(error).splitlines() or [""])[0][:300])
