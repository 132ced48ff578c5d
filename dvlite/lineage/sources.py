"""What is known of content beside the runs: pointers in git's history, the lockfiles on disk, what a remote was given, files of git.

Answers walks (`graph.Lookup`), listings (`membership.Known`) and what is to be said of things that no run made.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from dvlite.errors import DvliteError, FormatError
from dvlite.formats import root
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Run
from dvlite.git_output import split
from dvlite.lineage.graph import Thing
from dvlite.lineage.history import History, in_git, locked_now, named_on_disk
from dvlite.lineage.membership import Membership
from dvlite.lineage.opening import World
from dvlite.oid import FILE, MANIFEST, Digest, Oid, parse_oid
from dvlite.results.lineage import Origin

_KEPT = "roots"  # what is remembered of a remote's roots


class Sources:
    """Answers for one question; what it has read once it does not read again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nodes: dict[bytes, bytes] = {}
        self._history = None if world.repo is None else History(world.repo)
        self._records: dict[Oid, Run | None] = {}
        self._paths: dict[tuple[Oid, bool], frozenset[str]] = {}
        self._roots: dict[Oid, root.Root | None] = {}
        self._in_git: frozenset[str] | None = None
        self._contents: frozenset[bytes] | None = None
        self._named_now: dict[Oid, list[str]] | None = None
        self._locked_now: set[Oid] | None = None
        self.listings = Membership(self, self.read_node, bring=lambda names: world.bring(list(names)))

    # --- graph.Lookup ---

    def makers(self, oid: Oid) -> Sequence[tuple[Oid, str]]:
        return self._world.index.makers(oid)

    def users(self, oid: Oid) -> Sequence[tuple[Oid, str]]:
        return self._world.index.users(oid)

    def run(self, oid: Oid) -> Run | None:
        if oid not in self._records:
            self._records[oid] = self._world.index.run(oid)
        return self._records[oid]

    def first(self, oid: Oid, _record: Run) -> int:
        """Ranks runs that made the same: the one that a lockfile names here, then one that some commit's lockfile names."""
        if self._locked_now is None:
            self._locked_now = set() if self._world.repo is None else locked_now(self._world.repo)
        return 0 if oid in self._locked_now else 1 if self.commit_of_run(oid) is not None else 2

    # --- graph.Inside ---

    def holders(self, thing: Thing) -> Sequence[Thing]:
        return () if "/" not in thing.path or self._is_in_git(thing.path) else self.listings.holders(thing)

    def parts(self, thing: Thing, *, made: bool) -> Sequence[Thing]:
        if made and (self._version(thing.oid) is not None or self._is_in_git(thing.path)):
            return ()  # what has a pointer was not put together by runs
        return self.listings.parts(thing, made=made)

    # --- membership.Known ---

    def directories(self) -> Iterable[Thing]:
        yield from (thing for thing in self._tracked_directories() if thing.oid.startswith(MANIFEST))
        known = set()
        for oid in self._world.index.directories():
            known.add(oid)
            for path in self.paths(oid, made=True) | self.paths(oid, made=False):
                yield Thing(oid, path)
        yield from self._directories_of_remote(known)

    def contents(self) -> Container[bytes]:
        if self._contents is None:
            found = (parse_oid(oid) for oid in self._world.index.objects(""))
            self._contents = frozenset(digest for kind, digest in found if kind == FILE)
        return self._contents

    def paths(self, oid: Oid, *, made: bool) -> frozenset[str]:
        key = (oid, made)
        if key not in self._paths:
            ends = self.makers(oid) if made else self.users(oid)
            self._paths[key] = frozenset(path for _, path in ends)
        return self._paths[key]

    # --- what is said of things ---

    def commit_of_run(self, oid: Oid) -> str | None:
        """Returns the commit whose lockfile names a run: by git's history here, else by the notes that came with the records."""
        commit = None if self._history is None else self._history.commit_of_run(oid)
        return commit or next(iter(self._world.index.commits(oid)), None)

    def origin(self, thing: Thing, user: Run | None) -> tuple[Origin, str | None]:
        """Returns where content is from that no run left, and the commit that first names it; `user` is a run that began with it."""
        pointer, commit = self._version(thing.oid) or (None, None)
        if pointer is not None:
            return "data", commit
        if self._world.repo is None:
            found = self._root(thing.oid)
            if found is not None:
                return "data", found.commit or None
        code = None if user is None else user.code.commit
        if self._world.repo is None:  # nothing to look it up in: a file, used at a commit, that was not pushed as data
            return ("code" if code is not None and thing.oid.startswith(FILE) else "unknown"), None
        if self._is_in_git(thing.path):
            return "code", None
        if code is not None and in_git(self._world.repo.git, code, [thing.path]):
            return "code", None
        return "unknown", None

    def named_now(self, oid: Oid) -> list[str]:
        """Returns the paths at which pointers and lockfiles on disk name this content."""
        return self._all_named_now().get(oid, [])

    def _all_named_now(self) -> dict[Oid, list[str]]:
        if self._named_now is None:
            self._named_now = {}
            if self._world.repo is not None:
                for oid, path in named_on_disk(self._world.repo):
                    self._named_now.setdefault(oid, []).append(path)
        return self._named_now

    def named(self, oid: Oid) -> Thing | None:
        """Returns what pointers call this content."""
        found = None if self._history is None else self._history.version(oid)
        if found is not None:
            return thing_of(found.path, found.pointer)
        return next((Thing(oid, path) for path in self.named_now(oid)), None)

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

    def _version(self, oid: Oid) -> tuple[Pointer | str, str | None] | None:
        """Returns that a pointer names this content, and the first commit that does."""
        found = None if self._history is None else self._history.version(oid)
        if found is not None:
            return found.pointer, found.commit
        now = self.named_now(oid)
        return (now[0], None) if now else None

    def _is_in_git(self, path: str) -> bool:
        """Says whether git has a file here now, or files below it: then it is code, whatever else holds the same bytes."""
        if self._in_git is None:
            repo = self._world.repo
            names = [] if repo is None else split(repo.git.run("ls-files", "--cached", "--deduplicate", "-z"))
            self._in_git = frozenset((*names, *(folder for name in names for folder in _above(name))))
        return path in self._in_git

    def _tracked_directories(self) -> Iterator[Thing]:
        """Yields versions of tracked directories, the oldest first: what came with one is in the later ones too."""
        if self._history is not None:
            yield from (thing_of(found.path, found.pointer) for found in reversed(self._history.versions()))
        if self._world.repo is not None:
            yield from (thing_of(item.path, item.pointer) for item in self._world.repo.tracked(broken=[]))

    def _directories_of_remote(self, known: set[Oid]) -> Iterator[Thing]:
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
                yield Thing(oid, posixpath.normpath(body.path), body.size_bytes)

    def _root(self, oid: Oid) -> root.Root | None:
        """Returns the first promise of a remote to hold this content as data."""
        catalog, remote = self._world.catalog, self._world.remote
        if catalog is None or remote is None:
            return None
        if oid not in self._roots:
            entries = catalog.roots(*parse_oid(oid))
            bodies = remote.each(self._read_root, [entry.name for entry, _ in entries])
            found = [body for body in bodies if body is not None]
            self._roots[oid] = min(found, key=lambda body: body.time) if found else None
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
        except (DvliteError, FormatError):  # a stranger's, or gone since it was listed
            return None


def thing_of(path: str, known: Pointer) -> Thing:
    """Returns a version of a tracked path as walks know it."""
    return Thing(known.oid, path, known.size_bytes, known.files)


def _above(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
