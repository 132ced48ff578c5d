"""`dvlite gc`: plans what the cache of this clone, or of all clones that share it, needs no more, and removes it if asked to."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dvlite import files
from dvlite.errors import DvliteError, ObjectCorrupt, PartlyDone, UsageError
from dvlite.progress import Progress
from dvlite.repo.remotes import note_keys
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.share.judgement import Judgement
from dvlite.share.needs import GcPart, Needs, Unnamed, gather, projects_sharing, said_of, stale_refs, worktrees
from dvlite.show import Show, count, word
from dvlite.store import cache_sweep
from dvlite.store.cache import Cache
from dvlite.store.cache_sweep import Limits, Sweep
from dvlite.sweep import side_tree
from dvlite.workspace.backups import SAVED

GRACE_SECONDS = 86400


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GcResult(Result):
    """What a garbage collection removed, or would; and what stays, by which rule."""

    schema: ClassVar[str] = "dvlite.gc/1"
    applied: bool = False  # False: a plan
    objects: int = 0
    freed_bytes: int = 0
    gone: tuple[GcPart, ...] = ()
    kept: tuple[GcPart, ...] = ()
    quarantined: int = 0  # damaged objects that were set aside; they are never removed
    quarantined_bytes: int = 0
    damaged: int = 0  # needed objects whose only copies are damaged: their packs stay
    unreadable: int = 0  # packs that could not be read; they stay
    free_bytes: int = 0  # on the disk of the cache, now
    grace_seconds: int = GRACE_SECONDS
    uncommitted_seconds: int | None = None  # what no commit names was to go if it is older than this
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns what was found damaged, or could not be read."""
        if self.unreadable and not self.damaged:
            packs, stay = count(self.unreadable, "pack"), "stays" if self.unreadable == 1 else "stay"
            hint = "see what is damaged: dvlite fsck"
            return PartlyDone(f"cannot read {packs} of the cache, which {stay}", hint=hint)
        if not self.damaged:
            return None
        are = "objects that are needed are" if self.damaged > 1 else "object that is needed is"
        return ObjectCorrupt(
            f"{self.damaged} {are} damaged in the cache; nothing of their packs was removed",
            hint="dvlite pull fetches good copies if a remote has them",
        )


def gc(
    repo: Repo,
    *,
    yes: bool,
    grace_seconds: int = GRACE_SECONDS,
    uncommitted_seconds: int | None = None,
    progress: Progress,
) -> GcResult:
    """Removes from the cache what nothing needs and nothing touched for `grace_seconds`; without `yes`, only plans it.

    With `uncommitted_seconds` also the outputs of runs, and the saved copies, that are older than this, and than `grace_seconds`, and that no
    commit and no tag names; records, metrics and logs of the runs stay.
    Asks every clone that shares the cache. Holds the locks of this worktree and of the cache from before it asks until all is removed.
    Raises DvliteError, with nothing removed, if one of them cannot be read; see `gather`.
    """
    cache = open_cache(repo)
    stale_refs(repo, drop=True)
    side_tree.clear(repo)
    if not cache.folder.is_dir():
        return GcResult(applied=yes, grace_seconds=grace_seconds, uncommitted_seconds=uncommitted_seconds)
    cache.segments()  # repairs a damaged index, which takes the lock that is held below
    with contextlib.ExitStack() as stack:
        if yes:
            stack.enter_context(repo.lock(progress))
            stack.enter_context(files.lock(cache.folder / "lock", wait=repo.waits, waiting=progress.warn))
            cache.refresh()
        needs = [gather(repo, progress, fetched=False)]
        for each in projects_sharing(repo, cache):
            with said_of(each, repo):
                needs.append(gather(each, progress, fetched=False))
        progress.start("comparing the cache with what is needed")
        now_ns = cache_sweep.now_ns(cache)
        given_up = frozenset[Unnamed]()
        if uncommitted_seconds is not None:
            given_up = _give_up(repo, needs[0], now_ns - max(uncommitted_seconds, grace_seconds) * 1_000_000_000)
        judgement = Judgement(cache, needs, given_up)
        oldest_ns = now_ns - grace_seconds * 1_000_000_000 if grace_seconds else None
        limits = Limits(oldest_ns, tidies=True, notes=_unused_notes(repo))
        sweep = cache_sweep.plan(cache, judgement.of, limits)
        quarantined = cache_sweep.quarantined(cache)
        _refuse_unknown(cache, judgement, sweep)
        gone = judgement.parts(sweep.gone, cache_sweep.file_digests(cache), kept=False)
        kept = judgement.parts(sweep.kept, cache_sweep.file_digests(cache), kept=True)
        if yes:
            _forget_copies(given_up)
        damaged = cache_sweep.apply(cache, sweep, judgement.of) if yes else 0
        progress.finish()
    return GcResult(
        applied=yes,
        objects=sum(amount.objects for amount in sweep.gone.values()),
        freed_bytes=sweep.freed_bytes,
        gone=gone,
        kept=kept,
        quarantined=quarantined.objects,
        quarantined_bytes=quarantined.size_bytes,
        damaged=damaged,
        unreadable=sweep.unreadable,
        free_bytes=shutil.disk_usage(cache.folder).free,
        grace_seconds=grace_seconds,
        uncommitted_seconds=uncommitted_seconds,
    )


def _refuse_unknown(cache: Cache, judgement: Judgement, sweep: Sweep) -> None:
    """Raises DvliteError if a listing that is needed is not there and may be in a pack that cannot be read: what it lists may be here."""
    quarantine = cache.folder / "quarantine"
    if judgement.absent and (sweep.unreadable or any(quarantine.glob("packs-*"))):
        lists = count(judgement.absent, "list of files", "lists of files")
        raise DvliteError(
            f"cannot find out what is needed: {lists} of versions that are needed cannot be read, and the cache is damaged",
            hint=f"dvlite fetch --all-commits; if that data is lost for good: rm {word(str(quarantine))}/packs-*",
        )


def _unused_notes(repo: Repo) -> tuple[Path, ...]:
    """Returns the folders with notes about remotes that no worktree of the clone has in its config."""
    try:
        used = {key for each in worktrees(repo) for key in note_keys(each.config, each.root)}
        return tuple(sorted(path for path in repo.notes_dir.iterdir() if path.is_dir() and path.name not in used))
    except (UsageError, FileNotFoundError):
        return ()


def _give_up(repo: Repo, own: Needs, before_ns: int) -> frozenset[Unnamed]:
    """Returns the runs of this clone and the saved copies of this worktree, whose lock is held, that no commit names and that are old enough."""
    old = (each for each in own.unnamed if each.time_ns < before_ns)
    return frozenset(each for each in old if each.saved is None or each.saved.parent == repo.state_dir / SAVED)


def _forget_copies(given_up: Iterable[Unnamed]) -> None:
    """Removes the pointers of saved copies, before their data."""
    pointers = [each.saved for each in given_up if each.saved is not None]
    for file in pointers:
        file.unlink(missing_ok=True)
    for folder in {file.parent for file in pointers}:
        files.sync_path(folder)
