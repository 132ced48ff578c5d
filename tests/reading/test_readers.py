"""Other people's readers on `dvlite://`: right from every source, and moving only what they need."""

import io
import multiprocessing
import os
import shutil
from pathlib import Path

import fsspec
import pytest

from dvlite.reading.filesystem import DvliteFileSystem
from tests.clones import git, start
from tests.trees import noise, put

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]
ROWS = 20_000
LABELS = [noise(60, 1 + i % 500).hex() for i in range(ROWS)]


@pytest.fixture(scope="module", autouse=True)
def registered():
    """As the entry point does, in a virtual environment that was made before there was one, too."""
    fsspec.register_implementation("dvlite", DvliteFileSystem, clobber=True)


@pytest.fixture
def tables(tmp_path, invoke, monkeypatch):
    """A repository with a CSV file, a partitioned folder of Parquet files, a zarr array, and what is in them."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import csv, dataset, parquet

    here = start(tmp_path / "here", invoke, "../store")
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    table = arrow.table({"n": range(ROWS), "label": LABELS, "part": [f"p{i % 3}" for i in range(ROWS)]})
    (here.path / "data").mkdir()
    csv.write_csv(table.slice(0, 1000), here.path / "data" / "small.csv")
    parquet.write_table(
        table.drop_columns("part"), here.path / "data" / "one.parquet", row_group_size=2_000, use_dictionary=False
    )
    dataset.write_dataset(
        table, here.path / "data" / "parts", format="parquet", partitioning=["part"], partitioning_flavor="hive"
    )
    saved = io.BytesIO()
    numpy.save(saved, numpy.arange(50_000).reshape(500, 100))
    put(here.path / "data" / "array.npy", saved.getvalue())
    put(here.path / "data" / "images" / "0.bin", b"")
    for number in range(64):
        put(here.path / "data" / "images" / f"{number}.bin", noise(2_000, number))
    write_zarr(here.path / "data" / "array.zarr")
    here.dv("add", "data")
    here.commit("Data")
    here.dv("push")
    monkeypatch.chdir(here.path)
    yield here
    DvliteFileSystem.clear_instance_cache()


def write_zarr(path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    array = zarr.create_array(str(path), shape=(500, 100), chunks=(100, 100), dtype="i8", fill_value=0)
    array[:400] = numpy.arange(40_000).reshape(400, 100)  # the last chunk was never written


@pytest.fixture(params=["work tree", "cache", "remote"])
def fs(request, tables):
    if request.param != "work tree":
        shutil.rmtree(tables.path / "data")
    if request.param != "cache":
        shutil.rmtree(tables.cache)
    opened = DvliteFileSystem(rev="HEAD")
    yield opened
    moved = opened.traffic.bytes_read
    listings = 1_000 if request.param == "work tree" else 0  # the cache has them
    assert moved > 1_000 if request.param == "remote" else moved <= listings, f"{moved} bytes from a {request.param}"
    print(f"{request.node.name}: {moved:,} bytes moved")


def test_pandas(fs):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    options = {"rev": "HEAD"}
    assert pandas.read_csv("dvlite://data/small.csv", storage_options=options)["n"].sum() == sum(range(1000))
    before = fs.traffic.bytes_read
    read = pandas.read_parquet("dvlite://data/one.parquet", columns=["n"], storage_options=options)
    assert read["n"].sum() == sum(range(ROWS))
    assert fs.traffic.bytes_read - before < fs.size("data/one.parquet") // 4
    assert list(pandas.read_parquet("dvlite://data/parts", storage_options=options)["part"].unique()) == [
        "p0",
        "p1",
        "p2",
    ]


def test_pyarrow(fs):
    dataset = pytest.importorskip("pyarrow.dataset", reason="pyarrow is not installed")
    parts = dataset.dataset("data/parts", filesystem=fs, format="parquet", partitioning="hive")
    read = parts.to_table(columns=["n"], filter=dataset.field("part") == "p1")
    assert sum(read["n"].to_pylist()) == sum(range(1, ROWS, 3))
    assert fs.traffic.bytes_read < fs.du("data/parts") // 2


def test_polars(fs):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    with fs.open("data/one.parquet") as file:
        assert polars.read_parquet(file, columns=["n"])["n"].sum() == sum(range(ROWS))
    with fs.open("data/small.csv") as file:
        assert polars.read_csv(file).height == 1000


def test_duckdb(fs):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    connection = duckdb.connect()
    connection.register_filesystem(fs)
    query = "select count(*), max(n) from read_parquet('dvlite://data/parts/*/*.parquet') where n < 50"
    assert connection.sql(query).fetchall() == [(50, 49)]


def test_zarr(fs):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    array = zarr.open_array("dvlite://data/array.zarr", mode="r", storage_options={"rev": "HEAD"})
    assert array[10, 5] == 1005
    assert array[499, 0] == 0  # of a chunk that is not there


def test_zarr_takes_no_lost_chunk_for_zeros(tables):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    shutil.rmtree(tables.path / "data")
    shutil.rmtree(tables.cache)
    array = zarr.open_array("dvlite://data/array.zarr", mode="r", storage_options={"rev": "HEAD"})
    for pack in (tables.path.parent / "store" / "packs").iterdir():
        if pack.read_bytes()[8] != 1:
            pack.unlink()
    with pytest.raises(OSError):
        array[10, 5]


def test_numpy(fs):
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    with fs.open("data/array.npy") as file:
        assert numpy.load(file).sum() == sum(range(50_000))


class Images:
    """A data set as torch has them: workers get a copy of it, and ask it for one item after the other."""

    def __init__(self, fs):
        self.fs, self.names = fs, sorted(fs.glob("data/images/*.bin"))

    def __getitem__(self, number):
        with self.fs.open(self.names[number]) as file:
            return os.path.basename(self.names[number]), file.read()


def test_workers_as_those_of_a_torch_data_loader(tables):
    shutil.rmtree(tables.path / "data")
    shutil.rmtree(tables.cache)
    images = Images(DvliteFileSystem(rev="HEAD"))
    with multiprocessing.get_context("spawn").Pool(2) as workers:
        read = dict(workers.map(images.__getitem__, range(64)))
    assert read == {f"{number}.bin": noise(2_000, number) for number in range(64)}


def test_hugging_face_datasets(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = datasets.load_dataset(
        "parquet",
        data_files="dvlite://data/one.parquet",
        split="train",
        streaming=True,
        storage_options={"rev": "HEAD"},
    )
    assert next(iter(rows))["n"] == 0


def test_another_version_beside_this_one(tables):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    git(tables.path, "tag", "v1")
    put(tables.path / "data" / "small.csv", b"n\n7\n")
    tables.dv("add", "data")
    tables.commit("Two")
    read = [
        pandas.read_csv("dvlite://data/small.csv", storage_options=options)["n"].sum()
        for options in ({}, {"rev": "v1"})
    ]
    assert read == [7, sum(range(1000))]
