"""The words of `add`."""

from dvlite.commands.add import AddResult
from dvlite.show import Show
from dvlite.text.add import text
from dvlite.workspace.adder import AddedPath
from tests.text.samples import GIB, GULLS, IMAGES, MIB


def said(result, show=None):
    return list(text(result, show or Show()))


def test_add_a_new_directory():
    result = AddResult(
        paths=(IMAGES,),
        staged=("data/images.dvlite", "data/.gitignore"),
        cache_grew_bytes=400 * MIB,
        cache_free_bytes=212 * GIB,
        shares_blocks=True,
        has_remote=False,
        elapsed_seconds=108,
    )
    assert said(result) == [
        "Added data/images: 384,211 files, 50.0 GiB (2,104 already in the cache; left out: 3 .DS_Store). 1m48s",
        "cache +400.0 MiB (files share blocks with the workspace), 212.0 GiB free",
        "staged in git: data/images.dvlite data/.gitignore",
        "next: git commit; dvlite remote add s3://BUCKET/PREFIX",
    ]


def test_add_of_changes():
    assert said(AddResult(paths=(GULLS,), staged=("data/images.dvlite",), elapsed_seconds=0.9)) == [
        "Added data/images: +1,204 -3 files, +161.0 MiB. 0.9 s",
        "staged in git: data/images.dvlite",
        "next: git commit; dvlite push",
    ]


def test_add_of_nothing_new():
    same = AddedPath(path="a", kind="file", oid="x", size_bytes=1, unchanged=True)
    assert said(AddResult(paths=(same,))) == ["Nothing to add: a unchanged. 0.0 s"]
    assert said(AddResult()) == ["Nothing to add: nothing changed."]


def test_add_of_many_files_is_summed_up():
    many = tuple(AddedPath(path=f"d/{i}", kind="file", oid="x", size_bytes=MIB, created=True) for i in range(1200))
    lines = said(AddResult(paths=many, suggest_folder="d", unstaged=("d/1.dvlite",)))
    assert lines[0] == "Added 1,200 paths: 1,200 files, 1.2 GiB. 0.0 s"
    assert "1,200 single files: a folder is tracked as one, dvlite add d" in lines
    assert lines[-1].startswith("next: git add d/1.dvlite && git commit; ")
