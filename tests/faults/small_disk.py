"""A disk that is really full, or really has no inodes left, at some moment of a command: a tmpfs that is made small just before it.

    python -m tests.faults.small_disk [--only WORD] [--steps N]

prints a table. Needs root. After it, with room again, the same command does the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults import calls
from tests.faults.calls import Fault, Program
from tests.faults.power import SWEPT, Unavailable, run
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.sweep import Sweep, Tally, environment, table

_WIDE = "size=256m,nr_inodes=100000"
_PAGE = 4096


class SmallDiskSweep(Sweep):
    """A sweep whose points are how many pages, or inodes, are left when the command begins."""

    def __init__(self, scenario: Scenario, program: Program, folder: Path, disk: Path) -> None:
        self._disk, self.kind = disk, ""
        super().__init__(scenario, program, folder, disk=disk)

    def arrange(self, fault: Fault) -> None:
        used = os.statvfs(self._disk)
        if self.kind == "no inodes":
            limit = f"nr_inodes={used.f_files - used.f_ffree + fault.at}"
        else:
            limit = f"size={(used.f_blocks - used.f_bfree) * used.f_frsize + fault.at * _PAGE}"
        run("mount", "-o", f"remount,{limit}", str(self._disk))

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


def sweep_one(scenario: Scenario, steps: int) -> Tally:
    with tempfile.TemporaryDirectory(prefix="dvlite-small-") as place:
        folder = Path(os.path.realpath(place))
        with calls.running(folder) as program, disk_in(folder) as disk:
            sweep = SmallDiskSweep(scenario, program, folder, disk)
            for sweep.kind in ("full", "no inodes"):
                for step in range(steps):
                    sweep.judge(sweep.kind, Fault(at=step * 3 + 1))
        return sweep.tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", help="a word of the scenario's name")
    parser.add_argument("--steps", type=int, default=6, help="how many sizes, each 3 pages or inodes larger")
    options = parser.parse_args()
    tallies = []
    with tempfile.TemporaryDirectory() as home:
        environment(Path(home))
        for scenario in SCENARIOS:
            if scenario.name not in SWEPT or not any(word in scenario.name for word in options.only or [""]):
                continue
            try:
                tallies.append(sweep_one(scenario, options.steps))
            except Unavailable as reason:
                print(f"no small disks here: {reason}")
                return 0
            print("\n".join([scenario.name, *(f"  {line}" for line in tallies[-1].failures)]), file=sys.stderr)
    print(table(tallies))
    return int(any(tally.failures for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
