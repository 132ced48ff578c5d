"""Commands at the same time: each finishes, and what they leave is what one after the other would have left."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.clones import Clone, git, start
from tests.trees import facts, noise, put


@pytest.fixture
def together(program):
    """Returns what starts all commands at once and waits for all."""

    def run(*commands: tuple[Path, list[str]]) -> list[subprocess.CompletedProcess]:
        return at_once(program, *commands)

    return run


def at_once(program: Path, *commands: tuple[Path, list[str]]) -> list[subprocess.CompletedProcess]:
    started = [
        subprocess.Popen(
            [program, *args],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=os.environ,
        )
        for cwd, args in commands
    ]
    done = []
    for process in started:
        out, err = process.communicate(timeout=100)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return done


def all_well(results: list[subprocess.CompletedProcess]) -> None:
    for done in results:
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def here(tmp_path, run_cli) -> Clone:
    return start(tmp_path / "here", run_cli, str(tmp_path / "store"))


def test_four_adds_at_once_all_count(here, together):
    for number in range(4):
        for file in range(40):
            put(here.path / f"data{number}" / str(file), noise(2000, number * 100 + file))
        put(here.path / f"data{number}" / "shared", noise(200_000, 7))
    before = [facts(here.path / f"data{number}") for number in range(4)]
    all_well(together(*((here.path, ["add", f"data{number}"]) for number in range(4))))
    here.commit()
    assert here.is_clean()
    assert [facts(here.path / f"data{number}") for number in range(4)] == before
    ignored = (here.path / ".gitignore").read_text().splitlines()
    assert all(f"/data{number}" in ignored for number in range(4))


def test_the_same_path_added_twice_at_once_is_added_once(here, together):
    for file in range(200):
        put(here.path / "data" / str(file), noise(500, file))
    all_well(together((here.path, ["add", "data"]), (here.path, ["add", "data"])))
    here.commit()
    assert here.is_clean()


def test_a_pull_and_an_add_at_once(here, tmp_path, together):
    put(here.path / "one" / "file", noise(100_000, 1))
    here.dv("add", "one")
    here.commit()
    here.dv("push")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", str(tmp_path / "store"))
    put(there.path / "two" / "file", noise(100_000, 2))
    all_well(together((there.path, ["pull"]), (there.path, ["add", "two"])))
    there.commit()
    assert there.is_clean()
    assert facts(there.path / "one") == facts(here.path / "one")


def test_pushes_of_two_clones_at_once_are_both_complete(here, tmp_path, together):
    put(here.path / "base" / "file", noise(300_000, 1))
    here.dv("add", "base")
    here.commit()
    clones = [here.clone(tmp_path / f"clone{number}") for number in range(3)]
    for number, clone in enumerate(clones):
        clone.dv("remote", "trust", str(tmp_path / "store"))
        put(clone.path / f"own{number}" / "file", noise(200_000, number))
        put(clone.path / f"own{number}" / "shared", noise(150_000, 99))
        clone.dv("add", f"own{number}")
        clone.commit()
    here.dv("push")
    for clone in clones:
        clone.dv("pull", "base")
    all_well(together(*((clone.path, ["push"]) for clone in clones)))
    for number, clone in enumerate(clones):
        reader = clone.clone(tmp_path / f"reader{number}")
        reader.dv("remote", "trust", str(tmp_path / "store"))
        reader.dv("pull")
        assert facts(reader.path / f"own{number}") == facts(clone.path / f"own{number}")


def test_two_pulls_of_one_clone_at_once(here, tmp_path, together):
    for file in range(100):
        put(here.path / "data" / str(file), noise(3000, file))
    put(here.path / "data" / "large", noise(2_000_000, 5))
    here.dv("add", "data")
    here.commit()
    here.dv("push")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", str(tmp_path / "store"))
    all_well(together((there.path, ["pull"]), (there.path, ["pull"]), (there.path, ["fetch"])))
    assert facts(there.path / "data") == facts(here.path / "data")
    assert there.is_clean()


def test_clones_that_share_a_cache_work_at_once(here, tmp_path, together):
    put(here.path / "data" / "large", noise(2_000_000, 5))
    for file in range(100):
        put(here.path / "data" / str(file), noise(3000, file))
    here.dv("add", "data")
    here.commit()
    here.dv("push")
    clones = [here.clone(tmp_path / f"clone{number}") for number in range(3)]
    for clone in clones:
        clone.dv("remote", "trust", str(tmp_path / "store"))
    os.environ["DVLITE_CACHE_DIR"] = str(tmp_path / "cache")
    try:
        all_well(together(*((clone.path, ["pull"]) for clone in clones)))
    finally:
        del os.environ["DVLITE_CACHE_DIR"]
    for clone in clones:
        assert facts(clone.path / "data") == facts(here.path / "data")


def test_inits_at_once_make_one_configuration(tmp_path, run_cli, together):
    folder = tmp_path / "fresh"
    folder.mkdir()
    git(folder, "init", "-q")
    all_well(together(*((folder, ["init"]) for _ in range(4))))
    clone = Clone(folder, run_cli)
    attributes = (folder / ".gitattributes").read_text().splitlines()
    assert len(attributes) == len(set(attributes))
    put(folder / "file", b"x")
    clone.dv("add", "file")
    clone.commit()
    assert clone.is_clean()
    assert not list(folder.glob(".dvl-*"))
