"""A user's own work is never taken for an earlier version, whatever the cache happens to hold."""

import shutil

import pytest


@pytest.fixture
def tracked(project):
    """A tracked directory, committed."""
    for name in ("a", "b", "c"):
        project.write(f"data/{name}", name)
    project.dvlite("add", "data")
    project.commit("data")
    return project


def test_a_new_file_beside_an_added_part_stays_when_the_rest_is_checked_out(tracked):
    data = tracked.root / "data"
    (data / "part").mkdir()
    (data / "part" / "a").write_text("a")
    (data / "mine").write_text("in no version")
    tracked.dvlite("add", "data/part/a")
    tracked.dvlite("checkout")
    assert (data / "mine").read_text() == "in no version"
    assert (data / "part" / "a").read_text() == "a"


def test_bytes_that_a_killed_add_left_in_the_cache_are_not_a_version(tracked):
    data = tracked.root / "data"
    before = (tracked.root / "data.dvlite").read_bytes()
    (data / "mine").write_text("stored, but no pointer names it")
    first = min(path for path in data.iterdir() if path.is_file())
    first.write_text("an edit")
    tracked.dvlite("add", "data")
    (tracked.root / "data.dvlite").write_bytes(before)  # as if the add had been killed before its last write
    for note in (tracked.root / ".git" / "dvlite" / "index").iterdir():
        note.unlink()
    tracked.dvlite("checkout", code=3)
    assert (data / "mine").read_text() == "stored, but no pointer names it"
    assert first.read_text() == "an edit"


def test_files_of_the_version_before_make_way(tracked):
    data = tracked.root / "data"
    (data / "later").write_text("of version 2")
    tracked.dvlite("add", "data")
    tracked.git("commit", "-qam", "version 2")
    tracked.git("checkout", "-q", "HEAD~1", "--", "data.dvlite")
    tracked.dvlite("checkout")
    assert not (data / "later").exists()


def test_files_of_the_version_before_make_way_though_the_cache_lost_them_and_can_be_had_again(tracked):
    first = {"a": b"a", "b": b"b", "c": b"c"}
    (tracked.root / "data" / "a").write_text("of version 2")
    (tracked.root / "data" / "b").unlink()
    tracked.dvlite("add", "data")
    tracked.git("commit", "-qam", "version 2")
    tracked.dvlite("remote", "add", "../store")
    tracked.dvlite("push", "--all-commits")
    tracked.git("checkout", "-q", "HEAD~1", "--", "data.dvlite")
    shutil.rmtree(tracked.cache)
    tracked.dvlite("pull")
    assert {path.name: path.read_bytes() for path in (tracked.root / "data").iterdir()} == first
    shutil.rmtree(tracked.root.parent / "store")
    tracked.git("checkout", "-q", "HEAD", "--", "data.dvlite")
    tracked.dvlite("checkout")
    assert tracked.read("data/a") == b"of version 2"
    assert not tracked.has("data/b")


def test_an_untouched_earlier_version_is_no_change_and_add_u_leaves_the_pointer(tracked):
    (tracked.root / "data" / "later").write_text("of version 2")
    tracked.dvlite("add", "data")
    tracked.git("commit", "-qam", "version 2")
    tracked.dvlite("checkout", "--rev", "HEAD~1", "data")
    tracked.git("checkout", "-q", "HEAD", "--", "data.dvlite")
    pointer = (tracked.root / "data.dvlite").read_bytes()
    shown = tracked.dvlite("status").stdout
    assert "not added" not in shown
    assert "Another version is here" in shown
    done = tracked.dvlite("add", "-u")
    assert "earlier version" in done.stderr
    assert (tracked.root / "data.dvlite").read_bytes() == pointer


def test_a_link_in_the_place_of_data_is_a_change_that_force_undoes(project):
    project.write("t.csv", "1,2")
    project.dvlite("add", "t.csv")
    project.commit("data")
    (project.root / "t.csv").unlink()
    (project.root / "t.csv").symlink_to("/etc/hostname")
    assert "t.csv" in project.dvlite("status").stdout
    project.dvlite("checkout", code=3)
    assert (project.root / "t.csv").is_symlink()
    project.dvlite("checkout", "--force")
    assert project.read("t.csv") == b"1,2"
    project.dvlite("add", "t.csv")
    (project.root / "other").symlink_to("t.csv")
    assert "symbolic link" in project.dvlite("add", "other", code=2).stderr


def test_a_path_whose_pointer_git_would_ignore_is_refused_with_the_lines_to_write(project):
    project.write(".gitignore", "data/\n")
    project.write("data/raw/x", "1")
    done = project.dvlite("add", "data/raw", code=2)
    assert "git ignores its pointer" in done.stderr
    assert "data/*" in done.stderr
    assert not project.has("data/raw.dvlite")


def test_a_version_that_was_never_committed_is_kept_when_another_revision_comes(tracked):
    (tracked.root / "data" / "a").write_text("second, staged only")
    tracked.dvlite("add", "data")
    done = tracked.dvlite("checkout", "--rev", "HEAD")
    assert "was never committed" in done.stderr
    (saved,) = (tracked.root / ".git" / "dvlite" / "saved").iterdir()
    tracked.dvlite("get", str(saved), "-o", "back")
    assert tracked.read("back/a") == b"second, staged only"


def test_a_store_that_is_suddenly_empty_is_not_filled_again(tracked):
    store = tracked.root.parent / "store"
    tracked.dvlite("remote", "add", str(store))
    tracked.dvlite("push")
    store.rename(store.parent / "unmounted")
    assert "is empty, though" in tracked.dvlite("push", code=1).stderr
    assert not (store / "packs").exists()
    (store.parent / "unmounted").rename(store)
    tracked.dvlite("push")
