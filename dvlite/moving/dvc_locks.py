"""Makes `dvc.yaml` and `dvc.lock` out of dvlite's: what is up to date here is so for DVC.

DVC locks a dependency by its md5, which is computed from what stands in place now; what differs from what dvlite locked is not in it, so
that the stage is out of date as it was.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dvlite.errors import DvliteError
from dvlite.formats import dvc_files, dvc_pipeline
from dvlite.formats.dvc_files import DvcLockedStage, DvcOut
from dvlite.formats.dvc_pipeline import PlainStage
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.pipeline import Out
from dvlite.formats.strict_yaml import Tree
from dvlite.paths import is_inside
from dvlite.pipeline.content import Contents, same_data
from dvlite.pipeline.params import Params
from dvlite.pipeline.stages import Loaded, Stage
from dvlite.pipeline.staleness import now_of
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace import sparse
from dvlite.workspace.workspace import Workspace

_LIMIT_BYTES = 1 << 30  # of a file that git keeps


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage, what DVC is going to lock of it, and which of its dependencies and outputs are as they were locked. Paths are those of the repository."""

    stage: Stage
    plain: PlainStage
    locked: LockedStage | None
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedPipeline:
    """A pipeline file: `source` and `source_lock` are dvlite's, `data` the bytes of DVC's."""

    source: str
    source_lock: str
    data: bytes
    stages: tuple[PlannedStage, ...]
    notes: tuple[str, ...]


def plan(
    work: Workspace, loaded: Loaded, tracked: Sequence[Tracked], versions: Mapping[str, DvcOut]
) -> list[PlannedPipeline]:
    """Returns the pipeline files of a repository for DVC, before any file is changed; `versions`: what DVC calls data, by path."""
    contents = Contents(work, tracked, fetches=False)
    tree = work.repo.work_tree
    locks = {name: tree.lockfile(name) for name in tree.lockfiles()}
    for name, lock in locks.items():
        for locked in () if lock is None else lock.stages:
            contents.know_outputs(posixpath.dirname(name), locked.outs)
    checker = _StageChecker(contents, Params(tree.read), versions)
    found = []
    for file in dict.fromkeys(stage.file for stage in (*loaded.stages, *loaded.loose)):
        planned: dict[str, PlannedStage] = {}
        notes: list[str] = []
        for stage in (stage for stage in loaded.stages if stage.file == file):
            name = dvc_pipeline.name_for_dvc(stage.name, planned)
            lock = locks.get(stage.lockfile)
            planned[name] = checker.plan(stage, name, None if lock is None else lock.stage(stage.name), notes)
        loose = next((stage.spec for stage in loaded.loose if stage.file == file), None)
        source_lock = posixpath.join(posixpath.dirname(file), "dvlite.lock")
        theirs = posixpath.join(posixpath.dirname(file), dvc_files.PIPELINE_NAME)
        written = dvc_pipeline.dump([one.plain for one in planned.values()], loose, theirs)
        found.append(
            PlannedPipeline(file, source_lock, written.data, tuple(planned.values()), (*written.notes, *notes))
        )
    return found


@dataclass(frozen=True, slots=True)
class _StageChecker:
    contents: Contents
    params: Params
    versions: Mapping[str, DvcOut]

    def plan(self, stage: Stage, name: str, locked: LockedStage | None, notes: list[str]) -> PlannedStage:
        if stage.over:
            hint = "give it a cmd that does the whole folder, or take it out before the export"
            raise stage.wrong(stage.spec.line, f"{stage.address} is a map stage, and DVC has none", hint=hint)
        matched = list(dict.fromkeys(path for dep in stage.deps for path in self.contents.matches(dep.path)))
        outs = _outs(stage, locked)
        plain = PlainStage(name, stage.spec, tuple(_seen_from(stage, path) for path in matched), tuple(outs.values()))
        if locked is None:
            return PlannedStage(stage, plain, None)
        now = now_of(stage, self.contents, self.params, lambda: locked.facts.capture).entry
        if now.key != locked.key and not stage.spec.frozen:
            notes.append(f"{stage.address} has to run, as before the export")
        here, before = _placed(stage, now.deps), _placed(stage, locked.deps)
        deps = tuple(path for path in matched if _is_same(path, here, before))
        made = {out.path: out for out in stage.placed_outs(locked)}
        sound = tuple(path for path in outs if path in made and self._is_sound(made[path]))
        return PlannedStage(stage, plain, locked, deps, sound)

    def _is_sound(self, out: Locked) -> bool:
        return out.path in self.versions if out.cache else same_data(self.contents.here(out.path), out)


def files_of(repo: Repo, planned: PlannedPipeline, versions: Mapping[str, DvcOut]) -> dict[str, bytes]:
    """Returns `dvc.yaml` and `dvc.lock` by path; the md5 of what git keeps is that of the work tree as it is now."""
    folder = posixpath.dirname(planned.source)
    rows = [row for one in planned.stages if (row := _locked(repo, one, versions)) is not None]
    lock = {posixpath.join(folder, dvc_files.LOCK_NAME): dvc_files.dump_lock(rows)} if rows else {}
    return {posixpath.join(folder, dvc_files.PIPELINE_NAME): planned.data, **lock}


def _locked(repo: Repo, one: PlannedStage, versions: Mapping[str, DvcOut]) -> DvcLockedStage | None:
    if one.locked is None:
        return None

    def rows(paths: Iterable[str]) -> tuple[DvcOut, ...]:
        known = ((path, _version(repo, path, versions)) for path in paths)
        return tuple(replace(out, path=_seen_from(one.stage, path)) for path, out in known if out is not None)

    facts = one.locked.facts
    cmd = dvc_pipeline.command_for_dvc(facts.cmd, facts.env)
    params: dict[str, dict[str, Tree]] = {}
    for place in one.stage.params:
        params.setdefault(place.spec.file, {}).update(_params_of(place.name, place.spec.keys, facts.params))
    return DvcLockedStage(one.plain.name, cmd, rows(one.deps), rows(one.outs), params)


def _params_of(name: str, keys: Sequence[str], flat: Mapping[str, Tree]) -> dict[str, Tree]:
    """Returns the values of a file as DVC locks them: by declared key, or all of them."""
    start = f"{name}:"
    values = {key[len(start) :]: value for key, value in flat.items() if key.startswith(start)}
    if not keys:
        return _nested(values)
    found: dict[str, Tree] = {}
    for key in keys:
        inner = {name[len(key) + 1 :]: value for name, value in values.items() if name.startswith(f"{key}.")}
        if key in values:
            found[key] = values[key]
        elif inner:
            found[key] = _nested(inner)
    return found


def _nested(flat: Mapping[str, Tree]) -> dict[str, Tree]:
    found: dict[str, Tree] = {}
    for dotted, value in flat.items():
        *above, last = dotted.split(".")
        place = found
        for part in above:
            inner = place.setdefault(part, {})
            place = inner if isinstance(inner, dict) else {}
        place[last] = value
    return found


def _version(repo: Repo, path: str, versions: Mapping[str, DvcOut]) -> DvcOut | None:
    """Returns what DVC calls a path; None for what it could not read either."""
    if path in versions:
        return versions[path]
    try:
        is_folder = (repo.root / path).is_dir()
        data = None if is_folder else repo.work_tree.read(path, _LIMIT_BYTES)
        if data is not None:
            executable = repo.work_tree.mode(path) == "100755"
            return DvcOut(path, dvc_files.md5_name(data), len(data), executable=executable)
        rows = [(name, _version(repo, name, versions)) for name in _names_in(repo, path, versions)]
        if not rows and not is_folder:  # a folder of data need not be on disk
            return None
    except (DvliteError, OSError):
        return None
    if any(out is None for _, out in rows):
        return None
    outs = [(name[len(path) + 1 :], out) for name, out in rows if out is not None]
    listing = dvc_files.dump_listing((name, out.md5) for name, out in outs)
    return DvcOut(path, dvc_files.listing_name(listing), sum(out.size_bytes for _, out in outs), len(outs))


def _names_in(repo: Repo, path: str, versions: Mapping[str, DvcOut]) -> set[str]:
    """Returns the files in a folder: data, and what git has or would take of it."""
    rules = repo.work_tree.ignore_rules
    data = {name for name, out in versions.items() if is_inside(name, path) and not out.is_directory}
    visible = (name for name in repo.git.list_files(f":(literal){path}", untracked=True) if name not in data)
    return data | {name for name in visible if (repo.root / name).exists() and not rules.leaves_out(name, path)}


def _outs(stage: Stage, locked: LockedStage | None) -> dict[str, Out]:
    """Returns the outputs by path of the repository, with the paths that patterns stand for."""
    found: dict[str, Out] = {}
    for out in stage.outs:
        if not sparse.is_glob(out.path):
            found[out.path] = out.spec
            continue
        chosen = sparse.selector([out.path])
        made = (each.path for each in stage.placed_outs(locked))
        found |= {path: replace(out.spec, path=_seen_from(stage, path)) for path in made if chosen(path.encode())}
    return found


def _placed(stage: Stage, rows: Iterable[Locked]) -> dict[str, Locked]:
    return {stage.placed(row.path): row for row in rows}


def _is_same(path: str, here: Mapping[str, Locked], before: Mapping[str, Locked]) -> bool:
    """Returns whether a dependency, with the data inside it, is as it was locked."""
    names = {name for name in (*here, *before) if is_inside(name, path)}
    return bool(names) and all(same_data(here.get(name), before.get(name)) for name in names)


def _seen_from(stage: Stage, path: str) -> str:
    """Returns a path as DVC writes it: relative to the folder that the command runs in."""
    return posixpath.relpath(path, stage.wdir or ".")
