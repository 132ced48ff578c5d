"""Folders by their descriptors: no link is followed on the way, and nothing that changed meanwhile is removed."""

import errno
import os

import pytest

from dvlite import files
from dvlite.progress import NullProgress
from dvlite.repo import ignore
from dvlite.workspace import dirfd as module
from dvlite.workspace.dirfd import Folders, publish, remove_empty_folders, remove_entries
from dvlite.workspace.scan import scan
from tests.trees import put

NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)


def test_folders_are_created_and_found_again(tmp_path):
    with Folders(tmp_path, b"data", create=True) as folders:
        for path in (b"a/b/c/d", b"a/x", *(b"wide/%d/f" % n for n in range(20))):
            folder, name = folders.split(path, create=True)
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=folder))
        with pytest.raises(FileNotFoundError):
            folders.split(b"none/f")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["a", "wide"]
    assert (tmp_path / "data/a/b/c/d").is_file()


@pytest.mark.parametrize("path", [b"link/f", b"real/link/f"])
def test_a_link_in_the_place_of_a_folder_is_an_error(tmp_path, path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "top" / "real").mkdir(parents=True)
    for place in ("top/link", "top/real/link"):
        (tmp_path / place).symlink_to(tmp_path / "outside")
    with Folders(tmp_path / "top") as folders:
        for create in (False, True):
            with pytest.raises(OSError) as caught:
                folders.split(path, create=create)
            assert caught.value.errno in NO_FOLDER
    with pytest.raises(OSError) as caught:
        Folders(tmp_path, b"top/link", create=True)
    assert caught.value.errno in NO_FOLDER
    assert not list((tmp_path / "outside").iterdir())


def test_no_descriptor_is_left_open(tmp_path):
    before = len(os.listdir("/dev/fd"))
    with Folders(tmp_path) as folders:
        for number in range(50):
            folders.split(b"%d/x/y" % number, create=True)
        folders.forget(b"49/x")
    assert len(os.listdir("/dev/fd")) == before


def test_only_entries_that_are_still_what_they_were_are_removed(tmp_path):
    for name in ("a/old", "a/edited", "b/old", "empty/x"):
        put(tmp_path / name, b"1")
    (tmp_path / "empty/x").unlink()
    found = scan(tmp_path, "data", lambda _inner, _folder: False, ignore.BUILT_IN, NullProgress())
    (tmp_path / "a/edited").write_bytes(b"another")
    with Folders(tmp_path) as folders:
        remove_entries(folders, found, range(len(found.paths)))
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["a", "a/edited"]


def test_a_file_replaces_an_empty_folder_and_none_with_something_in_it(tmp_path):
    for name in ("new1", "new2", "full/users"):
        put(tmp_path / name, b"1")
    (tmp_path / "empty").mkdir()
    with Folders(tmp_path) as folders:
        publish(b"new1", b"empty", folders.top)
        with pytest.raises(IsADirectoryError):
            publish(b"new2", b"full", folders.top)
    assert (tmp_path / "empty").is_file()
    assert (tmp_path / "full/users").exists()


def test_empty_folders_above_are_removed_but_not_where_the_user_is(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    remove_empty_folders(tmp_path, tmp_path / "a/b", "a/b/c/gone")
    assert os.listdir(tmp_path / "a/b") == []
    put(tmp_path / "a/users")
    remove_empty_folders(tmp_path, tmp_path, "a/b/gone")
    assert os.listdir(tmp_path / "a") == ["users"]


@pytest.mark.parametrize("remove", [True, False])
def test_an_edit_of_the_last_moment_is_put_back(tmp_path, monkeypatch, remove):
    put(tmp_path / "data" / "f", b"old")
    put(tmp_path / "data" / "new", b"new")
    seen = scan(tmp_path / "data", "data", lambda *_: False, frozenset(), NullProgress())
    j = seen.paths.index(b"f")

    def edited_after(*arguments):
        (tmp_path / "data" / "f").write_bytes(b"an edit that exists nowhere else")
        return True

    monkeypatch.setattr(module, "unchanged", edited_after)
    with Folders(tmp_path, b"data") as folders:
        if remove:
            module.remove_entry(b"f", folders.top, seen, j)
        else:
            if not files.exchange(b"f", b"new", folders.top):
                pytest.skip("names cannot be swapped here")
            files.exchange(b"f", b"new", folders.top)
            with pytest.raises(FileExistsError):
                module.replace_entry(b"new", b"f", folders.top, seen, j)
    assert (tmp_path / "data" / "f").read_bytes() == b"an edit that exists nowhere else"
    assert sorted(os.listdir(tmp_path / "data")) == ["f", "new"]


def test_an_entry_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    put(tmp_path / "data" / "f", b"old")
    seen = scan(tmp_path / "data", "data", lambda *_: False, frozenset(), NullProgress())
    put(tmp_path / "data" / "new", b"new")
    with Folders(tmp_path, b"data") as folders:
        module.replace_entry(b"new", b"f", folders.top, seen, 0)
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == {"f": b"new"}
