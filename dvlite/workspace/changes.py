"""From pairs of entries that differ to the changes that people read: added, removed, modified, renamed. Pure."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, SYMLINK, Entries, Entry
from dvlite.formats.pointer import Pointer
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import Digest, format_oid
from dvlite.show import count

Pair = tuple[Entry | None, Entry | None]  # (old, new); None where the path is not
_KINDS = {FILE: "file", SYMLINK: "symlink", EMPTY_DIR: "empty-dir"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many files differ, and by how many bytes the whole grew."""

    added: int = 0
    removed: int = 0
    modified: int = 0
    renamed: int = 0
    delta_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file that differs; `path` is relative to the repository."""

    change: ChangeKind
    path: str
    old_path: str | None = None  # renamed from
    kind: str = "file"  # file, symlink or empty-dir, as it is now
    old_kind: str | None = None  # only if it changed
    old_size_bytes: int | None = None
    size_bytes: int | None = None
    old_oid: str | None = None
    oid: str | None = None
    executable_changed: bool = False


Kind = Literal["file", "directory"]


ChangeKind = Literal["added", "removed", "modified", "renamed"]


def changed(leaf: Entries, now: Entries, start: int, stop: int) -> Iterator[tuple[int | None, int | None]]:
    """Yields `(position in the leaf, position on disk)` of what differs, of a leaf and what is on disk in its place, from `start` to `stop`."""
    i, j = 0, start
    paths, on_disk = leaf.paths, now.paths
    while i < len(paths) or j < stop:
        if j >= stop or (i < len(paths) and paths[i] < on_disk[j]):
            yield i, None
            i += 1
        elif i >= len(paths) or on_disk[j] < paths[i]:
            yield None, j
            j += 1
        else:
            if leaf.flags[i] != now.flags[j] or leaf.digest(i) != now.digest(j):
                yield i, j
            i, j = i + 1, j + 1


def pairs_of(old: Pointer | None, new: Pointer | None, read: Callable[[Digest], bytes]) -> list[Pair]:
    """Returns `(old entry, new entry)` of all that differs; the entry of a tracked file has no path."""
    roots = [known.digest if known is not None and known.kind == "directory" else None for known in (old, new)]
    found: list[Pair] = list(manifest.compare(roots[0], roots[1], read)) if any(roots) else []
    before, after = _file(old), _file(new)
    if before is not None or after is not None:
        found.insert(0, (before, after))
    return found


def _file(known: Pointer | None) -> Entry | None:
    if known is None or known.kind != "file":
        return None
    return Entry(b"", FILE | EXECUTABLE if known.executable else FILE, known.size_bytes, known.digest)


def changes(path: str, pairs: Sequence[Pair]) -> tuple[FileChange, ...]:
    """Returns the changes inside a tracked path, in the order of the pairs. Equal content that went and came is a rename."""
    origins = _origins(pairs)
    used = {origin.path for origin in origins.values()}
    result = []
    for old, new in pairs:
        if new is None:
            if old is not None and old.path not in used:
                result.append(_change("removed", path, old, None))
        elif old is not None:
            result.append(_change("modified", path, old, new))
        elif new.path in origins:
            result.append(_change("renamed", path, origins[new.path], new))
        else:
            result.append(_change("added", path, None, new))
    return tuple(result)


def counts_of(changes: Iterable[FileChange]) -> Counts:
    """Counts changes, and by how many bytes the whole grew."""
    kinds: defaultdict[str, int] = defaultdict(int)
    delta = 0
    for change in changes:
        kinds[change.change] += 1
        delta += (change.size_bytes or 0) - (change.old_size_bytes or 0)
    return Counts(
        added=kinds["added"],
        removed=kinds["removed"],
        modified=kinds["modified"],
        renamed=kinds["renamed"],
        delta_bytes=delta,
    )


def _origins(pairs: Sequence[Pair]) -> dict[bytes, Entry]:
    """Returns where renamed files came from, by their new path: same bytes, first of all under the same last name."""
    gone: defaultdict[tuple[int, Digest], list[Entry]] = defaultdict(list)
    for old, new in reversed(pairs):
        if old is not None and new is None and old.size_bytes:  # empty files are all alike
            gone[old.kind, old.digest].append(old)
    came = [new for old, new in pairs if old is None and new is not None and (new.kind, new.digest) in gone]
    named = {(old.kind, old.digest, _name(old)): old for left in gone.values() for old in left}
    origins: dict[bytes, Entry] = {}
    used: set[bytes] = set()
    for new in came:
        match = named.pop((new.kind, new.digest, _name(new)), None)
        if match is not None:
            origins[new.path] = match
            used.add(match.path)
    for new in came:
        left = gone[new.kind, new.digest]
        while new.path not in origins and left:
            match = left.pop()
            if match.path not in used:
                origins[new.path] = match
    return origins


def _name(entry: Entry) -> bytes:
    return entry.path.rpartition(b"/")[2]


def _change(change: str, path: str, old: Entry | None, new: Entry | None) -> FileChange:
    now = new or old
    assert now is not None
    renamed = change == "renamed" and old is not None
    return FileChange(
        change=change,  # type: ignore[arg-type]  # one of the four, as written above
        path=_inside(path, now),
        old_path=_inside(path, old) if renamed and old is not None else None,
        kind=_KINDS[now.kind],
        old_kind=_KINDS[old.kind] if old is not None and new is not None and old.kind != new.kind else None,
        old_size_bytes=None if old is None else old.size_bytes,
        size_bytes=None if new is None else new.size_bytes,
        old_oid=_oid(old),
        oid=_oid(new),
        executable_changed=old is not None and new is not None and bool((old.flags ^ new.flags) & EXECUTABLE),
    )


def _inside(path: str, entry: Entry) -> str:
    return f"{path}/{os.fsdecode(entry.path)}" if entry.path else path


def _oid(entry: Entry | None) -> str | None:
    return None if entry is None or entry.kind == EMPTY_DIR else format_oid(FILE_OID, entry.digest)


def counts_text(counts: Counts, *, wide: bool = False) -> str:
    """Returns `+1,204 -3`, or with `wide` the zeros too: `+1,204  -3  ~0`."""
    parts = (("+", counts.added), ("-", counts.removed), ("~", counts.modified))
    shown = [f"{sign}{number:,}" for sign, number in parts if wide or number]
    renamed = [f"{count(counts.renamed)} renamed"] if counts.renamed else []
    return "  ".join([*shown, *renamed]) if wide else ", ".join([*filter(None, [" ".join(shown)]), *renamed])


def files_text(counts: Counts, total: int | None = None) -> str:
    """Returns `+1,204 -3 files`, `+1 file`, `-10 files, 1 renamed`, or of a total `+1 -3 of 2,000 files`."""
    plain = replace(counts, renamed=0)
    number = counts.added + counts.removed + counts.modified
    renamed = [f"{count(counts.renamed)} renamed"] if counts.renamed else []
    noun = ("file" if number == 1 else "files") if total is None else f"of {count(total, 'file')}"
    return ", ".join([f"{counts_text(plain)} {noun}"] * bool(number) + renamed) or "changed"
