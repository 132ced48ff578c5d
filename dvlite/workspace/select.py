"""Which tracked paths, and which part of each, the paths that a user gave stand for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from dvlite.errors import DvliteError, UsageError
from dvlite.files import quote
from dvlite.formats.pointer import SUFFIX
from dvlite.repo import Repo, Tracked, Version
from dvlite.workspace import sparse

P = TypeVar("P", Tracked, Version)


def select(
    repo: Repo, tracked: Sequence[P], arguments: Sequence[str], *, inside: bool
) -> list[tuple[P, tuple[str, ...]]]:
    """Returns `(tracked, patterns)` for the paths given, all tracked paths if none; no pattern means the whole path.

    A path may be a tracked path, its pointer, a folder above tracked paths, a glob over tracked paths, or, with `inside`, a path or glob
    inside a tracked directory. Raises UsageError for one that stands for nothing.
    """
    if not arguments:
        return [(item, ()) for item in tracked]
    whole: set[int] = set()
    parts: dict[int, list[str]] = {}
    for argument in arguments:
        matched = _matches(repo, tracked, argument)
        if not matched:
            raise UsageError(f"{quote(argument)} is not tracked by dvlite", hint=_meant(repo, argument))
        for position, pattern in matched:
            if pattern is None:
                whole.add(position)
            elif inside:
                parts.setdefault(position, []).append(pattern)
            else:
                raise UsageError(
                    f"{quote(argument)} is inside {quote(tracked[position].path)}: only whole tracked paths can be given here",
                    hint=f"give {tracked[position].path}",
                )
    return [
        (tracked[position], () if position in whole else tuple(parts[position]))
        for position in sorted(whole | parts.keys())
    ]


def _meant(repo: Repo, argument: str) -> str:
    """Guesses what was meant by a word that is no tracked path: git takes remotes and revisions in that place."""
    if argument in repo.config.remote_names():
        return f"the remote is given with -r: -r {argument}"
    if os.path.lexists(repo.cwd / argument):
        return f"dvlite add {argument}   or see what is tracked: dvlite ls"
    try:
        repo.git.resolve(argument)
    except DvliteError:
        return "see what is tracked: dvlite ls"
    return f"a revision is given with --rev: --rev {argument}"


def _matches(repo: Repo, tracked: Sequence[P], argument: str) -> list[tuple[int, str | None]]:
    path = repo.relative(argument)
    if path.endswith(SUFFIX) and any(item.path == path[: -len(SUFFIX)] for item in tracked):
        path = path[: -len(SUFFIX)]
    found: list[tuple[int, str | None]] = []
    glob = sparse.selector([path]) if sparse.is_glob(path) else None
    for position, item in enumerate(tracked):
        if item.path == path or not path or item.path.startswith(path + "/"):
            found.append((position, None))
        elif path.startswith(item.path + "/"):
            found.append((position, path[len(item.path) + 1 :]))
        elif glob is not None and glob(os.fsencode(item.path)):
            found.append((position, None))
    return found
