"""Names, numbers and times in a sentence."""

import os
import subprocess

import pytest

from dvlite.show import Show, apart, count, duration_text, is_or_are, word
from dvlite.text.style import delta_text
from tests.text.samples import MIB


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.94, "0.9 s"), (9.96, "10 s"), (59.6, "1m00s"), (421, "7m01s"), (7500, "2h05m")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_numbers():
    assert (count(1, "file"), count(1204, "file"), count(5)) == ("1 file", "1,204 files", "5")
    assert (delta_text(-3), delta_text(0), delta_text(MIB)) == ("-3 B", "+0 B", "+1.0 MiB")


def test_a_list_of_names_is_cut_unless_all_are_asked_for():
    assert Show().paths(list("abcde")) == "a, b, c and 2 more"
    assert Show(verbose=1).paths(list("abcde")) == "a, b, c, d, e"


def test_different_values_look_different():
    assert apart((0.12345671, 0.12345672, 1, 1.0)) == ["0.12345671", "0.12345672", "1", "1.0"]
    assert apart(("1", 1, True, "true", 2.0, 2.0)) == ['"1"', "1", "true", '"true"', "2", "2"]


@pytest.mark.parametrize(("names", "verb"), [(["a"], "is"), (["a", "b"], "are"), ([], "are")])
def test_the_verb_fits_the_names(names, verb):
    assert is_or_are(names) == verb


def test_a_command_has_every_name_as_a_shell_takes_it():
    for name in ("plain", "my file", "it's", "-x", "a\n\t\x1b]0;x\x07'\\", "caf\udce9", "\x85\u200b"):
        written = subprocess.run(
            ["bash", "-c", f"printf %s {word(name)}"], capture_output=True, env={"LC_ALL": "C.UTF-8"}
        )
        assert os.fsdecode(written.stdout).removeprefix("./") == name
        assert word(name).isprintable()


def test_what_is_left_to_stage_is_a_command():
    show = Show(folder="sub")
    assert list(show.staged(["sub/my file"], ["sub/my file", "it's"])) == [
        "staged in git: my file",
        "not staged: git add 'my file' '../it'\"'\"'s'",
    ]
    assert list(show.next_commit([], ["sub/my file"])) == ["next: git add 'my file' && git commit"]
