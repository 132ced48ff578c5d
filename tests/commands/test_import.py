"""`import` and `update`: data of another repository becomes this one's, and its pointer says where it is from."""

import os
import shutil

import pytest

from dvlite.formats import pointer
from dvlite.share import any_repository
from dvlite.workspace import elsewhere
from tests.commands.project import Project, fill, tree

TRAIN = """\
stages:
  train:
    cmd: cat data/birds/big.bin data/birds/a.txt > models/wren.pt
    deps: [data/birds]
    outs: [models/wren.pt]
"""
SCORE = """\
stages:
  score:
    cmd: cksum wren.pt > score.txt
    deps: [wren.pt]
    outs: [score.txt]
"""


@pytest.fixture
def registry(prepared, invoke, tmp_path):
    """A repository with data and a model that a run made of it, all pushed and tagged, and a bare one beside it."""

    def build(project):
        fill(project, "data/birds")
        project.write("models/card.md", "kept by git")
        project.write("dvlite.yaml", TRAIN)
        project.dvlite("add", "data/birds")
        project.dvlite("repro")
        user = Project(project.root.parent / "user", invoke)
        user.root.mkdir()
        user.git("init", "-q")
        user.dvlite("init", "--no-hooks")
        user.commit("Use dvlite")

    project = prepared("registry", build, remote=False)
    project.dvlite("remote", "add", tmp_path / "store")
    project.commit("First")
    project.git("tag", "-a", "v1", "-m", "first")
    project.dvlite("push")
    project.git("clone", "-q", "--bare", ".", tmp_path / "bare.git")
    project.git("remote", "add", "origin", str(tmp_path / "bare.git"))
    return project


@pytest.fixture
def user(registry, tmp_path, invoke):
    """A repository that imports."""
    return Project(tmp_path / "user", invoke)


def publish(registry, **changes):
    """Changes files in the registry, by their names, and pushes."""
    for name, data in changes.items():
        registry.write(f"data/birds/{name}", data)
    registry.dvlite("add", "-u")
    registry.commit("More")
    registry.dvlite("push")
    registry.git("push", "-q", "origin", "main")
    return registry.git("rev-parse", "HEAD").strip()


def source_of(project, path):
    return pointer.parse(project.read(f"{path}.dvlite"), path).source


def test_what_is_imported_is_whole_stays_and_knows_where_it_is_from(registry, user, tmp_path):
    far, bare = (tmp_path / "bare.git").as_uri(), str(tmp_path / "bare.git")
    for given, address, out in ((far, bare, "birds"), ("../repo", "../repo", "near")):
        user.dvlite("import", given, "data/birds", "-o", out)
        assert tree(user.root / out) == tree(registry.root / "data/birds")
        source = source_of(user, out)
        assert (source.repository, source.path, source.revision) == (address, "data/birds", "")
        assert source.commit == registry.git("rev-parse", "HEAD").strip()
        assert source.oid == pointer.parse(user.read(f"{out}.dvlite"), out).oid
    user.dvlite("import", far, "models", "--rev", "v1", "-o", "in/")
    assert user.read("in/models/card.md") == b"kept by git"
    user.dvlite("import", bare, "v1:models/wren.pt")
    assert source_of(user, "wren.pt").revision == "v1"
    user.dvlite("remote", "add", tmp_path / "own")
    user.commit()
    assert user.is_clean()
    user.dvlite("push")
    os.rename(registry.root, tmp_path / "gone")
    os.rename(tmp_path / "store", tmp_path / "store-gone")
    user.git("clone", "-q", ".", str(tmp_path / "colleague"))
    other = Project(tmp_path / "colleague", user._invoke)
    other.dvlite("pull")
    assert tree(other.root / "birds") == tree(user.root / "birds")


def test_update_follows_a_branch_and_stays_at_a_tag(registry, user, tmp_path, monkeypatch):
    bare = str(tmp_path / "bare.git")
    user.dvlite("import", bare, "data/birds")
    user.dvlite("import", bare, "data/birds", "-o", "fixed", "--rev", "v1")
    user.dvlite("import", bare, "data/birds", "-o", "commit", "--rev", registry.git("rev-parse", "HEAD").strip())
    user.commit()
    assert "Nothing to update: 3 imports" in user.dvlite("update").stdout
    new = publish(registry, **{"new.txt": "new"})
    states = {item["path"]: item["state"] for item in user.json("status", "--remote")["sources"]}
    assert states == {"birds": "moved", "fixed": "current", "commit": "current"}
    planned = user.json("update", "-n")
    assert [(path["path"], path["state"], path["now"]) for path in planned["paths"] if path["state"] == "behind"] == [
        ("birds", "behind", new)
    ]
    assert not user.has("birds/new.txt")
    with monkeypatch.context() as patch:  # a run that is stopped before it checks out
        patch.setattr(elsewhere, "_check_out", lambda *_: 1 / 0)
        user.dvlite("update", code=70)
    assert not user.has("birds/new.txt")
    assert "'birds' was checked out" in user.dvlite("update").stderr
    assert user.read("birds/new.txt") == b"new"
    assert source_of(user, "birds").commit == new
    assert not user.has("fixed/new.txt")
    user.dvlite("update", "fixed", "--rev", "main")
    assert source_of(user, "fixed").revision == "main"
    assert user.has("fixed/new.txt")
    registry.write("elsewhere", "x")
    registry.commit("Only code")
    registry.git("push", "-q", "origin", "main")
    done = user.dvlite("update", "birds")
    assert "has the same data at" in done.stdout
    assert source_of(user, "birds").commit == registry.git("rev-parse", "HEAD").strip()


def test_paths_of_one_repository_are_updated_from_one_clone_and_one_failure_stops_no_other(
    registry, user, tmp_path, monkeypatch
):
    bare = (tmp_path / "bare.git").as_uri()
    for path in ("data/birds", "data/birds/sub", "models/card.md"):
        user.dvlite("import", bare, path)
    registry.write("models/card.md", b"long " * 30_000)  # more than a pointer: it comes only where it is asked for
    shutil.rmtree(registry.root / "data/birds/sub")
    (registry.root / "data/birds/link").unlink()
    publish(registry, **{"new.txt": "new"})
    cloned, clone = [], any_repository.clone_silently
    monkeypatch.setattr(any_repository, "clone_silently", lambda *words: cloned.append(words) or clone(*words))
    failed = user.dvlite("update", code=3)
    assert "nothing in 'data/birds' is named 'sub'" in failed.stderr
    assert len(cloned) == 1
    assert user.read("card.md") == b"long " * 30_000
    assert user.has("birds/new.txt")
    assert user.has("sub/b.txt")


def test_edits_moves_and_notes_stay_and_are_not_replaced_unasked(registry, user, tmp_path):
    user.dvlite("import", str(tmp_path / "bare.git"), "data/birds")
    user.commit("Import")
    before = source_of(user, "birds")
    user.dvlite("mv", "birds", "moved")
    user.write("moved.dvlite", user.read("moved.dvlite") + b"meta:\n  mine: 1\n")
    user.commit("Move")
    user.write("moved/a.txt", "mine")
    publish(registry, **{"a.txt": "theirs"})
    assert "is in the way" in user.dvlite("update", code=2).stderr
    user.dvlite("add", "moved")
    assert source_of(user, "moved") == before
    for flags in ("-n",), ():
        assert "was changed here since it was imported" in user.dvlite("update", *flags, code=2).stderr
    assert user.read("moved/a.txt") == b"mine"
    user.commit("Edit")
    user.dvlite("checkout", "--rev", "HEAD~1", "moved")
    assert source_of(user, "moved") == before
    user.git("checkout", "-q", "HEAD", "--", "moved.dvlite")
    user.dvlite("update", "--force")
    assert user.read("moved/a.txt") == b"theirs"
    assert source_of(user, "moved").commit != before.commit
    assert user.read("moved.dvlite").endswith(b"meta:\n  mine: 1\n")
    user.write("plain", "x")
    user.dvlite("add", "plain")
    for paths in (("plain",), ("moved", "plain"), ("plain", "moved")):
        assert "'plain': not imported" in user.dvlite("update", *paths, code=2).stderr


def test_lineage_goes_on_in_the_other_repository(registry, user, colleague, tmp_path):
    bare = str(tmp_path / "bare.git")
    user.dvlite("import", bare, "models/wren.pt")
    user.write("dvlite.yaml", SCORE)
    user.dvlite("repro")
    user.commit("Score")
    result = user.json("lineage", "score.txt")
    assert [run["stage"] for run in result["up"]["runs"]] == ["score"]
    (imported,) = result["imports"]
    assert (imported["path"], imported["source"]["path"]) == ("wren.pt", "models/wren.pt")
    assert [run["stage"] for run in imported["up"]["runs"]] == ["train"]
    assert {artefact["path"] for artefact in imported["up"]["artefacts"]} == {"models/wren.pt", "data/birds"}
    assert "is from models/wren.pt in" in user.dvlite("lineage", "score.txt").stdout
    assert [run["stage"] for run in user.json("runs")["runs"]] == ["score"]
    user.dvlite("remote", "add", tmp_path / "own")
    user.commit("Remote")
    user.dvlite("push")
    other = colleague(user)
    other.dvlite("remote", "trust", tmp_path / "own")
    other.dvlite("pull")
    hint = other.dvlite("lineage", "score.txt").stdout
    assert "dvlite lineage --sources score.txt" in hint
    assert f"dvlite remote trust {bare}" in other.dvlite("lineage", "--sources", "score.txt", code=1).stderr
    other.dvlite("remote", "trust", bare)
    other.dvlite("remote", "trust", tmp_path / "store")
    assert other.json("lineage", "--sources", "score.txt")["imports"][0]["up"]["runs"][0]["stage"] == "train"
    other.write("wren.pt", "edited")
    other.dvlite("add", "wren.pt")
    assert other.json("lineage", "wren.pt")["imports"] == []


def test_bad_sources_are_one_clear_line_and_nothing_is_written(registry, user, tmp_path):
    bare = str(tmp_path / "bare.git")
    cases = [
        (["import", bare, "data/birds", "--rev", "none"], 2, "has no commit 'none'"),
        (["import", bare, "no/such"], 2, "there is no 'no/such' there"),
        (["import", bare, "data/birds/no"], 2, "is named 'no'"),
        (["import", bare, "../../etc/passwd"], 2, "is outside the repository"),
        (["import", str(tmp_path / "nothing"), "x"], 2, "cannot find"),
        (["import", "https://ada:secret@example.com/x.git", "x"], 2, "would put credentials"),
        (["import", "ext::sh -c true", "x"], 2, "not the address of a repository"),
        (["import", "-uevil", "x"], 2, None),
        (["import", "http://127.0.0.1:9/x.git", "x"], 1, "cannot read"),
    ]
    for words, code, message in cases:
        failed = user.dvlite(*words, code=code)
        assert failed.stderr.count("error:") == 1
        assert message is None or message in failed.stderr
        assert "secret" not in failed.stderr
    registry.dvlite("purge", "data/birds/a.txt", "--reason", "private", "-y")
    assert "was purged by" in user.dvlite("import", bare, "data/birds", code=3).stderr
    for file in (tmp_path / "store" / "packs").iterdir():
        file.unlink()
    assert "dvlite push, in a clone" in user.dvlite("import", bare, "models/wren.pt", code=12).stderr
    assert user.git("status", "--porcelain") == ""
    assert sorted(os.listdir(user.root)) == [".dvlite", ".dvliteignore", ".git", ".gitattributes"]


def test_a_pointer_of_a_stranger_names_no_place_that_is_read_unasked(registry, user, colleague, tmp_path):
    user.dvlite("import", str(tmp_path / "bare.git"), "data/birds")
    user.commit()
    publish(registry, **{"new.txt": "new"})
    other = colleague(user)
    plain = other.read("birds.dvlite").decode()
    for address in (tmp_path / "bare.git").as_uri(), str(tmp_path / "bare.git"):
        other.write("birds.dvlite", plain.replace(str(tmp_path / "bare.git"), address))
        failed = other.dvlite("update", code=1)
        assert f"dvlite remote trust {tmp_path / 'bare.git'} " in failed.stderr
    assert other.json("status", "--remote")["sources"][0]["state"] == "unknown"
    assert "Source not looked at" in other.dvlite("status", "--remote").stdout
    other.dvlite("remote", "trust", tmp_path / "bare.git")
    failed = other.dvlite("update", code=1)  # its data is at a place that the registry's config names
    assert f"dvlite remote trust {tmp_path / 'store'}" in failed.stderr
    assert other.git("status", "--porcelain") == ""
    text = other.read("birds.dvlite").decode()
    for address in (
        "ext::sh -c 'touch ran'",
        "-oProxyCommand=touch ran",
        "git://example.com/x",
        "https://x:y@example.com/",
        "ssh://-oProxyCommand=x/y",
        "ssh://host:0/y",
    ):
        other.write("birds.dvlite", text.replace(str(tmp_path / "bare.git"), address))
        assert other.dvlite("update", code=2).stderr.count("error:") == 1
        assert not other.has("ran")
