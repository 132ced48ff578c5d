"""Archives of TorchServe that anyone may have made: nothing is extracted, memory and time are bounded by their size."""

import io
import struct
import zipfile

import pytest

from dvlite.errors import FormatError
from dvlite.formats import mar


def archive(files, compression=zipfile.ZIP_STORED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as opened:
        for name, content in files:
            opened.writestr(name, content)
    return data.getvalue()


def read(data):
    return mar.MarReader(io.BytesIO(data), len(data), "'it'")


def test_files_are_read_in_pieces_and_small_ones_whole():
    opened = read(archive([("a", b"x" * 100), ("MAR-INF/b", b"y")]))
    assert opened.sizes == {"a": 100, "MAR-INF/b": 1}
    assert [*opened.pieces("a", 60)] == [b"x" * 60, b"x" * 40]
    assert opened.read("c", 10) is None
    with pytest.raises(FormatError, match="more than"):
        opened.read("a", 99)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no archive"),
        (b"PK\5\6" + b"\0" * 10, "no archive"),
        (b"not a zip" * 100, "no archive"),
        (archive([("a", b"\0" * 1_000_000)], zipfile.ZIP_DEFLATED), "compressed"),
        (archive([("../../etc/passwd", b"x")]), "'..'"),
        (archive([("/etc/passwd", b"x")]), "refused path"),
        (archive([(".git/hooks/x", b"x")]), ".git"),
        (archive([("a", b"x"), ("b", b"y")]).replace(b"b", b"a"), "twice"),
        (struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 40 << 20, 0, 0), "too many files"),
    ],
)
def test_a_hostile_archive_is_refused_in_one_line(data, words):
    with pytest.raises(FormatError) as error:
        read(data)
    assert words in error.value.message
    assert "\n" not in error.value.message


def test_files_that_overlap_are_refused():
    data = bytearray(archive([("a", b"x" * 1000), ("b", b"y" * 1000)]))
    (start,) = struct.unpack_from("<L", data, len(data) - 6)
    first = struct.unpack_from("<4s6H3L5H2L", data, start)
    second = start + 46 + first[10]
    data[second + 42 : second + 46] = data[start + 42 : start + 46]  # both begin at one place
    many = bytes(data)
    opened = None
    try:
        opened = read(many)
        [*opened.pieces("b", 10)]
    except FormatError:
        return
    raise AssertionError(opened.sizes)


def test_an_archive_that_was_cut_or_damaged_is_refused_or_read_as_damaged():
    whole = archive([("a", b"x" * 50), ("b", b"y" * 50)])
    for length in range(len(whole)):
        with pytest.raises(FormatError):
            read(whole[:length])
    damaged = whole.replace(b"x" * 50, b"x" * 49 + b"z")
    with pytest.raises(FormatError):
        [*read(damaged).pieces("a", 100)]


def test_a_file_at_the_beginning_is_found_in_the_first_bytes():
    whole = archive([("a", b"1"), ("b", b"22"), ("c", b"333")])
    assert mar.first_file(whole, "b") == b"22"
    assert mar.first_file(whole, "d") is None
    assert mar.first_file(whole[:30], "b") is None
    assert mar.first_file(archive([("b", b"22")], zipfile.ZIP_DEFLATED), "b") is None
    assert mar.first_file(b"\xff" * 100, "b") is None
