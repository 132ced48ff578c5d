"""The names of one version: tracked paths and what is inside of them, outputs of stages, files of git, as `dvlite get` shows them.

Paths are relative to the root of the repository, with `/`. Of listings, no more is read than lies on the way. Links are followed; a link
that leads to nothing, or to a folder, is shown as one. Knows no bytes of files.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import re
import stat
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import pointer
from dvlite.formats.dvc_files import DvcOut
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, SYMLINK, Entry
from dvlite.formats.pointer import Pointer
from dvlite.git.output import TreeEntry
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import Digest, format_oid
from dvlite.paths import ancestors
from dvlite.reading.source import Stores, VersionSource
from dvlite.repo.tracked_paths import Tracked
from dvlite.share.any_repository import FLAGS
from dvlite.share.dvc_reader import name_of
from dvlite.show import quote
from dvlite.store.dvc_objects import DvcName
from dvlite.store.ranged_reader import Span

_OID = re.compile(r"(?:blake3|manifest):[0-9a-f]{64}")
_MOST_LINKS = 40
_LINK_LIMIT_BYTES = 4096
_TOGETHER = 1024  # names looked at together


@dataclass(frozen=True, slots=True)
class Node:
    """A name in a version. A file has a digest if dvlite keeps it, an entry of git if git does; a size that is not known is None."""

    path: str
    kind: Literal["file", "directory", "link"]
    size_bytes: int | None = 0
    digest: Digest | None = None
    git: TreeEntry | None = None
    theirs: DvcName | None = None  # of a file that DVC keeps: its size and digest are known when it was taken
    oid: str = ""
    executable: bool = False
    stage: str = ""
    item: Tracked | None = None  # that it is, or is inside of
    inner: bytes = b""  # its path in that
    target: str = ""  # of a link, where it leads
    real: str = ""  # the path of a folder that was found through a link


class VersionTree:
    """Finds and lists the names of a source. Thread-safe."""

    def __init__(self, source: VersionSource, stores: Stores) -> None:
        self._source, self._stores = source, stores
        self._tracked = {item.path: item for item in source.tracked}
        self._outs = {} if source.theirs is None else source.theirs.outs
        self._paths = sorted({*self._tracked, *self._outs})
        self._several = frozenset(source.several)
        self._targets: dict[Digest, str] = {}  # of links that were met: what they say, by its digest
        self._lock = threading.Lock()
        self._git: dict[str, TreeEntry] | None = None
        self._names: Sequence[str] = ()
        self._sizes: Mapping[str, int] = {}

    def forget_git_files(self) -> None:
        """Has the files of git listed again: those of a work tree change."""
        with self._lock:
            self._git = None

    def find(self, path: str) -> Node | None:
        """Returns what has a path, links followed (on the way, too); None for nothing."""
        wanted, target = path, ""
        for _ in range(_MOST_LINKS):
            node = self._exactly(wanted)
            if node is None:
                node = next(filter(None, (self._link_above(wanted, above) for above in ancestors(wanted))), None)
                if node is None:
                    return None
                rest = wanted[len(node.path) :]
            elif node.kind != "link":
                return node if wanted == path else replace(node, path=path, real=wanted, target=target)
            else:
                rest = ""
            leads_to = self._target(node)
            target = leads_to if node.path == path else target
            to = posixpath.normpath(posixpath.join(posixpath.dirname(node.path), leads_to) + rest)
            if to.startswith(("/", "../")) or to in (".", ".."):
                return None
            wanted = to
        return None

    def children(self, folder: Node) -> list[Node]:
        """Returns what is right in a folder, sorted."""
        path = folder.real or folder.path
        nodes = self._children(path)
        if path == folder.path:
            return nodes
        return [replace(node, path=folder.path + node.path[len(path) :], real=node.path) for node in nodes]

    def _children(self, path: str) -> list[Node]:
        nodes: dict[str, Node] = {}
        above = f"{path}/" if path else ""
        item = self._tracked_at(path)
        if item is not None:
            inner = path[len(item.path) + 1 :]
            for child in self._stores.listings.children(item.pointer.digest, os.fsencode(inner)):
                if isinstance(child, Entry):
                    node = self._of_entry(item, child)
                else:
                    node = Node(above + os.fsdecode(child), "directory", item=item, stage=item.stage)
                nodes[node.path] = node
        else:
            for name in self._below_untracked(path):
                first, slash, _ = name[len(above) :].partition("/")
                child_path = above + first
                if slash:
                    nodes.setdefault(child_path, Node(child_path, "directory"))
                elif (child_node := self._exactly(child_path)) is not None:
                    nodes[child_path] = child_node
        return list(self._all_followed(nodes[name] for name in sorted(nodes)))

    def below(self, folder: Node) -> Iterator[Node]:
        """Yields all below a folder but folders that are not empty, in no particular order."""
        path = folder.real or folder.path
        for node in self._below(path):
            renamed = folder.path + node.path[len(path) :]
            yield node if path == folder.path else replace(node, path=renamed, real=node.path)

    def _below(self, path: str) -> Iterator[Node]:
        item = self._tracked_at(path)
        if item is not None:
            inner = os.fsencode(path[len(item.path) + 1 :])
            entries = self._stores.listings.below(item.pointer.digest, inner)
            yield from self._all_followed(self._of_entry(item, entry) for entry in entries)
            return
        for name in self._below_untracked(path):
            node = self._exactly(name)
            if node is not None and node.kind == "directory" and (name in self._tracked or name in self._outs):
                yield node
                yield from self._below(name)
            elif node is not None:
                yield self._followed(node)

    def _below_untracked(self, path: str) -> list[str]:
        """Returns what dvlite and DVC track, and what git has, below a folder; of a directory of DVC, its files."""
        above = f"{path}/" if path else ""
        names = [*_below(self._paths, above), *_below(self._git_names(), above)]
        found = self._dvc_above(path)
        if found is not None and found[1].is_directory and self._stores.theirs is not None:
            names += _below(sorted(f"{found[0]}/{inner}" for inner in self._stores.theirs.listing(found[0])), above)
        return names

    # --- one path ---

    def _exactly(self, path: str) -> Node | None:
        """Returns what has a path, links not followed."""
        if path == "":
            return Node("", "directory")
        item = self._tracked_at(path)
        if item is not None:
            return self._inside(item, path[len(item.path) + 1 :])
        found = self._dvc_above(path)
        if found is not None:
            return self._inside_dvc(*found, path)
        above = f"{path}/"
        if _has_below(self._paths, above):
            return Node(path, "directory")
        entry = self._git_entries().get(path)
        if entry is not None:
            return self._of_git(path, entry)
        return Node(path, "directory") if _has_below(self._git_names(), above) else None

    def _tracked_at(self, path: str) -> Tracked | None:
        """Returns what a path is, or is inside of, if that is tracked. An oid at the start of a path is that version."""
        for name in (path, *ancestors(path)):
            item = self._tracked.get(name)
            if item is not None:
                return item
            if name in self._several:
                raise UsageError(
                    f"{quote(name)} has several versions in this snapshot",
                    hint="read one of them by its oid, from: dvlite ls --remote URL SNAPSHOT",
                )
        first = path.partition("/")[0]
        if _OID.fullmatch(first) is not None and (version := pointer.from_oid(first)) is not None:
            if version.kind == "file":
                version = Pointer("file", version.digest, self._stores.reader.size_of(version.digest))
            return self._tracked.setdefault(first, Tracked(first, version))
        return None

    def _inside(self, item: Tracked, inner: str) -> Node | None:
        known, listings = item.pointer, self._stores.listings
        if known.kind == "file":
            return (
                None
                if inner
                else _file(item.path, FILE | EXECUTABLE * known.executable, known.size_bytes, known.digest, item)
            )
        if not inner:
            return Node(item.path, "directory", oid=known.oid, stage=item.stage, item=item)
        name = os.fsencode(inner)
        entry = listings.find(known.digest, name)
        if entry is not None:
            return self._of_entry(item, entry)
        path = f"{item.path}/{inner}"
        is_there = listings.has_folder(known.digest, name)
        return Node(path, "directory", item=item, stage=item.stage, inner=name) if is_there else None

    def _dvc_above(self, path: str) -> tuple[str, DvcOut] | None:
        reader = self._stores.theirs
        return None if reader is None else reader.above(path)

    def _inside_dvc(self, name: str, out: DvcOut, path: str) -> Node | None:
        assert self._stores.theirs is not None
        if not out.is_directory:
            return (
                _of_dvc(path, name_of(out), out.size_bytes or None, executable=out.executable) if path == name else None
            )
        if path == name:
            return Node(path, "directory", oid=f"md5:{out.md5}")
        listing, inner = self._stores.theirs.listing(name), path[len(name) + 1 :]
        if inner in listing:
            return _of_dvc(path, listing[inner])
        return Node(path, "directory") if any(each.startswith(inner + "/") for each in listing) else None

    def _of_entry(self, item: Tracked, entry: Entry) -> Node:
        path = f"{item.path}/{os.fsdecode(entry.path)}"
        if entry.kind == EMPTY_DIR:
            return Node(path, "directory", item=item, stage=item.stage)
        return replace(_file(path, entry.flags, entry.size_bytes, entry.digest, item), inner=entry.path)

    # --- links ---

    def _link_above(self, path: str, above: str) -> Node | None:
        """Returns the link that a folder above a path is, if it is one."""
        node = self._exactly(above)
        return node if node is not None and node.kind == "link" else None

    def _all_followed(self, nodes: Iterable[Node]) -> Iterator[Node]:
        """Yields what `_followed` returns of each; what links say is read together."""
        waiting = iter(nodes)
        while part := list(itertools.islice(waiting, _TOGETHER)):
            spans = [span for span in map(_link_span, part) if span is not None and span.digest not in self._targets]
            for span, target in zip(spans, self._stores.reader.read_each(spans) if spans else (), strict=True):
                if isinstance(target, bytes):
                    self._targets[span.digest] = os.fsdecode(target)
            yield from map(self._followed, part)

    def _followed(self, node: Node) -> Node:
        """Returns the file that a link leads to, under the name of the link; a link to anything else as it is."""
        if node.kind != "link":
            return node
        try:
            to = self.find(node.path)
        except DvliteError:  # what it leads to is not there to be read
            return node
        return node if to is None or to.kind != "file" else to

    def _target(self, node: Node) -> str:
        """Returns what a link says."""
        if node.git is not None:
            if self._stores.repo is not None and not node.git.blob:
                return os.readlink(self._stores.repo.root / node.path)
            return os.fsdecode(self._stores.read_git(node.git))
        span = _link_span(node)
        if span is None:
            return ""
        if span.digest not in self._targets:
            self._targets[span.digest] = os.fsdecode(self._stores.reader.read(span))
        return self._targets[span.digest]

    # --- files of git ---

    def _git_entries(self) -> dict[str, TreeEntry]:
        with self._lock:
            if self._git is None:
                files = self._stores.git_files()
                self._sizes = files.sizes
                self._git = {entry.path: entry for entry in files.entries}
                self._names = sorted(self._git)
            return self._git

    def _git_names(self) -> Sequence[str]:
        self._git_entries()
        return self._names

    def _of_git(self, path: str, entry: TreeEntry) -> Node | None:
        repo = self._stores.repo
        if entry.blob or repo is None:
            flags, size, oid = FLAGS[entry.mode], self._sizes.get(entry.blob), f"git:{entry.blob}"
        else:  # of the work tree
            try:
                status = os.lstat(repo.root / path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            if stat.S_ISDIR(status.st_mode):  # a submodule
                return None
            is_link = stat.S_ISLNK(status.st_mode)
            flags = SYMLINK if is_link else FILE | EXECUTABLE * bool(status.st_mode & stat.S_IXUSR)
            size = status.st_size
            oid = f"stat:{status.st_ino}-{status.st_mtime_ns}-{size}"
        kind: Literal["file", "link"] = "link" if flags == SYMLINK else "file"
        return Node(path, kind, size, git=entry, oid=oid, executable=bool(flags & EXECUTABLE))


def _file(path: str, flags: int, size_bytes: int, digest: Digest, item: Tracked) -> Node:
    return Node(
        path,
        "link" if flags == SYMLINK else "file",
        size_bytes,
        digest,
        oid=format_oid(FILE_OID, digest),
        executable=bool(flags & EXECUTABLE),
        stage=item.stage,
        item=item,
    )


def _of_dvc(path: str, name: DvcName, size_bytes: int | None = None, *, executable: bool = False) -> Node:
    return Node(path, "file", size_bytes, theirs=name, oid=f"md5:{name.md5}", executable=executable)


def _link_span(node: Node) -> Span | None:
    """Returns where what a link says is to be read; None for what is no link that dvlite keeps, or longer than one can be."""
    size = node.size_bytes or 0
    if node.kind != "link" or node.digest is None or size > _LINK_LIMIT_BYTES:
        return None
    return Span(node.digest, size, 0, size)


def _below(names: Sequence[str], above: str) -> Sequence[str]:
    """Returns those of sorted names that begin with a folder and '/'."""
    return names[bisect_left(names, above) : bisect_left(names, above[:-1] + "0")] if above else names


def _has_below(names: Sequence[str], above: str) -> bool:
    i = bisect_left(names, above)
    return i < len(names) and names[i].startswith(above)
