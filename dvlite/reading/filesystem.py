"""`dvlite://`: one version of a repository as a file system of fsspec, read-only (docs/reference/filesystem.md).

Bytes come from the work tree where they are known to be those of the version, else from the cache, else as ranges from the remote. Owns
fsspec, with `store.fsspec_store`. An instance stands for one resolved version; threads may share it, processes get their own stores.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.config import apply_config
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from fsspec.utils import isfilelike, tokenize

from dvlite import files
from dvlite.errors import DvliteError, UsageError
from dvlite.oid import FILE, format_oid
from dvlite.reading.os_errors import as_os_error, as_os_errors
from dvlite.reading.read_ahead import ReadAhead
from dvlite.reading.source import Stores, VersionSource, open_source, still_at
from dvlite.reading.version_tree import Node, VersionTree
from dvlite.reading.work_tree import WorkTree
from dvlite.show import closest, quote
from dvlite.store.ranged_reader import Span
from dvlite.store.remote import Traffic
from dvlite.workspace.purged import failure_of, purged_file

_OPTIONS = {
    "skip_instance_cache",
    "use_listings_cache",
    "listings_expiry_time",
    "max_paths",
    "asynchronous",
    "loop",
}  # of fsspec
_INSTANCES = 16  # kept: each may have connections
_LINE_BYTES = 64 << 10  # read for a line
_THREADS = 4  # that read ahead
_TOGETHER_BYTES = 64 << 20  # of files copied at a time
_AHEAD = ReadAhead.name


class _OpenVersion:
    """What one process has open for an instance."""

    def __init__(self, source: VersionSource) -> None:
        self.process = os.getpid()
        self.stores = Stores(source, os.environ)
        self.tree = VersionTree(source, self.stores)
        self.work_tree = None if self.stores.repo is None else WorkTree(self.stores.repo, self.stores.cache)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dvlite-ahead")

    def close(self) -> None:
        if self.process == os.getpid():  # connections and threads of another process are not ours to end
            self.threads.shutdown(wait=False, cancel_futures=True)
            self.stores.close()


class _OneForEachVersion(type(AbstractFileSystem)):  # type: ignore[misc]  # fsspec has no types
    """Gives out one instance for each version, however it was named and by whatever thread: names are resolved each time."""

    def __call__(
        cls,
        repo: str | os.PathLike[str] | None = None,
        rev: str | None = None,
        remote: str | None = None,
        *,
        source: VersionSource | None = None,
        **options: Any,
    ) -> DvliteFileSystem:
        given = {"repo": None if repo is None else os.fspath(repo), "rev": rev, "remote": remote}
        options = apply_config(cls, options | {name: value for name, value in given.items() if value is not None})
        named = {name: options.pop(name) for name in given if name in options}
        for option in sorted(options.keys() - _OPTIONS):
            close = closest(option, given)
            hint = f"did you mean '{close}'?" if close else f"its options: {', '.join(given)}"
            raise UsageError(f"{quote(option)} is not an option of dvlite://", hint=hint)
        is_kept = not options.pop("skip_instance_cache", False)
        if source is None:
            known = [version.source for version in cls._cache.values()] if is_kept else []
            with as_os_errors():
                asked = named.get("repo"), named.get("rev"), named.get("remote")
                source = still_at(known, *asked, os.environ) or open_source(*asked, os.environ)
        token = tokenize(cls.__name__, source.identity)
        key = (os.getpid(), token)
        kept: DvliteFileSystem | None = cls._cache.get(key) if is_kept else None
        if kept is not None:
            kept.forget_git_files()
            return kept
        version: DvliteFileSystem = super().__call__(source=source, skip_instance_cache=True, **options)
        version.storage_options = named
        version._fs_token_ = token
        if is_kept:
            cls._cache[key] = version
            for old in list(cls._cache)[:-_INSTANCES]:
                cls._cache.pop(old, None)
        return version


class DvliteFileSystem(AbstractFileSystem, metaclass=_OneForEachVersion):  # type: ignore[misc]
    """One version of a repository, read-only.

    `repo` is a folder or a git URL (None: the repository here), `rev` a revision or a run (None: the pointers on disk, or the default branch
    of a URL), `remote` the name or the place of the remote to read from. With a place and no `repo`, `rev` is a snapshot there.
    """

    protocol = "dvlite"
    root_marker = ""

    def __init__(self, *, source: VersionSource, **options: Any) -> None:
        super().__init__(**options)
        self.source = source
        self._opened: _OpenVersion | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[..., DvliteFileSystem], tuple[object, ...]]:
        """What a version is goes along, so that no other process resolves it again, or clones."""
        return _rebuilt, (type(self), replace(self.source, files=None), self.storage_options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        if isinstance(stripped, list):
            return stripped
        return "/".join(part for part in stripped.split("/") if part not in ("", "."))

    @property
    def traffic(self) -> Traffic:
        """What this process has read from the remote through this instance."""
        return self._now_open.stores.reader.traffic

    @property
    def _now_open(self) -> _OpenVersion:
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            if opened is not None:
                self._lock = threading.Lock()  # another thread of the other process may have held it
            with self._lock:
                if self._opened is None or self._opened.process != os.getpid():
                    self._opened = _OpenVersion(self.source)
                    weakref.finalize(self, self._opened.close)
                opened = self._opened
        return opened

    def forget_git_files(self) -> None:
        """Has the files that git has of a work tree listed again."""
        if not self.source.commit and self._opened is not None:
            self._now_open.tree.forget_git_files()

    # --- names ---

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return self._shown(self._find(path))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:  # noqa: FBT001, FBT002
        node = self._find(path)
        with as_os_errors(node.path):
            nodes = self._now_open.tree.children(node) if node.kind == "directory" else [node]
        return [self._shown(child) for child in nodes] if detail else [child.path for child in nodes]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002
        detail: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Lists all below a folder but links that lead to no file, with one pass through listings where no depth is asked for."""
        if maxdepth is not None:
            shown = super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
            shown = {name: facts for name, facts in shown.items() if facts.get("type") != "link"}
            return shown if detail else list(shown)
        try:
            node = self._find(path)
        except FileNotFoundError:
            return {} if detail else []
        nodes = {node.path: node} if node.kind != "directory" or (withdirs and node.path) else {}
        with as_os_errors():
            for below in self._now_open.tree.below(node) if node.kind == "directory" else ():
                if withdirs:
                    for above in _folders(below.path, node.path):
                        if above in nodes:
                            break
                        nodes[above] = Node(above, "directory")
                if below.kind == "file" or (withdirs and below.kind == "directory"):
                    nodes[below.path] = below
        names = sorted(nodes)
        return {name: self._shown(nodes[name]) for name in names} if detail else names

    def exists(self, path: str, **kwargs: Any) -> bool:
        try:
            self._find(path)
        except FileNotFoundError:
            return False
        return True

    def ukey(self, path: str) -> str:
        """Returns the oid of a file: caches of fsspec know by it that a content is the same."""
        shown = self.info(path)
        return str(shown.get("oid") or tokenize(shown))

    def checksum(self, path: str) -> int:
        return int(tokenize(self.ukey(path)), 16)

    def modified(self, path: str) -> datetime:
        """Returns when the commit was made."""
        self._find(path)
        return datetime.fromtimestamp(self.source.time, UTC)

    created = modified

    def _find(self, path: str) -> Node:
        name = self._strip_protocol(path)
        with as_os_errors(name):
            node = self._now_open.tree.find(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return node

    def _file(self, path: str) -> Node:
        node = self._find(path)
        if node.kind == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), node.path)
        if node.kind == "link":
            raise FileNotFoundError(errno.ENOENT, "the link leads to no file", node.path)
        return node

    def _shown(self, node: Node) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": node.path, "size": node.size_bytes, "type": node.kind}
        if node.oid:
            shown["oid"] = node.oid
        if node.kind != "directory":
            shown["executable"] = node.executable
        if node.stage:
            shown["stage"] = node.stage
        if node.target:
            shown |= {"islink": True, "destination": node.target}
        return shown

    # --- bytes ---

    def read_ranges(self, wanted: Sequence[tuple[str, int | None, int | None]]) -> list[bytes | Exception]:
        """Returns `path[start:end]` of each, or the error for it; what several need travels once. Offsets count as those of slices do."""
        results: list[bytes | Exception] = []
        asked: list[tuple[int, Node, int, int]] = []
        known: dict[str, Node | Exception] = {}
        self._bring_theirs(dict.fromkeys(path for path, *_ in wanted))
        for number, (path, start, end) in enumerate(wanted):
            if path not in known:
                try:
                    known[path] = self._sized(self._file(path))
                except (DvliteError, OSError) as error:
                    known[path] = error
            node = known[path]
            results.append(b"" if isinstance(node, Node) else node)
            if isinstance(node, Node):
                first, last, _ = slice(start, end).indices(node.size_bytes or 0)
                asked.append((number, node, first, max(first, last)))
        for (number, *_), result in zip(asked, self._read([wish[1:] for wish in asked]), strict=True):
            results[number] = result
        return results

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        return _bytes_of(self.read_ranges([(path, start, end)])[0])

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        begins = starts if isinstance(starts, list) else [starts] * len(paths)
        stops = ends if isinstance(ends, list) else [ends] * len(paths)
        results = self.read_ranges(list(zip(paths, begins, stops, strict=True)))
        return results if on_error == "return" else [_bytes_of(result) for result in results]

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        paths = self.expand_path(path, recursive=recursive)
        if len(paths) == 1 and isinstance(path, str) and paths[0] == self._strip_protocol(path):
            return self.cat_file(paths[0])
        if recursive:
            paths = [name for name in paths if not self.isdir(name)]
        contents = {}
        for name, result in zip(paths, self.read_ranges([(name, None, None) for name in paths]), strict=True):
            if on_error == "return" or not isinstance(result, Exception):
                contents[name] = result
            elif on_error == "raise":
                raise result
        return contents

    def get_file(
        self, rpath: str, lpath: Any, callback: Callback = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any
    ) -> None:
        """Copies a file; it appears complete or not at all. Of `get`, only the paths are noted in `pairs`."""
        pairs = kwargs.get("pairs")
        if pairs is not None:
            pairs.append((rpath, lpath))
        elif outfile is not None or isfilelike(lpath):
            with self.open(rpath) as file:
                for piece in iter(partial(file.read, self.blocksize), b""):
                    (lpath if outfile is None else outfile).write(piece)
                    callback.relative_update(len(piece))
        else:
            callback.set_size(self._find(rpath).size_bytes)
            self._copy([(rpath, lpath)], callback)

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,  # noqa: FBT001, FBT002
        callback: Callback = DEFAULT_CALLBACK,
        **kwargs: Any,
    ) -> None:
        """Copies files; small ones come together."""
        pairs: list[tuple[str, str]] = []
        super().get(rpath, lpath, recursive=recursive, pairs=pairs, **kwargs)
        callback.set_size(len(pairs))
        self._copy(pairs, callback, counts_files=True)

    def _copy(self, pairs: Sequence[tuple[str, str]], callback: Callback, *, counts_files: bool = False) -> None:
        """Writes files, as many small ones at a time as fit into memory."""
        waiting: list[tuple[Node, Path]] = []
        waiting_bytes = 0

        def write_waiting() -> None:
            contents = self._read([(node, 0, node.size_bytes or 0) for node, _ in waiting])
            for (_, target), content in zip(waiting, contents, strict=True):
                files.write_atomic(target, _bytes_of(content), sync=False)
                callback.relative_update(1 if counts_files else len(content))  # type: ignore[arg-type]
            waiting.clear()

        self._bring_theirs(rpath for rpath, _ in pairs)
        for rpath, lpath in pairs:
            target, node = Path(lpath), self._find(rpath)
            if node.kind == "directory":
                target.mkdir(parents=True, exist_ok=True)
                continue
            node = self._sized(self._file(rpath))
            target.parent.mkdir(parents=True, exist_ok=True)
            if (node.size_bytes or 0) > _TOGETHER_BYTES:
                self._stream(node, target)
                callback.relative_update(1 if counts_files else node.size_bytes)
                continue
            waiting.append((node, target))
            waiting_bytes += node.size_bytes or 0
            if waiting_bytes > _TOGETHER_BYTES:
                write_waiting()
                waiting_bytes = 0
        write_waiting()

    def _stream(self, node: Node, target: Path) -> None:
        """Writes a large file in pieces; gives it its name when all of it is there."""
        temporary = target.parent / files.temporary_name()
        copy = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with self.open(node.path) as source:
                for piece in iter(partial(source.read, self.blocksize), b""):
                    files.write_all(copy, piece)
            os.replace(temporary, target)
        finally:
            os.close(copy)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def _bring_theirs(self, paths: Iterable[str]) -> None:
        """Brings files that DVC keeps, if there are several; what is wrong with one shows when it is read."""
        reader = self._now_open.stores.theirs
        if reader is None:
            return
        with as_os_errors():
            nodes = (self._now_open.tree.find(self._strip_protocol(path)) for path in paths)
            names = [node.theirs for node in nodes if node is not None and node.theirs is not None]
            if len(names) > 1:
                reader.bring(names)

    def _sized(self, node: Node) -> Node:
        """Returns a file with its size, which is not known of a large one that git has in a far repository, nor of what DVC keeps, before it came."""
        if node.theirs is not None:
            reader = self._now_open.stores.theirs
            assert reader is not None
            with as_os_errors(node.path):
                stored = reader.file(node.path, node.theirs)
            return replace(
                node, size_bytes=stored.size_bytes, digest=stored.digest, oid=format_oid(FILE, stored.digest)
            )
        if node.size_bytes is not None or node.git is None:
            return node
        with as_os_errors():
            size = len(self._now_open.stores.read_git(node.git))
        return Node(node.path, node.kind, size, git=node.git, oid=node.oid, executable=node.executable)

    def _read(self, wanted: Sequence[tuple[Node, int, int]]) -> list[bytes | Exception]:
        """Returns ranges of files, which are known to lie within them, or the errors for them."""
        opened = self._now_open
        results: list[bytes | Exception | None] = []
        for node, start, end in wanted:
            try:
                with as_os_errors():
                    results.append(_near(opened, node, start, end))
            except (DvliteError, OSError) as error:
                results.append(error)
        left = [number for number, result in enumerate(results) if result is None]
        spans = []
        for number in left:
            node, start, end = wanted[number]
            assert node.digest is not None
            spans.append(Span(node.digest, node.size_bytes or 0, start, end))
        for number, result in zip(left, opened.stores.reader.read_each(spans) if spans else (), strict=True):
            failure = self._failure(wanted[number][0], result) if isinstance(result, DvliteError) else None
            results[number] = failure or result
        return [b"" if result is None else result for result in results]

    def _failure(self, node: Node, error: DvliteError) -> Exception:
        """Returns the error for a file that cannot be read: what became of it, if it was purged."""
        by = None if node.digest is None else self._now_open.stores.reader.tombstone(node.digest)
        if by is not None:
            error = failure_of([purged_file(node.path, by)]) or error
        return as_os_error(error, node.path)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,  # noqa: FBT001, FBT002
        cache_options: dict[str, Any] | None = None,
        cache_type: str | None = None,
        **kwargs: Any,
    ) -> DvliteFile:
        if mode != "rb":
            _refuse(path)
        node = self._sized(self._file(path))
        return DvliteFile(self, node, block_size, cache_type=cache_type, cache_options=cache_options)

    # --- what a version refuses ---

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: FBT001, FBT002
        _refuse(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        _refuse(path)

    def rmdir(self, path: str) -> None:
        _refuse(path)

    def rm_file(self, path: str) -> None:
        _refuse(path)

    def _rm(self, path: str) -> None:
        _refuse(path)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:  # noqa: FBT001, FBT002
        _refuse(path)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        _refuse(path2)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:  # noqa: FBT001, FBT002
        _refuse(path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        _refuse(path)

    def put_file(self, lpath: str, rpath: str, callback: Callback = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        _refuse(rpath)


class DvliteFile(AbstractBufferedFile):  # type: ignore[misc]
    """An open file of a version."""

    def __init__(
        self,
        fs: DvliteFileSystem,
        node: Node,
        block_size: int | None,
        *,
        cache_type: str | None,
        cache_options: dict[str, Any] | None,
    ) -> None:
        is_own = cache_type in (None, _AHEAD)
        self._node = node
        super().__init__(
            fs,
            node.path,
            "rb",
            block_size or (_LINE_BYTES if is_own else "default"),
            cache_type="none" if is_own else cache_type,
            cache_options={} if is_own else cache_options,
            size=node.size_bytes,
        )
        if is_own:
            self.cache = ReadAhead(self._fetch_range, node.size_bytes or 0, self._submit)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return _bytes_of(self.fs._read([(self._node, start, min(end, self.size))])[0])  # noqa: SLF001

    def _submit(self, work: Callable[[], bytes]) -> Future[bytes]:
        opened: _OpenVersion = self.fs._now_open  # noqa: SLF001
        return opened.threads.submit(work)


def _near(opened: _OpenVersion, node: Node, start: int, end: int) -> bytes | None:
    """Returns a range of a file of git, or of one that the work tree is known to have; None for any other."""
    if node.git is not None:
        repo = opened.stores.repo
        if node.git.blob or repo is None:
            return opened.stores.read_git(node.git)[start:end]
        descriptor = os.open(repo.root / node.path, files.READ | files.NO_FOLLOW)
        try:
            return files.read_at(descriptor, end - start, start)
        finally:
            os.close(descriptor)
    return None if opened.work_tree is None else opened.work_tree.read(node, start, end)


def _bytes_of(result: bytes | Exception) -> bytes:
    if isinstance(result, Exception):
        raise result
    return result


def _folders(path: str, top: str) -> Iterator[str]:
    """Yields the folders above a path, up to the one below `top`."""
    while (path := path.rpartition("/")[0]) and path != top:
        yield path


def _refuse(path: str) -> NoReturn:
    raise OSError(errno.EROFS, "a version cannot be changed", path)


def _rebuilt(cls: type[DvliteFileSystem], source: VersionSource, named: dict[str, Any]) -> DvliteFileSystem:
    instance: DvliteFileSystem = cls(source=source, **named)
    return instance
