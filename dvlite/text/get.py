"""The words of `get`; nothing when the data itself went to standard output."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.get import GetResult
from dvlite.show import Show, count, duration_text, printable
from dvlite.text.style import amount_text


def text(result: GetResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet or result.output == "-":
        return
    at = f" at {result.revision[:8]}" if result.revision else ""
    what = amount_text(result.files, result.size_bytes)
    took = duration_text(result.elapsed_seconds)
    origin = f"{printable(result.path)} of {printable(result.source)}" if result.path else printable(result.source)
    if result.purged:
        what += f", without {count(len(result.purged), 'purged file')}"
    yield f"Got {printable(result.output)}: {what}, {origin}{at}. {took}"
