"""Where the run records of a repository are."""

from __future__ import annotations

from dvlite.lineage.records import Records
from dvlite.progress import Progress
from dvlite.repo import Repo


def open_records(repo: Repo, progress: Progress) -> Records:
    """Returns the records of this clone, shared by its worktrees; makes no folder."""
    return Records(repo.common_dir / "dvlite" / "runs", progress)
