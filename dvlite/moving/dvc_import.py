"""Turns a work tree of DVC into one of dvlite: data first, then the files that name it, then DVC's own files go.

What cannot be carried is named with its reason, and its file stays. Stopped anywhere, git undoes it: DVC's files were committed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dvlite import files
from dvlite.errors import UsageError
from dvlite.formats import dvc_files, pointer
from dvlite.formats.dvc_files import DvcFile, DvcOut
from dvlite.formats.pointer import SUFFIX
from dvlite.moving.dvc_pipelines import Locker, MovedPipeline, convert
from dvlite.moving.dvc_project import DvcProject, folders, is_outside, placed
from dvlite.moving.dvc_versions import DvcVersions, with_notes
from dvlite.moving.taken_over import TakenOver, nowhere_whole
from dvlite.pipeline.run_record import Author
from dvlite.progress import Progress
from dvlite.repo import ignore
from dvlite.repo.dvc_remote import DvcRemote
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import overlap
from dvlite.show import quote, word
from dvlite.store.cache_writer import Writer
from dvlite.store.dvc_objects import DvcObjects, DvcPlace, Folder
from dvlite.workspace import unpushed


@dataclass(slots=True)
class Moved:
    """What becomes of a work tree. `left`: what could not be carried, with the reason; `notes`: what of something else was lost. `removed` are files of DVC, `written` those of dvlite."""

    paths: list[TakenOver] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def move(
    repo: Repo, project: DvcProject, made_by: Author, *, allow_missing: bool, dry_run: bool, progress: Progress
) -> Moved:
    """Takes the data into the cache and writes the files; with `dry_run`, does neither. The caller holds the lock of the work tree.

    Raises ObjectMissing or ObjectCorrupt, with no file written, for data that is nowhere whole, unless that is allowed.
    """
    moved = Moved()
    tracked = _tracked(project, moved)
    pipelines = convert(repo, project)
    moved.notes += [note for one in pipelines for note in one.notes]
    _refuse_twice(repo, tracked, pipelines)
    made = {one.source: _made(one) for one in pipelines}
    outs = [row for rows in (*tracked.values(), *made.values()) for row in rows]
    if dry_run:
        moved.paths = [
            TakenOver(path, file, out.size_bytes, out.files)
            for file, rows in (*tracked.items(), *made.items())
            for path, out in rows
        ]
        moved.stages = [stage.stage.address for one in pipelines for stage in one.stages]
        moved.removed = [*tracked, *project.pipelines, *project.locks]
        return moved
    repo.ensure_ignored([path for path, _ in outs], write=False)
    versions = DvcVersions()
    total_bytes, total_files = sum(out.size_bytes for _, out in outs), sum(out.files for _, out in outs)
    progress.start("importing", total_bytes=total_bytes, total_files=total_files)
    with Writer(open_cache(repo), progress) as writer:
        places: list[DvcPlace] = [Folder(folder) for folder in folders(repo, project)]
        with (
            contextlib.closing(
                DvcRemote(repo.config, repo.root, project.config, writer.cache.folder / "tmp")
            ) as remote,
            contextlib.closing(DvcObjects([*places, remote], writer, progress)) as objects,
        ):
            versions.take(outs, objects, writer)
        progress.finish()
        if versions.lost and not allow_missing:
            raise nowhere_whole(
                versions.lost,
                "neither DVC's cache nor its default remote has it whole; to leave it to DVC: dvlite import-dvc --allow-missing",
            )
        writer.commit()
        # While the writer's lock is held: no garbage collection can come between data and pointers.
        kept = [path for rows in tracked.values() for path, _ in rows if path in versions.pointers]
        moved.written += repo.ensure_ignored(kept)
        for file, rows in tracked.items():
            _write_pointers(repo, project, file, rows, versions, moved)
        _drop_links(repo, folders(repo, project), versions.pointers)
        _write_pipelines(repo, pipelines, Locker(repo, versions, made_by, progress), moved)
    moved.removed += [*project.pipelines, *project.locks]
    _take_over_ignores(repo, project, moved)
    for file in moved.removed:
        os.unlink(repo.root / file)
    return moved


def _tracked(project: DvcProject, moved: Moved) -> dict[str, list[tuple[str, DvcOut]]]:
    """Returns what each `X.dvc` tracks that can be carried, with its path; notes why the others cannot."""
    tracked: dict[str, list[tuple[str, DvcOut]]] = {}
    for file, parsed in project.files.items():
        reason = next(filter(None, (_why_not(out, parsed) for out in parsed.outs)), "")
        if reason or not parsed.outs:
            moved.left[file] = reason or "it names no data"
        else:
            tracked[file] = [(placed(file, out), out) for out in parsed.outs]
    return tracked


def _made(one: MovedPipeline) -> list[tuple[str, DvcOut]]:
    """Returns what the stages of a pipeline made that DVC has stored, with its path."""
    pairs = [pair for stage in one.stages for pair in stage.outs()]
    return [(out.path, theirs) for out, theirs in pairs if out.spec.cache and theirs.md5]


def _refuse_twice(
    repo: Repo, tracked: Mapping[str, Sequence[tuple[str, DvcOut]]], pipelines: Sequence[MovedPipeline]
) -> None:
    """Raises UsageError for files in the way, and for two paths of which one lies inside the other."""
    for one in pipelines:
        if files.is_there(repo.root / one.file):
            raise UsageError(f"{quote(one.file)} is there already", hint=f"move its stages into {one.source}, or away")
    both = repo.git.tracked_under([path + SUFFIX for rows in tracked.values() for path, _ in rows])
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


def _why_not(out: DvcOut, parsed: DvcFile) -> str:
    if parsed.has_command:
        return "it is a stage of DVC 0.x, which DVC 1 to 3 turn into one of dvc.yaml"
    if is_outside(out):
        return "its data is outside the repository"
    if out.is_elsewhere:
        return "its data is in a bucket with versions, under its own names: dvc pull, then dvlite add"
    if not out.md5:
        return "DVC has not stored its data: dvc commit, then import again"
    return "" if out.cache else "git keeps its data"


def _write_pointers(
    repo: Repo, project: DvcProject, file: str, rows: list[tuple[str, DvcOut]], versions: DvcVersions, moved: Moved
) -> None:
    """Writes the pointers of what an `X.dvc` tracks, if all of it was taken."""
    lost = [path for path, _ in rows if path in versions.lost]
    if lost:
        moved.left[file] = versions.lost[lost[0]].message
        return
    for path, out in rows:
        new, reason = with_notes(versions.pointers[path], out, project.files[file].source, repo)
        if reason:
            moved.notes.append(f"{file}: where it is from could not be recorded: {reason}")
        files.write_atomic(repo.root / (path + SUFFIX), pointer.dump(new))
        unpushed.note(repo, new.oid)
        moved.paths.append(TakenOver(path, file, new.size_bytes, new.files, new.oid))
        moved.written.append(path + SUFFIX)
    moved.removed.append(file)


def _write_pipelines(repo: Repo, pipelines: Sequence[MovedPipeline], locker: Locker, moved: Moved) -> None:
    """Writes the pipeline files and lockfiles; what is up to date is found out by what is in place."""
    versions, locks = locker.versions, locker.lockfiles(pipelines)
    for one in pipelines:
        paths = [path for path, _ in _made(one)]
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
    moved.notes += locker.notes


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
        if lines and ignore.add_lines(repo.root / ignore.FILE_NAME, lines):
            moved.written.append(ignore.FILE_NAME)
        moved.removed.append(file)
