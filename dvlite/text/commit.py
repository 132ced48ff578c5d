"""The words of `commit`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.commit import CommitResult
from dvlite.show import Show, count, printable, word
from dvlite.text.repro import added_text, made_text, next_lines


def text(result: CommitResult, show: Show) -> Iterator[str]:
    """Yields a line for each stage whose outputs were accepted, and what to do next."""
    yield from added_text(result.outcome.added, show)
    stages = result.outcome.stages
    accepted = [run for run in stages if run.state == "asserted"]
    for run in accepted:
        yield f"Accepted {printable(run.stage)}: {made_text(run, show)}"
    if show.quiet:
        return
    for run in stages:
        if run.state == "not run":
            yield f"Left out {printable(run.stage)}: {run.problem}."
    if accepted:
        yield "Recorded as asserted: nothing was run."
    else:
        settled = sum(run.state != "not run" for run in stages)
        yield f"Nothing to accept: {count(settled, 'stage')} up to date." if settled else "Nothing to accept."
    then = f"; dvlite verify --rerun {word(accepted[0].stage)}" if accepted else ""
    yield from next_lines(result.outcome, show, then=then)
