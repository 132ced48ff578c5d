"""Lets clients of stores in memory make their requests one at a time, in an order drawn from a seed; any client may die before any request.

A client that dies loses its process, not its last request: that may be applied later. Knows nothing of what the clients do.
"""

from __future__ import annotations

import _thread
import functools
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures._base import FINISHED
from dataclasses import dataclass, field

from dvlite.errors import DvliteError
from dvlite.store.object_store import Listing
from dvlite.store.remote import Remote
from tests.store.memory import MemoryStore
from tests.store.world import Interrupted

_MOST_REQUESTS = 6000  # of all clients of a schedule


def _closed_gate() -> _thread.LockType:
    gate = _thread.allocate_lock()
    gate.acquire()
    return gate


@dataclass
class Client:
    """A thread that waits at its gate before each of its requests. `left` is how many it may still make before it dies; None: any number."""

    name: str
    work: Callable[[], None]
    left: int | None = None
    gate: _thread.LockType = field(default_factory=_closed_gate)
    failure: BaseException | None = None

    @property
    def died(self) -> bool:
        return isinstance(self.failure, Interrupted)

    @property
    def gave_up(self) -> bool:
        return isinstance(self.failure, DvliteError)


class Scheduler:
    """Lets one client at a time make one request; which one is drawn from the seed.

    The client that waits opens the gate of the next one itself: a thread between them would double the price of a request.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clients: dict[str, Client] = {}
        self.requests = 0
        self._alive: list[Client] = []
        self._late: list[Callable[[], object]] = []  # requests of clients that died, on their way
        self._end = _closed_gate()
        self._is_stuck = False

    def add(self, name: str, work: Callable[[], None], left: int | None = None) -> None:
        self.clients[name] = Client(name, work, left)

    def run(self) -> None:
        """Runs all clients until none is alive; then applies what is still on its way."""
        self._alive = list(self.clients.values())
        for client in self._alive:
            _thread.start_new_thread(self._live, (client,))
        self._choose().gate.release()
        self._end.acquire()
        if self._is_stuck:
            raise AssertionError("the schedule does not end")
        for request in self._late:
            request()

    def _live(self, client: Client) -> None:
        client.gate.acquire()
        try:
            client.work()
        except BaseException as error:  # `play` says what is no error of ours
            client.failure = error
        self._alive.remove(client)
        if self._alive:
            self._choose().gate.release()
        else:
            self._end.release()

    def _choose(self) -> Client:
        if self._late and self.random.random() < 0.1:
            self._late.pop(self.random.randrange(len(self._late)))()
        self.requests += 1
        return self._alive[int(self.random.random() * len(self._alive))]

    def before(self, client: Client, late: Callable[[], object] | None) -> None:
        """Waits for the client's turn; it may die here, with its request (`late`, if that changes something) on its way or not."""
        if self.requests > _MOST_REQUESTS:
            self._is_stuck = True
            self._end.release()
            client.gate.acquire()  # for ever
        following = self._choose()
        if following is not client:
            following.gate.release()
            client.gate.acquire()
        if client.left is not None:
            client.left -= 1
            if client.left < 0:
                if late is not None and self.random.random() < 0.5:
                    self._late.append(late)
                raise Interrupted


class ScheduledStore:
    """A store whose every request waits for the turn of its client."""

    def __init__(self, scheduler: Scheduler, name: str, store: MemoryStore) -> None:
        self.label = store.label
        self._scheduler, self._name, self._store = scheduler, name, store

    def _wait(self, late: Callable[[], object] | None = None) -> None:
        self._scheduler.before(self._scheduler.clients[self._name], late)

    def get(self, name, *, start=None, end=None) -> bytes:
        self._wait()
        return self._store.get(name, start=start, end=end)

    def put(self, name, data, *, only_if_absent=False) -> bool:
        copied = bytes(data)
        self._wait(lambda: self._store.put(name, copied))
        return self._store.put(name, copied, only_if_absent=only_if_absent)

    def list(self, prefix) -> Listing:
        self._wait()
        return self._store.list(prefix)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:  # a batch is not one event
            self._wait(lambda name=name: self._store.delete([name]))
            self._store.delete([name])

    def close(self) -> None:
        return


class _Done(Future):
    """A future whose work ran already; all share a condition, which costs ten times as much as all else of it."""

    _shared = threading.Condition()

    def __init__(self, work: Callable[[], object]) -> None:
        self._condition, self._waiters, self._done_callbacks = self._shared, [], []
        self._state, self._result, self._exception = FINISHED, None, None
        try:
            self._result = work()
        except BaseException as error:
            self._exception = error


class InlinePool:
    """Stands for a pool of threads: what is submitted runs at once, in the thread of its client."""

    def __init__(self, _threads: int = 1) -> None:
        pass

    def submit(self, work, *arguments) -> Future:
        return _Done(functools.partial(work, *arguments))

    def shutdown(self, **_: object) -> None:
        return


class LightRemote(Remote):
    """A remote without threads, and with its notes in memory: they are a sixth of the price of a schedule."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._notes: dict[str, dict[str, bytes]] = {}

    def run_all(self, work, names):
        results, failure = [], None
        for name in names:
            try:
                results.append(work(name))
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return results

    def remember(self, kind, name, data) -> None:
        self._notes.setdefault(kind, {})[name] = bytes(data)

    def recall(self, kind, name) -> bytes | None:
        return self._notes.get(kind, {}).get(name)

    def remembered(self, kind) -> set[str]:
        return set(self._notes.get(kind, ()))

    def forget(self, kind, names) -> None:
        for name in names:
            self._notes.get(kind, {}).pop(name, None)
