"""What is wrong with the run records of a clone: loose ones and batches against their names, and the index against them. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dvlite import files
from dvlite.errors import FormatError, LaterVersion, ObjectCorrupt
from dvlite.formats import record
from dvlite.oid import digest_run
from dvlite.runs.index import NAME, is_derived
from dvlite.runs.records import Records
from dvlite.store import batch
from dvlite.store.check import Problem

Note = Callable[[str, Problem, str], None]  # name below the folder of the records, problem, reason

_HEX = re.compile(r"[0-9a-f]{64}")
_WRONG_BYTES = "its bytes are not the ones that its name promises"


def look(records: Records, note: Note) -> int:
    """Notes what is damaged; returns how many files were read. The index is compared only if what it is derived from is sound."""
    count, is_whole = 0, True
    for folder, limit in (("new", record.MAX_BYTES), ("batches", batch.MAX_BYTES)):
        for path in _scan(records.folder / folder):
            if files.is_temporary_name(path.name.encode()):
                continue
            name = f"{folder}/{path.name}"
            if _HEX.fullmatch(path.name) is None or path.is_symlink() or not path.is_file():
                note(name, "foreign", "dvlite writes no such name")
                continue
            count += 1
            data = files.read_own(path, limit)
            if data is not None and not _is_sound(folder, path.name, data):
                is_whole = False
                note(name, "damaged", _WRONG_BYTES)
    if (own := files.read_own(records.folder / "own", 64 << 20)) is not None:
        names = own.split(b"\n")
        if any(_HEX.fullmatch(name.decode("ascii", "replace")) is None for name in names[:-1]):
            note("own", "damaged", "it lists what are no names of records")
    if is_whole and not is_derived(records):
        note(NAME, "stale", "it does not say what the run records say")
    return count


def _is_sound(folder: str, name: str, data: bytes) -> bool:
    if folder == "new":
        return digest_run(data).hex() == name
    if batch.name_of(data) != name:
        return False
    try:
        for _ in batch.decode(data, name):
            pass
    except LaterVersion:
        return True
    except (ObjectCorrupt, FormatError):
        return False
    return True


def _scan(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
