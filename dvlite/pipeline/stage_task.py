"""What an ordinary stage is as a task: all of it one unit, its dependencies and files of parameters by content. Pure, but for what `contents` looks at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.task import Task, TaskFile, TaskUnit
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.staleness import StageContent
from dvlite.workspace import sparse


def why_no_task(stage: Stage) -> str | None:
    """Returns why a stage can run here only, None if it can be a task."""
    if any(out.spec.persist for out in stage.outs):
        return "it goes on from its earlier outputs"
    if stage.spec.always:
        return "it runs each time"
    if any(sparse.is_glob(out.path) for out in stage.outs):
        return "its outputs are patterns"
    return None


def task_inputs(stage: Stage, entry: LockedStage, contents: StageContent) -> list[Locked]:
    """Returns what a stage reads, dependencies and whole files of parameters, with paths relative to the repository, sorted."""
    found = {place.path: contents.expected(place.path) for place in stage.params}
    for dep in entry.deps:
        path = stage.placed(dep.path)
        now = contents.expected(path)  # lockfiles have no modes of inputs
        found[path] = replace(dep, path=path, executable=now is not None and now.executable)
    return [known for _, known in sorted(found.items()) if known is not None]


def stage_task(stage: Stage, entry: LockedStage, inputs: Iterable[Locked], *, project: str, dvlite: str) -> Task:
    """Returns the task of a stage that would run with `entry`; `inputs` are those of `task_inputs`, `project` and `dvlite` whose task it is."""
    limits = stage.spec.limits
    return Task(
        stage=stage.name,
        file=stage.file,
        key=entry.key,
        cmd=stage.spec.cmd,
        wdir=stage.wdir,
        env=dict(stage.spec.env),
        capture=dict(entry.facts.capture),
        files=tuple(task_file(version) for version in inputs),
        units=(TaskUnit(outs=tuple(out.path for out in stage.outs)),),
        timeout_seconds=limits.timeout_seconds,
        retries=limits.retries,
        cpu=limits.cpu,
        memory_bytes=limits.memory_bytes,
        gpu=limits.gpu,
        project=project,
        dvlite=dvlite,
    )


def task_file(version: Locked) -> TaskFile:
    """Returns a version as tasks have it."""
    return TaskFile(
        path=version.path,
        oid=version.oid,
        size_bytes=version.size_bytes,
        files=version.files,
        executable=version.executable,
    )
