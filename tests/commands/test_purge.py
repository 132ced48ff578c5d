"""`purge` removes the content of files from every version, in the cache and on remotes: no byte of it is left, and all who miss it learn why."""

import contextlib
import json
import re
import shutil

import pytest

from dvlite.oid import Digest, digest_bytes
from dvlite.store import pack
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url
from tests.clones import Clone, git, objects, start, trusting_clone
from tests.copies import copy_of
from tests.trees import noise, put

SECRET = b"name,born\nAda Lovelace,1815-12-10\n" * 40  # small, and it compresses
LARGE = noise(400_000, 7)
REASON = "erasure request 17"


def records(folder):
    """Yields the raw bytes of every object below a folder, and of packs every record as it was before compression."""
    for name, path in objects(folder).items():
        data = path.read_bytes()
        yield name, data
        if path.parent.name == "packs" and len(path.name) == 64:
            digest = Digest(bytes.fromhex(path.name))
            for record in pack.open_whole(data, digest):
                stored = memoryview(data)[record.offset : record.offset + record.stored_length]
                yield f"{name}:{record.kind}", pack.unpack(record, stored)


def pieces_of(content, size=48):
    return [content[at : at + size] for at in range(0, len(content) - size, max(size, len(content) // 500))]


def left_of(content, folder):
    """Returns the objects in which a part of a content stands."""
    wanted = pieces_of(content)
    return [name for name, data in records(folder) if any(piece in data for piece in wanted)]


@pytest.fixture
def past(tmp_path, invoke, monkeypatch):
    """Three versions of a directory with a small secret and a large one, pushed; returns the clone and its remote."""

    def build(base):
        here = start(base / "here", invoke, "../store")
        put(here.path / "data" / "sub" / "people.csv", SECRET)
        put(here.path / "data" / "scan.raw", LARGE)
        for number in range(3):
            put(here.path / "data" / "other", noise(3000, number))
            here.dv("add", "data")
            here.commit(f"Version {number}")
            here.dv("push")

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    return Clone(copy_of("purge", build, tmp_path) / "here", invoke), tmp_path / "store"


def purge(clone, *args, **options):
    return clone.json("purge", *args, "--reason", REASON, **options)


def at_once(clone, *paths):
    return purge(clone, *paths, "--all-versions", "--yes", "--grace", "0s")


def purged_names(clone, *args):
    """Runs a command that must leave with 3, and returns what it said."""
    done = clone.run(*args, cwd=clone.path)
    assert done.returncode == 3, f"{done.returncode} {done.stdout} {done.stderr}"
    assert REASON in done.stderr
    assert "@example.com" in done.stderr
    return done.stderr


def test_the_helper_finds_what_is_there(past):
    here, store = past
    for content in (SECRET, LARGE):
        assert left_of(content, store)
        assert left_of(content, here.cache)


def test_without_yes_nothing_changes(past):
    here, store = past
    before = objects(store).keys(), set(here.cache.rglob("*"))
    plan = purge(here, "data/sub/people.csv", "data/scan.raw", "--all-versions")
    assert not plan["applied"]
    assert [(row["path"], row["versions"]) for row in plan["contents"]] == [
        ("data/scan.raw", 3),
        ("data/sub/people.csv", 3),
    ]
    assert all(store["size_bytes"] for store in plan["stores"])
    assert (objects(store).keys(), set(here.cache.rglob("*"))) == before
    assert here.json("purge", "--list")["purges"] == []


@pytest.mark.parametrize("path", ["data/scan.raw", "data"])
def test_no_byte_is_left_in_cache_and_remote(past, path):
    here, store = past
    done = at_once(here, path)
    assert done["applied"]
    for content in [LARGE] if path == "data/scan.raw" else [SECRET, LARGE]:
        assert left_of(content, store) == []
        assert left_of(content, here.cache) == []
    assert (here.path / "data" / "sub" / "people.csv").read_bytes() == SECRET  # the work tree is the user's
    assert [row["path"] for row in here.json("purge", "--list")["purges"]] == [path]


def test_every_old_version_can_be_pulled_without_it(past, tmp_path):
    here, store = past
    at_once(here, "data/sub/people.csv", "data/scan.raw")
    there = trusting_clone(here, tmp_path / "there", store)
    for number in range(3):
        git(there.path, "checkout", "-q", "main~" + str(2 - number))
        said = purged_names(there, "pull")
        assert "scan.raw" in said
        assert (there.path / "data" / "other").read_bytes() == noise(3000, number)
        assert not (there.path / "data" / "sub" / "people.csv").exists()
        assert not (there.path / "data" / "scan.raw").exists()
        purged_names(there, "checkout")
        status = there.json("status")
        assert {row["path"] for row in status["purged"]} == {"data/sub/people.csv", "data/scan.raw"}
        assert [status[part] for part in ("changed", "missing", "not_in_cache")] == [[], [], []]
    purged_names(there, "fetch", "--all-commits")
    purged_names(there, "get", ".", "data", "--rev", "main~1", "-o", str(tmp_path / "out"))
    assert (tmp_path / "out" / "other").read_bytes() == noise(3000, 1)
    purged_names(there, "get", ".", "data/scan.raw", "--rev", "main~1", "-o", str(tmp_path / "out2"))


def clone_of_before(here, store, tmp_path):
    """Returns a clone that has the data, with a version of its own that names it."""
    old = trusting_clone(here, tmp_path / "old", store)
    old.dv("pull")
    put(old.path / "data" / "new", b"n" * 5000)
    old.dv("add", "data")
    old.commit("A version that names it too")
    return old


def test_a_clone_of_before_never_brings_it_back(past, tmp_path):
    here, store = past
    old = clone_of_before(here, store, tmp_path)
    at_once(here, "data/sub/people.csv", "data/scan.raw")
    pushed = old.json("push")
    assert {row["path"] for row in pushed["purged"]} == {"data/sub/people.csv", "data/scan.raw"}
    assert left_of(SECRET, store) == left_of(LARGE, store) == []
    assert left_of(b"n" * 5000, store)
    old.dv("gc", "--yes")  # although it was stored a moment ago
    assert left_of(SECRET, old.cache) == left_of(LARGE, old.cache) == []
    old.dv("push")
    assert left_of(SECRET, store) == left_of(LARGE, store) == []


def test_what_a_push_under_way_sends_again_no_pull_takes_and_the_next_collection_removes(past, tmp_path):
    here, store = past
    old = clone_of_before(here, store, tmp_path)
    config = (store / "config").read_bytes()
    at_once(here, "data/sub/people.csv", "data/scan.raw")
    purged = tmp_path / "purged"
    shutil.move(store / "purged", purged)
    (store / "config").unlink()
    (store / "config").write_bytes(config)
    old.dv("push")  # as if it had looked before the purge
    assert left_of(SECRET, store)
    shutil.move(purged, store / "purged")
    here.dv("push")  # the config says again that there are tombstones
    assert "purge-1" in (store / "config").read_text()
    there = trusting_clone(old, tmp_path / "there", store)
    purged_names(there, "pull")
    assert left_of(SECRET, there.cache) == left_of(LARGE, there.cache) == []
    here.dv("gc", "--remote", "--yes", "--grace", "0s")
    assert left_of(SECRET, store) == left_of(LARGE, store) == []
    assert (there.path / "data" / "new").read_bytes() == b"n" * 5000


def test_a_copy_to_another_remote_leaves_it_out_and_takes_the_tombstone_along(past, tmp_path):
    here, store = past
    purge(here, "data/sub/people.csv", "data/scan.raw", "--all-versions", "--yes")  # the packs still stand
    assert left_of(LARGE, store)
    here.dv("remote", "add", "second", str(tmp_path / "second"))
    there = trusting_clone(here, tmp_path / "there", store)  # which never heard of it
    shutil.copy(here.path / ".dvlite" / "config.yaml", there.path / ".dvlite" / "config.yaml")
    there.dv("remote", "trust", str(tmp_path / "second"))
    assert "Without data/scan.raw, data/sub/people.csv: purged" in there.dv(*SYNC).stdout
    assert left_of(SECRET, tmp_path / "second") == left_of(LARGE, tmp_path / "second") == []
    assert left_of(noise(3000, 1), tmp_path / "second")
    assert (tmp_path / "second" / "config").read_bytes() == (store / "config").read_bytes()
    assert_same_tombstones(store, tmp_path / "second")


SYNC = ("sync", "origin", "second", "--all-commits")


def assert_same_tombstones(store, other):
    (one,), (two,) = (list((folder / "purged").iterdir()) for folder in (store, other))
    assert (one.name, one.read_bytes()) == (two.name, two.read_bytes())


def test_a_remote_that_still_has_it_gives_it_to_none_that_was_purged_and_loses_it_after_a_copy(past, tmp_path):
    here, store = past
    second = tmp_path / "second"
    here.dv("remote", "add", "second", str(second))
    here.dv(*SYNC)
    at_once(here, "data/sub/people.csv", "data/scan.raw", "-r", "origin")
    assert left_of(SECRET, second)
    shutil.rmtree(here.cache)  # so that this clone learns it from origin alone
    assert here.dv("sync", "second", "origin", "--all-commits").stdout.count("purged") == 1
    assert left_of(SECRET, store) == left_of(LARGE, store) == []
    here.dv(*SYNC)
    assert_same_tombstones(store, second)
    here.dv("gc", "--remote", "second", "--yes", "--grace", "0s")
    assert left_of(SECRET, second) == left_of(LARGE, second) == []


def test_what_another_project_purged_on_a_shared_store_is_missed_with_the_reason_from_every_remote(
    past, tmp_path, invoke
):
    here, store = past
    other = start(tmp_path / "other", invoke, str(store))
    config = other.path / ".dvlite" / "config.yaml"
    config.write_text(re.sub("project: [0-9a-f]{32}", f"project: {'5' * 32}", config.read_text()))
    put(other.path / "ours" / "copy.csv", SECRET)
    put(other.path / "ours" / "own", b"own")
    other.dv("add", "ours")
    other.commit("The same bytes")
    other.dv("push")
    at_once(here, "data/sub/people.csv")
    other.dv("remote", "add", "second", str(tmp_path / "second"))
    other.commit("A second remote")
    other.dv("push", "-r", "origin")
    other.dv("push", "-r", "second")
    there = trusting_clone(other, tmp_path / "there", tmp_path / "second")
    assert "copy.csv" in purged_names(there, "pull", "-r", "second")
    assert left_of(SECRET, tmp_path / "second") == left_of(SECRET, store) == []


def test_add_refuses_the_same_bytes(past):
    here, store = past
    at_once(here, "data/sub/people.csv", "data/scan.raw")
    put(here.path / "copy", SECRET)
    assert REASON in here.fails(2, "add", "copy")
    put(here.path / "large", LARGE)
    assert REASON in here.fails(2, "add", "large")
    here.dv("add", "--allow-purged", "copy", "large")
    here.commit("Named all the same")
    here.dv("push")
    here.dv("gc", "--yes")
    assert left_of(SECRET, store) == left_of(LARGE, store) == []
    assert left_of(SECRET, here.cache) == left_of(LARGE, here.cache) == []
    assert (here.path / "copy").read_bytes() == SECRET


def test_pieces_that_other_files_share_stay_and_the_plan_says_so(past):
    here, store = past
    put(here.path / "twin.raw", LARGE[:200_000] + noise(200_000, 8))
    here.dv("add", "twin.raw")
    here.commit("A file with the same pieces")
    here.dv("push")
    done = at_once(here, "data/scan.raw")
    (remote,) = [row for row in done["stores"] if row["store"] != "cache"]
    assert 0 < remote["shared_pieces"] < remote["pieces"]
    assert left_of(LARGE[220_000:], store) == []
    shutil.rmtree(here.cache / "files")
    here.dv("pull", "twin.raw")
    assert digest_bytes((here.path / "twin.raw").read_bytes()) == digest_bytes(LARGE[:200_000] + noise(200_000, 8))


def test_after_a_grace_the_next_collection_deletes_it(past):
    here, store = past
    done = purge(here, "data/sub/people.csv", "--yes")
    (remote,) = [row for row in done["stores"] if row["store"] != "cache"]
    assert remote["later_bytes"]
    assert left_of(SECRET, store)
    assert left_of(SECRET, here.cache) == []
    here.dv("gc", "--remote", "--yes", "--grace", "0s")
    assert left_of(SECRET, store) == []


def test_verify_passes_and_says_so(past, tmp_path):
    here, store = past
    at_once(here, "data/sub/people.csv", "data/scan.raw")
    there = trusting_clone(here, tmp_path / "there", store)
    for clone in (here, there):
        for flags in (["--remote"], ["--remote", "--deep"], []):
            result = clone.json("verify", *flags)
            assert (result["findings"], result["unchecked"]) == ([], []), flags
            if flags:
                assert {row["path"] for row in result["purged"]} == {"data/sub/people.csv", "data/scan.raw"}
    assert "purged" in here.dv("verify", "--remote").stdout


def test_a_remote_that_cannot_be_reached_is_named_and_the_rest_is_done(past, tmp_path):
    here, store = past
    away = tmp_path / "away"
    here.dv("remote", "add", "backup", str(away))
    here.dv("push", "-r", "backup")
    shutil.move(away, tmp_path / "unplugged")
    done = here.run(
        "purge",
        "data/scan.raw",
        "--all-versions",
        "--reason",
        REASON,
        "--yes",
        "--grace",
        "0s",
        "--json",
        cwd=here.path,
    )
    assert done.returncode == 3
    problems = {row["store"]: row["problem"] for row in json.loads(done.stdout)["stores"]}
    assert problems["backup"]
    assert not problems["origin"]
    assert left_of(LARGE, store) == []
    shutil.move(tmp_path / "unplugged", away)
    at_once(here, "data/scan.raw")
    assert left_of(LARGE, away) == []
    assert len(here.json("purge", "--list")["purges"]) == 1


def damage(tombstone):
    tombstone.chmod(0o644)
    tombstone.write_bytes(tombstone.read_bytes().replace(b"erasure", b"erasurE"))


def test_a_damaged_tombstone_is_mended_from_where_it_is_known_and_nothing_is_sent_without_it(past, tmp_path):
    here, store = past
    old = trusting_clone(here, tmp_path / "old", store)
    old.dv("pull")
    at_once(here, "data/sub/people.csv", "data/scan.raw")
    (tombstone,) = (store / "purged").iterdir()
    whole = tombstone.read_bytes()
    damage(tombstone)
    assert "fsck --remote --repair" in old.run("push", cwd=old.path).stderr
    for flags in ([], ["--repair"]):
        done = old.run("fsck", "--remote", *flags, cwd=old.path)
        assert (done.returncode, "in a clone that was used since the purge" in done.stdout) == (13, True)
    assert left_of(SECRET, store) == left_of(LARGE, store) == []
    here.dv("remote", "add", "backup", str(tmp_path / "backup"))
    here.dv("push", "-r", "backup")
    shutil.copy(here.path / ".dvlite" / "config.yaml", old.path / ".dvlite" / "config.yaml")
    for clone in (here, old):  # one knows it, the other one asks a second remote
        damage(tombstone)
        here.fails(13, "fsck", "--remote", "origin")
        clone.run("remote", "trust", str(tmp_path / "backup"), cwd=clone.path)
        done = clone.run("fsck", "--remote", "origin", "--repair", cwd=clone.path)
        assert (done.returncode, tombstone.read_bytes()) == (1, whole), done.stdout + done.stderr
        clone.dv("fsck", "--remote", "origin")
    assert left_of(SECRET, store) == left_of(LARGE, store) == []


def test_a_damaged_tombstone_of_a_cache_comes_from_the_remote(past, tmp_path):
    here, store = past
    at_once(here, "data/sub/people.csv", "data/scan.raw")
    (tombstone,) = (here.cache / "purged").iterdir()
    whole = tombstone.read_bytes()
    damage(tombstone)
    shutil.move(store, tmp_path / "away")
    assert f"rm {tombstone}" in here.run("fsck", "--repair", cwd=here.path).stdout
    shutil.move(tmp_path / "away", store)
    assert here.run("fsck", "--repair", cwd=here.path).returncode == 1
    assert tombstone.read_bytes() == whole
    here.dv("fsck")
    assert left_of(SECRET, here.cache) == left_of(LARGE, here.cache) == []


def test_a_purge_that_is_run_again_changes_nothing(past):
    here, store = past
    at_once(here, "data")
    before = objects(store).keys()
    at_once(here, "data")
    assert {name for name in objects(store) if name.startswith(("purged", "config"))} == {
        name for name in before if name.startswith(("purged", "config"))
    }
    assert len(here.json("purge", "--list")["purges"]) == 1


@pytest.mark.parametrize("where", ["another file", "the list of its records"])
def test_a_damaged_pack_of_the_cache_is_not_passed_over(past, where):
    here, _ = past
    other = noise(3000, 0)[1000:1048]  # stands in the pack of the secret
    damaged = next(path for path in here.cache.glob("packs/*") if other in path.read_bytes())
    data = bytearray(damaged.read_bytes())
    at = data.index(other) if where == "another file" else len(data) - 20
    data[at] ^= 8
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    whole = here.fails(
        3, "purge", "data/sub/people.csv", "--all-versions", "--reason", REASON, "--yes", "--grace", "0s"
    )
    assert "may still stand in the cache" in whole


def test_what_names_nothing_is_refused(past):
    here, _ = past
    here.fails(2, "purge", "data/nothing", "--reason", REASON)
    here.fails(2, "purge", "elsewhere", "--reason", REASON)
    here.fails(2, "purge", "data")
    here.fails(2, "purge", "--reason", REASON)


def test_no_byte_of_it_is_left_in_a_bucket_and_none_comes_back(tmp_path, invoke, weed, s3_url, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", weed.endpoint_url)
    options = {"endpoint_url": weed.endpoint_url}

    def in_bucket(content):
        folder = tmp_path / "bucket"
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.closing(
            open_store(parse_url(s3_url, tmp_path), options, budget=RetryBudget(10), connections=2)
        ) as store:
            for entry in store.list("").entries:
                put(folder / entry.name, bytes(store.get(entry.name)))
        return left_of(content, folder)

    here = start(tmp_path / "here", invoke, s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    put(here.path / "data" / "people.csv", SECRET)
    put(here.path / "data" / "scan.raw", LARGE)
    for number in range(2):
        put(here.path / "data" / "other", noise(3000, number))
        here.dv("add", "data")
        here.commit(f"Version {number}")
        here.dv("push")
    offline = here.clone(tmp_path / "offline")
    offline.dv("pull")
    purge(here, "data/people.csv", "data/scan.raw", "--all-versions", "--yes")
    assert in_bucket(SECRET)
    here.dv("gc", "--remote", "--yes", "--grace", "0s")
    assert in_bucket(SECRET) == in_bucket(LARGE) == []
    there = here.clone(tmp_path / "there")
    git(there.path, "checkout", "-q", "main~1")
    assert "and 1 more file" in purged_names(there, "pull")
    assert (there.path / "data" / "other").read_bytes() == noise(3000, 0)
    assert len(there.json("verify", "--remote")["purged"]) == 2
    put(offline.path / "data" / "new", b"n" * 5000)
    offline.dv("add", "data")
    offline.commit("Named again")
    assert len(offline.json("push")["purged"]) == 2
    put(offline.path / "copy", SECRET)
    assert REASON in offline.fails(2, "add", "copy")
    assert in_bucket(SECRET) == in_bucket(LARGE) == []
    assert in_bucket(b"n" * 5000)


def test_without_a_remote_only_the_cache_is_concerned(tmp_path, invoke):
    here = Clone(start(tmp_path / "here", invoke).path, invoke)
    put(here.path / "data" / "people.csv", SECRET)
    put(here.path / "data" / "other", b"other")
    here.dv("add", "data")
    here.commit("Data")
    purge(here, "data/people.csv", "--yes")
    assert left_of(SECRET, here.cache) == []
    shutil.rmtree(here.path / "data")
    purged_names(here, "checkout")
    assert (here.path / "data" / "other").read_bytes() == b"other"


def test_a_pipeline_that_needs_a_purged_output_says_so(pipeline):
    pipeline.write("dvlite.yaml", "stages:\n  make:\n    cmd: echo secret > out\n    outs: [out]\n")
    pipeline.dvlite("repro")
    pipeline.commit()
    pipeline.dvlite("purge", "out", "--reason", REASON, "--yes")
    (pipeline.root / "out").unlink()
    assert REASON in pipeline.dvlite("repro", code=12).stderr
