"""History written again with other trees: the same commits and tags, but for what they name.

New objects are in one pack, which git takes whole or not at all. No ref moves here.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dvlite import files
from dvlite.formats import git_objects
from dvlite.git.program import Git
from dvlite.progress import Progress


class GitObjects:
    """Objects of a repository, those that it has and new ones, which wait in a file without a name for `store`; a context manager."""

    def __init__(self, git: Git, folder: Path) -> None:
        self._git, self._reader, self._folder = git, git.blob_reader(), folder
        self._algorithm = git.run("rev-parse", "--show-object-format").decode().strip()
        self.name_bytes = hashlib.new(self._algorithm).digest_size
        self._new: set[bytes] = set()

    def __enter__(self) -> Self:
        self._pack = tempfile.TemporaryFile(dir=self._folder, buffering=0)
        self._write(git_objects.pack_head(0))
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.__exit__()
        self._pack.close()

    def read(self, name: bytes) -> tuple[str, bytes]:
        """Returns the kind and the bytes of an object that git has."""
        return self._reader.read_object(name.hex())

    def read_file(self, name: bytes, limit_bytes: int) -> bytes:
        """Returns a file that git has; raises TooLarge for one above the limit."""
        return self._reader.read(name.hex(), limit_bytes)

    def add(self, kind: str, data: bytes) -> bytes:
        """Adds an object, and returns its name."""
        name = git_objects.object_name(kind, data, self._algorithm)
        if name not in self._new:
            self._new.add(name)
            self._write(git_objects.packed(kind, data))
        return name

    def store(self) -> None:
        """Gives git the new objects."""
        if not self._new:
            return
        self._pack.seek(0)
        self._write(git_objects.pack_head(len(self._new)))
        self._pack.seek(0)
        self._write(hashlib.file_digest(self._pack, self._algorithm).digest())
        self._pack.seek(0)
        self._git.store_pack(self._pack.fileno())

    def _write(self, data: bytes) -> None:
        try:
            files.write_all(self._pack.fileno(), data)
        except OSError as error:
            raise files.os_error(error, "write into", self._folder) from error


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of a history: the commits and the refs that changed, each old name and new one; how many commits were signed."""

    commits: dict[bytes, bytes]
    refs: dict[str, tuple[bytes, bytes]]
    signed: int


def rewrite(
    git: Git, refs: Mapping[str, str], new_tree: Callable[[bytes], bytes], objects: GitObjects, progress: Progress
) -> Rewritten:
    """Adds the commits and tags that some refs lead to, with `new_tree` of each tree; those of which nothing changes stay as they are."""
    tips = "".join(f"{name}\n" for name in dict.fromkeys(refs.values()))
    listed = git.run("rev-list", "--topo-order", "--reverse", "--stdin", stdin=tips.encode()).split()
    commits: dict[bytes, bytes] = {}
    signed = 0
    progress.start("rewriting commits", total_files=len(listed))
    for text in listed:
        name = bytes.fromhex(text.decode())
        _, data = objects.read(name)
        tree, parents = git_objects.links(data)
        new, new_parents = new_tree(tree), [commits.get(parent, parent) for parent in parents]
        if (new, new_parents) != (tree, parents):
            commits[name] = objects.add("commit", git_objects.relinked(data, new, new_parents))
            signed += git_objects.is_signed(data)
        progress.advance(files=1)
    moved = {ref: (bytes.fromhex(old), _moved(bytes.fromhex(old), commits, objects)) for ref, old in refs.items()}
    return Rewritten(commits, {ref: names for ref, names in moved.items() if names[0] != names[1]}, signed)


def _moved(name: bytes, commits: Mapping[bytes, bytes], objects: GitObjects) -> bytes:
    """Returns what a ref names after the rewriting: a commit, or a tag of one, perhaps by way of other tags."""
    tags: list[tuple[bytes, bytes]] = []
    kind, data = objects.read(name)
    while kind == "tag":
        tags.append((name, data))
        name = git_objects.tagged(data)
        kind, data = objects.read(name)
    old, new = name, commits.get(name, name)
    for tag, data in reversed(tags):
        new = tag if new == old else objects.add("tag", git_objects.retagged(data, new))
        old = tag
    return new
