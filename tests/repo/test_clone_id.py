"""The id of a clone: the same each time, another one for whatever is another clone."""

import os
import shutil

import pytest

from dvlite.repo import clone_id as module
from dvlite.repo.clone_id import clone_id


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "one" / ".git"
    folder.mkdir(parents=True)
    return folder


def test_a_clone_keeps_its_id(clone):
    first = clone_id(clone)
    assert len(bytes.fromhex(first)) == 16
    assert clone_id(clone) == first


def test_a_copied_repository_is_another_clone_and_the_first_one_stays_itself(clone, tmp_path):
    first = clone_id(clone)
    shutil.copytree(clone.parent, tmp_path / "two", symlinks=True)
    assert clone_id(tmp_path / "two/.git") != first
    assert clone_id(clone) == first


def test_a_repository_put_back_from_a_backup_is_another_clone(clone, tmp_path):
    first = clone_id(clone)
    shutil.copytree(clone.parent, tmp_path / "backup")
    (tmp_path / "one").rename(tmp_path / "gone")  # kept, so that no inode is used again
    shutil.copytree(tmp_path / "backup", tmp_path / "one")
    assert clone_id(clone) != first


def test_the_same_disk_in_another_machine_is_another_clone(clone, monkeypatch):
    first = clone_id(clone)
    monkeypatch.setattr(module.platform, "node", lambda: "another")
    second = clone_id(clone)
    assert second != first
    assert clone_id(clone) == second


@pytest.mark.parametrize("text", [b"", b"junk", b"\xff" * 98, b"0" * 98, b"0" * 1000])
def test_a_file_that_is_damaged_is_replaced(clone, text):
    first = clone_id(clone)
    (clone / "dvlite/clone-id").write_bytes(text)
    second = clone_id(clone)
    assert second != first
    assert clone_id(clone) == second


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_written_there_is_an_id_all_the_same(clone):
    clone.chmod(0o555)
    assert clone_id(clone) != clone_id(clone)
