"""The verbs of pipelines on the command line: one short function for each. See `cli`."""

from __future__ import annotations

from typing import Any

import click

from dvlite import __version__
from dvlite.cli.options import (
    EXIT_CODE,
    NO_STAGE,
    NO_WAIT,
    ComparingVerb,
    PathText,
    Verb,
    Verbs,
    revisions_and_paths,
    run,
)
from dvlite.errors import UsageError

MOST_JOBS = 256


# --- repro ----------------------------------------------------------------------------------------------------------------------


@click.command(
    cls=Verb,
    example="dvlite repro                       # whatever is out of date\n"
    "dvlite repro train -S lr=0.003     # with another parameter\n"
    "dvlite repro -n --explain          # only say what and why",
    codes=(3, 4, 10, 11, 12, 13),
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...", type=PathText())
@click.option("-j", "--jobs", metavar="N", type=click.IntRange(1, MOST_JOBS), default=1, help="Stages at a time.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would run, do nothing; exit with 1 if anything would.")
@click.option("--explain", is_flag=True, help="Say why each stage is out of date.")
@click.option("-f", "--force", is_flag=True, help="Run the targets even if they are up to date.")
@click.option("--single", is_flag=True, help="Only the targets, not what comes before them.")
@click.option("--downstream", is_flag=True, help="The targets and all that comes after them, not what comes before.")
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, run what does not need the failed stage.")
@click.option("--pull", is_flag=True, help="Fetch what is needed, and take outputs of colleagues' runs.")
@click.option("--no-run-cache", is_flag=True, help="Run commands even if the outputs of an equal run are known.")
@click.option(
    "-S", "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Write a value into the params file first."
)
@NO_STAGE
@NO_WAIT
def repro(targets: tuple[str, ...], *, settings: tuple[str, ...], no_run_cache: bool, **flags: Any) -> int:
    """Run the stages that are out of date."""
    import platform

    from dvlite.commands.repro import ReproOptions
    from dvlite.commands.repro import repro as verb

    pairs = [_setting(text) for text in settings]
    options = ReproOptions(run_cache=not no_run_cache, **flags)
    return run(
        lambda s: verb(
            s.repo(),
            targets,
            options,
            settings=pairs,
            environ=s.environ,
            host=platform.node(),
            version=__version__,
            stage=s.stage(),
            progress=s.progress,
        ),
        text="repro",
        has_findings=lambda result: any(
            each.state in ("would run", "may run", "would restore") for each in result.stages
        ),
    )


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"'{text}' is not KEY=VALUE", hint="for example -S lr=0.003, or -S conf/net.yaml:depth=18")
    return key, value


@click.command(cls=Verb, example="dvlite dag\ndvlite dag --mermaid train > train.mmd", codes=(10,))
@click.argument("targets", nargs=-1, metavar="[TARGET]...", type=PathText())
@click.option("--mermaid", "form", flag_value="mermaid", help="As a mermaid flowchart.")
@click.option("--dot", "form", flag_value="dot", help="For Graphviz.")
@click.option("--downstream", is_flag=True, help="What comes after the targets, not before.")
def dag(targets: tuple[str, ...], *, form: str | None, downstream: bool) -> int:
    """Show the stages, and which needs which."""
    from dvlite.commands.dag import dag as verb

    return run(
        lambda s: verb(s.repo(), targets, downstream=downstream, progress=s.progress), text="dag", form=form or "text"
    )


# --- stage, params, metrics ------------------------------------------------------------------------------------------------------


@click.group(cls=Verbs)
def stage() -> None:
    """Write and list the stages of the pipeline."""


@stage.command(
    "add",
    example="dvlite stage add train -d train.py -d data -p lr -o model.pt -M metrics.json -- python train.py",
    codes=(10, 11),
)
@click.argument("name", metavar="NAME")
@click.argument("command", nargs=-1, metavar="-- CMD...", type=click.UNPROCESSED)
@click.option(
    "-d", "--deps", multiple=True, metavar="PATH", type=PathText(), help="A file, folder or pattern it reads."
)
@click.option("-o", "--outs", multiple=True, metavar="PATH", type=PathText(), help="A file or folder it makes.")
@click.option("-O", "--outs-no-cache", multiple=True, metavar="PATH", type=PathText(), help="One that git keeps.")
@click.option("--persist", multiple=True, metavar="PATH", type=PathText(), help="One that stays in place as it runs.")
@click.option("-p", "--params", multiple=True, metavar="[FILE:]KEY,...", help="Parameters; FILE: alone is all of it.")
@click.option("-m", "--metrics", multiple=True, metavar="PATH", type=PathText(), help="A file of metrics it makes.")
@click.option("-M", "--metrics-no-cache", multiple=True, metavar="PATH", type=PathText(), help="One that git keeps.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="A variable to set.")
@click.option("-c", "--capture", multiple=True, metavar="WHAT", help="To record: PACKAGE, env:NAME or cmd:COMMAND.")
@click.option("-w", "--wdir", metavar="DIR", type=PathText(), help="The folder it runs in.")
@click.option("--desc", default="", metavar="TEXT", help="What it is for.")
@click.option("--always", is_flag=True, help="It runs every time.")
@click.option("-f", "--force", is_flag=True, help="Replace a stage of this name.")
@NO_STAGE
@NO_WAIT
def stage_add(*, force: bool, **words: Any) -> int:
    """Write a stage into the pipeline file of the current folder."""
    from dvlite.commands.stage import NewStage
    from dvlite.commands.stage import stage_add as verb

    if not words["command"]:
        raise UsageError("no command is given", hint=f"dvlite stage add {words['name']} ... -- python script.py")
    new = NewStage(**words)
    return run(lambda s: verb(s.repo(), new, force=force, stage=s.stage(), progress=s.progress), text="stage")


@stage.command("list", example="dvlite stage list", codes=(3, 10))
def stage_list() -> int:
    """List the stages of all pipeline files."""
    from dvlite.commands.stage import stage_list as verb

    return run(lambda s: verb(s.repo(), progress=s.progress), text="stage")


@click.group(cls=Verbs)
def params() -> None:
    """Compare the parameters of stages."""


@params.command(
    "diff", cls=ComparingVerb, example="dvlite params diff\ndvlite params diff v1.0 HEAD -- params.yaml", codes=(3, 10)
)
@click.argument("words", nargs=-1, metavar="[A [B]] [-- PATH...]", type=PathText())
@click.option("--all", "every", is_flag=True, help="Show those that are the same, too.")
def params_diff(words: tuple[str, ...], *, every: bool) -> int:
    """Show which parameters differ between revisions, or from the workspace."""
    from dvlite.commands.params import params_diff as verb

    return run(
        lambda s: verb(s.repo(), *revisions_and_paths(words), progress=s.progress),
        text="params",
        form="every" if every else "text",
    )


@click.group(cls=Verbs)
def metrics() -> None:
    """Show and compare the metrics of stages."""


@metrics.command(
    "show", cls=ComparingVerb, example="dvlite metrics show\ndvlite metrics show v1.0 HEAD workspace", codes=(3, 10)
)
@click.argument("words", nargs=-1, metavar="[REV]... [-- PATH...]", type=PathText())
def metrics_show(words: tuple[str, ...]) -> int:
    """Show the metrics of the workspace or of revisions, side by side."""
    from dvlite.commands.metrics import metrics_show as verb

    return run(lambda s: verb(s.repo(), *revisions_and_paths(words), progress=s.progress), text="metrics")


@metrics.command(
    "diff",
    cls=ComparingVerb,
    example="dvlite metrics diff\ndvlite metrics diff main --rtol 0.01 --exit-code",
    codes=(3, 10),
)
@click.argument("words", nargs=-1, metavar="[A [B]] [-- PATH...]", type=PathText())
@click.option(
    "--rtol", metavar="X", type=click.FloatRange(0), default=0.0, help="Equal within this part of the old value."
)
@click.option("--atol", metavar="X", type=click.FloatRange(0), default=0.0, help="Equal within this difference.")
@click.option("--md", is_flag=True, help="As a Markdown table.")
@EXIT_CODE
def metrics_diff(words: tuple[str, ...], *, rtol: float, atol: float, md: bool, exit_code: bool) -> int:
    """Show which metrics differ between revisions, or from the workspace."""
    from dvlite.commands.metrics import metrics_diff as verb

    return run(
        lambda s: verb(s.repo(), *revisions_and_paths(words), rtol=rtol, atol=atol, progress=s.progress),
        text="metrics",
        has_findings=lambda result: exit_code and any(row.state != "equal" for row in result.metrics),
        form="markdown" if md else "text",
    )


VERBS = {"Pipeline": (stage, repro, dag, params, metrics)}
