"""Compares a version with what is on disk and says what would be written, removed and kept. Pure data; nothing is touched."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from dvlite.formats.manifest import EMPTY_DIR, FILE, KIND_MASK, Entries
from dvlite.workspace.hashing import Snapshot

IsSafe = Callable[[int], bool]  # may entry j of what is on disk be overwritten or removed?


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What would be done to one tracked path. Numbers are positions in `want` or in the snapshot `have`."""

    write: array[int] = field(default_factory=lambda: array("I"))  # of want: content to be written
    chmod: list[int] = field(default_factory=list)  # of want: only the executable bit differs
    keep: list[tuple[int, int]] = field(default_factory=list)  # (of want, of have): equal already
    replace: dict[int, int] = field(default_factory=dict)  # of want -> of have: the file that `write` replaces
    remove: list[int] = field(default_factory=list)  # of have
    conflicts: list[int] = field(default_factory=list)  # of have: in the way, and not in the cache
    extra: list[int] = field(default_factory=list)  # of have: local files that are not in the way


def plan(want: Entries, have: Snapshot | None, is_safe: IsSafe) -> CheckoutPlan:
    """Compares a version with what is on disk; only what `is_safe` says is overwritten or removed.

    An empty file in the place of one with bytes is overwritten too, as one that is gone is written: it holds nothing that could be lost,
    and a power cut leaves such files of a checkout, which is not synced.
    """
    if have is None:
        return CheckoutPlan(write=array("I", range(len(want))))
    todo = CheckoutPlan()
    i = j = 0
    want_count, have_count = len(want), len(have.scan.paths)
    want_paths, have_paths = want.paths, have.scan.paths
    while i < want_count or j < have_count:
        if j >= have_count or (i < want_count and want_paths[i] < have_paths[j]):
            todo.write.append(i)
            i += 1
        elif i >= want_count or have_paths[j] < want_paths[i]:
            (todo.remove if have.scan.flags[j] == EMPTY_DIR or is_safe(j) else todo.extra).append(j)
            j += 1
        else:
            _both(todo, want, have, i, j, is_safe)
            i += 1
            j += 1
    return todo


def _both(todo: CheckoutPlan, want: Entries, have: Snapshot, i: int, j: int, is_safe: IsSafe) -> None:
    wanted_flags, flags = want.flags[i], have.scan.flags[j]
    if (wanted_flags & KIND_MASK) == (flags & KIND_MASK) and want.digest(i) == have.digest(j):
        if wanted_flags == flags:
            todo.keep.append((i, j))
        else:
            todo.chmod.append(i)
    elif flags == EMPTY_DIR or (flags & KIND_MASK == FILE and not have.scan.sizes[j] and want.sizes[i]) or is_safe(j):
        todo.write.append(i)
        todo.replace[i] = j
    else:
        todo.conflicts.append(j)


def selected(entries: Entries, wanted: Callable[[bytes], bool]) -> Entries:
    """Returns the entries whose path is wanted."""
    chosen = [i for i, path in enumerate(entries.paths) if wanted(path)]
    digests = b"".join(entries.digest(i) for i in chosen)
    sizes = array("Q", (entries.sizes[i] for i in chosen))
    return Entries([entries.paths[i] for i in chosen], bytes(entries.flags[i] for i in chosen), sizes, digests)
