"""The words of `add`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dvlite.commands.add import AddResult
from dvlite.formats.table_formats import NAMES
from dvlite.show import Show, count, duration_text, printable, size_text
from dvlite.text.style import amount_text, growth_text
from dvlite.workspace.adder import AddedPath
from dvlite.workspace.changes import files_text

if TYPE_CHECKING:
    from dvlite.workspace.add_tables import TableFound

LISTED = 10  # more tracked paths than this are summed up


def text(result: AddResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if show.quiet:
        return
    changed = [path for path in result.paths if not path.unchanged]
    if result.absent:
        names, those = show.paths(result.absent), " ".join(map(show.word, result.absent[:3]))
        again = "pull" if result.has_remote else "checkout"
        yield f"Left as it is, not on disk: {names}. To have it again: dvlite {again}; to stop tracking it: dvlite rm {those}"
    took = duration_text(result.elapsed_seconds)
    if len(changed) > LISTED and not show.verbose:
        files, size_bytes = sum(path.files for path in changed), sum(path.size_bytes for path in changed)
        yield f"Added {count(len(changed), 'path')}: {amount_text(files, size_bytes)}. {took}"
    else:
        for position, path in enumerate(changed):
            last = position == len(changed) - 1
            yield f"Added {show.path(path.path)}: {_what(path)}." + (f" {took}" if last else "")
    if not changed and result.cache_grew_bytes:
        yield f"Nothing changed; {size_text(result.cache_grew_bytes)} that the cache had lost went back into it. {took}"
        return
    if not changed:
        same = [path.path for path in result.paths]
        yield f"Nothing to add: {show.paths(same)} unchanged. {took}" if same else "Nothing to add: nothing changed."
        return
    for old, new in result.moved:
        yield f"{show.path(new)} has the content of {show.path(old)}, which is not on disk. If it was renamed: dvlite rm {show.word(old)}"
    if any(path.created for path in changed):
        shared = " (files share blocks with the workspace)" if result.shares_blocks else ""
        yield f"cache +{size_text(result.cache_grew_bytes)}{shared}, {size_text(result.cache_free_bytes)} free"
    if result.suggest_folder is not None:
        yield f"{count(len(changed))} single files: a folder is tracked as one, dvlite add {show.word(result.suggest_folder)}"
    if result.readers:
        yield from show.staged(result.staged, result.unstaged)
        yield from show.next_step("dvlite repro")
        return
    then = "dvlite push" if result.has_remote else "dvlite remote add s3://BUCKET/PREFIX"
    yield from show.next_commit(result.staged, result.unstaged, f"; {then}")


def _what(path: AddedPath) -> str:
    notes = [_tables(path.tables)] if path.tables else []
    if path.duplicates:
        all_of_it = path.duplicates == path.files
        notes.append("already in the cache" if all_of_it else f"{count(path.duplicates)} already in the cache")
    if path.left_out:
        names = ", ".join(f"{count(number)} {printable(name)}" for name, number in sorted(path.left_out.items()))
        notes.append(f"left out: {names}")
    remarks = f" ({'; '.join(notes)})" if notes else ""
    if path.created or path.kind == "file":
        size = size_text(path.size_bytes) if path.kind == "file" else amount_text(path.files, path.size_bytes)
        return size + remarks
    growth = growth_text(path.counts)
    return files_text(path.counts) + (f", {growth}" if growth else "") + remarks


def _tables(tables: Sequence[TableFound]) -> str:
    """Returns `Delta table at version 5`, or `2 Delta tables, 1 Iceberg table`."""
    if len(tables) == 1 and tables[0].version is not None:
        return f"Delta table at version {tables[0].version:,}"
    numbers = Counter(table.format for table in tables)
    named = [f"{NAMES[form]} table" for form in numbers]
    return named[0] if len(tables) == 1 else ", ".join(map(count, numbers.values(), named))
