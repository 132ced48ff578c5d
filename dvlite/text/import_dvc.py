"""The words of `import-dvc`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvlite.show import Show, count, duration_text, printable
from dvlite.text.style import amount_text

if TYPE_CHECKING:
    from dvlite.commands.import_dvc import ImportDvcResult


def text(result: ImportDvcResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for name, reason in result.left.items():
        yield f"{show.path(name)} is not imported: {printable(reason)}"
    if show.quiet:
        return
    size = amount_text(sum(row.files for row in result.paths), sum(row.size_bytes for row in result.paths))
    stages = f" and {count(len(result.stages), 'stage')}" if result.stages else ""
    copies = f"{count(result.copies, 'commit')} as copies on the branch {result.branch}" if result.copies else ""
    paths = f"{count(len(result.paths), 'path')} ({size}){stages}" if result.paths or not copies else ""
    what = ", and ".join(filter(None, (paths, copies)))
    if result.dry_run:
        yield f"Would import {what}; nothing was changed"
        yield from show.next_step("dvlite import-dvc" + (" --all-history" if copies else ""))
        return
    yield f"Imported {what}. {duration_text(result.elapsed_seconds)}"
    if paths:
        then = "; dvlite checkout" + ("; dvlite repro -n" if result.stages else "")
        yield from show.next_commit(result.staged, result.unstaged, then)
    sharing = f"git push origin {result.branch}; dvlite push --all-commits"
    if paths and copies:
        yield f"for other clones: {sharing}"
    elif copies:
        yield from show.next_step(f"dvlite log PATH; {sharing}")
