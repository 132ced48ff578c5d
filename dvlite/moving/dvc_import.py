"""Turns a work tree of DVC into one of dvlite: data first, then the files that name it, then DVC's own files go.

What cannot be carried is named with its reason, and its file stays. Stopped anywhere, git undoes it: DVC's files were committed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dvlite import files
from dvlite.errors import FormatError, UsageError
from dvlite.formats import dvc_files
from dvlite.formats.dvc_files import DvcOut
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.moving.dvc_history import DvcHistory
from dvlite.moving.dvc_pipelines import Locker, MovedPipeline, convert
from dvlite.moving.dvc_project import DvcProject, why_left
from dvlite.moving.dvc_runs import DvcRuns, Voucher
from dvlite.moving.dvc_versions import DvcTaker, DvcVersions, with_notes
from dvlite.moving.taken_over import TakenOver, nowhere_whole
from dvlite.pipeline.content import Contents
from dvlite.pipeline.known_data import as_output
from dvlite.pipeline.outputs import store_file
from dvlite.pipeline.run_record import Author, Recorder
from dvlite.progress import Progress
from dvlite.repo import ignore
from dvlite.repo.dvc_remote import DvcRemote
from dvlite.repo.dvc_version import caches, placed
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import WORK_TREE, Revision
from dvlite.repo.tracked_paths import Tracked, overlap
from dvlite.runs.records import open_records
from dvlite.show import quote, word
from dvlite.store.cache_writer import Writer
from dvlite.store.dvc_objects import DvcObjects, DvcPlace, Folder
from dvlite.workspace import unpushed
from dvlite.workspace.add_checks import refuse_ignored
from dvlite.workspace.adder import write_pointers
from dvlite.workspace.workspace import Workspace

_NOWHERE = "neither DVC's cache nor its remotes have it whole; to leave it to DVC: dvlite import-dvc --allow-missing"


@dataclass(slots=True)
class Moved:
    """What becomes of a work tree. `left`: what could not be carried, with the reason; `notes`: what of something else was lost. `removed` are files of DVC, `written` those of dvlite; `copies`: of how many commits."""

    paths: list[TakenOver] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    copies: int = 0


def move(
    repo: Repo,
    project: DvcProject,
    made_by: Author,
    *,
    history: DvcHistory | None = None,
    allow_missing: bool,
    dry_run: bool,
    progress: Progress,
) -> Moved:
    """Takes the data into the cache and writes the files; with `dry_run`, does neither. The caller holds the lock of the work tree.

    Raises ObjectMissing or ObjectCorrupt, with no file written, for data that is nowhere whole, unless that is allowed.
    """
    moved = Moved()
    tracked = _tracked(project, moved)
    pipelines = [convert(repo.work_tree, project, source) for source in project.pipelines]
    moved.notes += [note for one in pipelines for note in one.notes]
    _refuse_twice(repo, tracked, pipelines)
    before = DvcHistory(repo, (), progress) if history is None else history
    before.survey()
    if dry_run:
        return _planned(moved, project, tracked, pipelines, before)
    outs = [row for rows in (*tracked.values(), *(one.made() for one in pipelines)) for row in rows]
    repo.ensure_ignored([path for path, _ in outs], write=False)
    every = {(out.md5, out.old): out for out in [*(out for _, out in outs), *(out for *_, out in before.outs)]}
    total_bytes, total_files = sum(out.size_bytes for out in every.values()), sum(out.files for out in every.values())
    progress.start("importing", total_bytes=total_bytes, total_files=total_files)
    named = [*(out.remote for _, out in outs), *(name for one in pipelines for name in one.remotes), *before.remotes]
    with Writer(open_cache(repo), progress) as writer, _taking(repo, project, named, writer, progress) as taker:
        versions = taker.take(outs)
        lost = before.take(taker, writer)
        progress.finish()
        for path, error in versions.lost.items():
            if isinstance(error, FormatError):
                raise FormatError(
                    f"cannot import {quote(path)}: {error.message}; no file was changed",
                    hint="dvc add it again from sound data, or dvc remove it, and commit",
                )
        if (versions.lost or lost) and not allow_missing:
            raise nowhere_whole(versions.lost | lost, _NOWHERE)
        writer.commit()
        # While the writer's lock is held: no garbage collection can come between data and what names it.
        runs = DvcRuns(open_records(repo, progress))
        moved.copies = before.write(taker, runs)
        moved.left |= before.left | {name: error.message for name, error in lost.items()}
        kept = [path for rows in tracked.values() for path, _ in rows if path in versions.pointers]
        moved.written += repo.ensure_ignored(kept)
        pointers: dict[str, Pointer] = {}
        for file, rows in tracked.items():
            pointers |= _pointers(repo, project, file, rows, versions, moved)
        moved.written += write_pointers(repo, pointers, writer)
        _drop_links(repo, caches(repo.root, project.config), versions.pointers)
        locker = _locker(repo, pipelines, versions, made_by, runs)
        locks = locker.lockfiles(pipelines)
        runs.records.sync()
        _write_pipelines(repo, pipelines, versions, locks, moved)
        moved.notes += locker.notes
    moved.written += repo.unstaged_ignore_files([path for path, _ in outs])  # of a run that was stopped, too
    moved.removed += [*project.pipelines, *project.locks]
    _take_over_ignores(repo, project, moved)
    for file in moved.removed:
        (repo.root / file).unlink(missing_ok=True)
    return moved


def _planned(
    moved: Moved,
    project: DvcProject,
    tracked: Mapping[str, Sequence[tuple[str, DvcOut]]],
    pipelines: Sequence[MovedPipeline],
    history: DvcHistory,
) -> Moved:
    """Adds what would be done."""
    rows = [(file, row) for file, rows in tracked.items() for row in rows]
    rows += [(one.source, row) for one in pipelines for row in one.made()]
    moved.paths = [TakenOver(path, file, out.size_bytes, out.files) for file, (path, out) in rows]
    moved.stages = [stage.stage.address for one in pipelines for stage in one.stages]
    moved.removed = [*tracked, *project.pipelines, *project.locks]
    moved.left |= history.left
    moved.copies = history.used
    return moved


@contextlib.contextmanager
def _taking(
    repo: Repo, project: DvcProject, named: Iterable[str], writer: Writer, progress: Progress
) -> Iterator[DvcTaker]:
    """Yields what takes versions: out of DVC's caches, else out of its default remote, else out of those that outputs name."""
    with contextlib.ExitStack() as opened:
        places: list[DvcPlace] = [Folder(folder) for folder in caches(repo.root, project.config)]
        for name in project.config.searched(named):
            remote = DvcRemote(repo.config, repo.root, project.config, writer.cache.folder / "tmp", name)
            places.append(opened.enter_context(contextlib.closing(remote)))
        yield DvcTaker(opened.enter_context(contextlib.closing(DvcObjects(places, writer, progress))), writer)


def _locker(
    repo: Repo, pipelines: Iterable[MovedPipeline], versions: DvcVersions, made_by: Author, runs: DvcRuns
) -> Locker:
    """Returns what makes the lockfiles of the work tree, with the outputs that git keeps in the cache, as those of any run."""
    work = Workspace(repo, open_cache(repo), runs.records.progress)
    tracked = [Tracked(path, known) for path, known in versions.pointers.items()]
    contents = Contents(work, tracked, fetches=False)
    for path, known in versions.pointers.items():
        contents.assume(path, as_output(path, known))
    kept = [out.path for one in pipelines for each in one.stages for out in each.stage.outs if not out.spec.cache]
    for path in kept:
        here = contents.here(path)
        if here is not None:
            contents.know_outputs("", [here])
            if here.pointer().kind == "file":
                store_file(work, repo.root / path)
    at = Revision(repo.git, WORK_TREE, repo.display)
    recorder = Recorder(repo, work.cache, made_by, [*versions.pointers, *kept])
    return Locker(at, versions, contents, Voucher(runs, recorder, contents, at.read).vouch)


def _tracked(project: DvcProject, moved: Moved) -> dict[str, list[tuple[str, DvcOut]]]:
    """Returns what each `X.dvc` tracks that can be carried, with its path; notes why the others cannot."""
    tracked: dict[str, list[tuple[str, DvcOut]]] = {}
    for file, parsed in project.files.items():
        reason = why_left(parsed)
        if reason:
            moved.left[file] = reason
        else:
            tracked[file] = [(placed(file, out), out) for out in parsed.outs]
    return tracked


def _refuse_twice(
    repo: Repo, tracked: Mapping[str, Sequence[tuple[str, DvcOut]]], pipelines: Sequence[MovedPipeline]
) -> None:
    """Raises UsageError for files in the way, or which git ignores, and for two paths of which one lies inside the other."""
    for one in pipelines:
        if repo.work_tree.read(one.file) not in (None, one.data):  # a run that was stopped may have written it
            raise UsageError(f"{quote(one.file)} is there already", hint=f"move its stages into {one.source}, or away")
    pointers = [path + SUFFIX for rows in tracked.values() for path, _ in rows]
    lockfiles = [stage.stage.lockfile for one in pipelines for stage in one.stages]
    refuse_ignored(repo, [*pointers, *(one.file for one in pipelines), *lockfiles], "cannot write")
    both = repo.git.tracked_under(pointers)
    if both:
        raise UsageError(
            f"{quote(both[0])} is there already, so two tools track one path",
            hint=f"git rm --cached {word(both[0])}   or the file of DVC beside it",
        )
    outs = [out.path for one in pipelines for stage in one.stages for out in stage.stage.outs]
    pair = overlap([*outs, *(path for rows in tracked.values() for path, _ in rows)])
    if pair is not None:
        raise UsageError(
            f"{quote(pair[1])} lies inside {quote(pair[0])}, and both are data", hint="correct it with dvc"
        )


def _pointers(
    repo: Repo, project: DvcProject, file: str, rows: list[tuple[str, DvcOut]], versions: DvcVersions, moved: Moved
) -> dict[str, Pointer]:
    """Returns the pointers of what an `X.dvc` tracks, if all of it was taken."""
    lost = [path for path, _ in rows if path in versions.lost]
    if lost:
        moved.left[file] = versions.lost[lost[0]].message
        return {}
    pointers: dict[str, Pointer] = {}
    for path, out in rows:
        new, reason = with_notes(versions.pointers[path], out, project.files[file].source, repo)
        if reason:
            moved.notes.append(f"{file}: where it is from could not be recorded: {reason}")
        pointers[path] = new
        moved.paths.append(TakenOver(path, file, new.size_bytes, new.files, new.oid))
    moved.removed.append(file)
    return pointers


def _write_pipelines(
    repo: Repo,
    pipelines: Sequence[MovedPipeline],
    versions: DvcVersions,
    locks: Mapping[str, bytes],
    moved: Moved,
) -> None:
    """Writes the pipeline files and lockfiles."""
    for one in pipelines:
        paths = [path for path, _ in one.made()]
        for path in paths:
            if path in versions.lost:
                moved.left[path] = versions.lost[path].message
                continue
            new = versions.pointers[path]
            unpushed.note(repo, new.oid)
            moved.paths.append(TakenOver(path, one.source, new.size_bytes, new.files, new.oid))
        cached = [out.path for stage in one.stages for out in stage.stage.outs if out.spec.cache]
        moved.written += [name for name in repo.ensure_ignored(cached) if name not in moved.written]
        moved.stages += [stage.stage.address for stage in one.stages]
    for file, data in [*locks.items(), *((one.file, one.data) for one in pipelines)]:
        files.write_atomic(repo.root / file, data)
        moved.written.append(file)


def _drop_links(repo: Repo, caches: Sequence[Path], paths: Iterable[str]) -> None:
    """Removes links into DVC's cache, which has the bytes, from the places of data: no version holds such a link."""
    inside = tuple(os.path.realpath(cache) + os.sep for cache in caches)
    for path in paths:
        place = repo.root / path
        names = [place, *(Path(folder) / name for folder, _, names in os.walk(place) for name in names)]
        for name in names:
            target = os.path.join(os.path.realpath(name.parent), os.readlink(name)) if name.is_symlink() else ""
            if os.path.normpath(target).startswith(inside):
                name.unlink()


def _take_over_ignores(repo: Repo, project: DvcProject, moved: Moved) -> None:
    """Appends the patterns of `.dvcignore` to `.dvliteignore`: at the root only, for dvlite reads no other."""
    for file, data in project.ignores.items():
        if file != dvc_files.IGNORE_NAME:
            moved.left[file] = f"dvlite reads {ignore.FILE_NAME} at the root only: add its patterns there"
            continue
        lines = [line for line in data.split(b"\n") if line.strip() and not line.startswith(b"#")]
        if lines and (ignore.add_lines(repo.root / ignore.FILE_NAME, lines) or repo.git.unstaged([ignore.FILE_NAME])):
            moved.written.append(ignore.FILE_NAME)
        moved.removed.append(file)
