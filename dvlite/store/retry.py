"""Tries again: the one retry budget of dvlite. Those of botocore are off, for budgets inside budgets multiply.

Backends decide what may pass (they raise Transient) and this module decides for how long to hope. Knows no backend.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dvlite.errors import RemoteError
from dvlite.store.object_store import Buffer, Listing, ObjectStore, Transient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """For how long failures are tried again: `seconds` since the first failure or a later answer to any request; fewer if nothing answered yet.

    The time that a stalled request waited for an answer does not count. A wrong endpoint fails in `unreached_seconds`; a server that says it is busy, one that restarts, or a laptop that changes networks, has `seconds`. Waits double
    from `first_wait_seconds` to `longest_wait_seconds` or a tenth of the budget, each cut at random by up to half, so that clients do not return in step. The last try is at the end of the budget.
    """

    seconds: float = 120.0
    unreached_seconds: float = 10.0
    first_wait_seconds: float = 0.2
    longest_wait_seconds: float = 15.0


class Retries:
    """Repeats operations that failed in passing, within one budget; each must be safe to repeat. Thread-safe.

    Success of any thread's call renews the budget of all: while the store answers someone, it is not down.
    """

    def __init__(self, budget: RetryBudget, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._closed = threading.Event()
        self._is_reached = False
        self._last_answer = -math.inf

    def close(self) -> None:
        """Ends waits, and later ones at once."""
        self._closed.set()

    def run(self, operation: Callable[[], T]) -> T:
        """Returns what an operation returns, of a later try if it raises Transient; raises RemoteError when the budget is spent."""
        began, tries = self._clock(), 0
        failed: float | None = None
        while True:
            tries += 1
            try:
                result = operation()
            except Transient as error:
                failed = self._clock() if failed is None else failed
                self._is_reached = self._is_reached or error.answered
                wait = self._wait_seconds(began, failed, tries)
                if wait is None or self._closed.wait(wait):
                    raise self._given_up(error, tries, self._clock() - began) from error
            except RemoteError:
                self.answered()  # a refusal is an answer too
                raise
            else:
                self.answered()
                return result

    def answered(self) -> None:
        """Renews the budget: what is asked made progress."""
        self._is_reached, self._last_answer = True, self._clock()

    def _wait_seconds(self, began: float, failed: float, tries: int) -> float | None:
        """Returns how long to wait before the next try, or None if the budget is spent."""
        budget = self._budget
        if self._is_reached:
            left = max(failed, self._last_answer) + budget.seconds - self._clock()
        else:
            left = began + min(budget.unreached_seconds, budget.seconds) - self._clock()
        longest = min(budget.longest_wait_seconds, budget.seconds / 10)
        wait = min(budget.first_wait_seconds * 2.0 ** min(tries - 1, 32), longest)
        wait *= random.uniform(0.5, 1.0)  # noqa: S311  (no secret: it spreads clients out)
        return min(wait, left) if left > 0 else None

    def _given_up(self, error: Transient, tries: int, seconds: float) -> RemoteError:
        times = "once" if tries == 1 else f"{tries} times"
        return RemoteError(f"{error.message} (tried {times} in {seconds:.0f} s)", hint=error.hint)


class RetryingStore:
    """A store that repeats what failed in passing; every operation of a store is safe to repeat. Thread-safe."""

    def __init__(self, store: ObjectStore, budget: RetryBudget, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.label = store.label
        self._store = store
        self._retries = Retries(budget, clock)

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        return self._retries.run(lambda: self._store.get(name, start=start, end=end))

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        return self._retries.run(lambda: self._store.put(name, data, only_if_absent=only_if_absent))

    def list(self, prefix: str) -> Listing:
        return self._retries.run(lambda: self._store.list(prefix))

    def delete(self, names: Sequence[str]) -> None:
        self._retries.run(lambda: self._store.delete(names))

    def close(self) -> None:
        self._retries.close()
        self._store.close()
