"""`du`: what takes space, by tracked path, from what this clone knows."""

import shutil


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


def test_a_clone_without_the_data_knows_sizes_and_says_what_it_cannot_add_up(tracked):
    shutil.rmtree(tracked.cache)
    assert tracked.json("du")["paths"][0]["unlisted"] == 1
    lines = tracked.dvlite("du").stdout.splitlines()
    assert lines[1].split() == ["3", "B", "1", "-", "0", "B", "data"]
    assert lines[2].startswith("1 version has its list of files elsewhere")
