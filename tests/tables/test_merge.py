"""Three versions of a table merged by a key: cells, rows, columns, conflicts, and how the result is written."""

import io

import pytest

from dvlite.errors import FormatError
from dvlite.tables import merge, rewrite
from dvlite.tables.merge import merge_rows
from dvlite.tables.relation import TableFile

pytestmark = pytest.mark.long
pytest.importorskip("duckdb", reason="duckdb is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")

BASE = "id,name,mass\n1,wren,9\n2,robin,18\n3,gull,900\n"


@pytest.fixture
def merged(tmp_path):
    numbers = iter(range(1000))

    def merged(base, ours, theirs, name="t.csv", key=("id",), **settings):
        """Returns the bytes that were written (None: not settled), and the conflicts."""
        files = []
        for content in (base, ours, theirs):
            path = tmp_path / str(next(numbers))
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            files.append(TableFile(path, name))
        target = tmp_path / str(next(numbers))
        result = merge_rows(files, key, target, **settings)
        assert target.exists() == result.is_settled
        return target.read_bytes() if result.is_settled else None, result.conflicts

    return merged


def test_edits_of_both_sides_come_together(merged):
    ours = "id,name,mass\n1,Wren,9\n2,robin,18\n3,gull,900\n5,x,\n"
    theirs = 'id,name,mass\n1,wren,10\n3,gull,900\n4,"a,b",1\n'
    assert merged(BASE, ours, theirs) == (b'id,name,mass\n1,Wren,10\n3,gull,900\n5,x,\n4,"a,b",1\n', ())


def test_conflicts_are_cells_and_removed_rows_and_a_choice_settles_them(merged):
    ours, theirs = "id,name,mass\n1,wren,8\n2,robin,18\n", BASE.replace("gull", "Gull").replace(",9\n", ",10\n")
    data, found = merged(BASE, ours, theirs)
    assert data is None
    assert [(one.key, one.column, one.base, one.ours, one.theirs, one.reason) for one in found] == [
        ("1", "mass", "9", "8", "10", "changed on both sides"),
        ("3", None, None, None, None, "removed by ours"),
    ]
    assert merged(BASE, ours, theirs, take="ours")[0] == ours.encode()
    assert merged(BASE, ours, theirs, take="theirs")[0] == b"id,name,mass\n1,wren,10\n2,robin,18\n3,Gull,900\n"
    assert merged(BASE, ours, theirs, rows={"1": "theirs", "3": "ours"})[0] == b"id,name,mass\n1,wren,10\n2,robin,18\n"
    assert merged(BASE, ours, theirs, take="union")[0] is None
    assert merged(BASE, BASE.replace("3,gull,900\n", ""), theirs, take="union")[0] == theirs.encode()
    (both,) = merged(BASE, f"{BASE}9,x,\n", f"{BASE}9,x,2\n")[1]
    assert (both.column, both.ours, both.theirs, both.reason) == ("mass", None, "2", "added on both sides")
    assert merged(BASE, f"{BASE}9,x,1\n", f"{BASE}9,x,1\n")[0] == f"{BASE}9,x,1\n".encode()


def test_of_very_many_conflicts_those_that_wait_are_listed_and_no_choice_is_lost(merged, monkeypatch):
    monkeypatch.setattr(merge, "MOST_CONFLICTS", 2)
    base, ours, theirs = ("id,v,w\n" + "".join(f"{i},{v},{v}\n" for i in range(5)) for v in "abc")
    rows = {}
    for keys in ("01", "0123", "01234"):
        data, found = merged(base, ours, theirs, rows=rows)
        assert (data, "".join(dict.fromkeys(one.key for one in found))) == (None, keys)
        rows = {one.key: "theirs" for one in found}
    assert merged(base, ours, theirs, rows=rows)[0] == theirs.encode()


def test_csv_keeps_its_dialect_and_the_bytes_of_other_rows(merged):
    ours = 'id;name;mass\r\n3;" gull";900\r\n\r\n2;"r\r\nq";1e1\r\n1;"wr""en";9'
    theirs = 'id,name,mass,wing\n1,wren,9,3\n2,robin,19,\n3,gull,900,"x;y"\n'
    data, _ = merged(BASE, ours, theirs, take="ours")
    assert data == b'id;name;mass;wing\r\n3;" gull";900;"x;y"\r\n2;"r\r\nq";1e1;\r\n1;"wr""en";9;3\r\n'
    tabs = BASE.replace(",", "\t")
    assert merged(tabs, tabs, tabs.replace("wren", "w"), "t.tsv")[0] == tabs.replace("wren", "w").encode()


def test_json_lines_keep_other_lines_and_explicit_nulls(merged):
    base = '{"id": 1, "a": "x", "z": null}\n{"id": 2, "a": {"q": 1.50}}\n'
    theirs = '{"id": 1, "a": 5, "b": [1]}\n{"id": 2, "a": {"q": 1.50}}\n{"id":3}\n'
    data, _ = merged(base, base, theirs, "t.jsonl")
    assert data == b'{"id": 1, "a": 5, "z": null, "b": [1]}\n{"id": 2, "a": {"q": 1.50}}\n{"id": 3}\n'


@pytest.mark.parametrize(
    ("line", "edited"),
    [
        ('{"id": 1, "a": "x",}', '{"id": 1, "a": "y",}'),
        (f'{{"id": 1, "a": 1, "z": {"[" * 3000}{"]" * 3000}}}', f'{{"id": 1, "a": 2, "z": {"[" * 3000}{"]" * 3000}}}'),
    ],
)
def test_json_lines_that_only_the_engine_reads_are_not_merged(merged, line, edited):
    other = '\n{"id": 2, "a": 1}\n'
    with pytest.raises(FormatError, match="not plain JSON"):
        merged(line + other, line + other.replace("1}", "3}"), edited + other, "t.jsonl")


def test_json_lines_are_the_rows_of_their_keys_or_nothing_is_written(merged, monkeypatch):
    """If the engine took a line for a row that is none, all edits behind it would hit the row before theirs."""
    base = '{"id": 1, "a": 1}\n{"id": 2, "a": 1}\n{"id": 3, "a": 1}\n'
    real = rewrite._edits
    monkeypatch.setattr(rewrite, "_edits", lambda *args: ((one[0] and one[0] - 1, *one[1:]) for one in real(*args)))
    with pytest.raises(FormatError, match="not the rows"):
        merged(base, base, base.replace('3, "a": 1', '3, "a": 2'), "t.jsonl")


def test_keys_of_several_columns_are_never_the_same_text(merged):
    base = 'a,b,v\nx,"y,z",1\n"x,y",z,1\n'
    ours, theirs = base.replace("1\n", "2\n"), base.replace("1\n", "3\n")
    _, found = merged(base, ours, theirs, key=("a", "b"))
    assert [one.key for one in found] == ['"x,y",z', 'x,"y,z"']
    data, _ = merged(base, ours, theirs, key=("a", "b"), rows={'"x,y",z': "theirs", 'x,"y,z"': "ours"})
    assert data == b'a,b,v\nx,"y,z",2\n"x,y",z,3\n'


def test_parquet_keeps_schema_compression_and_row_groups(merged):
    import pyarrow as pa
    from pyarrow import parquet

    def written(ids, names, **settings):
        file = io.BytesIO()
        columns = {
            "id": pa.array(ids, pa.int32()),
            "n": pa.array(names).dictionary_encode(),
            "l": [[1, None]] * len(ids),
        }
        table = pa.table(columns).replace_schema_metadata({"who": "Ann"})
        parquet.write_table(table, file, **settings)
        return file.getvalue()

    base = written([1, 2, 3, 4, 5], list("abcde"))
    ours = written([5, 4, 3, 2, 1], list("edcbA"), row_group_size=2, compression="zstd")
    data, found = merged(base, ours, written([1, 2, 3, 6, 5], list("abCfe")), "t.parquet")
    file, before = parquet.ParquetFile(io.BytesIO(data)), parquet.ParquetFile(io.BytesIO(ours))
    assert not found
    assert file.read().select(["id", "n"]).to_pydict() == {"id": [5, 3, 2, 1, 6], "n": ["e", "C", "b", "A", "f"]}
    assert file.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [1, 2, 1, 1]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ((BASE, "id,name\n1,wren\n", BASE), "ours removed the column 'mass'"),
        ((BASE, BASE, BASE + "1,x,2\n"), "theirs has 1 row with the 'id' of another"),
        ((BASE, BASE.replace("id", "nr"), BASE), "ours removed the column 'id'"),
        ((BASE, BASE.replace("\n", "\r"), BASE.replace("wren", "w")), "carriage return"),
    ],
)
def test_what_cannot_be_merged_by_rows_says_why(merged, versions, words):
    with pytest.raises(FormatError, match=words):
        merged(*versions)
