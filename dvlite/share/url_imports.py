"""Imports what is at a URL, in a bucket or in a folder: its bytes come into the cache, and the pointer says what the server said of them.

What was downloaded once is known by what its server says to distinguish versions: of a folder, only what changed there is downloaded again.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from dvlite.errors import DvliteError, UsageError
from dvlite.files import os_error, read_own, require_space, write_atomic
from dvlite.formats import manifest, reference
from dvlite.formats.manifest import FILE, SYMLINK, Entries, Entry
from dvlite.formats.pointer import Pointer
from dvlite.formats.reference import Item
from dvlite.formats.source import ImportSource
from dvlite.oid import DIGEST_BYTES, Digest, digest_bytes
from dvlite.paths import check_paths, refuse_files_used_as_folders
from dvlite.progress import Progress
from dvlite.repo import config_files
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.sources import open_address, options_of
from dvlite.show import count, printable, quote
from dvlite.store.cache_writer import Writer, version_of_entries
from dvlite.store.origins import Download, Origin, download
from dvlite.store.remote import open_origin
from dvlite.store.retry import Retries, RetryBudget
from dvlite.store.url import parse_url
from dvlite.workspace.add_checks import AddTarget
from dvlite.workspace.adder import AddedPath, Adder
from dvlite.workspace.elsewhere import TakenIn, refuse_inside, take_in
from dvlite.workspace.hashing import identify
from dvlite.workspace.ingest import CachingReader
from dvlite.workspace.scan import Scan
from dvlite.workspace.workspace import Workspace

_WEB = ("http", "https")
_NOTES_BYTES = 64 << 20
_RESUMED_BYTES = 1 << 20  # what is smaller is begun again in the next command
_AT_ONCE = 64  # downloads that wait for the cache at a time


@contextlib.contextmanager
def opened(
    url: str, repo: Repo | None, environ: Mapping[str, str], connections: int
) -> Iterator[tuple[Origin, Retries]]:
    """Opens what is at a URL that is no folder on disk; makes no request. Raises Untrusted as `sources.options_of` does."""
    location = None if urlsplit(url).scheme in _WEB else parse_url(url, Path.cwd())
    options = {} if location is None or repo is None else options_of(location, repo)
    config = config_files.load(None, environ) if repo is None else repo.config
    retries = Retries(RetryBudget(config.retry_seconds))
    origin = open_origin(url, location, options, connections)
    try:
        yield origin, retries
    finally:
        retries.close()
        origin.close()


def is_reference(pointer: Pointer) -> bool:
    """Returns whether a pointer tracks the list of what is at a URL, whose data stays there."""
    return pointer.kind == "file" and pointer.source is not None and pointer.source.listing != ""


def look(repo: Repo, pointer: Pointer, progress: Progress) -> tuple[ImportSource, Sequence[str]]:
    """Returns what a pointer was imported from as its server describes it now, and the names of files there that differ, if that is known.

    One request, or one for each 1,000 files below the URL.
    """
    source = pointer.source
    assert source is not None
    items = _looked(repo, source, progress)
    now = _described(source, items)
    if not source.listing or source.listing == now.listing:
        return now, ()
    known = dict(_recall(repo, source.url).keys())
    if is_reference(pointer) and pointer.size_bytes <= _NOTES_BYTES:
        with contextlib.suppress(DvliteError):  # not in the cache, or edited
            listed = reference.parse(open_cache(repo).read_file(pointer.digest, pointer.size_bytes), source.url)
            known = reference.stamps_of(listed)
    is_it = reference.digest_text(known) == source.listing
    return now, reference.differing(known, reference.stamps_of(items)) if is_it else ()


def _looked(repo: Repo, source: ImportSource, progress: Progress) -> Sequence[Item]:
    folder = _folder(repo, source)
    if folder is not None:
        return _items_on_disk(_scanned(Workspace(repo, open_cache(repo), progress), folder))
    with opened(source.url, repo, repo.environ, 1) as (origin, retries):
        return retries.run(origin.look)


def key_of(url: str, item: Item) -> Digest | None:
    """Returns what a file is kept by that came in part; None for one that is begun again: it is small, or another one would look the same."""
    is_kept = item.stamp and (item.size_bytes or 0) > _RESUMED_BYTES
    return digest_bytes(f"{url}\n{item.name}\n{item.stamp}".encode("utf-8", "surrogateescape")) if is_kept else None


def has_moved(old: ImportSource, new: ImportSource) -> bool | None:
    """Returns whether a URL has other bytes than when it was imported, by what its server says; None if that is too little."""
    if old.listing or new.listing:
        return old.listing != new.listing
    if old.version and new.version:
        return old.version != new.version
    if old.etag and new.etag:
        return old.etag.removeprefix("W/") != new.etag.removeprefix("W/")
    if old.size and new.size and old.size != new.size:
        return True
    if old.modified and new.modified:
        return old.modified != new.modified
    return None


def take_from_url(
    repo: Repo,
    path: str,
    source: ImportSource,
    *,
    download: bool = True,
    jobs: int | None = None,
    stage: bool = True,
    progress: Progress,
) -> TakenIn:
    """Tracks as `path` what is at the URL of a source now, or a list of it; the caller holds the lock of the work tree and knows that the user trusts it.

    Nothing is written if any of it cannot be read; what came of large files stays, for the next try.
    """
    folder = _folder(repo, source)
    if folder is not None:
        refuse_inside(repo, folder.resolve(), path)

    def supply(adder: Adder, target: AddTarget, writer: Writer) -> AddedPath:
        if not download:
            items, entries = _listed(repo, source, writer, progress)
        elif folder is not None:
            items, entries = _from_disk(repo, path, folder, writer, progress)
        else:
            with opened(source.url, repo, repo.environ, jobs or repo.config.jobs) as (origin, retries):
                items, entries = _Fetch(repo, source.url, origin, retries, writer, progress).all(jobs)
        new = version_of_entries(entries, writer)
        writer.commit()
        meta = target.old.meta if target.old is not None else ""
        described = replace(_described(source, items), oid=new.oid)
        return adder.from_version(target, replace(new, source=described, meta=meta), entries)

    return take_in(repo, path, supply, stage=stage, progress=progress)


def _listed(repo: Repo, source: ImportSource, writer: Writer, progress: Progress) -> tuple[Sequence[Item], Entries]:
    """Stores a list of what is there in place of it. Raises UsageError for a single file."""
    progress.start(f"listing {printable(source.url)}")
    items = _looked(repo, source, progress)
    progress.finish()
    if len(items) == 1 and not items[0].name:
        raise UsageError(
            f"{quote(source.url)} is one file, and a list is of what is in a folder", hint="leave out --no-download"
        )
    digest, size_bytes = writer.put_stream(io.BytesIO(reference.dump(items)), lambda _: None)
    return items, manifest.from_entries([Entry(b"", FILE, size_bytes, digest)])


def _described(source: ImportSource, items: Sequence[Item]) -> ImportSource:
    """Returns a source with what is said of it now."""
    source = replace(source, etag="", version="", modified="", size="", listing="")
    if len(items) == 1 and not items[0].name:
        item = items[0]
        size = "" if item.size_bytes is None else str(item.size_bytes)
        return replace(source, etag=item.etag, version=item.version, modified=item.modified, size=size)
    return replace(source, listing=reference.digest_text(reference.stamps_of(items)))


# --- folders on disk ---


def _folder(repo: Repo, source: ImportSource) -> Path | None:
    """Returns the file or folder on disk that a source names; None for one elsewhere."""
    return None if "://" in source.url else Path(open_address(source.url, repo))


def _scanned(work: Workspace, place: Path, path: str = "import") -> Scan:
    scan = work.scan(path, place)
    if scan is None:
        raise UsageError(f"there is nothing at {quote(str(place))}", hint="check the name")
    return scan


def _items_on_disk(scan: Scan) -> list[Item]:
    return [
        Item(os.fsdecode(path), scan.sizes[i], modified=f"{scan.mtimes[i]} {scan.flags[i]}")
        for i, path in enumerate(scan.paths)
    ]


def _from_disk(
    repo: Repo, path: str, place: Path, writer: Writer, progress: Progress
) -> tuple[Sequence[Item], Entries]:
    work = Workspace(repo, writer.cache, progress)
    scan = _scanned(work, place, path)
    if scan.paths == [b""] and scan.flags[0] == SYMLINK:
        raise UsageError(f"{quote(str(place))} is a symbolic link", hint="give what it points to")
    reader = CachingReader(writer.cache, writer, place.parent, str(place))
    snapshot = identify(scan, None, progress, reader)
    return _items_on_disk(snapshot.scan), snapshot.entries()


# --- all else ---


class _Fetch:
    """One import from an origin."""

    def __init__(
        self, repo: Repo, url: str, origin: Origin, retries: Retries, writer: Writer, progress: Progress
    ) -> None:
        self._repo, self._url = repo, url
        self._origin, self._retries = origin, retries
        self._writer, self._progress = writer, progress
        self._temporaries: list[Path] = []

    def all(self, jobs: int | None) -> tuple[Sequence[Item], Entries]:
        """Brings what is there into the cache; returns what its server said, and the entries of the version."""
        self._progress.start(f"looking at {printable(self._url)}")
        items = sorted(self._retries.run(self._origin.look), key=lambda item: os.fsencode(item.name))
        _require_names([os.fsencode(item.name) for item in items])
        known = _recall(self._repo, self._url)
        have = {item.name: entry for item in items if (entry := self._in_cache(item, known)) is not None}
        todo = [item for item in items if item.name not in have]
        total = sum(item.size_bytes or 0 for item in todo)
        require_space(self._writer.cache.folder, total, printable(self._url))
        self._progress.start(
            f"downloading {printable(self._url)}",
            total_bytes=total or None,
            total_files=len(todo) if len(items) > 1 else None,
        )
        said: dict[str, Item] = {}
        with ThreadPoolExecutor(jobs or self._repo.config.jobs) as pool:
            try:
                for at in range(0, len(todo), _AT_ONCE):
                    for item, path in pool.map(self._one, todo[at : at + _AT_ONCE]):
                        digest, size_bytes = self._writer.put_file(path)
                        have[item.name] = Entry(os.fsencode(item.name), FILE, size_bytes, digest)
                        said[item.name] = item
                        self._progress.advance(files=1)
            except BaseException:  # Ctrl-C too: what is on its way ends at once
                self._retries.close()
                self._origin.close()
                pool.shutdown(cancel_futures=True)
                for path in self._temporaries:
                    path.unlink(missing_ok=True)
                raise
        self._progress.finish()
        items = [said.get(item.name, item) for item in items]
        encoded = [item for item in items if item.encoding]
        if encoded:
            self._progress.warn(
                f"{count(len(encoded), 'file')} came compressed ({encoded[0].encoding}), as the server keeps them, and are stored like that"
            )
        _remember(self._repo, self._url, items, have)
        return items, manifest.from_entries([have[item.name] for item in items])

    def _one(self, item: Item) -> tuple[Item, Path]:
        """Downloads a file; returns what its server said, and where it is."""
        temporary = self._writer.temporary()
        self._temporaries.append(temporary)
        key = key_of(self._url, item)
        kept = None if key is None else self._writer.cache.partial_path(key)
        try:
            into = Download(kept, temporary, self._progress, self._retries)
        except OSError as error:
            raise os_error(error, "write", temporary) from error
        try:
            return replace(download(self._origin, item, into, self._retries), name=item.name), into.path
        finally:
            into.close()

    def _in_cache(self, item: Item, known: Mapping[tuple[str, str], Digest]) -> Entry | None:
        """Returns the entry of a file that was downloaded once, and is in the cache still."""
        digest = known.get((item.name, item.stamp)) if item.stamp and item.size_bytes is not None else None
        if digest is None or item.size_bytes is None:
            return None
        if any(True for _ in self._writer.lacking(digest, [item.size_bytes])):
            return None
        return Entry(os.fsencode(item.name), FILE, item.size_bytes, digest)


def _require_names(names: list[bytes]) -> None:
    """Raises DvliteError for names, sorted, that the files of a version cannot have; a single empty one is that of the URL."""
    if names == [b""]:
        return
    same = next((name for name, other in itertools.pairwise(names) if name == other), None)
    strange = same if same is not None else next((name for name in names if b"\0" in name), None)
    if strange is not None:
        raise DvliteError(
            f"{quote(os.fsdecode(strange))} cannot be imported: two files there have that name, or it is none"
        )
    check_paths(names)
    refuse_files_used_as_folders(names)


def _notes(repo: Repo, url: str) -> Path:
    return repo.common_dir / "dvlite" / "origins" / digest_bytes(url.encode("utf-8", "surrogateescape")).hex()[:32]


def _recall(repo: Repo, url: str) -> dict[tuple[str, str], Digest]:
    """Returns the content of what was downloaded before, by name and stamp; losing the note costs a download."""
    known = {}
    for line in (read_own(_notes(repo, url), _NOTES_BYTES) or b"").splitlines():
        with contextlib.suppress(ValueError, TypeError):
            name, stamp, digest = json.loads(line)
            if len(content := bytes.fromhex(digest)) == DIGEST_BYTES:
                known[name, stamp] = Digest(content)
    return known


def _remember(repo: Repo, url: str, items: Sequence[Item], have: Mapping[str, Entry]) -> None:
    path = _notes(repo, url)
    lines = (json.dumps([item.name, item.stamp, have[item.name].digest.hex()]) for item in items if item.stamp)
    with contextlib.suppress(DvliteError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(f"{line}\n" for line in lines).encode(), sync=False)
