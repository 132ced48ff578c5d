"""Asks a running server which model it serves: Triton's `/v2`, TorchServe's management address.

What it answers is its word: no byte of the model is seen. Nothing is sent but the request, and a token if the user has one; no redirect
is followed, an answer has an end in size and in time.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote as percent
from urllib.parse import urlsplit

from dvlite import __version__
from dvlite.errors import DvliteError, FormatError, PartlyDone, RemoteError, UsageError
from dvlite.formats import served, strict_json
from dvlite.git.program import without_credentials
from dvlite.oid import FILE, MANIFEST, RUN
from dvlite.serving import triton
from dvlite.show import printable, quote
from dvlite.store.s3_errors import SettingWrong, is_untrusted, reason
from dvlite.store.s3_http import Answer, Broken, Connections, Message, Server, TooLong, Unreached
from dvlite.store.s3_settings import connections_to_others

TOKEN = "DVLITE_SERVED_TOKEN"  # noqa: S105  # the variable with the token of a server, if it wants one
_LIMIT_BYTES = 4 << 20
_SECONDS = 30.0  # for all of it
_MOST_MODELS = 1000
_OID = re.compile(rf"(?:{FILE}|{MANIFEST}):[0-9a-f]{{64}}")
_RUN = re.compile(rf"{RUN}:[0-9a-f]{{64}}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_TORCHSERVE_VERSION = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{12})")
_NAMED = re.compile(
    r"(?P<above>(?:/[^/]+)*?)/v2/models/(?P<triton>[^/]+)(?:/.*)?|(?P<over>(?:/[^/]+)*?)/models/(?P<torch>[^/]+)(?:/.*)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedClaim:
    """What a server says of a model that it serves. `digits` are the first ones of its digest where the server has no more."""

    server: str
    model: str
    version: int | None = None
    digest: str = ""
    digits: str = ""
    run: str = ""
    commit: str = ""
    path: str = ""
    registered: str = ""
    inputs: Mapping[str, str]
    problem: str = ""  # why it is not known which model it is


def is_url(text: str) -> bool:
    """Returns whether a place is the address of a running server."""
    return text.startswith(("http://", "https://"))


def ask(url: str, token: str) -> list[ServedClaim]:
    """Returns what the server at a URL says of its models: of the one that the URL names, or of all.

    Raises PartlyDone for a server that does not answer, or that is none of those that are known.
    """
    with _asking(url, token) as server:
        match = _NAMED.fullmatch(server.path)
        if match is not None and match["triton"]:
            return [_of_triton(server, match["above"], match["triton"])]
        if match is not None:
            return [*_of_torchserve(server, match["over"], match["torch"])]
        about = server.get(f"{server.path}/v2")
        if isinstance(about, dict) and isinstance(about.get("extensions"), list):
            index = server.get(f"{server.path}/v2/repository/index", post=b"{}")
            rows = index if isinstance(index, list) else []
            names = [row.get("name") for row in rows if isinstance(row, dict) and row.get("state") in ("READY", None)]
            found = dict.fromkeys(name for name in names if isinstance(name, str))
            return [_of_triton(server, server.path, percent(name, safe="")) for name in [*found][:_MOST_MODELS]]
        listing = server.get(f"{server.path}/models?limit={_MOST_MODELS}")
        models = listing.get("models") if isinstance(listing, dict) else None
        if isinstance(models, list):
            names = [row.get("modelName") for row in models if isinstance(row, dict)]
            found = dict.fromkeys(name for name in names if isinstance(name, str))
            return [
                claim
                for name in [*found][:_MOST_MODELS]
                for claim in _of_torchserve(server, server.path, percent(name, safe=""))
            ]
    raise PartlyDone(
        f"{server.label} is neither Triton nor the management address of TorchServe",
        hint="for other servers, name the folder, bucket or archive that they read: --served DIR",
    )


class _AskedServer:
    """One server."""

    def __init__(self, url: str, connections: Connections, token: str) -> None:
        self.label = quote(without_credentials(url))
        self._connections, self._token = connections, token
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            host = (parts.hostname or "").encode("idna").decode("ascii")
        except (ValueError, KeyError):
            host = ""
        if not host or not url.isprintable() or " " in url:
            raise UsageError(f"{self.label} is no address of a server", hint="one is like http://localhost:8000")
        self._server = Server(parts.scheme, host, port)
        self.path = percent(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")

    def get(self, target: str, post: bytes | None = None, *, may_fail: bool = False) -> Any:
        """Returns what a path answers, None for 404 and what is no JSON, with `may_fail` for any error of the server. Raises PartlyDone."""
        headers = {
            "host": self._server.address,
            "user-agent": f"dvlite/{__version__}",
            "accept": "application/json",
            "accept-encoding": "identity",
        }
        headers |= {"authorization": f"Bearer {self._token}"} if self._token else {}
        headers |= {} if post is None else {"content-type": "application/json"}
        method = "GET" if post is None else "POST"
        answer = self._send(Message(method, target, headers, post or b"", _LIMIT_BYTES))
        if answer.status in (404, 405, 501) or (may_fail and answer.status >= 500):
            return None
        if 300 <= answer.status < 400:
            raise PartlyDone(f"{self.label} redirects, which is not followed", hint="give the address where it is")
        if answer.status in (401, 403):
            raise PartlyDone(f"{self.label} refuses the question ({answer.status})", hint=f"give a token: {TOKEN}=...")
        if not 200 <= answer.status < 300:
            raise PartlyDone(f"{self.label} answered {answer.status}", hint="see the log of that server")
        return _parsed(answer.body)

    def _send(self, message: Message) -> Answer:
        try:
            return self._connections.send(self._server, message)
        except TooLong:
            raise PartlyDone(f"{self.label} answers more than {_LIMIT_BYTES >> 20} MiB, which is not read") from None
        except (Unreached, Broken) as error:
            why = "its certificate is not trusted" if is_untrusted(error) else reason(error)
            raise PartlyDone(
                f"cannot ask {self.label}: {why}", hint="is it running, and is that its address?"
            ) from error
        except SettingWrong as error:
            raise RemoteError(f"cannot ask {self.label}: {error.message}", hint=error.hint) from error


@contextlib.contextmanager
def _asking(url: str, token: str) -> Iterator[_AskedServer]:
    """Yields a server, for some seconds: then its connections are closed, whatever it is doing."""
    connections = connections_to_others("")
    timer = threading.Timer(_SECONDS, connections.close)
    timer.daemon = True
    timer.start()
    try:
        yield _AskedServer(url, connections, token)
    finally:
        timer.cancel()
        connections.close()


def _of_triton(server: _AskedServer, above: str, name: str) -> ServedClaim:
    config = server.get(f"{above}/v2/models/{name}/config")
    shown = printable(name)
    if not isinstance(config, dict):
        return ServedClaim(server="triton", model=shown, inputs={}, problem="the server has no config of it")
    claims = triton.claims_of_server(config)
    return _claim("triton", shown, claims, _inputs(claims.get("inputs", "")))


def _of_torchserve(server: _AskedServer, above: str, name: str) -> Iterator[ServedClaim]:
    described = server.get(f"{above}/models/{name}?customized=true", may_fail=True)
    if not isinstance(described, list):  # a handler that does not describe itself fails at that question
        described = server.get(f"{above}/models/{name}")
    rows = described if isinstance(described, list) else []
    for row in rows[:_MOST_MODELS]:
        fields = row if isinstance(row, dict) else {}
        version = fields.get("modelVersion")
        custom = fields.get("customizedMetadata")
        with contextlib.suppress(DvliteError):  # a handler may answer anything
            model = served.of_mapping(_sidecar(custom), "the answer")
            claims = {"digest": model.digest, "version": str(model.version), "run": model.run or ""}
            claims |= {"commit": model.commit or "", "path": model.path, "registered": model.registered}
            yield _claim("torchserve", printable(name), claims, {one.path: one.digest for one in model.inputs})
            continue
        match = _TORCHSERVE_VERSION.fullmatch(version) if isinstance(version, str) else None
        if match is None:
            problem = "it was not exported by dvlite: neither its version nor its handler names a digest"
            yield ServedClaim(server="torchserve", model=printable(name), inputs={}, problem=problem)
        else:
            number, digits = int(match[1]), match[2]
            yield ServedClaim(server="torchserve", model=printable(name), version=number, digits=digits, inputs={})
    if not rows:
        yield ServedClaim(server="torchserve", model=printable(name), inputs={}, problem="the server does not serve it")


def _claim(server: str, name: str, claims: Mapping[str, str], inputs: Mapping[str, str]) -> ServedClaim:
    """Returns what parameters say, each only if it can be what it should be."""

    def of(key: str, pattern: re.Pattern[str]) -> str:
        value = claims.get(key, "")
        return value if pattern.fullmatch(value) else ""

    digest, version = of("digest", _OID), of("version", _NUMBER)
    return ServedClaim(
        server=server,
        model=name,
        version=int(version) if version else None,
        digest=digest,
        run=of("run", _RUN),
        commit=of("commit", re.compile(r"[0-9a-f]{40,64}")),
        path=claims.get("path", "")[:1000],
        registered=claims.get("registered", "")[:255],
        inputs=inputs,
        problem="" if digest else "it was not exported by dvlite: no parameter names a digest",
    )


def _inputs(text: str) -> dict[str, str]:
    try:
        body = strict_json.parse(text.encode("utf-8", "surrogateescape"), "the answer") if text else {}
    except FormatError:
        return {}
    return {path: digest for path, digest in body.items() if isinstance(digest, str) and _OID.fullmatch(digest)}


def _sidecar(custom: object) -> dict[str, Any]:
    """Returns what a handler describes itself by: an object, or the text of one."""
    if isinstance(custom, str):
        return strict_json.parse(custom.encode("utf-8", "surrogateescape"), "the answer", floats=True)
    if not isinstance(custom, dict):
        raise FormatError("the handler does not describe itself")
    return custom


def _parsed(body: bytes) -> Any:
    try:
        if strict_json.is_deep(body):
            return None
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
