"""`dvlite push`: what is not whole is not pushed, nothing is sent twice, and an edit costs what it changed."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from dvlite.commands.push import push
from dvlite.formats import condemned
from dvlite.oid import Digest, digest_bytes
from dvlite.repo.repository import open_repo
from dvlite.share import publish
from dvlite.store import pack
from dvlite.store.folder import FolderStore
from dvlite.store.remote import Remote
from tests.clones import contents, flip, objects, refused, start, total, trusting_clone
from tests.recording import RecordingProgress
from tests.trees import noise, put


@pytest.fixture
def pushed(prepared):
    """A tracked directory and a large file, committed and pushed to a folder remote."""

    def build(project):
        project.write("d/1", "one")
        project.write("d/2", "two")
        project.write("big", os.urandom(300_000))
        project.dvlite("add", "d", "big")
        project.commit("data")
        project.dvlite("push")

    return prepared("pushed", build)


def test_damage_in_the_cache_is_never_pushed_and_adding_again_heals_it(world, tmp_path):
    here, _ = world
    here.dv("remote", "add", "second", str(tmp_path / "second"))
    large = max((here.cache / "files").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    flip(large, 60_000)
    said = here.fails(13, "push", "-r", "second")
    assert large.name in said
    assert not objects(tmp_path / "second") or not any(
        name.startswith("roots/") for name in objects(tmp_path / "second")
    )
    here.dv("add", "data", "model.bin")
    here.dv("push", "-r", "second")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "add", "mine", str(tmp_path / "second"), "--local")
    there.dv("pull", "-r", "mine")
    assert contents(there) == contents(here)


def test_damage_in_the_cache_is_healed_from_the_remote_before_a_push_elsewhere(world, tmp_path):
    here, _ = world
    here.dv("remote", "add", "second", str(tmp_path / "second"))
    for path in (here.cache / "packs").iterdir():
        flip(path, path.stat().st_size // 2)
    assert here.run("push", "-r", "second", cwd=here.path).returncode == 13
    shutil.rmtree(here.path / "data")
    here.dv("pull")
    here.dv("push", "-r", "second")


def test_data_that_is_nowhere_fails_the_push_by_name(world, tmp_path):
    here, store = world
    before = objects(store).keys()
    put(here.path / "data" / "new large", noise(80_000, 99))
    here.dv("add", "data")
    (path,) = (p for p in (here.cache / "files").rglob("*") if p.is_file() and p.read_bytes() == noise(80_000, 99))
    path.unlink()
    said = here.fails(12, "push")
    assert "data/new large" in said
    assert objects(store).keys() == before
    (here.path / "data" / "new large").touch()
    here.dv("add", "data")
    here.dv("push")


def test_a_healthy_clone_repairs_a_remote_that_lost_objects(world, tmp_path):
    here, store = world
    for name, path in objects(store).items():
        if name.startswith("packs/"):
            path.unlink()
    here.dv("push")
    there = trusting_clone(here, tmp_path / "there", store)
    there.dv("pull")
    assert contents(there) == contents(here)


def test_a_store_that_is_suddenly_empty_is_not_filled_again(tracked):
    store = tracked.root.parent / "store"
    tracked.dvlite("remote", "add", str(store))
    tracked.dvlite("push")
    store.rename(store.parent / "unmounted")
    assert "is empty, though" in tracked.dvlite("push", code=1).stderr
    assert not (store / "packs").exists()
    tracked.dvlite("verify", "--remote", code=3)  # what is missing cannot be known
    shutil.rmtree(tracked.cache)
    tracked.dvlite("fetch", code=12)
    (store.parent / "unmounted").rename(store)
    tracked.dvlite("pull")
    tracked.dvlite("push")


def test_a_remote_cannot_be_the_cache(project, tmp_path):
    project.dvlite("config", "--local", "cache.dir", str(tmp_path / "s"))
    for place in ("s", "s/inside", "."):
        done = project.dvlite("remote", "add", str(tmp_path / place), code=2)
        assert "share the folder" in done.stderr or "work tree" in done.stderr or "holds" in done.stderr
    assert project.json("remote", "list")["remotes"] == []


@pytest.mark.parametrize("damage", ["no index", "packs cut short"])
def test_push_does_not_call_complete_what_nobody_can_pull(pushed, damage):
    store = pushed.root.parent / "store"
    if damage == "no index":
        shutil.rmtree(store / "index")
    else:
        for path in (store / "packs").iterdir():
            path.chmod(0o644)
            os.truncate(path, 0)
    pushed.dvlite("push")
    shutil.rmtree(pushed.cache)
    shutil.rmtree(pushed.root / "d")
    (pushed.root / "big").unlink()
    pushed.dvlite("pull")
    assert pushed.read("d/1") == b"one"


def test_a_pointer_with_a_wrong_size_is_not_pushed(pushed):
    pointer = pushed.root / "big.dvlite"
    pointer.write_text(pointer.read_text().replace("size: 300000", "size: 5"))
    assert "300000" in pushed.dvlite("push", code=1).stderr


def test_a_part_is_pushed_with_all_of_its_folder(pushed):
    pushed.write("d/1", "changed")
    pushed.write("d/new", "new")
    pushed.dvlite("add", "-u")
    assert [path["path"] for path in pushed.json("push", "d/new")["paths"]] == ["d"]
    assert "Nothing to push" in pushed.dvlite("push", "d").stdout
    assert "nothing in 'd' is named 'other'" in pushed.dvlite("push", "d/other", code=2).stderr


def test_a_push_names_what_it_sent_and_sends_equal_files_once(pushed, colleague):
    other = colleague(pushed)  # it does not know yet what is complete there
    other.dvlite("remote", "trust", str(pushed.root.parent / "store"))
    other.dvlite("pull")
    for name in ("x", "y"):
        other.write(name, "equal")
    other.dvlite("add", "x", "y")
    assert other.dvlite("push", "-n").stdout.splitlines() == ["would push x: 1 file, 5 B", "would push y: 1 file, 5 B"]
    done = other.json("push")
    assert {path["path"]: path["state"] for path in done["paths"]} == {
        "big": "present",
        "d": "present",
        "x": "pushed",
        "y": "pushed",
    }
    assert done["files"] == 1


@pytest.mark.parametrize("paths", [2, 12])
def test_history_is_searched_and_notes_are_written_for_the_paths_that_are_new_only(shared, monkeypatch, paths):
    for number in range(paths):
        shared.write(f"{number}.bin", str(number))
    shared.dvlite("add", *[f"{number}.bin" for number in range(paths)])
    shared.commit()
    asked, written, histories, remember = [], [], publish.committed_versions.histories, Remote.remember

    def searched(git, wanted, *rest, **how):
        asked.append(sorted(wanted))
        return histories(git, wanted, *rest, **how)

    def noted(remote, kind, *rest):
        written.append(kind)
        remember(remote, kind, *rest)

    monkeypatch.setattr(publish.committed_versions, "histories", searched)
    monkeypatch.setattr(Remote, "remember", noted)
    shared.dvlite("push")
    assert asked == [sorted(f"{number}.bin" for number in range(paths))]
    assert written.count("latest") == paths
    asked.clear(), written.clear()
    shared.dvlite("push")
    assert (asked, written) == ([], [])
    shared.write("1.bin", "edited")
    shared.dvlite("add", "-u")
    shared.dvlite("push")
    assert asked == [["1.bin"]]
    assert written.count("latest") == written.count("complete") == 1


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
        here.dv("remote", "trust", "origin")
        said = refused(here, 1, "push", env={"DVLITE_RETRY_SECONDS": "2"})
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


def test_nothing_new_in_a_bucket_is_pushed_without_loading_what_looks_for_credentials(in_s3):
    here = in_s3()
    here.commit()
    here.dv("push")
    slow = {"aiohttp", "asyncio", "botocore", "fsspec", "rich", "s3fs", "urllib.request"}
    code = f"import sys; from dvlite.cli.main import main; print(main(['push']), {slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=here.path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


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


def test_an_edit_in_one_place_rewrites_a_small_part_of_the_listing(tmp_path, invoke):
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for number in range(2000):
        put(here.path / "data" / f"{number:05d}", str(number).encode())
    here.dv("add", "data")
    here.dv("push")
    put(here.path / "data" / "01000", b"edited")
    here.dv("add", "data")
    assert here.json("push")["uploaded_bytes"] < 60_000  # of 130,000 for the whole listing


def test_versions_of_a_table_share_what_they_have_in_common(tmp_path, invoke):
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    rows = [f"{number},{number * 7919 % 10007},some text in a row\n" for number in range(60_000)]
    for version in range(4):
        (here.path / "table.csv").write_text("".join(rows))
        here.dv("add", "table.csv")
        here.commit(str(version))
        here.dv("push")
        rows.append(f"{version},appended\n")
        rows[30_000 + version] = "edited\n"
    one = len("".join(rows))
    assert total(tmp_path / "store") < one  # four versions, compressed, in less than the size of one


def test_nothing_new_is_answered_without_the_data(tmp_path, invoke):
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for number in range(200):
        put(here.path / "data" / str(number), b"x" * number)
    here.dv("add", "data")
    here.commit()
    here.dv("push")
    shutil.rmtree(here.path / "data")
    shutil.rmtree(here.cache / "packs")
    again = here.json("push")
    assert again["objects"] == again["uploaded_bytes"] == 0


@pytest.mark.parametrize("how", ["gone", "condemned and cut"])
def test_a_large_file_whose_chunks_are_lost_is_left_out_and_the_rest_is_pushed(shared, tmp_path, how):
    shared.write("big.bin", noise(200_000, 1))
    shared.dvlite("add", "big.bin")
    shared.dvlite("push")
    store = tmp_path / "store"
    (chunks,) = (path for path in (store / "packs").iterdir() if path.read_bytes()[8] == pack.CHUNKS)
    if how == "gone":
        chunks.unlink()
    else:
        chunks.chmod(0o644)
        chunks.write_bytes(chunks.read_bytes()[:100_000])
        data = condemned.dump([Digest(bytes.fromhex(chunks.name))], bytes(16))
        FolderStore(store).put(f"condemned/{digest_bytes(data).hex()}", data)
    shutil.rmtree(shared.cache)
    (shared.root / "big.bin").unlink()
    shared.write("small.txt", "new")
    shared.dvlite("add", "small.txt")
    shared.dvlite("push", code=12)
    done = shared.dvlite("--json", "push", "--allow-missing")
    assert {each["path"]: each["state"] for each in json.loads(done.stdout)["paths"]} == {
        "big.bin": "lost",
        "small.txt": "pushed",
    }
    assert "warning: 'big.bin' at " in done.stderr


def test_progress_calls_the_remote_by_its_name_and_ends_with_a_check(shared):
    shared.write("model.pt", "a model")
    shared.dvlite("add", "model.pt")
    shared.commit()
    progress = RecordingProgress()
    push(open_repo(shared.root, os.environ), (), progress=progress)
    assert [phase for phase in progress.phases if "origin" in phase] == [
        "looking at origin",
        "pushing origin",
        "checking origin",
    ]
    assert str(shared.root.parent) not in " ".join(progress.phases)
