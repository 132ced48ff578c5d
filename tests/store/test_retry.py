"""The one retry budget: what is tried again, for how long, and what is said at the end."""

import threading

import pytest

from dvlite.errors import RemoteError
from dvlite.store.object_store import ObjectAbsent, Transient
from dvlite.store.retry import RetryBudget, RetryingStore
from tests.store.memory import MemoryStore

QUICK = RetryBudget(seconds=1000, unreached_seconds=1000, first_wait_seconds=0, longest_wait_seconds=0)


class FailingStore(MemoryStore):
    """Raises the errors it is given, one for each call, then works."""

    def __init__(self, *failures):
        super().__init__()
        self.failures, self.tries = list(failures), 0

    def get(self, name, *, start=None, end=None):
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        return super().get(name, start=start, end=end)


def busy(*, answered=False):
    return Transient("cannot reach origin: the server is busy", hint="try again later", answered=answered)


def test_what_passes_is_tried_again():
    store = FailingStore(busy(), busy())
    store.put("a", b"x")
    assert RetryingStore(store, QUICK).get("a") == b"x"
    assert store.tries == 3


@pytest.mark.parametrize("error", [RemoteError("denied"), ObjectAbsent("a", "memory"), ValueError("a bug")])
def test_what_does_not_pass_fails_at_once(error):
    store = FailingStore(error)
    with pytest.raises(type(error)) as caught:
        RetryingStore(store, QUICK).get("a")
    assert caught.value is error
    assert store.tries == 1


def test_a_spent_budget_says_how_often_and_how_long():
    """A store that never answered has the shorter one."""

    class Down(MemoryStore):
        def get(self, name, *, start=None, end=None):
            clock[0] += 2
            raise busy()

    clock = [0.0]
    budget = RetryBudget(seconds=1000, unreached_seconds=7, first_wait_seconds=0, longest_wait_seconds=0)
    with pytest.raises(RemoteError) as caught:
        RetryingStore(Down(), budget, clock=lambda: clock[0]).get("a")
    assert caught.value.message == "cannot reach origin: the server is busy (tried 4 times in 8 s)"
    assert not isinstance(caught.value, Transient)
    assert caught.value.hint == "try again later"


class Patience:
    """A clock that goes on only while a store waits, in place of the store's own event; keeps the waits."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        return False


def retrying(store, budget):
    """Returns a retrying store without real waits, and its patience."""
    patience = Patience()
    patient = RetryingStore(store, budget, clock=lambda: patience.now)
    patient._retries._closed = patience
    return patient, patience


@pytest.mark.parametrize(("answered", "spent"), [(True, 300), (False, 10)])
def test_a_server_that_says_it_is_busy_has_the_whole_budget_from_the_first_request_on(answered, spent):
    """And a place where nothing speaks S3 does not."""
    patient, patience = retrying(FailingStore(*[busy(answered=answered)] * 1000), RetryBudget(seconds=300))
    with pytest.raises(RemoteError, match=rf"in {spent} s\)$"):
        patient.get("a")
    assert patience.now == pytest.approx(spent)
    assert max(patience.waits) <= 15


def test_waits_grow_to_a_tenth_of_the_budget_and_differ_between_clients():
    """A request that fails six times out of ten would else be given up after eight tries in 30 s: one push in ten."""
    runs = [retrying(FailingStore(*[busy(answered=True)] * 1000), RetryBudget(seconds=30)) for _ in range(2)]
    for patient, patience in runs:
        with pytest.raises(RemoteError):
            patient.get("a")
        assert len(patience.waits) >= 13
        assert max(patience.waits) <= 3
    assert runs[0][1].waits != runs[1][1].waits


def test_a_store_that_answered_before_has_the_longer_budget():
    clock = [0.0]
    budget = RetryBudget(seconds=100, unreached_seconds=1, first_wait_seconds=0, longest_wait_seconds=0)
    store = FailingStore()
    store.put("a", b"x")
    retrying = RetryingStore(store, budget, clock=lambda: clock[0])
    retrying.get("a")
    clock[0] = 5000.0  # left alone for longer than the budget
    store.failures = [busy(), busy()]
    assert retrying.get("a") == b"x"


def test_the_time_that_a_stalled_request_waited_is_not_part_of_the_budget():
    class Stalls(FailingStore):
        def get(self, name, *, start=None, end=None):
            if self.failures:
                clock[0] += 60
            return super().get(name, start=start, end=end)

    clock = [0.0]
    budget = RetryBudget(seconds=30, unreached_seconds=10, first_wait_seconds=0, longest_wait_seconds=0)
    store = Stalls(busy())
    retrying = RetryingStore(store, budget, clock=lambda: clock[0])
    retrying.put("a", b"x")
    assert retrying.get("a") == b"x"
    assert store.tries == 2


def test_a_refusal_is_an_answer():
    clock = [0.0]
    store = FailingStore(ObjectAbsent("a", "memory"))
    retrying = RetryingStore(
        store, RetryBudget(seconds=100, unreached_seconds=0, first_wait_seconds=0), clock=lambda: clock[0]
    )
    with pytest.raises(ObjectAbsent):
        retrying.get("a")
    store.put("a", b"x")
    store.failures = [busy()]
    assert retrying.get("a") == b"x"


def test_success_of_one_call_renews_the_budget_of_another():
    clock = [0.0]
    budget = RetryBudget(seconds=10, unreached_seconds=10, first_wait_seconds=0, longest_wait_seconds=0)

    class OneBadObject(MemoryStore):
        tries = 0

        def get(self, name, *, start=None, end=None):
            clock[0] += 6
            if name == "bad":
                self.tries += 1
                if self.tries < 5:
                    retrying.get("good")
                    raise busy()
            return super().get(name)

    store = OneBadObject()
    store.put("good", b"x")
    store.put("bad", b"y")
    retrying = RetryingStore(store, budget, clock=lambda: clock[0])
    assert retrying.get("bad") == b"y"


def test_closing_ends_the_wait():
    """Which is an hour: if it did not, this test would never end."""
    store = FailingStore(busy())
    budget = RetryBudget(seconds=9000, unreached_seconds=9000, first_wait_seconds=7200, longest_wait_seconds=7200)
    retrying = RetryingStore(store, budget)
    threading.Timer(0.1, retrying.close).start()
    with pytest.raises(RemoteError):
        retrying.get("a")
    assert store.tries == 1
