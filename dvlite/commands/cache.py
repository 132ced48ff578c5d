"""`dvlite cache prune --pushed`: frees what a remote provably has. Proof is a fresh listing of the remote, never a remembered one."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.formats.snapshot import VersionId
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.remotes import configured, located
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.share.judgement import UNNAMED, Judgement
from dvlite.share.needs import LOCAL, OF_RUNS, RUN, SAVED_COPY, UNCOMMITTED, GcPart, gather, projects_sharing, said_of
from dvlite.show import word
from dvlite.store import cache_sweep, reachable
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE

_LISTINGS = "listings"  # stay, so that ls, status and diff work
_OTHERS = "of other clones that share the cache"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CachePruneResult(Result):
    """What was removed from the cache because a remote provably has it."""

    schema: ClassVar[str] = "dvlite.cache-prune/1"
    remote: str
    remotes: tuple[str, ...] = ()  # that were asked
    copies: int = 1  # remotes that must have a file before it goes: gc.copies
    objects: int = 0
    freed_bytes: int = 0
    kept_objects: int = 0  # not on the remote, or on fewer than `copies`
    kept_bytes: int = 0
    kept: tuple[GcPart, ...] = ()  # why
    fixes: tuple[str, ...] = ()  # commands after which less is kept; of a plan, the one that does it
    free_bytes: int = 0  # on the disk of the cache, now
    dry_run: bool = False
    warnings: tuple[str, ...] = ()


def cache_prune(
    repo: Repo, *, remote: str | None = None, dry_run: bool = False, progress: Progress
) -> CachePruneResult:
    """Removes from the cache the files that the remote has in packs that are not condemned; listings and run records stay.

    A version is proven if all its objects are on the remote and this clone pushed it (a root). Files of a version that is not proven
    stay, unless a proven one has them too. With `gc.copies` above 1, so many of the configured remotes must prove it, each place counted once. Takes the lock of the cache, so other dvlite commands that write to it wait.
    """
    cache = open_cache(repo)
    first = repo.remote(remote).name
    if not cache.folder.is_dir():
        return CachePruneResult(remote=first, dry_run=dry_run)
    own = gather(repo, progress, fetched=False, cut_off=True)
    others = []
    for other in projects_sharing(repo, cache):
        with said_of(other, repo):
            others.append((other, gather(other, progress, fetched=False, cut_off=True)))
    asked = _Asked(cache, own.named, tuple((other, theirs.named) for other, theirs in others))
    copies = max(_copies(each) for each in (repo, *(other for other, _ in asked.others)))
    with contextlib.ExitStack() as stack:
        cache.segments()  # repairs a damaged index, which takes the lock that is held below
        if not dry_run:
            stack.enter_context(repo.lock(progress))
            stack.enter_context(files.lock(cache.folder / "lock", waiting=progress.warn))
            cache.refresh()
        digests = set(cache_sweep.file_digests(cache))
        holders: Counter[Digest] = Counter()
        remotes: list[str] = []
        for name in _places(repo, first) if copies > 1 else (first,):
            try:
                holders.update(_safe_on(repo, name, asked, digests, progress))
            except DvliteError as error:
                if copies == 1:
                    raise
                progress.warn(f"remote {name} does not count as a copy: {error.message}")
                continue
            remotes.append(name)

        needed, needed_elsewhere = Judgement(cache, [own]), Judgement(cache, [theirs for _, theirs in others])

        def judge(kind: int, digest: Digest) -> cache_sweep.Verdict:
            if kind != KIND_FILE:
                return True, _LISTINGS
            if holders[digest] >= copies:
                return False, first
            is_needed, why = needed.of(kind, digest)
            return True, _OTHERS if not is_needed and needed_elsewhere.of(kind, digest)[0] else why

        sweep = cache_sweep.plan(cache, judge, cache_sweep.Limits())
        sweep.kept.pop(_LISTINGS, None)
        kept = needed.parts(sweep.kept, (digest for digest in digests if holders[digest] < copies), kept=True)
        if not dry_run:
            cache_sweep.apply(cache, sweep, judge)
        progress.finish()
    return CachePruneResult(
        remote=first,
        remotes=tuple(remotes),
        copies=copies,
        objects=sum(amount.objects for amount in sweep.gone.values()),
        freed_bytes=sweep.freed_bytes,
        kept_objects=sum(part.objects for part in kept),
        kept_bytes=sum(part.size_bytes for part in kept),
        kept=kept,
        fixes=_fixes(repo, first, None if dry_run and sweep.gone else set(sweep.kept)),
        free_bytes=shutil.disk_usage(cache.folder).free,
        dry_run=dry_run,
    )


def _fixes(repo: Repo, name: str, reasons: set[str] | None) -> tuple[str, ...]:
    """Returns the commands after which less is kept for these reasons; None: for a plan that was not carried out."""
    to = "" if name in repo.config.default_remotes else f" -r {word(name)}"
    if reasons is None:
        return (f"dvlite cache prune --pushed{to}",)
    by_push = reasons - {
        UNNAMED,
        cache_sweep.PURGED,
        cache_sweep.UNREADABLE,
        UNCOMMITTED,
        LOCAL,
        OF_RUNS,
        RUN,
        SAVED_COPY,
        _OTHERS,
    }
    commands = {
        f"dvlite push{to} --all-commits": bool(by_push),
        f"dvlite push{to}": UNCOMMITTED in reasons,
        "dvlite gc --uncommitted": not reasons.isdisjoint((RUN, SAVED_COPY)),
        "dvlite gc": UNNAMED in reasons and reasons.isdisjoint((RUN, SAVED_COPY)),
    }
    return tuple(command for command, helps in commands.items() if helps)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked about: the versions that this clone names, and those of others that share the cache."""

    cache: Cache
    own: frozenset[VersionId]
    others: tuple[tuple[Repo, frozenset[VersionId]], ...]


def _safe_on(repo: Repo, name: str, asked: _Asked, digests: set[Digest], progress: Progress) -> set[Digest]:
    """Returns the files of the cache that one remote provably has."""
    versions, kept_for_others = list(asked.own), set[Digest]()
    for other, theirs in asked.others:
        if _has_same_store(repo, other, name):  # proven for one, proven for the other
            versions += theirs
        else:
            kept_for_others |= reachable.files_of(theirs, asked.cache)
    _, opened = open_remote(repo, asked.cache, name, None)
    with opened:
        progress.start(f"comparing the cache with {opened.shown}")
        proof = reachable.prove(Catalog(opened, progress).look(), asked.cache, versions, also=digests)
    shared = repo.config.cache_dir is not None  # other projects may rely on it, and have another remote
    covered = {digest for digest in digests if proof.covers(digest, strangers=not shared)}
    return covered - kept_for_others


def _copies(repo: Repo) -> int:
    value = repo.config.get("gc.copies")
    return value if isinstance(value, int) else 1


def _places(repo: Repo, first: str) -> list[str]:
    """Returns the configured remotes, one name for each place, the given one first."""
    places = {located(configured(repo.config, name), repo.root)[0].text: name for name in repo.config.remote_names}
    places[located(configured(repo.config, first), repo.root)[0].text] = first
    return [first, *(name for name in places.values() if name != first)]


def _has_same_store(repo: Repo, other: Repo, name: str) -> bool:
    """Returns whether another clone is of the same project and has the same place under the same name."""
    if repo.config.project is None or other.config.project != repo.config.project:
        return False
    try:
        return other.remote(name).key == repo.remote(name).key
    except DvliteError:
        return False
