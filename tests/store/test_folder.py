"""What is particular to a remote in a folder."""

import errno
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvlite import files
from dvlite.errors import NoSpace, RemoteError
from dvlite.store.folder import FolderStore
from dvlite.store.object_store import ObjectAbsent


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def test_the_first_put_creates_the_folder(folder):
    store = FolderStore(folder)
    assert store.list("packs/").entries == ()
    assert not folder.exists()
    store.put("packs/ab/c", b"x")
    assert (folder / "packs/ab/c").read_bytes() == b"x"


def test_many_first_puts_at_once_create_one_folder(tmp_path):
    for number in range(50):
        stores, barrier = [FolderStore(tmp_path / f"store{number}") for _ in range(4)], threading.Barrier(4)

        def put(store, barrier=barrier):
            barrier.wait()
            return store.put("packs/a", b"x", only_if_absent=True)

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(put, stores))


def test_objects_are_read_only_and_leave_no_temporary_file(folder):
    store = FolderStore(folder)
    store.put("a", b"x")
    store.put("a", b"x", only_if_absent=True)
    store.put("a", b"y", only_if_absent=True)
    assert stat.S_IMODE((folder / "a").stat().st_mode) & 0o333 == 0
    assert os.listdir(folder) == ["a"]


def test_foreign_and_temporary_files_are_not_listed(folder):
    store = FolderStore(folder)
    store.put("packs/a", b"x")
    for name in (".DS_Store", "packs/README", "packs/.dvl-0123456789abcdef", "packs/a b", "packs/a..b"):
        (folder / name).write_bytes(b"junk")
    os.mkfifo(folder / "packs" / "fifo")
    (folder / "packs" / "dangling").symlink_to("nowhere")
    assert [entry.name for entry in store.list("").entries] == ["packs/a"]


def test_a_missing_parent_is_a_disk_that_is_not_mounted(tmp_path):
    store = FolderStore(tmp_path / "disk" / "store")
    for attempt in (lambda: store.list(""), lambda: store.put("a", b"x"), lambda: store.get("a")):
        with pytest.raises(RemoteError, match="cannot find the folder") as caught:
            attempt()
        assert "mount" in caught.value.hint
    assert not (tmp_path / "disk").exists()


def test_a_file_is_not_a_remote(folder):
    folder.write_bytes(b"a file")
    store = FolderStore(folder)
    for attempt in (lambda: store.list(""), lambda: store.put("a", b"x"), lambda: store.get("a")):
        with pytest.raises(RemoteError, match="not a folder"):
            attempt()
    assert folder.read_bytes() == b"a file"


def test_a_fifo_is_refused_without_blocking(folder):
    folder.mkdir()
    os.mkfifo(folder / "a")
    with pytest.raises(RemoteError, match="not a file"):
        FolderStore(folder).get("a")


def test_too_little_space_is_known_before_writing(folder, monkeypatch):
    folder.mkdir()
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(NoSpace, match="nothing was written"):
        FolderStore(folder).put("a", b"x" * 11)
    assert os.listdir(folder) == []


@pytest.mark.parametrize(("call", "number"), [("fsync", errno.EIO), ("write", errno.ENOSPC), ("link", errno.EIO)])
def test_a_failed_write_leaves_nothing_behind(folder, monkeypatch, call, number):
    folder.mkdir()

    def fail(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(NoSpace if number == errno.ENOSPC else RemoteError):
        FolderStore(folder).put("a", b"x", only_if_absent=True)
    monkeypatch.undo()
    assert os.listdir(folder) == []


def test_where_links_do_not_exist_nothing_is_overwritten_either(folder, monkeypatch):
    def no_links(*_arguments, **_options):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store = FolderStore(folder)
    assert store.put("a", b"first", only_if_absent=True)
    assert not store.put("a", b"second", only_if_absent=True)
    assert store.put("a", b"first", only_if_absent=True)
    assert os.listdir(folder) == ["a"]


def test_objects_are_synced_before_they_get_their_name_and_their_folder_after(folder, monkeypatch):
    folder.mkdir()
    events = []

    def watch(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            what = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else str(arguments[1])
            events.append((name, os.path.basename(what).split("-")[0]))
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "replace"):
        watch(name)
    FolderStore(folder).put("a", b"x")
    assert events == [("fsync", ".dvl"), ("replace", "a"), ("fsync", "store")]


def test_a_read_only_folder_can_still_be_read(folder):
    store = FolderStore(folder)
    store.put("packs/a", b"x")
    (folder / "packs").chmod(0o555)
    try:
        assert store.get("packs/a") == b"x"
        assert len(store.list("").entries) == 1
        with pytest.raises(ObjectAbsent):
            store.get("packs/b")
    finally:
        (folder / "packs").chmod(0o755)
