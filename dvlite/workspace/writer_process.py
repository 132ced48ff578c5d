"""A second process that writes part of a fresh tree, since Python runs one thread at a time (measured: 0.76 s -> 0.46 s for 20,000 files).

It is forked before any thread exists and waits for a job: which version, which entries of it, and where. It reads the cache itself and
answers with what the disk says of each file. It dies with its parent: the pipe that it reads from closes.
"""

from __future__ import annotations

import json
import os
import signal
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from dvlite import files
from dvlite.oid import Digest

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class WriteJob:
    """The entries of the version `root` (hex) from the path `first` on, of those that `patterns` choose, into `folder` of `work_tree`."""

    cache: str
    pack_below_bytes: int
    root: str
    patterns: tuple[str, ...]
    work_tree: str
    folder: str
    first: str


@dataclass(frozen=True, slots=True)
class WriteReport:
    """For each entry of a job its mtime, ctime and inode; then the entries that were not written, counted from the job's first."""

    mtimes: array[int]
    ctimes: array[int]
    inodes: array[int]
    unwritten: list[int]

    @property
    def columns(self) -> tuple[array[int], array[int], array[int]]:
        return self.mtimes, self.ctimes, self.inodes


class WriterProcess:
    """One process that waits for jobs; a context manager. `work` runs there."""

    def __init__(self, work: Callable[[WriteJob], WriteReport]) -> None:
        self._work = work
        self._process = 0
        self._jobs = self._reports = -1

    def __enter__(self) -> Self:
        """Forks; does nothing where the system cannot."""
        if not hasattr(os, "fork"):
            return self
        jobs, self._jobs = os.pipe()
        self._reports, reports = os.pipe()
        self._process = os.fork()
        if not self._process:
            os.close(self._jobs)
            os.close(self._reports)
            self._serve(jobs, reports)
        os.close(jobs)
        os.close(reports)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            os.close(self._jobs)
            os.close(self._reports)
            os.kill(self._process, signal.SIGKILL)  # it holds nothing that must be closed in order
            os.waitpid(self._process, 0)
            self._process = 0

    @property
    def ready(self) -> bool:
        return self._process != 0

    def start(self, job: WriteJob) -> None:
        """Hands over a job; returns at once."""
        _send(
            self._jobs,
            json.dumps([getattr(job, name) for name in WriteJob.__slots__]).encode("utf-8", "surrogateescape"),
        )

    def finish(self, count: int) -> WriteReport | None:
        """Waits for the report on a job of `count` entries; None if the process failed, and nothing it did is known."""
        data = _receive(self._reports)
        if data is None or len(data) < 24 * count:
            return None
        columns, unwritten = (array("q"), array("q"), array("Q")), array("Q")
        with memoryview(data) as view:
            for number, column in enumerate(columns):
                column.frombytes(view[number * 8 * count : (number + 1) * 8 * count])
            unwritten.frombytes(view[24 * count :])
        return WriteReport(*columns, list(unwritten))

    def _serve(self, jobs: int, reports: int) -> None:
        """Is the other process: never returns, never runs what the parent would at its end."""
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
            while (data := _receive(jobs)) is not None:
                cache, below, root, patterns, tree, folder, first = json.loads(data.decode("utf-8", "surrogateescape"))
                report = self._work(WriteJob(cache, below, root, tuple(patterns), tree, folder, first))
                _send(reports, *report.columns, array("Q", report.unwritten))
        finally:
            os._exit(1)


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How a version may be written: `link` makes large files read-only hard links into the cache; `helper` is a second process.

    For its sake `version` says what is written: the digest of its listing, and the patterns of the part.
    """

    link: bool = False
    helper: WriterProcess | None = None
    version: tuple[Digest, tuple[str, ...]] | None = None


def _send(descriptor: int, *parts: bytes | array[int]) -> None:
    views = [memoryview(part).cast("B") for part in parts]
    files.write_all(descriptor, _LENGTH.pack(sum(view.nbytes for view in views)))
    for view in views:
        files.write_all(descriptor, view)


def _receive(descriptor: int) -> bytearray | None:
    head = _read(descriptor, _LENGTH.size)
    return None if head is None else _read(descriptor, _LENGTH.unpack(head)[0])


def _read(descriptor: int, count: int) -> bytearray | None:
    data = bytearray()
    while len(data) < count:
        part = files.read_piece(descriptor, min(count - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return data
