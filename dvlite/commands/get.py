"""`dvlite get`: copies data out of a repository, near or far, without a clone or a checkout."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar
from urllib.parse import urlsplit

from dvlite.errors import DvliteError, NotARepository, ObjectMissing, UsageError
from dvlite.files import TEMP_PREFIX, os_error, read_regular, temporary_name
from dvlite.formats import pointer
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.formats.snapshot import Version
from dvlite.git.program import without_credentials
from dvlite.lineage.context import open_place
from dvlite.oid import FILE, MANIFEST, format_oid
from dvlite.paths import overlap
from dvlite.progress import Progress
from dvlite.repo.repository import open_cache, open_repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.share.any_repository import Opened, from_remote, is_address, open_any
from dvlite.share.bring import Brought, bring
from dvlite.share.delta_version import files_of
from dvlite.share.url_imports import key_of, opened
from dvlite.show import Show, printable, quote, word
from dvlite.store import snapshots
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.origins import Download, download, name_in
from dvlite.store.url import is_place
from dvlite.workspace import export
from dvlite.workspace.path_args import pass_over
from dvlite.workspace.purged import PurgedFile, failure_of

_DOWNLOADS = ("http", "https", "s3", "gs", "az", "abfs", "sftp")  # what else has a scheme is git's


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
    delta_version: int | None = None,
    progress: Progress,
) -> GetResult:
    """Copies `[REV:]path` (a tracked path, one inside, a file of git, a folder above them) out of a git URL or a local repository.

    With a `remote` that is a place, `source` is SNAPSHOT[:PATH] there; else `remote` names the one of the repository to fetch from. Without
    `path`, `source` is a pointer file, or a path in the repository here. Of a URL the default branch counts, of a local repository
    what is on disk. With `delta_version`, the path is a Delta table, and that version of it is copied: its log up to there, and its files. Nothing that exists is overwritten; a stream gets the bytes of one file after they were verified. Raises Untrusted,
    ObjectMissing and ObjectCorrupt.
    """
    started = time.monotonic()
    where, stream = (output, None) if output is None or isinstance(output, str) else (None, output)
    if remote is not None and is_place(remote):
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
        elif path is None and urlsplit(source).scheme in _DOWNLOADS and not source.endswith(".git"):
            if revision is not None or remote is not None or delta_version is not None:
                raise UsageError(
                    "a URL of a file has no revisions and no remote",
                    hint=f"dvlite get {word(without_credentials(source))}",
                )
            return _from_url(source, where, stream, environ, progress)
        elif path is None:
            shown = word(without_credentials(source))
            raise UsageError(f"missing the path: dvlite get {shown} PATH", hint=f"what is there: dvlite ls {shown}")
        else:
            opening = open_any(source, path, revision, environ, progress)
    with opening as found:
        place = found if remote is None or found.repo is None else from_remote(found, remote)
        pass_over(place.broken, [place.path], place.tracked, progress.warn, whole=True)
        target = _target(where, place.path) if stream is None else None
        if target is not None:
            export.refuse_existing(target)
        chosen = None if delta_version is None else files_of(place, delta_version, jobs, progress)
        wanted, gone = bring(place, jobs, progress, chosen)
        damaged = _write(wanted, place.cache, target, stream, progress)
        if damaged:
            for digest, _ in damaged:
                place.cache.discard(digest)
            try:
                wanted, gone = bring(place, jobs, progress, chosen)
            except (ObjectMissing, UsageError):  # there is no other copy
                raise damaged[0][1] from None
            damaged = _write(wanted, place.cache, target, stream, progress)
        if damaged:
            raise damaged[0][1]
    return GetResult(
        source=without_credentials(source),
        path=place.path if path is not None else "",
        revision=place.commit,
        output="-" if target is None else str(target) if where and os.path.isabs(where) else os.path.relpath(target),
        oid=wanted.oid,
        files=len(wanted.entries) - wanted.entries.flags.count(EMPTY_DIR),
        size_bytes=sum(wanted.entries.sizes),
        purged=gone,
        elapsed_seconds=time.monotonic() - started,
    )


def _target(output: str | None, path: str, what: str = "the whole repository") -> Path:
    """Returns what is written: `output`, or the name of what is got in the folder that it names (the current one without it)."""
    name = path.rpartition("/")[2]
    folder = output is None or output.endswith("/") or os.path.isdir(output)
    if folder and not name:
        raise UsageError(f"{what} needs a name", hint="give it one: -o NAME")
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


def _from_url(
    url: str, where: str | None, stream: BinaryIO | None, environ: Mapping[str, str], progress: Progress
) -> GetResult:
    """Downloads one file, and takes up what an earlier command left of it."""
    started = time.monotonic()
    target = None if stream is not None else _target(where, name_in(url), "what is at this URL")
    if target is not None:
        export.refuse_existing(target)
    try:
        repo = open_repo(Path(), environ)
    except NotARepository:
        repo = None
    folder = Path(tempfile.gettempdir()) if target is None else target.parent
    with opened(url, repo, environ, 1) as (origin, retries):
        progress.start(f"looking at {printable(url)}")
        items = retries.run(origin.look)
        if len(items) != 1 or items[0].name:
            raise UsageError(
                f"{origin.label} is a folder, and get takes one file of a URL",
                hint=f"dvlite import-url {word(without_credentials(url))}",
            )
        key, temporary = key_of(url, items[0]), folder / temporary_name()
        kept = None if key is None or target is None else folder / f"{TEMP_PREFIX}get-{key.hex()[:16]}"
        progress.start(f"downloading {printable(url)}", total_bytes=items[0].size_bytes)
        try:
            into = Download(kept, temporary, progress, retries, mode=0o666)
        except OSError as error:
            raise os_error(error, "write", temporary) from error
        try:
            item = download(origin, items[0], into, retries)
            digest = into.digest()
            if target is not None:
                export.publish(into.path, target)
            elif stream is not None:
                into.copy_to(stream)
            into.path.unlink(missing_ok=True)
        finally:
            temporary.unlink(missing_ok=True)
            into.close()
        progress.finish()
    return GetResult(
        source=without_credentials(url),
        path="",
        revision="",
        output="-" if target is None else str(target) if where and os.path.isabs(where) else os.path.relpath(target),
        oid=format_oid(FILE, digest),
        files=1,
        size_bytes=into.size_bytes,
        elapsed_seconds=time.monotonic() - started,
        warnings=(f"it came compressed ({item.encoding}), as its server keeps it, and is written like that",)
        if item.encoding
        else (),
    )


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
