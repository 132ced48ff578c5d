"""The words of `task list` and `task collect`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dvlite.commands.repro import ReproResult
from dvlite.commands.task import TaskCollectResult, TaskListResult, TaskRow
from dvlite.show import Show, count, duration_text, printable, word
from dvlite.text import repro
from dvlite.text.style import table


def text(result: TaskListResult, show: Show) -> Iterator[str]:
    """Yields the tasks that were given out, one a line."""
    if not result.tasks:
        if not show.quiet:
            yield f"No tasks are given out to {printable(result.remote)}."
        return
    yield from table(_row(row) for row in result.tasks)
    if any(row.state in ("done", "failed") for row in result.tasks):
        yield from show.next_step("dvlite task collect")


def collect(result: TaskCollectResult, show: Show) -> Iterator[str]:
    """Yields what became of the stages, as `repro` does, without those that have no result."""
    shown = tuple(run for run in result.outcome.stages if run.state in ("ok", "failed"))
    if shown:
        yield from repro.text(
            ReproResult(outcome=replace(result.outcome, stages=shown), elapsed_seconds=result.elapsed_seconds), show
        )
    datums = [run for run in result.outcome.stages if run.datums is not None and run.datums.ran]
    for run in datums:
        if run.datums is not None and not show.quiet:
            yield f"{printable(run.stage)}: {count(run.datums.ran, 'datum')} collected, which repro takes up"
            yield from show.next_step(f"dvlite repro {word(run.stage)}")
    if not shown and not datums and not show.quiet:
        yield f"No results to collect from {printable(result.remote)}."
    if result.left and not show.quiet:
        yield f"{count(result.left, 'task')} without a result so far: dvlite task list"


def _row(row: TaskRow) -> tuple[str, ...]:
    units = f"{row.done} of {row.units}" if row.units > 1 and row.state in ("done", "failed") else ""
    where = " ".join(filter(None, (printable(row.by), duration_text(row.seconds) if row.seconds else "")))
    return row.task[:12], printable(row.stage), row.state, units, where, printable(row.problem)
