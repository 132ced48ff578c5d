"""`dvlite://`: what fsspec promises of a file system, for one version of a repository, wherever its bytes are."""

import errno
import multiprocessing
import os
import pickle
import shutil
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.cached import SimpleCacheFileSystem

from dvlite.errors import ObjectCorrupt, ObjectMissing, RemoteError, Untrusted, UsageError
from dvlite.oid import digest_bytes
from dvlite.reading.filesystem import DvliteFileSystem
from tests.clones import flip, git
from tests.published import FILES, LARGE
from tests.store.faultproxy import Fault, running_proxy
from tests.trees import put

TRACKED = {name: content for name, content in FILES.items() if name != "params.yaml"} | {"data/later": b"later"}


def test_the_file_system_is_registered_under_its_name():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["dvlite"].partition(":")
    assert (module, name) == (DvliteFileSystem.__module__, DvliteFileSystem.__name__)


def test_names_and_bytes_are_those_of_the_version(options):
    fs = DvliteFileSystem(**options)
    top = ["data", "model.pt", "params.yaml"] if "repo" in options else ["data", "model.pt"]
    assert fs.ls("", detail=False) == top
    assert fs.ls("data", detail=False) == [
        f"data/{name}" for name in ("big.bin", "deep", "empty", "folder", "later", "link", "nowhere", "sub")
    ]
    wanted = {name for name in FILES if name.startswith("data/")} | {"data/later", "data/link"}
    files = {name for name, shown in fs.find("data", detail=True).items() if shown["type"] == "file"}
    assert files == wanted
    assert fs.glob("data/*/*/x") == ["data/deep/er/x"]
    assert next(fs.walk("data"))[:2] == ("data", ["deep", "empty", "sub"])
    assert fs.cat(sorted(TRACKED)) == TRACKED
    assert fs.cat("data/sub", recursive=True) == {n: c for n, c in FILES.items() if n.startswith("data/sub/")}
    assert fs.cat_file("data/big.bin", 1_000, 1_010) == LARGE[1_000:1_010]
    assert fs.cat_file("data/big.bin", -5) == LARGE[-5:]
    assert fs.cat_ranges(["data/big.bin", "data/gone"], [5, 0], [9, 1])[0] == LARGE[5:9]
    assert fs.cat_file("data/link", 0, 7) == LARGE[:7]
    assert fs.ls("data/folder", detail=False)[:1] == ["data/folder/00.txt"]
    assert fs.cat_file("data/folder/03.txt") == b"file 3\n"


def test_what_is_known_of_a_file(published):
    fs = fsspec.filesystem("dvlite") if "dvlite" in fsspec.available_protocols() else DvliteFileSystem()
    shown = fs.info("dvlite://data/big.bin")
    oid = f"blake3:{digest_bytes(LARGE).hex()}"
    assert shown == {"name": "data/big.bin", "size": len(LARGE), "type": "file", "oid": oid, "executable": False}
    assert fs.ukey("data/link") == oid
    assert fs.info("data/link")["destination"] == "big.bin"
    assert fs.info("data")["oid"].startswith("manifest:")
    made = int(git(published.path, "log", "-1", "--format=%ct"))
    assert fs.modified("data/big.bin") == datetime.fromtimestamp(made, UTC) == fs.created("data/big.bin")
    assert [fs.exists(name) for name in ("data", "data/sub/00.txt", "data/su", "data/nowhere", "x")] == [1, 1, 0, 0, 0]
    for absent in ("x", "data/sub/99", "model.pt/x", "data/nowhere"):
        with pytest.raises(FileNotFoundError):
            fs.open(absent)
    with pytest.raises(IsADirectoryError):
        fs.cat_file("data/sub")


def test_a_file_seeks_and_reads_as_any(published):
    published.lose_data()
    fs = DvliteFileSystem()
    with fs.open("data/big.bin") as file:
        assert file.read(10) == LARGE[:10]
        assert file.seek(-3, 2) == len(LARGE) - 3
        assert file.read() == LARGE[-3:]
        assert file.read(5) == b""
        file.seek(0)
        assert b"".join(iter(lambda: file.read(10_007), b"")) == LARGE
    for kind in ("none", "readahead", "blockcache", "bytes", "all"):
        with fs.open("data/big.bin", cache_type=kind, block_size=30_000) as file:
            file.seek(200_000)
            assert file.read(70_000) == LARGE[200_000:270_000]
    with fs.open("data/sub/07.txt", "r") as file:
        assert file.readlines() == ["file 7\n"]
    reopened = pickle.loads(pickle.dumps(fs.open("data/big.bin")))
    assert reopened.read(4) == LARGE[:4]


def test_get_writes_files_and_folders_and_nothing_by_halves(url, tmp_path):
    fs = DvliteFileSystem(repo=url)
    fs.get("data/sub", str(tmp_path / "got"), recursive=True)
    assert {path.name for path in (tmp_path / "got").iterdir()} == {f"{i:02d}.txt" for i in range(20)}
    fs.get_file("data/big.bin", str(tmp_path / "new" / "big"))
    assert (tmp_path / "new" / "big").read_bytes() == LARGE
    assert os.listdir(tmp_path / "new") == ["big"]


def test_a_version_by_its_oid(published):
    fs = DvliteFileSystem(repo=published.path)
    oid, folder = fs.ukey("data/big.bin"), fs.info("data")["oid"]
    published.lose_data()
    for alone in (DvliteFileSystem(remote=str(published.store)), DvliteFileSystem(repo=published.path, rev="v1")):
        assert alone.cat_file(f"dvlite://{oid}", 0, 9) == LARGE[:9]
        assert alone.cat_file(f"dvlite://{folder}/sub/03.txt") == b"file 3\n"
        assert alone.info(oid)["size"] == len(LARGE)
    with pytest.raises(ObjectMissing):
        fs.cat_file("blake3:" + 64 * "0")


def test_revisions_are_told_apart_and_names_are_resolved_each_time(published, url):
    there = {"repo": url, "remote": str(published.store)}  # that of v1 is relative to a clone
    now, old = DvliteFileSystem(**there), DvliteFileSystem(**there, rev="v1")
    assert now.exists("data/later")
    assert not old.exists("data/later")
    assert DvliteFileSystem(**there, rev="v1") is old
    assert now.ukey("data/big.bin") == old.ukey("data/big.bin")
    git(published.bare, "tag", "-f", "v1", "main")
    assert DvliteFileSystem(**there, rev="v1").exists("data/later")
    commit = now.source.commit
    pinned = DvliteFileSystem(**there, rev=commit)
    published.bare.rename(published.path / "moved.git")
    assert DvliteFileSystem(**there, rev=commit) is pinned
    here = DvliteFileSystem(repo=published.path)
    put(published.path / "new", b"new")
    published.clone.dv("add", "new")
    assert not here.exists("new")
    assert DvliteFileSystem(repo=published.path).cat_file("new") == b"new"


def test_the_work_tree_counts_only_where_its_bytes_are_known(published):
    published.clone.dv("add", "data")  # of a copied repository, whose files are not known by their times
    shutil.rmtree(published.clone.cache)
    fs = DvliteFileSystem(repo=published.path)
    fs.info("data/big.bin")
    before = fs.traffic.bytes_read  # of listings
    assert fs.cat_file("data/big.bin") == LARGE
    assert fs.traffic.bytes_read == before
    put(published.path / "data" / "big.bin", b"changed")
    again = DvliteFileSystem(repo=published.path, skip_instance_cache=True)
    again.info("data/big.bin")
    before = again.traffic.bytes_read
    assert again.cat_file("data/big.bin", 0, 50) == LARGE[:50]
    assert again.traffic.bytes_read > before


def test_files_of_git_are_those_of_the_revision(published, url):
    put(published.path / "params.yaml", b"a: 2\n")
    assert DvliteFileSystem(repo=published.path).cat_file("params.yaml") == b"a: 2\n"
    assert DvliteFileSystem(repo=published.path, rev="HEAD").cat_file("params.yaml") == b"a: 1\n"
    far = DvliteFileSystem(repo=url)
    assert far.info("params.yaml")["size"] == 5
    assert far.cat_file("params.yaml", 3) == b"1\n"
    assert far.ls("", detail=False) == [
        "data",
        "model.pt",
        "params.yaml",
    ]  # no pointers, nothing of git's or dvlite's own


def test_no_clone_is_kept_and_other_processes_need_none(published, url, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    fs = DvliteFileSystem(repo=url)
    assert fs.cat_file("model.pt") == FILES["model.pt"]
    assert os.listdir(tmp_path / "tmp") == []
    sent = pickle.dumps(fs)
    assert pickle.loads(sent).cat_file("params.yaml") == FILES["params.yaml"]  # of git: for this, one more
    assert os.listdir(tmp_path / "tmp") == []
    shutil.rmtree(published.bare)
    DvliteFileSystem.clear_instance_cache()
    other = pickle.loads(sent)
    assert other == fs
    assert other.cat_file("data/big.bin", 7, 70) == LARGE[7:70]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_workers_read_with_what_was_sent_to_them(published, method):
    published.lose_data()
    fs = DvliteFileSystem(repo=published.path)
    assert fs.cat_file("model.pt", 0, 1) == FILES["model.pt"][:1]  # connections that no child may use
    with multiprocessing.get_context(method).Pool(2) as pool:
        read = pool.starmap(fs.cat_file, [(name,) for name in sorted(TRACKED)])
    assert read == [TRACKED[name] for name in sorted(TRACKED)]


def test_a_version_cannot_be_changed(published):
    fs = DvliteFileSystem()
    for change in (
        lambda: fs.open("x", "wb"),
        lambda: fs.pipe("x", b""),
        lambda: fs.rm("data/later"),
        lambda: fs.mv("data/later", "y"),
        lambda: fs.put(str(published.path / "model.pt"), "x"),
        lambda: fs.touch("x"),
        lambda: fs.mkdir("x"),
    ):
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == errno.EROFS


def test_small_files_of_a_folder_come_together(published):
    published.lose_data()
    fs = DvliteFileSystem()
    fs.info("data/later")
    before = fs.traffic.objects_read
    fs.find("data")
    assert fs.traffic.objects_read - before == 1  # what its three links say
    before = fs.traffic.objects_read
    fs.cat("data/sub", recursive=True)
    assert fs.traffic.objects_read - before <= 2


def test_caches_of_fsspec_lie_on_top(published, tmp_path):
    fs = SimpleCacheFileSystem(fs=DvliteFileSystem(), cache_storage=str(tmp_path / "simple"))
    with fs.open("data/big.bin") as file:
        assert file.read() == LARGE


# --- what cannot be read ---


def test_names_that_are_not_there_are_refused_in_one_line(published, url):
    for options in (
        {"rev": "gone"},
        {"repo": url, "rev": "gone"},
        {"remote": "gone"},
        {"remote": str(published.store), "rev": "abcdef"},
    ):
        with pytest.raises(UsageError) as caught:
            DvliteFileSystem(**options)
        assert "\n" not in str(caught.value)


def test_missing_and_damaged_data_is_an_error_of_the_system_and_never_an_absent_file(published, tmp_path):
    published.lose_data()
    packs = {name: (published.store / "packs" / name).read_bytes() for name in os.listdir(published.store / "packs")}
    for name, content in packs.items():
        if content[8] != 1:
            flip(published.store / "packs" / name, len(content) // 2)
    with pytest.raises(ObjectCorrupt) as caught:
        DvliteFileSystem().get("data", str(tmp_path / "got"), recursive=True)
    assert isinstance(caught.value, OSError)
    assert not list((tmp_path / "got").rglob("big.bin"))
    for name, content in packs.items():
        if content[8] != 1:
            (published.store / "packs" / name).unlink()
    fs = DvliteFileSystem(skip_instance_cache=True)
    with pytest.raises(ObjectMissing) as caught:
        fs.cat_file("data/big.bin")
    assert isinstance(caught.value, OSError)
    assert not isinstance(caught.value, FileNotFoundError)
    assert (caught.value.exit_code, caught.value.filename) == (12, "data/big.bin")
    assert str(caught.value).startswith("cannot read 'data/big.bin': ")
    assert caught.value.hint
    with pytest.raises(OSError):
        fs.get_mapper("data")["big.bin"]


def test_purged_data_is_named_with_its_reason_and_not_read_though_its_pack_stands(published, tmp_path):
    before = {path: path.read_bytes() for path in published.store.rglob("*") if path.is_file()}
    colleague = published.clone.clone(tmp_path / "colleague")
    published.clone.dv("purge", "model.pt", "--reason", "consent withdrawn", "--yes")
    with pytest.raises(OSError, match=r"'model.pt' was purged by .*: consent withdrawn"):
        DvliteFileSystem(rev="HEAD").cat_file("model.pt")
    for path, content in before.items():  # what a collection removes last
        if not path.exists():
            path.write_bytes(content)
    with pytest.raises(OSError, match=r"'model.pt' was purged by .*: consent withdrawn"):
        DvliteFileSystem(repo=colleague.path, remote=str(published.store)).cat_file("model.pt")


def test_a_place_that_was_not_approved_is_not_asked(published, monkeypatch):
    published.lose_data()
    monkeypatch.delenv("DVLITE_TRUST")
    fs = DvliteFileSystem()
    with pytest.raises(Untrusted, match="not approved") as caught:
        fs.cat_file("model.pt")
    assert isinstance(caught.value, PermissionError)
    published.clone.dv("remote", "trust", published.store)
    assert fs.cat_file("model.pt") == FILES["model.pt"]


def test_an_option_that_is_none_is_refused(published):
    with pytest.raises(UsageError, match="'revision' is not an option"):
        DvliteFileSystem(revision="v1")


@pytest.mark.long
def test_a_server_that_breaks_off_refuses_or_lies_gives_the_right_bytes_or_one_error(
    published, weed, s3_url, monkeypatch, tmp_path
):
    with running_proxy(weed.endpoint_url) as proxy:
        monkeypatch.setenv("DVLITE_TRUST", proxy.url)
        published.clone.dv("remote", "add", "bucket", s3_url, "-o", f"endpoint_url={proxy.url}")
        published.clone.dv("push", "-r", "bucket")
        published.lose_data()
        monkeypatch.setenv("DVLITE_RETRY_SECONDS", "2")

        def opened():
            return DvliteFileSystem(remote="bucket", skip_instance_cache=True)

        for fault in (Fault.TRUNCATE, Fault.DROP_AFTER, Fault.FLIP_ANSWER, Fault.STATUS):
            fs = opened()
            fs.ls("data")
            rule = proxy.breaks("GET", "/packs/", fault, 503 if fault is Fault.STATUS else 0.5)
            assert fs.cat_file("data/big.bin") == LARGE
            assert rule.hits == 1
        rule.times = None  # for good
        with pytest.raises(RemoteError, match="tried") as caught:
            fs.get_file("data/big.bin", str(tmp_path / "got" / "big"))
        assert isinstance(caught.value, OSError)
        assert os.listdir(tmp_path / "got") == []
        proxy.rules.clear()
        assert fs.cat_file("data/big.bin", 3, 9) == LARGE[3:9]
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(RemoteError) as caught:
            opened().cat_file("data/big.bin")
        assert isinstance(caught.value, OSError)
        assert caught.value.hint


def test_a_remote_that_is_gone_is_one_error(published):
    published.lose_data()
    shutil.rmtree(published.store)
    with pytest.raises((RemoteError, ObjectMissing)) as caught:
        DvliteFileSystem().cat_file("model.pt")
    assert isinstance(caught.value, OSError)
