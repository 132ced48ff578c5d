"""Two versions of a table compared: files that are laid out for the engine, opened in their format, and what both share left out."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvlite.errors import FormatError, ObjectMissing
from dvlite.files import write_atomic
from dvlite.formats.lockfile import Locked
from dvlite.oid import FILE, Digest, format_oid
from dvlite.pipeline.fetcher import Fetcher
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE
from dvlite.tables import csv, lines, parquet, sqlite
from dvlite.tables.diff import Matching, TableDiff, compare, key_of
from dvlite.tables.engine import Connection, connected, literal, reading
from dvlite.tables.relation import Relation, TableFile, format_of, open_relation, parquet_sql


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a version: its name in the table's folder, and its content in the cache, or (`on_disk`) in the work tree."""

    name: str
    digest: Digest
    size_bytes: int
    on_disk: Path | None = None


def bring(repo: Repo, cache: Cache, path: str, files: Sequence[StoredFile], progress: Progress) -> None:
    """Fetches what the cache lacks of files of the table `path`. Raises ObjectMissing if the remote lacks it too, or there is none."""
    lacking = {
        file.digest: Locked(path, format_oid(FILE, file.digest), file.size_bytes)
        for file in files
        if file.on_disk is None and not cache.has_file(file.digest, file.size_bytes)
    }
    if not lacking:
        return
    shown = repo.display(path)
    if not repo.config.remote_names:
        raise ObjectMissing(
            f"a version of {quote(shown)} is not in the cache, and no remote is configured",
            hint="dvlite remote add URL",
        )
    with Fetcher(repo, cache, progress) as fetcher:
        if not fetcher.bring(lacking.values()):
            hint = (
                f"in a clone that has it: dvlite push --all-commits; which versions there are: dvlite log {word(shown)}"
            )
            raise ObjectMissing(f"a version of {quote(shown)} is neither in the cache nor on the remote", hint=hint)


def lay(files: Sequence[StoredFile], folder: Path, cache: Cache) -> list[TableFile]:
    """Gives files paths in a folder, with names that are no patterns: links to large ones. What comes from the cache was verified.

    Raises ObjectMissing and ObjectCorrupt, and FormatError for what is no ordinary file.
    """
    folder.mkdir()
    return [TableFile(_laid(file, folder / str(number), cache), file.name) for number, file in enumerate(files)]


def _laid(file: StoredFile, path: Path, cache: Cache) -> Path:
    if file.on_disk is not None:
        try:
            is_file = stat.S_ISREG(file.on_disk.stat().st_mode)
        except OSError:
            is_file = False
        if not is_file:
            raise FormatError(f"{quote(file.name)} is not an ordinary file")
        path.symlink_to(file.on_disk)
    elif cache.has_packed(file.digest, (KIND_FILE,)):
        write_atomic(path, cache.read_file(file.digest, file.size_bytes), sync=False)
    else:
        with cache.open_verified(file.digest, file.size_bytes):
            path.symlink_to(cache.large_path(file.digest))
    return path


def compare_versions(
    old: Sequence[TableFile], new: Sequence[TableFile], how: Matching, *, only: Sequence[str] = (), limit: int = 0
) -> list[TableDiff]:
    """Compares the files of two versions of a table; of a database, each table. A side without files has no rows.

    What is equal is left out of the result. Raises FormatError and UsageError.
    """
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        pair = Pair(old[0], new[0], Path(folder)) if len(old) == len(new) == 1 else None
        files = [*(file.path for file in (*old, *new)), *(pair.paths if pair is not None else ())]
        with connected(files) as engine:
            found = []
            for name in _names(old, new):
                sides = [
                    open_relation(engine, side, _which(word), table=name) for word, side in (("old", old), ("new", new))
                ]
                diff = _compare(engine, _like(*sides), _like(*reversed(sides)), pair, how, only, limit)
                found.append(replace(diff, table=name))
    return [diff for diff in found if not diff.is_equal]


def _names(old: Sequence[TableFile], new: Sequence[TableFile]) -> list[str]:
    """Returns the tables of a database; of anything else, one without a name."""
    if {format_of(file.name) for file in (*old, *new)} != {"SQLite"}:
        return [""]
    return sorted(
        {
            name
            for word, side in (("old", old), ("new", new))
            for file in side
            for name in sqlite.tables(file.path, _which(word))
        }
    )


def _which(word: str) -> str:
    return f"the {word} version"


def _like(side: Relation, other: Relation) -> Relation:
    """Returns the side, or one without rows that has the columns of the other."""
    return side if side.columns else replace(other, sql=f"(SELECT * FROM {other.sql} WHERE false)")


def _compare(
    engine: Connection,
    old: Relation,
    new: Relation,
    pair: Pair | None,
    how: Matching,
    only: Sequence[str],
    limit: int,
) -> TableDiff:
    apart = (old, new) if pair is None else pair.apart(engine, old, new)
    matching, note = key_of(engine, (old, new), apart, how)
    try:
        diff = compare(engine, *apart, matching, only=only, limit=limit)
    except FormatError:
        if apart == (old, new):
            raise
        diff = compare(engine, old, new, matching, only=only, limit=limit)  # names the line of the whole file
    return replace(diff, note=note)


# --- what two files share ---


class Pair:
    """Two files of a table, and what each has that the other has not: row groups of Parquet, lines of CSV and JSON lines.

    `paths` are files of its own in `folder`, which the engine must be opened with, too.
    """

    def __init__(self, old: TableFile, new: TableFile, folder: Path) -> None:
        self._files = (old, new)
        kinds = {format_of(file.name) for file in self._files}
        self._is_parquet = kinds == {"Parquet"}
        heads = (0, 0) if kinds == {"JSON lines"} else _heads(old, new) if kinds == {"CSV"} else None
        found = None if heads is None else lines.without_shared(old.path, new.path, heads, folder)
        self.paths: tuple[Path, ...] = found or ()

    def apart(self, engine: Connection, old: Relation, new: Relation) -> tuple[Relation, Relation]:
        """Returns the two relations without most of the rows that both have; as they are if there is nothing to leave out."""
        if self._is_parquet:
            with reading("cannot read these versions"):
                conditions = parquet.unequal_rows(engine, *(file.path for file in self._files))
            sources = [
                f"(SELECT * FROM {parquet_sql([file.path], ', file_row_number = true')} WHERE {condition})"
                for file, condition in zip(self._files, conditions or (), strict=False)
            ]
        else:
            sources = [
                side.sql.replace(literal(str(file.path)), literal(str(path)))
                for side, file, path in zip((old, new), self._files, self.paths, strict=False)
            ]
        return (replace(old, sql=sources[0]), replace(new, sql=sources[1])) if sources else (old, new)


def _heads(old: TableFile, new: TableFile) -> tuple[int, int] | None:
    """Returns how long the first rows of two CSV files are; None if they differ."""
    try:
        before, after = (csv.dialect(file.path, file.name) for file in (old, new))
    except FormatError:  # which opening it says better
        return None
    same = (before.delimiter, before.columns) == (after.delimiter, after.columns)
    return (before.size_bytes, after.size_bytes) if same else None
