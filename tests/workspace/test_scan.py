"""Scanning: what lies on disk, in path order, without opening a file."""

import os
import random
import stat

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, SYMLINK
from dvlite.paths import check_paths
from dvlite.progress import NullProgress
from dvlite.repo import ignore
from dvlite.workspace.scan import scan
from tests.trees import make_everything, put


def look(path, matches=None, names=ignore.BUILT_IN):
    return scan(path, "data", matches, names, NullProgress())


def test_nothing_is_none(tmp_path):
    assert look(tmp_path / "absent") is None
    put(tmp_path / "file", b"x")
    assert look(tmp_path / "file" / "below a file") is None


def test_a_file_is_one_entry_without_a_path(tmp_path):
    put(tmp_path / "tool", b"hello", executable=True)
    found = look(tmp_path / "tool")
    assert (found.paths, bytes(found.flags), list(found.sizes)) == ([b""], bytes([FILE | EXECUTABLE]), [5])


def test_an_empty_folder_is_a_listing_without_entries(tmp_path):
    (tmp_path / "data").mkdir()
    assert len(look(tmp_path / "data").paths) == 0


def test_entries_are_in_the_order_of_whole_paths(tmp_path):
    draw = random.Random(5)
    for _ in range(300):
        parts = [draw.choice(["a", "b", "a-", "a.", "ab", "a b", "á"]) for _ in range(draw.randint(1, 4))]
        try:
            put(tmp_path / "data" / "/".join(parts), b"")
        except OSError:
            continue
    found = look(tmp_path / "data")
    assert found.paths == sorted(found.paths)
    check_paths(found.paths)


def test_every_kind_is_what_lstat_says(tmp_path):
    make_everything(tmp_path / "data")
    found = look(tmp_path / "data")
    kinds = {}
    base = os.fsencode(tmp_path / "data")
    for folder, folders, names in os.walk(base):
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                kinds[os.path.relpath(path, base)] = SYMLINK
            elif stat.S_ISREG(status.st_mode):
                kinds[os.path.relpath(path, base)] = FILE | (EXECUTABLE if status.st_mode & 0o100 else 0)
            elif not os.listdir(path):
                kinds[os.path.relpath(path, base)] = EMPTY_DIR
    assert dict(zip(found.paths, found.flags, strict=True)) == kinds


def test_junk_of_desktops_is_left_out_and_counted(tmp_path):
    for name in ("a", ".DS_Store", "sub/.DS_Store", "sub/b", "__pycache__/x.pyc", "Thumbs.db"):
        put(tmp_path / "data" / name, b"")
    found = look(tmp_path / "data")
    assert found.paths == [b"a", b"sub/b"]
    assert found.left_out == {".DS_Store": 2, "__pycache__": 1, "Thumbs.db": 1}


def test_a_folder_with_nothing_that_counts_is_empty(tmp_path):
    put(tmp_path / "data" / "sub" / ".DS_Store", b"")
    assert look(tmp_path / "data").paths == [b"sub"]


def test_patterns_of_the_user_are_asked(tmp_path):
    for name in ("a.tmp", "b", "sub/c.tmp", "logs/x"):
        put(tmp_path / "data" / name, b"")
    found = look(tmp_path / "data", lambda inner, folder: inner.endswith(b".tmp") or (folder and inner == b"logs"))
    assert found.paths == [b"b", b"sub"]


def test_temporary_files_of_killed_runs_are_no_data_but_similar_names_are(tmp_path):
    for name in (
        ".dvl-0123456789abcdef68c4f033",
        "sub/.dvl-0123456789abcdef68c4f033",
        ".dvl-notes",
        ".dvl-0123456789abcdef00000000",
        "sub/x",
    ):
        put(tmp_path / "data" / name, b"")
    found = look(tmp_path / "data")
    assert found.paths == [b".dvl-0123456789abcdef00000000", b".dvl-notes", b"sub/x"]
    assert sorted(found.leftovers) == [b".dvl-0123456789abcdef68c4f033", b"sub/.dvl-0123456789abcdef68c4f033"]
    assert not found.left_out


def test_a_loop_of_links_is_not_followed(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "loop").symlink_to(".")
    assert look(tmp_path / "data").paths == [b"loop"]


def test_54_a_fifo_is_refused_unopened(tmp_path):
    os.makedirs(tmp_path / "data")
    os.mkfifo(tmp_path / "data" / "pipe")
    with pytest.raises(UsageError, match="'data/pipe': it is a FIFO"):
        look(tmp_path / "data")
    with pytest.raises(UsageError, match="'data': it is a FIFO"):
        look(tmp_path / "data" / "pipe")


def test_a_link_in_the_place_of_a_tracked_path_is_one_entry(tmp_path):
    (tmp_path / "link").symlink_to("x")
    found = look(tmp_path / "link")
    assert (found.paths, list(found.flags)) == ([b""], [SYMLINK])


def test_19_folders_too_deep_are_refused_without_a_recursion_error(tmp_path):
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(400):
            os.mkdir("d")
            os.chdir("d")
        put("x", b"")
    except OSError:
        pass
    finally:
        os.chdir(here)
    with pytest.raises(DvliteError, match="255 folders deep"):
        look(tmp_path)


def test_the_signature_notices_every_touch(tmp_path):
    for name in ("a", "b", "sub/c"):
        put(tmp_path / "data" / name, b"123")
    (tmp_path / "data" / "empty").mkdir()
    first = look(tmp_path / "data").signature()
    assert look(tmp_path / "data").signature() == first

    def changed(action):
        action()
        second = look(tmp_path / "data").signature()
        assert second != first
        return second

    first = changed(lambda: put(tmp_path / "data" / "a", b"124"))
    first = changed(lambda: os.utime(tmp_path / "data" / "b", (1, 1)))
    first = changed(lambda: (tmp_path / "data" / "b").chmod(0o755))
    first = changed(lambda: os.rename(tmp_path / "data" / "b", tmp_path / "data" / "d"))
    first = changed((tmp_path / "data" / "empty").rmdir)
    changed(lambda: put(tmp_path / "data" / "new", b""))


def test_the_times_of_an_empty_folder_do_not_count(tmp_path):
    (tmp_path / "data" / "empty").mkdir(parents=True)
    put(tmp_path / "data" / "a", b"")
    first = look(tmp_path / "data").signature()
    os.utime(tmp_path / "data" / "empty", (1, 1))
    assert look(tmp_path / "data").signature() == first
