"""What paths of the workspace hold: hashed where it is here, as pointers say where it is not."""

import os
import tracemalloc
from dataclasses import replace

import pytest

from dvlite.errors import UsageError
from dvlite.oid import FILE, digest_bytes, format_oid
from dvlite.pipeline.content import Contents, same_data


def oid(text):
    return format_oid(FILE, digest_bytes(text.encode()))


def test_file_is_its_bytes_and_its_mode(place):
    place.write("a", "hello")
    place.write("tool", "hello", executable=True)
    a, tool = place.contents.here("a"), place.contents.here("tool")
    assert (a.oid, a.size_bytes, a.files, a.executable) == (oid("hello"), 5, 1, False)
    assert tool.executable
    assert not same_data(a, tool)
    assert same_data(a, replace(a, path="b"))


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_large_file_has_the_same_id_as_a_small_one(place, size):
    place.write("a", "x" * size)
    assert place.contents.here("a").oid == oid("x" * size)


def test_nothing_is_none(place):
    assert place.contents.here("a") is None
    place.write("file", "x")
    assert place.contents.here("file/inner") is None
    (place.root / "dangling").symlink_to("nowhere")
    assert place.contents.here("dangling") is None
    assert same_data(None, None)
    assert not same_data(None, place.contents.here("file"))


def test_what_was_seen_is_remembered_until_it_is_forgotten(place):
    place.write("d/a", "1")
    place.write("d2", "1")
    for path in ("d", "d/a", "d2"):
        place.contents.here(path)
    place.write("d/a", "2")
    place.write("d2", "2")
    assert place.contents.here("d/a").oid == oid("1")
    before = place.contents.here("d")
    place.contents.forget(["d/a"])
    assert place.contents.here("d/a").oid == oid("2")
    assert place.contents.here("d") != before
    assert place.contents.here("d2").oid == oid("1")
    place.contents.forget([""])
    assert place.contents.here("d2").oid == oid("2")


def test_link_to_a_file_stands_for_it_and_one_to_a_folder_is_refused(place):
    place.write("a", "hello")
    (place.root / "link").symlink_to("a")
    (place.root / "folder").mkdir()
    (place.root / "to-folder").symlink_to("folder")
    assert place.contents.here("link").oid == oid("hello")
    with pytest.raises(UsageError, match="symbolic link to a folder"):
        place.contents.here("to-folder")


def test_pipe_is_refused_and_not_waited_for(place):
    os.mkfifo(place.root / "pipe")
    with pytest.raises(UsageError, match="pipe"):
        place.contents.here("pipe")


def test_folder_of_gits_counts_what_git_does_not_ignore(place):
    place.write("src/a.py", "1")
    first = place.contents.here("src")
    place.write(".gitignore", "*.log\n")
    place.write("src/x.log", "1")
    place.write("src/__pycache__/a.pyc", "1")
    place.contents.forget(["src"])
    assert place.contents.here("src") == first
    place.write("src/b.py", "1")
    place.contents.forget(["src"])
    assert place.contents.here("src") != first


def test_folder_that_git_ignores_counts_all(place):
    place.write(".gitignore", "tmp\n")
    place.write("tmp/a", "1")
    first = place.contents.here("tmp")
    assert first.files == 1
    place.write("tmp/a", "2")
    place.contents.forget(["tmp"])
    assert place.contents.here("tmp") != first


def test_data_in_a_folder_counts_for_itself(place):
    place.write("data/readme", "1")
    before = place.contents.here("data")
    place.write("data/raw/x", "1")
    place.take("data/raw")
    assert place.contents.parts("data") == ["data", "data/raw"]
    assert place.contents.here("data") == before
    assert place.contents.parts("data/raw") == ["data/raw"]
    assert place.contents.parts("data/raw/x") == ["data/raw/x"]


def test_output_counts_whatever_git_ignores_in_it(place):
    place.write(".gitignore", "*.log\n")
    place.write("out/x.log", "1")
    made = place.take("out")
    assert made.files == 1
    assert same_data(place.contents.here("out"), made)
    again = Contents(place.work, [])
    again.know_outputs("", [replace(made, cache=False)])
    assert same_data(again.here("out"), made)


def test_absent_data_is_what_was_said_of_it(place):
    place.write("data/sub/a", "1")
    place.write("data/sub/b", "22", executable=True)
    place.write("data/c", "3")
    whole = place.take("data")
    sub, inner = place.contents.here("data/sub"), place.contents.here("data/sub/b")
    os.rename(place.root / "data", place.root / "elsewhere")
    place.contents.forget(["data"])
    assert place.contents.here("data") is None
    assert same_data(place.contents.expected("data"), whole)
    assert place.contents.expected("data/sub") == sub
    assert place.contents.expected("data/sub/b") == inner
    assert place.contents.expected("data/nothing") is None
    assert place.contents.matches("data/sub/*") == ["data/sub/a", "data/sub/b"]
    assert place.contents.matches("data/**") == ["data/c", "data/sub/a", "data/sub/b"]


def test_output_that_was_dropped_is_not_expected(place):
    place.write("out", "1")
    place.take("out")
    (place.root / "out").unlink()
    place.contents.drop_outputs(["out"])
    assert place.contents.expected("out") is None
    assert place.contents.matches("o*") == []


def test_link_to_a_large_file_is_hashed_in_pieces(place):
    size = 100 << 20
    with open(place.root / "large", "wb") as file:
        file.truncate(size)
    (place.root / "link").symlink_to("large")
    tracemalloc.start()
    linked = place.contents.here("link")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20
    assert same_data(linked, place.contents.here("large"))


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/tty", "/proc/self/status", "/proc/self/mem"])
def test_link_to_what_is_no_file_is_refused_and_not_waited_for(place, target):
    os.mkfifo(place.root / "pipe")
    if target != "pipe" and not os.path.exists(target):
        pytest.skip(f"no {target} here")
    (place.root / "link").symlink_to(target)
    with pytest.raises(UsageError, match="not a regular file"):
        place.contents.here("link")


def test_pointers_and_lockfiles_are_no_part_of_a_folder(place):
    place.write("d/a", "1")
    first = place.contents.here("d")
    place.write("d/x.dvlite", "1")
    place.write("d/dvlite.lock", "1")
    place.contents.forget(["d"])
    assert place.contents.here("d") == first
    assert place.contents.matches("d/*") == ["d/a"]
