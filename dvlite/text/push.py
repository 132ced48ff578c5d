"""The words of `push`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.share.publish import PushResult, RemotePush
from dvlite.show import Show, count, duration_text, printable, size_text
from dvlite.text.fetch import in_state, planned, without_purged
from dvlite.workspace.fetch import named, not_moved


def text(result: PushResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    is_pushed = False
    everywhere: list[PushResult | RemotePush] = [result, *(other for other in result.others if other.problem is None)]
    for each in everywhere:
        remote = printable(each.remote) + (f" ({printable(each.url)})" if each.url else "")
        if result.dry_run:
            yield from planned(each.paths, "push", remote, show)
        elif not show.quiet:
            yield from _pushed(each, remote, show)
            is_pushed |= bool(each.objects and in_state(each.paths, "pushed"))
    if result.purged and not (show.quiet or result.dry_run):
        yield without_purged(result.purged, show)
    if is_pushed and not any(other.problem for other in result.others):
        yield from show.next_step("git push")


def _pushed(result: PushResult | RemotePush, remote: str, show: Show) -> Iterator[str]:
    done = in_state(result.paths, "pushed") if result.objects else []
    took = duration_text(result.elapsed_seconds)
    if done:
        size = size_text(result.uploaded_bytes)
        if result.size_bytes and result.uploaded_bytes < result.size_bytes * 0.9:
            size = f"{size_text(result.size_bytes)} as {size}"
        what = f"{count(result.files, 'file')}, {size} in {count(result.objects, 'object')}"
        also = f", {count(result.records, 'record')} of runs" if result.records else ""
        yield f"Pushed {named(done, show)} to {remote}: {what}{also}. {took}"
    elif result.records:
        yield f"Pushed {count(result.records, 'record')} of runs to {remote}; the data is complete there. {took}"
    elif not_moved(result.paths, "", "push", "", show) is None:
        yield f"Nothing to push: {count(len(result.paths), 'tracked path')} complete on {remote}. {took}"
