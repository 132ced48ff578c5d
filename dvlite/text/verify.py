"""The words of `verify`: a line for each finding, as compilers have them, the verdict of each stage that was run again, and the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.checks.verdicts import CheckVerdict
from dvlite.commands.verify import VerifyResult
from dvlite.show import Show, count, duration_text, one_line, printable, short_oid, size_text, some, value_text
from dvlite.verify.findings import Finding, OutputVerdict, StageCheck, Unchecked

_MOST_FIXES = 2
_COLORS = {"identical": "green", "equivalent": "green", "different": "red", "failed": "red"}
_ORDER = ("identical", "equivalent", "different", "failed", "inconclusive", "not checked")
_MOST_LINES = 3  # of the difference of one output
_MOST_OUTPUTS = 5
_MOST_DRIFT = 4


def text(result: VerifyResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for finding in result.findings:
        also = f" (and in {count(finding.also, 'commit')} after it)" if finding.also else ""
        yield f"{show.bold(place_text(finding, show) + ':')} {finding.message}{also}"
    for unchecked in result.unchecked:
        where = f"{show.bold(place_text(unchecked, show) + ':')} " if unchecked.file is not None else ""
        yield f"{where}{show.style('yellow', 'not checked:')} {one_line(unchecked.what)}: {one_line(unchecked.why)}"
    if result.rerun:
        yield from _stage_lines(result, show)
    if result.kept is not None:
        yield f"the clean clone is kept: {printable(result.kept)}"
    if not show.quiet:
        passed = [f"{check.check} on {show.path(check.path)}{_at(check)}" for check in result.checks if check.passed]
        for named in passed if show.verbose else [some(passed)] if passed else []:
            yield f"checked before, and passed: {named}"
        if result.rerun:
            yield _rerun_summary(result, show)
        if not result.rerun or result.findings or result.unchecked:
            yield _summary(result, show)
        if show.verbose and result.fetched:
            yield f"fetched: {', '.join(map(printable, result.fetched))} ({size_text(result.fetched_bytes)})"


def _at(check: CheckVerdict) -> str:
    return "" if check.oid is None else f" at {short_oid(check.oid)}"


def place_text(place: Finding | Unchecked, show: Show) -> str:
    """Returns `dvlite.lock:41`, or `1a2b3c4:dvlite.lock:41` for a commit."""
    file = place.file or ""
    named = f"{place.commit[:7]}:{printable(file)}" if place.commit is not None else show.path(file)
    return f"{named}:{place.line}"


def stages_text(result: VerifyResult) -> str:
    """Returns how many stages were checked, and how many of them are declared not to be compared: `5 stages (1 frozen)`."""
    frozen = sum(check.verdict == "frozen" for check in result.stages)
    return f"{count(len(result.stages), 'stage')}{f' ({count(frozen)} frozen)' if frozen else ''}"


def _summary(result: VerifyResult, show: Show) -> str:
    scope = f"{stages_text(result)} and {count(result.tracked, 'tracked path')}"
    if result.revision is not None and ".." in result.revision:
        scope = f"{count(result.commits, 'commit')}, in the last {scope}"
    took = duration_text(result.elapsed_seconds)
    extent = "every byte" if result.deep else "complete"
    remote = "" if result.remote is None else f", {extent} on {printable(result.remote)}"
    gone = len({file.path for file in result.purged})
    remote += f", but for {count(gone, 'file')} that {'was' if gone == 1 else 'were'} purged" if gone else ""
    if result.findings:
        fix = _fixes(result.findings)
        said = f"{count(len(result.findings), 'finding')} in {scope}, {took}"
        return f"{show.style('red', said)}{f'     fix: {fix}' if fix else ''}"
    if result.unchecked:
        return f"Incomplete: {count(len(result.unchecked), 'check')} could not be made; nothing is wrong in the rest of {scope}. {took}"
    return f"{show.style('green', 'Verified')}: {scope}{remote}. {took}"


def _fixes(findings: Sequence[Finding]) -> str:
    """Returns the commands that settle all findings, if they are few."""
    fixes = [finding.fix for finding in findings if finding.fix is not None]
    if len(findings) > 1:
        fixes = ["dvlite repro" if fix.startswith("dvlite repro") else fix for fix in fixes]
    order = sorted(dict.fromkeys(fixes), key=lambda fix: fix.startswith("dvlite push"))  # data is pushed last
    return " && ".join(order) if len(order) <= _MOST_FIXES else f"{order[0]} ... (--json has one for each finding)"


# --- stages that were run again ---


def _stage_lines(result: VerifyResult, show: Show) -> Iterator[str]:
    """Yields the verdict of each stage."""
    stages = _ran(result)
    names = max((len(check.stage) for check in stages), default=0)
    verdicts = max((len(check.verdict) for check in stages if check.verdict != "not checked"), default=0)
    for check in stages:
        if check.verdict == "not checked":
            yield f"{check.stage.ljust(names)}  not checked: {one_line(check.problem or '')}"
            continue
        first, *more = [*_details(check, show)] or [""]
        verdict = show.style(_COLORS.get(check.verdict, "yellow"), check.verdict)
        yield f"{check.stage.ljust(names)}  {verdict}{' ' * (verdicts - len(check.verdict))}  {first}".rstrip()
        yield from (f"{' ' * (names + verdicts + 4)}{line}" for line in more)
        yield from (f"  | {one_line(line.expandtabs())}" for line in check.log_tail)


def _rerun_summary(result: VerifyResult, show: Show) -> str:
    """Returns the outcome, in a line."""
    stages = _ran(result)
    counts = [(sum(check.verdict == word for check in stages), word) for word in _ORDER]
    said = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    took = duration_text(result.elapsed_seconds)
    wrong = [check.stage for check in stages if check.verdict == "different"]
    if wrong:
        named = f"{show.paths(wrong)} {'does' if len(wrong) == 1 else 'do'} not reproduce"
        return f"{show.style('red', named)}. {said}, {took}"
    if any(check.verdict not in ("identical", "equivalent") for check in stages):
        return f"Not all could be reproduced. {said}, {took}"
    if not stages:
        return f"There is no stage to run. {took}"
    return f"{show.style('green', 'Reproduced')}: {said}. {took}"


def _ran(result: VerifyResult) -> Sequence[StageCheck]:
    return [check for check in result.stages if check.verdict in _ORDER]


def _details(check: StageCheck, show: Show) -> Iterator[str]:
    if check.problem is not None:
        yield one_line(check.problem)
    differing = [output for output in check.outputs if output.verdict not in ("identical", "equivalent")]
    for output in differing if show.verbose else differing[:_MOST_OUTPUTS]:
        yield from _difference(output, show)
    if len(differing) > _MOST_OUTPUTS and not show.verbose:
        yield f"{count(len(differing) - _MOST_OUTPUTS)} more outputs differ (-v)"
    same = [
        f"{show.path(output.path)} (by {output.comparator})"
        for output in check.outputs
        if output.verdict == "equivalent"
    ]
    if same:
        yield f"other bytes, but equivalent: {', '.join(same[:_MOST_OUTPUTS])}"
    yield from why_lines(check)


def _difference(output: OutputVerdict, show: Show) -> Iterator[str]:
    path = show.path(output.path)
    if not output.detail:
        words = {"missing": "was not produced", "extra": "is not in the lockfile"}
        yield f"{path} {words.get(output.verdict, 'differs')}"
        return
    first, *more = output.detail
    yield f"{path}: {first}"
    shown = more if show.verbose else more[: _MOST_LINES - 1]
    yield from (f"  {line}" for line in shown)
    if len(more) > len(shown):
        yield f"  {count(len(more) - len(shown), 'line')} more (-v)"


def why_lines(check: StageCheck) -> Iterator[str]:
    """Yields why a stage does not reproduce, as far as that is known."""
    if check.varies_with is not None:
        yield f"varies with {check.varies_with}: with that fixed, two runs agree"
    elif check.culprit and check.repeats is False:
        yield "not deterministic: two runs here with the same inputs differ"
    elif check.culprit and check.repeats:
        yield "deterministic here: two runs agree, so the machine or the installed software differs"
    if check.drift:
        changes = [f"{one_line(name)} {_side(old)} -> {_side(new)}" for name, (old, new) in check.drift.items()]
        yield f"environment: {some(changes, _MOST_DRIFT)}"


def _side(value: object) -> str:
    text = "none" if value is None else value_text(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
