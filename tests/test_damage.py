"""A flipped byte anywhere, in the cache or on the remote: the right bytes, or exit 13 naming the object; and then it heals."""

import re
import shutil
from pathlib import Path

import pytest

from tests.clones import Clone, objects, start
from tests.trees import facts, noise, put

NAME = re.compile(r"[0-9a-f]{64}")


@pytest.fixture
def world(tmp_path, invoke):
    """A pushed repository with small files, large ones, links and folders; returns it and its remote."""
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for number in range(8):
        put(here.path / "data" / f"d{number % 2}" / str(number), noise(300, number))
    put(here.path / "data" / "large", noise(120_000, 50))
    put(here.path / "data" / "text", b"the same line again and again\n" * 5000)
    (here.path / "data" / "link").symlink_to("large")
    (here.path / "data" / "empty").mkdir()
    put(here.path / "model.bin", noise(90_000, 60))
    here.dv("add", "data", "model.bin")
    here.commit()
    here.dv("push")
    return here, tmp_path / "store"


def colleague(here: Clone, target: Path, store: Path) -> Clone:
    there = here.clone(target)
    there.dv("remote", "trust", str(store))
    return there


def contents(clone: Clone) -> dict:
    return {path: found for path, found in facts(clone.path).items() if path.startswith((b"data/", b"model.bin"))}


def offsets(size: int) -> list[int]:
    """Positions in the header, in records, in the middle and in the footer of an object."""
    return sorted(
        {at % size for at in (0, 10, 25, 45, 64, 90, size // 4, size // 2, size - 90, size - 30, size - 14, size - 1)}
    )


def flip(path: Path, at: int) -> bytes:
    data = path.read_bytes()
    damaged = bytearray(data)
    damaged[at] ^= 0x08
    path.chmod(0o644)
    path.write_bytes(damaged)
    return data


def assert_nothing_wrong(found: dict, expected: dict) -> None:
    for path, fact in found.items():
        if path.endswith(b".dvlite"):
            continue
        assert fact == expected[path], f"wrong bytes in {path!r}"


def verdict(done, clone: Clone, expected: dict) -> str:
    """Checks what a command made of damage: everything right, or an error that names the object and nothing wrong on disk."""
    assert_nothing_wrong(contents(clone), expected)
    if done.returncode == 0:
        assert contents(clone) == expected
        return "right"
    assert done.returncode == 13, f"{done.returncode}: {done.stderr}"
    assert NAME.search(done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    return "named"


@pytest.mark.long
def test_a_flipped_byte_on_the_remote_is_named_or_harmless(world, tmp_path):
    here, store = world
    expected = contents(here)
    there = colleague(here, tmp_path / "there", store)
    verdicts = []
    for name, path in objects(store).items():
        if name.startswith("roots/"):
            continue  # read by gc alone
        for at in offsets(path.stat().st_size):
            whole = flip(path, at)
            done = there.run("pull", cwd=there.path)
            if name == "config":
                assert done.returncode in (0, 1, 13)
                assert_nothing_wrong(contents(there), expected)
            else:
                verdicts.append(verdict(done, there, expected))
            path.write_bytes(whole)
            if len(verdicts) % 7 == 0:  # the remote is healthy again: what was interrupted is finished
                there.dv("pull")
                assert contents(there) == expected
            for tracked in ("data", "model.bin", ".git/dvlite"):
                target = there.path / tracked
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    assert verdicts.count("named") > 10
    assert verdicts.count("right") > 3


@pytest.mark.long
def test_a_flipped_byte_in_the_cache_is_named_or_harmless_and_a_pull_heals_it(world, tmp_path):
    here, store = world
    there = colleague(here, tmp_path / "there", store)
    there.dv("pull")
    expected = contents(there)
    saved = tmp_path / "saved"
    shutil.copytree(there.path / ".git" / "dvlite", saved)
    verdicts = []
    for kept in sorted(path for path in saved.rglob("*") if path.is_file() and path.stat().st_size):
        for at in offsets(kept.stat().st_size)[:: 1 if "packs" in kept.parts or "files" in kept.parts else 3]:
            shutil.rmtree(there.path / ".git" / "dvlite")
            shutil.copytree(saved, there.path / ".git" / "dvlite")
            flip(there.path / ".git" / "dvlite" / kept.relative_to(saved), at)
            shutil.rmtree(there.path / "data")
            (there.path / "model.bin").unlink()
            done = there.run("checkout", cwd=there.path)
            if done.returncode in (3, 12):  # a damaged index may hide what it names
                assert_nothing_wrong(contents(there), expected)
            else:
                verdicts.append(verdict(done, there, expected))
            done = there.run("pull", cwd=there.path)
            assert done.returncode == 0, f"{kept} at {at}: {done.stderr}"
            assert contents(there) == expected
            assert there.is_clean()
    assert verdicts.count("named") > 5
    assert verdicts.count("right") > 5


def test_damage_in_the_cache_is_never_pushed_and_adding_again_heals_it(world, tmp_path):
    here, _ = world
    here.dv("remote", "add", "second", str(tmp_path / "second"))
    large = max((here.cache / "files").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    flip(large, 60_000)
    said = here.fails(13, "push", "-r", "second")
    assert large.name in said
    assert not objects(tmp_path / "second") or not any(
        name.startswith("roots/") for name in objects(tmp_path / "second")
    )
    here.dv("add", "data", "model.bin")
    here.dv("push", "-r", "second")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "add", "mine", str(tmp_path / "second"), "--local")
    there.dv("pull", "-r", "mine")
    assert contents(there) == contents(here)


def test_damage_in_the_cache_is_healed_from_the_remote_before_a_push_elsewhere(world, tmp_path):
    here, _ = world
    here.dv("remote", "add", "second", str(tmp_path / "second"))
    for path in (here.cache / "packs").iterdir():
        flip(path, path.stat().st_size // 2)
    assert here.run("push", "-r", "second", cwd=here.path).returncode == 13
    shutil.rmtree(here.path / "data")
    here.dv("pull")
    here.dv("push", "-r", "second")


def test_data_that_is_nowhere_fails_the_push_by_name(world, tmp_path):
    here, store = world
    before = objects(store).keys()
    put(here.path / "data" / "new large", noise(80_000, 99))
    here.dv("add", "data")
    (path,) = (p for p in (here.cache / "files").rglob("*") if p.is_file() and p.read_bytes() == noise(80_000, 99))
    path.unlink()
    said = here.fails(12, "push")
    assert "data/new large" in said
    assert objects(store).keys() == before
    (here.path / "data" / "new large").touch()
    here.dv("add", "data")
    here.dv("push")


def test_data_that_a_remote_lost_is_missing_by_name_and_a_part_comes_when_asked_for(world, tmp_path):
    """A new tree with gaps would look like one from which somebody deleted files: it is only written on demand."""
    here, store = world
    there = colleague(here, tmp_path / "there", store)
    biggest = max(
        (path for name, path in objects(store).items() if name.startswith("packs/")), key=lambda p: p.stat().st_size
    )
    biggest.unlink()
    done = there.run("pull", cwd=there.path)
    assert done.returncode == 12
    assert "data/large" in done.stderr or "model.bin" in done.stderr
    assert_nothing_wrong(contents(there), contents(here))
    assert not (there.path / "data" / "d0" / "0").exists()
    there.dv("pull", "data/d0")
    assert_nothing_wrong(contents(there), contents(here))
    assert (there.path / "data" / "d0" / "0").exists()


def test_a_healthy_clone_repairs_a_remote_that_lost_objects(world, tmp_path):
    here, store = world
    for name, path in objects(store).items():
        if name.startswith("packs/"):
            path.unlink()
    here.dv("push")
    there = colleague(here, tmp_path / "there", store)
    there.dv("pull")
    assert contents(there) == contents(here)


def test_a_lost_cache_is_fetched_again(world):
    here, _ = world
    expected = contents(here)
    here.forget_cache()
    assert not here.is_clean()
    here.dv("pull")
    assert here.is_clean()
    assert contents(here) == expected
