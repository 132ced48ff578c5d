"""Buckets and web servers with objects of DVC."""

import contextlib
import os

from dvlite.formats.dvc_files import DvcConfig
from dvlite.repo import config_files, dvc_remote
from dvlite.repo.dvc_remote import Bucket, DvcRemote, Web
from tests.commands.badserver import Page, serving
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


def test_an_object_of_a_web_server_is_read_and_an_absent_one_is_none(tmp_path):
    with serving({"/store/ab/c": Page(b"0123456789", stops=1, sends=4)}) as address:
        web = Web(f"{address}/store/", tmp_path, 10)
        descriptor = web.find("ab/c")
        assert os.pread(descriptor, 100, 0) == b"0123456789"
        os.close(descriptor)
        assert web.find("ab/d") is None
    assert os.listdir(tmp_path) == []


def test_what_is_expected_comes_several_at_a_time_and_what_nothing_asked_for_is_dropped(tmp_path):
    bodies = {f"ab/{number}": b"%d" % number for number in range(12)}
    with serving({f"/{name}": Page(body) for name, body in bodies.items()}) as address:
        theirs = DvcConfig(remotes={"far": {"url": address}})
        config = config_files.load(None, {"DVLITE_TRUST": address, "DVLITE_JOBS": "3"})
        before = len(os.listdir("/dev/fd"))
        with contextlib.closing(DvcRemote(config, None, theirs, tmp_path, theirs.searched(())[0])) as remote:
            assert remote.expect([*bodies]) == ()
            for name in [*bodies][:5]:
                descriptor = remote.find(name)
                assert os.pread(descriptor, 10, 0) == bodies[name]
                os.close(descriptor)
            assert remote.find("ab/none") is None
    assert len(os.listdir("/dev/fd")) <= before
    assert os.listdir(tmp_path) == []
