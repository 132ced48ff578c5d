"""The tables that a check reads, from the disk and from the cache, opened for its rules. A table that cannot be read has failed its check."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.checks.rules import OpenTable, Tables, outcomes
from dvlite.checks.verdicts import path_of, spec_of
from dvlite.errors import FormatError
from dvlite.formats.record import RuleOutcome
from dvlite.oid import Digest
from dvlite.pipeline.stages import Stage
from dvlite.show import quote
from dvlite.store.cache import Cache
from dvlite.tables import sqlite
from dvlite.tables.engine import Connection, connected
from dvlite.tables.relation import TableFile, format_of, open_relation
from dvlite.tables.versions import StoredFile, lay

_UNTYPED = ("CSV", "JSON lines", "SQLite")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where tables come from: `root` is the work tree, `paths_of` what a path or pattern stands for in it; `base` is the version to compare with.

    `real_file` returns where a file of the work tree really is, and raises UsageError for one that is outside of the repository.
    """

    root: Path
    real_file: Callable[[str], Path]
    cache: Cache
    paths_of: Callable[[str], Sequence[str]]
    base: Sequence[tuple[str, Digest, int]] = ()  # name, content and size in bytes


def ruled(check: Stage, sources: Sources, now_ns: int) -> tuple[list[RuleOutcome], str]:
    """Returns what the rules of a check see in the tables on disk, and until when its newest row counts as new.

    Raises UsageError without the table engine and for a table outside of the repository, whose cells a result would take elsewhere, and
    ObjectMissing if the version to compare with is not in the cache.
    """
    spec = spec_of(check)
    others = {name: dep.path for name, dep in zip(spec.references, check.deps[1:], strict=False)}
    with tempfile.TemporaryDirectory(prefix="dvlite-") as temporary:
        folder = Path(temporary)
        laid = {
            path: _linked(sources, path, folder / str(number))
            for number, path in enumerate((path_of(check), *others.values()))
        }
        stored = [StoredFile(name, digest, size_bytes) for name, digest, size_bytes in sources.base]
        base = lay(stored, folder / "base", sources.cache) if spec.against else []
        try:
            with connected([file.path for files in (*laid.values(), base) for file in files]) as engine:
                tables = Tables(
                    _table(engine, laid[path_of(check)], path_of(check)),
                    {name: _table(engine, laid[path], path) for name, path in others.items()},
                    _table(engine, base, f"{path_of(check)} at {spec.against}") if spec.against else None,
                )
                return outcomes(engine, spec, tables, now_ns)
        except FormatError as error:
            return [RuleOutcome(rule="readable", passed=False, detail=error.message[:1000])], ""


def _table(engine: Connection, files: Sequence[TableFile], path: str) -> OpenTable:
    if not files:
        raise FormatError(
            f"{quote(path)} holds no table",
            hint="a check without a cmd needs CSV, Parquet, JSON lines, Arrow or SQLite",
        )
    kinds = {format_of(file.name) for file in files}
    name = ""
    if kinds == {"SQLite"}:
        if len(files) > 1:
            raise FormatError(f"{quote(path)} is {len(files)} databases: a check reads one")
        names = sqlite.tables(files[0].path, quote(path))
        if len(names) != 1:
            raise FormatError(f"{quote(path)} holds {len(names)} tables: a check reads a database with one")
        name = names[0]
    return OpenTable(open_relation(engine, files, quote(path), table=name), typed=kinds.isdisjoint(_UNTYPED))


def _linked(sources: Sources, path: str, folder: Path) -> list[TableFile]:
    """Gives the files of a table on disk names that are no patterns."""
    folder.mkdir()
    names = sorted({name for part in sources.paths_of(path) for name in _files(sources.root, part)})
    tables = [name for name in names if format_of(name) is not None]
    files = [TableFile(folder / str(number), name) for number, name in enumerate(tables)]
    for file in files:
        file.path.symlink_to(sources.real_file(file.name))
    return files


def _files(root: Path, path: str) -> list[str]:
    """Returns the ordinary files at a path, hidden ones in it left out, relative to the repository."""
    if not (root / path).is_dir():
        return [path] if (root / path).is_file() else []
    found = []
    for folder, folders, names in os.walk(root / path):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        place = Path(folder)
        found += [
            os.fspath((place / name).relative_to(root))
            for name in names
            if not name.startswith((".", "_")) and (place / name).is_file()
        ]
    return found
