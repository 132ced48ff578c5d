"""Plays schedules of the real code: clones push, fetch, collect, purge, repair and sync, one request at a time in an order drawn from a seed.

Any of them may die before any request. Afterwards everything that was reported and is needed is fetched by a clone with an empty cache, byte
for byte, but for what was purged, of which no byte may be left. Used by tests/store/test_schedules.py; as a program it plays as many
schedules as asked for: `python -m tests.store.schedule --schedules 200000 --jobs 2`.
"""

from __future__ import annotations

import argparse
import collections
import gc
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.errors import DvliteError
from dvlite.formats import snapshot, store_config
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import Digest, digest_bytes, format_oid
from tests.store import actors
from tests.store.actors import BACKUP, ORIGIN, SETTINGS, Content, GitLess
from tests.store.memory import MemoryStore
from tests.store.scheduler import ScheduledStore, Scheduler
from tests.store.world import CHUNKS, noise

_PRINT_SECONDS = 60
_FILES = 8
BASE = {f"f{i}": noise(200 + i, i) for i in range(_FILES)}
BIG = noise(9_000, 100)


def contents(chance: random.Random) -> list[Content]:
    """Returns a few contents that share most of what they hold."""
    made = []
    for number in range(3):
        content = BASE | {f"f{chance.randrange(_FILES)}": noise(210, 1000 + number)}
        if chance.random() < 0.7:
            at = chance.randrange(9_000)
            content["big"] = BIG[:at] + noise(60, 10_000 + at) + BIG[at:]
        made.append(content)
    return made


CONTENTS = [content for seed in range(4) for content in contents(random.Random(seed))]
BYTES = {digest_bytes(data): data for content in CONTENTS for data in content.values()}


def needles(data: bytes) -> list[bytes]:
    """Returns parts of a content that no other content has, one of which at least no border of chunks divides."""
    if len(data) < len(BIG):
        return [data]
    at = next((i for i, byte in enumerate(BIG) if data[i] != byte), len(BIG))
    return [data[at : at + 25], data[at + 30 : at + 55]]


@dataclass(frozen=True)
class Outcome:
    """What a schedule came to; `lost` names what a client reported, and that is needed and not there, or gone and still there."""

    counts: dict[str, int]
    lost: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass
class Play:
    """One schedule. Stores are named by `where`, clones by `who`."""

    seed: int
    folder: Path
    chance: random.Random
    scheduler: Scheduler
    stores: dict[str, MemoryStore]
    reported: dict[tuple[str, str], list[tuple[Version, Content]]] = field(
        default_factory=lambda: collections.defaultdict(list)
    )
    dropped: dict[str, set] = field(default_factory=lambda: collections.defaultdict(set))
    purged: set[Digest] = field(default_factory=set)  # perhaps: a purge of it began
    buried: dict[str, set[Digest]] = field(default_factory=lambda: collections.defaultdict(set))  # a purge reported it
    damaged: str = ""  # the object that went bad
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    alarms: list[tuple[VersionId | None, str]] = field(
        default_factory=list
    )  # what fsck found wrong, of what had been reported
    lost: list[str] = field(default_factory=list)

    def clone(self, who: str) -> GitLess:
        """Returns a clone whose requests wait for their turn."""
        stores = {where: ScheduledStore(self.scheduler, who, store) for where, store in self.stores.items()}
        return actors.clone(self.folder, who, stores)

    def maybe(self, probability: float) -> bool:
        return self.chance.random() < probability

    def dies_after(self, probability: float, most: int) -> int | None:
        return self.chance.randint(1, most) if self.maybe(probability) else None

    def lose(self, what: str) -> None:
        self.lost.append(f"seed {self.seed}: {what}")

    def known(self, where: str) -> list[tuple[Version, Content]]:
        return [pair for (place, _), pairs in list(self.reported.items()) if place == where for pair in list(pairs)]

    def needed(self, where: str) -> Iterator[tuple[str, Version, Content]]:
        """Yields what was reported there, and that not all who did have dropped."""
        of_store = {who: pairs for (place, who), pairs in self.reported.items() if place == where}
        kept = {
            version.id for who, pairs in of_store.items() for version, _ in pairs if version.id not in self.dropped[who]
        }
        done = set()
        for who, pairs in of_store.items():
            for version, content in pairs:
                if version.id in kept and version.id not in done:
                    done.add(version.id)
                    yield who, version, content


def play(seed: int, folder: Path) -> Outcome:
    """Plays one schedule: two or three clones push, one or two collect; often some also read, purge, repair or sync; some die."""
    os.urandom = random.Random(f"nonces {seed}").randbytes  # one client runs at a time: the same seed, the same names
    chance = random.Random(seed)
    play = Play(seed, folder, chance, Scheduler(seed), {ORIGIN: MemoryStore(ORIGIN)})
    syncs, purges, repairs = play.maybe(0.2), play.maybe(0.25), play.maybe(0.2)
    if syncs:
        play.stores[BACKUP] = MemoryStore(BACKUP)
    for store in play.stores.values():
        store.put(store_config.NAME, store_config.dump(CHUNKS))
    for number in range(2 + play.maybe(0.3)):
        _add_pusher(play, f"clone {number}", syncs=syncs, repairs=repairs)
    for number in range(1 + play.maybe(0.3)):
        _add_collector(play, f"collector {number}", ORIGIN)
    if play.maybe(0.3):
        _add_reader(play)
    if syncs:
        _add_syncer(play)
        if play.maybe(0.7):
            _add_collector(play, "collector of the backup", BACKUP, times=4)
    if purges:
        _add_purger(play)
    if repairs:
        _add_mender(play)
        if play.maybe(0.4):
            _add_fault(play)
    play.scheduler.run()
    clients = play.scheduler.clients.values()
    if not any(client.died or client.gave_up for client in clients) and not play.damaged:
        needed = {version.id for _, version, _ in play.needed(ORIGIN)}
        for version_id, text in play.alarms:
            if version_id is None or version_id in needed:
                play.lose(text)
    for where in play.stores:
        _judge(play, where)
    play.counts.update(
        schedules=1,
        requests=play.scheduler.requests,
        died=sum(client.died for client in clients),
        gave_up=sum(client.gave_up for client in clients),
        pushed=sum(len(pairs) for (_, who), pairs in play.reported.items() if who != "syncer"),
    )
    failures = [client.failure for client in clients if client.failure and not (client.died or client.gave_up)]
    errors = tuple(f"seed {seed}: {''.join(traceback.format_exception(failure))}" for failure in failures)
    return Outcome(dict(play.counts), tuple(play.lost), errors)


# --- the clients ---


def _add_pusher(play: Play, who: str, *, syncs: bool, repairs: bool) -> None:
    repo = play.clone(who)
    chosen = [play.chance.choice(CONTENTS) for _ in range(play.chance.choice([1, 1, 2, 2, 3]))]
    collects, drops = play.maybe(0.4), play.maybe(0.6)
    places = [ORIGIN, BACKUP] if syncs and play.maybe(0.4) else [ORIGIN]
    mends = repairs and play.maybe(0.3)

    def work() -> None:
        for content in chosen:
            version = repo.site.add("data", content)
            play.dropped[who].discard(version.id)
            for where in places:
                actors.push(repo, version, where)
                play.reported[where, who].append((version, content))
            if drops:
                play.dropped[who] |= {old.id for old, _ in play.reported[places[-1], who]} - {version.id}
        repo.kept = [version for version, _ in play.reported[ORIGIN, who] if version.id not in play.dropped[who]]
        if mends:
            _mend(play, repo)
        if collects:
            play.counts["deleted_packs"] += actors.gc(repo, play.chance.choice(places))

    play.scheduler.add(who, work, play.dies_after(0.3, 120))


def _waits(play: Play, who: str, most: int) -> Callable[[], None]:
    """Returns what lets others make requests first, so many as the seed says."""
    turns = play.chance.randrange(most)

    def wait() -> None:
        for _ in range(turns):
            play.scheduler.before(play.scheduler.clients[who], None)

    return wait


def _add_collector(play: Play, who: str, where: str, *, times: int = 1) -> None:
    repo, wait = play.clone(who), _waits(play, who, 40)

    def work() -> None:
        for number in range(times):
            if number:
                wait()
            play.counts["deleted_packs"] += actors.gc(repo, where)

    play.scheduler.add(who, work, play.dies_after(0.4, 60 * times))


def _add_reader(play: Play) -> None:
    repo, wait = play.clone("reader"), _waits(play, "reader", 40)

    def work() -> None:
        for _ in range(3):
            wait()
            known = play.known(ORIGIN)
            if known:
                version, content = play.chance.choice(known)
                got = actors.fetch(repo, [version], ORIGIN)[0]
                if got is not None and got != _without(content, repo):
                    play.lose("wrong bytes for a reader")

    play.scheduler.add("reader", work)


def _add_syncer(play: Play) -> None:
    repo, wait = play.clone("syncer"), _waits(play, "syncer", 60)

    def work() -> None:
        for _ in range(2):
            wait()
            known = play.known(ORIGIN)
            if known:
                version, content = play.chance.choice(known)
                if actors.sync(repo, version, ORIGIN, BACKUP):
                    play.reported[BACKUP, "syncer"].append((version, content))
                    play.counts["synced"] += 1

    play.scheduler.add("syncer", work, play.dies_after(0.3, 100))


def _add_purger(play: Play) -> None:
    repo = play.clone("purger")
    content = play.chance.choice(CONTENTS)
    name = "big" if "big" in content and play.maybe(0.5) else f"f{play.chance.randrange(_FILES)}"
    digest = digest_bytes(content[name])
    wait = _waits(play, "purger", 40)

    def work() -> None:
        wait()
        repo.kept = [version for version, _ in play.known(ORIGIN)[:1]]
        play.purged.add(digest)
        for where in play.stores:
            actors.purge(repo, [digest], where)
            play.buried[where].add(digest)
            play.counts["purged"] += 1

    play.scheduler.add("purger", work, play.dies_after(0.4, 100))


def _add_mender(play: Play) -> None:
    repo = play.clone("mender")
    for content in play.chance.sample(CONTENTS, play.chance.choice([0, 3])):
        repo.site.add("data", content)
    play.scheduler.add("mender", lambda: _mend(play, repo), play.dies_after(0.3, 120))


def _mend(play: Play, repo: GitLess) -> None:
    before = {format_oid(*version.id): version.id for version, _ in play.known(ORIGIN)}
    before |= {f"snapshot:{snapshot.build([version]).root.hex()}": version.id for version, _ in play.known(ORIGIN)}
    result = actors.repair(repo, ORIGIN)
    play.counts["fsck"] += 1
    damages = [each for each in result.findings if each.problem != "stale"]  # a push has packs that no index names yet
    play.alarms += [(None, f"fsck found damage: {finding}") for finding in damages]
    lost = [each for each in result.lost if each.given_up is None]
    play.alarms += [(before[each.oid], f"fsck missed {each}") for each in lost if each.oid in before]


def _add_fault(play: Play) -> None:
    """Adds a disk on which a pack or an index object goes bad, or an index object is lost.

    A pack that the store loses after a collector condemned it, and before it was copied, looks as if it had been deleted: no client can know.
    """
    wait, at, how = _waits(play, "fault", 100), play.chance.random(), play.chance.choice(["flipped", "cut", "lost"])
    folders = ("index/",) if how == "lost" else ("index/", "packs/")

    def work() -> None:
        wait()
        objects = play.stores[ORIGIN].objects
        names = sorted(name for name in objects if name.startswith(folders))
        if not names:
            return
        play.damaged = name = names[int(at * len(names))]
        data = objects[name]
        if how == "lost":
            del objects[name]
        else:
            middle = len(data) // 2
            objects[name] = data[:middle] + (b"" if how == "cut" else bytes([data[middle] ^ 1]) + data[middle + 1 :])

    play.scheduler.add("fault", work)


# --- what must hold ---


def _judge(play: Play, where: str) -> None:
    """Looks at a store after all clients ended: with clones whose requests wait for no turn."""
    stores = dict(play.stores)
    if where == ORIGIN and play.damaged:
        _heal(play, stores)
    objects = play.stores[where].objects
    is_swept = False
    if any(name.startswith("purged/") for name in objects):
        try:
            actors.gc(actors.clone(play.folder, "sweeper", stores), where)
            is_swept = not play.damaged
        except DvliteError:
            play.counts["unswept"] += 1
    colleague = actors.clone(play.folder, f"colleague at {where}", stores)
    needed = list(play.needed(where))
    got = actors.fetch(colleague, [version for _, version, _ in needed], where)
    for (who, _, content), there in zip(needed, got, strict=True):
        if there != _without(content, colleague):
            play.lose(f"{where} lacks a version of {who}")
    gone = set(colleague.site.cache.purged)
    if not play.buried[where] <= gone <= play.purged:
        play.lose(f"{where} says that {len(gone)} contents were purged, and it were others")
    for digest in gone if is_swept else ():
        if any(part in data for part in needles(BYTES[digest]) for data in objects.values()):
            play.lose(f"{where} still has what was purged")
        play.counts["wiped"] += 1


def _without(content: Content, repo: GitLess) -> Content:
    """Returns what a clone gets of a content: all but what it knows to be purged."""
    purged = repo.site.cache.purged
    return {name: data for name, data in content.items() if not purged or digest_bytes(data) not in purged}


def _heal(play: Play, stores: dict[str, MemoryStore]) -> None:
    """Repairs the store from a clone that has everything; if that names something as lost, those who claim versions push them again."""
    play.counts["damaged"] += 1
    healer = actors.clone(play.folder, "healer", stores)
    for _, content in play.known(ORIGIN):
        healer.site.add("data", content)
    result = actors.repair(healer, ORIGIN)
    play.counts["unhealed"] += bool(result.lost) or any(finding.state == "left" for finding in result.findings)
    for (where, who), pairs in play.reported.items():
        repo = actors.clone(play.folder, who, stores) if where == ORIGIN else None
        for version, _ in pairs if repo is not None else ():
            if version.id not in play.dropped[who] and result.lost:
                repo.site.versions["data"] = [version]
                actors.push(repo, version, ORIGIN)


# --- the program ---


def _play_one(arguments: tuple[int, Path]) -> Outcome:
    seed, folder = arguments
    try:
        return play(seed, folder / str(seed))
    except Exception:
        return Outcome({"schedules": 1}, (), (f"seed {seed}: {traceback.format_exc()}",))
    finally:
        shutil.rmtree(folder / str(seed), ignore_errors=True)


COLUMNS = (
    *("schedules", "requests", "died", "gave_up", "pushed", "synced", "purged", "fsck", "damaged", "deleted_packs"),
    *("wiped", "unswept", "unhealed", "errors", "lost"),
)


def main() -> None:
    """Plays schedules and prints what they came to, a row a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    began = printed = time.monotonic()
    totals: collections.Counter[str] = collections.Counter()
    print("| minutes | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS), flush=True)

    def show() -> None:
        minutes = (time.monotonic() - began) / 60
        print(f"| {minutes:.1f} | " + " | ".join(f"{totals[name]:,}" for name in COLUMNS) + " |", flush=True)

    for owner, name, value in SETTINGS:
        setattr(owner, name, value)
    gc.freeze()
    seeds = range(asked.first, asked.first + asked.schedules)
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("fork").Pool(asked.jobs) as pool:
        for outcome in pool.imap_unordered(_play_one, ((seed, Path(folder)) for seed in seeds), 5):
            totals.update(outcome.counts | {"errors": len(outcome.errors), "lost": len(outcome.lost)})
            for text in (*outcome.lost, *outcome.errors):
                print(text, flush=True)
            if time.monotonic() - printed > _PRINT_SECONDS:
                printed = time.monotonic()
                show()
            if time.monotonic() - began > 60 * asked.minutes:
                break
    show()
    sys.exit(1 if totals["lost"] or totals["errors"] else 0)


if __name__ == "__main__":
    main()
