"""Turns files that Git LFS keeps into tracked paths of dvlite: data first, then pointers, then git's index.

What cannot be carried is named with its reason, and stays with Git LFS. Stopped anywhere, git undoes it: what Git LFS needs was committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing
from dvlite.formats import lfs_transfer, manifest, pointer
from dvlite.formats.lfs_transfer import LfsPointer
from dvlite.formats.manifest import EXECUTABLE, FILE, Entry
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.moving.lfs_folder import local_folder, object_in
from dvlite.moving.lfs_index import IndexRow, put_into_index
from dvlite.moving.lfs_tree import FILTER, LfsFile, LfsTree, cleaned_attributes
from dvlite.moving.taken_over import TakenOver, nowhere_whole
from dvlite.progress import Progress
from dvlite.repo import ignore
from dvlite.repo.repository import Repo, open_cache
from dvlite.show import count, quote, word
from dvlite.store.cache_writer import Writer, version_of_entries
from dvlite.store.checked import CheckedWriter, StoredBytes
from dvlite.workspace.adder import write_pointers

_MANY = 2000  # files in a folder: `git status` takes 0.03 s for so many lines of .gitignore, 2 s for 20,000


@dataclass(slots=True)
class LfsMoved:
    """What becomes of a work tree. `left`: what stays with Git LFS, with the reason; `written`: files to stage; `attributes`: those of them that lost patterns."""

    paths: list[TakenOver] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def move(repo: Repo, tree: LfsTree, *, allow_missing: bool, dry_run: bool, progress: Progress) -> LfsMoved:
    """Takes the data into the cache, writes the files and stages them; with `dry_run`, does none of it. The caller holds the lock of the work tree.

    Raises ObjectMissing or ObjectCorrupt, with no file written, for data that is nowhere whole, unless that is allowed.
    """
    moved, rows = LfsMoved(left=dict(tree.left)), list[IndexRow]()
    if dry_run:
        moved.paths = [TakenOver(item.path, item.path, item.pointer.size_bytes) for item in tree.files]
        moved.attributes = [*cleaned_attributes(repo, moved.left)]
        return moved
    repo.ensure_ignored([item.path for item in tree.files], write=False)
    total_bytes = sum(item.pointer.size_bytes for item in tree.files)
    progress.start("importing", total_bytes=total_bytes, total_files=len(tree.files))
    with Writer(open_cache(repo), progress) as writer:
        with contextlib.closing(LocalObjects(repo, tree.files, writer, progress)) as objects:
            taken, lost = objects.take()
        progress.finish()
        if lost and not allow_missing:
            raise nowhere_whole(
                lost,
                "git lfs fetch   brings what its server has; to leave these paths to Git LFS: dvlite import-lfs --allow-missing",
            )
        moved.left |= {path: error.message for path, error in lost.items()}
        cleaned = cleaned_attributes(repo, moved.left)
        writer.commit()
        # While the writer's lock is held: no garbage collection can come between data and pointers.
        repo.ensure_ignored([item.path for item in taken])
        versions: dict[str, Pointer] = {}
        for item, content in taken.items():
            flags = FILE | EXECUTABLE if item.executable else FILE
            row = Entry(b"", flags, content.size_bytes, content.digest)
            new = versions[item.path] = version_of_entries(manifest.from_entries([row]), writer)
            rows.append(IndexRow("100644", item.path + SUFFIX, pointer.dump(new)))
            moved.paths.append(TakenOver(item.path, item.path, new.size_bytes, 1, new.oid))
        write_pointers(repo, versions, writer)
    paths = [item.path for item in taken]
    ignores = repo.unstaged_ignore_files(paths)
    for item in taken:  # what git alone checked out is no data
        if files.holds(repo.root / item.path, lfs_transfer.pointer(item.pointer.sha256, item.pointer.size_bytes)):
            os.unlink(repo.root / item.path)
    moved.attributes = list(cleaned)
    moved.written = [*ignores, *cleaned, *(row.path for row in rows)]
    _into_git(repo, rows, paths, cleaned, ignores)
    still = [path for path, name in repo.git.filters(paths).items() if name == FILTER]
    for folder, number in Counter(item.path.rpartition("/")[0] for item in taken).items():
        if number >= _MANY and folder:
            moved.notes.append(
                f"{quote(folder)} has {count(number, 'tracked path')}, which git compares one by one; with the data on disk, make them one: "
                f"dvlite rm --cached {word(folder)} && dvlite add {word(folder)}"
            )
    if still:
        moved.notes.append(f"a macro, or git's attributes outside of commits, still give {quote(still[0])} to Git LFS")
    return moved


def _into_git(
    repo: Repo, rows: list[IndexRow], paths: list[str], cleaned: dict[str, bytes], ignores: Iterable[str]
) -> None:
    """Puts all that changes into git's index at once, then cleans the patterns: by the one, then the other, another run sees what is left to do."""
    kept = {name: data for name, data in cleaned.items() if data.strip()}
    rows += [IndexRow("100644", name, data) for name, data in kept.items()]
    rows += [IndexRow("100644", name, repo.work_tree.read(name, ignore.MOST_BYTES) or b"") for name in ignores]
    put_into_index(repo.git, rows, [*paths, *(cleaned.keys() - kept)])
    for name in cleaned:
        if name in kept:
            files.write_atomic(repo.root / name, kept[name])
        else:
            os.unlink(repo.root / name)
    repo.stage([*cleaned, *ignores], enabled=True)  # in the line ends that git gives them


class LocalObjects:
    """Takes objects into the cache of a writer, each once: out of the folder of Git LFS, else from a file that it checked out."""

    def __init__(self, repo: Repo, items: Iterable[LfsFile], writer: Writer, progress: Progress) -> None:
        self._root, self._folder, self._items = repo.root, local_folder(repo), list(items)
        self._checked = CheckedWriter(writer, progress)
        self._known: dict[LfsPointer, StoredBytes] = {}

    def close(self) -> None:
        """Ends the thread that checks."""
        self._checked.close()

    def take(self) -> tuple[dict[LfsFile, StoredBytes], dict[str, DvliteError]]:
        """Returns what was taken, and why what could not be, by path."""
        lost: dict[LfsFile, DvliteError] = {}
        for item in self._items:
            try:
                if item.pointer not in self._known:
                    self._known[item.pointer] = self._taken(item)
            except (ObjectMissing, ObjectCorrupt) as error:
                lost[item] = error
        taken = {item: self._known[item.pointer] for item in self._items if item.pointer in self._known}
        return taken, {item.path: error for item, error in lost.items() if item not in taken}

    def _taken(self, item: LfsFile) -> StoredBytes:
        name, wanted = item.pointer.sha256, item.pointer
        kept = object_in(self._folder, name)
        for path in (kept, self._root / item.path):
            with _opened(path) as descriptor:
                if descriptor is None or os.fstat(descriptor).st_size != wanted.size_bytes:
                    continue
                content = self._checked.take(descriptor, item.path, lambda blocks: _is_it(blocks, wanted))
                if content is not None:
                    return content
        if files.is_there(kept):
            raise ObjectCorrupt(f"object {name} of Git LFS is damaged, or has another size than its pointer says")
        raise ObjectMissing(f"object {name} is neither in the folder of Git LFS nor on disk")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """Opens an ordinary file, never waiting; yields None where there is none."""
    try:
        descriptor = files.open_without_waiting(os.fspath(path), files.READ | files.NO_FOLLOW)
    except OSError:
        yield None
        return
    try:
        yield descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)


def _is_it(blocks: Iterable[bytes], wanted: LfsPointer) -> bool:
    """Returns whether a file is the object."""
    hasher, size_bytes = hashlib.sha256(), 0
    for block in blocks:
        hasher.update(block)
        size_bytes += len(block)
    return (hasher.hexdigest(), size_bytes) == (wanted.sha256, wanted.size_bytes)
