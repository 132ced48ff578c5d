"""Long text on a terminal: through the user's pager by git's rules, and as it is wherever there is none."""

import os
import pty
import select
import subprocess
import sys

import pytest

from dvlite.cli import main, pager

MARK = "sed s/^/:/"
LONG = [f"{number}\n" for number in range(10)]


@pytest.fixture
def paged(tmp_path, monkeypatch):
    """Returns what lines become on a terminal of 5 rows of 20 letters."""
    monkeypatch.setenv("LINES", "5")
    monkeypatch.setenv("COLUMNS", "20")

    def show(lines, pager_of_user, variable="GIT_PAGER"):
        with open(tmp_path / "terminal", "w+", encoding="utf-8") as stream:
            pager.write(lines, stream, {**os.environ, variable: pager_of_user})
            stream.seek(0)
            return stream.read()

    return show


def test_only_text_that_is_longer_than_the_terminal_is_paged(paged):
    assert paged(LONG, MARK) == "".join(f":{line}" for line in LONG)
    assert paged(LONG[:4], MARK) == "".join(LONG[:4])
    assert paged(["x" * 81 + "\n"], MARK).startswith(":"), "lines that wrap count as they are shown"
    colored = "\x1b[31m" + "x" * 75 + "\x1b[0m\n"
    assert paged([colored], MARK) == colored


@pytest.mark.parametrize("command", ["cat", "", "no-such-pager -S", "less '"])
def test_without_a_pager_the_text_is_written_as_it_is(paged, command):
    assert paged(LONG, command) == "".join(LONG)


def test_a_pager_that_is_left_early_stops_nothing_but_the_text(paged):
    assert paged((f"{number}\n" for number in range(100_000)), "head -n 1") == "0\n"


def test_ctrl_c_is_for_the_pager(paged):
    assert paged(LONG, f"kill -INT $PPID; {MARK}") == "".join(f":{line}" for line in LONG)


def test_the_pager_that_a_repository_names_is_not_run(git_repo, paged, monkeypatch):
    monkeypatch.chdir(git_repo)
    subprocess.run(["git", "config", "core.pager", "touch ran; cat"], check=True)
    assert paged(LONG, MARK, "PAGER").startswith(":")
    assert not (git_repo / "ran").exists()


def in_terminal(monkeypatch, *words):
    """Returns what a command shows on a terminal."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main.main(words) == 0
    shown = b""
    while select.select([controller], [], [], 0.05)[0]:
        try:
            shown += os.read(controller, 65536)
        except OSError:  # the terminal is closed
            break
    os.close(controller)
    return shown.decode()


def test_lists_are_paged_on_a_terminal_unless_the_user_does_not_want_it(git_repo, invoke, monkeypatch):
    monkeypatch.chdir(git_repo)
    for name, value in {"LINES": "5", "COLUMNS": "80", "TERM": "xterm", "GIT_PAGER": MARK}.items():
        monkeypatch.setenv(name, value)
    invoke("init", "--no-hooks", check=True)
    for number in range(6):
        (git_repo / f"{number}.csv").write_text("1")
    invoke("add", *(f"{number}.csv" for number in range(6)), check=True)
    assert in_terminal(monkeypatch, "ls").startswith(":0.csv")
    assert ":" not in in_terminal(monkeypatch, "--no-pager", "ls")
    assert ":" not in invoke("ls", check=True).stdout
    assert in_terminal(monkeypatch, "ls", "--json").startswith("{")
    assert not in_terminal(monkeypatch, "status").startswith(":"), "it is short by nature"
    invoke("config", "--user", "core.pager", "false", check=True)
    assert ":" not in in_terminal(monkeypatch, "ls")
