"""Listings for verbs that look at names only: read from the cache, fetched alone from the default remote if they are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from dvlite.errors import ObjectMissing, Untrusted, UsageError
from dvlite.files import quote
from dvlite.formats.pointer import Pointer
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog

T = TypeVar("T")


def with_listings(
    repo: Repo, cache: Cache, path: str, needed: Iterable[Pointer | None], work: Callable[[], T], progress: Progress
) -> T:
    """Returns what `work` returns; if it finds a listing missing, those of the versions in `needed` are fetched and it runs again.

    Costs nothing if the cache has what is read. Raises ObjectMissing naming `path` if there is no trusted remote or none that has them.
    """
    try:
        return work()
    except ObjectMissing as error:
        _fetch(repo, cache, path, [known for known in needed if known is not None], error, progress)
    return work()


def _fetch(
    repo: Repo, cache: Cache, path: str, needed: Iterable[Pointer], missing: ObjectMissing, progress: Progress
) -> None:
    shown = repo.display(path)
    wanted = f"cannot list {quote(shown)}: {missing.message}"
    try:
        _, opened = open_remote(repo, cache, None, None)
    except Untrusted as error:
        raise ObjectMissing(f"{wanted}, and {error.message}", hint=error.hint) from None
    except UsageError as error:
        raise ObjectMissing(f"{wanted}, and {error.message}", hint=error.hint) from None
    with opened:
        progress.start(f"fetching the listing of {shown}")
        roots = [known.digest for known in needed if known.kind == "directory"]
        problems = fetch.fetch_nodes(Catalog(opened).look(), cache, roots)
        progress.finish()
    if problems:
        raise ObjectMissing(f"cannot list {quote(shown)}: {problems[0].message}", hint=problems[0].hint)
