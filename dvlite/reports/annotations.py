"""Annotations of GitHub Actions: lines of output that it shows beside the file and line that they name. Pure.

Escaped as GitHub's own toolkit does (actions/toolkit, packages/core/src/command.ts). It shows ten errors and ten warnings of a step and
drops the rest silently: so the tenth counts the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dvlite.commands.verify import VerifyResult
from dvlite.reports.summary import is_pass, output_sentence, stage_sentences
from dvlite.show import count
from dvlite.text.markdown import legal
from dvlite.verify.findings import Finding, StageCheck, Unchecked

MOST = 10  # of a level in a step
_LONGEST = 2000  # letters of a message
_LONGEST_TITLE = 200  # GitHub refuses more than 255


@dataclass(frozen=True, slots=True)
class Notice:
    """One annotation, before it is escaped."""

    level: Literal["error", "warning"]
    title: str
    message: str
    file: str | None = None
    line: int = 1


def annotate(result: VerifyResult) -> Iterator[str]:
    """Yields the lines, at most ten of each level."""
    notices = list(_notices(result))
    for level in ("error", "warning"):
        yield from map(_command, _capped([notice for notice in notices if notice.level == level]))


def _capped(notices: Sequence[Notice]) -> Sequence[Notice]:
    if len(notices) <= MOST:
        return notices
    shown, rest = notices[: MOST - 1], notices[MOST - 1 :]
    files = len({notice.file for notice in rest})
    said = f"{count(len(rest))} more in {count(files, 'file')}; all are in the log and the job summary of this step"
    return (*shown, Notice(rest[0].level, f"{count(len(rest))} more", said))


def _notices(result: VerifyResult) -> Iterator[Notice]:
    yield from map(_of_finding, result.findings)
    for check in result.stages:
        if check.verdict in ("different", "failed", "inconclusive"):
            yield _of_stage(check)
    yield from map(_of_unchecked, result.unchecked)


def _of_finding(finding: Finding) -> Notice:
    where = "" if finding.commit is None else f"in {finding.commit[:7]}: "
    also = f" (and in {count(finding.also, 'commit')} after it)" if finding.also else ""
    fix = "" if finding.fix is None else f"\nfix: {finding.fix}"
    return Notice(
        "error", f"dvlite: {finding.kind}", f"{where}{finding.message}{also}{fix}", finding.file, finding.line
    )


def _of_stage(check: StageCheck) -> Notice:
    bad = [output for output in check.outputs if not is_pass(output.verdict)]
    differences = [f"{output.path}: {output.detail[0] if output.detail else output_sentence(output)}" for output in bad]
    message = "\n".join([*stage_sentences(check), *differences]) or check.verdict
    level: Literal["error", "warning"] = "warning" if check.verdict == "inconclusive" else "error"
    return Notice(level, f"dvlite: {check.stage} {check.verdict}", message, check.file or None, check.line)


def _of_unchecked(unchecked: Unchecked) -> Notice:
    return Notice(
        "warning", "dvlite: not checked", f"{unchecked.what}: {unchecked.why}", unchecked.file, unchecked.line
    )


def _command(notice: Notice) -> str:
    title = f"title={_property(notice.title[:_LONGEST_TITLE])}"
    place = f"file={_property(notice.file)},line={notice.line}," if notice.file else ""
    return f"::{notice.level} {place}{title}::{_message(notice.message[:_LONGEST])}"


def _message(text: str) -> str:
    return legal(text.replace("\r", "\n"), lines=True).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return legal(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
