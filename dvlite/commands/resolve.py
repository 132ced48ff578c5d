"""`dvlite resolve`: settles merge conflicts in pointers and lockfiles, from the stages of git's index: with or without the merge driver."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from dvlite.errors import DvliteError, UsageError
from dvlite.files import write_atomic
from dvlite.formats import lockfile, pointer
from dvlite.formats.pointer import SUFFIX
from dvlite.git import operation as underway
from dvlite.git.output import FileDifference, is_lockfile, is_pointer
from dvlite.merge.files import (
    Kind,
    MergeConflict,
    MergedFile,
    Sides,
    UnreadableSide,
    can_union,
    choices_of,
    declares_tables,
    how_to_replace,
    merge_file,
    require_sound,
    tracked_name,
)
from dvlite.merge.listings import Choice
from dvlite.merge.markers import marker_line
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.show import Show, count, quote, some, word
from dvlite.workspace.workspace import Workspace

if TYPE_CHECKING:
    from dvlite.tables.merge import Take
    from dvlite.tables.merge_files import TableMerges

_BASE, _OURS, _THEIRS = 1, 2, 3  # the stages of git's index
_HEADS: tuple[tuple[Operation, str], ...] = (
    ("merge", "MERGE_HEAD"),
    ("rebase", "REBASE_HEAD"),
    ("cherry-pick", "CHERRY_PICK_HEAD"),
    ("revert", "REVERT_HEAD^"),
)


Operation = (
    Literal["merge", "rebase", "cherry-pick", "revert"] | None
)  # what git is doing; None: a stash is applied, or nothing is known


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPath:
    """One file in conflict. `conflicts` are settled if `resolved`, else they need a choice."""

    path: str  # the tracked path, or the lockfile
    kind: Kind
    resolved: bool
    removed: bool = False  # as on the side that removed it
    taken: int = 0  # files or stages taken from theirs
    rows: int = 0  # of tables whose rows were merged: those taken from theirs
    conflicts: tuple[MergeConflict, ...] = ()
    can_union: bool = False  # both sides can be kept
    listed: str | None = None  # the file that lists the cells in conflict, of tables


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ResolveResult(Result):
    """Pointers and lockfiles that git could not merge, and what each side is."""

    schema: ClassVar[str] = "dvlite.resolve/1"
    choice: Literal["ours", "theirs", "union"] | None = None
    operation: Operation = None
    ours: str = ""  # the commit of each side, 8 hex digits and subject; "" if git does not say
    theirs: str = ""
    paths: tuple[ResolvedPath, ...] = ()
    has_remote: bool = False
    behind: bool = False  # data on disk does not match pointers that git updated
    in_conflict: tuple[str, ...] = ()  # what is still to settle, also files of git alone
    staged: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()  # stages whose lockfile entry is out of date by this
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what still needs a choice."""
        waiting = [path for path in self.paths if not path.resolved]
        if not waiting:
            return None
        named = quote(show.path(waiting[0].path)) if len(waiting) == 1 else f"{count(len(waiting))} paths"
        lists = [f"the cells are listed in {show.word(path.listed)}" for path in waiting if path.listed is not None]
        return DvliteError(f"choose what becomes of {named}", hint="\n".join([*lists, *_choices(waiting, show)]))


def _choices(waiting: Sequence[ResolvedPath], show: Show) -> Iterator[str]:
    """Yields a command for each group of paths with the same choices, and how to replace files without any."""
    groups: dict[str, list[ResolvedPath]] = {}
    for path in waiting:
        groups.setdefault(" or ".join(choices_of(path.conflicts, can_union=path.can_union)), []).append(path)
    for choices, paths in groups.items():
        for path in paths if not choices else ():
            name = show.path(path.path + ("" if path.kind == "lockfile" else SUFFIX))
            yield how_to_replace(name, is_lockfile=path.kind == "lockfile")
        targets = show.word(paths[0].path) if len(paths) == 1 else "PATH"
        if choices:
            yield f"dvlite resolve {targets} {choices}"


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What the user chose, for all that is in conflict or (`rows`) for rows with these keys."""

    choice: Choice
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The merge of one file; without `text` the file is removed, if the merge is settled."""

    name: str
    path: ResolvedPath
    text: bytes | None = None


def resolve(
    repo: Repo,
    arguments: Sequence[str],
    choice: Choice,
    *,
    rows: Sequence[str] = (),
    stage: bool = True,
    progress: Progress,
) -> ResolveResult:
    """Merges the pointers and lockfiles that git could not, settles what both sides changed as `choice` says, and stages them.

    Without a choice only what needs none is settled, and the rest is listed. With `rows`, keys of rows of tables, the choice is for these alone. Everything is merged before anything is written. Checks nothing
    out. A file that was added with its markers is still in conflict. Raises UsageError for a path without a conflict, ObjectMissing if a
    listing is unavailable.
    """
    with repo.lock(progress):
        chosen = _chosen(repo, _in_conflict(repo), arguments)
        contents = _contents(repo, chosen)
        settling = _Chosen(choice, tuple(rows))
        outcomes = [_outcome(repo, name, contents[name], settling, progress) for name in chosen]
        done = [outcome for outcome in outcomes if outcome.path.resolved]
        # Not in .gitignore, which may be in conflict itself: `add` sees to that.
        repo.exclude(
            [outcome.path.path for outcome in done if outcome.text is not None and not is_lockfile(outcome.name)]
        )
        for outcome in done:
            _write(repo, outcome)
        names = [outcome.name for outcome in done]
        staged = repo.stage(names, enabled=None if stage else False)
        is_behind = len(done) == len(outcomes) > 0 and _is_behind(repo, names, progress)
        others = [name for name in repo.git.in_conflict() if name not in names]
    operation, ours, theirs = _who(repo)
    return ResolveResult(
        choice=choice if choice in ("ours", "theirs", "union") else None,
        operation=operation,
        ours=ours,
        theirs=theirs,
        paths=tuple(outcome.path for outcome in outcomes),
        has_remote=bool(repo.config.remote_names),
        behind=is_behind,
        in_conflict=tuple(others),
        staged=staged,
        readers=_readers(repo, done),
        unstaged=repo.left_to_stage(names, staged),
    )


def _in_conflict(repo: Repo) -> dict[str, dict[int, str]]:
    """Returns the index stages of the files in conflict, and of those that were added with their conflict markers."""
    added = {name: stages for name, stages in repo.git.settled().items() if _has_markers(repo, name)}
    return added | repo.git.unmerged()


def _has_markers(repo: Repo, name: str) -> bool:
    data = repo.work_tree.read(name)
    return data is not None and marker_line(data) is not None


def _refuse_lost(repo: Repo, names: Sequence[str]) -> None:
    """Raises UsageError for a file with conflict markers whose sides are no longer in git's index."""
    for name in names:
        if _has_markers(repo, name):
            shown = repo.display(name)
            hint = how_to_replace(shown, is_lockfile=is_lockfile(name))
            raise UsageError(f"{quote(shown)} holds conflict markers, and its sides are no longer in git", hint=hint)


def _chosen(
    repo: Repo, unmerged: Mapping[str, Mapping[int, str]], arguments: Sequence[str]
) -> dict[str, Mapping[int, str]]:
    """Returns the index stages of the files that the arguments name as tracked paths, pointers, lockfiles or folders; without any, of all."""
    chosen: dict[str, Mapping[int, str]] = {} if arguments else dict(unmerged)
    if not unmerged and not arguments:
        _refuse_lost(repo, [name for name in repo.git.tracking_files() if is_pointer(name)])
    for argument in arguments:
        path = repo.relative(argument)
        matched = [
            name for name in unmerged if path in ("", name) or (path + SUFFIX == name) or name.startswith(path + "/")
        ]
        if not matched:
            _refuse_lost(repo, [name for name in (path, path + SUFFIX) if is_pointer(name)])
            inside = next((tracked_name(name) for name in unmerged if path.startswith(tracked_name(name) + "/")), None)
            was = [word(repo.display(name)) for name in repo.git.settled() if path in (name, tracked_name(name))]
            message, hint = f"{quote(argument)} has no merge conflict", "git status"
            if not is_pointer(path) and path in repo.git.tracked_under([path]):  # an output that git keeps, mostly
                message = f"{quote(argument)} is neither a pointer nor a lockfile, and git keeps it"
                hint = f"if a stage writes it: dvlite resolve dvlite.lock --ours or --theirs, then: dvlite repro\nelse: git checkout --ours -- {word(repo.display(path))}"
            if was:
                hint = f"to commit it as it is: git add {was[0]}\nto restore the conflict: git checkout -m -- {was[0]}"
            if inside is not None:
                hint = f"the whole tracked path is settled at once: dvlite resolve {word(repo.display(inside))}"
            raise UsageError(message, hint=hint)
        chosen |= {name: unmerged[name] for name in matched}
    return dict(sorted(chosen.items()))


def _contents(repo: Repo, chosen: Mapping[str, Mapping[int, str]]) -> dict[str, dict[int, bytes]]:
    blobs = repo.git.read_blobs(
        {blob for stages in chosen.values() for blob in stages.values()}, limit_bytes=lockfile.LIMIT_BYTES
    )
    return {name: {stage: blobs[blob] for stage, blob in stages.items()} for name, stages in chosen.items()}


def _outcome(repo: Repo, name: str, stages: Mapping[int, bytes], chosen: _Chosen, progress: Progress) -> _Outcome:
    path = tracked_name(name)
    choice: Choice = "" if chosen.rows else chosen.choice
    if _OURS not in stages or _THEIRS not in stages:
        return _one_sided(repo, name, stages, choice)
    sides = Sides(stages.get(_BASE), stages[_OURS], stages[_THEIRS])
    tables = _tables(repo, path, chosen, progress)
    try:
        merged = merge_file(
            repo, name, sides, choice, content=None if tables is None else tables.content(), progress=progress
        )
    except UnreadableSide as error:
        if choice:
            raise
        return _Outcome(name, _unreadable(name, sides, error))
    resolved = ResolvedPath(
        path=path,
        kind=merged.kind,
        resolved=merged.settled,
        taken=merged.taken,
        rows=tables.rows_taken if tables is not None and merged.settled else 0,
        conflicts=merged.conflicts if tables is None or merged.settled else tables.explained(merged.conflicts),
        can_union=can_union(path, merged.conflicts),
        listed=None if tables is None else tables.listed(is_settled=merged.settled),
    )
    if choice == "union" and not merged.settled:
        raise _no_union(repo, path, merged)
    return _Outcome(name, resolved, merged.text)


def _tables(repo: Repo, path: str, chosen: _Chosen, progress: Progress) -> TableMerges | None:
    """Returns what merges the rows of tables, with what was chosen in the list of conflicts and now; None where no table is declared.

    Raises UsageError for a row that is not in the list.
    """
    shown = repo.display(path)
    if not declares_tables(repo.work_tree):
        if chosen.rows:
            raise UsageError(
                f"{quote(shown)} has no rows: no table with a key is declared", hint=f"dvlite resolve {word(shown)}"
            )
        return None
    from dvlite.tables.merge_files import TableMerges, listed_rows

    listed = listed_rows(repo, path)
    take: Take = "" if chosen.choice == "base" else chosen.choice
    for key in chosen.rows:
        those = [place for place in listed if place[1] == key]
        if not those:
            keys = list(dict.fromkeys(row for _, row in listed))
            known = f"rows in conflict: {some(keys)}" if keys else f"list them first: dvlite resolve {word(shown)}"
            raise UsageError(f"no row {quote(key)} of {quote(shown)} is in conflict", hint=known)
        listed |= dict.fromkeys(those, take)
    rows = {place: row_take for place, row_take in listed.items() if row_take}
    return TableMerges(repo, path, "" if chosen.rows else take, progress, rows=rows)


def _unreadable(name: str, sides: Sides, error: UnreadableSide) -> ResolvedPath:
    """Returns the conflict of a file with only one readable side."""
    what = {(): "both sides", ("ours",): "theirs", ("theirs",): "ours"}.get(error.sound, "the common ancestor")
    conflict = MergeConflict(path=tracked_name(name), reason=f"{what} cannot be read")
    kind = _kind(name, sides.theirs if error.sound == ("theirs",) else sides.ours)
    return ResolvedPath(path=tracked_name(name), kind=kind, resolved=False, conflicts=(conflict,))


def _no_union(repo: Repo, path: str, merged: MergedFile) -> UsageError:
    what = "a stage has one entry" if merged.kind == "lockfile" else "it is one file, or not a directory on both sides"
    if any(conflict.reason == "two histories" for conflict in merged.conflicts):
        what = "both sides wrote versions of a table in it, and two logs cannot be mixed"
    shown = repo.display(path)
    return UsageError(
        f"cannot keep both sides of {quote(shown)}: {what}", hint=f"dvlite resolve {word(shown)} --ours or --theirs"
    )


def _one_sided(repo: Repo, name: str, stages: Mapping[int, bytes], choice: Choice) -> _Outcome:
    """Settles a file that one side removed and the other changed; git calls no merge driver for it."""
    side = _OURS if _OURS in stages else _THEIRS
    gone = side not in stages  # both sides removed it, or renamed it, each to another name
    wanted = {"ours": _OURS, "theirs": _THEIRS, "union": side}.get(choice)
    text = None if gone or wanted is None else stages.get(wanted)
    if text is not None:
        require_sound(repo, name, text, "ours" if side == _OURS else "theirs")
    path = tracked_name(name)
    removed = "removed by theirs" if side == _OURS else "removed by ours"
    resolved = ResolvedPath(
        path=path,
        kind=_kind(name, stages.get(side, b"")),
        resolved=gone or wanted is not None,
        removed=text is None and (gone or wanted is not None),
        taken=int(wanted == _THEIRS),
        conflicts=() if gone else (MergeConflict(path=path, reason=removed),),
        can_union=True,
    )
    return _Outcome(name, resolved, text)


def _kind(name: str, data: bytes) -> Kind:
    if is_lockfile(name):
        return "lockfile"
    return "directory" if b"\nkind: directory\n" in data else "file"


def _write(repo: Repo, outcome: _Outcome) -> None:
    target = repo.root / outcome.name
    if os.path.realpath(target.parent) != str(target.parent):
        raise UsageError(
            f"cannot write {quote(repo.display(outcome.name))}: it is behind a symbolic link",
            hint="replace the link by a folder",
        )
    if outcome.text is None:
        target.unlink(missing_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, outcome.text)


def _is_behind(repo: Repo, settled: Sequence[str], progress: Progress) -> bool:
    """Returns whether git changed other pointers whose data was not updated: after a conflict, git runs no hook."""
    work = Workspace(repo, open_cache(repo), progress)
    for item in repo.work_tree.tracked(broken=[]):
        is_settled = not item.lockfile and item.path + SUFFIX in settled
        if not is_settled and work.other_version(item) is not None:
            return True
    before = underway.before_rebase(repo.git_dir) if underway.is_rebasing(repo.git_dir) else None
    moved = repo.git.pointer_diff(before or "HEAD", None)
    return any(_waits(work, file) for file in moved if file.path not in settled and not is_lockfile(file.path))


def _waits(work: Workspace, file: FileDifference) -> bool:
    """Returns whether the data of an added or removed pointer has not been checked out or removed."""
    is_here = os.path.lexists(work.location(tracked_name(file.path)))
    return (file.old is None and not is_here) or (file.new is None and is_here)


def _readers(repo: Repo, done: Sequence[_Outcome]) -> tuple[str, ...]:
    """Returns the stages that read another version of what the settled pointers name."""
    pointers = [outcome for outcome in done if not is_lockfile(outcome.name)]
    return repo.work_tree.readers_of(
        {one.path.path: pointer.parse(one.text, one.name).oid if one.text else "" for one in pointers}
    )


def _who(repo: Repo) -> tuple[Operation, str, str]:
    """Returns the running operation of git, and the commits that are ours and theirs in it."""
    operation, theirs = _operation(repo)
    head = repo.git.head()
    known = repo.git.read_commits([commit for commit in (head, theirs) if commit is not None])
    ours_text, theirs_text = (
        f"{commit[:8]} {known[commit].subject}" if commit is not None and commit in known else ""
        for commit in (head, theirs)
    )
    return operation, ours_text, theirs_text


def _operation(repo: Repo) -> tuple[Operation, str | None]:
    """Returns the running operation and the commit that is theirs. A rebase with merges has MERGE_HEAD too; REBASE_HEAD outlives a rebase."""
    rebasing = any((repo.git_dir / name).is_dir() for name in ("rebase-merge", "rebase-apply"))
    for operation, theirs in _HEADS:
        if operation == "rebase" and not rebasing:
            continue
        with contextlib.suppress(UsageError):
            return ("rebase" if rebasing else operation), repo.git.resolve(theirs)
    return None, None
