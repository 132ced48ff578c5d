"""The words of `import` and `import-url`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvlite.formats.source import ImportSource
from dvlite.show import Show, count, duration_text, size_text
from dvlite.text.style import amount_text, origin

if TYPE_CHECKING:
    from dvlite.share.imports import ImportResult


def text(result: ImportResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    path = result.path
    took = duration_text(result.elapsed_seconds)
    if path.kind == "file":
        size = listed(result.source) or size_text(path.size_bytes)
    else:
        size = amount_text(path.files, path.size_bytes)
    if path.unchanged:
        yield f"{show.path(path.path)} has what is at {origin(result.source)}: {size}, unchanged. {took}"
    else:
        yield f"Imported {show.path(path.path)}: {size} from {origin(result.source)}. {took}"
    if result.readers:
        yield from show.staged(result.staged, result.unstaged)
        yield from show.next_step("dvlite repro")
        return
    then = "dvlite push" if result.has_remote else "dvlite remote add s3://BUCKET/PREFIX"
    yield from show.next_commit(result.staged, result.unstaged, f"; {then}")


def listed(source: ImportSource) -> str:
    """Returns of how many files a list is that stands for them; empty of anything else."""
    number = source.listing.partition(" ")[0]
    return f"a list of {count(int(number), 'file')}" if number else ""
