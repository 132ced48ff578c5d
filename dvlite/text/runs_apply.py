"""The words of `runs apply`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.runs_apply import RunsApplyResult
from dvlite.show import Show, pair_text, printable, word


def text(result: RunsApplyResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    name = printable(result.name)
    if result.branch is not None:
        yield f"Made the branch {printable(result.branch)} with {name} ({(result.commit or '')[:7]}): {show.paths(result.outputs)}"
    for change in result.params_set:
        yield f"{show.path(change.file)}: {printable(change.name)} {' -> '.join(pair_text(change.old, change.new))}"
    if result.edits:
        yield f"Edits of the run: {show.paths(result.edits)}"
    if result.data:
        yield f"Pointers of the run: {show.paths(result.data)}"
    if result.branch is not None:
        yield from show.next_step(f"git switch {word(result.branch)} && dvlite checkout")
        return
    yield f"Applied {name}: {show.paths(result.outputs)}"
    if result.staged or result.unstaged:
        yield from show.next_commit(result.staged, result.unstaged)
