"""A remote in a bucket, over s3fs: one S3 request for each call, and what its answer means.

s3fs (fsspec, aiobotocore) finds credentials, signs, and keeps the connections on its own thread; its file-system side is not used, for it
answers from a listing cache, uploads in parts and retries on its own. Loading this module takes 0.25 s: `store.remote` does so late.
Measured against SeaweedFS on loopback, 32 MiB objects: the server is the limit from 4 threads on, whatever is checked or signed here;
client time per GiB of uploads was 1.5 s with the payload signed by SHA-256 on the event loop, 0.9 s with CRC-32 in the caller's thread.
"""

from __future__ import annotations

import base64
import email.utils
import io
import socket
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import s3fs
from aiobotocore.httpsession import AIOHTTPSession
from fsspec.asyn import sync

from dvlite.errors import RemoteError
from dvlite.show import quote
from dvlite.store.object_store import (
    Buffer,
    Listing,
    ObjectAbsent,
    ObjectEntry,
    Transient,
    is_name,
    require_name,
    require_prefix,
)
from dvlite.store.s3_errors import Redirected, explain, explain_refusal, is_name_taken, is_past_the_end
from dvlite.store.url import Location, host_of

T = TypeVar("T")

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 20  # between two arrivals of bytes, counted once the request is sent
_PIECE_BYTES = 1 << 18
_DELETE_AT_ONCE = 1000  # S3's limit
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_S3 = "what answers there is not an S3 server"
_NOT_S3_HINT = "check endpoint_url, and whether this network wants you to sign in first"


class S3Store:
    """Objects in an S3 bucket, below a prefix. Connects at the first call; raises Transient where a new try may help.

    Uploads carry a CRC-32 that the server checks; downloads are not checked, because the layers above hash every byte.
    """

    def __init__(self, location: Location, options: Mapping[str, str], *, connections: int) -> None:
        host = host_of(location, options)
        self.label = location.text if host is None else f"{location.text} at {host}"
        self._bucket = location.bucket
        self._above = f"{location.prefix}/" if location.prefix else ""
        self._options = dict(options)
        self._connections = connections
        self._lock = threading.Lock()
        self._files: Any = None  # s3fs has no types
        self._client: Any = None

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        require_name(name)
        first = start or 0
        if end is not None and end <= first:
            return b""
        asked = {"Range": f"bytes={first}-{'' if end is None else end - 1}"} if first or end is not None else {}

        async def fetch(client: Any) -> tuple[int, bytes]:
            answer = await client.get_object(Bucket=self._bucket, Key=self._above + name, **asked)
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            most = answer["ContentLength"] if end is None else end - (first if status == 206 else 0)
            if not answer.get("ETag") or answer["ContentLength"] > most:  # never read more than the range
                answer["Body"].close()
                raise self._not_s3()
            received = io.BytesIO()  # its bytes come out without a copy; `read()` of everything has it twice
            async with answer["Body"] as body:
                async for piece in body.iter_chunks(_PIECE_BYTES):
                    received.write(piece)
            data = received.getvalue()
            if len(data) != answer["ContentLength"]:
                raise Transient(f"cannot read {quote(name)} from {self.label}: the connection broke off")
            return status, data

        try:
            status, data = self._call(fetch, name)
        except Exception as error:
            if asked and is_past_the_end(error.__cause__):
                return b""
            raise
        return data[first:end] if asked and status == 200 else data  # a server may answer a range with everything

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        require_name(name)
        request = {
            "Body": _Body(data),
            "ChecksumCRC32": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode("ascii"),
        }
        if only_if_absent:
            request["IfNoneMatch"] = "*"

        async def send(client: Any) -> bool:
            answer = await client.put_object(Bucket=self._bucket, Key=self._above + name, **request)
            if not answer.get("ETag"):  # a captive portal says 200 to anything
                raise self._not_s3()
            return True

        try:
            return self._call(send, name)
        except RemoteError as error:
            if only_if_absent and is_name_taken(error.__cause__):
                return self._holds(name, data)
            raise

    def list(self, prefix: str) -> Listing:
        require_prefix(prefix)
        entries: dict[str, ObjectEntry] = {}
        now = None
        for page in self._pages(prefix):
            if now is None:
                now = _server_time(page)
            for item in page.get("Contents", ()):
                name = item["Key"].removeprefix(self._above)
                if item["Key"].startswith(self._above + prefix) and is_name(name):
                    entries[name] = ObjectEntry(name, item["Size"], item["LastModified"].timestamp())
        assert now is not None
        return Listing(tuple(entries.values()), now)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            require_name(name)
        for at in range(0, len(names), _DELETE_AT_ONCE):
            keys = [{"Key": self._above + name} for name in names[at : at + _DELETE_AT_ONCE]]

            async def remove(client: Any, keys: Sequence[object] = keys) -> Any:
                return await client.delete_objects(Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})

            for refused in self._call(remove).get("Errors", ()):
                if refused.get("Code") != "NoSuchKey":
                    raise explain_refusal(refused.get("Code", ""), 200, self.label)

    def close(self) -> None:
        with self._lock:
            files, client = self._files, self._client
            self._files = self._client = None
        if client is not None and files is not None:
            # Requests that still run (Ctrl-C) end with it; their errors reach the threads that wait for them, not the terminal.
            files.loop.call_soon_threadsafe(files.loop.set_exception_handler, _pass_over)
            sync(files.loop, client.close)

    def _call(self, operation: Callable[[Any], Awaitable[T]], name: str | None = None) -> T:
        """Runs an operation on the thread of s3fs and waits for it; its failure comes out as ours, caused by theirs."""
        files = self._connected()

        async def run() -> T:
            self._client = await files.set_session()
            return await operation(self._client)

        try:
            result: T = sync(files.loop, run)
        except Exception as error:
            explained = explain(error, self.label, self._bucket, name)
            if explained is None or explained is error:
                raise
            raise explained from error
        return result

    def _connected(self) -> Any:
        with self._lock:
            if self._files is None:
                self._files = _file_system(self._options, self._connections)
            return self._files

    def _pages(self, prefix: str) -> Iterator[Any]:
        token: dict[str, str] = {}
        while True:

            async def ask(client: Any, token: Mapping[str, str] = token) -> Any:
                return await client.list_objects_v2(Bucket=self._bucket, Prefix=self._above + prefix, **token)

            page = self._call(ask)
            if "IsTruncated" not in page:
                raise self._not_s3()
            yield page
            if not page["IsTruncated"]:
                return
            following = {"ContinuationToken": page.get("NextContinuationToken", "")}
            if following == token or not following["ContinuationToken"]:
                raise RemoteError(
                    f"cannot list {self.label}: the server's listing never ends (it repeats its continuation token)"
                )
            token = following

    def _holds(self, name: str, data: Buffer) -> bool:
        try:
            return self.get(name, end=memoryview(data).nbytes + 1) == data
        except ObjectAbsent:
            raise Transient(f"cannot write {quote(name)} to {self.label}: it was there and then was not") from None

    def _not_s3(self) -> RemoteError:
        return RemoteError(f"cannot use {self.label}: {_NOT_S3}", hint=_NOT_S3_HINT)


class _Body(io.BytesIO):
    """What is sent: shares the memory of bytes, and goes out piece by piece. asyncio would copy bytes themselves.

    aiohttp asks for the buffer to learn its length, for which BytesIO makes a copy that it can change: 32 MiB for each pack on its way.
    """

    def __init__(self, data: Buffer) -> None:
        super().__init__(data)
        self._data = data

    def getbuffer(self) -> memoryview:
        return memoryview(self._data)


class _OneHostSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """HTTP that stays where it was sent: aiohttp would follow a redirect to any host."""

    async def _get_session(self, proxy_url: str | None) -> _WithoutRedirects:
        return _WithoutRedirects(await super()._get_session(proxy_url))


class _WithoutRedirects:
    """Leaves to botocore the redirects that name a bucket's region, and refuses others (it would ask again without end)."""

    __slots__ = ("_session",)

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, *arguments: Any, **options: Any) -> Any:
        response = await self._session.request(*arguments, allow_redirects=False, **options)
        if response.status in _REDIRECTS and "x-amz-bucket-region" not in response.headers:
            response.close()
            raise Redirected
        return response


def _file_system(options: Mapping[str, str], connections: int) -> Any:
    endpoint = options.get("endpoint_url", "")
    aws = not endpoint or "amazonaws.com" in endpoint
    verify: bool | str = options.get("ca_bundle", True)
    if options.get("verify") == "false" or endpoint.startswith("http://"):
        verify = False  # there is nothing to verify without TLS, and loading the certificates takes 20 ms
    config = {
        "http_session_cls": _OneHostSession,
        "connector_args": {"socket_factory": _socket},
        "retries": {"max_attempts": 0},
        "max_pool_connections": connections,
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _ANSWER_SECONDS,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "s3": {
            "addressing_style": options.get("addressing_style", "auto" if aws else "path"),
            "payload_signing_enabled": False,  # the signed CRC-32 header stands for it
        },
    }
    session = {"profile": options["profile"]} if "profile" in options else {}
    region = options.get("region") or (
        None if aws else "us-east-1"
    )  # other servers do not care, but signatures need one
    return s3fs.S3FileSystem(
        key=options.get("access_key_id"),
        secret=options.get("secret_access_key"),
        token=options.get("session_token"),
        endpoint_url=endpoint or None,
        client_kwargs={"verify": verify} | ({"region_name": region} if region else {}),
        config_kwargs=config,
        use_listings_cache=False,
        skip_instance_cache=True,
        **session,
    )


def _pass_over(_loop: object, _context: object) -> None:
    return


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Makes a socket that notices a dead peer while it sends, too: no time limit of aiohttp counts then."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _ANSWER_SECONDS * 1000)
    return opened


def _server_time(answer: Any) -> float:
    """Returns when the server says it answered, in unix seconds; our own clock if it does not say."""
    text = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except ValueError:
        return time.time()
