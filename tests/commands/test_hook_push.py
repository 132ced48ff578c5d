"""The pre-push hook: the data of exactly the commits that git pushes goes first, or git does not push."""

import shutil

import pytest

from tests.claimed import oids
from tests.clones import objects
from tests.commands.hooked import Hooked, said


@pytest.fixture
def store(tmp_path):
    """Returns the folder remote of `team`."""
    return tmp_path / "store"


def version(project, text):
    """Commits another version of the data and returns its oid."""
    project.write("data/new.txt", text)
    project.save(text)
    return project.json("ls")["entries"][0]["oid"]


def refs(project):
    return project.git("ls-remote", "origin")


def test_it_uploads_exactly_what_the_new_commits_name_and_says_so(team, store):
    before = oids(store)
    first, second = version(team, "first"), version(team, "second")
    team.write("data/new.txt", "never committed")
    team.dvlite("add", "-u")
    lines = said(team.does("push"))
    assert len(lines) == 1
    assert lines[0].startswith("pushed 2 files, ")
    assert f" objects to origin ({store}). " in lines[0]
    assert oids(store) - before == {first, second}


def test_data_that_was_pushed_before_is_complete(team, store):
    version(team, "first")
    team.dvlite("push")
    assert said(team.does("push")) == [f"data of 1 new commit is complete on origin ({store})"]


def test_commits_without_data_and_deleted_branches_cost_nothing(team, store):
    team.dvlite("push")
    shutil.rmtree(store)  # nobody asks there
    team.write("code.py", "1")
    team.save()
    assert said(team.does("push")) == []
    assert said(team.does("push", "origin", "HEAD:refs/heads/other")) == []
    assert said(team.does("push", "origin", ":other")) == []


def test_branches_tags_and_forced_pushes(team, store):
    team.git("checkout", "-q", "-b", "topic")
    oid = version(team, "topic")
    team.git("tag", "-a", "v1", "-m", "v1")
    assert said(team.does("push", "-q", "origin", "v1"))[0].startswith("pushed 1 file")
    assert oid in oids(store)
    assert said(team.does("push", "-q", "origin", "topic")) == [f"data of 1 new commit is complete on origin ({store})"]
    team.git("reset", "-q", "--hard", "main")
    team.dvlite("checkout")
    oid = version(team, "another")
    team.refuses("push", "-q", "origin", "topic")
    assert oid not in oids(store)  # git itself refused
    assert said(team.does("push", "-q", "--force", "origin", "topic"))[0].startswith("pushed 1 file")
    assert oid in oids(store)


def test_a_remote_state_that_is_not_known_here_is_looked_past(team, tmp_path, invoke):
    team.git("clone", "-q", str(tmp_path / "bare.git"), str(tmp_path / "other"))
    other = Hooked(tmp_path / "other", invoke)
    other.write("x", "x")
    other.git("add", "x")
    other.git("commit", "-qm", "x")
    other.git("push", "-q")
    version(team, "first")
    assert "pushed 1 file" in team.does("push", "-q", "--force")


def test_a_merge_pushes_what_it_made_itself(team, store):
    team.git("checkout", "-q", "-b", "theirs")
    team.write("data/theirs.txt", "theirs")
    team.save("theirs")
    team.does("push", "-q", "origin", "theirs")
    team.does("checkout", "-q", "main")
    team.write("data/ours.txt", "ours")
    team.save("ours")
    team.does("push", "-q")
    before = oids(store)
    team.does("merge", "-q", "theirs")
    assert team.listing() == ["one.txt", "ours.txt", "theirs.txt", "three.txt", "two.txt"]
    team.does("push", "-q")
    assert len(oids(store) - before) == 1


def test_of_a_lockfile_only_the_outputs_that_a_commit_changed_are_pushed(team, store):
    stage = "  {0}: {{cmd: cat {0}.in > {0}.out, deps: [{0}.in], outs: [{0}.out]}}\n"
    team.write("dvlite.yaml", "stages:\n" + stage.format("a") + stage.format("b"))
    team.write("a.in", "a")
    team.write("b.in", "b")
    team.dvlite("repro")
    team.git("add", "-A")
    team.does("commit", "-qm", "Pipeline")
    assert said(team.does("push"))[0].startswith("pushed ")
    before = oids(store)
    team.write("a.in", "another a")
    team.dvlite("repro")
    team.git("add", "-A")
    team.does("commit", "-qm", "Again")
    team.does("push")
    assert len(oids(store) - before) == 1
    team.write("notes", "x")
    team.save()
    assert said(team.does("push")) == []


# -- refusals


def test_data_that_is_nowhere_stops_the_push_and_is_named(team, store):
    version(team, "first")
    before, published = refs(team), objects(store)
    shutil.rmtree(team.cache)
    lines = said(team.refuses("push"))
    assert lines[0].startswith("blocked: cannot push 'data': ")
    assert "neither in the cache nor on" in lines[0]
    assert lines[-1] == "if it is lost for ever: DVLITE_ALLOW_MISSING=1 git push"
    assert refs(team) == before
    assert objects(store) == published


def test_lost_history_is_left_out_and_the_rest_is_pushed(team, store):
    lost = version(team, "lost")
    shutil.rmtree(team.cache)
    team.dvlite("fetch", code=12)
    team.dvlite("add", "data")  # what is on disk is not lost
    team.write("data/new.txt", "kept")
    team.dvlite("add", "data")
    team.write("model.pt", "model")
    team.dvlite("add", "model.pt")
    (team.root / "data" / "one.txt").unlink()
    kept = version(team, "newest")
    team.dvlite("cache", "prune", "--pushed", code=None)
    team.git("commit", "--allow-empty", "-qm", "empty")
    shutil.rmtree(team.cache)
    for name in ("data", "model.pt"):
        team.dvlite("add", name)
    assert "blocked" in team.refuses("push")
    lines = said(team.does("push", DVLITE_ALLOW_MISSING="1"))
    assert any("is left out" in line for line in lines)
    assert any(line.startswith("pushed ") for line in lines)
    assert kept in oids(store)
    assert lost not in oids(store)


def test_push_allow_missing_does_the_same_by_hand(team, store):
    first = version(team, "first")
    shutil.rmtree(team.cache)
    (team.root / "data" / "new.txt").write_text("second")
    (team.root / "data.dvlite").unlink()
    team.dvlite("add", "data")
    second = version(team, "second")
    team.dvlite("push", "--all-commits", code=12)
    assert second not in oids(store)
    done = team.dvlite("--json", "push", "--all-commits", "--allow-missing")
    assert "warning: 'data' at " in done.stderr
    assert second in oids(store)
    assert first not in oids(store)
    assert '"state":"lost"' in done.stdout


def test_above_the_limit_it_names_the_command_that_pushes(team, store):
    team.dvlite("config", "--local", "hooks.push_limit", "10KiB")
    team.write("data/new.txt", b"\0" * 20_000)
    team.save()
    before = refs(team)
    lines = said(team.refuses("push"))
    assert lines[0].startswith("blocked: 19.5 KiB are to be uploaded to origin, more than 10.0 KiB")
    assert lines[1].startswith("dvlite push && git push")
    assert refs(team) == before
    version(team, "small")  # the large version is only in history now
    lines = said(team.refuses("push"))
    assert lines[1].startswith("dvlite push --all-commits && git push")
    team.dvlite("push", "--all-commits")
    assert said(team.does("push")) == [f"data of 2 new commits is complete on origin ({store})"]


def test_without_a_remote_commits_with_data_are_stopped(hooked, tmp_path):
    hooked.git("init", "-q", "--bare", str(tmp_path / "bare.git"))
    hooked.git("remote", "add", "origin", str(tmp_path / "bare.git"))
    assert said(hooked.does("push", "-q", "origin", "main")) == []
    hooked.write("data", "data")
    hooked.dvlite("add", "data")
    hooked.git("commit", "-qm", "Data")
    lines = said(hooked.refuses("push", "-q", "origin", "main"))
    assert "no dvlite remote" in lines[0]
    assert "dvlite remote add" in lines[1]
    hooked.dvlite("config", "--local", "hooks.pre_push", "off")
    hooked.does("push", "-q", "origin", "main")


def test_a_branch_with_data_cannot_be_slipped_past_from_one_without(team):
    version(team, "first")
    team.git("checkout", "-q", "--orphan", "pages")
    team.git("rm", "-rqf", ".")
    team.git("commit", "-qm", "Pages", "--allow-empty")
    assert said(team.does("push", "-q", "origin", "pages")) == []
    assert "check out a branch that uses dvlite" in team.refuses("push", "-q", "origin", "main")


def test_a_place_that_was_not_approved_is_not_used(team, colleague, tmp_path):
    clone = Hooked(colleague(team).root, team._invoke)
    clone.git("remote", "set-url", "origin", str(tmp_path / "bare.git"))
    clone.dvlite("install")
    clone.write("mine", "mine")
    clone.dvlite("add", "mine")
    clone.does("commit", "-qm", "mine")
    lines = said(clone.refuses("push"))
    assert "has not approved" in lines[0]
    assert f"dvlite remote trust {tmp_path / 'store'}" in lines[1]


def test_a_merged_config_leads_no_data_to_another_place(team, store, tmp_path):
    config = team.read(".dvlite/config.yaml")
    assert b"url: ../store\n" in config
    team.write(".dvlite/config.yaml", config.replace(b"../store", b"../other"))
    version(team, "confidential")
    before = refs(team)
    lines = said(team.refuses("push"))
    assert f"is at {tmp_path / 'other'}, which this user has not approved for this project's data" in lines[0]
    assert f"(approved: {store}" in lines[0]
    assert lines[1].startswith(f"dvlite remote trust {tmp_path / 'other'} ")
    assert refs(team) == before
    assert not (tmp_path / "other").exists()
    assert "pushed 4 files" in team.does("push", DVLITE_TRUST=str(tmp_path / "other"))


def adopted(hooked, tmp_path):
    """Hooks come after a push of git: the commit with `f` is on git's remote, its data is nowhere but in the cache."""
    hooked.git("init", "-q", "--bare", str(tmp_path / "bare.git"))
    hooked.git("remote", "add", "origin", str(tmp_path / "bare.git"))
    hooked.dvlite("remote", "add", tmp_path / "store")
    hooked.write("f", "f")
    hooked.dvlite("add", "f")
    hooked.commit("f")
    hooked.does("push", "-q", "-u", "origin", "main", DVLITE_HOOKS="0")
    return hooked


@pytest.mark.parametrize("new", ["data", "code"])
def test_data_of_commits_that_git_has_already_goes_with_the_next_push(hooked, tmp_path, new):
    adopted(hooked, tmp_path)
    hooked.write("g", "g")
    if new == "data":
        hooked.dvlite("add", "g")
    hooked.save("g")
    assert said(hooked.does("push", "-q"))[0].startswith(f"pushed {'2 files' if new == 'data' else '1 file'}, ")
    assert hooked.dvlite("status", "--remote", "--exit-code", "f").returncode == 0
    hooked.write("code.py", "1")
    hooked.save("more code")
    assert said(hooked.does("push", "-q")) == []


def test_data_of_commits_that_git_has_already_and_that_is_lost_is_reported_and_stops_nothing(hooked, tmp_path):
    adopted(hooked, tmp_path)
    shutil.rmtree(hooked.cache)
    (hooked.root / "f").unlink()
    hooked.write("g", "g")
    hooked.dvlite("add", "g")
    hooked.save("g")
    lines = said(hooked.does("push", "-q"))
    assert lines[0].startswith("note: 'f' at ")
    assert "is left out: 'f' is neither in the cache nor on origin" in lines[0]
    assert lines[1].startswith("pushed 1 file, ")


# -- how it is called


def test_variables_of_pre_commit_stand_in_for_standard_input(team):
    old = team.head
    version(team, "first")
    env = {
        "PRE_COMMIT_FROM_REF": old,
        "PRE_COMMIT_TO_REF": team.head,
        "PRE_COMMIT_REMOTE_NAME": "origin",
        "PRE_COMMIT_REMOTE_URL": "x",
    }
    done = team._invoke("hook", "pre-push", cwd=team.root, env=env)
    assert done.returncode == 0
    assert done.stdout == ""
    assert said(done.stderr)[0].startswith("pushed 1 file")
    version(team, "second")
    env = {"PRE_COMMIT_LOCAL_BRANCH": "refs/heads/main", "PRE_COMMIT_REMOTE_NAME": "origin"}
    assert "pushed 1 file" in team._invoke("hook", "pre-push", cwd=team.root, env=env).stderr


def test_hostile_words_are_no_options(team):
    line = f"refs/heads/main --output=x refs/heads/main {'0' * 40}\n"
    done = team._invoke("hook", "pre-push", "--all", "--upload-pack=x", cwd=team.root, input=line)
    assert done.returncode == 1
    assert "cannot read the ref line from git" in done.stderr
    assert not team.has("x")


def test_refs_that_are_typed_with_spaces_are_read(team, store):
    before = oids(store)
    oid = version(team, "first words")
    assert said(team.does("push", "-q", "origin", "HEAD^{/first words}:refs/heads/typed"))[0].startswith(
        "pushed 1 file"
    )
    assert oids(store) - before == {oid}


def test_a_line_that_git_cannot_have_said_blocks(team):
    done = team._invoke("hook", "pre-push", "origin", "url", cwd=team.root, input="refs/heads/main 12\n")
    assert done.returncode == 1
    assert "cannot read the ref line from git" in done.stderr


def test_settings_of_git_that_hide_commits_hide_no_data(team, store, tmp_path):
    """Root commits without a difference, and commits that others stand in for: git pushes them all the same."""
    team.git("config", "log.showRoot", "false")
    before = oids(store)
    team.git("checkout", "-q", "--orphan", "root")
    oid = version(team, "root")
    team.does("push", "-q", "origin", "root")
    assert oid in oids(store) - before
    later = version(team, "later")
    other = team.git("commit-tree", "-p", "HEAD~1", "-m", "other", "HEAD~1^{tree}").strip()
    team.git("replace", team.head, other)
    team.does("push", "-q", "origin", "root")
    assert later in oids(store)


def test_a_remote_that_no_pushed_commit_names_is_told(hooked, tmp_path):
    hooked.git("init", "-q", "--bare", str(tmp_path / "bare.git"))
    hooked.git("remote", "add", "origin", str(tmp_path / "bare.git"))
    hooked.write("data/1", "1")
    hooked.dvlite("add", "data")
    hooked.commit("Data")
    hooked.dvlite("remote", "add", tmp_path / "store")
    lines = said(hooked.does("push", "-q", "-u", "origin", "main"))
    assert lines[0].startswith("note: '.dvlite/config.yaml' with remote origin is not committed: ")
    assert lines[1].startswith("pushed 1 file")
    hooked.commit("Remote")
    hooked.write("data/2", "2")
    hooked.save()
    assert [line[:13] for line in said(hooked.does("push", "-q"))] == ["pushed 1 file"]
