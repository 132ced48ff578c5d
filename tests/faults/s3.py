"""S3 faults at every request: a proxy before a real server breaks request 1, then 2, then 3 of each command, in every way.

`python -m tests.faults.table --kinds s3` runs all of it and prints the counts; tests/faults/test_s3.py runs a sample.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url
from tests.clones import git
from tests.conftest import Runner
from tests.faults.impatient import ANSWER_SECONDS
from tests.faults.scene import Objects, Scenario, Scene, Tally, alone, judge
from tests.faults.sweep import sample
from tests.store.faultproxy import Fault, FaultProxy, flipped, running_proxy
from tests.store.weed import Weed, running_weed

PREFIX = "swept"
LISTING = "list-type"


class BucketPlace:
    """A remote in a bucket; looked at and put back past the proxy."""

    def __init__(self, weed: Weed, through: str, folder: Path) -> None:
        self.url = f"s3://{weed.bucket}/{PREFIX}"
        self.options = ("-o", f"endpoint_url={through}")
        location = parse_url(self.url, folder)
        self._store = open_store(location, weed.options(), budget=RetryBudget(), connections=4)

    def objects(self) -> Objects:
        return {entry.name: self._store.get(entry.name) for entry in self._store.list("").entries}

    def restore(self, objects: Objects) -> None:
        there = self.objects()
        self._store.delete(sorted(name for name, data in there.items() if objects.get(name) != data))
        for name, data in objects.items():
            if there.get(name) != data:
                self._store.put(name, data)

    def close(self) -> None:
        self._store.close()


@dataclass(frozen=True, slots=True)
class Break:
    """A fault, and the requests that it is about."""

    name: str
    fault: Fault
    argument: int | float = 0
    only: str = ""  # what a request has to hold
    lasts: bool = False  # also tried at every request from the Nth on

    def fits(self, request: str) -> bool:
        return self.only in request


BREAKS = (
    Break("500", Fault.STATUS, 500),
    Break("503 SlowDown", Fault.STATUS, 503, lasts=True),
    Break("403", Fault.STATUS, 403, lasts=True),
    Break("404", Fault.STATUS, 404, lasts=True),
    Break("400", Fault.STATUS, 400),
    Break("reset before", Fault.DROP_BEFORE, lasts=True),
    Break("answer lost", Fault.DROP_AFTER, lasts=True),
    Break("answer cut", Fault.TRUNCATE, 0.5, "GET"),
    Break("answer flipped", Fault.FLIP_ANSWER, 0.5, "GET"),
    Break("answer flipped at its end", Fault.FLIP_ANSWER, 0.97, "GET"),
    Break("upload flipped", Fault.FLIP_REQUEST, 0.5, "PUT"),
    Break("stall", Fault.DELAY, 2.5 * ANSWER_SECONDS, lasts=True),
    Break("listing without new", Fault.LIST_WITHOUT_NEW, 0, LISTING, lasts=True),
    Break("listing with gone", Fault.LIST_WITH_GONE, 0, LISTING, lasts=True),
)
OUT = ("-o", "out")
PURGE = ("purge", "model.bin", "--all-versions", "--reason", "law", "--grace", "0s", "--yes")
BEFORE = {
    "both": "edited",
    "dropped": "edited",
    "mirror": "edited",
    "damaged": "edited",
}  # the state after which objects are new, for listings that lag


def scenarios(url: str, snapshot: str) -> list[Scenario]:
    return [
        Scenario("push, first", ("push",), "new", "here", Scene.published),
        Scenario("push, nothing new", ("push",), "pushed", "here", Scene.published),
        Scenario("push, one edit", ("push",), "edited", "here", Scene.published),
        Scenario("push, merging", ("push",), "many", "here", Scene.published),
        Scenario("pull, fresh clone", ("pull",), "both", "there", Scene.delivered),
        Scenario("fetch --all-commits", ("fetch", "--all-commits"), "both", "there", Scene.fetched),
        Scenario("clone", ("clone", "../here", "clone"), "both", "nowhere", Scene.cloned),
        Scenario("status --remote", ("status", "--remote"), "both", "here", Scene.published),
        Scenario(
            "status --remote, incomplete", ("status", "--remote", "--exit-code"), "edited", "here", Scene.never, 1
        ),
        Scenario("verify --remote", ("verify", "--remote"), "both", "here", Scene.published),
        Scenario("verify --remote --deep", ("verify", "--remote", "--deep"), "both", "there", Scene.published),
        Scenario("verify --remote, incomplete", ("verify", "--remote"), "edited", "here", Scene.never, 1),
        Scenario("gc --remote", ("gc", "--remote", "--grace", "0s", "--yes"), "dropped", "here", Scene.collected),
        Scenario("sync", ("sync", "origin", "backup", "--all-commits"), "mirror", "here", Scene.mirrored),
        Scenario("cache prune", ("cache", "prune", "--pushed"), "both", "here", Scene.published),
        Scenario("purge", PURGE, "both", "here", Scene.purged, stays=Scene.purged),
        Scenario("fsck --remote", ("fsck", "--remote", "--deep"), "both", "here", Scene.published),
        Scenario("fsck --remote, damaged", ("fsck", "--remote", "--deep"), "damaged", "here", Scene.never, 13),
        Scenario(
            "fsck --remote --repair",
            ("fsck", "--remote", "--deep", "--repair"),
            "damaged",
            "here",
            Scene.published,
            1,
            nothing_left=0,
        ),
        Scenario("ls --remote", ("ls", "--remote", url), "both", "nowhere", Scene.silent),
        Scenario("get --remote", ("get", "--remote", url, f"{snapshot}:data", *OUT), "both", "nowhere", Scene.copied),
    ]


class Sweep:
    """All points of the scenarios on one scene."""

    breaks = BREAKS

    def __init__(self, scene: Scene, proxy: FaultProxy) -> None:
        self.scene, self.proxy = scene, proxy
        newest = scene.states["both"].objects.keys() - scene.states["edited"].objects.keys()
        snapshot = next(name for name in newest if name.startswith("roots/"))[6:70]
        self.scenarios = scenarios(scene.place.url, snapshot)

    def _push_often(self) -> None:
        """Makes a state in which the next push merges index objects: it deletes."""
        scene = self.scene
        scene.set("edited")
        pushed = scene.place.objects()
        for number in range(17):
            (scene.here.path / "data" / "d0" / "0").write_bytes(b"%d" % number)
            scene.here.dv("add", "data")
            scene.here.commit("again")
            if number < 16:
                scene.here.dv("push")
                pushed = scene.place.objects()
        scene.place.restore(pushed)
        scene.keep("many")

    def _drop(self) -> None:
        """Makes a state with a third version that was pushed, and that git has dropped."""
        scene, here = self.scene, self.scene.here
        scene.set("both")
        scene.fill(3)
        here.dv("add", "data", "model.bin")
        here.dv("repro")
        here.commit("three")
        here.dv("push")
        git(here.path, "reset", "-q", "--hard", "HEAD~1")
        git(here.path, "reflog", "expire", "--expire=all", "--all")
        (here.path / ".git" / "ORIG_HEAD").unlink()
        here.dv("checkout", "--force")
        scene.keep("dropped")

    def _mirror(self) -> None:
        """Makes a state with a second remote that has nothing yet."""
        self.scene.set("both")
        here = self.scene.here
        here.dv("remote", "add", "backup", f"{self.scene.place.url}/backup", *self.scene.place.options)
        here.commit("backup")
        self.scene.keep("mirror")

    def _damage(self) -> None:
        """Makes a state in which every pack of the remote has a wrong byte."""
        self.scene.set("both")
        objects = self.scene.place.objects()
        middles = {name: len(data) // 2 for name, data in objects.items() if name.startswith("packs/")}
        self.scene.place.restore(
            {name: flipped(data, middles[name]) if name in middles else data for name, data in objects.items()}
        )
        self.scene.keep("damaged")

    def requests(self, scenario: Scenario) -> list[str]:
        """Returns the requests of a command that meets no fault, after checking that it keeps its promise."""
        self._start(scenario)
        done = self.scene.play(scenario)
        assert done.returncode == scenario.code, done.stdout + done.stderr
        requests = list(self.proxy.requests)
        assert not (why := scenario.holds(self.scene)), why
        return requests

    def points(self, scenario: Scenario) -> list[tuple[int, Break, bool]]:
        """Returns (request, fault, whether it lasts) of all that can be tried."""
        return [
            (at, broken, lasts)
            for at, request in enumerate(self.requests(scenario))
            for broken in BREAKS
            if broken.fits(request)
            for lasts in ((False, True) if broken.lasts else (False,))
        ]

    def _start(self, scenario: Scenario) -> None:
        self.proxy.rules.clear()
        if scenario.starts not in self.scene.states:
            states = {"many": self._push_often, "dropped": self._drop, "mirror": self._mirror, "damaged": self._damage}
            states[scenario.starts]()
        self.scene.set(scenario.starts)
        for notes in (self.proxy.requests, self.proxy.new, self.proxy.gone):
            notes.clear()

    def point(self, scenario: Scenario, at: int, broken: Break, tally: Tally, *, lasts: bool) -> None:
        """Plays a scenario with one fault, judges, then plays it again without."""
        scene, name = self.scene, f"request {at + 1}{' and all after it' if lasts else ''}: {broken.name}"
        self._start(scenario)
        earlier = scene.states[BEFORE.get(scenario.starts, "new")].objects
        self.proxy.new |= {f"{PREFIX}/{key}" for key in scene.state.objects.keys() - earlier.keys()}
        os.environ["DVLITE_RETRY_SECONDS"] = "1" if lasts else "30"
        self.proxy.breaks("*", ".", broken.fault, broken.argument, times=None if lasts else 1, passing=at)
        done = scene.play(scenario)
        hit = self.proxy.requests[at : at + 1]
        self.proxy.rules.clear()
        if not judge(scene, scenario, done, f"{name} ({''.join(hit)[:90]})", tally):
            return
        if scenario.place == "nowhere":
            scene.set(scenario.starts)
        done = scene.play(scenario)
        if done.returncode not in (scenario.code, scenario.nothing_left):
            tally.note(
                "stuck", name, f"again, without the fault, it leaves with {done.returncode}: {done.stderr[-300:]}"
            )
        elif scenario.holds is not Scene.never and (
            why := scenario.holds(scene) or (scenario.stays or Scene.published)(scene)
        ):
            tally.note("lost", name, why)

    def sweep(self, scenario: Scenario, every: int) -> Tally:
        """Tries every Nth point of a scenario."""
        points = self.points(scenario)
        tally = Tally(of=len(points))
        for at, broken, lasts in sample(points, every, scenario.name):
            self.point(scenario, at, broken, tally, lasts=lasts)
        return tally


def sweep_of(weed: Weed, proxy: FaultProxy, folder: Path, run: Runner) -> Sweep:
    """Builds the scene in a bucket behind the proxy."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": weed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": weed.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy.url,  # for commands that are given a URL
        "DVLITE_TRUST": proxy.url,
    }
    place = BucketPlace(weed, proxy.url, folder)
    place.restore({})
    return Sweep(Scene(folder, run, place), proxy)


@contextlib.contextmanager
def running() -> Iterator[Sweep]:
    """Starts the server, the proxy and the program."""
    with (
        alone() as (folder, run),
        running_weed(folder.parent / "weed") as weed,
        running_proxy(weed.endpoint_url) as proxy,
    ):
        yield sweep_of(weed, proxy, folder, run)
