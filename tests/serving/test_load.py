"""The load on a server: requests that are read strictly, figures that are counted right."""

import errno
import json
import socket

import pytest

from dvlite.errors import DvliteError, FormatError, PartlyDone, UsageError
from dvlite.serving import load
from dvlite.serving.load import LoadTarget, measure, percentile, problem_of
from dvlite.serving.load_requests import LoadRequest, read_requests
from tests.serving.answering import Answering

ASK = LoadRequest("POST", "/good", (), b"x")


@pytest.fixture
def server():
    server = Answering()
    yield server
    server.stop()


def written(folder, *lines):
    (folder / "r.jsonl").write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return read_requests(folder, "r.jsonl")


def test_percentiles_are_the_nearest_rank():
    assert [percentile([1, 2, 3, 4], percent) for percent in (1, 25, 50, 51, 75, 99, 100)] == [1, 1, 2, 3, 3, 4, 4]
    assert percentile([7], 50) == 7


def test_requests_take_a_text_json_or_a_file_as_body(tmp_path):
    (tmp_path / "image.png").write_bytes(b"\x00png")
    loaded = written(
        tmp_path,
        {"path": "/health"},
        "",
        {"path": "/p?x=%20", "body": {"é": 1.5}},
        {"path": "/p", "body": "é", "headers": {"content-type": "text/plain"}, "method": "PUT"},
        {"path": "/p", "body_file": "image.png"},
        {"path": "/p", "body_file": "./image.png"},
    )
    assert [(one.method, one.path, one.body) for one in loaded.requests] == [
        ("GET", "/health", b""),
        ("POST", "/p?x=%20", '{"é":1.5}'.encode()),
        ("PUT", "/p", "é".encode()),
        ("POST", "/p", b"\x00png"),
        ("POST", "/p", b"\x00png"),
    ]
    assert loaded.requests[1].headers == (("Content-Type", "application/json"),)
    assert sorted(loaded.contents) == ["image.png", "r.jsonl"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[1]", "not a JSON object"),
        ('{"path": "/a", "path": "/b"}', "twice"),
        ({"path": "a"}, "'path' is not a path"),
        ({"path": "/a\r\nX: y"}, "'path' is not a path"),
        ({"path": "/a b"}, "'path' is not a path"),
        ({"path": "/a", "verb": "GET"}, "'verb' is not known"),
        ({"path": "/a", "method": "CONNECT"}, "'method' is not one of"),
        ({"path": "/a", "headers": {"a": "b\r\nc: d"}}, "cannot read 'r.jsonl', line 1: the header 'a'"),
        ({"path": "/a", "headers": {"Content-Length": "1"}}, "set by the client itself"),
        ({"path": "/a", "headers": ["a"]}, "'headers' is not an object"),
        ({"path": "/a", "body": "x", "body_file": "y"}, "a body and a body_file"),
        ({"path": "/a", "body_file": "/etc/passwd"}, "not a path relative"),
        ({"path": "/a", "body_file": "none"}, "there is no file 'none (\\'r.jsonl\\', line 1)'"),
        ('{"path": "/a", "body": "\\ud800"}', "half a character"),
        ("", "has no request"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, why):
    with pytest.raises((FormatError, UsageError)) as raised:
        written(tmp_path, line)
    assert why.split("'none")[0] in raised.value.message
    assert "\n" not in raised.value.message


def test_all_requests_are_sent_in_turn_and_counted(server):
    both = [ASK, LoadRequest("POST", "/other", (), b"yy")]
    figures = measure(LoadTarget(url=server.url, token="secret"), both, 3, 0.3)
    assert figures.good == figures.requests == figures.samples == server.asked.total() > 3
    assert abs(server.asked["/good"] - server.asked["/other"]) <= 1
    assert figures.received_bytes == 10 * figures.good
    assert figures.sent_bytes == server.asked["/good"] + 2 * server.asked["/other"]
    assert figures.p50_ms <= figures.p90_ms <= figures.p95_ms <= figures.p99_ms <= figures.max_ms
    assert figures.throughput == pytest.approx(figures.good / figures.seconds, rel=0.01)
    assert server.tokens == {"Bearer secret"}


def test_errors_are_counted_by_kind_and_have_no_latency(server):
    figures = measure(LoadTarget(url=server.url), [LoadRequest("GET", "/broken")], 2, 0.2)
    assert figures.errors == {"status 503": figures.requests}
    assert (figures.good, figures.p50_ms, figures.max_ms, figures.samples) == (0, None, None, 0)


def test_what_is_kept_of_a_level_does_not_grow(server, monkeypatch):
    monkeypatch.setattr(load, "MOST_SAMPLES", 5)
    figures = measure(LoadTarget(url=server.url), [ASK], 4, 0.3)
    assert figures.samples == 5 < figures.good


def test_an_endless_answer_ends_in_time_or_in_size(server, monkeypatch):
    endless = LoadRequest("GET", "/endless")
    assert problem_of(LoadTarget(url=server.url), endless, 0.3) == "timeout"
    monkeypatch.setattr(load, "_ANSWER_BYTES", 5000)
    assert problem_of(LoadTarget(url=server.url), endless, 600).startswith("answer over")


def test_a_server_that_dies_ends_the_measurement(server):
    server.dies_after = 30
    with pytest.raises(PartlyDone, match=r"answers no more, after [0-9]+ good answers at 2 connections"):
        measure(LoadTarget(url=server.url), [LoadRequest("GET", "/dying")], 2, 600)


def test_a_machine_without_a_free_port_or_file_is_not_a_dead_server(server, monkeypatch):
    def full(*_args, **_how):
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(socket.socket, "connect", full)
    with pytest.raises(PartlyDone, match="no port or file left on this machine for connections to"):
        measure(LoadTarget(url=server.url), [ASK], 2, 600)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a", "http://", "http://a b", "http://a:99999", "http://a?x=1"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(DvliteError, match="is no address of a server"):
        load.check_address(url)
