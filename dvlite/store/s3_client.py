"""A client of S3 for one bucket: signs requests and sends them to the bucket's region, which it learns where nothing names it.

Knows no object of dvlite's. Raises Refused for what S3 answers, CredentialsFailed and SettingWrong before any request, Unreached,
Broken and TooLong for what happens on the way.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dvlite import __version__
from dvlite.store.object_store import Buffer
from dvlite.store.s3_errors import Refused
from dvlite.store.s3_http import Answer, Connections, Message, Sink
from dvlite.store.s3_settings import S3Settings, is_region, proxy_of, read_settings
from dvlite.store.s3_sign import UNSIGNED, path_text, query_text, signed
from dvlite.store.s3_xml import Fault, read_fault

_OTHER_REGION_STATUS = {301, 302, 307}
_OTHER_REGION_CODES = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}


@dataclass(frozen=True, slots=True)
class S3Request:
    """What is asked of a bucket; `key` is empty for the bucket itself, `most` and `first` are those of `s3_http.Message`.

    The body of a PUT is not signed: a checksum among the headers, which are, stands for it (also without TLS, as botocore does by
    `payload_signing_enabled: false`), and SHA-256 of a pack would take three times as long as all else.
    """

    method: str
    key: str
    most: int
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Buffer = b""
    first: int = 0
    sink: Sink | None = None


class S3Client:
    """A client whose settings are read at the first request, and again after it was closed. Thread-safe."""

    def __init__(self, bucket: str, options: Mapping[str, str], *, connections: int) -> None:
        self._bucket = bucket
        self._options = dict(options)
        self._most = connections
        self._lock = threading.Lock()
        self._opened: tuple[S3Settings, Connections] | None = None
        self._region = ""  # that the server named

    @property
    def endpoint_url(self) -> str:
        """Where requests go if not to Amazon, as far as that is known; the environment or the AWS config may have named it."""
        opened = self._opened
        return "" if opened is None else opened[0].endpoint_url

    def send(self, request: S3Request) -> Answer:
        """Sends a request, a second time if the bucket is in another region; returns the answer of a success."""
        settings, connections = self._open()
        tried = self._region or settings.region
        answer = _send(settings, connections, request, tried)
        if 200 <= answer.status < 300:
            return answer
        fault = read_fault(answer.body) or Fault("")
        region = answer.headers.get("x-amz-bucket-region") or fault.region
        is_elsewhere = answer.status in _OTHER_REGION_STATUS or fault.code in _OTHER_REGION_CODES
        if not is_elsewhere or region == tried or not is_region(region):
            raise Refused(answer.status, fault.code)
        answer = _send(settings, connections, request, region)
        if 200 <= answer.status < 300:
            self._region = region
            return answer
        raise Refused(answer.status, (read_fault(answer.body) or Fault("")).code)

    def close(self) -> None:
        """Ends requests that still run (Ctrl-C)."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened[1].close()

    def _open(self) -> tuple[S3Settings, Connections]:
        with self._lock:
            if self._opened is None:
                settings = read_settings(self._bucket, self._options)
                self._opened = settings, Connections(settings.trust, proxy_of, most=self._most)
            return self._opened


def _send(settings: S3Settings, connections: Connections, request: S3Request, region: str) -> Answer:
    server, path = settings.address(region)
    target = path_text(f"{path}/{request.key}" if request.key else path or "/")
    if request.query:
        target += f"?{query_text(request.query)}"
    headers = {"host": server.address, **request.headers}
    if settings.keys is not None:
        headers["x-amz-date"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        is_signed = request.method != "PUT"
        headers["x-amz-content-sha256"] = hashlib.sha256(request.body).hexdigest() if is_signed else UNSIGNED
        headers = signed(request.method, target, headers, keys=settings.keys(), region=region)
    headers |= {"user-agent": f"dvlite/{__version__}", "accept-encoding": "identity"}
    message = Message(request.method, target, headers, request.body, request.most, request.first, request.sink)
    return connections.send(server, message)
