"""A disk that is really full, or really has no inodes left, at some moment of a command: a tmpfs that is made small just before it.

`python -m tests.faults.table --kinds blocks,inodes` prints the counts. Needs root. After it, with room again, the same command does the rest.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import calls
from tests.faults.calls import Fault, Program
from tests.faults.power import run
from tests.faults.scenarios import Scenario
from tests.faults.sweep import Sweep, Tally

KINDS = ("blocks", "inodes")  # of which there are too few
STEP = 3  # of so many only one number is tried
_WIDE = "size=256m,nr_inodes=100000"
_PAGE = 4096
_PASSING = 12  # more than a command leaves behind may be in use while it runs


class SmallDiskSweep(Sweep):
    """A sweep whose points are how many pages, or inodes, are left when the command begins."""

    def __init__(self, scenario: Scenario, program: Program, folder: Path, disk: Path) -> None:
        self._disk = disk
        super().__init__(scenario, program, folder, disk=disk)

    def points(self, kind: str) -> list[Fault]:
        """Returns all that is too little, by what the command needs."""
        self.again()
        before = self._used(kind)
        self.run(calls.NO_FAULT)
        return [Fault(at=at) for at in range(0, max(self._used(kind) - before, 0) + _PASSING, STEP)]

    def _used(self, kind: str) -> int:
        disk = os.statvfs(self._disk)
        if kind == "inodes":
            return disk.f_files - disk.f_ffree
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize // _PAGE

    def arrange(self, kind: str, fault: Fault) -> None:
        room = self._used(kind) + fault.at
        run(
            "mount",
            "-o",
            f"remount,{f'nr_inodes={room}' if kind == 'inodes' else f'size={room * _PAGE}'}",
            str(self._disk),
        )

    def settle(self) -> None:
        run("mount", "-o", f"remount,{_WIDE}", str(self._disk))


@contextlib.contextmanager
def disk_in(folder: Path) -> Iterator[Path]:
    """Mounts a tmpfs; raises Unavailable with the reason where that is not allowed."""
    place = folder / "disk"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", _WIDE, "dvlite-test", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True)


def sweep_one(scenario: Scenario, kinds: Sequence[str], every: int) -> dict[str, Tally]:
    with tempfile.TemporaryDirectory(prefix="dvlite-small-") as place:
        folder = Path(os.path.realpath(place))
        with calls.running(folder) as program, disk_in(folder) as disk:
            sweep = SmallDiskSweep(scenario, program, folder, disk)
            return {kind: sweep.sweep(kind, every) for kind in kinds}
