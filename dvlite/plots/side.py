"""The files of one side of a plot: the work tree, a commit, or the outputs of a run. Asks no remote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from dvlite.errors import FormatError, ObjectMissing, UsageError
from dvlite.formats.manifest import Entries
from dvlite.formats.plots import is_plotted
from dvlite.formats.pointer import Pointer
from dvlite.oid import FILE, MANIFEST, parse_oid
from dvlite.paths import is_inside
from dvlite.pipeline.globs import expression, names_on_disk
from dvlite.pipeline.known_data import KnownData
from dvlite.pipeline.outputs import is_cached
from dvlite.pipeline.revision_files import named
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Revision, below
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.outputs import at_word
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.workspace import sparse
from dvlite.workspace.workspace import entries_of


class PlotSide:
    """One side. `at` is None for a run; `name` is what the user called it."""

    def __init__(self, repo: Repo, name: str, at: Revision | None, tracked: Sequence[Tracked], cache: Cache) -> None:
        self.name, self.at = name, at
        self._root, self._cache = repo.root, cache
        self._is_on_disk = at is not None and at.is_on_disk
        self._known = KnownData({item.path: item.pointer for item in tracked}, self._listing)

    def _listing(self, path: str, pointer: Pointer) -> Entries:
        return entries_of(pointer, self._cache)

    def names(self, pattern: str) -> list[str]:
        """Returns the files that a path or pattern stands for, sorted; of a folder and a pattern those that can be drawn.

        Raises DvliteError for a listing that is not here.
        """
        if not sparse.is_glob(pattern):
            if not self._is_folder(pattern):
                return [pattern]
            pattern = f"{sparse.literal(pattern)}/**"
        return sorted(filter(is_plotted, set(self._matches(pattern))))

    def _is_folder(self, path: str) -> bool:
        if self._is_on_disk and os.path.isdir(self._root / path):
            return True
        if self._known.inside(path):
            return True
        found = self._known.at(path)
        if found is None and self.at is not None and not self._is_on_disk:
            return bool(below(self.at.names, path))
        return found is not None and found.oid.startswith(MANIFEST)

    def _matches(self, pattern: str) -> Iterator[str]:
        for path in self._known.pointers:
            if not (self._is_on_disk and os.path.lexists(self._root / path)):
                yield from self._known.matches(path, pattern)
        if self._is_on_disk:
            yield from names_on_disk(self._root, pattern)
        elif self.at is not None:
            yield from filter(expression(pattern).fullmatch, self.at.names)

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """Returns the bytes of a file, None where there is none. Raises ObjectMissing, and FormatError for one that is too large, or none."""
        if self._is_on_disk and self.at is not None:
            folder = os.path.realpath((self._root / path).parent)
            if not is_inside(folder, os.path.realpath(self._root)):  # a page may be published
                return self._refuse(path, "a link in its path leads out of the repository", hint="name a file inside")
            data = self.at.read(path, limit_bytes)
            if data is not None:
                return data if len(data) <= limit_bytes else self._refuse(path, f"it has more than {limit_bytes} bytes")
        found = self._known.at(path) if self._known.is_data(path) else None
        if self._is_on_disk:
            if found is None:
                return None
            verb = "checkout" if is_cached(self._cache, found) else "pull"
            raise ObjectMissing(f"{quote(path)} is not on disk", hint=f"dvlite {verb} {word(path)}")
        if found is None:
            return None if self.at is None else self.at.read(path, limit_bytes)
        kind, digest = parse_oid(found.oid)
        if kind != FILE or found.size_bytes > limit_bytes:
            return self._refuse(path, f"it is a folder, or has more than {limit_bytes} bytes")
        try:
            return self._cache.read_file(digest, found.size_bytes)
        except ObjectMissing as error:
            hint = f"dvlite fetch --rev {word(self.name)}" if self.at is not None else "dvlite fetch --all-commits"
            raise ObjectMissing(f"{quote(self.shown(path))} is not in the cache", hint=hint) from error

    def shown(self, path: str) -> str:
        """Returns what a file is called in messages: `HEAD:roc.csv`, and on disk its path."""
        return path if self._is_on_disk else f"{self.name}:{path}"

    def _refuse(self, path: str, reason: str, *, hint: str = "plot a smaller file") -> bytes:
        raise FormatError(f"cannot read {quote(self.shown(path))}: {reason}", hint=hint)


def open_side(repo: Repo, name: str, progress: Progress, *, shown: str = "") -> PlotSide:
    """Returns the work tree for `workspace`, a revision, or a run, called `shown`. Raises UsageError for what is none of them."""
    cache = open_cache(repo)
    try:
        at = named(repo, name)
    except UsageError:
        return PlotSide(repo, shown or name, None, at_word(repo, name, progress, in_git=True).tracked, cache)
    return PlotSide(repo, shown or name, at, at.tracked([]), cache)
