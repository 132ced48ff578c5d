"""The words of `runs --watch`: a line for each stage that runs now, and one for each sweep."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.runs_watch import RunsWatchResult, WatchedStage
from dvlite.show import Show, count, duration_text, printable, value_text, word
from dvlite.text.style import table

_MOST_METRICS = 5


def text(result: RunsWatchResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if result.stages:
        metrics = list(dict.fromkeys(key for one in result.stages for key in one.metrics))[:_MOST_METRICS]
        titles = ("STAGE", "VARIANT", "FOR", "STEP", *(printable(key.partition(":")[2]) for key in metrics))
        rows = [titles, *(_row(one, metrics) for one in result.stages)]
        used = [i for i in range(len(titles)) if any(row[i] for row in rows[1:])]
        head, *lines = table([row[i] for i in used] for row in rows)
        yield show.style("dim", head)
        yield from lines
    elif not show.quiet:
        yield "No stage runs here now."
    for sweep in result.sweeps:
        how = "" if sweep.running else f", stopped: dvlite try --resume {word(sweep.name)}"
        yield f"{printable(sweep.name)}: {sweep.done} of {count(sweep.variants, 'variant')} done{how}"


def _row(one: WatchedStage, metrics: list[str]) -> tuple[str, ...]:
    settings = " ".join(f"{printable(key)}={value_text(value)}" for key, value in one.settings.items())
    return (
        printable(one.stage),
        "" if one.variant is None else f"{one.variant}  {settings}",
        duration_text(one.seconds),
        "" if one.step is None else str(one.step),
        *(value_text(one.metrics[key]) if key in one.metrics else "" for key in metrics),
    )
