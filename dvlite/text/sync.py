"""The words of `sync`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.share.copy_versions import SyncResult
from dvlite.show import Show, count, duration_text, one_line, printable, short_oid, size_text, word
from dvlite.text.fetch import in_state, without_purged
from dvlite.text.style import amount_text
from dvlite.workspace.fetch import named


def text(result: SyncResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    source, target = printable(result.source), printable(result.target)
    way = f"from {source} to {target}" + (f" ({printable(result.target_url)})" if result.target_url else "")
    if result.dry_run:
        waiting = in_state(result.paths, "planned")
        for path in waiting:
            at = f" at {path.revision[:8]}" if path.revision else ""
            yield f"would copy {show.path(path.path)}{at}: {amount_text(path.files, path.size_bytes)}"
        if waiting:
            yield f"In all {count(result.files, 'file')}, at most {size_text(result.copied_bytes)}, {way}."
            yield from show.next_step(f"dvlite sync {word(source)} {word(target)}")
        else:
            yield f"Nothing to copy {way}."
        yield from _left_out(result, show)
    elif not show.quiet:
        took = duration_text(result.elapsed_seconds)
        also = f", {count(result.records, 'record')} of runs" if result.records else ""
        done = in_state(result.paths, "copied")
        if done or result.files:
            what = (
                f"{count(result.files, 'file')}, {size_text(result.copied_bytes)} in {count(result.objects, 'object')}"
            )
            names = named(done, show) or "logs of runs"
            yield f"Copied {names} {way}: {what}{also}. {took}"
        elif result.records:
            yield f"Copied {count(result.records, 'record')} of runs {way}; the data is complete there. {took}"
        elif result.failure(show) is None:
            complete = len(result.paths) - len(in_state(result.paths, "lost"))
            yield f"Nothing to copy: {count(complete, 'version')} complete on {target}. {took}"
        if result.purged:
            yield without_purged(result.purged, show)
        yield from _left_out(result, show)


def _left_out(result: SyncResult, show: Show) -> Iterator[str]:
    """Yields a line for each version that was not copied."""
    for path in result.paths:
        if path.state in ("missing", "failed"):
            at = path.revision[:8] if path.revision else short_oid(path.oid)
            yield f"{show.style('red', 'not copied:')} {show.path(path.path)} at {at}: {one_line(path.problem or '')}"
