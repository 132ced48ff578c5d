"""How the rows of tables are compared and merged, as the pipeline file says it: `tables:` (docs/reference/formats/pipeline.md).

Only parses the declaration. Knows no disk and no table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dvlite.errors import FormatError
from dvlite.formats.strict_yaml import Path, Tree
from dvlite.show import closest, quote

TABLE_KEYS = ("key", "ignore", "rtol", "atol")
MOST_TABLES = 1000
_MOST_NAMES = 100  # columns of a key, and ignored ones
_MOST_LETTERS = 1000
_HINT = "for example  data/birds.csv: {key: id, ignore: [seen_at]}"

Wrong = Callable[[Path, str, str | None], FormatError]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """How rows of the tables that `path`, a path or pattern, names are matched and compared.

    `key`: the columns that identify a row; `ignore`: columns that do not count; numbers may differ by `atol + rtol * |old|`.
    """

    path: str
    line: int
    key: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    rtol: float = 0.0
    atol: float = 0.0


def read(
    value: Tree,
    at: Path,
    line_of: Callable[[Path], int],
    path_of: Callable[[Tree, Path], str],
    wrong: Wrong,
) -> tuple[TableSpec, ...]:
    """Returns the tables that are declared, in their order. Raises what `wrong` makes."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise wrong(at, "'tables' must be a mapping of paths", _HINT)
    if len(value) > MOST_TABLES:
        raise wrong(at, f"it has {len(value):,} tables, more than {MOST_TABLES:,}", None)
    found = []
    for name, item in value.items():
        place = (*at, name)
        entry = item if isinstance(item, dict) else {"key": item}
        for key in entry:
            if key not in TABLE_KEYS:
                close = closest(key[:60], TABLE_KEYS)
                meant = f"; did you mean '{close}'?" if close else ""
                keys = f"the keys of a table: {', '.join(TABLE_KEYS)}"
                raise wrong((*place, key), f"{quote(key[:60])} is not known in a table{meant}", keys)
        found.append(
            TableSpec(
                path_of(name, place),
                line_of(place),
                _names(entry.get("key"), (*place, "key"), wrong),
                _names(entry.get("ignore"), (*place, "ignore"), wrong),
                _tolerance(entry.get("rtol", 0.0), (*place, "rtol"), wrong),
                _tolerance(entry.get("atol", 0.0), (*place, "atol"), wrong),
            )
        )
        both = [name for name in found[-1].key if name in found[-1].ignore]
        if both:
            raise wrong(place, f"the column {quote(both[0][:60])} is both in 'key' and in 'ignore'", None)
    return tuple(found)


def _names(value: Tree, at: Path, wrong: Wrong) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [] if value is None else [value]
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= _MOST_LETTERS:
            raise wrong(at, f"'{at[-1]}' names columns", _HINT)
    if len(names) > _MOST_NAMES:
        raise wrong(at, f"'{at[-1]}' names more than {_MOST_NAMES} columns", None)
    return tuple(dict.fromkeys(map(str, names)))


def _tolerance(value: Tree, at: Path, wrong: Wrong) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise wrong(at, f"'{at[-1]}' must be a number of at least 0", "for example  rtol: 0.01")
    return float(value)
