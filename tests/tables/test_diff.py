"""Rows and cells of two versions of a table, in every format."""

import datetime as dt
import decimal
import io
import json
import sqlite3

import pytest

from dvlite.errors import FormatError, UsageError
from dvlite.tables import sqlite
from dvlite.tables.diff import CellChange, Matching, RowChange
from dvlite.tables.relation import TableFile
from dvlite.tables.versions import compare_versions

pytestmark = pytest.mark.long
pytest.importorskip("duckdb", reason="duckdb is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")

BIRDS = "id,name,mass\n1,wren,9.0\n2,robin,18.0\n3,gull,900\n"
EDITED = "id,name,mass\n1,wren,9.5\n2,robin,18.00\n4,tit,11\n"


@pytest.fixture
def compared(tmp_path):
    numbers = iter(range(1000))

    def laid(versions, name):
        found = []
        for called, content in versions.items() if isinstance(versions, dict) else [(name, versions)]:
            path = tmp_path / str(next(numbers))
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            found.append(TableFile(path, called))
        return found

    def compared(old, new, name="t.csv", key=(), **settings):
        how = {word: settings.pop(word) for word in ("ignore", "rtol", "atol") if word in settings}
        matching = Matching(tuple(key), "declared" if key else "none", **how)
        found = compare_versions(laid(old, name), laid(new, name), matching, **settings)
        return found[0] if len(found) == 1 else found

    return compared


def parquet(columns, **settings):
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file, **settings)
    return file.getvalue()


def arrow(columns):
    import pyarrow as pa

    file = io.BytesIO()
    with pa.ipc.new_file(file, pa.table(columns).schema) as writer:
        writer.write_table(pa.table(columns))
    return file.getvalue()


def database(path, *rows):
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE birds (id INTEGER PRIMARY KEY, name, mass REAL)")
        base.execute("CREATE VIEW v AS SELECT * FROM birds")
        base.executemany("INSERT INTO birds VALUES (?, ?, ?)", rows)
    base.close()
    return path.read_bytes()


def test_cells_rows_and_counts(compared):
    diff = compared(BIRDS, EDITED)
    assert (diff.key, diff.key_from) == (("id",), "detected")
    assert (diff.added, diff.removed, diff.modified, diff.cells) == (1, 1, 2, {"mass": 2})
    assert diff.rows[0] == RowChange(
        change="modified", key={"id": "1"}, cells=(CellChange(column="mass", old="9.0", new="9.5"),)
    )
    assert [(row.change, row.key["id"]) for row in diff.rows] == [
        ("modified", "1"),
        ("modified", "2"),
        ("removed", "3"),
        ("added", "4"),
    ]
    assert diff.rows[3].values == {"name": "tit", "mass": "11"}
    near = compared(BIRDS, EDITED, key=["id"], atol=0.1)
    assert (near.key_from, near.modified) == ("declared", 1)
    assert compared(BIRDS, EDITED, ignore=("mass",)).modified == 0
    assert compared(BIRDS, EDITED, only=["name"]).modified == 0
    assert len(compared(BIRDS, EDITED, limit=1).rows) == 1
    assert compared(BIRDS, BIRDS) == []


def test_without_a_key_rows_count_as_often_as_they_occur(compared):
    diff = compared("a,b\n1,1\n1,1\n2,2\n", "a,b\n1,1\n2,2\n2,2\n3,\n3,\n")
    assert (diff.key, diff.added, diff.removed) == ((), 3, 1)
    assert diff.rows[-1] == RowChange(change="added", values={"a": "3", "b": None}, times=2)


def test_a_key_that_is_not_unique_is_said_and_not_used(compared):
    diff = compared("k,b\n1,1\n1,2\n", "k,b\n1,1\n2,2\n", key=["k"])
    assert diff.key == ("b",)
    assert diff.note == "the old version has 1 row with the 'k' of another"
    with pytest.raises(UsageError, match="there is no column 'nme'"):
        compared(BIRDS, EDITED, only=["nme"])


def test_columns_that_came_went_or_changed_their_type(compared):
    diff = compared(BIRDS, "id,name,wing\n1,wren,\n2,robin,3\n3,gull,\n")
    assert [(one.column, one.old_type, one.type) for one in diff.columns] == [
        ("mass", "VARCHAR", None),
        ("wing", None, "VARCHAR"),
    ]
    diff = compared(parquet({"id": [1, 2], "v": [1, 2]}), parquet({"id": [1, 2], "v": ["1", "x"]}), "t.parquet")
    assert (diff.columns[0].old_type, diff.columns[0].type, diff.modified) == ("BIGINT", "VARCHAR", 1)


def test_types_of_parquet_and_arrow(compared):
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    old = {
        "id": [1, 2, 3],
        "d": [decimal.Decimal("1.10")] * 3,
        "t": [day] * 3,
        "l": [[1, None]] * 3,
        "s": [{"x": 1, "y": None}] * 3,
        "f": [float("nan"), -0.0, None],
        "b": [b"\x00\xff"] * 3,
    }
    new = {**old, "d": [decimal.Decimal("1.11"), *old["d"][1:]], "t": [day, day + dt.timedelta(seconds=1), day]}
    new |= {"l": [*old["l"][:2], [1, 2]], "s": [{"x": 2, "y": None}, *old["s"][1:]], "f": [float("nan"), 0.0, None]}
    for write, name in ((parquet, "t.parquet"), (arrow, "t.arrow")):
        diff = compared(write(old), write(new), name)
        assert (diff.modified, diff.cells) == (3, {"d": 1, "t": 1, "l": 1, "s": 1}), name
        assert compared(write(old), write(old), name) == []


def test_row_groups_that_both_have_are_not_read(compared):
    from pyarrow.parquet import ParquetFile

    ids = list(range(1000))
    settings = {"row_group_size": 100, "compression": "none", "use_dictionary": False}
    old = parquet({"id": ids, "v": ids}, **settings)
    new = parquet({"id": ids, "v": [-1 if one == 250 else one for one in ids]}, **settings)
    at = ParquetFile(io.BytesIO(old)).metadata.row_group(7).column(1).data_page_offset
    torn = [data[:at] + b"\xff" * 8 + data[at + 8 :] for data in (old, new)]
    diff = compared(*torn, "t.parquet", key=["id"])
    assert (diff.modified, diff.cells) == (1, {"v": 1})
    with pytest.raises(FormatError):
        compared(torn[0], old, "t.parquet", key=["id"])


def test_json_lines_keep_their_types(compared):
    old = '{"id":1,"a":"1"}\n{"id":2,"a":{"z":[1,2]}}\n'
    diff = compared(old, '{"id":1,"a":1}\n\n{"id":2,"a":{"z":[1,3]},"b":true}\n', "t.jsonl")
    assert diff.rows[0].cells == (CellChange(column="a", old='"1"', new="1"),)
    assert (diff.modified, [one.column for one in diff.columns]) == (2, ["b"])


def test_a_database_has_its_own_keys(compared, tmp_path):
    old = database(tmp_path / "db", (1, "a", 1.5), (2, "b", None))
    new = database(tmp_path / "db", (1, "a", 0.1), (3, b"\x00\xff", 2))
    diff = compared(old, new, "t.sqlite")
    assert (diff.table, diff.key, diff.key_from) == ("birds", ("id",), "of the file")
    assert diff.rows[0].cells == (CellChange(column="mass", old="1.5", new="0.1"),)
    assert diff.rows[2].values == {"name": "x'00FF'", "mass": "2.0"}


def test_a_table_may_be_in_one_version_of_a_database_only(compared, tmp_path):
    old = database(tmp_path / "db", (1, "a", 1.5))
    with sqlite3.connect(tmp_path / "db") as base:
        base.execute("CREATE TABLE more AS SELECT 7 AS x")
    base.close()
    diff = compared(old, (tmp_path / "db").read_bytes(), "t.db")
    assert (diff.table, diff.added, diff.rows[0].key or diff.rows[0].values) == ("more", 1, {"x": "7"})


def test_a_database_with_rows_without_end_is_damaged(compared, tmp_path, monkeypatch):
    """Its pages all name one leaf, in which a cell is large: a file of 200 KB would be a table of 12 MB, or of any size."""
    monkeypatch.setattr(sqlite, "_MOST_TIMES", 5)
    monkeypatch.setattr(sqlite, "_BYTES_AT_ONCE", 1 << 20)
    with sqlite3.connect(tmp_path / "db") as base:
        base.execute("PRAGMA page_size = 512")
        base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        base.executemany("INSERT INTO t VALUES (?, ?)", ((i, "x" * (10 if i else 100_000)) for i in range(3000)))
    base.close()
    old = (tmp_path / "db").read_bytes()
    new, leaf = bytearray(old), None
    for page in range(512, len(new), 512):
        if new[page] != 5:  # no page with children
            continue
        cells = int.from_bytes(new[page + 3 : page + 5])
        offsets = [page + int.from_bytes(new[page + 12 + 2 * i : page + 14 + 2 * i]) for i in range(cells)]
        for at in (*offsets, page + 8):
            child = int.from_bytes(new[at : at + 4])
            if new[(child - 1) * 512] == 13:  # a leaf
                leaf = leaf or child
                new[at : at + 4] = leaf.to_bytes(4)
    with pytest.raises(FormatError, match="far larger than its file, which is damaged"):
        compared(old, bytes(new), "t.db")


def test_all_databases_of_a_folder_are_one_table(compared, tmp_path):
    one, two = (database(tmp_path / "db", (number, "a", 1.5)) for number in (1, 2))
    other = database(tmp_path / "db", (2, "b", 1.5))
    diff = compared({"1.db": one, "2.db": two}, {"1.db": one, "2.db": other})
    assert (diff.modified, diff.rows[0].key) == (1, {"id": "2"})


def test_a_folder_is_one_table_and_its_partitions_are_columns(compared):
    old = {"year=2025/a.csv": BIRDS}
    diff = compared(old, {"year=2025/a.csv": EDITED, "year=2026/b%20.csv": BIRDS}, key=["year", "id"])
    assert (diff.added, diff.removed, diff.modified) == (4, 1, 2)
    assert diff.rows[-1].key == {"year": "2026", "id": "3"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "", "it has no first row"),
        ("t.csv", "a,a\n1,2\n", "two of its columns are called 'a'"),
        ("t.csv", "a,b\n1,2,3\n", "CSV Error on Line: 2"),
        ("t.csv", 'a,b\n1,"x\n', "unterminated quote"),
        ("t.csv", b"a,b\n1,\xff\n", "CSV Error on Line: 2"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "it is not UTF-8"),
        ("t.csv", ",".join(f"c{i}" for i in range(20_000)) + "\n", "20,000 columns, more than 2,000"),
        ("t.csv", "x" * 3_000_000, "its first row is longer than"),
        ("t.parquet", b"PAR1 and no more", "cannot read the new version"),
        ("t.parquet", b"PAR1" * 10, "cannot read the new version"),
        ("t.arrow", b"ARROW1", "it is no Arrow file"),
        ("t.jsonl", '{"a":1}\n[1]\n', "cannot"),
        ("t.jsonl", '{"a":', "Malformed JSON"),
        ("t.sqlite", b"SQLite format 3\0" + b"\xff" * 200, "version: file is not a database"),
    ],
)
def test_what_cannot_be_read_is_one_line(compared, name, content, words):
    whole = {"t.csv": "a,b\n1,2\n", "t.jsonl": '{"a":1}\n'}.get(name)
    whole = whole or (parquet({"a": [1]}) if name == "t.parquet" else arrow({"a": [1]}) if name == "t.arrow" else None)
    with pytest.raises(FormatError, match=words) as raised:
        compared(whole if whole is not None else content, content, name, key=["a"])
    assert raised.value.message.isprintable()


def test_cells_that_a_spreadsheet_or_terminal_would_run_are_text(compared):
    old, new = 'id,a\n1,x\n2,"q""q"\n', '\ufeffid,a\r\n1,=cmd()\r\n2,"\x1b[31m\x00"\r\n'
    assert [cell.new for row in compared(old, new).rows for cell in row.cells] == ["=cmd()", "\x1b[31m\x00"]


def test_the_engine_reads_what_it_is_given_and_nothing_else(tmp_path):
    from dvlite.tables.engine import connected, reading

    given, other = tmp_path / "given.csv", tmp_path / "other.csv"
    given.write_text("a\n1\n")
    other.write_text("a\n1\n")
    with connected([given]) as engine:
        assert engine.execute(f"SELECT * FROM read_csv('{given}')").fetchall() == [(1,)]
        for sql in (
            f"SELECT * FROM read_csv('{other}')",
            "SELECT * FROM read_text('/etc/passwd')",
            f"COPY (SELECT 1) TO '{other}'",
            f"ATTACH '{tmp_path / 'base'}'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET allowed_paths = []",
            "SELECT * FROM read_csv('https://example.org/a.csv')",
            "SELECT * FROM tmp_path",
        ):
            with pytest.raises(FormatError), reading("refused"):
                engine.execute(sql).fetchall()
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["given.csv", "other.csv"]'
