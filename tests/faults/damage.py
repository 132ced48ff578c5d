"""Damaged stores: every object of a small remote and of a clone's cache is lost, cut, flipped, swapped, put back from before, and more.

`python -m tests.faults.damage [--every N] [--only WORD] [--store remote|cache]` runs all of it and prints the table;
tests/faults/test_damage.py runs a sample.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.formats import recipe
from dvlite.oid import Digest, digest_bytes
from dvlite.store import pack
from tests.conftest import Runner
from tests.faults.scene import TRACKED, FolderPlace, Objects, Scenario, Scene, State, Tally, alone, judge, table

EVERY_LENGTH = 200  # objects are cut at every length up to this, then at some
SAMPLES = 60
CORRUPT = (12, 13)  # exit codes of what is missing, and of what is damaged
SOURCES = ("the remote and the work tree left", "the remote left", "the work tree left", "nothing left")
CONTENT = ("cache/files/", "cache/packs/", "runs/")  # what no other object of a clone can be made from
BODY = {"config", "packs", "index", "runs", "roots"}  # kinds of objects whose damage a deep look has to find


@dataclass(frozen=True, slots=True)
class Damage:
    """Objects as they are afterwards (None: gone), and where the first of them changed: [start, end)."""

    name: str
    objects: dict[str, bytes | None]
    start: int = 0
    end: int = 1 << 60
    is_dense: bool = False  # one of very many of its kind: fewer commands are tried on it

    @property
    def target(self) -> str:
        return next(iter(self.objects))


def damages(objects: Objects, earlier: Objects) -> Iterator[Damage]:
    """Yields what can happen to each object; the very many of a kind are `is_dense`."""
    for name, data in sorted(objects.items()):
        size = len(data)
        others = [other for other in sorted(objects) if other != name and kind_of(other) == kind_of(name)]
        yield Damage(f"{name} lost", {name: None})
        yield Damage(f"{name} emptied", {name: b""})
        for other in others[:2]:
            yield Damage(f"{name} swapped with {other}", {name: objects[other], other: data})
            yield Damage(f"{name} replaced by {other}", {name: objects[other]})
        if earlier.get(name, data) != data:
            yield Damage(f"{name} as it was before", {name: earlier[name]})
        yield Damage(f"{name} doubled", {name: data + data}, start=size)
        yield Damage(f"{name} zeroed", {name: bytes(size)})
        few = {1, 8, 40, size // 4, size // 2, size * 3 // 4, size - 33, size - 14, size - 1}
        for at in sorted(at for at in few if 0 <= at < size):
            yield cut(name, data, at)
            yield flip(name, data, at)
        every = {*range(1, min(size, EVERY_LENGTH)), *range(1, size, max(1, size // SAMPLES))}
        for at in sorted(every - few):
            yield cut(name, data, at, is_dense=True)
            yield flip(name, data, at, is_dense=True)
    for kind in sorted({kind_of(name) for name in objects}):
        example = next(name for name in sorted(objects) if kind_of(name) == kind)
        folder = example.rpartition("/")[0]
        if folder:
            data = objects[example]
            for text, content in (("foreign", b"no object of ours"), ("foreign, empty", b""), ("misnamed", data)):
                false = digest_bytes(text.encode() + example.encode()).hex()
                yield Damage(f"{folder}/ with a {text} object", {f"{folder}/{false}": content})
            yield Damage(f"{folder}/ with a file of another name", {f"{folder}/notes.txt": b"x"})
            lost: dict[str, bytes | None] = {name: None for name in sorted(objects) if kind_of(name) == kind}
            yield Damage(f"all of {kind} lost", lost)


def cut(name: str, data: bytes, at: int, *, is_dense: bool = False) -> Damage:
    return Damage(f"{name} cut at {at} of {len(data)}", {name: data[:at]}, at, is_dense=is_dense)


def flip(name: str, data: bytes, at: int, *, is_dense: bool = False) -> Damage:
    flipped = data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
    return Damage(f"{name} flipped at {at} of {len(data)}", {name: flipped}, at, at + 1, is_dense)


def kind_of(name: str) -> str:
    """Returns the folder of an object, without the levels that are there for their number."""
    parts = name.split("/")[:-1]
    return "/".join(part for part in parts if len(part) > 2 and len(part) < 32) or name


@dataclass
class Holders:
    """Which tracked files need which record of which object: what damage there may take away."""

    state: State
    files: dict[Digest, set[bytes]] = field(default_factory=dict)
    trees: dict[Digest, set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path, fact in self.state.tracked.items():
            content = fact[2] if fact[0] == "file" else fact[1] if fact[0] == "link" else None
            if content is not None:
                self.files.setdefault(digest_bytes(content), set()).add(path)

    def of(self, damage: Damage, whole: Objects) -> set[bytes]:
        """Returns the files of tracked paths that may be gone: a directory with a gap is not written."""
        hit = {path.partition(b"/")[0] for path in self._hit(damage, whole)}
        return {path for path in self.state.tracked if path.partition(b"/")[0] in hit}

    def _hit(self, damage: Damage, whole: Objects) -> set[bytes]:
        gone: set[bytes] = set()
        for name in damage.objects:
            data = whole.get(name)
            kind = kind_of(name)
            if data is None:
                continue
            if kind.endswith("files"):
                gone |= self.files.get(Digest(bytes.fromhex(name[-64:])), set())
            elif kind.endswith("packs"):
                digest = Digest(bytes.fromhex(name[-64:]))
                takers = self._takers(whole)
                for number, record in enumerate(pack.open_whole(data, digest)):
                    if damage.start < record.offset + record.stored_length and record.offset < damage.end:
                        gone |= self._of_record(record, data) | takers.get((digest, number), set())
        return gone

    def _takers(self, whole: Objects) -> dict[tuple[Digest, int], set[bytes]]:
        """Returns which files take a stretch of which chunk of a pack, which need not be in them as a whole."""
        takers: dict[tuple[Digest, int], set[bytes]] = {}
        for name, data in whole.items():
            if not kind_of(name).endswith("packs"):
                continue
            for record in pack.open_whole(data, Digest(bytes.fromhex(name[-64:]))):
                if record.kind == pack.KIND_RECIPE:
                    body = pack.unpack(record, data[record.offset : record.offset + record.stored_length])
                    for term in recipe.parse(body, record.digest).terms:
                        if term.skip_bytes is not None:
                            files = self.files.get(record.digest, set())
                            takers.setdefault((term.pack, term.first), set()).update(files)
        return takers

    def _of_record(self, record: pack.Record, data: bytes) -> set[bytes]:
        if record.kind == pack.KIND_CHUNK:
            content = pack.unpack(record, data[record.offset : record.offset + record.stored_length])
            return {path for path, fact in self.state.tracked.items() if fact[0] == "file" and content in fact[2]}
        if record.kind == pack.KIND_MANIFEST:
            return {path for path in self.state.tracked if path.startswith(b"data")}
        return self.files.get(record.digest, set())


class RemoteSweep:
    """Damage on a remote in a folder, as each command meets it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.whole = scene.states["both"].objects
        self.holders = Holders(scene.states["both"])

    def damages(self) -> Iterator[Damage]:
        return damages(self.whole, self.scene.states["pushed"].objects)

    def _start(self, damage: Damage) -> None:
        self.scene.set("both")
        after = {**self.whole, **damage.objects}
        self.scene.place.restore({name: data for name, data in after.items() if data is not None})

    def point(self, damage: Damage, tallies: dict[str, Tally]) -> None:
        """Plays every command on a damaged remote."""
        shown = self._is_shown(damage)
        scene = self.scene
        commands = [
            (Scenario("pull, fresh clone", ("pull",), "both", "there", Scene.delivered), True),
            (Scenario("pull, clone that pushed", ("pull",), "both", "here", Scene.silent), False),
            (
                Scenario(
                    "status --remote", ("status", "--remote", "--exit-code"), "both", "here", self._true(shown=shown)
                ),
                False,
            ),
            (
                Scenario(
                    "verify --remote --deep", ("verify", "--remote", "--deep"), "both", "here", self._found(damage)
                ),
                False,
            ),
            (Scenario("push", ("push",), "both", "here", self._true(shown=shown)), False),
            (
                Scenario(
                    "cache prune --pushed",
                    ("cache", "prune", "--pushed"),
                    "both",
                    "here",
                    self._kept if shown else Scene.silent,
                ),
                False,
            ),
        ]
        for scenario, counts in commands[: 1 if damage.is_dense else None]:
            tally = tallies.setdefault(scenario.name, Tally())
            self._start(damage)
            done = scene.play(scenario)
            if judge(scene, scenario, done, damage.name, tally) and counts:
                self._withheld(damage, done.returncode, tally)
        if not damage.is_dense:
            self._heal(damage, tallies.setdefault("verify --deep; push", Tally()))
            self._start(damage)
            repaired(self.scene, damage, tallies.setdefault("fsck --remote --repair", Tally()), "--remote")

    def _is_shown(self, damage: Damage) -> bool:
        """Whether a listing shows it: an object that is gone, or of another size, and needed."""
        sizes = {name: len(data) for name, data in self.whole.items()}
        return any(
            name in sizes and (data is None or len(data) != sizes[name]) and name.startswith(("packs/", "index/"))
            for name, data in damage.objects.items()
        )

    def _true(self, *, shown: bool) -> Callable[[Scene], str]:
        """Exit code 0 holds: a fresh clone gets everything; of what no listing shows, a deep look has to be asked."""
        return Scene.published if shown else Scene.silent

    def _found(self, damage: Damage) -> Callable[[Scene], str]:
        """A deep look that finds nothing holds: of packs, that a fresh clone gets everything; of all else, that nothing was changed."""
        others = [name for name in damage.objects if name in self.whole and not name.startswith("packs/")]
        return (lambda _scene: "damage is called sound") if others else Scene.published

    @staticmethod
    def _kept(scene: Scene) -> str:
        """What was pruned is not lost: a push mends what a listing shows, and a fresh clone gets everything."""
        done = scene.run("push", cwd=scene.here.path)
        return done.stderr[-300:] if done.returncode else scene.published()

    def _withheld(self, damage: Damage, code: int, tally: Tally) -> None:
        scene = self.scene
        have = scene.tracked(scene.there.path)
        may_lack = self.holders.of(damage, self.whole)
        lacking = {path for path, fact in scene.state.tracked.items() if have.get(path) != fact and fact[0] != "folder"}
        if lacking - may_lack:
            tally.note("withheld", damage.name, f"{sorted(lacking - may_lack)[:3]}: {scene.last.stderr[-300:]}")
        elif lacking and code not in CORRUPT:
            tally.note("stuck", damage.name, f"left with {code}: {scene.last.stderr[-300:]}")

    def _heal(self, damage: Damage, tally: Tally) -> None:
        """In the clone that has the data: a deep look, a push, and all is well again. A push claims what it pushes: what else was claimed, `fsck` claims again."""
        scene = self.scene
        self._start(damage)
        tally.points += 1
        scene.run("verify", "--remote", "--deep", cwd=scene.here.path)
        done = scene.run("push", cwd=scene.here.path)
        if not done.returncode and any(
            name.startswith("roots/") and damage.objects[name] is None for name in damage.objects
        ):
            scene.run("fsck", "--remote", "--repair", cwd=scene.here.path)
        if done.returncode:
            tally.note("stuck", damage.name, done.stderr[-400:])
            return
        why = scene.published()
        again = scene.run("verify", "--remote", "--deep", cwd=scene.here.path)
        if why:
            tally.note("lost", damage.name, why)
        elif again.returncode:
            tally.note("stuck", damage.name, f"still: {again.stdout[-500:]}{again.stderr[-200:]}")
        else:
            tally.done += 1


def repaired(scene: Scene, damage: Damage, tally: Tally, *where: str) -> None:
    """In the clone that has the data: a repair finds everything and puts it right, a deep check agrees, and a fresh clone gets everything."""
    tally.points += 1
    done = scene.run("fsck", *where, "--deep", "--repair", cwd=scene.here.path)
    again = scene.run("fsck", *where, "--deep", cwd=scene.here.path)
    if "Traceback" in done.stderr + again.stderr:
        tally.note("tracebacks", damage.name, f"{done.stderr}{again.stderr}"[-600:])
    elif done.returncode not in (0, 1):
        tally.note("stuck", damage.name, f"left with {done.returncode}: {done.stdout[-500:]}{done.stderr[-300:]}")
    elif again.returncode:
        tally.note("lies", damage.name, f"still: {again.stdout[-500:]}{again.stderr[-200:]}")
    elif why := scene.published():
        tally.note("lost", damage.name, why)
    else:
        tally.done += 1


class CacheSweep:
    """Damage in what a clone keeps under `.git/dvlite`, with a sound remote."""

    SKIPPED = ("lock", "tmp/", "sparse.json")

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.state = scene.states["both"]
        self.whole = self._kept(self.state.clone)
        self.earlier = self._kept(scene.states["pushed"].clone)
        self.holders = Holders(self.state)

    def _kept(self, clone: Path) -> Objects:
        top = clone / ".git" / "dvlite"
        files = {path.relative_to(top).as_posix(): path for path in top.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not name.endswith("lock")}

    def damages(self) -> Iterator[Damage]:
        return damages(self.whole, self.earlier)

    def _start(self, damage: Damage, *, without_data: bool) -> None:
        self.scene.set("both")
        here = self.scene.here.path
        for name, data in damage.objects.items():
            path = here / ".git" / "dvlite" / name
            path.unlink(missing_ok=True)
            if data is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        for name in TRACKED if without_data else ():
            target = here / name
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    def point(self, damage: Damage, tallies: dict[str, Tally]) -> None:
        scene = self.scene
        back = lambda scene: "" if scene.tracked(scene.here.path) == scene.state.tracked else "not all of it is there"  # noqa: E731
        commands = [
            (Scenario("checkout", ("checkout",), "both", "here", back), True),
            (Scenario("pull", ("pull",), "both", "here", back), True),
            (Scenario("status", ("status",), "both", "here", Scene.silent), False),
            (Scenario("verify", ("verify",), "both", "here", Scene.silent), False),
            (Scenario("push to a new remote", ("push",), "both", "here", Scene.published), False),
            (Scenario("push", ("push",), "both", "here", Scene.published), False),
            (Scenario("cache prune --pushed", ("cache", "prune", "--pushed"), "both", "here", Scene.published), False),
        ]
        for scenario, without_data in commands[: 2 if damage.is_dense else None]:
            tally = tallies.setdefault(scenario.name, Tally())
            self._start(damage, without_data=without_data)
            if "new remote" in scenario.name:
                scene.place.restore({})
                shutil.rmtree(scene.here.path / ".git" / "dvlite" / "remote", ignore_errors=True)
            done = scene.play(scenario)
            if without_data:  # what was taken away is no loss of the command's
                self._judge_read(damage, scenario, done, tally)
            else:
                judge(scene, scenario, done, damage.name, tally)

        for sources in SOURCES if not damage.is_dense else ():
            self.repair(damage, sources, tallies.setdefault(f"fsck --repair, {sources}", Tally()))

    def repair(self, damage: Damage, sources: str, tally: Tally) -> None:
        """In the clone, with these sources left: what `fsck` finds is healed or left over; what it does not find, or calls healed, can be had."""
        scene, has_remote = self.scene, "remote" in sources
        self._start(damage, without_data="work tree" not in sources)
        if not has_remote:
            shutil.rmtree(scene.place.folder)
        is_content = any(name.startswith(CONTENT) for name in damage.objects)
        tally.points += 1
        runs = [scene.run("fsck", "--deep", *flags, cwd=scene.here.path) for flags in ((), ("--repair",), ())]
        found, done, again = (run.returncode for run in runs)
        shown = "".join(f"{run.stdout[-400:]}{run.stderr[-300:]}" for run in runs)
        if "Traceback" in shown or 70 in (found, done, again):
            tally.note("tracebacks", damage.name, shown)
        elif not has_remote and (done == again == 3 or (done == again == 13 and is_content)):
            tally.refused += 1  # the remote, which cannot be asked, may have it
        elif (found in (0, 3)) != (done in (0, 3)) or done not in (0, 1, 3) or again not in (0, 3):
            tally.note("stuck", damage.name, f"left with {found}, {done}, {again}: {shown}")
        elif why := self._lacks(has_remote=has_remote):
            tally.note("lies", damage.name, f"{why}; left with {found}, {done}, {again}: {shown}")
        else:
            tally.done += 1

    def _lacks(self, *, has_remote: bool) -> str:
        """Returns what cannot be had of the two versions, without what is on disk."""
        scene, here = self.scene, self.scene.here.path
        if has_remote:
            scene.run("fetch", "--all-commits", cwd=here)
        for revision, state in (("HEAD~1", "pushed"), ("HEAD", "both")):
            for name in TRACKED:
                target = here / name
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            done = scene.run("checkout", "--rev", revision, cwd=here)
            if scene.tracked(here) != scene.states[state].tracked:
                return f"{revision} cannot be checked out ({done.returncode}): {done.stderr[-300:]}"
        return ""

    def _judge_read(self, damage: Damage, scenario: Scenario, done, tally: Tally) -> None:
        scene = self.scene
        have, expected = scene.tracked(scene.here.path), scene.state.tracked
        scene.state = State(scene.state.clone, scene.state.objects, have)  # nothing is lost by being away already
        holds = Scenario(
            scenario.name,
            scenario.command,
            scenario.starts,
            scenario.place,
            lambda _: "" if have == expected else "not all of it is there",
        )
        sound = judge(scene, holds, done, damage.name, tally)
        scene.state = self.state
        lacking = {path for path, fact in expected.items() if have.get(path) != fact and fact[0] != "folder"}
        if sound and scenario.name == "pull" and lacking:
            tally.note("withheld", damage.name, f"{sorted(lacking)[:3]}: {done.stderr[-300:]}")
        elif sound and lacking - self.holders.of(damage, self.whole):
            withheld = sorted(lacking - self.holders.of(damage, self.whole))[:3]
            if not any(kind_of(name).endswith("index") for name in damage.objects):
                tally.note("withheld", damage.name, f"{withheld}: {done.stderr[-300:]}")


def scene_of(folder: Path, run: Runner) -> Scene:
    os.environ["DVLITE_TRUST"] = str(folder / "store")
    return Scene(folder, run, FolderPlace(folder / "store"))


def run_all(
    sweep: RemoteSweep | CacheSweep, *, every: int = 1, first: int = 0, only: str = "", dense_only: bool = False
) -> dict[str, Tally]:
    """Plays number `first` and each that is `every` after it; with `dense_only`, what is not dense in any case."""
    tallies: dict[str, Tally] = {}
    for number, damage in enumerate(sweep.damages()):
        if only in damage.name and (number % every == first or (dense_only and not damage.is_dense)):
            sweep.point(damage, tallies)
    return tallies


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--every", type=int, default=1, help="of cuts and flips at every byte, try one in so many")
    arguments.add_argument("--first", type=int, default=0, help="and begin with this one")
    arguments.add_argument("--only", default="", help="damage with this in its name")
    arguments.add_argument("--store", choices=("remote", "cache"), default="remote")
    wanted = arguments.parse_args()
    with alone() as (folder, run):
        sweep = (RemoteSweep if wanted.store == "remote" else CacheSweep)(scene_of(folder, run))
        tallies = run_all(sweep, every=wanted.every, first=wanted.first, only=wanted.only, dense_only=True)
    print(table(tallies))
    return int(any(tally.bad() for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
