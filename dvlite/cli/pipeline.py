"""The verbs of pipelines on the command line: one short function for each. See `cli`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dvlite import __version__
from dvlite.cli.complete import NameOf
from dvlite.cli.options import (
    EXIT_CODE,
    NO_STAGE,
    NO_WAIT,
    ComparingVerb,
    DefaultVerbs,
    FreeText,
    PathText,
    Session,
    Verb,
    key_value,
    open_page,
    revisions_and_paths,
    run,
)
from dvlite.errors import UsageError

if TYPE_CHECKING:
    from dvlite.commands.plots import PlotsOptions, PlotsResult
    from dvlite.pipeline.invocation import ReproOptions

MOST_JOBS = 256


# --- repro ----------------------------------------------------------------------------------------------------------------------


@click.command(
    cls=Verb,
    example="dvlite repro                       # everything that is out of date\n"
    "dvlite repro train -S lr=0.003     # with another parameter\n"
    "dvlite repro -n --explain          # only show what would run, and why",
    codes=(3, 4, 10, 11, 12, 13),
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...", type=NameOf("stage", or_file=True))
@click.option(
    "-j", "--jobs", metavar="N", type=click.IntRange(1, MOST_JOBS), help="Run up to N stages in parallel (default 1)."
)
@click.option("--on", metavar="dask[:ADDRESS]", help="Run stages on a Dask cluster, whose workers reach the remote.")
@click.option(
    "-n", "--dry-run", is_flag=True, help="Show what would run without running it; exit 1 if anything is out of date."
)
@click.option("--explain", is_flag=True, help="Show why each stage is out of date.")
@click.option("-f", "--force", is_flag=True, help="Run the targets even if they are up to date.")
@click.option("--single", is_flag=True, help="Run the targets only, not the stages before them.")
@click.option("--downstream", is_flag=True, help="Run the targets and the stages after them, not those before.")
@click.option(
    "-k", "--keep-going", is_flag=True, help="After a failure, run the stages that do not need the failed one."
)
@click.option("--pull", is_flag=True, help="Fetch missing inputs, and reuse the outputs of colleagues' runs.")
@click.option("--no-add", is_flag=True, help="Stop, instead of adding tracked data that changed, if a stage reads it.")
@click.option("--no-run-cache", is_flag=True, help="Do not use the run cache.")
@click.option("-S", "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a parameter in its file first.")
@click.option(
    "--to",
    type=click.Choice(("k8s", "swarm", "slurm")),
    help="Run nothing here: give the stages out, and write the job that runs them on a cluster.",
)
@click.option("-o", "--output", metavar="OUT", type=PathText(), help="With --to, write to this file or folder.")
@click.option("--image", metavar="IMAGE", help="With --to, the container image of workers.  [default: dvlite]")
@click.option(
    "--secret",
    metavar="NAME",
    help="With --to, the cluster's name of the credentials, or of the volume with a folder.  [default: dvlite-remote]",
)
@NO_STAGE
@NO_WAIT
def repro(
    targets: tuple[str, ...], *, settings: tuple[str, ...], no_run_cache: bool, no_add: bool, **flags: Any
) -> int:
    """Run the stages that are out of date."""
    import platform

    from dvlite.commands.repro import repro as verb
    from dvlite.pipeline.invocation import ReproOptions

    for_cluster = {name: flags.pop(name) for name in ("to", "output", "image", "secret")}
    pairs = [key_value(text, "-S lr=0.003, or -S conf/net.yaml:depth=18") for text in settings]
    options = ReproOptions(run_cache=not no_run_cache, add=not no_add, **flags)
    if any(for_cluster.values()):
        return _repro_to(targets, options, pairs, **for_cluster)
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
            run.state in ("would run", "may run", "would restore", "unknown") for run in result.outcome.stages
        ),
    )


def _repro_to(
    targets: tuple[str, ...],
    options: ReproOptions,
    settings: Sequence[tuple[str, str]],
    *,
    to: str | None,
    **flags: Any,
) -> int:
    """Gives stages out; the job is printed, or written to `output`."""
    from dvlite.commands.repro_to import ToOptions
    from dvlite.commands.repro_to import repro_to as verb

    if to is None:
        raise UsageError(
            f"--{next(name for name in flags if flags[name])} belongs to --to", hint="dvlite repro --to k8s"
        )
    if options.dry_run or settings:
        raise UsageError(
            f"{'-n' if options.dry_run else '-S'} and --to exclude each other",
            hint="dvlite repro -n   shows what would be given out"
            if options.dry_run
            else "write the value to its file",
        )
    is_given = click.get_current_context().get_parameter_source("jobs") is not ParameterSource.DEFAULT
    names = {name: value for name, value in flags.items() if value is not None}
    where = ToOptions(to, jobs=options.jobs if is_given else None, **names)
    return run(
        lambda s: verb(s.repo(), targets, options, where, environ=s.environ, version=__version__, progress=s.progress),
        text="repro_to",
    )


@click.command(
    "try",
    cls=Verb,
    example="dvlite try -S lr=0.1,0.01 -S model=svm,forest -j 4\n"
    "dvlite try train --file variants.csv --name widths\n"
    "dvlite try --resume",
    codes=(3, 4, 10, 11, 12, 13),
)
@click.argument("targets", nargs=-1, metavar="[STAGE]...", type=NameOf("stage", or_file=True))
@click.option("-S", "--set", "settings", multiple=True, metavar="KEY=A,B", help="Try these values of a parameter.")
@click.option("--file", metavar="FILE", type=PathText(), help="Try the variants of a file (.yaml, .json, .csv).")
@click.option("--sample", metavar="N", type=click.IntRange(min=1), help="Try N of all variants, chosen at random.")
@click.option("--seed", metavar="S", type=int, default=0, help="Choose another random sample (default 0).")
@click.option(
    "-j", "--jobs", metavar="N", type=click.IntRange(1, MOST_JOBS), default=1, help="Run up to N variants in parallel."
)
@click.option("--name", metavar="NAME", help="Call the sweep NAME; its runs carry it.")
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, run the other variants.")
@click.option("--resume", metavar="[NAME]", is_flag=False, flag_value="", help="Go on with a sweep that was stopped.")
@click.option("-n", "--dry-run", is_flag=True, help="List the variants without running them.")
def try_out(targets: tuple[str, ...], *, settings: tuple[str, ...], **flags: Any) -> int:
    """Run variants of the pipeline; the workspace stays as it is."""
    import platform

    from dvlite.commands.try_out import TryOptions
    from dvlite.commands.try_out import try_out as verb

    pairs = [key_value(text, "-S lr=0.1,0.01, or -S conf/net.yaml:depth=18,34") for text in settings]
    return run(
        lambda s: verb(
            s.repo(),
            targets,
            TryOptions(settings=pairs, aloud=bool(s.flags.get("verbose")), **flags),
            environ=s.environ,
            host=platform.node(),
            version=__version__,
            progress=s.progress,
        ),
        text="try_out",
    )


@click.command(
    cls=Verb,
    example="dvlite commit train      # outputs that a cluster, or a hand, made",
    codes=(3, 10, 11),
)
@click.argument("targets", nargs=-1, metavar="[STAGE]...", type=NameOf("stage"))
@click.option("--no-add", is_flag=True, help="Stop, instead of adding tracked data that changed, if a stage reads it.")
@NO_STAGE
@NO_WAIT
def commit(targets: tuple[str, ...], *, no_add: bool) -> int:
    """Accept what is on disk as the outputs of stages, without running them."""
    import platform

    from dvlite.commands.commit import commit as verb

    return run(
        lambda s: verb(
            s.repo(),
            targets,
            environ=s.environ,
            host=platform.node(),
            version=__version__,
            add=not no_add,
            stage=s.stage(),
            progress=s.progress,
        ),
        text="commit",
    )


@click.command(cls=Verb, example="dvlite dag\ndvlite dag --mermaid train > train.mmd", codes=(10,))
@click.argument("targets", nargs=-1, metavar="[TARGET]...", type=NameOf("stage", or_file=True))
@click.option("--mermaid", "form", flag_value="mermaid", help="Print a Mermaid flowchart.")
@click.option("--dot", "form", flag_value="dot", help="Print a graph for Graphviz.")
@click.option("--downstream", is_flag=True, help="Show the stages after the targets, not those before.")
def dag(targets: tuple[str, ...], *, form: str | None, downstream: bool) -> int:
    """Show the stages and how they depend on each other."""
    from dvlite.commands.dag import dag as verb

    return run(
        lambda s: verb(s.repo(), targets, downstream=downstream, progress=s.progress), text="dag", form=form or "text"
    )


# --- stage, params, metrics ------------------------------------------------------------------------------------------------------


@click.group(cls=DefaultVerbs, default="list", takes_word=False)
def stage() -> None:
    """Write and list the stages of the pipeline."""


@stage.command(
    "add",
    example="dvlite stage add train -d train.py -d data -p lr -o model.pt -M metrics.json -- python train.py",
    codes=(10, 11),
)
@click.argument("name", metavar="NAME")
@click.argument("command", nargs=-1, metavar="-- CMD...", type=FreeText())
@click.option(
    "-d",
    "--deps",
    multiple=True,
    metavar="PATH",
    type=PathText(),
    help="A file, folder or pattern that the command reads.",
)
@click.option(
    "-o", "--outs", multiple=True, metavar="PATH", type=PathText(), help="A file or folder that the command writes."
)
@click.option(
    "-O",
    "--outs-no-cache",
    multiple=True,
    metavar="PATH",
    type=PathText(),
    help="An output kept in git (not in the cache).",
)
@click.option(
    "--persist",
    multiple=True,
    metavar="PATH",
    type=PathText(),
    help="An output that is not removed before the command runs.",
)
@click.option(
    "-p",
    "--params",
    multiple=True,
    metavar="[FILE:]KEY,...",
    help="Parameters of the stage (FILE: alone: the whole file).",
)
@click.option(
    "-m", "--metrics", multiple=True, metavar="PATH", type=PathText(), help="A metrics file that the command writes."
)
@click.option(
    "-M",
    "--metrics-no-cache",
    multiple=True,
    metavar="PATH",
    type=PathText(),
    help="A metrics file kept in git (not in the cache).",
)
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="An environment variable to set.")
@click.option(
    "-c", "--capture", multiple=True, metavar="WHAT", help="A value to record: PACKAGE, env:NAME or cmd:COMMAND."
)
@click.option("-w", "--wdir", metavar="DIR", type=PathText(), help="The folder to run the command in.")
@click.option("--desc", default="", metavar="TEXT", help="A description of the stage.")
@click.option("--always", is_flag=True, help="Run the stage every time.")
@click.option("-f", "--force", is_flag=True, help="Replace a stage of this name.")
@NO_STAGE
@NO_WAIT
def stage_add(*, force: bool, **words: Any) -> int:
    """Add a stage to the pipeline file of the current folder."""
    from dvlite.commands.stage import NewStage
    from dvlite.commands.stage import stage_add as verb
    from dvlite.show import word

    if not words["command"]:
        raise UsageError("no command is given", hint=f"dvlite stage add {word(words['name'])} ... -- python script.py")
    new = NewStage(**words)
    return run(lambda s: verb(s.repo(), new, force=force, stage=s.stage(), progress=s.progress), text="stage")


@stage.command("remove", example="dvlite stage remove train", codes=(10, 11))
@click.argument("names", nargs=-1, required=True, metavar="STAGE...", type=NameOf("stage"))
@NO_STAGE
@NO_WAIT
def stage_remove(names: tuple[str, ...]) -> int:
    """Remove stages; their outputs and run records stay."""
    from dvlite.commands.stage import stage_remove as verb

    return run(lambda s: verb(s.repo(), names, stage=s.stage(), progress=s.progress), text="stage")


@stage.command("rename", example="dvlite stage rename train fit", codes=(10, 11))
@click.argument("name", metavar="STAGE", type=NameOf("stage"))
@click.argument("new", metavar="NAME")
@NO_STAGE
@NO_WAIT
def stage_rename(name: str, new: str) -> int:
    """Give a stage another name; it stays up to date."""
    from dvlite.commands.stage import stage_rename as verb

    return run(lambda s: verb(s.repo(), name, new, stage=s.stage(), progress=s.progress), text="stage")


@stage.command("freeze", example="dvlite stage freeze train", codes=(10, 11))
@click.argument("names", nargs=-1, required=True, metavar="STAGE...", type=NameOf("stage"))
@NO_STAGE
@NO_WAIT
def stage_freeze(names: tuple[str, ...]) -> int:
    """Keep stages from running, whatever changes."""
    from dvlite.commands.stage import stage_freeze as verb

    return run(lambda s: verb(s.repo(), names, stage=s.stage(), progress=s.progress), text="stage")


@stage.command("thaw", example="dvlite stage thaw train", codes=(10, 11))
@click.argument("names", nargs=-1, required=True, metavar="STAGE...", type=NameOf("stage"))
@NO_STAGE
@NO_WAIT
def stage_thaw(names: tuple[str, ...]) -> int:
    """Let frozen stages run again."""
    from dvlite.commands.stage import stage_freeze as verb

    return run(lambda s: verb(s.repo(), names, frozen=False, stage=s.stage(), progress=s.progress), text="stage")


@stage.command("list", example="dvlite stage list", codes=(3, 10))
def stage_list() -> int:
    """List the stages of all pipeline files."""
    from dvlite.commands.stage import stage_list as verb

    return run(lambda s: verb(s.repo(), progress=s.progress), text="stage")


@click.group(cls=DefaultVerbs, default="diff", takes_word=False)
def params() -> None:
    """Compare the parameters of stages."""


@params.command(
    "diff", cls=ComparingVerb, example="dvlite params diff\ndvlite params diff v1.0 HEAD -- params.yaml", codes=(3, 10)
)
@click.argument("words", nargs=-1, metavar="[A [B]] [-- PATH...]", type=PathText())
@click.option("--all", "every", is_flag=True, help="Also show parameters that are equal.")
def params_diff(words: tuple[str, ...], *, every: bool) -> int:
    """Show which parameters differ between revisions, or from the workspace."""
    from dvlite.commands.params import params_diff as verb

    return run(
        lambda s: verb(s.repo(), *revisions_and_paths(words), progress=s.progress),
        text="params",
        form="every" if every else "text",
    )


@click.group(cls=DefaultVerbs, default="show", takes_word=False)
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
@click.option("--rtol", metavar="X", type=click.FloatRange(0), default=0.0, help="Relative tolerance.")
@click.option("--atol", metavar="X", type=click.FloatRange(0), default=0.0, help="Absolute tolerance.")
@click.option("--md", is_flag=True, help="Print a Markdown table.")
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


@click.group(cls=DefaultVerbs, default="show", takes_word=False)
def plots() -> None:
    """Draw metrics over steps, and what dvlite.yaml declares."""


_HTML = click.option(
    "--html", metavar="FILE", type=PathText(), help="Write a page with charts to look at in a browser."
)
_OPEN = click.option("--open", "opens", is_flag=True, help="Open the page.")
_TERMINAL = click.option("--terminal", is_flag=True, help="Draw in the terminal.")


@plots.command(
    "show",
    pages=True,
    example="dvlite plots show --html plots.html --open\ndvlite plots show logs/train.jsonl --terminal",
    codes=(3, 10),
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...", type=PathText())
@click.option("--rev", "revision", metavar="R", type=NameOf("revision"), help="Of this commit, tag, branch or run.")
@_HTML
@_OPEN
@_TERMINAL
def plots_show(targets: tuple[str, ...], *, revision: str | None, **flags: Any) -> int:
    """Show the plots of the workspace, a revision or a run. TARGET is a path or a title."""
    from dvlite.commands.plots import plots_show as verb

    return _plots(
        lambda s, options: verb(s.repo(), targets, revision=revision, options=options, progress=s.progress), **flags
    )


@plots.command(
    "diff",
    cls=ComparingVerb,
    pages=True,
    example="dvlite plots diff main --html plots.html --open\ndvlite plots diff v1.0 v1.1 last:train -- logs/train.jsonl",
    codes=(3, 10),
)
@click.argument("words", nargs=-1, metavar="[REV]... [-- TARGET...]", type=PathText())
@_HTML
@_OPEN
@_TERMINAL
def plots_diff(words: tuple[str, ...], **flags: Any) -> int:
    """Show the plots of several revisions or runs over each other."""
    from dvlite.commands.plots import plots_diff as verb

    revisions, targets = revisions_and_paths(words)
    return _plots(lambda s, options: verb(s.repo(), revisions, targets, options=options, progress=s.progress), **flags)


def _plots(
    verb: Callable[[Session, PlotsOptions], PlotsResult], *, html: str | None, opens: bool, terminal: bool
) -> int:
    from dvlite.commands.plots import PlotsOptions
    from dvlite.reports.plots_page import write

    if terminal and (html is not None or opens):
        raise UsageError(f"--terminal and {'--open' if html is None else '--html'} cannot be given together")
    options = PlotsOptions("" if html is None and opens else html, write)

    def work(session: Session) -> PlotsResult:
        result = verb(session, options)
        return replace(result, opened=open_page(result.file, session.environ)) if opens and result.file else result

    return run(work, text="plots", form="terminal" if terminal else "text")


VERBS = {"Pipeline": (stage, repro, try_out, commit, dag, params, metrics, plots)}
