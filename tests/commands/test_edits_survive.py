"""A user's own work is never taken for an earlier version, whatever the cache happens to hold."""

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


def test_an_untouched_earlier_version_is_no_change_and_add_u_leaves_the_pointer(tracked):
    (tracked.root / "data" / "later").write_text("of version 2")
    tracked.dvlite("add", "data")
    tracked.git("commit", "-qam", "version 2")
    tracked.dvlite("checkout", "--rev", "HEAD~1", "data")
    tracked.git("checkout", "-q", "HEAD", "--", "data.dvlite")
    pointer = (tracked.root / "data.dvlite").read_bytes()
    shown = tracked.dvlite("status").stdout
    assert "not added" not in shown
    assert "Not in the workspace" in shown
    done = tracked.dvlite("add", "-u")
    assert "earlier version" in done.stderr
    assert (tracked.root / "data.dvlite").read_bytes() == pointer
