"""The words of `fsck`: a line for each object that is not right, then for each version that is not whole, and how much was checked."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.fsck import FsckResult
from dvlite.health.findings import FsckFinding, LostVersion
from dvlite.show import Show, count, duration_text, one_line, printable, short_oid, size_text, word

_COLORS = {"found": "red", "left": "red", "repaired": "green", "ignored": "yellow"}
_WORDS = {"found": "", "left": "not repaired: ", "repaired": "repaired: ", "ignored": "ignored: "}
_MOST = 20  # of objects in the same state


def text(result: FsckResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for state in ("repaired", "ignored", "found", "left"):
        those = [each for each in result.findings if each.state == state]
        shown = those if show.verbose else those[:_MOST]
        yield from (_object(each, show) for each in shown)
        if len(those) > len(shown):
            yield f"... and {count(len(those) - len(shown))} more: dvlite fsck -v"
    for lost in result.lost:
        yield from _version(lost, show)
    for each in result.unchecked:
        yield f"{show.style('yellow', 'not checked:')} {one_line(each.what)}: {one_line(each.why)}"
    if not show.quiet:
        yield from _summary(result, show)


def _object(each: FsckFinding, show: Show) -> str:
    name = printable(each.name)
    if not show.verbose and each.name.count("/") and len(name) > 40:
        folder, _, short = name.rpartition("/")
        name = f"{folder}/{short[:8]}"
    fix = (
        f"\n  {show.style('cyan', 'fix:')} {each.fix}"
        if each.fix is not None and each.state in ("found", "left")
        else ""
    )
    return f"{show.style(_COLORS[each.state], _WORDS[each.state])}{show.bold(name + ':')} {each.problem}: {printable(each.reason)}{fix}"


def _version(lost: LostVersion, show: Show) -> Iterator[str]:
    at = f" at {lost.commit[:8]}" if lost.commit else ""
    path = show.path(lost.path) if lost.path else "a version"
    if lost.oid.startswith("snapshot:"):
        what, path = "the list of what a push made complete is lost", f"snapshot {lost.oid[9:17]}"
    elif lost.files and lost.files != ("",):
        what = f"{count(lost.lost_files, 'file')} lost: {show.paths(lost.files)}"
    else:
        what = "it is lost" if lost.files else "its listing is lost"
    if lost.given_up is not None:
        what = f"only what a gc gave up on {lost.given_up[:10]} {lost.given_up[11:16]} UTC still has it"
    mark = show.style(_COLORS[lost.state], _WORDS[lost.state])
    yield f"{mark}{show.bold(f'{path}{at}:')} {what} ({short_oid(lost.oid)})"
    if lost.state not in ("found", "left"):
        return
    if lost.who:
        yield f"  who may still have it: {', '.join(map(printable, lost.who))}"
    if lost.fix is not None:
        yield f"  {show.style('cyan', 'fix:')} {lost.fix}"


def _summary(result: FsckResult, show: Show) -> Iterator[str]:
    where = "the cache" if result.store == "cache" else printable(result.store)
    extent = f", read {size_text(result.read_bytes)}" if result.deep else ""
    bad = sum(state in ("found", "left") for state in result.states)
    outcome = (
        "not all could be checked"
        if result.unchecked and not bad
        else "all is right"
        if not bad and not result.is_repaired
        else "all is repaired"
        if not bad
        else f"{count(bad, 'finding')}"
    )
    yield f"Checked {where}: {count(result.objects, 'object')}{extent} in {duration_text(result.elapsed_seconds)}; {outcome}."
    if result.stopped:
        yield "The time was over: the next check with --for continues here."
    if result.completed is not None:
        yield f"Every byte was last read on {result.completed[:10]} {result.completed[11:16]} UTC."
    elif result.deep:
        yield "Not every byte was read yet."
    elif not bad:
        yield from show.next_step(
            f"dvlite fsck {'' if result.store == 'cache' else f'--remote {word(result.store)} '}--deep     reads every byte"
        )
