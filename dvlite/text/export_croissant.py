"""The words of `export croissant`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dvlite.commands.export_croissant import ExportCroissantResult
from dvlite.show import Show, count, size_text


def text(result: ExportCroissantResult, show: Show) -> Iterator[str]:
    """Yields the metadata where standard output is to have it, else what it describes."""
    if result.output is None:
        yield json.dumps(result.metadata, indent=2)
        return
    tables = f", columns of {count(result.tables, 'table')}" if result.tables else ""
    about = f"{count(result.files, 'file')} ({size_text(result.size_bytes)}){tables}"
    yield f"Described {show.path(result.path)} in {show.path(result.output)}: {about}"
