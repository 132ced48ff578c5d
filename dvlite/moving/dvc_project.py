"""What a work tree has of DVC: its files in git, read and checked, and where its data is. Changes nothing, contacts nothing."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.errors import FormatError, UsageError
from dvlite.files import read_regular, refused
from dvlite.formats import dvc_files
from dvlite.formats.dvc_files import DvcConfig, DvcFile, DvcLockedStage, DvcOut
from dvlite.paths import check_paths
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import why_untrackable
from dvlite.show import quote, some, word

_LIMIT_BYTES = 1 << 20
_CONFIG_FOLDER = ".dvc"


@dataclass(frozen=True, slots=True)
class DvcProject:
    """The files by path: `X.dvc`, `dvc.yaml` (as bytes), `dvc.lock`, `.dvcignore` (as bytes); and the config, with the files that it is from."""

    config: DvcConfig
    config_files: tuple[str, ...] = ()
    files: Mapping[str, DvcFile] = field(default_factory=dict)
    pipelines: Mapping[str, bytes] = field(default_factory=dict)
    locks: Mapping[str, Mapping[str, DvcLockedStage]] = field(default_factory=dict)
    ignores: Mapping[str, bytes] = field(default_factory=dict)


def read_project(repo: Repo) -> DvcProject:
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
    names = [name for name in repo.git.list_files(*wanted, untracked=True) if not name.startswith(f"{_CONFIG_FOLDER}/")]
    inner = [name for name in names if name.endswith(f"/{_CONFIG_FOLDER}/config")]
    if inner:
        folder = posixpath.dirname(posixpath.dirname(inner[0]))
        raise UsageError(
            f"DVC was initialised in {quote(folder)}, below the root of the repository, which cannot be imported",
            hint="move its .dvc folder to the root with dvc itself, or make the folder a repository of its own",
        )
    if not any(name.endswith((dvc_files.SUFFIX, dvc_files.PIPELINE_NAME)) for name in names):
        raise UsageError("there are no files of DVC here", hint="dvlite add PATH   tracks data that nothing tracks yet")
    config, config_files = _config(repo)
    read = {name: _read(repo, name) for name in names if _is_named(name)}
    base = posixpath.basename
    project = DvcProject(
        config,
        config_files,
        {name: dvc_files.parse_file(data, name) for name, data in read.items() if name.endswith(dvc_files.SUFFIX)},
        {name: data for name, data in read.items() if base(name) == dvc_files.PIPELINE_NAME},
        {name: dvc_files.parse_lock(data, name) for name, data in read.items() if base(name) == dvc_files.LOCK_NAME},
        {name: data for name, data in read.items() if base(name) == dvc_files.IGNORE_NAME},
    )
    changed = [name for name, _ in repo.git.changes(*(f":(literal){name}" for name in names))]
    if changed:
        raise UsageError(
            f"{some([quote(name) for name in changed])}: not as in the last commit",
            hint="commit first, so that git can undo the import: git add -A && git commit",
        )
    _check_places(project)
    return project


def placed(file: str, out: DvcOut) -> str:
    """Returns the path of an output relative to the root, for one of DVC's files."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), out.path))


def is_outside(out: DvcOut) -> bool:
    """Returns whether an output or dependency is not in the repository, by its own path: a URL, an absolute path."""
    return "://" in out.path or out.path.startswith(("/", "~"))


def folders(repo: Repo, project: DvcProject) -> list[Path]:
    """Returns where DVC's cache may be: `cache.dir`, and its own place."""
    own = repo.root / _CONFIG_FOLDER / "cache"
    chosen = project.config.cache
    return [Path(os.path.normpath(chosen)), own] if chosen else [own]


def _is_named(name: str) -> bool:
    names = (dvc_files.PIPELINE_NAME, dvc_files.LOCK_NAME, dvc_files.IGNORE_NAME)
    base = posixpath.basename(name)
    return base in names or (base.endswith(dvc_files.SUFFIX) and base != dvc_files.SUFFIX)


def _read(repo: Repo, name: str) -> bytes:
    data = repo.work_tree.read(name, _LIMIT_BYTES)
    if data is None:
        raise refused(name, "it is not on disk", hint=f"git checkout HEAD -- {word(name)}")
    return data


def _check_places(project: DvcProject) -> None:
    """Raises FormatError for data in a place where dvlite cannot track it, before anything is converted."""
    places: dict[str, str] = {}
    outs = ((file, out) for file, parsed in project.files.items() for out in parsed.outs if not is_outside(out))
    for file, out in outs:
        path = placed(file, out)
        reason = "it is outside the repository" if path.split("/")[0] == ".." else why_untrackable(path)
        if reason is not None:
            raise refused(file, f"{quote(path)} cannot be tracked, {reason}", hint=f"correct {word(file)}")
        try:
            check_paths([os.fsencode(path)])
        except (FormatError, UnicodeEncodeError) as error:
            raise refused(file, str(error), hint=f"correct {word(file)}") from None
        if path in places:
            raise refused(file, f"{quote(path)} is named by {quote(places[path])} too", hint=f"correct {word(file)}")
        places[path] = file


def _config(repo: Repo) -> tuple[DvcConfig, tuple[str, ...]]:
    """Returns the config, what comes later shadowing what came before; relative places start at the folder of their file."""
    home = repo.environ.get("XDG_CONFIG_HOME") or os.path.join(repo.environ.get("HOME", ""), ".config")
    merged, names = DvcConfig(), []
    of_user = Path(home) / "dvc" / "config"
    layers = [(of_user, read_regular(of_user, str(of_user), _LIMIT_BYTES, follow=True))]
    for name in (f"{_CONFIG_FOLDER}/config", f"{_CONFIG_FOLDER}/config.local"):
        layers.append((repo.root / name, repo.work_tree.read(name, _LIMIT_BYTES)))
    for path, data in layers:
        if data is None:
            continue
        names.append(str(path))
        layer = dvc_files.parse_config(data, str(path))
        remotes = {name: dict(options) for name, options in merged.remotes.items()}
        for name, options in layer.remotes.items():
            url = options.get("url", "")
            is_folder = url and "://" not in url
            more = {"url": os.path.normpath(path.parent / url)} if is_folder else {}
            remotes[name] = {**remotes.get(name, {}), **options, **more}
        cache = os.path.normpath(path.parent / layer.cache) if layer.cache else merged.cache
        merged = DvcConfig(cache, layer.remote or merged.remote, remotes)
    return merged, tuple(names)
