"""Processes: run by bash that stops at the first failure, read while they run, stopped with all that they started."""

import os
import signal
import sys
import time

import pytest

from dvlite.pipeline import process
from dvlite.pipeline.executor import Command, Interrupted, interruptible, uninterruptible
from dvlite.pipeline.process import Processes, output_of
from tests.polling import is_alive, pid_in, until


class Shell:
    """Runs scripts and keeps what they print."""

    def __init__(self, folder):
        self.folder, self.lines = folder, []
        self.processes = Processes()

    def start(self, text, name="one", timeout=None, **environ):
        log = self.folder / f"{name}.log"
        show = lambda line: self.lines.append((name, line))  # noqa: E731
        self.processes.start(Command(name, text, self.folder, {**os.environ, **environ}, log, show, timeout))
        return log

    def run(self, text, **environ):
        self.start(text, **environ)
        (ended,) = self.processes.wait()
        return ended

    @property
    def said(self):
        return [line for _, line in self.lines]


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    yield made
    made.processes.stop()


def test_end_of_a_script_is_its_exit_code_or_its_signal(shell):
    assert shell.run("exit 3").exit_code == 3
    ended = shell.run("kill -KILL $$")
    assert (ended.exit_code, ended.signal) == (None, signal.SIGKILL)
    assert shell.processes.wait() == []


def test_first_failure_ends_a_script_in_pipes_too(shell):
    assert shell.run("false\necho on").exit_code == 1
    assert shell.run("false | cat\necho on").exit_code == 1
    assert shell.said == []


def test_both_outputs_are_told_line_by_line_and_logged_as_they_came(shell, tmp_path):
    shell.run("printf 'a\\nb\\r\\nc'; printf 'd\\xff' >&2")
    assert shell.said == ["a", "b", "cd\N{REPLACEMENT CHARACTER}"]
    assert (tmp_path / "one.log").read_bytes() == b"a\nb\r\ncd\xff"


def test_command_reads_nothing_and_has_its_folder_and_variables(shell, tmp_path):
    shell.run("cat; pwd; echo $WORD", WORD="hello")
    assert shell.said == [str(tmp_path), "hello"]


def test_scripts_run_at_the_same_time(shell):
    shell.start("until test -e b; do sleep 0.01; done", "a")  # would wait for ever
    shell.start("touch b", "b")
    ended = []
    while some := shell.processes.wait():
        ended += [command.name for command in some]
    assert sorted(ended) == ["a", "b"]


def test_what_a_script_leaves_running_is_not_waited_for(shell, tmp_path):
    assert shell.run("sleep 10000 & echo $! > pid; echo done").exit_code == 0
    assert shell.said == ["done"]
    os.kill(pid_in(tmp_path / "pid"), signal.SIGKILL)  # raises if it is no more


def test_resources_are_measured(shell):
    ended = shell.run(f"{sys.executable} -c 'x = b\"x\" * 80_000_000; sum(range(3_000_000))'")
    assert ended.max_rss_bytes > 80_000_000
    assert 0 < ended.cpu_seconds <= ended.seconds * 4


def test_log_has_a_limit(shell, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LOG_LIMIT_BYTES", 10)
    shell.run("printf 12345; sleep 0.1; printf 6789012345; sleep 0.1; printf more")
    text = (tmp_path / "one.log").read_bytes()
    assert text.startswith(b"1234567890\n[dvlite: the log ends here")
    assert text.count(b"dvlite") == 1


def test_line_without_an_end_takes_no_memory(shell):
    shell.run("head -c 1000000 /dev/zero | tr '\\0' x")
    assert sum(map(len, shell.said)) == 1_000_000
    assert len(shell.said) > 5


@pytest.mark.parametrize("ignored", ["", "trap '' TERM; "])
def test_a_command_whose_time_is_over_ends_with_all_that_it_started(shell, tmp_path, monkeypatch, ignored):
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.1)
    shell.start(f"{ignored}sleep 20000 & echo $! > pid; wait", timeout=0.3)
    shell.start("sleep 0.5", "other", timeout=10_000)
    (ended,) = shell.processes.wait()
    assert (ended.name, ended.timeout_seconds) == ("one", 0.3)
    assert ended.problem == "timed out: it may run for 0.3 s"
    child = pid_in(tmp_path / "pid")
    until(lambda: not is_alive(child))
    assert [other.problem for other in shell.processes.wait()] == [None]


def test_stop_ends_grandchildren_too_and_at_once(shell, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_GRACE_SECONDS", 10_000)  # not waited for
    shell.start("sleep 20000 & echo $! > pid; wait")
    child = pid_in(tmp_path / "pid")
    (ended,) = shell.processes.stop()
    assert ended.signal == signal.SIGINT or ended.exit_code
    until(lambda: not is_alive(child))
    assert shell.processes.stop() == []


def test_stop_is_patient_with_a_script_that_cleans_up(shell, tmp_path):
    shell.start("trap 'echo cleaned > done; exit 5' INT; touch ready; while true; do sleep 0.01; done")
    until((tmp_path / "ready").exists)
    (ended,) = shell.processes.stop()
    assert ended.exit_code == 5
    assert (tmp_path / "done").exists()


def test_stop_ends_what_does_not_listen(shell, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.2)
    shell.start("trap '' INT TERM; touch ready; while true; do sleep 0.01; done")
    until((tmp_path / "ready").exists)
    (ended,) = shell.processes.stop()
    assert ended.signal == signal.SIGKILL


def test_folder_that_is_not_there_is_an_error_and_leaves_nothing(tmp_path):
    shell = Shell(tmp_path)
    with pytest.raises(OSError, match="nowhere"):
        shell.processes.start(Command("one", "true", tmp_path / "nowhere", os.environ, tmp_path / "log", print))
    assert shell.processes.wait() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_program_become_an_exception(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted), interruptible():
        os.kill(os.getpid(), number)
        time.sleep(1)
    assert signal.getsignal(number) == before


def test_while_things_are_put_in_order_no_signal_comes_through():
    before = signal.getsignal(signal.SIGINT)
    with uninterruptible():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
    assert signal.getsignal(signal.SIGINT) == before


def test_output_of_a_program_is_its_text_or_nothing_if_it_fails(tmp_path):
    assert output_of(["sh", "-c", "echo a; echo b >&2"], tmp_path, os.environ) == "a\nb"
    assert output_of(["sh", "-c", "echo a; exit 1"], tmp_path, os.environ) is None
    assert output_of(["no-such-program"], tmp_path, os.environ) is None
