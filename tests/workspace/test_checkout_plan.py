"""The plan of a checkout, as a table: what is written, kept, removed, and what is the user's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, NO_DIGEST, SYMLINK, Entry
from dvlite.oid import Digest, digest_bytes
from dvlite.workspace.checkout_plan import plan, selected
from dvlite.workspace.hashing import Snapshot
from dvlite.workspace.scan import Scan

X = FILE | EXECUTABLE


def entry(path: str, content: str, flags: int = FILE) -> Entry:
    digest = Digest(NO_DIGEST) if flags == EMPTY_DIR else digest_bytes(content.encode())
    return Entry(path.encode(), flags, 0 if flags == EMPTY_DIR else len(content), digest)


def wanted(*rows):
    return manifest.from_entries(sorted((entry(*row) for row in rows), key=lambda row: row.path))


def on_disk(*rows) -> Snapshot:
    found = sorted((entry(*row) for row in rows), key=lambda row: row.path)
    scan = Scan()
    for row in found:
        scan.paths.append(row.path)
        scan.flags.append(row.flags)
        scan.sizes.append(row.size_bytes)
        for column in (scan.mtimes, scan.ctimes, scan.inodes):
            column.append(1)
    return Snapshot(scan, bytearray(b"".join(row.digest for row in found)), bytearray(len(found)), 0)


def named(made, want, have) -> dict:
    paths = want.paths
    disk = have.scan.paths if have is not None else []
    parts = {
        "write": [paths[i].decode() for i in made.write],
        "chmod": [paths[i].decode() for i in made.chmod],
        "keep": [paths[i].decode() for i, _ in made.keep],
        "remove": [disk[j].decode() for j in made.remove],
        "conflicts": [disk[j].decode() for j in made.conflicts],
        "extra": [disk[j].decode() for j in made.extra],
    }
    return {part: found for part, found in parts.items() if found}


SAFE = {digest_bytes(b"old"), digest_bytes(b"new")}
TABLE = [
    ("nothing here", [("a", "new")], None, {"write": ["a"]}),
    ("equal", [("a", "new")], [("a", "new")], {"keep": ["a"]}),
    ("an earlier version", [("a", "new")], [("a", "old")], {"write": ["a"]}),
    ("an edit", [("a", "new")], [("a", "mine")], {"conflicts": ["a"]}),
    ("a file that a power cut left empty", [("a", "new")], [("a", "")], {"write": ["a"]}),
    ("an empty file of the user's", [], [("a", "")], {"extra": ["a"]}),
    ("an empty link for a file", [("a", "new")], [("a", "", SYMLINK)], {"conflicts": ["a"]}),
    ("a file that went", [], [("a", "old")], {"remove": ["a"]}),
    ("a file of the user's", [], [("a", "mine")], {"extra": ["a"]}),
    ("a bit set", [("a", "new", X)], [("a", "new")], {"chmod": ["a"]}),
    ("a bit cleared", [("a", "new")], [("a", "new", X)], {"chmod": ["a"]}),
    ("an edit with the bit set", [("a", "new")], [("a", "mine", X)], {"conflicts": ["a"]}),
    ("a link for a file of the same bytes", [("a", "new")], [("a", "new", SYMLINK)], {"write": ["a"]}),
    ("a link of the user's", [("a", "new")], [("a", "mine", SYMLINK)], {"conflicts": ["a"]}),
    ("an empty folder for a file", [("a", "new")], [("a", "", EMPTY_DIR)], {"write": ["a"]}),
    ("a file for an empty folder", [("a", "", EMPTY_DIR)], [("a", "old")], {"write": ["a"]}),
    ("an edit for an empty folder", [("a", "", EMPTY_DIR)], [("a", "mine")], {"conflicts": ["a"]}),
    ("an empty folder that went", [], [("a", "", EMPTY_DIR)], {"remove": ["a"]}),
    ("a folder for a file", [("a", "new")], [("a/b", "old")], {"write": ["a"], "remove": ["a/b"]}),
    ("a folder with an edit for a file", [("a", "new")], [("a/b", "mine")], {"write": ["a"], "extra": ["a/b"]}),
]


@pytest.mark.parametrize(("name", "want", "have", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_plan(name, want, have, expected):
    entries = wanted(*want)
    disk = None if have is None else on_disk(*have)
    made = plan(entries, disk, lambda j: disk.digest(j) in SAFE)
    assert named(made, entries, disk) == expected


rows = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.tuples(st.sampled_from(["old", "new", "mine", "other"]), st.sampled_from([FILE, X, SYMLINK, EMPTY_DIR])),
)


@given(rows, rows)
def test_nothing_that_is_not_safe_is_ever_replaced_or_removed(want, have):
    entries = wanted(*((path, *row) for path, row in want.items()))
    disk = on_disk(*((path, *row) for path, row in have.items()))
    made = plan(entries, disk, lambda j: disk.digest(j) in SAFE)
    for j in (*made.remove, *made.replace.values()):
        assert disk.scan.flags[j] == EMPTY_DIR or disk.digest(j) in SAFE
    touched = [entries.paths[i] for i in (*made.write, *made.chmod, *(i for i, _ in made.keep))]
    assert sorted([*touched, *(disk.scan.paths[j] for j in made.conflicts)]) == entries.paths
    assert sorted(
        disk.scan.paths[j]
        for j in (*made.remove, *made.conflicts, *made.extra, *made.replace.values(), *(j for _, j in made.keep))
    ) + [entries.paths[i] for i in made.chmod] != [None]


def test_a_part_of_a_version():
    entries = wanted(("a", "1"), ("b/c", "2"), ("b/d", "3"))
    part = selected(entries, lambda path: path.startswith(b"b/"))
    assert part.paths == [b"b/c", b"b/d"]
    assert part.digest(1) == digest_bytes(b"3")
