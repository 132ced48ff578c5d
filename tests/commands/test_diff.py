"""`diff` says which files differ, and reads no more than it needs."""

import shutil

import pytest

from dvlite.store.cache import Cache
from tests.commands.project import fill


@pytest.fixture
def filled(prepared):
    def build(project):
        fill(project)
        project.write("model.pt", b"m" * 100_000)
        project.dvlite("add", "data", "model.pt")
        project.commit("Add data")

    return prepared("data-and-model.pt", build, remote=False)


def changed(project, *args, code=0):
    """Returns `sign path` of every change, and `old > new` for renames."""
    signs = {"added": "+", "removed": "-", "modified": "~"}
    found = []
    for path in project.json("diff", *args, code=code)["paths"]:
        for change in path["files"]:
            if change["change"] == "renamed":
                found.append(f"{change['old_path']} > {change['path']}")
            else:
                found.append(f"{signs[change['change']]} {change['path']}")
    return found


def edit(project):
    project.write("data/new.txt", "new")
    project.write("data/a.txt", "alpha, edited")
    (project.root / "data/run.sh").chmod(0o644)
    (project.root / "data/sub/deep/c.bin").unlink()
    (project.root / "data/big.bin").rename(project.root / "data/sub/big.bin")
    project.write("model.pt", b"n" * 100_000)


EDITS = ["~ data/a.txt", "+ data/new.txt", "~ data/run.sh", "data/big.bin > data/sub/big.bin"]
EDITS += ["+ data/sub/deep", "- data/sub/deep/c.bin"]  # an empty folder is something, too


def test_edits_against_the_pointers_on_disk(filled):
    assert filled.dvlite("diff", "--exit-code").stdout == "No data differs between pointers and workspace.\n"
    edit(filled)
    assert changed(filled, "--exit-code", code=1) == [*EDITS, "~ model.pt"]
    (data, model) = filled.json("diff")["paths"]
    assert data["counts"] == {"added": 2, "removed": 1, "modified": 2, "renamed": 1, "delta_bytes": 3 + 8 - 10}
    assert [change["executable_changed"] for change in data["files"]].count(True) == 1
    assert model["old_size_bytes"] == model["size_bytes"] == 100_000
    assert "+2  -1  ~2" in filled.dvlite("diff", "--stat").stdout
    filled.dvlite("add", "-u")
    assert changed(filled) == []


def test_revisions_against_the_workspace_and_each_other(filled):
    edit(filled)
    filled.dvlite("add", "-u")
    filled.commit("Edit")
    wanted = [*EDITS, "~ model.pt"]
    assert changed(filled, "HEAD") == []
    assert changed(filled, "HEAD~1") == wanted
    assert changed(filled, "HEAD~1", "HEAD") == wanted
    assert changed(filled, "HEAD~1..HEAD") == changed(filled, "HEAD~1..") == wanted
    back = changed(filled, "HEAD", "HEAD~1")
    assert "- data/new.txt" in back
    assert "data/sub/big.bin > data/big.bin" in back
    result = filled.json("diff", "HEAD~1")
    assert (result["old"], result["new"]) == ("HEAD~1", "workspace")


def test_three_dots_start_at_the_common_commit(filled):
    filled.git("checkout", "-qb", "side")
    filled.write("data/side.txt", "side")
    filled.dvlite("add", "-u")
    filled.commit("Side")
    filled.git("checkout", "-q", "main")
    filled.dvlite("checkout")
    filled.write("data/main.txt", "main")
    filled.dvlite("add", "-u")
    filled.commit("Main")
    assert changed(filled, "main..side") == ["- data/main.txt", "+ data/side.txt"]
    assert changed(filled, "main...side") == ["+ data/side.txt"]


def test_paths_that_came_and_went_or_changed_their_kind(filled):
    filled.write("other", "other")
    filled.dvlite("add", "other")
    filled.dvlite("mv", "data", "moved")
    (filled.root / "model.pt").unlink()
    filled.write("model.pt/part", "a folder now")
    filled.dvlite("add", "model.pt")
    filled.commit("All of it")
    assert changed(filled, "HEAD~1", "HEAD") == ["- model.pt", "+ model.pt/part", "data > moved", "+ other"]
    assert changed(filled, "HEAD", "HEAD~1") == ["moved > data", "+ model.pt", "- model.pt/part", "- other"]


def test_paths_narrow_it_down(filled):
    edit(filled)
    assert changed(filled, "--", "model.pt") == ["~ model.pt"]
    assert changed(filled, "--", "data/sub") == ["+ data/sub/big.bin", "+ data/sub/deep", "- data/sub/deep/c.bin"]
    assert changed(filled, "HEAD", "--", "data/*.txt") == ["~ data/a.txt", "+ data/new.txt"]
    assert "not tracked" in filled.dvlite("diff", "--", "nothing", code=2).stderr


def test_wrong_revisions(filled):
    assert "not a commit" in filled.dvlite("diff", "nope", code=2).stderr
    assert "at most two" in filled.dvlite("diff", "HEAD", "HEAD", "HEAD", code=2).stderr
    filled.git("checkout", "-q", "--orphan", "alone")
    filled.git("commit", "-qm", "Alone")
    assert "no common commit" in filled.dvlite("diff", "main...alone", code=2).stderr


def test_what_was_left_out_by_choice_is_no_change(filled):
    shutil.rmtree(filled.root / "data")
    filled.dvlite("checkout", "data/sub")
    assert changed(filled) == []
    filled.write("data/sub/b.txt", "edited")
    filled.write("data/new.txt", "new")
    assert changed(filled) == ["+ data/new.txt", "~ data/sub/b.txt"]
    (filled.root / "model.pt").unlink()
    assert changed(filled, "--", "model.pt") == ["- model.pt"]


def test_equal_files_that_moved_find_the_one_of_their_name(filled):
    for name in ("x/1", "x/2", "y/3"):
        filled.write(f"many/{name}", "equal")
    filled.dvlite("add", "many")
    filled.commit()
    (filled.root / "many/x").rename(filled.root / "many/z")
    (filled.root / "many/y/3").rename(filled.root / "many/y/4")
    assert changed(filled) == ["many/y/3 > many/y/4", "many/x/1 > many/z/1", "many/x/2 > many/z/2"]


def test_equal_nodes_are_never_read(project, monkeypatch):
    for i in range(2500):
        project.write(f"data/{i:05}", str(i))
    project.dvlite("add", "data")
    project.commit()
    project.write("data/01000", "edited")
    project.dvlite("add", "-u")
    project.commit()
    reads = []
    read = Cache.read_node
    monkeypatch.setattr(Cache, "read_node", lambda cache, digest: reads.append(digest) or read(cache, digest))
    assert changed(project, "HEAD~1", "HEAD") == ["~ data/01000"]
    assert len(set(reads)) == 4  # of each side the top and one leaf


def test_missing_listings_are_fetched_alone_or_missed(shared, colleague):
    fill(shared)
    shared.dvlite("add", "data")
    shared.commit()
    shared.write("data/new.txt", "new")
    shared.dvlite("add", "data")
    shared.commit()
    shared.dvlite("push", "--all-commits")
    other = colleague(shared)
    assert "dvlite remote trust" in other.dvlite("diff", "HEAD~1", "HEAD", code=12).stderr
    other.dvlite("remote", "trust", shared.root.parent / "store")
    assert changed(other, "HEAD~1", "HEAD") == ["+ data/new.txt"]
    assert not list((other.cache / "files").rglob("*.*"))


# --- behind git diff ---


@pytest.mark.usefixtures("on_path")
def test_git_diff_of_a_pointer_lists_files(filled):
    edit(filled)
    filled.dvlite("add", "-u", "--no-stage")
    shown = filled.git("diff")
    for words in ("data  +2 -1 ~2, 1 renamed", "~ a.txt", "+ new.txt", "big.bin -> sub/big.bin", "model.pt"):
        assert words in shown
    filled.git("add", "-u")
    assert "+ new.txt" in filled.git("diff", "--cached")
    filled.commit()
    assert "+ new.txt" in filled.git("show", "--ext-diff")
    filled.git("mv", "data.dvlite", "moved.dvlite")
    assert "data -> moved" in filled.git("diff", "--cached", "-M")
    filled.git("rm", "-q", "model.pt.dvlite")
    assert "gone, was 97.7 KiB" in filled.git("diff", "--cached", "-M")


@pytest.mark.usefixtures("on_path")
def test_git_diff_survives_what_is_no_pointer_and_what_is_not_cached(filled):
    filled.write("data.dvlite", "nonsense\n")
    assert "cannot read 'data.dvlite' line 1" in filled.git("diff")
    filled.git("checkout", "-q", "data.dvlite")
    filled.write("data.dvlite", filled.read("data.dvlite") + b"meta:\n  note: x\n")
    assert "only 'meta' differs" in filled.git("diff")
    text = filled.read("data.dvlite").decode()
    oid = text.partition("manifest:")[2][:64]
    filled.write("data.dvlite", text.replace(oid, "0" * 64))
    assert "not in the cache" in filled.git("diff")


@pytest.mark.usefixtures("on_path")
def test_git_diff_of_a_conflict_says_so(filled):
    for branch in ("one", "two"):
        filled.git("checkout", "-qb", branch, "main")
        filled.write("data/a.txt", branch)
        filled.dvlite("add", "-u")
        filled.commit(branch)
    with pytest.raises(Exception, match="merge"):
        filled.git("merge", "-q", "one")
    assert "<<<<<<<" in filled.git("diff")  # git asks no driver here
    assert "merge conflict" in filled.dvlite("diff", "--driver", "data.dvlite").stdout
