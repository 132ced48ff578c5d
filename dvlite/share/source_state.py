"""Whether what paths were imported from has changed since: one request for each repository or URL, in parallel; no data travels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.formats.pointer import Pointer
from dvlite.formats.source import ImportSource
from dvlite.git.far import is_fixed, resolve_far
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.sources import open_address, require_trusted
from dvlite.repo.tracked_paths import Tracked
from dvlite.share.url_imports import has_moved, look
from dvlite.show import quote, word

_AT_ONCE = 8
_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """A path that was imported, and whether what it is from has changed; `now` is its commit, if it is known."""

    path: str
    source: ImportSource
    state: Literal["current", "moved", "unknown"]
    now: str = ""
    changed: tuple[str, ...] = ()  # names of files at a URL that differ, at most 1,000, if they are known
    problem: str = ""  # why it is unknown
    silent: bool = False  # its server answers, and says nothing by which versions differ
    hint: str = ""


def states_of(repo: Repo, items: Sequence[Tracked], progress: Progress) -> list[SourceState]:
    """Returns the state of each of the paths that was imported; a source that is not trusted, or does not answer, is unknown.

    Of a repository, the commit that a branch or tag names counts, not whether the path itself changed there.
    """
    imported = {item.path: item.pointer for item in items if item.pointer.source is not None}
    states: dict[str, SourceState] = {}
    by_address: dict[str, list[tuple[str, ImportSource]]] = {}
    for path, pointer in imported.items():
        source = pointer.source
        assert source is not None
        try:
            require_trusted(repo, path, source)
        except DvliteError as error:
            states[path] = _unknown(path, source, error)
        else:  # of a URL, one request for each path: what is compared differs
            key = source.address if source.repository else f"{source.address} {path}"
            by_address.setdefault(key, []).append((path, source))
    if by_address:
        progress.start("asking the sources of imports")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for asked in pool.map(partial(_group, repo, imported, progress), by_address.values()):
                states |= {state.path: state for state in asked}
        progress.finish()
    return [states[path] for path in imported]


def _group(
    repo: Repo, pointers: Mapping[str, Pointer], progress: Progress, group: Sequence[tuple[str, ImportSource]]
) -> list[SourceState]:
    """Asks one repository, of which each of a group is, or one URL."""
    path, first = group[0]
    try:
        if not first.repository:
            now, names = look(repo, pointers[path], progress)
            return [replace(_of_url(path, first, now), changed=tuple(names[:_MOST_NAMES]))]
        address = open_address(first.address, repo)
        commits = resolve_far(address, [source.revision for _, source in group], repo.environ)
    except DvliteError as error:
        return [_unknown(path, source, error) for path, source in group]
    return [_of_repository(path, source, commits) for path, source in group]


def _of_url(path: str, source: ImportSource, now: ImportSource) -> SourceState:
    moved = has_moved(source, now)
    if moved is None:
        error = DvliteError(
            f"the server of {quote(source.url)} says nothing by which versions differ",
            hint=f"dvlite update {word(path)}   downloads it again",
        )
        return replace(_unknown(path, source, error), silent=True)
    return SourceState(path=path, source=source, state="moved" if moved else "current")


def _of_repository(path: str, source: ImportSource, commits: Mapping[str, str]) -> SourceState:
    if is_fixed(source.revision):
        return SourceState(path=path, source=source, state="current", now=source.commit)
    now = commits.get(source.revision, "")
    if not now:
        which = quote(source.revision) if source.revision else "commit"
        hint = f"dvlite update --rev R {word(path)}"
        error = DvliteError(f"{quote(source.repository)} has no {which} any more", hint=hint)
        return _unknown(path, source, error)
    return SourceState(path=path, source=source, state="current" if now == source.commit else "moved", now=now)


def _unknown(path: str, source: ImportSource, error: DvliteError) -> SourceState:
    return SourceState(path=path, source=source, state="unknown", problem=error.message, hint=error.hint or "")
