"""`dvlite mv`: moves a tracked path with its data, its pointer and what is known of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dvlite import files
from dvlite.errors import DvliteError, UsageError
from dvlite.files import holds
from dvlite.formats.pointer import LIMIT_BYTES, SUFFIX, Pointer
from dvlite.oid import Oid
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked, why_untrackable
from dvlite.results import Result
from dvlite.show import quote, word
from dvlite.workspace.add_checks import refuse_ignored
from dvlite.workspace.dirfd import remove_empty_folders
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.overwrite_safety import is_exactly
from dvlite.workspace.path_args import refuse_outputs, select, usable
from dvlite.workspace.workspace import NO_VERSION, Workspace


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MvResult(Result):
    """A tracked path under its new name."""

    schema: ClassVar[str] = "dvlite.mv/1"
    source: str
    target: str
    staged: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()  # stages whose lockfile entry is out of date by this
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Move:
    """From where to where; `pointer` are the bytes of the pointer file, the user's part included. `moved`: the data, by the user already."""

    source: str
    target: str
    pointer: bytes
    resumed: bool = False
    moved: Pointer | None = None


def mv(repo: Repo, source: str, target: str, *, stage: bool = True, progress: Progress) -> MvResult:
    """Moves a tracked path to a new name, or into a folder that exists.

    The new pointer is written first and the old one goes last, so whatever a killed run leaves, running it again completes it and
    `checkout` makes whole. Raises UsageError, with nothing done, for a target that exists or cannot be tracked.
    """
    with repo.lock(progress):
        done = _left_to_stage(repo, source, target)
        if done is not None:
            changed = [done[0] + SUFFIX, done[1] + SUFFIX, *repo.unstaged_ignore_files(done)]
            staged = repo.stage(changed, enabled=stage)
            return _moved(repo, done, changed, staged)
        work = Workspace(repo, open_cache(repo), progress)
        move = _settle(work, usable(repo, [source], progress.warn, whole=True), source, target)
        repo.forget_ignored([move.source], write=False)
        (repo.root / move.target).parent.mkdir(parents=True, exist_ok=True)
        written = repo.ensure_ignored([move.target])
        resumed = move.resumed or not written  # a killed run may have changed them, and not got to stage them
        files.write_atomic(repo.root / (move.target + SUFFIX), move.pointer)
        _move_data(work, move)
        written += repo.forget_ignored([move.source])
        work.forget(move.source)
        for path in (move.target, move.source):  # before the old pointer goes: a power cut leaves one of the two names
            files.sync_above(repo.root / path, repo.root)
        os.unlink(repo.root / (move.source + SUFFIX))
        files.sync_path((repo.root / move.source).parent)
        remove_empty_folders(repo.root, repo.cwd, move.source)
        if resumed:
            written += repo.unstaged_ignore_files([move.source, move.target])
        changed = [move.source + SUFFIX, move.target + SUFFIX, *dict.fromkeys(written)]
        staged = repo.stage(changed, enabled=stage)
        return _moved(repo, (move.source, move.target), changed, staged)


def _moved(repo: Repo, move: tuple[str, str], changed: Sequence[str], staged: tuple[str, ...]) -> MvResult:
    return MvResult(
        source=move[0],
        target=move[1],
        staged=staged,
        readers=repo.work_tree.readers_of(dict.fromkeys(move, "")),
        unstaged=repo.left_to_stage(changed, staged),
    )


def _left_to_stage(repo: Repo, source: str, target: str) -> tuple[str, str] | None:
    """Returns both paths of a move that was stopped when all was done but git's index: it has the old pointer, and the disk the same one under the new name."""
    path, wanted = repo.relative(source).removesuffix(SUFFIX), repo.relative(target).removesuffix(SUFFIX)
    if files.is_there(repo.root / (path + SUFFIX)) or not repo.git.tracked_under([path + SUFFIX]):
        return None
    blob = next((entry.blob for entry in repo.git.list_index() if entry.path == path + SUFFIX), None)
    data = None if blob is None else dict(repo.git.blobs_within({blob: LIMIT_BYTES})).get(blob)
    for place in (wanted, f"{wanted}/{path.rpartition('/')[2]}".lstrip("/")):
        if data is not None and place != path and holds(repo.root / (place + SUFFIX), data):
            return path, place
    return None


def _settle(work: Workspace, tracked: Sequence[Tracked], source: str, target: str) -> _Move:
    """Returns the move that the arguments mean; raises UsageError if it is not allowed."""
    repo = work.repo
    items = [item for item, _ in select(repo, tracked, [source], inside=False)]
    refuse_outputs(repo, items, "rename")
    chosen = [item.path for item in items]
    path = repo.relative(source).removesuffix(SUFFIX)
    if path not in chosen:
        raise UsageError(
            f"{quote(source)} is not a tracked path, it has {len(chosen)} below it",
            hint=f"move them one by one, for example: dvlite mv {word(repo.display(chosen[0]))} TARGET",
        )
    data = repo.work_tree.read(path + SUFFIX)
    if data is None:
        raise UsageError(f"{quote(source)} no longer has a pointer", hint="see what is tracked: dvlite ls")
    wanted = repo.relative(target)
    if wanted.endswith(SUFFIX) and source.endswith(SUFFIX):
        wanted = wanted.removesuffix(SUFFIX)
    name = path.rpartition("/")[2]
    into = f"{wanted}/{name}" if wanted else name
    for place in (wanted, into):
        if place != path and _was_interrupted(repo, path, place, data):
            return _Move(path, place, data, resumed=True)
    version = next(item.pointer for item in items if item.path == path)
    for place in (wanted, into):
        if place and _was_moved_by_hand(work, path, place, version):
            _refuse(repo, path, place, [item.path for item in tracked], data_is_there=True)
            return _Move(path, place, data, moved=version)
    if not wanted or os.path.isdir(repo.root / wanted):
        wanted = into
    elif target.endswith("/"):
        raise UsageError(f"cannot move to {quote(target)}: there is no such folder", hint=f"mkdir -p {word(target)}")
    inside = next((item for item in tracked if item.lockfile and wanted.startswith(item.path + "/")), None)
    if inside is not None:
        raise UsageError(
            f"cannot move to {quote(repo.display(wanted))}: it is inside {quote(repo.display(inside.path))}, an output of the stage {inside.stage}",
            hint="choose another target",
        )
    _refuse(repo, path, wanted, [item.path for item in tracked])
    return _Move(path, wanted, data)


def _was_moved_by_hand(work: Workspace, source: str, target: str, version: Pointer) -> bool:
    """Returns whether the data is not at its path, and exactly its version is at the target."""
    if files.is_there(work.location(source)) or not files.is_there(work.location(target)):
        return False
    scan = work.scan(target)
    return scan is not None and is_exactly(work, version, identify(scan, None, work.progress).entries())


def _was_interrupted(repo: Repo, source: str, target: str, data: bytes) -> bool:
    """Returns whether a killed run of this same move left the target's pointer: git does not track it, and only one path has data."""
    pointer_file = repo.root / (target + SUFFIX)
    return (
        bool(target)
        and holds(pointer_file, data)
        and not _are_two(repo.root / source, repo.root / target)
        and not repo.git.tracked_under([target + SUFFIX])
    )


def _are_two(source: Path, target: Path) -> bool:
    """Returns whether both names have data of their own; a killed move may leave one file under both names."""
    if not (files.is_there(source) and files.is_there(target)):
        return False
    return source.is_dir() or not os.path.samestat(os.lstat(source), os.lstat(target))


def _refuse(repo: Repo, source: str, target: str, tracked: Sequence[str], *, data_is_there: bool = False) -> None:
    shown = quote(repo.display(target))
    reason = why_untrackable(target)
    if reason is not None:
        raise UsageError(f"cannot move to {shown}: {reason}", hint="choose another name")
    above = next((path for path in tracked if target.startswith(path + "/")), None)
    if above == source:
        raise UsageError(f"cannot move {quote(repo.display(source))} into itself", hint="choose another target")
    if above is not None:
        raise UsageError(
            f"cannot move to {shown}: it is inside {quote(repo.display(above))}, which is tracked",
            hint=f"to make it part of that: dvlite rm --cached {word(repo.display(source))}, move it with mv, dvlite add {word(repo.display(above))}",
        )
    for path in (target + SUFFIX,) if data_is_there else (target, target + SUFFIX):
        if files.is_there(repo.root / path):
            hint = "choose another name, or remove it"
            if not files.is_there(repo.root / source):
                hint = f"if that is its data, changed: dvlite add {word(repo.display(target))}; dvlite rm {word(repo.display(source))}"
            if data_is_there:
                hint = f"to stop tracking the old name: dvlite rm {word(repo.display(source))}"
            raise UsageError(f"cannot move to {shown}: {quote(repo.display(path))} exists", hint=hint)
    in_git = repo.git.tracked_under([target, target + SUFFIX])
    if in_git:
        raise UsageError(
            f"cannot move to {shown}: git tracks {quote(repo.display(in_git[0]))}",
            hint=f"git rm -r -q --cached {word(repo.display(in_git[0]))}",
        )
    refuse_ignored(repo, [target + SUFFIX], "cannot move the data to")


def _move_data(work: Workspace, move: _Move) -> None:
    """Renames the data, if it is on disk, and its stat index, patterns and versions with it."""
    patterns = work.sparse.get(move.source, ())
    if patterns:
        work.set_sparse(move.target, patterns)
    if move.moved is not None:
        work.note_version(move.target, move.moved.oid, whole=True)
    scan = work.scan(move.source)
    if scan is None:
        return
    version = work.vouched(move.source, scan) or NO_VERSION
    have = identify(scan, work.stat_rows(move.source), work.progress)
    try:
        _rename_to_free_name(work.location(move.source), work.location(move.target))
    except FileExistsError as error:
        raise DvliteError(
            f"cannot move to {quote(move.target)}: something appeared there", hint="choose another name"
        ) from error
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise DvliteError(
                f"cannot move {quote(move.source)}: {quote(move.target)} is on another disk",
                hint=f"run: mv {word(move.source)} {word(move.target)}; then dvlite add {word(move.target)} and dvlite rm {word(move.source)}",
            ) from None
        raise files.os_error(error, "move", work.location(move.source)) from error
    if have.scan.paths == [b""]:
        have.racy[0] |= not _adopt_change_time(work, move.target, have)
    for version_here in reversed(work.versions_here(move.source)):
        work.note_version(move.target, Oid(version_here), whole=False)
    work.remember(move.target, version, have.scan, have.digests, have.racy)


def _rename_to_free_name(source: Path, target: Path) -> None:
    """Renames without ever replacing a file; a folder replaces at most an empty folder."""
    if source.is_dir():
        os.rename(source, target)
        return
    if not files.is_there(target) or _are_two(source, target):
        os.link(source, target, follow_symlinks=False)
    os.unlink(source)


def _adopt_change_time(work: Workspace, target: str, have: Snapshot) -> bool:
    """Takes over the change time that renaming gave a file; returns False if it may have changed meanwhile."""
    path = work.location(target)
    changed = os.lstat(path).st_ctime_ns
    files.wait_out(changed, files.racy_window_ns(path.parent))
    now = os.lstat(path)
    before = (have.scan.sizes[0], have.scan.mtimes[0], have.scan.inodes[0])
    if (now.st_size, now.st_mtime_ns, now.st_ino) != before or now.st_ctime_ns != changed:
        return False
    have.scan.ctimes[0] = now.st_ctime_ns
    return True
