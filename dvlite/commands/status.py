"""`dvlite status`: what differs between workspace, git, cache and (if asked) a remote. Changes nothing but the stat index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from dvlite.errors import StrangeFile
from dvlite.files import is_there
from dvlite.formats.pointer import SUFFIX
from dvlite.git.output import is_pipeline_file, is_pointer
from dvlite.paths import PathSet
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.workspace import sparse, unpushed
from dvlite.workspace.path_args import cached_listing, select, usable, warning_of
from dvlite.workspace.path_status import AbsentPath, ChangedPath, PathStatus
from dvlite.workspace.purged import PurgedFile
from dvlite.workspace.running_outputs import RunningRepro, running
from dvlite.workspace.workspace import Workspace

if TYPE_CHECKING:
    from dvlite.pipeline.reasons import StaleStage  # slow to load: only a repository with stages pays it
    from dvlite.progress import Progress
    from dvlite.repo.tracked_paths import Tracked
    from dvlite.share.source_state import SourceState
    from dvlite.sweep.state import UnfinishedSweep  # as StaleStage: only where there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class UncommittedPointer:
    """A pointer file, lockfile or pipeline file that git's last commit does not have like this."""

    path: str  # of the file
    state: Literal["untracked", "modified", "staged", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StatusResult(Result):
    """What differs between workspace, git, cache and (if asked) a remote; an empty part is settled."""

    schema: ClassVar[str] = "dvlite.status/1"
    clean: bool
    running: RunningRepro | None = None  # in this worktree; its outputs are on their way
    sweeps: tuple[UnfinishedSweep, ...] = ()  # dvlite try --resume
    tracked: int = 0
    changed: tuple[ChangedPath, ...] = ()  # dvlite add -u
    outputs_changed: tuple[ChangedPath, ...] = ()  # not as their stage made them: dvlite repro, or dvlite checkout
    uncommitted: tuple[UncommittedPointer, ...] = ()  # git commit
    stale: tuple[StaleStage, ...] = ()  # dvlite repro
    missing: tuple[AbsentPath, ...] = ()  # not in the workspace: dvlite checkout
    not_in_cache: tuple[AbsentPath, ...] = ()  # dvlite fetch
    not_pushed: tuple[AbsentPath, ...] | None = None  # dvlite push; None: not looked at
    sources: tuple[SourceState, ...] | None = None  # of imported paths: dvlite update; None: not asked
    remote: str | None = None
    remote_is_default: bool = True
    unpushed: tuple[str, ...] = ()  # made in this clone, and not pushed since: dvlite push; no remote was asked
    purged: tuple[PurgedFile, ...] = ()  # files whose content was removed for good: nothing is to be done about them
    left_behind: tuple[str, ...] = ()  # on disk, and not tracked any more: dvlite checkout
    left_out: int = 0  # pointers that a sparse checkout leaves out, with their data
    warnings: tuple[str, ...] = ()


def status(
    repo: Repo, paths: Sequence[str], *, remote: str | None = None, check_remote: bool = False, progress: Progress
) -> StatusResult:
    """Compares every tracked path given (all without any; parts of directories too) with its pointer, and the pointers with git's last commit.

    Files are read only if their times say that they may have changed. With `check_remote` one fresh look at the remote is taken.
    """
    work = Workspace(repo, open_cache(repo), progress)
    warnings: list[str] = []
    tracked = usable(repo, paths, warnings.append)
    all_known = not warnings  # else a lockfile in conflict may track what seems to be left behind
    targets = select(repo, tracked, paths, inside=True, listing=cached_listing(work.cache))
    chosen = [item for item, _ in targets]
    checks = [PathStatus(work, item, part=sparse.selector(parts) if parts else None) for item, parts in targets]
    for check in checks:
        try:
            check.run()
        except StrangeFile as error:  # stops only the path that it stands in
            warnings.append(warning_of(error))
    checks = [check for check in checks if not check.stays_elsewhere]
    not_pushed, name, sources = None, None, None
    if check_remote:
        from dvlite.share.source_state import states_of
        from dvlite.workspace.remote_status import (
            missing_on_remote,  # 30 ms of modules that a plain status does not need
        )

        sources = tuple(states_of(repo, [item for item in chosen if not item.lockfile], progress))
        is_one_there = bool(repo.config.remote_names) or remote is not None or not sources
        if is_one_there:
            name, not_pushed = missing_on_remote(repo, work.cache, chosen, remote, progress)
    differing = [check.changed for check in checks if check.changed is not None]
    changed = tuple(path for path in differing if path.stage is None)
    outputs_changed = tuple(path for path in differing if path.stage is not None)
    missing = tuple(check.missing for check in checks if check.missing is not None)
    not_in_cache = tuple(check.not_in_cache for check in checks if check.not_in_cache is not None)
    uncommitted = tuple(_uncommitted(repo, _files_of(chosen) if paths else None))
    stale: tuple[StaleStage, ...] = ()
    nothing_here = bool(checks) and all(check.missing and check.not_in_cache for check in checks)
    if not nothing_here and not paths and repo.work_tree.pipeline_files(as_seen=True):
        from dvlite.pipeline.staleness import stages_out_of_date  # only where there is a pipeline

        stale, problems = stages_out_of_date(repo, work, tracked)
        warnings += [error.message for error in problems if warning_of(error) not in warnings]
    return StatusResult(
        clean=not (
            changed or outputs_changed or missing or not_in_cache or uncommitted or not_pushed or stale or warnings
        )
        and all(source.state == "current" for source in sources or ()),
        running=running(repo),
        sweeps=() if paths else _sweeps(repo),
        tracked=len(chosen),
        changed=changed,
        outputs_changed=outputs_changed,
        stale=stale,
        uncommitted=uncommitted,
        missing=missing,
        not_in_cache=not_in_cache,
        not_pushed=not_pushed,
        sources=sources,
        remote=name,
        remote_is_default=name is None or name in repo.config.default_remotes,
        unpushed=() if check_remote else _unpushed(repo, chosen, uncommitted),
        purged=tuple(file for check in checks for file in check.purged),
        left_behind=_left_behind(work, tracked) if all_known and not paths else (),
        left_out=repo.work_tree.pointers_left_out() if repo.git.is_sparse and not paths else 0,
        warnings=tuple(warnings),
    )


def _sweeps(repo: Repo) -> tuple[UnfinishedSweep, ...]:
    """Returns the sweeps of this clone that are not over."""
    if not is_there(repo.common_dir / "dvlite" / "try"):
        return ()
    from dvlite.sweep.state import overview

    return tuple(overview(repo))


def _left_behind(work: Workspace, tracked: Sequence[Tracked]) -> tuple[str, ...]:
    """Returns the data on disk that was tracked in this worktree and has no pointer now; git ignores it still."""
    known, now = list(work.known_paths()), {item.path for item in tracked}
    if now.issuperset(known):
        return ()
    here = PathSet(now)
    gone = (path for path in known if not here.overlaps(path))
    return tuple(path for path in gone if is_there(work.location(path)) and not is_there(work.location(path + SUFFIX)))


def _unpushed(repo: Repo, chosen: Sequence[Tracked], uncommitted: Sequence[UncommittedPointer]) -> tuple[str, ...]:
    """Returns the paths whose version was made here and not pushed since, as far as this clone knows; a commit comes before a push."""
    if not repo.config.default_remotes:
        return ()
    waiting = {file.path for file in uncommitted}
    due = [item for item in chosen if item.push and not waiting & {item.lockfile or item.path + SUFFIX}]
    made_here = unpushed.among(repo, (item.pointer.oid for item in due))
    return tuple(item.path for item in due if item.pointer.oid in made_here)


def _files_of(chosen: Sequence[Tracked]) -> set[str]:
    """Returns the files that name tracked paths, and the pipeline files of those that are outputs."""
    lockfiles = {item.lockfile for item in chosen if item.lockfile}
    pipelines = {file.removesuffix("lock") + "yaml" for file in lockfiles}
    return lockfiles | pipelines | {item.path + SUFFIX for item in chosen if not item.lockfile}


def _uncommitted(repo: Repo, only: set[str] | None) -> Iterator[UncommittedPointer]:
    for file in repo.git.status():
        if not (is_pointer(file.path) or is_pipeline_file(file.path)) or (only is not None and file.path not in only):
            continue
        state: Literal["untracked", "modified", "staged", "deleted"] = "staged"
        if file.staged == "?":
            state = "untracked"
        elif "D" in (file.staged, file.unstaged):
            state = "deleted"
        elif file.unstaged not in (".", " "):
            state = "modified"
        yield UncommittedPointer(path=file.path, state=state)
