"""The stat index: exact round trips, and damage or doubt that costs a reading, never an answer."""

import os
from array import array
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.oid import Digest, digest_bytes
from dvlite.progress import NullProgress
from dvlite.workspace import statindex
from dvlite.workspace.scan import Scan, scan
from tests.trees import put

ROOT = Digest(bytes(range(32)))


def look(folder):
    return scan(folder, "data", lambda _inner, _is_folder: False, frozenset(), NullProgress())


def made(tmp_path, names=("a", "b", "sub/c"), racy=None):
    for name in names:
        put(tmp_path / "data" / name, name.encode())
    found = look(tmp_path / "data")
    digests = b"".join(digest_bytes(path) for path in found.paths)
    statindex.write(tmp_path / "index", ROOT, found, digests, racy or bytes(len(found.paths)))
    return found, digests


def test_rows_come_back_as_they_were(tmp_path):
    found, digests = made(tmp_path, racy=b"\0\1\0")
    head = statindex.open_index(tmp_path / "index")
    assert (head.root, head.rows, head.racy_rows) == (ROOT, 3, 1)
    rows = head.load()
    assert list(rows.scan.paths) == found.paths
    assert rows.scan.signature() == found.signature()
    assert (rows.digests, rows.racy) == (digests, b"\0\1\0")
    assert rows.digest(1) == digest_bytes(found.paths[1])


def test_paths_are_those_that_were_written_wherever_they_are_read(tmp_path):
    names = [*(b"%04d" % number + b"x" * (number % 7 * 30) for number in range(1300)), b"y" * 4000]
    columns = [bytearray(len(names)), *(array(code, bytes(8 * len(names))) for code in "qqqQ")]
    statindex.write(tmp_path / "index", ROOT, Scan(names, *columns), bytes(32 * len(names)), bytes(len(names)))
    paths = statindex.open_index(tmp_path / "index").load().scan.paths
    assert (paths[1300], paths[-1], paths[700]) == (names[-1], names[-1], names[700])
    assert (paths[500:1030], paths[:3], paths[1290:]) == (names[500:1030], names[:3], names[1290:])
    assert (list(paths), len(paths), bisect_left(paths, names[900])) == (names, 1301, 900)
    with pytest.raises(IndexError):
        paths[1301]


def test_an_index_of_nothing_is_an_index(tmp_path):
    (tmp_path / "data").mkdir()
    found = look(tmp_path / "data")
    statindex.write(tmp_path / "index", ROOT, found, b"", b"")
    head = statindex.open_index(tmp_path / "index")
    assert head.vouches_for(found)
    assert len(head.load().scan.paths) == 0


def test_it_vouches_only_for_what_was_not_touched(tmp_path):
    found, _ = made(tmp_path)
    head = statindex.open_index(tmp_path / "index")
    assert head.vouches_for(look(tmp_path / "data"))
    os.utime(tmp_path / "data" / "a", ns=(5, 5))
    assert not head.vouches_for(look(tmp_path / "data"))
    assert head.vouches_for(found)


def test_a_racy_row_is_vouched_for_by_nobody(tmp_path):
    found, _ = made(tmp_path, racy=b"\0\0\1")
    assert not statindex.open_index(tmp_path / "index").vouches_for(found)


def test_every_flipped_byte_makes_it_worthless(tmp_path):
    made(tmp_path)
    data = (tmp_path / "index").read_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x40
        (tmp_path / "index").write_bytes(damaged)
        head = statindex.open_index(tmp_path / "index")
        assert head is None or head.load() is None


def test_every_cut_makes_it_worthless(tmp_path):
    made(tmp_path)
    data = (tmp_path / "index").read_bytes()
    for length in range(len(data)):
        (tmp_path / "index").write_bytes(data[:length])
        head = statindex.open_index(tmp_path / "index")
        assert head is None or head.load() is None


@given(st.binary(max_size=300))
def test_any_bytes_are_an_index_or_none(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("index") / "index"
    path.write_bytes(data)
    head = statindex.open_index(path)
    assert head is None or head.load() is None


def test_an_absent_index_is_none(tmp_path):
    assert statindex.open_index(tmp_path / "absent") is None


def test_a_fifo_is_no_index_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "index")
    assert statindex.open_index(tmp_path / "index") is None
