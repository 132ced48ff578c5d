"""Blobs of git that may be anything: their sizes, and the content of those that are not too large. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

from dvlite.git.output import TooLarge
from dvlite.git.program import BlobReader, Git


def sizes(git: Git, blobs: Iterable[str]) -> dict[str, int]:
    """Returns the sizes of blobs in bytes; those that are not here are left out."""
    wanted = "".join(f"{blob}\n" for blob in dict.fromkeys(blobs))
    lines = git.run("cat-file", "--batch-check", stdin=wanted.encode()).decode().splitlines() if wanted else []
    return {words[0]: int(words[2]) for line in lines if len(words := line.split()) == 3 and words[1] == "blob"}


def each_within(
    git: Git, limits: Mapping[str, int], refuse: Callable[[str, int], None] = lambda *_: None
) -> Iterator[tuple[str, bytes]]:
    """Yields `(blob, content)` as `Git.each_blob`; `refuse` is told of each that is above its limit, and its size. Those are never read."""
    rest = dict(limits)
    while rest:
        try:
            for blob, data in git.each_blob(rest):
                del rest[blob]
                yield blob, data
        except TooLarge:  # rare: only then are sizes asked for
            for blob, size in sizes(git, rest).items():
                if size > rest[blob]:
                    del rest[blob]
                    refuse(blob, size)


class Blobs:
    """Content of git's objects, read from one running git that starts with the first; a context manager."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._reader: BlobReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, blob: str, limit_bytes: int) -> bytes:
        """Returns a blob; raises TooLarge if it has more bytes than the limit."""
        if self._reader is None:
            self._reader = self._git.blob_reader()
        try:
            return self._reader.read(blob, limit_bytes)
        except BaseException:  # the rest of its answer is still on its way
            self._close()
            raise

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__(None, None, None)
            self._reader = None
