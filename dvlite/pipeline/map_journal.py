"""What a map stage has done since its run began, for the case that it is killed: one line for each batch, after its objects are durable in the cache.

A run that ends as it should needs none: its record has all. Lines are not synced: kill -9 loses nothing that was written, and after a power cut
the batches whose lines are lost run again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dvlite import files
from dvlite.formats.task import TaskFile
from dvlite.oid import FILE, digest_bytes, parse_oid
from dvlite.store.cache import Cache

_KEPT_SECONDS = 30 * 86_400
_MARK_HEX = 32


def inputs_mark(inputs: Sequence[TaskFile]) -> str:
    """Returns what stands for the inputs of a datum in a journal."""
    rows = [[file.path, file.oid, file.executable] for file in inputs]
    return digest_bytes(json.dumps(rows, separators=(",", ":")).encode()).hex()[:_MARK_HEX]


class MapJournal:
    """The journal of one base (64 hex), in `folder`."""

    def __init__(self, folder: Path, base: str) -> None:
        self._path = folder / f"{base}.jsonl"
        self._descriptor = -1

    def read(self, cache: Cache) -> dict[str, tuple[str, tuple[TaskFile, ...]]]:
        """Returns what is done by an earlier run, by the names of datums: the mark of the inputs, and the outputs, all of which the cache has."""
        _drop_old(self._path.parent)
        done: dict[str, tuple[str, tuple[TaskFile, ...]]] = {}
        try:
            with open(self._path, "rb", opener=files.open_without_waiting) as lines:
                for line in lines:
                    done.update(_rows(line, cache))
        except OSError:
            return {}
        return done

    def add(self, done: Mapping[str, tuple[str, Sequence[TaskFile]]]) -> None:
        """Appends a line."""
        if self._descriptor < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            os.set_inheritable(self._descriptor, False)
            files.write_all(self._descriptor, b"\n")  # ends what a killed run may have begun
        rows = [
            [name, mark, [[out.path, out.oid, out.size_bytes, out.files, out.executable] for out in outs]]
            for name, (mark, outs) in done.items()
        ]
        files.write_all(self._descriptor, json.dumps(rows, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Closes it; it stays for the next run."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Removes it: a record has what it holds, or nothing of it counts."""
        self.close()
        self._path.unlink(missing_ok=True)


def _rows(line: bytes, cache: Cache) -> Iterable[tuple[str, tuple[str, tuple[TaskFile, ...]]]]:
    """Yields the datums of a line; none of one that was cut."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        for name, mark, outs in json.loads(line):
            found = tuple(
                TaskFile(path=path, oid=oid, size_bytes=size, files=count, executable=executable)
                for path, oid, size, count, executable in outs
            )
            if all(_is_there(out, cache) for out in found):
                yield name, (mark, found)


def _is_there(out: TaskFile, cache: Cache) -> bool:
    kind, digest = parse_oid(out.oid)
    return cache.has_file(digest, out.size_bytes) if kind == FILE else cache.has_node(digest)


def _drop_old(folder: Path) -> None:
    """Removes the journals of stages that were changed since, which no run takes up."""
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink()
