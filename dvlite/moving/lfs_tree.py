"""What a work tree has of Git LFS: pointers in git's index, and the lines of `.gitattributes` that give paths to it. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dvlite.errors import FormatError, UsageError
from dvlite.files import is_there
from dvlite.formats import lfs_attributes, lfs_transfer
from dvlite.formats.lfs_transfer import LfsPointer
from dvlite.formats.pointer import SUFFIX
from dvlite.git.output import REGULAR, TreeEntry
from dvlite.paths import ancestors, check_paths
from dvlite.repo import attributes, ignore
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import why_untrackable
from dvlite.show import quote, some
from dvlite.workspace.add_checks import refuse_ignored, tracked_above

FILTER = "lfs"
_OF_GIT = (
    ".gitignore",
    attributes.FILE_NAME,
)  # no data, whatever pattern covers them: an import that was stopped may have staged some
EXTENDED = "an extension of Git LFS changed its bytes: git lfs pull, then dvlite add"


@dataclass(frozen=True, slots=True)
class LfsFile:
    """A file that Git LFS keeps, and what git's index has of it."""

    path: str
    pointer: LfsPointer
    executable: bool = False


@dataclass(slots=True)
class LfsTree:
    """The files that can be taken over; `left`: those that cannot, with the reason."""

    files: list[LfsFile] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def read_tree(repo: Repo) -> LfsTree:
    """Reads git's index. Raises UsageError where Git LFS keeps nothing, or something that is not committed; FormatError for a pointer that git would not take."""
    entries = [entry for entry in repo.git.list_index() if entry.mode in REGULAR]
    sizes = repo.git.blob_sizes(entry.blob for entry in entries)
    filters = repo.git.filters([entry.path for entry in entries])
    given = [entry for entry in entries if filters.get(entry.path) == FILTER and sizes.get(entry.blob) != 0]
    small = [entry.blob for entry in given if sizes.get(entry.blob, 0) <= lfs_transfer.POINTER_BYTES]
    contents = repo.git.read_blobs(small, limit_bytes=lfs_transfer.POINTER_BYTES)
    if not given and not cleaned_attributes(repo, {}):
        raise UsageError("Git LFS keeps no file here", hint="dvlite add PATH   tracks data that nothing tracks yet")
    tree = LfsTree()
    tracked = {item.path for item in repo.work_tree.tracked()}
    in_git = {entry.path for entry in entries}
    folders = {folder for entry in given for folder in ancestors(entry.path) if folder}
    links = {folder for folder in folders if (repo.root / folder).is_symlink()}
    for entry in given:
        pointer = lfs_transfer.parse_pointer(contents.get(entry.blob, b""))
        above = tracked_above(entry.path.rpartition("/")[0], tracked)
        if pointer is None and entry.path.rpartition("/")[2] in _OF_GIT:
            continue
        if pointer is None:
            tree.left[entry.path] = "git has the data itself, and no pointer of Git LFS"
        elif links.intersection(ancestors(entry.path)):
            tree.left[entry.path] = "it is behind a symbolic link"
        elif above is not None:
            tree.left[entry.path] = f"it is in {quote(above)}, which dvlite tracks"
        elif entry.path + SUFFIX in in_git:
            tree.left[entry.path] = f"{quote(entry.path + SUFFIX)} exists"
        elif reason := _why_not(entry, pointer):
            tree.left[entry.path] = reason
        else:
            tree.files.append(LfsFile(entry.path, pointer, entry.mode == "100755"))
    _refuse_uncommitted(repo, {item.path for item in tree.files})
    pointers = [item.path + SUFFIX for item in tree.files]
    refuse_ignored(repo, pointers, "cannot track the data of")
    if error := attributes.filtered(repo.git, pointers):
        raise error
    return tree


def _why_not(entry: TreeEntry, pointer: LfsPointer) -> str:
    if entry.is_skipped:
        return "this sparse checkout leaves it out"
    if pointer.has_extensions:
        return EXTENDED
    reason = why_untrackable(entry.path)
    if reason is None:
        try:
            check_paths([os.fsencode(entry.path)])
        except FormatError as error:
            reason = str(error)
    return f"it cannot be tracked: {reason}" if reason else ""


def _refuse_uncommitted(repo: Repo, paths: set[str]) -> None:
    changed = [row.path for row in repo.git.staged_changes() if row.path in paths]
    if changed:
        raise UsageError(
            f"{some([quote(path) for path in changed])}: not as in the last commit",
            hint="commit first, so that git can undo the import: git commit",
        )


def cleaned_attributes(repo: Repo, left: Mapping[str, str]) -> dict[str, bytes]:
    """Returns each `.gitattributes` that changes, by its path, without the patterns of Git LFS that match none of the files left to it."""
    cleaned: dict[str, bytes] = {}
    for name in repo.git.list_files(f":(glob)**/{attributes.FILE_NAME}"):
        data = repo.work_tree.read(name, ignore.MOST_BYTES) if is_there(repo.root / name) else None
        if data is None:
            continue
        folder = name.rpartition("/")[0]
        found = lfs_attributes.patterns(data)
        unused = {number for number, pattern in found.items() if not _is_used(repo, pattern, folder, left)}
        if unused:
            cleaned[name] = lfs_attributes.without(data, unused)
    return cleaned


def _is_used(repo: Repo, pattern: bytes, folder: str, left: Mapping[str, str]) -> bool:
    """Returns whether a pattern may match one of these files: git's rules for what it ignores match no less."""
    ignored = lfs_attributes.as_ignored(pattern, folder)
    if not left or ignored is None:
        return bool(left)
    return any(path in left for path in repo.git.list_ignorable(os.fsdecode(ignored)))
