"""The words of `diff`."""

from dataclasses import replace

from dvlite.show import Show
from dvlite.text.diff import stat, text
from dvlite.workspace.changes import FileChange
from tests.text.samples import DIFF


def said(result, show=None):
    return list(text(result, show or Show()))


def test_diff():
    assert said(DIFF) == [
        "data  +2 -1 ~1, 1 renamed  50.0 GiB -> 51.0 GiB",
        "  + a.jpg  10 B",
        "  + b.jpg  10 B",
        "  - c.png  2.0 KiB",
        "  ~ d  3 B (+2 B), symlink -> file",
        "  > old -> new  7 B",
        "model.pt  +1  new, 1.0 MiB",
        "  files not listed: its data is not here",
    ]


def test_a_file_is_shown_from_the_current_folder():
    change = FileChange(change="modified", path="sub/f", old_size_bytes=1, size_bytes=1)
    result = replace(DIFF, paths=(replace(DIFF.paths[1], path="sub/f", files=(change,), incomplete=None),))
    assert said(result, Show(folder="sub"))[1] == "  ~ f  1 B"


def test_files_that_moved_to_another_folder_together_are_one_line():
    moved = tuple(
        FileChange(change="renamed", path=f"data/new dir/{n}", old_path=f"data/{n}", old_size_bytes=7, size_bytes=7)
        for n in range(5)
    )
    (data, _), edited = DIFF.paths, FileChange(change="modified", path="data/x", old_size_bytes=1, size_bytes=1)
    result = replace(DIFF, paths=(replace(data, files=(*moved, edited)),))
    assert said(result)[1:] == ["  > ./ -> new dir/  5 files, all of them with -v", "  ~ x  1 B"]
    assert len(said(result, Show(verbose=1))) == 7
    few = replace(DIFF, paths=(replace(data, files=moved[:4]),))
    assert len(said(few)) == 5


def test_diff_stat_is_a_line_for_each_tracked_path():
    lines = list(stat(DIFF, Show()))
    assert len(lines) == 2
    assert lines[0].startswith("data      +2  -1  ~1  1 renamed  50.0 GiB -> 51.0 GiB  +2 .jpg  -1 .png")
