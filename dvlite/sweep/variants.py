"""Which variants a sweep has: a grid of values, the rows of a file, or a random sample of these. Pure."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dvlite.errors import FormatError, UsageError
from dvlite.formats import parameters, strict_yaml
from dvlite.show import quote

MOST = 10_000  # variants of a sweep
_PAIRS = {"[": "]", "{": "}"}

Settings = tuple[tuple[str, str], ...]  # parameters and their values, as -S has them


@dataclass(frozen=True, slots=True)
class VariantSpace:
    """All variants: each row of a file with each combination of the values of the grid; the last key changes first."""

    grid: Sequence[tuple[str, Sequence[str]]]
    rows: Sequence[Settings] = ((),)

    @property
    def size(self) -> int:
        return len(self.rows) * math.prod(len(values) for _, values in self.grid)

    def at(self, number: int) -> Settings:
        """Returns one variant by its number, from 0 on."""
        chosen = []
        for key, values in reversed(self.grid):
            number, i = divmod(number, len(values))
            chosen.append((key, values[i]))
        given = dict(chosen)
        row = (pair for pair in self.rows[number] if pair[0] not in given)
        return (*row, *reversed(chosen))


def choose(space: VariantSpace, *, sample: int | None, seed: int) -> list[Settings]:
    """Returns all variants of a space or, in their order, a random sample; equal ones once. Raises UsageError for too many."""
    if sample is None or sample >= space.size:
        if space.size > MOST:
            raise UsageError(
                f"a sweep of {space.size} variants", hint=f"at most {MOST}; take some of them: --sample 100"
            )
        numbers: Iterable[int] = range(space.size)
    else:
        numbers = sorted(random.Random(seed).sample(range(space.size), sample))  # noqa: S311  # not a secret
    return list(dict.fromkeys(space.at(number) for number in numbers))


def grid_of(settings: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Returns keys with their values: `lr` and `0.1,0.01` has two, and `[1, 2],[3]` two lists. Raises UsageError for a key given twice."""
    grid: dict[str, list[str]] = {}
    for key, text in settings:
        if key in grid:
            raise UsageError(f"{quote(key)} is given twice", hint=f"all values in one: -S {key}=A,B")
        grid[key] = list(_values(key, text))
    return list(grid.items())


def _values(key: str, text: str) -> Iterator[str]:
    """Yields the parts between commas that stand in no bracket and no quote."""
    closing: list[str] = []
    start = 0
    for i, letter in enumerate(text):
        if closing and closing[-1] in "\"'":
            if letter == closing[-1]:
                closing.pop()
        elif letter in "\"'" and (closing or not text[start:i].strip()):
            closing.append(letter)
        elif letter in _PAIRS:
            closing.append(_PAIRS[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == "," and not closing:
            yield _value(key, text[start:i])
            start = i + 1
    yield _value(key, text[start:])


def _value(key: str, text: str) -> str:
    value = text.strip()
    if not value:
        raise UsageError(f"{quote(key)} has an empty value", hint=f"-S {key}=A,B; an empty text is written '\"\"'")
    parameters.value_of(value)
    return value


def rows_of(data: bytes, name: str) -> list[Settings]:
    """Reads a file of variants: a list of mappings (YAML, JSON), or a table with the keys in its first row (CSV). Raises FormatError."""
    if name.lower().endswith(".csv"):
        table = [row for row in csv.reader(data.decode("utf-8-sig", "replace").splitlines()) if any(row)]
        if len(table) < 2 or any(len(row) != len(table[0]) for row in table):
            raise _wrong(name, "it needs a row of keys, and rows with a value for each")
        return [tuple(zip(map(str.strip, table[0]), map(str.strip, row), strict=True)) for row in table[1:]]
    text = b"variants: " + data if data.lstrip().startswith(b"[") else b"variants:\n" + data
    tree = strict_yaml.load(text, name, foreign=True).value  # JSON is YAML; a list alone is no mapping
    rows = tree.get("variants")
    found = [row for row in rows if isinstance(row, dict) and row] if isinstance(rows, list) else []
    if not found or not isinstance(rows, list) or len(found) < len(rows):
        raise _wrong(name, "it is not a list of mappings from parameters to values")
    return [tuple((key, json.dumps(value)) for key, value in row.items()) for row in found]


def _wrong(name: str, reason: str) -> FormatError:
    return FormatError(f"cannot use {quote(name)}: {reason}", hint="for example a list: - {lr: 0.1, model: svm}")
