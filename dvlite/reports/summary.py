"""The parts of every report of a verification: the outcome, the headline, the sentences of a stage. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from dvlite.checks.verdicts import CheckVerdict
from dvlite.commands.verify import VerifyResult
from dvlite.show import count, duration_text, one_line, size_text, some
from dvlite.text.verify import stages_text, why_lines
from dvlite.verify.findings import OutputVerdict, StageCheck

Outcome = Literal["passed", "failed", "unsure", "frozen"]
OUTCOMES: dict[str, Outcome] = {  # of stages and outputs; all others are unsure
    "ok": "passed",
    "identical": "passed",
    "equivalent": "passed",
    "frozen": "frozen",
    "finding": "failed",
    "different": "failed",
    "failed": "failed",
    "missing": "failed",
    "extra": "failed",
}
FROZEN = "frozen: not compared with its command, dependencies and parameters"


def outcome_of(verdict: str) -> Outcome:
    """Returns how a verdict counts: an output that could not be compared never passes, a frozen stage is a kind of its own."""
    return OUTCOMES.get(verdict, "unsure")


def is_pass(verdict: str) -> bool:
    """Returns whether a verdict needs no action."""
    return outcome_of(verdict) in ("passed", "frozen")


def check_outcome(check: CheckVerdict) -> Outcome:
    """Returns how a check of data counts."""
    return "passed" if check.passed else "failed" if check.state in ("failed", "expired") else "unsure"


def outcome(result: VerifyResult) -> Outcome:
    """Returns how a verification ended."""
    if result.findings or any(outcome_of(check.verdict) == "failed" for check in result.stages):
        return "failed"
    return "passed" if result.passed else "unsure"


def headline(result: VerifyResult) -> str:
    """Returns the outcome: `2 findings, train does not reproduce`."""
    said = [count(len(result.findings), "finding")] if result.findings else []
    for verdict, one, more in (("different", "does not reproduce", "do not reproduce"), ("failed", "failed", "failed")):
        names = [one_line(check.stage) for check in result.stages if check.verdict == verdict]
        if names:
            said.append(f"{some(names)} {one if len(names) == 1 else more}")
    open_ = len(result.unchecked) + sum(check.verdict in ("inconclusive", "not checked") for check in result.stages)
    if open_:
        said.append(f"{count(open_)} could not be checked")
    if said:
        return ", ".join(said)
    if not result.rerun:
        return "nothing found"
    all_ran = all(check.seconds is not None for check in result.stages)
    return f"every stage{'' if all_ran else ' that was run'} produced the same outputs"


def scope_text(result: VerifyResult) -> str:
    """Returns what was verified, at which revision, and how long it took."""
    parts = [f"{stages_text(result)} and {count(result.tracked, 'tracked path')}"]
    parts.append(f"of {one_line(revision_text(result))}")
    if result.commits != 1:
        parts.append(f"({count(result.commits, 'commit')})")
    if result.remote is not None:
        parts.append(f"and {'every byte' if result.deep else 'the data'} on {one_line(result.remote)}")
    if result.fetched:
        parts.append(f"({size_text(result.fetched_bytes)} fetched)")
    return f"{' '.join(parts)}, {duration_text(result.elapsed_seconds)}"


def revision_text(result: VerifyResult) -> str:
    """Returns the revision that was verified, with its commit where it is a name for one: `HEAD (1a2b3c4d)`."""
    if result.revision is None:
        return "the work tree"
    is_id = result.commit is None or result.commit.startswith(result.revision)
    return result.revision if is_id else f"{result.revision} ({(result.commit or '')[:8]})"


def stage_sentences(check: StageCheck) -> Iterator[str]:
    """Yields why a stage has its verdict, in addition to its outputs."""
    if check.verdict == "frozen":
        yield FROZEN
    if check.problem is not None:
        yield one_line(check.problem)
    yield from why_lines(check)


def output_sentence(output: OutputVerdict) -> str:
    """Returns how an output compares, in a few words; `detail` has the lines."""
    sentences = {
        "missing": "was not produced",
        "extra": "is not in the lockfile",
        "equivalent": f"other bytes, but equivalent by {output.comparator}",
        "identical": "the same bytes",
        "different": "differs",
    }
    return sentences.get(output.verdict, "could not be compared")
