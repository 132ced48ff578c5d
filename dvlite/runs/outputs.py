"""What is tracked at a revision that a user names, where a recorded run is one: its outputs; the outputs of all runs with a tag; the series of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from dvlite import files
from dvlite.errors import DvliteError, ObjectMissing, UsageError
from dvlite.formats import series
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.record import Run
from dvlite.formats.series import SeriesFile
from dvlite.oid import FILE, parse_oid
from dvlite.progress import Progress
from dvlite.repo.registered import model_in, tracked_of
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import address, metrics_file
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.names import find_run, is_run
from dvlite.runs.records import open_records
from dvlite.show import quote
from dvlite.store.cache import Cache

HISTORY = "values"  # the object that holds the values in each line of the history of an imported run


@dataclass(frozen=True, slots=True)
class At:
    """What a word names: a commit and what is tracked there, or ('') a run and its outputs, or one version of a model."""

    commit: str
    tracked: list[Tracked]


def at_word(
    repo: Repo, text: str, progress: Progress, *, in_git: bool = False, broken: list[DvliteError] | None = None
) -> At:
    """Returns what a revision, a run or `model:NAME` names; git's names come before runs. `in_git`: with outputs of the run that git keeps.

    `broken` takes the errors of pointers that cannot be used, which are raised without it.

    A model that this clone does not know is looked for on the git remote. A tag of several runs names the outputs of all of them, unless two have the same path.
    Raises UsageError for neither, for one of several runs, and for one without outputs.
    """
    if (model := model_in(repo, text)) is not None and not model[1]:
        return At("", [tracked_of(model[0])])
    try:
        at = repo.at(text)
    except UsageError:
        with open_index(open_records(repo, progress)) as index:
            if not is_run(index, text):
                raise
            tagged = (
                [] if index.named(text) else [run for oid in index.tagged(text) if (run := index.run(oid)) is not None]
            )
            outputs = sorted(
                (item for run in tagged for item in outputs_of(run, in_git=in_git)), key=lambda item: item.path
            )
            if not outputs or len({item.path for item in outputs}) < len(outputs):  # two versions of one path
                run = index.run(find_run(index, text, repo.relative))
                outputs = [] if run is None else list(outputs_of(run, in_git=in_git))
    else:
        return At(at.commit or "", at.tracked(broken))
    if not outputs:
        raise UsageError(
            f"the run {quote(text)} has no outputs", hint="dvlite runs --status ok   lists those that have"
        )
    return At("", outputs)


def at_start(
    repo: Repo, text: str, progress: Progress, *, in_git: bool = False, broken: list[DvliteError] | None = None
) -> tuple[At, str] | None:
    """Splits `REV:PATH` or `RUN:PATH`, where `best:train` is a run too, and returns what the first part names, and the path.

    None for a plain path: without a colon, or the name of something that is on disk or has a pointer.
    """
    first, colon, path = text.partition(":")
    if not colon or any(files.is_there(repo.cwd / name) for name in (text, text + SUFFIX)):
        return None
    if (model := model_in(repo, text)) is not None:
        version, inner = model
        return At("", [tracked_of(version)]), inner or repo.display(version.path)
    run, _, rest = text.rpartition(":")
    if run != first:
        with contextlib.suppress(UsageError):
            return at_word(repo, run, progress, in_git=in_git, broken=broken), rest
    return at_word(repo, first, progress, in_git=in_git, broken=broken), path


def outputs_of_tagged_runs(repo: Repo, progress: Progress) -> list[Tracked]:
    """Returns the outputs of all runs that have a tag, each version once."""
    with open_index(open_records(repo, progress)) as index:
        runs = {oid: index.run(oid) for (tag,) in _tags(index) for oid in index.tagged(tag)}
    found = (item for run in runs.values() if run is not None for item in outputs_of(run))
    return list({(item.path, item.pointer.oid): item for item in found}.values())


def series_of(run: Run, cache: Cache) -> SeriesFile:
    """Returns the series by `file:name`, as the metrics of a run are called; what cannot be read, or is not in the cache, is a problem."""
    found: dict[str, series.Series] = {}
    problems: list[str] = []
    for output in run.metric_files:
        kind, digest = parse_oid(output.oid)
        if kind != FILE or not series.is_series(output.path):
            continue
        try:
            if output.size_bytes > series.LIMIT_BYTES:
                problems.append(f"{quote(output.path)} has {output.size_bytes} bytes, more than {series.LIMIT_BYTES}")
                continue
            read = series.parse(cache.read_file(digest, output.size_bytes), output.path)
        except ObjectMissing:
            how = "" if run.imported is None else ": dvlite runs show fetches it"
            problems.append(f"{quote(output.path)} is not in the cache{how}")
            continue
        except DvliteError as error:
            problems.append(error.message)
            continue
        own = metrics_file(run.file, run.stage, output.path)
        start, inside = (own, "") if run.imported is None else (run.file, f"{HISTORY}.")
        found |= {f"{start}:{name.removeprefix(inside)}": one for name, one in read.series.items()}
        problems += [f"{quote(output.path)}: {problem}" for problem in read.problems]
    return SeriesFile(found, tuple(problems))


def _tags(index: RunIndex) -> list[tuple[str]]:
    return index.select("SELECT DISTINCT value FROM note WHERE op = 'tag'")


def outputs_of(run: Run, *, in_git: bool = False) -> Iterator[Tracked]:
    """Yields the outputs of a run; those that git keeps only if they are asked for."""
    for output, locked in zip(run.outputs, run.locked()[1], strict=True):
        if output.cached or in_git:
            yield Tracked(output.path, locked.pointer(), stage=address(run.file, run.stage))
