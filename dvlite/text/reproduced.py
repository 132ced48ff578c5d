"""The words of `verify --rerun`: a line or more for each stage that was run again, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.verify import VerifyResult
from dvlite.show import Show, count, duration_text, one_line, some, value_text
from dvlite.verify.findings import OutputVerdict, StageCheck

_COLORS = {"identical": "green", "equivalent": "green", "different": "red", "failed": "red"}
_ORDER = ("identical", "equivalent", "different", "failed", "inconclusive", "not checked")
_MOST_LINES = 3  # of the difference of one output
_MOST_OUTPUTS = 5
_MOST_DRIFT = 4


def stage_lines(result: VerifyResult, show: Show) -> Iterator[str]:
    """Yields what came of each stage."""
    stages = _ran(result)
    names = max((len(each.stage) for each in stages), default=0)
    verdicts = max((len(each.verdict) for each in stages if each.verdict != "not checked"), default=0)
    for each in stages:
        if each.verdict == "not checked":
            yield f"{each.stage.ljust(names)}  not checked: {one_line(each.problem or '')}"
            continue
        first, *more = [*_told(each, show)] or [""]
        verdict = show.style(_COLORS.get(each.verdict, "yellow"), each.verdict)
        yield f"{each.stage.ljust(names)}  {verdict}{' ' * (verdicts - len(each.verdict))}  {first}".rstrip()
        yield from (f"{' ' * (names + verdicts + 4)}{line}" for line in more)
        yield from (f"  | {one_line(line.expandtabs())}" for line in each.log_tail)


def summary_line(result: VerifyResult, show: Show) -> str:
    """Returns what it came to, in a line."""
    stages = _ran(result)
    counts = [(sum(each.verdict == word for each in stages), word) for word in _ORDER]
    said = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    took = duration_text(result.elapsed_seconds)
    wrong = [each.stage for each in stages if each.verdict == "different"]
    if wrong:
        named = f"{show.paths(wrong)} {'does' if len(wrong) == 1 else 'do'} not reproduce"
        return f"{show.style('red', named)}. {said}, {took}"
    if any(each.verdict not in ("identical", "equivalent") for each in stages):
        return f"Not all could be reproduced. {said}, {took}"
    if not stages:
        return f"There is no stage to run. {took}"
    return f"{show.style('green', 'Reproduced')}: {said}. {took}"


def _ran(result: VerifyResult) -> Sequence[StageCheck]:
    return [each for each in result.stages if each.verdict in _ORDER]


def _told(check: StageCheck, show: Show) -> Iterator[str]:
    if check.problem is not None:
        yield one_line(check.problem)
    bad = [each for each in check.outputs if each.verdict not in ("identical", "equivalent")]
    for output in bad if show.verbose else bad[:_MOST_OUTPUTS]:
        yield from _difference(output, show)
    if len(bad) > _MOST_OUTPUTS and not show.verbose:
        yield f"{count(len(bad) - _MOST_OUTPUTS)} more outputs differ (-v)"
    same = [f"{show.path(each.path)} (by {each.comparator})" for each in check.outputs if each.verdict == "equivalent"]
    if same:
        yield f"other bytes, but equivalent: {', '.join(same[:_MOST_OUTPUTS])}"
    yield from why_lines(check)


def _difference(output: OutputVerdict, show: Show) -> Iterator[str]:
    path = show.path(output.path)
    if not output.detail:
        words = {"missing": "was not made", "extra": "is not in the lockfile"}
        yield f"{path} {words.get(output.verdict, 'differs')}"
        return
    first, *more = output.detail
    yield f"{path}: {first}"
    shown = more if show.verbose else more[: _MOST_LINES - 1]
    yield from (f"  {line}" for line in shown)
    if len(more) > len(shown):
        yield f"  {count(len(more) - len(shown), 'line')} more (-v)"


def why_lines(check: StageCheck) -> Iterator[str]:
    """Yields why a stage does not give the same, as far as that was found out."""
    if check.varies_with is not None:
        yield f"varies with {check.varies_with}: held still, it gives the same twice"
    elif check.culprit and check.repeats is False:
        yield "random in itself: the same inputs gave two results here"
    elif check.culprit and check.repeats:
        yield "gives the same each time here: it is the machine or what is installed, not chance"
    if check.drift:
        changes = [f"{one_line(name)} {_side(old)} -> {_side(new)}" for name, (old, new) in check.drift.items()]
        yield f"environment: {some(changes, _MOST_DRIFT)}"


def _side(value: object) -> str:
    text = "none" if value is None else value_text(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
