"""Files that are found many at a time: as the index objects say, whatever the order, with few look-ups where it is that of packs."""

import random

import pytest

from dvlite.oid import digest_bytes
from dvlite.store import index
from dvlite.store.cache_writer import Writer
from dvlite.store.file_marks import FileMarks
from dvlite.store.index import Index
from dvlite.store.pack import FILES, KIND_FILE, PackWriter
from tests.store.cached import put, read, reopened

CONTENTS = [b"file %d" % number for number in range(1200)]


def columns(contents):
    return b"".join(map(digest_bytes, contents)), [len(content) for content in contents]


def lacked(cache, contents):
    digests = list(map(digest_bytes, contents))
    return [i for i, content in enumerate(contents) if not cache.has_file(digests[i], len(content))]


@pytest.fixture
def look_ups(monkeypatch):
    asked = []
    places = Index.places
    monkeypatch.setattr(Index, "places", lambda segment, digest: (asked.append(digest), places(segment, digest))[1])
    return asked


def edited(seed):
    """Returns the contents with some left out, some that the cache lacks, and some from elsewhere."""
    chance = random.Random(seed)
    contents = [content for content in CONTENTS if chance.random() > 0.002]
    for number in range(6):
        contents.insert(chance.randrange(len(contents)), chance.choice([b"absent %d" % number, b"other", CONTENTS[7]]))
    return contents


def test_files_in_the_order_of_packs_need_a_look_up_for_each_run(cache, look_ups):
    put(cache, *CONTENTS[:700])
    put(cache, *CONTENTS[700:])
    look_ups.clear()
    assert list(reopened(cache).lacking(*columns(CONTENTS))) == []
    assert len(look_ups) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_what_is_lacking_is_what_index_objects_lack(cache, seed):
    put(cache, *CONTENTS)
    put(cache, b"other", CONTENTS[7])
    contents = edited(seed)
    if seed == 2:
        random.Random(seed).shuffle(contents)
    assert list(reopened(cache).lacking(*columns(contents))) == lacked(cache, contents) != []


def test_what_was_set_aside_as_damaged_is_lacking_though_its_pack_has_it(cache):
    put(cache, *CONTENTS)
    assert list(cache.lacking(*columns(CONTENTS))) == []
    cache.discard(digest_bytes(CONTENTS[300]), (KIND_FILE,))
    for each in (cache, reopened(cache)):
        assert list(each.lacking(*columns(CONTENTS))) == [300]
    put(cache, CONTENTS[300])
    assert list(reopened(cache).lacking(*columns(CONTENTS))) == []
    assert read(reopened(cache), CONTENTS[300]) == CONTENTS[300]


def test_files_in_no_order_are_looked_up_and_no_pack_is_read_for_each(cache, monkeypatch):
    for start in range(0, 1200, 60):
        put(cache, *CONTENTS[start : start + 60])
    shuffled = random.Random(1).sample(CONTENTS, len(CONTENTS))
    each = reopened(cache)
    opened = []
    open_map = each._open_map
    monkeypatch.setattr(each, "_open_map", lambda name: (opened.append(name), open_map(name))[1])
    assert list(each.lacking(*columns(shuffled))) == []
    assert len(opened) <= 60


@pytest.mark.parametrize("seed", range(3))
def test_marks_are_the_smallest_that_a_file_was_given(cache, seed, look_ups):
    put(cache, *CONTENTS)
    put(cache, b"other", CONTENTS[7], CONTENTS[8])
    each = reopened(cache)
    marks, expected = FileMarks(each), {}
    for mark in (2, 0, 1):
        contents = edited(seed + mark)[: 600 + 200 * mark]
        if seed == 2 and mark == 1:
            random.Random(seed).shuffle(contents)
        marks.add(columns(contents)[0], mark)
        expected |= {content: min(mark, expected.get(content, mark)) for content in contents}
    look_ups.clear()
    assert {content: marks.get(digest_bytes(content)) for content in CONTENTS} == {
        content: expected.get(content) for content in CONTENTS
    }
    assert len(look_ups) < (60 if seed < 2 else 2600)
    assert marks.get(digest_bytes(b"other")) == 0
    assert marks.get(digest_bytes(b"unknown")) is None


def test_a_file_that_a_pack_has_twice_has_its_mark_whichever_was_meant(cache):
    whole = PackWriter(FILES, bytes(16))
    for content in (*CONTENTS[:40], CONTENTS[3], *CONTENTS[40:80], CONTENTS[3]):
        whole.add(KIND_FILE, digest_bytes(content), content)
    with Writer(cache) as writer:
        writer.put_pack(whole.finish())
        writer.commit()
    each = reopened(cache)
    for first in (30, 70):
        marks = FileMarks(each)
        marks.add(columns([*CONTENTS[first : first + 10], CONTENTS[3]])[0], 5)
        assert [marks.get(digest_bytes(CONTENTS[number])) for number in (2, 3, 4, 35, 75)] == [
            *[None, 5, None],
            *[5 if first <= number < first + 10 else None for number in (35, 75)],
        ]


def test_an_oid_with_rows_in_several_places_is_known(cache):
    for start in range(0, 1200, 300):
        put(cache, *CONTENTS[start : start + 300])
    assert index.repeated(reopened(cache).segments().values()) == set()
    twice = reopened(cache).locations(digest_bytes(CONTENTS[5]), (KIND_FILE,))
    cache.write_index([*twice, *(place._replace(record=place.record._replace(offset=7)) for place in twice)])
    assert index.repeated(reopened(cache).segments().values()) == {digest_bytes(CONTENTS[5])}
