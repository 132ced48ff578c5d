"""`dvlite export croissant`: what it names is what is there, and mlcroissant loads the rows."""

import hashlib
import json
import subprocess
import sys

import pytest

from dvlite.exports import croissant
from dvlite.exports.croissant import DataSet, DescribedFile

CSV = 'id,"name, of it",lr\n1,a,0.5\n2,b,0.25\n'


@pytest.fixture
def data(project):
    project.write("data/one.csv", CSV)
    project.write("data/sub/two.csv", CSV)
    project.write("data/a b.txt", "hello\n")
    project.dvlite("add", "data")
    project.commit("Track data")
    project.git("tag", "v1.2")
    return project


def described(project, *words):
    return project.json("export", "croissant", *words)["metadata"]


def files_of(made):
    return {one["contentUrl"]: one["sha256"] for one in made["distribution"] if one["@type"] == "cr:FileObject"}


def test_every_file_has_its_sha256_at_any_version_and_places_are_relative_to_the_metadata(data):
    data.write("data/new.txt", "new\n")
    data.dvlite("add", "data")
    made = described(data, "data")
    assert files_of(made) == {
        f"data/{name}": hashlib.sha256(data.read(f"data/{name}")).hexdigest()
        for name in ("a b.txt", "new.txt", "one.csv", "sub/two.csv")
    }
    old = described(data, "data@v1.2")
    assert "data/new.txt" not in files_of(old)
    assert old["version"] == "1.2.0"
    assert old == described(data, "data", "--rev", "v1.2")
    assert old["identifier"] == json.loads(data.dvlite("ls", "--json", "--rev", "v1.2").stdout)["entries"][0]["oid"]
    done = data.dvlite("export", "croissant", "data/one.csv", "-o", "data.json", "--license", "CC0-1.0")
    assert "Described data/one.csv in data.json" in done.stdout
    inside = json.loads(data.read("data.json"))
    assert list(files_of(inside)) == ["data/one.csv"]
    assert inside["license"] == "CC0-1.0"
    data.write("meta/x", "")
    data.dvlite("export", "croissant", "data/one.csv", "-o", "meta/data.json")
    assert list(files_of(json.loads(data.read("meta/data.json")))) == ["../data/one.csv"]


def test_what_cannot_be_described_is_said_in_one_line(data):
    for words, code, message in (
        (["nothing"], 2, "dvlite does not track 'nothing'"),
        (["dvlite.yaml"], 2, "dvlite does not track 'dvlite.yaml'"),
        (["data@v9"], 2, "is not a commit"),
        (["data", "-o", "no/folder/x.json"], 1, "No such file"),
    ):
        done = data.dvlite("export", "croissant", *words, code=code)
        assert message in done.stderr
        assert done.stdout == ""
    for store in ("packs", "objects"):
        for place in (data.cache / store).rglob("*"):
            if place.is_file():
                place.unlink()
    data.write("data/one.csv", "changed\n")
    assert data.dvlite("export", "croissant", "data@v1.2", "-o", "c.json", code=None).returncode
    assert not data.has("c.json")


def table(path, *columns, sha256="0" * 64):
    return DescribedFile(path, 10, sha256, columns)


def test_tables_that_are_alike_are_one_set_and_others_have_records_of_their_own():
    two = [table("d/a.csv", ("x", "BIGINT")), table("d/b.csv", ("x", "BIGINT"))]
    made = croissant.metadata(DataSet(path="d", oid="manifest:0", files=two), "")
    (records,) = made["recordSet"]
    (files,) = (one for one in made["distribution"] if one["@type"] == "cr:FileSet")
    assert files["includes"] == "d/*.csv"
    assert records["field"][0]["source"] == {"fileSet": {"@id": files["@id"]}, "extract": {"column": "x"}}
    differ = [
        two[0],
        table("d/b.csv", ("y", "DOUBLE[]"), ("z", "STRUCT(a BIGINT)"), ("y y", "TIMESTAMP WITH TIME ZONE")),
    ]
    made = croissant.metadata(DataSet(path="d", oid="manifest:0", files=differ), "")
    assert [one["@id"] for one in made["recordSet"]] == ["a", "b"]
    first, last = made["recordSet"][1]["field"]
    assert (first["dataType"], first["repeated"]) == ("sc:Float", True)
    assert (last["@id"], last["dataType"]) == ("b/y%20y", "sc:DateTime")
    assert list(croissant.left_out(differ)) == ["d/b.csv: z"]


def test_names_that_would_be_equal_are_told_apart():
    files = [table("d/a.csv", ("x", "BIGINT")), table("d/a.parquet", ("x", "BIGINT")), DescribedFile("a", 1, "0")]
    made = croissant.metadata(DataSet(path="d", oid="manifest:0", files=files), "")
    ids = [one["@id"] for key in ("distribution", "recordSet") for one in made[key]]
    assert len(ids) == len(set(ids))


def test_of_very_many_files_each_ending_is_a_set():
    files = [DescribedFile(f"d/{number}.png", 1) for number in range(croissant.MOST_FILES)]
    files.append(table("d/labels.csv", ("x", "BIGINT"), sha256=""))
    made = croissant.metadata(DataSet(path="d", oid="manifest:0", files=files), "")
    assert [one["includes"] for one in made["distribution"]] == ["d/*.png", "d/*.csv"]
    assert {one["@type"] for one in made["distribution"]} == {"cr:FileSet"}
    assert len(made["recordSet"]) == 1


@pytest.mark.long
def test_mlcroissant_accepts_the_metadata_and_loads_the_rows(data, monkeypatch, tmp_path):
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow as pa

    rows = {"a": [1, 2], "list": [[1.0], [2.0]], "bytes": [b"x", b"y"]}
    parquet.write_table(pa.table(rows), data.write("data/p.parquet", ""))
    data.dvlite("add", "data")
    done = data.dvlite("export", "croissant", "data", "-o", "c.json", "--license", "CC0-1.0")
    assert "data/p.parquet: bytes" in done.stderr
    code = """
import json, mlcroissant
found = mlcroissant.Dataset("c.json")
assert not found.metadata.issues.errors, found.metadata.issues.errors
plain = lambda value: value.decode() if isinstance(value, bytes) else value
print(json.dumps({one.id: [{k: plain(v) for k, v in row.items()} for row in found.records(one.id)] for one in found.metadata.record_sets}))
"""
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=data.root, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    rows = {"csv/id": 1, "csv/name%2C%20of%20it": "a", "csv/lr": 0.5}
    loaded = json.loads(ran.stdout)
    assert loaded["csv"][0] == rows
    assert len(loaded["csv"]) == 4
    assert loaded["p"] == [{"p/a": 1, "p/list": [1.0]}, {"p/a": 2, "p/list": [2.0]}]
