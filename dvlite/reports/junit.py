"""JUnit XML, as Jenkins, GitLab, GitHub and others read it: a suite for each pipeline file, a case for each stage and output. Pure.

What is not as it must be is a failure; what could not be checked is an error, for a skipped case counts as a pass; a stage that was not
run because one before it does not reproduce is skipped, for that one fails already; so is a frozen one, which was not to be compared.
Findings of no stage are cases of a suite of their own.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET  # only written with here, never read

from dvlite.commands.verify import VerifyResult
from dvlite.reports.summary import is_pass, outcome_of, output_sentence, stage_sentences
from dvlite.show import Show, count
from dvlite.text.markdown import legal
from dvlite.text.verify import place_text
from dvlite.verify.findings import Finding, OutputVerdict, StageCheck

DATA = "tracked data"
_UNTOLD = {  # of a stage whose own case has no words: those are with something else
    "finding": "its lockfile, pipeline file or a file of parameters cannot be used: see the findings",
    "unchecked": "something that it needs could not be checked: see the errors",
}
_ENDED: dict[str, str | None] = {"passed": None, "failed": "failure", "unsure": "error", "frozen": "skipped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case. `ended` is None where it passed; else `text` tells all, `message` the first of it."""

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


def junit(result: VerifyResult) -> bytes:
    """Returns the document."""
    cases = list(_cases(result))
    took = {"time": f"{result.elapsed_seconds:.3f}"}
    root = ET.Element("testsuites", {"name": "dvlite verify", **_totals(cases), **took})
    for name, group in itertools.groupby(sorted(cases, key=lambda case: case.suite), key=lambda case: case.suite):
        own = list(group)
        seconds = sum(case.seconds for case in own)
        suite = ET.SubElement(root, "testsuite", {"name": legal(name), **_totals(own), "time": f"{seconds:.3f}"})
        properties = ET.SubElement(suite, "properties")
        for key, value in (
            ("revision", result.revision or "work tree"),
            ("commit", result.commit),
            ("remote", result.remote),
        ):
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
    found: dict[str | None, list[Finding]] = defaultdict(list)
    doubts: dict[str | None, list[str]] = defaultdict(list)
    for each in result.findings:
        found[each.stage].append(each)
    for one in result.unchecked:
        doubts[one.stage].append(f"{one.what}: {one.why}")
    for check in result.stages:
        yield _of_stage(check, found[check.stage], doubts[check.stage])
        for output in check.outputs:
            yield _of_output(check, output)
    others = [each for each in result.findings if each.stage not in stages]
    for each in others:
        yield _of_finding(each)
    for open_ in result.unchecked:
        if open_.stage not in stages:
            text = f"{open_.what}: {open_.why}"
            yield _data(open_.what, open_.file or "", open_.line, "error", "unchecked", text, text)
    if not others:
        yield Case(suite=DATA, name=count(result.tracked, "tracked path"))


def _data(name: str, file: str, line: int, ended: str, kind: str, message: str, text: str) -> Case:
    return Case(suite=DATA, name=name, file=file, line=line, ended=ended, kind=kind, message=message, text=text)


def _of_finding(each: Finding) -> Case:
    name = f"{each.kind}: {each.path or each.file}"
    name = name if each.commit is None else f"{each.commit[:7]}: {name}"
    return _data(name, each.file, each.line, "failure", each.kind, each.message, _told(each))


def _told(each: Finding) -> str:
    fix = "" if each.fix is None else f"\nfix: {each.fix}"
    return f"{place_text(each, Show())}: {each.message}{fix}"


def _of_stage(check: StageCheck, found: Sequence[Finding], doubts: Sequence[str]) -> Case:
    told = [*map(_told, found), *stage_sentences(check), *doubts]
    told += [f"{each.path}: {output_sentence(each)}" for each in check.outputs if not is_pass(each.verdict)]
    ended = _ENDED[outcome_of(check.verdict)]
    if check.verdict == "not checked":
        ended = "skipped"
    ended = "failure" if found else "error" if doubts and ended is None else ended
    if ended is not None and not told:
        told = [_UNTOLD.get(check.verdict, check.verdict)]
    return Case(
        suite=check.file or "dvlite.yaml",
        name=check.stage,
        file=check.file,
        line=check.line,
        seconds=check.seconds or 0.0,
        ended=ended,
        kind=found[0].kind if found else check.verdict,
        message=found[0].message if found else told[0] if told else "",
        text="\n".join(told),
        log=check.log_tail,
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
