"""`log`: the versions of a path, newest first."""

import shutil

import pytest

PIPELINE = """\
stages:
  train:
    cmd: mkdir -p out; cat data/* > out/model.pt; echo same > out/fixed; echo '{"acc":' $(wc -c < out/model.pt) '}' > metrics.json
    deps: [data]
    outs: [out]
    metrics: [{path: metrics.json, cache: false}]
  other: {cmd: cp note.txt other.txt, deps: [note.txt], outs: [other.txt]}
"""


@pytest.fixture
def versions(prepared):
    """Returns a repository in which `data` has three versions, and what is made of it too."""

    def build(project):
        project.write("dvlite.yaml", PIPELINE)
        for number in (1, 2, 3):
            project.write("data/changing", f"{number}" * 100)
            project.write("data/fixed", "fixed")
            project.write("note.txt", f"{number}")
            project.dvlite("add", "data")
            project.dvlite("repro")
            project.commit(f"Version {number}")
            project.write("README", f"{number}")
            project.commit(f"Nothing {number}")

    return prepared("versions-to-log", build, remote=False)


def subjects(found):
    return [version["commit"]["subject"] for version in found["versions"]]


def test_versions_of_a_tracked_path_newest_first(versions):
    found = versions.json("log", "data")
    assert subjects(found) == ["Version 3", "Version 2", "Version 1"]
    assert found["kind"] == "directory"
    assert {version["files"] for version in found["versions"]} == {2}
    assert found["versions"][0]["oid"] == versions.json("ls")["entries"][0]["oid"]
    assert subjects(versions.json("log", "data.dvlite")) == subjects(found)


def test_versions_of_an_output_with_run_and_metrics(versions):
    found = versions.json("log", "out")
    assert subjects(found) == ["Version 3", "Version 2", "Version 1"]
    assert all(version["run_name"].startswith("train-") for version in found["versions"])
    assert [version["metrics"]["metrics.json:acc"] for version in found["versions"]] == [105, 105, 105]
    assert subjects(versions.json("log", "other.txt")) == ["Version 3", "Version 2", "Version 1"]
    assert subjects(versions.json("log", "metrics.json")) == ["Version 1"]  # the bytes never changed
    text = versions.dvlite("log", "out").stdout.splitlines()
    assert text[0].split() == ["DATE", "COMMIT", "SIZE", "FILES", "OID", "RUN", "RESULT", "SUBJECT", "AUTHOR"]
    assert "acc=105" in text[1]
    assert "Test User" in text[1]


def test_a_file_inside_a_directory_has_a_version_where_its_own_content_changed(versions):
    assert subjects(versions.json("log", "data/changing")) == ["Version 3", "Version 2", "Version 1"]
    assert subjects(versions.json("log", "data/fixed")) == ["Version 1"]
    assert subjects(versions.json("log", "out/model.pt")) == ["Version 3", "Version 2", "Version 1"]
    assert subjects(versions.json("log", "out/fixed")) == ["Version 1"]
    assert versions.json("log", "out/model.pt")["versions"][0]["run_name"].startswith("train-")


def test_a_file_that_went_was_removed(versions):
    (versions.root / "data/fixed").unlink()
    versions.dvlite("add", "-u")
    versions.commit("Remove it")
    found = versions.json("log", "data/fixed")
    assert subjects(found) == ["Remove it", "Version 1"]
    assert found["versions"][0]["oid"] is None
    assert "removed" in versions.dvlite("log", "data/fixed").stdout
    versions.dvlite("rm", "--cached", "data")
    versions.commit("Stop tracking")
    assert subjects(versions.json("log", "data"))[:2] == ["Stop tracking", "Remove it"]
    assert subjects(versions.json("log", "data/changing"))[-1] == "Version 1"


def test_renames_are_followed(project):
    project.write("model.pt", "a" * 100)
    project.dvlite("add", "model.pt")
    project.commit("Add it")
    project.dvlite("mv", "model.pt", "best.pt")
    project.commit("Rename it")
    project.write("best.pt", "b" * 100)
    project.dvlite("add", "best.pt")
    project.commit("Change it")
    found = project.json("log", "best.pt")
    assert [(v["commit"]["subject"], v["path"]) for v in found["versions"]] == [
        ("Change it", "best.pt"),
        ("Rename it", "best.pt"),
        ("Add it", "model.pt"),
    ]
    assert "(as model.pt)" in project.dvlite("log", "best.pt").stdout


def test_revision_and_number(versions):
    assert subjects(versions.json("log", "data", "--rev", "HEAD~2")) == ["Version 2", "Version 1"]
    found = versions.json("log", "data", "-n", "1")
    assert (subjects(found), found["more"]) == (["Version 3"], True)
    assert "older versions: -n" in versions.dvlite("log", "data", "-n", "1").stdout
    assert not versions.json("log", "data", "-n", "3")["more"]


def test_what_was_never_tracked_is_an_error(versions):
    assert "was never tracked" in versions.dvlite("log", "README", code=2).stderr
    assert "no version of 'data' has 'nothing'" in versions.dvlite("log", "data/nothing", code=2).stderr
    assert "not a commit" in versions.dvlite("log", "data", "--rev", "nope", code=2).stderr


def test_a_path_of_another_branch_has_the_versions_there(versions):
    first = versions.git("rev-list", "--max-parents=0", "HEAD").strip()
    versions.git("branch", "other")
    versions.git("reset", "-q", "--soft", first)
    versions.git("rm", "-q", "--cached", "data.dvlite", "dvlite.lock", "dvlite.yaml")
    versions.git("commit", "-q", "--no-verify", "-m", "No data")
    versions.git("checkout", "-q", "--force", "other")
    versions.dvlite("checkout")
    versions.git("checkout", "-q", "main")
    gone = versions.dvlite("checkout").stdout
    assert "No longer tracked: data" in gone
    assert "dvlite log data" in gone
    done = versions.dvlite("log", "data")
    assert (done.stdout.count("Version"), "no commit of this branch" in done.stderr) == (3, True)
    assert "was never tracked" in versions.dvlite("log", "data", "--rev", "HEAD", code=2).stderr


def test_what_is_not_committed_has_no_version_yet(project):
    project.write("a.bin", "a")
    project.dvlite("add", "a.bin")
    assert project.json("log", "a.bin")["versions"] == []
    assert "no commit names a.bin yet" in project.dvlite("log", "a.bin").stdout


def test_listings_that_are_gone_are_told_not_passed_over(versions):
    shutil.rmtree(versions.cache)
    done = versions.dvlite("log", "data/changing")
    assert "the lists of files of 3 versions of 'data' cannot be read" in done.stderr
    assert versions.dvlite("log", "data").stdout.count("Version") == 3
