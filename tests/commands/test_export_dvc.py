"""`export-dvc`: a repository of dvlite becomes one of DVC, in a clone or in place, with its data in DVC's cache."""

import os
import shutil
import subprocess

import pytest

from dvlite.formats import dvc_files
from tests.commands.dvc_repository import DvcRepository, md5

LARGE = bytes(range(256)) * 8192  # 2 MiB: a file of its own in the cache
PIPELINE = """\
stages:
  prep:
    cmd: cat d/sub/* > p.txt
    deps: [d/sub, "d/*.txt"]
    params: [lr, net, {other.yaml: null}]
    outs: [p.txt]
  each:
    foreach: [us, uk]
    do:
      cmd: echo ${item} \\${HOME:-x} > out-${item}
      deps: [p.txt]
      outs: ["out-${item}"]
  train:
    wdir: w
    cmd: [mkdir -p m && cp ../p.txt m/p, "echo '{}' > m.json"]
    deps: [../p.txt, ../src]
    env: {OMP: "1 2"}
    capture: [{env: LANG}]
    outs: [{path: m, persist: true}]
    metrics: [{path: m.json, cache: false}]
metrics: [w/m.json]
plots: [{path: w/m.json, y: acc}, "w/*.csv"]
"""
FILES = {
    "d/a.txt": b"a\n",
    "d/sub/é.txt": b"b\r\n",
    "large.bin": LARGE,
    "src/x.py": b"x = 1\n",
    "params.yaml": b"lr: 0.1\nnet: {kind: mlp, depth: 3}\n",
    "other.yaml": b"k: 1\ndeep: {x: [1, 2], y: null}\n",
    "w/.keep": b"",
    "dvlite.yaml": PIPELINE.encode(),
}


def stored(root, name):
    return (root / ".dvc/cache/files/md5" / name[:2] / name[2:]).read_bytes()


def outs(root, file):
    return {out.path: out for out in dvc_files.parse_file((root / file).read_bytes(), file).outs}


@pytest.fixture
def filled(project):
    """Returns a repository whose stages have run."""
    for name, data in FILES.items():
        project.write(name, data)
    project.write("tool", b"#!/bin/sh\n").chmod(0o755)
    project.dvlite("add", "d", "large.bin", "tool")
    project.write("d.dvlite", project.read("d.dvlite") + b"meta:\n  owner: me\n  desc: Birds\n")
    project.commit()
    project.dvlite("repro")
    project.commit()
    return project


def test_a_clone_is_one_of_dvc_and_the_repository_stays_as_it_is(filled, tmp_path):
    head, there = filled.git("rev-parse", "HEAD"), tmp_path / "there"
    planned = filled.json("export-dvc", "-n", there)
    assert not there.exists()
    result = filled.json("export-dvc", there)
    assert (filled.git("rev-parse", "HEAD"), filled.is_clean()) == (head, True)
    assert [row["path"] for row in planned["paths"]] == [row["path"] for row in result["paths"]]
    listing = dvc_files.dump_listing([("sub/é.txt", md5(b"b\r\n")), ("a.txt", md5(b"a\n"))])
    folder = outs(there, "d.dvc")["d"]
    assert (folder.md5, folder.size_bytes, folder.files) == (md5(listing) + ".dir", 5, 2)
    assert folder.meta == {"owner": "me", "desc": "Birds"}
    assert outs(there, "tool.dvc")["tool"].executable
    for data in (listing, b"b\r\n", LARGE):
        assert stored(there, md5(data) + ".dir" * (data == listing)) == data
    lock = dvc_files.parse_lock((there / "dvc.lock").read_bytes(), "dvc.lock")
    assert [*lock] == ["prep", "each-us", "each-uk", "train"]
    assert lock["prep"].params["params.yaml"] == {"lr": 0.1, "net": {"kind": "mlp", "depth": 3}}
    assert lock["prep"].params["other.yaml"] == {"k": 1, "deep": {"x": [1, 2], "y": None}}
    assert [dep.path for dep in lock["prep"].deps] == ["d/a.txt", "d/sub"]
    assert lock["each-us"].cmd == "echo us ${HOME:-x} > out-us"
    assert lock["train"].cmd.splitlines()[:2] == ["set -e", "export OMP='1 2'"]
    assert [out.path for out in (*lock["train"].deps, *lock["train"].outs)] == ["../p.txt", "../src", "m", "m.json"]
    assert not any(
        name.endswith(("dvlite", "dvlite.yaml", "dvlite.lock")) for name in os.listdir(there) if name[0] != "."
    )
    assert b"__pycache__" in (there / ".dvcignore").read_bytes()
    assert [word in " ".join(result["warnings"]) for word in ("templates", "capture", "w/*.csv")] == [True] * 3
    for words in ([], ["-n"]):
        assert "exists" in filled.dvlite("export-dvc", *words, there, code=2).stderr


def test_what_has_to_run_here_has_to_run_there(filled):
    filled.write("src/x.py", b"x = 2\n")
    filled.write("params.yaml", b"lr: 0.2\nnet: {kind: mlp, depth: 3}\n")
    filled.commit()
    warned = filled.json("export-dvc", "--in-place")["warnings"]
    assert ["prep has to run" in text for text in warned].count(True) == 1
    lock = dvc_files.parse_lock(filled.read("dvc.lock"), "dvc.lock")
    assert lock["prep"].params["params.yaml"]["lr"] == 0.1
    assert [dep.path for dep in lock["train"].deps] == ["../p.txt"]
    assert len(lock["train"].outs) == 2


def test_what_came_from_dvc_goes_back_with_the_same_md5s(project):
    theirs = DvcRepository(project)
    folder, made, code = theirs.folder({"a.txt": b"a\n", "sub/b": b"b"}), theirs.put(b"a\n"), b"x\n"
    theirs.track("data", folder, "  desc: Birds\n")
    theirs.track("large.bin", theirs.put(LARGE), "  isexec: true\n")
    row = "    - {{path: {}, hash: md5, md5: {}}}\n".format
    text = f"    deps:\n{row('data', folder)}{row('x.py', md5(code))}    outs:\n{row('p.txt', made)}"
    project.write("x.py", code)
    project.write(
        "dvc.yaml", b"stages:\n  p:\n    cmd: cat data/a.txt > p.txt\n    deps: [data, x.py]\n    outs: [p.txt]\n"
    )
    project.write("dvc.lock", f"schema: '2.0'\nstages:\n  p:\n    cmd: cat data/a.txt > p.txt\n{text}".encode())
    project.commit()

    def md5s():
        files = {name: outs(project.root, f"{name}.dvc")[name] for name in ("data", "large.bin")}
        locked = dvc_files.parse_lock(project.read("dvc.lock"), "dvc.lock")["p"]
        rows = {out.path: out.md5 for out in (*locked.deps, *locked.outs)}
        return rows, locked.cmd, {name: (out.md5, out.executable, out.meta) for name, out in files.items()}

    before = md5s()
    project.dvlite("import-dvc")
    project.commit()
    shutil.rmtree(project.root / ".dvc/cache")
    project.dvlite("export-dvc", "--in-place")
    assert md5s() == before
    assert stored(project.root, folder) == dvc_files.dump_listing([("a.txt", md5(b"a\n")), ("sub/b", md5(b"b"))])
    project.commit()
    project.git("revert", "--no-edit", "HEAD")
    assert (project.has("data.dvlite"), project.has("data.dvc")) == (True, False)


def test_what_dvc_cannot_have_stays(project):
    project.write("d/a", b"a")
    (project.root / "d/link").symlink_to("a")
    project.write("x", b"x")
    project.dvlite("add", "d", "x")
    project.commit()
    assert "d.dvlite is not exported" in project.dvlite("export-dvc", "--in-place", code=3).stdout
    assert (project.has("d.dvlite"), project.has("x.dvlite"), project.has("x.dvc")) == (True, False, True)


def test_nothing_is_changed_where_it_could_not_be_whole_or_undone(project, tmp_path):
    assert "--in-place" in project.dvlite("export-dvc", code=2).stderr
    assert "tracks nothing" in project.dvlite("export-dvc", "--in-place", code=2).stderr
    project.write("x", LARGE)
    project.dvlite("add", "x")
    assert "not as in the last commit" in project.dvlite("export-dvc", "--in-place", code=2).stderr
    project.write("x.dvc", b"")
    project.commit()
    assert "there already" in project.dvlite("export-dvc", "--in-place", code=2).stderr
    project.git("rm", "-q", "x.dvc")
    (project.root / ".dvc").symlink_to(tmp_path)
    project.commit()
    assert "symbolic link" in project.dvlite("export-dvc", tmp_path / "there", code=2).stderr
    project.git("rm", "-q", ".dvc")
    project.commit()
    large = next(path for path in project.cache.rglob("*") if path.is_file() and path.stat().st_size == len(LARGE))
    large.chmod(0o644)
    large.write_bytes(LARGE[:-1] + b"!")
    assert "damaged" in project.dvlite("export-dvc", tmp_path / "there", code=13).stderr
    large.unlink()
    assert "dvlite fetch" in project.dvlite("export-dvc", tmp_path / "there", code=12).stderr
    assert not (tmp_path / "there").exists()
    assert project.git("status", "--porcelain") == ""


@pytest.mark.long
@pytest.mark.usefixtures("real_dvc")
def test_dvc_itself_has_nothing_to_do(filled, tmp_path):
    def run(folder, *words):
        return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout

    def assert_nothing_to_do(folder):
        assert "up to date" in run(folder, "dvc", "status")
        assert "Running" not in run(folder, "dvc", "repro", "--dry")
        assert "No changes" in run(folder, "dvc", "data", "status")
        run(folder, "dvc", "add", "d", "large.bin", "tool")
        assert run(folder, "git", "status", "--porcelain") == ""

    there = tmp_path / "there"
    filled.dvlite("export-dvc", there)
    run(there, "git", "commit", "-qm", "Move to DVC")
    run(there, "dvc", "checkout")
    assert (there / "large.bin").read_bytes() == LARGE
    assert_nothing_to_do(there)
    filled.dvlite("export-dvc", "--in-place")  # with the data on disk
    filled.commit()
    assert_nothing_to_do(filled.root)
