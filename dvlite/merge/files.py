"""Merges of the files that git cannot: lockfiles per stage, and pointers with the listings that they name (`workspace.merging`).

Reads listings from the cache, those that are missing from the remote; never any data. Knows no index of git and writes no file in the
work tree.
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
from dvlite.merge import listings
from dvlite.merge.listings import Choice
from dvlite.merge.markers import marked
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_cache
from dvlite.repo.repository import Repo
from dvlite.show import printable, quote, word
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_MANIFEST
from dvlite.workspace.fetch import with_listings

MARKER_SIZE = 7
_REASONS = {
    "file and folder": "a file on one side, a folder on the other",
    "meta": "'meta' changed on both sides",
    "other data": "its pointer looks like a renamed one to git, and the data is another",
}


Kind = Literal["file", "directory", "lockfile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConflict:
    """What both sides changed, each in another way: a file, a whole tracked path (or its `meta`), or a stage of a lockfile."""

    path: str | None = None
    stage: str | None = None  # its name in the lockfile
    # "changed on both sides", "added on both sides", "removed by ours", "removed by theirs", "file and folder", "meta"; or of the whole path:
    # "ours cannot be read", "theirs cannot be read", "both sides cannot be read", "the common ancestor cannot be read"
    reason: str


@dataclass(frozen=True, slots=True)
class Sides:
    """The three versions of a file; without `base`, both sides added it."""

    base: bytes | None
    ours: bytes
    theirs: bytes


@dataclass(frozen=True, slots=True)
class MergedFile:
    """What a file becomes: with markers unless `settled`. `conflicts` are all that both sides changed, settled by the choice or not."""

    text: bytes
    kind: Kind
    settled: bool = True
    conflicts: tuple[MergeConflict, ...] = ()
    taken: int = 0


def tracked_name(name: str) -> str:
    """Returns how people call what a file is for: the tracked path of a pointer, or the lockfile itself."""
    return name if is_lockfile(name) else name.removesuffix(SUFFIX)


def name_inside(path: str, conflict: MergeConflict) -> str:
    """Returns a file of a tracked directory as it is called inside of it, a stage as `stage train`, nothing for the path itself."""
    if conflict.stage is not None:
        return f"stage {conflict.stage}"
    return printable((conflict.path or "").removeprefix(path).removeprefix("/"))


def reason_text(conflict: MergeConflict) -> str:
    """Returns why something is in conflict, in a sentence."""
    return _REASONS.get(conflict.reason, conflict.reason)


def choices_of(conflicts: Sequence[MergeConflict], *, can_union: bool) -> list[str]:
    """Returns the options of `resolve` that settle these conflicts: not a side that cannot be read, and both only where both can be kept."""
    reasons = {conflict.reason for conflict in conflicts}
    unreadable = {
        side for side in ("ours", "theirs") if reasons & {f"{side} cannot be read", "both sides cannot be read"}
    }
    return [f"--{side}" for side in ("ours", "theirs") if side not in unreadable] + ["--union"] * can_union


def can_union(path: str, conflicts: Sequence[MergeConflict]) -> bool:
    """Returns whether both versions can be kept: of files of a directory and of `meta`, not of a single file and not of a stage."""
    return all(each.reason == "meta" or each.path not in (None, path) for each in conflicts)


def merge_file(
    repo: Repo, name: str, sides: Sides, choice: Choice, *, marker_size: int = MARKER_SIZE, progress: Progress
) -> MergedFile:
    """Merges a pointer or lockfile called `name`; new listings are durable in the cache when it returns.

    A side that was chosen is taken whole if the others cannot be merged with it. Raises UnreadableSide for one that is no such file, FormatError
    for a listing that is refused, and ObjectMissing if one is neither in the cache nor on the remote.
    """
    try:
        if is_lockfile(name):
            return merge_lockfiles(sides, name, choice, marker_size=marker_size)
        return _merge_pointers(repo, name, sides, choice, marker_size, progress)
    except FormatError as error:
        sound = [side for side, data in (("ours", sides.ours), ("theirs", sides.theirs)) if _is_sound(name, data)]
        if choice in sound:
            return _whole_side(name, sides, choice)
        if len(sound) == 2 and _is_sound(name, sides.base):
            raise
        raise UnreadableSide(error.message, sound, hint=_hint(repo, name, sound)) from None


class UnreadableSide(FormatError):
    """A side of a merge is no pointer or lockfile; `sound` are those that can be taken whole, of ours and theirs."""

    def __init__(self, message: str, sound: Sequence[str], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.sound = tuple(sound)


def require_sound(repo: Repo, name: str, data: bytes, side: str) -> None:
    """Raises UnreadableSide for the only side that still has a pointer or lockfile, if it is none; the other removed it."""
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
    """Returns what settles a merge in which only the sides in `sound` can be taken."""
    if sound:
        choices = "|".join(f"--{side}" for side in sound)
        return f"dvlite resolve {word(repo.display(tracked_name(name)))} {choices}"
    return how_to_replace(repo.display(name), is_lockfile=is_lockfile(name))


def how_to_replace(shown: str, *, is_lockfile: bool) -> str:
    """Returns what to do about a pointer or lockfile that is unusable on both sides of a merge."""
    file = word(shown)
    recreate = f", or recreate it: git rm -f {file}; dvlite repro" if is_lockfile else ""
    return f"take it from a commit where it was sound: git checkout COMMIT -- {file}{recreate}"


def _of(name: str, side: str) -> str:
    return f"{name} ({side})"


def _kind(known: Pointer) -> Literal["file", "directory"]:
    return "directory" if known.kind == "directory" else "file"


# --- pointers ---


def _merge_pointers(
    repo: Repo, name: str, sides: Sides, choice: Choice, marker_size: int, progress: Progress
) -> MergedFile:
    path = tracked_name(name)
    base = pointer.parse(sides.base, _of(name, "common ancestor")) if sides.base else None
    ours, theirs = pointer.parse(sides.ours, _of(name, "ours")), pointer.parse(sides.theirs, _of(name, "theirs"))
    cache = open_cache(repo)
    needed = [known for known in (base, ours, theirs) if known is not None and known.kind == "directory"]

    def work() -> listings.Merged:
        if base is not None and _is_other_data(repo, name, base, (ours, theirs), cache.read_node):
            chosen = {"ours": ours, "theirs": theirs}.get(choice)
            return listings.Merged(chosen, (listings.Conflict(b"", "other data"),), taken=int(chosen is theirs))
        return listings.merge(base, ours, theirs, cache.read_node, choice=choice)

    found = with_listings(repo, cache, path, needed, work, progress)
    conflicts = tuple(_conflict(path, each) for each in found.conflicts)
    if found.pointer is None:
        text = marked(sides.ours, sides.theirs, size=marker_size)
        return MergedFile(text, _kind(ours), settled=False, conflicts=conflicts)
    data = pointer.dump(found.pointer)
    if len(data) > pointer.LIMIT_BYTES:
        raise FormatError(
            f"cannot merge {quote(path)}: 'meta' would be too long", hint="choose a side: --ours or --theirs"
        )
    _store(repo, found.nodes)
    return MergedFile(data, _kind(found.pointer), conflicts=conflicts, taken=found.taken)


def _is_other_data(
    repo: Repo, name: str, base: Pointer, sides: Sequence[Pointer], read: Callable[[Digest], bytes]
) -> bool:
    """Returns whether git took a pointer for a renamed one because their texts are alike, and the data is another.

    Costs a run of git where less than half of the common ancestor's files are left on a side.
    """
    if not all(known.kind == "directory" for known in (base, *sides)):
        return False
    lost = [sum(old is not None for old, _ in manifest.compare(base.digest, each.digest, read)) for each in sides]
    if 2 * max(lost) <= base.files:
        return False
    arguments = ("log", "--all", "HEAD", "-m", "--format=%h", "-1", "-S", base.oid, "--", f":(top,literal){name}")
    return not repo.git.run(
        *arguments, check=False
    ).strip()  # in no commit the path had the version that it is said to come from


def _conflict(path: str, found: listings.Conflict) -> MergeConflict:
    inside = os.fsdecode(found.path)
    return MergeConflict(path=f"{path}/{inside}" if inside else path, reason=found.reason)


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

    `union` settles nothing: a stage has one entry. Raises FormatError for a side that is no lockfile.
    """
    base = _texts(lockfile.parse(sides.base or b"", _of(name, "common ancestor")))
    ours = _texts(lockfile.parse(sides.ours, _of(name, "ours")))
    theirs = _texts(lockfile.parse(sides.theirs, _of(name, "theirs")))
    blocks = [lockfile.dump(Lockfile())]
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
    return MergedFile(b"".join(blocks), "lockfile", settled, tuple(conflicts), taken)


def _texts(lock: Lockfile) -> Mapping[str, str]:
    return {stage.name: lockfile.stage_text(stage) for stage in lock.stages}


def _order(ours: list[str], theirs: list[str]) -> list[str]:
    """Returns all stages: those of ours, each that only theirs has right after the one that is before it there."""
    known = set(ours)
    following: dict[str, list[str]] = {}
    before = ""
    for stage in theirs:
        if stage in known:
            before = stage
        else:
            following.setdefault(before, []).append(stage)
    return [*following.get("", ()), *(each for stage in ours for each in (stage, *following.get(stage, ())))]


def _reason(base: str, ours: str, theirs: str) -> str:
    if not ours:
        return "removed by ours"
    if not theirs:
        return "removed by theirs"
    return "changed on both sides" if base else "added on both sides"


def _whole(ours: bytes, theirs: bytes, size: int) -> bytes:
    """Returns both entries of a stage, each whole: half an entry tells nothing."""
    return b"".join(
        (b"<" * size, b" ours\n", ours, b"=" * size, b"\n", theirs, b">" * size, b" theirs\n"),
    )
