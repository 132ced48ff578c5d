"""What all results share: short texts, tables in notebooks, rows for other libraries."""

import datetime as dt
import sys

import pytest

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.commands.ls import LsEntry, LsResult
from dvlite.commands.metrics import MetricsFile, MetricsOfRevision, MetricsShowResult
from dvlite.commands.runs import RunsListResult
from dvlite.commands.status import StatusResult
from dvlite.errors import DvliteError
from dvlite.results import Result, TableResult
from dvlite.runs.columns import RunSummary
from dvlite.workspace.changes import Counts, FileChange
from tests.result_types import results

MANY = tuple(LsEntry(path=f"data/{n}", kind="file", size_bytes=n) for n in range(1_000))


@pytest.mark.parametrize("kind", results(), ids=lambda kind: kind.__name__)
def test_every_result_is_one(kind):
    assert issubclass(kind, Result)
    assert kind.__repr__ is Result.__repr__
    assert not issubclass(kind, TableResult) or kind.ROWS[0] in kind.__dataclass_fields__


def test_the_text_of_a_result_is_short():
    assert repr(LsResult(entries=MANY)) == "LsResult(entries=<1,000 x LsEntry>)"
    assert repr(StatusResult(clean=True, unpushed=("a", "b"))) == "StatusResult(clean=True, unpushed=['a', 'b'])"
    files = tuple(FileChange(change="added", path=f"x/{n}") for n in range(1_000))
    diff = DiffResult(old="a", new="b", paths=(PathDiff(path="x", kind="directory", counts=Counts(), files=files),))
    assert len(repr(diff)) < 200
    assert len(repr(diff.paths)) < 500
    assert len(diff.records()) == 1_000


def test_a_notebook_shows_the_first_rows():
    shown = LsResult(entries=MANY)._repr_html_()
    assert shown.count("<tr>") == 21
    assert "and 980 more rows" in shown
    assert "oid" not in shown  # no row has one
    assert "<table>" in StatusResult(clean=False)._repr_html_()
    assert LsResult()._repr_html_() == "<p>no rows</p>"


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\x1b[2J\u202eb", "\udcff"]
)
def test_names_run_no_script_in_a_notebook(name):
    entry = LsEntry(path=name, kind="file")
    metrics = MetricsShowResult(
        revisions=(MetricsOfRevision(revision=name, files=(MetricsFile(path=name, stage=name, values={name: name}),)),)
    )
    for result in (LsResult(entries=(entry,), target=name), StatusResult(clean=False, unpushed=(name,) * 9), metrics):
        for text in (result._repr_html_(), repr(result)):
            text.encode()
            assert not {"\x1b", "\u202e"}.intersection(text)
        assert "<script" not in result._repr_html_()
        assert "<img" not in result._repr_html_()


def run(number, **fields):
    return RunSummary(
        run=f"run:{number}", name=f"train-{number}", stage="train", file="dvlite.yaml", status="ok",
        start="2026-11-22T14:02:00.5Z", seconds=1.5, **fields,
    )  # fmt: skip


def test_rows_of_runs_have_every_value():
    runs = (
        run(
            1,
            params={"params.yaml:lr": 0.1, "params.yaml:name": "x", "params.yaml:status": 3},
            metrics={"m.json:acc": 1},
        ),
        run(2, params={"params.yaml:lr": "auto"}, inputs={"data": "manifest:00"}),
    )
    first, second = RunsListResult(now="", runs=runs).records()
    assert list(first) == list(second)
    assert (first["name"], first["status"], first["lr"], first["acc"]) == ("train-1", "ok", 0.1, 1)
    assert (first["param.params.yaml:name"], first["param.params.yaml:status"]) == ("x", 3)
    assert first["start"] == dt.datetime(2026, 11, 22, 14, 2, 0, 500_000, tzinfo=dt.UTC)
    assert (second["acc"], second["lr"], second["data"]) == (None, "auto", "manifest:00")
    assert RunsListResult(now="").records() == []


def test_metrics_of_several_files_stay_apart():
    files = (
        MetricsFile(path="a.json", stage="a", values={"acc": 1, "loss": 2}),
        MetricsFile(path="b.json", stage="b", values={"acc": 3}),
    )
    result = MetricsShowResult(revisions=(MetricsOfRevision(revision="HEAD", commit="c", files=files),))
    assert result.records() == [{"revision": "HEAD", "commit": "c", "a.json:acc": 1, "loss": 2, "b.json:acc": 3}]


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_without_the_package_the_error_says_how_to_get_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DvliteError) as missing:
        LsResult().to_pandas() if package == "pandas" else LsResult().to_arrow()
    assert f"pip install {package}" in missing.value.hint


@pytest.mark.long
def test_rows_go_to_pandas_arrow_and_polars():
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    runs = (run(1, params={"p:x": 0.1, "p:big": 10**30}), run(2, params={"p:x": "auto", "p:big": [1, "\udcff"]}))
    result = RunsListResult(now="", runs=runs)
    frame = result.to_pandas()
    assert list(frame["x"]) == [0.1, "auto"]
    assert str(frame["start"].dtype).startswith("datetime64")
    table = result.to_arrow()
    assert table.column("x").to_pylist() == ["0.1", "auto"]
    assert table.column("seconds").type == pyarrow.float64()
    assert pyarrow.table(result).num_rows == 2
    for empty in (LsResult().to_pandas(), LsResult().to_arrow().to_pandas()):
        assert list(empty.columns)[:3] == ["path", "kind", "size_bytes"]
    assert isinstance(LsResult(entries=MANY).to_pandas(), pandas.DataFrame)
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(result).height == 2
