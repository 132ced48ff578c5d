"""The words of `diff`."""

from dvlite.show import Show
from dvlite.text.diff import stat, text
from tests.text.samples import DIFF


def said(result, show=None):
    return list(text(result, show or Show()))


def test_diff():
    assert said(DIFF) == [
        "data  +2 -1 ~1 1 renamed  50.0 GiB -> 51.0 GiB",
        "  + a.jpg  10 B",
        "  + b.jpg  10 B",
        "  - c.png  2.0 KiB",
        "  ~ d  3 B (+2 B), symlink -> file",
        "  > old -> new  7 B",
        "model.pt  +1  new, 1.0 MiB",
        "  files not listed: its data is not here",
    ]


def test_diff_stat_is_a_line_for_each_tracked_path():
    lines = list(stat(DIFF, Show()))
    assert len(lines) == 2
    assert lines[0].startswith("data      +2  -1  ~1  1 renamed  50.0 GiB -> 51.0 GiB  +2 .jpg  -1 .png")
