"""What happened to Delta tables between two listings: how much of the logs is read for it."""

from dvlite.formats import manifest
from dvlite.formats.manifest import FILE, Entry
from dvlite.oid import digest_bytes
from dvlite.workspace.delta_changes import Side, table_changes
from tests.delta import DeltaTable


def side(table, until, reads):
    """Returns the log of a table up to a version as a side that notes what it reads."""
    contents = {f"t/_delta_log/{n:020}.json".encode(): table.log(n).read_bytes() for n in range(until + 1)}
    entries = manifest.from_entries(Entry(path, FILE, len(data), digest_bytes(data)) for path, data in contents.items())

    def read(path, _):
        reads.append(path)
        return contents[path]

    return entries, Side(entries.subtree, read)


def change(table, old, new):
    reads = []
    (before, left), (after, right) = (side(table, until, reads) for until in (old, new))
    pairs = [(before.find(path), after.find(path)) for path in sorted({*before.paths, *after.paths})]
    (found,) = table_changes("data", [pair for pair in pairs if pair[0] != pair[1]], left, right)
    return found, len(reads)


def test_of_appends_only_their_commits_are_read(tmp_path):
    table = DeltaTable(tmp_path / "t")
    for n in range(10):
        table.append(f"{n}.parquet", 5)
    found, reads = change(table, 8, 10)
    assert (found.path, found.old_version, found.version, found.rows_added, reads) == ("data/t", 8, 10, 10, 2)
    found, reads = change(table, 10, 8)
    assert (found.old_version, found.version, found.rows_removed, reads) == (10, 8, 10, 2)


def test_what_a_commit_does_not_say_is_in_the_log_before(tmp_path):
    table = DeltaTable(tmp_path / "t").append("a.parquet", 5).replace("a.parquet", "b.parquet", 4, num_copied_rows=4)
    found, reads = change(table, 1, 2)
    assert (found.rows_added, found.rows_removed) == (0, 1)
    assert reads == 1 + 3  # itself, then all


def test_commits_that_expired_are_not_undone(tmp_path):
    table = DeltaTable(tmp_path / "t").append("a.parquet", 5).append("b.parquet", 5)
    reads = []
    before, left = side(table, 1, reads)
    after, _ = side(table, 2, reads)
    rest = manifest.from_entries(row for row in map(after.__getitem__, range(3)) if not row.path.endswith(b"0.json"))
    right = Side(rest.subtree, lambda path, _: table.log(int(path[-25:-5])).read_bytes())
    pairs = [(before.find(path), rest.find(path)) for path in sorted({*before.paths, *rest.paths})]
    (found,) = table_changes("data", [pair for pair in pairs if pair[0] != pair[1]], left, right)
    assert [commit.undone for commit in found.commits] == [False]
    assert (found.old_version, found.version, found.rows_added) == (1, 2, 5)
