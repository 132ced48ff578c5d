"""The program that git-lfs starts to move objects, instead of asking a server: reads requests, moves one object at a time, answers.

An answer that a transfer is complete means that the object is on the remote, or on this disk. A failure of one object is an answer too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from dvlite.errors import DvliteError, RemoteError
from dvlite.formats import lfs_transfer
from dvlite.formats.lfs_transfer import LfsPointer, Request
from dvlite.moving.lfs_folder import local_folder
from dvlite.moving.lfs_objects import LfsObjects
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.show import printable_text

_FAILED = 2  # the code of an error in an answer; git-lfs prints it and nothing more


class Agent:
    """Moves objects for one git-lfs; the remote is opened when the first is asked for."""

    def __init__(self, open_repo: Callable[[], Repo], remote: str | None, progress: Progress) -> None:
        self._open_repo, self._name, self._progress = open_repo, remote, progress
        self._stack = ExitStack()
        self._objects: LfsObjects | None = None
        self._folder = Path()
        self._lost: RemoteError | None = None  # why the remote cannot be reached: it is not asked again for each object

    def run(self, requests: BinaryIO, answers: BinaryIO) -> int:
        """Answers requests until git-lfs ends them; returns how many objects were moved. Raises FormatError for a line that is none."""
        count = 0
        with self._stack:
            while line := requests.readline(lfs_transfer.LINE_BYTES + 1):
                request = lfs_transfer.parse_request(line)
                if request.event == "terminate":
                    break
                answer, is_moved = self._answer(request)
                count += is_moved
                answers.write(answer)
                answers.flush()
        return count

    def _answer(self, request: Request) -> tuple[bytes, bool]:
        try:
            if request.event == "init":
                self._open().look_ahead(request.remote, self._folder)
                return lfs_transfer.ready(), False
            return lfs_transfer.moved(request.sha256, request.size_bytes) + self._moved(request), True
        except RemoteError as error:
            self._lost = error
            return _failure(request, error), False
        except DvliteError as error:
            return _failure(request, error), False

    def _moved(self, request: Request) -> bytes:
        if self._lost is not None:
            raise self._lost
        objects = self._objects or self._open()
        if request.event == "upload":
            objects.send(LfsPointer(request.sha256, request.size_bytes), Path(request.path))
            return lfs_transfer.done(request.sha256)
        path = objects.fetch(LfsPointer(request.sha256, request.size_bytes), self._folder / "tmp")
        return lfs_transfer.done(request.sha256, str(path))

    def _open(self) -> LfsObjects:
        repo = self._open_repo()
        self._folder = local_folder(repo)
        cache = open_cache(repo)
        name, remote = open_remote(repo, cache, self._name, None)
        self._stack.enter_context(remote)
        self._objects = LfsObjects(repo, cache, remote, name, self._progress)
        return self._objects


def _failure(request: Request, error: DvliteError) -> bytes:
    hint = f" ({error.hint.splitlines()[0]})" if error.hint else ""
    return lfs_transfer.failed(request.sha256, _FAILED, printable_text(f"dvlite: {error.message}{hint}"))
