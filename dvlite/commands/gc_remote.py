"""`dvlite gc --remote`: plans what a remote needs no more, and removes it if asked to; `--clones` says who still claims what there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.share.collect_remote import CloneClaims, CollectOptions, clones, collect_remote
from dvlite.share.needs import GcPart


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GcRemoteResult(Result):
    """What a garbage collection on a remote removed, or would; and what stays. Sizes in bytes."""

    schema: ClassVar[str] = "dvlite.gc-remote/1"
    remote: str
    url: str
    applied: bool = False  # False: a plan
    freed_bytes: int = 0  # deleted now
    later_bytes: int = 0  # deleted by the first collection after the grace
    copied_bytes: int = 0  # written again, to free what lies beside it
    claims: int = 0  # of clones, on versions that nothing needs
    versions: int = 0  # that this clone needs, and the remote has all of
    incomplete: int = 0  # versions that this clone needs, and that are not whole there
    missing: int = 0  # objects that claims and runs need, and that are not there
    gone: tuple[GcPart, ...] = ()
    kept: tuple[GcPart, ...] = ()
    grace_seconds: float | None = None  # as it was given
    forgotten: tuple[str, ...] = ()  # clones that are gone, as they were given
    given_up: tuple[str, ...] = ()  # versions whose list of files may be lost, as they were given
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GcClonesResult(Result):
    """Who claims something on a remote, the clone that was seen last first."""

    schema: ClassVar[str] = "dvlite.gc-clones/1"
    remote: str
    clones: tuple[CloneClaims, ...] = ()
    warnings: tuple[str, ...] = ()


def gc_remote(repo: Repo, options: CollectOptions, *, progress: Progress) -> GcRemoteResult:
    """Removes from a remote what no clone and nothing that git names needs; without `apply`, only plans it.

    Raises DvliteError, with nothing removed, where something cannot be known; see `collect_remote`.
    """
    collection = collect_remote(repo, options, progress=progress)
    todo, done = collection.plan, collection.done
    given_up = sum((*todo.garbage.values(), *todo.repacked.values(), *todo.due.values()))
    if done is not None:
        freed = done.deleted_bytes
    else:
        freed = given_up if options.grace_seconds == 0 else sum(todo.due.values())
    return GcRemoteResult(
        remote=collection.remote,
        url=collection.url,
        applied=options.apply,
        freed_bytes=freed,
        later_bytes=max(0, given_up - freed),
        copied_bytes=todo.copied_bytes if done is None else sum(each.stored_bytes for each in done.copied),
        claims=len(todo.claims.falling),
        versions=len(todo.own),
        incomplete=len({version.id for version in collection.needs.versions})
        - len({version.id for version in todo.own}),
        missing=todo.absent,
        gone=_parts(
            ("that nothing needs", len(todo.garbage), sum(todo.garbage.values())),
            (
                "beside what is needed, which is written again",
                len(todo.repacked),
                max(0, sum(todo.repacked.values()) - todo.copied_bytes),
            ),
            ("given up by an earlier gc", len(todo.due), sum(todo.due.values())),
        ),
        kept=_parts(
            ("needed", len(todo.live), todo.live_bytes),
            ("given up by an earlier gc, less than a day ago", len(todo.waiting), sum(todo.waiting.values())),
            ("that nothing needs, too young to go", len(todo.young), sum(todo.young.values())),
        ),
        grace_seconds=options.grace_seconds,
        forgotten=options.gone,
        given_up=options.given_up,
    )


def gc_clones(repo: Repo, options: CollectOptions, *, progress: Progress) -> GcClonesResult:
    """Returns who claims what on a remote."""
    name = repo.remote(options.remote).name
    return GcClonesResult(remote=name, clones=tuple(clones(repo, options, progress=progress)))


def _parts(*rows: tuple[str, int, int]) -> tuple[GcPart, ...]:
    return tuple(GcPart(reason=reason, objects=objects, size_bytes=size) for reason, objects, size in rows if objects)
