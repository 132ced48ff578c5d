"""The notebook in examples/ runs from an empty folder to the lineage of a model, and shows what it promises."""

import os
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook" / "birds.ipynb"

BAR = """\
import time
from dvlite.api.progress import reporting
with reporting("bar") as progress:
    progress.start("pushing", total_bytes=100)
    time.sleep(2.5)
"""


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries of notebooks
def test_the_notebook_runs_and_shows_tables_and_a_plot(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for package in ("ipykernel", "matplotlib", "pandas"):
        pytest.importorskip(package)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before a commit"
    notebook.cells.append(nbformat.v4.new_code_cell(BAR))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    drawn = "".join(output.text for output in notebook.cells.pop().outputs)  # not as HTML, which would need widgets
    assert "pushing" in drawn
    assert "widgets" not in drawn
    outputs = [output for cell in notebook.cells if "%%bash" not in cell.source for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "stream"], "nothing prints"
    shown = [output.data for output in outputs if "data" in output]
    tables = [data["text/html"] for data in shown if "text/html" in data]
    assert "<td>50</td>" in tables[1]  # of two versions, what differs
    assert "data/sightings.csv" in tables[2]
    assert tables[3].count("<tr") == 4  # three runs
    assert any("image/png" in data for data in shown)
    assert any("train" in table and "lineage" in table.lower() for table in tables)
    assert "old=0.02, new=0.03" in shown[-1]["text/plain"]
