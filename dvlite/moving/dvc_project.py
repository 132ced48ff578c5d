"""What a work tree has of DVC: its files in git, read and checked, and where its data is. Changes nothing, contacts nothing."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dvlite.errors import UsageError
from dvlite.files import is_there, refused
from dvlite.formats import dvc_files
from dvlite.formats.dvc_files import DvcConfig, DvcFile, DvcLockedStage, DvcOut
from dvlite.formats.pipeline import FILE_NAME as PIPELINE_NAME
from dvlite.formats.pointer import SUFFIX
from dvlite.repo import ignore
from dvlite.repo.dvc_version import FOLDER, DvcVersion, check_places, config_of, is_outside
from dvlite.repo.repository import Repo
from dvlite.show import quote, some, word


@dataclass(frozen=True, slots=True)
class DvcProject:
    """The files by path: `X.dvc`, `dvc.yaml` (as bytes), `dvc.lock`, `.dvcignore` (as bytes); and the config."""

    config: DvcConfig
    files: Mapping[str, DvcFile] = field(default_factory=dict)
    pipelines: Mapping[str, bytes] = field(default_factory=dict)
    locks: Mapping[str, Mapping[str, DvcLockedStage]] = field(default_factory=dict)
    ignores: Mapping[str, bytes] = field(default_factory=dict)


def read_project(repo: Repo, *, may_be_empty: bool = False) -> DvcProject:
    """Reads the files of DVC in a work tree. Raises UsageError where there are none, FormatError for one that cannot be read."""
    wanted = (
        "*.dvc",
        "dvc.yaml",
        "*/dvc.yaml",
        "dvc.lock",
        "*/dvc.lock",
        ".dvcignore",
        "*/.dvcignore",
        "*/.dvc/config",
    )
    names = [name for name in repo.git.list_files(*wanted, untracked=True) if not name.startswith(f"{FOLDER}/")]
    inner = [name for name in names if name.endswith(f"/{FOLDER}/config")]
    if inner:
        folder = posixpath.dirname(posixpath.dirname(inner[0]))
        raise UsageError(
            f"DVC was initialised in {quote(folder)}, below the root of the repository, which cannot be imported",
            hint="move its .dvc folder to the root with dvc itself, or make the folder a repository of its own",
        )
    if not may_be_empty and not any(name.endswith((dvc_files.SUFFIX, dvc_files.PIPELINE_NAME)) for name in names):
        raise UsageError("there are no files of DVC here", hint="dvlite add PATH   tracks data that nothing tracks yet")
    stopped = _taken_by_a_stopped_import(repo, names)
    read = {name: _read(repo, name, stopped.get(name)) for name in names if is_named(name)}
    base = posixpath.basename
    project = DvcProject(
        config_of(DvcVersion({}, root=str(repo.root)), repo.environ),
        {name: dvc_files.parse_file(data, name) for name, data in read.items() if name.endswith(dvc_files.SUFFIX)},
        {name: data for name, data in read.items() if base(name) == dvc_files.PIPELINE_NAME},
        {name: dvc_files.parse_lock(data, name) for name, data in read.items() if base(name) == dvc_files.LOCK_NAME},
        {name: data for name, data in read.items() if base(name) == dvc_files.IGNORE_NAME},
    )
    changed = [name for name, _ in repo.git.changes(*(f":(literal){name}" for name in names)) if name not in stopped]
    if changed:
        raise UsageError(
            f"{some([quote(name) for name in changed])}: not as in the last commit",
            hint="commit first, so that git can undo the import: git add -A && git commit",
        )
    check_places((file, out) for file, parsed in project.files.items() for out in parsed.outs)
    return project


def why_left(parsed: DvcFile) -> str:
    """Returns why what an `X.dvc` tracks cannot be carried, '' if it can."""
    return next(filter(None, (_why_not(out, parsed) for out in parsed.outs)), "" if parsed.outs else "it names no data")


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


def is_named(name: str) -> bool:
    """Returns whether a file is one of DVC's, by its name."""
    names = (dvc_files.PIPELINE_NAME, dvc_files.LOCK_NAME, dvc_files.IGNORE_NAME)
    base = posixpath.basename(name)
    return base in names or (base.endswith(dvc_files.SUFFIX) and base != dvc_files.SUFFIX)


def _taken_by_a_stopped_import(repo: Repo, names: Iterable[str]) -> dict[str, str]:
    """Returns the blobs in git's index of files that are gone from disk, where what takes their place is there."""
    gone = {name for name in names if not is_there(repo.root / name) and is_there(repo.root / _counterpart(name))}
    return {entry.path: entry.blob for entry in repo.git.list_index() if entry.path in gone} if gone else {}


def _counterpart(name: str) -> str:
    """Returns the file of dvlite that takes the place of one of DVC's."""
    folder, base = posixpath.split(name)
    if base in (dvc_files.PIPELINE_NAME, dvc_files.LOCK_NAME):
        return posixpath.join(folder, PIPELINE_NAME)
    return ignore.FILE_NAME if base == dvc_files.IGNORE_NAME else name.removesuffix(dvc_files.SUFFIX) + SUFFIX


def _read(repo: Repo, name: str, blob: str | None) -> bytes:
    limit_bytes = dvc_files.limit_of(name)
    data = repo.work_tree.read(name, limit_bytes)
    if data is None and blob is not None:
        data = repo.git.read_blobs([blob], limit_bytes=limit_bytes)[blob]
    if data is None:
        raise refused(name, "it is not on disk", hint=f"git checkout HEAD -- {word(name)}")
    return data
