"""Brings what a path of an opened repository means into a cache: tracked paths, parts of them, and files of git."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvlite import files
from dvlite.errors import Dropped, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.files import read_regular
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, SYMLINK, Entries, Entry
from dvlite.git.output import TreeEntry
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import digest_bytes, format_oid
from dvlite.paths import is_inside
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.share.any_repository import FLAGS, LINK, Opened, git_files, refuse_relative_folder
from dvlite.share.dvc_reader import DvcReader
from dvlite.share.fetch_plan import unfetched
from dvlite.share.needs import dropped_by
from dvlite.show import quote, some
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE
from dvlite.workspace.checkout_plan import selected
from dvlite.workspace.fetch import FetchRequest, fetch_versions, needed
from dvlite.workspace.path_args import guess
from dvlite.workspace.purged import PurgedFile, failure_of, purged_in, without
from dvlite.workspace.workspace import chosen_of, entries_of

_GIT_LIMIT_BYTES = 1 << 30
_MOST_LINKS = 40  # followed from a symlink to a file, as the kernel does
_GLOB = re.compile(r"([*?\[])")


@dataclass(frozen=True, slots=True)
class Brought:
    """What is meant by a path: its entries (one without a path for a file), and its oid if it has one."""

    entries: Entries
    oid: str


def bring(
    opened: Opened, jobs: int | None, progress: Progress, chosen: Collection[bytes] | None = None
) -> tuple[Brought, tuple[PurgedFile, ...]]:
    """Returns what is meant by the path, with all of its bytes in the cache, and what of it was purged. Raises Purged if that is all.

    Of a tracked directory, or a folder in one, only the files in `chosen`, by their paths inside, if they are given.
    """
    whole = _whole(_with_theirs(opened, progress), jobs, progress, chosen)
    gone = purged_in(opened.cache, opened.path, whole.entries)
    failure = failure_of(gone.values()) if len(gone) == len(whole.entries) else None
    if failure is not None:
        raise failure
    return (Brought(without(whole.entries, gone), whole.oid) if gone else whole), tuple(gone.values())


def _with_theirs(opened: Opened, progress: Progress) -> Opened:
    """Brings what DVC tracks at the path into the cache, as versions of dvlite."""
    repo, theirs = opened.repo, opened.theirs
    if repo is None or theirs is None:
        return opened
    with contextlib.closing(DvcReader(theirs, repo.config, repo.environ, opened.cache)) as reader:
        return replace(opened, tracked=[*opened.tracked, *reader.tracked(opened.path, progress)])


def _whole(opened: Opened, jobs: int | None, progress: Progress, only: Collection[bytes] | None) -> Brought:
    chosen: list[tuple[Tracked, str]] = []
    for item in opened.tracked:
        if is_inside(item.path, opened.path):
            chosen.append((item, ""))
        elif opened.path.startswith(item.path + "/"):
            chosen.append((item, opened.path[len(item.path) + 1 :]))
    if len(chosen) == 1 and chosen[0][0].path == opened.path:
        item = chosen[0][0]
        selects = None if only is None else only.__contains__
        _fetch(opened, [FetchRequest(item.path, item.pointer, commit=opened.commit, selects=selects)], jobs, progress)
        entries = entries_of(item.pointer, opened.cache)
        if selects is not None:
            return Brought(selected(entries, selects), "")
        return Brought(entries, item.pointer.oid)
    if chosen and chosen[0][1]:
        return _inside(replace(opened, path=chosen[0][1]), chosen[0][0], jobs, progress, only)
    kept = _kept_by_git(opened)
    if not chosen and not kept:
        names = [*(item.path for item in opened.tracked), *(opened.theirs.outs if opened.theirs else ())]
        meant = guess(opened.path, names)
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
    return Brought(manifest.from_entries(sorted(rows, key=lambda row: row.path)), "")


def _kept_by_git(opened: Opened) -> list[Entry]:
    """Returns the files that git keeps at the path or below it, but for pointers and git's own; their bytes go into the cache."""
    repo, above = opened.repo, len(opened.path) + 1 if opened.path else 0
    if repo is None:
        return []
    rows = []
    with Writer(opened.cache) as writer, tempfile.TemporaryFile() as file:
        for name, mode, data in _contents(repo, git_files(opened), is_commit=opened.commit != ""):
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


def _contents(repo: Repo, listed: Sequence[TreeEntry], *, is_commit: bool) -> Iterator[tuple[str, str, bytes]]:
    """Yields path, mode and content of files of git, one in memory at a time."""
    if not is_commit:
        on_disk = ((entry.path, _on_disk(repo.root / entry.path)) for entry in listed)
        yield from ((name, *content) for name, content in on_disk if content is not None)
        return
    places: dict[str, list[TreeEntry]] = {}
    for entry in listed:
        places.setdefault(entry.blob, []).append(entry)
    for blob, data in repo.git.each_blob(dict.fromkeys(places, _GIT_LIMIT_BYTES)):
        yield from ((entry.path, entry.mode, data) for entry in places[blob])


def _on_disk(path: Path) -> tuple[str, bytes] | None:
    """Returns mode and content of a file of the work tree, None where it is not there."""
    if path.is_symlink():
        return LINK, os.fsencode(os.readlink(path))
    data = read_regular(path, str(path), _GIT_LIMIT_BYTES)
    return None if data is None else ("100755" if os.stat(path).st_mode & 0o100 else "100644", data)


def _inside(
    opened: Opened, item: Tracked, jobs: int | None, progress: Progress, only: Collection[bytes] | None
) -> Brought:
    """Returns a file or folder of a tracked directory, by its path inside; a symlink stands for the file that it leads to."""
    inner = opened.path
    for _ in range(_MOST_LINKS if item.pointer.kind == "directory" else 0):
        start = len(os.fsencode(inner)) + 1
        selects = None if only is None else lambda path, start=start: path[start:] in only
        pattern = _GLOB.sub(r"[\1]", inner)
        part = FetchRequest(item.path, item.pointer, (pattern,), commit=opened.commit, selects=selects)
        _fetch(opened, [part], jobs, progress)
        entries = chosen_of(item.pointer, opened.cache, part.patterns)
        name = os.fsencode(inner)
        entry = entries.find(name)
        if entry is None:
            rows = entries.subtree(name)
            if not rows:
                break
            rows = [row for row in rows if only is None or row.path in only]
            return Brought(manifest.from_entries(rows), "")
        if entry.kind == EMPTY_DIR:
            return Brought(manifest.from_entries([]), "")
        if entry.kind != SYMLINK:
            return Brought(manifest.from_entries([_moved(entry, b"")]), format_oid(FILE_OID, entry.digest))
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
            error = unfetched(got, catalog)
            if opened.far and isinstance(error, ObjectMissing):  # to pull is for a clone
                error.hint = "dvlite push, in a clone of that repository that has it"
            raise error


def _refuse_dropped(repo: Repo, parts: Sequence[FetchRequest]) -> None:
    """Raises Dropped if keep rules dropped one of these versions, which is not all there."""
    dropped = dropped_by(repo, [(part.pointer.oid_kind, part.pointer.digest) for part in parts])
    if dropped:
        raise Dropped(some([quote(part.path) for part in parts]), next(iter(dropped.values())))


def _is_cached(cache: Cache, part: FetchRequest) -> bool:
    try:
        return next(needed(cache, part), None) is None
    except (ObjectMissing, ObjectCorrupt):
        return False
