"""The examples are true: in a fresh copy of each, what its page shows is what happens; and `make demo` ends as it should."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.test_docs import PROJECT, execute, steps

pytestmark = pytest.mark.long
EXAMPLES = PROJECT / "examples"


@pytest.fixture
def with_learning(on_path, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install dvlite[demo]")
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("name", ["digits", "images", "network", "tables"])
def test_an_example_does_what_its_page_shows(name, tmp_path, with_learning):
    shutil.copytree(EXAMPLES / name, tmp_path / name)
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert steps(text)
    findings = execute(text, tmp_path / name, most_seconds=600)
    assert not findings, "\n".join(findings)


def test_the_demo_is_as_it_should_be_and_leaves_its_page(tmp_path, with_learning):
    page = tmp_path / "runs.html"
    environ = {**os.environ, "TMPDIR": str(tmp_path), "DEMO_PAGE": str(page)}
    command = ["bash", str(EXAMPLES / "demo.sh")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert page.stat().st_size > 100_000
