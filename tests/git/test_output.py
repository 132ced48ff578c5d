"""What git prints, read: rows as they come out of git, odd names, and why it failed."""

import io

import pytest

from dvlite.errors import DvliteError
from dvlite.git import output
from dvlite.git.output import Change, Commit, FileDifference, FileStatus, TooLarge, TreeEntry

A, B, C, ZERO = "a" * 40, "b" * 40, "c" * 40, "0" * 40


@pytest.mark.parametrize(
    ("text", "expected"), [(A, True), (A + "b" * 24, True), (A[1:], False), (A.upper(), False), (A + "\n", False)]
)
def test_a_commit_id_has_all_digits(text, expected):
    assert output.is_commit_id(text) is expected


def test_files_are_known_by_their_names():
    assert [
        name for name in ("a.dvlite", "d/x.dvlite", ".dvlite", "dvlite.lock", "a.dvlite/x") if output.is_pointer(name)
    ] == [
        "a.dvlite",
        "d/x.dvlite",
        "dvlite.lock",
    ]
    assert output.is_lockfile("sub/dvlite.lock")
    assert not output.is_lockfile("mydvlite.lock")
    assert output.is_pipeline_file("dvlite.yaml")
    assert not output.is_pipeline_file("sub/dvlite.yml")


def test_names_of_any_bytes_survive_both_ways():
    names = [b"new\nline", b"tab\there", b"\xff\xfe", "ü".encode()]
    assert output.join(output.split(b"\0".join(names) + b"\0")) == b"\0".join(names) + b"\0"


def test_entries_of_a_tree_and_of_the_index():
    assert list(output.tree_entries(f"100644 blob {A}\ta\tb\n\x00120000 blob {B}\tlink\0".encode())) == [
        TreeEntry("a\tb\n", "100644", A),
        TreeEntry("link", "120000", B),
    ]
    rows = f"H 100644 {A} 0\ta\0S 100755 {B} 0\tleft out\0? new file\0".encode()
    assert list(output.index_entries(rows)) == [
        TreeEntry("a", "100644", A),
        TreeEntry("left out", "100755", B, is_skipped=True),
        TreeEntry("new file", "", ""),
    ]


def test_changes_of_commits_of_renames_and_of_merges():
    rows = [
        f"\x02{A}\n",
        f"\n:100644 100644 {B} {C} M",
        "edited",
        f":100644 000000 {B} {ZERO} D",
        "removed",
        f":100644 100644 {B} {B} R100",
        "old",
        "new",
        f"\x02{B}",
        f"::100644 100644 120000 {A} {B} {C} MM",
        "a link now",
    ]
    assert list(output.changes(iter(rows))) == [
        Change(A, "edited", C, None, (B,)),
        Change(A, "removed", None, None, (B,)),
        Change(A, "new", B, "old", (B,)),
        Change(B, "a link now", None, None, (A, B)),
    ]


def test_differences_have_blobs_of_ordinary_files_only():
    rows = f":000000 100644 {ZERO} {A} A\0new\0:100644 120000 {A} {B} T\0a link now\0".encode()
    assert list(output.differences(rows)) == [
        FileDifference("new", "100644", None, A),
        FileDifference("a link now", "120000", A, None),
    ]


def test_states_of_files():
    changed = f"1 .M N... 100644 100644 100644 {A} {A} with a space"
    unmerged = f"u UU N... 100644 100644 100644 100644 {A} {B} {C} both sides"
    assert [output.file_status(row) for row in (changed, unmerged, "? new file")] == [
        FileStatus("with a space", ".", "M"),
        FileStatus("both sides", "U", "U"),
        FileStatus("new file", "?", "?"),
    ]


def test_commits_with_their_time_author_and_subject():
    rows = f"{A}\0001700000000\0Ü\0A subject\0{B}\0000\0\0\0".encode()
    assert output.commits(rows) == {A: Commit(A, 1_700_000_000, "Ü", "A subject"), B: Commit(B, 0, "", "")}


def test_a_blob_is_read_to_its_end_and_no_further_and_not_at_all_above_the_limit():
    answers = io.BytesIO(f"{A} blob 3\nabc\n{B} blob 0\n\n{C} blob 101\n".encode())
    assert output.next_blob(answers, A, 100) == b"abc"
    assert output.next_blob(answers, B, 100) == b""
    with pytest.raises(TooLarge):
        output.next_blob(answers, C, 100)
    for answer in (f"{A} missing\n".encode(), f"{A} tree 5\n".encode(), b""):
        with pytest.raises(DvliteError, match="git does not have the object aaaaaaaa"):
            output.next_blob(io.BytesIO(answer), A, 100)


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (b"warning: x\nfatal: it broke at a\nplace.\nhint: y", "git add failed: it broke at a place"),
        (b"", "git add failed: it gave no reason"),
        (b"error: \x1b]0;x\x07\xff", None),
    ],
)
def test_a_failure_is_one_printable_line_of_git(printed, message):
    error = output.failed(("add", "--all"), printed)
    assert error.message.isprintable()
    assert message is None or error.message == message


def test_a_locked_index_has_a_hint():
    assert "git status" in output.failed(("add",), b"fatal: Unable to create '/x/.git/index.lock': File exists.").hint
