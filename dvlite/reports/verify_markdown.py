"""A verification as Markdown, for a job summary or a comment on a pull request. Pure.

The first line is an invisible marker: by it a program finds its earlier comment, to update it instead of adding another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.checks.verdicts import CheckVerdict
from dvlite.commands.check import CheckResult
from dvlite.commands.verify import VerifyResult
from dvlite.reports.summary import (
    check_outcome,
    headline,
    is_pass,
    outcome,
    outcome_of,
    output_sentence,
    scope_text,
    stage_sentences,
)
from dvlite.show import Show, count, duration_text, short_oid
from dvlite.text.markdown import COMMENT, MarkdownDocument, Markup, block, code, opening, plain
from dvlite.text.verify import place_text
from dvlite.verify.findings import OutputVerdict, StageCheck

MARKER = "<!-- dvlite verify -->"
CHECKS_MARKER = "<!-- dvlite check -->"
_SIGNS = {"passed": "✅", "failed": "❌", "unsure": "⚠️", "frozen": "❄️"}
_FINDINGS_SHARE = 0.5  # of the limit: the stages are seen too
_STAGES_SHARE = 0.8
_MOST_OUTPUTS = 3  # named in the row of a stage


def markdown(result: VerifyResult, *, limit_bytes: int = COMMENT) -> str:
    """Returns the document, within the limit."""
    document = MarkdownDocument(limit_bytes)
    document.add(MARKER, f"### {_SIGNS[outcome(result)]} dvlite verify: {plain(headline(result))}", "")
    document.add(plain(scope_text(result)))
    if result.findings:
        document.table(
            ("where", "finding", "what", "fix"),
            (
                (
                    code(place_text(finding, Show())),
                    plain(finding.kind),
                    plain(f"{finding.message}{f' (and in {finding.also:,} commits after it)' if finding.also else ''}"),
                    code(finding.fix or ""),
                )
                for finding in result.findings
            ),
            share=_FINDINGS_SHARE,
            noun="finding",
        )
    if result.unchecked:
        rows = ((plain(unchecked.what), plain(unchecked.why)) for unchecked in result.unchecked)
        document.table(("not checked", "why"), rows, share=_STAGES_SHARE, noun="line")
    if result.stages:
        _stages(document, result.stages)
    if result.checks:
        _checks(document, result.checks)
    document.add("")
    for check in result.stages:
        _differences(document, check)
    return document.text()


def checks_markdown(result: CheckResult, *, limit_bytes: int = COMMENT) -> str:
    """Returns the document of `check`, within the limit."""
    document = MarkdownDocument(limit_bytes)
    wrong = sum(not check.passed for check in result.checks)
    sign = _SIGNS["failed" if result.is_finding else "unsure" if wrong else "passed"]
    said = f"{count(wrong, 'check')} of {len(result.checks):,} not passed" if wrong else "nothing found"
    document.add(CHECKS_MARKER, f"### {sign} dvlite check: {plain(said)}", "")
    document.add(plain(f"{count(len(result.checks), 'check')}, {duration_text(result.elapsed_seconds)}"))
    _checks(document, result.checks)
    document.add("")
    return document.text()


def _checks(document: MarkdownDocument, checks: Sequence[CheckVerdict]) -> None:
    order = sorted(checks, key=lambda check: check.passed)  # what is wrong comes first
    rows = (
        (
            plain(_SIGNS[check_outcome(check)]),
            code(check.check),
            plain(check.state if check.passed or "block" in check.on.values() else f"{check.state} (only warns)"),
            Markup(f"{code(check.path)} {plain('' if check.oid is None else short_oid(check.oid))}"),
            Markup("<br>".join(map(plain, check.problems))),
        )
        for check in order
    )
    document.table(("", "check", "state", "data", "why"), rows, share=_STAGES_SHARE, noun="check")


def _stages(document: MarkdownDocument, stages: Sequence[StageCheck]) -> None:
    order = sorted(stages, key=lambda check: is_pass(check.verdict))  # what is wrong comes first
    ran = any(check.seconds is not None or check.outputs for check in stages)
    heads = ("", "stage", "verdict", *(("time", "notes") if ran else ("declared at",)))
    document.table(heads, (_row(check, ran=ran) for check in order), share=_STAGES_SHARE, noun="stage")


def _row(check: StageCheck, *, ran: bool) -> tuple[Markup, ...]:
    cells = (plain(_SIGNS[outcome_of(check.verdict)]), code(check.stage), plain(check.verdict))
    if not ran:
        return (*cells, code(f"{check.file}:{check.line}" if check.file else ""))
    return (
        *cells,
        plain("" if check.seconds is None else duration_text(check.seconds)),
        Markup("<br>".join(_notes(check))),
    )


def _notes(check: StageCheck) -> Iterator[str]:
    yield from map(plain, stage_sentences(check))
    outputs = [output for output in check.outputs if output.verdict != "identical"]
    yield from (f"{code(output.path)} {plain(_first(output))}" for output in outputs[:_MOST_OUTPUTS])
    if len(outputs) > _MOST_OUTPUTS:
        yield f"{len(outputs) - _MOST_OUTPUTS:,} more outputs"


def _first(output: OutputVerdict) -> str:
    return output.detail[0] if output.detail else output_sentence(output)


def _differences(document: MarkdownDocument, check: StageCheck) -> None:
    """Adds what is too long for the table, folded: how outputs differ, and the end of the log of a stage that failed."""
    parts = [(output.path, output.detail) for output in check.outputs if len(output.detail) > 1]
    if check.log_tail:
        parts.append((f"the end of the log of {check.stage}", check.log_tail))
    for title, lines in parts:
        folded = (opening(title), block(lines), "", "</details>", "")
        if document.fits(*folded):
            document.add(*folded)
