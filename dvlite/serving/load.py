"""Load on a server, by aiohttp: a number of connections, each of which sends the next request when the last one is answered.

Latencies are those of good answers (status 2xx, read whole): a server that refuses fast is not fast. Nothing is followed, an answer has
an end in size and in time; what is kept of a level does not grow with it.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import math
import random
import threading
import time
from array import array
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from dvlite.errors import PartlyDone, UsageError
from dvlite.git.program import without_credentials
from dvlite.serving.load_requests import LoadRequest
from dvlite.show import count, quote

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
MOST_SAMPLES = 1_000_000  # latencies that are kept of a level: 8 MB
_ANSWER_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 16
_LEAST_DEAD = 20  # failures to connect in a row after which a server counts as dead
_NO_CONNECTION = "no connection"
_NO_ROOM = "no port or file left on this machine"
_LIMITS_HERE = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
_END_SECONDS = 10.0  # for what is cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured at one number of connections. Latencies in milliseconds, nearest rank, None without a good answer.

    `samples` are the latencies that the percentiles rest on: all good answers, or a random million of them. `errors` counts what went
    wrong, by kind (`status 500`, `timeout`); `throughput` is good answers a second.
    """

    connections: int
    requests: int
    good: int
    errors: Mapping[str, int]
    seconds: float
    throughput: float
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    samples: int
    sent_bytes: int
    received_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """The address of a server, the token that it wants, and how long an answer may take."""

    url: str
    token: str = ""
    timeout_seconds: float = 30.0

    @property
    def label(self) -> str:
        return quote(without_credentials(self.url))


def check_address(url: str) -> None:
    """Raises UsageError for what is no address of a server."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise UsageError(
            f"{quote(without_credentials(url))} is no address of a server", hint="one is like http://localhost:8000"
        )


def problem_of(target: LoadTarget, request: LoadRequest, timeout_seconds: float | None = None) -> str:
    """Sends one request; returns what is wrong with the answer (`status 404`, `no connection`), nothing for a good one."""

    async def once() -> str:
        async with _session(target, 1, timeout_seconds or target.timeout_seconds) as session:
            tally = _Tally()
            return await _send(session, target, request, tally)

    return _completed(once())


def measure(target: LoadTarget, requests: Sequence[LoadRequest], connections: int, seconds: float) -> Figures:
    """Measures one level; requests that are under way when its time is over are waited for. Raises PartlyDone for a server that died."""
    return _completed(_measured(target, requests, connections, seconds))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Returns the nearest rank of sorted values, of which there is at least one."""
    return ordered[max(1, math.ceil(percent * len(ordered) / 100)) - 1]


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    good: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    longest: float = 0.0
    sent: int = 0
    received: int = 0
    unreached: int = 0  # in a row, of all connections
    chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311  # a sample, no secret

    def take(self, problem: str, seconds: float) -> None:
        self.requests += 1
        self.unreached = self.unreached + 1 if problem in (_NO_CONNECTION, _NO_ROOM) else 0
        if problem:
            self.errors[problem] += 1
            return
        self.good += 1
        self.longest = max(self.longest, seconds)
        if len(self.latencies) < MOST_SAMPLES:
            self.latencies.append(seconds)
        elif (place := self.chance.randrange(self.good)) < MOST_SAMPLES:
            self.latencies[place] = seconds


async def _measured(target: LoadTarget, requests: Sequence[LoadRequest], connections: int, seconds: float) -> Figures:
    tally = _Tally()
    following = itertools.cycle(requests)
    most_unreached = max(_LEAST_DEAD, 2 * connections)
    async with _session(target, connections, target.timeout_seconds) as session:
        started = time.perf_counter()
        until = started + seconds

        async def connection() -> None:
            while (began := time.perf_counter()) < until and tally.unreached < most_unreached:
                problem = await _send(session, target, next(following), tally)
                tally.take(problem, time.perf_counter() - began)

        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(connection())
        took = time.perf_counter() - started
    if tally.unreached >= most_unreached:
        after = f"after {count(tally.good, 'good answer')} at {count(connections, 'connection')}"
        if tally.errors[_NO_ROOM]:
            raise PartlyDone(
                f"{_NO_ROOM} for connections to {target.label}, {after}",
                hint="measure fewer connections (--concurrency), or see ulimit -n",
            )
        raise PartlyDone(f"{target.label} answers no more, {after}", hint="see the log of that server")
    return _figures(tally, connections, took)


def _figures(tally: _Tally, connections: int, seconds: float) -> Figures:
    ordered = sorted(tally.latencies)

    def at(percent: float) -> float | None:
        return round(percentile(ordered, percent) * 1000, 3) if ordered else None

    return Figures(
        connections=connections,
        requests=tally.requests,
        good=tally.good,
        errors=dict(sorted(tally.errors.items())),
        seconds=round(seconds, 3),
        throughput=round(tally.good / seconds, 3),
        p50_ms=at(50),
        p90_ms=at(90),
        p95_ms=at(95),
        p99_ms=at(99),
        max_ms=round(tally.longest * 1000, 3) if ordered else None,
        samples=len(ordered),
        sent_bytes=tally.sent,
        received_bytes=tally.received,
    )


def _session(target: LoadTarget, connections: int, timeout_seconds: float) -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Authorization": f"Bearer {target.token}"} if target.token else {},
        auto_decompress=False,
        trust_env=False,
    )


async def _send(session: aiohttp.ClientSession, target: LoadTarget, request: LoadRequest, tally: _Tally) -> str:
    """Sends a request and reads the answer; returns what is wrong with it."""
    import aiohttp

    url = target.url.rstrip("/") + request.path
    try:
        async with session.request(
            request.method, url, data=request.body or None, headers=request.headers, allow_redirects=False
        ) as answer:
            tally.sent += len(request.body)
            received = 0
            async for block in answer.content.iter_chunked(_BLOCK_BYTES):
                received += len(block)
                if received > _ANSWER_BYTES:
                    answer.close()
                    return f"answer over {_ANSWER_BYTES >> 20} MiB"
            tally.received += received
            return "" if 200 <= answer.status < 300 else f"status {answer.status}"
    except TimeoutError:
        return "timeout"
    except aiohttp.ServerDisconnectedError:
        return "connection closed"
    except aiohttp.ClientSSLError:
        return "certificate not trusted"
    except aiohttp.ClientConnectorError as error:
        return _NO_ROOM if error.errno in _LIMITS_HERE else _NO_CONNECTION
    except aiohttp.ClientPayloadError:
        return "answer cut short"
    except (aiohttp.ClientOSError, OSError):
        return "connection broken"
    except (aiohttp.ClientError, ValueError):
        return "answer is no HTTP"


def _completed(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in a thread of its own: a notebook has a loop in this one, and an interruption ends the work cleanly."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(_END_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
