"""A bucket of DVC, read in pieces."""

import os

from dvlite.moving import dvc_remote
from dvlite.moving.dvc_remote import Bucket
from tests.store.memory import MemoryStore


def test_an_object_of_a_bucket_is_read_in_pieces_and_an_absent_one_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(dvc_remote, "_PIECE_BYTES", 4)
    store = MemoryStore()
    for name, data in {"files/md5/ab/c": b"0123456789", "files/md5/ab/d": b"01234567", "ab/e.dir": b""}.items():
        store.put(name, data)
        descriptor = Bucket(store, tmp_path).find(name)
        assert os.pread(descriptor, 100, 0) == data
        os.close(descriptor)
    assert Bucket(store, tmp_path).find("files/md5/ff/f") is None
    assert os.listdir(tmp_path) == []
