"""Every version that a clone may still need: what its commits, reflogs and stashes, the indexes and files of its worktrees, and saved copies name.

What a cache may lose rests on this; so what cannot be read is an error. A cache that projects share holds the name of each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.errors import DvliteError
from dvlite.formats.pointer import Pointer
from dvlite.git.output import is_pointer
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Scope, read_blobs
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.workspace.backups import saved_pointers


def needed_versions(repo: Repo, progress: Progress) -> list[Pointer]:
    """Returns the versions that a clone refers to anywhere. Raises DvliteError for a worktree or pointer that cannot be read."""
    scope = Scope(all_commits=True)
    pointers = [item.pointer for item in committed_versions.reachable(repo.git, scope, progress=progress)]
    pointers += saved_pointers(repo)
    for root in repo.git.worktrees():
        if not root.is_dir():
            hint = "if it is gone for good: git worktree prune"
            raise DvliteError(f"cannot read the worktree {quote(str(root))}: it is not there", hint=hint)
        pointers += _of_worktree(repo if root == repo.root else repo.open_other(root))
    return list(dict.fromkeys(pointers))


def projects_sharing(repo: Repo, cache: Cache) -> Iterator[Repo]:
    """Yields the other clones that use a cache. Raises DvliteError for one that cannot be opened."""
    for note, (common_dir, root) in cache.projects().items():
        if common_dir == repo.common_dir:
            continue
        try:
            place = root if root.is_dir() else common_dir.parent
            other = repo.open_other(place)
            if other.common_dir != common_dir:
                raise DvliteError("another repository is in its place")
        except (DvliteError, OSError) as error:
            reason = error.message if isinstance(error, DvliteError) else error.strerror
            raise DvliteError(
                f"cannot read {quote(str(root))}, a clone that shares this cache: {reason}",
                hint=f"run it where that clone can be read; if the clone is gone for good: rm {word(str(note))}",
            ) from error
        yield other


def _of_worktree(repo: Repo) -> list[Pointer]:
    def refuse(error: DvliteError) -> None:
        raise error

    pointers = [item.pointer for item in repo.work_tree.tracked()]
    staged = {
        (entry.blob, entry.path): f"{entry.path} in the index"
        for entry in repo.git.list_index()
        if is_pointer(entry.path)
    }
    return pointers + [item.pointer for _, items in read_blobs(repo.git, staged, refuse) for item in items]
