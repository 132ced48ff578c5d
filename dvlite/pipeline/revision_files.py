"""What `params` and `metrics` compare: revisions as the user named them, and their files of values. Compares nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import parameters
from dvlite.formats.strict_yaml import Tree
from dvlite.paths import is_inside
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import WORK_TREE, Files, Revision
from dvlite.show import quote

_HEAD = "HEAD"


def named(repo: Repo, name: str) -> Revision:
    """Returns the work tree for `workspace`, else a revision; HEAD before the first commit has no files. Raises UsageError."""
    if name == WORK_TREE:
        return repo.work_tree
    if name == _HEAD and repo.git.head() is None:
        return Revision(repo.git, name, str, files=Files({}))
    return repo.at(name)


def values(at: Revision, path: str) -> Tree:
    """Returns what a file of values holds, nothing where it is not there. Raises FormatError."""
    data = at.read(path, parameters.LIMIT_BYTES)
    return {} if data is None else parameters.load(data, path, at.shown(path))


def compared(repo: Repo, revisions: Sequence[str]) -> tuple[Revision, Revision]:
    """Returns what is compared: `A B`, `A..B`, `A` with the work tree, or HEAD with it. Raises UsageError for anything else."""
    words = list(revisions)
    if len(words) == 1 and ".." in words[0]:
        words = [word or _HEAD for word in words[0].split("..", 1)]
    if len(words) > 2:
        raise UsageError(f"at most two revisions can be compared, not {len(words)}", hint="give A, or A and B")
    old, new = [*words, *(_HEAD, WORK_TREE)[len(words) :]] if words else (_HEAD, WORK_TREE)
    return named(repo, old), named(repo, new)


def undeclared(repo: Repo, sides: Iterable[Revision], paths: Sequence[str], known: Collection[str]) -> list[str]:
    """Returns the paths given that are files on one of the sides, and not among `known`, nor around one of them."""
    names = dict.fromkeys(map(repo.relative, paths))
    unknown = [path for path in names if not any(is_inside(file, path) for file in known)]
    sides = list(sides)
    return [path for path in unknown if any(_is_file(side, path) for side in sides)]


def _is_file(at: Revision, path: str) -> bool:
    try:
        return at.read(path, parameters.metrics_limit_bytes(path)) is not None
    except DvliteError:
        return True  # what is wrong with it is said when it is read


def chosen(repo: Repo, paths: Sequence[str], known: Sequence[str], what: str) -> set[str]:
    """Returns the files among `known` that are, or are inside, the paths given; all if none is. Raises UsageError for one that is nothing."""
    if not paths:
        return set(known)
    files: set[str] = set()
    for argument in paths:
        path = repo.relative(argument)
        inside = {file for file in known if is_inside(file, path)}
        if not inside:
            raise UsageError(
                f"{quote(argument)} is no {what} of a stage", hint="see what the stages have: dvlite stage list"
            )
        files |= inside
    return files
