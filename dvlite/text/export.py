"""The words of `export`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.export import ExportResult
from dvlite.show import Show, count, word

_NEXT = {
    "tensorboard": "tensorboard --logdir",
    "mlflow": "mlflow migrate-filestore --target sqlite:///mlflow.db --source",
}


def text(result: ExportResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    yield f"Wrote {count(result.runs, 'run')} with {count(result.points, 'point')} to {show.path(result.folder)}"
    if not show.quiet:
        yield f"next: {_NEXT[result.to]} {word(result.folder)}"
