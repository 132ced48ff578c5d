"""What a page shows of outputs and logs: bounded, and a picture only if its bytes are those of one."""

import os
import struct
import zlib

import pytest

from dvlite.formats import manifest
from dvlite.formats.manifest import Entry
from dvlite.oid import FILE, MANIFEST, digest_bytes, format_oid
from dvlite.runs import previews
from dvlite.runs.previews import Previews, picture_kind
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from tests.runs import recorded

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + bytes(13) + struct.pack(">I", zlib.crc32(b""))


class Kept:
    def __init__(self, folder):
        self.cache = Cache(folder)
        self.cache.create()

    def put(self, data):
        with Writer(self.cache) as writer:
            writer.put(KIND_FILE, digest_bytes(data), data)
            writer.commit()
        return format_oid(FILE, digest_bytes(data))

    def shown(self, path, data, **changes):
        size_bytes = changes.get("size_bytes", len(data))
        (preview,) = Previews(self.cache).outputs(path, self.put(data), size_bytes, 1)
        return preview


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "cache")


def test_a_picture_is_what_its_bytes_say(kept):
    assert kept.shown("a.png", PNG).picture == PNG
    for name, data in {
        "a.png": b"<svg onload=alert(1)>",
        "a.jpg": PNG,
        "a.gif": b"GIF",
        "a.webp": b"RIFF....WAVE",
    }.items():
        preview = kept.shown(name, data)
        assert not preview.picture
        assert "not the picture" in preview.problem
    assert [picture_kind(data) for data in (b"\xff\xd8\xff\xe0", b"GIF89a..", b"RIFF1234WEBPVP8 ", b"<html>")] == [
        "image/jpeg",
        "image/gif",
        "image/webp",
        None,
    ]


def test_a_table_is_cut_in_rows_columns_and_cells(kept):
    preview = kept.shown("t.csv", b"\n".join([b"x" * 500 + b"," + b"1," * 50] * 100))
    assert len(preview.rows) == 30
    assert {len(row) for row in preview.rows} == {12}
    assert len(preview.rows[0][0]) == 60
    assert kept.shown("t.tsv", b"a\tb\n1\t2\n").rows == [["a", "b"], ["1", "2"]]
    assert "not a table" in kept.shown("t.csv", b"\xff\xfe\x00").problem


def test_what_is_too_large_or_missing_is_named(kept):
    (missing,) = Previews(kept.cache).outputs("a.png", recorded.oid("nowhere"), 100, 1)
    assert missing.problem == "not in the cache"
    (large,) = Previews(kept.cache).outputs("a.png", kept.put(PNG), 3 << 20, 1)
    assert "too large" in large.problem
    big = os.urandom(1 << 20)
    assert list(Previews(kept.cache).outputs("model.bin", kept.put(big), len(big), 1)) == []


def test_the_pictures_of_a_directory_are_shown(kept):
    kept.put(PNG)
    tree = manifest.build(
        manifest.from_entries(
            [
                Entry(b"plots/roc.png", manifest.FILE, len(PNG), digest_bytes(PNG)),
                Entry(b"x.bin", manifest.FILE, 3, digest_bytes(b"abc")),
            ]
        )
    )
    with Writer(kept.cache) as writer:
        for digest, data in tree.nodes:
            writer.put(KIND_MANIFEST, digest, data)
        writer.commit()
    oid = format_oid(MANIFEST, tree.root)
    assert [item.path for item in Previews(kept.cache).outputs("out", oid, 100, 2)] == ["out/plots/roc.png"]
    assert list(Previews(kept.cache).outputs("out", oid, 100, 100_000)) == []


def test_of_a_long_text_one_end_is_kept(kept, monkeypatch):
    lines = b"".join(b"line %d\n" % number for number in range(10_000))
    oid = kept.put(lines)
    end = Previews(kept.cache).text(oid, "end")
    assert end.text.endswith("line 9999\n")
    assert len(end.text) == previews.MOST_TEXT
    assert end.left_out_bytes == len(lines) - previews.MOST_TEXT
    assert Previews(kept.cache).text(oid, "start").text.startswith("line 0\n")
    monkeypatch.setattr(previews, "MOST_BYTES", 1)
    full = Previews(kept.cache)
    full.text(oid, "end")
    assert "left out" in full.text(oid, "end").problem
    assert Previews(kept.cache).text(recorded.oid("no log"), "end").problem == "not in the cache"
