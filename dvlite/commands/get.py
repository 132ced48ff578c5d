"""`dvlite get`: copies data out of a repository, near or far, without a clone or a checkout."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, ClassVar

from dvlite.errors import DvliteError, NotARepository, ObjectMissing, UsageError
from dvlite.files import read_regular
from dvlite.formats import pointer
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.formats.snapshot import Version
from dvlite.lineage.context import open_place
from dvlite.oid import MANIFEST
from dvlite.paths import overlap
from dvlite.progress import Progress
from dvlite.repo.remotes import configured
from dvlite.repo.repository import open_cache, open_repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.share.any_repository import Opened, is_address, open_any
from dvlite.share.bring import Brought, bring
from dvlite.show import Show, quote, word
from dvlite.store import snapshots
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.workspace import export
from dvlite.workspace.purged import PurgedFile, failure_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GetResult(Result):
    """Data copied out of a repository without a checkout."""

    schema: ClassVar[str] = "dvlite.get/1"
    source: str
    path: str
    revision: str  # full commit id, or "" for a folder without one
    output: str  # as given by the user; "-" is standard output
    oid: str
    files: int
    size_bytes: int
    purged: tuple[PurgedFile, ...] = ()  # removed for good: not written
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not copied, because it was purged."""
        return failure_of(self.purged, show)


def get(
    source: str,
    path: str | None = None,
    *,
    revision: str | None = None,
    output: str | BinaryIO | None = None,
    environ: Mapping[str, str],
    jobs: int | None = None,
    remote: str | None = None,
    progress: Progress,
) -> GetResult:
    """Copies `[REV:]path` (a tracked path, one inside, a file of git, a folder above them) out of a git URL or a local repository.

    With a `remote` that is a place, `source` is SNAPSHOT[:PATH] there; else `remote` names the one of the repository to fetch from. Without
    `path`, `source` is a pointer file, or a path in the repository here. Of a URL the default branch counts, of a local repository
    what is on disk. Nothing that exists is overwritten; a stream gets the bytes of one file after they were verified. Raises Untrusted,
    ObjectMissing and ObjectCorrupt.
    """
    started = time.monotonic()
    where, stream = (output, None) if output is None or isinstance(output, str) else (None, output)
    if remote is not None and any(mark in remote for mark in "/:.~"):
        if path is not None or revision is not None:
            raise UsageError("a place takes one SNAPSHOT[:PATH]", hint="dvlite get --remote URL SNAPSHOT:PATH")
        opening: contextlib.AbstractContextManager[Opened] = _snapshot(remote, source, environ, progress)
    else:
        is_version = os.path.isfile(source) and source.endswith(SUFFIX)
        if path is None and not is_version and not is_address(source):
            source, path = ".", source
        if is_version:
            if path is not None or revision is not None:
                raise UsageError("a pointer file is a version already", hint=f"dvlite get {word(source)} -o OUT")
            opening = contextlib.nullcontext(_pointer_file(source, environ))
        elif path is None:
            raise UsageError(
                f"missing the path: dvlite get {word(source)} PATH", hint=f"what is there: dvlite ls {word(source)}"
            )
        else:
            opening = open_any(source, path, revision, environ, progress)
    with opening as found:
        if remote is not None and found.repo is not None:
            configured(found.repo.config, remote)
        opened = replace(found, remote=remote if found.repo is not None else None)
        target = _target(where, opened.path) if stream is None else None
        if target is not None:
            export.refuse_existing(target)
        wanted, gone = bring(opened, jobs, progress)
        damaged = _write(wanted, opened.cache, target, stream, progress)
        if damaged:
            for digest, _ in damaged:
                opened.cache.discard(digest)
            try:
                wanted, gone = bring(opened, jobs, progress)
            except (ObjectMissing, UsageError):  # there is no other copy
                raise damaged[0][1] from None
            damaged = _write(wanted, opened.cache, target, stream, progress)
        if damaged:
            raise damaged[0][1]
    return GetResult(
        source=source,
        path=opened.path if path is not None else "",
        revision=opened.commit,
        output="-" if target is None else str(target) if where and os.path.isabs(where) else os.path.relpath(target),
        oid=wanted.oid,
        files=len(wanted.entries) - wanted.entries.flags.count(EMPTY_DIR),
        size_bytes=sum(wanted.entries.sizes),
        purged=gone,
        elapsed_seconds=time.monotonic() - started,
    )


def _target(output: str | None, path: str) -> Path:
    """Returns what is written: `output`, or the name of what is got in the folder that it names (the current one without it)."""
    name = path.rpartition("/")[2]
    folder = output is None or output.endswith("/") or os.path.isdir(output)
    if folder and not name:
        raise UsageError("the whole repository needs a name", hint="give it one: -o NAME")
    return Path(os.path.normpath(os.path.join(output or ".", name) if folder else str(output))).absolute()


def _write(
    wanted: Brought, cache: Cache, target: Path | None, stream: BinaryIO | None, progress: Progress
) -> export.Damaged:
    if target is not None:
        return export.to_path(wanted.entries, cache, target, progress)
    assert stream is not None
    if wanted.entries.paths != [b""]:
        raise UsageError(
            "only a single file can go to standard output, this is a folder", hint="dvlite get PATH -o OUT"
        )
    return export.to_stream(wanted.entries[0], cache, stream.write)


# --- opening ---


@contextlib.contextmanager
def _snapshot(url: str, name: str, environ: Mapping[str, str], progress: Progress) -> Iterator[Opened]:
    """Opens a snapshot on a remote as if it were a repository. Raises UsageError for a path that has several versions in it."""
    digits, _, path = name.partition(":")
    path = "" if path in ("", ".") else os.path.normpath(path)
    with open_place(url, environ) as remote:
        remote.cache.create()
        progress.start(f"looking at {remote.shown}")
        catalog = Catalog(remote, progress, to_read=True).look()
        digest = snapshots.chosen(remote, digits)
        versions = [item for item in snapshots.versions(catalog, digest) if overlap(item.path, path) or not path]
        progress.finish()
        if len({item.path for item in versions}) < len(versions):
            raise UsageError(
                f"{quote(path or '.')} has several versions in the snapshot {digits}",
                hint="choose a path or a snapshot that has one: dvlite ls --remote URL SNAPSHOT",
            )
        tracked = [Tracked(item.path, _pointer_of(item)) for item in versions]
        place = f"--remote {word(url)} {digits}"
        yield Opened(None, remote.cache, tracked, path, digest.hex(), catalog=catalog, place=place)


def _pointer_of(version: Version) -> Pointer:
    kind = "directory" if version.kind == MANIFEST else "file"
    return Pointer(kind, version.digest, version.size_bytes, executable=version.executable)


def _pointer_file(source: str, environ: Mapping[str, str]) -> Opened:
    """Opens the repository that a pointer file lies in; for one that dvlite saved, that of the current folder."""
    data = read_regular(Path(source), source, pointer.LIMIT_BYTES + 1)
    version = pointer.parse(data or b"", source)
    try:
        repo = open_repo(Path(source).parent, environ)
    except NotARepository:
        repo = open_repo(Path(), environ)
    name = os.path.basename(source).removesuffix(SUFFIX)
    return Opened(repo, open_cache(repo), [Tracked(name, version)], name)
