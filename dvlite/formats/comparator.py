"""How two versions of an output are compared, as the pipeline file says it: `compare:` (docs/reference/formats/pipeline.md).

Only parses the declaration. Knows no disk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from dvlite.errors import FormatError
from dvlite.formats.strict_yaml import Path, Tree
from dvlite.show import quote

Kind = Literal["json", "csv", "npy", "text", "command"]
EVERY = "**"  # the pattern of a comparator that is for every file of an output
KEYS: Mapping[Kind, tuple[str, ...]] = {
    "json": ("rtol", "atol", "ignore"),
    "csv": ("rtol", "atol", "ignore", "key"),
    "npy": ("rtol", "atol"),
    "text": ("ignore",),
    "command": ("run",),
}
WORDS: tuple[Kind, ...] = ("json", "csv", "npy", "text")  # those that need nothing else said
_MOST_LETTERS = 1000  # of a pattern
_HINT = "for example  compare: json   or   compare: {type: csv, rtol: 0.01}"

Wrong = Callable[[Path, str, str | None], FormatError]


@dataclass(frozen=True, slots=True)
class Comparator:
    """When two versions of a file are equivalent, though their bytes differ.

    Numbers may differ by `atol + rtol * |old|`. `ignore`: dotted keys of values (with `*`), columns of tables, expressions whose matches
    are cut out of text. `key`: the column that matches rows. `run`: a script that exits with 0 if the versions are equivalent.
    """

    kind: Kind
    line: int = 0
    rtol: float = 0.0
    atol: float = 0.0
    ignore: tuple[str, ...] = ()
    key: str = ""
    run: str = ""


def read(value: Tree, at: Path, line_of: Callable[[Path], int], wrong: Wrong) -> dict[str, Comparator]:
    """Returns the comparators of an output by pattern; `**` for one that is for all of it. Raises what `wrong` makes."""
    return _ComparatorReader(line_of, wrong).all(value, at)


class _ComparatorReader:
    def __init__(self, line_of: Callable[[Path], int], wrong: Wrong) -> None:
        self._line, self._wrong = line_of, wrong

    def all(self, value: Tree, at: Path) -> dict[str, Comparator]:
        if value is None:
            return {}
        if not isinstance(value, dict) or isinstance(value.get("type"), str):
            return {EVERY: self._one(value, at)}
        if not value or "" in value:
            raise self._wrong(at, "'compare' names no files", 'for example  compare: {"*.json": json}')
        return {pattern: self._one(item, (*at, pattern)) for pattern, item in value.items()}

    def _one(self, value: Tree, at: Path) -> Comparator:
        entry = value if isinstance(value, dict) else {"type": value}
        said = entry.get("type")
        known = tuple(KEYS) if entry is value else WORDS
        kind = next((each for each in known if each == said), None)
        if kind is None:
            what = f"{quote(said[:60])} is not a way to compare" if isinstance(said, str) else "'compare' has no type"
            raise self._wrong(at, f"{what}; known: {', '.join(known)}", _HINT)
        for key in entry:
            if key not in ("type", *KEYS[kind]):
                raise self._wrong((*at, key), f"{quote(key[:60])} is not known in a comparison as {kind}", _keys(kind))
        if kind == "command" and not str(entry.get("run") or "").strip():
            raise self._wrong(at, "a comparison by command has no 'run'", "for example  run: python compare.py")
        return Comparator(
            kind=kind,
            line=self._line(at),
            rtol=self._tolerance(entry, at, "rtol"),
            atol=self._tolerance(entry, at, "atol"),
            ignore=self._ignored(entry, at, kind),
            key=self._text(entry["key"], (*at, "key")) if "key" in entry else "",
            run=self._text(entry["run"], (*at, "run")) if "run" in entry else "",
        )

    def _tolerance(self, entry: Mapping[str, Tree], at: Path, key: str) -> float:
        value = entry.get(key, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise self._wrong((*at, key), f"'{key}' must be a number of at least 0", "for example  rtol: 0.01")
        return float(value)

    def _ignored(self, entry: Mapping[str, Tree], at: Path, kind: Kind) -> tuple[str, ...]:
        value = entry.get("ignore")
        if value is not None and not isinstance(value, list):
            raise self._wrong((*at, "ignore"), "'ignore' must be a list", "for example  ignore: [time.seconds]")
        found = []
        for number, item in enumerate(value or ()):
            text = self._text(item, (*at, "ignore", str(number)))
            if kind == "text":
                self._check_expression(text, (*at, "ignore", str(number)))
            found.append(text)
        return tuple(found)

    def _check_expression(self, text: str, at: Path) -> None:
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            reason = f"{quote(text[:60])} is not a regular expression: {error}"
            raise self._wrong(at, reason, r"for example  'finished in \d+ s'") from None

    def _text(self, value: Tree, at: Path) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > _MOST_LETTERS:
            raise self._wrong(at, f"'compare' needs text here, of at most {_MOST_LETTERS} letters", "put it in quotes")
        return value


def _keys(kind: Kind) -> str:
    return f"the keys of {kind}: {', '.join(('type', *KEYS[kind]))}"
