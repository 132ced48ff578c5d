"""`dvlite fetch`: brings data from a remote into the cache; the workspace is not touched."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.runs import share
from dvlite.share.fetch_plan import FetchResult, fetch_kept, fetch_result, parts_of
from dvlite.store.catalog import Catalog
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
    name, opened = open_remote(repo, cache, remote, jobs)
    with opened:
        parts = parts_of(repo, cache, paths, scope, progress)
        progress.start(f"looking at {opened.store.label}")
        catalog = Catalog(opened, progress, to_read=True).look()
        fetched = fetch_kept(repo, catalog, cache, parts, progress, dry_run=dry_run)
        if not dry_run:
            stay_awake(catalog)
        records = 0 if dry_run else share.receive(repo, opened, progress)
        return fetch_result(name, catalog, fetched, started, records=records, dry_run=dry_run)
