"""How two versions of a file differ, where the pipeline file says nothing about it."""

import pytest

from dvlite.rerun.differences import differences
from tests.compare.arrays import npy


@pytest.fixture
def shown(tmp_path):
    """Returns a function that shows the difference of two contents of a file."""

    def run(old, new, name):
        for folder, data in (("old", old), ("new", new)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(data)
        return differences(tmp_path / "old" / name, tmp_path / "new" / name, name)

    return run


def test_values_by_key_the_largest_first(shown):
    found = shown(b'{"acc": 0.931, "n": 10, "name": "a"}', b'{"acc": 0.934, "n": 20, "name": "b"}', "m.json")
    assert found == ('name "a" -> "b"', "n 10 -> 20 (+100%)", "acc 0.931 -> 0.934 (+0.322%)")


def test_tables_by_row_and_column(shown):
    assert shown(b"a,b\n1,2\n", b"a,b\n1,3\n", "t.csv") == ("row 1 b: 2 -> 3 (+50%)",)


def test_arrays_by_the_largest_difference(shown):
    assert shown(npy([1.0]), npy([1.5]), "a.npy")[0].startswith("largest difference 0.5; 1 of 1 numbers differ")


def test_text_by_the_first_line(shown):
    found = shown(b"a\nbb\nc\n", b"a\nbx\nd\n", "notes.txt")
    assert found == ("line 2 is the first that differs of 2", "- bb", "+ bx")


def test_text_that_grew_or_shrank(shown):
    assert shown(b"a\n", b"a\nb\nc\n", "x") == ("2 lines more: b",)
    assert shown(b"a\nb\n", b"a\n", "x") == ("1 line fewer, from line 2: b",)


def test_a_long_line_is_shown_from_where_it_differs(shown):
    found = shown(b"x" * 1000 + b"a", b"x" * 1000 + b"b", "x")
    assert found[1:] == (f"- ...{'x' * 30}a", f"+ ...{'x' * 30}b")


def test_anything_else_by_the_first_byte(shown):
    old = b"\0" * 3_000_000 + b"abc"
    assert shown(old, b"\0" * 3_000_000 + b"abd", "model.pt") == (
        "2.9 MiB; the first byte that differs is at offset 3,000,002: 63 -> 64",
    )
    assert shown(old, old + b"\1", "model.pt") == (
        "2.9 MiB -> 2.9 MiB; the recorded version is the beginning of the other",
    )


def test_the_same_said_in_other_bytes(shown):
    found = shown(b'{"a": 1}', b'{"a":1}', "m.json")
    assert found[0] == "its values are the same, only its bytes differ"
    assert "first byte that differs is at offset 5" in found[1]


@pytest.mark.parametrize("name", ["m.json", "t.csv", "a.npy", "a.npz", "c.toml", "d.yaml", "x"])
def test_what_is_not_what_its_name_says_is_shown_by_its_bytes_or_lines(shown, name):
    for old, new in ((b"\0\1\2", b"\0\1\3"), (b"", b"\xff"), (b"plain", b"other\x1b[31m"), (b"PK", b"PK\3")):
        found = shown(old, new, name)
        assert found
        assert all(line.isprintable() and len(line) < 200 for line in found)
