"""Power cuts and flipped bits in dvlite and DVC: `python benchmarks/faults.py --peers ~/peers`, as root.

Both version the same folder with their default settings, on an ext4 image behind a loop device. The power of that disk is cut at evenly
spaced changes that `add`, and a `push` to a folder, make to it, and once right after exit 0. After a cut inside, the same command runs
again; then the data is removed and checked out, or cloned and pulled. Flips change one bit in the cache or in the remote, at places drawn
at random, and leave sizes and times as they are; then the data is checked out, or pulled by a new clone.

What comes out is compared with what went in: `right`; `wrong`: other bytes or fewer files with exit 0; `refused`: an error. `lost` counts
the points after which the user's bytes are in no file. `found`: of the flips, those that the command, or `status` after it, shows, and those
that a check of the whole store shows; DVC has no such check.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import peers, table
from benchmarks.tampering import environment
from tests.faults.calls import CHANGE, COUNT, POWER, library_in
from tests.faults.power import Disk, Unavailable, disk_in
from tests.trees import noise

COLUMNS = ("points", "right", "wrong", "refused", "lost")
# Runs a program with its file-system calls counted below a folder; the arguments are those of `failpoint_arm`, a log, and the command line.
_ARMED = """
import ctypes, os, runpy, sys
root, action, classes, at, log = sys.argv[1:6]
descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
ctypes.CDLL(None).failpoint_arm(os.fsencode(root), int(action), int(classes), ctypes.c_long(int(at)), 0, descriptor)
sys.argv = sys.argv[6:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
Files = dict[str, bytes]
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True)
class World:
    """A repository of one tool, its remote in a folder beside it, and a home."""

    tool: str
    program: Path
    folder: Path

    @property
    def origin(self) -> Path:
        return self.folder / "origin"

    @property
    def cache(self) -> Path:
        return self.origin / (".git/dvlite/cache" if self.tool == table.DVLITE else ".dvc/cache")

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def env(self) -> Mapping[str, str]:
        return environment(self.folder, os.environ)

    def run(self, *words: str | Path, cwd: Path | None = None) -> Done:
        return subprocess.run(
            [str(word) for word in words],
            cwd=cwd or self.origin,
            env=dict(self.env()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )

    def must(self, *words: str | Path, cwd: Path | None = None) -> None:
        done = self.run(*words, cwd=cwd)
        if done.returncode:
            sys.exit(f"error: {words} left with {done.returncode}\n{done.stdout}{done.stderr}")

    def do(self, *words: str) -> None:
        self.must(self.program, *words)

    def commit(self) -> None:
        self.must("git", "add", "-A")
        self.must("git", "commit", "-qm", "Change")

    def build(self) -> None:
        """Makes a repository whose first version is pushed."""
        self.origin.mkdir(parents=True)
        self.must("git", "init", "-q", "-b", "main")
        self.do("init")
        self.do("remote", "add", *(() if self.tool == table.DVLITE else ("-d", "origin")), "../store")
        self.write(1)
        self.do("add", "data")
        self.commit()
        self.do("push")

    def write(self, version: int) -> Files:
        """Writes a version of the data; returns it."""
        files = {f"d{n % 3}/{n}": noise(2_000 + 900 * n, n if n % 2 else 100 * version + n) for n in range(12)}
        files |= {f"large{n}": noise(400_000, 1_000 * version + n) for n in range(3)}
        for name, content in files.items():
            path = self.origin / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(content)
        return files

    def clone(self) -> Path:
        target = self.folder / "clone"
        self.must("git", "clone", "-q", self.origin, target, cwd=self.folder)
        return target


@dataclass(frozen=True, slots=True)
class Case:
    """A command that is cut, and what gets its data out again, into the folder that is returned with how that ended."""

    name: str
    command: tuple[str, ...]
    prepare: Callable[[World], None]
    deliver: Callable[[World], tuple[Path, Done]]


def checked_out(world: World) -> tuple[Path, Done]:
    """Removes the data and checks it out from the cache."""
    shutil.rmtree(world.origin / "data", ignore_errors=True)
    return world.origin, world.run(world.program, "checkout")


def pulled(world: World) -> tuple[Path, Done]:
    """Pulls in a new clone."""
    clone = world.clone()
    return clone, world.run(world.program, "pull", cwd=clone)


def added(world: World) -> None:
    world.do("add", "data")
    world.commit()


CASES = (
    Case("add", ("add", "data"), lambda _: None, checked_out),
    Case("push", ("push",), added, pulled),
)


def read(folder: Path) -> Files:
    """Returns the data in a work tree; what cannot be read is not there."""
    data = folder / "data"
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}


def verdict(found: Files, wanted: Files, done: Sequence[Done]) -> str:
    failed = [each for each in done if each.returncode]
    for each in failed[:1]:
        print(f"  {each.args[1:]} left with {each.returncode}: {each.stderr.strip()[-300:]}", file=sys.stderr)
    return "refused" if failed else "right" if found == wanted else "wrong"


def cut(world: World, case: Case, disk: Disk, library: Path, count: int) -> dict[str, Counter[str]]:
    """Cuts the power at `count` points of a command, and right after it; returns the counts of both."""
    world.build()
    wanted = world.write(2)
    case.prepare(world)
    disk.save()
    log = disk.image.with_name("calls")

    def armed(action: int, at: int) -> int:
        python = world.program.with_name("python")
        words = [python, "-c", _ARMED, disk.mount, action, CHANGE, at, log, world.program, *case.command]
        return world.run("env", f"LD_PRELOAD={library}", *map(str, words)).returncode

    if armed(COUNT, 0):
        sys.exit(f"error: {world.tool} {case.command} fails without a fault")
    calls = len(log.read_bytes().splitlines())
    both = {
        f"power cut inside `{case.name}`": Counter[str](),
        f"power cut after exit 0 of `{case.name}`": Counter[str](),
    }
    inside, after = both.values()
    for at in [calls * (number + 1) // (count + 1) for number in range(count)] + [0]:
        disk.restore()
        armed(POWER if at else COUNT, at)
        if not at:
            disk.cut()
        disk.unplug()
        disk.plug_in()
        left = read(world.origin)
        again = [world.run(world.program, *case.command)] if at else []
        folder, done = case.deliver(world)
        found = read(folder)
        counts = inside if at else after
        counts["points"] += 1
        counts[verdict(found, wanted, [*again, done])] += 1
        counts["lost"] += any(content not in (left.get(name), found.get(name)) for name, content in wanted.items())
    return both


def flips(store: Path, count: int) -> Iterator[tuple[Path, int]]:
    """Yields places in a store, every byte as likely as any other."""
    files = [(path, path.stat().st_size) for path in sorted(store.rglob("*")) if path.is_file()]
    draw = random.Random(7)
    for _ in range(count):
        at = draw.randrange(sum(size for _, size in files))
        for path, size in files:
            if at < size:
                yield path.relative_to(store), at
                break
            at -= size


def flip(path: Path, at: int) -> None:
    """Flips a bit as a disk does: times stay."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[at] ^= 1 << at % 8
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flipped(world: World, saved: Path, place: str, count: int) -> Counter[str]:
    """Flips a bit at each of `count` places, of the cache or of the remote."""
    world.build()
    wanted = world.write(2)
    added(world)
    world.do("push")
    shutil.copytree(world.folder, saved, symlinks=True)
    counts = Counter[str](points=0)
    store = world.cache if place == "cache" else world.store
    for name, at in list(flips(store, count)):
        shutil.rmtree(world.folder)
        subprocess.run(["cp", "-a", saved, world.folder], check=True)
        flip(store / name, at)
        folder, done = (checked_out if place == "cache" else pulled)(world)
        found = read(folder)
        counts["points"] += 1
        counts[verdict(found, wanted, [done])] += 1
        counts["lost"] += 0
        status = world.run(world.program, "status", cwd=folder)
        clean = "up to date" in status.stdout or "clean" in status.stdout.lower()
        counts["in use"] += bool(done.returncode) or status.returncode != 0 or not clean
        if world.tool == table.DVLITE:
            check = () if place == "cache" else ("--remote",)
            counts["by `fsck --deep`"] += world.run(world.program, "fsck", "--deep", *check).returncode != 0
    return counts


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", type=Path, help="the folder with DVC's program, else it is looked for on PATH")
    parser.add_argument("--cuts", type=int, default=12, help="power cuts inside each command")
    parser.add_argument("--flips", type=int, default=20, help="places in each store")
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints a Markdown table."""
    asked = read_options()
    beside = Path(sys.executable).with_name("dvlite")
    programs = peers.find_programs(beside if beside.exists() else Path("dvlite"), asked.peers)
    print(f"| case | tool | {' | '.join(COLUMNS)} | found |\n|---|---|{'---:|' * len(COLUMNS)}---|")
    for tool in (table.DVLITE, table.DVC):
        if tool not in programs:
            print(f"\nskipped: {tool} is not installed (pip install dvc; --peers DIR)")
            continue
        for case in CASES:
            try:
                with tempfile.TemporaryDirectory() as place, disk_in(Path(place)) as disk:
                    world = World(tool, programs[tool], disk.mount / "world")
                    for name, counts in cut(world, case, disk, library_in(Path(place)), asked.cuts).items():
                        show(name, tool, counts)
            except Unavailable as reason:
                print(f"\nskipped: power cuts: {reason}")
        for place in ("cache", "remote"):
            with tempfile.TemporaryDirectory() as above:
                world = World(tool, programs[tool], Path(above) / "world")
                show(f"one bit flipped in the {place}", tool, flipped(world, Path(above) / "saved", place, asked.flips))


def show(name: str, tool: str, counts: Counter[str]) -> None:
    """Prints a row."""
    found = [f"{counts[key]} {key}" for key in ("in use", "by `fsck --deep`") if key in counts]
    cells = [str(counts[column]) for column in COLUMNS]
    print(f"| {name} | {tool} | {' | '.join(cells)} | {', '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
