"""Makes one tracked path on disk equal its pointer; what `checkout` and `pull` do to each path."""

from __future__ import annotations

import contextlib
import os
import threading
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from dvlite import files
from dvlite.errors import Dropped, DvliteError, FileChanged, ObjectCorrupt, ObjectMissing, PartlyDone, StrangeFile
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, KIND_MASK, SYMLINK, Entries
from dvlite.formats.manifest_parts import differences, differences_from
from dvlite.formats.pointer import SUFFIX, Pointer, from_oid
from dvlite.oid import DIGEST_BYTES, MANIFEST, Digest, format_oid
from dvlite.paths import PathSet, refuse_files_used_as_folders
from dvlite.repo import committed_versions
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import NAMED, Show, count, quote, some, word
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_MANIFEST
from dvlite.workspace import checkout_apply, sparse
from dvlite.workspace.backups import move_aside, save_pointer
from dvlite.workspace.checkout_apply import SHARE_FROM, CheckoutOutcome
from dvlite.workspace.checkout_plan import CheckoutPlan, plan, selected
from dvlite.workspace.dirfd import Folders, remove_entries, remove_entry
from dvlite.workspace.hashing import Snapshot, identify, inner_target, reread, symlink_problem
from dvlite.workspace.ingest import CachingReader
from dvlite.workspace.overwrite_safety import EarlierVersions, is_earlier_version, is_exactly
from dvlite.workspace.purged import PurgedFile, failure_of, purged_in, without
from dvlite.workspace.scan import Scan, spliced
from dvlite.workspace.workspace import NO_VERSION, Workspace, chosen_of, is_version
from dvlite.workspace.writer_process import WriterOptions, WriterProcess

_EXAMPLES = 1000  # paths named in a result


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOutPath:
    """What `checkout` did to one tracked path."""

    path: str
    written: int = 0
    removed: int = 0
    kept: int = 0  # already right
    extra: int = 0  # local files that no version has: left alone
    written_bytes: int = 0
    conflicts: tuple[str, ...] = ()  # local edits that were not overwritten
    stage: str = ""  # whose output it is, if it has conflicts
    saved: tuple[str, ...] = ()  # overwritten by --force after their bytes went into the cache
    missing: tuple[str, ...] = ()  # not in the cache
    dropped: str | None = None  # the keep rules that dropped this version, if some of it is missing
    purged: tuple[PurgedFile, ...] = ()  # removed for good: not written
    untracked: bool = False  # no pointer names it any more, and its data was removed


def of_stages(repo: Repo, done: Sequence[CheckedOutPath]) -> tuple[CheckedOutPath, ...]:
    """Returns what was done; where edits were kept, with the stage whose output it is: `add` takes no outputs."""
    stages = {item.path: item.stage for item in repo.work_tree.tracked(broken=[]) if item.lockfile}
    return tuple(replace(path, stage=stages.get(path.path, "")) if path.conflicts else path for path in done)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CheckoutResult(Result):
    """What `checkout` changed in the workspace."""

    schema: ClassVar[str] = "dvlite.checkout/1"
    paths: tuple[CheckedOutPath, ...] = ()
    revision: str | None = None
    link: str = ""  # "reflink", "copy", "hardlink", "symlink"
    unusable: tuple[str, ...] = ()  # why a pointer or lockfile could not be read, if no paths were given
    may_lack: bool = False  # what is missing was to be left out
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not checked out."""
        missing = [name for path in self.paths for name in path.missing if path.dropped is None]
        if missing and not self.may_lack:
            hint = "dvlite pull; to have the rest of it: dvlite checkout --allow-missing"
            return ObjectMissing(f"not in the cache: {show.paths(missing)}", hint=hint)
        dropped = {path.path: path.dropped for path in self.paths if path.missing and path.dropped is not None}
        if dropped:
            return Dropped(show.paths([*dropped]), next(iter(dropped.values())))
        conflicts = [name for path in self.paths for name in path.conflicts]
        if conflicts:
            kept = [path for path in self.paths if path.conflicts]
            added = [
                name
                for path in kept
                if not path.stage
                for name in (path.conflicts if len(conflicts) <= NAMED else [path.path])
            ]
            stages = dict.fromkeys(path.stage for path in kept if path.stage)
            keep = [f"dvlite add {' '.join(map(show.word, added))}"] if added else []
            keep += [f"dvlite commit {' '.join(map(word, stages))}"] if stages else []
            where = " ".join(map(show.word, [*added, *(path.path for path in kept if path.stage)]))
            return PartlyDone(
                f"{count(len(conflicts), 'file')} not overwritten, with changes that are not added: {show.paths(conflicts)}",
                hint=f"to keep the changes: {' && '.join(keep)}\nto give them up: dvlite checkout --force {where}",
            )
        if self.unusable:
            return PartlyDone(some(self.unusable, 1), hint="all else is checked out; see dvlite status")
        purged = [file for path in self.paths for file in path.purged]
        return failure_of(purged, show) if purged else None


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done to one path; `damaged` are objects whose stored bytes were wrong."""

    result: CheckedOutPath
    damaged: tuple[tuple[Digest, DvliteError], ...] = ()


@dataclass(frozen=True, slots=True)
class CheckoutOptions:
    """How to restore: `force` overwrites local edits after storing them; `link` hard-links large files; `helper` writes half of a fresh tree.

    `keep_sparse`: for a partly checked out directory, no patterns mean the same part, not all of it. `allow_missing`: files that the cache
    lacks are left out, and count as never checked out; else a version that lacks one is not written at all. `relink`: large files that are
    right are written again where they are not linked to the cache as `link` says.
    """

    force: bool = False
    link: bool = False
    keep_sparse: bool = False
    allow_missing: bool = False
    helper: WriterProcess | None = None
    relink: bool = False


def restore(work: Workspace, path: str, wanted: Pointer, patterns: Sequence[str], how: CheckoutOptions) -> Restored:
    """Restores a version, or the part of it that `patterns` name, but for what was purged. Raises ObjectMissing if its manifest is not cached."""
    patterns_here = work.part(path) if how.keep_sparse else tuple(work.sparse.get(path, ()))
    asked = tuple(patterns) or (work.wanted_part(path) if how.keep_sparse else ())
    if wanted.kind == "file" and asked != sparse.NOTHING:  # nothing of it can be left out
        asked = patterns = tuple(pattern for pattern in asked if not pattern.startswith(sparse.OUT))
    if asked == sparse.NOTHING:
        if not files.is_there(work.location(path)):
            work.set_sparse(path, asked)
        return Restored(CheckedOutPath(path=path))
    gone = {}
    if work.cache.purged:
        gone = purged_in(work.cache, path, work.wanted(wanted), sparse.selector(patterns) if patterns else None)
        if gone and wanted.kind == "file":
            return Restored(CheckedOutPath(path=path, purged=tuple(gone.values())))
        if gone:
            how = replace(how, helper=None)  # which would write the whole version
    purged = tuple(gone.values())
    scan = _scan_without_strangers(work, path) if how.force else work.scan(path)
    work.clear_leftovers(path, scan)
    if scan is not None and scan.paths == [b""] and scan.flags[0] == SYMLINK and not how.force:
        raise StrangeFile(f"{quote(work.repo.display(path))} is a symbolic link, in the place of data")
    if scan is not None and (scan.paths == [b""]) != (wanted.kind == "file"):
        return _replace_kind(work, path, wanted, patterns, how)
    is_settled = scan is not None and asked == patterns_here and not how.force and not how.relink
    vouched = None if scan is None else work.vouched(path, scan)
    if is_settled and scan is not None and is_version(scan, vouched, wanted):
        return Restored(CheckedOutPath(path=path, kept=len(scan.paths), purged=purged))
    chooses = sparse.selector(asked) if asked else None
    now = None if scan is None else identify(scan, work.stat_rows(path), work.progress)
    if now is None or wanted.kind == "file" or how.relink:
        want, have, ranges = (
            chosen_of(wanted, work.cache, asked),
            now,
            [] if now is None else [(0, len(now.scan.paths))],
        )
    else:
        whole = (
            None if asked or patterns_here else vouched
        )  # of a part, the version is known, and not which files are here
        want, have, ranges = _differing(work, wanted, now, asked, whole)
    if work.cache.purged:
        want = without(want, purged_in(work.cache, path, want))
    want = want if chooses is None else selected(want, chooses)
    same = 0 if now is None else len(now.scan.paths) - sum(stop - start for start, stop in ranges)
    chosen = [] if now is None or not asked else _outside(now.scan.paths, ranges)
    if patterns:
        sparse.require_matches(path, patterns, [*want.paths, *chosen])
    outside = None
    if have is not None and chooses is not None:
        have, outside = _split(have, chooses)
    is_safe = (lambda _: True) if how.force or have is None else EarlierVersions(work, path, have).has
    todo = plan(want, have, is_safe)
    if (todo.conflicts or todo.extra) and have is not None and outside is None and _put_back(work, path, now or have):
        todo = plan(want, have, EarlierVersions(work, path, have).has)
    if have is not None and how.relink:
        _relink(work, want, have, todo, link=how.link)
    if have is not None and not reread(have, _endangered(have, todo), work.progress):
        todo = plan(want, have, (lambda _: True) if how.force else EarlierVersions(work, path, have).has)
    lost = _lost(work, want, todo) if have is not None or how.allow_missing else []
    lost_paths = tuple(_shown(path, want.paths[i]) for i in lost[:_EXAMPLES])
    if lost and not how.allow_missing:
        return Restored(CheckedOutPath(path=path, missing=lost_paths))
    if lost:
        names = [os.fsdecode(want.paths[i]) for i in lost]
        want, how = without(want, lost), replace(how, helper=None)  # which would write the whole version
        todo = plan(want, have, is_safe)
        if not want and not same:
            return Restored(CheckedOutPath(path=path, missing=lost_paths))
    shown = work.repo.display(path)
    files_here = len(want) - want.flags.count(EMPTY_DIR) + len(lost) + len(purged)
    if scan is None and files_here < wanted.files and tuple(work.sparse.get(path, ())) != asked:
        work.progress.warn(f"only a part of {quote(shown)} is here from now on; all of it: dvlite pull {word(shown)}")
    _settle_patterns(work, path, asked, [sparse.LOST + name for name in names] if lost else (), absent=scan is None)
    _require_space(work, path, want, todo, link=how.link)
    saved = _save(work, path, have, todo) if how.force and have is not None else ()
    options = WriterOptions(how.link, None if how.link else how.helper, (wanted.digest, asked))
    outcome = checkout_apply.apply(
        todo, want, have, work.repo.root, os.fsencode(path), work.cache, progress=work.progress, options=options
    )
    if not outcome.abandoned:
        is_all = outside is None and (now is None or asked in ((), work.wanted_part(path)))
        _remember(work, path, wanted, _spliced(now, ranges, outcome), todo, whole=is_all)
    result = replace(_result(path, want, have, todo, outcome, saved), purged=purged)
    result = replace(result, kept=result.kept + (same if chooses is None else sum(map(chooses, chosen))))
    result = replace(result, missing=(*lost_paths, *result.missing)[:_EXAMPLES])
    return Restored(result, tuple(outcome.damaged))


@contextlib.contextmanager
def writer_process_for(work: Workspace, versions: Iterable[tuple[str, Pointer]]) -> Iterator[WriterProcess | None]:
    """Forks a second process if a large directory is to be written that is not on disk. Call it before any thread starts.

    In a program that has threads, nothing is forked: what another thread holds stays locked in the new process.
    """
    large = [path for path, wanted in versions if wanted.kind == "directory" and wanted.files >= SHARE_FROM]
    if threading.active_count() > 1 or all(os.path.lexists(work.location(path)) for path in large):
        yield None
        return
    with WriterProcess(checkout_apply.write_part) as helper:
        yield helper


def remove_untracked(
    work: Workspace, tracked: set[str], *, only: Collection[str] | None = None
) -> list[CheckedOutPath]:
    """Removes paths that were tracked in this worktree and no longer are, if the cache has all their bytes; `only` limits which.

    `tracked` is everything tracked now: call this only if every pointer and lockfile could be read.
    """
    done = []
    here = PathSet(tracked)
    for path in list(work.known_paths()):
        if only is not None and path not in only:
            continue
        if here.overlaps(path):
            continue
        if work.is_behind_link(path) or files.is_there(work.location(path + SUFFIX)):
            continue  # behind a link it is not the repository's; beside an unusable pointer it may still be tracked
        shown = work.repo.display(path)
        scan = work.scan(path)
        if scan is not None:
            have = identify(scan, None, work.progress)
            cached = is_earlier_version(work, path, have)
            if cached and not committed_versions.is_committed(work.repo.git, path):
                work.progress.warn(
                    f"{quote(shown)} is no longer tracked. It was kept because no commit has it; {_settles(shown)}"
                )
                continue
            if not cached or work.repo.git.tracked_under([path]):
                if not cached:
                    work.progress.warn(
                        f"{quote(shown)} is no longer tracked. It was kept because it has data that no version has; {_settles(shown)}"
                    )
                continue
            remove_tree(work, path, have)
            done.append(CheckedOutPath(path=path, removed=len(have.scan.paths), untracked=True))
        work.forget(path)
    return done


def _settles(shown: str) -> str:
    again = word(shown)
    return f"to track it: dvlite add {again}; to delete it: rm -r {again}"


def _settle_patterns(work: Workspace, path: str, asked: tuple[str, ...], lost: Sequence[str], *, absent: bool) -> None:
    """Updates the sparse patterns: a part of an absent directory makes it sparse, all of it makes it whole, but for what is `lost`."""
    here = work.sparse.get(path, ())
    chosen = [pattern for pattern in here if not pattern.startswith(sparse.LOST)]
    before: Sequence[str] = ()
    if asked and not absent:
        chooses = sparse.selector(asked)
        before = [name for name in here if name not in chosen and not chooses(os.fsencode(name[len(sparse.LOST) :]))]
        asked = sparse.added(chosen, asked) if chosen else ()
    work.set_sparse(path, (*asked, *before, *lost))


def _differing(
    work: Workspace, wanted: Pointer, now: Snapshot, asked: Sequence[str], vouched: Digest | None
) -> tuple[Entries, Snapshot | None, list[tuple[int, int]]]:
    """Returns the leaves of a version that are not on disk as they are, what is on disk in their place, and where that is in `now`.

    `vouched` is the version that `now` is known to be, all of it: then listings are compared, and nothing that is on disk.
    """
    parts = list(_parts(work, wanted, now, asked, vouched))
    want = manifest.joined(leaf for _, _, leaf in parts)
    refuse_files_used_as_folders(want.paths)
    ranges = [(start, stop) for start, stop, _ in parts]
    return want, _part(now, [i for start, stop in ranges for i in range(start, stop)]), ranges


def _parts(
    work: Workspace, wanted: Pointer, now: Snapshot, asked: Sequence[str], vouched: Digest | None
) -> Iterable[tuple[int, int, Entries]]:
    if vouched is not None:
        with contextlib.suppress(ObjectMissing, ObjectCorrupt):  # its listing need not be here
            return list(differences_from(vouched, wanted.digest, now.scan.paths, work.cache.read_node))
    return differences(wanted.digest, now.entries(), work.cache.read_node, sparse.reach(asked))


def _outside(paths: list[bytes], ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    starts, ends = [0, *(stop for _, stop in ranges)], [*(start for start, _ in ranges), len(paths)]
    return [path for start, end in zip(starts, ends, strict=True) for path in paths[start:end]]


def _spliced(now: Snapshot | None, ranges: Sequence[tuple[int, int]], outcome: CheckoutOutcome) -> CheckoutOutcome:
    """Returns what is on disk after all: an outcome in the place of some ranges of what was there before, which is taken apart."""
    if now is None or ranges == [(0, len(now.scan.paths))]:
        return outcome
    before, after = now.scan, outcome.scan
    places: list[tuple[int, ...]] = []
    done = 0
    for start, stop in ranges:
        end = bisect_left(after.paths, before.paths[stop]) if stop < len(before.paths) else len(after.paths)
        places.append((start, stop, done, end))
        done = end
    wide = [tuple(at * DIGEST_BYTES for at in place) for place in places]
    digests, racy = spliced(now.digests, bytearray(outcome.digests), wide), spliced(now.racy, outcome.racy, places)
    before.splice(after, places)
    return replace(outcome, scan=before, digests=digests, racy=racy)


def _split(have: Snapshot, chooses: sparse.Selects) -> tuple[Snapshot, Snapshot | None]:
    """Divides what is on disk into the part that is restored and the rest."""
    inside = [i for i, path in enumerate(have.scan.paths) if chooses(path)]
    if len(inside) == len(have.scan.paths):
        return have, None
    outside = sorted(set(range(len(have.scan.paths))) - set(inside))
    return _part(have, inside), _part(have, outside)


def _part(have: Snapshot, chosen: Sequence[int]) -> Snapshot:
    scan = Scan(root=have.scan.root, shown=have.scan.shown)
    for i in chosen:
        scan.copy_from(have.scan, i)
    digests = bytearray(b"".join(have.digest(i) for i in chosen))
    return Snapshot(scan, digests, bytearray(have.racy[i] for i in chosen), have.read_files)


def _lost(work: Workspace, want: Entries, todo: CheckoutPlan) -> list[int]:
    """Returns the entries to write that the cache lacks: then nothing is done, since gaps would look like deletions."""
    has = work.cache.has_file
    return [i for i in todo.write if want.flags[i] != EMPTY_DIR and not has(want.digest(i), want.sizes[i])]


def _scan_without_strangers(work: Workspace, path: str) -> Scan | None:
    """Returns what is on disk at a path, once what no version can hold is moved away: FIFOs, sockets, devices, and links in a directory that leave it."""
    root = os.fsencode(work.location(path))
    while True:
        try:
            scan = work.scan(path)
            links = [] if scan is None else [inner for i, inner in enumerate(scan.paths) if scan.flags[i] == SYMLINK]
            strangers = [work.location(path) / os.fsdecode(link) for link in links if link and _leaves(root, link)]
            if not strangers:
                return scan
        except StrangeFile as error:
            if error.place is None:
                raise
            strangers = [error.place]
        for place in strangers:
            target = move_aside(work.repo, place)
            shown = work.repo.display(place.relative_to(work.repo.root).as_posix())
            work.progress.warn(
                f"{quote(shown)}, which no version can hold, was moved away; to put it back: mv {word(str(target))} {word(shown)}"
            )


def _leaves(root: bytes, link: bytes) -> bool:
    target = os.readlink(root + b"/" + link)
    return symlink_problem(link, inner_target(root, link, target)) is not None


def _relink(work: Workspace, want: Entries, have: Snapshot, todo: CheckoutPlan, *, link: bool) -> None:
    """Plans to write those large files again that are right, and no hard link into the cache though they should be, or the reverse.

    Where blocks can be shared, all that are no hard links are: nothing says which of them share theirs.
    """
    shares = "reflink" in work.repo.config.links and files.can_share_blocks(have.scan.root.parent, work.cache.folder)
    kept = list(todo.keep)
    todo.keep.clear()
    for i, j in kept:
        digest, is_large = (
            want.digest(i),
            want.flags[i] & KIND_MASK == FILE and want.sizes[i] > work.cache.pack_below_bytes,
        )
        if is_large and work.cache.has_large(digest, want.sizes[i]):
            should = link and not want.flags[i] & EXECUTABLE
            cached = os.stat(work.cache.large_path(digest))
            inner = os.fsdecode(have.scan.paths[j])
            now = os.lstat(have.scan.root / inner if inner else have.scan.root)
            if os.path.samestat(cached, now) != should or (shares and not should):
                todo.write.append(i)
                todo.replace[i] = j
                continue
        todo.keep.append((i, j))
    todo.write[:] = array("I", sorted(todo.write))


def _require_space(work: Workspace, path: str, want: Entries, todo: CheckoutPlan, *, link: bool) -> None:
    limit = work.cache.pack_below_bytes
    small = large = 0
    for i in todo.write:
        if want.sizes[i] <= limit:
            small += want.sizes[i]
        elif not link or want.flags[i] & EXECUTABLE:
            large += want.sizes[i]
    folder = files.existing_folder(work.location(path).parent)
    if large and files.can_share_blocks(folder, work.cache.folder):
        large = 0
    files.require_space(folder, small + large, work.repo.display(path))


def _save(work: Workspace, path: str, have: Snapshot, todo: CheckoutPlan) -> tuple[str, ...]:
    """Stores what `--force` is about to overwrite, as a version of its own with a pointer in git's directory."""
    earlier = EarlierVersions(work, path, have)
    lost = [j for j in _endangered(have, todo) if not earlier.has(j)]
    if not lost:
        return ()
    part = _part(have, lost)
    tree = manifest.build(part.entries()) if have.scan.paths != [b""] else None
    if tree is None:
        saved = Pointer("file", part.digest(0), part.scan.sizes[0])
    else:
        saved = Pointer("directory", tree.root, tree.size_bytes, tree.files)
    target = save_pointer(work.repo, path, saved)  # first: once the cache has the bytes, nothing else would name them
    _store(work, path, part, tree)
    if tree is None and part.scan.flags[0] == SYMLINK:  # its content is where it leads, and `get` would write a file
        link = os.readlink(work.location(path))
        work.progress.warn(
            f"{quote(path)} was a symbolic link; to put it back: ln -sfn {word(link)} {word(work.repo.display(path))}"
        )
        return (_shown(path, b""),)
    work.progress.warn(
        f"local changes of {quote(path)} are kept as {target.name}; to get them back: dvlite get {word(str(target))} -o FOLDER"
    )
    return tuple(_shown(path, part.scan.paths[i]) for i in range(min(len(lost), _EXAMPLES)))


def _endangered(have: Snapshot, todo: CheckoutPlan) -> list[int]:
    """Returns the files on disk that are going to be replaced or removed."""
    return [j for j in sorted({*todo.replace.values(), *todo.remove}) if have.scan.flags[j] != EMPTY_DIR]


def _put_back(work: Workspace, path: str, have: Snapshot) -> bool:
    """Stores data that is exactly the version checked out last and that the cache lost, so that it may be replaced; returns whether it is that."""
    versions = work.versions_here(path)
    version = from_oid(versions[0]) if versions else None
    if version is None or not is_exactly(work, version, have.entries()) or purged_in(work.cache, path, have.entries()):
        return False
    _store(work, path, have, None if version.kind == "file" else manifest.build(have.entries()))
    return True


def _store(work: Workspace, path: str, have: Snapshot, tree: manifest.Tree | None) -> None:
    """Stores files, and the listing of a directory. Raises FileChanged."""
    with Writer(work.cache, work.progress) as writer:
        reader = CachingReader(work.cache, writer, files.existing_folder(work.location(path).parent), f"keeping {path}")
        stored = identify(have.scan, None, work.progress, reader)
        for digest, data in tree.nodes if tree else ():
            writer.put(KIND_MANIFEST, digest, data)
        writer.commit()
    if stored.digests != have.digests:
        raise FileChanged(
            f"cannot check out {quote(path)}: it changed while it was read",
            hint="run the command again when nothing writes to it",
        )


def _replace_kind(
    work: Workspace, path: str, wanted: Pointer, patterns: Sequence[str], how: CheckoutOptions
) -> Restored:
    """Restores a directory where a file is, or the reverse: what is there is removed only if all of it is in the cache."""
    scan = work.scan(path)
    assert scan is not None
    work.wanted(wanted)  # before anything is removed: its listing must be here
    have = identify(scan, None, work.progress)
    safe = is_earlier_version(work, path, have)
    if not safe and not how.force:
        return Restored(CheckedOutPath(path=path, conflicts=(path,)))
    if not safe:
        _save(work, path, have, CheckoutPlan(remove=list(range(len(have.scan.paths)))))
    remove_tree(work, path, have)
    return restore(work, path, wanted, patterns, how)


def remove_tree(work: Workspace, path: str, have: Snapshot) -> bool:
    """Removes the files of a snapshot, and the folders that this empties; returns whether nothing was left."""
    above, _, name = os.fsencode(path).rpartition(b"/")
    with Folders(work.repo.root, above) as folders:
        if have.scan.paths == [b""]:
            remove_entry(name, folders.top, have.scan, 0)
            return not files.is_there(work.location(path))
        with Folders(work.repo.root, os.fsencode(path)) as inside:
            remove_entries(inside, have.scan, range(len(have.scan.paths)))
        try:
            os.rmdir(name, dir_fd=folders.top)
        except OSError:
            return False
    return True


def _remember(
    work: Workspace, path: str, wanted: Pointer, outcome: CheckoutOutcome, todo: CheckoutPlan, *, whole: bool
) -> None:
    complete = whole and not outcome.missing
    exact = not (todo.conflicts or todo.extra or outcome.damaged or outcome.blocked)
    if outcome.damaged or outcome.missing:  # else what could not be written would look like a deletion
        there = Snapshot(outcome.scan, bytearray(outcome.digests), outcome.racy, 0).entries()
        if whole and wanted.kind == "directory":
            work.note_version(path, format_oid(MANIFEST, manifest.build(there).root), whole=False)
    else:
        work.note_version(path, wanted.oid, whole=complete and exact, part=not whole)
    if complete:  # for a part, the next look merges old and new rows
        work.remember(path, wanted.digest if exact else NO_VERSION, outcome.scan, outcome.digests, outcome.racy)


def _result(
    path: str,
    want: Entries,
    have: Snapshot | None,
    todo: CheckoutPlan,
    outcome: CheckoutOutcome,
    saved: tuple[str, ...],
) -> CheckedOutPath:
    conflicts = [] if have is None else [have.scan.paths[j] for j in todo.conflicts]
    conflicts += outcome.blocked
    files_written = sum(want.flags[i] != EMPTY_DIR for i in todo.write)
    unwritten = len(outcome.damaged) + len(outcome.missing) + len(outcome.blocked)
    return CheckedOutPath(
        path=path,
        written=0 if outcome.abandoned else files_written - unwritten + len(todo.chmod),
        removed=len(todo.remove),
        kept=len(todo.keep),
        extra=len(todo.extra),
        written_bytes=0 if outcome.abandoned else sum(want.sizes[i] for i in todo.write),
        conflicts=tuple(_shown(path, inner) for inner in conflicts[:_EXAMPLES]),
        saved=saved,
        missing=tuple(_shown(path, want.paths[i]) for i in outcome.missing[:_EXAMPLES]),
    )


def _shown(path: str, inner: bytes) -> str:
    return f"{path}/{os.fsdecode(inner)}" if inner else path
