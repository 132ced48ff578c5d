"""A remote in a bucket: one S3 request for each call, what it asks for, and what its answer means.

What servers are known to lack is asked for in another way, once, and then no more. Measured against SeaweedFS on loopback, 32 MiB objects: the server is the limit from 4 threads on, whatever is checked or signed here;
client time per GiB of uploads was 1.5 s with the payload signed by SHA-256 on the event loop, 0.9 s with CRC-32 in the caller's thread.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import hashlib
import io
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

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
from dvlite.store.s3_client import S3Client
from dvlite.store.s3_errors import (
    Asked,
    explain,
    explain_refusal,
    is_absent,
    is_name_taken,
    is_not_offered,
    is_past_the_end,
)
from dvlite.store.url import Location, address_of

T = TypeVar("T")

_PIECE_BYTES = 1 << 18
_DELETE_AT_ONCE = 1000  # S3's limit
_UPLOAD_FIELDS = {
    "sse": "ServerSideEncryption",
    "sse_kms_key_id": "SSEKMSKeyId",
    "storage_class": "StorageClass",
    "acl": "ACL",
}
_NOT_S3 = "what answers there is not an S3 server"
_NOT_S3_HINT = "check endpoint_url, and whether this network wants you to sign in first"


class S3Store:
    """Objects in an S3 bucket, below a prefix. Connects at the first call; raises Transient where a new try may help.

    Uploads carry a CRC-32 that the server checks, or an MD5 for servers that refuse the header of a CRC-32 (Backblaze, Infomaniak, older ones); downloads are not checked, because the layers above hash every byte.
    """

    def __init__(self, location: Location, options: Mapping[str, str], *, connections: int) -> None:
        address = address_of(location, options)
        self.label = location.text if address is None else f"{location.text} at {address}"
        self._bucket = location.bucket
        self._above = f"{location.prefix}/" if location.prefix else ""
        self._client = S3Client(options, connections=connections)
        self._every = {"RequestPayer": "requester"} if options.get("requester_pays") == "true" else {}
        self._upload = {field: options[name] for name, field in _UPLOAD_FIELDS.items() if name in options}
        self._checksums = [options["checksum"]] if "checksum" in options else ["crc32", "md5"]  # the best first
        self._deletes_at_once = True

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        require_name(name)
        first = start or 0
        if end is not None and end <= first:
            return b""
        asked = {"Range": f"bytes={first}-{'' if end is None else end - 1}"} if first or end is not None else {}

        async def fetch(client: Any) -> tuple[int, bytes]:
            answer = await client.get_object(Bucket=self._bucket, Key=self._above + name, **asked, **self._every)
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
            status, data = self._call(fetch, "GetObject", name)
        except Exception as error:
            if asked and is_past_the_end(error.__cause__):
                return b""
            raise
        return data[first:end] if asked and status == 200 else data  # a server may answer a range with everything

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        require_name(name)
        kinds = self._checksums
        try:
            return self._put(name, data, kinds[0], only_if_absent=only_if_absent)
        except RemoteError as error:
            if len(kinds) == 1 or not is_not_offered(error.__cause__):
                raise
        self._checksums = kinds[1:]
        return self._put(name, data, kinds[1], only_if_absent=only_if_absent)

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
            self._delete(names[at : at + _DELETE_AT_ONCE])

    def close(self) -> None:
        self._client.close()

    def _put(self, name: str, data: Buffer, checksum: str, *, only_if_absent: bool) -> bool:
        request = {"Body": _Body(data)} | _checksum(checksum, data) | self._upload | self._every
        if only_if_absent:
            request["IfNoneMatch"] = "*"

        async def send(client: Any) -> bool:
            answer = await client.put_object(Bucket=self._bucket, Key=self._above + name, **request)
            if not answer.get("ETag"):  # a captive portal says 200 to anything
                raise self._not_s3()
            return True

        try:
            return self._call(send, "PutObject", name)
        except RemoteError as error:
            if only_if_absent and is_name_taken(error.__cause__):
                return self._holds(name, data)
            raise

    def _delete(self, names: Sequence[str]) -> None:
        if self._deletes_at_once:
            try:
                return self._delete_at_once(names)
            except RemoteError as error:
                if not is_not_offered(error.__cause__, batch=True):
                    raise
        self._call(lambda client: self._delete_one_by_one(client, names), "DeleteObject", "")
        self._deletes_at_once = False
        return None

    def _delete_at_once(self, names: Sequence[str]) -> None:
        request = {"Objects": [{"Key": self._above + name} for name in names], "Quiet": True}

        async def remove(client: Any) -> Any:
            return await client.delete_objects(Bucket=self._bucket, Delete=request, **self._every)

        for refused in self._call(remove, "DeleteObjects", names[0] if len(names) == 1 else "").get("Errors", ()):
            if refused.get("Code") != "NoSuchKey":
                name = str(refused.get("Key", "")).removeprefix(self._above)
                raise explain_refusal(refused.get("Code", ""), 200, self._asked("DeleteObjects", name))

    async def _delete_one_by_one(self, client: Any, names: Sequence[str]) -> None:
        """Sends as many requests at a time as there are connections; raises the first error after all ended."""

        async def remove(name: str) -> None:
            await client.delete_object(Bucket=self._bucket, Key=self._above + name, **self._every)

        outcomes = await asyncio.gather(*map(remove, names), return_exceptions=True)
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, Exception) and not is_absent(outcome):
                raise explain(outcome, self._asked("DeleteObject", name)) or outcome from outcome

    def _call(self, operation: Callable[[Any], Awaitable[T]], request: str, name: str) -> T:
        """Runs an operation on the thread of s3fs and waits for it; its failure comes out as ours, caused by theirs."""
        try:
            return self._client.run(operation)
        except Exception as error:
            explained = explain(error, self._asked(request, name))
            if explained is None or explained is error:
                raise
            raise explained from error

    def _asked(self, request: str, name: str) -> Asked:
        endpoint = self._client.endpoint_url
        is_named = " at " in self.label or not endpoint or "amazonaws.com" in endpoint
        label = self.label if is_named else f"{self.label} at {endpoint}"  # the environment or the AWS config chose it
        return Asked(label, self._bucket, request, name)

    def _pages(self, prefix: str) -> Iterator[Any]:
        token: dict[str, str] = {}
        while True:

            async def ask(client: Any, token: Mapping[str, str] = token) -> Any:
                return await client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._above + prefix, **token, **self._every
                )

            page = self._call(ask, "ListObjectsV2", prefix)
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


def _checksum(kind: str, data: Buffer) -> dict[str, str]:
    """Returns the field of an upload by which the server notices damage on the way."""
    if kind == "md5":
        return {"ContentMD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")}
    return {"ChecksumCRC32": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode("ascii")}


def _server_time(answer: Any) -> float:
    """Returns when the server says it answered, in unix seconds; our own clock if it does not say."""
    text = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except ValueError:
        return time.time()
