"""`import-lfs` and `export-lfs`: files that Git LFS keeps become tracked paths and back, whole or not at all."""

import hashlib
import os
import shutil
import subprocess

import pytest

from dvlite.errors import DvliteError
from tests.commands.lfs_repository import LINE, LfsRepository
from tests.commands.project import fill, tree
from tests.trees import noise

LARGE = bytes(range(256)) * 8192  # 2 MiB: a file of its own in the cache


@pytest.fixture
def theirs(project):
    return LfsRepository(project)


def test_files_are_tracked_whether_they_are_checked_out_or_not(project, theirs, monkeypatch):
    theirs.give("*.bin", "/notes/** lockable linguist-generated")
    theirs.give("*.dat", folder="data/")
    theirs.track("data/sp ace é.bin", b"a", checked_out=False)
    theirs.track("run.bin", b"run")
    (project.root / "run.bin").chmod(0o755)
    theirs.track("only-on-disk.bin", b"disk", kept=False)
    theirs.track("data/large.dat", LARGE)
    theirs.track("data/again.dat", LARGE, checked_out=False)
    project.write("empty.bin", b"")
    theirs.commit()
    before, index = project.tracked(), project.git("ls-files", "-s")
    planned = project.json("import-lfs", "-n")
    assert (len(planned["paths"]), planned["staged"], project.tracked()) == (5, [], before)
    assert project.git("ls-files", "-s") == index
    monkeypatch.setattr("dvlite.moving.lfs_import._MANY", 3)
    result = project.json("import-lfs")
    assert ["rm --cached data && dvlite add data" in text for text in result["warnings"]] == [True]
    assert {row["path"]: row["size_bytes"] for row in result["paths"]} == {
        "data/again.dat": len(LARGE),
        "data/large.dat": len(LARGE),
        "data/sp ace é.bin": 1,
        "only-on-disk.bin": 4,
        "run.bin": 3,
    }
    assert result["absent"]
    assert result["attributes"] == [".gitattributes", "data/.gitattributes"]
    assert project.read(".gitattributes").startswith(b"/notes/** linguist-generated\n*.dvlite ")
    assert not project.has("data/.gitattributes")
    project.git("commit", "-qm", "Move")
    project.dvlite("checkout")
    assert project.read("data/sp ace é.bin") == b"a"
    assert project.read("data/again.dat") == LARGE
    assert os.access(project.root / "run.bin", os.X_OK)
    assert project.is_clean()
    assert "run.bin" not in project.git("ls-files").split()
    project.git("revert", "--no-edit", "HEAD")
    assert project.git("ls-files", "-s") == index


def test_data_that_is_nowhere_whole_stops_the_import_or_stays_with_git_lfs(project, theirs):
    theirs.give("*.bin", "*.dat", "/sub/*.txt")
    theirs.track("good.bin", b"good")
    theirs.track("gone.dat", b"gone", kept=False, checked_out=False)
    flipped = theirs.track("flipped.dat", b"flipped", checked_out=False)
    project.write(theirs.object(flipped), b"flopped")
    large = theirs.track("large.dat", LARGE, checked_out=False)
    project.write(theirs.object(large), LARGE[:-1] + b"!")
    theirs.track("long.dat", b"short", size=9 * 10**18, checked_out=False)
    theirs.commit()
    index = project.git("ls-files", "-s")
    assert "flipped.dat" in project.dvlite("import-lfs", code=13).stderr
    assert (project.git("ls-files", "-s"), project.git("status", "--porcelain", "-uall")) == (index, " M good.bin\n")
    printed = project.dvlite("import-lfs", "--allow-missing", code=3).stdout
    assert "gone.dat stays with Git LFS" in printed
    assert project.tracked() == ["good.bin"]
    assert project.read(".gitattributes").startswith(f"*.dat {LINE}\n*.dvlite ".encode())
    assert project.has("gone.dat")


def test_pointers_that_cannot_be_carried_stay_and_are_named(project, theirs):
    theirs.give("*.bin")
    theirs.track("good.bin", b"good")
    project.write(".git/info/attributes", b"good.bin filter=lfs\n")
    theirs.track("\x1b[31mred.bin", b"e", more=f"ext-0-foo sha256:{'0' * 64}\n", checked_out=False)
    theirs.track(".gitx.bin", b"x", checked_out=False)
    project.write("data.bin", b"the data itself")
    project.write("long.bin", b"version https://git-lfs.github.com/spec/v1\n" + b"x" * 10_000)
    project.write("no-pointer.bin", f"version https://git-lfs.github.com/spec/v1\noid sha256:{'../' * 21}.\nsize 1\n")
    project.write("tracked/x", b"x")
    project.dvlite("add", "tracked")
    theirs.track("tracked/y.bin", b"y", checked_out=False)
    project.git("add", "-f", "tracked/y.bin")
    theirs.track("sub/z.bin", b"z", checked_out=False)
    theirs.commit()
    (project.root / "sub").rename(project.root.parent / "sub")
    (project.root / "sub").symlink_to("../sub")
    done = project.dvlite("import-lfs", code=3)
    assert "\x1b" not in done.stdout + done.stderr
    assert len(done.stdout.split("stays with Git LFS")) == 8
    assert "still give 'good.bin'" in done.stderr
    assert not (project.root.parent / "sub" / "z.bin.dvlite").exists()
    assert project.tracked() == ["good.bin", "tracked"]
    assert project.read(".gitattributes").startswith(b"*.bin filter=lfs")


@pytest.mark.parametrize("step", ["moving.lfs_import.put_into_index", "repo.repository.Repo.stage"])
def test_a_stopped_import_is_completed_by_the_next(project, theirs, monkeypatch, step):
    theirs.give("*.bin")
    theirs.track("x.bin", b"x")
    theirs.commit()
    with monkeypatch.context() as patch:
        patch.setattr(f"dvlite.{step}", _stop)
        project.dvlite("import-lfs", code=1)
    project.dvlite("import-lfs", code=None)
    project.git("commit", "-qm", "Move")
    assert project.is_clean()
    assert project.tracked() == ["x.bin"]
    assert b"lfs" not in project.read(".gitattributes")


def test_a_stopped_export_is_completed_by_the_next(project, monkeypatch):
    project.write("x", b"x")
    project.dvlite("add", "x")
    project.commit()
    with monkeypatch.context() as patch:
        patch.setattr("dvlite.moving.lfs_export.put_into_index", _stop)
        project.dvlite("export-lfs", code=1)
    project.dvlite("export-lfs")
    assert project.git("show", ":x").startswith("version https://git-lfs")
    assert project.git("status", "--porcelain", "-uall").split() == [
        "M",
        ".gitattributes",
        "D",
        ".gitignore",
        "AM",
        "x",
        "D",
        "x.dvlite",
    ]


def _stop(*_, **__):
    raise DvliteError("stopped")


def test_what_git_could_not_bring_back_is_refused(project, theirs):
    assert "keeps no file" in project.dvlite("import-lfs", code=2).stderr
    assert "tracks nothing" in project.dvlite("export-lfs", code=2).stderr
    theirs.give("*.bin")
    theirs.track("x.bin", b"x")
    project.git("add", "-A")
    assert "not as in the last commit" in project.dvlite("import-lfs", code=2).stderr
    project.write("y", b"y")
    project.dvlite("add", "y")
    assert "not as in the last commit" in project.dvlite("export-lfs", code=2).stderr


def test_tracked_paths_go_to_git_lfs_with_all_they_hold_and_come_back(project, theirs):
    fill(project)
    project.write("my [1] é.bin", LARGE)
    project.write("obeyed/.gitattributes", b"* text\n")
    project.write("obeyed/x", b"x")
    project.dvlite("add", "data", "my [1] é.bin", "obeyed")
    project.commit()
    version = project.read("my [1] é.bin.dvlite")
    assert len(project.json("export-lfs", "-n", code=3)["paths"]) == 2
    assert project.git("status", "--porcelain") == ""
    result = project.json("export-lfs", code=3)
    assert (list(result["left"]), len(result["warnings"])) == (["obeyed"], 1)
    assert f"/data/** {LINE}\n/my[[:space:]]\\[1\\][[:space:]]é.bin {LINE}\n*.dvlite ".encode() in project.read(
        ".gitattributes"
    )
    rows = [line.split("\t") for line in project.git("-c", "core.quotePath=false", "ls-files", "-s").splitlines()]
    modes = {path: head.split()[0] for head, path in rows}
    assert (modes["data/run.sh"], modes["data/link"], modes["data/a.txt"]) == ("100755", "120000", "100644")
    assert project.git("show", ":data/a.txt").startswith("version https://git-lfs")
    name = project.git("show", ":my [1] é.bin").split()[3].removeprefix("sha256:")
    assert project.read(theirs.object(name)) == LARGE
    assert not project.has("data.dvlite")
    assert not project.has("my [1] é.bin.dvlite")
    project.git("commit", "-qm", "Move")
    assert project.json("import-lfs")["attributes"] == [".gitattributes"]
    assert project.read("my [1] é.bin.dvlite") == version
    assert b"lfs" not in project.read(".gitattributes")


def test_data_that_the_cache_lacks_or_has_damaged_is_not_exported(project):
    project.write("x", LARGE)
    project.dvlite("add", "x")
    project.commit()
    (stored,) = (path for path in project.cache.rglob("*") if path.is_file() and path.stat().st_size == len(LARGE))
    stored.chmod(0o644)
    stored.write_bytes(LARGE[:-1] + b"!")
    assert "damaged" in project.dvlite("export-lfs", code=13).stderr
    stored.unlink()
    assert "dvlite fetch" in project.dvlite("export-lfs", code=12).stderr
    assert project.git("status", "--porcelain") == ""


@pytest.fixture
def history(prepared):
    """Returns a repository with four commits, of which three have pointers, on two branches that were merged, and tags."""

    def build(project):
        theirs = LfsRepository(project)
        project.git("tag", "before")
        theirs.give("*.bin", "kept.txt linguist-generated")
        theirs.give("*.dat", folder="sub/")
        theirs.track("x.bin", b"one", checked_out=False)
        (project.root / "x.bin").chmod(0o755)
        theirs.track("sub/y.dat", LARGE, checked_out=False)
        project.write("sub/.gitignore", b"*.tmp")
        project.write("empty.bin", b"")
        theirs.commit()
        project.git("tag", "-a", "v1", "-m", "Version 1")
        project.git("switch", "-qc", "side")
        theirs.track("side.bin", b"side", checked_out=False)
        theirs.commit()
        project.git("switch", "-q", "main")
        theirs.track("x.bin", b"two", checked_out=False)
        project.git("rm", "-q", "sub/y.dat")
        theirs.commit()
        project.git("merge", "-q", "--no-edit", "side")
        project.git("branch", "-q", "--no-track", "also")

    return prepared("lfs-history", build, remote=False)


REFS = "for-each-ref", "--format=%(refname) %(objectname)"
WORDS = "log", "--format=%an %ae %at %cn %ct %B", "--topo-order"


def test_each_commit_of_all_branches_and_tags_has_its_data_in_dvlite(history):
    git, before = history.git, history.git(*REFS)
    words = git(*WORDS, "main")
    plan = history.json("import-lfs", "--all-history", "-n")
    assert (len(plan["paths"]), len(plan["refs"]), git(*REFS)) == (4, 5, before)
    assert len(plan["warnings"]) == 1
    assert "names no remote" in plan["warnings"][0]
    history.write("x.bin", b"two")  # as git-lfs checks it out
    result = history.json("import-lfs", "--all-history")
    assert sorted(row["size_bytes"] for row in result["paths"]) == [3, 3, 4, len(LARGE)]
    assert result["refs"] == ["refs/heads/also", "refs/heads/main", "refs/heads/side", "refs/tags/v1"]
    assert git(*WORDS, "main") == words
    assert (
        git("cat-file", "tag", "v1").split("\n")[1:]
        == git("cat-file", "tag", "refs/original/refs/tags/v1").split("\n")[1:]
    )
    rows = [line.split() for line in history.read(".git/dvlite/lfs-commits").decode().splitlines()]
    assert dict(rows)[git("rev-parse", "refs/original/refs/heads/main").strip()] == git("rev-parse", "main").strip()
    assert len(rows) == result["commits"] == 4
    assert history.read("x.bin") == b"two"
    assert not history.has("side.bin")  # was a pointer of Git LFS on disk
    history.dvlite("checkout")
    assert history.is_clean()
    assert history.read("side.bin") == b"side"
    git("checkout", "-q", "v1")
    history.dvlite("checkout")
    assert (history.read("x.bin"), history.read("sub/y.dat")) == (b"one", LARGE)
    assert os.access(history.root / "x.bin", os.X_OK)
    assert history.read("sub/.gitignore") == b"*.tmp\n/y.dat\n"
    assert (history.has("sub/.gitattributes"), history.read(".gitattributes").count(b"lfs")) == (False, 0)
    assert history.is_clean()
    assert git("fsck", "--strict") == ""
    git("switch", "-q", "main")
    assert "keeps what it was" in history.dvlite("import-lfs", "--all-history", code=2).stderr
    moves = git("for-each-ref", "--format=update %(refname:lstrip=2) %(objectname)", "refs/original")
    subprocess.run(["git", "update-ref", "--stdin"], cwd=history.root, input=moves, text=True, check=True)
    git("reset", "-q", "--hard")
    assert [line for line in git(*REFS).splitlines() if "original" not in line] == before.splitlines()
    assert git("status", "--porcelain") == ""


def test_a_stash_that_will_not_fit_the_new_history_is_warned_of(history):
    history.write("note.txt", "mine")
    history.git("stash", "-q", "--include-untracked")
    assert "what is stashed stays" in history.json("import-lfs", "--all-history", "-n")["warnings"][1]


def test_history_is_not_touched_unless_all_of_it_can_be_carried(history, tmp_path):
    git, before = history.git, history.git(*REFS)

    def refused(words, code=2):
        assert words in history.dvlite("import-lfs", "--all-history", code=code).stderr
        assert git(*REFS) == before

    history.write("new", b"")
    refused("not as in the last commit")
    (history.root / "new").unlink()
    git("checkout", "-q", "--detach")
    refused("no branch")
    git("switch", "-q", "main")
    git("worktree", "add", "-q", str(tmp_path / "other"), "side")
    refused("other work trees")
    git("worktree", "remove", str(tmp_path / "other"))
    history.write(".git/info/exclude", b"*.bin.dvlite\n")
    history.write("x.bin.dvlite", b"mine")
    refused("in the way")
    (history.root / "x.bin.dvlite").unlink()
    lost = history.root / LfsRepository(history).object(hashlib.sha256(b"one").hexdigest())
    lost.unlink()
    refused("git lfs fetch --all", code=12)
    result = history.json("import-lfs", "--all-history", "--allow-missing", code=3)
    assert list(result["left"]) == ["x.bin"]
    assert git("show", "v1:x.bin").startswith("version https://git-lfs")
    assert git("show", "v1:.gitattributes").startswith(f"*.bin {LINE}")
    assert git("ls-tree", "--name-only", "main", "x.bin.dvlite") == "x.bin.dvlite\n"


def test_an_import_of_history_that_was_stopped_is_completed_by_the_next(history, monkeypatch):
    for step in ("_move", "_follow"):
        with monkeypatch.context() as patch:
            patch.setattr(f"dvlite.moving.lfs_history.{step}", _stop)
            history.dvlite("import-lfs", "--all-history", code=1)
    mine = history.read(".gitattributes")
    history.write(".gitattributes", b"mine")
    assert "was changed since" in history.dvlite("import-lfs", "--all-history", code=2).stderr
    history.write(".gitattributes", mine)
    history.json("import-lfs", "--all-history")
    history.dvlite("checkout")
    assert history.is_clean()
    assert history.tracked() == ["side.bin", "x.bin"]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
def test_the_real_client_agrees_before_and_after(project, tmp_path):
    git = project.git
    git("init", "-q", "--bare", str(tmp_path / "origin.git"))
    git("remote", "add", "origin", str(tmp_path / "origin.git"))
    git("lfs", "install", "--local")
    git("lfs", "track", "*.bin", "data/**")
    fill(project)
    project.write("my [1] é.bin", noise(3_000_000, seed=1))
    project.write("empty.bin", b"")
    project.commit("With Git LFS")
    git("push", "-q", "origin", "HEAD:refs/heads/main")
    before = _files(project.root)
    assert git("lfs", "ls-files").count("\n") == 6
    assert "dvlite init" in project.dvlite("import-lfs", code=1).stderr  # data/** is below dvlite's lines, and wins
    project.dvlite("init", "--no-hooks")
    assert len(project.json("import-lfs")["paths"]) == 6
    git("commit", "-qm", "Move to dvlite")
    assert project.is_clean()
    assert git("lfs", "ls-files") == ""
    assert project.json("export-lfs")["left"] == {}
    git("commit", "-qm", "Back to Git LFS")
    assert git("status", "--porcelain") == ""
    assert "OK" in git("lfs", "fsck")
    assert git("lfs", "ls-files").count("\n") == 6
    git("push", "-q", "origin", "HEAD:refs/heads/main")
    assert _files(_cloned(tmp_path, "clone")) == before


@pytest.mark.long
@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
def test_every_commit_gives_what_the_real_client_gave(project):
    git = project.git
    git("lfs", "install", "--local")
    git("lfs", "track", "*.bin", "data/**/*.csv")
    project.dvlite("init", "--no-hooks")  # its lines come after those of Git LFS
    for number in range(4):
        project.write("my [1] é.bin", noise(300_000, seed=number))
        project.write(f"data/{number}/t.csv", f"{number}\n" * 3)
        project.write("code.py", f"x = {number}\n")
        project.commit(f"Commit {number}")
        git("tag", f"t{number}")
    git("mv", "data/0", "data/moved")
    git("rm", "-q", "data/1/t.csv")
    project.commit("Moved")
    tags = "t0", "t2", "main"
    before = {}
    for tag in tags:
        git("checkout", "-q", tag)
        before[tag] = _files(project.root)
    count = project.json("import-lfs", "--all-history")["commits"]
    assert count == 5
    project.dvlite("checkout")
    for tag in tags:
        git("checkout", "-q", tag)
        project.dvlite("checkout")
        now = {name: what for name, what in _files(project.root).items() if not name.endswith(".dvlite")}
        assert {name: what for name, what in now.items() if ".gitignore" not in name} == before[tag]
        assert project.is_clean()
    moves = git("for-each-ref", "--format=update %(refname:lstrip=2) %(objectname)", "refs/original")
    subprocess.run(["git", "update-ref", "--stdin"], cwd=project.root, input=moves, text=True, check=True)
    git("reset", "-q", "--hard")
    assert git("status", "--porcelain") == ""
    assert "OK" in git("lfs", "fsck")
    assert _files(project.root) == before["main"]


def _cloned(folder, name):
    filters = {"clean": "git-lfs clean -- %f", "smudge": "git-lfs smudge -- %f", "process": "git-lfs filter-process"}
    settings = [f"--config=filter.lfs.{key}={value}" for key, value in filters.items()]
    subprocess.run(["git", "clone", "-q", *settings, folder / "origin.git", folder / name], check=True)
    return folder / name


def _files(folder):
    """Returns what git has of a work tree, but not the files of dvlite and their lines."""
    own = (".git", ".dvlite")
    return {name: what for name, what in tree(folder).items() if what and not name.startswith(own)}
