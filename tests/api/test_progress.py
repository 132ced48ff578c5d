"""Progress of the API: a function gets events, one at a time, that are safe to print."""

import logging
import threading

import pytest

from dvlite.api.progress import reporting
from dvlite.errors import UsageError

HOSTILE = "adding a\x1b[2Jb\u202e"


def test_a_function_gets_the_phases_and_what_happens_in_them():
    events = []
    with reporting(events.append) as progress:
        progress.start("one", total_bytes=10, total_files=2)
        progress.advance(size_bytes=10, files=2)
        progress.start("two")
        progress.warn("careful")
        progress.print_line("a\tb")
    kinds = [(event.kind, event.label) for event in events if event.kind != "advance"]
    assert kinds == [
        ("start", "one"),
        ("finish", "one"),
        ("start", "two"),
        ("warning", "two"),
        ("line", "two"),
        ("finish", "two"),
    ]
    ended = next(event for event in events if event.kind == "finish")
    assert (ended.done_bytes, ended.total_bytes, ended.done_files, ended.total_files) == (10, 10, 2, 2)
    assert [event.message for event in events if event.message] == ["careful", "a\tb"]


def test_a_function_is_called_by_one_thread_at_a_time_and_not_for_every_piece():
    inside, events = threading.Lock(), []

    def slow(event):
        assert inside.acquire(blocking=False)
        events.append(event)
        inside.release()

    with reporting(slow) as progress:
        progress.start("x")
        threads = [
            threading.Thread(target=lambda: [progress.advance(size_bytes=1) for _ in range(500)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert events[-1].done_bytes == 2000
    assert len(events) < 100


def test_what_the_function_raises_ends_the_verb():
    def stop(_):
        raise StopIteration

    with pytest.raises(StopIteration), reporting(stop) as progress:
        progress.start("x")


def test_no_escape_sequence_gets_out(caplog):
    events = []
    with reporting(events.append) as progress:
        progress.start(HOSTILE)
        progress.warn(HOSTILE)
        progress.print_line(HOSTILE)
    with caplog.at_level(logging.WARNING, "dvlite"), reporting(None) as progress:
        progress.warn(HOSTILE)
    texts = [text for event in events for text in (event.label, event.message)] + [caplog.records[0].getMessage()]
    assert all(text.isprintable() for text in texts)


def test_what_is_no_progress_is_refused():
    with pytest.raises(UsageError), reporting("bars"):
        pass
