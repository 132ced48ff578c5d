"""The words of `export-dvc`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvlite.show import Show, count, duration_text, printable, word
from dvlite.text.style import amount_text

if TYPE_CHECKING:
    from dvlite.commands.export_dvc import ExportDvcResult


def text(result: ExportDvcResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for name, reason in result.left.items():
        yield f"{show.path(name)} is not exported: {printable(reason)}"
    if show.quiet:
        return
    size = amount_text(sum(row.files for row in result.paths), sum(row.size_bytes for row in result.paths))
    stages = f" and {count(len(result.stages), 'stage')}" if result.stages else ""
    what = f"{count(len(result.paths), 'path')} ({size}){stages}"
    if result.dry_run:
        yield f"Would export {what}; nothing was changed"
        return
    yield f"Exported {what} for DVC. {duration_text(result.elapsed_seconds)}"
    add = "git add -A && " if result.unstaged else ""
    if result.directory is None:
        yield from show.staged(result.staged)
        yield from show.next_step(f"{add}git commit; dvc status")
    else:
        yield from show.next_step(f"cd {word(result.directory)} && {add}git commit && dvc checkout")
