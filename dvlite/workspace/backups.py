"""Saves pointers of versions that nothing else names, in git's directory, so that their data can be restored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dvlite import files
from dvlite.formats import pointer
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote, word
from dvlite.workspace.dirfd import Folders

SAVED = "saved"  # the folder, in git's directory of a worktree
_LONGEST = 180  # bytes


def saved_name(path: str) -> str:
    """Returns a file name made of a path, short enough for any file system."""
    flat = path.replace("/", "_")
    name = os.fsencode(flat)
    return flat if len(name) <= _LONGEST else f"{os.fsdecode(name[:_LONGEST]).rstrip(chr(0xFFFD))}~"


def save_pointer(repo: Repo, path: str, version: Pointer) -> Path:
    """Writes the pointer of a version to `saved/`, under a name made of the path, and returns where."""
    folder = repo.state_dir / SAVED
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{saved_name(path)}-{version.digest.hex()[:8]}{SUFFIX}"
    files.write_atomic(target, pointer.dump(version))
    return target


def move_aside(repo: Repo, place: Path) -> Path:
    """Moves what no version can hold, a FIFO or a link that leads out, from the work tree to `saved/`; follows no link. Returns where it is.

    Raises DvliteError where it cannot be moved, as to another disk.
    """
    inner = os.fsencode(place.relative_to(repo.root))
    target = repo.state_dir / SAVED / f"{saved_name(os.fsdecode(inner))}-{os.urandom(4).hex()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    above, _, name = inner.rpartition(b"/")
    try:
        with Folders(repo.root, above) as folders:
            os.rename(name, target, src_dir_fd=folders.top)
    except OSError as error:
        raise files.os_error(error, "move away", place) from error
    return target


def keep_uncommitted(repo: Repo, chosen: Sequence[Tracked]) -> list[str]:
    """Saves the pointers that no commit names; returns a warning for each that says how to restore it. Outputs stay in their lockfile."""
    head = repo.git.head()
    committed = repo.git.pointer_blobs(head) if head is not None else {}
    warnings = []
    for item in (item for item in chosen if not item.lockfile):
        blob = committed.get(item.path + SUFFIX)
        if blob is not None:
            committed_version = pointer.parse(
                repo.git.read_blobs([blob], limit_bytes=pointer.LIMIT_BYTES)[blob], item.path
            )
            if committed_version.same_version(item.pointer):
                continue
        target = save_pointer(repo, item.path, item.pointer)
        warnings.append(
            f"this version of {quote(repo.display(item.path))} was never committed; to get it back: dvlite get {word(str(target))} -o PATH"
        )
    return warnings


def saved_pointers(repo: Repo) -> dict[Path, Pointer]:
    """Returns the saved pointers of all worktrees of the clone, by their files. Raises DvliteError for one that cannot be read."""
    pointers = {}
    for folder in (repo.common_dir, *(repo.common_dir / "worktrees").glob("*")):
        for file in sorted((folder / "dvlite" / SAVED).glob(f"*{SUFFIX}")):
            data = files.read_regular(file, str(file), pointer.LIMIT_BYTES + 1)
            if data is not None:
                pointers[file] = pointer.parse(data, str(file))
    return pointers
