"""An S3 server in memory that has the habits of companies' servers: rules say which requests it refuses, and how.

Also plays the services that give out credentials (STS, the SSO portal). Verifies no signature: that is for the real server of `weed`.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

CERTIFICATE = Path(__file__).with_name("localhost.pem")  # its own CA, for localhost; with its key
LATER = "2036-01-01T00:00:00Z"
_XML = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked: headers by their lower-case names, `key` without the bucket."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.path.lstrip("/").partition("/")[2]

    @property
    def operation(self) -> str:
        if "x-amz-sso_bearer_token" in self.headers:
            return "GetRoleCredentials"
        if action := re.search(rb"Action=(\w+)", self.body):
            return action[1].decode()
        if self.method == "POST":
            return "DeleteObjects"
        if self.method == "GET" and "list-type" in self.query:
            return "ListObjectsV2"
        return {"HEAD": "HeadBucket"}.get(self.method, f"{self.method.capitalize()}Object")

    @property
    def signed_by(self) -> tuple[str, str]:
        """Returns the access key and the region of the signature, empty for a request that is not signed."""
        match = re.search(r"Credential=([^/]+)/\d+/([^/]+)/", self.headers.get("authorization", ""))
        return (match[1], match[2]) if match else ("", "")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Rule = Callable[[Request], Answer | None]


def error(status: int, code: str, more: str = "", **headers: str) -> Answer:
    """Returns an answer as S3 refuses; `hunter2` stands for what must not be repeated."""
    body = f"<Error><Code>{code}</Code><Message>hunter2 {code}</Message>{more}</Error>"
    return Answer(
        status,
        body.encode(),
        {"x-amzn-errortype": code} | {name.replace("_", "-"): value for name, value in headers.items()},
    )


def refuses(operations: str, status: int, code: str, *, part: str = "") -> Rule:
    """Refuses operations (`Put|Delete`, by the start of their names), below keys with `part` in them."""
    return lambda request: (
        error(status, code) if re.match(operations, request.operation) and part in request.key else None
    )


def wants_region(region: str, *, redirects: bool = False) -> Rule:
    """Refuses signatures for another region: as MinIO does, which names its own, or `redirects` as Amazon does."""

    def rule(request: Request) -> Answer | None:
        if request.signed_by[1] in ("", region):
            return None
        if redirects:
            return error(301, "PermanentRedirect", x_amz_bucket_region=region)
        return error(400, "AuthorizationHeaderMalformed", f"<Region>{region}</Region>")

    return rule


def wants_header(name: str, value: str, status: int, code: str, *, operations: str = "") -> Rule:
    """Refuses requests without this header."""
    return lambda request: (
        error(status, code) if re.match(operations, request.operation) and request.headers.get(name) != value else None
    )


def without_header(start: str, status: int, code: str) -> Rule:
    """Refuses requests that have a header whose name starts so."""
    return lambda request: error(status, code) if any(name.startswith(start) for name in request.headers) else None


def times(count: int, rule: Rule) -> Rule:
    """Lets a rule refuse `count` requests."""
    left = [count]

    def limited(request: Request) -> Answer | None:
        answer = rule(request) if left[0] else None
        left[0] -= answer is not None
        return answer

    return limited


class CompanyServer:
    """A running server: `rules` are asked in order before it answers, `requests` are those it got."""

    def __init__(self) -> None:
        self.url = ""
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.objects: dict[str, bytes] = {}

    @property
    def operations(self) -> list[str]:
        return [request.operation for request in self.requests]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        for rule in self.rules:
            if (refusal := rule(request)) is not None:
                is_sts = request.operation.startswith("AssumeRole")
                return replace(refusal, body=b"<ErrorResponse>%b</ErrorResponse>" % refusal.body) if is_sts else refusal
        name = f"_{re.sub('(?<!^)(?=[A-Z])', '_', request.operation).lower()}"
        answer: Answer = getattr(self, name)(request)
        return answer

    def _put_object(self, request: Request) -> Answer:
        if request.headers.get("if-none-match") and request.key in self.objects:
            return error(412, "PreconditionFailed")
        self.objects[request.key] = request.body
        return Answer(200, headers={"ETag": '"x"'})

    def _get_object(self, request: Request) -> Answer:
        if request.key not in self.objects:
            return error(404, "NoSuchKey")
        data, span = self.objects[request.key], request.headers.get("range", "").removeprefix("bytes=")
        if not span:
            return Answer(200, data, {"ETag": '"x"'})
        first, _, last = span.partition("-")
        if int(first) >= len(data):
            return error(416, "InvalidRange")
        return Answer(206, data[int(first) : int(last) + 1 if last else None], {"ETag": '"x"'})

    def _list_objects_v2(self, request: Request) -> Answer:
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><LastModified>{LATER}</LastModified></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(request.query.get("prefix", ""))
        )
        page = f'<ListBucketResult xmlns="{_XML}">{contents}<IsTruncated>false</IsTruncated></ListBucketResult>'
        return Answer(200, page.encode())

    def _delete_object(self, request: Request) -> Answer:
        self.objects.pop(request.key, None)
        return Answer(204)

    def _delete_objects(self, request: Request) -> Answer:
        for key in re.findall("<Key>(.*?)</Key>", request.body.decode()):
            self.objects.pop(key, None)
        return Answer(200, f'<DeleteResult xmlns="{_XML}"></DeleteResult>'.encode())

    def _head_bucket(self, request: Request) -> Answer:
        return Answer(200)

    def _assume_role(self, request: Request) -> Answer:
        action = request.operation
        keys = (
            f"<AccessKeyId>{action}Key</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        )
        result = f"<{action}Result><Credentials>{keys}<Expiration>{LATER}</Expiration></Credentials></{action}Result>"
        return Answer(200, f"<{action}Response>{result}</{action}Response>".encode())

    _assume_role_with_web_identity = _assume_role

    def _get_role_credentials(self, request: Request) -> Answer:
        keys = '"accessKeyId": "SsoKey", "secretAccessKey": "s", "sessionToken": "t", "expiration": 2082758400000'
        return Answer(200, f'{{"roleCredentials": {{{keys}}}}}'.encode(), {"Content-Type": "application/json"})


@contextlib.contextmanager
def running_company(*, tls: bool = False, below: str = "") -> Iterator[CompanyServer]:
    """Runs a server on threads of this process; `below` is the path of its endpoint (`/s3`)."""
    company = CompanyServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = unquote(parts.path)
            inside = path.startswith(below)
            request = Request(self.command, path.removeprefix(below), query, headers, body)
            answer = company.answer(request) if inside else Answer(404, b"<html>another application</html>")
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815  (as BaseHTTPRequestHandler calls them)

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # a client that does not trust it hangs up
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        company.url = f"{'https' if tls else 'http'}://localhost:{server.server_port}{below}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield company
        finally:
            server.shutdown()
