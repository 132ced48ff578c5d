"""Comparators: which other bytes are as good as those that were recorded, and which are not."""

import json

import pytest

from dvlite.compare.files import comparator_for, script_of
from dvlite.compare.outcome import Comparison
from dvlite.formats.comparator import Comparator


# --- what is ignored
@pytest.mark.parametrize(
    ("kind", "old", "new", "ignore"),
    [
        ("json", '{"t": 1}', '{"t": 2}', "t"),
        ("json", '{"a": {"t": 1}, "t": 1}', '{"a": {"t": 2}, "t": 1}', "*t"),
        ("csv", "t\n1\n", "t\n2\n", "t"),
    ],
)
def test_where_all_is_ignored_nothing_is_equivalent(compared, kind, old, new, ignore):
    found = compared(old, new, name="file", kind=kind, ignore=(ignore,))
    assert not found.equivalent
    assert found.lines[0].endswith("ignored: nothing is left to compare")


def test_where_all_lines_are_ignored_there_must_be_as_many(compared):
    ignored = {"name": "log", "kind": "text", "ignore": ("^took .*",)}
    assert compared("took 1 s\n", "took 2 s\n", **ignored).equivalent
    assert compared("", "took 2 s\n", **ignored).lines == ("0 -> 1 line, all of them ignored",)
    assert compared("took 1 s\ntook 1 s", "took 2 s\n", **ignored).lines == ("2 -> 1 line, all of them ignored",)


def test_what_is_empty_but_not_ignored_is_compared(compared):
    assert compared('{"t": 1, "a": []}', '{"t": 2, "a": []}', name="m.json", kind="json", ignore=("t",)).equivalent
    assert not compared('{"t": 1, "a": []}', '{"t": 2, "a": {}}', name="m.json", kind="json", ignore=("t",)).equivalent


# --- command
def test_a_command_decides_with_both_versions(compared):
    seen = []

    def run(script, old, new):
        seen.append((script, old.read_text(), new.read_text()))
        return Comparison(equivalent=True)

    assert compared("1", "2", name="m.bin", kind="command", run="python compare.py", command=run).equivalent
    assert seen == [('python compare.py "$1" "$2"', "1", "2")]


def test_a_command_that_says_nothing_is_spoken_for(compared):
    def run(script, old, new):
        return Comparison(equivalent=False)

    found = compared("1", "2", name="m.bin", kind="command", run="cmp -s", command=run)
    assert found.lines[0] == "the compare command reported a difference and printed nothing"
    assert "the first byte that differs is at offset 0" in found.lines[1]


@pytest.mark.parametrize(
    ("run", "script"),
    [
        ("python compare.py\n", 'python compare.py "$1" "$2"'),
        ("cd tools\npython compare.py;\n", 'cd tools\npython compare.py "$1" "$2"'),
        ("awk '{s+=$1} END {exit s}'", 'awk \'{s+=$1} END {exit s}\' "$1" "$2"'),
        ("""sh -c 'cmp "$1" "$2"' sh""", """sh -c 'cmp "$1" "$2"' sh "$1" "$2\""""),
        ("# of $1\ncmp -l \"it's\" '$1'", '# of $1\ncmp -l "it\'s" \'$1\' "$1" "$2"'),
        ("cmp \\$1", 'cmp \\$1 "$1" "$2"'),
    ],
)
def test_the_two_versions_are_added_to_a_script_that_does_not_take_them(run, script):
    assert script_of(Comparator("command", run=run)) == script


@pytest.mark.parametrize("run", ['cmp "$1" "$2"', 'cmp "$@"', "cmp ${1} ${2}", 'cmp "it\'s/$1" x', "cmp 'a b' $1 $2\n"])
def test_a_script_that_names_its_arguments_is_left_as_it_is(run):
    assert script_of(Comparator("command", run=run)) == run


# --- which comparator
def test_the_first_pattern_that_fits_chooses_the_comparator():
    declared = {"sub/*.json": Comparator("json", rtol=1), "*.json": Comparator("json"), "**": Comparator("text")}
    assert comparator_for(declared, "sub/a.json", "a.json").rtol == 1
    assert comparator_for(declared, "other/deep/a.json", "a.json").kind == "json"
    assert comparator_for(declared, "a.json", "a.json").kind == "json"
    assert comparator_for(declared, "a.log", "a.log").kind == "text"
    assert comparator_for({"*.npy": Comparator("npy")}, "a.log", "a.log") is None
    assert comparator_for({"*.npy": Comparator("npy")}, "", "x.npy").kind == "npy"


def test_the_lines_are_few_and_safe_whatever_the_file_holds(compared):
    old = json.dumps({f"k{i}\x1b[2J": i for i in range(1000)})
    new = json.dumps({f"k{i}\x1b[2J": i + 1 for i in range(1000)})
    found = compared(old, new, name="m.json", kind="json")
    assert len(found.lines) == 10
    assert found.lines[-1] == "991 more values differ"
    assert found.lines[0] == "k0\\x1b[2J 0 -> 1"
    assert all(line.isprintable() for line in found.lines)
