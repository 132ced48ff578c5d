"""The words of `runs import`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.runs_import import RunsImportResult
from dvlite.show import Show, count, printable, word


def text(result: RunsImportResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    rest = [f"{count(result.known, 'run')} {'is' if result.known == 1 else 'are'} here already"] if result.known else []
    rest += [f"{count(result.exported, 'run')} came from this repository"] if result.exported else []
    if not result.runs:
        if not show.quiet:
            yield f"Nothing to import from {show.path(result.source)}: {', '.join(rest) or 'there is no run in it'}"
        return
    replaced = f" ({result.replaced:,} of them went on since the last import)" if result.replaced else ""
    yield f"Imported {count(len(result.runs), 'run')} with {count(result.points, 'point')} from {show.path(result.source)}{replaced}"
    if show.quiet:
        return
    if rest:
        yield f"Left out: {', '.join(rest)}"
    if len(result.stages) > 1:
        yield f"As stages: {show.some([printable(stage) for stage in result.stages])}"
    yield from show.next_step(f"dvlite runs -s {word(result.stages[0])}")
