"""Stores for tests: one in memory, and one that records the calls to another."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from dvlite.store.object_store import (
    Buffer,
    Listing,
    ObjectAbsent,
    ObjectEntry,
    ObjectStore,
    require_name,
    require_prefix,
)


@dataclass
class MemoryStore:
    """A real store that forgets; `objects` may be looked at and damaged by tests, `clock` set."""

    label: str = "memory"
    objects: dict[str, bytes] = field(default_factory=dict)
    modified: dict[str, float] = field(default_factory=dict)
    clock: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        return time.time() if self.clock is None else self.clock

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        require_name(name)
        with self._lock:
            if name not in self.objects:
                raise ObjectAbsent(name, self.label)
            return self.objects[name][start or 0 : end]

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        require_name(name)
        with self._lock:
            if only_if_absent and name in self.objects:
                return self.objects[name] == data
            self.objects[name] = bytes(data)
            self.modified[name] = self.now()
            return True

    def list(self, prefix: str) -> Listing:
        require_prefix(prefix)
        with self._lock:
            found = [
                ObjectEntry(name, len(data), self.modified.get(name, 0.0))
                for name, data in self.objects.items()
                if name.startswith(prefix)
            ]
            return Listing(tuple(found), self.now())

    def delete(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                require_name(name)
                self.objects.pop(name, None)
                self.modified.pop(name, None)

    def close(self) -> None:
        return


class RecordingStore:
    """Passes calls on to a store and keeps them, so that a test can say `the second push makes 2 LISTs and no PUT`.

    `calls` holds (operation, name), where the name of a list is its prefix and a delete stands once for each name; `sent_bytes` and
    `received_bytes` count the bytes of objects.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.label = store.label
        self.store = store
        self.calls: list[tuple[str, str]] = []
        self.sent_bytes = 0
        self.received_bytes = 0
        self._lock = threading.Lock()

    def count(self, operation: str, prefix: str = "") -> int:
        """Returns how many calls of an operation were about names that start with `prefix`."""
        return sum(1 for made, name in self.calls if made == operation and name.startswith(prefix))

    def forget(self) -> None:
        """Starts counting anew."""
        with self._lock:
            self.calls.clear()
            self.sent_bytes = self.received_bytes = 0

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        self._record("get", name)
        data = self.store.get(name, start=start, end=end)
        with self._lock:
            self.received_bytes += len(data)
        return data

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        self._record("put", name)
        done = self.store.put(name, data, only_if_absent=only_if_absent)
        with self._lock:
            self.sent_bytes += memoryview(data).nbytes
        return done

    def list(self, prefix: str) -> Listing:
        self._record("list", prefix)
        return self.store.list(prefix)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._record("delete", name)
        self.store.delete(names)

    def close(self) -> None:
        self.store.close()

    def _record(self, operation: str, name: str) -> None:
        with self._lock:
            self.calls.append((operation, name))
