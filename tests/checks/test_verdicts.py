"""How a check stands by its result."""

from dvlite.checks.verdicts import CheckReading, judged, reads_any
from dvlite.formats.pipeline import parse
from dvlite.formats.record import RuleOutcome
from dvlite.pipeline.stages import bind
from dvlite.runs.schema import CheckRow


def declared(text):
    (check,) = bind("sub/dvlite.yaml", parse(f"checks: {{c: {text}}}\n".encode(), "dvlite.yaml").checks)
    return check


def stands(row, *rules):
    return judged(CheckReading(declared("{path: a.csv, cmd: x}"), "0" * 64), row, rules, "2026-11-30T12:00:00.000Z")


def test_a_pass_counts_until_it_expires():
    for expires, state in (
        ("", "passed"),
        ("2026-11-30T12:00:00.001Z", "passed"),
        ("2026-11-30T12:00:00.000Z", "expired"),
    ):
        verdict = stands(CheckRow("run:1", "c", True, expires, "", ""))
        assert (verdict.state, verdict.hint is None) == (state, state == "passed")
    assert verdict.sentence == (
        "'sub/a.csv' no longer passes the check sub:c: its newest row was new until 2026-11-30 12:00 UTC"
    )


def test_a_record_of_anyone_is_safe_to_print():
    wrong = [RuleOutcome(rule=f"\x1b[31m{number}", passed=False, detail="a\nb\u202e") for number in range(30)]
    verdict = stands(CheckRow("run:1", "c", False, "", "", ""), *wrong)
    assert len(verdict.problems) == 20
    assert all(problem.isprintable() for problem in (*verdict.problems, verdict.sentence))


def test_a_check_reads_its_path_other_tables_and_what_its_script_needs():
    check = declared("{path: 'd/*.csv', cmd: x, deps: [../lib], references: {a: {path: b.csv, column: c}}}")
    for path in ("sub/d", "sub/d/1.csv", "sub/b.csv", "lib", "lib/x.py", "sub"):
        assert reads_any(check, [path]), path
    for path in ("sub/d/e/1.csv", "d", "b.csv", "sub/dd"):
        assert not reads_any(check, ["z", path]), path
