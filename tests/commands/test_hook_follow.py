"""The hooks after checkout, merge and rebase: the data is where the pointers are, and no edit is lost."""

import os
import shutil

import pytest

from tests.commands.hooked import Hooked, said

START = ["one.txt", "three.txt", "two.txt"]


def clone(team, tmp_path, name="bob", *, pull=True):
    """Returns a colleague's clone with hooks."""
    team.dvlite("clone", tmp_path / "bare.git", tmp_path / name, *([] if pull else ["--no-data"]), cwd="..")
    return Hooked(tmp_path / name, team._invoke)


def branch(project, name, *files, start="main"):
    """Makes a branch whose data has more files, pushes it, and goes back."""
    project.does("checkout", "-q", "-b", name, start)
    for file in files:
        project.write(f"data/{file}", file)
    project.save(name)
    project.does("push", "-q", "-u", "origin", name)
    project.does("checkout", "-q", "main")


def test_checkout_of_a_branch_swaps_the_data(team):
    branch(team, "other", "four.txt", "five.txt")
    assert team.listing() == START
    lines = said(team.does("checkout", "-q", "other"))
    assert len(lines) == 1
    assert lines[0].startswith("checked out data: 2 files written, 16 B. ")
    assert team.listing() == ["five.txt", "four.txt", *START]
    assert "2 files removed" in team.does("switch", "-q", "main")
    assert team.listing() == START
    assert team.is_clean()


def test_a_path_that_a_branch_does_not_have_goes_and_comes(team):
    team.does("checkout", "-q", "-b", "other")
    team.write("more/x.txt", "x")
    team.dvlite("add", "more")
    team.dvlite("rm", "data")
    team.does("commit", "-qm", "Other")
    team.does("checkout", "-q", "main")
    assert team.listing() == START
    assert not team.has("more")
    team.does("checkout", "-q", "other")
    assert team.has("more/x.txt")
    assert not team.has("data")
    assert team.is_clean()


def test_edits_are_kept_and_said(team):
    branch(team, "other", "four.txt", "one.txt")
    team.write("data/one.txt", "my edit")
    team.write("data/mine.txt", "mine")
    lines = said(team.does("checkout", "-q", "other"))
    assert lines[0] == ("note: 1 file changed here and kept in data; to give the changes up: dvlite checkout -f data")
    assert team.read("data/one.txt") == b"my edit"
    assert team.read("data/mine.txt") == b"mine"
    assert team.has("data/four.txt")


def test_only_what_changed_is_touched(team):
    team.write("model.pt", "model")
    team.dvlite("add", "model.pt")
    team.does("commit", "-qm", "Model")
    branch(team, "other", "four.txt")
    os.unlink(team.root / "model.pt")
    team.does("checkout", "-q", "other")
    assert not team.has("model.pt")


def test_single_files_new_branches_and_amended_commits_are_not_followed(team):
    branch(team, "other", "four.txt")
    assert team.does("checkout", "-q", "-b", "third") == ""
    assert said(team.does("checkout", "-q", "other", "--", "data.dvlite")) == []
    assert team.listing() == START
    team.git("checkout", "-q", "HEAD", "--", "data.dvlite")
    team.git("config", "core.hooksPath", "/nowhere")
    for words in (["post-checkout", "a", "b", "0"], ["post-rewrite", "amend"], ["post-checkout"]):
        assert team.dvlite("hook", *words).stderr == ""


def test_a_merge_and_a_pull_bring_the_data_of_others(team, tmp_path):
    bob = clone(team, tmp_path)
    bob.write("data/bobs.txt", "bob's")
    bob.save("Bob's")
    bob.does("push", "-q")
    lines = said(team.does("pull", "-q"))
    assert len(lines) == 1
    assert lines[0].startswith("checked out data: 1 file written, 5 B, ")
    assert " downloaded. " in lines[0]
    assert "bobs.txt" in team.listing()
    assert team.is_clean()
    # The records of runs come with the lockfile that names them.
    bob.write("dvlite.yaml", "stages:\n  s: {cmd: cp data/bobs.txt m, deps: [data], outs: [m]}\n")
    bob.dvlite("repro", "-q")
    bob.save("A stage")
    bob.does("push", "-q")
    assert team.json("runs")["runs"] == []
    team.does("pull", "-q")
    assert [run["stage"] for run in team.json("runs")["runs"]] == ["s"]


def test_a_squashed_merge_is_followed_from_the_index(team):
    branch(team, "other", "four.txt")
    team.does("merge", "-q", "--squash", "other")
    assert "four.txt" in team.listing()
    team.does("commit", "-qm", "Squashed")
    assert team.is_clean()


# -- rebase


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_rebase_is_followed_at_its_end(team, tmp_path, backend):
    team.does("checkout", "-q", "-b", "topic")
    for name in ("a.txt", "b.txt"):
        team.write(name, name)
        team.save(name)
    team.does("checkout", "-q", "main")
    team.write("data/four.txt", "four")
    team.save("four")
    team.does("checkout", "-q", "topic")
    assert team.listing() == START
    lines = said(team.does("rebase", "-q", backend, "main"))
    assert len(lines) == 1, lines
    assert lines[0].startswith("checked out data: 1 file written")
    assert team.is_clean()


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_rebase_that_replays_nothing_is_followed_too(team, backend):
    branch(team, "other", "four.txt")
    team.does("checkout", "-q", "-b", "behind")
    team.does("rebase", "-q", backend, "other")
    assert "four.txt" in team.listing()
    assert team.is_clean()


def test_a_rebase_that_stops_does_nothing_on_the_way(team):
    team.does("checkout", "-q", "-b", "topic")
    team.write("x.txt", "topic")
    team.save("x")
    team.does("checkout", "-q", "main")
    team.write("x.txt", "main")
    team.write("data/four.txt", "four")
    team.save("four")
    team.does("checkout", "-q", "topic")
    assert said(team.refuses("rebase", "-q", "main")) == []
    assert team.listing() == START
    team.write("x.txt", "both")
    team.git("add", "x.txt")
    assert "1 file written" in team.does("rebase", "--continue", GIT_EDITOR="true")
    assert "four.txt" in team.listing()
    assert team.is_clean()


def test_pull_with_rebase_brings_theirs_below_ours(team, tmp_path):
    bob = clone(team, tmp_path)
    bob.write("data/bobs.txt", "bob's")
    bob.save("Bob's")
    bob.does("push", "-q")
    team.write("x.txt", "x")
    team.save("x")
    team.does("pull", "-q", "--rebase")
    assert "bobs.txt" in team.listing()
    assert team.is_clean()


# -- downloads


def test_what_is_missing_above_the_limit_makes_one_line(team, tmp_path):
    bob = clone(team, tmp_path)
    branch(team, "other", "four.txt")
    bob.does("fetch", "-q")
    bob.dvlite("config", "--local", "hooks.fetch_limit", "3")
    lines = said(bob.does("checkout", "-q", "other"))
    assert lines == [
        "note: data: not in the cache (8 B is more than hooks.fetch_limit, 3 B); to bring it: dvlite pull data"
    ]
    assert bob.listing() == START
    bob.dvlite("pull", "data")
    assert bob.is_clean()


def test_with_limit_zero_nothing_is_asked(team, tmp_path):
    bob = clone(team, tmp_path)
    branch(team, "other", "four.txt")
    bob.does("fetch", "-q")
    shutil.rmtree(tmp_path / "store")
    bob.dvlite("config", "--local", "hooks.fetch_limit", "0")
    assert said(bob.does("checkout", "-q", "other")) == ["note: data: not in the cache; to bring it: dvlite pull data"]


def test_a_place_that_was_not_approved_or_does_not_answer_makes_a_note(team, tmp_path):
    bob = clone(team, tmp_path)
    branch(team, "other", "four.txt")
    bob.does("fetch", "-q")
    lines = said(bob.does("checkout", "-q", "other", XDG_CONFIG_HOME=str(tmp_path / "nobody")))
    assert len(lines) == 1
    assert "has not approved" in lines[0]
    bob.does("checkout", "-q", "main", XDG_CONFIG_HOME=str(tmp_path / "nobody"))
    bob.dvlite("config", "--local", "remotes.origin.url", "s3://bucket/x")
    bob.dvlite("config", "--local", "remotes.origin.endpoint_url", "http://127.0.0.1:9")
    lines = said(bob.does("checkout", "-q", "other", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x"))
    assert len(lines) == 1
    assert "dvlite pull data" in lines[0]


def test_a_note_says_what_has_to_be_done_first_and_that_works(team, tmp_path, monkeypatch):
    bob = clone(team, tmp_path)
    branch(team, "other", "four.txt")
    bob.does("fetch", "-q")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    line = said(bob.does("checkout", "-q", "other"))[0]
    assert line.endswith(f"to bring it: dvlite remote trust {tmp_path / 'store'} && dvlite pull data")
    for command in line.partition("to bring it: ")[2].split(" && "):
        bob.dvlite(*command.split()[1:])
    assert bob.is_clean()


def test_what_the_remote_does_not_have_either_is_not_to_be_pulled(team, tmp_path):
    bob = clone(team, tmp_path)
    branch(team, "other", "four.txt")
    bob.does("fetch", "-q")
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").mkdir()
    lines = said(bob.does("checkout", "-q", "other"))
    where = f"neither in the cache nor on '{tmp_path / 'store'}'"
    assert lines == [f"note: data: {where}; push it from a clone that has it"]
    shutil.rmtree(bob.root / ".git" / "dvlite" / "cache")
    assert said(bob.does("checkout", "-q", "main")) == []  # its data is still here
    assert bob.listing() == START


def test_data_that_nobody_touched_gives_way_though_the_cache_lost_it(team):
    """It is no edit: told to give up changes that were none, or to add them, a user would undo the other branch."""
    team.write("model.pt", "model")
    team.dvlite("add", "model.pt")
    team.does("commit", "-qm", "Model")
    team.does("checkout", "-q", "-b", "other")
    team.write("model.pt", "other model")
    (team.root / "data" / "one.txt").unlink()
    team.save("Other")
    team.does("push", "-q", "origin", "other", "main")
    team.does("checkout", "-q", "main")
    shutil.rmtree(team.cache)
    lines = said(team.does("checkout", "-q", "other"))
    assert len(lines) == 1
    assert lines[0].startswith("checked out data, model.pt: 1 file written")
    assert team.read("model.pt") == b"other model"
    assert team.listing() == ["three.txt", "two.txt"]
    assert team.is_clean()
    team.dvlite("config", "--local", "hooks.fetch_limit", "0")
    assert "checked out data, model.pt" in team.does("checkout", "-q", "main")  # it was put back before it went
    assert team.listing() == START


def test_what_was_never_pulled_stays_away_and_what_is_new_comes(team, tmp_path):
    bob = clone(team, tmp_path, pull=False)
    branch(team, "other", "four.txt")
    team.does("checkout", "-q", "other")
    team.write("new.txt", "new")
    team.dvlite("add", "new.txt")
    team.does("commit", "-qm", "New")
    team.does("push", "-q")
    bob.does("fetch", "-q")
    assert "checked out new.txt" in bob.does("checkout", "-q", "other")
    assert not bob.has("data")
    assert bob.read("new.txt") == b"new"


def test_a_part_of_a_directory_stays_a_part(team, tmp_path):
    bob = clone(team, tmp_path, pull=False)
    bob.dvlite("pull", "data/one.txt")
    branch(team, "other", "one.txt", "two.txt", "four.txt")
    bob.does("fetch", "-q")
    bob.does("checkout", "-q", "other")
    assert bob.listing() == ["one.txt"]
    assert bob.read("data/one.txt") == b"one.txt"


def test_a_note_about_a_part_does_not_lead_to_all_of_it(team, tmp_path):
    bob = clone(team, tmp_path, pull=False)
    bob.dvlite("pull", "data/one.txt")
    branch(team, "other", "one.txt", "two.txt", "four.txt")
    bob.does("fetch", "-q")
    bob.dvlite("config", "--local", "hooks.fetch_limit", "0")
    lines = said(bob.does("checkout", "-q", "other"))
    assert lines == ["note: data: not in the cache; to bring it: dvlite pull"]
    assert "hint: to have what data.dvlite says: dvlite pull\n" in bob.dvlite("add", "data", code=1).stderr
    bob.dvlite("pull")
    assert bob.listing() == ["one.txt"]
    assert bob.is_clean()


# -- nothing of this fails git


def test_a_busy_workspace_makes_a_note_and_no_waiting(team):
    from dvlite.files import lock

    branch(team, "other", "four.txt")
    with lock(team.root / ".git" / "dvlite" / "lock"):
        lines = said(team.does("checkout", "-q", "other"))
    (line,) = lines
    assert line.startswith("note: the workspace did not follow: another dvlite command is running here (process ")
    assert line.endswith("; then: dvlite checkout")


def test_a_broken_pointer_and_a_broken_config_make_notes(team):
    branch(team, "other", "four.txt")
    team.does("checkout", "-q", "other")
    team.write("data.dvlite", "nonsense\n")
    team.does("commit", "-qam", "Broken", "--no-verify")
    team.does("checkout", "-q", "main")
    team.does("checkout", "-q", "other")
    assert team.listing() == START
    team.does("checkout", "-q", "main")
    team.does("checkout", "-q", "-b", "third")
    team.write(".dvlite/config.yaml", "nonsense: 1\n")
    team.does("commit", "-qam", "Broken", "--no-verify")
    team.does("checkout", "-q", "main")
    lines = said(team.does("checkout", "-q", "third"))
    assert len(lines) == 1
    assert "nonsense" in lines[0]


def test_it_can_be_switched_off(team):
    branch(team, "other", "four.txt")
    assert team.does("checkout", "-q", "other", DVLITE_HOOKS="0") == ""
    assert team.listing() == START
    team.does("checkout", "-q", "main")
    team.dvlite("config", "--local", "hooks.follow", "off")
    assert team.does("checkout", "-q", "other") == ""
    assert team.listing() == START


def test_variables_of_pre_commit_stand_in_for_arguments(team):
    branch(team, "other", "four.txt")
    old = team.head
    team.does("checkout", "-q", "other", DVLITE_HOOKS="0")
    env = {"PRE_COMMIT_FROM_REF": old, "PRE_COMMIT_TO_REF": team.head, "PRE_COMMIT_CHECKOUT_TYPE": "1"}
    done = team._invoke("hook", "post-checkout", cwd=team.root, env=env)
    assert done.stdout == ""
    assert "checked out data" in done.stderr
    assert "four.txt" in team.listing()
