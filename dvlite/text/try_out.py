"""The words of `try`: the variants with what they differ in, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from dvlite.commands.try_out import TryResult
from dvlite.exports.exported_run import short_names
from dvlite.runs.names import name_of
from dvlite.show import Show, count, duration_text, printable, value_text, word
from dvlite.sweep.state import VariantRun
from dvlite.text.style import table

_MOST_METRICS = 4


def text(result: TryResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    runs = sorted(result.variants, key=lambda run: _order(run, result))
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    metrics = list(dict.fromkeys(key for run in runs for key in run.metrics))
    if result.metric is not None:
        metrics = [result.metric, *(key for key in metrics if key != result.metric)]
    metrics = metrics[:_MOST_METRICS]
    short = short_names(metrics)
    titles = ["#", *map(printable, keys), *(printable(short[key]) for key in metrics)]
    rows = [titles + ([] if result.dry_run else ["took", "run"])]
    for run in runs:
        cells = [
            str(run.number),
            *(_cell(run.settings, key) for key in keys),
            *(_cell(run.metrics, key) for key in metrics),
        ]
        rows.append(cells + ([] if result.dry_run else [duration_text(run.seconds), _ended(run)]))
    head, *lines = table(map(tuple, rows))
    if not show.quiet:
        yield show.style("dim", head)
    yield from lines
    if show.quiet:
        return
    if result.dry_run:
        yield f"{count(len(runs), 'variant')} would be tried."
        return
    done = [run for run in result.variants if run.state == "ok"]
    yield f"{printable(result.sweep)}: {len(done)} of {count(len(runs), 'variant')} in {duration_text(result.elapsed_seconds)}"
    if done and result.metric is not None:
        direction = "" if result.better else " --higher"
        yield from show.next_step(f"dvlite runs best {word(result.metric)} --sweep {word(result.sweep)}{direction}")


def _order(run: VariantRun, result: TryResult) -> tuple[bool, float, int]:
    value = run.metrics.get(result.metric or "")
    if not isinstance(value, int | float) or math.isnan(value) or result.better is None:
        return not isinstance(value, int | float), 0.0, run.number
    return False, -value if result.better == "higher" else value, run.number


def _cell(values: Any, key: str) -> str:
    return value_text(values[key]) if key in values else "-"


def _ended(run: VariantRun) -> str:
    """Returns the name of the last run, or how the variant ended."""
    if run.state != "ok":
        return run.state
    if not run.runs:
        return "-"
    stage, oid = list(run.runs.items())[-1]
    return printable(name_of(stage.rpartition(":")[2], oid))
