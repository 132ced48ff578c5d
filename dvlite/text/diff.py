"""The words of `diff`: one line per file, with `--stat` one per tracked path, or Markdown for a pull request."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.show import Show, count, printable, size_text
from dvlite.text.markdown import COMMENT, MarkdownDocument, code, opening, plain
from dvlite.text.style import delta_text, table
from dvlite.workspace.changes import Counts, FileChange, counts_text

MARKER = "<!-- dvlite diff -->"
_TABLE_SHARE = 0.5
_MOST_MOVED = 4  # files of one folder moved to another: more are one line
_SHORTEST_OID = 40  # hex digits; a full one shows as 7

_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "modified": ("~", "yellow"), "renamed": (">", "cyan")}


def text(result: DiffResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if not result.paths and not result.warnings and not show.quiet:
        yield f"No data differs between {printable(result.old)} and {printable(result.new)}."
    for path in result.paths:
        yield _summary(path, show)
        if path.incomplete is not None:
            yield f"  files not listed: {path.incomplete}"
        for change, moved in _folded(path.files, most=_MOST_MOVED if not show.verbose else len(path.files)):
            yield "  " + (_folder(change, moved, path, show) if moved > 1 else _change(change, path, show))


def stat(result: DiffResult, show: Show) -> Iterator[str]:
    """Yields one line for each tracked path, with the endings that most of its changes have."""
    yield from table(
        (show.path(path.path), counts_text(path.counts, wide=True), _sizes(path), _endings(path))
        for path in result.paths
    )


def _summary(path: PathDiff, show: Show) -> str:
    parts = [show.bold(show.path(path.path)), counts_text(path.counts) or "changed", _sizes(path)]
    return "  ".join(part for part in parts if part)


def _sizes(path: PathDiff, *, is_markdown: bool = False) -> str:
    old, new = path.old_size_bytes, path.size_bytes
    if old is None:
        return "" if new is None else f"new, {size_text(new)}"
    if new is None:
        return f"gone, was {size_text(old)}"
    if old == new:
        return size_text(new)
    if is_markdown:
        return f"{size_text(old)} → {size_text(new)} ({delta_text(new - old)})"
    return f"{size_text(old)} -> {size_text(new)}"


def _change(change: FileChange, path: PathDiff, show: Show) -> str:
    sign, color = _SIGNS[change.change]
    name = show.path(change.path) if change.path == path.path else _inside(change.path, path.path)
    if change.old_path is not None:
        name = f"{_inside(change.old_path, path.path)} -> {name}"
    return show.style(color, f"{sign} {name}") + _details(change)


def _folded(files: Sequence[FileChange], *, most: int) -> Iterator[tuple[FileChange, int]]:
    """Yields the changes; of more than `most` files that went from one folder to another under their names, the first, and how many they are."""
    moves = {change.path: _move(change) for change in files}
    sizes = Counter(moves.values())
    shown = set()
    for change in files:
        move = moves[change.path]
        if move is None or sizes[move] <= most:
            yield change, 1
        elif move not in shown:
            shown.add(move)
            yield change, sizes[move]


def _move(change: FileChange) -> tuple[str, str] | None:
    """Returns the folders between which a file was moved, if nothing else about it changed."""
    old, new = posixpath.split(change.old_path or ""), posixpath.split(change.path)
    return (
        (old[0], new[0]) if change.old_path is not None and old[1] == new[1] and not change.executable_changed else None
    )


def _folder(change: FileChange, moved: int, path: PathDiff, show: Show) -> str:
    sign, color = _SIGNS[change.change]
    old, new = (
        _inside(f"{posixpath.dirname(name)}/", path.path) or "./" for name in (change.old_path or "", change.path)
    )
    return show.style(color, f"{sign} {old} -> {new}") + f"  {count(moved, 'file')}, all of them with -v"


def _details(change: FileChange) -> str:
    old, new = change.old_size_bytes, change.size_bytes
    details = []
    if old is not None and new is not None:
        details.append(f"{size_text(new)} ({delta_text(new - old)})" if old != new else size_text(new))
    else:
        details += [size_text(size) for size in (old, new) if size is not None]
    if change.old_kind is not None and change.old_kind != change.kind:
        details.append(f"{change.old_kind} -> {change.kind}")
    if change.executable_changed:
        details.append("x bit changed")
    return "  " + ", ".join(details) if details else ""


def _inside(path: str, tracked: str) -> str:
    """Returns a file's name inside its tracked path; a tracked file is its own name."""
    return printable(path.removeprefix(tracked + "/"))


def _endings(path: PathDiff) -> str:
    endings = Counter((_SIGNS[change.change][0], PurePosixPath(change.path).suffix) for change in path.files)
    shown = [
        f"{sign}{count(number)} {printable(ending) or 'without ending'}"
        for (sign, ending), number in endings.most_common(3)
    ]
    return "  ".join(shown) if len(path.files) > 1 else ""


# --- as Markdown ---


def markdown(result: DiffResult, _show: Show, *, limit_bytes: int = COMMENT) -> Iterator[str]:
    """Yields a document for a comment on a pull request: a row for each tracked path, then the files, folded, as many as fit."""
    document = MarkdownDocument(limit_bytes)
    sides = f"{code(_short(result.old))} to {code(_short(result.new))}"
    if not result.paths:
        yield from (MARKER, f"### Data: no change, {sides}")
        return
    document.add(MARKER, f"### Data: {count(len(result.paths), 'tracked path')} changed, {sides}")
    document.table(
        ("path", "added", "removed", "modified", "renamed", "size"),
        (
            (code(path.path), *map(plain, (*_counted(path.counts), _sizes(path, is_markdown=True))))
            for path in result.paths
        ),
        share=_TABLE_SHARE,
        noun="path",
    )
    document.add("")
    for path in result.paths:
        _files(document, path)
    yield from document.text().splitlines()


def _short(side: str) -> str:
    is_commit = len(side) >= _SHORTEST_OID and all(letter in "0123456789abcdef" for letter in side)
    return side[:7] if is_commit else side


def _counted(counts: Counts) -> Iterator[str]:
    for number in (counts.added, counts.removed, counts.modified, counts.renamed):
        yield f"{number:,}" if number else ""


def _files(document: MarkdownDocument, path: PathDiff) -> None:
    """Adds the files of one tracked path, folded; those that do not fit are counted."""
    if path.incomplete is not None:
        document.add(f"{code(path.path)}: files not listed: {plain(path.incomplete)}", "")
    if not path.files or (len(path.files) == 1 and path.files[0].path == path.path and path.kind == "file"):
        return
    opened = opening(f"{path.path}: {count(len(path.files), 'file')}")
    if not document.fits(opened):
        return
    document.add(opened)
    for number, change in enumerate(path.files):
        line = f"- {_line(change, path)}"
        if not document.fits(line):
            document.add(f"- {count(len(path.files) - number)} more did not fit here")
            break
        document.add(line)
    document.add("", "</details>", "")


def _line(change: FileChange, path: PathDiff) -> str:
    name = change.path.removeprefix(f"{path.path}/")
    sizes = [size for size in (change.old_size_bytes, change.size_bytes) if size is not None]
    renamed = "" if change.old_path is None else f"{code(change.old_path.removeprefix(f'{path.path}/'))} → "
    size = "" if not sizes else f" {size_text(sizes[-1])}"
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        size += f" ({delta_text(sizes[1] - sizes[0])})"
    return f"`{_SIGNS[change.change][0]}` {renamed}{code(name)}{size}"
