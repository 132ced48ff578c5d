"""Makes `dvlite.yaml` and `dvlite.lock` out of DVC's: what DVC locked and is still so is up to date, so that nothing runs again.

A key is computed from what stands in place now; a dependency or value that differs from what DVC locked is not in it, so that the stage
is out of date as it was.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from dvlite.errors import FormatError, ObjectMissing
from dvlite.formats import dvc_files, dvc_pipeline, lockfile, parameters, pipeline
from dvlite.formats.dvc_files import LOCK_NAME, DvcLockedStage, DvcOut
from dvlite.formats.lockfile import Locked, LockedStage, Lockfile
from dvlite.formats.pipeline import FILE_NAME
from dvlite.formats.strict_yaml import Tree
from dvlite.moving.dvc_project import DvcProject
from dvlite.moving.dvc_versions import DvcVersions
from dvlite.oid import Oid
from dvlite.pipeline.known_data import as_output
from dvlite.pipeline.params import Params
from dvlite.pipeline.run_record import Known
from dvlite.pipeline.stages import Stage, StageOut, bind
from dvlite.pipeline.staleness import StageContent, now_of
from dvlite.repo.revisions import Revision, below
from dvlite.show import some

_FILE_LIMIT_BYTES = 1 << 30  # of a dependency that git keeps


@dataclass(frozen=True, slots=True)
class MovedStage:
    """A stage, and what DVC locked for it."""

    stage: Stage
    locked: DvcLockedStage | None

    def outs(self) -> list[tuple[StageOut, DvcOut]]:
        """Returns its outputs, each with what DVC locked of it."""
        known = {} if self.locked is None else {out.path: out for out in self.locked.outs}
        return [(out, known[out.spec.path]) for out in self.stage.outs if out.spec.path in known]


@dataclass(frozen=True, slots=True)
class MovedPipeline:
    """A pipeline file: `file` is dvlite's, `source` DVC's. `remotes`: those of DVC that its outputs name."""

    file: str
    source: str
    data: bytes
    stages: tuple[MovedStage, ...]
    notes: tuple[str, ...] = ()
    remotes: tuple[str, ...] = ()

    def made(self) -> list[tuple[str, DvcOut]]:
        """Returns what its stages made that DVC has stored, with its path."""
        pairs = [pair for stage in self.stages for pair in stage.outs()]
        return [(out.path, theirs) for out, theirs in pairs if out.spec.cache and theirs.md5]


def convert(at: Revision, project: DvcProject, source: str) -> MovedPipeline:
    """Returns a pipeline file of a project, which is that of a revision. Raises FormatError for one that has no counterpart."""
    folder = posixpath.dirname(source)
    file = posixpath.join(folder, FILE_NAME)
    read = at.beside(file)
    converted = dvc_pipeline.convert(project.pipelines[source], source, read)
    parsed = pipeline.parse(converted.data, file, read)
    locked = project.locks.get(posixpath.join(folder, LOCK_NAME), {})
    stages = tuple(MovedStage(stage, _lock_of(stage, locked)) for stage in bind(file, parsed.stages, parsed.values))
    return MovedPipeline(file, source, converted.data, stages, converted.notes, converted.remotes)


def _lock_of(stage: Stage, locked: Mapping[str, DvcLockedStage]) -> DvcLockedStage | None:
    """Returns what DVC locked for a stage: by its outputs, for instances of templates have other names here; by its name if it has none."""
    outs = {out.spec.path for out in stage.outs}
    same = [one for one in locked.values() if {out.path for out in one.outs} == outs]
    if len(same) == 1 and outs:
        return same[0]
    return locked.get(stage.name)


class LockedContent(StageContent, Known, Protocol):
    """What belongs at paths of a revision."""


@dataclass(slots=True)
class Locker:
    """Makes the lockfiles of a revision; `vouch` stores the record of what a stage made. `notes`: why a stage, which is in `changed`, has to run all the same."""

    at: Revision
    versions: DvcVersions
    contents: LockedContent
    vouch: Callable[[Stage, LockedStage], Oid]
    notes: list[str] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)

    def lockfiles(self, pipelines: Iterable[MovedPipeline]) -> dict[str, bytes]:
        """Returns the lockfiles by path."""
        params = Params(self.at.read)
        found: dict[str, bytes] = {}
        for one in pipelines:
            entries = []
            for each in one.stages:
                entry = self._entry(each, params)
                if entry is not None and each.stage.address not in self.changed:
                    entry = replace(entry, run=self.vouch(each.stage, entry))
                entries += [] if entry is None else [entry]
            if entries:
                name = posixpath.join(posixpath.dirname(one.file), lockfile.FILE_NAME)
                found[name] = lockfile.dump(Lockfile(tuple(entries)))
        return found

    def _entry(self, moved: MovedStage, params: Params) -> LockedStage | None:
        stage, locked = moved.stage, moved.locked
        if locked is None:
            return None
        outs = [self._out(stage, out, theirs) for out, theirs in moved.outs()]
        sound = [out for out in outs if out is not None]
        if len(sound) < len(outs):
            self.notes.append(f"{stage.address} has to run: an output of it is not as DVC locked it, or not there")
            return None
        now = now_of(stage, self.contents, params, dict)
        for gap in now.gaps:
            if not gap.is_missing and not isinstance(gap.error, FormatError | ObjectMissing):
                raise gap.error
        changed = [str(gap.error.message) for gap in now.gaps]
        wdir = stage.wdir
        theirs = {posixpath.normpath(posixpath.join(wdir, dep.path)): dep for dep in locked.deps}
        deps = []
        for dep in now.entry.deps:
            path = stage.placed(dep.path)
            declared = next(
                (place.path for place in stage.deps if path == place.path or path.startswith(place.path + "/")), path
            )
            same = declared in theirs and self._is_same(declared, theirs[declared])
            if same or (declared not in theirs and self._has_values(stage, declared, locked)):
                deps.append(dep)
            else:
                changed.append(declared)
        known = _flat_params(stage, locked)
        values = {name: known.get(name, None) for name in now.entry.facts.params if name in known}
        changed += [name for name, value in now.entry.facts.params.items() if values.get(name, ...) != value]
        if locked.cmd != stage.spec.cmd:
            changed.append("the command")
        if changed:
            self.changed.add(stage.address)
            self.notes.append(f"{stage.address} has to run, as with DVC: changed since: {some(changed)}")
        facts = replace(now.entry.facts, cmd=locked.cmd, params=values)
        return replace(stage.entry(facts, deps), outs=tuple(sound))

    def _has_values(self, stage: Stage, path: str, locked: DvcLockedStage) -> bool:
        """Returns whether a file of Python has the parameters that DVC locked."""
        known = (file for file in locked.params if posixpath.normpath(posixpath.join(stage.wdir, file)) == path)
        file = next(known, None)
        if file is None:
            return False
        tree = dvc_files.python_values(self.at.read(path) or b"")
        return all(parameters.find(tree, key) == value for key, value in locked.params[file].items())

    def _out(self, stage: Stage, out: StageOut, theirs: DvcOut) -> Locked | None:
        path = stage.local(out.path)
        if out.spec.cache:
            pointer = self.versions.pointers.get(out.path)
            return None if pointer is None else replace(as_output(path, pointer), push=out.spec.push)
        here = self.contents.expected(out.path)
        if here is None or not self._is_same(out.path, theirs):
            return None
        return replace(here, path=path, cache=False, push=out.spec.push)

    def _is_same(self, path: str, theirs: DvcOut) -> bool:
        """Returns whether what stands at a path has the md5 that DVC locked."""
        try:
            return self._md5(path, old=theirs.old) == theirs.md5
        except (FormatError, ObjectMissing):  # any other error stops the import: it may be as it was
            return False

    def _md5(self, path: str, *, old: bool) -> str:
        known = self.versions.md5(path)
        if known is not None:
            return known
        inside = {*self.versions.files_in(path), *below(self.at.names, path)}
        if inside:
            rows = ((name[len(path) + 1 :], self._md5(name, old=old)) for name in inside)
            return dvc_files.listing_name(dvc_files.dump_listing(rows))
        data = self.at.read(path, _FILE_LIMIT_BYTES) or b""
        is_text = old and b"\0" not in data[:512]
        return dvc_files.md5_name(data.replace(b"\r\n", b"\n") if is_text else data)


def _flat_params(stage: Stage, locked: DvcLockedStage) -> dict[str, Tree]:
    """Returns what DVC locked of parameters, named as in dvlite's lockfile."""
    found: dict[str, Tree] = {}
    for file, values in locked.params.items():
        name = stage.local(posixpath.normpath(posixpath.join(stage.wdir, file)))
        for key, value in values.items():
            if isinstance(value, dict) and value:
                found |= {f"{name}:{key}.{inner}": each for inner, each in parameters.flatten(value).items()}
            else:
                found[f"{name}:{key}"] = value
    return found
