"""Makes versions complete on a remote: what `push` and the pre-push hook have in common. Which versions those are is theirs to say."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from dvlite.errors import DvliteError, FormatError, RemoteError
from dvlite.files import lock, printable, quote, size_text
from dvlite.formats.pointer import Pointer
from dvlite.oid import FILE, MANIFEST, Digest, digest_bytes, parse_oid
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.open_stores import open_cache, open_remote
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import TrackedVersion as Named
from dvlite.runs import share
from dvlite.show import Show, some
from dvlite.store import push_protocol
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.push_plan import Bases, PushPlan, PushVersion, refuse_missing
from dvlite.store.push_protocol import Signer, plan
from dvlite.store.remote import Remote
from dvlite.workspace.fetch import MovedPath, file_in, not_moved

_EARLIER = 3  # versions of a path that are looked at for content the remote may have

Contents = Sequence[tuple[Digest, int]]  # objects and their sizes in bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """What a remote has now that it had not before."""

    schema: ClassVar[str] = "dvlite.push/1"
    remote: str
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # uploaded
    objects: int = 0  # written to the remote
    uploaded_bytes: int = 0
    size_bytes: int = 0  # of the files uploaded, before dedup and compression
    records: int = 0  # run records, tags and notes that were uploaded
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not pushed."""
        where = f"neither in the cache nor on {printable(self.remote)}"
        hint = "push from the clone that added it, or put the data back and run dvlite add"
        return not_moved(self.paths, where, "push", hint, show)


class OverLimit(DvliteError):
    """There is more to upload than the caller allows; nothing was sent. `paths` are the tracked paths that it is for."""

    def __init__(self, size_bytes: int, limit_bytes: int, remote: str, paths: Sequence[str]) -> None:
        super().__init__(f"{size_text(size_bytes)} are to be uploaded to {remote}, more than {size_text(limit_bytes)}")
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push. `allow_missing`: versions that are nowhere any more are left out and warned of; `by_commit`: the result names commits.

    `limit_bytes`: the most that may be uploaded, in bytes of files before dedup and compression.
    """

    remote: str | None = None
    jobs: int | None = None
    dry_run: bool = False
    allow_missing: bool = False
    limit_bytes: int | None = None
    by_commit: bool = False


def publish(repo: Repo, named: Sequence[Named], terms: PushOptions, *, progress: Progress) -> PushResult:
    """Uploads what the remote lacks of the versions, and the run records that it lacks.

    Raises ObjectMissing, with nothing published, if something is neither in the cache nor on the remote; OverLimit likewise.
    """
    started = time.monotonic()
    cache = open_cache(repo)
    name, opened = open_remote(repo, cache, terms.remote, terms.jobs)
    with opened, _one_push_at_a_time(repo, opened, progress):
        earlier = _earlier(repo, opened, named)
        progress.start(f"looking at {opened.store.label}")
        catalog = Catalog(opened).look()
        _refuse_emptied(catalog, name)
        user = repo.git.config_get("user.email") or ""
        runs = None if terms.dry_run else share.outgoing(repo, opened, cache, user, progress)
        logs = runs.contents if runs is not None else ()
        versions, made, lost = _plan(catalog, cache, named, _bases(earlier), logs, allow_missing=terms.allow_missing)
        _refuse_over_limit(made, terms, name)
        files, size_bytes = made.files, made.size_bytes
        if not terms.dry_run:
            signer = Signer(repo.config.project or "", user, _now())
            bases, chunk_bases = _bases(earlier), _chunk_bases(cache, earlier)
            done = push_protocol.run(catalog, cache, versions, bases, chunk_bases, signer, progress, made, also=logs)
            files, size_bytes = done.files, done.size_bytes
            _note_latest(opened, [item for item in named if _key(item) not in lost])
        sent = share.send(opened, runs) if runs is not None else 0
        present = {(version.path, version.digest) for version in made.present}
        traffic = opened.traffic
    return PushResult(
        remote=name,
        paths=tuple(_moved(item, terms, present, lost) for item in named),
        files=files,
        objects=traffic.objects_written,
        uploaded_bytes=traffic.bytes_written,
        size_bytes=size_bytes,
        records=sent,
        dry_run=terms.dry_run,
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(_lost_text(item, lost[_key(item)], name) for item in named if _key(item) in lost),
    )


def _plan(
    catalog: Catalog, cache: Cache, named: Sequence[Named], bases: Bases, logs: Contents, *, allow_missing: bool
) -> tuple[list[PushVersion], PushPlan, dict[tuple[str, Digest], list[str]]]:
    """Returns the versions to push, what there is to do, and, of those left out, the files that are nowhere."""
    versions = [
        PushVersion(item.path, _kind(item.pointer), item.pointer.digest, item.pointer.size_bytes, item.commit)
        for item in named
    ]
    made = plan(catalog, cache, versions, bases, also=logs)
    lost: dict[tuple[str, Digest], list[str]] = {}
    if made.missing and allow_missing:
        for version in made.incomplete:  # each alone: a file that several lack is named once in the plan of all
            missing = plan(catalog, cache, [version], bases).missing
            if missing:
                lost[version.path, version.digest] = [path for paths in missing.values() for path in paths]
        versions = [version for version in versions if (version.path, version.digest) not in lost]
        made = plan(catalog, cache, versions, bases, also=logs)
    refuse_missing(made, catalog)
    return versions, made, lost


def _refuse_over_limit(made: PushPlan, terms: PushOptions, name: str) -> None:
    if terms.limit_bytes is not None and made.size_bytes > terms.limit_bytes:
        raise OverLimit(made.size_bytes, terms.limit_bytes, name, [version.path for version in made.incomplete])


def _key(item: Named) -> tuple[str, Digest]:
    return item.path, item.pointer.digest


def _lost_text(item: Named, missing: Sequence[str], remote: str) -> str:
    at = f" at {item.commit[:8]}" if item.commit else ""
    return f"{quote(item.path)}{at} is left out: {some([quote(name) for name in missing], 1)} is neither in the cache nor on {remote}"


def _one_push_at_a_time(repo: Repo, remote: Remote, progress: Progress) -> AbstractContextManager[int]:
    """Two pushes from one clone would upload the same data twice; the second waits and finds it there."""
    remote.cache.make_folder(remote.folder)
    waiting = lambda: progress.warn("waiting for another dvlite push from here")  # noqa: E731
    return lock(remote.folder / "lock", wait=repo.waits, waiting=waiting)


def _refuse_emptied(catalog: Catalog, name: str) -> None:
    """Stops before a store that had data and is empty now: most likely its disk is not mounted, and success would be a lie."""
    if catalog.config is None and not catalog.packs and catalog.remote.kept_names("complete"):
        raise RemoteError(
            f"remote {quote(name)} ({catalog.remote.store.label}) is empty, though this clone has pushed to it",
            hint=f"is its disk mounted? If it was emptied on purpose: dvlite remote remove {name}; then dvlite remote add it again",
        )


def _kind(found: Pointer) -> str:
    return MANIFEST if found.kind == "directory" else FILE


def _earlier(repo: Repo, remote: Remote, named: Sequence[Named]) -> dict[str, list[Pointer]]:
    """Returns, for each path, versions that the remote may have: what was pushed last from here, and those in git's history."""
    named_by = {item.path: item.lockfile for item in named}
    histories = committed_versions.histories(repo.git, named_by, _EARLIER, lockfiles=named_by)
    for item in named:
        latest = _latest(remote, item.path)
        if latest is not None and all(latest.digest != known.digest for known in histories[item.path]):
            histories[item.path].insert(0, latest)
    return histories


def _latest(remote: Remote, path: str) -> Pointer | None:
    data = remote.kept("latest", _path_key(path))
    try:
        kind, digest = parse_oid((data or b"").decode("ascii", "replace"))
    except FormatError:
        return None
    return Pointer("directory" if kind == MANIFEST else "file", digest, 0)


def _note_latest(remote: Remote, named: Sequence[Named]) -> None:
    for item in named:
        remote.keep("latest", _path_key(item.path), item.pointer.oid.encode())


def _path_key(path: str) -> str:
    return digest_bytes(path.encode("utf-8", "surrogateescape")).hex()[:32]


def _bases(earlier: dict[str, list[Pointer]]) -> dict[str, list[tuple[str, Digest]]]:
    return {path: [(_kind(known), known.digest) for known in found] for path, found in earlier.items()}


def _chunk_bases(cache: Cache, earlier: dict[str, list[Pointer]]) -> Callable[[str], Sequence[Digest]]:
    """Returns which earlier contents a large file had, by its path."""

    def bases(path: str) -> Sequence[Digest]:
        for tracked, versions in earlier.items():
            if path == tracked or path.startswith(tracked + "/"):
                inner = path[len(tracked) + 1 :].encode("utf-8", "surrogateescape")
                found = [file_in(cache, version, inner) for version in versions]
                return list(dict.fromkeys(digest for digest in found if digest is not None))
        return ()

    return bases


def _moved(
    item: Named, terms: PushOptions, present: set[tuple[str, Digest]], lost: dict[tuple[str, Digest], list[str]]
) -> MovedPath:
    key = _key(item)
    return MovedPath(
        path=item.path,
        oid=item.pointer.oid,
        files=item.pointer.files,
        size_bytes=item.pointer.size_bytes,
        state="lost" if key in lost else "present" if key in present else "planned" if terms.dry_run else "pushed",
        revision=item.commit if terms.by_commit else None,
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
