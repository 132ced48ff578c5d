"""Real model servers for tests: Triton and TorchServe, each from a virtual environment of its own, started and stopped here.

`make test-servers` makes the environments; `SERVERS` names their folder. Knows nothing of dvlite.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVERS = Path(os.environ.get("TEST_SERVERS", Path(__file__).parents[2] / ".venv-servers")).absolute()
_START_SECONDS = 300.0


def python_of(name: str) -> str | None:
    """Returns the Python of an environment, None where it is not there."""
    python = SERVERS / name / "bin" / "python"
    return str(python) if python.exists() else None


def why_not(name: str) -> str:
    """Returns why a server cannot be started, empty if it can."""
    if python_of(name) is None:
        return f"{name} is not installed: make test-servers"
    if name == "torch" and shutil.which("java") is None:
        return "TorchServe needs Java, and there is no java on PATH"
    return ""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str  # of its models: of TorchServe, the management address
    inference_url: str
    log: Path

    def call(self, path: str, data: bytes | None = None, method: str | None = None, *, infer: bool = False) -> Any:
        base = self.inference_url if infer else self.url
        headers = {"content-type": "application/json"} if data is not None else {}
        request = urllib.request.Request(base + path, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or b"null")


@contextlib.contextmanager
def running_triton(repository: Path, folder: Path) -> Iterator[Running]:
    """Runs Triton on a model repository; models are loaded by request (`/v2/repository/models/NAME/load`)."""
    environment = SERVERS / "triton"
    packages = next(environment.glob("lib/python*/site-packages"))
    shipped = packages / "pytriton" / "tritonserver"
    version = packages.parent.name.removeprefix("python")
    backend = folder / "backends" / "python"  # it wants the stub of this Python beside it
    shutil.copytree(shipped / "backends" / "python", backend)
    stub = backend / "triton_python_backend_stub"
    shutil.copy(shipped / "python_backend_stubs" / version / stub.name, stub)
    program = folder / "tritonserver"
    shutil.copy(shipped / "bin" / "tritonserver", program)
    for each in (stub, program):
        each.chmod(0o755)
    base = subprocess.run(
        [environment / "bin" / "python", "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True
    ).stdout.strip()
    http, grpc, metrics = _ports(3)
    command = [
        program,
        f"--model-repository={repository}",
        f"--backend-directory={folder / 'backends'}",
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--model-control-mode=explicit",
    ]
    libraries = [str(packages / "nvidia_pytriton.libs"), str(shipped / "lib"), f"{base}/lib"]
    environ = {"LD_LIBRARY_PATH": ":".join(libraries), "PYTHONPATH": str(packages)}
    url = f"http://127.0.0.1:{http}"
    with _running(command, environ, folder, f"{url}/v2/health/live") as log:
        yield Running(url, url, log)


@contextlib.contextmanager
def running_torchserve(store: Path, models: str, folder: Path) -> Iterator[Running]:
    """Runs TorchServe on a model store, with `NAME=FILE.mar` loaded."""
    environment = SERVERS / "torch"
    inference, management, metrics, grpc, grpc_management = _ports(5)
    settings = {
        "inference_address": f"http://127.0.0.1:{inference}",
        "management_address": f"http://127.0.0.1:{management}",
        "metrics_address": f"http://127.0.0.1:{metrics}",
        "grpc_inference_port": grpc,
        "grpc_management_port": grpc_management,
        "default_workers_per_model": 1,
        "number_of_netty_threads": 1,
        "number_of_gpu": 0,
        "disable_token_authorization": "true",
        "enable_envvars_config": "false",
    }
    config = folder / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command = [environment / "bin" / "torchserve", "--start", "--foreground", "--disable-token-auth"]
    command += ["--model-store", store, "--models", models, "--ts-config", config]
    environ = {name: str(folder) for name in ("TEMP", "TMPDIR", "LOG_LOCATION", "METRICS_LOCATION")}
    name = models.partition("=")[0]
    url = f"http://127.0.0.1:{management}"
    with _running(command, environ, folder, f"{url}/models/{name}", _is_ready) as log:
        yield Running(url, f"http://127.0.0.1:{inference}", log)


def _is_ready(body: bytes) -> bool:
    rows = json.loads(body)
    return any(worker["status"] == "READY" for worker in rows[0]["workers"])


@contextlib.contextmanager
def _running(
    command: list[Any], environ: dict[str, str], folder: Path, probe: str, ready: Any = None
) -> Iterator[Path]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PYTHON"))}
    first = Path(command[0]).parent if command[0].name == "torchserve" else SERVERS / "triton" / "bin"
    environment |= environ | {"PATH": f"{first}:{os.environ['PATH']}", "HOME": str(folder)}
    log = folder / "server.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(probe, ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.2)
        yield log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(url: str, ready: Any) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body = answer.read()
    except (OSError, urllib.error.URLError):
        return False
    return True if ready is None else ready(body)


def _ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
