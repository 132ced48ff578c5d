"""git's objects as bytes: the items of trees, what commits and tags name, and a pack of new objects. Knows no git, and nothing of what files mean."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterable, Sequence

from dvlite.errors import FormatError

FOLDER = b"40000"
ORDINARY, EXECUTABLE = b"100644", b"100755"  # modes of ordinary files
_KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_SIGNED = (b"gpgsig", b"gpgsig-sha256", b"mergetag")  # headers that are true of a commit with these names alone
_SIGNATURE = re.compile(rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----$", re.MULTILINE)
_ITEM = {length: re.compile(rb"([0-7]+) ([^\0]+)\0(.{%d})" % length, re.DOTALL) for length in (20, 32)}

TreeItem = tuple[bytes, bytes, bytes]  # mode, name, and the name of an object, as bytes


def object_name(kind: str, data: bytes, algorithm: str) -> bytes:
    """Returns the name of an object, by the repository's hash: `sha1` or `sha256`."""
    return hashlib.new(algorithm, b"%b %d\0%b" % (kind.encode(), len(data), data)).digest()


def parse_tree(data: bytes, name_bytes: int) -> list[TreeItem]:
    """Reads a tree. Raises FormatError for what is none."""
    items: list[TreeItem] = _ITEM[name_bytes].findall(data)
    if sum(len(mode) + len(name) + 2 + name_bytes for mode, name, _ in items) != len(data):
        raise FormatError("cannot read a folder of git's history: it is damaged", hint="git fsck")
    return items


def dump_tree(items: Iterable[TreeItem]) -> bytes:
    """Returns a tree of these items, in git's order."""
    ordered = sorted(items, key=lambda item: item[1] + b"/" if item[0] == FOLDER else item[1])
    return b"".join(b"%b %b\0%b" % item for item in ordered)


def links(commit: bytes) -> tuple[bytes, list[bytes]]:
    """Returns the tree and the parents of a commit."""
    named = [line.split(b" ", 1) for line in commit.partition(b"\n\n")[0].split(b"\n")]
    parents = [_name(words[-1]) for words in named if words[0] == b"parent"]
    return _name(named[0][-1]), parents


def relinked(commit: bytes, tree: bytes, parents: Sequence[bytes]) -> bytes:
    """Returns a commit with another tree and other parents, and all else as it is, but its signatures: they would be wrong."""
    head, _, message = commit.partition(b"\n\n")
    lines = [b"tree " + tree.hex().encode(), *(b"parent " + parent.hex().encode() for parent in parents)]
    goes = False
    for line in head.split(b"\n"):
        if not line.startswith(b" "):  # else it goes on with the header before
            goes = line.split(b" ", 1)[0] in (b"tree", b"parent", *_SIGNED)
        lines += [] if goes else [line]
    return b"%b\n\n%b" % (b"\n".join(lines), message)


def is_signed(commit: bytes) -> bool:
    """Returns whether a commit has a signature that `relinked` drops."""
    return b"\ngpgsig" in commit.partition(b"\n\n")[0]


def tagged(tag: bytes) -> bytes:
    """Returns what an annotated tag names."""
    return _name(tag.split(b"\n", 1)[0].split(b" ")[-1])


def retagged(tag: bytes, name: bytes) -> bytes:
    """Returns a tag that names another object, without the signature."""
    _, _, rest = tag.partition(b"\n")
    signature = _SIGNATURE.search(rest)
    return b"object %b\n%b" % (name.hex().encode(), rest[: signature.start()] if signature else rest)


def _name(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raise FormatError("cannot read a commit or tag of git's history: it is damaged", hint="git fsck") from None


def pack_head(objects: int) -> bytes:
    """Returns how a pack of so many objects begins; it ends with the hash of all that is before."""
    return struct.pack(">4sII", b"PACK", 2, objects)


def packed(kind: str, data: bytes) -> bytes:
    """Returns an object as it stands in a pack."""
    size = len(data)
    head = bytearray([_KINDS[kind] << 4 | size & 15])
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head) + zlib.compress(data, 1)
