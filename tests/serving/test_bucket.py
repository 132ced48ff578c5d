"""Models in a bucket: what needs no server to be seen. With a real one: tests/serving/test_faults.py."""

import threading

import pytest

from dvlite.errors import RemoteError
from dvlite.serving.bucket import BucketPlace
from dvlite.serving.place import of_bytes
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url


def test_after_a_failure_nothing_more_is_sent(tmp_path, monkeypatch):
    options = {"endpoint_url": "http://127.0.0.1:1", "region": "us-east-1"}
    place = BucketPlace(parse_url("s3://bucket/models", tmp_path), options, budget=RetryBudget(0), jobs=1)
    sent, closed = [], threading.Event()

    def write(_self, path, _content):
        sent.append(path)
        if len(sent) == 1:
            raise RemoteError("the disk there is full")
        closed.wait()  # under way until the connections are closed

    monkeypatch.setattr(BucketPlace, "sizes", lambda *_: {})
    monkeypatch.setattr(BucketPlace, "write", write)
    monkeypatch.setattr(BucketPlace, "close", lambda _: closed.set())
    with pytest.raises(RemoteError, match="full"):
        place.complete("birds/1", {f"{number:02}": of_bytes(b"x") for number in range(99)}, "")
    assert closed.is_set()
    assert len(sent) <= 2
