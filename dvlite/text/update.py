"""The words of `update`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.update import UpdatedPath, UpdateResult
from dvlite.show import Show, count, duration_text, printable, size_text
from dvlite.text.import_ import listed
from dvlite.text.style import amount_text, growth_text, origin
from dvlite.workspace.changes import files_text


def text(result: UpdateResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    took = duration_text(result.elapsed_seconds)
    for path in result.paths:
        line = _line(path, show)
        if line:
            yield line
    current = sum(path.state == "current" for path in result.paths)
    if not result.paths:
        yield "Nothing here was imported."
    elif current == len(result.paths):
        yield f"Nothing to update: {count(current, 'import')} as at the source. {took}"
    if result.readers:
        yield from show.staged(result.staged, result.unstaged)
        yield from show.next_step("dvlite repro")
    elif result.staged or result.unstaged:
        then = "dvlite push" if result.has_remote else "dvlite remote add s3://BUCKET/PREFIX"
        yield from show.next_commit(result.staged, result.unstaged, f"; {then}")
    elif any(path.state == "behind" for path in result.paths):
        yield from show.next_step("dvlite update")


def _line(path: UpdatedPath, show: Show) -> str:
    shown = show.path(path.path)
    if path.state == "behind":
        to = f" -> {printable(path.now[:8])}" if path.now else ""
        return f"{shown} would be updated: {origin(path.old)}{to}"
    if path.new is None or path.change is None:
        return ""
    if path.state == "same":
        return f"{shown} has the same data at {origin(path.new)}"
    change = path.change
    if change.kind == "file":
        what = listed(path.new) or size_text(change.size_bytes)
    else:
        growth = growth_text(change.counts)
        what = files_text(change.counts) + (f", {growth}" if growth else "")
    if change.created:
        what = amount_text(change.files, change.size_bytes)
    return f"Updated {shown}: {what}, from {origin(path.new)}"
