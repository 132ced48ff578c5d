"""The workspace of a repository: what it knows of tracked paths, and forgets."""

import os
import time

import pytest

from dvlite.oid import digest_bytes
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_cache, open_repo
from dvlite.workspace.hashing import identify
from dvlite.workspace.path_status import PathStatus
from dvlite.workspace.workspace import NO_VERSION, Workspace, entries_of, set_aside_damaged_nodes
from tests.clones import Clone, start
from tests.trees import put


@pytest.fixture
def here(tmp_path, invoke) -> Clone:
    made = start(tmp_path / "here", invoke)
    put(made.path / "data" / "a", b"one")
    put(made.path / "data" / "sub" / "b", b"two")
    put(made.path / "model", b"three", executable=True)
    made.dv("add", "data", "model")
    return made


def work(clone: Clone) -> Workspace:
    repo = open_repo(clone.path, os.environ)
    return Workspace(repo, open_cache(repo), NullProgress())


def pointers(clone: Clone) -> dict:
    return {item.path: item.pointer for item in open_repo(clone.path, os.environ).work_tree.tracked()}


def test_what_was_added_is_vouched_for_until_it_is_touched(here):
    mine, known = work(here), pointers(here)
    time.sleep(0.05)
    here.dv("status")
    for path in ("data", "model"):
        assert mine.vouched(path, mine.scan(path)) == known[path].digest
    put(here.path / "data" / "a", b"ONE")
    assert mine.vouched("data", mine.scan("data")) is None


def test_what_was_here_may_be_unreadable_at_one_look(here, monkeypatch):
    put(here.path / "data" / "a", b"ONE")
    mine, item = work(here), next(iter(open_repo(here.path, os.environ).work_tree.tracked()))
    reads = iter(range(100))
    known = Workspace.versions_here
    monkeypatch.setattr(Workspace, "versions_here", lambda self, path: [] if next(reads) == 2 else known(self, path))
    look = PathStatus(mine, item)
    look.run()
    assert look.changed is not None


def test_nothing_is_vouched_for_without_an_index(here):
    mine = work(here)
    for path in (here.path / ".git" / "dvlite" / "index").iterdir():
        path.unlink()
    assert mine.vouched("data", mine.scan("data")) is None
    assert here.run("status", cwd=here.path).returncode == 0


def test_a_state_that_is_no_version_is_never_taken_for_one(here):
    mine = work(here)
    found = mine.scan("data")
    known = identify(found, mine.stat_rows("data"), NullProgress())
    mine.remember("data", NO_VERSION, found, known.digests, bytes(len(found.paths)))
    assert mine.vouched("data", found) is None


def test_entries_of_a_file_and_of_a_directory(here):
    mine, known = work(here), pointers(here)
    (one,) = (entries_of(known["model"], mine.cache)[i] for i in range(1))
    assert (one.path, one.flags, one.digest) == (b"", 0x10, digest_bytes(b"three"))
    assert mine.wanted(known["data"]).paths == [b"a", b"sub/b"]


def test_a_path_that_is_forgotten_is_not_known(here):
    mine = work(here)
    assert set(mine.known_paths()) == {"data", "model"}
    mine.forget("model")
    assert set(mine.known_paths()) == {"data"}
    mine.forget("model")


def test_the_ignore_file_of_the_repository_counts(here):
    (here.path / ".dvliteignore").write_text("*.tmp\n/data/sub\n")
    put(here.path / "data" / "x.tmp", b"x")
    found = work(here).scan("data")
    assert found.paths == [b"a"]


def test_parts_are_remembered_for_each_worktree(here):
    mine = work(here)
    mine.set_sparse("data", ["sub"])
    assert work(here).selector("data")(b"sub/b")
    assert not work(here).selector("data")(b"a")
    mine.set_sparse("data", [])
    assert work(here).selector("data") is None


def test_leftovers_in_and_beside_a_path_are_removed(here):
    put(here.path / ".dvl-0123456789abcdef68c4f033", b"")
    put(here.path / ".dvl-0123456789abcdeef1cda189" / "inside", b"")
    put(here.path / ".dvl-users", b"")
    put(here.path / "data" / "sub" / ".dvl-0123456789abcdef68c4f033", b"")
    mine = work(here)
    mine.clear_leftovers("data", mine.scan("data"))
    mine.clear_leftovers("none/data", None)
    assert list(here.path.rglob(".dvl-*")) == [here.path / ".dvl-users"]


def test_damaged_nodes_are_set_aside_and_no_others(here):
    mine, known = work(here), pointers(here)
    assert set_aside_damaged_nodes(mine.cache, known["data"].digest) == 0
    for path in (here.cache / "packs").iterdir():
        data = bytearray(path.read_bytes())
        at = data.find(b"DVLM")
        if at >= 0:
            data[at] ^= 1
            path.chmod(0o644)
            path.write_bytes(data)
    mine = work(here)
    assert set_aside_damaged_nodes(mine.cache, known["data"].digest) == 1
    assert not mine.cache.has_node(known["data"].digest)
    here.dv("add", "data")
    assert work(here).wanted(known["data"]).paths == [b"a", b"sub/b"]
