"""Which directory versions hold some content, by their listings."""

import pytest

from dvlite.errors import ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import FILE, Entry
from dvlite.lineage.directories import DirectoryVersions
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, digest_bytes, format_oid
from dvlite.runs.queries import Artefact


def file(text):
    return format_oid(FILE_OID, digest_bytes(text.encode()))


class World:
    """Directory versions, what runs know, and the nodes that can be read or fetched."""

    def __init__(self):
        self.nodes, self.far, self.known, self.fetched = {}, {}, [], []

    def directory(self, path, files, *, far=False):
        """Adds a version of a directory, given as inner path -> text."""
        rows = [Entry(name.encode(), FILE, 1000, digest_bytes(text.encode())) for name, text in sorted(files.items())]
        tree = manifest.build(manifest.from_entries(rows))
        (self.far if far else self.nodes).update(tree.nodes)
        thing = Artefact(format_oid(MANIFEST, tree.root), path, tree.size_bytes, tree.files)
        self.known.append(thing)
        return thing

    def directories(self):
        return self.known

    def read(self, digest):
        if digest not in self.nodes:
            raise ObjectMissing("not here")
        return self.nodes[digest]

    def fetch(self, digests):
        self.fetched += digests
        self.nodes.update(self.far)

    def listings(self, *, far=True):
        return DirectoryVersions(self, self.read, fetch=self.fetch if far else None)


@pytest.fixture
def world():
    return World()


def test_a_file_is_held_by_the_versions_that_have_these_bytes_at_its_path(world):
    one = world.directory("data/images", {"a.jpg": "a", "b.jpg": "b"})
    two = world.directory("data/images", {"a.jpg": "a", "b.jpg": "other"})
    world.directory("data/sounds", {"a.jpg": "a"})
    listings = world.listings()
    assert listings.holders(Artefact(file("a"), "data/images/a.jpg", 1000)) == [one, two]
    assert listings.holders(Artefact(file("b"), "data/images/b.jpg", 1000)) == [one]
    assert listings.holders(Artefact(file("b"), "data/images/a.jpg", 1000)) == []
    assert listings.holders(Artefact(file("a"), "a.jpg", 1000)) == []


def test_a_folder_is_held_by_the_directory_around_it(world):
    whole = world.directory("data", {"val/a": "a", "val/b": "b", "train/a": "c"})
    part = world.directory("data/val", {"a": "a", "b": "b"})
    changed = world.directory("data/val", {"a": "a", "b": "new"})
    listings = world.listings()
    assert listings.holders(part) == [whole]
    assert listings.holders(changed) == []


def test_a_directory_known_without_its_size_gets_it_from_its_listing(world):
    whole = world.directory("data", {f"{i}": f"{i}" for i in range(3000)})
    world.known = [Artefact(whole.oid, "data")]
    assert world.listings().holders(Artefact(file("7"), "data/7", 1000)) == [whole]


def test_parts_are_what_runs_used_of_a_directory_and_no_more(world):
    whole = world.directory("data", {"val/a": "a", "val/b": "b", "c": "c"})
    folder = world.directory("data/val", {"a": "a", "b": "b"})
    other = world.directory("data/val", {"a": "x"})
    among = [
        folder,
        other,
        Artefact(file("c"), "data/c", 1000),
        Artefact(file("a"), "elsewhere/a", 1000),
        Artefact(file("zzz"), "data/c", 1000),
    ]
    found = [folder, Artefact(file("c"), "data/c", 1000)]
    assert world.listings().parts(whole, among) == found
    many = [Artefact(file("zzz"), f"data/{i}", 1000) for i in range(1000)]
    assert world.listings().parts(whole, [*many, *among]) == found
    assert world.listings().parts(whole, []) == []


def test_bytes_without_a_path_are_found_in_every_directory(world):
    files = {f"{i:05}": f"{i}" for i in range(3000)}
    world.directory("data", files)
    world.directory("data", {**files, "00000": "new"})
    world.directory("copy", {"x/y": "7"})
    found = world.listings().anywhere(file("7"))
    assert {thing.path for thing in found} == {"data/00007", "copy/x/y"}
    assert world.listings().anywhere(file("nothing")) == []


def test_listings_that_are_not_here_are_brought_once_and_together(world):
    world.directory("data", {"a": "a"}, far=True)
    world.directory("data", {"a": "a", "b": "b"}, far=True)
    listings = world.listings()
    thing = Artefact(file("a"), "data/a", 1000)
    assert len(listings.holders(thing)) == 2
    listings.holders(thing)
    listings.anywhere(file("b"))
    assert len(world.fetched) == 2
    assert not listings.unread


def test_where_some_holders_are_enough_nothing_is_brought_if_one_is_at_hand(world):
    here = world.directory("data", {"a": "a", "b": "b"})
    far = world.directory("data", {"a": "a"}, far=True)
    thing = Artefact(file("a"), "data/a", 1000)
    assert world.listings().holders(thing, every=False) == [here]
    assert not world.fetched
    assert world.listings().holders(thing) == [here, far]


def test_listings_that_cannot_be_had_are_counted_not_taken_for_empty(world):
    world.directory("data", {"a": "a"}, far=True)
    here = world.directory("data", {"a": "a", "b": "b"})
    listings = world.listings(far=False)
    assert listings.holders(Artefact(file("a"), "data/a", 1000)) == [here]
    assert len(listings.unread) == 1
    assert not listings.can_read([world.known[0].oid])


def test_a_malformed_listing_of_a_stranger_stops_nothing(world):
    bad = world.directory("data", {"a": "a"})
    world.nodes[bytes.fromhex(bad.oid[9:])] = b"nonsense"
    good = world.directory("data", {"a": "a", "b": "b"})
    listings = world.listings()
    assert listings.holders(Artefact(file("a"), "data/a", 1000)) == [good]
    assert listings.anywhere(file("b"))[0].path == "data/b"
    assert listings.parts(bad, [Artefact(file("a"), "data/a", 1000)]) == []
