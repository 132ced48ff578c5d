"""`dvlite add` where the pointer moved on and the data did not: what others did, or another commit of a rebase, is not undone unnoticed."""

import pytest

from tests.commands.hooked import Hooked, said

EDIT_FIRST = "sed -i.bak 1s/pick/edit/"


@pytest.fixture
def plain(prepared, invoke, on_path):
    """Returns a repository without hooks that has three versions, one a commit."""
    return Hooked(prepared("three-versions-to-be-behind", three_versions, remote=False).root, invoke)


def three_versions(project):
    for number in "123":
        project.write(f"data/{number}", number)
        project.write("data/same", f"v{number}")
        project.write("model.pt", f"model {number}")
        project.dvlite("add", "data", "model.pt")
        project.commit(f"v{number}")


def pointers(project):
    return project.read("data.dvlite"), project.read("model.pt.dvlite")


def to_second(project):
    """Lets git alone change the pointers to those of v2; the data stays that of v3."""
    project.git("checkout", "-q", "-b", "other", "HEAD~1")


def names(project, listing):
    return sorted(entry["path"].removeprefix("data/") for entry in project.json("ls", listing)["entries"])


def hints(stderr):
    return [line.removeprefix("hint: ") for line in stderr.splitlines() if line.startswith("hint: ")]


def run(project, hint):
    """Runs the command that a hint ends with, as a user would paste it."""
    return project.dvlite(*hint.rpartition("dvlite ")[2].split(), code=None)


def test_data_that_was_left_behind_untouched_is_refused_and_both_ways_out_work(plain):
    to_second(plain)
    before = pointers(plain)
    for path in ("data", "model.pt"):
        done = plain.dvlite("add", path, code=1)
        assert f"cannot add '{path}': it is as it was before {path}.dvlite changed" in done.stderr
        assert hints(done.stderr)[0] == f"to have what {path}.dvlite says: dvlite checkout {path}"
        assert hints(done.stderr)[1].startswith("to keep what is on disk instead: dvlite checkout --rev ")
    assert "(3, same)" in plain.dvlite("add", "data", code=1).stderr
    assert pointers(plain) == before
    run(plain, hints(plain.dvlite("add", "data", code=1).stderr)[0])
    assert plain.listing() == ["1", "2", "same"]
    run(plain, hints(plain.dvlite("add", "model.pt", code=1).stderr)[1])
    assert plain.read("model.pt") == b"model 3"
    assert plain.git("diff", "--cached", "--name-only") == "model.pt.dvlite\n"
    plain.dvlite("add", "data", "model.pt")
    assert plain.json("status")["changed"] == []


def test_add_u_leaves_it_with_a_warning_though_its_times_say_nothing(plain):
    to_second(plain)
    before = pointers(plain)
    for _ in range(2):
        done = plain.dvlite("add", "-u")
        assert done.stderr.count("earlier version, untouched; it is left as it is") == 2
        assert "to get the version in the pointer: dvlite checkout data;" in done.stderr
        (plain.root / "data" / "same").touch()
        (plain.root / "model.pt").touch()
    assert pointers(plain) == before


@pytest.mark.parametrize("words", [["data"], ["-u"]])
def test_edits_on_top_of_it_are_refused_and_the_hint_leads_to_both(plain, words):
    plain.git("checkout", "-q", "HEAD~1")
    plain.dvlite("checkout")
    plain.git("checkout", "-q", "main")  # v3 came, and is not here yet
    plain.write("data/mine", "mine")
    plain.write("data/1", "mine")
    done = plain.dvlite("add", *words, code=1)
    assert "cannot add 'data': data.dvlite changed since it was checked out" in done.stderr
    assert "(3, same)" in done.stderr
    assert hints(done.stderr)[0].startswith("dvlite checkout data   (keeps the files that you changed")
    assert hints(done.stderr)[1] == "to take what is on disk all the same: dvlite add --force data"
    assert plain.git("status", "--porcelain") == ""
    kept = plain.dvlite("checkout", "data", code=3)
    assert "1 file not overwritten, with changes that are not added: data/1" in kept.stderr
    plain.dvlite("add", "data")
    plain.dvlite("checkout", "data")
    assert plain.listing() == ["1", "2", "3", "mine", "same"]
    assert [plain.read(f"data/{name}") for name in ("1", "mine", "same")] == [b"mine", b"mine", b"v3"]


def test_a_file_that_both_changed_is_not_taken_unseen(plain):
    plain.git("checkout", "-q", "HEAD~1")
    plain.dvlite("checkout")
    plain.git("checkout", "-q", "main")
    plain.write("model.pt", "my model")
    assert "dvlite checkout model.pt" in plain.dvlite("add", "model.pt", code=1).stderr
    assert "dvlite add model.pt" in plain.dvlite("checkout", "model.pt", code=3).stderr
    plain.dvlite("add", "model.pt")
    assert plain.read("model.pt") == b"my model"
    assert "model.pt.dvlite" in plain.git("diff", "--cached", "--name-only")


def test_a_part_that_the_pointer_left_alone_is_added(plain):
    to_second(plain)
    plain.write("data/mine", "mine")
    plain.dvlite("add", "data/mine")
    assert names(plain, "data") == ["1", "2", "mine", "same"]
    assert "(3, same)" in plain.dvlite("add", "data", code=1).stderr
    assert "(same)" in plain.dvlite("add", "data/same", code=1).stderr
    plain.dvlite("checkout", "data")
    assert plain.listing() == ["1", "2", "mine", "same"]
    assert plain.read("data/same") == b"v2"


def test_a_part_that_was_checked_out_does_not_make_the_rest_the_users_own(plain):
    to_second(plain)
    plain.dvlite("checkout", "data/same")
    before = pointers(plain)
    assert "(3)" in plain.dvlite("add", "data", code=1).stderr
    assert pointers(plain) == before
    plain.dvlite("checkout", "data")
    plain.write("data/new", "mine")
    plain.dvlite("add", "data")
    assert names(plain, "data") == ["1", "2", "new", "same"]


def test_data_that_has_the_change_already_is_added(plain):
    plain.git("checkout", "-q", "HEAD~1")
    plain.dvlite("checkout")
    plain.git("checkout", "-q", "main")
    plain.write("data/3", "3")
    plain.write("data/same", "v3")
    plain.write("data/more", "more")
    assert "Added data: +1 file," in plain.dvlite("add", "data").stdout


def test_what_no_commit_has_is_the_users_own_and_is_added(plain):
    plain.write("data/mine", "mine")
    plain.dvlite("add", "data")
    plain.git("reset", "-q", "--hard")  # the pointer is gone, the data is not
    assert "to add this version: dvlite add --force data" in plain.dvlite("add", "-u").stderr
    assert "Added data: +1 file," in plain.dvlite("add", "data").stdout


def test_an_edit_on_a_branch_that_begins_earlier_is_the_users_own(plain):
    """Nobody's change is lost: what the pointer names was here before what is on disk."""
    to_second(plain)
    plain.write("model.pt", "other model")
    plain.dvlite("add", "model.pt")
    assert plain.git("diff", "--cached", "--name-only") == "model.pt.dvlite\n"


def test_a_pointer_that_was_set_back_by_hand_is_not_set_forth_again(plain):
    plain.git("checkout", "-q", "HEAD~2", "--", "data.dvlite")
    before = pointers(plain)
    assert "(2, 3, same)" in plain.dvlite("add", "data", code=1).stderr
    assert pointers(plain) == before
    plain.dvlite("checkout", "data")
    assert plain.listing() == ["1", "same"]


def test_what_a_pull_brought_and_the_cache_lacks_is_pulled(plain, tmp_path):
    plain.dvlite("remote", "add", tmp_path / "store")
    plain.commit("Add a remote")
    plain.dvlite("push")
    plain.dvlite("clone", plain.root, tmp_path / "bob", cwd="..")
    bob = Hooked(tmp_path / "bob", plain._invoke)
    bob.write("data/bobs", "bob's")
    bob.save("Bob's")
    bob.dvlite("push")
    plain.git("pull", "-q", str(bob.root), "main")
    plain.write("data/mine", "mine")
    done = plain.dvlite("add", "data", code=1)
    assert hints(done.stderr)[0].startswith("dvlite pull data ")
    plain.dvlite("pull", "data")
    plain.dvlite("add", "data")
    assert plain.listing() == ["1", "2", "3", "bobs", "mine", "same"]


def test_a_merge_that_waits_for_another_file_is_not_undone(plain):
    plain.git("checkout", "-q", "-b", "other", "HEAD~1")
    plain.dvlite("checkout")
    plain.write("data/theirs", "theirs")
    plain.write("data/1", "theirs")
    plain.write("notes", "theirs")
    plain.save("Theirs")
    plain.git("checkout", "-q", "main")
    plain.dvlite("checkout")
    plain.write("notes", "ours")
    plain.save("Ours")
    plain.refuses("merge", "-q", "other")
    before = pointers(plain)
    plain.write("data/1", "mine")  # which they changed too
    assert "(1, theirs)" in plain.dvlite("add", "data", code=1).stderr
    assert pointers(plain) == before


# -- a stop of a rebase


def stop_at_second(project):
    project.does("rebase", "-q", "-i", "HEAD~2", GIT_SEQUENCE_EDITOR=EDIT_FIRST)


@pytest.mark.parametrize("hooks", [True, False])
def test_at_an_edit_stop_the_tip_does_not_get_into_the_commit(plain, hooks):
    if hooks:
        plain.dvlite("install")
    stop_at_second(plain)
    before = pointers(plain)
    plain.dvlite("add", "data", code=1)
    plain.dvlite("add", "-u")
    plain.git("commit", "-q", "--amend", "--no-edit")
    assert pointers(plain) == before
    plain.write("data/mine", "mine")
    plain.dvlite("add", "-u", code=1)
    plain.dvlite("checkout", "data")
    assert plain.listing() == ["1", "2", "mine", "same"]
    plain.dvlite("add", "data")
    assert said(plain.does("commit", "-q", "--amend", "--no-edit")) == []
    said_at_end = said(plain.does("rebase", "--continue", GIT_EDITOR="true"))
    if not hooks:
        plain.dvlite("checkout")
    else:
        assert said_at_end[0].startswith("checked out data: 2 files written")
    assert plain.listing() == ["1", "2", "3", "mine", "same"]
    assert plain.is_clean()
    assert names(plain, "HEAD~1:data") == ["1", "2", "mine", "same"]


def test_data_checked_out_at_a_stop_follows_to_the_tip(plain):
    plain.dvlite("install")
    stop_at_second(plain)
    plain.dvlite("checkout")
    assert plain.read("model.pt") == b"model 2"
    lines = said(plain.does("rebase", "--continue", GIT_EDITOR="true"))
    assert len(lines) == 1
    assert lines[0].startswith("checked out data, model.pt: 3 files written")
    assert plain.read("model.pt") == b"model 3"
    assert plain.is_clean()


def test_outputs_checked_out_at_a_stop_follow_too(hooked):
    hooked.write("dvlite.yaml", "stages:\n  copy: {cmd: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}\n")
    for number in "123":
        hooked.write("in.txt", number)
        hooked.dvlite("repro")
        hooked.git("add", "-A")
        hooked.git("commit", "-qm", f"v{number}")
    stop_at_second(hooked)
    hooked.dvlite("checkout")
    assert hooked.read("out.txt") == b"2"
    hooked.does("rebase", "--continue", GIT_EDITOR="true")
    assert hooked.read("out.txt") == b"3"


def test_after_a_rebase_what_no_commit_has_stays(plain):
    plain.dvlite("install")
    plain.write("data/mine", "mine")
    plain.dvlite("add", "data")
    plain.git("reset", "-q", "--hard")
    plain.does("rebase", "-q", "--force-rebase", "HEAD~1")
    assert plain.read("data/mine") == b"mine"


def test_data_that_was_left_behind_is_no_change_though_its_files_are_young(plain):
    """Before, `status` called it changed, with the advice to add it, until its times proved that nobody touched it."""
    stop_at_second(plain)
    plain.dvlite("checkout")
    plain.git("rebase", "--abort")
    (plain.root / "data" / "same").touch()
    found = plain.json("status")
    assert found["changed"] == []
    assert {each["path"] for each in found["missing"]} == {"data", "model.pt"}


def two_sides(project):
    """Two branches change the directory, and a file of git each in its own way: a merge of them stops."""
    project.write("code", "0")
    project.commit("Code")
    project.git("checkout", "-q", "-b", "theirs")
    project.write("data/theirs", "t")
    project.write("code", "theirs")
    project.dvlite("add", "data")
    project.commit("Theirs")
    project.git("checkout", "-q", "-")
    project.dvlite("checkout")
    project.write("data/ours", "o")
    project.write("code", "ours")
    project.dvlite("add", "data")
    project.commit("Ours")


@pytest.mark.parametrize("how", ["merge", "rebase"])
def test_data_of_a_merge_that_was_given_up_is_not_taken_for_the_users_own(plain, how):
    two_sides(plain)
    plain.refuses(how, "theirs")
    plain.dvlite("checkout")
    plain.does(how, "--abort")
    before = pointers(plain)
    if plain.has("data/theirs"):
        plain.write("data/new", "n")
        plain.dvlite("add", "data", code=1)
        assert pointers(plain) == before
        plain.dvlite("add", "--force", "data")
        assert pointers(plain) != before


def test_data_that_was_added_and_stashed_does_not_undo_what_a_pull_brought(plain):
    plain.git("branch", "theirs")
    plain.write("data/mine", "m")
    plain.dvlite("add", "data")
    plain.does("stash", "-q")
    plain.git("checkout", "-q", "theirs")
    plain.dvlite("checkout")
    plain.write("data/theirs", "t")
    plain.dvlite("add", "data")
    plain.commit("Theirs")
    plain.git("checkout", "-q", "-")
    plain.dvlite("checkout")
    plain.does("stash", "pop", "-q")
    plain.dvlite("checkout")  # mine is here, on top of v3
    plain.does("stash", "-q")
    plain.does("merge", "-q", "theirs")  # as git pull does; the data does not follow
    plain.does("stash", "pop", "-q")
    assert {"mine", "theirs"} <= set(names(plain, "data"))
    plain.write("data/more", "x")
    assert "(theirs)" in plain.dvlite("add", "data", code=1).stderr
    plain.dvlite("checkout", "data", code=None)
    plain.dvlite("add", "data")
    assert {"mine", "theirs", "more"} <= set(names(plain, "data"))


def test_an_add_whose_pointer_was_set_back_is_added_again(plain):
    plain.write("data/mine", "m")
    plain.dvlite("add", "data")
    plain.git("checkout", "-q", "HEAD", "--", "data.dvlite")
    plain.write("data/more", "x")
    plain.dvlite("add", "data")
    assert {"mine", "more"} <= set(names(plain, "data"))


def test_what_could_not_be_checked_out_is_no_deletion(plain):
    plain.git("checkout", "-q", "-b", "large")
    plain.write("data/large", b"x" * 300_000)
    plain.dvlite("add", "data")
    plain.commit("Large")
    plain.git("checkout", "-q", "-")
    plain.dvlite("checkout")
    (stored,) = [path for path in (plain.cache / "files").rglob("*") if path.is_file()]
    stored.chmod(0o644)
    stored.write_bytes(b"y" + stored.read_bytes()[1:])
    plain.git("checkout", "-q", "large")
    plain.dvlite("checkout", code=13)
    before = pointers(plain)
    plain.dvlite("add", "-u", code=None)
    plain.dvlite("add", "data", code=1)
    assert pointers(plain) == before
    shown = plain.dvlite("status").stdout
    assert "Data changed" not in shown


def test_a_pointer_that_is_right_and_not_staged_is_staged(plain):
    plain.write("data/4", "4")
    plain.dvlite("add", "data")
    plain.git("reset", "-q")
    assert plain.json("add", "data")["staged"] == ["data.dvlite"]
    plain.git("reset", "-q")
    assert plain.json("add", "-u")["staged"] == ["data.dvlite"]
    assert plain.json("add", "-u")["staged"] == []
    plain.write("new.bin", "n")
    plain.dvlite("add", "new.bin")
    plain.git("reset", "-q")
    assert plain.json("add", "new.bin")["staged"] == ["new.bin.dvlite", ".gitignore"]
