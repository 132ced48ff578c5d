"""`dvlite sync`: from one remote to another, without the data on this disk."""

import shutil

import pytest

from tests.trees import noise


@pytest.fixture
def two(prepared, tmp_path):
    """Two versions of a directory and a large file on one remote, and a second one that is empty; the cache and the workspace have no data."""

    def build(project):
        for version in (b"1", b"2"):
            project.write("data/changed", version)
            project.write("data/same", "same")
            project.write("model", noise(300_000, 3) + noise(20_000, int(version)) + version)
            project.dvlite("add", "data", "model")
            project.commit("Version " + version.decode())
            project.dvlite("push")
        shutil.rmtree(project.cache)
        shutil.rmtree(project.root / "data")
        (project.root / "model").unlink()

    made = prepared("two-versions-on-one-remote", build)
    made.dvlite("remote", "add", "backup", tmp_path / "backup")
    return made


def read_from(project, remote, *, revision="HEAD"):
    """Pulls from one remote alone into an empty cache; returns what the files hold."""
    shutil.rmtree(project.cache, ignore_errors=True)
    project.git("checkout", "-q", revision, "--", "*.dvlite")
    project.dvlite("pull", "-r", remote)
    return project.read("data/changed"), project.read("model")[-1:]


def test_a_version_is_copied_and_its_data_is_never_on_this_disk(two):
    said = two.dvlite("sync", "origin", "backup").stdout
    assert "Copied data, model from origin to backup" in said
    assert not [path for path in (two.cache / "files").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in two.cache.rglob("*") if path.is_file()) < 20_000
    assert "Nothing to copy" in two.dvlite("sync", "origin", "backup").stdout
    assert read_from(two, "backup") == (b"2", b"2")


def test_every_version_is_copied_and_what_they_share_once(two, tmp_path):
    done = two.json("sync", "origin", "backup", "--all-commits")
    assert {path["state"] for path in done["paths"]} == {"copied"}
    assert (len(done["paths"]), done["files"]) == (4, 5)
    assert done["copied_bytes"] < 500_000
    assert read_from(two, "backup", revision="HEAD~1") == (b"1", b"1")


def test_a_dry_run_names_what_would_be_copied_and_writes_nothing(two, tmp_path):
    said = two.dvlite("sync", "origin", "backup", "-n", "model").stdout
    assert "would copy model" in said
    assert "data" not in said
    assert not list((tmp_path / "backup").rglob("*"))


def states(done):
    return {path["path"]: path["state"] for path in done["paths"]}


def test_what_the_first_remote_lacks_is_left_out_and_all_else_is_copied(two):
    two.write("new", "new")
    two.dvlite("add", "new")
    left = two.dvlite("sync", "origin", "backup", code=12)
    assert "not copied: new at" in left.stdout
    assert "dvlite push -r origin" in left.stderr
    assert states(two.json("sync", "origin", "backup", "--allow-missing"))["new"] == "lost"
    (two.root / "new.dvlite").unlink()
    assert read_from(two, "backup") == (b"2", b"2")


def test_what_is_damaged_is_named_with_its_version_and_all_else_is_copied(two, tmp_path):
    wanted = noise(20_000, 2)[-200:] + b"2"  # the last chunk of the newest model
    damaged = next(path for path in (tmp_path / "store" / "packs").iterdir() if wanted in path.read_bytes())
    whole = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(whole.replace(wanted, wanted[:-1] + b"3"))
    left = two.dvlite("sync", "origin", "backup", "--all-commits", code=13)
    head = two.git("rev-parse", "HEAD").strip()[:8]
    assert f"not copied: model at {head}: 'model'" in left.stdout
    assert "dvlite fsck --remote origin --deep --repair" in left.stderr
    assert read_from(two, "backup", revision="HEAD~1") == (b"1", b"1")
    damaged.write_bytes(whole)
    two.dvlite("sync", "origin", "backup", "--all-commits")
    assert read_from(two, "backup") == (b"2", b"2")


def test_one_place_under_two_names_is_refused(two, tmp_path):
    two.dvlite("remote", "add", "again", tmp_path / "store")
    assert "are the same place" in two.dvlite("sync", "origin", "again", code=2).stderr


def test_the_second_place_is_asked_for(two, tmp_path, colleague):
    two.commit("Two remotes")
    there = colleague(two)
    there.dvlite("remote", "trust", tmp_path / "store")
    assert "which this user has not approved" in there.dvlite("sync", "origin", "backup", code=1).stderr


def test_runs_and_their_logs_go_too(pipeline, tmp_path):
    project = pipeline.project
    project.write("dvlite.yaml", "stages:\n  hello:\n    cmd: echo said; echo x > out\n    outs: [out]\n")
    project.dvlite("repro")
    project.commit("Run")
    project.dvlite("remote", "add", tmp_path / "store")
    project.dvlite("remote", "add", "backup", tmp_path / "backup")
    project.dvlite("push")
    shutil.rmtree(project.cache)
    log = next(path for path in (tmp_path / "store" / "packs").iterdir() if b"said\n" in path.read_bytes())
    whole = log.read_bytes()
    log.chmod(0o644)
    log.write_bytes(whole.replace(b"said\n", b"sAid\n"))
    assert "1 log of runs" in project.dvlite("sync", "origin", "backup", code=13).stderr
    log.write_bytes(whole)
    assert project.json("sync", "origin", "backup")["records"]
    project.dvlite("remote", "default", "backup")
    assert "said" in project.dvlite("runs", "show", "last", "--log").stdout


def test_to_a_real_bucket_and_back(two, tmp_path, weed, s3_url):
    two.dvlite("remote", "add", "bucket", s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    two.dvlite("sync", "origin", "bucket", "--all-commits")
    shutil.rmtree(tmp_path / "store")
    two.dvlite("sync", "bucket", "backup", "--all-commits")
    assert read_from(two, "backup", revision="HEAD~1") == (b"1", b"1")
