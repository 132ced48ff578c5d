"""Makes versions of dvlite out of those that DVC names: bytes into the cache, a pointer for each path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import source, strict_yaml
from dvlite.formats.dvc_files import DvcOut, DvcSource
from dvlite.formats.pointer import Pointer
from dvlite.formats.source import ImportSource
from dvlite.paths import ancestors
from dvlite.repo.repository import Repo
from dvlite.repo.sources import repository_address, url_address
from dvlite.share.dvc_reader import version_of_rows
from dvlite.store.cache_writer import Writer
from dvlite.store.dvc_objects import DvcName, DvcObjects

_LISTINGS_KEPT = 4  # in memory: history may name thousands, each with many files


class DvcTaker:
    """Takes versions into the cache of a writer, each once, whatever paths have it."""

    def __init__(self, objects: DvcObjects, writer: Writer) -> None:
        self._objects, self._writer = objects, writer
        self._known: dict[tuple[DvcName, bool], Pointer | DvliteError] = {}
        self.listing = lru_cache(_LISTINGS_KEPT)(self._listing)

    def take(self, outs: Iterable[tuple[str, DvcOut]]) -> DvcVersions:
        """Stores the bytes of outputs, given with their paths; one that is not there whole, or has no sound listing, is noted as lost."""
        versions, outs = DvcVersions(self.listing), sorted(outs, key=lambda row: row[1].is_directory)
        self._objects.expect(DvcName(out.md5, out.old) for _, out in outs if not out.is_directory)
        for path, out in outs:
            name = DvcName(out.md5, out.old)
            key = name, out.executable
            if key not in self._known:
                try:
                    self._known[key] = self._taken(name, executable=out.executable)
                except (ObjectMissing, ObjectCorrupt, FormatError) as error:
                    self._known[key] = error
            known = self._known[key]
            if isinstance(known, Pointer):
                versions.pointers[path] = known
                versions.names[path] = name
            else:
                versions.lost[path] = known
        return versions

    def _taken(self, name: DvcName, *, executable: bool) -> Pointer:
        if not name.is_directory:
            return version_of_rows([("", name)], self._objects, self._writer, executable=executable)
        rows = self.listing(name)
        self._objects.expect(rows.values())
        return version_of_rows(rows.items(), self._objects, self._writer)

    def _listing(self, name: DvcName) -> dict[str, DvcName]:
        return dict(self._objects.listing(name))


@dataclass(slots=True)
class DvcVersions:
    """What was taken, by path: pointers, and what DVC calls them; `lost`: why what could not be. `listing`: the files of a directory."""

    listing: Callable[[DvcName], Mapping[str, DvcName]]
    pointers: dict[str, Pointer] = field(default_factory=dict)
    names: dict[str, DvcName] = field(default_factory=dict)
    lost: dict[str, DvliteError] = field(default_factory=dict)

    def md5(self, path: str) -> str | None:
        """Returns what DVC calls data, or a file in it; None for what is neither."""
        if path in self.names:
            return self.names[path].md5
        outer = next((folder for folder in ancestors(path) if folder in self.names), None)
        if outer is None or not self.names[outer].is_directory:
            return None
        name = self.listing(self.names[outer]).get(path[len(outer) + 1 :])
        return None if name is None else name.md5

    def files_in(self, folder: str) -> Iterator[str]:
        """Yields the files of data that lie in a folder, or in a folder of data."""
        above = folder + "/"
        for path, name in self.names.items():
            if name.is_directory and (path.startswith(above) or above.startswith(path + "/")):
                inside = (f"{path}/{inner}" for inner in self.listing(name))
                yield from (file for file in inside if file.startswith(above))
            elif path.startswith(above):
                yield path


def with_notes(pointer: Pointer, out: DvcOut, came_from: DvcSource | None, repo: Repo) -> tuple[Pointer, str]:
    """Returns a pointer with what DVC's file says beside the version, and why its source could not be carried ('' if it was)."""
    meta = strict_yaml.dump({"meta": dict(out.meta)}).decode() if out.meta else ""
    pointer = replace(pointer, meta=meta)
    if came_from is None:
        return pointer, ""
    try:
        if came_from.repository:
            found = ImportSource(
                repository=repository_address(came_from.repository, repo),
                path=came_from.path,
                revision=came_from.revision,
                commit=came_from.commit,
                oid=pointer.oid,
            )
        else:
            found = ImportSource(url=url_address(came_from.url, repo), etag=came_from.etag, oid=pointer.oid)
    except UsageError as error:
        return pointer, error.message
    values = {name: value for name in source.NAMES if (value := getattr(found, name))}
    wrong = source.problem(values)
    return (pointer, wrong) if wrong else (replace(pointer, source=found), "")
