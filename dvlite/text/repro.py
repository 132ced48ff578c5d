"""The words of `repro`: a line for each stage, then a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dvlite.commands.repro import ReproResult
from dvlite.pipeline.invocation import Outcome
from dvlite.pipeline.reasons import Reason
from dvlite.pipeline.stage_run import DatumsRun, MetricChange, StageOutput, StageRun
from dvlite.show import Show, count, duration_text, pair_text, printable, short_oid, size_text, some, value_text
from dvlite.text.reasons import reason_text, short_name
from dvlite.text.style import change_text, table
from dvlite.workspace.adder import AddedPath
from dvlite.workspace.changes import files_text

_COLORS = {
    "ok": "green",
    "cached": "green",
    "restored": "green",
    "failed": "red",
    "tainted": "yellow",
    "would run": "yellow",
    "would restore": "yellow",
}
_MOST_FAILURES = 10
_MOST = 4  # metrics, outputs or reasons in a line


def text(result: ReproResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for change in result.params_set:
        if repr(change.old) != repr(change.new):  # 1, 1.0 and true are equal, and not the same
            sides = " -> ".join(pair_text(change.old, change.new))
            yield f"{printable(change.file)}: {printable(change.name)} {sides}"
    yield from added_text(result.outcome.added, show)
    if result.explain:
        yield from _explained(result, show)
    else:
        rows = [_row(run, result, show) for run in result.outcome.stages]
        yield from _colored(table([row for row in rows if row]), result, show)
        yield from failures_text(result.outcome.stages)
    if show.quiet:
        return
    yield _summary(result.outcome)
    yield from next_lines(result.outcome, show, is_done=result.failure(show) is None)


def added_text(paths: Sequence[AddedPath], show: Show) -> Iterator[str]:
    """Yields what was taken in because stages read it."""
    if paths and not show.quiet:
        added = some([f"{show.path(path.path)} ({files_text(path.counts)})" for path in paths])
        yield f"Added what had changed: {added}"


def next_lines(outcome: Outcome, show: Show, *, is_done: bool = True, then: str = "") -> Iterator[str]:
    """Yields what was staged, and the command that commits all that belongs to it, with what follows that."""
    if not is_done:
        yield from show.staged(outcome.staged, outcome.unstaged)
    elif outcome.lockfiles or outcome.staged or outcome.unstaged:
        names = sorted({*outcome.untracked, *outcome.modified, *outcome.unstaged})
        yield from show.next_commit(outcome.staged, names, then)


def _row(run: StageRun, result: ReproResult, show: Show) -> tuple[str, ...]:
    if run.state in ("up to date", "frozen") and show.quiet:
        return ()
    took = duration_text(run.seconds) if run.state in ("ok", "failed", "tainted", "canceled") else ""
    if result.dry_run:
        state = "cannot be checked" if run.state == "unknown" else run.state
        return (run.stage, state, "", _reasons(run.reasons))
    parts = [datums_text(run.datums), made_text(run, show)] if run.datums is not None else [made_text(run, show)]
    if run.state == "cached" and run.of:
        whose = f"{printable(run.of_author)}'s run " if run.of_author else ""
        parts.append(f"from {whose}{run.of_stage}-{short_oid(run.of)[:6]}")
    if run.state == "ok" and run.of_author:
        parts.append(f"by {printable(run.of_author)}")
    if run.state == "tainted":
        parts = [f"{', '.join(map(printable, run.tainted_by[:2]))} changed while it ran"]
    if run.state == "failed":
        parts = [datums_text(run.datums) if run.datums is not None else run.problem or ""]
    if run.absent:
        parts.append(f"{_some([show.path(path) for path in run.absent], 2)} not on disk, and not needed")
    return (run.stage, run.state, took, "  ".join(part for part in parts if part))


def datums_text(datums: DatumsRun) -> str:
    """Returns what became of the datums of a map stage: `3 of 2,000 datums ran, 1,996 reused, 1 removed`."""
    counts = ((datums.failed, "failed"), (datums.reused, "reused"), (datums.removed, "removed"))
    others = "".join(f", {number:,} {word}" for number, word in counts if number)
    return f"{datums.ran:,} of {count(datums.datums, 'datum')} ran{others}"


def failures_text(runs: Sequence[StageRun]) -> Iterator[str]:
    """Yields the datums that failed."""
    for run in runs:
        if run.datums is None:
            continue
        for failure in run.datums.failures[:_MOST_FAILURES]:
            yield f"  {printable(failure.name)}: {printable(failure.problem)}"
        if run.datums.failed > _MOST_FAILURES:
            yield f"  and {count(run.datums.failed - _MOST_FAILURES, 'datum')} more"


def made_text(run: StageRun, show: Show) -> str:
    """Returns the parameters that changed, the outputs and the metrics of a stage."""
    parts = (_params(run.reasons), _outputs(run.outputs, show), _metrics(run.metrics))
    return "  ".join(part for part in parts if part)


def _colored(lines: Any, result: ReproResult, show: Show) -> Iterator[str]:
    shown = [run for run in result.outcome.stages if not (run.state in ("up to date", "frozen") and show.quiet)]
    for line, run in zip(lines, shown, strict=True):
        color = _COLORS.get(run.state)
        yield line.replace(f"  {run.state}", f"  {show.style(color, run.state)}", 1) if color else line


def _summary(outcome: Outcome) -> str:
    words = {
        "ok": "ran",
        "cached": "from the run cache",
        "restored": "restored",
        "up to date": "up to date",
        "frozen": "frozen",
        "failed": "failed",
        "tainted": "tainted",
        "canceled": "canceled",
        "not run": "not run",
        "unknown": "cannot be checked",
        "would run": "would run",
        "would restore": "would be restored",
        "may run": "may run after them",
    }
    counts = [(sum(run.state == state for run in outcome.stages), word) for state, word in words.items()]
    text = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    if outcome.stages and all(run.state in ("up to date", "frozen") for run in outcome.stages):
        text = f"Everything is up to date: {count(len(outcome.stages), 'stage')}"
    changed = f" {', '.join(printable(file) for file in outcome.lockfiles)} updated." if outcome.lockfiles else ""
    return f"{text}.{changed}"


def _params(reasons: Sequence[Reason]) -> str:
    changed = [
        f"{short_name(reason.name)} {' -> '.join(pair_text(reason.old, reason.new))}"
        for reason in reasons
        if reason.kind == "param-changed"
    ]
    return _some(changed)


def _outputs(outputs: Sequence[StageOutput], show: Show) -> str:
    plain = [output for output in outputs if not output.metric]
    return _some([f"{show.path(output.path)} {_amount(output)}" for output in plain], 2)


def _amount(output: StageOutput) -> str:
    files = f"{count(output.files, 'file')}, " if output.oid.startswith("manifest") else ""
    return f"({files}{size_text(output.size_bytes)})"


def _metrics(metrics: Sequence[MetricChange]) -> str:
    return _some([f"{short_name(metric.name)}={value_text(metric.value)}{_growth(metric)}" for metric in metrics])


def _growth(metric: MetricChange) -> str:
    old, new = metric.old, metric.value
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (old, new))
    if old is None or old == new:
        return ""
    if not numbers:
        return f" (was {value_text(old)})"
    mark = {True: ", better", False: ", worse", None: ""}[metric.better]
    return f" ({change_text(new - old)}{mark})"


def _some(parts: Sequence[str], most: int = _MOST) -> str:
    return some(parts, most, separator="  ")


def _explained(result: ReproResult, show: Show) -> Iterator[str]:
    for run in result.outcome.stages:
        took = f"  {duration_text(run.seconds)}" if run.seconds else ""
        yield f"{show.bold(run.stage)}  {run.state}{took}"
        for reason in run.reasons:
            yield f"  {reason_text(reason, show)}"


def _reasons(reasons: Sequence[Reason]) -> str:
    plain = Show()
    more = " (--explain)" if len(reasons) > 2 else ""
    return some([reason_text(reason, plain) for reason in reasons], 2, separator="; ") + more
