"""Merges of the files that git cannot merge: lockfiles per stage, and pointers with the listings that they name.

Reads listings from the cache, missing ones from the remote; never data. Does not use git's index and writes nothing in the work tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dvlite.errors import FormatError
from dvlite.formats import lockfile, manifest, pointer
from dvlite.formats.lockfile import Lockfile
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git.output import is_lockfile
from dvlite.git.program import ALL_REFS
from dvlite.merge import listings
from dvlite.merge.listings import Choice, MergeContent, Settling
from dvlite.merge.markers import marked
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Revision
from dvlite.show import count, printable, quote, word
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_MANIFEST
from dvlite.workspace.fetch import with_listings

MARKER_SIZE = 7
_REASONS = {
    "file and folder": "a file on one side, a folder on the other",
    "two histories": "both sides wrote versions of this table, and two logs cannot be mixed",
    "meta": "'meta' changed on both sides",
    "source": "what it was imported from changed on both sides",
    "other data": "its pointer looks like a renamed one to git, and the data is another",
}


Kind = Literal["file", "directory", "lockfile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConflict:
    """A change of both sides that differs: a file, a whole tracked path (or its `meta`), or a stage of a lockfile."""

    path: str | None = None
    stage: str | None = None  # its name in the lockfile
    # "changed on both sides", "added on both sides", "removed by ours", "removed by theirs", "file and folder", "two histories", "meta", "source"; or of the whole path:
    # "ours cannot be read", "theirs cannot be read", "both sides cannot be read", "the common ancestor cannot be read"
    reason: str
    cells: int = 0  # of a table: cells and rows in it that need a choice; the file beside the tracked path lists them
    problem: str | None = None  # of a table: why its rows were not merged


@dataclass(frozen=True, slots=True)
class Sides:
    """The three versions of a file; without `base`, both sides added it."""

    base: bytes | None
    ours: bytes
    theirs: bytes


@dataclass(frozen=True, slots=True)
class MergedFile:
    """A merged file, with markers unless `settled`. `conflicts` includes those that the choice settled."""

    text: bytes
    kind: Kind
    settled: bool = True
    conflicts: tuple[MergeConflict, ...] = ()
    taken: int = 0


def tracked_name(name: str) -> str:
    """Returns the name for people: the tracked path of a pointer, or the lockfile itself."""
    return name if is_lockfile(name) else name.removesuffix(SUFFIX)


def name_inside(path: str, conflict: MergeConflict) -> str:
    """Returns a file of a tracked directory by its path inside it, a stage as `stage train`, nothing for the path itself."""
    if conflict.stage is not None:
        return f"stage {conflict.stage}"
    return printable((conflict.path or "").removeprefix(path).removeprefix("/"))


def reason_text(conflict: MergeConflict) -> str:
    """Returns why something is in conflict, in a sentence."""
    reason = _REASONS.get(conflict.reason, conflict.reason)
    if conflict.cells:
        return f"{count(conflict.cells, 'cell')} {reason}"
    return reason if conflict.problem is None else f"{reason} ({conflict.problem})"


def choices_of(conflicts: Sequence[MergeConflict], *, can_union: bool) -> list[str]:
    """Returns the options of `resolve` that settle these conflicts: sides that can be read, and `--union` if both can be kept."""
    reasons = {conflict.reason for conflict in conflicts}
    unreadable = {
        side for side in ("ours", "theirs") if reasons & {f"{side} cannot be read", "both sides cannot be read"}
    }
    return [f"--{side}" for side in ("ours", "theirs") if side not in unreadable] + ["--union"] * can_union


def can_union(path: str, conflicts: Sequence[MergeConflict]) -> bool:
    """Returns whether both versions can be kept: of files of a directory and of `meta`, not of a single file, a table or a stage."""
    return all(
        conflict.reason in ("meta", "source")
        or (conflict.path not in (None, path) and conflict.reason != "two histories")
        for conflict in conflicts
    )


def merge_file(
    repo: Repo,
    name: str,
    sides: Sides,
    choice: Choice,
    *,
    content: MergeContent | None = None,
    marker_size: int = MARKER_SIZE,
    progress: Progress,
) -> MergedFile:
    """Merges a pointer or lockfile called `name`; new listings are durable in the cache when it returns.

    `content` merges files that both sides changed, where it can. The chosen side is taken whole if it cannot be merged with the other. Raises UnreadableSide for a side that cannot be read,
    FormatError for a refused listing, and ObjectMissing for one that is neither in the cache nor on the remote.
    """
    try:
        if is_lockfile(name):
            return merge_lockfiles(sides, name, choice, marker_size=marker_size)
        return _merge_pointers(repo, name, sides, Settling(choice, content), marker_size, progress)
    except FormatError as error:
        sound = [side for side, data in (("ours", sides.ours), ("theirs", sides.theirs)) if _is_sound(name, data)]
        if choice in sound:
            return _whole_side(name, sides, choice)
        if len(sound) == 2 and _is_sound(name, sides.base):
            raise
        raise UnreadableSide(error.message, sound, hint=_hint(repo, name, sound)) from None


class UnreadableSide(FormatError):
    """A side of a merge is not a valid pointer or lockfile; `sound` are the sides that can be taken whole."""

    def __init__(self, message: str, sound: Sequence[str], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.sound = tuple(sound)


def declares_tables(at: Revision) -> bool:
    """Returns whether a pipeline file may declare tables: what merges them is slow to load. One run of git."""
    return any(b"tables" in (at.read(name) or b"") for name in at.pipeline_files())


def require_sound(repo: Repo, name: str, data: bytes, side: str) -> None:
    """Raises UnreadableSide if the only remaining side is not a valid pointer or lockfile; the other side removed it."""
    try:
        lockfile.parse(data, _of(name, side)) if is_lockfile(name) else pointer.parse(data, _of(name, side))
    except FormatError as error:
        other = "theirs" if side == "ours" else "ours"
        raise UnreadableSide(error.message, [other], hint=_hint(repo, name, [other])) from None


def _is_sound(name: str, data: bytes | None) -> bool:
    try:
        if data:
            lockfile.parse(data, name) if is_lockfile(name) else pointer.parse(data, name)
    except FormatError:
        return False
    return data != b"" or is_lockfile(name)


def _whole_side(name: str, sides: Sides, choice: Choice) -> MergedFile:
    data = sides.ours if choice == "ours" else sides.theirs
    kind: Kind = "lockfile" if is_lockfile(name) else _kind(pointer.parse(data, name))
    conflict = MergeConflict(path=tracked_name(name), reason="changed on both sides")
    return MergedFile(data, kind, conflicts=(conflict,), taken=int(choice == "theirs"))


def _hint(repo: Repo, name: str, sound: Sequence[str]) -> str:
    """Returns the command that settles a merge in which only the sides in `sound` can be taken."""
    if sound:
        choices = " or ".join(f"--{side}" for side in sound)
        return f"dvlite resolve {word(repo.display(tracked_name(name)))} {choices}"
    return how_to_replace(repo.display(name), is_lockfile=is_lockfile(name))


def how_to_replace(shown: str, *, is_lockfile: bool) -> str:
    """Returns how to replace a pointer or lockfile that is invalid on both sides of a merge."""
    where = word(shown)
    recreate = f", or recreate it: git rm -f {where}; dvlite repro" if is_lockfile else ""
    return f"take it from a commit where it was valid: git checkout COMMIT -- {where}{recreate}"


def _of(name: str, side: str) -> str:
    return f"{name} ({side})"


def _kind(known: Pointer) -> Literal["file", "directory"]:
    return "directory" if known.kind == "directory" else "file"


# --- pointers ---


def _merge_pointers(
    repo: Repo, name: str, sides: Sides, settling: Settling, marker_size: int, progress: Progress
) -> MergedFile:
    path = tracked_name(name)
    base = pointer.parse(sides.base, _of(name, "common ancestor")) if sides.base else None
    ours, theirs = pointer.parse(sides.ours, _of(name, "ours")), pointer.parse(sides.theirs, _of(name, "theirs"))
    cache = open_cache(repo)
    needed = [known for known in (base, ours, theirs) if known is not None and known.kind == "directory"]

    def work() -> listings.Merged:
        if base is not None and _is_other_data(repo, name, base, (ours, theirs), cache.read_node):
            chosen = {"ours": ours, "theirs": theirs}.get(settling.choice)
            return listings.Merged(chosen, (listings.Conflict(b"", "other data"),), taken=int(chosen is theirs))
        return listings.merge(base, ours, theirs, cache.read_node, choice=settling.choice, content=settling.content)

    merged = with_listings(repo, cache, path, needed, work, progress)
    conflicts = tuple(_conflict(path, conflict) for conflict in merged.conflicts)
    if merged.pointer is None:
        text = marked(sides.ours, sides.theirs, size=marker_size)
        return MergedFile(text, _kind(ours), settled=False, conflicts=conflicts)
    data = pointer.dump(merged.pointer)
    if len(data) > pointer.LIMIT_BYTES:
        raise FormatError(
            f"cannot merge {quote(path)}: 'meta' would be too long", hint="choose a side: --ours or --theirs"
        )
    _store(repo, merged.nodes)
    return MergedFile(data, _kind(merged.pointer), conflicts=conflicts, taken=merged.taken)


def _is_other_data(
    repo: Repo, name: str, base: Pointer, sides: Sequence[Pointer], read: Callable[[Digest], bytes]
) -> bool:
    """Returns whether git mistook a pointer for a renamed one because their texts are similar, though the data differs.

    Costs a run of git if less than half of the common ancestor's files are left on a side.
    """
    if not all(known.kind == "directory" for known in (base, *sides)):
        return False
    lost = [sum(old is not None for old, _ in manifest.compare(base.digest, side.digest, read)) for side in sides]
    if 2 * max(lost) <= base.files:
        return False
    arguments = ("log", *ALL_REFS, "HEAD", "-m", "--format=%h", "-1", "-S", base.oid, "--", f":(top,literal){name}")
    # No commit has the version of the common ancestor at this path.
    return not repo.git.run(*arguments, check=False).strip()


def _conflict(path: str, conflict: listings.Conflict) -> MergeConflict:
    inside = os.fsdecode(conflict.path)
    return MergeConflict(path=f"{path}/{inside}" if inside else path, reason=conflict.reason)


def _store(repo: Repo, nodes: tuple[tuple[Digest, bytes], ...]) -> None:
    if not nodes:
        return
    with Writer(open_cache(repo)) as writer:
        for digest, data in nodes:
            writer.put(KIND_MANIFEST, digest, data)
        writer.commit()


# --- lockfiles ---


def merge_lockfiles(sides: Sides, name: str, choice: Choice, *, marker_size: int = MARKER_SIZE) -> MergedFile:
    """Merges two lockfiles per stage, in the order of ours, new stages of theirs after the stage that they follow there.

    `union` settles nothing: a stage has one entry. Raises FormatError for a side that is not a lockfile.
    """
    base = _texts(lockfile.parse(sides.base, _of(name, "common ancestor"))) if sides.base else {}
    ours = _texts(lockfile.parse(sides.ours, _of(name, "ours")))
    theirs = _texts(lockfile.parse(sides.theirs, _of(name, "theirs")))
    end = lockfile.encoded(lockfile.END)
    blocks = [lockfile.dump(Lockfile()).removesuffix(end)]
    conflicts: list[MergeConflict] = []
    settled, taken = True, 0
    for stage in _order(list(ours), list(theirs)):
        before, mine, their = base.get(stage, ""), ours.get(stage, ""), theirs.get(stage, "")
        text: str | None = mine
        if mine == before:
            text = their
        elif their not in (mine, before):
            conflicts.append(MergeConflict(stage=stage, reason=_reason(before, mine, their)))
            text = {"ours": mine, "theirs": their, "base": before}.get(choice)
        taken += text == their != mine
        settled &= text is not None
        left, right = lockfile.encoded(mine), lockfile.encoded(their)
        blocks.append(_whole(left, right, marker_size) if text is None else lockfile.encoded(text))
    return MergedFile(b"".join([*blocks, end]), "lockfile", settled, tuple(conflicts), taken)


def _texts(lock: Lockfile) -> Mapping[str, str]:
    return {stage.name: lockfile.stage_text(stage) for stage in lock.stages}


def _order(ours: list[str], theirs: list[str]) -> list[str]:
    """Returns all stages: those of ours, and each new one of theirs after its predecessor there."""
    known = set(ours)
    following: dict[str, list[str]] = {}
    before = ""
    for stage in theirs:
        if stage in known:
            before = stage
        else:
            following.setdefault(before, []).append(stage)
    return [*following.get("", ()), *(name for stage in ours for name in (stage, *following.get(stage, ())))]


def _reason(base: str, ours: str, theirs: str) -> str:
    if not ours:
        return "removed by ours"
    if not theirs:
        return "removed by theirs"
    return "changed on both sides" if base else "added on both sides"


def _whole(ours: bytes, theirs: bytes, size: int) -> bytes:
    """Returns both entries of a stage as a whole, between conflict markers."""
    return b"".join(
        (b"<" * size, b" ours\n", ours, b"=" * size, b"\n", theirs, b">" * size, b" theirs\n"),
    )
