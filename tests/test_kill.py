"""kill -9 at any moment: the command is run again and finishes; no byte of the user's is lost, nothing has to be repaired by hand."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clones import Clone, git, start
from tests.trees import facts, noise, put

ROOT = Path(__file__).parent.parent
STEPS = 18  # moments of death for each case, spread over the whole command


@pytest.fixture
def mortal(tmp_path):
    """Runs dvlite in a child that may die; returns (exit code, changes made)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mortal"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    output = tmp_path / "output"

    def run(cwd: Path, *args: str, kill_at: int = 0, torn: bool = False) -> tuple[int, int]:
        order = {"cwd": str(cwd), "args": list(args), "kill_at": kill_at, "torn": torn, "output": str(output)}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        if found["code"] not in (0, -signal.SIGKILL):
            pytest.fail(f"{args} left with {found['code']}: {output.read_text()}")
        return found["code"], found["events"]

    yield run
    process.communicate()  # ends its input, so it ends


def fill(folder: Path, generation: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(12):
        put(folder / f"d{number % 3}" / f"{number}", noise(500, number if number < 8 else number * 100 + generation))
    put(folder / "large", noise(150_000, 1) + noise(20_000, generation) + noise(150_000, 2))
    put(folder / "tool", b"#!/bin/sh\n", executable=True)
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("tool")


@pytest.fixture
def prepared(tmp_path, run_cli):
    """A repository at its second version, a remote that has the first, and a colleague who has the first."""
    base = tmp_path / "base"
    here = start(base / "here", run_cli, str(base / "store"))
    fill(here.path / "data", 1)
    here.dv("add", "data")
    here.commit("one")
    here.dv("push")
    there = here.clone(base / "there")
    there.dv("remote", "trust", str(base / "store"))
    there.dv("pull")
    fill(here.path / "data", 2)
    return here, there


def moments(events: int) -> list[int]:
    step = max(1, events // STEPS)
    return sorted({*range(1, events + 1, step), events})


def sweep(base: Path, cwd: Path, mortal, command: list[str], check) -> None:
    """Kills `command` at many moments, each time from the same start; then runs it again and checks."""
    saved = base.parent / "saved"
    shutil.copytree(base, saved, symlinks=True)

    def restart():
        shutil.rmtree(base)
        subprocess.run(["cp", "-a", str(saved), str(base)], check=True)

    code, events = mortal(cwd, *command)
    assert code == 0
    check()
    assert events > 15
    killed = 0
    for number, kill_at in enumerate(moments(events)):
        restart()
        code, _ = mortal(cwd, *command, kill_at=kill_at, torn=number % 2 == 0)
        killed += code == -signal.SIGKILL
        code, _ = mortal(cwd, *command)
        assert code == 0, f"after death at change {kill_at} of {events}"
        check()
    assert killed > len(moments(events)) * 0.8


def leftovers(clone: Clone) -> list[str]:
    return [str(path) for path in clone.path.rglob(".dvl-*") if ".git" not in path.parts]


@pytest.mark.long
def test_add_can_die_at_any_moment(prepared, mortal, run_cli):
    here, _ = prepared
    expected = facts(here.path / "data")

    def check():
        assert facts(here.path / "data") == expected
        here.commit("two")
        assert mortal(here.path, "status", "--exit-code")[0] == 0
        shutil.rmtree(here.path / "data")
        assert mortal(here.path, "checkout")[0] == 0
        assert facts(here.path / "data") == expected
        assert not leftovers(here)

    sweep(here.path.parent, here.path, mortal, ["add", "data"], check)


@pytest.mark.long
def test_push_can_die_at_any_moment(prepared, mortal, tmp_path):
    here, there = prepared
    here.dv("add", "data")
    here.commit("two")
    expected = facts(here.path / "data")

    def check():
        git(there.path, "pull", "-q")
        assert mortal(there.path, "pull")[0] == 0
        assert facts(there.path / "data") == expected
        assert facts(here.path / "data") == expected

    sweep(here.path.parent, here.path, mortal, ["push"], check)


@pytest.mark.long
@pytest.mark.parametrize("fresh", [True, False], ids=["into nothing", "over a version"])
def test_pull_can_die_at_any_moment(prepared, mortal, fresh):
    here, there = prepared
    here.dv("add", "data")
    here.commit("two")
    here.dv("push")
    git(there.path, "pull", "-q")
    expected = facts(here.path / "data")
    if fresh:
        shutil.rmtree(there.path / "data")
        there.forget_cache()

    def check():
        assert facts(there.path / "data") == expected
        assert mortal(there.path, "status", "--exit-code")[0] == 0
        assert not leftovers(there)

    sweep(here.path.parent, there.path, mortal, ["pull"], check)


@pytest.mark.long
def test_checkout_can_die_at_any_moment(prepared, mortal):
    """Between two versions that differ in every way, with a local file that is in no version."""
    here, _ = prepared
    here.dv("add", "data")
    here.commit("two")
    git(here.path, "checkout", "-q", "HEAD~1")
    put(here.path / "data" / "mine", b"in no version")
    fill(here.path / "reference", 1)
    expected = facts(here.path / "reference") | {b"mine": ("file", False, b"in no version")}
    shutil.rmtree(here.path / "reference")

    def check():
        assert facts(here.path / "data") == expected
        assert not leftovers(here)

    sweep(here.path.parent, here.path, mortal, ["checkout"], check)


@pytest.mark.long
def test_forced_checkout_keeps_what_it_overwrites_whenever_it_dies(prepared, mortal):
    here, _ = prepared
    here.dv("add", "data")
    here.commit("two")
    mine = b"an edit that exists nowhere else"
    put(here.path / "data" / "d1" / "1", mine)
    expected = facts(here.path / "data") | {b"d1/1": ("file", False, noise(500, 1))}

    def check():
        assert facts(here.path / "data") == expected
        saved = sorted((here.path / ".git" / "dvlite" / "saved").iterdir())
        assert saved
        kept = {data for pack in (here.cache / "packs").iterdir() for data in [pack.read_bytes()] if mine in data}
        assert kept, "the edit is gone"

    sweep(here.path.parent, here.path, mortal, ["checkout", "--force"], check)
