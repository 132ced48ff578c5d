"""Checkout and pull over what is on disk: bytes of the user's are never lost, everything else becomes the version."""

import os
import shutil
import stat
import time

import pytest

from tests.clones import Clone, git, objects, start
from tests.trees import facts, noise, put


@pytest.fixture
def here(tmp_path, invoke) -> Clone:
    """A directory at its second version; the first is one commit back."""
    made = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for name in ("a", "b", "sub/c", "sub/d"):
        put(made.path / "data" / name, f"{name} one".encode())
    put(made.path / "data" / "large", noise(200_000, 1))
    made.dv("add", "data")
    made.commit("one")
    put(made.path / "data" / "b", b"b two")
    (made.path / "data" / "sub" / "d").unlink()
    put(made.path / "data" / "new" / "e", b"e two")
    put(made.path / "data" / "large", noise(200_000, 2))
    made.dv("add", "data")
    made.commit("two")
    return made


def back(clone: Clone) -> None:
    git(clone.path, "checkout", "-q", "HEAD~1", "--", "data.dvlite")


ONE = {
    b"a": b"a one",
    b"b": b"b one",
    b"sub/c": b"sub/c one",
    b"sub/d": b"sub/d one",
    b"large": noise(200_000, 1),
}


def contents(clone: Clone) -> dict[bytes, bytes]:
    return {path: fact[2] for path, fact in facts(clone.path / "data").items() if fact[0] == "file"}


def test_the_workspace_becomes_the_version(here):
    back(here)
    result = here.json("checkout")
    assert contents(here) == ONE
    assert result["paths"][0]["written"] == 3
    assert result["paths"][0]["removed"] == 1
    assert not (here.path / "data" / "new").exists()


def test_files_that_are_right_are_not_touched(here):
    before = os.stat(here.path / "data" / "a")
    back(here)
    here.dv("checkout")
    assert os.stat(here.path / "data" / "a") == before


def test_a_second_checkout_does_nothing(here):
    back(here)
    here.dv("checkout")
    before = {path: os.lstat(here.path / "data" / os.fsdecode(path)) for path in contents(here)}
    here.dv("checkout")
    assert {path: os.lstat(here.path / "data" / os.fsdecode(path)) for path in contents(here)} == before


def test_an_edit_is_kept_and_named_and_the_rest_is_done(here):
    put(here.path / "data" / "b", b"my own edit")
    back(here)
    done = here.run("checkout", cwd=here.path)
    assert done.returncode == 3
    assert "data/b" in done.stderr
    assert contents(here) == ONE | {b"b": b"my own edit"}


def test_a_file_of_the_users_stays(here):
    put(here.path / "data" / "mine", b"never added")
    put(here.path / "data" / "new" / "mine too", b"never added")
    back(here)
    here.run("checkout", cwd=here.path)
    assert contents(here) == ONE | {b"mine": b"never added", b"new/mine too": b"never added"}


def test_a_folder_of_the_users_in_the_way_of_a_file_stays(here):
    shutil.rmtree(here.path / "data" / "sub")
    (here.path / "data" / "b").unlink()
    put(here.path / "data" / "b" / "inside", b"mine")
    put(here.path / "data" / "sub", b"mine too")
    back(here)
    done = here.run("checkout", cwd=here.path)
    assert done.returncode == 3
    found = contents(here)
    assert found[b"b/inside"] == b"mine"
    assert found[b"sub"] == b"mine too"


def test_force_overwrites_and_says_how_to_get_it_back(here, tmp_path):
    put(here.path / "data" / "b", b"my own edit")
    put(here.path / "data" / "large", noise(200_000, 77))
    put(here.path / "data" / "mine", b"never added")
    here.dv("checkout", "--force")
    assert here.is_clean()
    (saved,) = (here.path / ".git" / "dvlite" / "saved").iterdir()
    here.dv("get", str(saved), "-o", str(tmp_path / "back"))
    found = {path: fact[2] for path, fact in facts(tmp_path / "back").items()}
    assert found[b"b"] == b"my own edit"
    assert found[b"large"] == noise(200_000, 77)
    assert found[b"mine"] == b"never added"


@pytest.mark.parametrize("force", [False, True])
def test_a_file_where_a_directory_belongs(here, force):
    shutil.rmtree(here.path / "data")
    put(here.path / "data", b"a file of the user's")
    done = here.run("checkout", *(["--force"] if force else []), cwd=here.path)
    if force:
        assert done.returncode == 0
        assert here.is_clean()
        assert list((here.path / ".git" / "dvlite" / "saved").iterdir())
    else:
        assert done.returncode == 3
        assert (here.path / "data").read_bytes() == b"a file of the user's"


def test_an_edit_of_a_single_file_is_kept(here):
    put(here.path / "model", b"one")
    here.dv("add", "model")
    put(here.path / "model", b"mine")
    assert here.run("checkout", "model", cwd=here.path).returncode == 3
    assert (here.path / "model").read_bytes() == b"mine"
    here.dv("checkout", "--force", "model")
    assert (here.path / "model").read_bytes() == b"one"


def test_a_path_whose_pointer_is_gone_is_removed_if_it_can_be_had_again(here):
    put(here.path / "model", b"one")
    here.dv("add", "model")
    here.commit("model")
    git(here.path, "rm", "-q", "model.dvlite")
    here.dv("checkout")
    assert not (here.path / "model").exists()
    git(here.path, "reset", "-q", "--hard")
    here.dv("checkout")
    assert (here.path / "model").read_bytes() == b"one"
    git(here.path, "rm", "-q", "model.dvlite")
    put(here.path / "model", b"mine")
    here.run("checkout", cwd=here.path)
    assert (here.path / "model").read_bytes() == b"mine"


def test_a_lost_file_comes_back(here):
    (here.path / "data" / "b").unlink()
    shutil.rmtree(here.path / "data" / "sub")
    here.dv("checkout")
    assert here.is_clean()


def test_read_only_files_and_odd_modes_do_not_stop_it(here):
    for name in ("b", "large"):
        (here.path / "data" / name).chmod(0o400)
    back(here)
    here.dv("checkout")
    assert contents(here) == ONE
    assert stat.S_IMODE(os.stat(here.path / "data" / "b").st_mode) & 0o200


def test_a_checkout_of_a_revision_writes_its_pointers_too(here):
    here.dv("checkout", "--rev", "HEAD~1")
    assert contents(here) == ONE
    assert git(here.path, "diff", "--name-only", "HEAD").split() == ["data.dvlite"]


def test_objects_that_the_cache_lacks_are_named_and_the_path_is_left_alone(here):
    """Gaps would look like files that somebody deleted."""
    back(here)
    for path in (here.cache / "files").rglob("*"):
        if path.is_file() and path.read_bytes() == noise(200_000, 1):
            path.unlink()
    done = here.run("checkout", cwd=here.path)
    assert done.returncode == 12
    assert "data/large" in done.stderr
    assert contents(here)[b"b"] == b"b two"


def test_leftovers_of_a_killed_run_are_removed(here):
    for place in (here.path, here.path / "data", here.path / "data" / "sub"):
        put(place / ".dvl-0123456789abcdef68c4f033", b"half")
    put(here.path / "data" / ".dvl-notes", b"the user's")
    back(here)
    here.run("checkout", cwd=here.path)
    assert not list(here.path.rglob(".dvl-0*"))
    assert (here.path / "data" / ".dvl-notes").read_bytes() == b"the user's"


def test_what_is_written_is_at_once_known_to_be_clean(here, tmp_path, invoke):
    here.dv("push")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", str(tmp_path / "store"))
    there.dv("pull")
    time.sleep(0.05)
    before = {path: path.stat().st_mtime_ns for path in (there.path / ".git" / "dvlite" / "index").iterdir()}
    assert there.is_clean()
    assert {path: path.stat().st_mtime_ns for path in (there.path / ".git" / "dvlite" / "index").iterdir()} == before


def test_pull_over_an_edit_updates_the_rest_and_leaves_with_3(here, tmp_path):
    here.dv("push", "--all-commits")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", str(tmp_path / "store"))
    there.dv("pull")
    put(there.path / "data" / "b", b"mine")
    back(there)
    done = there.run("pull", cwd=there.path)
    assert done.returncode == 3
    assert "data/b" in done.stderr
    assert contents(there) == ONE | {b"b": b"mine"}


# --- parts of directories ---


@pytest.fixture
def there(here, tmp_path) -> Clone:
    here.dv("push")
    made = here.clone(tmp_path / "there")
    made.dv("remote", "trust", str(tmp_path / "store"))
    return made


def test_a_part_is_all_that_comes(there):
    pulled = there.json("pull", "data/sub")
    assert set(contents(there)) == {b"sub/c"}
    assert pulled["fetch"]["downloaded_bytes"] < 20_000
    assert there.is_clean()


def test_more_parts_can_follow_and_then_all(there):
    there.dv("pull", "data/sub")
    there.dv("pull", "data/a", "data/new")
    assert set(contents(there)) == {b"sub/c", b"a", b"new/e"}
    assert there.is_clean()
    there.dv("pull", "data")
    assert b"large" in contents(there)
    assert there.is_clean()


def test_a_part_that_is_edited_and_added_keeps_the_rest_of_the_version(there, here, tmp_path):
    there.dv("pull", "data/sub")
    put(there.path / "data" / "sub" / "c", b"edited in a part")
    put(there.path / "data" / "sub" / "more", b"new in a part")
    there.dv("add", "data")
    there.commit("part")
    assert there.is_clean()
    there.dv("push")
    reader = there.clone(tmp_path / "reader")
    reader.dv("remote", "trust", str(tmp_path / "store"))
    reader.dv("pull")
    assert contents(reader) == contents(here) | {b"sub/c": b"edited in a part", b"sub/more": b"new in a part"}


@pytest.mark.parametrize("added", ["data", "data/sub", "data/sub/more"])
def test_what_is_added_beside_a_part_leaves_what_is_not_here_and_goes_with_its_version(there, here, added):
    there.dv("pull", "data/a")
    put(there.path / "data" / "sub" / "more", b"new beside a part")
    there.dv("add", added)
    there.commit("more")
    assert there.is_clean()
    back(there)
    there.dv("checkout")
    assert set(contents(there)) == {b"a"}
    git(there.path, "checkout", "-q", "HEAD", "--", "data.dvlite")
    there.dv("pull", "data")
    assert contents(there) == contents(here) | {b"sub/more": b"new beside a part"}


def test_a_file_removed_from_a_part_is_removed_from_the_version(there, here):
    there.dv("pull", "data/sub", "data/a")
    (there.path / "data" / "a").unlink()
    there.dv("add", "data")
    there.dv("pull", "data")
    assert contents(there) == {path: data for path, data in contents(here).items() if path != b"a"}


def test_adding_inside_a_directory_updates_that_part_alone(here):
    put(here.path / "data" / "b", b"edit to leave alone")
    put(here.path / "data" / "sub" / "c", b"edit to add")
    here.dv("add", "data/sub")
    assert not here.is_clean()
    here.run("checkout", "--force", cwd=here.path)
    assert contents(here)[b"b"] == b"b two"
    assert contents(here)[b"sub/c"] == b"edit to add"


# --- add ---


def test_adding_the_same_again_rewrites_nothing(here):
    def state():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_ino)
            for path in [here.path / "data.dvlite", here.path / ".gitignore"]
        }

    before = state()
    objects_before = set(objects(here.cache))
    here.dv("add", "data")
    os.utime(here.path / "data" / "a")
    here.dv("add", "data")
    assert state() == before
    assert {name for name in objects(here.cache) if not name.startswith("lock")} == {
        name for name in objects_before if not name.startswith("lock")
    }


def test_content_that_is_known_is_not_stored_again(here):
    shutil.copytree(here.path / "data", here.path / "copy")
    added = here.json("add", "copy")
    assert added["cache_grew_bytes"] < 1000


def test_the_users_words_in_a_pointer_survive(here):
    pointer = here.path / "data.dvlite"
    pointer.write_text(pointer.read_text() + "meta:\n  source: us\n")
    put(here.path / "data" / "a", b"changed")
    here.dv("add", "data")
    assert pointer.read_text().endswith("meta:\n  source: us\n")


def test_u_adds_every_changed_path_and_no_other(here):
    put(here.path / "model", b"one")
    here.dv("add", "model")
    here.commit("model")
    put(here.path / "data" / "a", b"changed")
    (here.path / "model").unlink()
    assert [path["path"] for path in here.json("add", "-u")["paths"]] == ["data"]


def test_hard_links_are_read_only_and_a_push_notices_an_edit_through_one(here):
    here.dv("config", "--user", "cache.link", "hardlink")
    shutil.rmtree(here.path / "data")
    here.dv("checkout")
    large = here.path / "data" / "large"
    assert os.stat(large).st_nlink == 2
    assert not stat.S_IMODE(os.stat(large).st_mode) & 0o222
    large.chmod(0o644)
    with large.open("r+b") as file:
        file.write(b"edited in place")
    assert here.run("push", cwd=here.path).returncode == 13


def test_relink_links_what_is_there_as_the_config_says_now(here):
    large = here.path / "data" / "large"
    large.chmod(0o600)
    here.dv("config", "--user", "cache.link", "hardlink")
    assert here.json("checkout")["paths"][0]["written"] == 0
    assert here.json("checkout", "--relink")["paths"][0]["written"] == 1
    assert os.stat(large).st_nlink == 2
    assert here.json("checkout", "--relink")["paths"][0]["written"] == 0
    here.dv("config", "--user", "cache.link", "copy")
    assert here.json("checkout", "--relink", "data/a", "data/large")["paths"][0]["written"] == 1
    assert os.stat(large).st_nlink == 1
    assert large.read_bytes() == noise(200_000, 2)
    assert here.json("status")["clean"]
    here.dv("config", "--user", "cache.link", "hardlink")
    large.write_bytes(noise(200_000, 7))
    here.run("checkout", "--relink", cwd=here.path)
    assert large.read_bytes() == noise(200_000, 7), "an edit stays"
