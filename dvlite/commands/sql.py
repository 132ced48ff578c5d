"""`dvlite sql`: a query over tables as they are on disk, or at any revision, without fetching them."""

from __future__ import annotations

import os
import posixpath
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.files import os_error, temporary_name
from dvlite.formats import delta_log, table_formats
from dvlite.paths import is_inside
from dvlite.pipeline.globs import expression, fixed_part, names_on_disk
from dvlite.progress import Progress
from dvlite.reading.filesystem import DvliteFileSystem
from dvlite.reading.table_files import PLAIN, TableFiles
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import closest, quote
from dvlite.tables import query as queries
from dvlite.tables.engine import Misread, connected
from dvlite.tables.query import TableSource
from dvlite.tables.relation import format_of
from dvlite.workspace import sparse
from dvlite.workspace.add_checks import DATABASE_LOGS, open_databases
from dvlite.workspace.export import publish

_READ_WHOLE = ("Arrow", "SQLite")  # not through the file system


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryColumn:
    """A column of the result; `type` as DuckDB calls it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueriedTable:
    """A table that the query names. Without a revision it was read from disk, or, where it is not there, as the pointers on disk have it."""

    name: str  # as in the query
    path: str
    revision: str
    commit: str  # "" on disk
    format: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SqlResult(Result):
    """The rows of a query. Cells are plain values: times in ISO 8601, bytes in hexadecimal, decimals as text."""

    schema: ClassVar[str] = "dvlite.sql/1"
    tables: tuple[QueriedTable, ...]
    columns: tuple[QueryColumn, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    more: bool = False  # a limit cut the rows
    output: str | None = None  # the file that has the rows instead
    rows_written: int = 0
    received_bytes: int = 0  # from remotes
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def sql(
    repo: Repo,
    query: str,
    *,
    revision: str | None = None,
    remote: str | None = None,
    limit: int | None = None,
    output: str | None = None,
    progress: Progress,
) -> SqlResult:
    """Runs one SELECT. Its tables are paths, folders and patterns in quotes, `PATH@REV` at a revision, `FILE#TABLE` in a database.

    A name without a revision is at `revision`, else on disk. Of versions, only the ranges that the query needs are read, from the cache or
    a remote. Rows come back, at most `limit`, or go to the new file `output`. Raises UsageError for what is no SELECT and for unknown tables.
    """
    started = time.monotonic()
    options = "" if output is None else _require_new(repo, output)
    with connected() as engine:
        names = queries.table_names(engine, query)
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        found = _Tables(repo, Path(folder), revision, remote)
        progress.start("looking for tables")
        sources = [found.source(name) for name in names]
        progress.start("running the query")
        result = queries.QueryRows((), ())
        written, rows = 0, Path(folder) / "rows"
        laid = [Path(place) for source in sources for place in source.places if "://" not in place]
        with connected([*laid, rows], system=found.files) as engine:
            try:
                for is_sampled in (True, False):
                    for source in sources:
                        queries.create_view(engine, source, is_sampled=is_sampled)
                    try:
                        if output is None:
                            result = queries.run(engine, query, limit)
                        else:
                            written = queries.write(engine, query, rows, options)
                            _put(rows, repo.cwd / output)
                        break
                    except Misread:
                        if not is_sampled or all(source.format != "CSV" for source in sources):
                            raise
            except FormatError:
                if found.files.failure is not None:  # that of a file, which the engine does not know in full
                    raise found.files.failure from None
                raise
        progress.finish()
    return SqlResult(
        tables=tuple(found.tables),
        columns=tuple(QueryColumn(name=name, type=kind) for name, kind in result.columns),
        rows=result.rows,
        more=result.more,
        output=output,
        rows_written=written,
        received_bytes=found.files.received_bytes(),
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(found.warnings),
    )


def _require_new(repo: Repo, output: str) -> str:
    options = queries.require_output(output)
    if os.path.lexists(repo.cwd / output):
        raise UsageError(f"{quote(output)} exists", hint="remove it, or choose another name")
    return options


def _put(rows: Path, target: Path) -> None:
    """Copies a file to a new name, which a copy that was broken off never has."""
    unnamed = target.with_name(temporary_name())
    try:
        shutil.copyfile(rows, unnamed)
        publish(unnamed, target)
    except OSError as error:
        raise os_error(error, "write", target) from None
    finally:
        unnamed.unlink(missing_ok=True)


class _Tables:
    """Finds what names in a query stand for. `folder` gets links to files on disk, and copies of what is not read in ranges."""

    def __init__(self, repo: Repo, folder: Path, revision: str | None, remote: str | None) -> None:
        self._repo, self._folder = repo, folder
        self._revision, self._remote = revision, remote
        self._versions: dict[str | None, _AtRevision] = {}
        self.files = TableFiles()
        self.tables: list[QueriedTable] = []
        self.warnings: list[str] = []

    def source(self, name: str) -> TableSource:
        """Finds a table. Raises UsageError where nothing is called so."""
        twin = next((table.name for table in self.tables if table.name.lower() == name.lower()), None)
        if twin is not None:
            hint = "to SQL both are one name: begin one of them with ./"
            raise UsageError(f"{quote(name)} and {quote(twin)} differ only in capitals", hint=hint)
        refused: UsageError | None = None
        for path, revision, table in self._readings(name):  # noqa: B007  # used behind the loop
            try:
                side = self._side(path, revision)
            except UsageError as error:  # of a revision; another reading of the name may have one
                refused = refused or error
                continue
            inner = side.files(self._repo.relative(path))
            if inner:
                break
        else:
            raise refused or self._unknown(name)
        inner = _live(name, side, inner)
        kind = queries.format_of_all(name, list(inner))
        if table and kind != "SQLite":
            raise UsageError(f"{quote(name)}: {quote(path)} is no database", hint="its name without # is the table")
        chosen = {file: inner[file] for file in inner if format_of(file) == kind}
        sizes = list(map(side.size, chosen.values()))
        commit = side.system.source.commit if isinstance(side, _AtRevision) else ""
        shown = {"path": self._repo.relative(path), "revision": revision or "", "commit": commit, "format": kind}
        self.tables.append(QueriedTable(name=name, **shown, files=len(chosen), size_bytes=sum(sizes)))
        if kind == "SQLite" and isinstance(side, _OnDisk):
            logs = (path + ending for path in chosen.values() for ending in DATABASE_LOGS)
            self.warnings += open_databases(self._repo, logs)
        lay = self._lay_whole if kind in _READ_WHOLE else self._lay
        number = len(self.tables)
        return TableSource(
            name, kind, tuple(lay(side, path, f"{number}/{file}") for file, path in chosen.items()), table
        )

    def _readings(self, name: str) -> Iterator[tuple[str, str | None, str]]:
        """Yields what a name can mean: path, revision and table of a database. `@` and `#` may be of a path, or of `HEAD@{1}`."""
        whole, parted = [(name, "")], list(_splits(name, "#"))
        for where, table in whole + parted if os.path.lexists(self._repo.cwd / name) else parted + whole:
            yield where, self._revision, table
            for path, revision in _splits(where, "@"):
                yield path, revision, table

    def _side(self, path: str, revision: str | None) -> _AtRevision | _OnDisk:
        disk = _OnDisk(self._repo, self.warnings)
        if revision is None and disk.files(self._repo.relative(path)):
            return disk
        if revision not in self._versions:
            opener: Any = DvliteFileSystem  # its metaclass takes what names a version
            self._versions[revision] = _AtRevision(opener(str(self._repo.root), revision, self._remote))
        return self._versions[revision]

    def _lay(self, side: _AtRevision | _OnDisk, path: str, inner: str) -> str:
        if isinstance(side, _AtRevision):
            return self.files.put_in(side.system, path, inner)
        link = self._folder / inner.translate(PLAIN)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self._repo.real_file(path))
        return str(link)

    def _lay_whole(self, side: _AtRevision | _OnDisk, path: str, inner: str) -> str:
        if isinstance(side, _OnDisk):
            return self._lay(side, path, inner)
        copy = self._folder / inner.translate(PLAIN)
        copy.parent.mkdir(parents=True, exist_ok=True)
        side.system.get_file(path, str(copy))
        return str(copy)

    def _unknown(self, name: str) -> DvliteError:
        tracked = [item.path for item in self._repo.work_tree.tracked(broken=[])]
        close = closest(name.partition("#")[0].partition("@")[0], map(self._repo.display, tracked))
        hint = f"did you mean '{close}'?" if close else "what there is: dvlite ls; a version of it: 'PATH@REV'"
        return UsageError(f"no table is called {quote(name)}", hint=hint)


def _splits(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """Yields what stands before and behind each of the marks in a text."""
    for number, letter in enumerate(text):
        if letter == mark and 0 < number < len(text) - 1:
            yield text[:number], text[number + 1 :]


def _live(name: str, side: _AtRevision | _OnDisk, inner: dict[str, str]) -> dict[str, str]:
    """Returns the files of a table: of a Delta table, those of its newest version. Raises UsageError for a table that must not be read so."""
    parted = [os.fsencode(file).rpartition(b"/") for file in inner]
    logs = {log: [file for above, _, file in parted if above == log] for log in table_formats.MARKS}
    form = next((found for log, files in logs.items() if (found := table_formats.format_of(log, files))), None)
    if form is None:
        return inner
    if form != "delta":
        raise UsageError(
            f"{quote(name)} is a table of {table_formats.NAMES[form]}, which is read only by programs of its own",
            hint="read it with such a program, after dvlite get",
        )
    folder = delta_log.FOLDER.decode()
    log = delta_log.log_files(logs[delta_log.FOLDER])
    table, _ = delta_log.read_table(log, lambda file: side.read(inner[f"{folder}/{os.fsdecode(file)}"]))
    live = table.live.values()
    odd = "deletion vectors" if any(file.vector is not None for file in live) else ""
    odd = odd or ("column mapping" if table.is_mapped else "")
    if odd:
        raise UsageError(f"{quote(name)} is a Delta table with {odd}", hint="read it with the package deltalake")
    names = [os.fsdecode(file.name) for file in live if file.name is not None]
    if len(names) < len(live) or not inner.keys() >= set(names):
        raise FormatError(f"{quote(name)} is a Delta table that lacks some of its files")
    return {file: inner[file] for file in names}


@dataclass(frozen=True, slots=True)
class _OnDisk:
    """The work tree."""

    repo: Repo
    warnings: list[str]

    def files(self, path: str) -> dict[str, str]:
        """Returns the files of a path, folder or pattern: their paths by their names in the folder."""
        root = self.repo.root
        if not sparse.is_glob(path) or os.path.lexists(root / path):
            if not os.path.isdir(root / path):
                return {posixpath.basename(path): path} if os.path.isfile(root / path) else {}
            pattern = f"{sparse.literal(path)}/**" if path else "**"
        else:
            pattern = path
        names = [name for name in set(names_on_disk(root, pattern)) if os.path.isfile(root / name)]
        if names and any(is_inside(fixed_part(pattern), item) for item in self._in_part()):
            self.warnings.append(f"{quote(self.repo.display(path))} is checked out in part; all of it: --rev HEAD")
        return _inside(fixed_part(pattern), names)

    def _in_part(self) -> Sequence[str]:
        state = self.repo.state_dir
        return list(sparse.load(state)) if (state / sparse.FILE).exists() else ()

    def size(self, path: str) -> int:
        return (self.repo.root / path).stat().st_size

    def read(self, path: str) -> bytes:
        data = self.repo.work_tree.read(path, delta_log.LIMIT_BYTES)
        if data is None:
            raise FormatError(f"{quote(path)} is missing")
        return data


@dataclass(frozen=True, slots=True)
class _AtRevision:
    """One version of the repository."""

    system: DvliteFileSystem

    def files(self, path: str) -> dict[str, str]:
        """Returns the files of a path, folder or pattern: their paths by their names in the folder."""
        if not sparse.is_glob(path) or self.system.exists(path):
            above, names = path, self.system.find(path)
            if names == [path]:
                return {posixpath.basename(path): path}
        else:
            above = fixed_part(path)
            names = list(filter(expression(path).fullmatch, self.system.find(above)))
        return _inside(above, [name for name in names if not _is_hidden(name[len(above) :])])

    def size(self, path: str) -> int:
        return int(self.system.info(path)["size"] or 0)

    def read(self, path: str) -> bytes:
        return bytes(self.system.cat_file(path, end=delta_log.LIMIT_BYTES))


def _inside(folder: str, names: Sequence[str]) -> dict[str, str]:
    start = len(folder) + 1 if folder else 0
    return {name[start:]: name for name in sorted(names)}


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
