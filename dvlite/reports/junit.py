"""JUnit XML, as Jenkins, GitLab, GitHub and others read it: a suite for each pipeline file, a case for each stage and output. Pure.

A stage that could not be checked is an error, because a skipped case counts as a pass. Skipped are stages that were not run because an
earlier one does not reproduce, which fails already, and frozen stages. Findings without a stage are cases of their own suite.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET  # only written with here, never read

from dvlite.checks.verdicts import CheckVerdict
from dvlite.commands.check import CheckResult
from dvlite.commands.verify import VerifyResult
from dvlite.reports.summary import is_pass, outcome_of, output_sentence, stage_sentences
from dvlite.show import Show, count
from dvlite.text.markdown import legal
from dvlite.text.verify import place_text
from dvlite.verify.findings import Finding, OutputVerdict, StageCheck

DATA = "tracked data"
_ELSEWHERE = {  # the text of a stage whose findings are in other cases
    "finding": "its lockfile, pipeline file or a file of parameters cannot be used: see the findings",
    "unchecked": "something that it needs could not be checked: see the errors",
}
_ENDED: dict[str, str | None] = {"passed": None, "failed": "failure", "unsure": "error", "frozen": "skipped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case. `ended` is None if it passed; else `text` is the whole report, `message` its first line."""

    suite: str
    name: str
    file: str = ""
    line: int = 1
    seconds: float = 0.0
    ended: str | None = None  # failure, error, skipped
    kind: str = ""
    message: str = ""
    text: str = ""
    log: Sequence[str] = ()


def junit(result: VerifyResult | CheckResult) -> bytes:
    """Returns the document of a verification, or of checks: a case for each."""
    if isinstance(result, CheckResult):
        return _document("dvlite check", map(_of_check, result.checks), {}, result.elapsed_seconds)
    facts = {"revision": result.revision or "work tree", "commit": result.commit, "remote": result.remote}
    return _document("dvlite verify", _cases(result), facts, result.elapsed_seconds)


def _document(title: str, items: Iterable[Case], facts: Mapping[str, str | None], elapsed_seconds: float) -> bytes:
    cases = list(items)
    took = {"time": f"{elapsed_seconds:.3f}"}
    root = ET.Element("testsuites", {"name": title, **_totals(cases), **took})
    for name, group in itertools.groupby(sorted(cases, key=lambda case: case.suite), key=lambda case: case.suite):
        own = list(group)
        seconds = sum(case.seconds for case in own)
        suite = ET.SubElement(root, "testsuite", {"name": legal(name), **_totals(own), "time": f"{seconds:.3f}"})
        properties = ET.SubElement(suite, "properties")
        for key, value in facts.items():
            if value is not None:
                ET.SubElement(properties, "property", name=key, value=legal(value))
        for case in own:
            _write(suite, case)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _totals(cases: Sequence[Case]) -> dict[str, str]:
    ended = [case.ended for case in cases]
    named = (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    return {"tests": str(len(cases))} | {key: str(ended.count(word)) for key, word in named}


def _write(suite: ET.Element, case: Case) -> None:
    place = {"file": legal(case.file), "line": str(case.line)} if case.file else {}
    names = {"classname": legal(case.suite), "name": legal(case.name)}
    element = ET.SubElement(suite, "testcase", {**names, **place, "time": f"{case.seconds:.3f}"})
    if case.ended is not None:
        kind = {} if case.ended == "skipped" else {"type": case.kind}
        ET.SubElement(element, case.ended, {"message": legal(case.message), **kind}).text = legal(case.text, lines=True)
    if case.log:
        ET.SubElement(element, "system-out").text = legal("\n".join(case.log), lines=True)


def _cases(result: VerifyResult) -> Iterator[Case]:
    stages = {check.stage for check in result.stages}
    findings: dict[str | None, list[Finding]] = defaultdict(list)
    doubts: dict[str | None, list[str]] = defaultdict(list)
    for finding in result.findings:
        findings[finding.stage].append(finding)
    for unchecked in result.unchecked:
        doubts[unchecked.stage].append(f"{unchecked.what}: {unchecked.why}")
    for check in result.stages:
        yield _of_stage(check, findings[check.stage], doubts[check.stage])
        for output in check.outputs:
            yield _of_output(check, output)
    yield from map(_of_check, result.checks)
    checks = {check.check for check in result.checks}
    others = [finding for finding in result.findings if finding.stage not in stages | checks]
    for finding in others:
        yield _of_finding(finding)
    for unchecked in result.unchecked:
        if unchecked.stage not in stages | checks:
            text = f"{unchecked.what}: {unchecked.why}"
            yield _data(unchecked.what, unchecked.file or "", unchecked.line, "error", "unchecked", text, text)
    if not others:
        yield Case(suite=DATA, name=count(result.tracked, "tracked path"))


def _data(name: str, file: str, line: int, ended: str, kind: str, message: str, text: str) -> Case:
    return Case(suite=DATA, name=name, file=file, line=line, ended=ended, kind=kind, message=message, text=text)


def _of_finding(finding: Finding) -> Case:
    name = f"{finding.kind}: {finding.path or finding.file}"
    name = name if finding.commit is None else f"{finding.commit[:7]}: {name}"
    return _data(name, finding.file, finding.line, "failure", finding.kind, finding.message, _finding_text(finding))


def _finding_text(finding: Finding) -> str:
    fix = "" if finding.fix is None else f"\nfix: {finding.fix}"
    return f"{place_text(finding, Show())}: {finding.message}{fix}"


def _of_stage(check: StageCheck, findings: Sequence[Finding], doubts: Sequence[str]) -> Case:
    lines = [*map(_finding_text, findings), *stage_sentences(check), *doubts]
    lines += [f"{output.path}: {output_sentence(output)}" for output in check.outputs if not is_pass(output.verdict)]
    ended = _ENDED[outcome_of(check.verdict)]
    if check.verdict == "not checked":
        ended = "skipped"
    ended = "failure" if findings else "error" if doubts and ended is None else ended
    if ended is not None and not lines:
        lines = [_ELSEWHERE.get(check.verdict, check.verdict)]
    return Case(
        suite=check.file or "dvlite.yaml",
        name=check.stage,
        file=check.file,
        line=check.line,
        seconds=check.seconds or 0.0,
        ended=ended,
        kind=findings[0].kind if findings else check.verdict,
        message=findings[0].message if findings else lines[0] if lines else "",
        text="\n".join(lines),
        log=check.log_tail,
    )


def _of_check(check: CheckVerdict) -> Case:
    """Returns the case of a check; one that only warns is no failure."""
    wrong = "failure" if check.state in ("failed", "expired") else "error"
    sentence = check.sentence
    return Case(
        suite=check.file,
        name=f"check {check.check}: {check.path}",
        file=check.file,
        line=check.line,
        ended=None if check.passed else wrong if "block" in check.on.values() else "skipped",
        kind=check.state,
        message="" if check.passed else sentence,
        text="\n".join([sentence, *check.problems[1:]]),
    )


def _of_output(check: StageCheck, output: OutputVerdict) -> Case:
    return Case(
        suite=check.file or "dvlite.yaml",
        name=f"{check.stage}: {output.path}",
        file=check.file,
        line=check.line,
        ended=_ENDED[outcome_of(output.verdict)],
        kind=output.verdict,
        message=output.detail[0] if output.detail else output_sentence(output),
        text="\n".join([f"{output.path} {output_sentence(output)}", *output.detail]),
    )
