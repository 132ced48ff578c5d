"""`ls` shows what is tracked, from listings alone."""

import shutil

import pytest

from dvlite.store.cache import Cache
from tests.commands.project import Project, fill


@pytest.fixture
def filled(prepared):
    def build(project):
        fill(project, "in/data")
        project.write("model.pt", b"m" * 100_000)
        project.dvlite("add", "in/data", "model.pt")
        project.commit("Add data")

    return prepared("in-data-and-a-model", build, remote=False)


def names(project, *args, cwd="."):
    return project.dvlite("ls", *args, cwd=cwd).stdout.splitlines()


def test_tracked_paths_then_one_level_then_everything(filled):
    assert names(filled) == ["in/data", "model.pt"]
    level = ["a.txt", "big.bin", "empty", "link", "run.sh", "sub"]
    assert names(filled, "in/data") == [f"in/data/{name}" for name in level]
    assert names(filled, "in/data/sub") == ["in/data/sub/b.txt", "in/data/sub/deep"]
    assert names(filled, "-R", "in/data/sub") == ["in/data/sub/b.txt", "in/data/sub/deep/c.bin"]
    assert names(filled, "in/data/sub/b.txt") == ["in/data/sub/b.txt"]
    assert names(filled, "in/data.dvlite") == names(filled, "in/data")
    assert names(filled, "in") == ["in/data"]
    assert names(filled, "in/data/*.txt") == ["in/data/a.txt"]
    assert names(filled, "**/*.bin") == ["in/data/big.bin", "in/data/sub/deep/c.bin"]
    assert names(filled, "*.pt") == ["model.pt"]
    everything = names(filled, "-R")
    assert len(everything) == 8
    assert everything[-1] == "model.pt"


def test_paths_are_relative_to_the_current_folder(filled):
    assert names(filled, cwd="in") == ["data"]
    assert names(filled, "data/sub", cwd="in") == ["data/sub/b.txt", "data/sub/deep"]
    assert names(filled, cwd="in/data/sub") == ["b.txt", "deep"]
    assert names(filled, "HEAD:b.txt", cwd="in/data/sub") == ["b.txt"]


def test_long_shows_sizes_links_and_modes(filled):
    entries = {entry["path"]: entry for entry in filled.json("ls", "-l", "-R", "in/data")["entries"]}
    assert entries["in/data/link"]["target"] == "sub/b.txt"
    assert entries["in/data/run.sh"]["executable"]
    assert entries["in/data/empty"]["kind"] == "empty-dir"
    assert entries["in/data/big.bin"]["size_bytes"] == 300_000
    assert entries["in/data/big.bin"]["in_cache"]
    folder = filled.json("ls", "-l", "in/data")["entries"][-1]
    assert (folder["path"], folder["kind"], folder["files"], folder["size_bytes"]) == (
        "in/data/sub",
        "directory",
        2,
        14,
    )
    assert "-> sub/b.txt" in filled.dvlite("ls", "-l", "in/data").stdout


def test_revisions(filled):
    filled.write("in/data/later.txt", "later")
    filled.dvlite("add", "-u")
    assert "in/data/later.txt" in names(filled, "in/data")
    assert "in/data/later.txt" not in names(filled, "HEAD:in/data")
    assert names(filled, "HEAD~1:") == []
    assert names(filled, "HEAD:") == ["in/data", "model.pt"]
    filled.write("a:b", "a colon in a name")
    filled.dvlite("add", "a:b")
    assert names(filled, "a:b") == ["a:b"]


def test_what_is_not_there_is_an_error(filled):
    assert "not tracked" in filled.dvlite("ls", "nothing", code=2).stderr
    assert "nothing in 'in/data' is named 'no'" in filled.dvlite("ls", "in/data/no", code=2).stderr
    assert "nothing in 'model.pt'" in filled.dvlite("ls", "model.pt/no", code=2).stderr
    assert "not a commit" in filled.dvlite("ls", "nope:in/data", code=2).stderr


def test_a_listing_is_fetched_alone(shared, colleague):
    fill(shared)
    shared.dvlite("add", "data")
    shared.commit()
    shared.dvlite("push")
    other = colleague(shared)
    assert other.dvlite("ls").stdout.splitlines() == ["data"]  # the pointer is enough
    store = shared.root.parent / "store"
    assert f"dvlite remote trust {store}" in other.dvlite("ls", "data", code=12).stderr
    other.dvlite("remote", "trust", store)
    entries = {entry["path"]: entry for entry in other.json("ls", "-l", "data")["entries"]}
    assert entries["data/link"]["target"] is None  # what it points to is data
    assert not entries["data/big.bin"]["in_cache"]
    shutil.rmtree(store)
    assert other.dvlite("ls", "data").stdout.splitlines() == shared.dvlite("ls", "data").stdout.splitlines()


def test_without_a_remote_a_missing_listing_is_missing(filled):
    shutil.rmtree(filled.cache)
    done = filled.dvlite("ls", "in/data", code=12)
    assert "cannot list 'in/data'" in done.stderr
    assert "dvlite remote add" in done.stderr


def test_one_folder_of_a_big_listing_reads_few_nodes(project, monkeypatch):
    for i in range(3000):
        project.write(f"data/{i % 60:02}/{i:05}", str(i))
    project.dvlite("add", "data")
    reads = []
    read = Cache.read_node
    monkeypatch.setattr(Cache, "read_node", lambda cache, digest: reads.append(digest) or read(cache, digest))
    assert len(names(project, "data/31")) == 50
    few = len(reads)
    reads.clear()
    assert len(names(project, "-R", "data")) == 3000
    assert few <= 3
    assert len(reads) > 4


def test_another_repository_is_listed_with_files_of_git(filled, tmp_path, invoke):
    filled.write("in/labels.csv", "a,b")
    filled.commit("A file of git")
    filled.dvlite("remote", "add", tmp_path / "store")
    filled.commit("A remote")
    filled.dvlite("push")
    filled.git("clone", "-q", "--bare", ".", tmp_path / "bare.git")
    (tmp_path / "outside").mkdir()
    outside = Project(tmp_path / "outside", invoke)
    for source in (filled.root, (tmp_path / "bare.git").as_uri()):
        rows = outside.json("ls", "-l", source)["entries"]
        assert [(row["path"], row["kind"], row["kept_by"]) for row in rows] == [
            ("in", "directory", "both"),
            ("model.pt", "file", "dvlite"),
        ]
        assert names(outside, source, "in") == ["in/data", "in/labels.csv"]
        assert names(outside, source, "in/labels.csv") == ["in/labels.csv"]
    assert names(outside, source, "in/data/sub") == ["in/data/sub/b.txt", "in/data/sub/deep"]
    assert len(names(outside, "-R", source)) == 9
    assert names(outside, source, "HEAD~2:in") == names(outside, source, "in", "--rev", "HEAD~2") == ["in/data"]
    refused = outside.dvlite("ls", source, "nothing", code=2).stderr
    assert f"hint: what is there: dvlite ls {source}" in refused
    assert names(filled, ".") == ["in/data", "model.pt"], "the repository around the folder"
    assert names(filled, ".", "in") == ["in/data", "in/labels.csv"]
    assert names(filled, "--rev", "HEAD~1", "in", cwd=".") == ["in/data"]
