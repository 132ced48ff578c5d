"""Listings of directories for the tests of them, and random edits of a directory."""

import random

from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, FILE, NO_DIGEST, Entry
from dvlite.oid import Digest, digest_bytes


def entry(path: bytes, content: bytes = b"", flags: int = FILE) -> Entry:
    if flags == EMPTY_DIR:
        return Entry(path, flags, 0, Digest(NO_DIGEST))
    return Entry(path, flags, len(content), digest_bytes(content))


def build(entries):
    tree = manifest.build(manifest.from_entries(entries))
    return tree, dict(tree.nodes)


def rows(entries: manifest.Entries) -> list[Entry]:
    return [entries[i] for i in range(len(entries))]


def edited(start: dict[bytes, bytes], seed: int, edits: int) -> dict[bytes, bytes]:
    draw = random.Random(seed)
    now = dict(start)
    for _ in range(edits):
        kind = draw.random()
        if kind < 0.4 and now:
            del now[draw.choice(sorted(now))]
        elif kind < 0.7 and now:
            now[draw.choice(sorted(now))] = draw.randbytes(4)
        else:
            now[f"{draw.randrange(10**6):06d}".encode()] = draw.randbytes(4)
    return now


def listing(found: dict[bytes, bytes]):
    return build([entry(path, content) for path, content in sorted(found.items())])


START = {f"{i * 331 % 10**6:06d}".encode(): b"x" for i in range(3000)}
