"""Makes the workspace follow pointers that git changed: only those tracked paths, never over edits, from the cache.

Data that the cache lacks is downloaded if it is below `hooks.fetch_limit`, and so are records of runs that a lockfile names now. A path that was tracked and is not on disk is not restored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dvlite import files
from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import lockfile, manifest
from dvlite.formats.manifest import Entries
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git.output import FileDifference, is_lockfile
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo import committed_versions, tracked_paths
from dvlite.repo.open_stores import open_remote
from dvlite.repo.remotes import PlaceUntrusted
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked, Unusable
from dvlite.runs import share
from dvlite.runs.index import open_index
from dvlite.runs.records import open_records
from dvlite.show import printable, size_text, some, word
from dvlite.store.catalog import Catalog
from dvlite.workspace.fetch import FetchRequest, fetch_versions
from dvlite.workspace.hashing import identify
from dvlite.workspace.outdated import bringing
from dvlite.workspace.overwrite_safety import is_exactly
from dvlite.workspace.restore import CheckedOutPath, CheckoutOptions, remove_untracked, restore, writer_process_for
from dvlite.workspace.running_outputs import skip_running_outputs
from dvlite.workspace.workspace import Workspace

_NAMED = 3
_HISTORY = 20  # committed versions of a path that are compared with the one on disk
_PATIENCE_SECONDS = 3.0  # for a remote that does not answer: the user waits for git


@dataclass(slots=True)
class Followed:
    """What was done, and notes about the rest."""

    followed: list[CheckedOutPath] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)  # paths with data that is not in the cache
    reason: str = ""  # why that was not downloaded
    first: str = ""  # a command that has to run before the download
    nowhere: list[str] = field(default_factory=list)  # paths with data that is not on the remote either
    remote: str = ""  # where that is
    downloaded_bytes: int = 0


def follow(repo: Repo, moved: Sequence[FileDifference], progress: Progress, *, left_behind: bool = False) -> Followed:
    """Checks out what the pointers and lockfiles in `moved` name now; the caller holds the workspace lock.

    With `left_behind`, also paths that are on disk as another commit has them: a stopped rebase may have checked out that commit.
    """
    done = Followed()
    broken: list[DvliteError] = []
    tracked = {item.path: item for item in repo.work_tree.tracked(broken)}
    before = _named_before(repo, moved)
    after = {item.path for item in tracked.values() if (item.lockfile or item.path + SUFFIX) in _files(moved)}
    work = Workspace(repo, open_cache(repo), progress)
    if left_behind:
        before |= _left_behind(work, [item for item in tracked.values() if item.path not in after])
        after |= before.keys() & tracked.keys()
    is_being_made = skip_running_outputs(repo, progress.warn)
    chosen = [
        tracked[path]
        for path in sorted(after)
        if _is_to_follow(work, tracked[path], before) and not is_being_made(path)
    ]
    repo.exclude([item.path for item in chosen])
    parts = []
    for item in chosen:
        part = _part(work, item, before.get(item.path, []))
        if _missing_bytes(work, part) == 0 or (item.push and not _is_here(work, item)):
            parts.append(part)  # what its pipeline does not push stays where it was made
    _fetch(work, parts, done, has_new_runs=_has_new_runs(repo, moved, progress))
    with writer_process_for(work, ((part.path, part.pointer) for part in parts)) as helper:
        how = CheckoutOptions(link="hardlink" in repo.config.links, keep_sparse=True, helper=helper)
        for part in parts:
            _restore(work, part, how, done)
    if not broken:
        done.followed += remove_untracked(work, set(tracked), only=before.keys() - tracked.keys())
    done.notes += [error.message for error in broken if isinstance(error, Unusable) and error.file in _files(moved)]
    _add_notes(work, done)
    return done


def _files(moved: Sequence[FileDifference]) -> set[str]:
    return {file.path for file in moved}


def _named_before(repo: Repo, moved: Sequence[FileDifference]) -> dict[str, list[Pointer]]:
    """Returns what the files that changed named before; what cannot be read named nothing."""
    limits = {file.old: lockfile.LIMIT_BYTES for file in moved if file.old is not None}
    contents = dict(repo.git.blobs_within(limits))
    named: dict[str, list[Pointer]] = {}
    for file in moved:
        if file.old is not None and file.old in contents:
            try:
                read = tracked_paths.read_lockfile if is_lockfile(file.path) else _read_pointer
                for item in read(file.path, contents[file.old], file.path):
                    named.setdefault(item.path, []).append(item.pointer)
            except FormatError:
                continue
    return named


def _left_behind(work: Workspace, items: Sequence[Tracked]) -> dict[str, list[Pointer]]:
    """Returns the paths that are on disk in another version than their pointer's, and that version, if a commit has it."""
    on_disk = {item.path: other for item in items if (other := work.other_version(item)) is not None}
    if not on_disk:
        return {}
    lockfiles = {item.path: item.lockfile for item in items if item.path in on_disk}
    committed = committed_versions.histories(work.repo.git, lockfiles, _HISTORY, lockfiles=lockfiles)
    matching = {path: [old for old in versions if old.oid == on_disk[path]] for path, versions in committed.items()}
    return {path: versions for path, versions in matching.items() if versions}


def _read_pointer(name: str, data: bytes, where: str) -> list[Tracked]:
    return [tracked_paths.read_pointer(name, data, where)]


def _is_to_follow(work: Workspace, item: Tracked, before: Mapping[str, list[Pointer]]) -> bool:
    """Returns whether a path is new or has another version; one that was tracked and is not on disk was removed, or left out, on purpose."""
    if item.path not in before:
        return not work.is_left_out(item.path)
    moved = not any(item.pointer.same_version(old) for old in before[item.path])
    return moved and files.is_there(work.location(item.path))


def _part(work: Workspace, item: Tracked, before: Sequence[Pointer]) -> FetchRequest:
    return FetchRequest(item.path, item.pointer, work.part(item.path), tuple(before))


# -- downloads


def _has_new_runs(repo: Repo, moved: Sequence[FileDifference], progress: Progress) -> bool:
    """Returns whether lockfiles name runs now whose records are not here."""
    limits = {file.new: lockfile.LIMIT_BYTES for file in moved if file.new is not None and is_lockfile(file.path)}
    runs = {run for _, data in repo.git.blobs_within(limits) for run in lockfile.run_ids(data)}
    if not runs:
        return False
    with open_index(open_records(repo, progress)) as index:
        return any(index.row(run) is None for run in runs)


def _fetch(work: Workspace, parts: Sequence[FetchRequest], done: Followed, *, has_new_runs: bool) -> None:
    """Downloads what the cache lacks, if it is within `hooks.fetch_limit`, and records of runs; a remote that is not available makes a note."""
    repo, progress = work.repo, work.progress
    missing = [(part, _missing_bytes(work, part)) for part in parts]
    wanted = [part for part, size in missing if size != 0]
    limit = repo.config.limit_bytes("hooks.fetch_limit")
    missing_bytes = sum(size or 0 for _, size in missing)
    if missing_bytes > limit:
        done.reason = _too_large(missing_bytes, limit) if limit else ""
        wanted = []
    if not (wanted or has_new_runs) or not limit or not repo.config.remote_names:
        return
    try:
        _, opened = open_remote(repo, work.cache, None, None, patience_seconds=_PATIENCE_SECONDS)
        with opened:
            progress.start(f"looking at {opened.shown}")
            if has_new_runs:
                share.receive(repo, opened, progress)
            if not wanted:
                return
            catalog = Catalog(opened, progress, to_read=True).look()
            wanted = [replace(part, beside=_on_disk(work, part)) for part in wanted]
            brought = fetch_versions(catalog, work.cache, wanted, progress, limit_bytes=limit).paths
            size_bytes = sum(one.size_bytes for one in brought)
            there = [part for part, one in zip(wanted, brought, strict=True) if one.state == "planned"]
            done.nowhere = [one.path for one in brought if one.state == "missing"]
            done.remote = opened.store.label
            if size_bytes > limit:
                done.reason = _too_large(size_bytes, limit)
            elif there:
                fetch_versions(catalog, work.cache, there, progress)
            done.downloaded_bytes = opened.traffic.bytes_read
    except PlaceUntrusted as error:
        done.reason = f"this user has not approved {printable(error.place)}"
        done.first = f"dvlite remote trust {word(error.place)}"
    except DvliteError as error:
        done.reason = error.message
    finally:
        progress.finish()


def _too_large(size_bytes: int, limit_bytes: int) -> str:
    return f"{size_text(size_bytes)} is more than hooks.fetch_limit, {size_text(limit_bytes)}"


def _missing_bytes(work: Workspace, part: FetchRequest) -> int | None:
    """Returns how many bytes of a version the cache lacks, or None if its manifest is missing too.

    Looked for where it differs from the one before: what they share is on disk, else `restore` says so.
    """
    try:
        entries = _to_come(work, part)
    except DvliteError:
        return None
    return sum(max(entries.sizes[i], 1) for i in work.cache.missing(entries, work.selector(part.path)))


def _to_come(work: Workspace, part: FetchRequest) -> Entries:
    """Returns the entries of a version that the one before does not have."""
    before = _on_disk(work, part)
    if before is not None:
        with contextlib.suppress(ObjectMissing, ObjectCorrupt):
            pairs = manifest.compare(before, part.pointer.digest, work.cache.read_node)
            return manifest.from_entries(new for _, new in pairs if new is not None)
    return work.wanted(part.pointer)


def _on_disk(work: Workspace, part: FetchRequest) -> Digest | None:
    """Returns the listing of the version before, where a directory follows it that is there and whose listing is in the cache."""
    before = [base.digest for base in part.bases if base.kind == "directory"]
    is_there = part.pointer.kind == "directory" and before and files.is_there(work.location(part.path))
    return before[0] if is_there and work.cache.has_node(before[0]) else None


# -- the workspace


def _restore(work: Workspace, part: FetchRequest, how: CheckoutOptions, done: Followed) -> None:
    if _missing_bytes(work, part) != 0:
        done.absent.append(part.path)
        return
    try:
        restored = restore(work, part.path, part.pointer, (), how)
    except DvliteError as error:
        done.notes.append(f"{error.message}; then: {bringing(work, part.path, 'pull')}")
        return
    done.followed.append(restored.result)
    if restored.damaged or restored.result.missing:
        done.absent.append(part.path)


def _is_here(work: Workspace, item: Tracked) -> bool:
    """Returns whether a version is on disk that the cache lacks; nothing is looked at where another one was checked out last."""
    scan = work.scan(item.path) if work.other_version(item) is None else None
    if scan is None:
        return False
    return is_exactly(work, item.pointer, identify(scan, work.stat_rows(item.path), work.progress).entries())


def _add_notes(work: Workspace, done: Followed) -> None:
    repo = work.repo
    absent = [path for path in done.absent if path not in done.nowhere]
    if absent:
        is_plain = len(absent) > _NAMED or any(
            work.sparse.get(path) for path in absent
        )  # of a part, a path would bring all
        command = "dvlite pull" if is_plain else f"dvlite pull {_quoted(repo, absent)}"
        if done.first:
            command = f"{done.first} && {command}"
        why = f" ({done.reason})" if done.reason else ""
        done.notes.append(f"{_listed(repo, absent)}: not in the cache{why}; to bring {_it(absent)}: {command}")
    nowhere = [path for path in done.absent if path in done.nowhere]
    if nowhere:
        where = f"neither in the cache nor on {done.remote}"
        done.notes.append(
            f"{_listed(repo, nowhere)}: {where}; push {_it(nowhere)} from a clone that has {_it(nowhere)}"
        )
    conflicting = [path.path for path in done.followed if path.conflicts]
    if conflicting:
        files = sum(len(path.conflicts) for path in done.followed)
        one = "1 file" if files == 1 else f"{files:,} files"
        done.notes.append(
            f"{one} changed here and kept in {_listed(repo, conflicting)}; to give the changes up: dvlite checkout -f {_quoted(repo, conflicting)}"
        )


def _it(paths: Sequence[str]) -> str:
    return "it" if len(paths) == 1 else "them"


def _listed(repo: Repo, paths: Sequence[str]) -> str:
    return some([printable(repo.display(path)) for path in paths])


def _quoted(repo: Repo, paths: Sequence[str]) -> str:
    return " ".join(word(repo.display(path)) for path in paths[:_NAMED])
