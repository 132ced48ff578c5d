"""The words of `exec-task`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.exec_task import ExecTaskResult
from dvlite.show import Show, count, duration_text, printable
from dvlite.text.style import table

_MOST = 20  # tasks in lines of their own


def text(result: ExecTaskResult, show: Show) -> Iterator[str]:
    """Yields what became of the tasks: those that ran here, and how many others."""
    if show.quiet:
        return
    here = [item for item in result.tasks if item.result is not None]
    yield from table(
        (item.task[:12], printable(item.stage), item.state, duration_text(item.result.seconds))
        for item in here[-_MOST:]
        if item.result is not None
    )
    for state, words in (
        ("done before", "done before"),
        ("failed before", "failed before"),
        ("held", "with other workers"),
    ):
        number = sum(item.state == state for item in result.tasks)
        if number:
            yield f"{count(number, 'task')} {words}."
