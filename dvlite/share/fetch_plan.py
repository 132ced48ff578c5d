"""Chooses what `fetch` and `pull` bring: which versions, which parts of them, and what may be reused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, PartlyDone, RemoteError
from dvlite.formats.snapshot import VersionId
from dvlite.oid import MANIFEST
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Scope
from dvlite.results import Result
from dvlite.runs import share
from dvlite.share.needs import dropped_by
from dvlite.show import Show, is_or_are, printable, quote, some
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST, KIND_RECIPE
from dvlite.store.remote import Remote
from dvlite.workspace.fetch import FetchOutcome, FetchRequest, MovedPath, fetch_versions, listing_of, not_moved
from dvlite.workspace.path_args import select, travelling, usable, without
from dvlite.workspace.purged import Purged
from dvlite.workspace.restore import CheckoutResult
from dvlite.workspace.workspace import Workspace, set_aside_damaged_nodes

_EARLIER = 3


@dataclass(frozen=True, slots=True)
class FetchProblem:
    """Why something could not be fetched, what to do about it, and the exit code that it leads to."""

    message: str
    hint: str | None
    code: int


_KINDS: Mapping[int, type[DvliteError]] = {13: ObjectCorrupt, 12: ObjectMissing}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FetchResult(Result):
    """What was added to the cache."""

    schema: ClassVar[str] = "dvlite.fetch/1"
    remote: str
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # downloaded
    objects: int = 0  # requests answered with data
    downloaded_bytes: int = 0
    size_bytes: int = 0  # of the files that were missing
    records: int = 0  # run records, tags and notes that are new here
    dry_run: bool = False
    problem: FetchProblem | None = None  # what could not be fetched
    unusable: tuple[str, ...] = ()  # why a pointer or lockfile could not be read, if no paths were given
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not fetched."""
        if self.problem is not None:
            kind = _KINDS.get(self.problem.code, RemoteError)
            return kind(self.problem.message, hint=self.problem.hint)
        if self.unusable:
            return PartlyDone(some(self.unusable, 1), hint="all else is fetched; see dvlite status")
        where = f"neither on {printable(self.remote)} nor in the cache"
        return not_moved(self.paths, where, "fetch", "ask who added it to run: dvlite push", show)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PullResult(Result):
    """A fetch and the checkout after it (None in a dry run, or where only revisions were fetched)."""

    schema: ClassVar[str] = "dvlite.pull/1"
    fetch: FetchResult
    checkout: CheckoutResult | None = None
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not fetched or not checked out; what was purged comes last, for nothing can be done about it."""
        failures = (self.fetch.failure(show), self.checkout.failure(show) if self.checkout is not None else None)
        return min(filter(None, failures), key=lambda failure: isinstance(failure, Purged), default=None)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """From where to fetch, and how. `exclude`: paths and globs to leave out; `allow_missing`: what is nowhere is left out, with a warning."""

    remote: str | None = None
    jobs: int | None = None
    dry_run: bool = False
    exclude: Sequence[str] = ()
    allow_missing: bool = False


def parts_of(
    work: Workspace, paths: Sequence[str], scope: Scope, options: FetchOptions, broken: list[str]
) -> list[FetchRequest]:
    """Returns the versions that the arguments stand for, each with earlier versions whose content may be in the cache.

    What is left out as a whole has the pattern `sparse.NOTHING`. An output that its pipeline keeps in one clone is left out; raises
    UsageError if nothing else was given. Why a pointer or lockfile could not be read is added to `broken`, or raised if it was named.
    """
    repo, cache, progress = work.repo, work.cache, work.progress
    if scope.is_workspace:
        versions = usable(repo, paths, broken.append)
    else:
        versions = committed_versions.reachable(repo.git, scope, progress=progress)
    listing = listing_of(repo, cache, progress, options.remote) if scope.is_workspace else None
    chosen = travelling(select(repo, versions, paths, inside=True, listing=listing), paths)
    if not paths and scope.is_workspace:  # of a partly checked out directory, the same part
        chosen = [(item, work.wanted_part(item.path)) for item, _ in chosen]
    if options.exclude:
        chosen = without(repo, versions, chosen, options.exclude)
    named_by = {
        item.path: item.lockfile
        for item, _ in chosen
        if item.pointer.kind == "directory" or not cache.has_file(item.pointer.digest, item.pointer.size_bytes)
    }
    histories = (
        committed_versions.histories(repo.git, named_by, _EARLIER, lockfiles=named_by) if cache.folder.exists() else {}
    )
    parts = []
    for item, patterns in chosen:
        bases = tuple(old for old in histories.get(item.path, ()) if old.digest != item.pointer.digest)
        parts.append(FetchRequest(item.path, item.pointer, patterns, bases, item.commit))
    return parts


@dataclass(frozen=True, slots=True)
class Source:
    """The remote that had the data, the last look at it, what was fetched, and from where."""

    name: str
    catalog: Catalog
    outcome: FetchOutcome
    remotes: tuple[Remote, ...]


def fetch_from_first(
    repo: Repo,
    cache: Cache,
    parts: Sequence[FetchRequest],
    options: FetchOptions,
    stack: contextlib.ExitStack,
    progress: Progress,
) -> Source:
    """Fetches from the remote that is named, else from the first default one that answers and has the data; what it lacks, from the next.

    They stay open until the stack closes. Warns of those that could not be used. Raises the error of the first if none of them could be.
    """
    names = repo.usable_remotes(options.remote)
    source: Source | None = None
    problems: list[tuple[str, DvliteError]] = []
    for wanted in names:
        try:
            name, remote = open_remote(repo, cache, wanted, options.jobs)
            stack.enter_context(remote)
            progress.start(f"looking at {remote.shown}")
            if not options.dry_run:
                share.ask_ahead(repo, remote, progress, to_send=False)
            catalog = Catalog(remote, progress, to_read=True).look()
            if len(names) > 1 and catalog.is_empty:
                raise catalog.empty_error()
            if catalog.is_empty and remote.remembered("complete"):
                progress.warn(f"{remote.store.label} is empty, though this clone has pushed to it")
            outcome = fetch_kept(repo, catalog, cache, parts, progress, dry_run=options.dry_run)
        except (RemoteError, ObjectCorrupt, ObjectMissing) as error:
            if len(names) == 1:
                raise
            problems.append((wanted or "", error))
            continue
        if outcome.damage is not None and len(names) > 1:
            problems.append((name, outcome.damage))
        if source is not None:
            outcome = _both(source.outcome, outcome)
        source = Source(name, catalog, outcome, (*(source.remotes if source is not None else ()), remote))
        if not outcome.missing and all(path.state in ("fetched", "present", "planned") for path in outcome.paths):
            break
    for name, problem in problems if source is not None else problems[1:]:
        progress.warn(f"remote {name} was not used: {problem.message}")
    if source is None:
        raise problems[0][1]
    return source


def _both(first: FetchOutcome, then: FetchOutcome) -> FetchOutcome:
    """Returns what two remotes gave, one after the other."""
    brought = {(path.path, path.oid, path.revision) for path in first.paths if path.state == "fetched"}
    paths = tuple(
        replace(path, state="fetched")
        if path.state == "present" and (path.path, path.oid, path.revision) in brought
        else path
        for path in then.paths
    )
    files, size_bytes = first.files + then.files, first.size_bytes + then.size_bytes
    return replace(then, paths=paths, files=files, size_bytes=size_bytes)


def fetch_kept(
    repo: Repo, catalog: Catalog, cache: Cache, parts: Sequence[FetchRequest], progress: Progress, *, dry_run: bool
) -> FetchOutcome:
    """Does as `fetch_versions`; what keep rules dropped, and is neither here nor on the remote, is left out and reported as that.

    A listing that is damaged in the cache is set aside and fetched again.
    """
    dropped: dict[VersionId, str] = {}
    if any(part.commit for part in parts):  # of many commits: else each would be looked for twice
        dropped = _dropped(repo, catalog, cache, parts)
    rest = _without(parts, dropped) if dropped else parts
    fetched = fetch_versions(catalog, cache, rest, progress, dry_run=dry_run)
    if isinstance(fetched.damage, ObjectCorrupt):
        roots = [part.pointer.digest for part in rest if part.pointer.kind == "directory"]
        if sum(set_aside_damaged_nodes(cache, digest) for digest in roots):  # else the damage is on the remote
            fetched = fetch_versions(catalog, cache, rest, progress, dry_run=dry_run)
    if fetched.missing and not dropped:
        dropped = _dropped(repo, catalog, cache, [part for part in parts if part.path in fetched.missing])
        if dropped:
            again = fetch_versions(catalog, cache, _without(parts, dropped), progress, dry_run=dry_run)
            files, size_bytes = fetched.files + again.files, fetched.size_bytes + again.size_bytes
            fetched = replace(again, files=files, size_bytes=size_bytes)
    if not dropped:
        return fetched
    gone = [
        MovedPath(path=part.path, oid=part.pointer.oid, state="dropped", revision=part.commit or None, problem=rules)
        for part in parts
        if (rules := dropped.get(_id(part))) is not None
    ]
    return replace(fetched, paths=(*fetched.paths, *gone))


def _dropped(repo: Repo, catalog: Catalog, cache: Cache, parts: Sequence[FetchRequest]) -> dict[VersionId, str]:
    found = dropped_by(repo, map(_id, parts))
    return {version: rules for version, rules in found.items() if not _is_anywhere(catalog, cache, version)}


def _is_anywhere(catalog: Catalog, cache: Cache, version: VersionId) -> bool:
    """Returns whether the listing of a version, or the content of a single file, is in the cache or on the remote."""
    kind, digest = version
    if kind == MANIFEST:
        return cache.has_node(digest) or bool(catalog.locations(digest, (KIND_MANIFEST,)))
    in_cache = cache.has_large(digest) or cache.has_packed(digest, (KIND_FILE,))
    return in_cache or bool(catalog.locations(digest, (KIND_FILE, KIND_RECIPE)))


def _without(parts: Sequence[FetchRequest], dropped: Mapping[VersionId, str]) -> list[FetchRequest]:
    return [part for part in parts if _id(part) not in dropped]


def _id(part: FetchRequest) -> VersionId:
    return part.pointer.oid_kind, part.pointer.digest


def fetch_result(
    source: Source, started: float, options: FetchOptions, broken: Sequence[str], *, records: int
) -> FetchResult:
    """Returns the result of a fetch that began at `started`; `broken` is why pointers could not be read."""
    fetched = source.outcome
    lost = unfetched(fetched, source.catalog) if fetched.missing else None
    may_lack = options.allow_missing and fetched.damage is None and not source.catalog.is_empty
    left_out = tuple(
        f"{quote(path)} is left out: {_nowhere(names, source.catalog)}" for path, names in fetched.missing.items()
    )
    paths = fetched.paths
    if may_lack:
        paths = tuple(replace(path, state="lost") if path.state == "missing" else path for path in paths)
    return FetchResult(
        remote=source.name,
        paths=paths,
        problem=None if lost is None or may_lack else FetchProblem(lost.message, lost.hint, lost.exit_code),
        unusable=tuple(broken),
        files=fetched.files,
        objects=sum(remote.traffic.objects_read for remote in source.remotes),
        downloaded_bytes=sum(remote.traffic.bytes_read for remote in source.remotes),
        size_bytes=fetched.size_bytes,
        records=records,
        dry_run=options.dry_run,
        elapsed_seconds=time.monotonic() - started,
        warnings=left_out if may_lack else (),
    )


def unfetched(fetched: FetchOutcome, catalog: Catalog) -> DvliteError:
    """Returns the error for what could not be fetched: it is damaged, or a fresh look did not find it."""
    wanted = f"cannot fetch {some([quote(path) for path in fetched.missing])}"
    if isinstance(fetched.damage, ObjectCorrupt):
        return ObjectCorrupt(f"{wanted}: {fetched.damage.message}", hint=fetched.damage.hint)
    if fetched.damage is not None:
        return fetched.damage
    if catalog.is_empty:
        error = catalog.empty_error()
        return ObjectMissing(f"{wanted}: {error.message}", hint=error.hint)
    names = [name for lacking in fetched.missing.values() for name in lacking]
    return ObjectMissing(
        f"{wanted}: {_nowhere(names, catalog)}",
        hint="push it from a clone that has it, or fetch from another remote: dvlite pull -r NAME; to have the rest: dvlite pull --allow-missing",
    )


def _nowhere(names: Sequence[str], catalog: Catalog) -> str:
    return f"{some([quote(name) for name in names], 1)} {is_or_are(names)} not on {catalog.remote.store.label}"
