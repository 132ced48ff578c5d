"""`dvlite checkout`: makes the workspace what the pointers say, from the cache alone."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, StrangeFile
from dvlite.files import holds, write_atomic
from dvlite.formats import pointer as pointers
from dvlite.formats.pointer import CONFLICTS_SUFFIX, SUFFIX
from dvlite.paths import PathSet
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote, word
from dvlite.workspace.backups import keep_uncommitted
from dvlite.workspace.path_args import cached_listing, select, usable, warning_of
from dvlite.workspace.restore import (
    CheckedOutPath,
    CheckoutOptions,
    CheckoutResult,
    of_stages,
    remove_untracked,
    restore,
    writer_process_for,
)
from dvlite.workspace.running_outputs import skip_running_outputs
from dvlite.workspace.workspace import Workspace


def checkout(
    repo: Repo,
    paths: Sequence[str],
    *,
    revision: str | None = None,
    force: bool = False,
    allow_missing: bool = False,
    relink: bool = False,
    progress: Progress,
) -> CheckoutResult:
    """Writes the tracked paths given (all without any; parts of directories too) as their pointers, or those of a revision, say.

    Local bytes that are not in the cache are kept and listed; with `force` they are stored first. A version that is not all in the cache is
    not written, or with `allow_missing` all of it that is. With `relink`, large files that are right are linked to the cache as `cache.link` says now. With a revision the pointers on disk
    are rewritten too, as `git checkout REV -- PATH` would; lockfiles are not, for they say what stages made. Where a pointer or lockfile
    cannot be used, the rest is done and nothing is removed. Raises ObjectCorrupt after doing what could be done.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.enter_context(repo.lock(progress))
        work = Workspace(repo, open_cache(repo), progress)
        broken: list[str] = []
        wanted = usable(repo, paths, broken.append) if revision is None else repo.at(revision).tracked()
        is_being_made = skip_running_outputs(repo, progress.warn)
        targets = select(repo, wanted, paths, inside=True, listing=cached_listing(work.cache))
        chosen = [(item, part) for item, part in targets if not is_being_made(item.path)]
        repo.exclude([item.path for item, _ in chosen])
        done: list[CheckedOutPath] = []
        pointers_written: list[str] = []
        outputs: list[str] = []  # on disk, named by lockfiles: what overlaps them gets no pointer
        damaged: DvliteError | None = None
        helper = stack.enter_context(writer_process_for(work, ((item.path, item.pointer) for item, _ in chosen)))
        how = CheckoutOptions(force, "hardlink" in repo.config.links, not paths, allow_missing, helper, relink)
        if revision is not None:
            now = {item.path: item for item in repo.work_tree.tracked(broken=[])}
            outputs = [path for path, item in now.items() if item.lockfile]
            leaving = [
                now[i.path]
                for i, part in chosen
                if not part and i.path in now and not i.pointer.same_version(now[i.path].pointer)
            ]
            for warning in keep_uncommitted(repo, leaving):
                progress.warn(warning)
        rewritten: set[str] = set()
        if revision is not None:
            whole = [item.path for item, patterns in chosen if not patterns and not item.lockfile]
            made = PathSet(outputs)
            rewritten = {path for path in whole if not made.overlaps(path)}
            repo.ensure_ignored(sorted(rewritten), write=False)
        for item, patterns in chosen:
            work.require_real_folder(item.path)
            if item.path in rewritten:
                pointers_written += _write_pointer(repo, item.path, item.pointer)
            try:
                restored = restore(work, item.path, item.pointer, patterns, how)
            except ObjectMissing:
                if item.push or paths:
                    done.append(CheckedOutPath(path=item.path, missing=(item.path,)))
                continue
            except ObjectCorrupt as error:
                damaged = damaged or error
                continue
            except StrangeFile as error:
                error.hint = f"to have it moved away: dvlite checkout --force {word(repo.display(item.path))}"
                if paths:
                    damaged = damaged or error
                else:
                    broken.append(warning_of(error))
                continue
            # an output that stays in the clone that made it is not missed in others
            done.append(restored.result if item.push or paths else replace(restored.result, missing=()))
            damaged = damaged or (restored.damaged[0][1] if restored.damaged else None)
        if any(path.missing for path in done):
            done = _explained(repo, chosen, done)
        if any(path.conflicts for path in done):
            done = [*of_stages(repo, done)]
        if not paths and revision is None and not broken:
            done.extend(remove_untracked(work, {item.path for item in wanted}))
            listed = [item.path for item in wanted if os.path.lexists(f"{repo.root}/{item.path}{CONFLICTS_SUFFIX}")]
            if listed:
                from dvlite.tables.merge_files import remove_stale  # slow to load

                for name in remove_stale(repo, listed):
                    progress.warn(f"{quote(repo.display(name))} was removed: the merge that it is of is over")
        repo.stage(repo.git.unstaged(list(dict.fromkeys(pointers_written))))  # also by a run that was stopped
        if damaged is not None:
            raise damaged
        return CheckoutResult(
            paths=tuple(done),
            revision=revision,
            may_lack=allow_missing,
            unusable=() if paths else tuple(broken),
            warnings=tuple(broken) if paths else (),
            elapsed_seconds=time.monotonic() - started,
            link="hardlink" if how.link else "",
        )


def _explained(
    repo: Repo, chosen: Sequence[tuple[Tracked, Sequence[str]]], done: list[CheckedOutPath]
) -> list[CheckedOutPath]:
    """Returns the results, with the rules that dropped a version that is not all here."""
    from dvlite.share.needs import dropped_by  # slow to load

    absent = {path.path for path in done if path.missing}
    ids = {item.path: (item.pointer.oid_kind, item.pointer.digest) for item, _ in chosen if item.path in absent}
    dropped = dropped_by(repo, ids.values())
    return [replace(path, dropped=dropped.get(ids[path.path])) if path.path in ids else path for path in done]


def _write_pointer(repo: Repo, path: str, wanted: pointers.Pointer) -> list[str]:
    """Makes the pointer on disk that of another revision; returns the files that git should have."""
    target = repo.root / (path + SUFFIX)
    data = pointers.dump(wanted)
    ignore_files = repo.ensure_ignored([path])
    if not holds(target, data):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, data)
    return [path + SUFFIX, *ignore_files, *repo.unstaged_ignore_files([path])]
