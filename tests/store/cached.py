"""Objects of a cache for tests: put, read, damaged."""

from dvlite.oid import digest_bytes
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE
from tests.store.world import noise

LARGE = noise(200_000, 1)


def put(cache: Cache, *contents: bytes) -> None:
    with Writer(cache) as writer:
        for content in contents:
            writer.put(KIND_FILE, digest_bytes(content), content)
        writer.commit()


def put_large(cache: Cache, tmp_path, content: bytes = LARGE):
    source = tmp_path / "source"
    source.write_bytes(content)
    with Writer(cache) as writer, source.open("rb") as file:
        digest = writer.put_large(file.fileno(), "source")
        writer.commit()
    return digest


def reopened(cache: Cache) -> Cache:
    return Cache(cache.folder, pack_below_bytes=cache.pack_below_bytes)


def read(cache: Cache, content: bytes) -> bytes:
    return cache.read_file(digest_bytes(content), len(content))


def flip(path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x20
    path.chmod(0o644)
    path.write_bytes(data)
