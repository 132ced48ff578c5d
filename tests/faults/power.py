"""Cuts the power of a disk while a command runs, and right after it left with 0.

`python -m tests.faults.table --kinds power` prints the counts. The disk is an ext4 image behind a loop device; it is shut down without flushing its log, as a power cut does, and mounted
again. Needs root. After a cut at any call: no byte of before is lost, and the same command again does the rest. After a cut that
follows exit 0: all is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults import calls
from tests.faults.calls import Program
from tests.faults.scenarios import Scenario
from tests.faults.sweep import Sweep, Tally, different, in_cache, state

LEFT_OUT = {"clone"}  # git syncs nothing of a new clone: after a cut there may be no repository to look at
_EXT4_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSH = 2


class Unavailable(Exception):
    """This machine cannot do it; the message is the reason."""


class Disk:
    """An ext4 file system in a file, mounted at `mount`."""

    def __init__(self, folder: Path) -> None:
        self.image, self.saved, self.mount = folder / "image", folder / "saved.image", folder / "disk"

    def make(self) -> None:
        if os.geteuid():
            raise Unavailable("mounting a disk needs root")
        self.mount.mkdir()
        with self.image.open("wb") as file:
            file.truncate(48 << 20)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,root_owner=0:0", str(self.image))
        self.plug_in()

    def plug_in(self) -> None:
        run("mount", "-o", "loop", str(self.image), str(self.mount))

    def unplug(self) -> None:
        """Unmounts; waits until the loop device is free, for one that is used again has blocks in memory that were never on the disk."""
        run("umount", str(self.mount))
        for _ in range(1000):
            if not run("losetup", "-j", str(self.image)):
                return
            time.sleep(0.01)
        raise Unavailable("the loop device stays attached")

    def save(self) -> None:
        """Keeps the disk as it is now; `restore` brings it back."""
        os.sync()
        self.unplug()
        run("cp", "--sparse=always", str(self.image), str(self.saved))
        self.plug_in()

    def restore(self) -> None:
        self.unplug()
        run("cp", "--sparse=always", str(self.saved), str(self.image))
        self.plug_in()

    def cut(self) -> None:
        """Cuts the power now: what is not on the disk never gets there."""
        folder = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _EXT4_SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(folder)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{command[0]} failed: {done.stderr.strip()[-200:]}")
    return done.stdout


@contextlib.contextmanager
def disk_in(folder: Path) -> Iterator[Disk]:
    disk = Disk(folder)
    try:
        disk.make()
    except FileNotFoundError as error:
        raise Unavailable(f"there is no {error.filename}") from None
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk.mount], capture_output=True)


class PowerSweep(Sweep):
    """A sweep on a disk of its own: each point starts from the same blocks, and ends with the power cut."""

    def __init__(self, scenario: Scenario, program: Program, folder: Path, disk: Disk) -> None:
        self._disk = disk
        super().__init__(scenario, program, folder, disk=disk.mount)

    def keep(self) -> None:
        self._disk.save()

    def again(self) -> None:
        self._disk.restore()

    def settle(self) -> None:
        """Finishes a cut: the disk comes back as its log has it."""
        self._disk.unplug()
        self._disk.plug_in()

    def gone(self) -> str:
        """Returns in which file the world is not as it was before the cut, or an empty string; the cache may have its bytes instead."""
        found = {path: fact for path, fact in state(self.world.base).items() if fact[0] != "git"}
        expected = {path: fact for path, fact in self.end.items() if fact[0] != "git"}
        for path, fact in expected.items():
            stored = fact[0] == "file" and found.get(path) != fact and in_cache(self._cache, fact[2])
            if stored:
                found[path] = fact
        return different(found, expected)

    def unproven(self) -> str:
        """What a remote brought into a cache is not synced: a pull finds what the cut tore, and brings it again."""
        if self.scenario.where == "there":
            self.world.run("pull", cwd="there")
        return super().unproven()

    @property
    def _cache(self) -> Path:
        return self.world.base / self.scenario.where / ".git" / "dvlite" / "cache"

    def sweep(self, kind: str, every: int) -> Tally:
        """Tries every Nth change to the disk, and the moment after the last one."""
        super().sweep(kind, every)
        self.tally.of += 1
        self._judge_end()
        return self.tally

    def _judge_end(self) -> None:
        """Cuts the power right after the command left with 0."""
        self.again()
        ended = self.run(calls.NO_FAULT)
        self._disk.cut()
        self.settle()
        self.tally.points += 1
        difference = self.gone() if self.scenario.durable else ""
        if not difference:
            self.run(calls.NO_FAULT)  # git does not sync its index: what was staged may be gone, and is staged again
            difference = self.unproven()
        if difference or ended.code != self.scenario.code:
            self.tally.verdicts["lies"] += 1
            self.tally.failures.append(f"{self.scenario.name}: cut after exit {ended.code}: {difference}")
        else:
            self.tally.survived += 1


def sweep_one(scenario: Scenario, every: int) -> Tally:
    with tempfile.TemporaryDirectory(prefix="dvlite-power-") as place:
        folder = Path(os.path.realpath(place))
        with calls.running(folder) as program, disk_in(folder) as disk:
            return PowerSweep(scenario, program, folder, disk).sweep("power", every)
