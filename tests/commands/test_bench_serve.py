"""`dvlite bench serve` with real servers: what is printed, what is recorded, and what a rule of the registry sees of it."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from dvlite.commands import bench_serve
from dvlite.serving import ask, load
from dvlite.serving.ask import ServedClaim
from tests.commands.conftest import prepared, start_project  # noqa: F401  (fixtures)
from tests.polling import is_alive, pid_in, until
from tests.serving.answering import Answering

SERVER = """\
import http.server, os, subprocess, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(7)
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\nok")
    def log_message(self, *a):
        pass
print("serving", flush=True)
child = subprocess.Popen(["sleep", "1000"])
open("child", "w").write(str(child.pid))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def with_model(project):
    project.write("model.pt", "weights")
    project.write("serve.py", SERVER)
    project.write("good.jsonl", '{"path": "/good"}\n')
    project.dvlite("add", "model.pt")
    project.commit("Model")
    project.dvlite("model", "add", "birds", "model.pt")


@pytest.fixture
def project(prepared):  # noqa: F811
    return prepared("benched", with_model, remote=False)


@pytest.fixture
def briefly(monkeypatch):
    """Measures each level for a moment instead of the second that is the shortest time of the flag."""
    monkeypatch.setattr(
        bench_serve, "measure", lambda place, requests, level, _: load.measure(place, requests, level, 0.05)
    )


@pytest.fixture
def server():
    server = Answering()
    yield server
    server.stop()


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def benched(project, url, *flags, **how):
    return project.dvlite("bench", "serve", url, "--requests", "good.jsonl", "--for", "1s", *flags, **how)


def runs_of(project):
    return json.loads(project.dvlite("runs", "list", "--json").stdout)["runs"]


def test_each_level_is_a_run_that_reads_the_model_and_that_a_promotion_sees(project, server, briefly):
    done = benched(project, server.url, "--concurrency", "3,1", "--model", "model:birds@1", "--price", "3.6", "--json")
    result = json.loads(done.stdout)
    assert [level["figures"]["connections"] for level in result["levels"]] == [1, 3]
    for level in result["levels"]:
        assert level["cost_per_million"] == pytest.approx(1000 / level["figures"]["throughput"], rel=0.001)
    name = result["levels"][1]["run"]
    shown = json.loads(project.dvlite("runs", "show", name, "--json").stdout)
    text = json.dumps(shown)
    assert result["models"][0]["oid"] in text
    assert "good.jsonl" in text
    assert "bench:p95_ms" in text
    assert name in project.dvlite("runs", "--stage", "serve", "--param", "concurrency=3").stdout
    assert "p95_ms" in project.dvlite("runs", "compare", result["levels"][0]["run"], name).stdout
    refused = project.dvlite("model", "promote", "birds@1", "prod", "--when", "p95_ms<0.000001", code=1)
    assert f"in {name}" in refused.stderr  # the most connections
    assert f"in {name}" in project.dvlite("model", "promote", "birds@1", "prod", "--when", "p95_ms<60000").stdout


def test_a_server_that_fails_too_often_counts_for_no_promotion(project, server, briefly):
    project.write("good.jsonl", '{"path": "/half"}\n')
    failed = benched(project, server.url, "--concurrency", "1", "--model", "model.pt", code=3)
    assert "status 500" in failed.stderr
    assert [run["status"] for run in runs_of(project)] == ["failed"]
    refused = project.dvlite("model", "promote", "birds@1", "prod", "--when", "p95_ms<60000", code=1)
    assert "no run of it here has a value 'p95_ms'" in refused.stderr


def test_without_record_nothing_is_written(project, server, briefly):
    benched(project, server.url, "--concurrency", "1", "--no-record")
    assert runs_of(project) == []


def claimed(model, digest="", problem=""):
    return ServedClaim(server="triton", model=model, digest=digest, inputs={}, problem=problem)


def test_an_unknown_model_is_a_warning(project, server, briefly):
    done = benched(project, server.url, "--concurrency", "1")
    assert "which model is served is not known" in done.stderr


def test_the_model_is_the_one_of_the_server_that_the_requests_name(project, server, briefly, monkeypatch):
    digest = project.json("ls")["entries"][0]["oid"]
    cats = claimed("cats of mine", problem="no parameter names a digest")
    asked = []
    monkeypatch.setattr(ask, "ask", lambda url, _: asked.append(url) or [claimed("birds", digest), cats])

    def models(path, *flags):
        project.write("good.jsonl", json.dumps({"path": path}))
        result = json.loads(benched(project, server.url, "--concurrency", "1", "--json", *flags).stdout)
        assert bool(result["models"]) != bool(result["warnings"])
        return [model["oid"] for model in result["models"]]

    assert models("/v2/models/birds/infer") == [digest]
    assert models("/v2/models/cats%20of%20mine/infer") == [], "it is not the only one with a digest that is measured"
    assert models("/health") == []
    assert models("/v2/models/birds/infer", "--model", "http://localhost:8081") == [digest]
    assert asked == [server.url] * 3 + ["http://localhost:8081"]


@pytest.mark.long
def test_a_command_is_started_measured_and_ended_with_its_children(project, port):
    words = ("--url", f"http://127.0.0.1:{port}", "--json", "--", sys.executable, "serve.py", str(port))
    done = project.dvlite(
        "bench", "serve", "--requests", "good.jsonl", "--for", "1s", "--concurrency", "2", "--model", "model.pt", *words
    )
    result = json.loads(done.stdout)
    assert result["cold_start_seconds"] > 0
    if sys.platform == "linux":
        assert result["levels"][0]["peak_rss_bytes"] > 1 << 20
    assert "serving" in project.dvlite("runs", "show", result["levels"][0]["run"], "--log").stdout
    assert_gone(project)


def assert_gone(project):
    child = pid_in(project.root / "child")
    until(lambda: not is_alive(child))


@pytest.mark.long
def test_a_command_that_ends_is_an_error_with_its_last_line(project, port):
    url = f"http://127.0.0.1:{port}"
    done = benched(project, "echo 'no such model'; exit 4", "--url", url, code=3)
    assert "ended (exit 4): no such model" in done.stderr
    project.write("good.jsonl", '{"path": "/good"}\n{"path": "/good"}\n{"path": "/die"}\n')
    died = benched(project, f"{sys.executable} serve.py {port}", "--url", url, "--concurrency", "1", code=3)
    assert "ended (exit 7): serving" in died.stderr
    assert_gone(project)
    assert runs_of(project) == []


def test_what_cannot_be_measured_is_refused(project, server, port):
    dead = f"http://127.0.0.1:{port}"
    assert "no connection" in benched(project, dead, code=3).stderr
    assert "a server runs already" in benched(project, "sleep 100", "--url", server.url, code=2).stderr
    assert "neither an address nor a command" in benched(project, "serve.py", code=2).stderr
    assert "where the command listens" in benched(project, "python serve.py", code=2).stderr
    assert "--concurrency takes" in benched(project, server.url, "--concurrency", "0,4", code=2).stderr
    assert "--price" in benched(project, server.url, "--price", "nan", code=2).stderr
    assert "no time" in benched(project, server.url, "--timeout", "soon", code=2).stderr
    assert "not a known file" in benched(project, server.url, "--model", "none.pt", code=2).stderr
    project.write("good.jsonl", '{"path": "/broken"}\n')
    assert "status 503" in benched(project, server.url, code=3).stderr
    outside = project.root.parent / "outside.jsonl"
    outside.write_text('{"path": "/good"}\n')
    words = ("bench", "serve", server.url, "--requests", str(outside))
    assert "outside" in project.dvlite(*words, code=2).stderr
    assert runs_of(project) == []


@pytest.mark.long
def test_ctrl_c_ends_the_server_and_records_nothing(project, port):
    words = ["bench", "serve", "--requests", "good.jsonl", "--for", "10m", "--url", f"http://127.0.0.1:{port}"]
    command = [sys.executable, "-m", "dvlite", *words, "--", sys.executable, "serve.py", str(port)]
    with subprocess.Popen(
        command, cwd=project.root, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as bench:
        until(lambda: (project.root / "child").exists() and _answers(port), bench)
        bench.send_signal(signal.SIGINT)
        said = bench.communicate(timeout=120)[1]
    assert bench.returncode == 130
    assert said.strip().splitlines()[-1].startswith("interrupted")
    assert_gone(project)
    assert runs_of(project) == []


def _answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
