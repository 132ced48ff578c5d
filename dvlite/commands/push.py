"""`dvlite push`: makes versions complete on a remote; success means that they are there and were looked at twice."""

from __future__ import annotations

from collections.abc import Sequence

from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.share.publish import PushOptions, PushResult, chosen_versions, publish


def push(
    repo: Repo,
    paths: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    allow_missing: bool = False,
    progress: Progress,
) -> PushResult:
    """Uploads what the remote lacks of the pointers on disk, or of the revisions in `scope`.

    Raises ObjectMissing, with nothing published, if something is neither in the cache nor on the remote; with `allow_missing` the versions
    that lack it are left out and warned of.
    """
    repo.remote(remote, to_push=not dry_run)  # an unusable remote is reported before any pointer
    named = chosen_versions(repo, paths, scope, progress)
    terms = PushOptions(remote, jobs, dry_run, allow_missing, by_commit=not scope.is_workspace)
    return publish(repo, named, terms, progress=progress)
