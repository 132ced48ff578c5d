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
from dvlite.formats.snapshot import VersionId
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.remotes import note_keys
from dvlite.repo.repository import Repo, open_cache
from dvlite.share.needs import (
    IN_USE,
    NAMED,
    OF_RUNS,
    GcPart,
    Needs,
    gather,
    projects_sharing,
    said_of,
    stale_refs,
    worktrees,
)
from dvlite.show import Show, count, word
from dvlite.store import cache_sweep
from dvlite.store.cache import Cache
from dvlite.store.cache_sweep import Amount, Limits, Sweep, Verdict
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from dvlite.store.reachable import Marks

GRACE_SECONDS = 86400
_UNNAMED = "that nothing names"
_OTHER = "of other kinds"


@dataclass(frozen=True, slots=True, kw_only=True)
class GcResult:
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


def gc(repo: Repo, *, yes: bool, grace_seconds: int = GRACE_SECONDS, progress: Progress) -> GcResult:
    """Removes from the cache what nothing needs and nothing touched for `grace_seconds`; without `yes`, only plans it.

    Asks every clone that shares the cache. Holds the locks of this worktree and of the cache from before it asks until all is removed.
    Raises DvliteError, with nothing removed, if one of them cannot be read; see `gather`.
    """
    cache = open_cache(repo)
    stale_refs(repo, drop=True)
    if not cache.folder.is_dir():
        return GcResult(applied=yes, grace_seconds=grace_seconds)
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
        judgement = _Judgement(cache, needs)
        oldest_ns = cache_sweep.now_ns(cache) - grace_seconds * 1_000_000_000 if grace_seconds else None
        limits = Limits(oldest_ns, tidies=True, notes=_unused_notes(repo))
        sweep = cache_sweep.plan(cache, judgement.of, limits)
        quarantined = cache_sweep.quarantined(cache)
        _refuse_unknown(cache, judgement, sweep)
        damaged = cache_sweep.apply(cache, sweep, judgement.of) if yes else 0
        progress.finish()
    return GcResult(
        applied=yes,
        objects=sum(amount.objects for amount in sweep.gone.values()),
        freed_bytes=sweep.freed_bytes,
        gone=_parts(sweep.gone),
        kept=_parts(sweep.kept),
        quarantined=quarantined.objects,
        quarantined_bytes=quarantined.size_bytes,
        damaged=damaged,
        unreadable=sweep.unreadable,
        free_bytes=shutil.disk_usage(cache.folder).free,
        grace_seconds=grace_seconds,
    )


class _Judgement:
    """Says of each object whether one of several clones needs it, by which of its rules, or why not."""

    def __init__(self, cache: Cache, needs: list[Needs]) -> None:
        self._marks, self._verdicts = Marks(), list[Verdict]()
        self._purged = cache.purged
        by_rule: dict[str, list[VersionId]] = {NAMED: [], IN_USE: []}
        dropped: dict[str, list[VersionId]] = {}
        for each in needs:
            for version, rule in each.kept_by.items():
                by_rule.setdefault(rule, []).append(version)
            for version, rules in each.dropped.items():
                dropped.setdefault(f"dropped by {rules}", []).append(version)
        by_rule[OF_RUNS] = [version for each in needs for version in each.listings]
        for rule, versions in by_rule.items():
            self._mark(cache, (True, rule), versions)
        for digest in (digest for each in needs for digest in each.files):
            self._marks.files.setdefault(digest, len(self._verdicts) - 1)
        self.absent = len(self._marks.absent)  # nodes of what is needed: what they list is not known
        for rule, versions in dropped.items():
            with contextlib.suppress(ObjectCorrupt):  # said so only for a part of it then
                self._mark(cache, (False, rule), versions)

    def _mark(self, cache: Cache, verdict: Verdict, versions: Iterable[VersionId]) -> None:
        self._verdicts.append(verdict)
        for version in versions:
            self._marks.add(version, len(self._verdicts) - 1, cache.read_node)

    def of(self, kind: int, digest: Digest) -> Verdict:
        if kind not in (KIND_FILE, KIND_MANIFEST):
            return True, _OTHER
        if kind == KIND_FILE and digest in self._purged:
            return False, cache_sweep.PURGED
        marked = (self._marks.files if kind == KIND_FILE else self._marks.nodes).get(digest)
        return (False, _UNNAMED) if marked is None else self._verdicts[marked]


def _refuse_unknown(cache: Cache, judgement: _Judgement, sweep: Sweep) -> None:
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


def _parts(amounts: dict[str, Amount]) -> tuple[GcPart, ...]:
    rows = sorted(amounts.items(), key=lambda row: -row[1].size_bytes)
    return tuple(GcPart(reason=reason, objects=each.objects, size_bytes=each.size_bytes) for reason, each in rows)
