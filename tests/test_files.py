"""Files: every byte is read and written, however little the system takes at a time."""

import contextlib
import errno
import fcntl
import mmap
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.oid import digest_bytes, digest_file


@pytest.fixture
def short_calls(monkeypatch):
    """Reads and writes that take 7 bytes at most."""
    read, write, written = os.pread, os.pwrite, os.write
    monkeypatch.setattr(os, "pread", lambda one, count, offset: read(one, min(count, 7), offset))
    monkeypatch.setattr(os, "pwrite", lambda one, data, offset: write(one, bytes(data)[:7], offset))
    monkeypatch.setattr(os, "write", lambda one, data: written(one, bytes(data)[:7]))


def test_a_short_read_or_write_goes_on(tmp_path, short_calls):
    data = bytes(range(256))
    with open(tmp_path / "one", "w+b", buffering=0) as file:
        files.write_all(file.fileno(), data[:100])
        files.write_at(file.fileno(), data[100:], 100)
        assert files.read_at(file.fileno(), 1000) == data
        assert files.read_at(file.fileno(), 50, 20) == data[20:70]
        assert files.read_at(file.fileno(), 50, 256) == b""
        assert digest_file(file.fileno(), 256) == digest_bytes(data)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so")
def test_a_file_that_is_open_or_mapped_for_writing_is_being_written(tmp_path):
    place = tmp_path / "one"
    place.write_bytes(bytes(4096))
    with open(place, "rb") as reader:
        assert not files.is_being_written(reader.fileno())
        with open(place, "r+b") as writer:
            assert files.is_being_written(reader.fileno())
            mapped = mmap.mmap(writer.fileno(), 0)
        assert files.is_being_written(reader.fileno())
        mapped.close()
        assert not files.is_being_written(reader.fileno())
        assert reader.read() == bytes(4096)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so")
def test_who_opens_a_file_for_writing_at_that_instant_ends_no_look_at_it(tmp_path, monkeypatch):
    place, ask = tmp_path / "one", fcntl.fcntl

    def ask_and_open(descriptor, question, answer):
        ask(descriptor, question, answer)
        if question == fcntl.F_SETLEASE:
            with contextlib.suppress(BlockingIOError):
                os.close(os.open(place, os.O_WRONLY | os.O_NONBLOCK))

    monkeypatch.setattr(fcntl, "fcntl", ask_and_open)
    place.write_bytes(b"one")
    child = os.fork()
    if not child:
        with open(place, "rb") as reader:
            os._exit(files.is_being_written(reader.fileno()))
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("made", [os.mkfifo, os.mkdir, lambda place: os.symlink("/dev/zero", place), None])
def test_a_file_that_can_be_done_without_is_read_if_it_is_one(tmp_path, made):
    place = tmp_path / "note"
    if made is not None:
        made(place)
    assert files.read_own(place) is None


def test_a_file_that_can_be_done_without_has_a_limit(tmp_path):
    place = tmp_path / "note"
    place.write_bytes(b"12345")
    assert files.read_own(place, 5) == b"12345"
    assert files.read_own(place, 4) is None


def test_where_a_folder_is_read_only_nothing_is_shared_and_that_is_no_error(tmp_path, monkeypatch):
    def refuse(path, **_how):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert not files.can_share_blocks(tmp_path, tmp_path / "absent")


def test_a_lock_that_cannot_be_released_goes_with_its_descriptor(tmp_path, monkeypatch):
    real = fcntl.flock

    def refuse(descriptor, operation):
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        with files.lock(tmp_path / "lock", wait=False):
            pass


def test_all_folders_above_a_name_are_synced(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda one: (synced.append(os.readlink(f"/proc/self/fd/{one}")), real(one)))
    (tmp_path / "a" / "b").mkdir(parents=True)
    files.sync_above(tmp_path / "a" / "b" / "gone" / "c", tmp_path)
    assert synced == [str(tmp_path / "a" / "b"), str(tmp_path / "a"), str(tmp_path)]


def test_an_error_of_the_disk_is_not_absence(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert files.is_there(tmp_path / "link")
    assert not files.is_there(tmp_path / "absent")
    assert not files.is_there(tmp_path / "link" / "below")
    with pytest.raises(DvliteError, match="cannot read"):
        files.is_there(tmp_path / ("x" * 300))


def test_files_written_together_are_synced_each_before_it_has_its_name_and_their_folders_once(tmp_path, monkeypatch):
    events, real_sync, real_replace = [], os.fsync, os.replace
    opened = lambda descriptor: os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda fd: (real_sync(fd), events.append(("sync", opened(fd))))[0])
    monkeypatch.setattr(os, "replace", lambda one, other: (events.append(("name", one.name)), real_replace(one, other)))
    (tmp_path / "sub").mkdir()
    contents = {tmp_path / ("sub" if number % 2 else "") / f"{number}": b"%d" % number for number in range(40)}
    (tmp_path / "2").write_bytes(b"old")
    with ThreadPoolExecutor(4) as pool:
        files.write_together(contents, lambda descriptor: pool.submit(os.fsync, descriptor))
    assert all(path.read_bytes() == data for path, data in contents.items())
    named = [name for what, name in events if what == "name"]
    assert all(events.index(("sync", name)) < events.index(("name", name)) for name in named)
    assert events[-2:] == [("sync", tmp_path.name), ("sync", "sub")]
    assert len(events) == 2 * 40 + 2


def test_of_files_written_together_the_first_stay_where_one_fails_and_nothing_else(tmp_path):
    contents = {tmp_path / name: name.encode() for name in "abcd"}
    (tmp_path / "c").mkdir()
    with ThreadPoolExecutor(1) as pool, pytest.raises(DvliteError, match=r"cannot write '.*/c'"):
        files.write_together(contents, lambda descriptor: pool.submit(os.fsync, descriptor))
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]
