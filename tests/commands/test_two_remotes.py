"""Several default remotes: push fills each, pull and status use the first that answers and has the data."""

import shutil

import pytest


@pytest.fixture
def two(prepared, tmp_path):
    """A tracked directory, committed, and two default remotes."""

    def build(project):
        project.dvlite("remote", "add", "backup", "../backup")
        project.dvlite("remote", "default", "origin", "backup")
        project.write("data/a", "a")
        project.write("data/b", "b")
        project.dvlite("add", "data")
        project.commit("Two remotes")

    made = prepared("two-default-remotes", build)
    made.dvlite("remote", "trust", tmp_path / "backup")
    return made


def forget(project):
    """Loses the cache and the workspace's data."""
    shutil.rmtree(project.cache)
    shutil.rmtree(project.root / "data")


def unmount(folder):
    """Puts a file in the place of a store."""
    folder.rename(folder.parent / "elsewhere")
    folder.write_bytes(b"")


def test_the_default_may_be_a_list_and_one_name_stays_one(two):
    config = two.root / ".dvlite" / "config.yaml"
    assert two.json("config", "core.remote")["values"][0]["value"] == ["origin", "backup"]
    assert [row["default"] for row in two.json("remote", "list")["remotes"]] == [True, True]
    two.dvlite("remote", "remove", "backup")
    assert b"remote: origin\n" in config.read_bytes()
    two.dvlite("remote", "default", "nowhere", "origin", code=2)


def test_push_fills_each_and_names_each(two, tmp_path):
    said = two.dvlite("push").stdout.splitlines()
    assert [line.split(" (")[0] for line in said[:2]] == ["Pushed data to origin", "Pushed data to backup"]
    done = two.json("push")
    assert [done["remote"], *(other["remote"] for other in done["others"])] == ["origin", "backup"]
    assert done["objects"] == done["others"][0]["objects"] == 0
    forget(two)
    two.dvlite("pull", "-r", "backup")
    assert two.read("data/a") == b"a"


def test_with_a_name_push_fills_that_one_alone(two, tmp_path):
    assert two.json("push", "-r", "backup")["others"] == []
    assert not (tmp_path / "store" / "roots").exists()


def test_all_remotes_are_tried_and_the_exit_code_is_that_of_the_one_that_failed(two, tmp_path):
    (tmp_path / "store").write_bytes(b"")
    done = two.dvlite("push", code=1)
    assert "Pushed data to backup" in done.stdout
    assert "not pushed to origin: " in done.stderr
    assert "git push" not in done.stdout
    unmount(tmp_path / "backup")
    assert "not pushed to origin: " in two.dvlite("push", code=1).stderr


def test_data_that_only_one_remote_has_is_missing_for_the_other(two):
    two.dvlite("push", "-r", "origin")
    forget(two)
    done = two.json("push", code=12)
    assert [(other["remote"], other["code"]) for other in done["others"]] == [("backup", 12)]


def test_a_place_that_was_not_approved_stops_only_its_own_push(two, tmp_path, colleague):
    two.dvlite("push")
    there = colleague(two)
    there.dvlite("remote", "trust", tmp_path / "store")
    there.dvlite("pull")
    there.write("data/c", "c")
    there.dvlite("add", "data")
    done = there.dvlite("push", code=1)
    assert "Pushed data to origin" in done.stdout
    assert "dvlite remote trust" in done.stderr


def test_pull_takes_what_the_first_lacks_from_the_second(two, tmp_path):
    two.dvlite("push", "-r", "backup")
    forget(two)
    two.dvlite("pull")
    assert two.read("data/a") == b"a"


def test_pull_warns_of_a_remote_that_is_down_if_another_one_has_the_data(two, tmp_path):
    two.dvlite("push")
    forget(two)
    unmount(tmp_path / "store")
    done = two.dvlite("pull")
    assert "remote origin was not used" in done.stderr
    assert two.read("data/a") == b"a"
    assert "complete on backup" in two.dvlite("status", "--remote").stdout
    forget(two)
    shutil.rmtree(tmp_path / "backup")
    said = two.dvlite("fetch", code=1).stderr
    assert "remote backup was not used" in said
    assert "error: cannot use" in said


def test_status_names_what_no_remote_has(two):
    assert two.json("status", "--remote", code=None)["not_pushed"][0]["path"] == "data"
    two.dvlite("push", "-r", "backup")
    assert two.json("status", "--remote")["not_pushed"] == []


def test_the_hook_pushes_to_each(team, tmp_path):
    team.dvlite("remote", "add", "backup", tmp_path / "backup")
    team.dvlite("remote", "default", "origin", "backup")
    team.write("data/four.txt", "four")
    team.dvlite("add", "data")
    team.commit("Four")
    said = team.does("push", "-q")
    assert "to origin" in said
    assert "to backup" in said
    team.write("data/five.txt", "five")
    team.dvlite("add", "data")
    team.commit("Five")
    unmount(tmp_path / "backup")
    assert "not pushed to backup" in team.refuses("push", "-q")


def test_with_two_copies_prune_drops_only_what_two_places_have(two, tmp_path):
    two.dvlite("config", "gc.copies", "2")
    two.dvlite("remote", "add", "same", tmp_path / "store")
    two.dvlite("push", "-r", "origin")
    kept = two.json("cache", "prune", "--pushed")
    assert (kept["objects"], kept["kept_objects"], kept["copies"]) == (0, 2, 2)
    two.dvlite("push")
    unmount(tmp_path / "backup")
    done = two.dvlite("cache", "prune", "--pushed")
    assert "does not count as a copy" in done.stderr
    assert "fewer than 2 remotes have" in done.stdout
    (tmp_path / "backup").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "backup")
    assert two.json("cache", "prune", "--pushed")["objects"] == 2
