"""The words of `status`: parts, each with the command that settles it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dvlite.show import Show, count, duration_text, one_line, printable, size_text, some, word
from dvlite.text import delta
from dvlite.text.reasons import reason_text
from dvlite.text.style import amount_text, growth_text, origin, table
from dvlite.workspace.changes import Counts

if TYPE_CHECKING:
    from dvlite.commands.status import StatusResult, UncommittedPointer
    from dvlite.pipeline.reasons import StaleStage
    from dvlite.share.source_state import SourceState
    from dvlite.workspace.delta_changes import DeltaChange
    from dvlite.workspace.path_status import AbsentPath, ChangedPath
    from dvlite.workspace.running_outputs import RunningRepro

_MOST_PURGED = 5
WIDTH = 33  # of a heading, so that the commands stand below each other


def text(result: StatusResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    remote = printable(result.remote or "the remote")
    if result.running is not None:
        yield from _running(result.running, show)
    for sweep in result.sweeps:
        command = "runs --watch" if sweep.running else f"try --resume {word(sweep.name)}"
        yield _heading("A sweep runs now" if sweep.running else "A sweep was stopped", f"dvlite {command}", show)
        yield f"  {printable(sweep.name)}: {sweep.done} of {count(sweep.variants, 'variant')} done"
    is_fresh = 1 < len(result.not_in_cache) == len(result.missing) and not (result.changed or result.outputs_changed)
    is_fresh = is_fresh and all(path.whole for path in result.not_in_cache)
    if is_fresh:
        size = size_text(sum(path.size_bytes for path in result.not_in_cache))
        yield _heading("No data here yet", "dvlite pull", show)
        yield f"  {count(len(result.not_in_cache), 'tracked path')}, {size}"
    earlier = [path for path in result.missing if path.earlier is not None]
    if earlier:
        gone = {path.path for path in result.not_in_cache}.intersection(path.path for path in earlier)
        yield _heading("Data of another version is here", "dvlite pull" if gone else "dvlite checkout", show)
        yield from table((_earlier(path, show) for path in earlier), indent="  ")
    uncached = {path.path for path in result.not_in_cache}
    if result.changed:
        first = result.changed[0]
        undo = f"dvlite {'pull' if first.path in uncached else 'checkout'} {_force(first)}{show.word(first.path)}"
        yield _heading("Data changed, not added", f"dvlite add -u, or undo: {undo}", show)
        yield from table((_changed(path, show) for path in result.changed), indent="  ")
    if result.outputs_changed:
        first = result.outputs_changed[0]
        undo = f"dvlite {'pull' if first.path in uncached else 'checkout'} {_force(first)}{show.word(first.path)}"
        yield _heading("Outputs changed, not by their stage", f"dvlite repro, or undo: {undo}", show)
        yield from table((_changed(path, show) for path in result.outputs_changed), indent="  ")
    if result.stale:
        yield _heading("Stages out of date", "dvlite repro", show)
        yield from _stale(result.stale, show)
    missing = [path for path in result.missing if path.path not in uncached and path.earlier is None]
    if missing:
        yield _heading("Not in the workspace", "dvlite checkout", show)
        yield from _absent(missing, show)
    if result.uncommitted:
        yield _heading("Not committed", "git commit", show)
        yield from table((_uncommitted(pointer, show) for pointer in result.uncommitted), indent="  ")
    if result.not_in_cache and not is_fresh:
        # what is in the workspace and unchanged can go back into the cache from there
        is_whole = not (result.missing or result.changed or any(path.stage for path in result.not_in_cache))
        hint = "dvlite pull, or from the workspace: dvlite add -u" if is_whole else "dvlite pull"
        yield _heading("Not in the cache", hint, show)
        yield from _absent(result.not_in_cache, show)
    if result.not_pushed:
        named = "" if result.remote_is_default else f" -r {remote}"
        yield _heading(f"Not on {remote}", f"dvlite push{named}", show)
        yield from _absent(result.not_pushed, show)
    behind = [source for source in result.sources or () if source.state == "moved"]
    if behind:
        yield _heading("Source has moved on", "dvlite update", show)
        yield from table((_behind(source, show) for source in behind), indent="  ")
    unknown = [source for source in result.sources or () if source.state == "unknown"]
    if unknown:
        yield _heading("Source not looked at", f"dvlite update {show.word(unknown[0].path)}", show)
        yield from table(((show.path(source.path), one_line(source.problem)) for source in unknown), indent="  ")
    if show.quiet:
        return
    if result.purged:
        yield _heading("Purged, gone for good", "dvlite purge --list", show)
        rows = (
            (show.path(file.path), f"on {file.time[:10]} by {one_line(file.user)}", one_line(file.reason))
            for file in (result.purged if show.verbose else result.purged[:_MOST_PURGED])
        )
        yield from table(rows, indent="  ")
        if len(result.purged) > _MOST_PURGED and not show.verbose:
            yield f"  {count(len(result.purged) - _MOST_PURGED, 'more file')} (-v)"
    left_out = f", {result.left_out:,} left out by the sparse checkout" if result.left_out else ""
    if not (result.tracked or left_out or result.left_behind) and result.clean:
        yield "Nothing is tracked yet."
        yield from show.next_step("dvlite add PATH")
    elif result.clean:
        pushed = f", complete on {remote}" if result.not_pushed is not None else ""
        yield f"Clean: {count(result.tracked, 'tracked path')}{pushed}{left_out}."
    if result.left_behind:
        yield _heading("No longer tracked, still here", "dvlite checkout", show)
        yield f"  {show.some([show.path(path) for path in result.left_behind])}"
    if result.unpushed:
        yield _heading("Not pushed yet", "dvlite push", show)
        yield f"  {show.some([show.path(path) for path in result.unpushed])}"


def _running(running: RunningRepro, show: Show) -> Iterator[str]:
    yield _heading("Stages run now", printable(running.process or "dvlite repro"), show)
    rows = [(printable(stage.stage), f"for {duration_text(stage.seconds)}") for stage in running.stages]
    yield from table(rows, indent="  ")


def _stale(stages: Sequence[StaleStage], show: Show) -> Iterator[str]:
    own = [stage for stage in stages if stage.state != "after"]
    after = len(stages) - len(own)
    for stage in own:
        reasons = some([reason_text(reason, show) for reason in stage.reasons], 2, separator="; ")
        behind = f";  {after} after it" if after and len(own) == 1 else ""
        yield f"  {printable(stage.stage)}: {reasons or 'cannot be checked'}{behind}"
    if after and len(own) != 1:
        yield f"  {after} after them"


def _uncommitted(pointer: UncommittedPointer, show: Show) -> tuple[str, ...]:
    path = show.path(pointer.path)
    undo = f"(undo: git checkout HEAD -- {show.word(pointer.path)})" if pointer.state == "deleted" else ""
    return path, pointer.state, undo


def _behind(source: SourceState, show: Show) -> tuple[str, ...]:
    what = f"-> {printable(source.now[:8])}" if source.now else ""
    if source.changed:
        what = f"differs: {show.some([printable(name) for name in source.changed])}"
    return show.path(source.path), origin(source.source), what


def _force(path: ChangedPath) -> str:
    return "--force " if path.counts.added or path.counts.modified or path.counts.renamed else ""


def _heading(title: str, command: str, show: Show) -> str:
    return show.bold(title) + " " * max(2, WIDTH - len(title)) + show.style("dim", f"({command})")


def _changed(path: ChangedPath, show: Show) -> tuple[str, ...]:
    if path.kind == "file":
        return (show.path(path.path), "changed", growth_text(path.counts), "")
    if path.counts == Counts():
        return (show.path(path.path), "not compared: its list of files is not here", "", "")
    names = [change.path.removeprefix(path.path + "/") for change in path.examples]
    return (
        show.path(path.path),
        _change(path.counts),
        growth_text(path.counts),
        "; ".join(_table(change, path) for change in path.tables)
        or (", ".join(map(printable, names[:2])) if show.verbose else ""),
    )


def _table(change: DeltaChange, path: ChangedPath) -> str:
    """Returns `version 3 -> 5, +1,200 rows, +2 files: WRITE (Append)`, after the folder of a table that is not the whole path."""
    name = "" if change.path == path.path else f"{printable(change.path.removeprefix(path.path + '/'))}: "
    done = delta.operations(change)
    return f"{name}{delta.heading(change)}" + (f": {done}" if done else "")


def _earlier(path: AbsentPath, show: Show) -> tuple[str, ...]:
    counts = path.earlier
    if path.kind == "file" or counts is None or counts == Counts():
        return (show.path(path.path), "", "")
    return (show.path(path.path), _change(counts), growth_text(counts))


def _change(counts: Counts) -> str:
    """Returns what happened to files: `1,204 files added, 3 deleted`."""
    kinds = (
        ("added", counts.added),
        ("deleted", counts.removed),
        ("changed", counts.modified),
        ("renamed", counts.renamed),
    )
    (first, kind), *others = [(number, kind) for kind, number in kinds if number] or [(0, "changed")]
    return ", ".join([f"{count(first, 'file')} {kind}", *(f"{count(number)} {kind}" for number, kind in others)])


def _absent(paths: Sequence[AbsentPath], show: Show) -> Iterator[str]:
    yield from table(
        (
            (
                show.path(path.path),
                amount_text(path.files, path.size_bytes)
                if path.files or path.whole
                else "its files are there, this version is not noted",
                "" if path.whole or path.example is None else f"for example {show.path(path.example)}",
            )
            for path in paths
        ),
        indent="  ",
    )
