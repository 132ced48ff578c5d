"""`dvlite add`: takes files and folders into the cache and writes their pointers; the user's files stay as they are."""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from dvlite import files
from dvlite.errors import DvliteError, PartlyDone, StrangeFile, UsageError
from dvlite.formats.pointer import SUFFIX
from dvlite.git.output import is_lockfile
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked, Unusable
from dvlite.results import Result
from dvlite.show import Show, quote, some
from dvlite.store.cache_writer import Writer
from dvlite.workspace import sparse
from dvlite.workspace.add_checks import (
    DATABASE_LOGS,
    AddTarget,
    is_output,
    open_databases,
    refuse_broken,
    refuse_untrackable,
    tracked_above,
    twin_warnings,
    unread_ignores,
)
from dvlite.workspace.adder import AddedPath, Adder
from dvlite.workspace.elsewhere import refuse_inside, take_in
from dvlite.workspace.path_args import warning_of
from dvlite.workspace.workspace import Workspace

_MANY_FILES = 1000


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AddResult(Result):
    """What `add` cached and which files it wrote."""

    schema: ClassVar[str] = "dvlite.add/1"
    paths: tuple[AddedPath, ...] = ()
    skipped: tuple[str, ...] = ()  # pointers among the arguments
    staged: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()  # stages whose lockfile entry is out of date by this
    unstaged: tuple[str, ...] = ()  # written, for the user to `git add` (`--no-stage`)
    cache_grew_bytes: int = 0
    cache_free_bytes: int = 0
    shares_blocks: bool = False  # cached files share blocks with the workspace (reflink)
    has_remote: bool = True
    suggest_folder: str | None = None  # more than 1,000 single files were given from this folder
    absent: tuple[str, ...] = ()  # with `update`: tracked paths that are not on disk, left as they are
    moved: tuple[
        tuple[str, str], ...
    ] = ()  # old name, new name: the version of a path that is not on disk, added under another name
    unusable: tuple[str, ...] = ()  # with `update`: why pointers or data could not be read; these paths are left out
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was left out."""
        return (
            PartlyDone(some(self.unusable, 1), hint="all else is added; see dvlite status") if self.unusable else None
        )


def add(
    repo: Repo,
    paths: Sequence[str],
    *,
    update: bool = False,
    force: bool = False,
    allow_purged: bool = False,
    source: Path | BinaryIO | None = None,
    stage: bool = True,
    progress: Progress,
) -> AddResult:
    """Tracks the paths given, or with `update` every tracked path that changed; with a `source`, its data, as the one path given.

    Data from a source is copied into the cache once, and checked out from there; what is in its place must be in the cache.

    Data older than its pointer is refused (with `update`, skipped if it is unedited) unless `force`. Nothing is written if any path cannot
    be added; bytes that were purged cannot, unless `allow_purged`. Correct pointers that are not staged are staged. Content that the cache has is not stored again. Raises UsageError for
    what cannot be tracked, FileChanged for a file that is being written, NoSpace before anything is stored.
    """
    started = time.monotonic()
    if source is not None:
        return _from_elsewhere(repo, paths[0], source, allow_purged=allow_purged, stage=stage, progress=progress)
    with repo.lock(progress):
        broken: list[DvliteError] = []
        tracked = {item.path: item for item in repo.work_tree.tracked(broken)}
        targets, skipped = _targets(repo, tracked, paths, update=update)
        fresh = [target.path for target in targets if target.old is None]
        if broken:
            refuse_broken(broken, fresh)
        refuse_untrackable(repo, fresh, tracked)
        twins = twin_warnings(fresh, tracked)
        repo.ensure_ignored([target.path for target in targets], write=False)
        cache = open_cache(repo)
        work = Workspace(repo, cache, progress)
        adder = Adder(work, progress, force=force, allow_purged=allow_purged)
        left_out: list[DvliteError] = [
            error for error in broken if update and isinstance(error, Unusable) and not is_lockfile(error.file)
        ]
        adder.warnings += [*twins, *unread_ignores(repo, fresh)]
        logs = [target.path + ending for target in targets for ending in DATABASE_LOGS]
        if logs := [log for log in logs if os.path.lexists(f"{repo.root}/{log}")]:
            adder.warnings += open_databases(repo, logs)
        adder.warnings += [warning_of(error) for error in broken if error not in left_out]
        with Writer(cache, progress) as writer:
            results: list[AddedPath | None] = []
            for target in targets:
                try:
                    results.append(adder.one(target, writer, update=update))
                except StrangeFile as error:
                    if paths or not update:
                        raise
                    left_out.append(error)
            writer.commit()
            # Before the pointers, and for all of them: after a killed run or an edit of .gitignore, git would take the data itself.
            new = adder.new
            ignored = repo.ensure_ignored([item.path for item in targets if item.old is not None or item.path in new])
            # While the writer's lock is held: no garbage collection can come between what was there and its pointer.
            written = adder.write_pointers(writer) + ignored
        right = [target.path + SUFFIX for target in targets if target.path + SUFFIX not in written]
        written += repo.git.unstaged([name for name in right if os.path.lexists(repo.root / name)])
        named = () if update else repo.unstaged_ignore_files([target.path for target in targets])
        written += [name for name in named if name not in written]
        staged = repo.stage(written, enabled=stage)
        changed = {result.path: result.oid for result in results if result is not None and not result.unchanged}
        missing = [
            item for item in tracked.values() if not item.lockfile and not files.is_there(work.location(item.path))
        ]
        created = [
            (result.path, adder.version(result.path)) for result in results if result is not None and result.created
        ]
        return AddResult(
            paths=tuple(result for result in results if result is not None),
            absent=tuple(item.path for item in missing if not work.is_left_out(item.path)) if update else (),
            moved=tuple(
                (item.path, path) for path, new in created for item in missing if new.same_version(item.pointer)
            ),
            skipped=tuple(skipped),
            staged=staged,
            readers=repo.work_tree.readers_of(changed),
            unstaged=repo.left_to_stage(written, staged),
            cache_grew_bytes=writer.stored_bytes,
            cache_free_bytes=shutil.disk_usage(cache.folder).free,
            shares_blocks=adder.shares_blocks,
            has_remote=bool(repo.config.remote_names),
            # more than a thousand single files: their folder can be tracked as one
            suggest_folder=(os.path.commonpath(fresh) or None) if len(fresh) > _MANY_FILES else None,
            unusable=tuple(warning_of(error) for error in left_out),
            elapsed_seconds=time.monotonic() - started,
            warnings=tuple(adder.warnings),
        )


def _from_elsewhere(
    repo: Repo, argument: str, source: Path | BinaryIO, *, allow_purged: bool, stage: bool, progress: Progress
) -> AddResult:
    started, path = time.monotonic(), repo.relative(argument)
    if isinstance(source, Path):
        refuse_inside(repo, source, path)
    with repo.lock(progress):
        taken = take_in(
            repo,
            path,
            lambda adder, target, writer: adder.from_elsewhere(target, source, writer),
            allow_purged=allow_purged,
            stage=stage,
            progress=progress,
        )
    return AddResult(
        paths=(taken.added,),
        staged=taken.staged,
        unstaged=taken.unstaged,
        readers=taken.readers,
        cache_grew_bytes=taken.cache_grew_bytes,
        cache_free_bytes=taken.cache_free_bytes,
        shares_blocks=taken.shares_blocks,
        has_remote=bool(repo.config.remote_names),
        elapsed_seconds=time.monotonic() - started,
        warnings=taken.warnings,
    )


def _targets(
    repo: Repo, tracked: dict[str, Tracked], arguments: Sequence[str], *, update: bool
) -> tuple[list[AddTarget], list[str]]:
    """Returns the targets, each path once, and the pointer files among the arguments."""
    targets: dict[str, AddTarget] = {}
    skipped: list[str] = []
    if update:
        targets = {path: AddTarget(path, item.pointer) for path, item in tracked.items() if not item.lockfile}
    for argument in arguments:
        is_pattern = not os.path.lexists(repo.cwd / argument) and sparse.is_glob(argument)
        for name in _expand(repo, argument) if is_pattern else [argument]:
            path = repo.relative(name)
            if path.endswith(SUFFIX) and os.path.isfile(repo.root / path):
                skipped.append(path)
                continue
            outer = tracked_above(path, tracked)
            if outer is None:
                targets[path] = AddTarget(path, None)
            elif tracked[outer].lockfile:
                raise is_output(repo, path, tracked[outer])
            elif outer == path:
                targets[path] = AddTarget(path, tracked[path].pointer)
            elif outer not in targets:
                targets[outer] = AddTarget(outer, tracked[outer].pointer, [sparse.literal(path[len(outer) + 1 :])])
            elif targets[outer].inside:
                targets[outer].inside.append(sparse.literal(path[len(outer) + 1 :]))
    return list(targets.values()), skipped


def _expand(repo: Repo, argument: str) -> list[str]:
    """Returns the paths that a pattern stands for which the shell left alone."""
    names = sorted(glob.glob(argument, root_dir=repo.cwd, recursive=True, include_hidden=False))
    if not names:
        raise UsageError(f"nothing matches {quote(argument)}", hint="look at the names with ls")
    return names
