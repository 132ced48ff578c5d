"""`dvlite export-dvc`: turns a repository of dvlite into one of DVC, in a clone or in place, without DVC."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.git.far import clone_silently
from dvlite.moving.dvc_export import Given, HandedOver, give, require_committed
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.rerun.clean_clone import remove
from dvlite.results import Result
from dvlite.show import Show, count, quote


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportDvcResult(Result):
    """Paths that DVC tracks now. `left`: what stays with dvlite, with the reason; `removed` are files of dvlite that have a counterpart now."""

    schema: ClassVar[str] = "dvlite.export-dvc/1"
    directory: str | None = None  # None: in place
    paths: tuple[HandedOver, ...] = ()
    stages: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    dry_run: bool = False
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns that something stays with dvlite."""
        if not self.left:
            return None
        return PartlyDone(f"{count(len(self.left), 'thing')} could not be exported", hint="see above; the rest is done")


def export_dvc(
    repo: Repo,
    directory: str | None = None,
    *,
    in_place: bool = False,
    dry_run: bool = False,
    stage: bool = True,
    progress: Progress,
) -> ExportDvcResult:
    """Replaces dvlite's files by DVC's, with the data in DVC's cache: in a new clone of HEAD, or in place. What is on disk of the data is not touched.

    Raises UsageError where dvlite's files are not committed or DVC's are in the way, ObjectMissing and ObjectCorrupt for data that the cache
    has not whole: no file was changed then.
    """
    started = time.monotonic()
    if in_place == (directory is not None):
        raise UsageError(
            "either a folder or --in-place", hint="dvlite export-dvc DIR   leaves this repository as it is"
        )
    if directory is not None and os.path.lexists(target := repo.cwd / directory):
        raise UsageError(f"{quote(str(target))} exists, and nothing is overwritten", hint="name a new folder")
    require_committed(repo)
    if directory is None or dry_run:
        with repo.lock(progress):
            given = give(repo, open_cache(repo), dry_run=dry_run, progress=progress)
            changed = list(dict.fromkeys([*given.written, *given.removed]))
            staged = () if dry_run else repo.stage(changed, enabled=stage)
            left = () if dry_run else repo.left_to_stage(changed, staged)
    else:
        given, staged, left = _in_clone(repo, repo.cwd / directory, stage=stage, progress=progress)
    return ExportDvcResult(
        directory=directory,
        paths=tuple(given.paths),
        stages=tuple(given.stages),
        left=given.left,
        removed=tuple(given.removed),
        dry_run=dry_run,
        staged=staged,
        unstaged=left,
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(given.notes),
    )


def _in_clone(
    repo: Repo, target: Path, *, stage: bool, progress: Progress
) -> tuple[Given, tuple[str, ...], tuple[str, ...]]:
    """Exports in a new clone, which no hook of git sees; a failure leaves nothing behind."""
    try:
        clone_silently(str(repo.root), target, repo.environ, ())
        clone = repo.open_other(target)
        clone.git.run("reset", "--quiet", "--hard")
        given = give(clone, open_cache(repo), dry_run=False, progress=progress)
        changed = list(dict.fromkeys([*given.written, *given.removed]))
        staged = clone.stage(changed, enabled=stage)
        return given, staged, clone.left_to_stage(changed, staged)
    except BaseException:
        remove(target)
        raise
