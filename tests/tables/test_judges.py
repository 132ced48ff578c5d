"""Row diff and merge equal those of Dolt's own engine (doltlite), and the diff that of pandas, on random tables.

doltlite has to be the first SQLite that a process loads, so it runs in one of its own, and is asked about all tables at once.
"""

import csv
import io
import json
import random
import subprocess
import sys
from collections import Counter

import pytest

from dvlite.tables.diff import Matching
from dvlite.tables.merge import merge_rows
from dvlite.tables.relation import TableFile
from dvlite.tables.versions import compare_versions

pytestmark = pytest.mark.long
pytest.importorskip("duckdb", reason="duckdb is not installed")
pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

TABLES = 30  # each as CSV or as Parquet; a thousand were equal when this was written
KEY = ("id",)
CELLS = {
    "a": ("text", [None, "x", "é", "日本", "it's", '"', "0", "1.0", " ", "=1", "a,b", "l1\nl2", "NULL", "nan"]),
    "b": ("integer", [None, 0, 1, -1, 2**62]),
    "c": ("real", [None, 0.5, -1.25, 1e300, 3.0]),
    "d": ("text", [None, "new"]),
}

DOLT = r"""
import doltlite
import json, sqlite3, sys

def answer(names, versions):
    base = sqlite3.connect(":memory:", isolation_level=None)
    ask = lambda sql, *words: base.execute(sql, words).fetchall()
    ask("select dolt_config('user.name', 'a')")
    ask("select dolt_config('user.email', 'a@example.com')")
    kinds = dict(names)
    ask(f"create table t (id integer primary key, {', '.join(f'{name} {kind}' for name, kind in names if name != 'd')})")

    def commit(columns, rows, message):
        if "d" in columns:
            ask("alter table t add column d text")
        ask("delete from t")
        for row in rows:
            ask(f"insert into t (id, {', '.join(columns)}) values ({', '.join('?' * len(row))})", *row)
        ask("select dolt_commit('-Am', ?, '--allow-empty')", message)

    commit(*versions[0], "base")
    ask("select dolt_branch('b')")
    commit(*versions[1], "ours")
    columns = ["id", *versions[1][0]]
    found = base.execute("select * from dolt_diff_t('HEAD~1', 'HEAD')")
    heads = [column[0] for column in found.description]
    rows = [dict(zip(heads, row)) for row in found.fetchall()]
    diff = [[row["diff_type"], [row[f"from_{name}"] for name in columns], [row[f"to_{name}"] for name in columns]] for row in rows]
    ask("select dolt_checkout('b')")
    commit(*versions[2], "theirs")
    ask("select dolt_checkout('main')")
    ask("begin")
    try:
        ask("select dolt_merge('b')")
    except sqlite3.OperationalError:  # conflicts: the transaction goes on
        pass
    merged = ask(f"select id, {', '.join(versions[2][0])} from t order by id")
    conflicts = []
    if ask("select * from dolt_conflicts"):
        conflicts = sorted({next(filter(lambda one: one is not None, row)) for row in ask("select base_id, our_id, their_id from dolt_conflicts_t")})
    base.close()
    return {"diff": diff, "merged": merged, "conflicts": conflicts}

json.dump([answer(*one) for one in json.load(sys.stdin)], sys.stdout)
"""


def some_rows(chance):
    names = ("a", "b", "c")
    return {
        number: [chance.choice(CELLS[name][1]) for name in names]
        for number in chance.sample(range(12), chance.randint(1, 8))
    }


def edited(chance, rows):
    """Returns a version of a table with a few cells changed, and rows that came or went."""
    found = {number: [*cells] for number, cells in rows.items()}
    for _ in range(chance.randint(0, 4)):
        kind = chance.choice(["cell", "cell", "add", "remove"])
        if kind == "add":
            found.setdefault(chance.randrange(14), [chance.choice(CELLS[name][1]) for name in ("a", "b", "c")])
        elif found:
            number = chance.choice(sorted(found))
            if kind == "remove":
                del found[number]
            else:
                place = chance.randrange(3)
                found[number][place] = chance.choice(CELLS["abc"[place]][1])
    return dict(chance.sample(sorted(found.items()), len(found)))


def triples(number, seed=18):
    """Yields `(columns, rows)` of base, ours and theirs; theirs may have a column more."""
    chance = random.Random(seed)
    for _ in range(number):
        first = some_rows(chance)
        versions = [(["a", "b", "c"], first), *((["a", "b", "c"], edited(chance, first)) for _ in range(2))]
        if chance.random() < 0.2:
            more = {key: [*cells, chance.choice(CELLS["d"][1])] for key, cells in versions[2][1].items()}
            versions[2] = (["a", "b", "c", "d"], more)
        yield [(columns, [[key, *cells] for key, cells in rows.items()]) for columns, rows in versions]


def written(path, columns, rows, kind):
    names = ["id", *columns]
    if kind == "csv":
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        path.write_text(file.getvalue(), newline="")
    else:
        types = {"id": "int64", "a": "string", "b": "int64", "c": "double", "d": "string"}
        arrays = [
            pyarrow.array([row[i] for row in rows], pyarrow.type_for_alias(types[name])) for i, name in enumerate(names)
        ]
        parquet.write_table(pyarrow.table(arrays, names=names), path, row_group_size=3)
    return TableFile(path, f"t.{kind}")


def read_back(path, kind, columns):
    """Returns the rows of a merged file, cells with their types."""
    names = ["id", *columns]
    if kind == "parquet":
        return sorted([row[name] for name in names] for row in parquet.read_table(path).to_pylist())
    cast = {"id": int, "b": int, "c": float}
    with path.open(newline="") as file:
        return sorted(
            [None if row[name] == "" else cast.get(name, str)(row[name]) for name in names]
            for row in csv.DictReader(file)
        )


def as_cell(name, text):
    return None if text is None else {"id": int, "b": int, "c": float}.get(name, str)(text)


def our_diff(old, new, versions):
    """Returns the rows that differ as Dolt has them: kind, whole old row, whole new row."""
    names = ["id", *versions[0][0]]
    rows = [{row[0]: row for row in side} for _, side in versions[:2]]
    found = []
    for diff in compare_versions([old], [new], Matching(KEY, "declared")):
        for row in diff.rows:
            key = int(row.key["id"])
            before, after = (side.get(key, [None] * len(names)) for side in rows)
            for cell in row.cells:  # what is printed is what is there
                at = names.index(cell.column)
                assert (as_cell(cell.column, cell.old), as_cell(cell.column, cell.new)) == (before[at], after[at])
            changed = [name for name, one, other in zip(names, before, after, strict=True) if one != other]
            assert row.change != "modified" or changed == [cell.column for cell in row.cells]
            found.append([row.change, before, after])
    return found


@pytest.fixture(scope="module")
def dolt():
    """Returns a function that asks Dolt about versions of tables."""
    known = subprocess.run([sys.executable, "-c", "import doltlite"], capture_output=True)
    if known.returncode:
        pytest.skip("doltlite is not installed")

    def dolt(all_versions):
        names = [(name, kind) for name, (kind, _) in CELLS.items()]
        asked = json.dumps([[names, versions] for versions in all_versions])
        done = subprocess.run([sys.executable, "-c", DOLT], input=asked, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return dolt


def test_diff_and_merge_are_those_of_dolt(dolt, tmp_path):
    judged(dolt, tmp_path, TABLES, 18)


def given_more(versions):
    """Returns the rows that ours removed and theirs gave a value in a new column: a conflict here, while Dolt drops that value."""
    base, ours, theirs = ({row[0]: row[1:] for row in rows} for _, rows in versions)
    return [key for key, row in theirs.items() if key in base and key not in ours and row[3:] not in ([], [None])]


def judged(dolt, tmp_path, number, seed):
    versions_of_all = list(triples(number, seed))
    seen = Counter()
    for at, (versions, answer) in enumerate(zip(versions_of_all, dolt(versions_of_all), strict=True)):
        kind = ("csv", "parquet")[at % 2]
        files = [written(tmp_path / f"{at}-{i}", *version, kind) for i, version in enumerate(versions)]
        where = f"table {at}: {versions}"
        assert sorted(our_diff(*files[:2], versions), key=repr) == sorted(answer["diff"], key=repr), where
        target = tmp_path / f"{at}-merged"
        found = merge_rows(files, KEY, target)
        in_conflict = sorted({int(conflict.key) for conflict in found.conflicts})
        assert in_conflict == sorted({*answer["conflicts"], *given_more(versions)}), where
        assert found.is_settled == (not in_conflict)
        if in_conflict:  # Dolt leaves such rows as ours; the cells of them that do not clash are merged here
            assert merge_rows(files, KEY, target, take="ours").is_settled
        rows = [
            [row for row in side if row[0] not in in_conflict]
            for side in (read_back(target, kind, versions[2][0]), answer["merged"])
        ]
        assert rows[0] == [[*row] for row in rows[1]], where
        seen.update(["conflict" if in_conflict else "merged", "more columns" if len(versions[2][0]) > 3 else "same"])
    assert min(seen.values()) >= number // 20


def test_diff_is_that_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for at, versions in enumerate(triples(20, seed=19)):
        files = [written(tmp_path / f"{at}-{i}", *version, "csv") for i, version in enumerate(versions[:2])]
        old, new = (pandas.read_csv(file.path, dtype=str, keep_default_na=False) for file in files)
        both = old.merge(new, on="id", how="outer", suffixes=("", "_new"), indicator=True)
        counts = both["_merge"].value_counts()
        same = both[both["_merge"] == "both"]
        cells = {name: int((same[name] != same[f"{name}_new"]).sum()) for name in ("a", "b", "c")}
        (diff,) = compare_versions(*([file] for file in files), Matching(KEY, "declared")) or [None]
        if diff is None:
            assert not counts["left_only"] + counts["right_only"] + sum(cells.values())
            continue
        assert (diff.removed, diff.added) == (counts["left_only"], counts["right_only"])
        assert diff.cells == {name: number for name, number in cells.items() if number}


def test_whole_rows_are_a_multiset(tmp_path):
    chance = random.Random(20)
    for at in range(20):
        sides = [[[chance.randrange(2), chance.choice("xyz")] for _ in range(chance.randrange(12))] for _ in range(2)]
        files = [written(tmp_path / f"{at}-{i}", ["a"], rows, "csv") for i, rows in enumerate(sides)]
        old, new = (Counter(map(tuple, rows)) for rows in sides)
        (diff,) = compare_versions(*([file] for file in files), Matching(ignore=())) or [None]
        if diff is not None and diff.key:
            continue  # few rows, which a column happened to identify
        counts = (0, 0) if diff is None else (diff.added, diff.removed)
        assert counts == ((new - old).total(), (old - new).total())
