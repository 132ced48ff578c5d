"""A bucket in which models stand for servers. Nothing can be renamed there: the file by which a server finds a version is written last.

The sidecar of a version is its claim: made only if there is none, before the files that it names; so an interrupted export goes on
where it was, and two exports at once cannot mix their files.
"""

from __future__ import annotations

import contextlib
import http.client
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from dvlite.errors import RemoteError, UsageError
from dvlite.serving.place import MOST_FILES, Hashed, Hasher, ServedContent, ServingPlace, VersionTaken
from dvlite.show import quote
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.retry import Retries, RetryBudget
from dvlite.store.s3 import NameTaken, S3Store
from dvlite.store.s3_client import S3Request
from dvlite.store.s3_errors import is_past_the_end
from dvlite.store.url import Location

_LARGEST_BYTES = 5 << 30  # of one upload


class BucketPlace:
    """Objects below a prefix. Lists afresh for every question."""

    def __init__(self, location: Location, options: Mapping[str, str], *, budget: RetryBudget, jobs: int) -> None:
        self._made_of = location, options, budget
        self._store = S3Store(location, options, connections=jobs)
        self._retries, self._jobs = Retries(budget), jobs
        self._above = f"{location.prefix}/" if location.prefix else ""
        self.label, self.url = quote(location.text), location.text

    def close(self) -> None:
        """Closes connections, and ends waits."""
        self._retries.close()
        self._store.close()

    def above(self) -> tuple[ServingPlace, str] | None:
        location, options, budget = self._made_of
        prefix, _, name = location.prefix.rpartition("/")
        if not name:
            return None
        text = f"s3://{location.bucket}/{prefix}".rstrip("/")
        above = replace(location, prefix=prefix, text=text)
        return BucketPlace(above, options, budget=budget, jobs=self._jobs), name

    def children(self, folder: str) -> list[str]:
        return sorted({path.partition("/")[0] for path in self.sizes(folder)})

    def sizes(self, folder: str) -> dict[str, int]:
        prefix = f"{folder}/" if folder else ""

        def listed() -> dict[str, int]:
            found: dict[str, int] = {}
            for key in self._store.keys(prefix):
                name = key.key.removeprefix(self._above + prefix)
                if name and not name.endswith("/"):
                    found[name] = key.size_bytes
                if len(found) > MOST_FILES:
                    raise UsageError(f"{self.label} holds more than {MOST_FILES:,} objects there")
            return found

        return self._retries.run(listed)

    def head(self, path: str, limit_bytes: int) -> bytes | None:
        taken = bytearray()
        try:
            self._get(path, taken.clear, taken.extend, limit_bytes - 1)
        except ObjectAbsent:
            return None
        return bytes(taken)

    def hashed(self, path: str, most_bytes: int, advance: Callable[[int], None]) -> Hashed | None:
        hashers: list[Hasher] = []

        def take(piece: bytes) -> None:
            hashers[-1].update(piece)
            advance(len(piece))

        try:
            self._get(path, lambda: hashers.append(Hasher()), take, most_bytes)
        except ObjectAbsent:
            return None
        return hashers[-1].hashed()

    @contextlib.contextmanager
    def fetched(self, path: str) -> Iterator[Path | None]:
        with tempfile.NamedTemporaryFile(prefix="dvlite-") as file:
            try:
                self._get(path, lambda: file.truncate(file.seek(0)), file.write, _LARGEST_BYTES)
            except ObjectAbsent:
                yield None
                return
            file.flush()
            yield Path(file.name)

    @contextlib.contextmanager
    def held(self, name: str, warn: Callable[[str], None]) -> Iterator[None]:
        yield

    def write_version(self, folder: str, contents: Mapping[str, ServedContent], sidecar: str, last: str) -> int:
        """Claims the version by its sidecar, then sends the rest."""
        too_large = [path for path, content in contents.items() if content.size_bytes > _LARGEST_BYTES]
        if too_large:
            raise UsageError(
                f"{quote(too_large[0])} is larger than 5 GiB, the most that one upload to a bucket takes",
                hint="export to a folder, and copy that: dvlite export serving ... --dest DIR",
            )
        with contents[sidecar].opened() as data:
            claim = bytes(data)
        try:
            self._retries.run(lambda: self._store.put_key(self._key(folder, sidecar), claim, only_if_absent=True))
        except NameTaken:
            if self.head(f"{folder}/{sidecar}", len(claim) + 1) != claim:
                raise VersionTaken(
                    f"{quote(folder)} in {self.label} was claimed by another export", hint="run it again"
                ) from None
        return self.complete(folder, contents, last)

    def complete(self, folder: str, contents: Mapping[str, ServedContent], last: str) -> int:
        """Sends what of a version is not there in its size, then looks whether all is; returns how many bytes it sent."""
        there = self.sizes(folder)
        lacking = [path for path, content in contents.items() if there.get(path) != content.size_bytes]
        pool = ThreadPoolExecutor(self._jobs)
        try:
            sent = [pool.submit(self.write, f"{folder}/{path}", contents[path]) for path in lacking if path != last]
            for one in sent:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self.close()  # ends what is under way
            raise
        finally:
            pool.shutdown()
        if last in lacking:
            self.write(f"{folder}/{last}", contents[last])
        there = self.sizes(folder)
        wrong = [path for path, content in contents.items() if there.get(path) != content.size_bytes]
        if wrong:
            raise RemoteError(
                f"{quote(wrong[0])} is not in {self.label} as it was sent",
                hint="run it again: it sends what is missing",
            )
        return sum(contents[path].size_bytes for path in lacking)

    def write(self, path: str, content: ServedContent) -> None:
        with content.opened() as data:
            self._retries.run(lambda: self._store.put_key(self._key(path), data))

    def remove_version(self, folder: str, sidecar: str) -> None:
        keys = [self._key(folder, path) for path in self.sizes(folder) if path != sidecar]
        self._retries.run(lambda: self._store.delete_keys(keys))
        self._retries.run(lambda: self._store.delete_keys([self._key(folder, sidecar)]))

    def _key(self, *parts: str) -> str:
        return self._above + "/".join(parts)

    def _get(self, path: str, begin: Callable[[], object], take: Callable[[bytes], object], most_bytes: int) -> None:
        """Reads an object piece by piece, from its start at each try; at most its first bytes. Raises ObjectAbsent."""

        def sink(_status: int, _head: http.client.HTTPMessage) -> Callable[[bytes], None]:
            begin()
            left = most_bytes + 1

            def take_some(piece: bytes) -> None:
                nonlocal left
                left -= len(piece)
                if left < 0:
                    raise RemoteError(f"{quote(path)} in {self.label} is longer than what was asked for")
                take(piece)

            return take_some

        headers = {"range": f"bytes=0-{most_bytes}"}

        def attempt() -> None:
            try:
                self._store.send_key(S3Request("GET", self._key(path), 0, headers=headers, sink=sink))
            except RemoteError as error:
                if not is_past_the_end(error.__cause__):
                    raise
                begin()

        self._retries.run(attempt)
