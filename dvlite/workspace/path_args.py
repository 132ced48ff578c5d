"""Which tracked paths, and which parts of them, command line arguments mean; and which broken pointers concern them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.formats.pointer import SUFFIX
from dvlite.git.output import is_lockfile, is_pipeline_file
from dvlite.paths import ancestors, is_inside
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import address, stages_named
from dvlite.repo.tracked_paths import Tracked, Unusable
from dvlite.show import closest, quote, word
from dvlite.store.cache import Cache
from dvlite.workspace import sparse
from dvlite.workspace.workspace import entries_of

Parts = tuple[str, ...]  # patterns inside of a tracked directory; none: all of it
Listing = Callable[[Tracked], Sequence[bytes] | None]  # the paths inside a tracked directory; None: not known


def select(
    repo: Repo, tracked: Sequence[Tracked], arguments: Sequence[str], *, inside: bool, listing: Listing | None = None
) -> list[tuple[Tracked, Parts]]:
    """Returns `(tracked, patterns)` for the targets given, all tracked paths if none; no pattern means the whole path.

    A target is a tracked path, its pointer, a folder above tracked paths, a stage or a pipeline file (their outputs), or, with `inside`, a
    path inside a tracked directory; or a glob of them, which may reach into several directories: those count in which `listing` shows
    that it matches something. A name that exists is no glob, and a path no stage. Raises UsageError for one that stands for nothing.
    """
    if not arguments:
        return [(item, ()) for item in tracked]
    whole: set[int] = set()
    parts: dict[int, list[str]] = {}
    for argument in arguments:
        matched = _matches(repo, tracked, argument, listing or (lambda _: None))
        if not matched:
            if left_out := repo.work_tree.left_out(repo.relative(argument)):
                raise repo.git.outside_sparse(left_out)
            raise UsageError(f"{quote(argument)} is not tracked by dvlite", hint=_meant(repo, tracked, argument))
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


def cached_listing(cache: Cache) -> Listing:
    """Returns a function that lists a tracked directory as far as the cache has its listing."""

    def listing(item: Tracked) -> Sequence[bytes] | None:
        try:
            return entries_of(item.pointer, cache).paths
        except (ObjectMissing, ObjectCorrupt):
            return None

    return listing


def usable(repo: Repo, arguments: Sequence[str], warn: Callable[[str], None], *, whole: bool = False) -> list[Tracked]:
    """Returns what is tracked on disk; a pointer or lockfile that cannot be used stops only what it is about, and is warned of.

    Raises its error if an argument names it or may be an output of it. With `whole`, for commands whose success covers all that the
    arguments mean: also without arguments, and for every folder or pattern that may contain it.
    """
    broken: list[DvliteError] = []
    tracked = repo.work_tree.tracked(broken)
    if not broken:
        return tracked
    pass_over(broken, [repo.relative(argument) for argument in arguments], tracked, warn, whole=whole)
    return tracked


def pass_over(
    broken: Iterable[DvliteError],
    paths: Sequence[str],
    tracked: Sequence[Tracked],
    warn: Callable[[str], None],
    *,
    whole: bool = False,
) -> None:
    """Warns of pointers and lockfiles that cannot be used; raises the error of one that a path may mean, as `usable` does."""
    for error in broken:
        file = error.file if isinstance(error, Unusable) else ""
        if (whole and not paths) or any(_is_about(file, path, tracked, whole=whole) for path in paths):
            raise error
        warn(warning_of(error))


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


def without(
    repo: Repo, tracked: Sequence[Tracked], chosen: Sequence[tuple[Tracked, Parts]], excluded: Sequence[str]
) -> list[tuple[Tracked, Parts]]:
    """Returns what is chosen, with patterns that leave out paths and globs; `sparse.NOTHING` for what is left out as a whole.

    Raises UsageError for one that reaches nothing that is tracked.
    """
    globs = [repo.relative(argument) for argument in excluded]
    for argument, glob in zip(excluded, globs, strict=True):
        if not any(sparse.exclusions(item.path, [glob]) for item in tracked):
            raise UsageError(f"{quote(argument)} is not tracked by dvlite", hint=_meant(repo, tracked, argument))
    left = []
    for item, parts in chosen:
        out = sparse.exclusions(item.path, globs)
        left.append((item, out if out == sparse.NOTHING else (*parts, *out)))
    return left


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
        matches = sparse.is_glob(path) and bool(sparse.rests(path, named))
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


def _meant(repo: Repo, tracked: Sequence[Tracked], argument: str) -> str:
    """Guesses what was meant by a word that is no target: git takes remotes and revisions in that place."""
    if argument in repo.config.remote_names:
        return f"the remote is given with -r: -r {argument}"
    path = repo.relative(argument)
    if stages := _unlocked(repo, path, argument):
        return f"no output of it is kept by dvlite yet: dvlite repro {' '.join(map(word, stages))}"
    if meant := guess(path, (item.path for item in tracked), repo.display):
        return f"{meant}see what is tracked: dvlite ls"
    if path and repo.git.tracked_under([path]):
        return "git keeps it, not dvlite; see what is tracked: dvlite ls"
    if os.path.lexists(repo.cwd / argument) and path:
        return f"dvlite add {word(argument)}   or see what is tracked: dvlite ls"
    try:
        repo.git.resolve(argument)
    except DvliteError:
        return "see what is tracked: dvlite ls"
    return f"a revision is given with --rev: --rev {argument}"


def guess(path: str, tracked: Iterable[str], display: Callable[[str], str] = str) -> str:
    """Returns a question with the tracked path, or the folder above some, that a wrong path resembles; '' if none does."""
    close = closest(path, {name for item in tracked for name in (item, *ancestors(item))}, cutoff=0.8)
    return f"did you mean {word(display(close))}?   " if close else ""


def _unlocked(repo: Repo, path: str, argument: str) -> list[str]:
    """Returns the stages of the pipeline files on disk that a word names, by their file too."""
    from dvlite.formats import pipeline  # slow to load: only a wrong word pays it

    found: dict[str, str] = {}
    for name in repo.work_tree.pipeline_files(as_seen=True):
        with contextlib.suppress(DvliteError):
            stages = pipeline.parse(repo.work_tree.read(name) or b"", name, repo.work_tree.beside(name)).stages
            found |= {address(name, stage.name): name for stage in stages}
    return [each for each, name in found.items() if path == name] or stages_named(argument, found, repo.relative)


def _matches(repo: Repo, tracked: Sequence[Tracked], argument: str, listing: Listing) -> list[tuple[int, str | None]]:
    """Returns the positions of what an argument means, each with a pattern inside of it, None for all of it."""
    path = repo.relative(argument)
    if path.endswith(SUFFIX) and any(item.path == path[: -len(SUFFIX)] for item in tracked):
        path = path[: -len(SUFFIX)]
    matches: list[tuple[int, str | None]] = []
    for position, item in enumerate(tracked):
        if is_inside(item.path, path):
            matches.append((position, None))
        elif path.startswith(item.path + "/"):
            matches += [(position, part) for part in _inner(repo, item, path[len(item.path) + 1 :], listing)]
    if matches:
        return matches
    if is_pipeline_file(path) or is_lockfile(path):
        return [(i, None) for i, item in enumerate(tracked) if item.lockfile in (path, path[: -len("yaml")] + "lock")]
    is_glob = sparse.is_glob(path) and not os.path.lexists(repo.root / path)
    if is_glob and (matches := _reached(path, tracked, listing)):
        return matches
    stages = stages_named(argument, dict.fromkeys(item.stage for item in tracked if item.stage), repo.relative)
    return [(position, None) for position, item in enumerate(tracked) if item.stage in stages]


def _inner(repo: Repo, item: Tracked, inner: str, listing: Listing) -> list[str]:
    """Returns the pattern for what is typed below a tracked directory; a name that exists is no glob."""
    if not sparse.is_glob(inner):
        return [inner]
    known = listing(item)
    name = os.fsencode(inner)
    if os.path.lexists(repo.root / item.path / inner) or any(
        path == name or path.startswith(name + b"/") for path in known or ()
    ):
        return [sparse.literal(inner)]
    if known is not None:
        sparse.require_matches(item.path, [inner], known)
    return [inner]


def _reached(pattern: str, tracked: Sequence[Tracked], listing: Listing) -> list[tuple[int, str | None]]:
    """Returns what a glob means, as `_matches` does; directories that cannot be listed only if it matches nothing else."""
    matches: list[tuple[int, str | None]] = []
    perhaps: list[tuple[int, str | None]] = []
    for position, item in enumerate(tracked):
        left = sparse.rests(pattern, item.path)
        if "" in left:
            matches.append((position, None))
        elif left and item.pointer.kind == "directory":
            known = listing(item)
            (perhaps if known is None else matches).extend(
                (position, rest) for rest in left if known is None or any(map(sparse.selector([rest]), known))
            )
    return matches or perhaps
