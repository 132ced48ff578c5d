"""How git's trees and its index differ, for the hooks: one run of git for each question. Reads nothing of the work tree."""

from __future__ import annotations

from collections.abc import Iterable

from dvlite import git_output
from dvlite.git import POINTERS, Git
from dvlite.git_output import Difference, is_pointer

_RAW = ("--raw", "-z", "--no-abbrev", "--no-renames")


def staged(git: Git, commit: str | None = None) -> list[Difference]:
    """Returns the files that the index has not as the last commit, or another one, has them."""
    options = (*_RAW, "--no-ext-diff", "--ignore-submodules=all")
    return list(git_output.differences(git.run("diff", "--cached", *options, *([commit] if commit else []), "--")))


def pointers(git: Git, old: str | None, new: str | None) -> list[Difference]:
    """Returns the pointer files and lockfiles that differ from `old` (None: an empty tree) to `new` (None: the index)."""
    before = old or git.run("hash-object", "-t", "tree", "--stdin").decode().strip()
    question = ("diff-index", "--cached", *_RAW, before) if new is None else ("diff-tree", "-r", *_RAW, before, new)
    return [found for found in git_output.differences(git.run(*question, "--", *POINTERS)) if is_pointer(found.path)]


def blob_sizes(git: Git, blobs: Iterable[str]) -> dict[str, int]:
    """Returns the sizes of blobs in bytes; those that are not here are left out."""
    wanted = "".join(f"{blob}\n" for blob in dict.fromkeys(blobs))
    lines = git.run("cat-file", "--batch-check", stdin=wanted.encode()).decode().splitlines() if wanted else []
    return {words[0]: int(words[2]) for line in lines if len(words := line.split()) == 3 and words[1] == "blob"}
