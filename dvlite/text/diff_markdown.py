"""`diff` as Markdown for a comment on a pull request: the data that changed, and, where they were looked at, metrics and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.pipeline.metric_files import MetricDifference
from dvlite.plots.collect import Plot
from dvlite.plots.review import Review
from dvlite.show import Show, count, size_text
from dvlite.text import delta
from dvlite.text.diff import SIGNS, sizes_text
from dvlite.text.diff_rows_markdown import add_rows, named
from dvlite.text.markdown import COMMENT, MarkdownDocument, Markup, code, opening, plain
from dvlite.text.metrics import metric_cells
from dvlite.text.plots import summary
from dvlite.text.style import delta_text
from dvlite.workspace.changes import Counts, FileChange

MARKER = "<!-- dvlite diff -->"
_TABLE_SHARE, _METRICS_SHARE, _PLOTS_SHARE = 0.4, 0.6, 0.75
_ROWS_SHARES = (0.8, 0.9)
_SHORTEST_OID = 40  # hex digits; a full one shows as 7
_MOST_CURVES = 4  # of a plot, on each side


def text(result: DiffResult, show: Show, *, limit_bytes: int = COMMENT) -> Iterator[str]:
    """Yields a document for a comment on a pull request: a row for each tracked path, then the files, folded, as many as fit."""
    document = MarkdownDocument(limit_bytes)
    sides = f"{code(_short(result.old))} to {code(_short(result.new))}"
    document.add(MARKER)
    if not result.paths:
        document.add(f"### Data: no change, {sides}")
    else:
        document.add(f"### Data: {count(len(result.paths), 'tracked path')} changed, {sides}")
        document.table(
            ("path", "added", "removed", "modified", "renamed", "size"),
            (
                (code(path.path), *map(plain, (*_counted(path.counts), sizes_text(path, is_markdown=True))))
                for path in result.paths
            ),
            share=_TABLE_SHARE,
            noun="path",
        )
    if result.review is not None:
        _metrics(document, result.review.metrics)
        _plots(document, result.review, show)
    diffs = named(result.rows)
    if diffs:
        document.add("", f"### Rows: {count(len(diffs), 'table')} changed")
        add_rows(document, diffs, _ROWS_SHARES)
    if result.paths:
        document.add("")
    for path in result.paths:
        _files(document, path)
    yield from document.text().splitlines()


def _metrics(document: MarkdownDocument, rows: Sequence[MetricDifference]) -> None:
    """Adds a row for each metric that differs."""
    if rows:
        document.add("", f"### Metrics: {count(len(rows), 'change')}")
        cells = (tuple(map(plain, metric_cells(row))) for row in rows)
        document.table(("file", "metric", "old", "new", "change", ""), cells, share=_METRICS_SHARE, noun="metric")


def _plots(document: MarkdownDocument, review: Review, show: Show) -> None:
    """Adds the plots that differ: their course in blocks, and the files of their charts."""
    if not review.plots:
        return
    document.add("", f"### Plots: {count(len(review.plots), 'change')}")
    rows = (
        (
            plain(plot.title),
            *(Markup("<br>".join(_courses(plot, side, show))) for side in (review.old, review.new)),
            *([code(review.charts.get(number, ""))] if review.charts else []),
        )
        for number, plot in enumerate(review.plots)
    )
    heads = ("plot", "old", "new", *(["chart"] if review.charts else []))
    document.table(heads, rows, share=_PLOTS_SHARE, noun="plot")


def _courses(plot: Plot, side: str, show: Show) -> Iterator[str]:
    """Yields what a side has of a plot: for each curve its course and its range, for each image its size."""
    curves = [curve for curve in plot.curves if curve.revision == side]
    for curve in curves[:_MOST_CURVES]:
        yield " ".join(filter(None, map(code, summary(curve, plot, show)[:2])))
    if len(curves) > _MOST_CURVES:
        yield f"{count(len(curves) - _MOST_CURVES)} more"
    yield from (plain(size_text(image.size_bytes)) for image in plot.images if image.revision == side)


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
    for table in path.tables:
        document.add(
            f"{code(table.path)}: Delta table, {plain(delta.heading(table))}; {plain(delta.operations(table))}", ""
        )
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
    return f"`{SIGNS[change.change][0]}` {renamed}{code(name)}{size}"
