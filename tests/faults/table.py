"""The table of faults: each command by each kind of fault, and what was left.

    python -m tests.faults.table [--every N] [--only WORD] [--kinds kill,eio,...] [--jobs N] [--results FILE]

prints it as Markdown, and each failure as it comes. With `--results`, the counts of each scenario are appended to a file; a later run
skips what stands there, and its table has both. Kinds that need root or an S3 server say why they are skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults import power, s3, scene, small_disk, sweep
from tests.faults.power import Unavailable
from tests.faults.scenarios import SCENARIOS, Scenario

GROUPS = {
    "killed": ("kill",),
    "failed call": ("eio", "eacces", "short"),
    "full disk": ("full", *small_disk.KINDS),
    "power cut": ("power",),
    "S3 request": ("s3",),
}
"""The columns, and the kinds of fault that each counts."""
KINDS = tuple(kind for kinds in GROUPS.values() for kind in kinds)
_OF_TWO_WORDS = {"cache", "hook", "remote", "runs", "stage"}


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of fault did to one scenario, at some `of` all points. All after `survived` has to be 0."""

    kind: str
    scenario: str
    command: str
    of: int
    points: int
    survived: int
    lost: int
    wrong: int
    tracebacks: int
    hangs: int
    untrue: int
    unfinished: int


COUNTS = tuple(field.name for field in dataclasses.fields(Row)[4:])


def of_disk(kind: str, command: Sequence[str], tally: sweep.Tally) -> Row:
    counts = tally.verdicts
    bad = [counts[name] for name in ("lost", "wrong", "tracebacks", "hangs")]
    untrue = counts["lies"] + counts["visible"]
    return Row(kind, tally.name, verb(command), tally.of, tally.points, tally.survived, *bad, untrue, counts["stuck"])


def of_remote(scenario: scene.Scenario, tally: scene.Tally) -> Row:
    bad = (tally.lost, tally.wrong, tally.tracebacks, tally.hangs, tally.lies, tally.stuck + tally.withheld)
    survived = tally.points - tally.bad()
    return Row("s3", scenario.name, verb(scenario.command), tally.of, tally.points, survived, *bad)


def verb(command: Sequence[str]) -> str:
    """Returns the command of a command line."""
    words = command[: 2 if command[0] in _OF_TWO_WORDS else 1]
    return " ".join([*words, *(flag for flag in ("--remote", "--repair") if flag in command)])


def table(rows: Sequence[Row]) -> str:
    """Returns the counts of each command, as Markdown."""
    head = ("command", *GROUPS, *COUNTS)
    lines = [head, ("---", *["---:"] * (len(head) - 1))]
    for name in [*sorted({row.command for row in rows}), ""]:
        of_command = [row for row in rows if not name or row.command == name]
        of_groups = (tried([row for row in of_command if row.kind in kinds]) for kinds in GROUPS.values())
        sums = (f"{sum(getattr(row, count) for row in of_command):,}" for count in COUNTS)
        lines.append((name or "**all**", *of_groups, *sums))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tried(rows: Sequence[Row]) -> str:
    """Returns how many points were tried of how many, or a dash where there is none."""
    of = sum(row.of for row in rows)
    return f"{sum(row.points for row in rows):,} of {of:,}" if of else "-"


def can_strike(kind: str, scenario: Scenario) -> bool:
    """Returns whether a kind of fault is one for a scenario: what only reads leaves nothing behind, and needs no space."""
    if kind == "power" and scenario.name in power.LEFT_OUT:
        return False
    return scenario.changes or kind in GROUPS["failed call"]


def on_disk(scenario: Scenario, kinds: Sequence[str], every: int) -> tuple[list[Row], list[str]]:
    """Tries one scenario with those kinds of fault that can strike it, at file-system calls; returns what failed too."""
    tallies: dict[str, sweep.Tally] = {}
    failures = []
    kinds = [kind for kind in kinds if can_strike(kind, scenario)]
    in_process, on_small_disk = (
        [kind for kind in kinds if kind in of] for of in (sweep.IN_ONE_PROCESS, small_disk.KINDS)
    )
    try:
        if in_process:
            tallies |= sweep.sweep_one(scenario, in_process, every)
        if "power" in kinds:
            tallies["power"] = power.sweep_one(scenario, every)
        if on_small_disk:
            tallies |= small_disk.sweep_one(scenario, on_small_disk, every)
    except Unavailable as reason:
        failures.append(f"skipped: {scenario.name}: {reason}")
    for tally in tallies.values():
        failures += tally.failures
        failures += [f"exit 0 although a sync failed: {tally.name}: {line}" for line in tally.unsynced]
    return [of_disk(kind, scenario.command, tally) for kind, tally in tallies.items()], failures


@dataclass(slots=True)
class Results:
    """Rows that are kept in a file if there is one."""

    file: Path | None
    rows: list[Row] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.exists():
            self.rows = [Row(**json.loads(line)) for line in self.file.read_text().splitlines()]

    def add(self, row: Row, failures: Sequence[str] = ()) -> None:
        self.rows.append(row)
        print(f"{row.scenario}: {row.kind}: {row.survived} of {row.points} survived", file=sys.stderr, flush=True)
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(row)) + "\n")

    def lack(self, kind: str, scenario: str) -> bool:
        return not any((row.kind, row.scenario) == (kind, scenario) for row in self.rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", help="a word of the scenario's name")
    parser.add_argument("--every", type=int, default=1, help="try every Nth point")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which kinds of fault")
    parser.add_argument("--jobs", type=int, default=2, help="how many scenarios at once; S3 requests come last, alone")
    parser.add_argument("--results", type=Path, help="a file in which counts are kept")
    options = parser.parse_args()
    began = time.monotonic()
    results, kinds = Results(options.results), options.kinds.split(",")
    for failure in run(results, kinds, options.only or [""], options.every, options.jobs):
        print(f"  {failure}", file=sys.stderr, flush=True)
    print(table(results.rows))
    print(f"{time.monotonic() - began:.0f} s")
    return int(any(row.survived < row.points for row in results.rows))


def run(results: Results, kinds: Sequence[str], words: Sequence[str], every: int, jobs: int) -> Iterator[str]:
    """Fills the results; yields what failed."""
    chosen = []
    for scenario in SCENARIOS:
        wanted = [kind for kind in kinds if kind != "s3" and results.lack(kind, scenario.name)]
        if wanted and any(word in scenario.name for word in words):
            chosen.append((scenario, wanted, every))
    with tempfile.TemporaryDirectory() as home, ProcessPoolExecutor(jobs) as pool:
        sweep.environment(Path(home))
        for rows, failures in pool.map(on_disk, *zip(*chosen, strict=True)) if chosen else ():
            for row in rows:
                results.add(row)
            yield from failures
    if "s3" in kinds:
        with s3.running() as remote:
            for scenario in remote.scenarios:
                if results.lack("s3", scenario.name) and any(word in scenario.name for word in words):
                    tally = remote.sweep(scenario, every)
                    results.add(of_remote(scenario, tally))
                    yield from tally.notes


if __name__ == "__main__":
    sys.exit(main())
