"""Questions to running servers: what hostile, broken and dead ones answer ends in one line, in bounded time and memory."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.serving import ask

DIGEST = "manifest:" + "5f" * 32


class Server:
    """Answers by path; what is there is (status, headers, body), or a function that gets the handler."""

    def __init__(self):
        self.answers, self.asked = {}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.asked.append((self.path, dict(self.headers)))
                self.rfile.read(int(self.headers.get("content-length") or 0))
                answer = server.answers.get(self.path.partition("?")[0], (404, {}, b"{}"))
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.do_GET()

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # a client that goes away is the point of some
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, path, body, status=200):
        self.answers[path] = (status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


def parameters(**values):
    return {"parameters": {f"dvlite.{key}": {"string_value": value} for key, value in values.items()}}


def triton(server, config, name="birds"):
    server.says("/v2", {"name": "triton", "extensions": []})
    server.says("/v2/repository/index", [{"name": name, "state": "READY"}, {"name": "off", "state": "UNAVAILABLE"}])
    server.says(f"/v2/models/{name}/config", config)


def test_triton_says_what_it_serves_by_the_parameters_of_its_config(server):
    inputs = json.dumps({"data": DIGEST})
    triton(server, parameters(digest=DIGEST, version="7", run="run:" + "1" * 64, inputs=inputs, path="models/birds"))
    (claim,) = ask.ask(server.url, "")
    assert (claim.model, claim.version, claim.digest, claim.inputs) == ("birds", 7, DIGEST, {"data": DIGEST})
    (same,) = ask.ask(f"{server.url}/v2/models/birds/versions/7", "")
    assert same == claim


def test_torchserve_says_it_by_what_the_handler_describes_or_by_its_version(server):
    server.says("/models", {"models": [{"modelName": "birds"}]})
    about = {"dvlite": 1, "model": "birds", "version": 7, "digest": DIGEST}
    about["files"] = [{"path": "a", "size": 1, "sha256": "0" * 64}]
    server.says("/models/birds", [{"modelVersion": "7-5f5f5f5f5f5f", "customizedMetadata": json.dumps(about)}])
    (claim,) = ask.ask(server.url, "")
    assert (claim.digest, claim.version, claim.problem) == (DIGEST, 7, "")
    server.says("/models/birds", [{"modelVersion": "7-5f5f5f5f5f5f", "customizedMetadata": "{not json"}])
    (claim,) = ask.ask(server.url, "")
    assert (claim.digits, claim.version) == ("5f" * 6, 7)
    server.says("/models/birds", [{"modelVersion": "1.0"}])
    assert "not exported by dvlite" in ask.ask(server.url, "")[0].problem


def test_what_cannot_be_an_id_is_no_claim(server):
    hostile = {"digest": "manifest:\x1b[2J", "version": "-1", "run": "rm -rf", "inputs": '{"a": "b"}'}
    triton(server, parameters(**hostile))
    (claim,) = ask.ask(server.url, "")
    assert (claim.digest, claim.version, claim.run, claim.inputs) == ("", None, "", {})
    assert claim.problem
    for config in (
        {"parameters": [1]},
        {"parameters": {"dvlite.digest": 5}},
        [],
        "x",
        {"parameters": {"dvlite.digest": {}}},
    ):
        triton(server, config)
        assert ask.ask(server.url, "")[0].problem


def endless(handler):
    handler.send_response(200)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    except OSError:
        pass


def dripping(handler):
    handler.send_response(200)
    handler.send_header("content-length", "1000000")
    handler.end_headers()
    stop = handler.server.stop = threading.Event()
    try:
        while not stop.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()
    except OSError:
        pass


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (endless, "which is not read"),
        ((200, {}, b" " * (5 << 20)), "which is not read"),
        ((302, {"location": "http://169.254.169.254/"}, b""), "redirects, which is not followed"),
        ((401, {}, b""), "refuses the question"),
        ((500, {}, b""), "answered 500"),
        ((200, {}, b"<html>"), "is neither Triton nor"),
        ((200, {}, b"[" * 100_000), "is neither Triton nor"),
        ((200, {}, b"\xff\xfe"), "is neither Triton nor"),
    ],
)
def test_an_answer_that_is_none_ends_in_one_line(server, answer, words):
    server.answers["/v2"] = answer
    with pytest.raises(PartlyDone) as error:
        ask.ask(server.url, "")
    assert words in error.value.message
    assert "\n" not in error.value.message


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(server, monkeypatch):
    monkeypatch.setattr(ask, "_SECONDS", 0.3)
    server.answers["/v2"] = dripping
    with pytest.raises(PartlyDone, match="cannot ask"):
        ask.ask(server.url, "")


def test_a_dead_server_is_named_with_its_address(invoke, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    for verb in ("lineage", "verify"):
        done = invoke(verb, "--served", url, cwd=tmp_path)
        assert done.returncode == 3
        assert done.stderr.startswith(f"error: cannot ask '{url}'")


@pytest.mark.parametrize("url", ["http://", "http://:80", "http://a b/", "https://x:99999", "http://\u0000/"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises((UsageError, PartlyDone)):
        ask.ask(url, "")


def test_a_token_goes_to_the_server_and_credentials_of_the_address_are_not_shown(server, invoke, tmp_path):
    with pytest.raises(DvliteError):
        ask.ask(server.url, "secret")
    assert server.asked[0][1]["authorization"] == "Bearer secret"
    done = invoke("verify", "--served", server.url.replace("http://", "http://user:hidden@"), cwd=tmp_path)
    assert "hidden" not in done.stdout + done.stderr


def test_a_claim_is_no_check_of_bytes(server, invoke, tmp_path):
    triton(server, parameters(digest=DIGEST, version="7"))
    done = invoke("verify", "--served", server.url, cwd=tmp_path)
    assert done.returncode == 3
    assert "the bytes were not seen" in done.stderr
    other = invoke("verify", "--served", server.url, "--digest", "manifest:" + "0" * 64, cwd=tmp_path)
    assert other.returncode == 13
