"""Values in scripts: a shell gets back what was put in, wherever it stood."""

import itertools
import subprocess

from dvlite.formats.shell_text import quotes_at, shell_text

VALUES = [
    "plain",
    "",
    "two words",
    "it's",
    '"x"',
    "$HOME `id` $(id)",
    "a\\b\\",
    "#x",
    "*",
    "~",
    "é\nb",
    "-n",
    "!x",
    "\\$",
]
# Text before and after a value, and what of it the shell puts around the value.
PLACES = [
    ("", "", "@"),
    ("x", "y", "x@y"),
    ('"', '"', "@"),
    ("'", "'", "@"),
    ('"$(printf %s ', ')"', "@"),
    ('"$(printf %s "', '")"', "@"),
    ("\\'", "\\'", "'@'"),
    ("'a'", '"b"', "a@b"),
]


def test_a_shell_gets_each_value_back_wherever_it_stands():
    cases = list(itertools.product(PLACES, VALUES))
    lines = [
        f"show {before}{shell_text(value, quotes_at(before, len(before)))}{after}"
        for (before, after, _), value in cases
    ]
    script = 'show() { printf \'%s\\0\' "$#" "$@"; }\n' + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    said = done.stdout.decode().split("\0")[:-1]
    assert said == [word for (_, _, around), value in cases for word in ("1", around.replace("@", value))]


def test_lists_are_words_and_mappings_are_options():
    assert shell_text([1, "a b", True], "") == "1 'a b' true"
    assert shell_text({"a": 1, "b": True, "c": False, "d": {"e": "x y"}, "f": [1, "g h"]}, "(") == (
        "--a 1 --b --d.e 'x y' --f 1 'g h'"
    )
    for value in (None, [[1]], [None], {"a": None}, {"a": [{}]}):
        assert shell_text(value, "") is None
    assert shell_text([1], '"') is shell_text({"a": 1}, "'") is None


def test_open_quotes_are_known():
    for script, opened in {
        "a 'b": "'",
        'a "b': '"',
        'a "$(b': '"(',
        'a "$(b "c': '"("',
        "a # it's\nb": "",
        "a#'b": "'",
        "a \\' b": "",
        "a 'b\\'": "",
        'a "b\\"': '"',
        "(a; b": "(",
        "(a) b)": "",
    }.items():
        assert quotes_at(script, len(script)) == opened, script
