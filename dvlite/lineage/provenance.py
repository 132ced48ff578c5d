"""What is known of content beside the runs: pointers in git's history, the lockfiles on disk, what a remote was given, files of git.

Answers walks (`graph.Lookup`), listings (`membership.Known`) and what is to be said of things that no run made.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.formats import root
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Run
from dvlite.git.output import split
from dvlite.lineage.context import Context
from dvlite.lineage.directories import Membership
from dvlite.oid import FILE, MANIFEST, Digest, Oid, parse_oid
from dvlite.paths import ancestors
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.history import History, in_git, locked_now, named_on_disk
from dvlite.runs.queries import TELLING_BYTES, Ends, Lookups, Node, Ran

_KEPT = "roots"  # what is remembered of a remote's roots


Origin = Literal["run", "stage", "data", "code", "directory", "unknown"]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where content is from that no run here left: the first commit that names it, or the stage of a lockfile that names it."""

    origin: Origin
    commit: str | None = None
    stage: str = ""
    lockfile: str = ""


class Sources:
    """Answers for one question; what it has read once it does not read again."""

    def __init__(self, world: Context) -> None:
        self._world = world
        self.lookups = Lookups(world.index)
        self._nodes: dict[bytes, bytes] = {}
        self._history = None if world.repo is None else History(world.repo)
        self._records: dict[Oid, Run | None] = {}
        self._roots: dict[Oid, root.Root | None] = {}
        self._in_git: frozenset[str] | None = None
        self._named_now: dict[Oid, list[Tracked]] | None = None
        self._locked_now: set[Oid] | None = None
        self._commits: dict[Oid, str | None] = {}
        self.listings = Membership(self, self.read_node, bring=lambda names: world.bring(list(names)))

    # --- graph.Lookup ---

    def makers(self, oids: Sequence[Oid]) -> Ends:
        return self.lookups.makers(oids)

    def users(self, oids: Sequence[Oid]) -> Ends:
        return self.lookups.users(oids)

    def runs(self, oids: Sequence[Oid], *, inputs: bool) -> Mapping[Oid, Ran]:
        return self.lookups.runs(oids, inputs=inputs)

    def record(self, oid: Oid) -> Run | None:
        """Returns a run's whole record, or None for a run that is not known."""
        if oid not in self._records:
            self._records[oid] = self._world.index.run(oid)
        return self._records[oid]

    def first(self, oid: Oid) -> int:
        """Ranks runs that made the same: the one that a lockfile names here, then one that some commit's lockfile names."""
        if self._locked_now is None:
            self._locked_now = set() if self._world.repo is None else locked_now(self._world.repo)
        return 0 if oid in self._locked_now else 1 if self.commit_of_run(oid) is not None else 2

    # --- graph.Inside ---

    def holders(self, thing: Node, *, every: bool) -> Sequence[Node]:
        if thing.inside is not None and not every:
            return (self._sized(*thing.inside),)
        if "/" not in thing.path or self._is_in_git(thing.path):
            return ()
        return self.listings.holders(thing, every=every)

    def parts(self, thing: Node, *, made: bool) -> Sequence[Node]:
        if not thing.oid.startswith(MANIFEST) or not thing.path:
            return ()
        if made and (self._named(thing) is not None or self._is_in_git(thing.path)):
            return ()  # what has a pointer was not put together by runs
        among = self.lookups.below(thing.path, made=made)
        recorded = [] if made or not among else self.lookups.parts(thing)
        rest = [part for part in among if part not in recorded]
        return [*recorded, *self.listings.parts(thing, rest)]

    def _sized(self, path: str, oid: Oid) -> Node:
        """Returns a directory with its totals: those who name it as the holder of something do not say them."""
        known = None if self._history is None else self._history.version(oid)
        if known is not None:
            return Node(oid, path, known.pointer.size_bytes, known.pointer.files)
        now = self._named_on_disk(oid)
        if now is not None:
            return Node(oid, path, now.pointer.size_bytes, now.pointer.files)
        amount = self.lookups.amount(oid)
        if amount is not None:
            return Node(oid, path, *amount)
        body = None if self._world.repo is not None else self._root(oid)
        return Node(oid, path, 0 if body is None else body.size_bytes)

    # --- membership.Known ---

    def directories(self) -> Iterable[Node]:
        tracked = [thing for thing in self._tracked_directories() if thing.oid.startswith(MANIFEST)]
        known = self.lookups.directories()
        yield from (*tracked, *known, *self._directories_of_remote({thing.oid for thing in known}))

    # --- what is said of things ---

    def commit_of_run(self, oid: Oid) -> str | None:
        """Returns the commit whose lockfile names a run: by git's history here, else by the notes that came with the records."""
        self.commits_of_runs([oid])
        return self._commits[oid]

    def commits_of_runs(self, oids: Iterable[Oid]) -> None:
        """Looks up the commits of many runs together, for `commit_of_run`."""
        new = [oid for oid in oids if oid not in self._commits]
        for oid in new:
            self._commits[oid] = None if self._history is None else self._history.commit_of_run(oid)
        noted = self.lookups.commits([oid for oid in new if self._commits[oid] is None])
        self._commits.update(noted)

    def source(self, thing: Node, user: Oid | None) -> DataSource:
        """Returns where content is from that no run left; `user` is a run that began with it."""
        named = self._named(thing)
        if named is not None:
            return named
        noted = self.lookups.source(thing.oid)
        if noted is not None:
            return DataSource("data", noted)
        row = None if user is None else self._world.index.row(user)
        code = None if row is None else row.code
        if self._world.repo is None:
            body = self._root(thing.oid)
            if body is not None:
                return DataSource("data", body.commit or None)
            # Nothing to look it up in: a file, used at a commit, that was not pushed as data.
            return DataSource("code" if code is not None and thing.oid.startswith(FILE) else "unknown")
        if self._is_in_git(thing.path) or (code is not None and in_git(self._world.repo.git, code, [thing.path])):
            return DataSource("code")
        return DataSource("unknown")

    def named_now(self, oid: Oid) -> list[str]:
        """Returns the paths at which pointers and lockfiles on disk name this content."""
        return [item.path for item in self._all_named_now().get(oid, ())]

    def is_tracked_now(self, path: str) -> bool:
        """Says whether a pointer or lockfile on disk names a path, whatever it holds."""
        return any(item.path == path for items in self._all_named_now().values() for item in items)

    def _named_on_disk(self, oid: Oid) -> Tracked | None:
        return next(iter(self._all_named_now().get(oid, ())), None)

    def _all_named_now(self) -> dict[Oid, list[Tracked]]:
        if self._named_now is None:
            self._named_now = {}
            if self._world.repo is not None:
                for oid, item in named_on_disk(self._world.repo):
                    self._named_now.setdefault(oid, []).append(item)
        return self._named_now

    def named(self, oid: Oid) -> Node | None:
        """Returns what pointers and lockfiles call this content."""
        found = None if self._history is None else self._history.version(oid)
        if found is not None:
            return thing_of(found.path, found.pointer)
        now = self._named_on_disk(oid)
        return None if now is None else thing_of(now.path, now.pointer)

    def add_listing(self, nodes: Mapping[bytes, bytes]) -> None:
        """Makes a listing readable that was made here, of a folder on disk."""
        self._nodes.update(nodes)

    def read_node(self, digest: Digest) -> bytes:
        """Returns the verified bytes of a listing's node; raises ObjectMissing."""
        known = self._nodes.get(digest)
        return known if known is not None else self._world.cache.read_node(digest)

    def pointers_starting(self, digits: str) -> list[Oid]:
        """Returns the content whose hex digits start so and that pointers of any commit name."""
        versions = [] if self._history is None else self._history.versions()
        oids = [*(found.pointer.oid for found in versions), *self._all_named_now()]
        return [oid for oid in dict.fromkeys(oids) if oid.partition(":")[2].startswith(digits)]

    def _named(self, thing: Node) -> DataSource | None:
        """Returns the first commit whose pointers name this content, or what names it on disk; few bytes only under the same path."""
        telling = thing.size_bytes >= TELLING_BYTES or not thing.path
        found = None if self._history is None else self._history.version(thing.oid, None if telling else thing.path)
        if found is not None:
            return DataSource("data", found.commit)
        for item in self._all_named_now().get(thing.oid, ()):
            if telling or item.path == thing.path:
                return DataSource("stage" if item.lockfile else "data", None, item.stage, item.lockfile)
        return None

    def _is_in_git(self, path: str) -> bool:
        """Says whether git has a file here now, or files below it: then it is code, whatever else holds the same bytes."""
        if self._in_git is None:
            repo = self._world.repo
            names = [] if repo is None else split(repo.git.run("ls-files", "--cached", "--deduplicate", "-z"))
            self._in_git = frozenset((*names, *(folder for name in names for folder in ancestors(name))))
        return path in self._in_git

    def _tracked_directories(self) -> Iterator[Node]:
        """Yields versions of tracked directories, the oldest first: what came with one is in the later ones too."""
        if self._history is not None:
            yield from (thing_of(found.path, found.pointer) for found in reversed(self._history.versions()))
        if self._world.repo is not None:
            yield from (thing_of(item.path, item.pointer) for item in self._world.repo.work_tree.tracked(broken=[]))

    def _directories_of_remote(self, known: set[Oid]) -> Iterator[Node]:
        """Yields the directories that the remote was given and that nobody else names: one request for each, once."""
        remote = self._world.remote
        if self._world.repo is not None or remote is None:
            return
        names = {}
        for entry in remote.store.list(root.FOLDER).entries:
            parsed = root.parse_name(entry.name)
            if parsed is not None and parsed.kind == MANIFEST:
                oid = Oid(f"{MANIFEST}:{parsed.digest.hex()}")
                if oid not in known:
                    names[oid] = entry.name
        for oid, body in zip(names, remote.each(self._read_root, list(names.values())), strict=True):
            if body is not None:
                yield Node(oid, posixpath.normpath(body.path), body.size_bytes)

    def _root(self, oid: Oid) -> root.Root | None:
        """Returns the first promise of a remote to hold this content as data."""
        catalog, remote = self._world.catalog, self._world.remote
        if catalog is None or remote is None:
            return None
        if oid not in self._roots:
            entries = catalog.roots(*parse_oid(oid))
            bodies = remote.each(self._read_root, [entry.name for entry, _ in entries])
            found = [body for body in bodies if body is not None]
            self._roots[oid] = min(found, key=lambda body: (not body.commit, body.time)) if found else None
        return self._roots[oid]

    def _read_root(self, name: str) -> root.Root | None:
        remote = self._world.remote
        assert remote is not None
        short = name.removeprefix(root.FOLDER)
        try:
            data = remote.kept(_KEPT, short)
            if data is None:
                data = remote.get(name, end=root.MAX_BYTES + 1)
                remote.keep(_KEPT, short, data)
            return root.parse(data, f"{name} on {self._world.label}")
        except DvliteError:  # a stranger's, or gone since it was listed
            return None


def thing_of(path: str, known: Pointer) -> Node:
    """Returns a version of a tracked path as walks know it."""
    return Node(known.oid, path, known.size_bytes, known.files)
