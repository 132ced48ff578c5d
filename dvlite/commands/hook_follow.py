"""`dvlite hook post-checkout|post-merge|post-rewrite`: the workspace follows the pointers that git has just changed.

A failure becomes a note: git has done its work, and `dvlite checkout` or `dvlite pull` can follow later.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from dvlite.errors import DvliteError
from dvlite.git import operation
from dvlite.hooks.result import HookResult
from dvlite.progress import Progress
from dvlite.repo.repository import Repo


def hook_follow(repo: Repo, hook: str, words: Sequence[str], *, progress: Progress) -> HookResult:
    """Updates the workspace to the pointers that git has checked out; `words` are the arguments of the hook.

    Errors become notes. Costs one run of git if no pointer changed, and after a rebase a scan of the workspace.
    """
    started = time.monotonic()
    try:
        sides = _sides(repo, hook, words) if repo.config.get("hooks.follow") != "off" else None
        if sides is None:
            return HookResult(hook=hook)
        moved = repo.git.pointer_diff(*sides)
        is_rebased = hook == "post-rewrite"
        if not moved and not is_rebased:
            return HookResult(hook=hook)
        from dvlite.hooks.follow import follow  # 50 ms of modules that most checkouts do not need

        with repo.lock(progress, wait=False):
            done = follow(repo, moved, progress, left_behind=is_rebased)
    except DvliteError as error:
        return HookResult(hook=hook, notes=(f"the workspace did not follow: {error.message}; then: dvlite checkout",))
    return HookResult(
        hook=hook,
        notes=tuple(done.notes),
        followed=tuple(done.followed),
        downloaded_bytes=done.downloaded_bytes,
        elapsed_seconds=time.monotonic() - started,
    )


def _sides(repo: Repo, hook: str, words: Sequence[str]) -> tuple[str | None, str | None] | None:
    """Returns the commits between which git moved (None before: an empty tree, after: the index), or None for nothing to follow."""
    if hook == "post-checkout":
        before, after, kind = (*words, "", "", "")[:3]
        if kind != "1" or before == after or operation.has_steps_left(repo.git_dir):
            return None  # single files, a new branch, or a step of a rebase
        return before if before.strip("0") else None, after
    if hook == "post-merge":
        head = repo.git.head() if tuple(words[:1]) == ("1",) else operation.before_merge(repo.git_dir)  # 1: squashed
        return None if head is None else (head, None)
    if tuple(words[:1]) != ("rebase",):
        return None  # an amended commit: the disk is unchanged
    tip = operation.before_rebase(repo.git_dir)
    return None if tip is None else (tip, "HEAD")
