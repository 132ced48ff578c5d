"""Compares a version with what is on disk and says what would be written, removed and kept. Pure data; nothing is touched."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from dvlite.formats.manifest import EMPTY_DIR, KIND_MASK, Entries
from dvlite.oid import DIGEST_BYTES
from dvlite.workspace.identify import IsCached, Snapshot


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done to one tracked path. Numbers are positions in `want` or in the snapshot `have`."""

    write: list[int] = field(default_factory=list)  # of want: content to be written
    chmod: list[int] = field(default_factory=list)  # of want: only the executable bit differs
    keep: list[tuple[int, int]] = field(default_factory=list)  # (of want, of have): equal already
    replace: dict[int, int] = field(default_factory=dict)  # of want -> of have: the file that `write` replaces
    remove: list[int] = field(default_factory=list)  # of have
    conflicts: list[int] = field(default_factory=list)  # of have: in the way, and not in the cache
    extra: list[int] = field(default_factory=list)  # of have: local files that are not in the way

    def bytes_to_write(self, want: Entries) -> int:
        return sum(want.sizes[i] for i in self.write)


def plan(want: Entries, have: Snapshot | None, is_cached: IsCached, *, force: bool = False) -> Plan:
    """Compares a version with what is on disk. `force` treats every local byte as safe: the caller has stored them."""
    if have is None:
        return Plan(write=list(range(len(want))))
    made = Plan()
    i = j = 0
    want_count, have_count = len(want), len(have.scan)
    want_paths, have_paths = want.paths, have.scan.paths
    while i < want_count or j < have_count:
        if j >= have_count or (i < want_count and want_paths[i] < have_paths[j]):
            made.write.append(i)
            i += 1
        elif i >= want_count or have_paths[j] < want_paths[i]:
            _only_here(made, have, j, is_cached, force=force)
            j += 1
        else:
            _both(made, want, have, i, j, is_cached, force=force)
            i += 1
            j += 1
    return made


def _only_here(made: Plan, have: Snapshot, j: int, is_cached: IsCached, *, force: bool) -> None:
    if have.scan.flags[j] == EMPTY_DIR or force or is_cached(have.digest(j), have.scan.sizes[j]):
        made.remove.append(j)
    else:
        made.extra.append(j)


def _both(made: Plan, want: Entries, have: Snapshot, i: int, j: int, is_cached: IsCached, *, force: bool) -> None:
    wanted, found = want.flags[i], have.scan.flags[j]
    at = slice(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES)
    if (wanted & KIND_MASK) == (found & KIND_MASK) and want.digests[at] == have.digests[
        j * DIGEST_BYTES : (j + 1) * DIGEST_BYTES
    ]:
        if wanted == found:
            made.keep.append((i, j))
        else:
            made.chmod.append(i)
    elif found == EMPTY_DIR or force or is_cached(have.digest(j), have.scan.sizes[j]):
        made.write.append(i)
        made.replace[i] = j
    else:
        made.conflicts.append(j)


def selected(entries: Entries, wanted: Callable[[bytes], bool]) -> Entries:
    """Returns the entries whose path is wanted."""
    chosen = [i for i, path in enumerate(entries.paths) if wanted(path)]
    digests = b"".join(entries.digest(i) for i in chosen)
    sizes = array("Q", (entries.sizes[i] for i in chosen))
    return Entries([entries.paths[i] for i in chosen], bytes(entries.flags[i] for i in chosen), sizes, digests)
