"""`dvlite fetch`: brings data from a remote into the cache; the workspace is not touched."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.runs import share
from dvlite.share.fetch_plan import FetchOptions, FetchResult, fetch_from_first, fetch_result, parts_of
from dvlite.store.push_protocol import stay_awake
from dvlite.workspace import sparse
from dvlite.workspace.workspace import Workspace


def fetch(
    repo: Repo,
    paths: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    exclude: Sequence[str] = (),
    allow_missing: bool = False,
    progress: Progress,
) -> FetchResult:
    """Downloads what the cache lacks of the pointers on disk, or of the revisions in `scope`; parts of directories too, but for `exclude`.

    The result names what a fresh look at the remote did not find, and pointers that could not be read; all else is fetched.
    """
    started = time.monotonic()
    cache = open_cache(repo)
    repo.usable_remotes(remote)
    options = FetchOptions(remote, jobs, dry_run, exclude, allow_missing)
    broken: list[str] = []
    with contextlib.ExitStack() as stack:
        parts = parts_of(Workspace(repo, cache, progress), paths, scope, options, broken)
        parts = [part for part in parts if part.patterns != sparse.NOTHING]
        source = fetch_from_first(repo, cache, parts, options, stack, progress)
        if not dry_run:
            stay_awake(source.catalog)
        records = 0 if dry_run else share.receive(repo, source.catalog.remote, progress)
        done = fetch_result(source, started, options, () if paths else broken, records=records)
        return replace(done, warnings=(*done.warnings, *(broken if paths else ())))
