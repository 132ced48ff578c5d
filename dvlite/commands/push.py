"""`dvlite push`: makes versions complete on a remote; success means that they are there and were looked at twice."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from dvlite.connect import open_remote
from dvlite.errors import FormatError, RemoteError
from dvlite.files import lock, quote
from dvlite.formats.pointer import Pointer
from dvlite.lineage import sharing
from dvlite.naming import version_of
from dvlite.oid import FILE, MANIFEST, Digest, digest_bytes, parse_oid
from dvlite.progress import Progress
from dvlite.repo import WORKSPACE, Repo, Scope
from dvlite.repo import Version as Named
from dvlite.results.moves import MovedPath, PushResult
from dvlite.store import upload
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.connection import Remote
from dvlite.store.upload import Signer, plan
from dvlite.store.uploading import Version, refuse_missing
from dvlite.stores import open_cache
from dvlite.workspace.obtain import file_in
from dvlite.workspace.select import select, travelling, usable

_EARLIER = 3  # versions of a path that are looked at for content the remote may have


def push(
    repo: Repo,
    paths: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    progress: Progress,
) -> PushResult:
    """Uploads what the remote lacks of the pointers on disk, or of the revisions in `scope`.

    Raises ObjectMissing, with nothing published, if something is neither in the cache nor on the remote.
    """
    started = time.monotonic()
    cache = open_cache(repo)
    name, opened = open_remote(repo, cache, remote, jobs)
    with opened, _one_push_at_a_time(repo, opened, progress):
        named = _named(repo, paths, scope, progress)
        versions = [
            Version(item.path, _kind(item.pointer), item.pointer.digest, item.pointer.size_bytes, item.commit)
            for item in named
        ]
        earlier = _earlier(repo, opened, named)
        progress.start(f"looking at {opened.store.label}")
        catalog = Catalog(opened).look()
        _refuse_emptied(catalog, name)
        user = repo.git.config_get("user.email") or ""
        runs = None if dry_run else sharing.outgoing(repo, opened, cache, user, progress)
        logs = runs.contents if runs is not None else ()
        made = plan(catalog, cache, versions, _bases(earlier), also=logs)
        refuse_missing(made, catalog)
        if dry_run:
            files, size_bytes = made.files, made.size_bytes
        else:
            signer = Signer(repo.config.project or "", user, _now())
            bases, chunk_bases = _bases(earlier), _chunk_bases(cache, earlier)
            done = upload.run(catalog, cache, versions, bases, chunk_bases, signer, progress, made, also=logs)
            files, size_bytes = done.files, done.size_bytes
            _note_latest(opened, named)
        sent = sharing.send(opened, runs) if runs is not None else 0
        present = {(version.path, version.digest) for version in made.present}
        traffic = opened.traffic
    return PushResult(
        remote=name,
        paths=tuple(_moved(item, scope, present, dry_run=dry_run) for item in named),
        files=files,
        objects=traffic.objects_written,
        uploaded_bytes=traffic.bytes_written,
        size_bytes=size_bytes,
        records=sent,
        dry_run=dry_run,
        elapsed_seconds=time.monotonic() - started,
    )


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


def _named(repo: Repo, paths: Sequence[str], scope: Scope, progress: Progress) -> list[Named]:
    if scope.is_workspace:
        head = repo.git.head() or ""
        found = [version_of(item, head) for item in usable(repo, paths, progress.warn, whole=True)]
    else:
        found = repo.reachable(scope, progress=progress)
    return [item for item, _ in travelling(select(repo, found, paths, inside=False), paths)]


def _kind(found: Pointer) -> str:
    return MANIFEST if found.kind == "directory" else FILE


def _earlier(repo: Repo, remote: Remote, named: Sequence[Named]) -> dict[str, list[Pointer]]:
    """Returns, for each path, versions that the remote may have: what was pushed last from here, and those in git's history."""
    named_by = {item.path: item.lockfile for item in named}
    histories = repo.histories(named_by, _EARLIER, lockfiles=named_by)
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


def _moved(item: Named, scope: Scope, present: set[tuple[str, Digest]], *, dry_run: bool) -> MovedPath:
    there = (item.path, item.pointer.digest) in present
    return MovedPath(
        path=item.path,
        oid=item.pointer.oid,
        files=item.pointer.files,
        size_bytes=item.pointer.size_bytes,
        state="present" if there else "planned" if dry_run else "pushed",
        revision=None if scope.is_workspace else item.commit,
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
