"""`dvlite push`: makes versions complete on a remote; success means that they are there and were looked at twice."""

from __future__ import annotations

from collections.abc import Sequence

from dvlite.errors import DvliteError
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.share.needs import stale_refs
from dvlite.share.publish import PushOptions, PushResult, chosen_versions, joined, publish


def push(
    repo: Repo,
    paths: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    allow_missing: bool = False,
    may_ask: bool = False,
    progress: Progress,
) -> PushResult:
    """Uploads what the remote, or each default remote, lacks of the pointers on disk, or of the revisions in `scope`.

    Raises ObjectMissing, with nothing published, if something is neither in the cache nor on the remote; with `allow_missing` the versions
    that lack it are left out and warned of. Of several remotes all are tried; raises the most specific error if none of them took it. One that
    was not approved counts as failed, unless the user `may_ask` be asked.
    """
    stale_refs(repo, drop=True)
    names = repo.usable_remotes(remote, to_push=not dry_run, may_ask=may_ask)
    named = chosen_versions(repo, paths, scope, progress)
    done: list[PushResult] = []
    failed: list[tuple[str, DvliteError]] = []
    for name in names:
        terms = PushOptions(name, jobs, dry_run, allow_missing, by_commit=not scope.is_workspace)
        if len(names) == 1:
            return publish(repo, named, terms, progress=progress)
        try:
            done.append(publish(repo, named, terms, progress=progress))
        except DvliteError as error:
            failed.append((name or "", error))
    return joined(done, failed)
