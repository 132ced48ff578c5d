"""`dvlite sync`: copies versions from one remote to another; success means that they are there and were looked at twice."""

from __future__ import annotations

from collections.abc import Sequence

from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.share.copy_versions import SyncOptions, SyncResult, copy_between
from dvlite.share.publish import chosen_versions


def sync(
    repo: Repo,
    source: str,
    target: str,
    paths: Sequence[str],
    *,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    allow_missing: bool = False,
    progress: Progress,
) -> SyncResult:
    """Copies what the target lacks of the pointers on disk, or of the revisions in `scope`; the data is never on this disk.

    Raises ObjectMissing, with nothing written, if something is on neither of them; with `allow_missing` the versions that lack it are left
    out and warned of.
    """
    repo.remote(source)  # unusable remotes are reported before any pointer
    repo.remote(target, to_push=not dry_run)
    items = chosen_versions(repo, paths, scope, progress)
    options = SyncOptions(source, target, jobs, dry_run, allow_missing, by_commit=not scope.is_workspace)
    return copy_between(repo, items, options, progress=progress)
