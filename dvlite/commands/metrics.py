"""`dvlite metrics show` and `metrics diff`: the values in the metrics files of stages, in the work tree and at revisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dvlite.errors import DvliteError, PartlyDone
from dvlite.pipeline.metric_files import MetricDifference, MetricsFile, MetricsRead, differences, read_metrics
from dvlite.pipeline.revision_files import chosen, compared, named
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import WORK_TREE
from dvlite.results import TableResult, even, plain
from dvlite.show import Show, count


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOfRevision:
    """The metrics files of the workspace or of a revision."""

    revision: str
    commit: str | None = None
    files: tuple[MetricsFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MetricsShowResult(TableResult):
    """The metrics of stages, for each side asked for."""

    schema: ClassVar[str] = "dvlite.metrics-show/1"
    ROWS = ("revisions", MetricsOfRevision)
    revisions: tuple[MetricsOfRevision, ...] = ()
    unread: int = 0  # files that could not be read
    warnings: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """Returns a row for each revision, with a column for each metric: its key, or `file:key` where several files have it."""
        places = {(file.path, key) for side in self.revisions for file in side.files for key in file.values}
        often = Counter(key for _, key in places)
        return even(
            {
                "revision": plain(side.revision),
                "commit": side.commit,
                **{
                    key if often[key] == 1 else f"{file.path}:{key}": plain(value)
                    for file in side.files
                    for key, value in file.values.items()
                },
            }
            for side in self.revisions
        )

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns how many files could not be read."""
        message = f"{count(self.unread, 'file')} could not be read"
        return PartlyDone(message, hint="see the warnings above") if self.unread else None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MetricsDiffResult(TableResult):
    """The metrics of stages, on two sides (`workspace` or a revision as given)."""

    schema: ClassVar[str] = "dvlite.metrics-diff/1"
    ROWS = ("metrics", MetricDifference)
    old: str
    new: str
    metrics: tuple[MetricDifference, ...] = ()
    unread: int = 0  # files that could not be read
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns how many files could not be read."""
        message = f"{count(self.unread, 'file')} could not be read"
        return PartlyDone(message, hint="see the warnings above") if self.unread else None


def metrics_show(
    repo: Repo, revisions: Sequence[str], paths: Sequence[str], *, progress: Progress
) -> MetricsShowResult:
    """Returns the metrics of the work tree, or of each revision given.

    A file that cannot be read has a problem and no values. Raises UsageError for a revision or path that there is not.
    """
    sides = [named(repo, revision) for revision in revisions or (WORK_TREE,)]
    reads = read_metrics(repo, sides, paths)
    files = chosen(repo, paths, sorted({path for read in reads for path in read.files}), "metrics file")
    shown = tuple(
        MetricsOfRevision(
            revision=side.name,
            commit=side.commit,
            files=tuple(read.files[path] for path in sorted(files & read.files.keys())),
        )
        for side, read in zip(sides, reads, strict=True)
    )
    warnings = _warnings(reads, files)
    return MetricsShowResult(revisions=shown, unread=len(warnings), warnings=warnings)


def metrics_diff(
    repo: Repo,
    revisions: Sequence[str],
    paths: Sequence[str],
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    progress: Progress,
) -> MetricsDiffResult:
    """Compares metrics of a revision (HEAD if none is given) with another one or the work tree; equal ones are returned too.

    Numbers are equal if they differ by at most `atol` + `rtol` * |old|. Raises UsageError for a revision or path that there is not.
    """
    old, new = compared(repo, revisions)
    before, after = read_metrics(repo, (old, new), paths)
    files = chosen(repo, paths, sorted(before.files | after.files), "metrics file")
    rows = differences(before, after, sorted(files), rtol=rtol, atol=atol)
    warnings = _warnings((before, after), files)
    return MetricsDiffResult(old=old.name, new=new.name, metrics=tuple(rows), unread=len(warnings), warnings=warnings)


def _warnings(reads: Iterable[MetricsRead], files: Collection[str]) -> tuple[str, ...]:
    """Returns what could not be read of the files chosen, and of pipeline files."""
    problems = (
        item for read in reads for item in read.problems.items() if item[0] in files or item[0] not in read.files
    )
    return tuple(dict.fromkeys(text for _, text in problems))
