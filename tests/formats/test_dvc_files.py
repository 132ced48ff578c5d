"""What DVC's files say."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats.dvc_files import LOCK_LIMIT_BYTES, parse_lock, python_values

PARAMETERS = b"""
import os
N: int = 3
lr, x = 1, 2
SHAPES = [(1, 2), {"a": 1.5}]
HERE = os.getcwd()
class Net:
    depth = 2
    def __init__(self):
        self.bias = True
        other = 4
"""


def test_parameters_of_a_python_file_are_what_stands_there_and_nothing_runs():
    assert python_values(PARAMETERS) == {
        "N": 3,
        "SHAPES": [[1, 2], {"a": 1.5}],
        "Net": {"depth": 2, "bias": True},
    }
    assert not any(map(python_values, (b"x = (", b"\0", b"x = " + b"-" * 200_000 + b"1", b"\xff = 1")))


def test_a_lock_may_be_large_and_ends_somewhere():
    row = "  s{0}:\n    cmd: {1}\n    outs:\n    - path: out{0}\n      md5: {2}\n"
    text = "schema: '2.0'\nstages:\n" + "".join(row.format(i, "x" * 5000, "0" * 32) for i in range(220))
    assert len(text) > 1 << 20
    assert len(parse_lock(text.encode(), "dvc.lock")) == 220
    with pytest.raises(FormatError, match="more than"):
        parse_lock(b"#" * (LOCK_LIMIT_BYTES + 1), "dvc.lock")
