"""A list of files that stay where they are: what `import-url --no-download` tracks in place of data (docs/reference/formats/reference.md).

JSON lines, one for each file, sorted by name: any program reads it. What servers said is kept as they said it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dvlite.files import format_error
from dvlite.oid import digest_bytes

_END = b"\n"
_TEXTS = ("etag", "version", "modified")


@dataclass(frozen=True, slots=True)
class Item:
    """A file elsewhere: its path below the URL (empty: the URL is the file), and what its server says about it, if it does."""

    name: str
    size_bytes: int | None = None
    etag: str = ""
    version: str = ""
    modified: str = ""
    encoding: str = ""  # in which its server keeps it: gzip

    @property
    def stamp(self) -> str:
        """What differs if the file does, as far as its server says; empty if it says too little."""
        strong = self.version or ("" if self.etag.startswith("W/") else self.etag)
        size = "?" if self.size_bytes is None else str(self.size_bytes)
        return f"{strong} {size}" if strong else f"{self.modified} {size}" if self.modified else ""


def dump(items: Iterable[Item]) -> bytes:
    """Returns the canonical bytes of a list."""
    lines = []
    for item in sorted(items, key=lambda item: item.name):
        said = {name: text for name in _TEXTS if (text := getattr(item, name))}
        size = {} if item.size_bytes is None else {"size": item.size_bytes}
        lines.append(json.dumps({"path": item.name, **size, **said}) + "\n")
    return "".join(lines).encode("ascii")


def parse(data: bytes, where: str) -> Sequence[Item]:
    """Reads a list; raises FormatError naming the line that is wrong."""
    items = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            row = json.loads(line)
            size, texts = row.get("size"), [row.get(name, "") for name in _TEXTS]
            is_sound = (
                isinstance(row["path"], str)
                and (size is None or type(size) is int)
                and all(isinstance(text, str) for text in texts)
            )
        except (ValueError, KeyError, AttributeError, RecursionError):
            is_sound = False
        if not is_sound:
            reason = "it is not a line of a list of files"
            raise format_error(where, number, reason, hint=None, usual="dvlite update   writes the list again")
        items.append(Item(row["path"], size, *texts))
    return items


def stamps_of(items: Iterable[Item]) -> dict[str, str]:
    """Returns the stamp of each file, by its name."""
    return {item.name: item.stamp for item in items}


def digest_text(stamps: Mapping[str, str]) -> str:
    """Returns what differs if any file of a list does: how many there are, and a hash of names and stamps."""
    lines = sorted(f"{name}\0{stamp}".encode("utf-8", "surrogateescape") for name, stamp in stamps.items())
    return f"{len(lines)} {digest_bytes(_END.join(lines)).hex()}"


def differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Returns the names of files that are new, gone, or another version, by the stamps of two lists."""
    return sorted(name for name in {**old, **new} if old.get(name) != new.get(name))
