"""A verification as Markdown, for a job summary or a comment on a pull request. Pure.

The first line is an invisible marker: by it a program finds its earlier comment, to update it instead of adding another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.verify import VerifyResult
from dvlite.reports.summary import headline, is_pass, outcome, outcome_of, output_sentence, scope_text, stage_sentences
from dvlite.show import Show, duration_text
from dvlite.text.markdown import COMMENT, MarkdownDocument, Markup, block, code, opening, plain
from dvlite.text.verify import place_text
from dvlite.verify.findings import OutputVerdict, StageCheck

MARKER = "<!-- dvlite verify -->"
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
    document.add("")
    for check in result.stages:
        _differences(document, check)
    return document.text()


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
