"""`import dvlite`: cheap, and what it shows is what it promises."""

import pickle
import re
import subprocess
import sys

import pytest

import dvlite
from dvlite import errors
from tests.test_docs import error_classes

PUBLIC = [
    "Busy", "DvliteError", "FormatError", "NotARepository", "ObjectCorrupt", "ObjectMissing", "PartlyDone",
    "ProgressEvent", "RemoteError", "Repo", "StageFailed", "TrainingLog", "Untrusted", "UsageError", "__version__",
    "log",
    "open",
]  # fmt: skip


def test_public_names_stay():
    assert sorted(dvlite.__all__) == PUBLIC
    assert dir(dvlite) == PUBLIC
    assert all(getattr(dvlite, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError):
        dvlite.nothing  # noqa: B018


def test_import_loads_nothing_else():
    code = "import sys; before = set(sys.modules); import dvlite; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dvlite"]


@pytest.mark.parametrize("name", error_classes())
def test_errors_come_out_of_other_processes(name):
    kind = getattr(errors, name)
    error = kind.__new__(kind, "it failed")
    error.__dict__.update(message="it failed", hint="try again", place="x")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.hint, copy.exit_code) == (kind, "it failed", "try again", kind.exit_code)
    assert copy.__dict__ == error.__dict__


SNIPPET = """\
import dvlite

reveal_type(dvlite.Repo("x", rev="v1").status().clean)
reveal_type(dvlite.open("x", "r", rev="v1").read())
reveal_type(dvlite.open("x").read())
with dvlite.log("metrics") as log:
    log(loss=0.5)
dvlite.Repo().add("x", updat=True)
dvlite.Repo(progress=lambda event: print(event.done_bytes))
"""


@pytest.mark.long
def test_a_type_checker_sees_the_public_face(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(SNIPPET)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        str(tmp_path),
        "program.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert re.findall(r'Revealed type is "(\w+)"', done.stdout) == ["bool", "str", "bytes"]
    assert [line.split(":")[1] for line in done.stdout.splitlines() if "error:" in line] == ["8"]
