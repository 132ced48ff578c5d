"""The words of `status`."""

from dvlite.commands.status import StatusResult, UncommittedPointer
from dvlite.show import Show
from dvlite.text.status import text
from dvlite.workspace.changes import Counts
from dvlite.workspace.path_status import AbsentPath, ChangedPath
from tests.text.samples import MIB


def said(result, show=None):
    return list(text(result, show or Show()))


def test_status_has_parts_each_with_the_command_that_settles_it():
    result = StatusResult(
        clean=False,
        tracked=4,
        changed=(
            ChangedPath(
                path="data/images", kind="directory", counts=Counts(added=1204, removed=3, delta_bytes=161 * MIB)
            ),
            ChangedPath(path="model.pt", kind="file", counts=Counts(modified=1)),
        ),
        missing=(AbsentPath(path="x", kind="file", files=1, size_bytes=5),),
        uncommitted=(UncommittedPointer(path="x.dvlite", state="untracked"),),
        not_in_cache=(
            AbsentPath(path="data/b", kind="directory", files=2, size_bytes=MIB, whole=False, example="data/b/1"),
        ),
        not_pushed=(
            AbsentPath(path="x", kind="file", files=1, size_bytes=5),
            AbsentPath(path="y", kind="file", files=0, size_bytes=0, whole=False),
        ),
        remote="origin",
    )
    assert said(result) == [
        "Data changed, not added          (dvlite add -u, or undo: dvlite checkout --force data/images)",
        "  data/images  1,204 files added, 3 deleted  +161.0 MiB",
        "  model.pt     changed",
        "Not in the workspace             (dvlite checkout)",
        "  x  1 file, 5 B",
        "Not committed                    (git commit)",
        "  x.dvlite  untracked",
        "Not in the cache                 (dvlite pull)",
        "  data/b  2 files, 1.0 MiB  for example data/b/1",
        "Not on origin                    (dvlite push)",
        "  x  1 file, 5 B",
        "  y  its files are there, this version is not noted",
    ]


def test_a_clean_status_says_what_was_looked_at():
    assert said(StatusResult(clean=True, tracked=1)) == ["Clean: 1 tracked path."]
    assert said(StatusResult(clean=True, tracked=2, not_pushed=(), remote="origin")) == [
        "Clean: 2 tracked paths, complete on origin."
    ]
    assert said(StatusResult(clean=True)) == ["Nothing is tracked yet.", "next: dvlite add PATH"]


def test_what_this_clone_made_and_did_not_push_is_a_note_and_no_finding():
    assert said(StatusResult(clean=True, tracked=1, unpushed=("data",))) == [
        "Clean: 1 tracked path.",
        "Not pushed yet                   (dvlite push)",
        "  data",
    ]


def test_a_clone_without_any_data_is_sent_to_pull_first():
    absent = tuple(AbsentPath(path=path, kind="file", files=1, size_bytes=MIB) for path in "ab")
    assert said(StatusResult(clean=False, tracked=2, missing=absent, not_in_cache=absent)) == [
        "No data here yet                 (dvlite pull)",
        "  2 tracked paths, 2.0 MiB",
    ]
