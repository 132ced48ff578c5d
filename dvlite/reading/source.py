"""Opens one version of a repository to be read: what it tracks and which files git has, and then the stores that have the bytes.

What a version is, is read once and is plain values, so that it can be sent to other processes; a far repository is cloned as briefly as
its server allows, and the clone is gone before the first byte of data is read. Stores are opened when they are needed, by each process.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dvlite.errors import DvliteError, ObjectMissing
from dvlite.formats.pointer import Pointer
from dvlite.formats.snapshot import Version
from dvlite.git.far import resolve_far
from dvlite.git.output import TreeEntry, is_commit_id
from dvlite.git.program import without_credentials
from dvlite.lineage.context import open_place
from dvlite.oid import MANIFEST, digest_bytes
from dvlite.progress import NullProgress
from dvlite.repo import config_files, remotes
from dvlite.repo.dvc_version import DvcVersion
from dvlite.repo.open_stores import open_remote, plain_cache
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.share.any_repository import (
    Opened,
    cache_to_read,
    from_remote,
    git_files,
    open_any,
    open_to_read,
    own_cache,
    refuse_relative_folder,
)
from dvlite.share.dvc_reader import DvcReader
from dvlite.show import quote
from dvlite.store import snapshots
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.listing_reader import ListingReader
from dvlite.store.ranged_reader import RangedReader
from dvlite.store.remote import Remote, open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import is_place

_CONNECTIONS = 16  # at least: many small requests wait for the server, not for us
_NOWHERE = Path(os.devnull) / "clone"  # in place of the root of a clone that is gone: nothing is inside of it
_GIT_LIMIT_BYTES = 1 << 30
_SMALL_BYTES = 1 << 25  # of all small files of a far commit, that are kept once one of them was read
_PROGRESS = NullProgress()


class GitFiles(NamedTuple):
    """The files that git has in a commit, and the sizes of their blobs, as far as they are known."""

    entries: tuple[TreeEntry, ...]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class VersionSource:
    """One version of a repository, as it was when it was opened. `place`: its folder, or its URL if it `is_far`; '' for a remote alone."""

    place: str
    revision: str | None
    remote: str | None  # a name, or a place
    commit: str  # '' for the pointers on disk, and for a run; of a remote alone, a snapshot
    tracked: tuple[Tracked, ...]
    time: float  # when the commit was made, in unix seconds; of the pointers on disk, the commit that they are based on
    is_far: bool = False
    has_git: bool = True  # False for a remote alone, and for the outputs of a run
    config: bytes = b""  # the committed one of a far repository
    files: GitFiles | None = None  # of a far repository; None: not known (any more)
    several: tuple[str, ...] = ()  # paths of which a snapshot has several versions
    theirs: DvcVersion | None = None  # what DVC tracks there

    @property
    def identity(self) -> str:
        """What tells it from other versions, in every process."""
        tracked = "" if self.commit else repr((self.tracked, self.theirs))
        words = (self.place, self.commit, self.remote, self.has_git, tracked)
        return digest_bytes(repr(words).encode("utf-8", "surrogateescape")).hex()


def open_source(
    repo: str | None, revision: str | None, remote: str | None, environ: Mapping[str, str]
) -> VersionSource:
    """Reads what a version is: of a repository (a folder, a git URL; None: here), or of a remote alone, a snapshot.

    Raises NotARepository, UsageError for a revision or remote that is not there, and what git says of a URL.
    """
    if remote is not None and is_place(remote) and "://" not in remote:
        remote = os.path.abspath(os.path.expanduser(remote))
    if repo is None and remote is not None and is_place(remote):
        return _of_snapshot(remote, revision, environ)
    place = "." if repo is None else os.path.expanduser(repo)
    place = os.path.abspath(place) if os.path.isdir(place) else place
    with open_any(place, ".", revision, environ, _PROGRESS, reads=False) as opened:
        assert opened.repo is not None
        if opened.broken:  # else a name that it is about would be none
            raise opened.broken[0]
        theirs = opened.theirs
        if remote is not None and not is_place(remote):
            theirs = from_remote(opened, remote).theirs
        has_git = not opened.of_run
        if not opened.far:
            root = str(opened.repo.root)
            return VersionSource(
                root,
                revision,
                remote,
                opened.commit,
                tuple(opened.tracked),
                _time(opened),
                has_git=has_git,
                theirs=theirs,
            )
        config = opened.repo.work_tree.read(config_files.COMMITTED_FILE)
        return VersionSource(
            place,
            revision,
            remote,
            opened.commit,
            tuple(opened.tracked),
            _time(opened),
            is_far=True,
            config=config or b"",
            files=_git_files(opened),
            theirs=theirs,
        )


def still_at(
    known: Sequence[VersionSource],
    repo: str | None,
    revision: str | None,
    remote: str | None,
    environ: Mapping[str, str],
) -> VersionSource | None:
    """Returns that of known versions of a far repository which the name still stands for: no clone is needed. One `git ls-remote`, none for a whole commit id."""
    same = [source for source in known if source.is_far and (source.place, source.remote) == (repo, remote)]
    if not same:
        return None
    name = revision or ""
    commit = name if is_commit_id(name) else resolve_far(same[0].place, [name], environ).get(name)
    return next((source for source in same if source.commit == commit), None)


def _git_files(opened: Opened) -> GitFiles:
    assert opened.repo is not None
    entries = git_files(replace(opened, path=""))
    return GitFiles(tuple(entries), opened.repo.git.blob_sizes(entry.blob for entry in entries if entry.blob))


def _time(opened: Opened) -> float:
    assert opened.repo is not None
    git = opened.repo.git
    commit = opened.commit or git.head()
    return float(git.commit_times([commit]).get(commit, 0)) if commit else 0.0


def _of_snapshot(url: str, digits: str | None, environ: Mapping[str, str]) -> VersionSource:
    """Opens a snapshot on a remote, or (without digits) no more than the objects there."""
    if digits is None:
        return VersionSource("", None, url, "", (), 0.0, has_git=False)
    with open_place(url, environ) as remote:
        remote.cache.create()
        catalog = Catalog(remote, _PROGRESS, to_read=True).look()
        if catalog.is_empty:
            raise catalog.empty_error()
        digest = snapshots.chosen(remote, digits)
        versions = list(snapshots.versions(catalog, digest))
        times = [entry.modified for entry, name in snapshots.listed(remote) if name.snapshot == digest]
    counted = Counter(version.path for version in versions)
    tracked = tuple(Tracked(version.path, _pointer_of(version)) for version in versions if counted[version.path] == 1)
    several = tuple(path for path, count in counted.items() if count > 1)
    time = max(times, default=0.0)
    return VersionSource("", digits, url, digest.hex(), tracked, time, has_git=False, several=several)


def _pointer_of(version: Version) -> Pointer:
    kind = "directory" if version.kind == MANIFEST else "file"
    return Pointer(kind, version.digest, version.size_bytes, executable=version.executable)


class Stores:
    """What one process has open for a source: its cache, its remote (from the first need on), its work tree."""

    def __init__(self, source: VersionSource, environ: Mapping[str, str]) -> None:
        self._source, self._environ = source, environ
        self._open = contextlib.ExitStack()
        self._files = source.files
        self._blobs: dict[str, bytes] = {}
        self.repo: Repo | None = None
        if source.place and not source.is_far:
            self.repo = open_to_read(Path(source.place), environ)
            config = self.repo.config
            cache = self._open.enter_context(cache_to_read(self.repo))
        else:
            config = config_files.load(None, environ, committed=source.config or None)
            own = own_cache(config, environ)
            cache = own or plain_cache(Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="dvlite-"))))
        self.reader = RangedReader(cache, self._look)
        self.listings = ListingReader(self.reader.read_nodes)
        self.theirs: DvcReader | None = None
        if source.theirs is not None:
            cache.pack_below_bytes = 0  # files come one by one: a pack for each would be many
            reader = DvcReader(source.theirs, config, environ, cache)
            self.theirs = self._open.enter_context(contextlib.closing(reader))

    def close(self) -> None:
        """Closes the remote."""
        self._open.close()

    @property
    def cache(self) -> Cache:
        return self.reader.cache

    def git_files(self) -> GitFiles:
        """Returns the files that git has, but for pointers and its own; of a work tree, those that it has now."""
        source = self._source
        if not source.has_git:
            return GitFiles((), {})
        if self.repo is not None:
            return _git_files(Opened(self.repo, self.cache, (), "", source.commit, theirs=source.theirs))
        if self._files is None:
            with self._cloned() as opened:
                self._files = _git_files(opened)
        return self._files

    def read_git(self, entry: TreeEntry) -> bytes:
        """Returns a file that git has. Of a far repository, the first read clones again, and keeps the small files of the commit."""
        if self.repo is not None:
            return self.repo.git.read_blobs([entry.blob], limit_bytes=_GIT_LIMIT_BYTES)[entry.blob]
        if entry.blob not in self._blobs:
            limits, left = {entry.blob: _GIT_LIMIT_BYTES}, _SMALL_BYTES
            for blob, size in self.git_files().sizes.items():
                left -= size
                if left > 0:
                    limits.setdefault(blob, size)
            with self._cloned(entry.path) as opened:
                assert opened.repo is not None
                self._blobs |= dict(opened.repo.git.each_blob(limits))
        return self._blobs[entry.blob]

    @contextlib.contextmanager
    def _cloned(self, path: str = ".") -> Iterator[Opened]:
        """Clones a far repository again, at the same commit: where the name does not lead to it any more, by its id."""
        source = self._source
        with contextlib.ExitStack() as stack:
            for revision in dict.fromkeys((source.revision, source.commit)):
                opened = stack.enter_context(open_any(source.place, path, revision, self._environ, _PROGRESS))
                if opened.commit == source.commit:
                    yield opened
                    return
        place = quote(without_credentials(source.place))
        raise DvliteError(f"the commit {source.commit[:8]} is gone from {place}", hint="open it again")

    def _look(self) -> Catalog:
        """Opens the remote and looks at what it holds. Raises Untrusted, RemoteError, and ObjectMissing where there is none."""
        with contextlib.ExitStack() as opening:
            remote = opening.enter_context(self._remote())
            catalog = Catalog(remote, _PROGRESS, to_read=True).look()
            self._open.push(opening.pop_all())
        return catalog

    def _remote(self) -> contextlib.AbstractContextManager[Remote]:
        name = self._source.remote
        if name is not None and is_place(name):
            return open_place(name, self._environ)
        if self.repo is not None:
            repo = self.repo.open_other(self.repo.root)  # the user may have approved the remote since
            _require_remote(repo.config.remote_names)
            return open_remote(repo, self.cache, name, max(repo.config.jobs, _CONNECTIONS))[1]
        config = config_files.load(None, self._environ, committed=self._source.config)
        _require_remote(config.remote_names)
        refuse_relative_folder(config, _NOWHERE, name)
        settings = remotes.settings(config, name, _NOWHERE)
        jobs = max(config.jobs, _CONNECTIONS)
        budget = RetryBudget(config.retry_seconds)
        store = open_store(settings.location, settings.options, budget=budget, connections=jobs)
        return Remote(store, self.cache, settings.key, jobs=jobs)


def _require_remote(names: object) -> None:
    if not names:
        raise ObjectMissing(
            "it is not in the cache, and no remote is configured there",
            hint="dvlite remote add URL, in that repository, and dvlite push",
        )
