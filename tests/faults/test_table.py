"""The table of faults: a row for each command, and results that several runs add up."""

from tests.faults.table import GROUPS, Results, Row, table, verb


def row(kind, scenario, points=2, survived=2, lost=0):
    return Row(kind, scenario, scenario.split(" (")[0], points * 3, points, survived, lost, 0, 0, 0, 0, 0)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_command_has_the_counts_of_all_of_its_scenarios():
    lines = table([row("kill", "add (file)"), row("eio", "add (first)", 1_200, 1_199, 1), row("s3", "push")]).split(
        "\n"
    )
    head, add, push, total = cells(lines[0]), *map(cells, lines[2:])
    assert head[: len(GROUPS) + 4] == ["command", *GROUPS, "points", "survived", "lost"]
    assert add[: len(GROUPS) + 4] == ["add", "2 of 6", "1,200 of 3,600", "-", "-", "-", "1,202", "1,201", "1"]
    assert (push[0], push[len(GROUPS)], total[0], total[len(GROUPS) + 1]) == ("push", "2 of 6", "**all**", "1,204")


def test_a_command_is_its_words_and_what_it_is_about():
    assert verb(("gc", "--remote", "--grace", "0s")) == "gc --remote"
    assert verb(("cache", "prune", "--pushed")) == "cache prune"
    assert verb(("fsck", "--remote", "--deep", "--repair")) == "fsck --remote --repair"
    assert verb(("add", "-u")) == "add"


def test_results_of_an_earlier_run_are_not_tried_again(tmp_path):
    Results(tmp_path / "rows").add(row("kill", "push"))
    again = Results(tmp_path / "rows")
    assert again.rows == [row("kill", "push")]
    assert (again.lack("kill", "push"), again.lack("eio", "push")) == (False, True)
