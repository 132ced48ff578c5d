"""Delta tables of the real client, tracked and given back: the client is the judge of every version."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.errors import FormatError
from dvlite.formats import parquet
from dvlite.formats.delta_log import FOLDER, log_files, read_table

pytestmark = [pytest.mark.long]
deltalake = pytest.importorskip("deltalake")
pa = pytest.importorskip("pyarrow")

COMMITS, TRACKED = 50, 10


def batch(start, number, extra):
    columns = {
        "id": list(range(start, start + number)),
        "v": [float(n) for n in range(number)],
        "p": ["a b", "c"] * (number // 2),
    }
    return pa.table(columns | ({"note": ["x"] * number} if extra else {}))


def commits(folder, draw):
    """Yields after each commit of a table; every kind of operation is among them."""
    extra, start = False, 0
    for number in range(COMMITS):
        kind = ("append", "append", "delete", "merge", "update", "overwrite", "optimize", "schema")[number % 8]
        if number == 0 or kind in ("append", "schema", "overwrite"):
            extra |= kind == "schema"
            rows = batch(start, draw.randrange(2, 30, 2), extra)
            start += rows.num_rows
            mode = "overwrite" if kind == "overwrite" else "append"
            deltalake.write_deltalake(str(folder), rows, mode=mode, partition_by=["p"], schema_mode="merge")
        else:
            table = deltalake.DeltaTable(str(folder))
            if kind == "delete":
                table.delete(f"id % 7 = {number % 7}")
            elif kind == "update":
                table.update(updates={"v": "v + 1"}, predicate="id % 3 = 0")
            elif kind == "optimize":
                table.optimize.compact()
            else:
                source = batch(max(0, start - 4), 8, extra)
                start += 4
                merge = table.merge(source, predicate="s.id = t.id", source_alias="s", target_alias="t")
                merge.when_matched_update_all().when_not_matched_insert_all().execute()
        if number % 11 == 10:
            deltalake.DeltaTable(str(folder)).create_checkpoint()
        yield number


def content(folder, version=None):
    table = deltalake.DeltaTable(str(folder), version=version)
    return sorted(table.to_pyarrow_table().to_pylist(), key=lambda row: (row["id"], str(row)))


def replayed(folder, version=None):
    log = Path(folder) / FOLDER.decode()
    names = [path.name.encode() for path in log.iterdir()]
    return read_table(log_files(names), lambda name: (log / name.decode()).read_bytes(), version)


def test_every_tracked_version_opens_as_it_was(shared):
    folder = shared.root / "orders"
    tracked = {}
    for number in commits(folder, random.Random(5)):
        if number % (COMMITS // TRACKED) == COMMITS // TRACKED - 1:
            shared.dvlite("add", "orders")
            shared.commit(f"Commit {number}")
            tracked[shared.git("rev-parse", "HEAD").strip()] = deltalake.DeltaTable(str(folder)).version()
    versions = {n: content(folder, n) for n in range(max(tracked.values()) + 1)}
    _table, done = replayed(folder)
    for n, commit in enumerate(done):
        before = len(versions[n - 1]) if n else 0
        assert commit.rows_added - commit.rows_removed == len(versions[n]) - before, commit
        live = {file.name.decode() for file in replayed(folder, n)[0].live.values()}
        uris = deltalake.DeltaTable(str(folder), version=n).file_uris()
        assert live == {uri.split("/orders/")[1] for uri in uris}
    shared.dvlite("push", "--all-commits")
    shared.dvlite("gc")
    assert len(tracked) == TRACKED
    for commit, version in tracked.items():
        shared.git("checkout", "-q", commit)
        shared.dvlite("checkout")
        assert shared.json("status")["clean"]
        assert deltalake.DeltaTable(str(folder)).version() == version
        for earlier in {*range(version % 4, version, 4), version}:
            assert content(folder, earlier) == versions[earlier]
    for n in range(0, version + 1, 7):
        shared.dvlite("get", "orders", "--delta-version", str(n), "-o", f"at-{n}")
        assert deltalake.DeltaTable(str(shared.root / f"at-{n}")).version() == n
        assert content(shared.root / f"at-{n}") == versions[n]
    shown = shared.json("log", "orders")["versions"]
    assert [item["table"]["version"] for item in shown] == sorted(tracked.values(), reverse=True)


def test_a_vacuumed_table_with_a_short_log_is_read_from_its_checkpoint(project):
    folder = project.root / "orders"
    for _ in commits(folder, random.Random(6)):
        pass
    project.dvlite("add", "orders")
    project.commit("Before")
    before = {path.relative_to(folder) for path in folder.rglob("*.parquet")}
    table = deltalake.DeltaTable(str(folder))
    table.create_checkpoint()
    checkpoint = table.version()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    for path in (folder / "_delta_log").glob("*.json"):
        if int(path.stem) < checkpoint:
            path.unlink()
    expected = content(folder)
    grown = project.json("add", "orders")["paths"][0]
    assert grown["counts"]["removed"] > 40
    project.commit("After")
    (change,) = project.json("diff", "HEAD~1", "HEAD")["paths"][0]["tables"]
    assert (change["problem"], change["rows_added"], change["rows_removed"]) == (None, 0, 0)
    project.dvlite("get", "orders", "--delta-version", str(table.version()), "-o", "cut")
    assert content(project.root / "cut") == expected
    deltalake.DeltaTable(str(folder)).delete("id % 2 = 0")
    (change,) = project.json("status")["changed"][0]["tables"]
    assert change["rows_removed"] == len(expected) - len(content(folder))
    gone = min(path for path in before if not (folder / path).exists())
    project.dvlite("purge", f"orders/{gone}", "--rev", "HEAD~1", "--reason", "personal data", "--yes")
    project.dvlite("gc")
    for revision in ("main", "main~1"):
        project.git("checkout", "-q", revision)
        project.dvlite("checkout", "--force", code=None)
        assert content(folder) == expected
        assert not (folder / gone).exists()


def test_a_checkpoint_that_decodes_to_any_number_of_bytes_is_refused(tmp_path, monkeypatch):
    import pyarrow.parquet

    monkeypatch.setattr(parquet, "_BYTES_AT_ONCE", 1 << 24)
    monkeypatch.setattr(parquet, "_MOST_BYTES", 1 << 27)
    paths = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), pa.array(["a" * (1 << 20)]))
    table = pa.table({"add": pa.StructArray.from_arrays([paths], ["path"])})
    pyarrow.parquet.write_table(table, tmp_path / "x", store_schema=False)
    assert (tmp_path / "x").stat().st_size < 100_000
    read = 0
    with open(tmp_path / "x", "rb") as file, pytest.raises(FormatError, match=r"decodes to more than 128\.0 MiB"):
        for read, _ in enumerate(parquet.rows(file, ["add"])):  # noqa: B007
            pass
    assert 100 < read < 128


WRITER = """
import sys
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
for n in range(int(sys.argv[2])):
    write_deltalake(sys.argv[1], pa.table({"id": list(range(10))}), mode="append")
    if n % 5 == 4:
        DeltaTable(sys.argv[1]).create_checkpoint()
"""


def test_add_takes_one_version_while_a_writer_goes_on(project):
    folder = project.root / "orders"
    subprocess.run([sys.executable, "-c", WRITER, folder, "1"], check=True)
    with subprocess.Popen([sys.executable, "-c", WRITER, folder, "60"]) as writer:
        while writer.poll() is None:
            project.dvlite("add", "orders")
            project.git("commit", "-q", "--allow-empty", "-m", "Meanwhile")
    assert writer.returncode == 0
    revisions = project.git("log", "--format=%H", "--", "orders.dvlite").split()
    assert len(revisions) > 2
    for number, revision in enumerate(revisions):
        project.dvlite("get", f"{revision}:orders", "-o", f"got-{number}")
        table = deltalake.DeltaTable(str(project.root / f"got-{number}"))
        assert table.to_pyarrow_table().num_rows == 10 * (table.version() + 1)


def test_a_version_costs_what_its_commits_wrote(shared):
    folder = shared.root / "orders"
    draw = random.Random(7)

    def append():
        deltalake.write_deltalake(str(folder), pa.table({"x": [draw.random() for _ in range(20_000)]}), mode="append")

    def pushed():
        shared.dvlite("add", "orders")
        shared.commit("More")
        return shared.json("push")["uploaded_bytes"]

    for _ in range(5):
        append()
    first = pushed()
    append()
    assert pushed() < first / 4
    table = deltalake.DeltaTable(str(folder))
    table.optimize.compact()
    assert first < pushed() < first * 1.5
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert pushed() < first / 20
