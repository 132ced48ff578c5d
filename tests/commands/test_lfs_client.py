"""git-lfs itself, as it is installed, with its objects on a remote of dvlite: a folder, and a real S3 server."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.trees import noise

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed"),
    pytest.mark.usefixtures("on_path"),
]


class Work:
    """A clone in which git-lfs runs the agent."""

    def __init__(self, root):
        self.root = root

    def run(self, *words, code=0):
        done = subprocess.run(words, cwd=self.root, capture_output=True, text=True, timeout=300, check=False)
        assert code in (None, done.returncode), f"{words} left with {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def git(self, *words, code=0):
        return self.run("git", *words, code=code)

    def commit(self, **contents):
        for name, data in contents.items():
            (self.root / f"{name}.bin").write_bytes(data)
        self.git("add", "-A")
        self.git("commit", "-qm", "Change")

    def local(self):
        return [path for path in (self.root / ".git" / "lfs" / "objects").rglob("*") if path.is_file()]

    def forget(self):
        """Loses the objects of git-lfs and all that dvlite keeps in this clone."""
        for folder in ("lfs", "dvlite"):
            shutil.rmtree(self.root / ".git" / folder, ignore_errors=True)


def start(folder, url, *options):
    """Returns a repository with an LFS pattern, a git server beside it, and the agent installed."""
    subprocess.run(["git", "init", "-q", "--bare", folder / "server.git"], check=True)
    subprocess.run(["git", "init", "-q", folder / "work"], check=True)
    work = Work(folder / "work")
    work.git("lfs", "install", "--local")
    work.git("lfs", "track", "*.bin")
    work.git("remote", "add", "origin", "../server.git")
    work.run("dvlite", "init", "--no-hooks")
    work.run("dvlite", "remote", "add", url, *options)
    work.run("dvlite", "lfs-agent", "install")
    work.git("add", "-A")
    work.git("commit", "-qm", "Start")
    return work


def clone_of(work, name):
    """Returns a clone that a colleague would make, with all files."""
    root = work.root.parent / name
    environment = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1"}
    subprocess.run(["git", "clone", "-q", work.root.parent / "server.git", root], env=environment, check=True)
    clone = Work(root)
    clone.git("lfs", "install", "--local")
    clone.run("dvlite", "lfs-agent", "install")
    clone.git("lfs", "pull")
    return clone


def put_back(work):
    """Fetches all that was pushed into a clone that has none of it, and lets git-lfs check it."""
    work.forget()
    work.git("lfs", "fetch", "--all")
    work.git("lfs", "fsck")


def test_push_clone_fetch_fsck_and_prune_on_s3(tmp_path, s3_url, weed):
    work = start(tmp_path, s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    contents = {f"f{i}": noise(2000 + i, seed=i) for i in range(40)} | {"empty": b"", "big": noise(20_000_000, seed=1)}
    work.commit(**contents)
    work.git("push", "-q", "origin", "HEAD")
    edited = contents | {"big": contents["big"][:5_000_000] + b"x" * 1000 + contents["big"][5_001_000:]}
    work.commit(**edited)
    before = weed.requests()["PUT"]
    work.git("push", "-q", "origin", "HEAD")
    assert weed.requests()["PUT"] - before <= 8
    clone = clone_of(work, "clone")
    assert {path.stem: path.read_bytes() for path in clone.root.glob("*.bin")} == edited
    assert clone.git("status", "--porcelain").stdout == ""
    put_back(clone)
    assert len(clone.local()) == 42  # nothing is empty there, and there are two versions of one
    for words in ([], ["--verify-remote"]):
        clone.git("lfs", "prune", *words)
        assert len(clone.local()) == 42
    clone.run("dvlite", "lfs-agent", "prune")
    assert len(clone.local()) == 41
    clone.git("checkout", "-q", "HEAD~1")
    assert (clone.root / "big.bin").read_bytes() == contents["big"]


def test_a_flipped_byte_fails_the_fetch(tmp_path):
    work = start(tmp_path, "../store")
    work.commit(one=noise(2000, seed=1), big=noise(3_000_000, seed=2))
    work.git("push", "-q", "origin", "HEAD")
    for pack in (tmp_path / "store" / "packs").iterdir():
        data = bytearray(pack.read_bytes())
        data[min(1000, len(data) // 2)] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(data)
    work.forget()
    failed = work.git("lfs", "fetch", "--all", code=2)
    assert "damaged" in failed.stderr
    assert work.local() == []


def test_a_push_to_a_server_that_is_down_fails_and_pushes_nothing(tmp_path, s3_url, weed):
    work = start(tmp_path, s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    work.commit(**{f"f{i}": noise(2000, seed=i) for i in range(12)})
    work.run("dvlite", "remote", "set", "origin", "-o", "endpoint_url=http://127.0.0.1:9")
    failed = work.git("push", "origin", "HEAD", code=1)
    assert "127.0.0.1:9" in failed.stderr
    assert work.git("ls-remote", "origin").stdout == ""
    work.run("dvlite", "remote", "set", "origin", "-o", f"endpoint_url={weed.endpoint_url}")
    work.git("push", "-q", "origin", "HEAD")
    put_back(work)


def test_killed_agents_lose_nothing(tmp_path):
    work = start(tmp_path, "../store")
    contents = {f"f{i}": noise(200_000 + i, seed=i) for i in range(60)}
    work.commit(**contents)
    pids = tmp_path / "pids"
    wrapper = tmp_path / "agent"
    wrapper.write_text(f'#!/bin/sh\necho $$ >> {pids}\nexec dvlite "$@"\n')
    wrapper.chmod(0o755)
    work.git("config", "lfs.customtransfer.dvlite.path", str(wrapper))
    roots = tmp_path / "store" / "roots"
    for round_ in (1, 2, 3):
        with subprocess.Popen(["git", "push", "origin", "HEAD"], cwd=work.root, stderr=subprocess.PIPE) as push:
            while push.poll() is None and len(list(roots.glob("*")) if roots.exists() else ()) < round_:
                time.sleep(0.01)
            for pid in map(int, pids.read_text().split()):
                if Path(f"/proc/{pid}/cmdline").exists() and b"lfs-agent" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            push.communicate()
        pids.write_text("")
    work.git("push", "-q", "origin", "HEAD")
    put_back(work)
    clone = clone_of(work, "clone")
    assert {path.stem: path.read_bytes() for path in clone.root.glob("*.bin")} == contents


def test_clones_that_push_at_once_lose_nothing(tmp_path):
    work = start(tmp_path, "../store")
    work.commit(first=b"first")
    work.git("push", "-q", "origin", "HEAD")
    clones = [clone_of(work, f"clone{i}") for i in range(3)]
    for i, clone in enumerate(clones):
        clone.git("checkout", "-q", "-b", f"branch{i}")
        clone.commit(**{f"f{number}": noise(2000, seed=100 * i + number) for number in range(12)})
    pushes = [subprocess.Popen(["git", "push", "-q", "origin", "HEAD"], cwd=clone.root) for clone in clones]
    assert [push.wait(300) for push in pushes] == [0, 0, 0]
    work.git("fetch", "-q")
    put_back(work)
    assert len(work.local()) == 1 + 3 * 12
