"""What reaches the two streams: JSON, colours, warnings, and progress on and off a terminal."""

import ast
import fcntl
import importlib
import io
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import threading
from pathlib import Path

import pytest

import dvlite
from dvlite.cli.terminal import Terminal, TerminalOptions, TerminalProgress, to_json, wants_color
from dvlite.commands.clone import CloneResult
from dvlite.commands.dag import DagResult, DagStage
from dvlite.commands.ls import LsEntry, LsResult
from dvlite.commands.runs_watch import RunsWatchResult, WatchedStage
from dvlite.commands.status import StatusResult
from dvlite.errors import DvliteError
from dvlite.share.fetch_plan import FetchResult, PullResult
from dvlite.workspace.path_status import AbsentPath
from dvlite.workspace.restore import CheckedOutPath, CheckoutResult
from tests.counting import calls, grows_linearly
from tests.polling import until
from tests.result_types import results

HOSTILE = "a\x1b[31m\n'\u202e\udcff.txt"


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def output(stdout=None, stderr=None, environ=None, **settings):
    return Terminal(TerminalOptions(**settings), environ or {}, stdout or io.StringIO(), stderr or io.StringIO())


@pytest.mark.parametrize(("encoding", "drawn"), [("ascii", "`-- \\xe9"), ("latin-1", "`-- é"), ("UTF-8", "└── é")])
def test_trees_and_names_are_written_with_signs_that_the_stream_has(encoding, drawn):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    output(stream).result(DagResult(stages=(DagStage(stage="é"), DagStage(stage="b", after=("é",)))), "dag")
    assert stream.buffer.getvalue().decode(encoding).splitlines() == ["b", drawn]


def test_json_is_the_result_with_its_schema_first():
    document = json.loads(to_json(CloneResult(url="u", directory="d", pull=PullResult(fetch=FetchResult(remote="r")))))
    assert next(iter(document)) == "schema"
    assert document["schema"] == "dvlite.clone/1"
    assert document["pull"]["fetch"]["schema"] == "dvlite.fetch/1"
    assert document["pull"]["checkout"] is None


def test_every_result_has_a_schema_of_its_own_and_only_plain_fields():
    schemas = [result.schema for result in results()]
    assert len(set(schemas)) == len(schemas)
    assert all(re.fullmatch(r"dvlite\.[a-z-]+/1", schema) for schema in schemas)


def test_a_name_that_is_not_utf8_survives_json():
    text = to_json(LsResult(entries=(LsEntry(path=HOSTILE, kind="file"),)))
    text.encode("ascii")
    name = json.loads(text)["entries"][0]["path"]
    assert name == HOSTILE.replace("\udcff", "\x00ff")
    assert not re.search("[\ud800-\udfff]", name)
    assert re.sub("\0(..)", lambda match: chr(0xDC00 + int(match[1], 16)), name) == HOSTILE


def test_the_cost_of_writing_json_grows_with_the_entries():
    def listing(count):
        return LsResult(entries=tuple(LsEntry(path=f"data/{i}", kind="file") for i in range(count)))

    assert grows_linearly(to_json, listing(100), listing(1000), times=10)


@pytest.mark.parametrize(
    ("stream", "choice", "environ", "wanted"),
    [
        (FakeTerminal(), "auto", {"TERM": "xterm"}, True),
        (FakeTerminal(), "auto", {"TERM": "dumb"}, False),
        (FakeTerminal(), "auto", {"NO_COLOR": "1"}, False),
        (FakeTerminal(), "auto", {"NO_COLOR": ""}, True),
        (FakeTerminal(), "never", {}, False),
        (io.StringIO(), "auto", {}, False),
        (io.StringIO(), "always", {"NO_COLOR": "1"}, True),
    ],
)
def test_colours_follow_the_flag_then_the_environment_then_the_stream(stream, choice, environ, wanted):
    assert wants_color(stream, choice, environ) is wanted


def test_each_stream_has_its_own_colours():
    stdout, stderr = io.StringIO(), FakeTerminal()
    out = output(stdout, stderr)
    out.result(StatusResult(clean=False, missing=(AbsentPath(path="a", kind="file"),)), "status")
    out.failure(DvliteError("no"))
    assert "\x1b" not in stdout.getvalue()
    assert "\x1b[31merror:\x1b[0m no" in stderr.getvalue()


def test_warnings_of_a_result_and_of_those_inside_it_are_printed_once():
    stdout, stderr = io.StringIO(), io.StringIO()
    checkout = CheckoutResult(warnings=("one",))
    pulled = PullResult(fetch=FetchResult(remote="r"), checkout=checkout, warnings=("one", "two"))
    output(stdout, stderr).result(pulled, "pull")
    assert stderr.getvalue() == "warning: one\nwarning: two\n"
    assert "one" not in stdout.getvalue()


def test_no_name_can_reach_the_terminal_as_it_is():
    stdout, stderr = io.StringIO(), io.StringIO()
    out = output(stdout, stderr)
    out.result(LsResult(entries=(LsEntry(path=HOSTILE, kind="file"),)), "ls")
    out.warning(f"left out {HOSTILE}")
    problem = out.result(CheckoutResult(paths=(CheckedOutPath(path=HOSTILE, conflicts=(f"{HOSTILE}/x",)),)), "checkout")
    out.failure(problem)
    shown = stdout.getvalue() + stderr.getvalue()
    assert not re.search("[\x1b\u202e\ud800-\udfff]", shown)
    assert stdout.getvalue().startswith("a\\x1b[31m\\n")
    assert all(line.startswith(("warning: ", "error: ", "hint: ")) for line in stderr.getvalue().splitlines())


def test_paths_are_shown_relative_to_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    result = LsResult(entries=tuple(LsEntry(path=path, kind="file") for path in ("data/a", "data/deep/b", "top")))
    for here, expected in (("data", "a\ndeep/b\n../top\n"), ("data/deep", "../a\nb\n../../top\n")):
        monkeypatch.chdir(tmp_path / here)
        stdout = io.StringIO()
        output(stdout).result(result, "ls", root=str(tmp_path))
        assert stdout.getvalue() == expected


def progress(stream, clock, *, animate=False):
    shown = TerminalProgress(
        stream, lambda message: stream.write(f"warning: {message}\n"), animate=animate, clock=clock
    )
    shown._ticker = threading.current_thread()  # time passes only where the test says so
    return shown


def test_off_a_terminal_a_long_phase_is_one_plain_line_every_30_seconds():
    stream, clock = io.StringIO(), Clock()
    with progress(stream, clock) as shown:
        shown.start("pushing origin", total_bytes=10 << 30)
        for _ in range(75):
            clock.now += 1
            shown.advance(size_bytes=100 << 20, files=2)
            shown.tick()
    assert stream.getvalue().splitlines() == [
        "pushing origin  2.9/10.0 GiB  60 files  100.0 MiB/s  1m12s left",
        "pushing origin  5.9/10.0 GiB  120 files  100.0 MiB/s  42 s left",
    ]


def test_off_a_terminal_a_short_run_says_nothing():
    stream, clock = io.StringIO(), Clock()
    with progress(stream, clock) as shown:
        for phase in ("a", "b"):
            shown.start(phase)
            clock.now += 14
            shown.tick()
            shown.finish()
    assert stream.getvalue() == ""


def test_phases_share_the_30_seconds():
    stream, clock = io.StringIO(), Clock()
    with progress(stream, clock) as shown:
        for phase in ("first", "second"):
            shown.start(phase, total_files=40)
            clock.now += 20
            shown.advance(files=10)
            shown.tick()
    assert stream.getvalue() == "second  10/40 files  1m00s left\n"


def test_the_rate_is_that_of_the_last_seconds():
    stream, clock = io.StringIO(), Clock()
    with progress(stream, clock) as shown:
        shown.start("x")
        for second in range(60):
            clock.now += 1
            shown.advance(size_bytes=(1 if second < 40 else 50) << 20)
            shown.tick()
    assert "50.0 MiB/s" in stream.getvalue().splitlines()[1]


def test_when_all_is_read_the_phase_is_finishing():
    stream, clock = io.StringIO(), Clock()
    with progress(stream, clock) as shown:
        shown.start("adding big.bin", total_bytes=1 << 30, total_files=1)
        shown.advance(size_bytes=1 << 30)
        clock.now += 31
        shown.tick()
    assert stream.getvalue() == "adding big.bin  1.0 GiB  finishing\n"


def test_a_warning_is_printed_at_once():
    stream = io.StringIO()
    with progress(stream, Clock()) as shown:
        shown.start("x")
        shown.warn("careful")
        assert stream.getvalue() == "warning: careful\n"


def test_quiet_draws_nothing():
    stream = io.StringIO()
    with output(stderr=stream, quiet=True).progress() as shown:
        shown.start("x")
        shown._began = shown._said = -100.0
        shown.tick()
        assert shown._ticker is None
    assert stream.getvalue() == ""


def test_counting_from_many_threads_loses_nothing():
    with progress(io.StringIO(), Clock()) as shown:
        shown.start("x")

        def work():
            for _ in range(20_000):
                shown.advance(size_bytes=3, files=1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (shown._bytes, shown._files) == (240_000, 80_000)


def test_counting_a_file_calls_almost_nothing():
    with progress(io.StringIO(), Clock()) as shown:
        shown.start("x")

        def count():
            for _ in range(100):
                shown.advance(size_bytes=1, files=1)

        assert calls(count) <= 400


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("::error file=a.py::no", "'::error file=a.py::no"),
        ("  ::set-output name=x::y", "'  ::set-output name=x::y"),
        ("a ##[error]no", "a ##'[error]no"),
        ("a::b", "a::b"),
    ],
)
@pytest.mark.parametrize("environ", [{"GITHUB_ACTIONS": "true"}, {}])
def test_what_a_stage_prints_is_no_command_in_the_log_of_github(line, shown, environ):
    stream = io.StringIO()
    with Terminal(TerminalOptions(), environ, io.StringIO(), stream).progress() as lines:
        lines.print_line(line)
    terminal = Terminal(TerminalOptions(), environ, result := io.StringIO(), stream)
    terminal.result(LsResult(), lambda *_: [line])
    assert stream.getvalue() == result.getvalue() == (shown if environ else line) + "\n"


def test_a_stderr_that_is_gone_does_not_stop_the_work():
    stream = io.StringIO()
    shown = TerminalProgress(stream, lambda _: None, animate=False, clock=Clock())
    shown.start("x")
    shown._said = -100.0
    stream.close()
    shown._ticker.join(timeout=60)
    assert not shown._ticker.is_alive()
    shown.advance(files=1)
    shown.__exit__(None, None, None)


@pytest.fixture
def terminal():
    """Yields a stream on a terminal of 60 columns, and a function that returns what was shown on it since the last call."""
    controller, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    stream = os.fdopen(side, "w")

    def shown():
        stream.flush()
        text = b""
        while select.select([controller], [], [], 0.05)[0]:
            text += os.read(controller, 65536)
        return text.decode()

    yield stream, shown
    stream.close()
    os.close(controller)


def test_a_phase_is_drawn_after_a_second_on_one_line_and_erased(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream, shown = terminal
    clock = Clock()
    with progress(stream, clock, animate=True) as line:
        line.start("adding data/images", total_bytes=50 << 30)
        clock.now += 0.9
        line.tick()
        assert shown() == ""
        line.advance(size_bytes=1 << 30, files=10)
        clock.now += 0.2
        line.tick()
        first = shown()
        assert "adding data/images  1.0/50.0 GiB  10 files" in first
        clock.now += 1
        line.tick()
        assert "\n" not in shown().rstrip("\n")
        line.warn("careful")
        assert "warning: careful" in shown()
        line.start("x" * 100)
        clock.now += 2
        line.tick()
        assert "…" in shown()  # one line, however narrow the terminal
    assert shown().endswith("\x1b[2K") or line._live is None


def test_what_runs_is_drawn_again_and_again_until_it_is_interrupted(terminal, monkeypatch):
    stream, shown = terminal
    looks = iter([RunsWatchResult(), RunsWatchResult(stages=(WatchedStage(stage="a\x1b[2J", seconds=5),))])
    monkeypatch.setattr("dvlite.cli.terminal._LOOK_SECONDS", 0)

    def look():
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    output(stream).watch(look, "runs_watch")
    drawn = shown()
    assert "No stage runs here now." in drawn
    assert "a\\x1b[2J" in drawn
    assert next(looks, None) is None


def test_a_terminal_that_can_do_nothing_gets_plain_lines(terminal):
    stream, _ = terminal
    out = Terminal(TerminalOptions(), {"TERM": "dumb"}, io.StringIO(), stream)
    with out.progress() as line:
        assert not line._animate


def test_a_phase_that_stalls_is_drawn_all_the_same(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream, shown = terminal
    with TerminalProgress(stream, lambda _: None, animate=True) as line:
        line.start("waiting")
        until(lambda: "waiting" in shown())  # the thread draws: nothing calls advance


def test_rich_is_loaded_only_by_a_phase_that_lasts():
    import subprocess

    code = (
        "import io, sys; from dvlite.cli.terminal import TerminalProgress\n"
        "now = [0.0]; p = TerminalProgress(io.StringIO(), print, animate=True, clock=lambda: now[0])\n"
        "p.start('x'); now[0] = 0.5; p.tick(); p.finish(); print('rich' in sys.modules)\n"
        "p.start('x'); now[0] = 9.0; p.tick(); p.finish(); print('rich' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_every_verb_names_its_words():
    """`run(work, text="diff", form="stat")` in cli/ is dvlite/text/diff.py, def stat."""
    texts = {}
    for path in (Path(dvlite.__path__[0]) / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"run", "_move"}:
                named = {word.arg: constants(word.value) for word in node.keywords}
                for text in [
                    *named.get("text", ()),
                    *[word for argument in node.args[1:] for word in constants(argument)],
                ]:
                    texts.setdefault(text, set()).update(named.get("form", ("text",)))
    assert len(texts) >= 30
    for text, forms in texts.items():
        module = importlib.import_module(f"dvlite.text.{text}")
        assert all(callable(getattr(module, form)) for form in forms), (text, forms)


def constants(node):
    return [found.value for found in ast.walk(node) if isinstance(found, ast.Constant) and isinstance(found.value, str)]
