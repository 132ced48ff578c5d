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
    """Yields the lines of the result; none where standard output has the table."""
    if result.place == "-":
        return
    parts = {"point": result.points, "artifact": result.artifacts, "event": result.events, "context": result.contexts}
    words = [count(number, noun) for noun, number in parts.items() if number]
    added = f" with {', '.join(words)}" if words else ""
    yield f"Wrote {count(result.runs - result.unchanged, 'run')}{added} to {show.path(result.place)}"
    if result.unchanged and not show.quiet:
        yield f"{count(result.unchanged, 'run')} {'is' if result.unchanged == 1 else 'are'} there already"
    if result.to in _NEXT:
        yield from show.next_step(f"{_NEXT[result.to]} {word(result.place)}")
