"""Registered versions as results have them, with the names of their runs; and what a user may write into a tag."""

from __future__ import annotations

from dataclasses import dataclass

from dvlite.errors import UsageError
from dvlite.oid import Oid
from dvlite.registry.models import ModelVersion, Registry
from dvlite.runs.history import time_text
from dvlite.runs.index import RunIndex
from dvlite.runs.names import name_of

_MOST_MESSAGE = 4000  # letters


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A registered version; `stages` are those that it is in now. `time` and `user` are what its tag says."""

    name: str
    version: int
    stages: tuple[str, ...]
    path: str
    oid: Oid
    size_bytes: int
    files: int
    run: Oid | None
    run_name: str  # empty: none is known, or its record is not here
    commit: str
    tag: str
    user: str = ""
    time: str = ""
    message: str = ""


def row_of(version: ModelVersion, registry: Registry, index: RunIndex) -> ModelRow:
    """Returns a version as results have it."""
    return ModelRow(
        name=version.name,
        version=version.number,
        stages=tuple(registry.models[version.name].stages_of(version.number)),
        path=version.path,
        oid=version.oid,
        size_bytes=version.pointer.size_bytes,
        files=version.pointer.files,
        run=version.run,
        run_name=run_name(version, index),
        commit=version.commit,
        tag=version.tag,
        user=version.user,
        time=time_text(version.time),
        message=version.message,
    )


def run_name(version: ModelVersion, index: RunIndex) -> str:
    """Returns the name of the run that made a version; nothing if none is known, or its record is not here."""
    row = None if version.run is None else index.row(version.run)
    return "" if row is None else name_of(row.stage, row.oid)


def message_of(text: str) -> str:
    """Returns what a user wrote as a tag may hold it: lines of printable text. Raises UsageError if it is too long."""
    if len(text) > _MOST_MESSAGE:
        raise UsageError(
            f"the message has {len(text):,} letters, at most {_MOST_MESSAGE:,} fit", hint="put it into a file in git"
        )
    lines = ("".join(letter for letter in line if letter.isprintable()) for line in text.splitlines())
    return "\n".join(lines).strip()
