"""A server while it is measured: what it takes, and that nothing of it is left, however it ends. Real processes."""

import os
import sys
import threading

import pytest

from dvlite.errors import PartlyDone
from dvlite.pipeline.measured_server import running
from tests.polling import is_alive, pid_in, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and processes are read from /proc")
LARGE = "import sys, time; block = b'x' * (64 << 20); open('ready', 'w').close(); time.sleep(1000)"


def run(script, folder):
    return running(script, folder, dict(os.environ), folder / "log")


def test_memory_is_that_of_all_its_processes_since_it_was_asked_last(tmp_path):
    with run(f'{sys.executable} -c "{LARGE}" & echo $! > child; wait $! || true; sleep 1000', tmp_path) as server:
        child = pid_in(tmp_path / "child")
        until((tmp_path / "ready").exists)
        assert server.peak_bytes() > 64 << 20
        os.kill(child, 9)
        until(lambda: not is_alive(child))
        until(lambda: server.peak_bytes() < 64 << 20)


def test_what_a_server_that_ended_left_behind_is_ended(tmp_path):
    with run("sleep 1000 & echo $! > child; echo no model; exit 3", tmp_path) as server:
        with pytest.raises(PartlyDone, match=r"ended \(exit 3\): no model"):
            until(lambda: server.require_running(0.1))
        child = pid_in(tmp_path / "child")
        assert is_alive(child)
    until(lambda: not is_alive(child))


def test_an_interruption_while_it_starts_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(_thread):
        pid_in(tmp_path / "child")
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), run("echo $$ > child; exec sleep 1000", tmp_path):
        pytest.fail("it was interrupted before")
    until(lambda: not is_alive(pid_in(tmp_path / "child")))
