"""`dvlite import-dvc`: turns the work tree of a DVC repository into one of dvlite, without DVC."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.git.copied_commits import BRANCH
from dvlite.moving.dvc_history import history_of
from dvlite.moving.dvc_import import move
from dvlite.moving.dvc_project import read_project
from dvlite.moving.taken_over import TakenOver
from dvlite.pipeline.run_record import author
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import Show, count


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ImportDvcResult(Result):
    """Paths that dvlite tracks now. `left`: what stays with DVC, with the reason; `removed` are files of DVC that have a counterpart now."""

    schema: ClassVar[str] = "dvlite.import-dvc/1"
    paths: tuple[TakenOver, ...] = ()
    stages: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    copies: int = 0  # of commits, on the branch
    branch: str = ""
    dry_run: bool = False
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns that something stays with DVC."""
        if not self.left:
            return None
        return PartlyDone(f"{count(len(self.left), 'thing')} could not be imported", hint="see above; the rest is done")


def import_dvc(
    repo: Repo,
    *,
    rev_range: str | None = None,
    all_history: bool = False,
    allow_missing: bool = False,
    dry_run: bool = False,
    environ: Mapping[str, str],
    host: str = "",
    version: str = "",
    stage: bool = True,
    progress: Progress,
) -> ImportDvcResult:
    """Replaces DVC's files by dvlite's, with the data in the cache. What is on disk of the data is not touched, nor is the folder `.dvc`.

    With a range `A..B`, or all history, the commits there that used DVC get copies on the branch `from-dvc`, in which dvlite tracks their data.

    Raises UsageError where nothing is DVC's or its files are not committed, FormatError for one that cannot be read, ObjectMissing and
    ObjectCorrupt for data that is nowhere whole: no file was changed then.
    """
    if rev_range and all_history:
        raise UsageError("--rev-range and --all-history exclude each other", hint="give one of them")
    started = time.monotonic()
    with repo.lock(progress):
        made_by = author(repo, environ, host, version)
        wanted = all_history or rev_range
        history = history_of(repo, None if all_history else rev_range, progress) if wanted else None
        project = read_project(repo, may_be_empty=history is not None)
        moved = move(
            repo,
            project,
            made_by,
            history=history,
            allow_missing=allow_missing,
            dry_run=dry_run,
            progress=progress,
        )
        changed = list(dict.fromkeys([*moved.written, *moved.removed]))
        staged = () if dry_run else repo.stage(changed, enabled=stage)
        return ImportDvcResult(
            paths=tuple(moved.paths),
            stages=tuple(moved.stages),
            left=moved.left,
            removed=tuple(moved.removed),
            copies=moved.copies,
            branch=BRANCH if moved.copies else "",
            dry_run=dry_run,
            staged=staged,
            unstaged=() if dry_run else repo.left_to_stage(changed, staged),
            elapsed_seconds=time.monotonic() - started,
            warnings=tuple(moved.notes),
        )
