"""The words of the `stage` verbs."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.stage import StageAddResult, StageEditResult, StageListResult, StageRow
from dvlite.show import Show, printable, word
from dvlite.text.style import table

_DONE = {"remove": "Removed", "rename": "Renamed", "freeze": "Froze", "thaw": "Thawed"}


def text(result: StageAddResult | StageListResult | StageEditResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, StageEditResult):
        yield from _edit(result, show) if not show.quiet else ()
        return
    if isinstance(result, StageListResult):
        yield from _list(result, show)
    elif not show.quiet:
        done = "Replaced" if result.replaced else "Added"
        yield f"{done} stage {result.stage.rpartition(':')[2]} in {show.path(result.file)}"
        yield from show.staged(result.staged, result.unstaged)
        yield from show.next_step(f"dvlite repro {word(result.stage)}")


def _edit(result: StageEditResult, show: Show) -> Iterator[str]:
    changed = [name for name in result.stages if name not in result.unchanged]
    if result.old is not None:
        yield f"Renamed stage {printable(result.old)} to {printable(result.stages[0])}; its runs keep the old name"
    elif changed:
        yield f"{_DONE[result.action]} {', '.join(map(printable, changed))}"
    if result.unchanged:
        yield f"{', '.join(map(printable, result.unchanged))}: nothing to change"
    if result.freed:
        yield f"still on disk, and no longer ignored by git: {show.paths(result.freed)}"
    if result.staged or result.unstaged:
        yield from show.next_commit(result.staged, result.unstaged)


def _list(result: StageListResult, show: Show) -> Iterator[str]:
    yield from table(_row(stage, show) for stage in result.stages)
    if not result.stages and not result.unread and not show.quiet:
        yield "There are no stages yet."
        yield from show.next_step("dvlite stage add NAME -d DEPENDENCY -o OUTPUT -- COMMAND")


def _row(stage: StageRow, show: Show) -> tuple[str, ...]:
    outs = [*stage.outs, *stage.metrics]
    flags = [name for name, is_set in (("frozen", stage.frozen), ("always", stage.always)) if is_set]
    words = " ".join([printable(stage.desc), *(f"({flag})" for flag in flags)]).strip()
    return (printable(stage.stage), f"-> {show.paths(outs)}" if outs else "", words)
