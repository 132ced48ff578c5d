"""`dvlite pull`: the right bytes, or an error by name and nothing written."""

import json
import os
import shutil
from array import array
from pathlib import Path

import pytest

from dvlite.formats import manifest, store_config
from dvlite.formats.manifest import EMPTY_DIR, FILE, SYMLINK
from dvlite.formats.pointer import Pointer, dump
from dvlite.oid import Digest, digest_bytes, digest_manifest
from dvlite.store import index, pack
from tests.clones import Clone, assert_nothing_wrong, contents, everything, git, objects, start, trusting_clone
from tests.trees import facts, noise, put


def test_data_that_a_remote_lost_is_named_and_the_rest_comes_on_demand(world, tmp_path):
    """What was nowhere stays in the version, and is named until it comes: a gap is no deletion."""
    here, store = world
    there = trusting_clone(here, tmp_path / "there", store)
    recipes = [p for name, p in objects(store).items() if name.startswith("packs/")]
    biggest = max(recipes, key=lambda p: p.stat().st_size)
    moved = biggest.rename(tmp_path / "pack")
    done = there.run("pull", cwd=there.path)
    assert done.returncode == 12
    assert "data/large" in done.stderr or "model.bin" in done.stderr
    assert_nothing_wrong(contents(there), contents(here))
    assert not (there.path / "data" / "d0" / "0").exists()
    pointer = (there.path / "data.dvlite").read_bytes()
    for verb in ("pull", "checkout"):
        there.dv(verb, "--allow-missing")
        assert_nothing_wrong(contents(there), contents(here))
        assert (there.path / "data" / "d0" / "0").exists()
        assert not (there.path / "data" / "large").exists()
        assert "data/large" in there.dv("status").stdout
        gaps = json.loads(there.dv("--json", "status", "--remote").stdout)["not_pushed"]
        assert gaps
        assert all(gap["example"] in ("data/large", "model.bin") and gap["size_bytes"] for gap in gaps)
        there.dv("add", "-u")
        assert (there.path / "data.dvlite").read_bytes() == pointer
    put(there.path / "data" / "mine", b"new")
    (there.path / "data" / "link").unlink()
    there.dv("add", "data")
    assert there.dv("ls", "data").stdout.split() == [
        "data/d0",
        "data/d1",
        "data/empty",
        "data/large",
        "data/mine",
        "data/text",
    ]
    git(there.path, "checkout", "-q", "HEAD", "--", "data.dvlite")
    moved.rename(biggest)
    there.dv("pull", "--force")
    assert there.is_clean()
    assert {**contents(there), "data/mine": b"new"} == {**contents(here), "data/mine": b"new"}


def test_what_is_left_out_stays_so_until_it_is_named(world, tmp_path):
    here, store = world
    there = trusting_clone(here, tmp_path / "there", store)
    assert "not tracked" in there.fails(2, "pull", "-x", "absent")
    there.dv("pull", "-x", "data/d*", "--exclude", "model.bin")
    for verb in ("pull", "checkout", "status"):
        there.dv(verb)
        assert sorted(os.listdir(there.path / "data")) == ["empty", "large", "link", "text"]
        assert not (there.path / "model.bin").exists()
    assert there.is_clean()
    there.dv("pull", "data/d0", "model.bin")
    assert sorted(os.listdir(there.path / "data")) == ["d0", "empty", "large", "link", "text"]
    there.dv("pull", "data")
    assert contents(there) == contents(here)


def test_the_config_leaves_out_of_what_is_new_here(world, tmp_path):
    here, store = world
    there = trusting_clone(here, tmp_path / "there", store)
    there.dv("config", "--local", "pull.exclude", "data/**/large *.bin")
    assert there.is_clean() is False
    there.dv("pull")
    assert there.is_clean()
    assert not (there.path / "data" / "large").exists()
    there.dv("pull", "data", "model.bin")
    there.dv("pull")
    assert contents(there) == contents(here)


def test_a_pointer_in_conflict_stops_only_its_own_path(world, tmp_path):
    here, store = world
    there = trusting_clone(here, tmp_path / "there", store)
    (there.path / "model.bin.dvlite").write_text("<<<<<<< ours\n")
    for verb in ("fetch", "pull"):
        done = there.run(verb, cwd=there.path)
        assert done.returncode == 3
        assert "model.bin" in done.stderr
    assert (there.path / "data" / "text").exists()
    there.fails(1, "pull", "model.bin")
    there.dv("pull", "data")


def test_a_lost_cache_is_fetched_again(world):
    here, _ = world
    expected = contents(here)
    here.forget_cache()
    assert not here.is_clean()
    here.dv("pull")
    assert here.is_clean()
    assert contents(here) == expected


def test_a_pointer_with_the_wrong_size_writes_nothing(here):
    put(here.path / "model", noise(100_000, 1))
    here.dv("add", "model")
    right = (here.path / "model.dvlite").read_text()
    here.dv("push")
    for size in ("0", "99999", "100001", str(2**63 - 1)):
        (here.path / "model.dvlite").write_text(right.replace("size: 100000", f"size: {size}"))
        (here.path / "model").unlink(missing_ok=True)
        done = here.run("pull", cwd=here.path)
        assert done.returncode in (1, 12, 13), done.stderr
        assert "Traceback" not in done.stderr
        assert not (here.path / "model").exists()


def test_a_pointer_behind_a_link_writes_nothing_outside(here, tmp_path):
    put(tmp_path / "outside" / "victim", b"precious")
    here.dv("push")
    put(here.path / "folder" / "data" / "file", b"x")
    here.dv("add", "folder/data")
    here.commit()
    shutil.rmtree(here.path / "folder")
    (here.path / "folder").symlink_to(tmp_path / "outside")
    here.run("checkout", cwd=here.path)
    here.run("pull", cwd=here.path)
    assert sorted(os.listdir(tmp_path / "outside")) == ["victim"]


def columns(rows: list[tuple[bytes, int, bytes]]) -> tuple[manifest.Entries, dict[Digest, bytes]]:
    contents = {digest_bytes(data): data for _, flags, data in rows if flags != EMPTY_DIR}
    digests = b"".join(bytes(32) if flags == EMPTY_DIR else digest_bytes(data) for _, flags, data in rows)
    sizes = array("Q", (len(data) for *_, data in rows))
    return manifest.Entries([path for path, *_ in rows], bytes(flags for _, flags, _ in rows), sizes, digests), contents


def publish(store: Path, rows: list[tuple[bytes, int, bytes]]) -> Pointer:
    """Puts a directory on a folder remote as a hostile client would, checking nothing; returns its pointer."""
    entries, contents = columns(rows)
    data = manifest.encode_leaf(entries, 0, len(rows))
    digest = digest_manifest(data)
    places = []
    for pack_class, kind, objects_ in (
        (pack.META, pack.KIND_MANIFEST, {digest: data}),
        (pack.FILES, pack.KIND_FILE, contents),
    ):
        writer = pack.PackWriter(pack_class, os.urandom(16))
        for name, raw in objects_.items():
            writer.add(kind, name, raw)
        whole = writer.finish()
        put(store / "packs" / whole.name.hex(), bytes(whole.data))
        places += index.rows_of(whole)
    rows_ = index.encode(places, os.urandom(16))
    put(store / "index" / digest_bytes(rows_).hex(), rows_)
    put(store / "config", store_config.dump(store_config.DEFAULT))
    return Pointer("directory", digest, sum(entries.sizes), len(rows))


HOSTILE = {
    "1 climbing": [(b"../../x", FILE, b"evil")],
    "2 climbing inside": [(b"a/../../x", FILE, b"evil")],
    "3 absolute": [(b"/tmp/dvlite-evil", FILE, b"evil")],
    "6 empty part": [(b"a//b", FILE, b"evil")],
    "7 a hook": [(b".git/hooks/post-checkout", FILE | 0x10, b"#!/bin/sh\ntouch /tmp/dvlite-evil\n")],
    "8 .GIT": [(b".GIT/config", FILE, b"evil")],
    "8 HFS": [(".g\u200cit/x".encode(), FILE, b"evil")],
    "8 NTFS": [(b"git~1/x", FILE, b"evil")],
    "9 our config": [(b".dvlite/config.local.yaml", FILE, b"evil")],
    "13 through a link": [(b"d", SYMLINK, b"/tmp"), (b"d/dvlite-evil", FILE, b"evil")],
    "13 through a relative link": [(b"d", SYMLINK, b"../../"), (b"d/x", FILE, b"evil")],
    "15 twice": [(b"a", FILE, b"1"), (b"a", FILE, b"2")],
    "16 file and folder": [(b"a", FILE, b"1"), (b"a/b", FILE, b"2")],
    "19 a long name": [(b"x" * 256, FILE, b"evil")],
    "55 an absolute link": [(b"link", SYMLINK, b"/etc/shadow")],
    "55 a link that leaves": [(b"a/link", SYMLINK, b"../../outside")],
    "55 a link that turns back": [(b"link", SYMLINK, b"a/../../outside")],
    "55 a link into .git": [(b"link", SYMLINK, b".git/config")],
    "55 an empty link": [(b"link", SYMLINK, b"")],
    "30 a mode": [(b"a", 0x40, b"evil")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_listing_writes_nothing(here, tmp_path, name):
    wanted = publish(tmp_path / "store", HOSTILE[name])
    target = here.path / "deep" / "evil.dvlite"
    put(target, dump(wanted))
    before = {path: fact for path, fact in everything(here.path).items() if not path.startswith(b"deep/evil")}
    outside = facts(tmp_path.parent / tmp_path.name / "store")
    done = here.run("pull", cwd=here.path)
    assert done.returncode in (1, 13), done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].isprintable()
    after = {path: fact for path, fact in everything(here.path).items() if not path.startswith(b"deep/evil")}
    assert after == before
    assert facts(tmp_path / "store") == outside
    assert not Path("/tmp/dvlite-evil").exists()
    for path, fact in facts(here.path / "deep").items():
        assert path == b"evil.dvlite" or fact == ("folder",), path


def test_a_full_work_disk_is_seen_before_anything_is_written(tmp_path, invoke, tiny_disk):
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    put(here.path / "big", noise(9_000_000, 1))
    put(here.path / "small", b"x")
    here.dv("add", "big", "small")
    here.commit()
    here.dv("push")
    git(tmp_path, "clone", "-q", str(here.path), str(tiny_disk / "there"))
    there = Clone(tiny_disk / "there", invoke)
    there.dv("remote", "trust", str(tmp_path / "store"))
    environment = {"DVLITE_CACHE_DIR": str(tmp_path / "cache")}
    said = there.fails(1, "pull", env=environment)
    assert "big needs 8.6 MiB" in said or "'big' needs 8.6 MiB" in said
    assert not (there.path / "big").exists()
    assert not list(there.path.glob(".dvl-*"))


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_no_version_can_hold_stops_only_the_path_it_stands_in(world, kind):
    here, _ = world
    expected = (here.path / "model.bin").read_bytes()
    here.forget_cache()
    (here.path / "model.bin").unlink()
    if kind == "fifo":
        os.mkfifo(here.path / "data/odd")
    else:
        os.symlink("../../elsewhere", here.path / "data/odd")
    done = here.run("pull", cwd=here.path)
    assert done.returncode == 3
    assert "data/odd" in done.stderr
    assert (here.path / "model.bin").read_bytes() == expected
