"""`dvlite fsck`: checks that a store, and all that dvlite keeps beside it, is what it should be; with --repair, heals what is not."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from dvlite.errors import DvliteError, ObjectCorrupt, PartlyDone
from dvlite.health import local, remote
from dvlite.health.findings import (
    Depth,
    FsckFinding,
    Health,
    LostVersion,
    NotChecked,
    State,
    findings,
    lost_versions,
)
from dvlite.health.local import LocalCheck
from dvlite.health.remote import RemoteLook
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.show import Show, count, word
from dvlite.store import repair as store_repair
from dvlite.store.check_round import Reading

_ROUNDS = 3
L = TypeVar("L", LocalCheck, RemoteLook)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FsckResult(Result):
    """What a check found, and what became of it. `completed` is when everything was last read, RFC 3339."""

    schema: ClassVar[str] = "dvlite.fsck/1"
    store: str  # "cache", or the name of a remote
    url: str = ""
    findings: tuple[FsckFinding, ...] = ()
    lost: tuple[LostVersion, ...] = ()
    unchecked: tuple[NotChecked, ...] = ()
    objects: int = 0
    read_objects: int = 0
    read_bytes: int = 0
    deep: bool = False
    repaired: bool = False  # --repair was given
    stopped: bool = False  # by the time limit
    completed: str | None = None
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def is_repaired(self) -> bool:
        """Something was found, and is right again."""
        return "repaired" in self.states

    @property
    def states(self) -> list[State]:
        """What became of each finding."""
        return [each.state for each in self.findings] + [each.state for each in self.lost]

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what is not right, or was not checked."""
        bad = [each for each in self.findings if each.state in ("found", "left")]
        left = [each for each in self.lost if each.state in ("found", "left")]
        gone = [each for each in left if each.given_up is None]
        if bad or gone:
            versions = f"{count(len(gone), 'version')} not whole"
            what = " and ".join([count(len(bad), "damaged or missing object")] * bool(bad) + [versions] * bool(gone))
            again = f"dvlite fsck{'' if self.store == 'cache' else f' --remote {word(self.store)}'}"
            if not self.repaired:
                return ObjectCorrupt(f"{what} in {self._where}", hint=f"{again} --repair")
            return ObjectCorrupt(
                f"{what} could not be repaired in {self._where}",
                hint="see above" + (" who may still have it" if gone else ""),
            )
        if self.unchecked:
            each = self.unchecked[0]
            return PartlyDone(f"could not check {each.what}: {each.why}", hint=each.hint)
        if left:
            return DvliteError(
                f"{count(len(left), 'version')} can be read only from what a gc gave up on {self._where}",
                hint=f"dvlite gc --remote {word(self.store)} --yes, or dvlite fsck --remote {word(self.store)} --repair",
            )
        return None

    @property
    def _where(self) -> str:
        return "the cache" if self.store == "cache" else self.store


@dataclass(frozen=True, slots=True)
class FsckOptions:
    """What to check. `percent` and `seconds` imply `deep`: they continue where the last check stopped."""

    on_remote: bool = False
    remote: str | None = None
    deep: bool = False
    percent: float | None = None
    seconds: float | None = None
    repair: bool = False
    jobs: int | None = None


def fsck(repo: Repo, options: FsckOptions, *, progress: Progress) -> FsckResult:
    """Checks the cache and what belongs to it, or a remote; with `repair`, heals what it finds and looks again.

    Without `repair` it writes only how far it came. Raises Untrusted, UsageError, RemoteError.
    """
    started = time.monotonic()
    cache = open_cache(repo)
    continues = options.percent is not None or options.seconds is not None
    depth = Depth(
        deep=options.deep or continues,
        percent=options.percent,
        is_over=_until(options.seconds, started),
        jobs=options.jobs or repo.config.jobs,
    )

    def reading(key: str) -> Reading:
        path: Path = repo.common_dir / "dvlite" / "fsck" / key
        return Reading(path, time.time, percent=options.percent, again=depth.deep and not continues)

    if not options.on_remote:
        with repo.lock(progress) if options.repair else nullcontext():
            first = local.look(repo, cache, depth, reading("cache"), progress)
            result = _checked(
                first,
                lambda now: local.mend(repo, cache, now, progress),
                lambda: local.look_again(repo, cache, first, progress),
                repair=options.repair,
            )
        return _result("cache", "", result, depth, options, started)
    name, opened = open_remote(repo, cache, options.remote, options.jobs)
    url = repo.remote(options.remote, to_push=options.repair).location.text
    with opened:
        seen = remote.look(repo, opened, cache, depth, reading(opened.folder.name), progress)

        def again() -> RemoteLook:
            return remote.look_again(repo, opened, cache, seen.check.found.bad_packs, progress)

        def mend(now: RemoteLook) -> list[NotChecked]:
            return remote.mend(repo, opened, cache, now, name, progress)

        outcome = _checked(seen, mend, again, repair=options.repair)
        for _ in range(_ROUNDS):
            if outcome.last is None or not store_repair.condemn_bad(outcome.last.check):
                break
            outcome.last = again()  # another collector may have condemned what was sent: then it is sent again
            if outcome.last.health.lost:
                mend(outcome.last)
                outcome.last = again()
    return _result(name, url, outcome, depth, options, started)


def _until(seconds: float | None, started: float) -> Callable[[], bool]:
    return lambda: seconds is not None and time.monotonic() - started >= seconds


@dataclass(slots=True)
class _Mended(Generic[L]):
    """What was seen first, and last if something was mended; and which remotes could not be asked for it."""

    first: L
    last: L | None = None
    unchecked: tuple[NotChecked, ...] = ()


def _checked(
    first: L, mend: Callable[[L], list[NotChecked]], look_again: Callable[[], L], *, repair: bool
) -> _Mended[L]:
    """Mends and looks again until all is right or nothing changes any more."""
    outcome = _Mended(first)
    now = first
    while repair and not now.health.is_sound:
        outcome.unchecked = tuple(mend(now))
        outcome.last = look_again()
        if _seen(outcome.last.health) == _seen(now.health):
            break
        now = outcome.last
    return outcome


def _seen(health: Health) -> tuple[object, ...]:
    return (
        sorted(health.damages),
        sorted((key, each.lost_files) for key, each in health.lost.items()),
    )


def _result(
    store: str, url: str, outcome: _Mended[L], depth: Depth, options: FsckOptions, started: float
) -> FsckResult:
    first = outcome.first.health
    last = None if outcome.last is None else outcome.last.health
    unchecked: list[NotChecked] = (last or first).unchecked
    if last is not None and not last.is_sound:
        unchecked = [*unchecked, *outcome.unchecked]
    completed = None
    if first.completed:
        completed = dt.datetime.fromtimestamp(first.completed, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return FsckResult(
        store=store,
        url=url,
        findings=tuple(findings(first, last)),
        lost=tuple(lost_versions(first, last)),
        unchecked=tuple(dict.fromkeys(unchecked)),
        objects=first.objects,
        read_objects=first.read_objects,
        read_bytes=first.read_bytes,
        deep=depth.deep,
        repaired=options.repair,
        stopped=first.stopped,
        completed=completed,
        elapsed_seconds=time.monotonic() - started,
    )
