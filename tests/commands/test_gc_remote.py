"""`gc --remote`: what git and no clone needs goes, from a folder or a bucket; what cannot be known stops it."""

import shutil

import pytest

from dvlite.store import pack
from tests.commands.project import Project
from tests.commands.test_gc import forget
from tests.trees import noise


@pytest.fixture
def pushed(prepared, tmp_path, monkeypatch):
    """Three versions of a directory and a file, each committed and pushed to the folder `store` beside the repository."""

    def build(project):
        for number in range(3):
            project.write("data/a", noise(3000, 1))
            project.write("data/b", noise(3000, 10 + number))
            project.write("model.pt", noise(100_000, number))
            project.dvlite("add", "data", "model.pt")
            project.commit(f"Version {number}")

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    project = prepared("three-versions-to-push", build)
    for revision in ("HEAD~2", "HEAD~1", "HEAD"):
        project.dvlite("push", "--rev", revision)
    return project


def store_of(project):
    return project.root / project.json("remote", "list")["remotes"][0]["url"]


def holds(project, data):
    return any(data in path.read_bytes() for path in store_of(project).rglob("*") if path.is_file())


def drop_last(project):
    project.git("reset", "-q", "--hard", "HEAD~1")
    project.dvlite("checkout", "--force")
    forget(project)
    shutil.rmtree(project.root / ".git" / "dvlite" / "saved", ignore_errors=True)


def test_a_plan_removes_nothing_and_says_what_would_go(pushed):
    drop_last(pushed)
    plan = pushed.json("gc", "--remote", "--grace", "0s")
    assert plan["applied"] is False
    assert plan["freed_bytes"] > 100_000
    assert holds(pushed, noise(100_000, 2)[40_000:41_000])
    assert "next: dvlite gc --remote origin --grace 0s --yes" in pushed.dvlite("gc", "--remote", "--grace", "0s").stdout


def test_what_git_dropped_goes_and_the_rest_can_be_pulled(pushed, colleague):
    drop_last(pushed)
    pushed.dvlite("gc", "--remote", "--grace", "0s", "--yes")
    assert not holds(pushed, noise(100_000, 2)[40_000:41_000])
    there = colleague(pushed)
    there.dvlite("fetch", "--all-commits")
    there.dvlite("checkout")
    assert there.read("model.pt") == noise(100_000, 1)
    assert pushed.json("gc", "--remote", "--grace", "0s")["gone"] == []


def test_without_grace_given_young_data_stays(pushed):
    drop_last(pushed)
    done = pushed.json("gc", "--remote", "--yes")
    assert (done["freed_bytes"], done["claims"]) == (0, 0)
    assert holds(pushed, noise(100_000, 2)[40_000:41_000])


def test_a_branch_that_only_the_git_server_has_keeps_its_data(pushed, tmp_path):
    server = tmp_path / "server.git"
    pushed.git("init", "-q", "--bare", str(server))
    pushed.git("remote", "add", "server", str(server))
    pushed.git("push", "-q", "server", "HEAD:refs/heads/old")
    pushed.git("update-ref", "-d", "refs/remotes/server/old")
    drop_last(pushed)
    pushed.dvlite("gc", "--remote", "--grace", "0s", "--yes")
    assert holds(pushed, noise(100_000, 2)[40_000:41_000])
    assert "refs/dvlite" not in pushed.git("for-each-ref")


def test_private_refs_of_a_killed_run_count_nowhere_and_go_with_the_next_push(pushed):
    pushed.git("checkout", "-q", "-b", "theirs")
    pushed.write("theirs.bin", noise(2000, 60))
    pushed.dvlite("add", "theirs.bin")
    pushed.commit()
    pushed.git("update-ref", "refs/dvlite/gc/server/heads/theirs", "HEAD")
    (pushed.root / ".git" / "dvlite" / "gc.lock").touch()
    pushed.git("checkout", "-q", "-")
    pushed.git("branch", "-q", "-D", "theirs")
    forget(pushed)
    lines = pushed.json("doctor")["lines"]
    assert [line["fix"] for line in lines if "private ref" in line["text"]] == ["dvlite gc"]
    paths = {each["path"] for each in pushed.json("push", "--all-commits", "-n")["paths"]}
    assert paths == {"data", "model.pt"}
    assert "refs/dvlite" not in pushed.git("for-each-ref")


def test_logs_of_another_project_on_the_same_remote_stay(pushed, tmp_path, invoke):
    other = Project(tmp_path / "other", invoke)
    other.root.mkdir()
    other.git("init", "-q")
    other.dvlite("init")
    other.write("data", "x")
    other.dvlite("add", "data")
    other.dvlite("remote", "add", store_of(pushed))
    other.dvlite("push")  # so that the next one sends the log alone
    other.write(
        "dvlite.yaml", "stages:\n  hello:\n    cmd: echo said; cp data out\n    deps: [data]\n    outs: [out]\n"
    )
    other.dvlite("repro")
    other.commit("Run")
    other.dvlite("push")
    pushed.dvlite("gc", "--remote", "--grace", "0s", "--yes")
    shutil.rmtree(other.cache)
    assert "said" in other.dvlite("runs", "show", "last", "--log").stdout


def test_a_git_remote_that_does_not_answer_stops_it(pushed):
    pushed.git("remote", "add", "server", "/nowhere")
    drop_last(pushed)
    refused = pushed.dvlite("gc", "--remote", "--grace", "0s", "--yes", code=1).stderr
    assert "cannot ask the git remote 'server'" in refused
    assert holds(pushed, noise(100_000, 2)[40_000:41_000])


def test_a_shallow_clone_deletes_nothing(pushed, tmp_path, invoke):
    pushed.git("clone", "-q", "--depth", "1", f"file://{pushed.root}", str(tmp_path / "shallow"))
    there = Project(tmp_path / "shallow", invoke)
    there.git("remote", "remove", "origin")
    assert "shallow" in there.dvlite("gc", "--remote", "--yes", code=1).stderr


def test_a_clone_that_is_lost_can_be_forgotten(pushed, colleague):
    there = colleague(pushed)
    there.write("theirs.bin", noise(50_000, 50))
    there.dvlite("add", "theirs.bin")
    there.commit()
    there.dvlite("push")
    pushed.dvlite("gc", "--remote", "--grace", "0s", "--yes")
    assert holds(pushed, noise(50_000, 50)[20_000:21_000])
    clones = pushed.json("gc", "--remote", "--clones")["clones"]
    own = [each["clone"] for each in clones if each["is_own"]]
    other = next(each["clone"] for each in clones if not each["is_own"])
    pushed.dvlite("gc", "--remote", "--forget-clone", own[0], code=2)
    pushed.dvlite("gc", "--remote", "--grace", "0s", "--forget-clone", other[:8], "--yes")
    assert not holds(pushed, noise(50_000, 50)[20_000:21_000])


def test_a_keep_rule_of_the_project_drops_older_versions(pushed, colleague):
    pushed.dvlite("config", "gc.keep_last", "1")
    pushed.commit("Keep the last version")
    pushed.dvlite("gc", "--remote", "--grace", "0s", "--yes")
    assert not holds(pushed, noise(100_000, 0)[40_000:41_000])
    there = colleague(pushed)
    there.dvlite("pull")
    assert there.read("model.pt") == noise(100_000, 2)


def test_a_claim_whose_list_is_damaged_stays_while_what_it_may_be_for_is_not_whole(pushed):
    for path in (store_of(pushed) / "packs").iterdir():
        if path.read_bytes()[8] == pack.META:
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:64])
    claims = sorted((store_of(pushed) / "roots").iterdir())
    failed = pushed.dvlite("gc", "--remote", "--grace", "0s", "--yes", code=12).stderr
    assert "dvlite push --all-commits" in failed
    assert sorted((store_of(pushed) / "roots").iterdir()) == claims
    pushed.dvlite("push", "--all-commits")
    pushed.json("gc", "--remote", "--grace", "0s", "--yes")
    assert not set(claims).intersection((store_of(pushed) / "roots").iterdir())
