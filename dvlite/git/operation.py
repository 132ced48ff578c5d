"""What git is in the middle of here: a merge, a rebase, a cherry-pick. Looks at the files that git keeps for it; starts no process."""

from __future__ import annotations

from pathlib import Path

from dvlite.files import open_without_waiting
from dvlite.git.output import is_commit_id

_REBASES = ("rebase-merge", "rebase-apply")
_PENDING = (
    *("HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD", "FETCH_HEAD"),
    *(f"{folder}/{name}" for folder in _REBASES for name in ("orig-head", "onto", "stopped-sha")),
)
_LIMIT_BYTES = 1024 * 1024


def others(git_dir: Path) -> list[str]:
    """Returns the commits that are being merged or picked: what they bring was not made here."""
    return [commit for name in ("MERGE_HEAD", "CHERRY_PICK_HEAD") for commit in _commits(git_dir / name)]


def pending(git_dir: Path) -> list[str]:
    """Returns the commits that the files of a worktree in git's folder name, though no ref may: of a merge, a pick, a rebase, a fetch."""
    return list(dict.fromkeys(commit for name in _PENDING for commit in _commits(git_dir / name)))


def is_replaying(git_dir: Path) -> bool:
    """Returns whether git moves pointers on its own now: merges, picks, reverts or rebases."""
    return is_rebasing(git_dir) or any(
        (git_dir / name).exists() for name in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
    )


def is_merging(git_dir: Path) -> bool:
    """Returns whether a merge waits for its commit."""
    return (git_dir / "MERGE_HEAD").exists()


def is_rebasing(git_dir: Path) -> bool:
    """Returns whether a rebase is under way."""
    return any((git_dir / name).is_dir() for name in _REBASES)


def has_steps_left(git_dir: Path) -> bool:
    """Returns whether a rebase has commits to replay yet; without any, it ends with the checkout that it begins with."""
    for name, todo in zip(_REBASES, ("git-rebase-todo", "next"), strict=True):
        if (git_dir / name).is_dir():
            lines = _read(git_dir / name / todo).splitlines()
            return any(line.strip() and not line.startswith(("#", "noop")) for line in lines)
    return False


def before_rebase(git_dir: Path) -> str | None:
    """Returns the commit that was checked out before the rebase that is under way, or was just done."""
    for name in (*(f"{folder}/orig-head" for folder in _REBASES), "ORIG_HEAD"):
        commits = _commits(git_dir / name)
        if commits:
            return commits[0]
    return None


def before_merge(git_dir: Path) -> str | None:
    """Returns the commit that was checked out before the last merge."""
    commits = _commits(git_dir / "ORIG_HEAD")
    return commits[0] if commits else None


def _commits(path: Path) -> list[str]:
    return [line for line in _read(path).split() if is_commit_id(line)]


def _read(path: Path) -> str:
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            return file.read(_LIMIT_BYTES).decode("ascii", "replace")
    except OSError:
        return ""
