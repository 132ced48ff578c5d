"""All datums of a map stage, run again in the clean clone: a datum that was reused for years is no better proof than one that ran today.

What they make goes through a cache of their own, which is removed, into the outputs of the stage.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from dvlite.formats.lockfile import LockedStage
from dvlite.pipeline.datum_run import DatumOptions, DatumRun, MapScene
from dvlite.pipeline.environment import Surroundings
from dvlite.pipeline.executor import Ended
from dvlite.pipeline.map_plan import plan_map
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.staleness import Evaluator
from dvlite.progress import NullProgress, Progress
from dvlite.repo.repository import Repo
from dvlite.show import printable
from dvlite.store.cache import Cache
from dvlite.workspace.export import lay_out
from dvlite.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class _Scene:
    """The clean clone, with another cache."""

    repo: Repo
    work: Workspace
    evaluator: Evaluator
    surroundings: Surroundings


def rerun_datums(
    sandbox: MapScene, stage: Stage, now: LockedStage, folder: Path, progress: Progress
) -> tuple[Ended, tuple[str, ...]]:
    """Runs every datum, and writes the outputs of the stage, which are not there; returns how it ended, and the end of the log of the first that failed.

    `folder` is used meanwhile. Raises DvliteError for what is no fault of a datum, and KeyboardInterrupt after all has ended.
    """
    started = time.monotonic()
    contents = sandbox.evaluator.contents
    plan = plan_map(stage, now, contents, contents.read_node)
    cache = Cache(folder)
    scene = _Scene(sandbox.repo, Workspace(sandbox.repo, cache, progress), sandbox.evaluator, sandbox.surroundings)
    try:
        run = DatumRun(scene, stage, now, plan, DatumOptions(), progress)
        jobs = max(1, int(sandbox.surroundings.machine().cpus))
        run.run(*run.local(jobs, lambda: Cache(folder)))
        counts, first = run.counts, run.counts.first
        for version in run.versions() if first is None else ():
            target = sandbox.repo.root / version.path
            target.parent.mkdir(parents=True, exist_ok=True)
            lay_out(version.pointer(), version.path, cache, target, NullProgress())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ended = Ended(
        name=stage.address,
        exit_code=0 if first is None else first.exit_code or 1,
        signal=None,
        seconds=time.monotonic() - started,
        cpu_seconds=counts.cpu_seconds,
        max_rss_bytes=counts.max_rss_bytes,
        reason=None if first is None else f"{printable(first.name)}: {first.problem}",
    )
    return ended, () if first is None else counts.failures[0].log_tail
