"""What differs in the data between two versions, as Markdown for a comment on a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.files import size_text
from dvlite.text.markdown import COMMENT, MarkdownDocument, code, opening, plain
from dvlite.text.style import count, delta_text
from dvlite.workspace.changes import Counts, FileChange

MARKER = "<!-- dvlite diff -->"
_SIGNS = {"added": "+", "removed": "-", "modified": "~", "renamed": ">"}
_TABLE_SHARE = 0.5
_SHORTEST_OID = 40  # hex digits; a full one shows as 7


def diff_markdown(result: DiffResult, *, limit_bytes: int = COMMENT) -> str:
    """Returns the document: a row for each tracked path, then the files, folded, as many as fit."""
    document = MarkdownDocument(limit_bytes)
    sides = f"{code(_short(result.old))} to {code(_short(result.new))}"
    if not result.paths:
        document.add(MARKER, f"### Data: no change, {sides}")
        return document.text()
    document.add(MARKER, f"### Data: {count(len(result.paths), 'tracked path')} changed, {sides}")
    document.table(
        ("path", "added", "removed", "modified", "renamed", "size"),
        ((code(each.path), *_counted(each.counts), _sizes(each)) for each in result.paths),
        share=_TABLE_SHARE,
        noun="path",
    )
    document.add("")
    for each in result.paths:
        _files(document, each)
    return document.text()


def _short(side: str) -> str:
    is_commit = len(side) >= _SHORTEST_OID and all(letter in "0123456789abcdef" for letter in side)
    return side[:7] if is_commit else side


def _counted(counts: Counts) -> Iterator[str]:
    for number in (counts.added, counts.removed, counts.modified, counts.renamed):
        yield f"{number:,}" if number else ""


def _sizes(each: PathDiff) -> str:
    old, new = each.old_size_bytes, each.size_bytes
    if old is None:
        return "" if new is None else f"new, {size_text(new)}"
    if new is None:
        return f"gone, was {size_text(old)}"
    return size_text(new) if old == new else f"{size_text(old)} → {size_text(new)} ({delta_text(new - old)})"


def _files(document: MarkdownDocument, each: PathDiff) -> None:
    """Adds the files of one tracked path, folded; those that do not fit are counted."""
    if each.incomplete is not None:
        document.add(f"{code(each.path)}: files not listed: {plain(each.incomplete)}", "")
    if not each.files or (len(each.files) == 1 and each.files[0].path == each.path and each.kind == "file"):
        return
    opened = opening(f"{each.path}: {count(len(each.files), 'file')}")
    if not document.fits(opened):
        return
    document.add(opened)
    for number, change in enumerate(each.files):
        line = f"- {_line(change, each)}"
        if not document.fits(line):
            document.add(f"- {count(len(each.files) - number)} more did not fit here")
            break
        document.add(line)
    document.add("", "</details>", "")


def _line(change: FileChange, each: PathDiff) -> str:
    name = change.path.removeprefix(f"{each.path}/")
    sizes = [size for size in (change.old_size_bytes, change.size_bytes) if size is not None]
    renamed = "" if change.old_path is None else f"{code(change.old_path.removeprefix(f'{each.path}/'))} → "
    told = "" if not sizes else f" {size_text(sizes[-1])}"
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        told += f" ({delta_text(sizes[1] - sizes[0])})"
    return f"`{_SIGNS[change.change]}` {renamed}{code(name)}{told}"
