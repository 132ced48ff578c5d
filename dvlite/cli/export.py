"""The verb `export` on the command line: one short function for each kind. See `cli`."""

from __future__ import annotations

import platform
import sys
import time
from typing import Any

import click

from dvlite import __version__
from dvlite.cli.lineage import with_filters
from dvlite.cli.options import REVISION, FreeText, PathText, Verbs, run
from dvlite.errors import UsageError


@click.group(cls=Verbs)
def export() -> None:
    """Write runs for other programs, and models for servers."""


@export.command(
    "tensorboard",
    example="dvlite export tensorboard tb\ndvlite export tensorboard tb --stage train --sweep lr-grid",
    codes=(3, 10),
)
@click.argument("folder", metavar="DIR", type=PathText())
@with_filters
def export_tensorboard(folder: str, **filters: Any) -> int:
    """Write runs as event files of TensorBoard."""
    from dvlite.commands.export import export_tensorboard as verb
    from dvlite.runs.options import RunsOptions

    wanted = RunsOptions(**filters)
    return run(lambda s: verb(s.repo(), folder, wanted, now_ns=time.time_ns(), progress=s.progress), text="export")


@export.command("mlflow", example="dvlite export mlflow mlruns --stage train", codes=(3, 10))
@click.argument("folder", metavar="DIR", type=PathText())
@with_filters
def export_mlflow(folder: str, **filters: Any) -> int:
    """Write runs as a tracking folder of MLflow."""
    from dvlite.commands.export import export_mlflow as verb
    from dvlite.runs.options import RunsOptions

    wanted = RunsOptions(**filters)
    return run(lambda s: verb(s.repo(), folder, wanted, now_ns=time.time_ns(), progress=s.progress), text="export")


SERIES = click.option("--series", is_flag=True, help="Write the points of series instead, a row for each.")


@export.command(
    "csv",
    example="dvlite export csv runs.csv --stage train\ndvlite export csv - --series | head",
    codes=(3, 10),
)
@click.argument("file", metavar="FILE", type=PathText())
@SERIES
@with_filters
def export_csv(file: str, *, series: bool, **filters: Any) -> int:
    """Write runs as a table, a row for each; - is standard output."""
    from dvlite.commands.export import export_csv as verb
    from dvlite.runs.options import RunsOptions

    where, wanted = _stream_or(file, "dvlite export csv runs.csv --json"), RunsOptions(**filters)
    return run(
        lambda s: verb(s.repo(), where, wanted, series=series, now_ns=time.time_ns(), progress=s.progress),
        text="export",
    )


@export.command("parquet", example="dvlite export parquet runs.parquet --since 30d", codes=(3, 10))
@click.argument("file", metavar="FILE", type=PathText())
@SERIES
@with_filters
def export_parquet(file: str, *, series: bool, **filters: Any) -> int:
    """Write runs as a table in a Parquet file."""
    from dvlite.commands.export import export_parquet as verb
    from dvlite.runs.options import RunsOptions

    wanted = RunsOptions(**filters)
    return run(
        lambda s: verb(s.repo(), file, wanted, series=series, now_ns=time.time_ns(), progress=s.progress),
        text="export",
    )


@export.command(
    "mlmd", example="dvlite export mlmd mlmd.sqlite\ndvlite export mlmd mlmd.sqlite --since v1.0", codes=(10,)
)
@click.argument("file", metavar="FILE", type=PathText())
@with_filters
def export_mlmd(file: str, **filters: Any) -> int:
    """Add runs to a file of ML-Metadata."""
    from dvlite.commands.export import export_mlmd as verb
    from dvlite.runs.options import RunsOptions

    wanted = RunsOptions(**filters)
    return run(lambda s: verb(s.repo(), file, wanted, now_ns=time.time_ns(), progress=s.progress), text="export")


SERVERS = ("triton", "tfserving", "torchserve", "kserve", "dir")


@export.command(
    "serving",
    example="dvlite export serving models/birds --to triton --dest /srv/models --keep 3\n"
    "dvlite export serving v2:model.pt --to torchserve --dest s3://acme/store --handler src/h.py\n"
    "dvlite export serving birds --to triton --dest /srv/models --rollback",
    codes=(3, 10, 12, 13),
)
@click.argument("model", metavar="MODEL", type=PathText())
@click.option("--to", metavar="SERVER", required=True, type=click.Choice(SERVERS), help=f"One of {', '.join(SERVERS)}.")
@click.option(
    "--dest", metavar="DEST", required=True, type=PathText(), help="The folder or s3:// prefix that it reads."
)
@click.option("--name", metavar="NAME", help="What the server calls the model (default: the name of the path).")
@click.option("--at", metavar="PATH", type=PathText(), help="Where the model is in the folder of its version.")
@click.option(
    "--keep", metavar="N", type=click.IntRange(min=1), help="Remove all but the newest N versions (default: keep all)."
)
@click.option("--config", metavar="FILE", type=PathText(), help="The config.pbtxt of Triton to start from.")
@click.option(
    "--handler", metavar="FILE|NAME", type=PathText(), help="The handler of TorchServe (default: handler.py)."
)
@click.option("--model-format", metavar="NAME", help="The format of KServe: sklearn, onnx, pytorch ...")
@click.option("--seen-at", metavar="URL", help="Where KServe or TensorFlow Serving sees DEST: pvc://models ...")
@click.option("--rollback", is_flag=True, help="Serve the version before again, or NAME@VERSION, of what is at DEST.")
def export_serving(model: str, **flags: Any) -> int:
    """Write a model as the next version of what a server reads."""
    from dvlite.commands.export_serving import ExportServingOptions
    from dvlite.commands.export_serving import export_serving as verb

    options = ExportServingOptions(**flags)
    return run(lambda s: verb(s.repo(), model, options, environ=s.environ, progress=s.progress), text="export_serving")


@export.command(
    "openlineage",
    example="dvlite export openlineage events.ndjson\ndvlite export openlineage - --since v1.0 | head",
    codes=(10,),
)
@click.argument("place", metavar="FILE|DIR/|-", type=PathText())
@with_filters
def export_openlineage(place: str, **filters: Any) -> int:
    """Write runs as events of OpenLineage; - is standard output."""
    from dvlite.commands.export import export_openlineage as verb
    from dvlite.runs.options import RunsOptions

    where, wanted = _stream_or(place, "dvlite export openlineage events.ndjson --json"), RunsOptions(**filters)
    return run(lambda s: verb(s.repo(), where, wanted, now_ns=time.time_ns(), progress=s.progress), text="export")


@export.command(
    "croissant",
    example="dvlite export croissant data/birds.csv@v1.0\ndvlite export croissant data -o croissant.json --license CC-BY-4.0",
    codes=(10, 11, 12),
)
@click.argument("path", metavar="PATH[@REV]", type=PathText())
@REVISION
@click.option("-o", "--output", metavar="FILE", type=PathText(), help="Write the metadata into FILE.")
@click.option("--description", metavar="TEXT", default="", help="Describe the data in these words.")
@click.option("--license", metavar="TEXT", default="", help="Name the license of the data, or its URL.")
def export_croissant(path: str, **flags: Any) -> int:
    """Describe tracked data as Croissant: files, SHA-256, columns."""
    from dvlite.commands.export_croissant import CroissantOptions
    from dvlite.commands.export_croissant import export_croissant as verb

    options = CroissantOptions(**flags)
    return run(lambda s: verb(s.repo(), path, options, progress=s.progress), text="export_croissant")


# --- figures of serving ---------------------------------------------------------------------------------------------------------


@click.group(cls=Verbs)
def bench() -> None:
    """Measure model servers."""


@bench.command(
    "serve",
    example="dvlite bench serve http://localhost:8000 --requests requests.jsonl --price 0.42\n"
    "dvlite bench serve --url http://localhost:8000 --requests requests.jsonl -- python serve.py",
    codes=(3, 10, 12),
)
@click.argument("target", metavar="URL|CMD...", nargs=-1, required=True, type=FreeText())
@click.option("--requests", metavar="FILE", required=True, type=PathText(), help="The requests, as JSON lines.")
@click.option("--url", metavar="URL", help="Where the server that CMD starts listens.")
@click.option(
    "--concurrency", metavar="N,...", default="1,4,16", help="Measure with so many connections (default: 1,4,16)."
)
@click.option(
    "--duration", "--for", "duration", metavar="TIME", default="10s", help="Measure each so long (default: 10s)."
)
@click.option("--timeout", metavar="TIME", default="30s", help="Wait so long for an answer (default: 30s).")
@click.option("--start-timeout", metavar="TIME", default="2m", help="Wait so long until CMD answers (default: 2m).")
@click.option(
    "--model",
    metavar="MODEL",
    type=PathText(),
    help="What is served: PATH, REV:PATH, model:NAME@V, URL of a server that names it.",
)
@click.option("--price", metavar="X", type=float, help="What an hour of the machine costs.")
@click.option("--no-record", "record", is_flag=True, default=True, flag_value=False, help="Record no run.")
def bench_serve(target: tuple[str, ...], **flags: Any) -> int:
    """Measure latency, throughput, errors, cold start and memory."""
    from dvlite.commands.bench_serve import bench_serve as verb
    from dvlite.commands.bench_serve import options_of

    options = options_of(**flags)
    return run(
        lambda s: verb(
            s.repo(),
            target,
            options,
            environ=s.environ,
            host=platform.node(),
            version=__version__,
            progress=s.progress,
        ),
        text="bench_serve",
    )


def _stream_or(place: str, example: str) -> Any:
    """Returns standard output for `-`, which --json wants too."""
    common: dict[str, Any] = click.get_current_context().ensure_object(dict)
    if place == "-" and common.get("json"):
        raise UsageError("- and --json both want standard output", hint=example)
    return sys.stdout.buffer if place == "-" else place


VERBS = {"Lineage": (export, bench)}
