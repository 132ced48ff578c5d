"""`dvlite fsck`: every kind of damage in every place is found, and healed from wherever good bytes are."""

import itertools
import os
import shutil
import subprocess

import pytest

from dvlite.formats import condemned
from dvlite.oid import Digest, digest_bytes
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_cache, open_repo
from dvlite.store import pack
from dvlite.store.folder import FolderStore
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url
from dvlite.workspace import statindex
from dvlite.workspace.workspace import Workspace
from tests.commands.project import Project, tree
from tests.copies import copy_of
from tests.trees import noise

PIPELINE = "stages:\n  train:\n    cmd: echo trained; cat data/1 > model.txt; cp data/large big.bin\n    deps: [data/1, data/large]\n    outs: [model.txt, big.bin]\n"
KINDS = ("flipped", "cut", "emptied", "missing", "swapped", "stale", "foreign")


class Stored:
    """A project that is pushed to two folder remotes, with its stores."""

    def __init__(self, base, invoke):
        self.base = base
        self.project = Project(base / "repo", invoke)
        self.dvlite, self.json = self.project.dvlite, self.project.json
        self.origin, self.backup = base / "origin", base / "backup"

    def fsck(self, *args, code):
        return self.json("fsck", *args, code=code)

    @property
    def cache(self):
        return self.project.cache

    @property
    def dot(self):
        return self.project.root / ".git" / "dvlite"

    def objects(self, store, folder):
        found = sorted(path for path in (store / folder).rglob("*") if path.is_file())
        assert found
        return found

    def pack(self, store, pack_class):
        """Returns the largest pack of a class, and the largest other one."""
        found = sorted(self.objects(store, "packs"), key=lambda path: path.stat().st_size)
        path = next(path for path in reversed(found) if path.read_bytes()[8] == pack_class)
        return path, next(other for other in reversed(found) if other != path)

    def is_whole(self, tmp_path, store, expected=None):
        """A colleague with nothing gets every byte from a store alone: that of the work tree, or those that are expected."""
        there = tmp_path / "there"
        subprocess.run(["git", "clone", "-q", str(self.project.root), str(there)], check=True)
        colleague = Project(there, self.project._invoke)
        colleague.dvlite("pull", "-r", store.name)
        mine, theirs = expected or tree(self.project.root), tree(there)
        for name in mine:
            if name.startswith("data/") or name in {"model.txt", "big.bin"}:
                assert mine[name] == theirs[name]
        assert "trained" in colleague.dvlite("runs", "show", "last", "--log").stdout


@pytest.fixture
def stored(tmp_path, invoke, monkeypatch):
    def build(base):
        repo = base / "repo"
        repo.mkdir()
        subprocess.run(["git", "init", "--quiet"], cwd=repo, check=True)
        made = Project(repo, invoke)
        made.dvlite("init", "--no-hooks")
        for number in range(12):
            made.write(f"data/{number}", f"number {number}\n" * 20)
        made.write("data/large", noise(300_000, 1))
        made.write("data/twice", noise(150_000, 2))
        (made.root / "data" / "link").symlink_to("1")
        made.dvlite("add", "data")
        made.write("dvlite.yaml", PIPELINE)
        made.dvlite("repro")
        for name in ("origin", "backup"):
            made.dvlite("remote", "add", name, f"../{name}")
        made.commit("One")
        made.dvlite("push")
        made.write("data/new", noise(90_000, 3))
        large = made.read("data/large")  # sent as stretches of what was sent before
        made.write("data/large", large[:150_000] + b"edited" + large[150_000:])
        made.write("data/1", "number one\n")
        made.dvlite("add", "data")
        made.commit("Two")
        made.dvlite("repro")
        made.commit("Three")
        made.dvlite("push", "--all-commits")
        made.dvlite("push", "-r", "backup", "--all-commits")

    monkeypatch.setenv("DVLITE_TRUST", f"{tmp_path / 'origin'},{tmp_path / 'backup'}")
    made = Stored(copy_of("fsck", build, tmp_path), invoke)
    (made.dot / "clone-id").unlink()  # a copy is another clone
    shutil.rmtree(made.dot / "remote")
    made.dvlite("push")
    return made


def sometimes(quick, *parts):
    """Returns all combinations; those that are not in `quick` run with the long tests."""
    return [
        pytest.param(*each, marks=() if each in quick else (pytest.mark.long, pytest.mark.sweep), id="-".join(each))
        for each in itertools.product(*parts)
    ]


def damage(path, other, how):
    """Damages a file; `other` is one of the same kind, to swap it with."""
    path.parent.chmod(0o755)
    if how == "foreign":  # in its folder, under a name as dvlite writes them
        (path.parent / ("ab" * 32)).write_bytes(b"no object of dvlite")
        return
    data = path.read_bytes()
    path.chmod(0o644)
    if how == "flipped" and path.suffix == ".sqlite":  # in the middle may be a page that is not used
        path.write_bytes(data.replace(b"train", b"brain"))
    elif how == "flipped":
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 8]) + data[len(data) // 2 + 1 :])
    elif how == "cut":
        path.write_bytes(data[: len(data) * 2 // 3])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "missing":
        path.unlink()
    elif how == "swapped":
        other.chmod(0o644)
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:  # bytes of a sound object of another name
        path.write_bytes(other.read_bytes())


def leave(stored, tmp_path, source):
    """Takes away what could heal, but for one source; "nothing": all of it."""
    if source != "cache":
        shutil.rmtree(stored.cache)
    if source != "backup":
        shutil.move(stored.backup, tmp_path / "away")
    if source != "workspace":
        take_data_away(stored)


def take_data_away(stored):
    shutil.rmtree(stored.project.root / "data")
    for name in ("big.bin", "model.txt"):
        (stored.project.root / name).unlink()


def outcome_of(result):
    """Returns what a repair did: "healed", or "said", if all that is left is named with a way on."""
    states = {each["state"] for each in result["findings"] + result["lost"]}
    if states <= {"repaired", "ignored"}:
        return "healed" if "repaired" in states else "ignored"
    for each in result["lost"]:
        assert each["state"] == "repaired" or ((each["who"] or not each["path"]) and each["fix"]), each
    return "said"


REMOTE_PLACES = ("files", "meta", "chunks", "index", "root", "runs", "config")


def remote_place(stored, place):
    """Returns an object of a remote, and another one."""
    origin = stored.origin
    if place in ("files", "meta", "chunks"):
        number = {"meta": pack.META, "files": pack.FILES, "chunks": pack.CHUNKS}[place]
        return stored.pack(origin, number)
    if place == "config":
        return origin / "config", stored.objects(origin, "index")[0]
    objects = stored.objects(origin, {"root": "roots"}.get(place, place))
    if place == "root":
        objects.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return objects[0], objects[1] if len(objects) > 1 else stored.objects(origin, "packs")[0]


QUICK_REMOTE = {
    ("cut", "meta", "backup"),
    ("missing", "chunks", "cache"),
    ("swapped", "files", "nothing"),
    ("missing", "index", "backup"),
    ("missing", "root", "cache"),
    ("flipped", "runs", "cache"),
    ("foreign", "runs", "cache"),
    ("emptied", "chunks", "workspace"),
}
REMOTE_SOURCES = ("cache", "backup", "workspace", "nothing")


@pytest.mark.parametrize(("how", "place", "source"), sometimes(QUICK_REMOTE, KINDS, REMOTE_PLACES, REMOTE_SOURCES))
def test_damage_on_a_remote_is_found_and_healed(stored, tmp_path, record_property, how, place, source):
    path, other = remote_place(stored, place)
    expected = tree(stored.project.root)
    damage(path, other, how)
    leave(stored, tmp_path, source)
    found = stored.fsck("--remote", "origin", "--deep", code=None)
    assert found["findings"]
    healed = stored.fsck("--remote", "origin", "--deep", "--repair", code=None)
    outcome = outcome_of(healed)
    record_property("outcome", outcome)
    assert outcome == ("ignored" if how == "foreign" and place in {"root", "config"} else "healed") or (
        outcome == "said" and source in {"workspace", "nothing"} and how != "swapped"
    ), healed
    again = stored.fsck("--remote", "origin", "--deep", code=13 if outcome == "said" else 0)
    if (how, place) == ("foreign", "runs"):  # set aside here, and no longer there
        assert (stored.dot / "runs" / "damaged" / ("ab" * 32)).read_bytes() == b"no object of dvlite"
        assert again["findings"] == []
    if outcome == "said":
        assert any(each["state"] == "found" for each in again["lost"] + again["findings"])
        return
    assert {each["problem"] for each in again["findings"]} <= {"foreign"}
    stored.is_whole(tmp_path, stored.origin, expected)


CACHE_PLACES = ("large", "files", "meta", "index", "batch", "runs index", "stat index", "note")


def cache_place(stored, place):
    """Returns a file of a clone, and another one."""
    if place in ("files", "meta"):
        return stored.pack(stored.cache, {"meta": pack.META, "files": pack.FILES}[place])
    folders = {"large": "cache/files", "index": "cache/index", "batch": "runs/batches", "stat index": "index"}
    if place == "runs index":
        return stored.dot / "runs" / "index.sqlite", stored.objects(stored.dot, "cache/files")[0]
    if place == "note":
        found = stored.objects(next((stored.dot / "remote").iterdir()), "index")
    else:
        found = [path for path in stored.objects(stored.dot, folders[place]) if path.suffix != ".path"]
    return found[0], found[1] if len(found) > 1 else stored.objects(stored.dot, "cache/files")[0]


QUICK_CLONE = {
    ("flipped", "large", "workspace"),
    ("missing", "meta", "workspace"),
    ("swapped", "files", "backup"),
    ("flipped", "batch", "remote"),
    ("flipped", "runs index", "workspace"),
}
CLONE_SOURCES = ("workspace", "remote", "backup", "nothing")


@pytest.mark.parametrize(("how", "place", "source"), sometimes(QUICK_CLONE, KINDS, CACHE_PLACES, CLONE_SOURCES))
def test_damage_in_a_clone_is_found_and_healed(stored, tmp_path, record_property, how, place, source):
    expected = tree(stored.project.root / "data")
    stored.dvlite("runs", "list")
    path, other = cache_place(stored, place)
    damage(path, other, how)
    if source in {"workspace", "nothing"}:
        shutil.move(stored.origin, tmp_path / "away")
        shutil.move(stored.backup, tmp_path / "away too")
    if source != "workspace":
        take_data_away(stored)
    if source == "backup":
        shutil.move(stored.origin, tmp_path / "away")
    harmless = how == "missing" and place not in ("files", "meta")  # a remote may have it, or it is made again
    harmless |= (how, place) == ("emptied", "runs index")  # as of another version: made again
    harmless |= place == "stat index" and how in {"swapped", "stale"}  # of another path: it vouches for nothing
    harmless |= how == "foreign" and place in {"runs index", "stat index", "note", "batch"}
    if harmless:
        stored.dvlite("fsck", "--deep", "--repair", code=None)
        outcome = "harmless"
    else:
        assert stored.fsck("--deep", code=13)["findings"]
        healed = stored.fsck("--deep", "--repair", code=None)
        assert {each["state"] for each in healed["findings"]} == {"repaired"}
        outcome = outcome_of(healed)
    record_property("outcome", outcome)
    if outcome == "said":  # on disk is the newest version only
        assert source in {"workspace", "nothing"}
        assert how != "swapped" or place == "runs index"  # with a large file, which is no object of that folder
        left = [each for each in healed["lost"] if each["state"] == "left"]
        assert all(each["commit"] for each in left)
        if source == "workspace":
            assert {(each["path"], *each["files"]) for each in left} == {("data", "1"), ("model.txt", "")}
        return
    if source in {"remote", "backup"}:
        stored.dvlite("pull", "-r", source if source == "backup" else "origin")
    assert stored.fsck("--deep", code=None if source in {"workspace", "nothing"} else 0)["findings"] == []
    if source != "nothing":
        assert tree(stored.project.root / "data") == expected


def test_a_file_that_went_bad_on_disk_is_put_back(stored):
    path = stored.project.root / "data" / "large"
    before = path.read_bytes()
    stored.dvlite("status")
    repo = open_repo(stored.project.root, dict(os.environ))
    work = Workspace(repo, open_cache(repo), NullProgress())
    known, index = work.stat_rows("data"), statindex.open_index(work._index_path("data"))
    path.write_bytes(b"rotten" + before[6:])
    # As after a disk lost bits: what is known of the file's times is how they are.
    statindex.write(index.path, index.root, work.scan("data"), known.digests, bytes(len(known.racy)))
    assert not stored.json("status")["changed"]
    found = stored.fsck("--deep", code=13)
    assert [each["name"] for each in found["findings"]] == ["data/large"]
    assert stored.fsck("--deep", "--repair", code=1)["findings"][0]["state"] == "repaired"
    assert path.read_bytes() == before


def test_what_is_lost_is_named_with_who_may_have_it_and_how_it_is_made_again(stored, tmp_path):
    for store in (stored.origin, stored.backup):
        shutil.move(store, tmp_path / f"{store.name} away")
    shutil.rmtree(stored.cache / "files")
    (stored.project.root / "big.bin").unlink()
    large = (stored.project.root / "data" / "large").rename(tmp_path / "large")
    found = stored.fsck("--repair", code=13)
    lost = {each["path"]: each for each in found["lost"]}
    assert lost["big.bin"]["fix"] == "dvlite repro --pull train"
    assert lost["big.bin"]["stage"] == "train"
    assert lost["data"]["files"] == ["large"]
    assert lost["data"]["commit"]
    assert lost["data"]["who"] == ["Test User"]
    shown = stored.dvlite("fsck", code=13).stdout
    assert "who may still have it: Test User" in shown
    assert "dvlite repro --pull train" in shown
    large.rename(stored.project.root / "data" / "large")
    stored.dvlite("repro", "--pull", "train")
    assert (stored.project.root / "big.bin").exists()


def test_a_damaged_log_is_brought_back_wherever_it_was(stored, tmp_path):
    """No version names it."""
    for store, flags in ((stored.cache, ()), (stored.origin, ("--remote", "origin"))):
        path = next(path for path in stored.objects(store, "packs") if b"trained\n" in path.read_bytes())
        damaged = path.read_bytes().replace(b"trained\n", b"tRained\n")
        path.chmod(0o644)
        path.write_bytes(damaged)
        healed = stored.fsck(*flags, "--deep", "--repair", code=1)
        assert {each["state"] for each in healed["lost"]} == {"repaired"}
        stored.dvlite("gc", *flags, "--yes", "--grace", "0s")
    shutil.rmtree(stored.cache)
    assert "trained" in stored.dvlite("runs", "show", "last", "--log").stdout


def test_what_is_not_ours_on_a_remote_is_left_alone(stored):
    strange = stored.origin / "packs" / "readme"
    strange.write_text("hello")
    found = stored.fsck("--remote", "origin", "--repair", code=0)
    assert [(each["name"], each["state"]) for each in found["findings"]] == [("packs/readme", "ignored")]
    assert strange.read_text() == "hello"


def test_what_is_not_ours_in_the_cache_goes_to_quarantine(stored):
    (stored.cache / "packs" / "readme").write_text("hello")
    assert stored.fsck("--repair", code=1)["findings"][0]["problem"] == "foreign"
    assert any(path.read_text() == "hello" for path in (stored.cache / "quarantine").iterdir())
    stored.fsck(code=0)


def test_a_damaged_pack_that_nothing_needs_is_condemned_and_stays(stored):
    path, _ = stored.pack(stored.origin, pack.FILES)
    damage(path, None, "flipped")
    stored.fsck("--remote", "origin", "--deep", "--repair", code=1)
    assert path.exists()
    assert stored.objects(stored.origin, "condemned")


def test_what_only_condemned_packs_have_is_not_called_lost_and_is_brought_back(stored, tmp_path):
    store = FolderStore(stored.origin)
    packs = [Digest(bytes.fromhex(path.name)) for path in stored.objects(stored.origin, "packs")]
    data = condemned.dump(packs, bytes(16))
    store.put(f"condemned/{digest_bytes(data).hex()}", data)
    subprocess.run(["git", "clone", "-q", str(stored.project.root), str(tmp_path / "empty")], check=True)
    there = Project(tmp_path / "empty", stored.project._invoke)
    found = there.json("fsck", "--remote", "origin", code=1)
    assert {each["given_up"][:2] for each in found["lost"]} == {"20"}
    assert {each["state"] for each in there.json("fsck", "--remote", "origin", "--repair", code=1)["lost"]} == {
        "repaired"
    }
    there.json("fsck", "--remote", "origin", code=0)
    for name in packs:
        (stored.origin / "packs" / name.hex()).unlink()
    stored.is_whole(tmp_path, stored.origin)


def test_samples_get_round_and_a_lost_note_of_them_starts_over(stored):
    items = 2 * len(stored.objects(stored.origin, "packs"))
    for runs in range(1, items):  # noqa: B007  # used below
        found = stored.fsck("--remote", "origin", "--sample", "30", code=0)
        assert found["read_objects"] <= 3
        if found["completed"]:
            break
    assert runs > 2
    state = stored.objects(stored.dot, "fsck")[0]
    state.write_bytes(b"damaged")
    assert stored.fsck("--remote", "origin", "--sample", "30", code=0)["completed"] is None


def test_a_time_limit_ends_a_check_and_is_no_finding(stored):
    for flags in ((), ("--remote", "origin")):
        found = stored.fsck(*flags, "--for", "0s", code=0)
        assert found["stopped"]
        assert found["completed"] is None
        found = stored.fsck(*flags, "--for", "10m", code=0)
        assert not found["stopped"]
        assert found["completed"]


@pytest.mark.long
def test_what_was_bad_is_found_by_each_check_with_a_limit(stored):
    damage(*stored.pack(stored.origin, pack.CHUNKS), "flipped")
    for _ in range(2):
        stored.fsck("--remote", "origin", "--for", "10m", code=13)
        assert stored.fsck("--remote", "origin", "--sample", "1", code=13)["read_objects"] <= 2


def test_a_bucket_is_healed(project, weed, s3_url, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", weed.endpoint_url)
    project.dvlite("remote", "add", s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    for number in range(5):
        project.write(f"data/{number}", noise(2000, number))
    project.write("data/large", noise(200_000, 9))
    project.dvlite("add", "data")
    project.commit("One")
    project.dvlite("push")
    assert project.json("fsck", "--remote", "--deep")["findings"] == []
    store = open_store(
        parse_url(s3_url, project.root), {"endpoint_url": weed.endpoint_url}, budget=RetryBudget(10), connections=2
    )
    packs = sorted(entry.name for entry in store.list("packs/").entries)
    data = bytearray(store.get(packs[0]))
    data[len(data) // 2] ^= 8
    store.put(packs[0], bytes(data))
    store.delete([packs[1], *(entry.name for entry in store.list("index/").entries)])
    assert project.json("fsck", "--remote", "--deep", code=13)["lost"]
    healed = project.json("fsck", "--remote", "--deep", "--repair", code=1)
    assert {each["state"] for each in healed["findings"]} == {"repaired"}
    assert project.json("fsck", "--remote", "--deep")["findings"] == []
    before = tree(project.root / "data")
    shutil.rmtree(project.root / ".git" / "dvlite")
    shutil.rmtree(project.root / "data")
    project.dvlite("pull")
    assert tree(project.root / "data") == before
    store.close()


@pytest.mark.long
def test_a_list_of_condemned_packs_is_written_again_as_this_clone_knows_it(stored):
    damage(*stored.pack(stored.origin, pack.FILES), "flipped")
    stored.fsck("--remote", "origin", "--deep", "--repair", code=1)
    stored.dvlite("status", "--remote")
    damage(stored.objects(stored.origin, "condemned")[0], None, "flipped")
    found = stored.fsck("--remote", "origin", "--repair", code=1)["findings"]
    assert [(each["name"].partition("/")[0], each["state"]) for each in found] == [("condemned", "repaired")]


def test_a_fresh_clone_has_nothing_wrong_and_an_emptied_remote_is_not_called_right(stored, tmp_path):
    subprocess.run(["git", "clone", "-q", str(stored.project.root), str(tmp_path / "there")], check=True)
    there = Project(tmp_path / "there", stored.project._invoke)
    assert there.json("fsck", "--deep")["lost"] == []
    for store in (stored.origin, stored.backup):
        shutil.rmtree(store)
        store.mkdir()
    assert there.json("fsck", "--remote", "origin", code=3)["unchecked"]
