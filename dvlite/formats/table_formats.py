"""Folders that are tables of other programs: by which folder inside they are recognised, and which of the files there are versions of them.

Only the log of a Delta table is read (`delta_log`). All three have this in common: two logs that were written side by side cannot be mixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

TableFormat = Literal["delta", "iceberg", "lance"]
NAMES: dict[TableFormat, str] = {"delta": "Delta", "iceberg": "Iceberg", "lance": "Lance"}
DELTA_LOG = b"_delta_log"  # the folder that makes a folder a Delta table
_LOGS: dict[bytes, tuple[TableFormat, re.Pattern[bytes]]] = {
    DELTA_LOG: ("delta", re.compile(rb"[0-9]{20}\.json")),
    b"metadata": ("iceberg", re.compile(rb".+\.metadata\.json")),
    b"_versions": ("lance", re.compile(rb"[0-9]+\.manifest")),
}
MARKS = frozenset(_LOGS)  # names of folders


def format_of(log: bytes, names: Iterable[bytes]) -> TableFormat | None:
    """Returns what a folder is that has a log of this name with these files in it."""
    form, version = _LOGS[log]
    return form if any(map(version.fullmatch, names)) else None


def table_of(path: bytes) -> bytes | None:
    """Returns the folder of the table that a file is a version of, going by its path; empty for the tracked path itself."""
    above, _, name = path.rpartition(b"/")
    folder, _, log = above.rpartition(b"/")
    return folder if log in _LOGS and _LOGS[log][1].fullmatch(name) else None
