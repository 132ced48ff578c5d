"""The words of `stage add` and `stage list`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.stage import StageAddResult, StageListResult, StageRow
from dvlite.show import Show, printable, word
from dvlite.text.style import table


def text(result: StageAddResult | StageListResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, StageListResult):
        yield from _list(result, show)
    elif not show.quiet:
        done = "Replaced" if result.replaced else "Added"
        yield f"{done} stage {result.stage.rpartition(':')[2]} in {show.path(result.file)}"
        yield from show.staged(result.staged, result.unstaged)
        yield from show.next_step(f"dvlite repro {word(result.stage)}")


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
