"""`dvlite verify --remote`: what is damaged there is told of, what only looks so is not, and a push from a clone with the data repairs it."""

import os

import pytest

from dvlite.formats import recipe, root, strict_json
from dvlite.formats.recipe import Recipe
from dvlite.oid import Digest, digest_bytes
from dvlite.store import index, pack
from dvlite.store.index import Index, PackEntry, RecordLocation
from dvlite.store.pack import CHUNKS, KIND_FILE, KIND_MANIFEST, KIND_PART, KIND_RECIPE, PackWriter, Record
from tests.commands.project import Project

PIPELINE = "stages:\n  one:\n    cmd: cp large.bin out.bin\n    deps: [large.bin, small]\n    outs: [out.bin]\n"


@pytest.fixture
def pushed(prepared, tmp_path, monkeypatch):
    """Returns a project with a large file, small ones and a run, all on its remote, `../store`."""

    def build(project):
        project.write("large.bin", os.urandom(3 << 20))
        for number in range(30):
            project.write(f"small/{number}.txt", os.urandom(200))
        project.dvlite("add", "large.bin", "small")
        project.write("dvlite.yaml", PIPELINE)
        project.dvlite("repro")
        project.commit("Run")

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    project = prepared("pushed-to-be-verified", build)
    project.dvlite("push")  # this clone sees what the remote has
    return project


def clone_of(project, name="clone"):
    place = project.root.parent / name
    project.git("clone", "-q", str(project.root), str(place))
    return Project(place, project._invoke)


def store(project):
    return project.root.parent / "store"


def rows(project):
    """Returns the rows of all indexes on the remote."""
    return [row for path in (store(project) / "index").iterdir() for row in Index(path.read_bytes(), path.name)]


def chunk_packs(project):
    """Returns the packs of chunks on the remote, with their lengths."""
    indexes = (Index(path.read_bytes(), path.name) for path in (store(project) / "index").iterdir())
    entries = ((name, entry) for segment in indexes for name, entry in segment.packs.items())
    return {name: entry.size_bytes for name, entry in entries if entry.pack_class == CHUNKS}


def rewrite(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


def look(project, *args, code=0):
    return project.json("verify", "--remote", *args, code=code)


def assert_pulls_all(project, name):
    clone = clone_of(project, name)
    clone.dvlite("pull")
    for path in ("large.bin", "out.bin", *(f"small/{number}.txt" for number in range(30))):
        assert clone.read(path) == project.read(path)


@pytest.mark.parametrize("length", [0, 40])
def test_a_batch_of_run_records_that_was_cut_is_told_of_and_pushed_again(pushed, length):
    (batch,) = (path for path in (store(pushed) / "runs").rglob("*") if path.is_file())
    rewrite(batch, batch.read_bytes()[:length])
    (found,) = look(pushed, code=1)["findings"]
    assert (found["kind"], found["fix"]) == ("not-on-remote", "dvlite push")
    assert "record of the run" in found["message"]
    pushed.dvlite("push")
    assert look(pushed, "--deep")["findings"] == []
    done = clone_of(pushed).dvlite("verify", "--remote", "--deep")
    assert "left out" not in done.stderr


def test_deep_finds_a_damaged_batch_of_run_records(pushed):
    (batch,) = (path for path in (store(pushed) / "runs").rglob("*") if path.is_file())
    data = bytearray(batch.read_bytes())
    data[50] ^= 1
    rewrite(batch, bytes(data))
    (found,) = look(pushed, "--deep", code=1)["findings"]
    assert found["kind"] == "remote-corrupt"
    pushed.dvlite("push")
    assert look(pushed, "--deep")["findings"] == []
    assert look(clone_of(pushed), "--deep")["findings"] == []


@pytest.mark.parametrize(
    "kind", [None, KIND_FILE, KIND_MANIFEST, KIND_RECIPE], ids=["chunks", "file", "node", "recipe"]
)
def test_a_damaged_pack_is_sent_again_by_the_next_push(pushed, kind):
    places = {(row.pack, row.record.offset) for row in rows(pushed) if row.record.kind == kind}
    places |= {(name, pack.HEADER_BYTES) for name in chunk_packs(pushed) if kind is None}
    assert places
    for name, offset in places:
        path = store(pushed) / "packs" / name.hex()
        data = bytearray(path.read_bytes())
        data[offset + 10] ^= 1
        rewrite(path, bytes(data))
    told = look(pushed, "--deep", code=1)["findings"]
    assert {each["kind"] for each in told} == {"remote-corrupt"}
    assert {each["fix"] for each in told} == {"dvlite fsck --remote --deep --repair     in a clone that has the data"}
    assert {each["kind"] for each in look(pushed, code=1)["findings"]} <= {"not-on-remote", "remote-corrupt"}
    assert "Nothing to push" not in pushed.dvlite("push").stdout
    assert look(pushed, "--deep")["findings"] == []
    assert look(clone_of(pushed), "--deep")["findings"] == []
    assert_pulls_all(pushed, "fresh")


def test_a_damaged_recipe_is_a_finding_where_the_file_is_known_to_be_complete(pushed):
    for place in (row for row in rows(pushed) if row.record.kind == KIND_RECIPE):
        path = store(pushed) / "packs" / place.pack.hex()
        data = bytearray(path.read_bytes())
        data[place.record.offset + 10] ^= 1
        rewrite(path, bytes(data))
    for kept in pushed.root.glob(".git/dvlite/cache/remote/*/meta/*"):
        kept.unlink()
    findings = look(pushed, "--deep", code=1)["findings"]
    assert {finding["kind"] for finding in findings} == {"remote-corrupt"}
    pushed.dvlite("push")
    assert look(pushed, "--deep")["findings"] == []
    assert_pulls_all(pushed, "fresh")


def test_a_recipe_in_parts_is_read_whole_and_a_damaged_part_is_sent_again(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    shared.write("zeros.bin", bytes(40 << 20))  # a part that is not the last has 16 MiB at least
    shared.dvlite("add", "zeros.bin")
    shared.commit("Add")
    shared.dvlite("push")
    place = next(row for row in rows(shared) if row.record.kind == KIND_RECIPE)
    data = (store(shared) / "packs" / place.pack.hex()).read_bytes()
    stored = data[place.record.offset : place.record.offset + place.record.stored_length]
    (term,) = recipe.parse(stored, place.record.digest).terms
    half, data = recipe.dump_part([term._replace(repeat=term.repeat // 2, length_bytes=term.length_bytes // 2)])
    whole = recipe.dump(Recipe(place.record.digest, 40 << 20, parts=(half, half)))
    writer = PackWriter(pack.META, os.urandom(16))
    writer.add(KIND_PART, half.digest, data)
    writer.add_stored(Record(KIND_RECIPE, pack.RAW, 0, len(whole), len(whole), place.record.digest), whole)
    made = writer.finish()
    kept = [row for row in rows(shared) if row.record.kind != KIND_RECIPE]
    packs = {name: PackEntry(CHUNKS, size) for name, size in chunk_packs(shared).items()}
    for path in (store(shared) / "index").iterdir():
        path.unlink()
    (store(shared) / "packs" / made.name.hex()).write_bytes(made.data)
    publish(shared, [*kept, *index.rows_of(made)], packs)
    clone = clone_of(shared)
    clone.dvlite("pull")
    assert clone.read("zeros.bin") == bytes(40 << 20)
    assert look(clone, "--deep")["findings"] == []
    bytes_of = bytearray(made.data)
    bytes_of[made.records[0].offset + 20] ^= 1
    rewrite(store(shared) / "packs" / made.name.hex(), bytes(bytes_of))
    (finding,) = look(clone_of(shared, "other"), "--deep", code=1)["findings"]
    assert finding["kind"] == "remote-corrupt"
    assert look(clone, "--deep", code=1)["findings"]
    clone.dvlite("push")
    assert look(clone, "--deep")["findings"] == []
    fresh = clone_of(shared, "fresh")
    fresh.dvlite("pull")
    assert fresh.read("zeros.bin") == bytes(40 << 20)


def test_what_is_right_in_a_damaged_pack_is_still_pulled_and_pushed(pushed):
    place = next(row for row in rows(pushed) if row.record.kind == KIND_FILE and row.record.raw_length == 200)
    path = store(pushed) / "packs" / place.pack.hex()
    data = bytearray(path.read_bytes())
    data[place.record.offset + 5] ^= 1
    rewrite(path, bytes(data))
    clone = clone_of(pushed)
    (found,) = look(clone, "--deep", code=1)["findings"]
    assert found["kind"] == "remote-corrupt"
    assert place.pack.hex()[:8] in found["message"] or "small/" in found["message"]
    done = clone.dvlite("push", "small", code=None)
    assert done.returncode
    assert "1 more" not in done.stderr
    assert "neither in the cache nor on" in done.stderr
    good = next(n for n in range(30) if digest_bytes(pushed.read(f"small/{n}.txt")) != place.record.digest)
    clone.dvlite("pull", f"small/{good}.txt")
    assert clone.read(f"small/{good}.txt") == pushed.read(f"small/{good}.txt")
    pushed.dvlite("push")
    assert look(pushed)["findings"] == []


def publish(project, places, entries=None):
    data = index.encode(places, os.urandom(16), entries)
    (store(project) / "index" / digest_bytes(data).hex()).write_bytes(data)


def test_what_a_later_dvlite_wrote_is_not_checked_and_not_damaged(pushed):
    change = {name: PackEntry(CHUNKS, size) for name, size in chunk_packs(pushed).items()}
    place = next(row for row in rows(pushed) if row.record.kind == KIND_FILE)
    for path in (store(pushed) / "index").iterdir():
        path.unlink()
    publish(pushed, [RecordLocation(place.pack, place.record._replace(codec=2))], change)
    report = pushed.json("verify", "--remote", code=None)
    assert any("was written by a later dvlite" in each["why"] for each in report["unchecked"])
    assert not [each for each in report["findings"] if each["kind"] in ("remote-corrupt", "size-mismatch")]


@pytest.mark.parametrize("number", range(3))
def test_an_index_that_is_wrong_about_where_packs_end_does_no_harm(pushed, number):
    packs = chunk_packs(pushed)
    assert packs
    publish(pushed, [], {name: PackEntry(CHUNKS, size - 1 - number) for name, size in packs.items()})
    publish(pushed, [], {Digest(b"\xee" * 32): PackEntry(CHUNKS, 9)})
    assert look(pushed, "--deep")["findings"] == []
    assert_pulls_all(pushed, "fresh")


@pytest.mark.parametrize("number", range(3))
def test_an_index_with_rows_that_are_wrong_does_no_harm(pushed, number):
    def wrong(record):
        return Record(
            record.kind,
            record.codec,
            record.offset + 1,
            record.raw_length + number,
            record.stored_length,
            record.digest,
        )

    publish(pushed, [RecordLocation(row.pack, wrong(row.record)) for row in rows(pushed)])
    clone = clone_of(pushed)
    for project in (pushed, clone):
        assert look(project, "--deep")["findings"] == []
    assert_pulls_all(pushed, "fresh")
    clone.dvlite("pull")
    clone.write("small/31.txt", "one more")
    clone.dvlite("add", "small")
    clone.commit("One more")
    clone.dvlite("push")
    assert {each["kind"] for each in look(clone, code=1)["findings"]} == {"dep-changed"}


@pytest.mark.parametrize("data", [None, b"", b"{}", b"junk", b'{"dvlite_store": 99}'])
def test_a_lost_or_damaged_config_is_found_and_stops_only_writers_that_never_saw_it(pushed, data):
    config, whole = store(pushed) / "config", (store(pushed) / "config").read_bytes()
    config.unlink()
    if data is not None:
        config.write_bytes(data)
    (found,) = look(pushed, code=1)["findings"]
    assert (found["kind"], found["message"].split(" on ")[0]) == ("remote-corrupt", "object config")
    assert found["fix"].startswith("dvlite push ")
    assert_pulls_all(pushed, "fresh")
    assert "never saw it" in clone_of(pushed, "stranger").dvlite("push", code=1).stderr
    pushed.dvlite("push")
    assert config.read_bytes() == whole
    assert look(pushed, "--deep")["findings"] == []


def test_a_config_of_a_later_version_is_not_damaged_and_not_written_over(pushed):
    config = store(pushed) / "config"
    later = strict_json.seal({"dvlite_store": 99})
    rewrite(config, later)
    (found,) = look(pushed, code=3)["unchecked"]
    assert "later dvlite" in found["why"]
    pushed.dvlite("push", code=1)
    assert config.read_bytes() == later


def test_a_damaged_root_is_found_by_a_deep_look_and_written_again_by_the_next_push(pushed):
    (name,) = (store(pushed) / "roots").iterdir()
    whole = name.read_bytes()
    rewrite(name, whole.replace(b'"count":', b'"cOunt":'))
    assert look(pushed)["findings"] == []
    (found,) = look(pushed, "--deep", code=1)["findings"]
    assert found["kind"] == "remote-corrupt"
    assert f"roots/{name.name[:8]}" in found["message"]
    pushed.dvlite("push")
    assert name.read_bytes() == whole
    assert look(pushed, "--deep")["findings"] == []


def test_another_clone_writes_a_damaged_root_again_without_what_it_does_not_know(pushed):
    (name,) = (store(pushed) / "roots").iterdir()
    rewrite(name, b"")
    other = clone_of(pushed)
    look(other, "--deep", code=1)
    other.dvlite("push")
    body = root.parse(name.read_bytes(), f"roots/{name.name}")
    assert body == root.Root(clone=name.name.split("-")[1])
    assert look(pushed, "--deep")["findings"] == []


def test_a_deep_look_misses_what_this_clone_put_there_for_an_earlier_commit(pushed):
    earlier = [path for folder in ("roots", "runs") for path in (store(pushed) / folder).rglob("*") if path.is_file()]
    pushed.write("small/0.txt", b"edited")
    pushed.dvlite("add", "small")
    pushed.dvlite("repro")
    pushed.commit("Run again")
    pushed.dvlite("push")
    for path in earlier:
        path.unlink()
    assert look(pushed)["findings"] == []
    found = look(pushed, "--deep", code=1)["findings"]
    assert {(each["kind"], each["fix"]) for each in found} == {
        ("not-on-remote", "dvlite push"),
        ("not-on-remote", "dvlite fsck --remote --repair"),
    }
    assert look(clone_of(pushed), "--deep")["findings"] == []  # it put nothing there
    pushed.json("fsck", "--remote", "--repair", code=1)
    assert look(pushed, "--deep")["findings"] == []
    pushed.dvlite("verify", "--remote", "--rev", "HEAD~1")


def test_damage_of_one_path_does_not_keep_others_from_being_pulled(pushed):
    place = next(row for row in rows(pushed) if row.record.kind == KIND_FILE and row.record.raw_length == 200)
    path = store(pushed) / "packs" / place.pack.hex()
    data = bytearray(path.read_bytes())
    data[place.record.offset + 5] ^= 1
    rewrite(path, bytes(data))
    clone = clone_of(pushed)
    done = clone.dvlite("pull", code=13)
    assert place.record.digest.hex() in done.stderr
    assert "hint: in a clone that has the data: dvlite fsck --remote --deep --repair" in done.stderr
    assert clone.read("large.bin") == pushed.read("large.bin")
    assert clone.read("out.bin") == pushed.read("out.bin")
    assert not clone.has("small/0.txt")


def test_a_damaged_chunk_does_not_keep_other_large_files_from_being_fetched(pushed):
    pushed.write("other.bin", os.urandom(200_000))
    pushed.dvlite("add", "other.bin")
    pushed.commit("Another")
    known = chunk_packs(pushed)
    pushed.dvlite("push")
    (new,) = chunk_packs(pushed).keys() - known.keys()
    path = store(pushed) / "packs" / new.hex()
    data = bytearray(path.read_bytes())
    data[pack.HEADER_BYTES + 100] ^= 1
    rewrite(path, bytes(data))
    clone = clone_of(pushed)
    assert "other.bin" in clone.dvlite("pull", code=13).stderr
    assert clone.read("large.bin") == pushed.read("large.bin")
    assert not clone.has("other.bin")


def test_a_remote_that_is_named_is_checked(pushed, tmp_path):
    pushed.dvlite("remote", "add", "empty", tmp_path / "empty")
    assert pushed.json("verify", "-r", "origin")["remote"] == "origin"
    assert "empty" in pushed.dvlite("verify", "-r", "empty", code=3).stderr
    done = pushed.dvlite("verify", "-r", "nonsense", code=2)
    assert "there is no remote 'nonsense'" in done.stderr
    assert "there is no remote 'nonsense'" in pushed.dvlite("verify", "--rerun", "-r", "nonsense", code=2).stderr
