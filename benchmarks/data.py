"""The data that is measured: made here from a seed, so that every machine and every round measures the same bytes.

Knows nothing of dvlite, its peers, or time.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_CELL_EDITS, _ROWS_INSERTED, _ROWS_REMOVED = 300, 500, 200
_SENSORS = 7


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is of everything."""

    small_files: int
    small_folders: int
    large_bytes: int
    csv_rows: int
    csv_versions: int


FULL = Sizes(20_000, 100, 1024 * MIB, 400_000, 6)
QUICK = Sizes(2_000, 10, 64 * MIB, 40_000, 3)


def write_tree(
    folder: Path, *, files: int, folders: int, least_bytes: int, most_bytes: int, seed: str = "tree"
) -> None:
    """Writes random files of `least_bytes` to `most_bytes`, spread evenly over numbered folders."""
    chance = random.Random(seed)
    for number in range(folders):
        (folder / f"{number:04d}").mkdir(parents=True)
    for number in range(files):
        content = chance.randbytes(chance.randint(least_bytes, most_bytes))
        with open(f"{folder}/{number % folders:04d}/{number:07d}.bin", "wb") as file:
            file.write(content)


def write_random(path: Path, size_bytes: int, *, seed: str = "file") -> None:
    """Writes one file that cannot be compressed."""
    chance = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.writelines(chance.randbytes(min(MIB, size_bytes - start)) for start in range(0, size_bytes, MIB))


def write_inserted(source: Path, target: Path, *, extra_bytes: int, seed: str = "insertion") -> None:
    """Writes `source` with random bytes put into its middle: everything behind them moves."""
    target.parent.mkdir(parents=True, exist_ok=True)
    middle = source.stat().st_size // 2
    with open(source, "rb") as before, open(target, "wb") as after:
        after.writelines(before.read(min(MIB, middle - start)) for start in range(0, middle, MIB))
        after.write(random.Random(seed).randbytes(extra_bytes))
        while piece := before.read(MIB):
            after.write(piece)


def csv_versions(rows: int, versions: int, *, seed: str = "csv") -> Iterator[bytes]:
    """Yields the versions of a numeric table, as an analyst edits one.

    From one to the next 300 scattered cells change, 500 rows come in at one place and 200 go at another.
    """
    chance = random.Random(seed)
    names = itertools.count(1)
    table = [_row(chance, next(names)) for _ in range(rows)]
    for version in range(versions):
        if version:
            for _ in range(_CELL_EDITS):
                _edit_cell(chance, table)
            first = chance.randrange(len(table))
            table[first:first] = [_row(chance, next(names)) for _ in range(_ROWS_INSERTED)]
            first = chance.randrange(len(table) - _ROWS_REMOVED)
            del table[first : first + _ROWS_REMOVED]
        header = ",".join(["id", *(f"sensor_{n}" for n in range(_SENSORS))])
        yield "\n".join([header, *table, ""]).encode()


def _row(chance: random.Random, name: int) -> str:
    return f"{name}," + ",".join(_cell(chance, sensor) for sensor in range(_SENSORS))


def _cell(chance: random.Random, sensor: int) -> str:
    return f"{chance.gauss(20.0 + 50 * sensor, 0.7):.4f}"  # 27 MB of 400,000 rows, of which zstd -1 makes a 2.7th


def _edit_cell(chance: random.Random, table: list[str]) -> None:
    at, sensor = chance.randrange(len(table)), chance.randrange(_SENSORS)
    cells = table[at].split(",")
    cells[1 + sensor] = _cell(chance, sensor)
    table[at] = ",".join(cells)


def chain_of_stages(count: int) -> str:
    """Returns a pipeline file, in the form that dvlite and DVC share, whose stages cost nothing and each need the one before."""
    lines = ["stages:"]
    for i in range(count):
        lines += [f"  s{i}:", f"    cmd: echo {i} > out{i}.txt"]
        lines += ["    deps:", f"      - out{i - 1}.txt"] if i else []
        lines += ["    outs:", f"      - out{i}.txt"]
    return "\n".join(lines) + "\n"


def alike_stages(count: int) -> str:
    """Returns a pipeline file whose stages cost nothing and all need the file `in`."""
    lines = ["stages:"]
    for i in range(count):
        lines += [
            f"  s{i}:",
            f"    cmd: echo {i} > out{i}.txt",
            "    deps:",
            "      - in",
            "    outs:",
            f"      - out{i}.txt",
        ]
    return "\n".join(lines) + "\n"


def independent_stages(count: int) -> str:
    """Returns a pipeline file whose stages take a second each and need nothing of each other."""
    lines = ["stages:"]
    for i in range(count):
        lines += [f"  p{i}:", f"    cmd: sleep 1; echo {i} > wide{i}.txt", "    outs:", f"      - wide{i}.txt"]
    return "\n".join(lines) + "\n"
