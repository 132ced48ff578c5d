"""Fetch: whole versions, parts, revisions; what is missing is named, what is there is brought."""

import json

import pytest

from tests.clones import Clone, git, start
from tests.trees import noise, put


@pytest.fixture
def there(tmp_path, invoke) -> Clone:
    """A fresh clone of a repository with two pushed versions."""
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for version in (1, 2):
        for number in range(30):
            put(here.path / "data" / f"d{number % 3}" / str(number), noise(2000, number or 1000 + version))
        put(here.path / "data" / "large", noise(300_000, 50) + noise(20_000, version) + noise(300_000, 51))
        put(here.path / "model", noise(90_000, version))
        here.dv("add", "data", "model")
        here.commit(f"version {version}")
    here.dv("push", "--all-commits")
    made = here.clone(tmp_path / "there")
    made.dv("remote", "trust", str(tmp_path / "store"))
    return made


def test_fetch_fills_the_cache_and_leaves_the_workspace(there):
    fetched = there.json("fetch")
    assert fetched["files"] == 32
    assert not (there.path / "data").exists()
    again = there.json("fetch")
    assert (again["files"], {path["state"] for path in again["paths"]}) == (0, {"present"})
    there.dv("checkout")
    assert there.is_clean()


def test_a_dry_run_counts_and_brings_nothing(there):
    planned = there.json("fetch", "--dry-run")
    assert planned["files"] == 32
    assert {path["state"] for path in planned["paths"]} == {"planned"}
    assert not list((there.cache / "files").rglob("*/*"))


def test_one_path_of_several(there):
    assert [path["path"] for path in there.json("fetch", "model")["paths"]] == ["model"]


def test_a_part_by_path_and_by_glob(there):
    assert there.json("fetch", "data/d1")["files"] == 10
    assert there.json("fetch", "data/d2/*")["files"] == 10
    assert there.json("fetch", "data/d1", "data/d0/3")["files"] == 1


def test_an_earlier_revision_shares_what_it_can_with_the_later_one(there):
    there.dv("fetch")
    earlier = there.json("fetch", "--rev", "HEAD~1", "data")
    assert earlier["files"] in (1, 2)  # the small one may have come in a pack with the later version
    assert earlier["downloaded_bytes"] < 200_000  # of 620,000 for the large file
    git(there.path, "checkout", "-q", "HEAD~1")
    there.dv("checkout", "data")
    assert (there.path / "data" / "large").read_bytes() == noise(300_000, 50) + noise(20_000, 1) + noise(300_000, 51)


def test_a_part_of_all_revisions_need_not_be_in_each(there):
    git(there.path, "log")
    assert there.json("fetch", "data/d0/0", "--all-commits")["files"] == 2
    there.fails(2, "fetch", "data/nowhere", "--all-commits")


def test_what_is_missing_is_named_and_the_rest_is_brought(there, tmp_path):
    packs = sorted((tmp_path / "store" / "packs").iterdir(), key=lambda path: path.stat().st_size)
    packs[-1].unlink()
    done = there.run("fetch", cwd=there.path)
    assert done.returncode == 12
    assert "are not on" in done.stderr
    assert list((there.cache / "packs").iterdir())


def test_json_names_every_path(there):
    done = there.dv("fetch", "--json")
    assert {path["path"] for path in json.loads(done.stdout)["paths"]} == {"data", "model"}
