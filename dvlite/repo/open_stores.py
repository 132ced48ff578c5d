"""Opens a repository's remotes, with a pool of connections; whether a push may go to one, and what its root says of the push."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from dvlite.errors import RemoteError, UsageError
from dvlite.repo.clone_id import clone_id
from dvlite.repo.repository import Repo
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.push_protocol import RootAuthor
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


def refuse_emptied(catalog: Catalog, name: str) -> None:
    """Raises RemoteError for a store that had data and is empty now: most likely its disk is not mounted."""
    if catalog.config is None and not catalog.packs and catalog.remote.remembered("complete"):
        raise RemoteError(
            f"remote {quote(name)} ({catalog.remote.store.label}) is empty, though this clone has pushed to it",
            hint=f"is its disk mounted? If it was emptied on purpose: dvlite remote remove {word(name)}; then dvlite remote add it again",
        )


def signature(repo: Repo, user: str, commit: str) -> RootAuthor:
    """Returns what a root of this clone says; `commit` is the one whose tree names exactly the versions claimed, or empty."""
    time_text = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return RootAuthor(repo.config.project or "", user, time_text, commit)


def plain_cache(folder: Path) -> Cache:
    """Returns a cache of one's own in a folder, for work outside a repository."""
    return Cache(folder)
