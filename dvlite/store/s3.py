"""A remote in a bucket: one S3 request for each call, what it asks for, and what its answer means.

What servers are known to lack is asked for in another way, once, and then no more. Why plain signed HTTP, with what was measured:
docs/explanation/design.md.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from dvlite.errors import RemoteError
from dvlite.formats.reference import Item
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
from dvlite.store.origins import Download, item_of, length_in, plain
from dvlite.store.s3_client import S3Client, S3Request
from dvlite.store.s3_errors import (
    Asked,
    NotS3,
    Refused,
    explain,
    explain_refusal,
    is_absent,
    is_name_taken,
    is_not_offered,
    is_past_the_end,
)
from dvlite.store.s3_http import Answer
from dvlite.store.s3_xml import (
    PAGE_BYTES,
    Key,
    NotXml,
    OtherXml,
    Page,
    delete_text,
    read_fault,
    read_page,
    read_refusals,
)
from dvlite.store.url import Location, address_of

T = TypeVar("T")

_LARGEST_BYTES = 5 << 30  # S3's limit of one upload
_DELETE_AT_ONCE = 1000  # S3's limit
_IDLE_PAGES = 1000  # of a listing: so many may bring nothing, where much was deleted in a bucket that keeps versions
_UPLOAD_FIELDS = {
    "sse": "x-amz-server-side-encryption",
    "sse_kms_key_id": "x-amz-server-side-encryption-aws-kms-key-id",
    "storage_class": "x-amz-storage-class",
    "acl": "x-amz-acl",
}


class NameTaken(RemoteError):
    """An object that was to be made new is there."""


class S3Store:
    """Objects in an S3 bucket, below a prefix. Connects at the first call; raises Transient where a new try may help.

    Uploads carry a CRC-32 that the server checks, or an MD5 for servers that refuse the header of a CRC-32 (Backblaze, Infomaniak, older ones); downloads are not checked, because the layers above hash every byte.
    """

    def __init__(self, location: Location, options: Mapping[str, str], *, connections: int) -> None:
        address = address_of(location, options)
        self.label = location.text if address is None else f"{location.text} at {address}"
        self._bucket = location.bucket
        self._above = f"{location.prefix}/" if location.prefix else ""
        self._connections = connections
        self._client = S3Client(location.bucket, options, connections=connections)
        self._every = {"x-amz-request-payer": "requester"} if options.get("requester_pays") == "true" else {}
        self._upload = {field: options[name] for name, field in _UPLOAD_FIELDS.items() if name in options}
        self._checksums = [options["checksum"]] if "checksum" in options else ["crc32", "md5"]  # the best first
        self._deletes_at_once = True

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        require_name(name)
        first = start or 0
        if end is not None and end <= first:
            return b""
        asked = {"range": f"bytes={first}-{'' if end is None else end - 1}"} if first or end is not None else {}
        most = _LARGEST_BYTES if end is None else end
        request = S3Request("GET", self._above + name, most, headers=asked | self._every, first=first)
        try:
            answer = self._call(request, "GetObject", name, _of_object)
        except RemoteError as error:
            if asked and is_past_the_end(error.__cause__):
                return b""
            raise
        is_whole = bool(asked) and answer.status == 200  # a server may answer a range with everything
        return answer.body[first:end] if is_whole else answer.body

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        require_name(name)
        try:
            self.put_key(self._above + name, data, only_if_absent=only_if_absent)
        except NameTaken:
            return self._holds(name, data)
        return True

    def put_key(self, key: str, data: Buffer, *, only_if_absent: bool = False) -> None:
        """Stores an object, whatever it is called. Raises NameTaken with `only_if_absent` where there is one."""
        kinds = self._checksums
        try:
            return self._put(key, data, kinds[0], only_if_absent=only_if_absent)
        except RemoteError as error:
            if len(kinds) == 1 or not is_not_offered(error.__cause__):
                raise
        self._checksums = kinds[1:]
        return self._put(key, data, kinds[1], only_if_absent=only_if_absent)

    def list(self, prefix: str) -> Listing:
        require_prefix(prefix)
        entries: dict[str, ObjectEntry] = {}
        now = None
        for page, moment in self._pages(prefix):
            now = moment if now is None else now
            for item in page.keys:
                name = item.key.removeprefix(self._above)
                if item.key.startswith(self._above + prefix) and is_name(name):
                    entries[name] = ObjectEntry(name, item.size_bytes, item.modified)
        assert now is not None
        return Listing(tuple(entries.values()), now)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            require_name(name)
        self.delete_keys([self._above + name for name in names])

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Removes objects, whatever they are called; one that is not there is fine."""
        for at in range(0, len(keys), _DELETE_AT_ONCE):
            self._delete(keys[at : at + _DELETE_AT_ONCE])

    def close(self) -> None:
        self._client.close()

    def keys(self, prefix: str) -> Iterator[Key]:
        """Yields every object below a prefix, whatever it is called and whoever put it there."""
        for page, _ in self._pages(prefix):
            yield from (key for key in page.keys if key.key.startswith(self._above + prefix))

    def send_key(self, request: S3Request) -> Answer:
        """Sends a request about one object, whatever it is called. Raises ObjectAbsent."""
        request = replace(request, headers={**request.headers, **self._every})
        try:
            return self._call(request, "GetObject", request.key, _of_object)
        except RemoteError as error:
            cause = error.__cause__
            if isinstance(cause, Refused) and cause.status == 404 and not cause.code:  # HEAD has no body
                raise ObjectAbsent(request.key, self.label) from error
            raise

    def _put(self, key: str, data: Buffer, checksum: str, *, only_if_absent: bool) -> None:
        headers = _checksum(checksum, data) | self._upload | self._every
        if only_if_absent:
            headers["if-none-match"] = "*"
        try:
            request = S3Request("PUT", key, PAGE_BYTES, headers=headers, body=data)
            self._call(request, "PutObject", key.removeprefix(self._above), _of_object)
        except RemoteError as error:
            if only_if_absent and is_name_taken(error.__cause__):
                raise NameTaken(f"{quote(key)} is there already, in {self.label}") from error
            raise

    def _delete(self, keys: Sequence[str]) -> None:
        if self._deletes_at_once:
            try:
                return self._delete_at_once(keys)
            except RemoteError as error:
                if not is_not_offered(error.__cause__, batch=True):
                    raise
        self._delete_one_by_one(keys)
        self._deletes_at_once = False
        return None

    def _delete_at_once(self, keys: Sequence[str]) -> None:
        body = delete_text(keys)
        headers = _checksum(self._checksums[0], body) | self._every
        request = S3Request("POST", "", PAGE_BYTES, query=[("delete", "")], headers=headers, body=body)
        name = keys[0].removeprefix(self._above) if len(keys) == 1 else ""
        for refused in self._call(request, "DeleteObjects", name, lambda answer: _parsed(answer, read_refusals)):
            if refused.code != "NoSuchKey":
                name = refused.key.removeprefix(self._above)
                raise explain_refusal(refused.code, 200, self._asked("DeleteObjects", name))

    def _delete_one_by_one(self, keys: Sequence[str]) -> None:
        """Sends as many requests at a time as there are connections; raises the first error after all ended."""

        def remove(key: str) -> None:
            request = S3Request("DELETE", key, PAGE_BYTES, headers=self._every)
            try:
                self._call(request, "DeleteObject", key.removeprefix(self._above), lambda _: None)
            except RemoteError as error:
                if not is_absent(error.__cause__):
                    raise

        with ThreadPoolExecutor(self._connections) as pool:
            outcomes = [pool.submit(remove, key) for key in keys]
        for outcome in outcomes:
            outcome.result()

    def _call(self, request: S3Request, operation: str, name: str, read: Callable[[Answer], T]) -> T:
        """Returns what `read` makes of the answer; a failure comes out as ours, caused by what went wrong."""
        try:
            return read(self._client.send(request))
        except Exception as error:
            explained = explain(error, self._asked(operation, name))
            if explained is None or explained is error:
                raise
            raise explained from error

    def _asked(self, operation: str, name: str) -> Asked:
        endpoint = self._client.endpoint_url
        is_named = " at " in self.label or not endpoint or "amazonaws.com" in endpoint
        label = self.label if is_named else f"{self.label} at {endpoint}"  # the environment or the AWS config chose it
        return Asked(label, self._bucket, operation, name)

    def _pages(self, prefix: str) -> Iterator[tuple[Page, float]]:
        """Yields the pages of a listing, each with the time of the server; an error if it repeats itself or never ends."""
        tokens, greatest, idle = {""}, "", 0
        token = ""
        while True:
            query = [("list-type", "2"), ("prefix", self._above + prefix), ("encoding-type", "url")]
            query += [("continuation-token", token)] if token else []
            request = S3Request("GET", "", PAGE_BYTES, query=query, headers=self._every)
            page, moment = self._call(request, "ListObjectsV2", prefix, _page)
            yield page, moment
            if page.is_last:
                return
            token = page.token
            newest = max((item.key for item in page.keys), default="")
            idle = 0 if newest > greatest else idle + 1
            greatest = max(greatest, newest)
            if token in tokens or idle > _IDLE_PAGES:
                what = "repeats its continuation token" if token in tokens else "has nothing new"
                raise RemoteError(f"cannot list {self.label}: the server's listing never ends (it {what})")
            tokens.add(token)

    def _holds(self, name: str, data: Buffer) -> bool:
        try:
            return self.get(name, end=memoryview(data).nbytes + 1) == data
        except ObjectAbsent:
            raise Transient(f"cannot write {quote(name)} to {self.label}: it was there and then was not") from None


class S3Origin:
    """Objects of others in a bucket: the one at the key of a location, else all below it."""

    def __init__(self, location: Location, options: Mapping[str, str], *, is_folder: bool, connections: int) -> None:
        self._store = S3Store(replace(location, prefix=""), options, connections=connections)
        self.label = quote(location.text)
        self._key, self._is_folder = location.prefix, is_folder or not location.prefix

    def look(self) -> Sequence[Item]:
        with contextlib.suppress(ObjectAbsent):
            if not self._is_folder:
                answer = self._store.send_key(S3Request("HEAD", self._key, PAGE_BYTES))
                return [item_of(answer.headers, length_in(answer.headers.get("content-length")))]
        above = f"{self._key}/" if self._key else ""
        keys = (key for key in self._store.keys(above) if not key.key.endswith("/"))  # a folder, for who lists them
        items = [
            Item(key.key.removeprefix(above), key.size_bytes, plain(key.etag), modified=f"{key.modified:.3f}")
            for key in keys
        ]
        if not items:
            raise RemoteError(f"there is nothing at {self.label}", hint="check the name of the bucket and the key")
        return items

    def read(self, item: Item, download: Download) -> Item:
        key, start = "/".join(filter(None, (self._key, item.name))), download.size_bytes
        if item.size_bytes == start:
            return item
        headers = {"range": f"bytes={start}-"} if start else {}
        headers |= {"if-match": item.etag} if item.etag else {}

        def sink(status: int, _: object) -> Callable[[bytes], None]:
            if status == 200 and download.size_bytes:  # a server may answer a range with everything
                download.restart()
            return download.take

        try:
            answer = self._store.send_key(S3Request("GET", key, 0, headers=headers, sink=sink))
        except RemoteError as error:
            if is_name_taken(error.__cause__):  # the condition was not met
                raise RemoteError(
                    f"{quote(key)} in {self.label} changed while it was read", hint="run it again"
                ) from error
            raise
        total = (answer.headers.get("content-range") or "").rpartition("/")[2] or answer.headers.get("content-length")
        return replace(item_of(answer.headers, length_in(total)), name=item.name)

    def close(self) -> None:
        self._store.close()


def _of_object(answer: Answer) -> Answer:
    if not answer.headers.get("etag"):  # a captive portal says 200 to anything
        raise NotS3
    return answer


def _page(answer: Answer) -> tuple[Page, float]:
    return _parsed(answer, read_page), _server_time(answer)


def _parsed(answer: Answer, read: Callable[[bytes], T]) -> T:
    """Returns what an XML answer says. S3 may say 200 and then fail: an error as the document, or half of it; no less may a captive portal."""
    try:
        return read(answer.body)
    except NotXml:
        raise (Refused(500) if answer.body else NotS3()) from None
    except OtherXml:
        fault = read_fault(answer.body)
        raise (NotS3() if fault is None else Refused(500, fault.code)) from None


def _checksum(kind: str, data: Buffer) -> dict[str, str]:
    """Returns the header of an upload by which the server notices damage on the way."""
    if kind == "md5":
        return {"content-md5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")}
    return {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode("ascii")}


def _server_time(answer: Answer) -> float:
    """Returns when the server says it answered, in unix seconds; our own clock if it does not say."""
    parts = email.utils.parsedate_tz(answer.headers.get("date", ""))
    try:
        return time.time() if parts is None else float(email.utils.mktime_tz(parts))
    except (ValueError, OverflowError):
        return time.time()
