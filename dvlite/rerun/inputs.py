"""Provides the data that a stage needs in a clean clone: from the cache of the original, else from its default remote."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator

from dvlite.errors import DvliteError, Untrusted
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EXECUTABLE, FILE
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import format_oid
from dvlite.paths import is_inside
from dvlite.pipeline.content import same_data
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.known_data import as_output
from dvlite.pipeline.outputs import is_cached
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.rerun.sandbox import Sandbox
from dvlite.show import quote
from dvlite.workspace import sparse
from dvlite.workspace.fetch import with_listings
from dvlite.workspace.restore import CheckoutOptions, restore

_WILDCARD = re.compile(r"[*?\[]")


class Inputs:
    """The data that stages need and that is not an output of a stage in the same rerun. `original` has the remote; `sandbox` gets the data."""

    def __init__(self, original: Repo, sandbox: Sandbox, fetcher: Fetcher | None, progress: Progress) -> None:
        self._original, self._sandbox, self._fetcher, self._progress = original, sandbox, fetcher, progress
        self._placed: dict[str, Locked] = {}
        self._why_not = "" if fetcher is not None else ", and nothing is fetched"
        self._items: dict[str, tuple[Locked, str]] = {
            item.path: (as_output(item.path, item.pointer), item.stage) for item in sandbox.tracked
        }
        for stage in sandbox.graph.stages:
            for path, out in sandbox.locked_outputs(stage).items():
                if not out.cache and not sandbox.contents.has(path):  # declared as kept in git, but not committed
                    self._items.setdefault(path, (out, stage.address))

    def needed(self, stage: Stage, running: Collection[str]) -> list[Locked]:
        """Returns the data that a stage needs, except outputs of the stages in `running`. Raises ObjectMissing for a missing listing."""
        parts: dict[str, Locked] = {}
        for place in (*stage.sources, *stage.params):
            for item, maker in self._items.values():
                if maker not in running or not maker:
                    parts |= {part.path: part for part in self._part(item, place.path)}
        return [part for path, part in parts.items() if not any(path.startswith(f"{other}/") for other in parts)]

    def _part(self, item: Locked, wanted: str) -> Iterator[Locked]:
        """Yields the part of a tracked path or output that a dependency names: all of it, or one file."""
        if sparse.is_glob(wanted):
            fixed = _WILDCARD.split(wanted, maxsplit=1)[0].rpartition("/")[0]
            if is_inside(fixed, item.path) or sparse.selector([wanted])(os.fsencode(item.path)):
                yield item
        elif is_inside(item.path, wanted):
            yield item
        elif wanted.startswith(f"{item.path}/") and item.oid.startswith("manifest:"):
            yield self._file(item, wanted) or item

    def _file(self, item: Locked, wanted: str) -> Locked | None:
        cache, pointer = self._sandbox.work.cache, item.pointer()
        inner = os.fsencode(wanted[len(item.path) + 1 :])
        entry = with_listings(
            self._original,
            cache,
            item.path,
            [pointer],
            lambda: manifest.find(pointer.digest, inner, cache.read_node),
            self._progress,
        )
        if entry is None or entry.kind != FILE:
            return None
        executable = bool(entry.flags & EXECUTABLE)
        return Locked(wanted, format_oid(FILE_OID, entry.digest), entry.size_bytes, executable=executable)

    def fetch(self, versions: Iterable[Locked]) -> None:
        """Fetches into the cache what is missing there and available on the remote. Raises Untrusted."""
        cache = self._sandbox.work.cache
        missing = list({version.oid: version for version in versions if not is_cached(cache, version)}.values())
        if not missing or self._fetcher is None:
            return
        try:
            self._fetcher.bring(missing)
        except Untrusted:
            raise
        except DvliteError as error:
            self._why_not = f": {error.message}"

    def unavailable(self, versions: Iterable[Locked]) -> str | None:
        """Returns why some of the data is unavailable, or None."""
        for version in versions:
            if not is_cached(self._sandbox.work.cache, version):
                where = "not in the cache" if self._why_not else "neither in the cache nor on the remote"
                return f"{quote(version.path)} is {where}{self._why_not}"
        return None

    def place(self, versions: Iterable[Locked]) -> str | None:
        """Writes data into the clone, replacing what is there; returns why that is not possible, or None."""
        for version in versions:
            path = version.path
            self._sandbox.contents.forget([path])
            if same_data(self._sandbox.contents.here(path), version):
                continue
            self._sandbox.remove(path)
            os.makedirs((self._sandbox.repo.root / path).parent, exist_ok=True)
            restored = restore(self._sandbox.work, path, version.pointer(), (), CheckoutOptions())
            if restored.damaged or restored.result.missing or restored.result.conflicts:
                return f"{quote(path)} is damaged or incomplete in the cache; dvlite pull brings a good copy"
            self._sandbox.contents.forget([path])
            self._placed[path] = version
        return None

    def clear(self, but: Iterable[Locked] = ()) -> None:
        """Removes the data that was placed, except what the next stage needs too."""
        for path in self._placed.keys() - {version.path for version in but}:
            self._sandbox.remove(path)
            del self._placed[path]
