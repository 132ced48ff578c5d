"""Blobs of git that may be anything: their sizes, and the content of those that are not too large. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dvlite.git.output import TooLarge
from dvlite.git.program import Git


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
