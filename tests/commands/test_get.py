"""`get` copies data out of any repository; it trusts what a clone would, and overwrites nothing."""

import os
import shutil
import subprocess

import pytest

from dvlite.commands.get import get
from dvlite.errors import FormatError, ObjectCorrupt
from dvlite.git.program import Git
from dvlite.progress import NullProgress
from dvlite.reading.filesystem import DvliteFileSystem
from tests.commands.badserver import Page, serving
from tests.commands.project import Project, fill, tree


@pytest.fixture
def pushed(prepared, tmp_path):
    """A repository with two commits of data, all pushed, and a bare one beside it."""

    def build(project):
        fill(project, "in/data")
        project.write("model.pt", b"m" * 100_000)
        project.dvlite("add", "in/data", "model.pt")

    project = prepared("data-to-get", build, remote=False)
    project.dvlite("remote", "add", tmp_path / "store")  # a relative one cannot be reached by URL
    project.commit("First")
    project.git("tag", "v1")
    project.write("model.pt", b"n" * 100_000)
    project.write("in/data/later.txt", "later")
    project.dvlite("add", "-u")
    project.commit("Second")
    project.dvlite("push", "--all-commits")
    project.git("clone", "-q", "--bare", ".", tmp_path / "bare.git")
    return project


@pytest.fixture
def outside(tmp_path, invoke):
    """A folder that is no repository."""
    (tmp_path / "outside").mkdir()
    return Project(tmp_path / "outside", invoke)


SOURCES = ["folder", "bare folder", "file url"]


@pytest.fixture(params=SOURCES)
def source(request, pushed):
    bare = pushed.root.parent / "bare.git"
    return {"folder": str(pushed.root), "bare folder": str(bare), "file url": bare.as_uri()}[request.param]


def test_a_tracked_path_a_folder_above_and_what_is_inside(source, pushed, outside):
    outside.dvlite("get", source, "model.pt")
    assert outside.read("model.pt") == b"n" * 100_000
    outside.dvlite("get", source, "in/data", "-o", "here")
    assert tree(outside.root / "here") == tree(pushed.root / "in/data")
    result = outside.json("get", source, "in/data/sub/b.txt", "-o", "b")
    assert outside.read("b") == b"beta"
    assert (result["files"], result["size_bytes"]) == (1, 4)
    outside.dvlite("get", source, "in/data/sub")
    assert tree(outside.root / "sub") == tree(pushed.root / "in/data/sub")
    outside.dvlite("get", source, "in")
    assert tree(outside.root / "in/data") == tree(pushed.root / "in/data")
    outside.dvlite("get", source, "in/data/run.sh")
    assert os.access(outside.root / "run.sh", os.X_OK)
    outside.dvlite("get", source, "in/data/link", "-o", "followed")
    assert outside.read("followed") == b"beta"
    outside.dvlite("get", source, "in/data/empty")
    assert tree(outside.root / "empty") == {}
    assert [name for name in os.listdir(outside.root) if name.startswith(".")] == []


@pytest.mark.parametrize(
    ("source", "revision"),
    [(source, "v1") for source in SOURCES] + [("file url", other) for other in ("HEAD~1", "commit", "short", "side")],
    indirect=["source"],
)
def test_any_revision(source, pushed, outside, revision):
    commit = pushed.git("rev-parse", "v1").strip()
    pushed.git("branch", "-f", "side", "v1")
    pushed.git("push", "-q", str(pushed.root.parent / "bare.git"), "side")
    name = {"commit": commit, "short": commit[:9]}.get(revision, revision)
    result = outside.json("get", source, "model.pt", "--rev", name)
    assert outside.read("model.pt") == b"m" * 100_000
    assert result["revision"] == commit
    assert "nothing in 'in/data'" in outside.dvlite("get", source, "in/data/later.txt", "--rev", name, code=2).stderr


def test_large_files_of_git_stay_away(pushed, outside, monkeypatch):
    pushed.write("code.bin", os.urandom(1_000_000))
    pushed.commit("A large file in git")
    bare = pushed.root.parent / "bare.git"
    pushed.git("push", "-q", str(bare), "main")
    pushed.git("-C", str(bare), "config", "uploadpack.allowFilter", "true")
    sizes = []
    run = Git.resolve

    def resolve(git, revision):
        sizes.append(sum(file.stat().st_size for file in (git.root / ".git/objects").rglob("*") if file.is_file()))
        return run(git, revision)

    monkeypatch.setattr(Git, "resolve", resolve)
    outside.dvlite("get", bare.as_uri(), "model.pt")
    outside.dvlite("get", bare.as_uri(), "model.pt", "--rev", "HEAD~1", "-o", "old")
    assert max(sizes) < 100_000
    assert outside.read("old") == outside.read("model.pt")


def test_files_of_git_come_along(pushed, outside):
    pushed.write("in/labels.csv", "a,b")
    pushed.write("in/large.bin", b"l" * 100_000)
    (pushed.root / "in" / "link").symlink_to("labels.csv")
    pushed.write("in/run.sh", "#!/bin/sh")
    (pushed.root / "in" / "run.sh").chmod(0o755)
    pushed.commit("Files of git")
    bare = pushed.root.parent / "bare.git"
    pushed.git("push", "-q", str(bare), "main")
    wanted = {
        name: content for name, content in tree(pushed.root / "in").items() if name not in {".gitignore", "data.dvlite"}
    }
    for number, source in enumerate((bare.as_uri(), pushed.root)):
        outside.dvlite("get", source, "in", "-o", f"got{number}")
        assert tree(outside.root / f"got{number}") == wanted
        assert outside.dvlite("get", source, "HEAD:in/labels.csv", "-o", "-").stdout == "a,b"
    pushed.write("in/labels.csv", "edited")
    assert pushed.dvlite("cat", "labels.csv", cwd="in").stdout == "edited"
    assert pushed.dvlite("cat", "HEAD:labels.csv", cwd="in").stdout == "a,b"
    assert pushed.dvlite("cat", "HEAD~1:in/data/a.txt").stdout == "alpha"
    assert pushed.dvlite("get", "v1:model.pt", "-o", "-").stdout == "m" * 100_000


def test_standard_output_gets_one_verified_file(source, outside):
    assert outside.dvlite("get", source, "in/data/sub/b.txt", "-o", "-").stdout == "beta"
    assert outside.dvlite("get", source, "model.pt", "-o", "-").stdout == "n" * 100_000
    assert "single file" in outside.dvlite("get", source, "in/data", "-o", "-", code=2).stderr


def test_nothing_is_overwritten(pushed, outside):
    outside.write("model.pt", "mine")
    outside.write("folder/data", "mine")
    for target in ([], ["-o", "model.pt"], ["-o", "."]):
        assert "nothing is overwritten" in outside.dvlite("get", pushed.root, "model.pt", *target, code=2).stderr
    assert "nothing is overwritten" in outside.dvlite("get", pushed.root, "in/data", "-o", "folder", code=2).stderr
    assert "no folder" in outside.dvlite("get", pushed.root, "model.pt", "-o", "no/such", code=2).stderr
    assert outside.read("model.pt") == outside.read("folder/data") == b"mine"
    outside.dvlite("get", pushed.root, "model.pt", "-o", "folder/")
    assert outside.has("folder/model.pt")


def test_a_revision_may_not_be_empty(pushed, outside):
    assert "revision before ':' is empty" in pushed.dvlite("get", ":data", "-o", "copy", code=2).stderr


def test_the_pointers_on_disk_count_in_a_folder(pushed, outside):
    pushed.write("model.pt", "not committed")
    pushed.dvlite("add", "-u")
    outside.dvlite("get", pushed.root, "model.pt")
    assert outside.read("model.pt") == b"not committed"
    outside.dvlite("get", pushed.root / "in", "data/a.txt")  # relative to the folder that is given
    assert outside.read("a.txt") == b"alpha"


def test_a_pointer_file_is_enough(pushed, outside):
    outside.dvlite("get", pushed.root / "model.pt.dvlite", "-o", "copy")
    assert outside.read("copy") == b"n" * 100_000
    assert "version already" in outside.dvlite("get", pushed.root / "model.pt.dvlite", "x", code=2).stderr


def test_what_checkout_force_saved_comes_back(pushed):
    pushed.write("in/data/a.txt", "edited")
    done = pushed.dvlite("checkout", "--force", "in/data")
    pointer = done.stderr.partition("dvlite get ")[2].split()[0]
    pushed.dvlite("get", pointer, "-o", "saved")
    assert tree(pushed.root / "saved") == {"a.txt": (b"edited", False)}


def test_wrong_sources_and_paths(pushed, outside):
    assert "cannot find 'nowhere'" in outside.dvlite("get", "nowhere", "x", code=2).stderr
    assert "not in a git repository" in outside.dvlite("get", ".", "x", code=10).stderr
    assert "missing the path" in outside.dvlite("get", pushed.root, code=2).stderr
    bare = pushed.root.parent / "bare.git"
    assert "there is no 'x'" in outside.dvlite("get", bare, "x", code=2).stderr
    assert "there is no remote 'nope'" in outside.dvlite("get", "-r", "nope", pushed.root, "model.pt", code=2).stderr
    assert "no commit 'nope'" in outside.dvlite("get", bare, "model.pt", "--rev", "nope", code=2).stderr
    start = pushed.git("rev-list", "--max-parents=0", "HEAD").strip()
    assert "does not use dvlite" in outside.dvlite("get", bare, "model.pt", "--rev", start, code=10).stderr
    assert "cannot read 'file:///no/such/repo'" in outside.dvlite("get", "file:///no/such/repo", "x", code=1).stderr
    assert os.listdir(outside.root) == []


def test_a_password_in_an_address_is_in_no_message_and_no_result(pushed, outside, monkeypatch):
    url = "https://me:secret@example.com/birds.git"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{(pushed.root.parent / 'bare.git').as_uri()}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", url)
    first = pushed.git("rev-list", "--max-parents=0", "HEAD").strip()
    for words, code in (["none"], 2), (["../none"], 2), (["x", "--rev", "none"], 2), (["x", "--rev", first], 10):
        failed = outside.dvlite("get", url, *words, code=code)
        assert "https://example.com/birds.git" in failed.stderr
        assert "secret" not in failed.stderr
    assert "secret" not in outside.dvlite("get", url, code=2).stderr
    assert "in https://example.com/birds.git" in outside.dvlite("get", url, "model.pt").stdout
    assert outside.json("ls", url)["source"] == "https://example.com/birds.git"


def test_a_strangers_remote_is_not_used_before_it_is_trusted(pushed, outside, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-of-another"))
    bare = pushed.root.parent / "bare.git"
    done = outside.dvlite("get", bare.as_uri(), "model.pt", code=1)
    assert f"dvlite remote trust {tmp_path / 'store'}" in done.stderr
    outside.dvlite("remote", "trust", tmp_path / "store")
    outside.dvlite("get", bare.as_uri(), "model.pt")
    shutil.rmtree(tmp_path / "store")
    outside.dvlite("get", bare.as_uri(), "model.pt", "-o", "again")  # from the user's own cache
    assert outside.read("again") == b"n" * 100_000


def test_a_remote_relative_to_a_clone_cannot_be_reached_by_url(project, outside):
    project.dvlite("remote", "add", "../store")
    project.write("x", "x")
    project.dvlite("add", "x")
    project.commit()
    project.dvlite("push")
    done = outside.dvlite("get", project.root.as_uri(), "x", code=1)
    assert "relative to a clone" in done.stderr


def test_missing_data_is_12(pushed, outside, tmp_path):
    bare = pushed.root.parent / "bare.git"
    for pack in (tmp_path / "store/packs").iterdir():
        pack.unlink()
    assert "not on" in outside.dvlite("get", bare, "model.pt", code=12).stderr
    assert os.listdir(outside.root) == []
    pushed.dvlite("remote", "remove", "origin")
    shutil.rmtree(pushed.cache)
    assert "no remote is configured" in outside.dvlite("get", pushed.root, "model.pt", code=12).stderr


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_damaged_cache_heals_or_fails_with_13(pushed, outside, tmp_path):
    large = max((pushed.cache / "files").rglob("*/*"), key=lambda path: path.stat().st_size)
    flip(large)
    outside.dvlite("get", pushed.root, "in/data/big.bin")
    assert outside.read("big.bin") == pushed.read("in/data/big.bin")
    flip(large)
    assert outside.dvlite("get", pushed.root, "in/data/big.bin", "-o", "-", code=0).stdout
    flip(large)
    shutil.rmtree(tmp_path / "store")
    assert "is damaged" in outside.dvlite("get", pushed.root, "in/data/big.bin", "-o", "x", code=13).stderr
    assert not outside.has("x")


def test_a_stream_gets_nothing_of_a_damaged_file(pushed, tmp_path):
    shutil.rmtree(tmp_path / "store")
    flip(max((pushed.cache / "files").rglob("*/*"), key=lambda path: path.stat().st_size))
    with open(tmp_path / "out", "wb") as stream, pytest.raises(ObjectCorrupt):
        get(str(pushed.root), "in/data/big.bin", output=stream, environ=os.environ, progress=NullProgress())
    assert (tmp_path / "out").read_bytes() == b""


def test_a_link_that_leaves_what_is_asked_for_is_refused(project, outside):
    project.write("data/x", "x")
    project.write("data/sub/y", "y")
    (project.root / "data/sub/up").symlink_to("../x")
    project.dvlite("add", "data")
    assert "symbolic link 'up'" in outside.dvlite("get", project.root, "data/sub", code=2).stderr
    outside.dvlite("get", project.root, "data/sub/up")
    assert outside.read("up") == b"x"


def test_names_that_look_like_patterns(project, outside):
    project.write("data/a[1]*.txt", "odd")
    project.write("data/a1.txt", "plain")
    project.dvlite("add", "data")
    outside.dvlite("get", project.root, "data/a[1]*.txt", "-o", "odd")
    assert outside.read("odd") == b"odd"


def test_from_a_bucket(project, outside, weed, s3_url):
    project.dvlite("remote", "add", s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    before = fill(project)
    project.dvlite("add", "data")
    project.commit()
    project.dvlite("push")
    outside.dvlite("get", project.root.as_uri(), "data/sub/b.txt")
    assert outside.read("b.txt") == b"beta"
    outside.dvlite("get", project.root.as_uri(), "data")
    assert tree(outside.root / "data") == before


def test_a_plain_url_is_downloaded_and_taken_up_by_the_next_command(outside, monkeypatch):
    body = os.urandom(3_000_000)
    pages = {"/data/a%20b.csv": Page(b"a,b"), "/big": Page(body, etag='"big"', stops=1000, sends=10_000)}
    monkeypatch.setenv("DVLITE_RETRY_SECONDS", "0.2")
    with serving(pages) as web:
        assert "Wrote a b.csv (3 B)" in outside.dvlite("get", f"{web}/data/a%20b.csv").stdout
        assert outside.read("a b.csv") == b"a,b"
        assert outside.dvlite("get", f"{web}/data/a%20b.csv", "-o", "-").stdout == "a,b"
        assert "nothing is overwritten" in outside.dvlite("get", f"{web}/data/a%20b.csv", code=2).stderr
        outside.dvlite("get", f"{web}/big", code=1)
        assert not outside.has("big")
        pages["/big"].stops = 0
        pages["/big"].asked.clear()
        outside.dvlite("get", f"{web}/big?token=secret", code=1)
        outside.dvlite("get", f"{web}/big")
        assert outside.read("big") == body
        (_, part, _) = pages["/big"].asked[-1]
        assert part is not None
        assert sorted(os.listdir(outside.root)) == ["a b.csv", "big"]
        assert "secret" not in outside.dvlite("get", f"{web}/none?token=secret", code=1).stderr
    assert "missing the path" in outside.dvlite("get", "https://example.com/x.git", code=2).stderr


def test_a_broken_pointer_stops_what_it_is_about_and_nothing_else(source, pushed, outside):
    pushed.write("broken.dvlite", "dvlite: 1\nkind: what\n")
    pushed.commit("Break one")
    pushed.git("push", "-q", "-f", str(pushed.root.parent / "bare.git"), "main")
    for more in ((), ("--rev", "main")):
        listed = outside.json("ls", source, *more)
        assert {"model.pt", "in"} <= {entry["path"] for entry in listed["entries"]}
        done = outside.dvlite("get", source, "in/data", *more, "-o", f"data{len(more)}")
        assert "broken.dvlite" in done.stderr
        for path in ("broken", "."):
            failed = outside.dvlite("get", source, path, *more, "-o", "none", code=1)
            assert "broken.dvlite' line 2" in failed.stderr


@pytest.fixture
def with_strange_names(pushed, outside):
    """Returns a function that makes a commit as git itself would not, with a file of this name in the folder `in`; returns its URL."""

    def commit(name):
        def write(kind, data):
            command = ["git", "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
            return subprocess.run(command, cwd=pushed.root, input=data, check=True, capture_output=True).stdout.strip()

        def nested(parts, of_file):
            mode, part = (b"40000" if parts[1:] else b"100644"), parts[0].replace(b"|", b"/")
            inner = nested(parts[1:], of_file) if parts[1:] else of_file
            return write("tree", b"%b %b\0%b" % (mode, part, bytes.fromhex(inner.decode())))

        folder = nested(name.split(b"/"), write("blob", b"evil"))
        rows = pushed.git("ls-tree", "HEAD").splitlines()
        rows = [row for row in rows if not row.endswith("\tin")] + [f"040000 tree {folder.decode()}\tin"]
        listed = "\n".join(rows) + "\n"
        command = ["git", "mktree"]
        top = subprocess.run(command, cwd=pushed.root, input=listed, check=True, capture_output=True, text=True).stdout
        made = pushed.git("commit-tree", top.strip(), "-p", "HEAD", "-m", "Strange").strip()
        bare = pushed.root.parent / "bare.git"
        pushed.git("push", "-q", str(bare), f"{made}:refs/heads/strange")
        return bare.as_uri()

    return commit


@pytest.mark.parametrize("name", [b"../evil", b"..|..|evil", b".git/hooks/evil", b"x/.GIT/evil", b"./evil", b"a||b"])
def test_names_that_only_a_hostile_commit_has_are_refused(with_strange_names, outside, name):
    url = with_strange_names(name)
    there = tree(outside.root.parent)
    for command in (("get", url, "in"), ("get", url, ".", "-o", "all"), ("ls", url, "in")):
        error = outside.dvlite(*command, "--rev", "strange", code=1).stderr
        assert "refused path" in error
    with pytest.raises(FormatError, match="refused path"):
        DvliteFileSystem(url, "strange").get("in", str(outside.root / "read"), recursive=True)
    assert tree(outside.root.parent).keys() - there.keys() == set()


def test_settings_of_a_project_in_a_folder_do_not_come_along(with_strange_names, outside):
    url = with_strange_names(b"sub/.dvlite/config.yaml")
    assert "there is no 'in'" in outside.dvlite("get", url, "in", "--rev", "strange", code=2).stderr
