"""`dvlite resolve`: a conflict is settled file by file, whoever left its markers."""

import shutil

import pytest

from tests.commands.merging import BASE


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("--ours", {"b.txt": "main", "gone": None}),
        ("--theirs", {"b.txt": "other", "gone": "other"}),
        ("--union", {"b.txt": "main", "b.theirs.txt": "other", "gone": "other"}),
    ],
)
@pytest.mark.parametrize("driver", [True, False])
def test_resolve_settles_what_both_changed_and_keeps_the_rest_of_both(started, choice, expected, driver):
    started.main({"b.txt": "1", "gone": "1"})
    started.branch("other", {"b.txt": "other", "gone": "other", "new": "o"})
    started.main({"b.txt": "main", "gone": None, "a": "main"})
    if not driver:
        started.git("config", "--remove-section", "merge.dvlite")
    assert started.try_git("merge", "other")[0] == 1
    listed = started.json("resolve", code=1)
    assert [(each["path"], each["reason"]) for each in listed["paths"][0]["conflicts"]] == [
        ("data/b.txt", "changed on both sides"),
        ("data/gone", "removed by ours"),
    ]
    assert (listed["operation"], listed["ours"][9:], listed["theirs"][9:]) == ("merge", "Edit main", "Edit other")
    told = started.json("resolve", "data.dvlite", choice)
    assert told["staged"] == ["data.dvlite"]
    started.git("commit", "-qm", "Merge")
    both = {"a": "main", "b": "1", "c": "1", "new": "o"} | expected
    assert started.files() == {name: content for name, content in both.items() if content is not None}


def test_without_the_driver_resolve_needs_no_choice_for_different_files(started):
    started.branch("other", {"b": "other"})
    started.main({"a": "main"})
    started.git("config", "--remove-section", "merge.dvlite")
    assert started.try_git("merge", "other")[0] == 1
    said = started.dvlite("resolve").stdout
    assert said.startswith("Resolved data: 1 file from theirs\n")
    assert "next: dvlite checkout data; git commit" in said
    assert started.files() == {"a": "main", "b": "other", "c": "1"}


def test_resolve_without_a_conflict_says_so(started):
    assert "No pointer and no lockfile has a merge conflict" in started.dvlite("resolve").stdout
    assert "'data' has no merge conflict" in started.dvlite("resolve", "data", "--ours", code=2).stderr
    kept = started.dvlite("resolve", ".gitignore", "--ours", code=2).stderr
    assert "'.gitignore' is neither a pointer nor a lockfile" in kept
    assert "git checkout --ours -- .gitignore" in kept


def test_resolve_leaves_staging_to_who_wants_it(started):
    started.branch("other", {"b": "other"})
    started.main({"b": "main"})
    started.try_git("merge", "other")
    done = started.dvlite("resolve", "--no-stage", "--ours")
    assert "; git add data.dvlite; git commit\n" in done.stdout
    assert started.git("ls-files", "-u") != ""
    assert b"<<<<<<<" not in started.read("data.dvlite")


def test_commands_name_resolve_where_a_pointer_is_in_conflict(started):
    started.branch("other", {"b": "other"})
    started.main({"b": "main"})
    started.try_git("merge", "other")
    assert "dvlite resolve data --ours or --theirs or --union" in started.dvlite("checkout", "data", code=1).stderr


def test_resolve_does_not_write_behind_a_link(started, tmp_path):
    started.write("in/data/a", "1")
    started.dvlite("add", "in/data")
    started.commit("Add")
    started.git("checkout", "-qb", "other")
    started.write("in/data/a", "other")
    started.dvlite("add", "in/data")
    started.commit("Other")
    started.git("checkout", "-q", "main")
    started.dvlite("checkout")
    started.write("in/data/a", "main")
    started.dvlite("add", "in/data")
    started.commit("Main")
    started.try_git("merge", "other")
    (started.root / "in").rename(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere" / "data.dvlite").read_bytes()
    (started.root / "in").symlink_to(tmp_path / "elsewhere")
    assert "behind a symbolic link" in started.dvlite("resolve", "--ours", code=2).stderr
    assert (tmp_path / "elsewhere" / "data.dvlite").read_bytes() == before


@pytest.fixture
def added(started):
    """Returns a project in a merge in which everything was added as it is."""
    started.branch("other", {"b": "other"})
    started.main({"b": "main"})
    assert started.try_git("merge", "other")[0] == 1
    started.git("add", "-A")
    return started


@pytest.mark.parametrize("words", [["data"], ["data.dvlite"], []])
def test_what_was_added_with_its_markers_is_still_in_conflict(added, words):
    assert "1 conflict" in added.dvlite("resolve", *words, code=1).stdout
    assert "Resolved data: 1 file from theirs; theirs taken" in added.dvlite("resolve", *words, "--theirs").stdout
    added.git("commit", "-qm", "Merge")
    assert added.files() == BASE | {"b": "other"}
    assert added.is_clean()


def test_what_was_committed_with_its_markers_can_be_settled_yet(added):
    added.git("commit", "-qm", "Merge")
    added.dvlite("resolve", "data", "--ours")
    added.git("commit", "-qm", "Settle")
    assert added.files() == BASE | {"b": "main"}


def test_what_was_settled_by_hand_stays(added):
    added.git("checkout", "other", "--", "data.dvlite")
    before = added.read("data.dvlite")
    assert "No pointer and no lockfile has a merge conflict" in added.dvlite("resolve", "--ours").stdout
    told = added.dvlite("resolve", "data", "--ours", code=2).stderr
    assert added.read("data.dvlite") == before
    added.git(*told.partition("hint: to restore the conflict: git ")[2].split())
    added.dvlite("resolve", "data", "--ours")
    assert added.read("data.dvlite") != before


def test_markers_whose_sides_git_forgot_are_told(added):
    added.git("commit", "-qm", "Merge")
    added.git("checkout", "-q", "-b", "elsewhere", "other")
    added.git("checkout", "-q", "main")
    for words in ((), ("data",), ("data.dvlite",), ("data", "--ours")):
        told = added.dvlite("resolve", *words, code=2).stderr
        assert "'data.dvlite' holds conflict markers, and its sides are no longer in git" in told
        assert "git checkout COMMIT -- data.dvlite" in told


def test_a_conflict_in_meta_is_called_one(started):
    started.write(
        "data.dvlite", started.read("data.dvlite") + b"meta:\n<<<<<<< ours\n  a: 1\n=======\n>>>>>>> theirs\n"
    )
    told = started.dvlite("checkout", "data", code=1).stderr
    assert "there is an unresolved merge conflict" in told
    assert "dvlite resolve data --ours or --theirs or --union" in told


def test_resolve_neither_writes_nor_removes_behind_a_link(started, tmp_path):
    started.write("sub/d/1", "1")
    started.dvlite("add", "sub/d")
    started.commit("Sub")
    started.git("checkout", "-q", "-b", "topic")
    started.write("sub/d/5", "5")
    started.dvlite("add", "sub/d")
    started.commit("Five")
    started.git("checkout", "-q", "main")
    started.git("rm", "-rq", "sub")
    shutil.rmtree(started.root / "sub", ignore_errors=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "d.dvlite").write_text("precious")
    (started.root / "sub").symlink_to(outside)
    started.git("add", "sub")
    started.git("commit", "-qm", "Link")
    assert started.try_git("merge", "topic")[0] == 1
    shutil.rmtree(started.root / "sub", ignore_errors=True)
    (started.root / "sub").unlink(missing_ok=True)
    (started.root / "sub").symlink_to(outside)
    for choice in ("--ours", "--theirs"):
        assert "behind a symbolic link" in started.dvlite("resolve", choice, code=2).stderr
        assert [path.name for path in outside.iterdir()] == ["d.dvlite"]
        assert (outside / "d.dvlite").read_text() == "precious"
