"""The words of the hooks: on standard error, each line after `dvlite:`, for they stand among git's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvlite.show import Show, count, duration_text, one_line, printable, size_text
from dvlite.text.style import changes_text

if TYPE_CHECKING:
    from dvlite.hooks.result import HookResult
    from dvlite.share.publish import PushResult, RemotePush

_WIDTH = 140


def text(result: HookResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for line in _lines(result, show):
        yield f"dvlite: {line}"


def _lines(result: HookResult, show: Show) -> Iterator[str]:
    if not show.quiet:
        for note in result.notes:
            yield f"note: {one_line(note)}"
        yield from _followed(result, show)
        if result.push is not None:
            everywhere: list[PushResult | RemotePush] = [result.push, *result.push.others]
            for pushed in everywhere:
                yield from _pushed(pushed, result.commits)
    for blocked in result.blocked:
        yield f"{show.style('red', 'blocked:')} {one_line(blocked.message)}"
        fixes = [one_line(fix) for fix in blocked.fixes]
        together = "    ".join(fixes)
        yield from [together] if len(together) <= _WIDTH else fixes


def _followed(result: HookResult, show: Show) -> Iterator[str]:
    paths = [path for path in result.followed if path.written or path.removed]
    if not paths:
        return
    names = show.paths([path.path for path in paths])
    brought = f", {size_text(result.downloaded_bytes)} downloaded" if result.downloaded_bytes else ""
    yield f"checked out {names}: {changes_text(paths)}{brought}. {duration_text(result.elapsed_seconds)}"


def _pushed(pushed: PushResult | RemotePush, commits: int) -> Iterator[str]:
    remote = printable(pushed.remote) + (f" ({printable(pushed.url)})" if pushed.url else "")
    if pushed.files:
        what = f"{count(pushed.files, 'file')}, {size_text(pushed.uploaded_bytes)} in {count(pushed.objects, 'object')}"
        yield f"pushed {what} to {remote}. {duration_text(pushed.elapsed_seconds)}"
    elif any(path.state == "lost" for path in pushed.paths):
        yield f"all other data of {count(commits, 'new commit')} is complete on {remote}"
    else:
        yield f"data of {count(commits, 'new commit')} is complete on {remote}"
