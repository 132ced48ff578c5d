"""Bad input: one line that says what failed, a hint that says what to do, the documented exit code, and nothing written."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from array import array
from pathlib import Path

import pytest

from dvlite.formats import manifest, store_config
from dvlite.formats.manifest import EMPTY_DIR, FILE, SYMLINK
from dvlite.formats.pointer import Pointer, dump
from dvlite.oid import Digest, digest_bytes, digest_manifest
from dvlite.store import index, pack
from tests.clones import Clone, git, objects, start
from tests.copies import copy_of
from tests.trees import facts, noise, put


def everything(folder: Path) -> dict:
    """Returns all that is in a repository but git's and dvlite's own bookkeeping of times."""
    return {
        path: fact
        for path, fact in facts(folder).items()
        if not path.startswith((b".git/dvlite", b".git/index", b".git/info")) and path != b".git"
    }


@pytest.fixture
def here(tmp_path, invoke, monkeypatch) -> Clone:
    def build(base):
        made = start(base / "here", invoke, "../store")
        put(made.path / "data" / "file", b"x")
        put(made.path / "new", b"y")
        made.dv("add", "data")
        made.commit()

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    return Clone(copy_of("bad_input", build, tmp_path) / "here", invoke)


def refused(clone: Clone, code: int, *args: str | Path, **options) -> str:
    """The command fails with one line, and leaves everything as it was."""
    before, staged = everything(clone.path), git(clone.path, "status", "--porcelain")
    said = clone.fails(code, *args, **options)
    assert everything(clone.path) == before
    assert git(clone.path, "status", "--porcelain") == staged
    return said


def warned(clone: Clone, *args: str | Path) -> str:
    """The command goes on; returns the one line that it warns with. `status` does not call that clean."""
    lines = clone.dv(*args).stderr.splitlines()
    assert len(lines) == 1, lines
    assert not clone.is_clean()
    return lines[0]


# --- where it is run ---

VERBS = [["add", "x"], ["status"], ["checkout"], ["push"], ["pull"], ["fetch"], ["diff"], ["ls"]]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_outside_a_git_repository(tmp_path, invoke, verb):
    folder = tmp_path / "plain"
    folder.mkdir()
    said = Clone(folder, invoke).fails(10, *verb)
    assert "is not in a git repository" in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_before_init(tmp_path, invoke, verb):
    git(tmp_path, "init", "-q", "plain")
    clone = Clone(tmp_path / "plain", invoke)
    assert "dvlite is not initialised in" in clone.fails(10, *verb)
    assert os.listdir(clone.path) == [".git"]
    assert not (clone.path / ".git" / "dvlite").exists()


# --- paths ---


@pytest.fixture
def crowded(tmp_path, invoke) -> Clone:
    def build(base):
        made = start(base / "here", invoke)
        for path in ("in git", "code/a.py", "dvlite.yaml", "outer/inner", "data/file"):
            put(made.path / path, b"x")
        (made.path / "link").symlink_to("data")
        git(made.path, "add", "in git", "code")
        made.dv("add", "outer/inner")

    return Clone(copy_of("crowded", build, tmp_path) / "here", invoke)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("absent", "cannot find 'absent'"),
        ("absent/inside", "cannot find 'absent/inside'"),
        ("no*match", "nothing matches 'no*match'"),
        ("../outside", "'../outside' is outside the repository"),
        ("/etc/passwd", "'/etc/passwd' is outside the repository"),
        (".", "cannot track '.'"),
        (".git", "cannot track '.git'"),
        (".git/config", "cannot track '.git/config'"),
        (".dvlite", "cannot track '.dvlite'"),
        (".gitignore", "cannot track '.gitignore'"),
        ("dvlite.yaml", "cannot track 'dvlite.yaml'"),
        ("in git", "git tracks it already"),
        ("code", "git tracks it already"),
        ("outer", "inside it is tracked on its own"),
        ("link/file", "behind a symbolic link"),
        ("", ""),
    ],
)
def test_paths_that_cannot_be_tracked(crowded, path, said):
    assert said in refused(crowded, 2, "add", path)


def test_git_tracked_says_how_to_untrack(here):
    put(here.path / "code" / "a.py", b"x")
    git(here.path, "add", "code")
    done = here.run("add", "code", cwd=here.path)
    assert "hint: git rm -r --cached code" in done.stderr
    git(here.path, "rm", "-rq", "--cached", "code")
    here.dv("add", "code")


def test_two_arguments_that_overlap(here):
    put(here.path / "a" / "b" / "c", b"x")
    assert "is inside 'a', which is given too" in refused(here, 2, "add", "a", "a/b")


def test_one_bad_path_among_good_ones_adds_nothing(here):
    refused(here, 2, "add", "new", "absent")
    assert not (here.path / "new.dvlite").exists()


@pytest.mark.parametrize("verb", ["push", "pull", "fetch", "checkout", "status"])
def test_a_path_that_is_not_tracked(here, verb):
    assert "'new' is not tracked by dvlite" in refused(here, 2, verb, "new")


def test_a_part_that_is_not_there(here):
    here.dv("push")
    for verb in ("pull", "fetch", "checkout"):
        assert "absent" in refused(here, 2, verb, "data/absent")


def test_a_part_cannot_be_pushed(here):
    assert "only whole tracked paths can be given here" in refused(here, 2, "push", "data/file")


@pytest.mark.parametrize("verb", ["checkout", "push", "pull", "fetch"])
def test_a_revision_that_is_not_there(here, verb):
    assert "nowhere" in refused(here, 2, verb, "--rev", "nowhere")
    refused(here, 2, verb, "--rev=--output=x")


# --- pointers ---


@pytest.mark.parametrize("verb", ["status", "checkout", "push", "pull", "add"])
def test_a_malformed_pointer_is_named_in_one_line(here, verb):
    (here.path / "bad.dvlite").write_bytes(b"\x1b]0;owned\x07: 1\n")
    if verb in ("status", "add"):  # they go on with the rest
        put(here.path / "fresh", b"z")
        said = warned(here, verb, *(["fresh"] if verb == "add" else []))
    else:
        said = refused(here, 3 if verb == "checkout" else 1, verb)
    assert "bad.dvlite" in said
    assert "line " in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "name", [".git", ".GIT", ".gitattributes", ".dvlite", "git~1", ".g\u200cit", "dvlite.yaml", "x.dvlite"]
)
def test_7_to_10_a_pointer_beside_a_reserved_name_is_refused(here, name):
    good = dump(Pointer("file", Digest(bytes(32)), 1))
    (here.path / "sub").mkdir()
    (here.path / "sub" / f"{name}.dvlite").write_bytes(good)
    git(here.path, "add", "-Af", "sub")
    assert "refused" in warned(here, "status")
    for verb, code in (("checkout", 3), ("pull", 1)):
        assert "refused" in refused(here, code, verb)


def test_20_pointers_that_overlap_are_refused(here):
    good = dump(Pointer("file", Digest(bytes(32)), 1))
    put(here.path / "data" / "inner.dvlite", good)
    git(here.path, "add", "-Af", "data/inner.dvlite")
    assert "is inside 'data', which is tracked too" in warned(here, "status")
    assert "is inside 'data', which is tracked too" in refused(here, 1, "push")


def test_11_a_pointer_behind_a_link_writes_nothing_outside(here, tmp_path):
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


def test_23_a_pointer_with_the_wrong_size_writes_nothing(here):
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


# --- listings that a stranger's remote holds ---


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


def test_30_no_mode_but_the_executable_bit_is_ever_set(here):
    put(here.path / "data" / "tool", b"#!/bin/sh\n")
    (here.path / "data" / "tool").chmod(0o6777)
    here.dv("add", "data")
    shutil.rmtree(here.path / "data")
    os.umask(previous := os.umask(0o022))
    here.dv("checkout")
    assert (here.path / "data" / "tool").stat().st_mode & 0o7777 == 0o777 & ~previous
    assert (here.path / "data" / "file").stat().st_mode & 0o7777 == 0o666 & ~previous


def test_12_a_folder_swapped_for_a_link_during_checkout_is_not_followed(here, tmp_path):
    """A racing process swaps a folder for a link while files are written; nothing lands outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(60):
        put(here.path / "data" / "sub" / str(number), str(number).encode())
    here.dv("add", "data")
    stop = threading.Event()
    sub, aside = here.path / "data" / "sub", here.path / "data" / "aside"

    def swap():
        while not stop.is_set():
            try:
                os.rename(sub, aside)
                os.symlink(outside, sub)
                os.unlink(sub)
                os.rename(aside, sub)
            except OSError:
                pass

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        for _ in range(25):
            for number in range(0, 60, 2):
                with contextlib.suppress(OSError):
                    os.unlink(sub / str(number))
            done = here.run("checkout", "--force", cwd=here.path)
            assert "Traceback" not in done.stderr
            assert os.listdir(outside) == []
    finally:
        stop.set()
        racer.join()
    assert os.listdir(outside) == []


# --- remotes ---


@pytest.mark.parametrize("verb", ["push", "pull", "fetch"])
def test_an_unknown_remote(here, verb):
    assert "there is no remote 'other'" in refused(here, 2, verb, "-r", "other")


@pytest.mark.parametrize("verb", ["push", "pull", "fetch"])
def test_no_remote(tmp_path, invoke, verb):
    here = start(tmp_path / "alone", invoke)
    put(here.path / "data", b"x")
    here.dv("add", "data")
    assert "no remote is configured" in refused(here, 2, verb)


def test_a_folder_that_is_not_mounted(tmp_path, invoke):
    here = start(tmp_path / "here", invoke)
    here.run("remote", "add", str(tmp_path / "disk" / "store"), cwd=here.path)
    put(here.path / "data", b"x")
    here.dv("add", "data")
    assert "cannot find the folder" in refused(here, 1, "push")
    assert not (tmp_path / "disk").exists()


@pytest.fixture
def in_s3(tmp_path, invoke, weed, s3_url):
    def in_s3(url=s3_url, endpoint=weed.endpoint_url):
        here = start(tmp_path / "s3", invoke)
        done = here.run("remote", "add", url, "-o", f"endpoint_url={endpoint}", cwd=here.path)
        assert "Traceback" not in done.stderr
        put(here.path / "data", b"x")
        here.dv("add", "data")
        return here

    return in_s3


def test_an_unreachable_endpoint_says_how_long_it_was_tried(in_s3):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        here = in_s3()
        here.dv("config", "remotes.origin.endpoint_url", endpoint)
        here.dv("remote", "trust", endpoint)
        said = refused(here, 1, "push")
    assert re.search(r"tried \d+ times in \d+ s", said)


def test_wrong_credentials(in_s3):
    here = in_s3()
    said = refused(here, 1, "push", env={"AWS_SECRET_ACCESS_KEY": "wrong-secret-value"})
    assert "wrong-secret-value" not in said
    assert "tried" not in said, "a refusal is final"


def test_no_credentials(in_s3, monkeypatch):
    here = in_s3()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "credentials" in refused(here, 1, "push")


def test_a_missing_bucket(in_s3):
    said = refused(in_s3(url="s3://no-such-bucket/prefix"), 1, "push")
    assert "bucket" in said


# --- disks ---


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 8 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "dvlite-test", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_cache_disk_is_seen_before_anything_is_written(tmp_path, invoke, tiny_disk):
    here = start(tmp_path / "here", invoke)
    put(here.path / "big", noise(9_000_000, 1))
    for number in range(200):
        put(here.path / "many" / str(number), noise(60_000, number))
    environment = {"DVLITE_CACHE_DIR": str(tiny_disk / "cache")}
    for path, needed in (("big", "8.6 MiB"), ("many", "11.4 MiB")):
        said = refused(here, 1, "add", path, env=environment)
        assert f"'{path}' needs {needed}" in said or f"{path} needs {needed}" in said
        assert "is free" in said
        assert sum(p.stat().st_size for p in tiny_disk.rglob("*") if p.is_file()) < 10_000
        assert not (here.path / f"{path}.dvlite").exists()
    here.dv("add", "big")


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


def test_a_full_remote_disk_loses_nothing(tmp_path, invoke, tiny_disk):
    here = start(tmp_path / "here", invoke, str(tiny_disk / "store"))
    put(here.path / "big", noise(9_000_000, 1))
    here.dv("add", "big")
    assert "free" in refused(here, 1, "push")
    assert not any(name.startswith("roots/") for name in objects(tiny_disk / "store"))
    shutil.rmtree(tiny_disk / "store")
    (here.path / "big").write_bytes(noise(5_000_000, 2))
    here.dv("add", "big")
    here.dv("push")
