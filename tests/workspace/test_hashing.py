"""Identifying content: read what may have changed, trust what cannot have, never record a torn read."""

import os
import random
import time
from array import array

import pytest

from dvlite import files
from dvlite.errors import DvliteError, FileChanged, UsageError
from dvlite.oid import digest_bytes
from dvlite.progress import NullProgress
from dvlite.workspace import hashing as module
from dvlite.workspace.hashing import HashOnly, identify, symlink_problem
from dvlite.workspace.scan import Scan, scan
from dvlite.workspace.statindex import StatRows
from tests.trees import noise, put


class Counting(HashOnly):
    """Counts what is read; `meanwhile` runs after each read, before it is checked that nothing changed."""

    def __init__(self, meanwhile=lambda: None):
        self.read = []
        self.meanwhile = meanwhile

    def small(self, raw):
        self.read.append(bytes(raw))
        self.meanwhile()
        return super().small(raw)

    def large(self, descriptor, name, advance):
        self.read.append(name)
        digest = super().large(descriptor, name, advance)
        self.meanwhile()
        return digest


def look(folder):
    return scan(folder, "data", None, frozenset(), NullProgress())


def known_from(snapshot) -> StatRows:
    return StatRows(snapshot.scan, bytes(snapshot.digests), bytes(snapshot.racy))


def run(folder, known=None, reader=None, **options):
    return identify(look(folder), known, NullProgress(), reader, **options)


@pytest.fixture
def folder(tmp_path):
    for name, data in (("a", b"one"), ("b", b"two"), ("sub/c", b""), ("large", noise(1_500_000, 1))):
        put(tmp_path / "data" / name, data)
    (tmp_path / "data" / "link").symlink_to("a")
    (tmp_path / "data" / "empty").mkdir()
    time.sleep(0.05)  # so that nothing is racy
    return tmp_path / "data"


def test_every_entry_gets_the_digest_of_its_bytes(folder):
    found = run(folder)
    digests = {path: found.digest(i) for i, path in enumerate(found.scan.paths)}
    assert digests == {
        b"a": digest_bytes(b"one"),
        b"b": digest_bytes(b"two"),
        b"empty": bytes(32),
        b"large": digest_bytes(noise(1_500_000, 1)),
        b"link": digest_bytes(b"a"),
        b"sub/c": digest_bytes(b""),
    }
    assert found.entries().find(b"link").size_bytes == 1


def test_what_is_known_and_untouched_is_not_opened(folder):
    first = run(folder)
    time.sleep(0.05)
    first = run(folder, known_from(first))
    reader = Counting()
    second = run(folder, known_from(first), reader)
    assert reader.read == []
    assert second.digests == first.digests


@pytest.mark.parametrize(
    "touch",
    [
        lambda folder: put(folder / "b", b"TWO"),
        lambda folder: os.utime(folder / "b"),
        lambda folder: (os.rename(folder / "b", folder / "x"), put(folder / "b", b"two"), os.unlink(folder / "x")),
    ],
    ids=["content", "times", "replaced"],
)
def test_what_was_touched_is_read_again(folder, touch):
    first = run(folder)
    time.sleep(0.05)
    touch(folder)
    reader = Counting()
    second = run(folder, known_from(first), reader)
    assert len(reader.read) == 1
    i = second.scan.paths.index(b"b")
    assert second.digest(i) == digest_bytes((folder / "b").read_bytes())


def test_an_edit_that_keeps_size_and_mtime_is_seen_by_its_ctime(folder):
    first = run(folder)
    time.sleep(0.05)
    before = os.stat(folder / "b")
    put(folder / "b", b"TWO")
    os.utime(folder / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    second = run(folder, known_from(first))
    assert second.digest(second.scan.paths.index(b"b")) == digest_bytes(b"TWO")


def test_a_racy_row_is_read_again(folder):
    first = run(folder)
    racy = StatRows(first.scan, bytes(first.digests), bytes([1]) * len(first.scan.paths))
    reader = Counting()
    run(folder, racy, reader)
    assert len(reader.read) == 5


def test_edits_in_the_same_instant_are_never_missed(folder):
    """The racy rule: whatever the clock's grain, an edit after the reading is seen by the next look."""
    known = None
    for turn in range(30):
        put(folder / "b", f"{turn:03d}".encode())
        found = run(folder, known)
        known = known_from(found)
        put(folder / "b", f"{turn + 500:03d}".encode())
        again = run(folder, known)
        assert again.digest(again.scan.paths.index(b"b")) == digest_bytes(f"{turn + 500:03d}".encode())
        known = known_from(again)


def test_bytes_that_the_cache_lost_are_read_again(folder):
    first = run(folder)
    time.sleep(0.05)
    reader = Counting()
    run(
        folder, known_from(first), reader, lacking=lambda digests, _: [bytes(digests).index(digest_bytes(b"one")) // 32]
    )
    assert b"one" in reader.read
    assert b"two" not in reader.read


@pytest.fixture
def edited_while_read(folder, monkeypatch):
    """Makes a file change as it is read: after its bytes were taken, before it is checked that nothing changed."""

    def edited_while_read(name, contents):
        real = files.read_at
        turns = iter(contents)
        inode = os.stat(folder / name).st_ino

        def reading(descriptor, count):
            data = real(descriptor, count)
            if os.fstat(descriptor).st_ino == inode:
                for content in turns:
                    put(folder / name, content)
                    break
            return data

        monkeypatch.setattr(files, "read_at", reading)

    return edited_while_read


def test_a_small_file_that_changes_once_while_it_is_read_is_read_again(folder, edited_while_read):
    edited_while_read("b", [b"new"])
    found = run(folder)
    assert found.digest(found.scan.paths.index(b"b")) == digest_bytes(b"new")


def test_a_large_file_that_changes_once_while_it_is_read_is_read_again(folder):
    edits = iter([noise(1_200_000, 2)])

    def edit():
        for data in edits:
            put(folder / "large", data)

    reader = Counting()
    taken = reader.large

    def large(descriptor, name, advance):
        digest = taken(descriptor, name, advance)
        edit()
        return digest

    reader.large = large
    found = run(folder, reader=reader)
    assert found.digest(found.scan.paths.index(b"large")) == digest_bytes(noise(1_200_000, 2))


def test_56_a_file_that_never_stops_changing_is_refused_by_name(folder, edited_while_read):
    edited_while_read("b", (b"x" * turn for turn in range(1, 100)))
    with pytest.raises(FileChanged, match="'data/b': it changed while it was read"):
        run(folder)


def test_a_file_that_became_a_link_is_not_followed(folder, tmp_path):
    found = look(folder)
    put(tmp_path / "secret", b"secret")
    (folder / "b").unlink()
    (folder / "b").symlink_to(tmp_path / "secret")
    with pytest.raises(FileChanged, match="became a symbolic link"):
        identify(found, None, NullProgress())


def test_a_file_that_became_a_fifo_is_refused_and_does_not_block(folder):
    found = look(folder)
    (folder / "b").unlink()
    os.mkfifo(folder / "b")
    with pytest.raises(UsageError, match="it is a FIFO"):
        identify(found, None, NullProgress())


def test_a_file_that_vanished_is_an_error_that_names_it(folder):
    found = look(folder)
    (folder / "b").unlink()
    with pytest.raises(DvliteError, match="cannot read 'data/b'"):
        identify(found, None, NullProgress())


def test_short_reads_are_no_short_files(folder, monkeypatch):
    real = os.read
    monkeypatch.setattr(module.os, "read", lambda descriptor, count: real(descriptor, min(count, 2)))
    found = run(folder)
    assert found.digest(found.scan.paths.index(b"a")) == digest_bytes(b"one")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"link", b"file"),
        (b"link", b"sub/file"),
        (b"link", b"./file"),
        (b"a/b/link", b"../file"),
        (b"a/b/link", b"../../file"),
        (b"a/link", b"../"),
        (b"link", b"nothing here"),
        (b"link", b"..."),
        (b"link", b"file\nwith newline"),
    ],
)
def test_a_link_that_stays_inside_is_data(path, target):
    assert symlink_problem(path, target) is None


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"link", b"/etc/passwd"),
        (b"link", b""),
        (b"link", b".."),
        (b"link", b"../x"),
        (b"a/link", b"../../x"),
        (b"a/b/link", b"../x/../../../y"),
        (b"a/link", b"x/../.."),
        (b"link", b"./../x"),
        (b"link", b"a\0b"),
        (b"link", b".git/config"),
        (b"a/link", b"../.GIT"),
        (b"link", b"sub/.dvlite/x"),
    ],
)
def test_a_link_that_could_leave_is_refused(path, target):
    assert symlink_problem(path, target)


def test_rows_are_trusted_as_if_compared_one_by_one(folder):
    draw = random.Random(7)
    for _ in range(60):
        count = draw.choice([0, 3, 600, 1400])
        before = [b"%04d" % number for number in sorted(draw.sample(range(4000), count))]
        after, edited, racy = set(before), set(), set()
        for path in draw.sample(before, min(count, draw.choice([0, 1, 3, 40]))):
            draw.choice([after.discard, edited.add, racy.add])(path)
        after |= {b"%04d" % number for number in draw.sample(range(4000), draw.choice([0, 0, 2, 30]))}
        rows = StatRows(columns(before), b"".join(path * 8 for path in before), bytes(path in racy for path in before))
        now = columns(sorted(after))
        for i, path in enumerate(now.paths):
            now.mtimes[i] += path in edited
        digests = bytearray(32 * len(now.paths))
        unknown = list(module._unknown(now, rows, digests, None))
        trusted = set(before) - edited - racy
        assert unknown == [i for i, path in enumerate(now.paths) if path not in trusted]
        assert digests == b"".join(path * 8 if path in trusted else bytes(32) for path in now.paths)


def columns(paths):
    sizes, inodes = array("q", map(int, paths)), array("Q", map(int, paths))
    return Scan(paths, bytearray(len(paths)), sizes, sizes[:], sizes[:], inodes)
