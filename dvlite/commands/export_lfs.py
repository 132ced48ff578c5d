"""`dvlite export-lfs`: gives tracked paths to Git LFS."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

from dvlite.errors import DvliteError, PartlyDone
from dvlite.hooks.scripts import installed_hooks
from dvlite.moving.lfs_export import GivenAway, hand_over
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import Show, count


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportLfsResult(Result):
    """Paths that Git LFS keeps now. `left`: what stays with dvlite, with the reason."""

    schema: ClassVar[str] = "dvlite.export-lfs/1"
    paths: tuple[GivenAway, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    dry_run: bool = False
    absent: bool = False  # data of some path is not on disk
    staged: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()  # of dvlite: where they are, git-lfs cannot install its own
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns that something stays with dvlite."""
        if not self.left:
            return None
        return PartlyDone(f"{count(len(self.left), 'path')} could not be exported", hint="see above; the rest is done")


def export_lfs(repo: Repo, *, dry_run: bool = False, progress: Progress) -> ExportLfsResult:
    """Replaces dvlite's pointers by those of Git LFS, with the data as its objects; all is staged. Data on disk is not touched.

    Raises UsageError where nothing can be exported or pointers are not committed, ObjectMissing and ObjectCorrupt for data that the cache
    does not have whole: no file was changed then.
    """
    started = time.monotonic()
    with repo.lock(progress):
        exported = hand_over(repo, dry_run=dry_run, progress=progress)
        return ExportLfsResult(
            paths=tuple(exported.paths),
            left=exported.left,
            dry_run=dry_run,
            absent=not all((repo.root / row.path).exists() for row in exported.paths),
            staged=tuple(exported.written),
            hooks=tuple(installed_hooks(repo)),
            elapsed_seconds=time.monotonic() - started,
            warnings=tuple(exported.notes),
        )
