"""Repositories with a model, for tests of what servers read."""

import pytest

from tests.commands.conftest import prepared, start_project  # noqa: F401  (a fixture)

TRAIN = """\
stages:
  train:
    cmd: mkdir -p models/birds/sub && cat k.txt data/a.csv > models/birds/weights.bin && cp net.py models/birds/model.py && cp k.txt models/birds/sub/k
    deps: [data, net.py, k.txt]
    outs: [models/birds]
"""
HANDLER = "def handle(data, context):\n    return None\n"


def trained(project):
    """A model of a run, twice: at the tag v1, and now."""
    project.write("data/a.csv", "a,b\n1,2\n" * 9000)
    project.write("net.py", "class TritonPythonModel:\n    pass\n")
    project.write("handler.py", HANDLER)
    project.write("dvlite.yaml", TRAIN)
    project.dvlite("add", "data")
    for number in ("1", "2"):
        project.write("k.txt", number)
        project.dvlite("repro", "-q")
        project.write("model.pt", f"weights {number}\n" * 9000)
        project.dvlite("add", "model.pt")
        project.commit(f"Model {number}")
        project.git("tag", f"v{number}")


@pytest.fixture
def birds(prepared):  # noqa: F811
    return prepared("served-birds", trained, remote=False)
