"""The built-in rules of checks, as the table engine answers them."""

import json

import pytest

pytest.importorskip("duckdb", reason="the table engine is not installed: pip install 'dvlite[tables]'")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'dvlite[tables]'")

from pyarrow import parquet  # noqa: E402  # it is there

from dvlite.checks.tables import Sources, ruled  # noqa: E402
from dvlite.formats.pipeline import parse  # noqa: E402
from dvlite.formats.record import time_ns  # noqa: E402
from dvlite.pipeline.stages import bind  # noqa: E402

pytestmark = pytest.mark.long

NOW = time_ns("2026-11-30T12:00:00.000Z")
ROWS = [
    {"day": "2026-11-28", "id": 1, "price": 2.5, "state": "new"},
    {"day": "2026-11-29", "id": 2, "price": None, "state": "paid"},
    {"day": "2026-11-01", "id": 2, "price": -1.0, "state": "lost"},
]


def write(path, rows):
    """Writes rows in the format that the name says."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = list(rows[0])
        lines = [names, *(["" if row[name] is None else str(row[name]) for name in names] for row in rows)]
        path.write_text("".join(",".join(line) + "\n" for line in lines))


@pytest.fixture(params=["t.csv", "t.parquet", "t.jsonl"])
def asked(request, tmp_path):
    """Returns what rules say of the rows: a list of the sentences of those that failed."""

    def asked(rules, rows=ROWS, **others):
        write(tmp_path / request.param, rows)
        for name, more in others.items():
            write(tmp_path / f"{name}.csv", more)
        return said(tmp_path, request.param, rules)

    asked.format = request.param.partition(".")[2]
    return asked


def said(root, path, rules):
    text = f"checks:\n  c:\n    path: {path}\n" + "".join(f"    {line}\n" for line in rules.splitlines())
    (check,) = bind("dvlite.yaml", parse(text.encode(), "dvlite.yaml").checks)
    outcomes, expires = ruled(check, Sources(root, root.joinpath, None, lambda pattern: [pattern]), NOW)
    assert all(bool(each.detail) != each.passed for each in outcomes)
    failed = [f"{each.rule}: {each.detail}" for each in outcomes if not each.passed]
    return [*failed, expires] if "fresh" in rules else failed


def test_rules_that_hold_are_silent(asked):
    rules = """\
columns: {id: integer, price: number, state: text, day: any}
exact: true
rows: 1..3
unique: [[id, day], state]
not_null: [id, state]
ranges: {price: {min: -1, max: 2.5}, day: {min: 2026-01-01}}
allowed: {state: [new, paid, lost], id: [1, 2]}
references: {state: {path: states.csv, column: name}}"""
    assert asked(rules, states=[{"name": "new"}, {"name": "paid"}, {"name": "lost"}, {"name": "x"}]) == []


def test_rules_that_do_not_hold_say_what_was_seen(asked):
    rules = """\
columns: [id, shop]
exact: true
rows: 5..
unique: id
not_null: [price]
ranges: {price: {min: 0}, day: {min: 2026-11-02, max: 2026-11-28}}
allowed: {state: [new, paid]}
references: {id: {path: ids.csv, column: n}}"""
    assert asked(rules, ids=[{"n": 1}, {"n": 3}]) == [
        "columns: there is no column shop; there is also day, price, state",
        "rows: 3 rows, at least 5 are demanded",
        "unique: id: 1 value occurs more than once: 2",
        "not_null: price: 1 of 3 rows have no value",
        "ranges: price: 1 of 3 rows are not in 0..: -1.0",
        "ranges: day: 2 of 3 rows are not in 2026-11-02..2026-11-28: 2026-11-01, 2026-11-29",
        "allowed: state: 1 of 3 rows are not allowed: lost",
        "references: id: 2 of 3 rows are not in ids.csv: 2",
    ]


def test_a_column_that_is_not_there_is_named(asked):
    assert asked("unique: [[id, shop]]\nnot_null: gone") == [
        "unique: id, shop: there is no column shop",
        "not_null: gone: there is no column gone",
    ]


def test_types_are_those_of_the_file_or_what_cells_can_be_read_as(asked):
    found = asked("columns: {id: text, price: integer, state: date, day: date}")
    if asked.format == "parquet":
        assert found == [
            "columns: id is BIGINT, not text; price is DOUBLE, not integer; state is VARCHAR, not date; day is VARCHAR, not date"
        ]
    else:
        assert found == ["columns: 2 of 3 rows are no integer: -1.0, 2.5; 3 of 3 rows are no date: lost, new, paid"]


def test_a_pass_counts_until_the_newest_row_is_too_old(asked):
    assert asked("fresh: {column: day, within: 2d}") == ["2026-12-01T00:00:00.000Z"]
    failed, expires = asked("fresh: {column: day, within: 1d}")
    assert failed == "fresh: day: the newest is 2026-11-29 00:00, older than 1 day"
    assert expires == "2026-11-30T00:00:00.000Z"
    assert asked("fresh: {column: state, within: 1d}") == ["fresh: state: it has no time", ""]


def test_a_folder_is_one_table_and_names_are_never_patterns(tmp_path):
    (tmp_path / "t").mkdir()
    for name in ("a*.csv", "b'b.csv", "_ignored.csv", ".x.csv", "notes.txt"):
        write(tmp_path / "t" / name, [{"id": 1}, {"id": 2}])
    assert said(tmp_path, "t", "rows: 4") == []


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"", "it has no first row"),
        ("t.csv", b"a,a\n1,2\n", "two of its columns are called 'a'"),
        ("t.csv", b"id,x\n1,2,3\n4\n", "cannot read"),
        ("t.csv", b"id\n\xff\xfe\n", "cannot read"),
        ("t.parquet", b"PAR1 broken PAR1", "cannot read"),
        ("t.jsonl", b"{\n", "cannot read"),
        ("t.db", b"not a database", "cannot read"),
        ("t.txt", b"x", "holds no table"),
    ],
)
def test_what_cannot_be_read_has_failed_in_one_line(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    (failed,) = said(tmp_path, name, "rows: 1..")
    assert words in failed
    assert failed.isprintable()


def test_names_and_values_are_never_sql(tmp_path):
    name = "a\"; DROP TABLE x; --'"
    write(tmp_path / "t.parquet", [{name: "'; ATTACH 'y'; --\x1b[31m"}])
    quoted = json.dumps(name)
    found = said(
        tmp_path, "t.parquet", f'columns: [{quoted}]\nunique: [{quoted}]\nallowed: {{{quoted}: ["\' OR 1=1 --"]}}'
    )
    assert len(found) == 1
    assert "\\x1b[31m" in found[0]
