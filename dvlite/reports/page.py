"""A verification as one page of HTML: the pipeline coloured by verdict, findings, stages, outputs and how they differ. Pure.

Self-contained, for it is opened from a mail or an archive of a job: no script, no link to another host, and a policy that forbids both,
whatever a name in it says.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from dvlite import __version__
from dvlite.commands.verify import VerifyResult
from dvlite.reports.layout import HEIGHT, WIDTH, plan
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
from dvlite.show import Show, count, duration_text, short_oid, size_text
from dvlite.text.markdown import legal
from dvlite.text.verify import place_text
from dvlite.verify.findings import OutputVerdict, StageCheck

_LONGEST_NAME = 24  # letters that fit into a box
_MOST_ROWS = 2000
_SIGNS = {"passed": "✓", "failed": "✗", "unsure": "?", "frozen": "❄"}
_MEANINGS = {
    "passed": "passed",
    "failed": "failed",
    "unsure": "not checked",
    "frozen": "frozen, not compared",
}
_PLAIN = ("ok", "finding", "unchecked", "frozen")  # verdicts of stages that were not run
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1f2328; --dim: #59636e; --line: #d1d9e0; --soft: #f6f8fa;
  --passed: #1a7f37; --passed-soft: #dafbe1; --failed: #cf222e; --failed-soft: #ffebe9; --unsure: #8a5a00; --unsure-soft: #fff4ce;
  --frozen: #0969da; --frozen-soft: #ddf4ff; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --dim: #9198a1; --line: #3d444d; --soft: #161b22;
  --passed: #3fb950; --passed-soft: #12261e; --failed: #f85149; --failed-soft: #2d1417; --unsure: #d29922; --unsure-soft: #2a2111;
  --frozen: #4493f8; --frozen-soft: #121d2f; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1200px; padding: 24px; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 24px; margin: 0 } h2 { font-size: 18px; margin: 32px 0 8px }
p { margin: 4px 0 } .dim, small { color: var(--dim) } a { color: inherit }
code, pre { font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: 10px; margin: 6px 0; white-space: pre-wrap }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; min-width: 7em; border-bottom: 1px solid var(--line) }
td code { display: inline-block; max-width: 45ch; overflow-wrap: break-word }
th { color: var(--dim); font-weight: 500 }
.whole, .word { white-space: nowrap } .word { font-weight: 600 }
.passed { color: var(--passed) } .failed { color: var(--failed) } .unsure { color: var(--unsure) } .frozen { color: var(--frozen) }
.legend span { margin-right: 16px; display: inline-block }
header { border-left: 6px solid; padding-left: 16px }
header.passed { border-color: var(--passed) } header.failed { border-color: var(--failed) } header.unsure { border-color: var(--unsure) }
header p { color: var(--text) }
svg { display: block; font: 13px system-ui, sans-serif }
svg rect { fill: var(--soft); stroke: var(--line); stroke-width: 1.5 }
svg .passed rect { fill: var(--passed-soft); stroke: var(--passed) } svg .failed rect { fill: var(--failed-soft); stroke: var(--failed) }
svg .unsure rect { fill: var(--unsure-soft); stroke: var(--unsure) } svg .frozen rect { fill: var(--frozen-soft); stroke: var(--frozen) }
svg text { fill: var(--text) } svg .note { fill: var(--dim); font-size: 12px }
svg path { fill: none; stroke: var(--dim); stroke-width: 1.5 } svg marker path { fill: var(--dim); stroke: none }
"""


def page(result: VerifyResult) -> str:
    """Returns the document."""
    return "\n".join(_lines(result)) + "\n"


def _text(text: str) -> str:
    return html.escape(legal(text))


def _lines(result: VerifyResult) -> Iterator[str]:
    ended = outcome(result)
    title = _text(headline(result))
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>dvlite verify: {title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield f'<header class="{ended}"><h1>{_SIGNS[ended]} {title}</h1>'
    yield f"<p>{_text(scope_text(result))}</p></header>\n<main>"
    if result.stages:
        yield "<h2>Pipeline</h2>"
        yield from _drawing(result.stages)
    yield from _findings(result)
    yield from _unchecked(result)
    yield from _checks(result)
    ran = [(number, check) for number, check in enumerate(result.stages) if check.verdict not in _PLAIN]
    for number, check in sorted(ran, key=lambda row: is_pass(row[1].verdict)):  # what is wrong comes first
        yield from _stage(number, check)
    yield from _not_run(result)
    yield from (f"<p>warning: {_text(warning)}</p>" for warning in result.warnings)
    yield f"</main>\n<footer><p><small>dvlite {_text(__version__)}</small></p></footer>\n</body>\n</html>"


# --- the pipeline


def _drawing(stages: Sequence[StageCheck]) -> Iterator[str]:
    drawn = plan({check.stage: check.after for check in stages})
    yield (
        f'<div class="wide"><svg role="img" aria-label="the stages and their verdicts" width="{drawn.width}" '
        f'height="{drawn.height}" viewBox="0 0 {drawn.width} {drawn.height}">'
    )
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="8" markerHeight="8" orient="auto" '
        'markerUnits="userSpaceOnUse"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
    )
    yield from (f'<path d="{path}" marker-end="url(#tip)"/>' for path in drawn.arrows.values())
    for number, check in enumerate(stages):
        box, ended = drawn.boxes[check.stage], outcome_of(check.verdict)
        note = check.verdict if check.seconds is None else f"{check.verdict}, {duration_text(check.seconds)}"
        yield (
            f'<a href="#stage-{number}"><g class="{ended}" transform="translate({box.x},{box.y})">'
            f"<title>{_text(check.stage)}: {_text(note)}</title>"
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
            f'<text x="10" y="19">{_text(_clipped(legal(check.stage)))}</text>'
            f'<text class="note" x="10" y="37">{_SIGNS[ended]} {_text(note)}</text></g></a>'
        )
    yield "</svg></div>"
    outcomes = {outcome_of(check.verdict) for check in stages}
    legend = (
        f'<span class="{ended}">{sign} {_MEANINGS[ended]}</span>' for ended, sign in _SIGNS.items() if ended in outcomes
    )
    yield f'<p class="legend">{"".join(legend)}</p>'


def _clipped(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


# --- tables


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, ids: Sequence[str] = ()) -> Iterator[str]:
    named_columns = "".join(f"<th>{head}</th>" for head in heads)
    yield f'<div class="wide"><table><thead><tr>{named_columns}</tr></thead><tbody>'
    left_out = 0
    for number, cells in enumerate(rows):
        if number >= _MOST_ROWS:
            left_out += 1
            continue
        named = f' id="{ids[number]}"' if ids else ""
        yield f"<tr{named}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table></div>"
    if left_out:
        yield f"<p>{count(left_out)} more are not shown; dvlite verify --json has all.</p>"


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>" if text else ""


def _word(verdict: str) -> str:
    ended = outcome_of(verdict)
    return f'<span class="word {ended}">{_SIGNS[ended]} {_text(verdict)}</span>'


def _findings(result: VerifyResult) -> Iterator[str]:
    if result.findings:
        yield "<h2>Findings</h2>"
        yield from _table(
            ("where", "finding", "what", "fix"),
            (
                (
                    _code(place_text(finding, Show())),
                    f'<span class="word failed">{_text(finding.kind)}</span>',
                    _text(f"{finding.message}{f' (and in {finding.also:,} commits after it)' if finding.also else ''}"),
                    _code(finding.fix or ""),
                )
                for finding in result.findings
            ),
        )


def _not_run(result: VerifyResult) -> Iterator[str]:
    checked = [(number, check) for number, check in enumerate(result.stages) if check.verdict in _PLAIN]
    if checked:
        yield "<h2>Stages, without running them</h2>"
        rows = ((_code(check.stage), _word(check.verdict), _code(f"{check.file}:{check.line}")) for _, check in checked)
        yield from _table(("stage", "verdict", "declared at"), rows, ids=[f"stage-{number}" for number, _ in checked])


def _unchecked(result: VerifyResult) -> Iterator[str]:
    if result.unchecked:
        yield "<h2>Not checked</h2>"
        yield from _table(
            ("what", "why"), ((_text(unchecked.what), _text(unchecked.why)) for unchecked in result.unchecked)
        )


def _checks(result: VerifyResult) -> Iterator[str]:
    if result.checks:
        yield "<h2>Checks of data</h2>"
        rows = (
            (
                f"<code>{_text(check.check)}</code>",
                f'<span class="word {check_outcome(check)}">{_text(check.state)}</span>',
                f"<code>{_text(check.path)}</code> {'' if check.oid is None else short_oid(check.oid)}",
                "<br>".join(map(_text, check.problems)),
            )
            for check in result.checks
        )
        yield from _table(("check", "state", "data", "why"), rows)


# --- stages that were run again


def _stage(number: int, check: StageCheck) -> Iterator[str]:
    took = "" if check.seconds is None else f" <small>{duration_text(check.seconds)}</small>"
    yield f'<section id="stage-{number}"><h2>{_text(check.stage)} {_word(check.verdict)}{took}</h2>'
    yield from (f"<p>{_text(sentence)}</p>" for sentence in stage_sentences(check))
    if check.outputs:
        heads = ("output", "verdict", "", "in the lockfile", "in this run")
        yield from _table(heads, map(_output, check.outputs))
    for output in check.outputs:
        if len(output.detail) > 1:
            lines = "\n".join(output.detail)
            yield f"<p>{_code(output.path)}</p><pre>{html.escape(legal(lines, lines=True))}</pre>"
    if check.log_tail:
        lines = "\n".join(check.log_tail)
        yield f"<p>The end of its log</p><pre>{html.escape(legal(lines, lines=True))}</pre>"
    yield "</section>"


def _output(output: OutputVerdict) -> tuple[str, ...]:
    return (
        _code(output.path),
        _word(output.verdict),
        _text(output.detail[0] if output.detail else output_sentence(output)),
        _version(output.old_oid, output.old_size_bytes),
        _version(output.new_oid, output.size_bytes),
    )


def _version(oid: str | None, size_bytes: int | None) -> str:
    parts = [_code(short_oid(oid))] if oid else []
    text = " ".join([*parts, *([] if size_bytes is None else [size_text(size_bytes)])])
    return f'<span class="whole">{text}</span>' if text else ""
