"""Small: many files are few objects, nothing is sent twice, and an edit costs what it changed."""

import shutil

import pytest

from tests.clones import git, objects, start, total
from tests.trees import noise


@pytest.mark.long
def test_20_000_small_files_are_few_objects_and_an_edit_of_1_percent_is_1_percent(tmp_path, run_cli):
    here = start(tmp_path / "here", run_cli, str(tmp_path / "store"))
    for number in range(20_000):
        folder = here.path / "data" / f"class{number % 40:02d}"
        if number < 40:
            folder.mkdir(parents=True)
        (folder / f"{number:05d}.bin").write_bytes(noise(1000 + number % 500, number))
    here.dv("add", "data")
    here.commit()
    first = here.json("push")
    store = tmp_path / "store"
    assert len(objects(store)) < 40
    assert first["files"] == 20_000

    before = set(objects(store))
    again = here.json("push")
    assert again["objects"] == again["uploaded_bytes"] == 0
    assert set(objects(store)) == before

    size = total(store)
    for number in range(0, 20_000, 100):
        path = here.path / "data" / f"class{number % 40:02d}" / f"{number:05d}.bin"
        path.write_bytes(noise(1250, 10**6 + number))
    here.dv("add", "data")
    here.commit()
    second = here.json("push")
    assert second["files"] == 200
    assert len(objects(store)) - len(before) <= 6
    # 200 files spread over all folders touch every node of the listing: 20,000 entries of about 65 bytes
    assert second["uploaded_bytes"] < 200 * 1250 * 1.3 + 20_000 * 70
    assert total(store) - size == pytest.approx(second["uploaded_bytes"], rel=0.01)


def insertion(tmp_path, run_cli, size: int) -> tuple[int, int]:
    """Inserts 1 KB in the middle of a file; returns the bytes uploaded, and downloaded by a colleague who has the old version."""
    here = start(tmp_path / "here", run_cli, str(tmp_path / "store"))
    block = 1 << 20
    with open(here.path / "model.bin", "wb") as file:
        file.writelines(noise(block, number) for number in range(size // block))
    here.dv("add", "model.bin")
    here.commit("old")
    here.dv("push")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", str(tmp_path / "store"))
    there.dv("pull")
    with open(here.path / "model.bin", "r+b") as file:
        file.seek(size // 2)
        rest = file.read()
        file.seek(size // 2)
        file.write(noise(1024, 10**9) + rest)
    here.dv("add", "model.bin")
    here.commit("new")
    pushed = here.json("push")
    git(there.path, "pull", "-q")
    pulled = there.json("pull")
    for start_at in (0, size // 2 - 4096, size - 8192):
        with open(here.path / "model.bin", "rb") as one, open(there.path / "model.bin", "rb") as two:
            one.seek(start_at)
            two.seek(start_at)
            assert one.read(16_384) == two.read(16_384)
    assert here.is_clean()
    assert there.is_clean()
    return pushed["uploaded_bytes"], pulled["fetch"]["downloaded_bytes"]


def test_1_kb_inserted_in_a_large_file_moves_less_than_1_mib(tmp_path, invoke):
    uploaded, downloaded = insertion(tmp_path, invoke, 48 << 20)
    assert uploaded <= 1 << 20
    assert downloaded <= 1 << 20


@pytest.mark.long
def test_1_kb_inserted_in_a_1_gib_file_moves_less_than_1_mib(tmp_path, run_cli):
    if shutil.disk_usage(tmp_path).free < 8 << 30:
        pytest.skip("needs 8 GiB of disk")
    uploaded, downloaded = insertion(tmp_path, run_cli, 1 << 30)
    assert uploaded <= 1 << 20
    assert downloaded <= 1 << 20
