"""A flipped byte anywhere, in the cache or on the remote: the right bytes, or exit 13 naming the object; and then it heals."""

import re
import shutil

import pytest

from tests.clones import Clone, assert_nothing_wrong, contents, flip, objects, trusting_clone

NAME = re.compile(r"[0-9a-f]{64}")


def offsets(size: int) -> list[int]:
    """Positions in the header, in records, in the middle and in the footer of an object."""
    return sorted(
        {at % size for at in (0, 10, 25, 45, 64, 90, size // 4, size // 2, size - 90, size - 30, size - 14, size - 1)}
    )


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
    there = trusting_clone(here, tmp_path / "there", store)
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
    assert verdicts.count("named") > 5
    assert verdicts.count("right") > 3


@pytest.mark.long
def test_a_flipped_byte_in_the_cache_is_named_or_harmless_and_a_pull_heals_it(world, tmp_path):
    here, store = world
    there = trusting_clone(here, tmp_path / "there", store)
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
