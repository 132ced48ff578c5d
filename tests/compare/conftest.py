"""What compares two contents of a file."""

import pytest

from dvlite.compare.files import compare_files
from dvlite.formats.comparator import Comparator


def never(script, old, new):
    pytest.fail(f"{script} was run")


@pytest.fixture
def compared(tmp_path):
    """Returns a function that compares two contents of a file by a comparator."""

    def run(old, new, *, name, command=never, **how):
        for folder, data in (("old", old), ("new", new)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return compare_files(tmp_path / "old" / name, tmp_path / "new" / name, name, Comparator(**how), command)

    return run
