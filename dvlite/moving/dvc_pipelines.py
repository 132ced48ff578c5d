"""Makes `dvlite.yaml` and `dvlite.lock` out of DVC's: what DVC locked and is still so is up to date, so that nothing runs again.

A key is computed from what stands in place now; a dependency or value that differs from what DVC locked is not in it, so that the stage
is out of date as it was.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dvlite.errors import DvliteError
from dvlite.formats import dvc_files, dvc_pipeline, lockfile, parameters, pipeline
from dvlite.formats.dvc_files import LOCK_NAME, DvcLockedStage, DvcOut
from dvlite.formats.lockfile import Locked, LockedStage, Lockfile
from dvlite.formats.pipeline import FILE_NAME
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Run
from dvlite.formats.strict_yaml import Tree
from dvlite.moving.dvc_project import DvcProject
from dvlite.moving.dvc_versions import DvcVersions
from dvlite.pipeline.content import Contents
from dvlite.pipeline.outputs import store_file
from dvlite.pipeline.params import Params
from dvlite.pipeline.run_record import Author, Recorder, begun, metrics_of
from dvlite.pipeline.stages import Stage, StageOut, bind
from dvlite.pipeline.staleness import now_of
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.records import open_records
from dvlite.show import some
from dvlite.workspace.workspace import Workspace

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
    """A pipeline file: `file` is dvlite's, `source` DVC's."""

    file: str
    source: str
    data: bytes
    stages: tuple[MovedStage, ...]
    notes: tuple[str, ...] = ()


def convert(repo: Repo, project: DvcProject) -> list[MovedPipeline]:
    """Returns the pipeline files of a project. Raises FormatError for one that has no counterpart."""
    found = []
    for source, data in project.pipelines.items():
        folder = posixpath.dirname(source)
        file = posixpath.join(folder, FILE_NAME)
        read = repo.work_tree.beside(file)
        converted = dvc_pipeline.convert(data, source, read)
        parsed = pipeline.parse(converted.data, file, read)
        locked = project.locks.get(posixpath.join(folder, LOCK_NAME), {})
        stages = tuple(MovedStage(stage, _lock_of(stage, locked)) for stage in bind(file, parsed.stages, parsed.values))
        found.append(MovedPipeline(file, source, converted.data, stages, converted.notes))
    return found


def _lock_of(stage: Stage, locked: Mapping[str, DvcLockedStage]) -> DvcLockedStage | None:
    """Returns what DVC locked for a stage: by its outputs, for instances of templates have other names here; by its name if it has none."""
    outs = {out.spec.path for out in stage.outs}
    same = [one for one in locked.values() if {out.path for out in one.outs} == outs]
    if len(same) == 1 and outs:
        return same[0]
    return locked.get(stage.name)


@dataclass(slots=True)
class Locker:
    """Makes lockfiles, and the records that they name; `notes`: why a stage has to run all the same, which is in `changed`."""

    repo: Repo
    versions: DvcVersions
    made_by: Author
    progress: Progress
    notes: list[str] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)

    def lockfiles(self, pipelines: Sequence[MovedPipeline]) -> dict[str, bytes]:
        """Returns the lockfiles by path."""
        work = Workspace(self.repo, open_cache(self.repo), self.progress)
        tracked = [Tracked(path, pointer) for path, pointer in self.versions.pointers.items()]
        contents = Contents(work, tracked, fetches=False)
        for path, pointer in self.versions.pointers.items():
            contents.assume(path, _locked(path, pointer))
        kept = [out.path for one in pipelines for each in one.stages for out in each.stage.outs if not out.spec.cache]
        for path in kept:
            here = contents.here(path)
            if here is not None:
                contents.know_outputs("", [here])
        params = Params(self.repo.work_tree.read)
        recorder = Recorder(self.repo, work.cache, self.made_by, [*self.versions.pointers, *kept])
        records = open_records(self.repo, self.progress)
        found: dict[str, bytes] = {}
        for one in pipelines:
            entries = []
            for each in one.stages:
                entry = self._entry(each, contents, params)
                if entry is not None and each.stage.address not in self.changed:
                    run = self._vouched(each.stage, entry, contents, recorder, work)
                    entry = replace(entry, run=records.put(run, durable=False))
                entries += [] if entry is None else [entry]
            if entries:
                name = posixpath.join(posixpath.dirname(one.file), lockfile.FILE_NAME)
                found[name] = lockfile.dump(Lockfile(tuple(entries)))
        records.sync()
        return found

    def _vouched(
        self, stage: Stage, entry: LockedStage, contents: Contents, recorder: Recorder, work: Workspace
    ) -> Run:
        """Returns the record of outputs that DVC vouches for; those that git keeps are stored, as those of any run."""
        named = {out.path: out for out in stage.outs}
        outputs = [(named[out.path], out) for out in stage.placed_outs(entry)]
        for out, version in outputs:
            if not out.spec.cache and version.pointer().kind == "file":
                store_file(work, self.repo.root / out.path)
        metrics, _ = metrics_of(self.repo, stage, [out.path for out, _ in outputs if out.spec.metric])
        return recorder.asserted(begun(stage, entry, contents, time.time_ns()), outputs, metrics)

    def _entry(self, moved: MovedStage, contents: Contents, params: Params) -> LockedStage | None:
        stage, locked = moved.stage, moved.locked
        if locked is None:
            return None
        outs = [self._out(stage, out, theirs, contents) for out, theirs in moved.outs()]
        sound = [out for out in outs if out is not None]
        if len(sound) < len(outs):
            self.notes.append(f"{stage.address} has to run: an output of it is not as DVC locked it, or not there")
            return None
        now = now_of(stage, contents, params, dict)
        changed = [str(gap.error.message) for gap in now.gaps]
        wdir = stage.wdir
        theirs = {posixpath.normpath(posixpath.join(wdir, dep.path)): dep for dep in locked.deps}
        deps = []
        for dep in now.entry.deps:
            path = stage.placed(dep.path)
            declared = next(
                (place.path for place in stage.deps if path == place.path or path.startswith(place.path + "/")), path
            )
            if declared in theirs and self._is_same(declared, theirs[declared]):
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

    def _out(self, stage: Stage, out: StageOut, theirs: DvcOut, contents: Contents) -> Locked | None:
        path = stage.local(out.path)
        if out.spec.cache:
            pointer = self.versions.pointers.get(out.path)
            return None if pointer is None else replace(_locked(path, pointer), push=out.spec.push)
        here = contents.here(out.path)
        if here is None or not self._is_same(out.path, theirs):
            return None
        return replace(here, path=path, cache=False, push=out.spec.push)

    def _is_same(self, path: str, theirs: DvcOut) -> bool:
        """Returns whether what stands at a path has the md5 that DVC locked."""
        try:
            return self._md5(path, old=theirs.old) == theirs.md5
        except (DvliteError, OSError):
            return False

    def _md5(self, path: str, *, old: bool) -> str:
        if path in self.versions.names:
            return self.versions.names[path].md5
        if not (self.repo.root / path).is_dir():
            data = self.repo.work_tree.read(path, _FILE_LIMIT_BYTES) or b""
            is_text = old and b"\0" not in data[:512]
            return dvc_files.md5_name(data.replace(b"\r\n", b"\n") if is_text else data)
        above = path + "/"
        inside = {
            name
            for name in self.versions.names
            if name.startswith(above) and not self.versions.names[name].md5.endswith(".dir")
        }
        inside |= set(self.repo.git.list_files(f":(literal){path}", untracked=True))
        rows = ((name[len(above) :], self._md5(name, old=old)) for name in inside)
        return dvc_files.listing_name(dvc_files.dump_listing(rows))


def _locked(path: str, pointer: Pointer) -> Locked:
    return Locked(path, pointer.oid, pointer.size_bytes, pointer.files, pointer.executable)


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
