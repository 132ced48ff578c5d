"""What comes back is what went in: every kind of entry, every name, through S3 and a second clone."""

import os
import shutil
import socket
import stat
import subprocess
import sys

import pytest

from tests.clones import Clone, git, start
from tests.trees import facts, make_everything, noise, put


def test_everything_survives_s3_and_a_second_clone(tmp_path, run_cli, weed, s3_url):
    endpoint = ("-o", f"endpoint_url={weed.endpoint_url}")
    here = start(tmp_path / "here", run_cli, s3_url, *endpoint)
    make_everything(here.path / "data")
    before = facts(here.path / "data")
    times = {path: os.lstat(os.fsencode(here.path / "data") + b"/" + path).st_mtime_ns for path in before}
    put(here.path / "tool", b"#!/bin/sh\n", executable=True)
    put(here.path / "model.bin", noise(400_000, 8))
    added = here.json("add", "data", "tool", "model.bin")
    assert facts(here.path / "data") == before
    assert times == {path: os.lstat(os.fsencode(here.path / "data") + b"/" + path).st_mtime_ns for path in before}
    assert added["warnings"]  # names that cannot exist everywhere
    here.commit()
    assert here.is_clean()
    here.dv("push")
    assert here.is_clean()
    assert here.json("status", "--remote")["clean"]

    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", weed.endpoint_url)
    there.dv("pull")
    assert facts(there.path / "data") == before
    assert (there.path / "tool").stat().st_mode & stat.S_IXUSR
    assert (there.path / "tool").read_bytes() == b"#!/bin/sh\n"
    assert not (there.path / "model.bin").stat().st_mode & stat.S_IXUSR
    assert (there.path / "model.bin").read_bytes() == noise(400_000, 8)
    assert there.is_clean()
    assert there.json("status", "--remote")["clean"]
    assert git(there.path, "status", "--porcelain") == ""
    assert (there.path / "data.dvlite").read_bytes() == (here.path / "data.dvlite").read_bytes()


def test_equal_content_is_stored_once_whatever_its_names(tmp_path, invoke):
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for number in range(20):
        put(here.path / "data" / f"large {number}", noise(300_000, 1))
        put(here.path / "data" / f"small {number}", noise(3_000, 2))
    here.dv("add", "data")
    assert sum(path.stat().st_size for path in here.cache.rglob("*") if path.is_file()) < 400_000
    pushed = here.json("push")
    assert pushed["uploaded_bytes"] < 400_000


@pytest.mark.long
def test_a_file_of_more_than_4_gib_comes_back(tmp_path, run_cli):
    here = start(tmp_path / "here", run_cli, str(tmp_path / "store"))
    size = (4 << 30) + 12_345
    with open(here.path / "big.bin", "wb") as file:
        file.write(b"start")
        file.seek(size - 3)
        file.write(b"end")
    here.dv("add", "big.bin")
    here.commit()
    assert here.is_clean()
    here.dv("push")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", str(tmp_path / "store"))
    there.dv("pull")
    assert there.is_clean()
    status = (there.path / "big.bin").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 < 64 << 20, "holes were filled"
    with open(there.path / "big.bin", "rb") as file:
        assert file.read(5) == b"start"
        assert not any(file.read(100_000))
        file.seek(size - 4)
        assert file.read() == b"\0end"


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


# --- what cannot be tracked ---


def special_fifo(path):
    os.mkfifo(path)


def special_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def special_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")


def state(clone: Clone) -> tuple:
    """Returns what a refused command must leave as it was."""
    index = clone.cache / "index"
    return (
        git(clone.path, "status", "--porcelain"),
        sorted(path.name for path in clone.path.iterdir()),
        sorted(os.listdir(index)) if index.exists() else [],
    )


@pytest.mark.parametrize(
    ("make", "word"), [(special_fifo, "a FIFO"), (special_socket, "a socket"), (special_device, "a device")]
)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "alone"])
def test_what_is_no_data_is_refused_by_name_with_nothing_half_done(tmp_path, invoke, make, word, inside):
    here = start(tmp_path / "here", invoke)
    for number in range(50):
        put(here.path / "data" / f"{number}", noise(100, number))
    special = here.path / "data" / "zz odd" if inside else here.path / "zz odd"
    make(special)
    before = state(here)
    said = here.fails(2, "add", "data" if inside else "zz odd", "data")
    assert f"{'data/' if inside else ''}zz odd': it is {word}" in said
    assert state(here) == before
    special.unlink()
    here.dv("add", "data")


def test_a_link_that_leaves_the_tracked_directory_is_refused_with_the_rule(tmp_path, invoke):
    here = start(tmp_path / "here", invoke)
    put(here.path / "data" / "file", b"x")
    for target in ("/etc/passwd", "..", "../outside", "a/../../../x", "sub/../..", ".git/config", "./../x"):
        os.symlink(target, here.path / "data" / "link")
        before = state(here)
        said = here.fails(2, "add", "data")
        assert "data/link" in said
        assert "symbolic link" in said
        assert state(here) == before
        (here.path / "data" / "link").unlink()


def test_a_tracked_path_that_is_a_link_is_refused(tmp_path, invoke):
    here = start(tmp_path / "here", invoke)
    put(here.path / "real", b"x")
    os.symlink("real", here.path / "link")
    assert "'link': it is a symbolic link" in here.fails(2, "add", "link")


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_what_cannot_be_read_is_refused_by_name_with_nothing_half_done(tmp_path, invoke, folder):
    here = start(tmp_path / "here", invoke)
    for number in range(50):
        put(here.path / "data" / f"{number}", noise(100, number))
    closed = here.path / "data" / "closed"
    if folder:
        put(closed / "x", b"x")
    else:
        put(closed, b"x")
    if os.geteuid() == 0:
        for path in (tmp_path, *tmp_path.parents):
            if path.stat().st_mode & 0o005 != 0o005 and str(path).startswith("/tmp/pytest"):
                path.chmod(path.stat().st_mode | 0o055)
        subprocess.run(["chown", "-R", "65534:65534", tmp_path], check=True)
    closed.chmod(0)
    before = (here.path / ".git" / "index").read_bytes()
    home = tmp_path / "nobody"
    home.mkdir()
    home.chmod(0o777)
    done = subprocess.run(
        [
            *(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []),
            sys.executable,
            "-m",
            "dvlite",
            "add",
            "data",
        ],
        cwd=here.path,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull},
    )
    closed.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "error: cannot read 'data/closed': Permission denied" in done.stderr
    assert not (here.path / "data.dvlite").exists()
    assert (here.path / ".git" / "index").read_bytes() == before
