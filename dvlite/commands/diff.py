"""`dvlite diff`: which files differ between two versions of the tracked paths; also what `git diff` shows of a pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dvlite.errors import DvliteError, ObjectMissing, StrangeFile, UsageError
from dvlite.files import read_regular
from dvlite.formats import manifest, pointer
from dvlite.formats.manifest import EXECUTABLE, FILE, Entries, Entry
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import TableResult, even, plain, record_of
from dvlite.runs.outputs import at_word
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.tables.changed import RowsOfTable, cached_rows, outside_delta, tables_among
from dvlite.tables.declared import declared
from dvlite.tables.engine import is_installed
from dvlite.workspace import sparse
from dvlite.workspace.changes import Counts, FileChange, Kind, Pair, changes, counts_of, pairs_of
from dvlite.workspace.delta_changes import DeltaChange, disk_side, table_changes, version_side
from dvlite.workspace.fetch import FetchRequest, fetch_versions, with_listings
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.path_args import select, usable, warning_of
from dvlite.workspace.workspace import Workspace, entries_of

if TYPE_CHECKING:
    from dvlite.plots.review import Review

_NOTHING = "/dev/null"  # how git writes a side that does not exist
_NO_COUNTS = Counts()
_MOST_TABLES, _MOST_ROWS = 20, 5  # in Markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class PathDiff:
    """How one tracked path differs between two sides; a side is None where the path is not tracked."""

    path: str
    kind: Kind
    counts: Counts
    old_oid: str | None = None
    oid: str | None = None
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    files: tuple[FileChange, ...] = field(default=(), repr=False)
    tables: tuple[DeltaChange, ...] = ()  # Delta tables in it whose log differs
    incomplete: str | None = None  # why the files could not be listed


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DiffResult(TableResult):
    """Tracked paths that differ between two sides (`workspace` or a revision as given)."""

    schema: ClassVar[str] = "dvlite.diff/1"
    ROWS = ("paths", FileChange)
    old: str
    new: str
    paths: tuple[PathDiff, ...] = ()
    review: Review | None = field(default=None, metadata={"json": False})  # for Markdown
    rows: tuple[RowsOfTable, ...] = field(default=(), metadata={"json": False})  # for Markdown, too
    warnings: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """Returns a row for each file that differs, and one for each tracked path whose files could not be listed."""
        return even(
            {"tracked": plain(item.path), **record_of(change)}
            for item in self.paths
            for change in item.files
            or (FileChange(change="modified", path=item.path, old_oid=item.old_oid, oid=item.oid),)
        )


@dataclass(frozen=True, slots=True)
class _Sides:
    """The versions on each side by tracked path, and listings that only the workspace has."""

    old: Mapping[str, Pointer]
    new: Mapping[str, Pointer]
    nodes: Mapping[Digest, bytes]
    scans: Mapping[str, Entries]  # what is on disk, where that is the new side


def diff(repo: Repo, revisions: Sequence[str], paths: Sequence[str], *, progress: Progress) -> DiffResult:
    """Compares the workspace with the pointers on disk, with one revision, or two revisions with each other (`A B`, `A..B`).

    A revision may be a run: then only its outputs are compared. `A...B` compares B with the common ancestor of both. Paths may be inside tracked directories. Equal parts of listings are never read;
    a listing that the cache lacks is fetched alone. Raises ObjectMissing if it is unavailable.
    """
    cache = open_cache(repo)
    old_name, new_name = _names(repo, revisions)
    on_disk = [] if None not in {old_name, new_name} else usable(repo, paths, progress.warn)
    at = [None if name is None else at_word(repo, name, progress) for name in (old_name, new_name)]
    old, new = (on_disk if side is None else side.tracked for side in at)
    of_runs = {item.path for side in at if side is not None and not side.commit for item in side.tracked}
    if of_runs:  # a run knows its outputs only
        old, new = ([item for item in side if item.path in of_runs] for side in (old, new))
    union = {item.path: item for item in (*old, *new)}
    chosen = [
        (item.path, inside)
        for item, inside in select(repo, sorted(union.values(), key=attrgetter("path")), paths, inside=True)
    ]
    wanted = {path for path, _ in chosen}
    old_versions = {item.path: item.pointer for item in old if item.path in wanted}
    new_versions = {item.path: item.pointer for item in new if item.path in wanted}
    nodes: dict[Digest, bytes] = {}
    scans: dict[str, Entries] = {}
    if new_name is None:
        new_versions = _from_workspace(Workspace(repo, cache, progress), new_versions, nodes, scans)
    sides = _Sides(old_versions, new_versions, nodes, scans)
    moved = {} if paths else _moved(sides)
    found = [_renamed(old_path, path, sides.new[path]) for path, old_path in moved.items()]
    for path, inside in chosen:
        if path not in moved and path not in moved.values():
            found += _compare(repo, cache, path, inside, sides, progress)
    return DiffResult(
        old=old_name or "pointers", new=new_name or "workspace", paths=tuple(sorted(found, key=attrgetter("path")))
    )


def diff_with_rows(repo: Repo, result: DiffResult, progress: Progress) -> DiffResult:
    """Adds the first rows that differ of tables with a declared key, of which the cache or the workspace has both versions."""
    if not result.paths or not is_installed():
        return result
    files = outside_delta([change for path in result.paths for change in path.files])
    tables, _ = tables_among(declared(repo.work_tree, progress.warn), files)
    keyed = [table for table in tables if table.spec is not None and table.spec.key][:_MOST_TABLES]
    cache, disk = open_cache(repo), repo.root if result.new == "workspace" else None
    found = (cached_rows(cache, table, _MOST_ROWS, disk=disk) for table in keyed)
    return replace(result, rows=tuple(rows for rows in found if rows.tables))


def _names(repo: Repo, revisions: Sequence[str]) -> tuple[str | None, str | None]:
    """Returns the two revisions; None stands for the pointers on disk as the old side, for the workspace as the new one."""
    if len(revisions) == 2:
        return revisions[0], revisions[1]
    if not revisions:
        return None, None
    text = revisions[0]
    if "..." in text:
        left, _, right = text.partition("...")
        left, right = left or "HEAD", right or "HEAD"
        common = repo.git.merge_base(repo.commit_of(left), repo.commit_of(right))
        if common is None:
            raise UsageError(
                f"{quote(left)} and {quote(right)} have no common commit",
                hint=f"dvlite diff {word(left)} {word(right)}",
            )
        return common, right
    if ".." in text:
        left, _, right = text.partition("..")
        return left or "HEAD", right or "HEAD"
    return text, None


# --- the workspace as a side ---


def _from_workspace(
    work: Workspace, pointers: Mapping[str, Pointer], nodes: dict[Digest, bytes], scans: dict[str, Entries]
) -> dict[str, Pointer]:
    """Returns the versions on disk, without paths that have no data; adds their listings to `nodes`, and what changed to `scans`."""
    found: dict[str, Pointer] = {}
    for path, known in pointers.items():
        try:
            scan = work.scan(path)
            if scan is None:
                continue
            if known.kind == "directory" and work.vouched(path, scan) == known.digest:
                found[path] = known
                continue
            have = identify(scan, work.stat_rows(path), work.progress)
        except StrangeFile as error:
            work.progress.warn(f"{warning_of(error)}; what is in {quote(path)} is not compared")
            found[path] = known
            continue
        if have.scan.paths == [b""]:
            executable = bool(have.scan.flags[0] & EXECUTABLE)
            found[path] = Pointer("file", have.digest(0), have.scan.sizes[0], executable=executable)
        else:
            scans[path] = have.entries()
            tree = manifest.build(_whole(work, path, known, have))
            nodes.update(tree.nodes)
            found[path] = Pointer("directory", tree.root, tree.size_bytes, tree.files)
    return found


def _whole(work: Workspace, path: str, known: Pointer, have: Snapshot) -> Entries:
    """Returns the entries on disk, and those that were never here."""
    entries = have.entries()
    chooses = work.removable(path)
    if chooses is None or known.kind != "directory":
        return entries
    needed = partial(entries_of, known, work.cache)
    base = with_listings(work.repo, work.cache, path, [known], needed, work.progress)
    present = set(entries.paths)
    rows = [base[i] for i, name in enumerate(base.paths) if not chooses(name) and name not in present]
    return manifest.from_entries(sorted([*rows, *(entries[i] for i in range(len(entries)))], key=lambda row: row.path))


# --- comparing ---


def _moved(sides: _Sides) -> dict[str, str]:
    """Returns renamed tracked paths, new -> old."""
    gone = {path: known for path, known in sides.old.items() if path not in sides.new}
    found: dict[str, str] = {}
    for path, known in sides.new.items():
        if path not in sides.old and known.size_bytes:
            old_path = next((old for old, other in gone.items() if known.same_version(other)), None)
            if old_path is not None:
                del gone[old_path]
                found[path] = old_path
    return found


def _renamed(old_path: str, path: str, known: Pointer) -> PathDiff:
    change = FileChange(
        change="renamed",
        path=path,
        old_path=old_path,
        kind=known.kind,
        old_size_bytes=known.size_bytes,
        size_bytes=known.size_bytes,
        old_oid=known.oid,
        oid=known.oid,
    )
    return _path_diff(path, known, known, Counts(renamed=known.files), (change,))


def _compare(
    repo: Repo, cache: Cache, path: str, inside: tuple[str, ...], sides: _Sides, progress: Progress
) -> list[PathDiff]:
    """Returns how one tracked path differs; an empty list if it does not."""
    old, new = sides.old.get(path), sides.new.get(path)
    if old is not None and old.same_version(new):
        return []
    read = partial(_read, sides.nodes, cache)
    needed = [known for known in (old, new) if known is not None and known.digest not in sides.nodes]
    pairs = with_listings(repo, cache, path, needed, partial(pairs_of, old, new, read), progress)
    if inside:
        chooses = sparse.selector(inside)
        pairs = [pair for pair in pairs if chooses((pair[0] or pair[1] or _NONE).path)]
    files = changes(path, pairs)
    if not files:
        return []
    found = _path_diff(path, old, new, counts_of(files), files, sizes=not inside)
    return [replace(found, tables=_tables(repo, cache, path, pairs, sides, progress))]


def _tables(
    repo: Repo, cache: Cache, path: str, pairs: Sequence[Pair], sides: _Sides, progress: Progress
) -> tuple[DeltaChange, ...]:
    """Returns what happened to Delta tables, of pairs of entries that differ; their logs are fetched where the cache lacks them."""
    versions = sides.old.get(path), sides.new.get(path)
    old, new = (version_side(known, partial(_read, sides.nodes, cache), cache) for known in versions)
    if path in sides.scans:
        new = disk_side(Workspace(repo, cache, progress), path, sides.scans[path])

    def bring(pattern: str) -> None:
        parts = [
            FetchRequest(path, known, (pattern,))
            for known in versions
            if known is not None and known.digest not in sides.nodes
        ]
        _, remote = open_remote(repo, cache, None, None)
        with remote:
            fetch_versions(Catalog(remote, progress, to_read=True).look(), cache, parts, progress)

    return table_changes(path, pairs, old, new, bring)


_NONE = Entry(b"", FILE, 0, Digest(b""))


def _read(nodes: Mapping[Digest, bytes], cache: Cache, digest: Digest) -> bytes:
    data = nodes.get(digest)
    return cache.read_node(digest) if data is None else data


def _path_diff(
    path: str,
    old: Pointer | None,
    new: Pointer | None,
    counts: Counts,
    files: Sequence[FileChange],
    *,
    sizes: bool = True,
    incomplete: str | None = None,
) -> PathDiff:
    return PathDiff(
        path=path,
        kind=_kind(new or old),
        counts=counts,
        old_oid=None if old is None else old.oid,
        oid=None if new is None else new.oid,
        old_size_bytes=old.size_bytes if old is not None and sizes else None,
        size_bytes=new.size_bytes if new is not None and sizes else None,
        files=tuple(files),
        incomplete=incomplete,
    )


def _kind(known: Pointer | None) -> Literal["file", "directory"]:
    return "directory" if known is not None and known.kind == "directory" else "file"


# --- as git's external diff program ---


def driver(repo: Repo, sides: Sequence[str], *, progress: Progress) -> DiffResult:
    """Compares two pointers as git passes them (git(1), GIT_EXTERNAL_DIFF), with listings from the cache only.

    `sides` are path, old file, old hex, old mode, new file, new hex, new mode, for a rename also the new path and git's words; the path
    alone for an unmerged file. What cannot be read or listed is in the result, never raised: git would abort the whole `git diff`.
    """
    if len(sides) not in (1, 7, 9):
        raise UsageError("--driver is called by git, with 1, 7 or 9 words", hint="dvlite diff [A | A B] [-- PATH]")
    name = sides[7] if len(sides) == 9 else sides[0]
    path = name.removesuffix(SUFFIX)
    if len(sides) == 1:
        unmerged = "the pointer has a merge conflict; dvlite resolve"
        return DiffResult(
            old="", new="", paths=(PathDiff(path=path, kind="file", counts=_NO_COUNTS, incomplete=unmerged),)
        )
    old, new = sides[2][:8], sides[5][:8]
    try:
        before, after = (_side(repo, file, name) for file in (sides[1], sides[4]))
        found = _pointer_diff(repo, path, before, after)
    except DvliteError as error:
        found = PathDiff(path=path, kind="file", counts=_NO_COUNTS, incomplete=error.message)
    if len(sides) == 9 and not found.files and found.incomplete is None:
        moved = FileChange(change="renamed", path=path, old_path=sides[0].removesuffix(SUFFIX), kind=found.kind)
        found = replace(found, counts=counts_of([moved]), files=(moved,))
    return DiffResult(old=old, new=new, paths=(found,))


def _side(repo: Repo, file: str, name: str) -> Pointer | None:
    """Reads one side: a temporary file of git's, or the file in the work tree; both are untrusted."""
    if file == _NOTHING:
        return None
    data = read_regular(Path(repo.cwd / file), name, pointer.LIMIT_BYTES + 1)
    return None if data is None else pointer.parse(data, name)


def _pointer_diff(repo: Repo, path: str, old: Pointer | None, new: Pointer | None) -> PathDiff:
    """Returns how two pointers differ, file by file if the cache has their listings."""
    if old is not None and old.same_version(new):
        name = "meta" if new is not None and old.source == new.source else "source"
        only = f"only '{name}' differs, see git diff --no-ext-diff" if new not in (None, old) else None
        return _path_diff(path, old, new, _NO_COUNTS, (), incomplete=only)
    cache = open_cache(repo)
    try:
        pairs = pairs_of(old, new, cache.read_node)
    except ObjectMissing:
        hint = f"its list of files is not in the cache: dvlite fetch {word(path)}"
        delta = (new.size_bytes if new else 0) - (old.size_bytes if old else 0)
        return _path_diff(path, old, new, Counts(delta_bytes=delta), (), incomplete=hint)
    files = changes(path, pairs)
    before, after = (version_side(known, cache.read_node, cache) for known in (old, new))
    tables = table_changes(path, pairs, before, after)
    return replace(_path_diff(path, old, new, counts_of(files), files), tables=tables)
