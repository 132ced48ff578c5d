"""`dvlite get`: copies data out of a repository, near or far, without a clone or a checkout."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, ClassVar

from dvlite import files
from dvlite.errors import Dropped, DvliteError, NotARepository, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.files import read_regular
from dvlite.formats import manifest, pointer
from dvlite.formats.manifest import EMPTY_DIR, SYMLINK, Entries, Entry
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.formats.snapshot import Version
from dvlite.lineage.context import open_place
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, digest_bytes, format_oid
from dvlite.paths import is_inside, overlap
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.remotes import configured
from dvlite.repo.repository import Repo, open_cache, open_repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.share.any_repository import FLAGS, LINK, Opened, git_files, is_address, open_any, refuse_relative_folder
from dvlite.share.fetch_plan import unfetched
from dvlite.share.needs import dropped_by
from dvlite.show import Show, quote, some, word
from dvlite.store import snapshots
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE
from dvlite.workspace import export
from dvlite.workspace.fetch import FetchRequest, fetch_versions
from dvlite.workspace.path_args import guess
from dvlite.workspace.purged import PurgedFile, failure_of, purged_in, without
from dvlite.workspace.workspace import chosen_of, entries_of, lacking

_GIT_LIMIT_BYTES = 1 << 30
_MOST_LINKS = 40  # followed from a symlink to a file, as the kernel does
_GLOB = re.compile(r"([*?\[])")


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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is written: its entries (one without a path for a file), and its oid if it has one."""

    entries: Entries
    oid: str


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
        wanted, gone = _bring(opened, jobs, progress)
        damaged = _write(wanted, opened.cache, target, stream, progress)
        if damaged:
            for digest, _ in damaged:
                opened.cache.discard(digest)
            try:
                wanted, gone = _bring(opened, jobs, progress)
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
    wanted: _Wanted, cache: Cache, target: Path | None, stream: BinaryIO | None, progress: Progress
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


# --- choosing and fetching ---


def _bring(opened: Opened, jobs: int | None, progress: Progress) -> tuple[_Wanted, tuple[PurgedFile, ...]]:
    """Returns what is meant by the path, with all of its bytes in the cache, and what of it was purged. Raises Purged if that is all."""
    whole = _whole(opened, jobs, progress)
    gone = purged_in(opened.cache, opened.path, whole.entries)
    failure = failure_of(gone.values()) if len(gone) == len(whole.entries) else None
    if failure is not None:
        raise failure
    return (_Wanted(without(whole.entries, gone), whole.oid) if gone else whole), tuple(gone.values())


def _whole(opened: Opened, jobs: int | None, progress: Progress) -> _Wanted:
    chosen: list[tuple[Tracked, str]] = []
    for item in opened.tracked:
        if is_inside(item.path, opened.path):
            chosen.append((item, ""))
        elif opened.path.startswith(item.path + "/"):
            chosen.append((item, opened.path[len(item.path) + 1 :]))
    if len(chosen) == 1 and chosen[0][0].path == opened.path:
        item = chosen[0][0]
        _fetch(opened, [FetchRequest(item.path, item.pointer, commit=opened.commit)], jobs, progress)
        return _Wanted(entries_of(item.pointer, opened.cache), item.pointer.oid)
    if chosen and chosen[0][1]:
        return _inside(opened, *chosen[0], jobs, progress)
    kept = _kept_by_git(opened)
    if not chosen and not kept:
        meant = guess(opened.path, (item.path for item in opened.tracked))
        raise UsageError(
            f"there is no {quote(opened.path)} there", hint=f"{meant}what is there: dvlite ls {opened.place}"
        )
    _fetch(opened, [FetchRequest(item.path, item.pointer, commit=opened.commit) for item, _ in chosen], jobs, progress)
    above = len(opened.path) + 1 if opened.path else 0
    rows: list[Entry] = []
    for item, _ in chosen:
        name = os.fsencode(item.path[above:])
        entries = entries_of(item.pointer, opened.cache)
        rows += [_moved(entries[i], name + b"/" + path if path else name) for i, path in enumerate(entries.paths)]
    rows += kept
    return _Wanted(manifest.from_entries(sorted(rows, key=lambda row: row.path)), "")


def _kept_by_git(opened: Opened) -> list[Entry]:
    """Returns the files that git keeps at the path or below it, but for pointers and git's own; their bytes go into the cache."""
    repo, above = opened.repo, len(opened.path) + 1 if opened.path else 0
    if repo is None:
        return []
    listed = git_files(opened)
    if opened.commit:
        contents = repo.git.read_blobs([entry.blob for entry in listed], limit_bytes=_GIT_LIMIT_BYTES)
        found = [(entry.path, entry.mode, contents[entry.blob]) for entry in listed]
    else:
        on_disk = [(entry.path, _on_disk(repo.root / entry.path)) for entry in listed]
        found = [(name, *content) for name, content in on_disk if content is not None]
    rows = []
    with Writer(opened.cache) as writer, tempfile.TemporaryFile() as file:
        for name, mode, data in found:
            digest = digest_bytes(data)
            if len(data) > opened.cache.pack_below_bytes:
                files.write_at(file.fileno(), data, 0)
                os.ftruncate(file.fileno(), len(data))
                writer.put_large(file.fileno(), name)
            else:
                writer.put(KIND_FILE, digest, data)
            rows.append(Entry(os.fsencode(name[above:]), FLAGS[mode], len(data), digest))
        writer.commit()
    return rows


def _on_disk(path: Path) -> tuple[str, bytes] | None:
    """Returns mode and content of a file of the work tree, None where it is not there."""
    if path.is_symlink():
        return LINK, os.fsencode(os.readlink(path))
    data = read_regular(path, str(path), _GIT_LIMIT_BYTES)
    return None if data is None else ("100755" if os.stat(path).st_mode & 0o100 else "100644", data)


def _inside(opened: Opened, item: Tracked, inner: str, jobs: int | None, progress: Progress) -> _Wanted:
    """Returns a file or folder of a tracked directory; a symlink stands for the file that it leads to."""
    for _ in range(_MOST_LINKS if item.pointer.kind == "directory" else 0):
        part = FetchRequest(item.path, item.pointer, (_GLOB.sub(r"[\1]", inner),), commit=opened.commit)
        _fetch(opened, [part], jobs, progress)
        entries = chosen_of(item.pointer, opened.cache, part.patterns)
        name = os.fsencode(inner)
        entry = entries.find(name)
        if entry is None:
            rows = entries.subtree(name)
            if not rows:
                break
            return _Wanted(manifest.from_entries(rows), "")
        if entry.kind == EMPTY_DIR:
            return _Wanted(manifest.from_entries([]), "")
        if entry.kind != SYMLINK:
            return _Wanted(manifest.from_entries([_moved(entry, b"")]), format_oid(FILE_OID, entry.digest))
        link = os.fsdecode(opened.cache.read_file(entry.digest, entry.size_bytes))
        inner = os.path.normpath(os.path.join(os.path.dirname(inner), link))
    raise UsageError(
        f"nothing in {quote(item.path)} is named {quote(inner)}", hint=f"what is there: dvlite ls -R {opened.place}"
    )


def _moved(entry: Entry, path: bytes) -> Entry:
    return Entry(path, entry.flags, entry.size_bytes, entry.digest)


def _fetch(opened: Opened, parts: Sequence[FetchRequest], jobs: int | None, progress: Progress) -> None:
    """Brings what the cache lacks; makes no request if that is nothing."""
    if all(_is_cached(opened.cache, part) for part in parts):
        return
    repo = opened.repo
    if repo is None:
        assert opened.catalog is not None
        got = fetch_versions(opened.catalog, opened.cache, parts, progress)
        if got.missing:
            raise unfetched(got, opened.catalog)
        return
    if not repo.config.remote_names:
        _refuse_dropped(repo, parts)
        raise ObjectMissing(
            f"cannot get {quote(parts[0].path)}: it is not in the cache, and no remote is configured there",
            hint="dvlite remote add URL, in that repository, and dvlite push",
        )
    if opened.far:
        refuse_relative_folder(repo.config, repo.root)
    _, remote = open_remote(repo, opened.cache, opened.remote, jobs)
    with remote:
        catalog = Catalog(remote, progress, to_read=True).look()
        got = fetch_versions(catalog, opened.cache, parts, progress)
        if got.missing:
            _refuse_dropped(repo, parts)
            raise unfetched(got, catalog)


def _refuse_dropped(repo: Repo, parts: Sequence[FetchRequest]) -> None:
    """Raises Dropped if keep rules dropped one of these versions, which is not all there."""
    dropped = dropped_by(repo, [(part.pointer.oid_kind, part.pointer.digest) for part in parts])
    if dropped:
        raise Dropped(some([quote(part.path) for part in parts]), next(iter(dropped.values())))


def _is_cached(cache: Cache, part: FetchRequest) -> bool:
    try:
        return next(lacking(part.pointer, cache, part.patterns), None) is None
    except (ObjectMissing, ObjectCorrupt):
        return False
