"""`dvlite sql`, as a person uses it."""

import contextlib
import errno
import io
import json
import shutil
import sqlite3
import sys

import pytest

from dvlite.commands import sql
from dvlite.errors import DvliteError, NoSpace
from dvlite.tables.engine import reading
from tests.delta import DeltaTable

BIRDS = "id,name,mass\n1,wren,9.0\n2,robin,18.0\n3,gull,900\n"
EDITED = "id,name,mass\n1,wren,9.5\n2,robin,18.0\n4,tit,11\n"


@pytest.fixture
def engine():
    pytest.importorskip("duckdb", reason="duckdb is not installed")


@pytest.fixture
def birds(prepared):
    def build(project):
        project.write("data/birds.csv", BIRDS)
        project.write("parts/year=2025/a.csv", "id\n1\n2\n")
        project.write("parts/year=2026/b[1].csv", "id\n3\n")
        project.write("parts/README", "words")
        project.write("plain.jsonl", '{"a": 1, "b": {"c": [1, 2]}}\n{"a": 2}\n')
        with sqlite3.connect(project.root / "app.db") as database:
            database.execute("CREATE TABLE users (id INTEGER, name TEXT)")
            database.execute("INSERT INTO users VALUES (1, 'Ann'), (2, NULL)")
        database.close()
        project.write("odd/a@b#c.csv", "id\n5\n")
        project.dvlite("add", "data/birds.csv", "parts", "app.db", "odd")
        project.commit("Birds")
        project.git("tag", "v1.0")
        project.dvlite("push")
        project.write("data/birds.csv", EDITED)
        project.dvlite("add", "data/birds.csv")
        project.commit("Edited")
        project.dvlite("push")

    return prepared("sql", build)


def rows(project, query, *words):
    return [tuple(row) for row in project.json("sql", query, *words)["rows"]]


def test_without_the_engine_the_message_is_what_to_install(birds, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert "hint: pip install 'dvlite[tables]'" in birds.dvlite("sql", "SELECT 1", code=2).stderr


def test_tables_of_two_revisions_are_joined(engine, birds):
    query = (
        "SELECT id, old.mass, new.mass FROM 'data/birds.csv@v1.0' old JOIN 'data/birds.csv' new USING (id)"
        " WHERE old.mass <> new.mass"
    )
    assert rows(birds, query) == [(1, 9.0, 9.5)]
    result = birds.json("sql", query)
    assert [(table["path"], table["revision"]) for table in result["tables"]] == [
        ("data/birds.csv", "v1.0"),
        ("data/birds.csv", ""),
    ]
    assert result["tables"][0]["commit"] == birds.git("rev-parse", "v1.0").strip()
    assert rows(birds, "SELECT count(*) FROM 'data/birds.csv@HEAD~1' WHERE mass < 10", "--rev", "HEAD") == [(1,)]
    assert rows(birds, "FROM 'data/birds.csv' SELECT max(id)", "--rev", "v1.0") == [(3,)]


def test_a_name_without_a_revision_is_what_is_on_disk_and_else_what_the_pointer_names(engine, birds):
    birds.write("data/birds.csv", "id\n7\n")
    assert rows(birds, "SELECT * FROM 'data/birds.csv'") == [(7,)]
    (birds.root / "data" / "birds.csv").unlink()
    assert rows(birds, "SELECT max(id) FROM 'data/birds.csv'") == [(4,)]
    assert rows(birds, "SELECT a FROM 'plain.jsonl' ORDER BY a") == [(1,), (2,)]  # of git, or of no one


@pytest.mark.parametrize("name", ["parts", "parts@v1.0", "parts/**/*.csv", "parts/*/*.csv@HEAD", "./parts"])
def test_a_folder_is_one_table_with_its_partitions_as_columns(engine, birds, name):
    assert rows(birds, f"SELECT year, id FROM '{name}' ORDER BY id") == [(2025, 1), (2025, 2), (2026, 3)]


def test_tables_of_a_database_and_nested_values(engine, birds):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert rows(birds, "SELECT * FROM 'app.db@v1.0#users' ORDER BY id") == [(1, "Ann"), (2, None)]
    assert rows(birds, "SELECT sum(id) FROM 'app.db'") == [(3,)]
    assert "users" in birds.dvlite("sql", "SELECT * FROM 'app.db#nobody'", code=2).stderr
    assert rows(birds, "SELECT b FROM 'plain.jsonl' WHERE a = 1") == [({"c": [1, 2]},)]


def test_only_what_the_query_needs_comes_from_the_remote(engine, birds):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    pyarrow = pytest.importorskip("pyarrow")
    numbers = pyarrow.table({f"c{i}": [(i + 1) * n * 0.7310585786 for n in range(50_000)] for i in range(8)})
    parquet.write_table(numbers, birds.root / "big.parquet", use_dictionary=False, compression="none")
    birds.dvlite("add", "big.parquet")
    birds.commit("Numbers")
    birds.dvlite("push")
    (birds.root / "big.parquet").unlink()
    shutil.rmtree(birds.cache)
    result = birds.json("sql", "SELECT sum(c3) > 0 FROM 'big.parquet'")
    assert result["rows"] == [[True]]
    assert 300_000 < result["received_bytes"] < 700_000  # of 3.2 MB
    assert not (birds.root / "big.parquet").exists()


def test_types_are_those_of_all_rows_and_no_cell_is_rounded(engine, birds):
    head = "".join(f"{n},2020-01-01,1,1\n" for n in range(25_000))
    birds.write("late.csv", f"id,day,share,word\n{head}25000,2020-01-02 10:00:00,0.5,x\n")
    birds.write("late.jsonl", '{"share": 1}\n' * 25_000 + '{"share": 1.5, "more": 2}\n')
    for column, cell in (("id", 25_000), ("day", "2020-01-02T10:00:00"), ("share", 0.5), ("word", "x")):
        assert rows(birds, f"SELECT {column} FROM 'late.csv' WHERE id = 25000") == [(cell,)]
    assert birds.json("sql", "SELECT id FROM 'late.csv' LIMIT 1")["columns"][0]["type"] == "BIGINT"
    assert rows(birds, "SELECT share, more FROM 'late.jsonl' WHERE more > 0") == [(1.5, 2)]
    birds.dvlite("sql", "FROM 'late.csv'", "-o", "late.parquet")
    assert rows(birds, "SELECT max(word), min(share) FROM 'late.parquet'") == [("x", 0.5)]


def test_marks_in_a_name_may_be_of_the_path(engine, birds):
    for name in ("odd/a@b#c.csv", "odd/a@b#c.csv@v1.0", "odd/a@b#c.csv@HEAD~0"):
        assert rows(birds, f"WITH Odd AS (FROM '{name}') SELECT id FROM odd") == [(5,)]


def test_rows_go_to_the_terminal_as_a_table_and_to_files(engine, birds):
    query = "SELECT id, name FROM 'data/birds.csv@v1.0' ORDER BY id"
    assert birds.dvlite("sql", query).stdout.splitlines() == [
        "id  name",
        " 1  wren",
        " 2  robin",
        " 3  gull",
        "3 rows",
    ]
    assert "The first 2 rows; all: --limit 0" in birds.dvlite("sql", query, "--limit", "2").stdout
    for name in ("out.csv", "out.parquet", "out.jsonl"):
        assert birds.dvlite("sql", f"{query} -- a comment", "-o", name).stdout == f"Wrote 3 rows to {name}.\n"
        assert rows(birds, f"SELECT name FROM '{name}' WHERE id = 3") == [("gull",)]
    assert "out.csv' exists" in birds.dvlite("sql", query, "-o", "out.csv", code=2).stderr
    assert ".parquet" in birds.dvlite("sql", query, "-o", "out.xls", code=2).stderr


def test_a_copy_that_is_broken_off_leaves_no_file(tmp_path, monkeypatch):
    def cut(source, target):
        target.write_bytes(b"id")
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(sql.shutil, "copyfile", cut)
    with pytest.raises(NoSpace):
        sql._put(tmp_path / "rows", tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path):
    """The query may have taken minutes since its name was free."""
    (tmp_path / "rows").write_text("id\n")
    (tmp_path / "out.csv").write_text("mine\n")
    with pytest.raises(DvliteError, match="File exists"):
        sql._put(tmp_path / "rows", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "rows"]


def test_an_interrupted_query_is_an_interrupted_command(engine):
    with pytest.raises(KeyboardInterrupt), reading("x"):
        raise RuntimeError("Query interrupted")


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO 'x.csv'",
        "SELECT 1; SELECT 2",
        "INSTALL httpfs",
        "ATTACH 'x.db'",
        "SET enable_external_access = true",
        "SELEC 1",
        "SELECT * FROM 'nothing.csv'",
        "SELECT * FROM 'data/birds.csv@nothing'",
        "SELECT * FROM 'data/birds.csv#users'",
        f"SELECT {'1+' * 800}1",
        "SELECT * FROM '../outside.csv'",
        "SELECT * FROM 'data/birds.csv' a, 'DATA/birds.csv' b",
    ],
)
def test_what_is_no_query_of_this_repository_is_refused(engine, birds, query):
    said = birds.dvlite("sql", query, code=2).stderr
    assert said.count("error:") == 1
    assert "hint:" in said
    assert not (birds.root / "x.csv").exists()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_csv('https://example.com/x.csv')",
        "SELECT * FROM read_csv('dvlite://../../etc/passwd')",
        "SELECT nothing FROM 'data/birds.csv'",
    ],
)
def test_the_engine_reaches_nothing_else(engine, birds, query):
    said = birds.dvlite("sql", query, code=1).stderr
    assert said.startswith("error: the query failed: ")
    assert len(said.splitlines()) == 1


def test_a_version_that_cannot_be_read_is_an_error_of_its_file(engine, birds):
    shutil.rmtree(birds.cache)
    (birds.root.parent / "store").rename(birds.root.parent / "away")
    (birds.root / "data" / "birds.csv").unlink()
    said = birds.dvlite("sql", "SELECT * FROM 'data/birds.csv'", code=12).stderr
    assert "cannot read 'data/birds.csv': object blake3:" in said


def test_of_a_delta_table_the_files_of_its_newest_version_are_read(engine, birds):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    pyarrow = pytest.importorskip("pyarrow")

    def part(*numbers):
        sink = io.BytesIO()
        parquet.write_table(pyarrow.table({"id": numbers}), sink)
        return sink.getvalue()

    table = DeltaTable(birds.root / "events").append("a.parquet", 2, part(1, 2))
    birds.dvlite("add", "events")
    birds.commit("Two events")
    table.append("b.parquet", 1, part(3)).commit(
        {"remove": {"path": "a.parquet", "dataChange": True}}, operation="DELETE"
    )
    assert rows(birds, "SELECT id FROM 'events'") == [(3,)]
    assert rows(birds, "SELECT id FROM 'events@HEAD' ORDER BY id") == [(1,), (2,)]
    field = {"name": "key", "type": "long", "metadata": {"delta.columnMapping.physicalName": "id"}}
    table.commit({"metaData": {"schemaString": json.dumps({"type": "struct", "fields": [field]})}})
    assert "column mapping" in birds.dvlite("sql", "SELECT id FROM 'events'", code=2).stderr


def test_a_link_out_of_the_repository_is_not_followed(engine, birds, tmp_path):
    (tmp_path / "secret.csv").write_text("id\n1\n")
    (birds.root / "linked.csv").symlink_to(tmp_path / "secret.csv")
    (birds.root / "inside.csv").symlink_to("data/birds.csv")
    assert "leads out of the repository" in birds.dvlite("sql", "SELECT * FROM 'linked.csv'", code=2).stderr
    assert rows(birds, "SELECT count(*) FROM 'inside.csv'") == [(3,)]


def test_a_database_that_a_program_has_open_is_not_whole(engine, project):
    """What SQLite has written last stands in a file beside it, until the last program closes the database."""
    with contextlib.closing(sqlite3.connect(project.root / "app.db")) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("CREATE TABLE t (a)")
        base.commit()
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        project.dvlite("add", "app.db")
        base.execute("INSERT INTO t VALUES (1)")
        base.commit()
        words = "'app.db' lacks what is in 'app.db-wal'"
        assert words in project.dvlite("sql", "SELECT * FROM 'app.db'").stderr
        assert words in project.dvlite("add", "-u").stderr
    assert "warning" not in project.dvlite("add", "-u").stderr
    assert rows(project, "SELECT * FROM 'app.db'") == [("1",)]
    project.write("app.db-wal", "something else")
    assert "warning" not in project.dvlite("add", "app.db").stderr
