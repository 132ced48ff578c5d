"""Makes data from elsewhere a tracked path, new or with another version: what `add -o`, `import`, `import-url` and `update` do to one path.

Data comes into the cache first, then the pointer is written, then the version is checked out: stopped anywhere, the same command ends it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import DvliteError, ObjectMissing, UsageError
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote, word
from dvlite.store.cache_writer import Writer
from dvlite.workspace.add_checks import (
    AddTarget,
    is_output,
    refuse_broken,
    refuse_untrackable,
    tracked_above,
    twin_warnings,
    unread_ignores,
)
from dvlite.workspace.adder import AddedPath, Adder
from dvlite.workspace.hashing import identify
from dvlite.workspace.overwrite_safety import is_earlier_version
from dvlite.workspace.path_args import warning_of
from dvlite.workspace.restore import CheckoutOptions, restore
from dvlite.workspace.workspace import Workspace

Supply = Callable[[Adder, AddTarget, Writer], AddedPath]
"""Stores data in the cache and takes note of its version; may raise before anything else was changed."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A path whose data came from elsewhere, and the files that name it."""

    added: AddedPath
    version: Pointer
    staged: tuple[str, ...]
    unstaged: tuple[str, ...]
    readers: tuple[str, ...]  # stages whose lockfile entry is out of date by this
    cache_grew_bytes: int
    cache_free_bytes: int
    shares_blocks: bool
    warnings: tuple[str, ...]


def take_in(
    repo: Repo, path: str, supply: Supply, *, allow_purged: bool = False, stage: bool = True, progress: Progress
) -> TakenIn:
    """Tracks what `supply` brings as `path` and checks it out; the caller holds the lock of the work tree.

    Raises UsageError, before anything is brought, for what cannot be tracked and for data in the way that is not in the cache.
    """
    broken: list[DvliteError] = []
    tracked = {item.path: item for item in repo.work_tree.tracked(broken)}
    target = _target(repo, path, tracked)
    fresh = [path] if target.old is None else []
    if broken:
        refuse_broken(broken, fresh)
    refuse_untrackable(repo, fresh, tracked, are_there=False)
    twins = twin_warnings(fresh, tracked)
    repo.ensure_ignored([path], write=False)
    cache = open_cache(repo)
    work = Workspace(repo, cache, progress)
    _refuse_in_the_way(work, target)
    adder = Adder(work, progress, force=True, allow_purged=allow_purged)
    adder.warnings += [*twins, *unread_ignores(repo, fresh), *map(warning_of, broken)]
    with Writer(cache, progress) as writer:
        added = supply(adder, target, writer)
        writer.commit()
        # Before the pointer: after a killed run or an edit of .gitignore, git would take the data itself.
        ignored = repo.ensure_ignored([path])
        # While the writer's lock is held: no garbage collection can come between what was there and its pointer.
        written = adder.write_pointers(writer) + ignored
    if path + SUFFIX not in written:
        written += repo.git.unstaged([path + SUFFIX])
    written += [name for name in repo.unstaged_ignore_files([path]) if name not in written]
    staged = repo.stage(written, enabled=stage)
    version = adder.version(path)
    _check_out(work, adder, target, version)
    return TakenIn(
        added=added,
        version=version,
        staged=staged,
        unstaged=repo.left_to_stage(written, staged),
        readers=() if added.unchanged else repo.work_tree.readers_of({path: added.oid}),
        cache_grew_bytes=writer.stored_bytes,
        cache_free_bytes=shutil.disk_usage(cache.folder).free,
        shares_blocks=adder.shares_blocks,
        warnings=tuple(adder.warnings),
    )


def check_out_again(repo: Repo, item: Tracked, progress: Progress) -> bool:
    """Checks out the version that a pointer names if an earlier one is on disk, as a run leaves it that was stopped; returns whether it did.

    Edits stay, and so does everything if the version is not in the cache.
    """
    work = Workspace(repo, open_cache(repo), progress)
    if work.other_version(item) is None:
        return False
    how = CheckoutOptions(link="hardlink" in repo.config.links, keep_sparse=True)
    try:
        restored = restore(work, item.path, item.pointer, (), how)
    except ObjectMissing:
        return False
    return not (restored.damaged or restored.result.conflicts or restored.result.missing)


def refuse_inside(repo: Repo, source: Path, path: str) -> None:
    """Raises UsageError for a source and a path that lie in each other."""
    inner, outer = sorted((source, (repo.root / path).resolve()), key=lambda place: -len(place.parts))
    if inner.is_relative_to(outer):
        raise UsageError(
            f"{quote(repo.display(path))} and its source lie in each other", hint="give another path with -o"
        )


def _target(repo: Repo, path: str, tracked: Mapping[str, Tracked]) -> AddTarget:
    above = tracked_above(path, tracked)
    if above is None:
        return AddTarget(path, None)
    if tracked[above].lockfile:
        raise is_output(repo, path, tracked[above])
    if above != path:
        shown = repo.display(above)
        inner = path.removeprefix(f"{above}/")
        raise UsageError(
            f"{quote(shown)} is tracked as a whole: data from elsewhere cannot become a part of it",
            hint=f"put it there, then dvlite add {word(f'{shown}/{inner}')}",
        )
    return AddTarget(path, tracked[path].pointer)


def _refuse_in_the_way(work: Workspace, target: AddTarget) -> None:
    """Raises UsageError if what is on disk in the place of a path is not in the cache."""
    scan = work.scan(target.path)
    if scan is None:
        return
    have = identify(scan, work.stat_rows(target.path), work.progress)
    if target.old is None or not is_earlier_version(work, target.path, have):
        shown = work.repo.display(target.path)
        raise UsageError(
            f"{quote(shown)} is in the way: it has data that is not in the cache",
            hint=f"to keep it, dvlite add {word(shown)}; then run this again",
        )


def _check_out(work: Workspace, adder: Adder, target: AddTarget, version: Pointer) -> None:
    """Puts the version in its place, from the cache; of a partly checked out directory, the same part."""
    path = target.path
    how = CheckoutOptions(link="hardlink" in work.repo.config.links, keep_sparse=target.old is not None)
    work.note_version(path, version.oid, whole=False, part=True)  # if this is stopped, both may be there
    restored = restore(work, path, version, (), how)
    if restored.damaged:
        raise restored.damaged[0][1]
    if restored.result.conflicts:
        adder.warnings.append(
            f"{quote(work.repo.display(path))} was edited meanwhile and stays as it is; to compare: dvlite diff"
        )
