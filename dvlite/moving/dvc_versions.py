"""Makes versions of dvlite out of those that DVC names: bytes into the cache, a pointer for each path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import manifest, source, strict_yaml
from dvlite.formats.dvc_files import DvcOut, DvcSource
from dvlite.formats.manifest import EXECUTABLE, FILE, Entry
from dvlite.formats.pointer import Pointer
from dvlite.formats.source import ImportSource
from dvlite.repo.repository import Repo
from dvlite.repo.sources import repository_address, url_address
from dvlite.show import some
from dvlite.store.cache_writer import Writer, version_of_entries
from dvlite.store.dvc_objects import DvcName, DvcObjects


@dataclass(slots=True)
class DvcVersions:
    """What was taken, by path: pointers, and what DVC calls each of their files; `lost`: why what could not be."""

    pointers: dict[str, Pointer] = field(default_factory=dict)
    names: dict[str, DvcName] = field(default_factory=dict)  # of paths, and of files in them
    lost: dict[str, DvliteError] = field(default_factory=dict)

    def take(self, outs: Iterable[tuple[str, DvcOut]], objects: DvcObjects, writer: Writer) -> None:
        """Stores the bytes of outputs, with their paths; one that is not there whole is noted as lost."""
        for path, out in outs:
            try:
                self.pointers[path] = self._taken(path, out, objects, writer)
            except (ObjectMissing, ObjectCorrupt) as error:
                self.lost[path] = error

    def _taken(self, path: str, out: DvcOut, objects: DvcObjects, writer: Writer) -> Pointer:
        name = self.names[path] = DvcName(out.md5, out.old)
        if not out.is_directory:
            content = objects.take(name)
            flags = FILE | EXECUTABLE if out.executable else FILE
            return version_of_entries(
                manifest.from_entries([Entry(b"", flags, content.size_bytes, content.digest)]), writer
            )
        rows = []
        missing: dict[str, ObjectMissing | ObjectCorrupt] = {}
        for inner, inner_name in objects.listing(name):
            self.names[f"{path}/{inner}"] = inner_name
            try:
                content = objects.take(inner_name)
            except (ObjectMissing, ObjectCorrupt) as error:
                missing[inner] = error
                continue
            rows.append(Entry(os.fsencode(inner), FILE, content.size_bytes, content.digest))
        if missing:
            first = next(iter(missing.values()))
            raise type(first)(f"{some([*missing])}: {first.message}")
        return version_of_entries(manifest.from_entries(rows), writer)


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
