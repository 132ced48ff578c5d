"""The words of `doctor`: facts by topic, problems with their fix."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.doctor import DoctorResult
from dvlite.show import Show

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


def text(result: DoctorResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    lines = [line for line in result.lines if not show.quiet or line.level != "ok"]
    width = max((len(line.topic) for line in lines), default=0)
    topic = ""
    for line in lines:
        first = line.topic if line.topic != topic else ""
        topic = line.topic
        mark = "" if line.level == "ok" else show.style(_COLORS[line.level], line.level + ": ")
        yield f"{first:{width}}  {mark}{line.text}"
        if line.fix is not None:
            for fix in line.fix.splitlines():
                yield f"{'':{width}}  {show.style('cyan', 'fix:')} {fix}"
    if result.ok and not show.quiet:
        yield "No problem found."
