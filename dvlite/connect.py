"""Opens a repository's remotes, with a pool of connections."""

from __future__ import annotations

from dvlite.repo import Repo
from dvlite.store.cache import Cache
from dvlite.store.connection import Remote
from dvlite.store.remote import RetryBudget, open_store

DEFAULT_JOBS = 8


def open_remote(repo: Repo, cache: Cache, name: str | None, jobs: int | None) -> tuple[str, Remote]:
    """Returns the name of a remote that the user trusts and the remote itself, a context manager; makes no request.

    Raises UsageError without such a remote, Untrusted for a place that was not approved.
    """
    settings = repo.remote(name)
    connections = jobs or repo.config.jobs or DEFAULT_JOBS
    store = open_store(
        settings.location, settings.options, budget=RetryBudget(repo.config.retry_seconds), connections=connections
    )
    return settings.name, Remote(store, cache, settings.key, jobs=connections)
