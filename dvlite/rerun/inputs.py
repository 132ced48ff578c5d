"""Brings into a clean clone the data that a stage needs: from the cache of the original, else from its default remote. Nothing more."""

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
from dvlite.pipeline.outputs import Outputs
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.rerun.sandbox import Bench
from dvlite.show import quote
from dvlite.workspace import sparse
from dvlite.workspace.fetch import with_listings
from dvlite.workspace.restore import CheckoutOptions, restore

_WILDCARD = re.compile(r"[*?\[]")


class Supplies:
    """What stages need and no stage that runs makes. `original` knows the remote, `bench` is where it goes."""

    def __init__(self, original: Repo, bench: Bench, fetcher: Fetcher | None, progress: Progress) -> None:
        self._original, self._bench, self._fetcher, self._progress = original, bench, fetcher, progress
        self._outputs = Outputs(bench.work, bench.contents, lambda _: False)
        self._placed: dict[str, Locked] = {}
        self._why_not = "" if fetcher is not None else ", and nothing is fetched"
        self._known: dict[str, tuple[Locked, str]] = {
            item.path: (as_output(item.path, item.pointer), item.stage) for item in bench.tracked
        }
        for stage in bench.graph.stages:
            for path, out in bench.locked_outputs(stage).items():
                if not out.cache and not bench.contents.has(path):  # git was to keep it, and does not
                    self._known.setdefault(path, (out, stage.address))

    def needed(self, stage: Stage, running: Collection[str]) -> list[Locked]:
        """Returns the data that a stage needs, but for what the stages in `running` make. Raises ObjectMissing for an unknown listing."""
        found: dict[str, Locked] = {}
        for place in (*stage.deps, *stage.params):
            for item, maker in self._known.values():
                if maker not in running or not maker:
                    found |= {each.path: each for each in self._part(item, place.path)}
        whole = [path for path in found if not any(path.startswith(f"{other}/") for other in found)]
        return [found[path] for path in whole]

    def _part(self, item: Locked, wanted: str) -> Iterator[Locked]:
        """Yields what of some data a dependency names: all of it, or one file."""
        if sparse.is_glob(wanted):
            fixed = _WILDCARD.split(wanted, maxsplit=1)[0].rpartition("/")[0]
            inside = is_inside(fixed, item.path)
            if inside or sparse.selector([wanted])(os.fsencode(item.path)):
                yield item
        elif is_inside(item.path, wanted):
            yield item
        elif wanted.startswith(f"{item.path}/") and item.oid.startswith("manifest:"):
            yield self._file(item, wanted) or item

    def _file(self, item: Locked, wanted: str) -> Locked | None:
        cache, pointer = self._bench.work.cache, item.pointer()
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
        """Brings into the cache what it lacks, as far as that can be had. Raises Untrusted."""
        absent = list({each.oid: each for each in versions if not self._outputs.is_cached(each)}.values())
        if not absent or self._fetcher is None:
            return
        try:
            self._fetcher.bring(absent)
        except Untrusted:
            raise
        except DvliteError as error:
            self._why_not = f": {error.message}"

    def unavailable(self, versions: Iterable[Locked]) -> str | None:
        """Returns why not all of some data can be had, or None."""
        for version in versions:
            if not self._outputs.is_cached(version):
                where = "not in the cache" if self._why_not else "neither in the cache nor on the remote"
                return f"{quote(version.path)} is {where}{self._why_not}"
        return None

    def place(self, versions: Iterable[Locked]) -> str | None:
        """Writes data into the clone, in place of whatever is there; returns why that cannot be done, or None."""
        for version in versions:
            path = version.path
            self._bench.contents.forget([path])
            if same_data(self._bench.contents.here(path), version):
                continue
            self._bench.remove(path)
            os.makedirs((self._bench.repo.root / path).parent, exist_ok=True)
            made = restore(self._bench.work, path, version.pointer(), (), CheckoutOptions())
            if made.damaged or made.result.missing or made.result.conflicts:
                return f"{quote(path)} is damaged or incomplete in the cache; dvlite pull brings a good copy"
            self._bench.contents.forget([path])
            self._placed[path] = version
        return None

    def clear(self, but: Iterable[Locked] = ()) -> None:
        """Takes out again what was placed, but for what the next stage needs too."""
        kept = {version.path for version in but}
        for path in [path for path in self._placed if path not in kept]:
            self._bench.remove(path)
            del self._placed[path]
