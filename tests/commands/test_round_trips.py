"""How many requests a command makes, how many of them wait for another, and how many objects they leave: with more paths, stages and runs no more.

A round trip is a request that could not be sent before another was answered; requests side by side are one. What waits for what is followed
through threads, not measured by a clock: a request is one deeper than whatever its thread knew when it made it.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dvlite.store.folder import FolderStore


class Trips:
    """Counts the requests to folders, and the longest chain of them."""

    def __init__(self, monkeypatch):
        self.requests = self.deepest = 0
        self._at, self._lock = threading.local(), threading.Lock()
        for operation in ("get", "put", "list", "delete"):
            monkeypatch.setattr(FolderStore, operation, self._counted(getattr(FolderStore, operation)))
        submit, result = ThreadPoolExecutor.submit, Future.result

        def submit_from_here(pool, work, /, *args, **how):
            began, ended = self._depth, [0]

            def run():
                self._at.depth = began
                try:
                    return work(*args, **how)
                finally:
                    ended[0] = self._depth

            future = submit(pool, run)
            future.depth = ended
            return future

        def result_to_here(future, timeout=None):
            try:
                return result(future, timeout)
            finally:
                self._at.depth = max(self._depth, future.depth[0])

        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_from_here)
        monkeypatch.setattr(Future, "result", result_to_here)

    @property
    def _depth(self):
        return getattr(self._at, "depth", 0)

    def _counted(self, request):
        def counted(store, *what, **how):
            self._at.depth = self._depth + 1
            with self._lock:
                self.requests += 1
                self.deepest = max(self.deepest, self._at.depth)
            return request(store, *what, **how)

        return counted

    def of(self, project, *words):
        """Runs a command and returns its requests and round trips."""
        self.requests = self.deepest = self._at.depth = 0
        project.dvlite(*words)
        return self.requests, self.deepest


@pytest.mark.parametrize("size", [1, 8])
def test_requests_and_round_trips(shared, colleague, monkeypatch, size):
    for number in range(size):
        shared.write(f"{number}.bin", str(number))
        shared.write(f"data/{number}", f"in data {number}")
    shared.write(
        "dvlite.yaml", "stages:\n" + "".join(f"  s{n}: {{cmd: 'echo {n} > o{n}', outs: [o{n}]}}\n" for n in range(size))
    )
    shared.dvlite("add", "data", *[f"{number}.bin" for number in range(size)])
    shared.dvlite("repro")
    shared.commit()
    trips = Trips(monkeypatch)
    counted = {"push, first": trips.of(shared, "push")}
    objects = [path for path in (shared.root.parent / "store").rglob("*") if path.is_file()]
    counted["push, nothing new"] = trips.of(shared, "push")
    counted["status --remote"] = trips.of(shared, "status", "--remote")
    monkeypatch.setenv("DVLITE_TRUST", str(shared.root.parent / "store"))
    bob = colleague(shared)
    counted["verify, fresh clone"] = trips.of(bob, "verify")
    counted["verify --remote"] = trips.of(bob, "verify", "--remote")
    carol = colleague(shared, "carol")
    counted["pull, cold"] = trips.of(carol, "pull")
    counted["pull, nothing new"] = trips.of(carol, "pull")
    shared.write("data/0", "edited")
    shared.dvlite("add", "-u")
    shared.commit()
    counted["push, one edit"] = trips.of(shared, "push")
    carol.git("pull", "-q")
    counted["pull, one edit"] = trips.of(carol, "pull")
    counted["gc --remote"] = trips.of(shared, "gc", "--remote")
    assert len(objects) == 6  # config, a pack of files and one of lists, index, root, runs
    assert counted == {  # requests, round trips
        "push, first": (18, 11),
        "push, nothing new": (7, 2),
        "status --remote": (5, 2),
        "verify, fresh clone": (2, 2),
        "verify --remote": (9, 6),
        "pull, cold": (9, 5),
        "pull, nothing new": (5, 1),
        "push, one edit": (14, 7),
        "pull, one edit": (8, 4),
        "gc --remote": (8, 5),  # with the tasks that were given out
    }
