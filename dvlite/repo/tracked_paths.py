"""What names data: a pointer file names one tracked path, a lockfile the cached outputs of its stages. Bytes and names in, values out.

Which paths may be tracked is decided here, for both. Knows no git and no disk; paths are relative to the root of the work tree.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dvlite.errors import DvliteError, FormatError
from dvlite.files import format_error, refused
from dvlite.formats import lockfile, pointer
from dvlite.formats.lockfile import LockedStage
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.paths import MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, is_reserved
from dvlite.repo.stage_names import address
from dvlite.show import quote, word

_OWN_NAMES = ("dvlite.yaml", "dvlite.lock")
_STAGE_BEGINS = re.compile(rb"^(?=  [^ \n])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tracked:
    """A tracked path and its pointer. An output's pointer is a line of `lockfile`, of the stage with the address `stage`.

    `push` False: the pipeline declares that it is not pushed. `commit` names this version, where versions of commits are listed.
    """

    path: str
    pointer: Pointer
    lockfile: str = ""
    stage: str = ""
    push: bool = True
    commit: str = ""


class Unusable(FormatError):
    """A pointer file or lockfile that cannot be used; `file` is relative to the root. `path`: what it tracks, if another file tracks that too."""

    file: str

    def __init__(self, file: str, error: DvliteError, path: str = "") -> None:
        known = error if isinstance(error, FormatError) else FormatError(error.message)
        super().__init__(
            error.message, hint=error.hint, file=file, line=known.line, reason=known.reason, kind=known.kind
        )
        self.path = path


def why_untrackable(path: str) -> str | None:
    """Returns the rule that keeps a path from being tracked, or None."""
    parts = path.split("/")
    last = parts[-1].casefold()
    if (
        any(is_reserved(os.fsencode(part)) for part in parts)
        or last.startswith((".git", ".dvlite"))
        or last in _OWN_NAMES
    ):
        return "git and dvlite use that name themselves"
    if last.endswith(SUFFIX):
        return "it has the name of a pointer"
    if path in ("", "."):
        return "dvlite tracks the files and folders that you name, not the whole repository"
    if any(part in ("", ".", "..") for part in parts):
        return "it is not a plain path"
    return None


def overlap(paths: Iterable[str]) -> tuple[str, str] | None:
    """Returns two paths, one inside the other, or None."""
    outer: list[str] | None = None
    for parts in sorted(path.split("/") for path in paths):
        if outer is not None and parts[: len(outer)] == outer:
            return "/".join(outer), "/".join(parts)
        outer = parts
    return None


def read_pointer(name: str, data: bytes, where: str) -> Tracked:
    """Returns what a pointer file names; `where` is its path, for errors. Raises FormatError, also for a path that cannot be tracked."""
    path = name.removesuffix(SUFFIX)
    reason = why_untrackable(path)
    if reason is not None:
        raise refused(name, f"{quote(path)} cannot be tracked, {reason}", hint=f"git rm --cached {word(name)}")
    return Tracked(path, pointer.parse(data, where))


def read_lockfile(name: str, data: bytes, where: str) -> list[Tracked]:
    """Returns the cached outputs that a lockfile names, in its order; raises FormatError with the line of one that cannot be tracked."""
    found = []
    folder = posixpath.dirname(name)
    for stage in lockfile.parse(data, where).stages:
        called = address(name, stage.name)
        for position, out in enumerate(stage.outs):
            path = posixpath.normpath(posixpath.join(folder, out.path))
            reason = _why_no_output(path)
            if reason is not None:
                raise _refused_output(_line_of(data, stage, position), where, f"{quote(out.path)} {reason}")
            if out.cache:
                found.append(Tracked(path, out.pointer(), name, called, out.push))
    return found


def unseen_stages(data: bytes, seen: set[bytes]) -> bytes:
    """Returns a lockfile with blank lines in place of stages that are in `seen` to the byte, and puts the others there.

    Of many versions of a lockfile nearly all stages are equal: so each is parsed once. 1,000 stages cost 5 ms, parsing them 50.
    """
    end = lockfile.END.encode() if data.endswith(lockfile.END.encode()) else b""  # no part of the last stage
    head, *stages = _STAGE_BEGINS.split(data.removesuffix(end))
    pieces = [head]
    for stage in stages:
        pieces.append(b"\n" * stage.count(b"\n") if stage in seen else stage)
        seen.add(stage)
    return b"".join([*pieces, end])


def refuse_outputs(name: str, data: bytes, where: str, reason_of: Callable[[str], str | None]) -> None:
    """Raises FormatError, with the line, for the first cached output of a sound lockfile against which there is a reason."""
    for stage in lockfile.parse(data, where).stages:
        for position, out in enumerate(stage.outs):
            reason = (
                reason_of(posixpath.normpath(posixpath.join(posixpath.dirname(name), out.path))) if out.cache else None
            )
            if reason is not None:
                raise _refused_output(_line_of(data, stage, position), where, f"{quote(out.path)} {reason}")


def _refused_output(line: int, where: str, reason: str) -> FormatError:
    usual = f"restore it from git: git checkout HEAD -- {word(where)}, or correct dvlite.yaml and run dvlite repro"
    return format_error(where, line, reason, hint=None, usual=usual, failed="refused")


def _why_no_output(path: str) -> str | None:
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        return "is no name that a file can have"
    if path == ".." or path.startswith("../"):
        return "is outside the repository"
    if path == ".":
        return "is the whole repository"
    if len(encoded) > MAX_PATH_BYTES or path.count("/") > MAX_DEPTH:
        return "is too long"
    if any(len(part) > MAX_NAME_BYTES for part in encoded.split(b"/")):
        return "is too long"
    reason = why_untrackable(path)
    return None if reason is None else f"cannot be tracked, {reason}"


def _line_of(data: bytes, stage: LockedStage, position: int) -> int:
    """Returns the line of the output at a position: outputs stand in file order, one a line, below `outs:`."""
    inside = False
    for number, line in enumerate(data.split(b"\n")[stage.line :], stage.line + 1):
        if inside and line.startswith(b"      "):
            if position == 0:
                return number
            position -= 1
        elif not line.startswith(b"    ") and line.strip():
            break
        else:
            inside = line.rstrip() == b"    outs:" or (inside and not line.strip())
    return stage.line


def without_overlap(found: Sequence[Tracked], refuse: Callable[[Unusable], None]) -> list[Tracked]:
    """Returns what is tracked, sorted by path; what lies inside another or is named twice is handed to `refuse` and left out."""
    kept: list[Tracked] = []
    outer: list[str] | None = None
    for parts, item in sorted(
        ((item.path.split("/"), item) for item in found), key=lambda row: (row[0], row[1].lockfile)
    ):
        if outer is not None and parts[: len(outer)] == outer:
            refuse(_overlapping(kept[-1], item))
        else:
            outer = parts
            kept.append(item)
    return sorted(kept, key=lambda item: item.path)


def _overlapping(outer: Tracked, inner: Tracked) -> Unusable:
    file = inner.lockfile or inner.path + SUFFIX
    how = (
        f"{quote(inner.path)} is" if inner.path == outer.path else f"{quote(inner.path)} is inside {quote(outer.path)}"
    )
    named = f"an output of the stage {quote(outer.stage)}" if outer.stage else "tracked"
    what = f"{how}, which is {named} too" if inner.path != outer.path else f"{how} {named} too"
    hint = f"keep one of the two: git rm --cached {word(file)}"
    if inner.lockfile:
        hint = f"give the output of the stage {inner.stage} another path in dvlite.yaml"
        hint += "" if outer.stage else f", or: dvlite rm --cached {word(outer.path)}"
    return Unusable(file, refused(file, what, hint=hint), inner.path)
