"""What people do with git alone: `git mv`, `git rm` and switching branches; `checkout` and `status` follow."""

import pytest

from tests.commands.project import fill, tree


@pytest.fixture
def filled(prepared):
    def build(project):
        fill(project)
        project.write("model.pt", b"m" * 100_000)
        project.dvlite("add", "data", "model.pt")
        project.commit("Add data")

    return prepared("data-and-a-model", build, remote=False)


def test_git_mv_of_a_pointer_moves_the_data(filled):
    before = tree(filled.root / "data")
    filled.git("mv", "data.dvlite", "moved.dvlite")
    assert [row["path"] for row in filled.json("status")["missing"]] == ["moved"]
    filled.dvlite("checkout")
    assert tree(filled.root / "moved") == before
    assert not filled.has("data")
    filled.git("commit", "-qm", "Move")
    assert filled.is_clean()  # git ignores the data in its new place


def test_git_mv_of_a_folder_of_pointers(filled):
    fill(filled, "in/data")
    filled.dvlite("add", "in/data")
    filled.commit()
    filled.git("mv", "in", "out")
    filled.dvlite("checkout")
    filled.commit()
    assert filled.is_clean()
    assert not filled.has("in")
    assert filled.read("out/data/sub/b.txt") == b"beta"


def test_git_rm_of_a_pointer_removes_the_data(filled):
    filled.git("rm", "-q", "data.dvlite")
    assert filled.tracked() == ["model.pt"]
    filled.dvlite("checkout")
    assert not filled.has("data")
    assert filled.has("model.pt")
    filled.git("commit", "-qm", "Remove")
    assert filled.is_clean()
    filled.git("checkout", "-q", "HEAD~1")
    filled.dvlite("checkout")
    assert filled.read("data/sub/b.txt") == b"beta"


@pytest.mark.parametrize("how", [("rm", "-q", "data.dvlite"), ("mv", "data.dvlite", "moved.dvlite")])
def test_data_that_is_only_here_is_left_alone(filled, how):
    filled.write("data/new.txt", "only here")
    filled.git(*how)
    done = filled.dvlite("checkout")
    assert "data that no version has" in done.stderr
    assert filled.read("data/new.txt") == b"only here"
    filled.dvlite("add", "data")
    filled.dvlite("rm", "data")
    assert not filled.has("data")


def test_branches_bring_and_take_their_data(filled):
    filled.git("checkout", "-qb", "other")
    filled.write("data/a.txt", "other's")
    fill(filled, "only/other")
    filled.dvlite("add", "data", "only/other")
    filled.dvlite("rm", "model.pt")
    filled.commit("Other")
    for _ in range(2):
        filled.git("checkout", "-q", "main")
        assert not filled.json("status")["clean"]
        filled.dvlite("checkout")
        assert filled.is_clean()
        assert filled.read("data/a.txt") == b"alpha"
        assert filled.has("model.pt")
        assert not filled.has("only/other")
        filled.git("checkout", "-q", "other")
        filled.dvlite("checkout")
        assert filled.is_clean()
        assert filled.read("data/a.txt") == b"other's"
        assert filled.has("only/other/link")
        assert not filled.has("model.pt")


def test_a_path_that_becomes_a_folder_of_paths(filled):
    """On one branch `data` is tracked, on the other `data/sub` is."""
    filled.git("checkout", "-qb", "split")
    filled.dvlite("rm", "--cached", "data")
    filled.dvlite("add", "data/sub")
    filled.git("add", "-A")
    filled.git("commit", "-qm", "Split")
    filled.git("checkout", "-q", "main")
    filled.dvlite("checkout")
    assert filled.read("data/sub/b.txt") == b"beta"
    assert filled.read("data/a.txt") == b"alpha"


def test_executable_bits_on_disk_do_not_count_where_git_ignores_them(project):
    """As on exFAT, CIFS and the disks of Windows in WSL: all files look executable, or none."""
    project.write("data/a", "1")
    project.write("data/run", "2").chmod(0o755)
    project.write("src/code", "3")
    project.write("dvlite.yaml", "stages: {s: {cmd: cp data/a m, deps: [data, src, in], outs: [m]}}")
    project.write("in", "4")
    project.dvlite("add", "data")
    project.dvlite("repro", "-q")
    project.commit("All")
    (project.root / "in").chmod(0o755)
    (project.root / "data" / "a").chmod(0o755)
    status = project.dvlite("status").stdout
    assert "the executable bit of in changed" in status
    assert not project.is_clean()
    project.git("config", "core.fileMode", "false")
    for name, mode in {"data/run": 0o644, "src/code": 0o755, "m": 0o755}.items():
        (project.root / name).chmod(mode)
    assert project.is_clean()
    assert project.json("verify")["findings"] == []
    project.write("data/new", "5").chmod(0o755)
    project.dvlite("add", "-u")
    listed = {entry["path"]: entry["executable"] for entry in project.json("ls", "-l", "data")["entries"]}
    assert listed == {"data/a": False, "data/new": False, "data/run": True}


def test_data_whose_pointer_is_gone_is_named_until_checkout_removes_it(filled):
    (filled.root / "data.dvlite").unlink()
    assert "(undo: git checkout HEAD -- data.dvlite)" in filled.dvlite("status").stdout
    filled.git("rm", "-q", "data.dvlite")
    filled.git("commit", "-qm", "Remove")
    assert filled.json("status")["left_behind"] == ["data"]
    assert "No longer tracked, still here    (dvlite checkout)" in filled.dvlite("status").stdout
    filled.dvlite("checkout")
    assert filled.json("status")["left_behind"] == []
    filled.write("sub/dvlite.lock", "<<<<<<< HEAD\ndvlite: 1\n=======\ndvlite: 1\n>>>>>>> other\n")
    (filled.root / "model.pt.dvlite").rename(filled.root / "aside")
    assert filled.json("status", code=None)["left_behind"] == [], "what the lockfile tracks is not known"
    (filled.root / "sub" / "dvlite.lock").unlink()
    assert filled.json("status", code=None)["left_behind"] == ["model.pt"]
    (filled.root / "aside").rename(filled.root / "model.pt.dvlite")
    filled.dvlite("rm", "--cached", "model.pt")  # kept on purpose
    assert filled.json("status")["left_behind"] == []
