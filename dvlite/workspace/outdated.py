"""Finds out whether `add` would undo a change of a pointer that the workspace has not followed yet: by a merge, a pull, a rebase.

Knows what was here from the stat index, and what was committed from git. What is here and in no commit is the user's own: nothing is found
then. Reads listings from the cache, data only where its times say that it changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, Entry
from dvlite.formats.pointer import LIMIT_BYTES, SUFFIX, Pointer, from_oid
from dvlite.git.program import ALL_REFS
from dvlite.oid import Digest
from dvlite.repo.repository import Repo
from dvlite.show import printable, quote, some, word
from dvlite.workspace import sparse
from dvlite.workspace.hashing import identify
from dvlite.workspace.overwrite_safety import is_exactly
from dvlite.workspace.scan import Scan
from dvlite.workspace.workspace import Workspace, entries_of

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Outdated:
    """What is on disk lacks changes of its pointer. `commit` has the version that was here, if one has; `undone` are the paths inside, () if unknown."""

    commit: str | None
    undone: tuple[bytes, ...]
    is_edited: bool  # the user changed something since
    bring: str  # the command that brings what the pointer names


def find_outdated(work: Workspace, path: str, pointer: Pointer, scan: Scan, inside: Sequence[str]) -> Outdated | None:
    """Returns whether adding what is on disk, or the parts of it in `inside`, would undo a change of the pointer.

    Costs reading one small file where the pointer names what is here; else a run of git and a look at what changed.
    """
    versions = work.versions_here(path)
    if not versions or versions[0] == pointer.oid or work.vouched(path, scan) == pointer.digest:
        return None
    commit = commit_of(work.repo, path + SUFFIX, versions[0])
    base = from_oid(versions[0])
    # What was never committed was added, and its pointer set back to the one before; or git made it: in a merge that was given up, of a stash.
    if base is None or (commit is None and pointer.oid in versions[1:]):
        return None
    have = identify(scan, work.stat_rows(path), work.progress).entries()
    is_edited = work.vouched(path, scan) != base.digest and not is_exactly(work, base, have)
    chooses = sparse.selector(inside) if inside else work.selector(path)
    try:
        changed = list(_changes(work, base, pointer))
    except (ObjectMissing, ObjectCorrupt):
        return Outdated(commit, (), is_edited, bringing(work, path, "pull"))
    has_seen = commit is not None and _is_in_past(work.repo, path, pointer, commit)
    undone = []
    for inner, old, new in changed:
        there = have.find(inner)
        if inner and chooses is not None and not chooses(inner) and (inside or there is None):
            continue  # it stays as the pointer has it
        is_mine = has_seen and _content(there) != _content(old)  # edited on top of what the pointer names
        if not _is_same(there, new) and not is_mine:
            undone.append((inner, new))
    if not undone:
        return None
    verb = "checkout" if _is_cached(work, undone) else "pull"
    return Outdated(commit, tuple(inner for inner, _ in undone), is_edited, bringing(work, path, verb))


def commit_of(repo: Repo, file: str, version: str) -> str | None:
    """Returns a commit, 8 hex digits, of any ref or reflog, in which a pointer or lockfile names a version; None if it was never committed."""
    options = (*ALL_REFS, "--reflog", "--topo-order", "-m", "--no-show-signature", "--format=%h", "--abbrev=8")
    listed = repo.git.run("log", *options, "-S", version, "--", f":(top,literal){file}", check=False).split()
    return listed[-1].decode() if listed else None  # the first one that has it: the others may have taken it out


def refusal(repo: Repo, path: str, behind: Outdated) -> DvliteError:
    """Returns why a path is not added, and how to have both what its pointer says and what the user changed."""
    shown = repo.display(path)
    again, pointer = word(shown), printable(shown + SUFFIX)
    what = _listed(behind.undone)
    if behind.is_edited:
        message = f"cannot add {quote(shown)}: {pointer} changed since it was checked out, and adding it would undo that{what}"
        hint = (
            f"{behind.bring}   (keeps the files that you changed; those that you removed come back), then: dvlite add {again}"
            f"\nto take what is on disk all the same: dvlite add --force {again}"
        )
    else:
        message = (
            f"cannot add {quote(shown)}: it is as it was before {pointer} changed, and adding it would undo that{what}"
        )
        hint = f"to have what {pointer} says: {behind.bring}\nto keep what is on disk instead: {keeping(repo, path, behind)}"
    return DvliteError(message, hint=hint)


def keeping(repo: Repo, path: str, behind: Outdated) -> str:
    """Returns the command that makes the pointer name what is on disk."""
    shown = repo.display(path)
    return back_to(behind.commit, shown) if behind.commit is not None else f"dvlite add --force {word(shown)}"


def back_to(commit: str, shown: str) -> str:
    """Returns the command that makes the pointer what it was in a commit."""
    return f"dvlite checkout --rev {commit} {word(shown)}"


def bringing(work: Workspace, path: str, verb: str) -> str:
    """Returns the command that brings a path; of a directory that is here in part, one without a path, which leaves it so."""
    return f"dvlite {verb}" if work.sparse.get(path) else f"dvlite {verb} {word(work.repo.display(path))}"


def _listed(undone: Sequence[bytes]) -> str:
    names = [printable(os.fsdecode(inner)) for inner in undone if inner]
    return f" ({some(names)})" if names else ""


def _is_in_past(repo: Repo, path: str, pointer: Pointer, commit: str) -> bool:
    """Returns whether the pointer is one that a commit has in its past: at a step of a rebase, on a branch that begins earlier."""
    head = repo.git.head()
    if head is None or repo.git.merge_base(head, commit) != head:
        return False
    text = repo.git.read_file(head, path + SUFFIX, limit_bytes=LIMIT_BYTES)
    return text is not None and f"oid: {pointer.oid}\n".encode() in text


def _changes(work: Workspace, base: Pointer, pointer: Pointer) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    """Yields what differs from one version to the other: a path inside, and its entries; of a file, or where one was a file, the whole."""
    if base.kind == pointer.kind == "directory":
        for old, new in manifest.compare(base.digest, pointer.digest, work.cache.read_node):
            entry = new or old
            yield entry.path if entry is not None else b"", old, new
        return
    files = (entries_of(one, work.cache).find(b"") if one.kind == "file" else None for one in (base, pointer))
    yield b"", next(files), next(files)


def _is_same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.flags, one.digest) == (other.flags, other.digest)


def _content(entry: Entry | None) -> Digest | None:
    return None if entry is None else entry.digest


def _is_cached(work: Workspace, wanted: Iterable[tuple[bytes, Entry | None]]) -> bool:
    has = work.cache.has_file
    return all(new is None or new.kind == EMPTY_DIR or has(new.digest, new.size_bytes) for _, new in wanted)
