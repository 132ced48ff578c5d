"""Brings lost objects into the cache: from the workspace, and from remotes. Every byte is hashed before it gets its name."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.formats import manifest
from dvlite.health.findings import Health, NotChecked
from dvlite.health.needs import LostIn, files_needed
from dvlite.oid import MANIFEST, Digest, digest_bytes, digest_path
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.runs.logs import size_on
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.check import Holder
from dvlite.store.fetch import Need
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from dvlite.workspace.hashing import identify
from dvlite.workspace.workspace import Workspace


def remote_names(repo: Repo, *, but: str | None = None) -> list[str]:
    """Returns the names of the remotes, the default one first."""
    names = repo.config.remote_names
    first = [name for name in names if name == repo.config.default_remote]
    return [name for name in dict.fromkeys([*first, *names]) if name != but]


@contextlib.contextmanager
def opened(repo: Repo, cache: Cache, name: str, health: Health, progress: Progress) -> Iterator[Catalog | None]:
    """Opens and looks at a remote; yields None, with a note, for one that cannot be asked."""
    with contextlib.ExitStack() as stack:
        catalog = None
        try:
            _, remote = open_remote(repo, cache, name, None)
            catalog = Catalog(stack.enter_context(remote), progress).look()
        except DvliteError as error:
            health.unchecked.append(NotChecked(what=f"what is on {name}", why=error.message, hint=error.hint))
        yield catalog


def is_missing(cache: Cache, wanted: LostIn) -> bool:
    """Returns whether the cache lacks something of what is lost."""
    return any(not cache.has_node(node) for node in wanted.gone.nodes) or bool(missing_files(cache, wanted))


def missing_files(cache: Cache, wanted: LostIn) -> list[Need]:
    """Returns the lost files that the cache does not have either, whole and right."""
    needs = files_needed(LostIn(wanted.gone, wanted.needed, _Either(wanted.holder, cache)))
    return [need for need in needs if not cache.is_sound(need.digest, need.size_bytes)]


def from_remote(catalog: Catalog, cache: Cache, wanted: LostIn, progress: Progress) -> None:
    """Brings what a remote has of what is lost."""
    for kind, listing in wanted.needed if any(not cache.has_node(node) for node in wanted.gone.nodes) else ():
        if kind == MANIFEST and not _has_listing(cache, listing):
            with contextlib.suppress(DvliteError):
                fetch.fetch_nodes(catalog, cache, [listing])
    needs = [
        need if need.size_bytes >= 0 else need._replace(size_bytes=size_on(catalog, need.digest) or 0)
        for need in missing_files(cache, wanted)
    ]
    with contextlib.suppress(DvliteError):
        fetch.run(catalog, cache, needs, progress)
        return
    for need in needs:  # one damaged object does not keep the others
        if not cache.has_file(need.digest, need.size_bytes):
            with contextlib.suppress(DvliteError):
                fetch.run(catalog, cache, [need], progress)


def from_workspace(repo: Repo, cache: Cache, wanted: LostIn, progress: Progress) -> None:
    """Brings what is on disk of what is lost: files by their path or by the stat indexes, listings derived from all of a folder."""
    work = Workspace(repo, cache, progress)
    with Writer(cache, progress) as writer:
        if wanted.gone.nodes:
            for path in dict.fromkeys(each.version.path for each in wanted.needed.values() if each.version.path):
                with contextlib.suppress(DvliteError, OSError):
                    _nodes_of(work, path, wanted.gone.nodes, writer, progress)
            writer.commit()
        for need in missing_files(cache, wanted):
            _file_of(work, need, writer)
        for path, digest in _known_files(work, wanted.gone.files):
            _file_of(work, Need(digest, -1, path), writer)
        writer.commit()


class _Either:
    """The nodes that a store or the cache has."""

    def __init__(self, holder: Holder, cache: Cache) -> None:
        self._holder, self._cache = holder, cache

    def read_nodes(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        read = {}
        for digest in digests:
            with contextlib.suppress(DvliteError):
                read[digest] = self._cache.read_node(digest)
        return read | self._holder.read_nodes([digest for digest in digests if digest not in read])

    def lacking(self, files: Sequence[tuple[Digest, int]]) -> set[Digest]:
        return self._holder.lacking(files)


def _has_listing(cache: Cache, root: Digest) -> bool:
    try:
        manifest.node_names(root, cache.read_node)
    except DvliteError:
        return False
    return True


def _nodes_of(work: Workspace, path: str, wanted: set[Digest], writer: Writer, progress: Progress) -> None:
    """Derives the listing of a tracked directory from what is on disk, and keeps the nodes that are lost."""
    scan = work.scan(path)
    if scan is None or scan.paths == [b""]:
        return
    for digest, data in manifest.build(identify(scan, work.stat_rows(path), progress).entries()).nodes:
        if digest in wanted:
            writer.put(KIND_MANIFEST, digest, data)


def _known_files(work: Workspace, wanted: Iterable[Digest]) -> Iterator[tuple[str, Digest]]:
    """Yields where lost files may be in the workspace, by the stat indexes: under any name."""
    has = work.cache
    left = {digest for digest in wanted if not has.has_large(digest) and not has.has_packed(digest, (KIND_FILE,))}
    for path in work.known_paths() if left else ():
        rows = work.stat_rows(path)
        for i, inner in enumerate(rows.scan.paths if rows is not None else ()):
            if rows is not None and rows.digest(i) in left:
                yield f"{path}/{os.fsdecode(inner)}" if inner else path, rows.digest(i)


def _file_of(work: Workspace, need: Need, writer: Writer) -> None:
    """Stores a file of the workspace if its bytes are those that are lost; a size of -1 is not known."""
    path = work.location(need.path)
    if not need.path or work.is_behind_link(need.path):
        return
    with contextlib.suppress(OSError, DvliteError):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = os.fsencode(os.readlink(path))
            if digest_bytes(target) == need.digest:
                writer.put(KIND_FILE, need.digest, target)
        elif stat.S_ISREG(status.st_mode) and need.size_bytes in (-1, status.st_size):
            if digest_path(path)[0] != need.digest:
                return
            if status.st_size > work.cache.pack_below_bytes:
                with open(os.open(path, files.READ), "rb") as file:
                    writer.put_large(file.fileno(), need.path)
            elif (data := files.read_own(path)) is not None and digest_bytes(data) == need.digest:
                writer.put(KIND_FILE, need.digest, data)
