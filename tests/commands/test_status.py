"""`dvlite status`: what is here, without waiting and without changing anything."""

import fcntl

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
