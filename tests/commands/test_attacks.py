"""What an attacker or a bad day tried, kept as tests: writes outside, lost copies, false success."""

import os
import shutil

import pytest


@pytest.fixture
def pushed(project):
    """A tracked directory and a large file, committed and pushed to a folder remote."""
    project.write("d/1", "one")
    project.write("d/2", "two")
    project.write("big", os.urandom(300_000))
    project.dvlite("add", "d", "big")
    project.dvlite("remote", "add", str(project.root.parent / "store"))
    project.commit("data")
    project.dvlite("push")
    return project


def test_a_revision_is_not_written_through_a_link_that_git_tracks(project):
    project.write("data/post-checkout", "#!/bin/sh\n")
    project.dvlite("add", "data/post-checkout")
    project.commit("old")
    project.git("tag", "v1")
    project.git("rm", "-rq", "--cached", "data")
    shutil.rmtree(project.root / "data")
    (project.root / "data").symlink_to(".git/hooks")
    project.commit("link")
    done = project.dvlite("checkout", "--rev", "v1", code=2)
    assert "symbolic link" in done.stderr
    assert not (project.root / ".git" / "hooks" / "post-checkout").exists()
    assert not (project.root / ".git" / "hooks" / "post-checkout.dvlite").exists()


def test_data_that_moved_behind_a_link_is_not_removed(project, tmp_path):
    project.write("data/x", "precious")
    project.dvlite("add", "data/x")
    project.commit("1")
    elsewhere = tmp_path / "bigdisk"
    (project.root / "data").rename(elsewhere)
    (project.root / "data").symlink_to(elsewhere)
    project.dvlite("checkout")
    assert (elsewhere / "x").read_text() == "precious"


def test_a_remote_cannot_be_the_cache(project, tmp_path):
    project.dvlite("config", "--local", "cache.dir", str(tmp_path / "s"))
    for place in ("s", "s/inside", "."):
        done = project.dvlite("remote", "add", str(tmp_path / place), code=2)
        assert "share the folder" in done.stderr or "work tree" in done.stderr or "holds" in done.stderr
    assert project.json("remote", "list")["remotes"] == []


def test_files_larger_than_a_record_never_go_into_packs(project):
    done = project.dvlite("config", "--local", "cache.pack_below", "1GiB", code=2)
    assert "pack_below" in done.stderr


def test_a_file_that_became_a_folder_is_one_when_a_part_is_added(project):
    project.write("d/x", "f")
    project.write("d/k", "k")
    project.dvlite("add", "d")
    project.commit("1")
    (project.root / "d" / "x").unlink()
    project.write("d/x/y", "y")
    project.dvlite("add", "d/x/y")
    project.dvlite("status")
    assert [entry["path"] for entry in project.json("ls", "-R", "d")["entries"]] == ["d/k", "d/x/y"]


@pytest.mark.parametrize("damage", ["no index", "packs cut short"])
def test_push_does_not_call_complete_what_nobody_can_pull(pushed, damage):
    store = pushed.root.parent / "store"
    if damage == "no index":
        shutil.rmtree(store / "index")
    else:
        for path in (store / "packs").iterdir():
            path.chmod(0o644)
            os.truncate(path, 0)
    pushed.dvlite("push")
    shutil.rmtree(pushed.cache)
    shutil.rmtree(pushed.root / "d")
    (pushed.root / "big").unlink()
    pushed.dvlite("pull")
    assert pushed.read("d/1") == b"one"


def test_a_pointer_with_a_wrong_size_is_not_pushed(pushed):
    pointer = pushed.root / "big.dvlite"
    pointer.write_text(pointer.read_text().replace("size: 300000", "size: 5"))
    assert "300000" in pushed.dvlite("push", code=1).stderr


def test_prune_keeps_what_a_cut_pack_no_longer_proves(pushed):
    biggest = max((pushed.root.parent / "store" / "packs").iterdir(), key=lambda path: path.stat().st_size)
    biggest.chmod(0o644)
    os.truncate(biggest, 100_000)
    pushed.dvlite("cache", "prune", "--pushed")
    (pushed.root / "big").unlink()
    pushed.dvlite("checkout")
    assert len(pushed.read("big")) == 300_000


def test_the_only_good_copy_is_not_removed_for_a_name_in_the_cache(project):
    project.write("f", os.urandom(200_000))
    project.write("d/1", "1")
    project.dvlite("add", "f", "d")
    project.commit("1")
    (stored,) = (path for path in (project.cache / "files").rglob("*") if path.is_file())
    stored.chmod(0o644)
    stored.write_bytes(b"\0" * 200_000)
    project.dvlite("rm", "f", code=1)
    for path in (project.cache / "packs").iterdir():
        path.unlink()
    project.dvlite("rm", "d", code=1)
    assert project.has("f")
    assert project.read("d/1") == b"1"


def test_adding_again_heals_small_files(project):
    for number in range(50):
        project.write(f"d/{number}", f"content {number} " * 20)
    project.dvlite("add", "d")
    biggest = max((project.cache / "packs").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(biggest.read_bytes())
    data[200:600] = bytes(400)
    biggest.chmod(0o644)
    biggest.write_bytes(data)
    for number in range(50):
        (project.root / "d" / str(number)).touch()
    project.dvlite("add", "d")
    shutil.rmtree(project.root / "d")
    project.dvlite("checkout")
    assert project.read("d/7") == b"content 7 " * 20


def test_data_that_no_commit_has_stays_when_its_pointer_goes(project):
    project.write("big", "only here")
    project.dvlite("add", "big")
    (project.root / "big.dvlite").unlink()
    done = project.dvlite("checkout")
    assert "no commit has it" in done.stderr
    assert project.read("big") == b"only here"


def test_a_pattern_made_to_match_for_ever_is_refused(project):
    project.write(".dvliteignore", "*a" * 12 + "*b\n")
    project.write("d/" + "a" * 100, "x")
    assert "too slow to match" in project.dvlite("add", "d", code=1).stderr


def test_an_edit_made_while_its_file_is_written_stays(project, monkeypatch):
    """The file changes between the look and the rename; here in the moment when the object is read."""
    from dvlite.store.cache import Cache

    project.write("big", b"1" * 300_000)
    project.dvlite("add", "big")
    project.commit("1")
    project.write("big", b"2" * 300_000)
    project.dvlite("add", "big")
    project.commit("2")
    project.git("checkout", "-q", "HEAD~1", "--", "big.dvlite")
    real = Cache.open_verified

    def meddle(*args):
        project.write("big", "an edit of this moment")
        return real(*args)

    monkeypatch.setattr(Cache, "open_verified", meddle)
    project.dvlite("checkout", code=3)
    assert project.read("big") == b"an edit of this moment"
