"""`dvlite log`: the versions of a tracked path, of an output or of a file inside a tracked directory, with commit, run and metrics."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dvlite.errors import FormatError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats import lockfile, manifest, pointer
from dvlite.formats.delta_log import DeltaCommit
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.tables import TableSpec
from dvlite.git.copied_commits import copy_of
from dvlite.git.output import Change, is_lockfile
from dvlite.git.program import ALL_REFS
from dvlite.oid import FILE, MANIFEST, Digest, Oid, format_oid, parse_oid
from dvlite.paths import ancestors
from dvlite.repo import committed_versions
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import limit_of
from dvlite.results import TableResult
from dvlite.runs.history import LineageCommit, describe_commits
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.names import name_of
from dvlite.runs.queries import Artefact, RunQueries
from dvlite.runs.records import open_records
from dvlite.runs.schema import METRIC
from dvlite.show import quote, word
from dvlite.tables.changed import NOT_HERE, RowsOfTable, cached_rows, outside_delta, tables_among
from dvlite.tables.declared import declared
from dvlite.tables.engine import is_installed
from dvlite.workspace.changes import FileChange, changes, pairs_of
from dvlite.workspace.delta_changes import DeltaChange, table_changes, version_of, version_side
from dvlite.workspace.fetch import with_listings
from dvlite.workspace.path_args import guess

if TYPE_CHECKING:
    from dvlite.progress import Progress
    from dvlite.store.cache import Cache

_STAGES = re.compile(rb"^(?=  %b:$)" % lockfile.STAGE.encode(), re.MULTILINE)
_HEAD = f"dvlite: {lockfile.VERSION}\nstages:\n".encode()
_END = lockfile.END.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """The newest result of a check of a version."""

    check: str
    passed: bool
    record: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChanges:
    """What a version changed to the one before it: rows of tables, and files that are none or whose rows were not compared."""

    rows: tuple[RowsOfTable, ...] = ()
    files: tuple[FileChange, ...] = ()
    more: int = 0  # files that the limit left out
    problem: str | None = None  # why there is no more of it


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which versions: up to `revision` (HEAD), at most `limit`. `changes`: with so many rows and files that each changed (0: all)."""

    revision: str | None = None
    limit: int | None = None
    changes: int | None = None


def changes_to_list(*, patch: bool, limit: int | None) -> int | None:
    """Returns how many rows and files to list below each version; None without `patch`. Raises UsageError for a limit without it."""
    if limit is not None and not patch:
        raise UsageError("--limit is for -p", hint="dvlite log -p PATH --limit N")
    return None if not patch else 5 if limit is None else limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVersion:
    """A version of a path, and the commit that brought it; `path` is its path in that commit."""

    commit: LineageCommit
    path: str
    oid: str | None  # null: removed
    size_bytes: int | None = None
    files: int | None = None
    run: str | None = None
    run_name: str | None = None
    sweep: str = ""  # that the run was part of
    metrics: Mapping[str, Any] = field(default_factory=dict)
    table: DeltaChange | None = None  # of a path that is a Delta table: since the version before
    checks: tuple[LogCheck, ...] = ()
    changes: LogChanges | None = None  # since the version before, if they were asked for


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LogResult(TableResult):
    """The versions of a path, newest first; `more`: there are older ones."""

    schema: ClassVar[str] = "dvlite.log/1"
    ROWS = ("versions", LogVersion)
    path: str
    kind: Literal["file", "directory"]
    versions: tuple[LogVersion, ...] = ()
    more: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Version:
    """A path in one commit; `oid` None: removed, or unknown for lack of a listing (`unread`)."""

    commit: str
    path: str
    oid: Oid | None
    size_bytes: int | None = None
    files: int | None = None
    run: Oid | None = None
    unread: bool = False
    whole: Oid | None = None  # of the directory that it is inside of


_ALL = LogOptions()


def log(repo: Repo, path: str, options: LogOptions = _ALL, *, progress: Progress) -> LogResult:
    """Returns the committed versions of a path, newest first; renames are followed.

    A file or folder inside a tracked directory has a version where its own content changed. Without a revision, a path that only other
    branches or tags name has their versions, with a warning. What they changed is read from the cache alone. Raises UsageError for a path that was never tracked, and for a revision that
    does not exist.
    """
    revision, limit = options.revision, options.limit
    start = repo.git.head() if revision is None else repo.commit_of(revision)
    name = repo.relative(path).removesuffix(SUFFIX)
    versions = [] if start is None else _with_copies(repo, start, name)
    whole: str | None = name
    warnings: list[str] = []
    if not versions:
        whole = _tracked_above(repo, start, name)
        versions = [] if start is None or whole is None else _with_copies(repo, start, whole)
        tracked = [] if versions else [item.path for item in repo.work_tree.tracked(broken=[])]
        if not versions and name not in tracked and revision is None:
            whole, versions = name, _versions(repo, ALL_REFS, name)
            warnings += [f"no commit of this branch names {quote(repo.display(name))}: others do"] if versions else []
        if not versions and name not in tracked:
            raise UsageError(
                f"{quote(repo.display(name))} was never tracked by dvlite",
                hint=f"{guess(name, tracked, repo.display)}list tracked paths: dvlite ls; for code: git log",
            )
    if whole is not None and whole != name:
        versions = _inside(repo, versions, whole, name[len(whole) + 1 :], warnings, progress)
    more = limit is not None and len(versions) > limit
    shown = versions[:limit]
    inner = "" if whole is None else name[len(whole) + 1 :]
    newest = next((version.oid for version in versions if version.oid is not None), None)
    is_directory = newest is not None and newest.startswith(MANIFEST)
    described = tuple(_described(repo, shown, _tables(open_cache(repo), versions, len(shown), inner), progress))
    if options.changes is not None:
        described = tuple(_with_changes(repo, described, versions, inner, options.changes, progress))
    return LogResult(
        path=name,
        kind="directory" if is_directory else "file",
        versions=described,
        more=more,
        warnings=tuple(warnings),
    )


# --- the versions that git has ---


def _with_copies(repo: Repo, start: str, path: str) -> list[_Version]:
    """Returns the versions of a path up to a commit; before dvlite tracked it, those of the copies that an import made of commits."""
    versions = _versions(repo, (start,), path)
    copy = copy_of(repo.git, f"{versions[-1].commit}^" if versions else start)
    return versions if copy is None else _versions(repo, (start, copy), path)


def _versions(repo: Repo, starts: Sequence[str], path: str) -> list[_Version]:
    """Returns the versions of a path that pointers or lockfiles name, newest first; each with the commit that brought it."""
    changes = list(_changes(repo, starts, path))
    limits = {change.blob: limit_of(change.path) for change, _ in changes if change.blob is not None}
    contents = dict(repo.git.each_blob(limits))
    versions: list[tuple[str, _Version]] = []
    for change, name in changes:
        data = None if change.blob is None else contents[change.blob]
        with contextlib.suppress(FormatError):  # reported when that commit is checked out
            versions.append((change.path, _read(change, name, data)))
    naming = {file for file, version in versions if version.oid is not None}
    brought = {version.commit for _, version in versions if version.oid is not None}
    relevant = [
        version
        for file, version in versions
        if file in naming and (version.oid is not None or version.commit not in brought)
    ]
    return list(_changed(_without_absent(relevant)))


def _changes(repo: Repo, starts: Sequence[str], path: str) -> Iterator[tuple[Change, str]]:
    """Yields the changes that may name a path, newest first, with its name then; follows renames of its pointer."""
    called = {path + SUFFIX: path}
    for change in repo.git.pointer_changes(*starts):
        name = next(iter(called)).removesuffix(SUFFIX)
        if is_lockfile(change.path) or committed_versions.followed(called, change) is not None:
            yield change, name


def _read(change: Change, path: str, data: bytes | None) -> _Version:
    if not is_lockfile(change.path):
        if data is None:
            return _Version(change.commit, path, None)
        parsed = pointer.parse(data, change.path)
        return _Version(change.commit, path, parsed.oid, parsed.size_bytes, parsed.files)
    folder = change.path.rpartition("/")[0]
    written = posixpath.relpath(path, folder or ".")
    for stage in _stages_with(written, data or b"", change.path):
        for out in stage.outs:
            if out.path == written:
                return _Version(change.commit, path, out.oid, out.size_bytes, out.files, stage.run)
    return _Version(change.commit, path, None)


def _stages_with(path: str, data: bytes, where: str) -> Iterator[lockfile.LockedStage]:
    """Yields the stages of a lockfile that may name a path; the others, usually most, are not parsed."""
    name = os.fsencode(path.rpartition("/")[2])
    part = (
        name if name.isascii() and b'"' not in name and b"\\" not in name else b'"'
    )  # other names are written as JSON
    for block in _STAGES.split(data)[1:]:
        if part in block:
            yield from lockfile.parse(_HEAD + block.removesuffix(_END) + _END, where).stages


def _without_absent(versions: Sequence[_Version]) -> list[_Version]:
    """Returns the versions from the first one with content on: before it, lockfiles do not have the path as an output."""
    named = [i for i, version in enumerate(versions) if version.oid is not None]
    return list(versions[: named[-1] + 1]) if named else []


def _changed(versions: Sequence[_Version]) -> Iterator[_Version]:
    """Yields the oldest of consecutive equal versions: the commit that brought it."""
    for i, version in enumerate(versions):
        older = versions[i + 1] if i + 1 < len(versions) else None
        if older is None or (older.oid, older.path) != (version.oid, version.path) or older.unread:
            yield version


# --- inside a tracked directory ---


def _tracked_above(repo: Repo, start: str | None, path: str) -> str | None:
    """Returns the tracked directory that contains a path: now, else the nearest folder with a pointer in git's history."""
    for item in repo.work_tree.tracked(broken=[]) if start is None else repo.at(start).tracked():
        if path.startswith(item.path + "/"):
            return item.path
    return next((folder for folder in ancestors(path) if committed_versions.is_committed(repo.git, folder)), None)


def _inside(
    repo: Repo, versions: Sequence[_Version], whole: str, inner: str, warnings: list[str], progress: Progress
) -> list[_Version]:
    """Returns the versions of a path inside a directory, from the listings of the directory's versions."""
    cache = open_cache(repo)
    inner_versions = [_at(cache, repo, version, inner, progress) for version in versions]
    unread = sum(version.unread for version in inner_versions)
    if unread:
        warnings.append(
            f"the lists of files of {unread:,} versions of {quote(whole)} cannot be read: their versions are not shown"
        )
    present = _without_absent([version for version in inner_versions if not version.unread])
    if not present and not unread:
        raise UsageError(
            f"no version of {quote(whole)} has {quote(inner)}",
            hint=f"list its files: dvlite ls -R {word(repo.display(whole))}",
        )
    return list(_changed(present))


def _at(cache: Cache, repo: Repo, version: _Version, inner: str, progress: Progress) -> _Version:
    path = f"{version.path}/{inner}"
    if version.oid is None or not version.oid.startswith(MANIFEST):
        return _Version(version.commit, path, None, run=version.run)
    digest = parse_oid(version.oid)[1]
    directory = pointer.Pointer("directory", digest, 0)

    def read() -> _Version:
        entry = manifest.find(digest, os.fsencode(inner), cache.read_node)
        if entry is not None and entry.kind != EMPTY_DIR:
            return _Version(version.commit, path, format_oid(FILE, entry.digest), entry.size_bytes, 1, version.run)
        folder = os.fsencode(inner)
        rows = [entry for leaf in manifest.leaves(digest, cache.read_node) for entry in leaf.subtree(folder)]
        if not rows:
            return _Version(version.commit, path, None)
        tree = manifest.build(manifest.from_entries(rows))
        oid = format_oid(MANIFEST, tree.root)
        return _Version(version.commit, path, oid, tree.size_bytes, tree.files, version.run, whole=version.oid)

    try:
        return with_listings(repo, cache, version.path, [directory], read, progress)
    except ObjectMissing:
        return _Version(version.commit, path, None, unread=True)


# --- Delta tables ---


def _tables(cache: Cache, versions: Sequence[_Version], shown: int, inner: str) -> list[DeltaChange | None]:
    """Returns what happened to a Delta table from each version to the next, newest first; None for what is none, or is not in the cache."""
    done: dict[tuple[bytes, Digest], DeltaCommit] = {}  # the log of the newest version has the commits of most others
    changes: list[DeltaChange | None] = []
    for number, version in enumerate(versions[:shown]):
        older = versions[number + 1] if number + 1 < len(versions) else None
        try:
            changes.append(_table(cache, older, version, inner, done))
        except (ObjectMissing, ObjectCorrupt):
            changes.append(None)
    return changes


def _table(
    cache: Cache, older: _Version | None, newer: _Version, inner: str, done: dict[tuple[bytes, Digest], DeltaCommit]
) -> DeltaChange | None:
    roots = [_directory(older), _directory(newer)]
    log = f"{inner}/_delta_log/".lstrip("/").encode()
    before, after = (None if root is None else root.digest for root in roots)
    pairs = manifest.compare(before, after, cache.read_node)
    commits = [pair for pair in pairs if next(filter(None, pair)).path.startswith(log)]
    path = newer.path.removesuffix(inner).rstrip("/")
    old, new = (replace(version_side(root, cache.read_node, cache), done=done) for root in roots)
    changed = next(iter(table_changes(path, commits, old, new)), None)
    version = None if changed is not None else version_of(new, log[:-1])
    return changed if version is None else DeltaChange(path=newer.path, old_version=version, version=version)


def _directory(version: _Version | None) -> pointer.Pointer | None:
    oid = None if version is None else version.whole or version.oid
    return pointer.from_oid(oid) if oid is not None and oid.startswith(MANIFEST) else None


# --- what a version changed ---


def _with_changes(
    repo: Repo, shown: Sequence[LogVersion], versions: Sequence[_Version], inner: str, limit: int, progress: Progress
) -> Iterator[LogVersion]:
    """Yields the versions with what each changed to the one before it; of Delta tables their log says it."""
    cache = open_cache(repo)
    known = declared(repo.work_tree, progress.warn) if is_installed() else None
    for number, version in enumerate(shown):
        older = versions[number + 1] if number + 1 < len(versions) else None
        if older is None or None in (older.oid, version.oid) or version.table is not None:
            yield version
            continue
        progress.start(f"comparing versions of {repo.display(version.path)}")
        hint = f"dvlite fetch --all-commits {word(repo.display(version.path))}"
        files = _files(cache, older, versions[number], inner)
        if files is None:
            found = LogChanges(problem=f"its list of files is not in the cache: {hint}")
        else:
            found = _rows(cache, files, known, limit, hint)
        yield replace(version, changes=found)
    progress.finish()


def _files(cache: Cache, older: _Version, newer: _Version, inner: str) -> tuple[FileChange, ...] | None:
    """Returns the files that differ; None if the cache lacks a listing. Those of a folder inside a directory are among those of the whole."""
    inside = f"{inner}/" if older.whole is not None and newer.whole is not None else ""
    old, new = (
        None
        if (known := pointer.from_oid((version.whole if inside else version.oid) or "")) is None
        else replace(known, size_bytes=version.size_bytes or 0)
        for version in (older, newer)
    )
    try:
        pairs = pairs_of(old, new, cache.read_node)
    except (ObjectMissing, ObjectCorrupt):
        return None
    chosen = [pair for pair in pairs if next(filter(None, pair)).path.startswith(os.fsencode(inside))]
    return changes(newer.path.removesuffix(f"/{inner}") if inside else newer.path, chosen)


def _rows(
    cache: Cache, files: Sequence[FileChange], known: Mapping[str, TableSpec] | None, limit: int, hint: str
) -> LogChanges:
    """Compares the rows of the first tables among files, `limit` at most; the others, and what is not here, are listed as files."""
    tables, _ = tables_among(known or {}, outside_delta(files))
    compared = [cached_rows(cache, table, limit) for table in (tables[: limit or None] if known is not None else [])]
    rows = [table for table in compared if table.tables]
    paths = {table.path for table in rows}
    done = {change.path for table in tables if table.path in paths for change in table.files}
    left = [change for change in files if change.path not in done]
    problems = [
        f"the rows of {quote(table.path)} are not compared: {table.problem}"
        + (f": {hint}" if table.problem == NOT_HERE else "")
        for table in compared
        if table.problem is not None
    ]
    if tables and known is None:
        problems = ["rows are not compared: pip install 'dvlite[tables]'"]
    kept = left[: limit or None]
    return LogChanges(
        rows=tuple(rows), files=tuple(kept), more=len(left) - len(kept), problem=next(iter(problems), None)
    )


# --- commits and runs ---


def _described(
    repo: Repo, versions: Sequence[_Version], tables: Sequence[DeltaChange | None], progress: Progress
) -> Iterator[LogVersion]:
    commits = describe_commits(repo.git, [version.commit for version in versions])
    with open_index(open_records(repo, progress)) as index:
        queries = RunQueries(index)
        checks = index.checks_of(version.oid for version in versions if version.oid is not None)
        for version, table in zip(versions, tables, strict=True):
            record = None if version.run is None else index.run(version.run)
            yield LogVersion(
                commit=commits[version.commit],
                path=version.path,
                oid=version.oid,
                size_bytes=version.size_bytes,
                files=version.files if version.oid is not None and version.oid.startswith(MANIFEST) else None,
                run=version.run,
                run_name=_name(index, version.run),
                sweep="" if record is None else record.sweep,
                metrics=_measured(index, queries, version) if record is None or not record.metrics else record.metrics,
                table=table,
                checks=tuple(
                    LogCheck(check=row.name, passed=row.passed, record=row.oid)
                    for row in (() if version.oid is None else checks.get(version.oid, ()))
                ),
            )


def _measured(index: RunIndex, queries: RunQueries, version: _Version) -> dict[str, Any]:
    """Returns the metrics of runs that read a version, as an evaluation does; of several with the same metric, the newest counts."""
    if version.oid is None:
        return {}
    parts = queries.with_parts(Artefact(version.oid, version.path, version.size_bytes or 0))
    users = queries.users([part.oid for part in parts])
    names = sorted({run for part in parts for run, path in users.get(part.oid, ()) if path == part.path})
    runs = [row for run in names if (row := index.row(run)) is not None and row.status in ("ok", "cached", "asserted")]
    values = index.values([row.oid for row in runs], METRIC)
    ordered = sorted(runs, key=lambda row: row.id)
    return {key: value for row in ordered for key, value in values.get(row.oid, {}).items()}


def _name(index: RunIndex, run: Oid | None) -> str | None:
    row = None if run is None else index.row(run)
    if run is None:
        return None
    return name_of(row.stage if row is not None else "run", run)
