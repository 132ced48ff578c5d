"""Runs each command once for every file-system call that it makes, with a fault at that call, and judges what it left.

`python -m tests.faults.table --kinds kill,eio,eacces,full,short` prints the counts. After each fault: no byte that was in the work tree is lost, no file has bytes that are neither those of before nor those
of after, what was printed and the exit code are true, git sees no file that it did not see before, and the same command again does
the rest: work tree, git's index, hooks and config are those of a run without a fault, and so is what a clone or an emptied work tree gets.
"""

from __future__ import annotations

import errno
import hashlib
import marshal
import os
import re
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dvlite import files
from dvlite.oid import digest_bytes
from dvlite.store.cache import Cache
from tests.faults import calls
from tests.faults.calls import (
    CHANGE,
    COUNT,
    EVERY_CALL,
    FAIL,
    FAIL_FROM,
    KILL,
    NAME,
    POWER,
    READ,
    SHORT,
    SPACE,
    START,
    Ended,
    Fault,
    Program,
)
from tests.faults.scenarios import Scenario
from tests.faults.worlds import World
from tests.trees import facts

# Of a fatal write every other one puts down half of its bytes first (see `Sweep.points`).
FAULTS = {
    "kill": Fault(KILL, CHANGE | START),
    "eio": Fault(FAIL, EVERY_CALL, error=errno.EIO),
    "eacces": Fault(FAIL, NAME, error=errno.EACCES),
    "full": Fault(FAIL_FROM, SPACE, error=errno.ENOSPC),
    "power": Fault(POWER, CHANGE),
    "short": Fault(SHORT, CHANGE | READ),
}
IN_ONE_PROCESS = tuple(kind for kind in FAULTS if kind != "power")  # which needs a disk of its own: see `power`
CODES = {0, 1, 3, 4, 12, 13}  # of a command that was given a fault
REFUSED = {1, 2}  # a command that had done all before it was stopped may refuse to do it again
VERDICTS = ("lost", "wrong", "lies", "tracebacks", "hangs", "stuck", "visible")
_RANDOM = re.compile(rb"run:[0-9a-f]{64}|project: [0-9a-f]{32}")  # the ids of run records, and of a project
_WITH_IDS = (b"dvlite.lock", b".dvlite/config.yaml")
_OF_GET = re.compile(rb"\.dvl-get-[0-9a-f]{16}")  # the unfinished folder of `get`
_WITH_ID = re.compile(rb"^(1 ..).*(%s)$" % b"|".join(map(re.escape, _WITH_IDS)))
_IN_GIT = ("config", "hooks", "info/exclude")

State = dict[bytes, tuple]
T = TypeVar("T")


@dataclass(slots=True)
class Tally:
    """Counts of one scenario; `of` is how many points there are, `failures` has a line for each verdict against it."""

    name: str
    of: int = 0
    points: int = 0
    survived: int = 0
    verdicts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    failures: list[str] = field(default_factory=list)
    unsynced: list[str] = field(default_factory=list)


class Sweep:
    """One scenario in one folder: its world is made once, and copied for each point."""

    def __init__(self, scenario: Scenario, program: Program, folder: Path, *, disk: Path | None = None) -> None:
        self.scenario, self._program = scenario, program
        self._saved, self._log = folder / "saved", folder / "log"
        self.world = World((folder if disk is None else disk) / "world", program)
        self.world.make()
        scenario.prepare(self.world)
        self.keep()
        self.start = state(self.world.base)
        self._calls(EVERY_CALL)
        self.end = state(self.world.base)
        self.visible = untracked(self.start) | untracked(self.end) | indexed(self.world.base)
        self.visible |= {os.fsencode(f"{scenario.where}/{name}") for name in scenario.seen}
        self.proof = self._proof()
        self._proven: set[tuple[bool, bytes]] = set()
        self.tally = Tally(scenario.name)

    def keep(self) -> None:
        """Keeps the world as it is now."""
        subprocess.run(["cp", "-a", self.world.base, self._saved], check=True)

    def again(self) -> None:
        """Puts the world back to what was kept. The folders by which a clone knows that it is no copy stay (see `repo.clone_id`)."""
        base = self.world.base
        repos = [base / repo.parent.name for repo in self._saved.glob("*/.git")]
        stay = [folder for repo in repos for folder in (repo, repo / ".git", repo / ".git" / "dvlite")]
        kept = [part for folder in stay for part in ("!", "-path", folder)]
        subprocess.run(["find", base, "-mindepth", "1", *kept, "-delete"], check=True)
        subprocess.run(["cp", "-a", f"{self._saved}/.", base], check=True)

    def arrange(self, kind: str, fault: Fault) -> None:
        """Does what a fault of a kind needs before the command begins."""

    def settle(self) -> None:
        """Does what must be done after a fault before the world can be looked at."""

    def _calls(self, classes: int) -> list[str]:
        ended = self.run(Fault(COUNT, classes), log=True)
        assert ended.code == self.scenario.code, f"{self.scenario.name} left with {ended.code}: {ended.text}"
        return self._log.read_text(errors="backslashreplace").splitlines()

    def points(self, kind: str) -> list[Fault]:
        """Returns the faults of one kind: at each of its calls."""
        fault = FAULTS[kind]
        if fault.action == SHORT:
            return [fault]
        self.again()
        count = len(self._calls(fault.classes))
        halves = fault.action == KILL
        return [
            Fault(fault.action, fault.classes, at, fault.error or int(halves and at % 2 == 0))
            for at in range(1, count + 1)
        ]

    def sweep(self, kind: str, every: int) -> Tally:
        """Tries every Nth point of one kind."""
        points = self.points(kind)
        self.tally = Tally(self.scenario.name, of=len(points))
        for fault in sample(points, every, f"{self.scenario.name} {kind}"):
            self.judge(kind, fault)
        return self.tally

    def run(self, fault: Fault, *, log: bool = False, command: tuple[str, ...] = ()) -> Ended:
        return self._program.run(
            self.world.base / self.scenario.where,
            *(command or self.scenario.command),
            fault=fault,
            root=self.world.base,
            log=self._log if log else None,
            env=self.world.env() | dict(self.scenario.env),
        )

    def _proof(self) -> State | None:
        if self.scenario.proof is None:
            return None
        self.scenario.proof(self.world)
        return state(self.world.base)

    def unproven(self) -> str:
        """Returns in what the proof does not end as it does without a fault, or an empty string."""
        try:
            proof = self._proof()
        except AssertionError as failure:
            return str(failure)[-300:]
        return "" if proof is None or self.proof is None else different(proof, self.proof)

    def judge(self, kind: str, fault: Fault) -> None:
        """Tries one point."""
        self.again()
        self.arrange(kind, fault)
        ended = self.run(fault, log=True)
        log = self._log.read_text(errors="backslashreplace").splitlines()
        struck = next((line for line in log if line.startswith(f"{fault.at}\t")), "-\tstart of a program")
        self.settle()
        self.tally.points += 1
        found = list(self._verdicts(fault, ended, struck))
        for verdict, why in found:
            self.tally.verdicts[verdict] += 1
            line = struck.replace("\t", " ")
            self.tally.failures.append(f"{self.scenario.name}: {kind} at {fault.at} ({line}): {verdict}: {why}")
        self.tally.survived += not found

    def _verdicts(self, fault: Fault, ended: Ended, struck: str) -> Iterator[tuple[str, str]]:
        """Yields what is wrong. Of faults that leave the same, bit for bit, the first one shows that what is left is sound."""
        if "Traceback" in ended.text or ended.code == 70:
            yield "tracebacks", ended.text[-600:]
        killed = ended.code == -9 and fault.action in {KILL, POWER}
        if ended.code == calls.HUNG:
            yield "hangs", ended.text[-200:]
        elif not killed and ended.code not in CODES | {self.scenario.code}:
            yield "lies", f"left with {ended.code}: {ended.text[-200:]}"
        elif (
            not killed and ended.code not in {0, self.scenario.code} and not re.search("error: |blocked: ", ended.text)
        ):
            yield "lies", f"left with {ended.code} and no error: {ended.text[-200:]}"
        elif ended.code == 0 != self.scenario.code:
            yield "lies", f"left with 0, not {self.scenario.code}: {ended.text[-200:]}"
        after = state(self.world.base)
        noted = self.scenario.notes and ("note: " in ended.text or "error: " in ended.text)
        noted |= self.scenario.code != 0 and "error: " in ended.text
        done = ended.code == self.scenario.code and not killed and not noted
        if done:
            warned = "warning: " in ended.text
            if self.scenario.durable and "fsync" in struck.split("\t")[1:2] and not warned:
                self.tally.unsynced.append(struck)
            difference = different(after, self.end)
            if difference and not warned:
                yield "lies", f"left with {ended.code}, yet {difference}: {ended.text[-300:]}"
        proven = (done, everything(self.world.base))
        if proven in self._proven:
            return
        found = [*self._damage(after, synced=self.scenario.durable or fault.action != POWER)]
        found += [] if done else self._again(after)
        missing = self.unproven()
        if missing:
            found.append(("lost", f"proof: {missing}"))
        if not found:
            self._proven.add(proven)
        yield from found

    def _again(self, after: State) -> Iterator[tuple[str, str]]:
        """Runs the command again, without a fault; yields what it does not do, or has lost."""
        whole = not different(after, self.end)
        if self.scenario.before_again is not None:
            self.scenario.before_again(self.world)
        ended = self.run(calls.NO_FAULT)
        if ended.code != self.scenario.code:
            for command in self.scenario.again:
                ended = self.run(calls.NO_FAULT, command=command)
        after = state(self.world.base)
        difference = different(after, self.end)
        expected = (self.scenario.code, self.scenario.nothing_left)
        if ended.code not in expected and not (whole and ended.code in REFUSED):
            yield "stuck", f"again it left with {ended.code}: {ended.text[-300:]}"
        elif difference:
            yield "stuck", f"again: {difference}: {ended.text[-300:]}"
        lost = self._lost(after)
        if lost:
            yield "lost", f"after the command again: {lost}"

    def _damage(self, after: State, *, synced: bool) -> Iterator[tuple[str, str]]:
        """Yields what is wrong just after the fault. What a checkout writes is not synced: after a power cut it is written again."""
        for path, fact in after.items():
            if fact[0] in {"git", "folder"} or fact in (self.start.get(path), self.end.get(path)):
                continue
            if path.endswith(b"/.gitignore") and lines_of(fact) <= lines_of(self.start.get(path)) | lines_of(
                self.end.get(path)
            ):
                continue
            parts = path.split(b"/")
            if (
                synced
                and parts[0] != b"home"
                and parts[1:2] != [b".git"]
                and parts[1] not in map(os.fsencode, self.scenario.partial)
            ):
                yield "wrong", f"{path!r} has neither the old bytes nor the new ones: {fact!r:.80}"
        for path in sorted(untracked(after) - self.visible):
            yield "visible", f"git sees {path!r}"
        lost = self._lost(after, aside=True)
        if lost:
            yield "lost", lost

    def _lost(self, after: State, *, aside: bool = False) -> str:
        """Returns a path whose bytes of the start are nowhere; with `aside`, what repro has set aside counts too."""
        base = self.world.base
        kept = {fact[2] for fact in after.values() if fact[0] == "file"}
        missing = [
            (path, fact[2])
            for path, fact in self.start.items()
            if fact[0] == "file" and fact[2] not in kept and b".git" not in path.split(b"/")
            if not path.endswith(_WITH_IDS)
        ]
        if missing and aside:
            kept |= {
                path.read_bytes()
                for path in base.glob("*/.git/dvlite/**/*")
                if path.is_file() and "cache" not in path.parts
            }
        for path, content in missing:
            if content not in kept and not any(
                in_git(repo, content) or in_cache(repo / "dvlite" / "cache", content) for repo in base.glob("*/.git")
            ):
                return f"{path!r} of the start is nowhere"
        return ""


def state(base: Path) -> State:
    """Returns all that a user can see below a world: files, and for each repository git's index, status, hooks and config."""
    found: State = {}
    for place in sorted(base.iterdir()):
        if place.name in {"store", "backup", "tmp"}:
            continue
        above = os.fsencode(place.name)
        if not (place / ".git").is_dir():
            found |= {above + b"/" + path: fact for path, fact in facts(place).items()}
            continue
        for entry in sorted(place.iterdir()):
            name = above + b"/" + os.fsencode(entry.name)
            if entry.name == ".git":
                continue
            found[name] = one_fact(entry)
            if found[name] == ("folder",):
                found |= {name + b"/" + path: fact for path, fact in facts(entry).items()}
        for inside in _IN_GIT:
            entry, name = place / ".git" / inside, above + b"/.git/" + os.fsencode(inside)
            if entry.is_dir():
                found |= {name + b"/" + path: fact for path, fact in facts(entry).items()}
            elif entry.exists():
                found[name] = one_fact(entry)
        lines = git(place, "status", "--porcelain=v2", "--no-renames", "-uall", "-z").split(b"\0")
        found[above + b"/status"] = ("git", tuple(sorted(_WITH_ID.sub(rb"\1 \2", line) for line in lines)))
    return {
        path: normal(path, fact)
        for path, fact in found.items()
        if not is_temporary(path) and not path.startswith(b"home/.cache")
    }


def everything(base: Path) -> bytes:
    """Returns a digest of all that is below a world, to the last bit of caches and remotes; dates do not count."""
    return hashlib.blake2b(marshal.dumps(sorted(facts(base).items()))).digest()


def is_temporary(path: bytes) -> bool:
    return any(files.is_temporary_name(part) or _OF_GET.fullmatch(part) for part in path.split(b"/"))


def one_fact(path: Path) -> tuple:
    if path.is_symlink():
        return ("link", os.fsencode(os.readlink(path)))
    if path.is_dir():
        return ("folder",)
    return ("file", bool(path.stat().st_mode & 0o100), path.read_bytes())


def normal(path: bytes, fact: tuple) -> tuple:
    """Returns a fact without what differs from run to run; the order of paths that git ignores does not count."""
    if (
        path.endswith(b"/.git/info/exclude") and fact[0] == "file"
    ):  # what git need not see is written there once, if that can be
        lines = sorted(line for line in fact[2].splitlines() if not line.startswith(files.TEMP_PREFIX.encode()))
        return (*fact[:2], b"\n".join(lines))
    if path.endswith(_WITH_IDS) and fact[0] == "file":
        return (*fact[:2], _RANDOM.sub(b"id", fact[2]))
    return fact


def git(place: Path, *args: str) -> bytes:
    """Asks git, which leaves its index as it is."""
    command = ["git", "--no-optional-locks", *args]
    return subprocess.run(command, cwd=place, check=True, capture_output=True).stdout


def lines_of(fact: tuple | None) -> set[bytes]:
    return set(fact[2].split(b"\n")) if fact is not None and fact[0] == "file" else set()


def untracked(found: State) -> set[bytes]:
    """Returns the files that git would add, of all repositories."""
    return {
        path.removesuffix(b"status") + line[2:]
        for path, fact in found.items()
        if path.endswith(b"/status") and fact[0] == "git"
        for line in fact[1]
        if line.startswith(b"? ")
    }


def indexed(base: Path) -> set[bytes]:
    """Returns the files in git's index, of all repositories."""
    repositories = [repo.parent for repo in base.glob("*/.git")]
    return {
        os.fsencode(repo.name) + b"/" + name
        for repo in repositories
        for name in git(repo, "ls-files", "-z").split(b"\0")
    }


def different(found: State, expected: State) -> str:
    """Returns the first difference of two states in words, or an empty string."""
    for path in sorted(found.keys() | expected.keys()):
        one, other = found.get(path), expected.get(path)
        if one != other:
            if one is not None and other is not None and one[0] == other[0] == "git":
                return f"{path!r}: {sorted(set(one[1]) ^ set(other[1]))}"
            return f"{path!r} is {one!r:.200}, not {other!r:.200}"
    return ""


def in_git(repo: Path, content: bytes) -> bool:
    name = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return (repo / "objects" / name[:2] / name[2:]).exists()


def in_cache(folder: Path, content: bytes) -> bool:
    """Returns whether a copy of the cache gives these bytes (a copy: opening one may mend it)."""
    if not folder.is_dir():
        return False
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "cache"
        subprocess.run(["cp", "-a", folder, copy], check=True)
        return Cache(copy).is_sound(digest_bytes(content), len(content))


def sample(points: Sequence[T], every: int, name: str) -> Sequence[T]:
    """Returns every Nth of some points, from one that is drawn by the name."""
    return points[zlib.crc32(name.encode()) % max(min(every, len(points)), 1) :: every]


def sweep_one(scenario: Scenario, kinds: Sequence[str], every: int) -> dict[str, Tally]:
    """Sweeps one scenario in a folder and with a server of its own; returns the counts of each kind."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="dvlite-faults-", dir=shared if shared.is_dir() else None) as place:
        folder = Path(os.path.realpath(place))
        with calls.running(folder) as program:
            sweep = Sweep(scenario, program, folder)
            return {kind: sweep.sweep(kind, every) for kind in kinds}


def environment(home: Path) -> None:
    """Sets what the tests set for each test: a home and a git configuration of its own."""
    from tests.conftest import GIT_CONFIG, pytest_configure

    pytest_configure()
    (home / "gitconfig").write_text(GIT_CONFIG)
    os.environ |= {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / "gitconfig"), "GIT_CONFIG_SYSTEM": os.devnull}
