"""What patterns of map stages stand for in versions of folders that were looked at before: kept in a file beside the stat index.

It changes speed, never an answer: a row follows from the version of the folder and the pattern alone, and a file that is damaged is empty.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dvlite import files
from dvlite.errors import FormatError
from dvlite.formats import strict_json
from dvlite.formats.lockfile import Locked
from dvlite.oid import MANIFEST, Oid, digest_bytes, parse_oid

FILE = "map/rows.json"
_VERSION = 1
_MOST_ROWS = 500  # the newest are kept
_LIMIT_BYTES = 4 << 20


class OverRows:
    """The rows in one file, by folder version (oid), prefix and pattern."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self._rows: dict[str, tuple[Oid, int, int]] | None = None

    def get(self, folder: Oid, prefix: str, pattern: str) -> Locked | None:
        """Returns what a pattern stands for in a folder; its `path` is the pattern."""
        row = self._all().get(_key(folder, prefix, pattern))
        return None if row is None else Locked(pattern, *row)

    def others(self, prefix: str, pattern: str) -> Iterator[tuple[Oid, Locked]]:
        """Yields what the pattern stood for in other versions of the folder, the last ones first."""
        for key, row in reversed(self._all().items()):
            folder, *rest = json.loads(key)
            if rest == [prefix, pattern]:
                yield folder, Locked(pattern, *row)

    def folders(self, row: Oid) -> Iterator[tuple[Oid, str, str]]:
        """Yields the versions of folders in which a pattern stood for this listing, with prefix and pattern."""
        for key, (oid, _, _) in self._all().items():
            if oid == row:
                folder, prefix, pattern = json.loads(key)
                yield folder, prefix, pattern

    def put(self, folder: Oid, prefix: str, pattern: str, row: Locked) -> None:
        """Keeps a row; where the file cannot be written, for this process only."""
        rows = self._all()
        rows[_key(folder, prefix, pattern)] = row.oid, row.size_bytes, row.files
        for key in list(rows)[:-_MOST_ROWS]:
            del rows[key]
        held = {key: list(value) for key, value in rows.items()}
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self._path, _dump(held), sync=False)

    def _all(self) -> dict[str, tuple[Oid, int, int]]:
        if self._rows is None:
            self._rows = {}
            with contextlib.suppress(OSError, FormatError, ValueError, TypeError):
                data = files.read_regular(self._path, FILE, _LIMIT_BYTES)
                rows = {} if data is None else strict_json.parse(data, FILE, limit_bytes=_LIMIT_BYTES).get("rows")
                if isinstance(rows, dict) and data == _dump(rows):
                    self._rows = dict(_checked(rows.items()))
        return self._rows


def _checked(rows: Iterable[tuple[str, list[object]]]) -> Iterator[tuple[str, tuple[Oid, int, int]]]:
    for key, (oid, size_bytes, count) in rows:
        if (
            isinstance(oid, str)
            and isinstance(size_bytes, int)
            and isinstance(count, int)
            and parse_oid(oid)[0] == MANIFEST
        ):
            yield key, (Oid(oid), size_bytes, count)


def _key(folder: Oid, prefix: str, pattern: str) -> str:
    return json.dumps([folder, prefix, pattern])


def _dump(rows: Mapping[str, object]) -> bytes:
    """Returns the bytes of the file, which hold a checksum of the rows; their order is that in which they were added."""
    text = json.dumps(dict(rows))
    return json.dumps({"dvlite_rows": _VERSION, "checksum": digest_bytes(text.encode()).hex(), "rows": rows}).encode()
