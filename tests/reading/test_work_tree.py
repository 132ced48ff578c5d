"""A file on disk stands for a version only while it is proven to have its bytes."""

import os

import pytest

from dvlite.reading.source import Stores, open_source
from dvlite.reading.version_tree import VersionTree
from dvlite.reading.work_tree import WorkTree
from tests.published import LARGE


@pytest.fixture
def big(published):
    """A function that reads the start of `data/big.bin` from the work tree."""
    published.clone.dv("add", "data")  # of a copied repository, whose files are not known by their times
    source = open_source(None, None, None, os.environ)
    stores = Stores(source, os.environ)
    node = VersionTree(source, stores).find("data/big.bin")
    work_tree = WorkTree(stores.repo, stores.cache)
    assert work_tree.read(node, 5, 10) == LARGE[5:10]
    return lambda: work_tree.read(node, 0, 5)


def rewritten(place):
    """The same size and modification time, other bytes."""
    times = place.stat()
    place.write_bytes(bytes(len(LARGE)))
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))


def replaced_by_a_link(place):
    place.rename(place.with_name("moved"))
    place.symlink_to("moved")  # to the very bytes


def replaced_by_a_folder(place):
    place.unlink()
    place.mkdir()


@pytest.mark.parametrize("change", [rewritten, replaced_by_a_link, replaced_by_a_folder, os.unlink])
def test_what_is_not_known_is_left_to_the_stores(published, big, change):
    change(published.path / "data" / "big.bin")
    assert big() is None


def test_what_was_added_since_is_known_again(published, big):
    os.utime(published.path / "data" / "big.bin")
    assert big() is None
    published.clone.dv("add", "data")
    assert big() == LARGE[:5]
