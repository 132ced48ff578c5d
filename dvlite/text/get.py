"""The words of `get`; nothing when the data itself went to standard output."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.get import GetResult
from dvlite.show import Show, count, duration_text, printable, size_text
from dvlite.text.style import amount_text


def text(result: GetResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet or result.output == "-":
        return
    at = f" at {result.revision[:8]}" if result.revision else ""
    what = size_text(result.size_bytes) if result.files == 1 else amount_text(result.files, result.size_bytes)
    if result.purged:
        what += f", without {count(len(result.purged), 'purged file')}"
    source = "this repository" if result.source == "." else printable(result.source)
    origin = f"{printable(result.path)} in {source}" if result.path else source
    yield f"Wrote {printable(result.output)} ({what}) from {origin}{at}. {duration_text(result.elapsed_seconds)}"
