"""Runs real pushes, fetches and collections on one store, one request at a time, in an order drawn from a seed; any of them may die.

A client that dies loses its process, not its last request: that may be applied later. Used by tests/store/test_schedules.py; as a program it runs
as many schedules as asked for: `python -m tests.store.schedule --schedules 200000`.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.errors import DvliteError
from dvlite.formats import recipe, snapshot
from dvlite.formats.snapshot import Version
from dvlite.store import claims, collect, pack, push_protocol
from dvlite.store.catalog import Catalog
from dvlite.store.claims import Claims, Owner
from dvlite.store.collect import RunNeeds
from dvlite.store.object_store import Listing
from tests.store.memory import MemoryStore
from tests.store.world import QUIET, SIGNER, Interrupted, Site, World, noise

_MOST_REQUESTS = 4000  # of all clients of a schedule


class Inline:
    """Stands for a pool of connections: what is submitted runs at once, in the thread of its client."""

    def submit(self, work, *arguments):
        future = Future()
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_):
        return


@dataclass
class Client:
    """A thread that waits before each of its requests. `left` is how many it may still make before it dies; None: any number."""

    name: str
    work: Callable[[], None]
    left: int | None = None
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    is_done: bool = False
    failure: BaseException | None = None


class Scheduler:
    """Lets one client at a time make one request; which one is drawn from the seed."""

    def __init__(self, seed: int, store: MemoryStore) -> None:
        self.random = random.Random(seed)
        self.store = store
        self.clients: list[Client] = []
        self.late: list[Callable[[], None]] = []  # requests of clients that died, on their way
        self.requests = 0
        self._back = threading.Semaphore(0)

    def add(self, name: str, work: Callable[[], None], left: int | None = None) -> None:
        self.clients.append(Client(name, work, left))

    def run(self) -> None:
        threads = [threading.Thread(target=self._live, args=(client,), daemon=True) for client in self.clients]
        for thread in threads:
            thread.start()
        while alive := [client for client in self.clients if not client.is_done]:
            if self.late and self.random.random() < 0.1:
                self.late.pop(self.random.randrange(len(self.late)))()
            self.requests += 1
            if self.requests > _MOST_REQUESTS:
                raise AssertionError("the schedule does not end")
            self.random.choice(alive).turn.release()
            self._back.acquire()
        for request in self.late:
            request()
        for thread in threads:
            thread.join()

    def _live(self, client: Client) -> None:
        client.turn.acquire()
        try:
            client.work()
        except (Interrupted, DvliteError) as error:
            client.failure = error
        except BaseException as error:  # told by the main thread
            client.failure = error
        client.is_done = True
        self._back.release()

    def before(self, client: Client, request: Callable[[], None]) -> None:
        """Hands the turn back and waits for the next one; the client may die here, with this request on its way or not."""
        self._back.release()
        client.turn.acquire()
        if client.left is not None:
            client.left -= 1
            if client.left < 0:
                if self.random.random() < 0.5:
                    self.late.append(request)
                raise Interrupted


class ScheduledStore:
    """A store whose every request waits for its turn."""

    def __init__(self, scheduler: Scheduler, client: Callable[[], Client]) -> None:
        self.label = scheduler.store.label
        self._scheduler, self._client, self._store = scheduler, client, scheduler.store

    def get(self, name, *, start=None, end=None) -> bytes:
        self._scheduler.before(self._client(), lambda: None)
        return self._store.get(name, start=start, end=end)

    def put(self, name, data, *, only_if_absent=False) -> bool:
        copied = bytes(data)
        self._scheduler.before(self._client(), lambda: self._store.put(name, copied))
        return self._store.put(name, copied, only_if_absent=only_if_absent)

    def list(self, prefix) -> Listing:
        self._scheduler.before(self._client(), lambda: None)
        return self._store.list(prefix)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:  # a batch is not one event
            self._scheduler.before(self._client(), lambda name=name: self._store.delete([name]))
            self._store.delete([name])

    def close(self) -> None:
        return


Content = dict[str, bytes]
BASE = {f"f{i}": noise(200 + i, i) for i in range(12)}
BIG = noise(9_000, 100)


def contents(chance: random.Random) -> list[Content]:
    """Returns a few contents that share most of what they hold."""
    made = []
    for number in range(3):
        content = BASE | {f"f{chance.randrange(12)}": noise(210, 1000 + number)}
        if chance.random() < 0.7:
            at = chance.randrange(9_000)
            content["big"] = BIG[:at] + noise(60, number) + BIG[at:]
        made.append(content)
    return made


@dataclass(frozen=True)
class Outcome:
    """What a schedule came to; `lost` names versions that a push reported, that are needed, and that cannot be fetched."""

    requests: int
    reported: int
    died: int
    gave_up: int
    deleted: int
    lost: tuple[str, ...]
    errors: tuple[str, ...]


def play(seed: int, folder: Path, run_gc=None) -> Outcome:
    """Plays one schedule: two or three clones push and pull, one or two collect, some die; then everything that is needed is fetched."""
    chance = random.Random(seed)
    nonces = random.Random(f"nonces {seed}")
    os.urandom = nonces.randbytes  # one client runs at a time: the same seed, the same names
    memory = MemoryStore()
    scheduler = Scheduler(seed, memory)
    world = World(folder, memory)
    reported: dict[str, list[tuple[Version, Content]]] = collections.defaultdict(list)
    dropped: dict[str, set] = collections.defaultdict(set)
    deleted: list[int] = []
    wrong: list[str] = []
    for number in range(chance.randint(2, 3)):
        _add_pusher(scheduler, world, chance, f"clone {number}", reported, dropped, run_gc or collect_as, deleted)
    for number in range(chance.randint(1, 2)):
        name = f"collector {number}"
        site = _site(scheduler, world, name)
        left = chance.randint(1, 60) if chance.random() < 0.4 else None
        scheduler.add(name, lambda site=site: deleted.append((run_gc or collect_as)(site, [])), left)
    if chance.random() < 0.5:
        _add_reader(scheduler, world, chance, reported, dropped, wrong)
    scheduler.run()
    lost = list(wrong)
    for name, versions in reported.items():
        for i, (version, content) in enumerate(versions):
            if version.id in dropped[name] and not any(
                version.id == other.id and other.id not in dropped[who]
                for who, others in reported.items()
                for other, _ in others
            ):
                continue
            if not _is_complete(world, f"check {name} {i}", version, content):
                lost.append(f"seed {seed}: version {i} of {name}")
    world.close()
    failures = [client.failure for client in scheduler.clients if client.failure is not None]
    return Outcome(
        scheduler.requests,
        sum(map(len, reported.values())),
        sum(isinstance(failure, Interrupted) for failure in failures),
        sum(isinstance(failure, DvliteError) for failure in failures),
        sum(deleted),
        tuple(lost),
        tuple(
            f"seed {seed}: {''.join(traceback.format_exception(failure))}"
            for failure in failures
            if not isinstance(failure, Interrupted | DvliteError)
        ),
    )


def _site(scheduler: Scheduler, world: World, name: str) -> Site:
    def client() -> Client:
        return next(each for each in scheduler.clients if each.name == name)

    site = world.site(name, store=ScheduledStore(scheduler, client), jobs=1)
    site.remote._pool.shutdown()
    site.remote._pool = Inline()
    return site


def _add_pusher(scheduler, world, chance, name, reported, dropped, run_gc, deleted) -> None:
    site = _site(scheduler, world, name)
    chosen = [chance.choice(contents(random.Random(chance.randrange(4)))) for _ in range(chance.randint(1, 3))]
    collects, drops = chance.random() < 0.5, chance.random() < 0.6

    def work() -> None:
        for content in chosen:
            version = site.add("data", content)
            dropped[name].discard(version.id)
            site.push(version)
            reported[name].append((version, content))
            if drops and len(reported[name]) > 1:
                for old, _ in reported[name][:-1]:
                    if old.id != version.id:
                        dropped[name].add(old.id)
        if collects:
            deleted.append(run_gc(site, [version for version, _ in reported[name] if version.id not in dropped[name]]))

    scheduler.add(name, work, chance.randint(1, 120) if chance.random() < 0.3 else None)


def _add_reader(scheduler, world, chance, reported, dropped, wrong) -> None:
    site = _site(scheduler, world, "reader")

    def work() -> None:
        for _ in range(3):
            known = [(who, *pair) for who, pairs in list(reported.items()) for pair in list(pairs)]
            if not known:
                with contextlib.suppress(DvliteError):
                    Catalog(site.remote).look()
                continue
            who, version, content = chance.choice(known)
            with contextlib.suppress(DvliteError):
                if site.fetch(version) == [] and site.content(version) != content:
                    wrong.append(f"wrong bytes of {who}")

    scheduler.add("reader", work)


def _is_complete(world: World, name: str, version: Version, content: Content) -> bool:
    site = world.site(name)
    try:
        return site.fetch(version) == [] and site.content(version) == content
    except DvliteError:
        return False
    finally:
        shutil.rmtree(world.folder / name, ignore_errors=True)


def collect_as(site: Site, kept: Sequence[Version]) -> int:
    """Collects without any grace, as a clone that keeps these versions; returns how many packs it deleted."""
    catalog = Catalog(site.remote)
    roots = collect.look(catalog)
    ids = {version.id for version in kept}

    def divide(own: Sequence[Version]) -> Claims:
        owner = Owner(
            clone=site.remote.clone,
            project=SIGNER.project,
            kept=ids,
            named=ids,
            known_commits=lambda commits: commits,
            claimed=snapshot.build(own).root if own else None,
            covered={version.id for version in own},
            own_seconds=0,
        )
        return claims.judge(catalog, roots, owner)

    todo = collect.plan(catalog, site.cache, divide, RunNeeds(), kept, young_seconds=0)
    if todo.own:
        push_protocol.run(catalog, site.cache, todo.own, {}, lambda _: (), SIGNER, QUIET)
    return collect.run(catalog, site.cache, todo, RunNeeds, QUIET, young_seconds=0).deleted_packs


def main() -> None:
    """Plays schedules and prints what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=1e9)
    asked = parser.parse_args()
    pack.TARGET_BYTES = 4_000
    recipe.TERMS_PER_PART = 2
    totals: collections.Counter[str] = collections.Counter()
    lost: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.first, asked.first + asked.schedules):
            if time.monotonic() - began > 60 * asked.minutes:
                break
            outcome = play(seed, Path(folder) / str(seed))
            shutil.rmtree(Path(folder) / str(seed))
            totals.update(
                schedules=1,
                requests=outcome.requests,
                reported=outcome.reported,
                died=outcome.died,
                gave_up=outcome.gave_up,
                deleted_packs=outcome.deleted,
                errors=len(outcome.errors),
                lost=len(outcome.lost),
            )
            lost += outcome.lost + outcome.errors
    print("| " + " | ".join(totals) + " |\n|" + "---|" * len(totals))
    print("| " + " | ".join(f"{count:,}" for count in totals.values()) + " |")
    print("\n".join(lost[:20]))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
