"""`dvlite checkout`: the version that is asked for comes, inside the repository only, and no work of the user goes."""

import contextlib
import os
import shutil
import stat
import subprocess
import threading

import pytest

from tests.clones import (
    git,
    start,
)
from tests.trees import facts, noise, put


def test_the_pointer_of_an_old_commit_comes_after_its_ignore_line(project):
    for path in ("a/x.bin", "b/y.bin"):
        project.write(path, path)
    project.dvlite("add", "a/x.bin", "b/y.bin")
    project.commit("Add both")
    project.dvlite("rm", "a/x.bin", "b/y.bin")
    project.commit("Remove both")
    (project.root / "b").mkdir()
    (project.root / "b" / ".gitignore").symlink_to("../elsewhere")
    project.dvlite("checkout", "--rev", "HEAD~1", code=1)
    assert not project.has("a/x.bin.dvlite")
    assert not project.has("b/y.bin.dvlite")
    (project.root / "b" / ".gitignore").unlink()
    project.dvlite("checkout", "--rev", "HEAD~1")
    assert (project.read("a/.gitignore"), project.read("b/.gitignore")) == (b"/x.bin\n", b"/y.bin\n")
    assert project.read("b/y.bin") == b"b/y.bin"


def test_no_mode_but_the_executable_bit_is_ever_set(here):
    put(here.path / "data" / "tool", b"#!/bin/sh\n")
    (here.path / "data" / "tool").chmod(0o6777)
    here.dv("add", "data")
    shutil.rmtree(here.path / "data")
    os.umask(previous := os.umask(0o022))
    here.dv("checkout")
    assert (here.path / "data" / "tool").stat().st_mode & 0o7777 == 0o777 & ~previous
    assert (here.path / "data" / "file").stat().st_mode & 0o7777 == 0o666 & ~previous


def test_a_folder_swapped_for_a_link_during_checkout_is_not_followed(here, tmp_path):
    """A racing process swaps a folder for a link while files are written; nothing lands outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(60):
        put(here.path / "data" / "sub" / str(number), str(number).encode())
    here.dv("add", "data")
    stop = threading.Event()
    sub, aside = here.path / "data" / "sub", here.path / "data" / "aside"

    def swap():
        while not stop.is_set():
            try:
                os.rename(sub, aside)
                os.symlink(outside, sub)
                os.unlink(sub)
                os.rename(aside, sub)
            except OSError:
                pass

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        for _ in range(25):
            for number in range(0, 60, 2):
                with contextlib.suppress(OSError):
                    os.unlink(sub / str(number))
            done = here.run("checkout", "--force", cwd=here.path)
            assert "Traceback" not in done.stderr
            assert os.listdir(outside) == []
    finally:
        stop.set()
        racer.join()
    assert os.listdir(outside) == []


def test_each_kind_can_become_every_other(tmp_path, invoke):
    """A file, an executable, a link, an empty folder, a full folder, nothing: all changes survive checkout."""

    def nothing(path):
        pass

    def link(path):
        os.symlink("elsewhere", path)

    kinds = [
        nothing,
        lambda path: put(path, b"a file"),
        lambda path: put(path, b"a file", executable=True),
        lambda path: put(path, noise(100_000, 4)),
        link,
        lambda path: path.mkdir(),
        lambda path: put(path / "inside" / "file", b"inside"),
    ]
    here = start(tmp_path / "here", invoke)
    expected = []
    for shift in range(len(kinds)):
        shutil.rmtree(here.path / "data", ignore_errors=True)
        put(here.path / "data" / "always", b"here")
        for number in range(len(kinds)):
            kinds[(number + shift) % len(kinds)](here.path / "data" / str(number))
        expected.append(facts(here.path / "data"))
        here.dv("add", "data")
        here.commit(str(shift))
    for start_at in range(len(kinds)):
        for shift in (start_at, (start_at + 3) % len(kinds)):
            git(here.path, "checkout", "-q", f"HEAD~{len(kinds) - 1 - shift}", "--", "data.dvlite")
            here.dv("checkout")
            assert facts(here.path / "data") == expected[shift]


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


def test_files_of_the_version_before_make_way_though_the_cache_lost_them(tracked):
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


def test_a_link_in_the_place_of_data_is_a_change_that_force_undoes(project):
    project.write("t.csv", "1,2")
    project.dvlite("add", "t.csv")
    project.commit("data")
    (project.root / "t.csv").unlink()
    (project.root / "t.csv").symlink_to("/etc/hostname")
    assert "t.csv" in project.dvlite("status").stdout
    project.dvlite("checkout", code=3)
    assert (project.root / "t.csv").is_symlink()
    done = project.dvlite("checkout", "--force")
    assert project.read("t.csv") == b"1,2"
    assert "to put it back: ln -sfn /etc/hostname t.csv" in done.stderr
    project.dvlite("add", "t.csv")
    (project.root / "other").symlink_to("t.csv")
    assert "symbolic link" in project.dvlite("add", "other", code=2).stderr


def test_a_version_that_was_never_committed_is_kept_when_another_revision_comes(tracked):
    (tracked.root / "data" / "a").write_text("second, staged only")
    tracked.dvlite("add", "data")
    done = tracked.dvlite("checkout", "--rev", "HEAD")
    assert "was never committed" in done.stderr
    (saved,) = (tracked.root / ".git" / "dvlite" / "saved").iterdir()
    tracked.dvlite("get", str(saved), "-o", "back")
    assert tracked.read("back/a") == b"second, staged only"


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


def test_data_that_no_commit_has_stays_when_its_pointer_goes(project):
    project.write("big", "only here")
    project.dvlite("add", "big")
    (project.root / "big.dvlite").unlink()
    done = project.dvlite("checkout")
    assert "no commit has it" in done.stderr
    assert project.read("big") == b"only here"


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


@pytest.mark.parametrize("place", ["d", "d/a", "d/sub"])
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFLNK])
def test_force_moves_away_what_no_version_can_hold_and_follows_nothing(project, tmp_path, place, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    project.write("d/a", "1")
    project.write("d/sub/b", "2")
    project.dvlite("add", "d")
    target = project.root / place
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    os.symlink(outside, target) if kind == stat.S_IFLNK else os.mknod(target, kind | 0o600)
    assert "dvlite checkout --force d" in project.dvlite("checkout", code=3).stderr
    assert stat.S_IFMT(target.lstat().st_mode) == kind
    back = project.dvlite("checkout", "--force").stderr.strip().rpartition("to put it back: ")[2]
    assert (project.read("d/a"), project.read("d/sub/b")) == (b"1", b"2")
    assert project.json("status")["not_in_cache"] == project.json("status")["changed"] == []
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    subprocess.run(["bash", "-c", back], cwd=project.root, check=True)
    assert stat.S_IFMT(target.lstat().st_mode) == kind
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_no_version_can_hold_stops_only_the_path_it_stands_in(project, kind):
    for path in ("d/a", "e/e"):
        project.write(path, path)
    project.dvlite("add", "d", "e")
    project.commit("Add both")
    if kind == "fifo":
        os.mkfifo(project.root / "d/odd")
    else:
        os.symlink("../../elsewhere", project.root / "d/odd")
    (project.root / "e/e").unlink()
    done = project.dvlite("status")
    assert "d/odd" in done.stderr
    assert "e" in done.stdout
    assert "d/odd" in project.dvlite("diff").stderr
    assert "d/odd" in project.dvlite("checkout", code=3).stderr
    assert project.read("e/e") == b"e/e"
    project.write("e/new", "new")
    done = project.dvlite("add", "-u", code=3)
    assert "Added e" in done.stdout
    assert "d/odd" in done.stderr
    for words in (("add", "d"), ("checkout", "d")):
        assert "d/odd" in project.dvlite(*words, code=2).stderr
