"""gc of a remote for a clone: asks git what is needed, then plans, then carries it out (`store.collect`)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

from dvlite.errors import UsageError
from dvlite.files import lock
from dvlite.formats import snapshot
from dvlite.formats.root import Root
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote, signature
from dvlite.repo.repository import Repo, open_cache
from dvlite.runs import sync
from dvlite.runs.records import open_records
from dvlite.runs.share import left_by_others
from dvlite.share.needs import Needs, fetch_all_heads, gather
from dvlite.show import quote
from dvlite.store import claims, collect, push_protocol, snapshots
from dvlite.store import tasks as on_remote
from dvlite.store.cache import Cache
from dvlite.store.catalog import COMPLETE, Catalog
from dvlite.store.claims import ASLEEP_SECONDS, Claim, Claims, Owner
from dvlite.store.collect import Collected, CollectPlan, RunNeeds
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.push_plan import no_bases
from dvlite.store.remote import Remote
from dvlite.store.url import FOLDER, S3

_LEAST_DIGITS = 4  # of a clone's id
_VERSION = re.compile("[0-9a-f]{8,64}")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """How to collect. `grace_seconds` shortens the 14 days of roots and the 24 hours of packs; `gone` are clone ids, or how they begin,
    `given_up` versions whose list of files may be lost, by how their oids begin.

    With `only_purged` nothing goes but what was purged; `tombstones` are to be reckoned with in a plan, and known already where it is applied.
    """

    remote: str | None = None
    jobs: int | None = None
    apply: bool = False
    grace_seconds: float | None = None
    gone: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    only_purged: bool = False
    tombstones: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneClaims:
    """A clone that claims something on a remote. `seconds` is the age of its newest root by the store's own dates."""

    clone: str
    user: str
    project: str
    roots: int
    seconds: float
    is_own: bool
    is_asleep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The plan of a collection, what was done, and where."""

    remote: str
    url: str
    plan: CollectPlan
    needs: Needs
    done: Collected | None = None


def collect_remote(repo: Repo, options: CollectOptions, *, progress: Progress) -> Collection:
    """Plans a collection on a remote, and carries it out with `apply`.

    Raises DvliteError where something cannot be known, and deletes nothing then: a shallow clone, a git remote that does not answer, a root
    or listing that cannot be read, a feature that is not known. Begins again where another collection deleted what this one was reading.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(ObjectAbsent):
            return _collect(repo, options, progress)
    return _collect(repo, options, progress)


def _collect(repo: Repo, options: CollectOptions, progress: Progress) -> Collection:
    with _opened(repo, options, progress) as (name, remote, cache):
        with fetch_all_heads(repo, progress):
            needs = gather(repo, progress, fetched=True)
            catalog = Catalog(remote, progress)
            progress.start(f"looking at {remote.shown}")
            roots = collect.look(catalog)
            if catalog.is_empty:
                raise catalog.empty_error()
            catalog.require_writable(writes=options.apply)
            for data in options.tombstones:
                cache.bury(data, keep=False)
            if options.apply:
                push_protocol.send_tombstones(catalog, repo.config.project or "")

            tasks = {} if options.only_purged else on_remote.look_at_all(remote)
            waiting = on_remote.versions(remote, (seen for seen in tasks.values() if remote.clone in seen.clones))

            def divide(own: Sequence[Version]) -> Claims:
                if options.only_purged:
                    return Claims(standing=list(roots))
                return claims.judge(catalog, roots, _owner(repo, remote, needs, own, options, roots, waiting))

            young = min(collect.YOUNG_SECONDS, _grace(options))
            of_runs = _of_runs(repo, remote, needs, options)
            todo = collect.plan(catalog, cache, divide, of_runs, needs.versions, young_seconds=young)
            if options.only_purged:
                garbage, repacked = (_within(packs, todo.held.packs) for packs in (todo.garbage, todo.repacked))
                todo = replace(todo, garbage=garbage, repacked=repacked)
            done = None
            if options.apply:
                if todo.own:  # what is needed here gets a root of this clone before others go
                    push_protocol.run(
                        catalog,
                        cache,
                        todo.own,
                        no_bases,
                        lambda _: (),
                        signature(repo, repo.git.config_get("user.email") or "", ""),
                        progress,
                    )
                run_needs = partial(_run_needs, repo, remote, needs, options, progress)
                done = collect.run(catalog, cache, todo, run_needs, progress, young_seconds=young)
                remote.delete(on_remote.old(tasks.values()))
        return Collection(
            remote=name,
            url=repo.remote(name).location.text,
            plan=todo,
            needs=needs,
            done=done,
        )


def _within(packs: dict[Digest, int], chosen: Container[Digest]) -> dict[Digest, int]:
    return {name: size for name, size in packs.items() if name in chosen}


def clones(repo: Repo, options: CollectOptions, *, progress: Progress) -> list[CloneClaims]:
    """Returns who claims what on a remote, the clone that was seen last first."""
    with _opened(repo, options, progress) as (_, remote, _):
        roots = claims.listed(Catalog(remote, progress))
        newest: dict[str, Claim] = {}
        for claim in roots:
            newest[claim.clone] = min(newest.get(claim.clone, claim), claim, key=lambda each: each.age_seconds)
        bodies = snapshots.bodies(remote, [claim.name for claim in newest.values()])
        return [
            CloneClaims(
                clone=claim.clone,
                user=(body or Root()).user,
                project=(body or Root()).project,
                roots=sum(each.clone == claim.clone for each in roots),
                seconds=claim.age_seconds,
                is_own=claim.clone == remote.clone,
                is_asleep=claim.age_seconds >= ASLEEP_SECONDS,
            )
            for claim, body in sorted(zip(newest.values(), bodies, strict=True), key=lambda pair: pair[0].age_seconds)
        ]


@contextlib.contextmanager
def _opened(repo: Repo, options: CollectOptions, progress: Progress) -> Iterator[tuple[str, Remote, Cache]]:
    settings = repo.remote(options.remote, to_push=options.apply)
    if settings.location.scheme not in (FOLDER, S3):
        raise UsageError(
            f"cannot collect on {quote(settings.name)}: only on folders and S3 does a listing show all that was written",
            hint="push to a folder or a bucket: dvlite remote add NAME URL",
        )
    cache = open_cache(repo)
    name, remote = open_remote(repo, cache, options.remote, options.jobs)
    remote.folder.mkdir(parents=True, exist_ok=True)
    with remote, lock(remote.folder / "lock", wait=repo.waits, waiting=progress.warn):
        yield name, remote, cache


def _grace(options: CollectOptions) -> float:
    return claims.OWN_SECONDS if options.grace_seconds is None else options.grace_seconds


def _owner(
    repo: Repo,
    remote: Remote,
    needs: Needs,
    own: Sequence[Version],
    options: CollectOptions,
    roots: Sequence[Claim],
    waiting: AbstractSet[VersionId],
) -> Owner:
    return Owner(
        clone=remote.clone,
        project=repo.config.project or "",
        kept={*(version.id for version in needs.versions), *waiting},
        named=needs.named,
        known_commits=repo.git.commit_times,
        claimed=snapshot.build(own).root if own else None,
        covered={version.id for version in own},
        lacking=_lacking(remote, needs, own, options),
        own_seconds=min(claims.OWN_SECONDS, _grace(options)),
        gone={_chosen(digits, {claim.clone for claim in roots}, remote.clone) for digits in options.gone},
    )


def _given_up(options: CollectOptions) -> tuple[str, ...]:
    return tuple(text.removeprefix("manifest:") for text in options.given_up)


def _lacking(remote: Remote, needs: Needs, own: Sequence[Version], options: CollectOptions) -> list[Version]:
    """Returns the versions that this clone needs and knew as whole on a remote, and of which that lacks a part; not those that the user gives up."""
    known, whole, given_up = remote.remembered(COMPLETE), {version.id for version in own}, _given_up(options)
    return [
        version
        for version in needs.versions
        if f"{version.kind}-{version.digest.hex()}" in known
        and version.id not in whole
        and not version.digest.hex().startswith(given_up)
    ]


def _chosen(digits: str, known: set[str], own: str) -> str:
    matching = [clone for clone in known if clone.startswith(digits)]
    if len(digits) < _LEAST_DIGITS or len(matching) != 1:
        raise UsageError(
            f"{quote(digits)} is not the id of one clone", hint="see which there are: dvlite gc --remote --clones"
        )
    if matching[0] == own:
        raise UsageError("this is the clone that you are in: it is not gone", hint="dvlite gc --remote --clones")
    return matching[0]


def _of_runs(repo: Repo, remote: Remote, needs: Needs, options: CollectOptions) -> RunNeeds:
    """Returns what the runs of this project need that are kept, and all that the records of other projects name."""
    given_up = _given_up(options)
    for digits in given_up:
        if not _VERSION.fullmatch(digits):
            raise UsageError(
                f"{quote(digits)} is not the oid of a version",
                hint="dvlite gc --remote names the versions that are lost",
            )
    contents, listings = needs.left_by_runs()
    return RunNeeds(tuple(listings), contents | left_by_others(remote, repo.config.project), given_up)


def _run_needs(repo: Repo, remote: Remote, needs: Needs, options: CollectOptions, progress: Progress) -> RunNeeds:
    """Returns what run records need, those fetched that came meanwhile."""
    if repo.config.project is not None and sync.receive(remote, open_records(repo, progress), repo.config.project):
        needs = gather(repo, progress, fetched=True)
    return _of_runs(repo, remote, needs, options)
