"""Which tracked paths, and which parts of them, command line arguments mean; and which broken pointers concern them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from dvlite.errors import DvliteError, UsageError
from dvlite.formats.pointer import SUFFIX
from dvlite.git.output import is_lockfile
from dvlite.paths import is_inside
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked, Unusable
from dvlite.show import quote, word
from dvlite.workspace import sparse

Parts = tuple[str, ...]  # patterns inside of a tracked directory; none: all of it


def select(
    repo: Repo, tracked: Sequence[Tracked], arguments: Sequence[str], *, inside: bool
) -> list[tuple[Tracked, Parts]]:
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


def usable(repo: Repo, arguments: Sequence[str], warn: Callable[[str], None], *, whole: bool = False) -> list[Tracked]:
    """Returns what is tracked on disk; a pointer or lockfile that cannot be used stops only what it is about, and is warned of.

    Raises its error if an argument names it or may be an output of it. With `whole`, for commands whose success covers all that the
    arguments mean: also without arguments, and for every folder or pattern that may contain it.
    """
    broken: list[DvliteError] = []
    tracked = repo.work_tree.tracked(broken)
    if not broken:
        return tracked
    paths = [repo.relative(argument) for argument in arguments]
    for error in broken:
        file = error.file if isinstance(error, Unusable) else ""
        if (whole and not paths) or any(_is_about(file, path, tracked, whole=whole) for path in paths):
            raise error
        warn(warning_of(error))
    return tracked


def travelling(chosen: Sequence[tuple[Tracked, Parts]], arguments: Sequence[str]) -> list[tuple[Tracked, Parts]]:
    """Returns what goes to remotes and comes from them; raises UsageError if everything that the arguments name stays in this clone."""
    shared = [(item, parts) for item, parts in chosen if item.push]
    if chosen and arguments and not shared:
        item = chosen[0][0]
        raise UsageError(
            f"{quote(item.path)} stays in the clone that made it: the stage {item.stage} says 'push: false'",
            hint=f"make it here: dvlite repro {word(item.stage)}",
        )
    return shared


def refuse_outputs(repo: Repo, chosen: Sequence[Tracked], what: str) -> None:
    """Raises UsageError for an output of a stage: it has no pointer of its own that a command could change."""
    for item in chosen:
        if item.lockfile:
            raise UsageError(
                f"cannot {what} {quote(repo.display(item.path))}: it is an output of the stage {item.stage}",
                hint=f"{what} it in {quote(repo.display(item.lockfile.removesuffix('lock') + 'yaml'))}, then run dvlite repro",
            )


def warning_of(error: DvliteError) -> str:
    """Returns an error that did not stop a command, in one line."""
    return error.message if error.hint is None else f"{error.message} ({'; '.join(error.hint.splitlines())})"


def is_about_pointer(file: str, path: str) -> bool:
    """Returns whether a path is, or is inside, what a pointer file is for; or is the file itself."""
    named = file.removesuffix(SUFFIX)
    return path == file or is_inside(path, named)


def _is_about(file: str, path: str, tracked: Sequence[Tracked], *, whole: bool) -> bool:
    if not is_lockfile(file):
        named = file.removesuffix(SUFFIX)
        below = is_inside(named, path)
        matches = sparse.is_glob(path) and sparse.selector([path])(os.fsencode(named))
        return is_about_pointer(file, path) or (whole and (below or matches))
    if path == file:
        return True
    path = path.removesuffix(SUFFIX)
    inside = any(is_inside(path, item.path) for item in tracked)
    if whole or inside:
        return not inside
    glob = sparse.selector([path]) if sparse.is_glob(path) else None
    above = any(item.path.startswith(path + "/") or (glob and glob(os.fsencode(item.path))) for item in tracked)
    return bool(path) and not above  # it stands for nothing that is known, so it may be an output of this lockfile


def _meant(repo: Repo, argument: str) -> str:
    """Guesses what was meant by a word that is no tracked path: git takes remotes and revisions in that place."""
    if argument in repo.config.remote_names:
        return f"the remote is given with -r: -r {argument}"
    if os.path.lexists(repo.cwd / argument):
        return f"dvlite add {word(argument)}   or see what is tracked: dvlite ls"
    try:
        repo.git.resolve(argument)
    except DvliteError:
        return "see what is tracked: dvlite ls"
    return f"a revision is given with --rev: --rev {argument}"


def _matches(repo: Repo, tracked: Sequence[Tracked], argument: str) -> list[tuple[int, str | None]]:
    path = repo.relative(argument)
    if path.endswith(SUFFIX) and any(item.path == path[: -len(SUFFIX)] for item in tracked):
        path = path[: -len(SUFFIX)]
    matches: list[tuple[int, str | None]] = []
    glob = sparse.selector([path]) if sparse.is_glob(path) else None
    for position, item in enumerate(tracked):
        if is_inside(item.path, path):
            matches.append((position, None))
        elif path.startswith(item.path + "/"):
            matches.append((position, path[len(item.path) + 1 :]))
        elif glob is not None and glob(os.fsencode(item.path)):
            matches.append((position, None))
    return matches
