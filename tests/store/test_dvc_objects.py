"""Objects of DVC, out of its caches and remotes."""

import os
from contextlib import closing
from hashlib import md5

import pytest

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.progress import NullProgress
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.dvc_objects import DvcName, DvcObjects

NAME = DvcName("0" * 32 + ".dir", old=False)


class Place:
    """A place that has the same file for every name, if any, and notes what it is asked for."""

    def __init__(self, path):
        self.path, self.asked, self.expected = path, [], []

    def find(self, name):
        self.asked.append(name)
        return os.open(self.path, os.O_RDONLY) if self.path.exists() else None

    def expect(self, names):
        self.expected = names
        return ()


@pytest.mark.parametrize(("data", "error"), [(None, ObjectMissing), (b"[]", ObjectCorrupt)])
@pytest.mark.parametrize("verb", [DvcObjects.take, DvcObjects.listing])
def test_a_place_is_asked_once_for_an_object_that_is_nowhere_sound(tmp_path, verb, data, error):
    place = Place(tmp_path / "object")
    if data is not None:
        place.path.write_bytes(data)
    cache = Cache(tmp_path / "cache", pack_below_bytes=1000)
    cache.create()
    with Writer(cache) as writer, closing(DvcObjects([place], writer, NullProgress())) as objects:
        with pytest.raises(error):
            verb(objects, NAME)
        assert place.asked == NAME.places()


def test_what_was_taken_is_not_sent_again(tmp_path):
    place = Place(tmp_path / "object")
    place.path.write_bytes(b"x")
    name, other = DvcName(md5(b"x").hexdigest(), old=False), DvcName("1" * 32, old=True)
    cache = Cache(tmp_path / "cache", pack_below_bytes=1000)
    cache.create()
    with Writer(cache) as writer, closing(DvcObjects([place], writer, NullProgress())) as objects:
        objects.expect([name])
        assert place.expected == name.places()
        objects.take(name)
        objects.expect([name, other])
        assert place.expected == other.places()[:1]
