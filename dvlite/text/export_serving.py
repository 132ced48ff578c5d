"""The words of `export serving`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.export_serving import ExportServingResult
from dvlite.show import Show, printable, short_oid, word
from dvlite.text.style import amount_text

_SERVERS = {
    "triton": "Triton",
    "tfserving": "TensorFlow Serving",
    "torchserve": "TorchServe",
    "kserve": "KServe",
    "dir": "any server",
}


def text(result: ExportServingResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    what = f"version {result.version} of {printable(result.model)} ({short_oid(result.digest)})"
    if not result.is_new and not result.switched:
        yield f"{_SERVERS[result.to]} is given {what} already: nothing to do"
    elif result.rolled_back:
        yield f"Back to {what}, which was read and is whole"
    elif result.is_new:
        amount = amount_text(result.files, result.size_bytes)
        yield f"Exported {what} for {_SERVERS[result.to]}: {amount}, in {printable(result.dest)}/{printable(result.folder)}"
    else:
        yield f"{_SERVERS[result.to]} is given {what}, which stood there"
    if show.quiet:
        return
    if result.switched and result.before not in (None, result.version):
        yield (
            f"before: version {result.before}, which is kept"
            if result.before in result.kept
            else f"before: version {result.before}"
        )
    if result.removed:
        yield f"removed: {', '.join(map(str, result.removed))}"
    if result.is_new or result.switched:
        yield from show.next_step(_how_to_load(result))


def _how_to_load(result: ExportServingResult) -> str:
    """Returns the command by which the server takes it up."""
    front = word(f"{result.dest}/{result.front}")
    if result.to == "triton":
        return f"curl -X POST http://localhost:8000/v2/repository/models/{result.model}/load"
    if result.to == "torchserve":
        return f"torchserve --start --model-store {word(result.dest)} --models {result.model}={result.model}.mar"
    if result.to == "tfserving":
        return f"tensorflow_model_server --model_config_file={front} --model_config_file_poll_wait_seconds=60"
    if result.to == "kserve":
        is_bucket = result.dest.startswith("s3://")
        return f"aws s3 cp {front} - | kubectl apply -f -" if is_bucket else f"kubectl apply -f {front}"
    return f"dvlite verify --served {word(result.dest)}"
