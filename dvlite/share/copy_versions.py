"""Copies versions from one remote to another for a clone, which then claims them there: what `sync` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.errors import DvliteError, ObjectMissing, UsageError
from dvlite.files import lock
from dvlite.formats.snapshot import Version, VersionId, version_of
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs import share
from dvlite.share.needs import dropped_by
from dvlite.share.publish import commit_of, earlier_versions, refuse_emptied, signature
from dvlite.show import Show, printable, quote, some, word
from dvlite.store import copy_protocol, push_protocol
from dvlite.store.catalog import Catalog
from dvlite.store.copy_protocol import SyncOutcome, SyncPlan, Wanted
from dvlite.store.push_protocol import send_tombstones, stay_awake
from dvlite.workspace.fetch import MovedPath, not_moved


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
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
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not copied."""
        return not_moved(self.paths, f"not on {printable(self.source)}", "sync", "", show)


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

    Raises ObjectMissing, with nothing written, for a version of which something is neither on the source nor on the target, unless keep
    rules dropped it; UsageError for two names of one place; Untrusted before the first request.
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
        progress.start(f"looking at {source_remote.store.label} and {remote.store.label}")
        source = Catalog(source_remote, progress, to_read=True).look()
        target = Catalog(remote, progress).look()
        if source.is_empty:
            raise source.empty_error()
        refuse_emptied(target, options.target)
        cache.create()
        runs = None if options.dry_run else share.between(repo, source_remote, remote, progress)
        earlier = earlier_versions(repo, remote, items)
        wanted = Wanted(
            list(dict.fromkeys(version_of(item.path, item.pointer) for item in items)),
            frozenset(digest for digest, _ in (runs.contents if runs is not None else ())),
            [(old.oid_kind, old.digest) for those in earlier.values() for old in those],
        )
        todo = copy_protocol.plan(source, target, cache, wanted)
        lost = _lost(repo, todo, options)
        done, sent = SyncOutcome(), 0
        if not options.dry_run:
            stay_awake(source)
            if cache.purged:
                push_protocol.send_tombstones(target, repo.config.project or "")
            if cache.purged:
                send_tombstones(target, repo.config.project or "")
            commit = commit_of(repo, items, {version.id: "" for version in todo.lacking})
            author = signature(repo, repo.git.config_get("user.email") or "", commit)
            records: list[int] = []
            done = copy_protocol.run(
                source,
                target,
                cache,
                Wanted(todo.versions, wanted.also, wanted.bases),
                author,
                progress,
                None if todo.lacking else todo,
                send_records=lambda: records.append(share.send(remote, runs) if runs is not None else 0),
            )
            sent = sum(records)
        copied = {version.id for version in todo.incomplete}
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
        dry_run=options.dry_run,
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(_lost_text(version, lost[version.id], options) for version in todo.lacking),
    )


def _lost(repo: Repo, todo: SyncPlan, options: SyncOptions) -> dict[VersionId, str]:
    """Returns the versions to leave out, each with the keep rules that dropped it. Raises ObjectMissing for others."""
    if not todo.lacking:
        return {}
    ids = [version.id for version in todo.lacking]
    dropped = dropped_by(repo, ids)
    others = [version for version in todo.lacking if version.id not in dropped]
    if others and not options.allow_missing:
        paths = some([quote(path) for path in dict.fromkeys(version.path for version in others)])
        raise ObjectMissing(
            f"cannot copy {paths}: not all of it is on {options.source}",
            hint=f"push it from a clone that has it: dvlite push -r {word(options.source)}; or leave such versions out: --allow-missing",
        )
    return dict.fromkeys(ids, "") | dropped


def _lost_text(version: Version, rules: str, options: SyncOptions) -> str:
    reason = f"dropped by {rules}" if rules else f"not all of it is on {options.source}"
    return f"{quote(version.path)} ({version.digest.hex()[:8]}) is left out: {reason}"


def _moved(item: Tracked, copied: set[VersionId], lost: Mapping[VersionId, str], options: SyncOptions) -> MovedPath:
    version = version_of(item.path, item.pointer).id
    pending = version in copied
    return MovedPath(
        path=item.path,
        oid=item.pointer.oid,
        files=item.pointer.files,
        size_bytes=item.pointer.size_bytes,
        state="lost" if version in lost else ("planned" if options.dry_run else "copied") if pending else "present",
        revision=item.commit if options.by_commit else None,
    )
