"""`dvlite rm`: stops tracking paths; their data goes too unless it is to stay, and only if all of it is in the cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.pointer import SUFFIX
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.show import quote, some, word
from dvlite.workspace.backups import keep_uncommitted
from dvlite.workspace.dirfd import remove_empty_folders
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.path_args import refuse_outputs, select, usable
from dvlite.workspace.restore import remove_tree
from dvlite.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RmResult(Result):
    """Paths that are no longer tracked; `kept` says that their data stays in the workspace (`--cached`)."""

    schema: ClassVar[str] = "dvlite.rm/1"
    paths: tuple[str, ...] = ()
    kept: bool = False
    staged: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()  # stages whose lockfile entry is out of date by this
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def rm(repo: Repo, paths: Sequence[str], *, cached: bool = False, stage: bool = True, progress: Progress) -> RmResult:
    """Stops tracking the tracked paths given (a folder stands for all below it); with `cached` their data stays.

    Data goes first, its pointer after it: a run that was killed is completed by running it again, or undone by `checkout`. Raises
    DvliteError, with nothing done, if any byte that would go is not in the cache.
    """
    with repo.lock(progress):
        names = {argument: repo.relative(argument).removesuffix(SUFFIX) for argument in paths}
        gone = [path for path in dict.fromkeys(names.values()) if _is_gone(repo, path, cached=cached)]
        paths = [argument for argument in paths if names[argument] not in gone]
        tracked = usable(repo, paths, progress.warn, whole=True)
        chosen = [item for item, _ in select(repo, tracked, paths, inside=False)] if paths else []
        refuse_outputs(repo, chosen, "remove")
        repo.forget_ignored([item.path for item in chosen], write=False)
        work = Workspace(repo, open_cache(repo), progress)
        snapshots = {} if cached else _look(work, chosen)
        warnings = [] if cached else keep_uncommitted(repo, chosen)
        for path, have in snapshots.items():
            work.clear_leftovers(path, have.scan)
            if not remove_tree(work, path, have) and files.is_there(repo.root / path):
                warnings.append(
                    f"{quote(repo.display(path))} still has files that dvlite leaves out, or that came just now"
                )
        removed = [*gone, *(item.path for item in chosen)]
        written = repo.forget_ignored(removed)
        for path in removed:
            work.forget(path)
            folder = files.existing_folder((repo.root / path).parent)
            files.sync_path(folder)  # before the pointer goes: a power cut leaves data with a pointer, or neither
            with contextlib.suppress(FileNotFoundError):
                os.unlink(repo.root / (path + SUFFIX))
            files.sync_path(folder)
            remove_empty_folders(repo.root, repo.cwd, path)
        changed = list(
            dict.fromkeys([*(path + SUFFIX for path in removed), *written, *repo.unstaged_ignore_files(removed)])
        )
        staged = repo.stage(changed, enabled=stage)
        return RmResult(
            paths=tuple(removed),
            kept=cached,
            staged=staged,
            readers=repo.work_tree.readers_of(dict.fromkeys(removed, "")),
            unstaged=repo.left_to_stage(changed, staged),
            warnings=tuple(warnings),
        )


def _is_gone(repo: Repo, path: str, *, cached: bool) -> bool:
    """Returns whether a pointer is gone from the disk, after its data, but not from git's index: a run that was stopped had only that left to do."""
    file = path + SUFFIX
    if not path or files.is_there(repo.root / file) or (files.is_there(repo.root / path) and not cached):
        return False
    return file in repo.git.tracked_under([file])


def _look(work: Workspace, chosen: Sequence[Tracked]) -> dict[str, Snapshot]:
    """Returns what is on disk of each path; raises DvliteError naming files that the cache does not have."""
    snapshots: dict[str, Snapshot] = {}
    lost: list[str] = []
    kept: list[str] = []
    for item in chosen:
        scan = work.scan(item.path)
        if scan is None:
            continue
        have = snapshots[item.path] = identify(scan, None, work.progress)  # read: what goes is what the cache has
        for i, flags in enumerate(have.scan.flags):
            if flags != EMPTY_DIR and not work.cache.is_sound(have.digest(i), have.scan.sizes[i]):
                inner = os.fsdecode(have.scan.paths[i])
                lost.append(work.repo.display(f"{item.path}/{inner}" if inner else item.path))
                kept.append(word(work.repo.display(item.path)))
    if lost:
        raise DvliteError(
            f"cannot remove {some([quote(name) for name in lost])}: not in the cache, so it would be lost; nothing was done",
            hint=f"to keep it in the cache: dvlite add -u\nto keep it in the workspace: dvlite rm --cached {' '.join(dict.fromkeys(kept))}",
        )
    return snapshots
