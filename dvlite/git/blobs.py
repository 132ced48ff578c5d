"""Objects read from one running git, one after another. Starts no process itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import IO, Self, TypeVar

from dvlite.git import output as git_output

T = TypeVar("T")


class BlobReader:
    """Content of git's objects, read from one running git that starts with the first; a context manager."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.__exit__(None, None, None)
            self._process = None

    def read(self, blob: str, limit_bytes: int) -> bytes:
        """Returns a blob; raises TooLarge if it has more bytes than the limit."""
        return self._ask(blob, lambda output: git_output.next_blob(output, blob, limit_bytes))

    def read_object(self, name: str) -> tuple[str, bytes]:
        """Returns the kind and the bytes of an object: a commit, a tag, a tree."""
        return self._ask(name, lambda output: git_output.next_object(output, name))

    def _ask(self, name: str, answer: Callable[[IO[bytes] | None], T]) -> T:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(f"{name}\n".encode())
            process.stdin.flush()
            return answer(process.stdout)
        except BaseException:  # the rest of its answer is still on its way
            self.__exit__()
            raise
