"""The contract of stores, on each kind; and what open_store makes of a location."""

import time

import pytest

from dvlite.errors import RemoteError, UsageError
from dvlite.store.cache import Cache
from dvlite.store.remote import Remote, open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url
from tests.store.contract import StoreContract
from tests.store.memory import MemoryStore, RecordingStore


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestRecording(StoreContract):
    @pytest.fixture
    def store(self):
        return RecordingStore(MemoryStore())


class TestFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store(parse_url("remote", tmp_path), {}, budget=RetryBudget(), connections=4)


@pytest.mark.usefixtures("models_read_once")
class TestS3(StoreContract):
    @pytest.fixture
    def store(self, weed, s3_prefix, tmp_path):
        location = parse_url(f"s3://{weed.bucket}/{s3_prefix}", tmp_path)
        store = open_store(location, weed.options(), budget=RetryBudget(), connections=8)
        yield store
        store.close()


def test_opening_makes_no_request_and_no_folder(tmp_path):
    open_store(parse_url("new", tmp_path), {}, budget=RetryBudget(), connections=1)
    assert not (tmp_path / "new").exists()
    options = {"endpoint_url": "http://127.0.0.1:1"}
    open_store(parse_url("s3://bucket", tmp_path), options, budget=RetryBudget(), connections=1).close()


def test_options_that_do_not_belong_are_refused(tmp_path):
    with pytest.raises(UsageError, match="'region' is not an option of a file remote"):
        open_store(parse_url("new", tmp_path), {"region": "eu-west-1"}, budget=RetryBudget(), connections=1)


def test_a_scheme_without_its_package_names_the_extra(tmp_path):
    with pytest.raises(UsageError) as caught:
        open_store(parse_url("gs://bucket/x", tmp_path), {}, budget=RetryBudget(), connections=1)
    assert caught.value.hint == "pip install 'dvlite[gcs]'"


def test_a_recording_store_counts():
    store = RecordingStore(MemoryStore())
    store.put("packs/a", b"123")
    store.put("index/a", b"4")
    store.get("packs/a", start=0, end=2)
    store.list("condemned/")
    assert store.calls == [("put", "packs/a"), ("put", "index/a"), ("get", "packs/a"), ("list", "condemned/")]
    assert store.count("put") == 2
    assert store.count("put", "packs/") == 1
    assert (store.sent_bytes, store.received_bytes) == (4, 2)
    store.forget()
    assert store.calls == []


def test_requests_at_the_same_time_have_all_ended_when_one_fails(tmp_path):
    ended = []

    def work(name: str) -> None:
        if name == "bad":
            raise RemoteError("refused")
        time.sleep(0.05)
        ended.append(name)

    with Remote(MemoryStore(), Cache(tmp_path), "origin", jobs=3) as remote, pytest.raises(RemoteError):
        try:
            remote.run_all(work, ["bad", "a", "b"])
        finally:
            assert sorted(ended) == ["a", "b"]
