"""The words of `du`: a table, the largest first."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.du import DuResult
from dvlite.show import Show, count, size_text

_TITLES = ("SIZE", "VERSIONS", "ALL VERSIONS", "IN CACHE")


def text(result: DuResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    rows = [(*_TITLES, "PATH")]
    for row in result.paths:
        remark = "" if row.is_tracked else "  (no longer tracked)"
        size = "-" if row.size_bytes is None else size_text(row.size_bytes)
        known = _known(row.all_bytes, row.unlisted, row.versions)
        rows.append((size, f"{row.versions:,}", known, size_text(row.cached_bytes), show.path(row.path) + remark))
    versions, unlisted = sum(row.versions for row in result.paths), sum(row.unlisted for row in result.paths)
    if len(result.paths) > 1:
        size = size_text(sum(row.size_bytes or 0 for row in result.paths))
        known = _known(result.all_bytes, unlisted, versions)
        rows.append((size, f"{versions:,}", known, size_text(result.cached_bytes), "total"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        yield "  ".join([*(cell.rjust(width) for cell, width in zip(cells[:-1], widths, strict=False)), cells[-1]])
    if unlisted and not show.quiet:
        those = count(unlisted, "version has its list", "versions have their lists")
        yield f"{those} of files elsewhere and cannot be added up: dvlite fetch --all-commits"
    if result.cache_bytes and not result.is_part and not show.quiet:
        rest = size_text(max(result.cache_bytes - result.cached_bytes, 0))
        yield (
            f"The cache takes {size_text(result.cache_bytes)}, {rest} of it for runs, logs, lists of files"
            " and what nothing names (dvlite gc)."
        )


def _known(size_bytes: int, unlisted: int, versions: int) -> str:
    """Returns the size of all versions, as far as it is known."""
    return "-" if unlisted == versions else size_text(size_bytes) + ("+" if unlisted else "")
