"""What runs left beside their outputs, logs, kept edits and curves: from the cache, else from the default remote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.oid import Digest, Oid, parse_oid
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.show import size_text
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.fetch import Need
from dvlite.store.pack import KIND_FILE, KIND_RECIPE

MOST_BYTES = 128 << 20  # held in memory and printed; dvlite keeps no longer ones


def load_text(repo: Repo, oid: Oid, name: str, by: str, progress: Progress) -> str:
    """Returns a log or diff, fetched into the cache if it is missing there. `name` is for messages, `by` who ran it.

    Raises ObjectMissing if the remote does not have it either, Untrusted for a remote that was not approved.
    """
    _, digest = parse_oid(oid)
    cache = open_cache(repo)
    try:
        return _text(cache, digest)
    except ObjectMissing:
        _fetch(repo, cache, digest, name, by, progress)
    return _text(cache, digest)


def lacking(cache: Cache, oids: Iterable[Oid]) -> list[Digest]:
    """Returns which files the cache does not have."""
    digests = dict.fromkeys(parse_oid(oid)[1] for oid in oids)
    return [digest for digest in digests if not (cache.locations(digest, (KIND_FILE,)) or cache.has_large(digest))]


def bring(repo: Repo, oids: Iterable[Oid], progress: Progress, *, must_ask: bool = False) -> None:
    """Fetches what runs left and the cache lacks, as far as the default remote has it.

    `must_ask`: raises what prevents that from being asked, such as Untrusted; else it is left alone then.
    """
    cache = open_cache(repo)
    digests = lacking(cache, oids)
    if not digests:
        return
    quiet = contextlib.nullcontext() if must_ask else contextlib.suppress(DvliteError)  # it is missing, its reader says
    with quiet:
        _, opened = open_remote(repo, cache, None, None)
        with opened:
            catalog = Catalog(opened, progress, to_read=True).look()
            sizes = {digest: size for digest in digests if (size := size_on(catalog, digest)) is not None}
            needs = [Need(digest, size, "") for digest, size in sizes.items() if size <= MOST_BYTES]
            cache.create()
            fetch.run(catalog, cache, needs, progress)
    cache.refresh()


def _text(cache: Cache, digest: Digest) -> str:
    return cache.read_file(digest, 0).decode("utf-8", "surrogateescape")


def _fetch(repo: Repo, cache: Cache, digest: Digest, name: str, by: str, progress: Progress) -> None:
    hint = f"dvlite push where it ran{f' ({by})' if by else ''} uploads it"
    try:
        remote, opened = open_remote(repo, cache, None, None)
    except UsageError as error:
        raise ObjectMissing(f"{name} is not in the cache, and {error.message}", hint=error.hint) from error
    with opened:
        progress.start(f"looking at {opened.shown}")
        catalog = Catalog(opened, progress, to_read=True).look()
        size_bytes = size_on(catalog, digest)
        if size_bytes is not None and size_bytes > MOST_BYTES:
            raise ObjectCorrupt(f"{name} has {size_text(size_bytes)}: more than dvlite keeps")
        cache.create()
        if size_bytes is None:
            raise ObjectMissing(f"{name} is not in the cache and not on {remote}", hint=hint)
        left, damage = fetch.run(catalog, cache, [Need(digest, size_bytes, name)], progress)
        if left:
            raise damage or ObjectMissing(f"{name} is not in the cache and not on {remote}", hint=hint)
    cache.refresh()


def size_on(catalog: Catalog, digest: Digest) -> int | None:
    """Returns the size of a file in bytes, as a remote says it; None if it is not there."""
    places = catalog.locations(digest, (KIND_FILE,))
    if places:
        return places[0].record.raw_length
    if not catalog.locations(digest, (KIND_RECIPE,)):
        return None
    large = catalog.recipes.find([digest]).get(digest)
    return None if large is None else large.recipe.size_bytes
