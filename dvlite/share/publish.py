"""Makes versions complete on a remote: what `push` and the pre-push hook have in common. The callers choose the versions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from dvlite.errors import Busy, DvliteError, ObjectCorrupt, ObjectMissing, PartlyDone, RemoteError
from dvlite.files import lock
from dvlite.formats.pointer import Pointer, from_oid
from dvlite.formats.snapshot import Version, VersionId, version_of
from dvlite.oid import Digest, digest_bytes, format_oid
from dvlite.paths import ancestors
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.open_stores import open_remote, refuse_emptied, signature
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Scope
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.runs import share
from dvlite.share.needs import dropped_by
from dvlite.show import Show, is_or_are, printable, quote, size_text, some
from dvlite.store import push_protocol
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.push_plan import Bases, PushPlan, refuse_missing
from dvlite.store.push_protocol import plan
from dvlite.store.remote import Remote
from dvlite.store.upkeep import advice
from dvlite.workspace import sparse, unpushed
from dvlite.workspace.fetch import MovedPath, file_in, not_moved
from dvlite.workspace.path_args import cached_listing, select, travelling, usable
from dvlite.workspace.purged import PurgedFile, purged_file

_KINDS: Mapping[int, type[DvliteError]] = {13: ObjectCorrupt, 12: ObjectMissing, 11: Busy, 3: PartlyDone}
_SPECIFIC = tuple(_KINDS)  # the most specific exit code first
_EARLIER = 3  # versions of a path whose content the remote may have

Key = tuple[str, Digest]  # of a version: its path and digest


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PushResult(Result):
    """What was added to a remote."""

    schema: ClassVar[str] = "dvlite.push/1"
    remote: str
    url: str = ""  # where the remote is
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # uploaded
    objects: int = 0  # written to the remote
    uploaded_bytes: int = 0
    size_bytes: int = 0  # of the files uploaded, before dedup and compression
    records: int = 0  # run records, tags and notes that were uploaded
    purged: tuple[PurgedFile, ...] = ()  # removed for good: neither sent nor missed
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    others: tuple[RemotePush, ...] = ()  # of several default remotes, the others
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not pushed, to some of several remotes or at all."""
        failed = [other for other in self.others if other.problem is not None]
        where = f"neither in the cache nor on {printable(self.remote)}"
        hint = "push from the clone that added it, or put the data back and run dvlite add PATH"
        if failed:
            return _not_pushed([(each.remote, each.problem or "", each.hint, each.code) for each in failed])
        return not_moved(self.paths, where, "push", hint, show)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePush:
    """What was added to one more of several remotes, or the problem, with the exit code that it leads to."""

    remote: str
    url: str = ""
    paths: tuple[MovedPath, ...] = ()
    files: int = 0
    objects: int = 0
    uploaded_bytes: int = 0
    size_bytes: int = 0
    records: int = 0
    elapsed_seconds: float = 0.0
    problem: str | None = None
    hint: str | None = None
    code: int = 0


class OverLimit(DvliteError):
    """There is more to upload than the caller allows; nothing was sent. `paths` are the tracked paths that it belongs to."""

    def __init__(self, size_bytes: int, limit_bytes: int, remote: str, paths: Sequence[str]) -> None:
        super().__init__(f"{size_text(size_bytes)} are to be uploaded to {remote}, more than {size_text(limit_bytes)}")
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push. `allow_missing`: versions whose data is lost are skipped with a warning; `by_commit`: the result names commits.

    `limit_bytes`: the most that may be uploaded, in bytes of files before dedup and compression.
    """

    remote: str | None = None
    jobs: int | None = None
    dry_run: bool = False
    allow_missing: bool = False
    limit_bytes: int | None = None
    by_commit: bool = False


@dataclass(frozen=True, slots=True)
class _Lost:
    """The files of a version that are nowhere, and the keep rules that dropped it, if any did."""

    missing: tuple[str, ...]
    rules: str


def publish(repo: Repo, items: Sequence[Tracked], options: PushOptions, *, progress: Progress) -> PushResult:
    """Uploads the versions, and the run records, that the remote lacks.

    Raises ObjectMissing, with nothing published, if something is neither in the cache nor on the remote; OverLimit likewise; Untrusted
    before the first request, for a place that the user did not approve for this project's data.
    """
    started = time.monotonic()
    cache = open_cache(repo)
    url = repo.remote(options.remote, to_push=not options.dry_run).location.text
    name, remote = open_remote(repo, cache, options.remote, options.jobs)
    remote.folder.mkdir(parents=True, exist_ok=True)
    # Two pushes from one clone would upload the same data twice: the second waits, and has nothing left to upload.
    with remote, lock(remote.folder / "lock", wait=repo.waits, waiting=progress.warn):
        earlier = PushedBefore(repo, remote, items)
        progress.start(f"looking at {remote.shown}")
        if not options.dry_run:
            share.ask_ahead(repo, remote, progress, to_send=True)
            push_protocol.ask_ahead(remote, [version_of(item.path, item.pointer) for item in items])
        catalog = Catalog(remote, progress).look()
        refuse_emptied(catalog, name)
        user = repo.git.config_get("user.email") or ""
        runs = None if options.dry_run else share.outgoing(repo, remote, cache, user, progress)
        logs = runs.contents if runs is not None else ()
        may_lack = (lambda ids: dict.fromkeys(ids, "")) if options.allow_missing else partial(dropped_by, repo)
        rescue = None if options.dry_run else partial(push_protocol.rescued, catalog, cache, progress=progress)
        versions, todo, lost = _plan(catalog, cache, items, earlier.bases, logs, rescue=rescue, may_lack=may_lack)
        if options.limit_bytes is not None and todo.size_bytes > options.limit_bytes:
            over = [version.path for version in versions if version.id in todo.sending]
            raise OverLimit(todo.size_bytes, options.limit_bytes, name, over)
        files, size_bytes, sending = todo.files, todo.size_bytes, todo.sending
        records: list[int] = []
        if not options.dry_run:
            if cache.purged:
                push_protocol.send_tombstones(catalog, repo.config.project or "", set(todo.purged.values()))
            signer = signature(repo, user, commit_of(repo, items, lost))
            done = push_protocol.run(
                catalog,
                cache,
                versions,
                earlier.bases,
                partial(earlier.chunk_bases, cache),
                signer,
                progress,
                todo,
                also=logs,
                send_records=lambda: records.append(share.send(remote, runs) if runs is not None else 0),
            )
            files, size_bytes, sending, todo.purged = done.files, done.size_bytes, done.sent, done.plan.purged
            complete = [item for item in items if (item.path, item.pointer.digest) not in lost]
            for version in done.plan.incomplete:
                oid = format_oid(version.kind, version.digest)
                remote.remember("latest", _path_key(version.path), oid.encode())
            unpushed.drop(repo, (item.pointer.oid for item in complete))
        for sentence in advice(catalog, name):
            progress.warn(sentence)
        traffic = remote.traffic
    return PushResult(
        remote=name,
        url=url,
        paths=tuple(_moved(item, options, sending, lost) for item in items),
        files=files,
        objects=traffic.objects_written,
        uploaded_bytes=traffic.bytes_written,
        size_bytes=size_bytes,
        records=sum(records),
        purged=tuple(purged_file(path, cache.purged[digest]) for path, digest in todo.purged.items()),
        dry_run=options.dry_run,
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(
            _lost_text(item, lost[key], name) for item in items if (key := (item.path, item.pointer.digest)) in lost
        ),
    )


def chosen_versions(repo: Repo, paths: Sequence[str], scope: Scope, progress: Progress) -> list[Tracked]:
    """Returns the versions that arguments of `push` stand for: those on disk, or those of the revisions in `scope`.

    A part of a directory stands for all of it: a version is complete on a remote, or not there.
    """
    if scope.is_workspace:
        head = repo.git.head() or ""
        versions = [replace(item, commit=head) for item in usable(repo, paths, progress.warn, whole=True)]
    else:
        versions = committed_versions.reachable(repo.git, scope, progress=progress)
    listing = cached_listing(open_cache(repo)) if scope.is_workspace else None
    chosen = travelling(select(repo, versions, paths, inside=True, listing=listing), paths)
    for item, parts in chosen:
        known = listing(item) if listing is not None and parts else None
        if known is not None:
            sparse.require_matches(item.path, parts, known)
    return [item for item, _ in chosen]


def joined(done: Sequence[PushResult], failed: Sequence[tuple[str, DvliteError]]) -> PushResult:
    """Returns the results of pushes to several remotes as one, that of the first which took it. Raises the most specific error if none did."""
    if not done:
        raise _not_pushed([(name, each.message, each.hint, each.exit_code) for name, each in failed])
    first, *rest = done
    others = [
        RemotePush(
            remote=each.remote,
            url=each.url,
            paths=each.paths,
            files=each.files,
            objects=each.objects,
            uploaded_bytes=each.uploaded_bytes,
            size_bytes=each.size_bytes,
            records=each.records,
            elapsed_seconds=each.elapsed_seconds,
        )
        for each in rest
    ]
    others += [
        RemotePush(remote=name, problem=error.message, hint=error.hint, code=error.exit_code) for name, error in failed
    ]
    warnings = dict.fromkeys(warning for each in done for warning in each.warnings)
    return replace(first, others=tuple(others), warnings=tuple(warnings))


def _not_pushed(problems: Sequence[tuple[str, str, str | None, int]]) -> DvliteError:
    """Returns one error for remotes that took nothing, given with message, hint and exit code: of the most specific kind."""
    ranked = sorted(problems, key=lambda each: _SPECIFIC.index(each[3]) if each[3] in _SPECIFIC else len(_SPECIFIC))
    message = "; ".join(f"not pushed to {name}: {problem}" for name, problem, _, _ in ranked)
    kind = _KINDS.get(ranked[0][3], RemoteError)
    return kind(message, hint=ranked[0][2])


def _plan(
    catalog: Catalog,
    cache: Cache,
    items: Sequence[Tracked],
    bases: Bases,
    logs: Sequence[tuple[Digest, int]],
    *,
    rescue: Callable[[PushPlan], bool] | None,
    may_lack: Callable[[Iterable[VersionId]], Mapping[VersionId, str]],
) -> tuple[list[Version], PushPlan, dict[Key, _Lost]]:
    """Returns the versions to push, the plan, and for each version left out the files that are lost.

    `rescue` brings what only condemned packs have, if there is any: what is lost is known after that. `may_lack` says which versions may
    be left out.
    """
    versions = [version_of(item.path, item.pointer) for item in items]
    todo = plan(catalog, cache, versions, bases, also=logs)
    may_rescue = rescue is None or not rescue(todo)
    if not may_rescue:
        todo = plan(catalog, cache, versions, bases, also=logs, may_rescue=False)
    lost: dict[Key, _Lost] = {}
    allowed = may_lack([version.id for version in todo.incomplete]) if todo.missing else {}
    if allowed:
        for version in todo.incomplete:  # each alone: a file that several lack is named once in the plan of all
            missing = (
                plan(catalog, cache, [version], bases, may_rescue=may_rescue).missing if version.id in allowed else {}
            )
            if missing:
                names = tuple(path for paths in missing.values() for path in paths)
                lost[version.path, version.digest] = _Lost(names, allowed[version.id])
        versions = [version for version in versions if (version.path, version.digest) not in lost]
        todo = plan(catalog, cache, versions, bases, also=logs, may_rescue=may_rescue)
    refuse_missing(todo, catalog)
    return versions, todo, lost


def _lost_text(item: Tracked, lost: _Lost, remote: str) -> str:
    at = f" at {item.commit[:8]}" if item.commit else ""
    missing = lost.missing
    if lost.rules:
        return f"{quote(item.path)}{at} is left out: dropped by {lost.rules}"
    return f"{quote(item.path)}{at} is left out: {some([quote(name) for name in missing], 1)} {is_or_are(missing)} neither in the cache nor on {remote}"


def commit_of(repo: Repo, items: Sequence[Tracked], lost: Mapping[Key, object]) -> str:
    """Returns the commit whose tree names exactly the versions that are pushed, '' if there is none such."""
    commits = {item.commit for item in items}
    if len(commits) != 1 or lost or not (commit := commits.pop()):
        return ""
    named = {_identity(item) for item in repo.at(commit).tracked(broken=[]) if item.push}
    return commit if named == {_identity(item) for item in items} else ""


def _identity(item: Tracked) -> tuple[str, str, bool]:
    return item.path, item.pointer.oid, item.pointer.executable


class PushedBefore:
    """The versions that a remote may have of paths: the one last pushed from this clone, and those in git's history. Each is looked for once, when asked."""

    def __init__(self, repo: Repo, remote: Remote, items: Sequence[Tracked]) -> None:
        self._repo, self._remote = repo, remote
        self._lockfiles = {item.path: item.lockfile for item in items}
        self._known: dict[str, list[Pointer]] = {}

    def of(self, paths: Iterable[str]) -> Mapping[str, list[Pointer]]:
        """Returns the versions of paths, newest first, and those of others that were asked before."""
        new = [path for path in dict.fromkeys(paths) if path not in self._known]
        lockfiles = {path: self._lockfiles[path] for path in new}
        self._known |= committed_versions.histories(self._repo.git, new, _EARLIER, lockfiles=lockfiles)
        for path in new:
            note = self._remote.recall("latest", _path_key(path))
            pushed = None if note is None else from_oid(note.decode("ascii", "replace"))
            if pushed is not None and all(pushed.digest != version.digest for version in self._known[path]):
                self._known[path].insert(0, pushed)
        return self._known

    def bases(self, paths: Sequence[str]) -> dict[str, list[VersionId]]:
        """Returns the versions of these paths for a plan."""
        known = self.of(paths)
        return {path: [(version.oid_kind, version.digest) for version in known[path]] for path in paths}

    def chunk_bases(self, cache: Cache, path: str) -> list[Digest]:
        """Returns the digests of the earlier contents of a large file, which is tracked or lies in what is."""
        tracked = next((each for each in (path, *ancestors(path)) if each in self._lockfiles), None)
        if tracked is None:
            return []
        inner = os.fsencode(path[len(tracked) + 1 :])
        digests = [file_in(cache, version, inner) for version in self.of([tracked])[tracked]]
        return list(dict.fromkeys(digest for digest in digests if digest is not None))


def _path_key(path: str) -> str:
    return digest_bytes(os.fsencode(path)).hex()[:32]


def _moved(item: Tracked, options: PushOptions, sending: set[VersionId], lost: Mapping[Key, object]) -> MovedPath:
    is_sent = version_of(item.path, item.pointer).id in sending
    key = (item.path, item.pointer.digest)
    return MovedPath(
        path=item.path,
        oid=item.pointer.oid,
        files=item.pointer.files,
        size_bytes=item.pointer.size_bytes,
        state="lost" if key in lost else "present" if not is_sent else "planned" if options.dry_run else "pushed",
        revision=item.commit if options.by_commit else None,
    )
