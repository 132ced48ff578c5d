"""`dvlite fetch`: brings data from a remote into the cache; the workspace is not touched."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.runs import share
from dvlite.share.fetch_plan import FetchOptions, FetchResult, fetch_from_first, fetch_result, parts_of
from dvlite.store.push_protocol import stay_awake


def fetch(
    repo: Repo,
    paths: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    progress: Progress,
) -> FetchResult:
    """Downloads what the cache lacks of the pointers on disk, or of the revisions in `scope`; parts of directories too.

    Raises ObjectMissing naming paths if a fresh look at the remote has no copy; what it has is fetched first.
    """
    started = time.monotonic()
    cache = open_cache(repo)
    repo.usable_remotes(remote)
    with contextlib.ExitStack() as stack:
        parts = parts_of(repo, cache, paths, scope, progress, remote=remote)
        source = fetch_from_first(repo, cache, parts, FetchOptions(remote, jobs, dry_run), stack, progress)
        if not dry_run:
            stay_awake(source.catalog)
        records = 0 if dry_run else share.receive(repo, source.catalog.remote, progress)
        return fetch_result(source, started, records=records, dry_run=dry_run)
