"""Parts of directories: what patterns choose, and that they are remembered."""

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError, UsageError
from dvlite.workspace import sparse

PATHS = [
    b"a",
    b"a/b",
    b"a/b/c.txt",
    b"a/bc",
    b"ab",
    b"img/1.jpg",
    b"img/2.png",
    b"img/deep/3.jpg",
    b"x[1]",
    b"x1",
    b"new\nline/f",
    b"\xff",
]


def chosen(*patterns):
    return [path for path in PATHS if sparse.selector(patterns)(path)]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a"], [b"a", b"a/b", b"a/b/c.txt", b"a/bc"]),
        (["a/b"], [b"a/b", b"a/b/c.txt"]),
        (["img/*.jpg"], [b"img/1.jpg"]),
        (["img/**/*.jpg"], [b"img/1.jpg", b"img/deep/3.jpg"]),
        (["**/*.jpg"], [b"img/1.jpg", b"img/deep/3.jpg"]),
        (["img/[12].*"], [b"img/1.jpg", b"img/2.png"]),
        (["img/[!1].*"], [b"img/2.png"]),
        (["img/?.png"], [b"img/2.png"]),
        (["x[1]"], [b"x[1]", b"x1"]),
        (["new\nline"], [b"new\nline/f"]),
        (["\udcff"], [b"\xff"]),
        (["a/b", "img/2.png"], [b"a/b", b"a/b/c.txt", b"img/2.png"]),
        (["*"], PATHS),
        (["/!**"], []),
        (
            ["/!a", "/!img/*.jpg"],
            [path for path in PATHS if not (path + b"/").startswith(b"a/") and path != b"img/1.jpg"],
        ),
        (["a", "/!a/b"], [b"a", b"a/bc"]),
        (["/!a", "a/b"], [path for path in PATHS if path not in (b"a", b"a/bc")]),
        (["/?a/b", "/?x[1]"], [path for path in PATHS if path not in (b"a/b", b"x[1]")]),
        (["nothing"], []),
        (["a.b"], []),
        (["(a|b)"], []),
    ],
)
def test_a_pattern_chooses(patterns, expected):
    assert chosen(*patterns) == expected


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_any_text_is_a_pattern(text):
    with contextlib.suppress(UsageError):  # `[z-a]`
        sparse.selector([text])(b"a/b")


@given(st.text(st.characters(exclude_characters="\0*?[", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_a_plain_path_chooses_itself(text):
    assert sparse.selector([text])(os.fsencode(text))


@given(
    st.lists(st.text("ab/*[]?!", max_size=6), min_size=1, max_size=3), *(st.text("abc/[", max_size=5) for _ in range(3))
)
def test_what_a_pattern_chooses_is_within_its_reach(patterns, path, after, last):
    reach = sparse.reach(patterns)
    if after < path <= last and sparse.selector(patterns)(path.encode()):
        assert reach is None or reach(after.encode(), last.encode())


@given(st.text("ab/*", max_size=8), st.text("ab/", max_size=8))
def test_repeated_stars_mean_what_one_means(start, path):
    for many, one in (("**/**/**/", "**/"), ("**/**", "**")):
        with_many, with_one = sparse.selector([f"{start}/{many}b"]), sparse.selector([f"{start}/{one}b"])
        assert with_many(path.encode()) == with_one(path.encode())


def test_repeated_stars_take_no_longer_than_one():
    """Else this would never end: 500 over 30 ways to place them."""
    assert not sparse.selector(["**/" * 30 + "zzz*"])(b"a/" * 500)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("pattern", "chosen", "others"),
    [
        ("[a&&b]", "a&b", "|c"),
        ("[a||b~~c]", "a|b~c", "&d"),
        ("[!-a]", "b.", "-a/"),
        ("[--a]", "-A", "+b"),
        ("[+--]", "+,-", ".a"),
        ("[---]", "-", "a"),
        ("[[a]", "[a", "]b"),
        (r"[\a]", r"\a", "b"),
        ("[a-]", "a-", "b"),
    ],
)
def test_sets_hold_letters_and_ranges(pattern, chosen, others):
    matches = sparse.selector([pattern])
    assert all(matches(letter.encode()) for letter in chosen)
    assert not any(matches(letter.encode()) for letter in others)


@pytest.mark.parametrize("pattern", ["[z-a]*", "[a--b]"])
def test_a_range_that_goes_downwards_is_refused(pattern):
    with pytest.raises(UsageError, match="cannot use the pattern"):
        sparse.selector([pattern])


def test_patterns_are_remembered(tmp_path):
    assert sparse.load(tmp_path / "state") == {}
    patterns = {"data": ["b", "a", "/!b/x"], "other": ["*.jpg", "\udcff"], "whole": []}
    sparse.store(tmp_path / "state", patterns)
    assert sparse.load(tmp_path / "state") == {"data": ("b", "a", "/!b/x"), "other": ("*.jpg", "\udcff")}


@pytest.mark.parametrize("data", ["", "[]", "{", "{}", "null", "\udcff", '{"data":["a"]}'])
def test_a_damaged_file_of_patterns_is_an_error_and_not_empty(tmp_path, data):
    (tmp_path / "sparse.json").write_bytes(data.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=r"sparse\.json"):
        sparse.load(tmp_path)


def test_a_file_of_patterns_is_proven_whole(tmp_path):
    sparse.store(tmp_path, {"data": ["a", "b"], "other": ["*.jpg"]})
    whole = (tmp_path / "sparse.json").read_bytes()
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            (tmp_path / "sparse.json").write_bytes(data)
            with pytest.raises(FormatError):
                sparse.load(tmp_path)


def test_a_pattern_that_chooses_nothing_is_refused_by_name():
    sparse.require_matches("data", ["a", "img/*.jpg"], PATHS)
    with pytest.raises(UsageError, match="nothing in 'data' is named 'nope'"):
        sparse.require_matches("data", ["a", "nope"], PATHS)


@pytest.mark.parametrize(
    ("path", "globs", "patterns"),
    [
        ("data/images", ["data/images"], sparse.NOTHING),
        ("data/images", ["data"], sparse.NOTHING),
        ("data/images", ["*/im*/raw", "**/*.csv"], ("/!raw", "/!**/*.csv")),
        ("data/images", ["data/tables", "images"], ()),
    ],
)
def test_globs_of_whole_paths_leave_out_parts(path, globs, patterns):
    assert sparse.exclusions(path, globs) == patterns
