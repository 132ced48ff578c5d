"""A run as MLflow knows it, from whichever of its stores, and what it is here. Knows no store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import UsageError
from dvlite.foreign.curves import Curves
from dvlite.foreign.foreign_run import ForeignRun, typed
from dvlite.formats.record import ImportedArtifact, Status
from dvlite.show import quote, some

DELETED = "deleted"  # the stage in the life of what a user deleted
_STATUSES: Mapping[str, Status] = {"FINISHED": "ok", "FAILED": "failed"}  # others were stopped, or did not end yet
_OWN = "mlflow."  # the names of MLflow's own tags begin so


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowRun:
    """A run; all values of parameters and tags are text. `last` are its metrics, where the store has them apart from their history."""

    id: str
    experiment: str
    name: str = ""
    status: str = ""
    start_ms: int = 0
    end_ms: int | None = None
    user: str = ""
    artifact_uri: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[str, float] = field(default_factory=dict)
    curves: Curves = field(default_factory=Curves)
    artifacts: Sequence[ImportedArtifact] = ()
    problems: Sequence[str] = ()

    def run(self) -> ForeignRun:
        """Returns the run; what MLflow keeps in tags of its own is in its place."""
        tag: Callable[[str], str] = lambda name: self.tags.get(f"{_OWN}{name}", "")  # noqa: E731
        return ForeignRun(
            id=self.id,
            group=self.experiment,
            status=_STATUSES.get(self.status, "canceled"),
            name=self.name or tag("runName"),
            url=self.artifact_uri,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            user=self.user or tag("user"),
            command=tag("source.name"),
            params={key: typed(value) for key, value in self.params.items()},
            metrics=dict(self.last),
            series=self.curves.series(),
            tags={key: value for key, value in self.tags.items() if not key.startswith(_OWN)},
            notes=(tag("note.content"),),
            environment={"parent": tag("parentRunId")} if tag("parentRunId") else {},
            repository=tag("source.git.repoURL"),
            commit=tag("source.git.commit"),
            artifacts=tuple(self.artifacts),
            is_thinned=self.curves.is_thinned,
            problems=(*self.problems, *self.curves.problems),
        )


def require_experiments(wanted: Collection[str], known: Collection[str]) -> None:
    """Raises UsageError for an experiment that a store does not have."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        hint = f"there are: {some([quote(name) for name in known])}"
        raise UsageError(f"there is no experiment {quote(unknown[0])}", hint=hint)
