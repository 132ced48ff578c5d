"""`dvlite status`: what is here, without waiting and without changing anything."""

import fcntl
import shutil

from tests.commands.project import tree
from tests.trees import put


def test_status_never_waits_for_a_writer(here):
    put(here.path / "file", b"x")
    here.dv("add", "file")
    with open(here.path / ".git" / "dvlite" / "lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        here.dv("status")
        here.dv("push", "--dry-run")


def test_each_kind_of_change_is_named_and_nothing_is_written(project):
    for name in ("same", "edited", "gone"):
        project.write(f"{name}.bin", name)
    project.dvlite("add", "same.bin", "edited.bin", "gone.bin")
    project.commit("Add")
    assert project.dvlite("status", "--exit-code").returncode == 0
    project.write("edited.bin", "another")
    (project.root / "gone.bin").unlink()
    before = tree(project.root)
    shown = project.dvlite("status").stdout
    assert project.dvlite("status", "--exit-code", code=None).returncode != 0
    assert tree(project.root).keys() == before.keys()
    assert "edited.bin" in shown
    assert "gone.bin" in shown
    assert "same.bin" not in shown


def test_status_knows_without_a_remote_what_this_clone_did_not_push(shared, colleague, monkeypatch):
    shared.write("data/a", "a")
    shared.dvlite("add", "data")
    assert shared.json("status")["unpushed"] == []  # a commit comes first
    shared.commit("Add")
    assert shared.json("status")["unpushed"] == ["data"]
    shared.dvlite("status", "--exit-code")
    shared.dvlite("push")
    assert shared.json("status")["unpushed"] == []
    other = colleague(shared)
    assert other.json("status")["unpushed"] == []
    monkeypatch.setenv("DVLITE_TRUST", str(shared.root.parent / "store"))
    other.dvlite("pull")
    assert other.json("status")["unpushed"] == []


def test_an_output_is_not_pushed_until_a_push(shared):
    shared.write(
        "dvlite.yaml", "stages:\n  s: {cmd: 'echo 1 > o; echo 2 > kept', outs: [o, {path: kept, push: false}]}\n"
    )
    shared.dvlite("repro")
    shared.commit("Run")
    assert shared.json("status")["unpushed"] == ["o"]
    shared.dvlite("push")
    assert shared.json("status")["unpushed"] == []


def test_a_part_of_a_directory_is_looked_at_alone(tracked):
    tracked.write("data/new/file", "x")
    tracked.write("data/a", "changed")
    (tracked.root / "data" / "b").unlink()
    assert tracked.json("status", "data")["changed"][0]["counts"]["added"] == 1
    part = tracked.json("status", "data/a", "data/c")
    assert [change["path"] for change in part["changed"][0]["examples"]] == ["data/a"]
    assert part["tracked"] == 1
    assert tracked.json("status", "data/c")["clean"]
    shutil.rmtree(tracked.root / "data")
    gone = tracked.json("status", "data/[ab]")["missing"][0]
    assert (gone["files"], gone["whole"]) == (2, False)
