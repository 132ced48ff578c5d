"""The words of `export-lfs`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvlite.show import Show, count, duration_text, printable
from dvlite.text.style import amount_text

if TYPE_CHECKING:
    from dvlite.commands.export_lfs import ExportLfsResult


def text(result: ExportLfsResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for name, reason in result.left.items():
        yield f"{show.path(name)} stays with dvlite: {printable(reason)}"
    if show.quiet:
        return
    size = amount_text(sum(row.files for row in result.paths), sum(row.size_bytes for row in result.paths))
    what = f"{count(len(result.paths), 'path')} ({size})"
    if result.dry_run:
        yield f"Would export {what}; nothing was changed"
        yield from show.next_step("dvlite export-lfs")
        return
    yield f"Exported {what} to Git LFS in this clone. {duration_text(result.elapsed_seconds)}"
    yield "Earlier commits still name versions of dvlite: keep its remote as long as they matter."
    yield from show.staged(result.staged)
    off, on = ("dvlite install --uninstall && ", " && dvlite install") if result.hooks else ("", "")
    then = " && git lfs checkout" if result.absent else ""
    yield from show.next_step(f"{off}git lfs install --local{on if result.left else ''} && git commit{then}")
