"""`dvlite update`: brings imported paths to what their sources have now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.formats.source import ImportSource
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.sources import require_trusted
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.share.imports import take_from_repository
from dvlite.share.source_state import SourceState, states_of
from dvlite.share.url_imports import is_reference, take_from_url
from dvlite.show import Show, quote, some, word
from dvlite.workspace.adder import AddedPath
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
    problem: str = ""


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
        return PartlyDone(f"{show.path(failed[0].path)}: {failed[0].problem}{more}", hint="all else is done")


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
        references = {item.path for item in chosen if is_reference(item.pointer)}
        edited = [item.path for item in chosen if item.pointer.oid != sources[item.path].oid and not force]
        done: list[UpdatedPath] = []
        files: list[tuple[str, ...]] = []
        left: list[str] = []
        readers: set[str] = set()
        for state in states:
            is_asked_for = state.state == "moved" or (state.silent and bool(paths))
            if dry_run or not is_asked_for:
                done.append(_as_it_is(state, sources[state.path]))
                continue
            try:
                if state.path in edited:
                    raise _refused(repo, state.path)
                if state.source.repository:
                    taken = take_from_repository(
                        repo, state.path, state.source, jobs=jobs, stage=stage, progress=progress
                    )
                else:
                    taken = take_from_url(
                        repo,
                        state.path,
                        state.source,
                        download=state.path not in references,
                        jobs=jobs,
                        stage=stage,
                        progress=progress,
                    )
            except DvliteError as error:
                if len(states) == 1:
                    raise
                done.append(
                    UpdatedPath(path=state.path, state="failed", old=sources[state.path], problem=error.message)
                )
                continue
            done.append(
                UpdatedPath(
                    path=state.path,
                    state="same" if taken.added.unchanged else "updated",
                    old=sources[state.path],
                    new=taken.version.source,
                    change=taken.added,
                )
            )
            files.append(taken.staged)
            left += taken.unstaged
            readers.update(taken.readers)
            warnings += taken.warnings
        return UpdateResult(
            paths=tuple(done),
            dry_run=dry_run,
            staged=tuple(dict.fromkeys(name for names in files for name in names)),
            unstaged=tuple(dict.fromkeys(left)),
            readers=tuple(sorted(readers)),
            has_remote=bool(repo.config.remote_names),
            elapsed_seconds=time.monotonic() - started,
            warnings=tuple(warnings),
        )


def _imported(repo: Repo, paths: Sequence[str], warnings: list[str]) -> list[Tracked]:
    """Returns the imported paths that are meant; raises UsageError for a path that was not imported."""
    tracked = [item for item in usable(repo, paths, warnings.append) if not item.lockfile]
    if not paths:
        return [item for item in tracked if item.pointer.source is not None]
    chosen = [item for item, _ in select(repo, tracked, paths, inside=False)]
    others = [item.path for item in chosen if item.pointer.source is None]
    imported = [item for item in chosen if item.pointer.source is not None]
    if not imported:
        raise UsageError(
            f"{some([quote(repo.display(path)) for path in others])}: not imported, so there is no source to follow",
            hint="dvlite import REPO PATH, or dvlite import-url URL",
        )
    return imported


def _as_it_is(state: SourceState, old: ImportSource) -> UpdatedPath:
    if state.state == "unknown":
        return UpdatedPath(path=state.path, state="failed", old=old, problem=state.problem)
    return UpdatedPath(
        path=state.path, state="current" if state.state == "current" else "behind", old=old, now=state.now
    )


def _refused(repo: Repo, path: str) -> UsageError:
    shown = repo.display(path)
    return UsageError(
        f"{quote(shown)} was changed here since it was imported",
        hint=f"to give the changes up (git keeps their pointer): dvlite update --force {word(shown)}",
    )
