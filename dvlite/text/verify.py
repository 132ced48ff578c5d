"""The words of `verify`: a line for each finding, as compilers have them, then the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.verify import VerifyResult
from dvlite.files import printable, size_text
from dvlite.show import Show, count, duration_text, one_line
from dvlite.text.reproduced import stage_lines, summary_line
from dvlite.verify.findings import Finding, Unchecked

_MOST_FIXES = 2


def text(result: VerifyResult, show: Show) -> Iterator[str]:
    """Yields what people read."""
    for finding in result.findings:
        also = f" (and in {count(finding.also, 'commit')} after it)" if finding.also else ""
        yield f"{show.bold(place_text(finding, show) + ':')} {finding.message}{also}"
    for unchecked in result.unchecked:
        where = f"{show.bold(place_text(unchecked, show) + ':')} " if unchecked.file is not None else ""
        yield f"{where}{show.style('yellow', 'not checked:')} {one_line(unchecked.what)}: {one_line(unchecked.why)}"
    if result.rerun:
        yield from stage_lines(result, show)
    if result.kept is not None:
        yield f"the clean clone is kept: {printable(result.kept)}"
    if not show.quiet:
        if result.rerun:
            yield summary_line(result, show)
        if not result.rerun or result.findings or result.unchecked:
            yield _summary(result, show)
        if show.verbose and result.fetched:
            yield f"fetched: {', '.join(map(printable, result.fetched))} ({size_text(result.fetched_bytes)})"


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
    looked = f"{stages_text(result)} and {count(result.tracked, 'tracked path')}"
    if result.revision is not None and ".." in result.revision:
        looked = f"{count(result.commits, 'commit')}, in the last {looked}"
    took = duration_text(result.elapsed_seconds)
    remote = (
        ""
        if result.remote is None
        else f", {'every byte' if result.deep else 'complete'} on {printable(result.remote)}"
    )
    if result.findings:
        fix = _fixes(result.findings)
        said = f"{count(len(result.findings), 'finding')} in {looked}, {took}"
        return f"{show.style('red', said)}{f'     fix: {fix}' if fix else ''}"
    if result.unchecked:
        return f"Nothing found in {looked}, but not all could be checked. {took}"
    return f"{show.style('green', 'Verified')}: {looked}{remote}. {took}"


def _fixes(findings: Sequence[Finding]) -> str:
    """Returns the commands that settle all findings, if they are few."""
    commands: dict[str, None] = {}
    for finding in findings:
        if finding.fix is not None:
            commands[
                "dvlite repro" if len(findings) > 1 and finding.fix.startswith("dvlite repro") else finding.fix
            ] = None
    order = sorted(commands, key=lambda fix: fix.startswith("dvlite push"))  # what is made is pushed after it
    return " && ".join(order) if len(order) <= _MOST_FIXES else f"{order[0]} ... (--json has one for each finding)"
