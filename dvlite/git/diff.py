"""How git's trees and its index differ, for the hooks: one run of git for each question. Reads nothing of the work tree."""

from __future__ import annotations

from collections.abc import Sequence

from dvlite.git import output
from dvlite.git.output import FileDifference, is_pointer
from dvlite.git.program import POINTERS, Git

_AT_ONCE = 1000  # names on a command line
_RAW = ("--raw", "-z", "--no-abbrev", "--no-renames")


def staged(git: Git, commit: str | None = None) -> list[FileDifference]:
    """Returns the files that the index has not as the last commit, or another one, has them."""
    options = (*_RAW, "--no-ext-diff", "--ignore-submodules=all")
    return list(output.differences(git.run("diff", "--cached", *options, *([commit] if commit else []), "--")))


def pointers(git: Git, old: str | None, new: str | None) -> list[FileDifference]:
    """Returns the pointer files and lockfiles that differ from `old` (None: an empty tree) to `new` (None: the index)."""
    before = old or git.run("hash-object", "-t", "tree", "--stdin").decode().strip()
    question = ("diff-index", "--cached", *_RAW, before) if new is None else ("diff-tree", "-r", *_RAW, before, new)
    return [found for found in output.differences(git.run(*question, "--", *POINTERS)) if is_pointer(found.path)]


def unstaged(git: Git, names: Sequence[str]) -> list[str]:
    """Returns those files of the work tree that the index does not have as they are."""
    found = []
    for start in range(0, len(names), _AT_ONCE):
        part = names[start : start + _AT_ONCE]
        pathspecs = [f":(top,literal){name}" for name in part]
        known = set(output.split(git.run("ls-files", "-z", "--full-name", "--cached", "--", *pathspecs)))
        changed = set(output.split(git.run("ls-files", "-z", "--full-name", "--modified", "--", *pathspecs)))
        found += [name for name in part if name not in known or name in changed]
    return found


def changed_pointers(git: Git) -> list[str]:
    """Returns the pointer files and lockfiles of the work tree that the index has otherwise; without those that are new, or gone."""
    names = output.split(git.run("ls-files", "-z", "--full-name", "--modified", "--", *POINTERS))
    return [name for name in dict.fromkeys(names) if is_pointer(name) and (git.root / name).is_file()]
