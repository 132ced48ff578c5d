"""Runs of MLflow, through its own client (the extra `mlflow`): a tracking folder, a database or a server. The only owner of mlflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dvlite.errors import DvliteError, UsageError
from dvlite.foreign.curves import Curves
from dvlite.foreign.foreign_run import MOST_ARTIFACTS, ForeignRun, typed
from dvlite.formats.record import ImportedArtifact, Status
from dvlite.git.program import without_credentials
from dvlite.show import one_line, quote

_STATUSES: dict[str, Status] = {"FINISHED": "ok", "FAILED": "failed"}  # others were stopped, or did not end yet
_OWN = "mlflow."  # the names of MLflow's own tags begin so
_RETRIES = 2  # its own 7 take minutes until a server that is not there is said to be none
_AT_ONCE = 200  # runs in one answer
_MOST_FOLDERS = 100  # of artifacts of a run


def read_runs(place: str, experiments: Sequence[str]) -> Iterator[ForeignRun | DvliteError]:
    """Yields the runs of a store, or those of some experiments by name; deleted ones are left out.

    `place` is a folder, a file of SQLite or a tracking URI. Raises UsageError for what MLflow cannot open, and an unknown experiment.
    """
    mlflow = _package()
    try:
        client = _client(mlflow, place)
        found = {one.name: one for one in _pages(lambda token: client.search_experiments(page_token=token))}
    except mlflow.exceptions.MlflowException as error:
        hint = "give the folder or URI as mlflow takes it"
        raise UsageError(
            f"MLflow cannot open {quote(without_credentials(place))}: {_reason(error)}", hint=hint
        ) from error
    unknown = [name for name in experiments if name not in found]
    if unknown:
        raise UsageError(
            f"there is no experiment {quote(unknown[0])}", hint=f"there are: {', '.join(map(quote, found))}"
        )
    for name in experiments or found:
        pages = _pages(
            lambda token, name=name: client.search_runs(
                [found[name].experiment_id], max_results=_AT_ONCE, page_token=token
            )
        )
        for run in pages:
            try:
                yield _run(client, run, name)
            except mlflow.exceptions.MlflowException as error:
                yield DvliteError(f"cannot read the run {run.info.run_id} of MLflow: {_reason(error)}")


def _package() -> Any:
    try:
        import mlflow.environment_variables
        import mlflow.exceptions
        import mlflow.tracking
    except ImportError:
        raise UsageError(
            "MLflow's runs are read by its package mlflow, which is not installed", hint="pip install 'dvlite[mlflow]'"
        ) from None
    return mlflow


def _client(mlflow: Any, place: str) -> Any:
    path = Path(place)
    if "://" not in place and not path.exists():
        raise UsageError(f"{quote(place)} does not exist", hint="give a folder (mlruns), a file (mlflow.db) or a URI")
    settings = mlflow.environment_variables
    settings.MLFLOW_ALLOW_FILE_STORE.set(True)
    if not settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.is_set():
        settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_RETRIES)
    uri = place if "://" in place else path.absolute().as_uri() if path.is_dir() else f"sqlite:///{path.absolute()}"
    return mlflow.MlflowClient(tracking_uri=uri)


def _pages(ask: Any) -> Iterator[Any]:
    """Yields what all pages of an answer hold."""
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def _run(client: Any, run: Any, experiment: str) -> ForeignRun:
    about, curves, tags = run.info, Curves(), dict(run.data.tags)
    for key in run.data.metrics:
        for point in client.get_metric_history(about.run_id, key):
            curves.add(key, point.step, point.value, point.timestamp / 1000)
    artifacts, problems = _artifacts(client, about.run_id)
    return ForeignRun(
        id=about.run_id,
        group=experiment,
        status=_STATUSES.get(about.status, "canceled"),
        name=about.run_name or tags.get("mlflow.runName", ""),
        url=about.artifact_uri or "",
        start_ms=about.start_time or 0,
        end_ms=about.end_time,
        user=about.user_id or tags.get("mlflow.user", ""),
        command=tags.get("mlflow.source.name", ""),
        params={key: typed(value) for key, value in run.data.params.items()},
        metrics=dict(run.data.metrics),
        series=curves.series(),
        tags={key: value for key, value in tags.items() if not key.startswith(_OWN)},
        notes=(tags.get("mlflow.note.content", ""),),
        environment={"parent": tags["mlflow.parentRunId"]} if "mlflow.parentRunId" in tags else {},
        repository=tags.get("mlflow.source.git.repoURL", ""),
        commit=tags.get("mlflow.source.git.commit", ""),
        artifacts=tuple(artifacts),
        is_thinned=curves.is_thinned,
        problems=(*problems, *curves.problems),
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
                    found.append(ImportedArtifact(path=file.path[:4096], size_bytes=file.file_size))
    except Exception as error:  # the clients of buckets raise their own
        return found, [f"its artifacts cannot be listed: {_reason(error)}"]
    return found, []


def _reason(error: Exception) -> str:
    return one_line((str(error).splitlines() or [""])[0][:300])
