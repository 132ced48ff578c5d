"""`dvlite export croissant`: metadata of tracked data, for programs that load data sets by it."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.exports import croissant
from dvlite.exports.croissant import DataSet, DescribedFile
from dvlite.files import os_error, write_atomic
from dvlite.git.program import without_credentials
from dvlite.progress import Progress
from dvlite.reading.filesystem import DvliteFileSystem
from dvlite.reading.table_files import TableFiles
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import quote, some
from dvlite.tables import query as queries
from dvlite.tables.engine import connected, identifier, is_installed
from dvlite.tables.query import TableSource
from dvlite.tables.relation import format_of

_PIECE_BYTES = 4 << 20
_MOST_TABLES = 50  # whose columns are read
_READ_WHOLE = ("Arrow", "SQLite")  # a database has several tables; mlcroissant reads neither


@dataclass(frozen=True, slots=True, kw_only=True)
class CroissantOptions:
    """Where the metadata goes (None: standard output), and what the repository does not know of the data."""

    revision: str | None = None
    output: str | None = None
    description: str = ""
    license: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportCroissantResult(Result):
    """The metadata of a path; `listed` is how many of its files are named with their SHA-256, `tables` how many have their columns."""

    schema: ClassVar[str] = "dvlite.export-croissant/1"
    path: str
    oid: str
    revision: str | None = None
    output: str | None = None
    files: int = 0
    size_bytes: int = 0
    listed: int = 0
    tables: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def export_croissant(
    repo: Repo, path: str, options: CroissantOptions | None = None, *, progress: Progress
) -> ExportCroissantResult:
    """Describes a tracked path, or `PATH@REV`, as Croissant: its files with their SHA-256, for which they are read once, and columns of tables.

    Places are relative to the folder of the output, else to the root. Raises UsageError where dvlite does not track the path.
    """
    options = options or CroissantOptions()
    version, inner, revision = _found(repo, path, options.revision)
    files = [
        DescribedFile(str(name), int(facts["size"] or 0)) for name, facts in version.find(inner, detail=True).items()
    ]
    warnings: list[str] = []
    if len(files) <= croissant.MOST_FILES:
        files = _with_sums(version, files, progress)
    else:
        warnings.append(f"{len(files):,} files are too many to list: each ending is a set of files, without SHA-256")
    files = _with_columns(version, files, warnings)
    odd = croissant.left_out(files)
    if odd:
        warnings.append(f"left out columns of types that Croissant has not: {some([*odd], 3)}")
    facts = version.info(inner)
    data = DataSet(
        path=inner,
        oid=str(facts["oid"]),
        revision=revision or "",
        time=version.source.time,
        url=without_credentials(repo.git.remote_url() or ""),
        license=options.license,
        description=options.description,
        files=files,
    )
    folder = _folder(repo, options.output, warnings)
    made = croissant.metadata(data, folder)
    if options.output is not None:
        place = repo.cwd / options.output
        try:
            write_atomic(place, json.dumps(made, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        except OSError as error:
            raise os_error(error, "write", place) from error
    progress.finish()
    return ExportCroissantResult(
        path=inner,
        oid=data.oid,
        revision=revision,
        output=options.output,
        files=len(files),
        size_bytes=sum(one.size_bytes for one in files),
        listed=sum(bool(one.sha256) for one in files),
        tables=sum(bool(one.columns) for one in files),
        metadata=made,
        warnings=tuple(warnings),
    )


def _found(repo: Repo, path: str, revision: str | None) -> tuple[DvliteFileSystem, str, str | None]:
    """Returns the version, the path in it, and its revision: an `@` may be of the path, or stand before a revision."""
    refused: DvliteError | None = None
    for name, at in _readings(path, revision):
        try:
            opener: Any = DvliteFileSystem  # its metaclass takes what names a version
            version = opener(str(repo.root), at)
            inner = repo.relative(name)
        except UsageError as error:
            refused = refused or error
            continue
        if inner and version.exists(inner) and version.info(inner).get("oid"):
            return version, inner, at
    if refused is not None:
        raise refused
    raise UsageError(f"dvlite does not track {quote(path)}", hint="see what it tracks: dvlite ls")


def _readings(path: str, revision: str | None) -> Iterator[tuple[str, str | None]]:
    yield path, revision
    for number, letter in enumerate(path):
        if revision is None and letter == "@" and 0 < number < len(path) - 1:
            yield path[:number], path[number + 1 :]


def _with_sums(version: DvliteFileSystem, files: list[DescribedFile], progress: Progress) -> list[DescribedFile]:
    progress.start("reading files", total_files=len(files), total_bytes=sum(one.size_bytes for one in files))
    summed = []
    for one in files:
        total, size = hashlib.sha256(), 0
        with version.open(one.path) as file:
            while piece := file.read(_PIECE_BYTES):
                total.update(piece)
                size += len(piece)
                progress.advance(size_bytes=len(piece))
        progress.advance(files=1)
        summed.append(replace(one, sha256=total.hexdigest(), size_bytes=size))
    return summed


def _with_columns(version: DvliteFileSystem, files: list[DescribedFile], warnings: list[str]) -> list[DescribedFile]:
    """Returns files with the columns of those that are tables, as far as they can be read."""
    tables = [one for one in files if format_of(one.path) not in (None, *_READ_WHOLE)]
    if tables and not is_installed():
        warnings.append("columns of tables are left out: pip install 'dvlite[tables]'")
        return files
    if len(tables) > _MOST_TABLES:
        warnings.append(f"only the columns of the first {_MOST_TABLES} of {len(tables):,} tables are described")
    known: dict[str, tuple[tuple[str, str], ...]] = {}
    for one in tables[:_MOST_TABLES]:
        laid = TableFiles()
        place = laid.put_in(version, one.path, posixpath.basename(one.path))
        kind = format_of(one.path)
        assert kind is not None
        try:
            with connected(system=laid) as engine:
                queries.create_view(engine, TableSource("t", kind, (place,)), is_sampled=True)
                rows = engine.execute(f"DESCRIBE {identifier('t')}").fetchall()
        except DvliteError as error:
            warnings.append(f"{one.path}: {error.message}")
            continue
        known[one.path] = tuple((str(name), str(type_)) for name, type_, *_ in rows)
    return [replace(one, columns=known.get(one.path, ())) for one in files]


def _folder(repo: Repo, output: str | None, warnings: list[str]) -> str:
    """Returns the folder, relative to the root, that places are relative to."""
    if output is None:
        return ""
    folder = Path(os.path.realpath((repo.cwd / output).parent))
    root = Path(os.path.realpath(repo.root))
    if not folder.is_relative_to(root):
        warnings.append(f"{quote(output)} is outside of the repository: its places are relative to the root of that")
        return ""
    inside = folder.relative_to(root).as_posix()
    return "" if inside == "." else inside
