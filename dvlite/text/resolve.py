"""The words of `resolve`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.resolve import ResolvedPath, ResolveResult
from dvlite.git.output import is_pointer
from dvlite.merge.files import MergeConflict, name_inside, reason_text
from dvlite.show import Show, count, printable
from dvlite.text.style import table

_ROWS = 20  # of conflicts
_NAMED = 3  # paths in the command that follows; without any it is for all
_THEIRS = {
    "merge": "the commit being merged",
    "rebase": "your commit that is being replayed",
    "cherry-pick": "the commit being picked",
    "revert": "before the commit being reverted",
    None: "what is being applied, for example a stash",
}
_CONTINUE = {"merge": "git commit", None: "git commit"}


def text(result: ResolveResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if not result.paths:
        yield "No pointer and no lockfile has a merge conflict"
        return
    for path in result.paths:
        yield from _resolved(path, result, show) if path.resolved else _waiting(path, show)
    if show.quiet:
        return
    if any(path.conflicts for path in result.paths):
        yield from _who(result)
    is_settled = all(path.resolved for path in result.paths)
    yield from show.staged(result.staged, () if is_settled else result.unstaged)
    if is_settled:
        if result.in_conflict:
            yield f"still in conflict: {show.paths(result.in_conflict)}; settle {'it' if len(result.in_conflict) == 1 else 'them'} first"
        yield from show.next_step("; ".join(_next(result, show)))


def _resolved(path: ResolvedPath, result: ResolveResult, show: Show) -> Iterator[str]:
    name = show.bold(show.path(path.path))
    if path.removed:
        yield f"Resolved {name}: removed"
        return
    if path.rows and path.kind == "file":
        yield f"Resolved {name}: {count(path.rows, 'row')} from theirs"
        return
    noun = {"lockfile": "stage", "directory": "file"}.get(path.kind)
    whole = noun is None or any(
        conflict.path == path.path and conflict.reason not in ("meta", "source") for conflict in path.conflicts
    )
    if whole:
        yield f"Resolved {name}: {'as theirs has it' if path.taken else 'as ours has it'}"
        return
    parts = [f"{count(path.taken, str(noun))} from theirs"] if path.taken or not path.conflicts else []
    parts += [f"{count(path.rows, 'row')} of tables from theirs"] if path.rows else []
    removed = [
        conflict
        for conflict in path.conflicts
        if result.choice == "union" and conflict.reason.startswith("removed by ")
    ]
    both = [conflict for conflict in path.conflicts if conflict not in removed]
    if both:
        how = {"ours": "ours kept", "theirs": "theirs taken", "union": "both kept"}[str(result.choice)]
        parts.append(f"{how} where both changed: {_names(path.path, both, show)}")
    if removed:
        parts.append(f"kept what one side removed: {_names(path.path, removed, show)}")
    yield f"Resolved {name}: {'; '.join(parts)}"


def _waiting(path: ResolvedPath, show: Show) -> Iterator[str]:
    yield f"{show.bold(show.path(path.path))}  {count(len(path.conflicts), 'conflict')}"
    shown = path.conflicts if show.verbose else path.conflicts[:_ROWS]
    rows = [(name_inside(path.path, conflict), reason_text(conflict)) for conflict in shown]
    yield from table((row if any(name for name, _ in rows) else row[1:] for row in rows), indent="  ")
    if len(path.conflicts) > len(shown):
        yield f"  {count(len(path.conflicts) - len(shown))} more; all of them with -v"


def _names(path: str, conflicts: Sequence[MergeConflict], show: Show) -> str:
    return show.some([name_inside(path, conflict) or reason_text(conflict) for conflict in conflicts])


def _who(result: ResolveResult) -> Iterator[str]:
    base = "what your branch is rebased onto" if result.operation == "rebase" else "where you are"
    ours, theirs = printable(result.ours), printable(result.theirs)
    yield f"ours:   {ours}  ({base})" if ours else f"ours:   {base}"
    yield f"theirs: {theirs}  ({_THEIRS[result.operation]})" if theirs else f"theirs: {_THEIRS[result.operation]}"


def _next(result: ResolveResult, show: Show) -> Iterator[str]:
    """Yields what follows: the other conflicts, the work tree, then git."""
    if any(map(is_pointer, result.in_conflict)):
        yield "dvlite resolve"
        return
    if result.in_conflict:
        yield f"git add {' '.join(map(show.word, result.in_conflict))}"
    pointers = [path for path in result.paths if path.kind != "lockfile"]
    if pointers or result.behind:
        brings = result.behind or any(path.taken and not path.removed for path in pointers)
        verb = "pull" if result.has_remote and brings else "checkout"
        is_all = result.behind or len(pointers) > _NAMED or any(path.removed for path in pointers)
        targets = [] if is_all else [show.word(path.path) for path in pointers]
        yield " ".join((f"dvlite {verb}", *targets))
    if result.readers or any(path.kind == "lockfile" for path in result.paths):
        yield "dvlite repro"
    if result.unstaged:
        yield f"git add {' '.join(map(show.word, result.unstaged))}"
    yield _CONTINUE.get(result.operation, f"git {result.operation} --continue")
