"""What the pipeline files of a revision declare about tables: their keys, and how their cells are compared."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import replace

from dvlite.errors import DvliteError
from dvlite.formats import pipeline
from dvlite.formats.tables import TableSpec
from dvlite.paths import ancestors
from dvlite.repo.revisions import Revision
from dvlite.workspace import sparse


def declared(at: Revision, warn: Callable[[str], None]) -> Mapping[str, TableSpec]:
    """Returns the tables that are declared, by path or pattern from the root of the repository; warns of files that cannot be read."""
    found: dict[str, TableSpec] = {}
    for name in at.pipeline_files():
        try:
            data = at.read(name)
            if data is None or b"tables" not in data:  # most have none, and stages take longer to read
                continue
            for spec in pipeline.parse(data, at.shown(name), at.beside(name)).tables:
                path = posixpath.normpath(posixpath.join(posixpath.dirname(name), spec.path))
                if not path.startswith("../"):
                    found.setdefault(path, replace(spec, path=path))
        except DvliteError as error:
            warn(f"{error.message}: the keys of tables that it declares are not known")
    return found


def table_at(known: Mapping[str, TableSpec], path: str) -> TableSpec | None:
    """Returns the declaration of the table that a file is, or lies in; its `path` is then that of the table, no pattern.

    Patterns match as those of dependencies; of several, the first counts.
    """
    for name in (path, *ancestors(path)):
        if name in known:
            return known[name]
        for pattern, spec in known.items():
            if sparse.is_glob(pattern) and sparse.selector([pattern])(os.fsencode(name)):
                return replace(spec, path=name)
    return None


def key_in_file(spec: TableSpec, path: str) -> tuple[str, ...]:
    """Returns the columns of a table's key that a file of it has: not those that are folders `name=value` around it."""
    folders = path.removeprefix(spec.path).split("/")[:-1]
    names = {name for name, equals, _ in (folder.partition("=") for folder in folders) if equals}
    return tuple(column for column in spec.key if column not in names)
