"""What nothing needs goes from a cache, the rest stays readable, whatever comes in between."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import FILE, Entry
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, digest_bytes
from dvlite.store import cache_sweep, pack
from dvlite.store.cache import Cache
from dvlite.store.cache_sweep import TWICE, UNREADABLE, YOUNG, Limits
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from dvlite.store.reachable import Marks, reachable
from tests.store.cached import flip, put, put_large, read, reopened
from tests.store.world import noise

TIDY = Limits(tidies=True)


def judging(*contents):
    """Returns a judge that needs these files and every listing."""
    wanted = {digest_bytes(content) for content in contents}
    return lambda kind, digest: (kind != KIND_FILE or digest in wanted, "kept" if digest in wanted else "gone")


def sweep(cache, judge, limits=TIDY):
    found = cache_sweep.plan(cache, judge, limits)
    damaged = cache_sweep.apply(cache, found, judge)
    return found, damaged


def names(cache, folder="packs"):
    return {path.name for path in (cache.folder / folder).rglob("*") if path.is_file()}


def total(cache):
    return sum(
        path.stat().st_size
        for part in ("files", "packs")
        for path in (cache.folder / part).rglob("*")
        if path.is_file()
    )


SMALL = [noise(300, number) for number in range(40)]


def test_of_a_pack_what_is_needed_is_copied_as_it_is_stored(cache, monkeypatch):
    put(cache, *SMALL)
    before = total(cache)
    monkeypatch.setattr(pack, "compress", lambda _: pytest.fail("nothing is compressed again"))
    found, _ = sweep(cache, judging(*SMALL[:10]))
    assert before - total(cache) == found.freed_bytes > 30 * 300
    assert (found.gone["gone"].objects, found.kept["kept"].objects) == (30, 10)
    again = reopened(cache)
    assert [read(again, content) for content in SMALL[:10]] == SMALL[:10]
    for content in SMALL[10:]:
        assert not any(content in path.read_bytes() for path in (cache.folder / "packs").iterdir())
        with pytest.raises(ObjectMissing):
            read(again, content)


def test_a_little_waste_is_left_alone(cache):
    put(cache, *SMALL)
    before = names(cache)
    found, _ = sweep(cache, judging(*SMALL[1:]))
    assert names(cache) == before
    assert found.freed_bytes == 0


def test_a_large_file_goes_alone(cache, tmp_path):
    keep, drop = noise(5000, 100), noise(6000, 101)
    for content in (keep, drop):
        put_large(cache, tmp_path, content)
    found, _ = sweep(cache, judging(keep))
    assert found.freed_bytes == 6000
    assert names(cache, "files") == {digest_bytes(keep).hex()}


def test_many_small_packs_become_one(cache):
    for content in SMALL[:20]:
        put(cache, content)
    assert len(names(cache)) == 20
    sweep(cache, judging(*SMALL))
    assert len(names(cache)) == 1
    assert [read(reopened(cache), content) for content in SMALL[:20]] == SMALL[:20]
    before = names(cache)
    sweep(cache, judging(*SMALL))
    assert names(cache) == before


def test_what_is_young_stays_whole(cache, tmp_path):
    put(cache, *SMALL)
    put_large(cache, tmp_path, noise(5000, 100))
    before = total(cache)
    young = Limits(oldest_ns=cache_sweep.now_ns(cache) - 10**12, tidies=True)
    found, _ = sweep(cache, judging(*SMALL[:10]), young)
    assert total(cache) == before
    assert found.kept[YOUNG].objects == 31
    assert not found.gone


def test_an_object_in_two_packs_stays_in_one_if_that_copy_is_sound(cache):
    put(cache, *SMALL)
    other = Cache(cache.folder / "other", pack_below_bytes=1024)
    put(other, *SMALL[:5])
    for path in (other.folder / "packs").iterdir():
        path.rename(cache.folder / "packs" / path.name)
    cache = reopened(cache)
    cache.segments()
    found, _ = sweep(cache, judging(*SMALL))
    assert found.gone[TWICE].objects == 5
    assert len(names(cache)) == 1


def test_the_last_sound_copy_of_an_object_is_never_taken_for_a_spare_one(cache):
    put(cache, *SMALL)
    (large,) = (cache.folder / "packs").iterdir()
    place = cache.locations(digest_bytes(SMALL[2]), (KIND_FILE,))[0]
    other = Cache(cache.folder / "other", pack_below_bytes=1024)
    put(other, *SMALL[:5])
    for path in (other.folder / "packs").iterdir():
        path.rename(cache.folder / "packs" / path.name)
    flip(large, place.record.offset)
    cache = reopened(cache)
    cache.segments()
    sweep(cache, judging(*SMALL))
    assert read(reopened(cache), SMALL[2]) == SMALL[2]


def test_a_damaged_object_that_is_needed_keeps_its_pack(cache):
    put(cache, *SMALL)
    (only,) = (cache.folder / "packs").iterdir()
    flip(only, cache.locations(digest_bytes(SMALL[2]), (KIND_FILE,))[0].record.offset)
    cache = reopened(cache)
    _, damaged = sweep(cache, judging(*SMALL[:10]))
    assert damaged == 1
    assert only.exists()
    with pytest.raises(ObjectCorrupt):
        read(reopened(cache), SMALL[2])
    assert read(reopened(cache), SMALL[3]) == SMALL[3]


@pytest.mark.parametrize("at", [-10, 3], ids=["footer", "header"])
def test_a_pack_that_cannot_be_read_stays(cache, at):
    put(cache, *SMALL)
    (only,) = (cache.folder / "packs").iterdir()
    cache.segments()
    flip(only, at)
    found, _ = sweep(reopened(cache), judging())
    assert only.exists()
    assert found.unreadable == found.kept[UNREADABLE].objects == 1
    assert not found.gone


def test_a_pack_without_an_index_stays_until_it_has_one(cache):
    put(cache, *SMALL)
    for name in names(cache, "index"):
        (cache.folder / "index" / name).unlink()
    before = names(cache)
    cache = reopened(cache)
    with Writer(cache):  # which holds the lock that adopting takes
        found, _ = sweep(cache, judging())
    assert found.unreadable == 1
    assert names(cache) == before


def test_leftovers_go_and_quarantine_stays(cache, tmp_path):
    from dvlite import files

    notes = tmp_path / "notes"
    (notes / "index").mkdir(parents=True)
    (notes / "index" / "x").write_bytes(b"note")
    left = [
        cache.folder / "partial" / ("a" * 64),
        *(cache.folder / one / files.temporary_name() for one in ("tmp", "index")),
    ]
    for path in left:
        path.write_bytes(b"left" * 5000)
    (cache.folder / "quarantine" / "packs-x").write_bytes(b"damaged")
    limits = Limits(tidies=True, notes=(notes,))
    young = Limits(cache_sweep.now_ns(cache) - 10**12, tidies=True, notes=(notes,))
    assert not sweep(cache, judging(), young)[0].leftovers
    found, _ = sweep(cache, judging(), limits)
    assert found.freed_bytes >= 60_000
    assert not any(path.exists() for path in (*left, notes))
    assert cache_sweep.quarantined(cache).objects == 1


# --- beside others ---


def test_a_reader_that_knew_the_old_packs_reads_the_new_ones(cache):
    put(cache, *SMALL)
    reader = reopened(cache)
    place = reader.locations(digest_bytes(SMALL[1]), (KIND_FILE,))[0]
    sweep(cache, judging(*SMALL[:10]))
    assert read(reader, SMALL[1]) == SMALL[1]
    assert bytes(reopened(cache).stored(place)) == bytes(reader.stored(place))


def aged(cache):
    for path in cache.folder.rglob("*"):
        os.utime(path, (0, 0))


def test_what_a_writer_finds_there_is_as_young_as_what_it_stores(cache, tmp_path):
    large = noise(5000, 100)
    put(cache, *SMALL)
    put_large(cache, tmp_path, large)
    (only,) = (cache.folder / "packs").iterdir()
    path = cache.large_path(digest_bytes(large))
    aged(cache)
    put(cache, SMALL[3])
    put_large(cache, tmp_path, large)
    assert only.stat().st_mtime > 10**9 < path.stat().st_mtime
    aged(cache)
    with Writer(cache) as writer:
        digests = digest_bytes(SMALL[3]) + digest_bytes(large) + digest_bytes(b"?")
        assert list(writer.lacking(digests, [300, 5000, 1])) == [2]
    assert only.stat().st_mtime > 10**9 < path.stat().st_mtime


def test_what_another_user_owns_is_stored_again(cache, tmp_path, monkeypatch):
    large = noise(5000, 100)
    put(cache, *SMALL)
    put_large(cache, tmp_path, large)
    before = cache.large_path(digest_bytes(large)).stat().st_ino

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    put(cache, SMALL[3])
    put_large(cache, tmp_path, large)
    assert len(names(cache)) == 2
    assert cache.large_path(digest_bytes(large)).stat().st_ino != before


def test_a_writer_that_knew_the_old_packs_sees_what_is_gone(cache):
    put(cache, *SMALL)
    writing = reopened(cache)
    writing.segments()
    sweep(cache, judging(*SMALL[:10]))
    with Writer(writing):
        assert not writing.has_file(digest_bytes(SMALL[20]), 300)
    put(writing, SMALL[20])
    assert read(reopened(cache), SMALL[20]) == SMALL[20]


# --- whatever happens ---


class Death(BaseException):
    """The process ends here."""


def dying(monkeypatch, at):
    """Lets the process die at its Nth change to the disk; returns how to learn how many there were."""
    changes = [0]

    def wrap(name):
        original = getattr(os, name)

        def wrapped(*args, **options):
            is_change = name != "open" or args[1] & os.O_CREAT
            changes[0] += bool(is_change)
            if changes[0] >= at > 0:
                raise Death
            return original(*args, **options)

        monkeypatch.setattr(os, name, wrapped)

    for name in ("open", "unlink", "replace", "fsync", "rmdir"):
        wrap(name)
    return changes


def test_a_sweep_can_die_at_any_change_and_the_next_completes_it(tmp_path, monkeypatch):
    needed = SMALL[:10]

    def filled(number):
        cache = Cache(tmp_path / str(number), pack_below_bytes=1024)
        cache.create()
        put(cache, *SMALL[:5], *SMALL[20:30])
        put(cache, *SMALL[5:20])
        put_large(cache, tmp_path, noise(5000, 1))
        return cache

    with monkeypatch.context() as patch:
        cache = filled(0)
        cache.segments()
        changes = dying(patch, 0)
        sweep(cache, judging(*needed))
    size = total(cache)
    assert changes[0] > 12
    for at in range(1, changes[0] + 1):
        cache = filled(at)
        cache.segments()
        with monkeypatch.context() as patch, pytest.raises(Death):
            dying(patch, at)
            sweep(cache, judging(*needed))
        assert [read(reopened(cache), content) for content in needed] == needed
        cache = reopened(cache)
        cache.segments()
        sweep(cache, judging(*needed))
        assert [read(reopened(cache), content) for content in needed] == needed
        assert total(cache) <= size + 200, f"after death at change {at}"


CONTENTS = st.integers(0, 30)
VERSIONS = st.lists(st.dictionaries(st.sampled_from("abcdefgh"), CONTENTS, max_size=6), min_size=1, max_size=6)


def add(cache, version):
    """Stores a version as `add` does and returns its id; contents with a number above 20 are large."""
    contents = {name: noise(200 if number <= 20 else 3000, number) for name, number in version.items()}
    entries = [
        Entry(name.encode(), FILE, len(content), digest_bytes(content)) for name, content in sorted(contents.items())
    ]
    tree = manifest.build(manifest.from_entries(entries))
    source = cache.folder / "tmp" / "source"
    with Writer(cache) as writer:
        for content in contents.values():
            source.write_bytes(content)
            with source.open("rb") as file:
                is_large = len(content) > 1024
                writer.put_large(file.fileno(), "source") if is_large else writer.put(
                    KIND_FILE, digest_bytes(content), content
                )
        for digest, data in tree.nodes:
            writer.put(KIND_MANIFEST, digest, data)
        writer.commit()
    return MANIFEST, tree.root


def is_whole(cache, version):
    try:
        listing = manifest.load(version[1], cache.read_node)
        for i in range(len(listing)):
            assert cache.read_file(listing.digest(i), listing.sizes[i])
    except ObjectMissing:
        return False
    return True


def needing(cache, versions):
    marks = Marks(cache)
    for version in versions:
        marks.add(version, 0)
    return lambda kind, digest: ((marks.files if kind == KIND_FILE else marks.nodes).get(digest) is not None, "")


@given(VERSIONS, st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
def test_every_needed_version_is_whole_after_any_number_of_sweeps(tmp_path_factory, versions, data):
    cache = Cache(tmp_path_factory.mktemp("cache"), pack_below_bytes=1024)
    cache.create()
    stored = [add(cache, version) for version in versions]
    for _ in range(2):
        needed = data.draw(st.sets(st.sampled_from(stored)))
        if all(is_whole(cache, version) for version in needed):
            sweep(cache, needing(cache, needed))
            assert all(is_whole(reopened(cache), version) for version in needed)


def test_the_property_finds_a_judge_that_forgets_something(cache):
    """A broken keep is seen by the check that the property rests on."""
    version = add(cache, {"a": 1, "b": 2, "c": 25})
    digests = sorted(reachable(version, cache.read_node).files)
    for forgotten in digests:
        fresh = Cache(cache.folder.parent / forgotten.hex()[:8], pack_below_bytes=1024)
        fresh.create()
        assert add(fresh, {"a": 1, "b": 2, "c": 25}) == version
        judge = needing(fresh, [version])
        sweep(
            fresh,
            lambda kind, digest, judge=judge, forgotten=forgotten: (digest != forgotten and judge(kind, digest)[0], ""),
        )
        assert not is_whole(reopened(fresh), version)


def test_marks_give_the_first_reason_and_read_a_shared_node_once(cache, monkeypatch):
    one, other = add(cache, {"a": 1, "b": 2}), add(cache, {"a": 1, "b": 3})
    reads = []
    read_node = cache.read_node
    monkeypatch.setattr(cache, "read_node", lambda digest: (reads.append(digest), read_node(digest))[1])
    marks = Marks(cache)
    for number, version in enumerate((one, other, one, (FILE_OID, digest_bytes(b"alone")))):
        marks.add(version, number)
    assert len(reads) == 2
    assert [marks.files.get(digest_bytes(noise(200, number))) for number in (1, 2, 3)] == [0, 0, 1]
    assert marks.files.get(digest_bytes(b"alone")) == 3
    assert marks.files.get(digest_bytes(b"unknown")) is None
    marks.add((MANIFEST, digest_bytes(b"absent")), 4)
    assert marks.absent == {digest_bytes(b"absent")}
