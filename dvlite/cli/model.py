"""The verbs of the model registry: flags and help; the work is in `commands`."""

from __future__ import annotations

import time

import click

from dvlite.cli.options import DefaultVerbs, PathText, run

MESSAGE = click.option("-m", "--message", metavar="TEXT", default="", help="Write this into the tag.")


@click.group(cls=DefaultVerbs, default="list", takes_word=False)
def model() -> None:
    """Register models as numbered versions, promote them to stages."""


@model.command("list", example="dvlite model list\ndvlite model list --fetch\ndvlite model list --md", codes=(10,))
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--fetch", is_flag=True, help="Ask the git remote first, and name what it lost.")
@click.option("--md", "markdown", is_flag=True, help="Print a Markdown table, for a README.")
def model_list(names: tuple[str, ...], *, fetch: bool, markdown: bool) -> int:
    """List models, the version in each stage, and lost or replaced tags."""
    from dvlite.commands.model import model_list as verb

    form = "markdown" if markdown else "text"
    return run(lambda s: verb(s.repo(), names, fetch=fetch, progress=s.progress), text="model", form=form)


@model.command("add", example="dvlite model add birds models/birds.pt\ndvlite model add birds last:train", codes=(10,))
@click.argument("name", metavar="NAME")
@click.argument("source", metavar="PATH|RUN[:OUT]", type=PathText())
@MESSAGE
def model_add(name: str, source: str, *, message: str) -> int:
    """Register a path, or an output of a run, as the next version."""
    from dvlite.commands.model_add import model_add as verb

    return run(lambda s: verb(s.repo(), name, source, message=message, progress=s.progress), text="model")


@model.command(
    "promote",
    example="dvlite model promote birds@7 prod\ndvlite model promote birds prod --when 'acc>0.9' --checks",
    codes=(3, 10, 12),
)
@click.argument("name", metavar="NAME[@VERSION]")
@click.argument("stage", metavar="STAGE")
@click.option("--when", metavar="K>V", multiple=True, help="Only if a metric of its runs is like this: 'acc>0.9'.")
@click.option("--checks", is_flag=True, help="Only if all recorded checks of its data passed.")
@MESSAGE
def model_promote(name: str, stage: str, *, when: tuple[str, ...], checks: bool, message: str) -> int:
    """Put a version, or the newest one, into a stage."""
    from dvlite.commands.model_promote import model_promote as verb

    return run(
        lambda s: verb(
            s.repo(),
            name,
            stage,
            when=when,
            checks=checks,
            message=message,
            now_ns=time.time_ns(),
            progress=s.progress,
        ),
        text="model",
    )


@model.command("rollback", example="dvlite model rollback birds prod -m 'wrong labels'", codes=(3, 10, 12))
@click.argument("name", metavar="NAME")
@click.argument("stage", metavar="STAGE")
@MESSAGE
def model_rollback(name: str, stage: str, *, message: str) -> int:
    """Give a stage back the version that it had before."""
    from dvlite.commands.model_promote import model_rollback as verb

    return run(lambda s: verb(s.repo(), name, stage, message=message, progress=s.progress), text="model")


@model.command("show", example="dvlite model show birds@prod", codes=(10,))
@click.argument("name", metavar="NAME[@VERSION|@STAGE]")
def model_show(name: str) -> int:
    """Show a version: content, run, commit, parameters and metrics."""
    from dvlite.commands.model import model_show as verb

    return run(lambda s: verb(s.repo(), name, progress=s.progress), text="model")


@model.command("history", pages=True, example="dvlite model history birds", codes=(10,))
@click.argument("name", metavar="NAME")
def model_history(name: str) -> int:
    """List what was registered and promoted, and by whom."""
    from dvlite.commands.model import model_history as verb

    return run(lambda s: verb(s.repo(), name, progress=s.progress), text="model")


@model.command("diff", pages=True, example="dvlite model diff birds@prod birds", codes=(10,))
@click.argument("old", metavar="NAME[@VERSION]")
@click.argument("new", metavar="NAME[@VERSION]")
def model_diff(old: str, new: str) -> int:
    """Show how two versions differ: content, parameters, metrics, data."""
    from dvlite.commands.model import model_diff as verb

    return run(lambda s: verb(s.repo(), old, new, progress=s.progress), text="model")


VERBS = {"Lineage": (model,)}
