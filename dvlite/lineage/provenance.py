"""Where content comes from, by everything that names it: runs, pointers in git's history, lockfiles on disk, a remote's snapshots, git's files.

Implements the lookup of walks (`walk.Lookup`) and the directories that listings are searched in (`directories.KnownDirectories`).
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dvlite.errors import DvliteError
from dvlite.formats.manifest import ReadNode
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Input, Run
from dvlite.formats.snapshot import Version
from dvlite.formats.source import ImportSource
from dvlite.lineage.context import LineageContext
from dvlite.lineage.directories import DirectoryVersions
from dvlite.oid import FILE, MANIFEST, Digest, Oid, format_oid
from dvlite.paths import ancestors
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.history import History, in_git, locked_now, named_on_disk
from dvlite.runs.queries import TELLING_BYTES, Artefact, RunIO, RunQueries, artefact_of
from dvlite.store import snapshots
from dvlite.workspace import sparse

Origin = Literal["run", "stage", "data", "code", "directory", "unknown"]


@dataclass(frozen=True, slots=True)
class DataSource:
    """The origin of content that no known run wrote: the first commit that names it, or the stage of a lockfile that names it.

    `imported` is where the pointer says that it is from.
    """

    origin: Origin
    commit: str | None = None
    stage: str = ""
    lockfile: str = ""
    imported: ImportSource | None = None


class DatumsOfRun(Protocol):
    """Which inputs and outputs of a map stage's run belong together; `pipeline.datum_links` knows."""

    @property
    def patterns(self) -> Collection[str]:
        """The paths of the inputs that stand for all that the stage goes over."""

    def reading(self, paths: Collection[str]) -> tuple[str, ...]:
        """Returns the names of the datums that read any of these files or folders."""

    def making(self, paths: Collection[str]) -> tuple[str, ...]:
        """Returns the names of the datums that wrote any of these files or folders."""

    def inputs(self, names: Collection[str]) -> list[Input]:
        """Returns what these datums read of what their stage goes over."""

    def outputs(self, names: Collection[str]) -> list[str]:
        """Returns the paths of what these datums wrote."""


OpenDatums = Callable[[Run, ReadNode], DatumsOfRun | None]  # None: of a run that says too little


class Provenance:
    """Answers for one command; reads everything at most once."""

    def __init__(self, context: LineageContext, datums_of: OpenDatums = lambda *_: None) -> None:
        self.context, self._datums_of = context, datums_of
        self.queries = RunQueries(context.index)
        self._nodes: dict[bytes, bytes] = {}
        self._history = None if context.repo is None else History(context.repo)
        self._records: dict[Oid, Run | None] = {}
        self._of_remote: dict[Oid, tuple[Version, str]] | None = None
        self._in_git: frozenset[str] | None = None
        self._named_now: dict[Oid, list[Tracked]] | None = None
        self._locked_now: set[Oid] | None = None
        self._commits: dict[Oid, str | None] = {}
        self.listings = DirectoryVersions(self, self.read_node, fetch=context.fetch_listings)
        self.makers, self.users, self.runs = self.queries.makers, self.queries.users, self.queries.runs

    def record(self, oid: Oid) -> Run | None:
        """Returns a run's whole record, or None for an unknown run."""
        if oid not in self._records:
            self._records[oid] = self.context.index.run(oid)
        return self._records[oid]

    # --- walk.Lookup ---

    def rank(self, oid: Oid) -> int:
        """Orders runs that wrote the same: those that a lockfile on disk names, then those that any commit's lockfile names."""
        if self._locked_now is None:
            self._locked_now = set() if self.context.repo is None else locked_now(self.context.repo)
        return 0 if oid in self._locked_now else 1 if self.commit_of_run(oid) is not None else 2

    def holders(self, artefact: Artefact, *, every: bool) -> Sequence[Artefact]:
        """Returns the directories of runs or pointers that have this content at its path; none for files of git."""
        if artefact.inside is not None and not every:
            folder, oid = artefact.inside
            return (
                () if oid == artefact.oid else (self._sized(folder, oid),)
            )  # a pattern that stands for all files of it
        if "/" not in artefact.path or self._is_in_git(artefact.path):
            return tuple(self._selections_of_git(artefact)) if every else ()
        holders = self.listings.holders(artefact, every=every)
        if not every:
            return holders
        inside = (part for holder in holders for part in self.queries.parts(holder) if part.oid != holder.oid)
        return (*holders, *(part for part in inside if _selects(part, artefact.path)))

    def _selections_of_git(self, artefact: Artefact) -> Iterator[Artefact]:
        """Yields what map stages went over among files of git, and that this one is among as it is."""
        for selection in self.queries.selections():
            if _selects(selection, artefact.path):
                fixed = posixpath.commonpath([selection.path, artefact.path])
                with contextlib.suppress(DvliteError):
                    entry = self.listings.entry(selection, artefact.path[len(fixed) :].lstrip("/"))
                    if entry is not None and entry.oid == artefact.oid:
                        yield selection

    def narrowed(
        self, run: Oid, whole: RunIO, *, inputs: Collection[str] = (), outputs: Collection[str] = ()
    ) -> tuple[RunIO, tuple[str, ...]]:
        """Returns of the run of a map stage what belongs to the datums of these paths, and their names; all of it if its listings are missing."""
        record = self.record(run)
        datums = None if record is None or record.mapped is None else self._datums_of(record, self.read_node)
        if record is None or datums is None:
            return whole, ()
        over = [item for item in record.inputs if item.path in datums.patterns]
        self.listings.can_read([item.inside_oid or item.oid for item in over])
        try:
            names = datums.making(outputs) if outputs else datums.reading(inputs)
            read = [artefact_of(item) for item in datums.inputs(names)]
        except DvliteError:  # a listing is missing; that was noted
            return whole, ()
        if not names:
            return whole, ()
        rest = [item for item in whole.inputs if item.path not in datums.patterns]
        written = [self._written(path, whole) for path in datums.outputs(names)]
        made = tuple(item for item in written if item is not None)
        return whole._replace(inputs=(*read, *rest) if whole.inputs else (), outputs=made or whole.outputs), names

    def _written(self, path: str, run: RunIO) -> Artefact | None:
        """Returns what a run wrote at a path inside an output; None if its listing does not have that, or is missing."""
        folder = next((out for out in run.outputs if path.startswith(f"{out.path}/")), None)
        with contextlib.suppress(DvliteError):
            return None if folder is None else self.listings.entry(folder, path[len(folder.path) + 1 :])
        return None

    def parts(self, artefact: Artefact, *, outputs: bool) -> Sequence[Artefact]:
        """Returns content of this directory that runs read, or with `outputs` wrote."""
        if not artefact.oid.startswith(MANIFEST) or not artefact.path:
            return ()
        if outputs and (self._named(artefact) is not None or self._is_in_git(artefact.path)):
            return ()  # a tracked directory was not assembled by runs
        among = self.queries.below(artefact.path, outputs=outputs)
        recorded = [] if outputs or not among else self.queries.parts(artefact)
        rest = [part for part in among if part not in recorded]
        return [*recorded, *self.listings.parts(artefact, rest)]

    def _sized(self, path: str, oid: Oid) -> Artefact:
        """Returns a directory with its totals, which records of what it held do not have."""
        named = self.named(oid)
        if named is not None:
            return named._replace(path=path)
        amount = self.queries.amount(oid)
        if amount is not None:
            return Artefact(oid, path, *amount)
        pushed = None if self.context.repo is not None else self._pushed().get(oid)
        return Artefact(oid, path, 0 if pushed is None else pushed[0].size_bytes)

    # --- directories.KnownDirectories ---

    def directories(self) -> Iterable[Artefact]:
        """Yields the directory versions that pointers, runs and the remote name, those of pointers first."""
        tracked = [artefact for artefact in self._tracked_directories() if artefact.oid.startswith(MANIFEST)]
        of_runs = self.queries.directories()
        yield from (*tracked, *of_runs, *self._directories_of_remote({artefact.oid for artefact in of_runs}))

    # --- commits and origins ---

    def commit_of_run(self, oid: Oid) -> str | None:
        """Returns the commit whose lockfile names a run: by git's history, else by the notes that came with the records."""
        self.read_commits([oid])
        return self._commits[oid]

    def read_commits(self, oids: Iterable[Oid]) -> None:
        """Looks up the commits of many runs together, for `commit_of_run`."""
        new = [oid for oid in oids if oid not in self._commits]
        for oid in new:
            self._commits[oid] = None if self._history is None else self._history.commit_of_run(oid)
        noted = self.context.index.commits([oid for oid in new if self._commits[oid] is None])
        self._commits |= {oid: commits[0] for oid, commits in noted.items()}

    def source(self, artefact: Artefact, user: Oid | None) -> DataSource:
        """Returns the origin of content that no run wrote; `user` is a run that read it."""
        named = self._named(artefact)
        if named is not None:
            return named
        noted = self.queries.source(artefact.oid)
        if noted is not None:
            return DataSource("data", noted)
        row = None if user is None else self.context.index.row(user)
        code = None if row is None else row.code
        if self.context.repo is None:
            pushed = self._pushed().get(artefact.oid)
            if pushed is not None:
                return DataSource("data", pushed[1] or None)
            # Without a clone to look it up in: a file, used at a commit, that was not pushed as data, is code.
            return DataSource("code" if code is not None and artefact.oid.startswith(FILE) else "unknown")
        if self._is_in_git(artefact.path) or (
            code is not None and in_git(self.context.repo.git, code, [artefact.path])
        ):
            return DataSource("code")
        return DataSource("unknown")

    def under_its_paths(self, artefact: Artefact) -> list[Artefact]:
        """Returns content under the paths that runs wrote it to, where it has none: a copy outside of the repository."""
        written = [] if artefact.path else self.makers([artefact.oid]).get(artefact.oid, ())
        return [artefact._replace(path=path) for path in dict.fromkeys(path for _, path in written)] or [artefact]

    def named_now(self, oid: Oid) -> list[str]:
        """Returns the paths at which pointers and lockfiles on disk name this content."""
        return [item.path for item in self._all_named_now().get(oid, ())]

    def is_tracked_now(self, path: str) -> bool:
        """Returns whether a pointer or lockfile on disk names a path, whatever it holds."""
        return any(item.path == path for items in self._all_named_now().values() for item in items)

    def _all_named_now(self) -> dict[Oid, list[Tracked]]:
        if self._named_now is None:
            self._named_now = {}
            if self.context.repo is not None:
                for oid, item in named_on_disk(self.context.repo):
                    self._named_now.setdefault(oid, []).append(item)
        return self._named_now

    def named(self, oid: Oid) -> Artefact | None:
        """Returns this content with the path that pointers or lockfiles give it."""
        version = None if self._history is None else self._history.version(oid)
        if version is not None:
            return tracked_artefact(version.path, version.pointer)
        tracked = next(iter(self._all_named_now().get(oid, ())), None)
        return None if tracked is None else tracked_artefact(tracked.path, tracked.pointer)

    def add_listing(self, nodes: Mapping[bytes, bytes]) -> None:
        """Adds the listing of a folder on disk, computed by this command."""
        self._nodes.update(nodes)

    def read_node(self, digest: Digest) -> bytes:
        """Returns the verified bytes of a listing's node; raises ObjectMissing."""
        node = self._nodes.get(digest)
        return node if node is not None else self.context.cache.read_node(digest)

    def pointers_starting(self, digits: str) -> list[Oid]:
        """Returns the content named by pointers of any commit whose hex digits start with `digits`."""
        versions = [] if self._history is None else self._history.versions()
        oids = [*(version.pointer.oid for version in versions), *self._all_named_now()]
        return [oid for oid in dict.fromkeys(oids) if oid.partition(":")[2].startswith(digits)]

    def _named(self, artefact: Artefact) -> DataSource | None:
        """Returns the first commit whose pointers name this content, or what names it on disk; small content only under the same path."""
        by_bytes = artefact.size_bytes >= TELLING_BYTES or not artefact.path
        version = (
            None if self._history is None else self._history.version(artefact.oid, None if by_bytes else artefact.path)
        )
        if version is not None:
            return DataSource("data", version.commit, imported=_unchanged(version.pointer))
        for item in self._all_named_now().get(artefact.oid, ()):
            if by_bytes or item.path == artefact.path:
                origin: Origin = "stage" if item.lockfile else "data"
                return DataSource(origin, None, item.stage, item.lockfile, _unchanged(item.pointer))
        return None

    def _is_in_git(self, path: str) -> bool:
        """Returns whether git has a file at a path, or files below it: then it is code, whatever else holds the same bytes."""
        if self._in_git is None:
            repo = self.context.repo
            names = [] if repo is None else repo.git.list_files()
            self._in_git = frozenset((*names, *(folder for name in names for folder in ancestors(name))))
        return path in self._in_git

    def _tracked_directories(self) -> Iterator[Artefact]:
        """Yields versions of tracked directories, oldest first: the first one with a file is the one that brought it."""
        if self._history is not None:
            yield from (tracked_artefact(item.path, item.pointer) for item in reversed(self._history.versions()))
        if self.context.repo is not None:
            for item in self.context.repo.work_tree.tracked(broken=[]):
                yield tracked_artefact(item.path, item.pointer)

    def _directories_of_remote(self, skip: set[Oid]) -> Iterator[Artefact]:
        """Yields the directories in a remote's snapshots that are not in `skip`."""
        remote = self.context.remote
        if self.context.repo is not None or remote is None:
            return
        for oid, (version, _) in self._pushed().items():
            if version.kind == MANIFEST and oid not in skip:
                yield Artefact(oid, posixpath.normpath(version.path), version.size_bytes)

    def _pushed(self) -> Mapping[Oid, tuple[Version, str]]:
        """Returns the versions in the remote's snapshots, each with the commit of the oldest claim that has one; '' if none has."""
        catalog, remote = self.context.catalog, self.context.remote
        if self._of_remote is None:
            self._of_remote = {}
            roots = [] if catalog is None or remote is None else list(reversed(snapshots.listed(remote)))
            named = [entry.name for entry, _ in roots]
            bodies = [] if remote is None else snapshots.bodies(remote, named)
            by_commit = sorted(zip(roots, bodies, strict=True), key=lambda pair: pair[1] is None or not pair[1].commit)
            seen: set[Digest] = set()
            read = None if catalog is None else snapshots.reader(catalog, [name.snapshot for (_, name), _ in by_commit])
            for (_, name), body in by_commit:
                if catalog is None or name.snapshot in seen:
                    continue
                seen.add(name.snapshot)
                with contextlib.suppress(DvliteError):  # damaged, or deleted since it was listed
                    for version in snapshots.versions(catalog, name.snapshot, read):
                        known = (version, "" if body is None else body.commit)
                        self._of_remote.setdefault(format_oid(version.kind, version.digest), known)
        return self._of_remote


def _selects(selection: Artefact, path: str) -> bool:
    """Returns whether an input is a pattern that stands for a path."""
    return sparse.is_glob(selection.path) and sparse.selector([selection.path])(os.fsencode(path))


def _unchanged(pointer: Pointer) -> ImportSource | None:
    """Returns where the version of a pointer was imported from, unless it was changed since."""
    return pointer.source if pointer.source is not None and pointer.source.oid == pointer.oid else None


def tracked_artefact(path: str, pointer: Pointer) -> Artefact:
    """Returns a version of a tracked path as walks use it."""
    return Artefact(pointer.oid, path, pointer.size_bytes, pointer.files)
