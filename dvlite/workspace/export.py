"""Writes versions to places that are no workspace: a file or folder that does not exist yet, or a stream. Nothing is overwritten."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, ObjectCorrupt, UsageError
from dvlite.files import TEMP_PREFIX
from dvlite.formats.manifest import SYMLINK, Entries, Entry
from dvlite.formats.pointer import Pointer
from dvlite.oid import Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.show import quote, word
from dvlite.store.cache import Cache, missing_object
from dvlite.store.pack import KIND_FILE
from dvlite.workspace.checkout_apply import apply
from dvlite.workspace.checkout_plan import plan
from dvlite.workspace.hashing import symlink_problem
from dvlite.workspace.workspace import entries_of

Damaged = list[tuple[Digest, DvliteError]]
_PIECE_BYTES = 1 << 20


def to_path(want: Entries, cache: Cache, target: Path, progress: Progress) -> Damaged:
    """Writes entries (a single one without a path is a file) as `target`; returns the objects that are damaged in the cache.

    If there are any, nothing was written. The target appears complete, by one rename. Raises UsageError if it exists, or for a symlink
    that leaves what is exported.
    """
    refuse_existing(target)
    refuse_leaving_links(want, cache)
    files.require_space(target.parent, sum(want.sizes), quote(str(target)))
    # Beside the target, under a name of its own: only the next run for this target removes a killed run's leftovers.
    around = target.parent / f"{TEMP_PREFIX}get-{digest_bytes(os.fsencode(target.name)).hex()[:16]}"
    shutil.rmtree(around, ignore_errors=True)
    try:
        os.mkdir(around)
        todo = plan(want, None, lambda _: False)
        outcome = apply(todo, want, None, around, os.fsencode(target.name), cache, progress=progress)
        if outcome.missing:
            raise missing_object(want.digest(outcome.missing[0]), (KIND_FILE,))
        if not outcome.damaged:
            publish(around / target.name, target)
        return outcome.damaged
    except OSError as error:
        raise files.os_error(error, "write", target) from error
    finally:
        shutil.rmtree(around, ignore_errors=True)


def lay_out(pointer: Pointer, path: str, cache: Cache, target: Path, progress: Progress) -> None:
    """Writes a version as `target`, as `to_path` does. Raises ObjectMissing, ObjectCorrupt with its `path`."""
    damaged = to_path(entries_of(pointer, cache), cache, target, progress)
    if damaged:
        raise ObjectCorrupt(f"{quote(path)} is damaged in the cache: {damaged[0][1].message}")


def to_stream(entry: Entry, cache: Cache, write: Callable[[bytes], object]) -> Damaged:
    """Writes a file's bytes, verified before the first goes out; returns the object if it is damaged, with nothing written."""
    try:
        if cache.has_packed(entry.digest, (KIND_FILE,)):
            write(cache.read_file(entry.digest, entry.size_bytes))
            return []
        with cache.open_verified(entry.digest, entry.size_bytes) as descriptor:
            for offset in range(0, entry.size_bytes, _PIECE_BYTES):
                write(files.read_at(descriptor, _PIECE_BYTES, offset))
    except ObjectCorrupt as error:
        return [(entry.digest, error)]
    return []


def refuse_existing(target: Path) -> None:
    """Raises UsageError if something is at `target`, or if its folder is not there."""
    if os.path.lexists(target):
        raise UsageError(f"{quote(str(target))} exists, and nothing is overwritten", hint="choose another name: -o OUT")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {quote(str(target.parent))}", hint=f"mkdir -p {word(str(target.parent))}")


def refuse_leaving_links(want: Entries, cache: Cache) -> None:
    """Raises UsageError for a symlink that leaves what is written."""
    for i, flags in enumerate(want.flags):
        if flags == SYMLINK:
            with contextlib.suppress(ObjectCorrupt):  # reported when it is written
                problem = symlink_problem(want.paths[i], cache.read_file(want.digest(i), want.sizes[i]))
                if problem is not None:
                    name = os.fsdecode(want.paths[i])
                    link = f"the symbolic link {quote(name)}" if name else "this symbolic link"
                    raise UsageError(
                        f"cannot get {link} on its own: it {problem}",
                        hint="get the folder that holds both the link and what it points to",
                    )


def publish(temporary: Path, target: Path) -> None:
    """Gives what was made its name; for a file the kernel refuses a name that was taken meanwhile, if it can."""
    if not temporary.is_dir():
        with contextlib.suppress(PermissionError, NotImplementedError):  # a file system without hard links
            os.link(temporary, target, follow_symlinks=False)
            return
    refuse_existing(target)
    os.rename(temporary, target)
