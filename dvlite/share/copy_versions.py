"""Copies versions from one remote to another for a clone, which then claims them there: what `sync` does."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, ObjectCorrupt, UsageError
from dvlite.files import lock
from dvlite.formats import manifest
from dvlite.formats.snapshot import Version, VersionId, version_of
from dvlite.oid import MANIFEST, Digest
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote, refuse_emptied, signature
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.runs import share
from dvlite.share.needs import dropped_by
from dvlite.share.publish import PushedBefore, commit_of
from dvlite.show import Show, count, printable, quote, some, word
from dvlite.store import copy_protocol
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.copy_protocol import Lacking, SyncOutcome, Wanted
from dvlite.store.push_protocol import send_tombstones, stay_awake
from dvlite.workspace.fetch import MovedPath, named, not_moved
from dvlite.workspace.purged import PurgedFile, purged_file, purged_in
from dvlite.workspace.workspace import entries_of

LostState = Literal["lost", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SyncResult(Result):
    """What was copied from one remote to another."""

    schema: ClassVar[str] = "dvlite.sync/1"
    source: str
    target: str
    source_url: str = ""
    target_url: str = ""
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # copied
    objects: int = 0  # written to the target
    copied_bytes: int = 0  # written to the target; of a dry run, at most so many
    records: int = 0  # run records, tags and notes that the target lacked
    damaged_logs: int = 0  # of runs, that are damaged on the source
    purged: tuple[PurgedFile, ...] = ()  # removed for good: neither copied nor missed
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not copied."""
        again = f"then copy the rest: dvlite sync {word(self.source)} {word(self.target)}; all else is done"
        if damaged := [path for path in self.paths if path.state == "failed"]:
            return ObjectCorrupt(
                f"cannot copy {named(damaged, show)}: damaged on {printable(self.source)}",
                hint=f"in a clone that has the data: dvlite fsck --remote {word(self.source)} --deep --repair; {again}",
            )
        if self.damaged_logs:
            return ObjectCorrupt(
                f"cannot copy {count(self.damaged_logs, 'log')} of runs: damaged on {printable(self.source)}",
                hint=f"in a clone that has the data: dvlite fsck --remote {word(self.source)} --deep --repair; {again}",
            )
        push = f"push it from a clone that has it: dvlite push -r {word(self.source)}; {again}"
        return not_moved(self.paths, f"not all of it is on {printable(self.source)}", "sync", push, show)


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """From where to where, and how; `by_commit`: the result names commits. `allow_missing`: as for a push."""

    source: str
    target: str
    jobs: int | None = None
    dry_run: bool = False
    allow_missing: bool = False
    by_commit: bool = False


def copy_between(repo: Repo, items: Sequence[Tracked], options: SyncOptions, *, progress: Progress) -> SyncResult:
    """Copies the versions, and the run records, that one remote has and another lacks; their data is never on this disk.

    A version of which something is nowhere, or damaged, is left out and named in the result, and keeps no other from being copied. Raises
    UsageError for two names of one place; Untrusted before the first request.
    """
    started = time.monotonic()
    target_at = repo.remote(options.target, to_push=not options.dry_run)
    source_at = repo.remote(options.source)
    if source_at.key == target_at.key:
        raise UsageError(
            f"{quote(options.source)} and {quote(options.target)} are the same place", hint="dvlite remote list"
        )
    cache = open_cache(repo)
    with contextlib.ExitStack() as stack:
        source_remote = stack.enter_context(open_remote(repo, cache, options.source, options.jobs)[1])
        remote = stack.enter_context(open_remote(repo, cache, options.target, options.jobs)[1])
        remote.folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(lock(remote.folder / "lock", wait=repo.waits, waiting=progress.warn))
        progress.start(f"looking at {source_remote.shown} and {remote.shown}")
        source = Catalog(source_remote, progress, to_read=True).look()
        target = Catalog(remote, progress).look()
        if source.is_empty:
            raise source.empty_error()
        refuse_emptied(target, options.target)
        cache.create()
        runs = None if options.dry_run else share.between(repo, source_remote, remote, progress)
        earlier = PushedBefore(repo, remote, items).of(item.path for item in items)
        wanted = Wanted(
            list(dict.fromkeys(version_of(item.path, item.pointer) for item in items)),
            frozenset(digest for digest, _ in (runs.contents if runs is not None else ())),
            [(old.oid_kind, old.digest) for those in earlier.values() for old in those],
        )
        todo = copy_protocol.plan(source, target, cache, wanted)
        done, sent = SyncOutcome(lacking=todo.lacking), 0

        def send_known_tombstones() -> None:
            if cache.purged:
                send_tombstones(target, repo.config.project or "", set(_purged(cache, items).values()))

        if not options.dry_run:
            stay_awake(source)
            commit = commit_of(repo, items, {version.id: "" for version in todo.lacking})
            author = signature(repo, repo.git.config_get("user.email") or "", commit)
            records: list[int] = []
            done = copy_protocol.run(
                source,
                target,
                cache,
                wanted,
                author,
                progress,
                todo,
                send_tombstones=send_known_tombstones,
                send_records=lambda damaged: records.append(
                    share.send(remote, runs, lacking=damaged) if runs is not None else 0
                ),
            )
            sent = sum(records)
        copied = {version.id for version in todo.incomplete}
        purged = _purged(cache, items)
        lost = _lost(repo, cache, done.lacking, options)
        traffic = remote.traffic
    return SyncResult(
        source=options.source,
        target=options.target,
        source_url=source_at.location.text,
        target_url=target_at.location.text,
        paths=tuple(_moved(item, copied, lost, options) for item in items),
        files=todo.files if options.dry_run else done.files,
        objects=traffic.objects_written,
        copied_bytes=todo.copies.size_bytes if options.dry_run else traffic.bytes_written,
        records=sent,
        damaged_logs=len(done.damaged),
        purged=tuple(purged_file(path, cache.purged[digest]) for path, digest in purged.items()),
        dry_run=options.dry_run,
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(
            f"{quote(version.path)} ({version.digest.hex()[:8]}) is left out: {problem}"
            for version in done.lacking
            for state, problem in [lost[version.id]]
            if state == "lost"
        ),
    )


def _purged(cache: Cache, items: Sequence[Tracked]) -> dict[str, Digest]:
    """Returns the files of versions that were purged, as far as the listings are here."""
    gone: dict[str, Digest] = {}
    for item in items if cache.purged else ():
        with contextlib.suppress(DvliteError):
            entries = entries_of(item.pointer, cache)
            gone |= {row.path: entries.digest(i) for i, row in purged_in(cache, item.path, entries).items()}
    return gone


def _lost(repo: Repo, cache: Cache, lacking: Lacking, options: SyncOptions) -> dict[VersionId, tuple[LostState, str]]:
    """Returns the versions that were left out, each as its state and the reason: the keep rules that dropped it, or what it lacks."""
    dropped = dropped_by(repo, [version.id for version in lacking]) if lacking else {}
    lost: dict[VersionId, tuple[LostState, str]] = {}
    for version, gone in lacking.items():
        damage = next((error for error in gone.values() if isinstance(error, ObjectCorrupt)), None)
        if version.id in dropped:
            lost[version.id] = "lost", f"dropped by {dropped[version.id]}"
        elif damage is not None:
            lost[version.id] = "failed", f"{_names(cache, version, gone)}: {damage.message}"
        else:
            state: LostState = "lost" if options.allow_missing else "missing"
            lost[version.id] = state, f"not all of it is on {options.source}: {_names(cache, version, gone)}"
    return lost


def _names(cache: Cache, version: Version, gone: Collection[Digest]) -> str:
    """Returns the first paths in a version that have some contents."""
    if version.kind != MANIFEST:
        return quote(version.path)
    names: list[str] = []
    with contextlib.suppress(DvliteError):
        for leaf in manifest.leaves(version.digest, cache.read_node):
            names += [os.fsdecode(leaf.paths[i]) for i in range(len(leaf)) if leaf.digest(i) in gone]
    return some([quote(f"{version.path}/{name}") for name in names]) if names else "the list of its files"


def _moved(
    item: Tracked, copied: set[VersionId], lost: Mapping[VersionId, tuple[LostState, str]], options: SyncOptions
) -> MovedPath:
    version = version_of(item.path, item.pointer).id
    state, problem = lost.get(version, (None, None))
    done: Literal["planned", "copied"] = "planned" if options.dry_run else "copied"
    return MovedPath(
        path=item.path,
        oid=item.pointer.oid,
        files=item.pointer.files,
        size_bytes=item.pointer.size_bytes,
        state=state or (done if version in copied else "present"),
        revision=item.commit if options.by_commit else None,
        problem=problem,
    )
