"""The outputs of recorded runs as tracked paths: of one run that a user names, or of all runs that have a tag. Looks at no data."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.errors import UsageError
from dvlite.formats.record import Run
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.names import address_of, find_run
from dvlite.runs.records import open_records
from dvlite.show import quote


def outputs_of_run(repo: Repo, text: str, progress: Progress) -> list[Tracked]:
    """Returns the outputs of a run, named as `runs show` takes it. Raises UsageError for none, for several, and for one without outputs."""
    with open_index(open_records(repo, progress)) as index:
        run = index.run(find_run(index, text))
    if run is None or not run.outputs:
        raise UsageError(
            f"the run {quote(text)} has no outputs", hint="dvlite runs --status ok   lists those that have"
        )
    return list(_tracked(run))


def outputs_of_tagged_runs(repo: Repo, progress: Progress) -> list[Tracked]:
    """Returns the outputs of all runs that have a tag, each version once."""
    with open_index(open_records(repo, progress)) as index:
        runs = {oid: index.run(oid) for (tag,) in _tags(index) for oid in index.tagged(tag)}
    found = (item for run in runs.values() if run is not None for item in _tracked(run))
    return list({(item.path, item.pointer.oid): item for item in found}.values())


def _tags(index: RunIndex) -> list[tuple[str]]:
    return index.select("SELECT DISTINCT value FROM note WHERE op = 'tag'")


def _tracked(run: Run) -> Iterator[Tracked]:
    for output, locked in zip(run.outputs, run.locked()[1], strict=True):
        if output.cached:
            yield Tracked(output.path, locked.pointer(), stage=address_of(run.file, run.stage))
