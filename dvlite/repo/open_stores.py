"""Opens a repository's remotes, with a pool of connections."""

from __future__ import annotations

import os
from pathlib import Path

from dvlite.errors import UsageError
from dvlite.repo.clone_id import clone_id
from dvlite.repo.repository import Repo
from dvlite.show import quote
from dvlite.store.cache import Cache
from dvlite.store.remote import Remote, open_store
from dvlite.store.retry import RetryBudget


def refuse_overlap(folder: Path, cache: Path, name: str) -> None:
    """Raises UsageError for a remote that is the cache, holds it or lies in it: pruning one would empty the other."""
    one, other = Path(os.path.realpath(folder)), Path(os.path.realpath(cache))
    if one == other or one in other.parents or other in one.parents:
        raise UsageError(
            f"remote {quote(name)} and the cache share the folder {quote(str(one))}",
            hint="use a folder outside the cache",
        )


def open_remote(
    repo: Repo, cache: Cache, name: str | None, jobs: int | None, *, patience_seconds: float | None = None
) -> tuple[str, Remote]:
    """Returns the name of a remote that the user trusts and the remote itself, a context manager; makes no request.

    A store that stops answering is given `patience_seconds`, or what the settings say.
    Raises UsageError without such a remote, Untrusted for a place that was not approved.
    """
    settings = repo.remote(name)
    if settings.location.folder is not None:
        refuse_overlap(settings.location.folder, repo.cache_dir, settings.name)
    connections = jobs or repo.config.jobs
    budget = RetryBudget(repo.config.retry_seconds)
    if patience_seconds is not None:
        budget = RetryBudget(patience_seconds, patience_seconds)
    store = open_store(settings.location, settings.options, budget=budget, connections=connections)
    notes = repo.notes_dir if cache.folder == repo.cache_dir else None
    clone = clone_id(repo.common_dir)
    remote = Remote(store, cache, settings.key, jobs=connections, notes=notes, clone=clone)
    remote.shown = settings.name
    return settings.name, remote


def plain_cache(folder: Path) -> Cache:
    """Returns a cache of one's own in a folder, for work outside a repository."""
    return Cache(folder)
