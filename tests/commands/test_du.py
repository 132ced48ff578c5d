"""`du`: what takes space, by tracked path, from what this clone knows."""

import shutil
from collections import Counter

import pytest

from dvlite.store.cache import Cache


def test_versions_of_a_path_count_what_they_share_once(tracked):
    tracked.write("data/d", b"x" * 5000)
    tracked.write("copy", b"x" * 5000)
    tracked.write("gone", b"y" * 300)
    tracked.dvlite("add", "-u", "copy", "gone")
    tracked.commit("More")
    tracked.dvlite("rm", "gone")
    tracked.commit("Less")
    result = tracked.json("du")
    rows = {row["path"]: row for row in result["paths"]}
    assert [row["path"] for row in result["paths"]][-1] == "gone", "the largest first"
    assert (rows["data"]["versions"], rows["data"]["size_bytes"], rows["data"]["all_bytes"]) == (2, 5003, 5003)
    assert (rows["gone"]["is_tracked"], rows["gone"]["size_bytes"], rows["gone"]["all_bytes"]) == (False, None, 300)
    assert result["all_bytes"] == 5303, "the copy has the content of a file in data"
    assert result["cache_bytes"] > result["cached_bytes"] > 0
    assert result["cached_bytes"] < 5303, "packs are compressed"
    part = tracked.json("du", "data/d")["paths"]
    assert [(row["path"], row["size_bytes"]) for row in part] == [("data", 5000)]
    assert "is not tracked" in tracked.dvlite("du", "nothing", code=2).stderr
    said = tracked.dvlite("du").stdout.splitlines()
    assert said[0].split() == ["SIZE", "VERSIONS", "ALL", "VERSIONS", "IN", "CACHE", "PATH"]
    assert said[-3].endswith("gone  (no longer tracked)")


@pytest.mark.parametrize("versions", [3, 12])
def test_a_list_of_files_is_read_where_it_differs_from_the_version_before(project, monkeypatch, versions):
    for number in range(3000):
        project.write(f"data/{number:04}", str(number % 7))
    project.dvlite("add", "data")
    for version in range(versions):
        project.commit(f"Version {version}")
        project.write("data/0000", f"version {version:02}")
        project.dvlite("add", "-u")
    read, reads = Cache.read_node, []
    monkeypatch.setattr(Cache, "read_node", lambda cache, digest: (reads.append(digest), read(cache, digest))[1])
    (row,) = project.json("du")["paths"]
    assert (row["versions"], row["all_bytes"]) == (versions + 1, 7 + 10 * versions)
    assert (
        len(set(reads)) > 4 + 2 * versions
    )  # the leaves of the first version; of each other one, a leaf and what is above it
    assert max(Counter(reads).values()) <= 8  # as the new and as the old one, however many versions have it


def test_a_clone_without_the_data_knows_sizes_and_says_what_it_cannot_add_up(tracked):
    shutil.rmtree(tracked.cache)
    assert tracked.json("du")["paths"][0]["unlisted"] == 1
    lines = tracked.dvlite("du").stdout.splitlines()
    assert lines[1].split() == ["3", "B", "1", "-", "0", "B", "data"]
    assert lines[2].startswith("1 version has its list of files elsewhere")
