"""`cache prune --pushed` frees what the remote provably has, and nothing else."""

import os
import shutil

import pytest

from tests.commands.project import Project, fill, tree
from tests.copies import first_commit


@pytest.fixture
def pushed(prepared):
    def build(project):
        fill(project)
        project.write("model.pt", os.urandom(200_000))
        project.dvlite("add", "data", "model.pt")
        project.commit("Add data")

    project = prepared("a-pushed-directory-and-file", build)
    project.dvlite("push")  # this clone sees what the remote has
    return project


def prune(project, *args, code=0):
    return project.json("cache", "prune", "--pushed", *args, code=code)


def stored(project):
    """Returns the sizes of what a prune may remove: large files and packs."""
    return {
        path.name: path.stat().st_size
        for part in ("files", "packs")
        for path in (project.cache / part).rglob("*")
        if path.is_file()
    }


def assert_comes_back(project):
    for path in ("data", "model.pt"):
        before = project.root / path
        keep = tree(before) if before.is_dir() else before.read_bytes()
        shutil.rmtree(before) if before.is_dir() else before.unlink()
        project.dvlite("pull")
        assert (tree(before) if before.is_dir() else before.read_bytes()) == keep


def test_what_was_pushed_goes_and_comes_back(pushed):
    before = stored(pushed)
    planned = prune(pushed, "-n")
    assert stored(pushed) == before
    result = prune(pushed)
    after = stored(pushed)
    assert result["freed_bytes"] == planned["freed_bytes"] == sum(before.values()) - sum(after.values())
    assert result["freed_bytes"] > 500_000
    assert (result["objects"], result["kept_objects"]) == (7, 0)
    assert pushed.dvlite("ls", "-R", "data").stdout  # listings stay
    assert prune(pushed)["objects"] == 0
    assert_comes_back(pushed)


def test_what_was_not_pushed_stays(pushed):
    pushed.write("data/new.bin", os.urandom(150_000))
    pushed.write("data/new.txt", "new")
    pushed.dvlite("add", "-u")
    result = prune(pushed)
    assert result["kept_objects"] == 2
    pushed.commit()
    pushed.dvlite("push")
    assert prune(pushed)["kept_objects"] == 0
    assert_comes_back(pushed)


def test_what_stays_is_named_by_kind_with_the_command_that_ends_it(pushed, monkeypatch):
    def kinds(*args):
        result = prune(pushed, *args)
        return {part["reason"]: part["objects"] for part in result["kept"]}, result["fixes"]

    pushed.write("model.pt", os.urandom(100_001))
    pushed.dvlite("checkout", "--force", "model.pt")
    pushed.write("data/big.bin", os.urandom(100_002))
    pushed.dvlite("add", "-u")
    assert kinds() == (
        {"of 1 saved copy that no commit names": 1, "not committed": 1},
        ["dvlite push", "dvlite gc --uncommitted"],
    )
    pushed.commit()
    assert kinds("-n")[1] == ["dvlite push --all-commits", "dvlite gc --uncommitted"]
    pushed.dvlite("push", "--all-commits")
    saved = {"of 1 saved copy that no commit names": 1}
    assert kinds() == (saved, ["dvlite gc --uncommitted"])
    pushed.dvlite("gc", "--uncommitted", "--grace", "0s", "--yes")
    assert kinds() == ({}, [])
    assert pushed.json("status", "--exit-code")["clean"], "files on disk need no copy in the cache"
    for path in ("model.pt", "data/big.bin"):
        os.utime(pushed.root / path)
    assert pushed.json("status")["clean"]
    pushed.write("new", os.urandom(100_003))
    pushed.dvlite("add", "new")
    pushed.commit()
    shutil.rmtree(pushed.cache)
    found = pushed.json("status")
    assert [each["path"] for each in found["not_in_cache"]] == ["data", "new"], "the one was never pushed"
    assert not found["changed"]


def test_a_version_only_in_an_old_commit_stays_if_it_was_not_pushed(shared):
    shared.write("model.pt", os.urandom(200_000))
    shared.dvlite("add", "model.pt")
    shared.commit("First, never pushed")
    shared.write("model.pt", os.urandom(200_000))
    shared.dvlite("add", "-u")
    shared.commit("Second")
    shared.dvlite("push")
    result = prune(shared)
    assert (result["objects"], result["kept_objects"]) == (1, 1)
    shared.git("checkout", "-q", "HEAD~1")
    (shared.root / "model.pt").unlink()
    shared.dvlite("checkout")
    assert len(shared.read("model.pt")) == 200_000


@pytest.mark.parametrize("gone", ["packs", "index", "roots"])
def test_a_remote_that_lost_something_proves_nothing(pushed, tmp_path, gone):
    before = stored(pushed)
    for file in (tmp_path / "store" / gone).iterdir():
        file.unlink()
    assert prune(pushed)["objects"] == 0
    assert stored(pushed) == before


def test_one_pack_lost_keeps_what_was_in_it(pushed, tmp_path):
    largest = max((tmp_path / "store/packs").iterdir(), key=lambda file: file.stat().st_size)
    largest.unlink()
    prune(pushed)
    names = {int(size) for size in stored(pushed).values()}
    assert {200_000, 300_000} & names


def test_a_pack_that_was_cut_short_proves_nothing_of_its_end(pushed, tmp_path):
    before = stored(pushed)
    for file in (tmp_path / "store/packs").iterdir():
        file.chmod(0o644)
        os.truncate(file, 50)
    prune(pushed)
    packs = {name for name in before if (pushed.cache / "packs" / name).exists()}
    assert {name for name in before if before[name] < 100_000} == packs


def test_what_only_other_clones_claim_is_no_promise_to_this_one(pushed, tmp_path):
    """They drop it when they need it no more; a push from here claims it, and costs one small object."""
    (pushed.root / ".git/dvlite/clone-id").unlink()
    assert prune(pushed)["objects"] == 0
    before = {file.name for file in (tmp_path / "store/roots").iterdir()}
    pushed.dvlite("push")
    assert len({file.name for file in (tmp_path / "store/roots").iterdir()} - before) == 1
    assert prune(pushed)["objects"] > 0


def test_a_killed_prune_is_completed_by_the_next(pushed, monkeypatch):
    from dvlite.store import cache_sweep

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache_sweep.Cache, "refresh", lambda _: None)
        patch.setattr(cache_sweep.files, "sync_path", kill)
        pushed.dvlite("cache", "prune", "--pushed", code=130)
    assert prune(pushed)["objects"] == 5, "the large files are gone"
    assert_comes_back(pushed)


def test_a_shared_cache_keeps_what_this_project_does_not_know(pushed, tmp_path, invoke):
    folder = tmp_path / "cache"
    pushed.dvlite("config", "--user", "cache.dir", folder)
    pushed.dvlite("add", "data", "model.pt")
    pushed.write("other", os.urandom(180_000))
    pushed.dvlite("add", "other")
    pushed.commit()
    pushed.dvlite("push")
    pushed.git("reset", "-q", "--hard", "HEAD~1")
    pushed.git("reflog", "expire", "--expire=all", "--all")
    (pushed.root / ".git/ORIG_HEAD").unlink()  # now nothing here knows it
    pushed.dvlite("checkout")
    result = prune(pushed)
    assert result["kept_objects"] >= 1
    assert 180_000 in [path.stat().st_size for path in (folder / "files").rglob("*") if path.is_file()]


def test_without_a_remote_or_a_cache(project, tmp_path):
    assert "no remote" in project.dvlite("cache", "prune", "--pushed", code=2).stderr
    project.dvlite("remote", "add", tmp_path / "store")
    assert prune(project)["objects"] == 0


def test_prune_keeps_what_a_cut_pack_no_longer_proves(shared):
    shared.write("big", os.urandom(300_000))
    shared.dvlite("add", "big")
    shared.commit("data")
    shared.dvlite("push")
    biggest = max((shared.root.parent / "store" / "packs").iterdir(), key=lambda path: path.stat().st_size)
    biggest.chmod(0o644)
    os.truncate(biggest, 100_000)
    shared.dvlite("cache", "prune", "--pushed")
    (shared.root / "big").unlink()
    shared.dvlite("checkout")
    assert len(shared.read("big")) == 300_000


@pytest.fixture
def other_project(shared, invoke, tmp_path, monkeypatch):
    """A pushed version in a cache that another project shares, which has the same bytes and never pushed them."""
    monkeypatch.setenv("DVLITE_CACHE_DIR", str(tmp_path / "cache"))
    data = os.urandom(200_000)
    other = Project(tmp_path / "other", invoke)
    other.root.mkdir()
    first_commit(other.root)
    other.dvlite("init", "--no-hooks")
    other.commit("Use dvlite")
    for project in (shared, other):
        project.write("model.pt", data)
        project.dvlite("add", "model.pt")
        project.commit("model")
    shared.dvlite("push")
    return other


def in_a_commit_of_another_branch(other):
    other.git("checkout", "-q", "HEAD~1")
    other.dvlite("checkout")


def in_a_stash_below_another(other):
    for text in ("1", "2"):
        other.write("model.pt", text)
        other.dvlite("add", "model.pt")
        other.git("stash", "-q")
    other.git("reset", "-q", "--hard", "HEAD~1")
    other.dvlite("checkout")


def in_the_index_of_another_worktree(other):
    other.git("worktree", "add", "-q", "--detach", "../tree", "HEAD")
    other.git("reset", "-q", "--hard", "HEAD~1")
    other.git("-C", "../tree", "reset", "-q", "--soft", "HEAD~1")
    other.git("reflog", "expire", "--expire=all", "--all")
    (other.root.parent / "tree" / "model.pt.dvlite").unlink()


@pytest.mark.parametrize(
    "where", [in_a_commit_of_another_branch, in_a_stash_below_another, in_the_index_of_another_worktree]
)
def test_what_another_project_needs_stays_in_a_shared_cache(shared, other_project, where):
    where(other_project)
    assert prune(shared)["objects"] == 0


def test_an_unreadable_project_stops_prune(shared, other_project):
    other_project.root.rename(other_project.root.parent / "moved")
    done = shared.dvlite("cache", "prune", "--pushed", code=1)
    assert "a clone that shares this cache" in done.stderr
    assert "if the clone is gone for good: rm" in done.stderr


def test_a_clone_of_the_same_project_and_remote_keeps_nothing_back(shared, other_project, colleague):
    shutil.rmtree(other_project.root)
    for note in (other_project.root.parent / "cache" / "projects").iterdir():
        if str(other_project.root) in note.read_text():
            note.unlink()
    clone = colleague(shared)
    clone.dvlite("remote", "trust", "../store")
    clone.dvlite("pull")
    assert prune(shared)["objects"] == 1
