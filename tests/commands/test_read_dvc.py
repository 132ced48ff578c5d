"""Repositories of DVC read as they are, by URL and by folder: `get`, `ls`, `import`, `update`, and from Python."""

import json
import os
import shutil
import subprocess

import pytest

import dvlite
from dvlite.errors import ObjectMissing
from dvlite.reading.filesystem import DvliteFileSystem
from tests.commands.dvc_repository import DvcRepository, md5
from tests.commands.project import Project, tree
from tests.copies import copy_of, first_commit

LARGE = bytes(range(256)) * 8192  # 2 MiB: a file of its own in the cache
DATA = {"a.txt": b"a\n", "sub/b.txt": b"b\n", "sub/large.bin": LARGE}
CONFIG = "[core]\nremote = far\n['remote \"far\"']\nurl = {}\n"


@pytest.fixture
def birds(tmp_path, invoke):
    """Returns a repository of DVC whose remote is the folder `far` beside it; `theirs` writes more into both."""

    def build(folder):
        (folder / "birds").mkdir()
        first_commit(folder / "birds")
        project = Project(folder / "birds", invoke)
        theirs = DvcRepository(project, store="../far")
        theirs.track("data", theirs.folder(DATA))
        theirs.track("tool", theirs.put(b"#!/bin/sh\n"), "  isexec: true\n  size: 10\n")
        project.write("README", b"hi\n")
        made = "".join(
            f"    - {{path: {path}, md5: {name}, hash: md5}}\n"
            for path, name in (("out/o.txt", theirs.put(b"out")), ("README", md5(b"hi\n")))
        )
        project.write("dvc.lock", f"schema: '2.0'\nstages:\n  p:\n    cmd: p\n    outs:\n{made}".encode())
        project.commit()

    return Project(copy_of("birds-of-dvc", build, tmp_path) / "birds", invoke)


@pytest.fixture
def trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "far"))


@pytest.fixture(params=["folder", "url"])
def where(request, birds, tmp_path):
    """Returns how the repository is named: a clone, or the URL of one without a work tree, whose config has an absolute place."""
    if request.param == "folder":
        return str(birds.root)
    birds.write(".dvc/config", CONFIG.format(tmp_path / "far").encode())
    birds.commit()
    birds.git("clone", "-q", "--bare", ".", str(tmp_path / "birds.git"))
    return f"file://{tmp_path}/birds.git"


def test_what_dvc_tracks_is_listed_copied_and_opened_once_it_came(birds, where, tmp_path, trusted):
    top, below = (birds.json("ls", *words, where)["entries"] for words in ([], ["-R"]))
    assert {row["path"]: row["kept_by"] for row in top} == {
        "README": "git", "data": "dvc", "dvc.lock": "git", "out": "dvc", "tool": "dvc",
    }  # fmt: skip
    assert {row["path"] for row in below if row["path"].startswith("data/")} == {f"data/{name}" for name in DATA}
    birds.dvlite("get", where, "data", "-o", tmp_path / "data")
    assert {path: facts for path, facts in tree(tmp_path / "data").items() if facts} == {
        path: (data, False) for path, data in DATA.items()
    }
    with dvlite.open("tool", repo=where) as file:
        assert file.read() == b"#!/bin/sh\n"
    birds.dvlite("get", where, "tool", "-o", tmp_path / "tool")
    assert (tmp_path / "tool").stat().st_mode & 0o100
    shutil.rmtree(tmp_path / "far/files/md5" / md5(LARGE)[:2])
    with open(f"{os.environ['XDG_CACHE_HOME']}/dvlite/dvc-names", "a") as notes:
        notes.write(f"junk\n{'0' * 32} new")  # a process was killed
    assert birds.dvlite("get", where, "data/sub/b.txt", "-o", "-").stdout == "b\n"
    with dvlite.open("data/sub/large.bin", repo=where) as file:
        file.seek(-2, 2)
        assert file.read() == LARGE[-2:]
    assert "are: 'far'" in birds.dvlite("get", where, "data", "-r", "none", code=2).stderr
    assert "did you mean data" in birds.dvlite("get", where, "dataa", code=2).stderr
    assert birds.git("status", "--porcelain") == ""
    assert not birds.has(".git/dvlite")


def test_a_version_of_dvc_is_a_file_system(birds, where, trusted):
    files = DvliteFileSystem(where)
    assert files.ls("", detail=False) == ["README", "data", "dvc.lock", "out", "tool"]
    assert (files.ls("data/sub", detail=False), files.isdir("data/sub"), files.exists("data/x")) == (
        ["data/sub/b.txt", "data/sub/large.bin"], True, False,
    )  # fmt: skip
    assert files.find("") == ["README", *(f"data/{name}" for name in sorted(DATA)), "dvc.lock", "out/o.txt", "tool"]
    assert files.cat("data", recursive=True) == {f"data/{name}": data for name, data in DATA.items()}
    assert files.info("data/a.txt")["oid"] == f"md5:{md5(DATA['a.txt'])}"


def test_an_import_follows_a_repository_of_dvc(project, birds, trusted):
    project.dvlite("import", "../birds", "data/sub", "-o", "sub")
    project.commit()
    assert {path: facts[0] for path, facts in tree(project.root / "sub").items()} == {
        "b.txt": b"b\n",
        "large.bin": LARGE,
    }
    assert project.json("update")["paths"][0]["state"] == "current"
    theirs = DvcRepository(birds, store="../far")
    theirs.track("data", theirs.folder(DATA | {"sub/b.txt": b"other\n"}))
    birds.commit()
    assert project.json("update")["paths"][0]["state"] == "updated"
    assert project.read("sub/b.txt") == b"other\n"


def test_commits_from_before_the_move_can_be_read(project):
    theirs = DvcRepository(project)
    theirs.track("data", theirs.folder(DATA))
    project.commit()
    project.dvlite("import-dvc")
    project.commit()
    project.dvlite("checkout")
    project.write("data/a.txt", b"new\n")
    project.dvlite("add", "data")
    assert project.dvlite("get", "HEAD~1:data/a.txt", "-o", "-").stdout == "a\n"
    with dvlite.open("data/a.txt", repo=project.root, rev="HEAD~1") as file:
        assert file.read() == b"a\n"
    assert project.dvlite("get", "data/a.txt", "-o", "-").stdout == "new\n"


def test_a_far_repository_that_moved_has_its_old_commits_where_its_data_is_now(birds, tmp_path, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "far"))
    birds.write(".dvc/config", CONFIG.format(tmp_path / "far").encode())
    birds.commit()
    birds.git("tag", "v1")
    birds.dvlite("init")
    birds.commit()
    assert "git push origin from-dvc" in birds.dvlite("import-dvc", "--all-history").stdout
    birds.commit()
    birds.git("clone", "-q", "--bare", ".", str(tmp_path / "moved.git"))
    url, commit = f"file://{tmp_path}/moved.git", birds.git("rev-parse", "v1").strip()

    def read(place, revision):
        monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/cache-{revision}-{birds.git('rev-parse', 'HEAD').strip()}")
        return birds.dvlite("get", place, "data/sub/b.txt", "--rev", revision, "-o", "-").stdout

    assert read(str(tmp_path / "moved.git"), "v1") == "b\n"  # from DVC's remote: there is no other
    birds.dvlite("remote", "add", str(tmp_path / "store"))
    birds.commit()
    birds.dvlite("push", "--all-commits")
    birds.git("push", "-q", str(tmp_path / "moved.git"), "HEAD")
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    shutil.rmtree(tmp_path / "far")
    assert (read(url, "v1"), read(url, commit)) == ("b\n", "b\n")


def test_what_cannot_be_read_is_named(birds, tmp_path, trusted):
    name = md5(DATA["a.txt"])
    stored = tmp_path / "far/files/md5" / name[:2] / name[2:]
    stored.write_bytes(b"c\n")
    assert "a.txt: " in birds.dvlite("get", "data", "-o", "out", code=13).stderr
    stored.unlink()
    printed = birds.dvlite("get", "data/a.txt", code=12).stderr
    assert ("'data'" in printed, "dvc push" in printed) == (True, True)
    with pytest.raises(ObjectMissing), dvlite.open("data/a.txt", repo=birds.root) as file:
        file.read()
    birds.write(
        "mine.dvc",
        b"deps:\n- path: x\n  repo: {url: 'https://example.com/a'}\nouts:\n- path: mine\n  md5: " + b"0" * 32,
    )
    assert "dvlite ls https://example.com/a" in birds.dvlite("get", "mine", code=12).stderr
    assert not birds.has("out")


def test_a_place_that_the_user_did_not_approve_is_not_read(birds, where):
    assert "has not approved" in birds.dvlite("get", where, "data", "-o", "x", code=1).stderr
    assert not birds.has("x")


def test_a_folder_beside_a_clone_cannot_be_reached_by_the_url(birds, tmp_path, trusted):
    birds.git("clone", "-q", "--bare", ".", str(tmp_path / "birds.git"))
    assert "relative to a clone" in birds.dvlite("get", f"file://{tmp_path}/birds.git", "data", code=2).stderr


def test_a_hostile_listing_is_refused(birds, trusted):
    theirs = DvcRepository(birds, store="../far")
    theirs.track("data", theirs.put(json.dumps([{"md5": "0" * 32, "relpath": "../../x"}]).encode(), ".dir"))
    for words in (["get", "data"], ["ls", "-R", birds.root]):
        assert "'..' part" in birds.dvlite(*words, code=1).stderr


@pytest.mark.long
@pytest.mark.usefixtures("real_dvc")
def test_versions_are_those_that_dvc_itself_gets(birds, tmp_path, weed, s3_url, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", weed.endpoint_url)
    birds.git("rm", "-qrf", ".")
    there = tmp_path / "birds.git"
    birds.git("init", "-q", "--bare", str(there))

    def run(*words):
        subprocess.run(words, cwd=birds.root, check=True, capture_output=True)

    birds.write(".dvc/config", f"{CONFIG.format(s3_url)}endpointurl = {weed.endpoint_url}\n".encode())
    for number in range(2):
        for path, data in DATA.items():
            birds.write(f"data/{path}", data[number:])
        run("dvc", "add", "-q", "data")
        run("dvc", "push", "-q")
        birds.commit()
        birds.git("tag", f"v{number}")
    run("git", "push", "-q", "--tags", str(there), "HEAD")
    for number in range(2):
        birds.dvlite("get", f"file://{there}", "data", "--rev", f"v{number}", "-o", tmp_path / f"v{number}")
    run("dvc", "get", "-q", str(there), "data", "--rev", "v0", "-o", str(tmp_path / "theirs"))
    assert tree(tmp_path / "v0") == tree(tmp_path / "theirs")
    assert tree(tmp_path / "v1") == tree(birds.root / "data")
