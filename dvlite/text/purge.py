"""The words of `purge`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.purge import PurgedContent, PurgedStore, PurgeListResult, PurgeResult
from dvlite.show import NAMED, Show, count, one_line, printable, size_text
from dvlite.text.style import table

_LISTED = 20


def text(result: PurgeResult | PurgeListResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, PurgeListResult):
        yield from _list(result)
        return
    if show.quiet and result.applied:
        return
    asked = [content for content in result.contents if content.asked]
    size = size_text(sum({content.oid: content.size_bytes for content in result.contents}.values()))
    contents = count(len({content.oid for content in result.contents}), "content")
    verb = "Purged" if result.applied else "Would purge"
    yield f"{verb} {contents} of {show.paths(list(dict.fromkeys(each.path for each in asked)))}, {size}, from every version:"
    yield from _contents(asked, show)
    same = [content for content in result.contents if not content.asked]
    if same:
        yield "The same bytes, and so gone too:"
        yield from _contents(same, show)
    for store in result.stores:
        yield _store(store, applied=result.applied)
    for store in result.stores:
        if store.shared_pieces:
            yield f"{store.shared_pieces:,} of {store.pieces:,} pieces on {printable(store.store)} are part of other files and stay."
    here = list(dict.fromkeys(content.path for content in result.contents if content.in_workspace))
    if here:
        those = " ".join(map(show.word, here)) if len(here) <= NAMED else "PATH..."
        yield f"The files in the work tree are left alone: {show.paths(here)}. To remove them, and to track what is left: rm {those} && dvlite add -u"
    if not result.applied:
        yield from show.next_step(result.command)


def _contents(contents: Sequence[PurgedContent], show: Show) -> Iterator[str]:
    shown = contents if show.verbose else contents[:_LISTED]
    yield from table(
        (
            (
                show.path(each.path),
                size_text(each.size_bytes),
                f"in {count(each.versions, 'version')}",
                each.oid.partition(":")[2][:12],
            )
            for each in shown
        ),
        indent="  ",
    )
    if len(shown) < len(contents):
        yield f"  {count(len(contents) - len(shown), 'more row')} (-v)"


def _store(store: PurgedStore, *, applied: bool) -> str:
    name = "the cache" if store.store == "cache" else f"{printable(store.store)} ({printable(store.url)})"
    if store.problem is not None:
        return (
            f"Not from {'the cache' if store.store == 'cache' else printable(store.store)}: {one_line(store.problem)}."
        )
    if not store.size_bytes and not store.later_bytes and not store.freed_bytes:
        return f"Nothing of it is in {name}." if store.store == "cache" else f"Nothing of it is on {name}."
    size = size_text(store.size_bytes)
    if not store.later_bytes:
        return f"{'Deleted' if applied else 'Would delete'} {size} from {name}."
    when = "the first dvlite gc --remote in a day or later deletes it; at once: --grace 0s"
    return f"{'Marked' if applied else 'Would mark'} {size} on {name} for deletion: {when}."


def _list(result: PurgeListResult) -> Iterator[str]:
    if not result.purges:
        yield "Nothing was purged."
        return
    rows = [("DATE", "PATH", "FILES", "BY", "REASON")]
    rows += [
        (each.time[:10], printable(each.path), f"{each.files:,}", printable(each.user), one_line(each.reason))
        for each in result.purges
    ]
    yield from table(rows)
