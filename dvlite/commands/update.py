"""`dvlite update`: brings imported paths to what their sources have now."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from dvlite.errors import DvliteError, PartlyDone, Untrusted, UsageError
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.source import ImportSource
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.sources import require_trusted
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.share.any_repository import Opened
from dvlite.share.imports import open_source, take_from_repository
from dvlite.share.source_state import SourceState, states_of
from dvlite.share.url_imports import is_reference, take_from_url
from dvlite.show import Show, quote, some, word
from dvlite.workspace.adder import AddedPath
from dvlite.workspace.elsewhere import TakenIn, check_out_again
from dvlite.workspace.path_args import select, usable


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedPath:
    """An imported path. `behind`: its source has moved on, and nothing was done (a dry run); `same`: moved on, with the same data."""

    path: str
    state: Literal["current", "behind", "same", "updated", "failed"]
    old: ImportSource
    new: ImportSource | None = None  # as it is recorded now
    now: str = ""  # the commit that the source is at, if it is behind
    change: AddedPath | None = None
    problem: str = ""  # why it failed
    hint: str = ""  # what to do about that


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UpdateResult(Result):
    """Imported paths after `update`."""

    schema: ClassVar[str] = "dvlite.update/1"
    paths: tuple[UpdatedPath, ...] = ()
    dry_run: bool = False
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    has_remote: bool = True
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns which paths could not be updated, and why the first one was not."""
        failed = [path for path in self.paths if path.state == "failed"]
        if not failed:
            return None
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        message = f"{show.path(failed[0].path)} was not updated: {failed[0].problem}{more}"
        return PartlyDone(message, hint=failed[0].hint or "all else is done")


def update(
    repo: Repo,
    paths: Sequence[str],
    *,
    revision: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    jobs: int | None = None,
    stage: bool = True,
    progress: Progress,
) -> UpdateResult:
    """Brings the imported paths given (all without any) to what their sources have now, or have at `revision`, which they follow from then on.

    A source is asked before anything is read from it; what has not moved on costs nothing more. A path that was changed here since is
    refused unless `force`. Raises Untrusted, before any request, for a source that the user did not approve.
    """
    started = time.monotonic()
    with repo.lock(progress):
        warnings: list[str] = []
        chosen = _imported(repo, paths, warnings)
        if revision is not None and not paths:
            raise UsageError("--rev is for the paths that are given", hint="dvlite update --rev R PATH")
        if revision is not None and any(item.pointer.source and item.pointer.source.url for item in chosen):
            raise UsageError("a URL has no revisions", hint="leave out --rev, or import the other URL")
        sources = {item.path: item.pointer.source for item in chosen if item.pointer.source is not None}
        for path, source in sources.items():
            require_trusted(repo, path, source)
        if revision is not None:
            states = [
                SourceState(path=path, source=replace(source, revision=revision), state="moved")
                for path, source in sources.items()
            ]
        else:
            states = states_of(repo, chosen, progress)
        due = [state for state in states if state.state == "moved" or (state.silent and paths)]
        edited = {item.path for item in chosen if item.pointer.oid != sources[item.path].oid and not force}
        references = {item.path for item in chosen if is_reference(item.pointer)}
        how = _How(jobs, stage, frozenset(edited), frozenset(references))
        outcomes: dict[str, TakenIn | DvliteError] = {}
        for group in _by_place(due):
            outcomes |= _taken(repo, [state for state in group if not dry_run or state.path in edited], how, progress)
        rest = [] if dry_run else [item for item in chosen if item.path not in outcomes]
        again = [item.path for item in rest if check_out_again(repo, item, progress)]
        late = repo.git.unstaged([item.path + SUFFIX for item in rest])
        staged = repo.stage(late, enabled=stage)
        warnings += [f"{quote(repo.display(path))} was checked out: an earlier version was on disk" for path in again]
        done = [_updated(state, sources[state.path], outcomes.get(state.path)) for state in states]
        failed = [outcome for outcome in outcomes.values() if isinstance(outcome, DvliteError)]
        if failed and len(states) == 1:
            raise failed[0]
        taken = [outcome for outcome in outcomes.values() if isinstance(outcome, TakenIn)]
        return UpdateResult(
            paths=tuple(done),
            dry_run=dry_run,
            staged=tuple(dict.fromkeys([*staged, *(name for one in taken for name in one.staged)])),
            unstaged=tuple(
                dict.fromkeys([*([] if staged else late), *(name for one in taken for name in one.unstaged)])
            ),
            readers=tuple(sorted({name for one in taken for name in one.readers})),
            has_remote=bool(repo.config.remote_names),
            elapsed_seconds=time.monotonic() - started,
            warnings=(*warnings, *(text for one in taken for text in one.warnings)),
        )


@dataclass(frozen=True, slots=True)
class _How:
    """How paths are updated: those `edited` here are refused, those of `references` are lists."""

    jobs: int | None
    stage: bool
    edited: frozenset[str]
    references: frozenset[str]


def _by_place(states: Sequence[SourceState]) -> list[list[SourceState]]:
    """Returns the states in groups of one repository and revision, which is opened once; each URL is a group."""
    groups: dict[tuple[str, ...], list[SourceState]] = {}
    for state in states:
        source = state.source
        place = (source.repository, source.revision) if source.repository else (state.path,)
        groups.setdefault(place, []).append(state)
    return list(groups.values())


def _taken(repo: Repo, group: Sequence[SourceState], how: _How, progress: Progress) -> dict[str, TakenIn | DvliteError]:
    """Returns what was taken in for each path of a group, or why it was not. Raises Untrusted, for the user may be asked."""
    done: dict[str, TakenIn | DvliteError] = {}
    done |= {state.path: _refused(repo, state.path) for state in group if state.path in how.edited}
    free = [state for state in group if state.path not in how.edited]
    try:
        with contextlib.ExitStack() as stack:
            there = None
            if free and free[0].source.repository:
                there = stack.enter_context(open_source(repo, [state.source for state in free], progress))
            for state in free:
                done[state.path] = _one(repo, state, there, how, progress)
    except Untrusted:
        raise
    except DvliteError as error:
        done |= {state.path: error for state in free if state.path not in done}
    return done


def _one(repo: Repo, state: SourceState, there: Opened | None, how: _How, progress: Progress) -> TakenIn | DvliteError:
    path, source = state.path, state.source
    flags: dict[str, Any] = {"jobs": how.jobs, "stage": how.stage, "progress": progress}
    try:
        if there is not None:
            return take_from_repository(repo, path, source, there, **flags)
        return take_from_url(repo, path, source, download=path not in how.references, **flags)
    except Untrusted:
        raise
    except DvliteError as error:
        return error


def _updated(state: SourceState, old: ImportSource, outcome: TakenIn | DvliteError | None) -> UpdatedPath:
    if isinstance(outcome, DvliteError):
        return UpdatedPath(path=state.path, state="failed", old=old, problem=outcome.message, hint=outcome.hint or "")
    if outcome is not None:
        same = outcome.added.unchanged
        return UpdatedPath(
            path=state.path,
            state="same" if same else "updated",
            old=old,
            new=outcome.version.source,
            change=outcome.added,
        )
    if state.state == "unknown":
        return UpdatedPath(path=state.path, state="failed", old=old, problem=state.problem, hint=state.hint)
    behind = state.state == "moved"
    return UpdatedPath(path=state.path, state="behind" if behind else "current", old=old, now=state.now)


def _imported(repo: Repo, paths: Sequence[str], warnings: list[str]) -> list[Tracked]:
    """Returns the imported paths that are meant; raises UsageError for a path that was not imported."""
    tracked = [item for item in usable(repo, paths, warnings.append) if not item.lockfile]
    if not paths:
        return [item for item in tracked if item.pointer.source is not None]
    imported: dict[str, Tracked] = {}
    others: list[str] = []
    for path in paths:
        chosen = [item for item, _ in select(repo, tracked, [path], inside=False)]
        found = {item.path: item for item in chosen if item.pointer.source is not None}
        imported |= found
        others += [] if found else [item.path for item in chosen]
    if others:
        raise UsageError(
            f"{some([quote(repo.display(path)) for path in others])}: not imported, so there is no source to follow",
            hint="dvlite import REPO PATH, or dvlite import-url URL",
        )
    return [imported[path] for path in sorted(imported)]


def _refused(repo: Repo, path: str) -> UsageError:
    shown = repo.display(path)
    return UsageError(
        f"{quote(shown)} was changed here since it was imported",
        hint=f"to give the changes up (git keeps their pointer): dvlite update --force {word(shown)}",
    )
