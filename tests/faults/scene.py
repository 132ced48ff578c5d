"""What sweeps of faults share: clones around one remote that are put back before each point, verdicts on what a command left, and the table.

A scenario is a command, the state in which it starts, and what its exit code 0 promises; a new verb is one more scenario.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol

from tests.clones import Clone, git, start
from tests.conftest import Runner, environment, finished, pytest_configure
from tests.trees import facts, noise, put
from tests.warm import running

PARTLY = 3
HANG = 137  # the exit code of a command that was ended for taking too long
TRACKED = ("data", "model.bin", "out.bin")
PIPELINE = "stages:\n  copy:\n    cmd: cp model.bin out.bin\n    deps: [model.bin]\n    outs: [out.bin]\n"
Objects = dict[str, bytes]


class Place(Protocol):
    """Where the remote is: all of its objects may be looked at, and put back."""

    url: str
    options: tuple[str, ...]

    def objects(self) -> Objects: ...

    def restore(self, objects: Objects) -> None: ...


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A remote in a folder."""

    folder: Path
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return str(self.folder)

    def objects(self) -> Objects:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def restore(self, objects: Objects) -> None:
        """Writes only what differs: dates of the rest stay."""
        now = self.objects() if self.folder.exists() else {}
        for name in now.keys() - objects.keys():
            (self.folder / name).unlink()
        for name, data in objects.items():
            if now.get(name) != data:
                path = self.folder / name
                path.unlink(missing_ok=True)
                put(path, data)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, where it runs ("here": the clone that pushed, "there": a fresh clone, "nowhere": beside them), and what it promises.

    `starts` names the state before it. `holds` returns what is untrue of exit code 0, or nothing. `code` is its exit code without a fault,
    `nothing_left` that of a run after one that did all. `stays` returns what is untrue after all is done, or nothing.
    """

    name: str
    command: tuple[str, ...]
    starts: str
    place: str
    holds: Callable[[Scene], str]
    code: int = 0
    nothing_left: int | None = None
    stays: Callable[[Scene], str] | None = None  # none: a fresh clone gets everything


@dataclass(slots=True)
class Tally:
    """What became of the points of one scenario. Every column from `stuck` on has to be 0."""

    of: int = 0  # all that there are
    points: int = 0
    done: int = 0  # exit code as without a fault
    refused: int = 0  # an error that is one, with nothing lost
    stuck: int = 0  # the command again, without a fault, does not succeed
    withheld: int = 0  # what could be delivered was not
    lost: int = 0
    wrong: int = 0
    lies: int = 0
    tracebacks: int = 0
    hangs: int = 0
    notes: list[str] = field(default_factory=list)

    def bad(self) -> int:
        return self.stuck + self.withheld + self.lost + self.wrong + self.lies + self.tracebacks + self.hangs

    def note(self, column: str, point: str, why: str) -> None:
        setattr(self, column, getattr(self, column) + 1)
        self.notes.append(f"{column}: {point}: {why}")


@dataclass(frozen=True, slots=True)
class State:
    """The clone that pushed and the objects of the remote at one moment, and what the tracked paths are then."""

    clone: Path
    objects: Objects
    tracked: dict[bytes, tuple]


class Scene:
    """A clone that pushes (`here`), one that pulls (`there`), their remote, and the states in which scenarios start."""

    def __init__(self, folder: Path, run: Runner, place: Place) -> None:
        self.folder, self.run, self.place = folder, run, place
        self.here, self.there = Clone(folder / "here", run), Clone(folder / "there", run)
        self.states: dict[str, State] = {}
        self.state: State
        self.last: subprocess.CompletedProcess[str]
        self._build()

    def _build(self) -> None:
        here = start(self.here.path, self.run, self.place.url, *self.place.options)
        self.fill(1)
        put(here.path / "dvlite.yaml", PIPELINE.encode())
        here.dv("add", "data", "model.bin")
        here.dv("repro")
        here.commit("one")
        self.keep("new")
        here.dv("push")
        self.keep("pushed")
        self.fill(2)
        here.dv("add", "data", "model.bin")
        here.dv("repro")
        here.commit("two")
        self.keep("edited")
        here.dv("push")
        self.keep("both")

    def fill(self, generation: int) -> None:
        """Writes version `generation` of the data."""
        folder = self.here.path / "data"
        for number in range(6):
            put(folder / f"d{number % 2}" / str(number), noise(200, number if number < 4 else number * 10 + generation))
        put(folder / "large", noise(100_000, 50) + noise(5_000, generation) + noise(40_000, 51))
        put(folder / "text", b"the same line again and again\n" * 100 * generation)
        if generation == 1:
            (folder / "link").symlink_to("large")
            (folder / "empty").mkdir()
        put(self.here.path / "model.bin", noise(70_000, 60 + generation))

    def keep(self, name: str) -> None:
        """Saves this moment as a state."""
        saved = self.folder / f"state-{name}"
        subprocess.run(["cp", "-a", str(self.here.path), str(saved)], check=True)
        objects = self.place.objects() if name != "new" else {}
        self.states[name] = State(saved, objects, self.tracked(self.here.path))

    def set(self, name: str) -> None:
        """Puts everything back to a state. The folders that the clone's id is bound to stay; `there` is as git alone makes it."""
        self.state = self.states[name]
        here = self.here.path
        kept = ["-path", str(here / ".git"), "-o", "-path", str(here / ".git" / "dvlite")]
        subprocess.run(["find", str(here), "-mindepth", "1", "!", "(", *kept, ")", "-delete"], check=True)
        subprocess.run(["cp", "-a", f"{self.state.clone}/.", str(here)], check=True)
        self.place.restore(self.state.objects)
        shutil.rmtree(self.folder / "there", ignore_errors=True)
        shutil.rmtree(self.folder / "nowhere", ignore_errors=True)
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
        (self.folder / "nowhere").mkdir()
        self._clone(self.there.path)

    def _clone(self, target: Path) -> Clone:
        prepared = self.state.clone.with_name(f"{self.state.clone.name}-cloned")
        if not prepared.exists():
            git(self.folder, "clone", "-q", str(self.state.clone), str(prepared))
        subprocess.run(["cp", "-a", str(prepared), str(target)], check=True)
        return Clone(target, self.run)

    def play(self, scenario: Scenario) -> subprocess.CompletedProcess[str]:
        """Runs the command of a scenario."""
        self.last = self.run(*scenario.command, cwd=self.folder / scenario.place)
        return self.last

    @staticmethod
    def tracked(folder: Path) -> dict[bytes, tuple]:
        """Returns the facts about all tracked data in a work tree."""
        names = tuple(os.fsencode(name) for name in TRACKED)
        return {
            path: fact
            for path, fact in facts(folder).items()
            if path.partition(b"/")[0] in names and not path.startswith(b".git")
        }

    # --- what exit code 0 promises ---

    def published(self) -> str:
        """A fresh clone gets every byte of what `here` has."""
        target = self.folder / "proof"
        shutil.rmtree(target, ignore_errors=True)
        done = self.run("pull", cwd=self._clone(target).path)
        if done.returncode:
            return f"a fresh clone cannot pull: {done.stderr.strip()[-300:]}"
        return "" if self.tracked(target) == self.state.tracked else "a fresh clone pulls other bytes"

    def collected(self) -> str:
        """A fresh clone gets every byte of both versions that git has."""
        why = self.published()
        if why:
            return why
        proof = Clone(self.folder / "proof", self.run)
        done = self.run("fetch", "--all-commits", cwd=proof.path)
        done = done if done.returncode else self.run("checkout", "--rev", "HEAD~1", cwd=proof.path)
        if done.returncode:
            return f"a fresh clone cannot check the first version out: {done.stderr.strip()[-300:]}"
        same = self.tracked(proof.path) == self.states["pushed"].tracked
        return "" if same else "a fresh clone gets other bytes of the first version"

    def mirrored(self) -> str:
        """A fresh clone gets every byte from the backup."""
        target = self.folder / "mirror"
        shutil.rmtree(target, ignore_errors=True)
        done = self.run("pull", "-r", "backup", cwd=self._clone(target).path)
        if done.returncode:
            return f"a fresh clone cannot pull from the backup: {done.stderr.strip()[-300:]}"
        return "" if self.tracked(target) == self.state.tracked else "a fresh clone gets other bytes from the backup"

    def purged(self) -> str:
        """No byte of the model is on the remote or in the cache; a fresh clone gets all else."""
        piece = self.state.tracked[b"model.bin"][2][30_000:30_050]
        cache = (path for path in (self.here.path / ".git" / "dvlite" / "cache").rglob("*") if path.is_file())
        if any(piece in data for data in (*self.place.objects().values(), *(path.read_bytes() for path in cache))):
            return "content that was purged is still there"
        target = self.folder / "proof"
        shutil.rmtree(target, ignore_errors=True)
        done = self.run("pull", cwd=self._clone(target).path)
        if done.returncode != PARTLY:
            return f"a pull without what was purged leaves with {done.returncode}: {done.stderr.strip()[-300:]}"
        rest = {path: fact for path, fact in self.state.tracked.items() if path not in {b"model.bin", b"out.bin"}}
        return "" if self.tracked(target) == rest else "a fresh clone does not get all that was not purged"

    def delivered(self) -> str:
        """The clone that pulled has every byte."""
        return "" if self.tracked(self.there.path) == self.state.tracked else "not all of it is there"

    def fetched(self) -> str:
        """Every version can be checked out without the remote."""
        for revision in ("HEAD~1", "HEAD"):
            done = self.run("checkout", "--rev", revision, cwd=self.there.path)
            if done.returncode:
                return f"{revision} cannot be checked out: {done.stderr.strip()[-200:]}"
        return self.delivered()

    def cloned(self) -> str:
        return "" if self.tracked(self.folder / "nowhere" / "clone") == self.state.tracked else "not all of it is there"

    def copied(self) -> str:
        found = facts(self.folder / "nowhere" / "out")
        wanted = {path[5:]: fact for path, fact in self.state.tracked.items() if path.startswith(b"data/")}
        return "" if found == wanted else "not all of it is there"

    def silent(self) -> str:
        """Exit code 0 promises nothing but that what was there is there still."""
        return ""

    def never(self) -> str:
        """What is asked has to be answered with no."""
        return "" if self.last.returncode else "what is not there is called complete"

    def wrong_bytes(self) -> str:
        """Names a file anywhere whose bytes are those of no version."""
        known = [state.tracked for state in self.states.values()]
        for folder in (self.here.path, self.there.path, self.folder / "nowhere" / "clone"):
            for path, fact in self.tracked(folder).items() if folder.exists() else ():
                if not any(tracked.get(path) == fact for tracked in known):
                    return f"{path!r} in {folder.name}"
        out = self.folder / "nowhere" / "out"
        for path, fact in facts(out).items() if out.exists() else ():
            if not any(tracked.get(b"data/" + path) == fact for tracked in known):
                return f"{path!r} in {out.name}"
        return ""


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Returns what is wrong with how a command failed: a traceback, or no error of one line."""
    if "Traceback" in done.stderr or done.returncode == 70:
        return f"a traceback: {done.stderr[-600:]}"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    is_listed = done.returncode in (1, 3) and done.stdout  # findings stand in the output
    return "" if len(errors) == 1 or is_listed else f"left with {done.returncode} and no error: {done.stderr[-300:]}"


def judge(scene: Scene, scenario: Scenario, done: subprocess.CompletedProcess[str], point: str, tally: Tally) -> bool:
    """Counts what a command left under a fault; returns whether that is what it promises."""
    before = tally.bad()
    tally.points += 1
    if done.returncode == HANG:
        tally.note("hangs", point, "it did not end")
        return False
    wrong = scene.wrong_bytes()
    if wrong:
        tally.note("wrong", point, wrong)
    if Scene.tracked(scene.here.path) != scene.state.tracked:
        tally.note("lost", point, "data in the clone that pushed changed")
    if "Traceback" in done.stderr or done.returncode == 70:
        tally.note("tracebacks", point, done.stderr[-800:])
    elif done.returncode in {0, scenario.code} and not (scenario.code and "error: " in done.stderr):
        untrue = scenario.holds(scene)
        if untrue:
            tally.note("lies", point, f"{untrue} {done.stderr[-300:]}")
        elif done.returncode == scenario.code:
            tally.done += 1
        else:
            tally.refused += 1
    elif why := refusal(done):
        tally.note("stuck", point, why)
    else:
        tally.refused += 1
    return tally.bad() == before


def table(tallies: dict[str, Tally]) -> str:
    """Returns the table of a sweep, a row for each command, and what went wrong below."""
    columns = [column.name for column in fields(Tally) if column.name != "notes"]
    rows = [["command", *columns]]
    rows += [[name, *(str(getattr(tally, column)) for column in columns)] for name, tally in tallies.items()]
    rows.append(["all", *(str(sum(getattr(tally, column) for tally in tallies.values())) for column in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines + [f"  {name}: {note}" for name, tally in tallies.items() for note in tally.notes])


# --- what a sweep needs outside of pytest ---


def runner(program: Path) -> Runner:
    """Returns a runner of a program that serves commands."""

    def run(*args, cwd=None, env=None, input=None, check=False):  # noqa: A002
        command = [str(program), *map(str, args)]
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True
        )
        return finished(command, done.returncode, done.stdout, done.stderr, check=check)

    return run


@contextlib.contextmanager
def alone() -> Iterator[tuple[Path, Runner]]:
    """Yields a temporary folder and a runner, in an environment in which nothing of the user's is read or written."""
    pytest_configure()
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dvlite-faults-", dir=above) as text:
        folder = Path(text)
        for name in ("home", "bin", "program", "scene"):
            (folder / name).mkdir()
        os.environ.update(environment(folder / "home", folder, folder / "bin"))
        with running(folder / "program", "tests.faults.impatient") as program:
            yield folder / "scene", runner(program)
