"""The verbs of runs and lineage on the command line: one short function for each. See `cli`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.complete import NameOf
from dvlite.cli.options import (
    FORCE,
    NO_STAGE,
    NO_WAIT,
    REVISION,
    RUNS_OF,
    DefaultVerbs,
    PathText,
    Session,
    Verb,
    on_remote,
    open_page,
    run,
)
from dvlite.errors import UsageError

if TYPE_CHECKING:
    from dvlite.commands.view import ViewResult
    from dvlite.runs.options import RunsOptions

MOST_RUNS = 10_000  # on a page, unless more are asked for


# --- runs -----------------------------------------------------------------------------------------------------------------------

RUN = click.argument("name", metavar="RUN", type=NameOf("run"))


@click.group(cls=DefaultVerbs, default="list", takes_word=False)
def runs() -> None:
    """List, compare and tag runs, including failed ones."""


Command = Callable[..., int]
FILTERS = (
    click.option("-s", "--stage", metavar="S", help="Only runs of this stage: train, or sub/dir:train."),
    click.option(
        "-t", "--tag", "tags", metavar="TAG", multiple=True, help="Only runs with this tag (!TAG: without it)."
    ),
    click.option(
        "--status",
        "statuses",
        metavar="STATUS",
        multiple=True,
        help="Only runs that are ok, failed, cached, asserted, tainted or canceled.",
    ),
    click.option(
        "-p",
        "--param",
        "params",
        metavar="K=V",
        multiple=True,
        help="Only runs with this parameter: lr=0.01, 'lr<0.1'.",
    ),
    click.option(
        "-m", "--metric", "metrics", metavar="K>V", multiple=True, help="Only runs with this metric: 'acc>0.9'."
    ),
    click.option("--since", metavar="DATE", help="Only runs since 2026-11-22, '2026-11-22 14:02', 3d, v1.0."),
    click.option("--until", metavar="DATE", help="Only runs until DATE."),
    click.option("--commit", metavar="COMMIT", help="Only runs made at COMMIT or named by its lockfile."),
    click.option("--sweep", metavar="NAME", help="Only runs of this sweep (dvlite try)."),
)


def with_filters(command: Command) -> Command:
    """Gives a command the flags that say which runs are meant."""
    return functools.reduce(lambda inner, option: option(inner), reversed(FILTERS), command)


@runs.command(
    "list",
    pages=True,
    example="dvlite runs --stage train --metric 'acc>0.9' --sort -acc\ndvlite runs --csv > runs.csv",
    codes=(10,),
)
@with_filters
@click.option(
    "-n", "--limit", metavar="N", type=click.IntRange(min=1), help="Show at most N runs (default 20; --html: 10,000)."
)
@click.option("--all", "everything", is_flag=True, help="Show all runs, those that runs rm hid too.")
@click.option("--columns", metavar="A,B", help="Show these columns: run, status, lr, acc, data/images ...")
@click.option("--sort", metavar="COL", help="Sort by this column; -COL sorts descending.")
@click.option("--csv", "words", flag_value="csv", help="Print CSV, with exact values.")
@click.option("--md", "words", flag_value="markdown", help="Print a Markdown table.")
@click.option("--html", metavar="FILE", type=PathText(), help="Write a page to look at in a browser.")
@click.option("--open", "opens", is_flag=True, help="With --html, open the page.")
@click.option("--watch", "watches", is_flag=True, help="Show what runs now, here, until Ctrl-C.")
def runs_list(
    *,
    limit: int | None,
    everything: bool,
    columns: str | None,
    words: str | None,
    html: str | None,
    opens: bool,
    watches: bool,
    **filters: Any,
) -> int:  # filters: stage, tags, statuses, params, metrics, since, until, commit, sweep, sort
    """List runs, newest first, with the columns in which they differ."""
    from dvlite.commands.runs import runs_list as verb
    from dvlite.runs.options import RunsOptions

    if watches:
        if any((limit, everything, columns, words, html, opens, *filters.values())):
            raise UsageError("--watch shows all that runs now", hint="dvlite runs --watch, without other flags of runs")
        return _watch()
    chosen = tuple(word for word in (columns or "").split(",") if word)
    if columns is not None and not chosen:
        raise UsageError("--columns names no column", hint="for example --columns run,lr,acc,commit")
    if opens and html is None:
        raise UsageError("--open is for the page of --html", hint="dvlite view   writes a page and opens it")
    if html is not None and words is not None:
        raise UsageError(f"--html and --{'md' if words == 'markdown' else words} cannot be given together")
    most = None if everything else limit or (20 if html is None else MOST_RUNS)
    wanted = RunsOptions(limit=most, hidden=everything, columns=chosen, **filters)
    if html is not None:
        return _page(html, wanted, opens=opens)
    return run(
        lambda s: verb(s.repo(), wanted, now_ns=time.time_ns(), progress=s.progress), text="runs", form=words or "text"
    )


def _watch() -> int:
    """Shows what runs now, on a terminal until Ctrl-C."""
    from dvlite.commands.runs_watch import RunsWatchResult
    from dvlite.commands.runs_watch import runs_watch as verb

    def work(session: Session) -> RunsWatchResult:
        repo = session.repo()
        session.output.watch(lambda: verb(repo), "runs_watch")
        return verb(repo)

    return run(work, text="runs_watch")


@runs.command("best", example="dvlite runs best acc\ndvlite runs best loss --lower --sweep lr-grid", codes=(10,))
@click.argument("metric", metavar="METRIC")
@with_filters
@click.option(
    "--higher", "better", flag_value="higher", help="Higher values are better (default: as the pipeline says)."
)
@click.option("--lower", "better", flag_value="lower", help="Lower values are better.")
def runs_best(metric: str, *, better: Any, **filters: Any) -> int:
    """Show the run with the best value of a metric."""
    from dvlite.commands.runs import runs_best as verb
    from dvlite.runs.options import RunsOptions

    wanted = RunsOptions(**filters)
    return run(
        lambda s: verb(s.repo(), metric, wanted, better=better, now_ns=time.time_ns(), progress=s.progress), text="runs"
    )


@runs.command(
    "show", pages=True, example="dvlite runs show last\ndvlite runs show train-7f3a9c --log", codes=(10, 12, 13)
)
@RUN
@click.option("--log", is_flag=True, help="Print the log of the run.")
@click.option("--diff", is_flag=True, help="Print the uncommitted edits of the run, as git diff.")
def runs_show(name: str, *, log: bool, diff: bool) -> int:
    """Show everything recorded about a run: train-7f3a9c, digits of it, last, last:STAGE."""
    from dvlite.commands.runs import runs_show as verb

    return run(
        lambda s: verb(s.repo(), name, log=log, diff=diff, now_ns=time.time_ns(), progress=s.progress), text="runs"
    )


@runs.command("diff", pages=True, example="dvlite runs diff train-5d20e1 last:train", codes=(10, 12))
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
def runs_diff(old: str, new: str) -> int:
    """Show what differs between two runs: parameters, metrics, data, code, environment."""
    from dvlite.commands.runs import runs_diff as verb

    return run(lambda s: verb(s.repo(), old, new, progress=s.progress), text="runs")


@runs.command("compare", pages=True, example="dvlite runs compare train-5d20e1 train-9c01b2 last:train", codes=(10, 12))
@click.argument("names", metavar="RUN...", nargs=-1, required=True, type=NameOf("run"))
def runs_compare(names: tuple[str, ...]) -> int:
    """Show what differs among runs, a column for each."""
    from dvlite.commands.runs import runs_compare as verb

    return run(lambda s: verb(s.repo(), names, progress=s.progress), text="runs")


@runs.command("tag", example="dvlite runs tag last:train best candidate", codes=(10,))
@RUN
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
def runs_tag(name: str, tags: tuple[str, ...]) -> int:
    """Add tags to a run."""
    from dvlite.commands.runs import runs_tag as verb

    return run(lambda s: verb(s.repo(), name, tags, now_ns=time.time_ns(), progress=s.progress), text="runs")


@runs.command("untag", example="dvlite runs untag train-7f3a9c candidate", codes=(10,))
@RUN
@click.argument("tag", metavar="TAG")
def runs_untag(name: str, tag: str) -> int:
    """Remove a tag from a run."""
    from dvlite.commands.runs import runs_untag as verb

    return run(lambda s: verb(s.repo(), name, tag, now_ns=time.time_ns(), progress=s.progress), text="runs")


@runs.command("note", example="dvlite runs note train-7f3a9c 'trained on the cleaned labels'", codes=(10,))
@RUN
@click.argument("words", metavar="TEXT")
def runs_note(name: str, words: str) -> int:
    """Add a note to a run."""
    from dvlite.commands.runs import runs_note as verb

    return run(lambda s: verb(s.repo(), name, words, now_ns=time.time_ns(), progress=s.progress), text="runs")


@runs.command(
    "apply",
    example="dvlite runs apply train-7f3a9c\ndvlite runs apply best --branch best-lr",
    codes=(10, 11, 12, 13),
)
@RUN
@click.option("--branch", metavar="NAME", help="Make this branch, with one commit, at the commit that the run had.")
@FORCE
@NO_STAGE
@NO_WAIT
def runs_apply(name: str, *, branch: str | None, force: bool) -> int:
    """Bring a run back into the workspace; nothing is run."""
    from dvlite.commands.runs_apply import runs_apply as verb

    return run(
        lambda s: verb(
            s.repo(), name, branch=branch, force=force, environ=s.environ, stage=s.stage(), progress=s.progress
        ),
        text="runs_apply",
    )


@runs.command(
    "import",
    example="dvlite runs import mlflow mlruns\ndvlite runs import wandb wandb\ndvlite runs import neptune exports/data\ndvlite runs import mlmd metadata.sqlite",
    codes=(3, 10),
)
@click.argument("program", metavar="mlflow|wandb|neptune|mlmd", type=click.Choice(RUNS_OF))
@click.argument("source", metavar="SOURCE", type=PathText())
@click.option(
    "--experiment", "experiments", metavar="NAME", multiple=True, help="Only runs of this experiment of MLflow."
)
def runs_import(program: Any, source: str, experiments: tuple[str, ...]) -> int:
    """Import runs of other programs, from a folder, a file or a server."""
    from dvlite.commands.runs_import import runs_import as verb

    return run(
        lambda s: verb(s.repo(), program, source, experiments=experiments, progress=s.progress), text="runs_import"
    )


@runs.command("rm", example="dvlite runs rm train-7f3a9c\ndvlite runs rm --failed", codes=(10,))
@click.argument("names", metavar="[RUN]...", nargs=-1, type=NameOf("run"))
@click.option("--failed", is_flag=True, help="All runs that failed or were stopped.")
@click.option("--undo", is_flag=True, help="Show them in lists again.")
def runs_rm(names: tuple[str, ...], *, failed: bool, undo: bool) -> int:
    """Leave runs out of lists; their records stay."""
    from dvlite.commands.runs import runs_rm as verb

    return run(
        lambda s: verb(s.repo(), names, failed=failed, undo=undo, now_ns=time.time_ns(), progress=s.progress),
        text="runs",
    )


@click.command("view", cls=Verb, example="dvlite view\ndvlite view --stage train --since 7d", codes=(10,))
@with_filters
@click.option("-n", "--limit", metavar="N", type=click.IntRange(min=1), help="Show at most N runs (default 10,000).")
@click.option("--all", "everything", is_flag=True, help="Show all runs, those that runs rm hid too.")
@click.option("--fetch", is_flag=True, help="Fetch logs, edits and curves that are not here from the default remote.")
def view(*, limit: int | None, everything: bool, fetch: bool, **filters: Any) -> int:  # filters: those of `runs list`
    """Look at runs in a browser: table, curves, comparison, lineage."""
    from dvlite.runs.options import RunsOptions

    wanted = RunsOptions(limit=None if everything else limit or MOST_RUNS, hidden=everything, **filters)
    return _page(None, wanted, opens=True, fetch=fetch)


def _page(file: str | None, wanted: RunsOptions, *, opens: bool, fetch: bool = False) -> int:
    """Writes the page of runs, and opens it if asked."""
    from dvlite.commands.view import view as verb
    from dvlite.reports.runs_page import write

    def work(session: Session) -> ViewResult:
        now_ns, progress = time.time_ns(), session.progress
        result = verb(session.repo(), wanted, file, write=write, fetch=fetch, now_ns=now_ns, progress=progress)
        return replace(result, opened=open_page(result.file, session.environ)) if opens else result

    return run(work, text="view")


# --- lineage and log ------------------------------------------------------------------------------------------------------------

ANY_REMOTE = on_remote("Query this remote (without one, the default one); a URL needs no clone.", "[URL_OR_NAME]")


@click.group(
    cls=DefaultVerbs,
    default="show",
    takes_word=True,
    options_metavar="",
    subcommand_metavar="X | diff A B | find KEY=VALUE...",
)
def lineage() -> None:
    """Show how a file was made, or what was made from it.

    \b
      dvlite lineage model.pt               how it was made: data, code, parameters, environment
      dvlite lineage --down data/images     what was made from it
      dvlite lineage /srv/current.pt --remote s3://acme-data/birds

    X is a path, REV:PATH, any file or folder on disk, an object id or 8 digits of one, a sha256, or a run.
    All flags: dvlite lineage show --help
    """  # noqa: D301  # \b is what click calls "as it is"


@lineage.command(
    "show",
    pages=True,
    short_help="Show how X was made, or with --down what was made from it; the word show may be left out.",
    example="dvlite lineage model.pt\ndvlite lineage --down data/images\ndvlite lineage /srv/current.pt --remote s3://acme-data/birds\n"
    "dvlite lineage --served http://localhost:8000",
    codes=(3, 10),
)
@click.argument("subject", metavar="[X]", required=False, type=PathText())
@click.option(
    "--served", metavar="PLACE", type=PathText(), help="Show what is served: DIR, s3://..., X.mar, http://host:8000"
)
@click.option("--up", "way", flag_value="up", help="Show how it was made (default).")
@click.option("--down", "way", flag_value="down", help="Show what was made from it.")
@click.option("--both", "way", flag_value="both", help="Show both.")
@click.option("--depth", metavar="N", type=click.IntRange(min=1), help="Follow at most N steps.")
@click.option(
    "--format", "form", type=click.Choice(["tree", "mermaid", "dot", "json"]), help="Print a tree, a diagram or JSON."
)
@click.option("--sources", is_flag=True, help="Fetch the runs of repositories that data was imported from.")
@ANY_REMOTE
def lineage_show(
    subject: str | None, *, served: str | None, way: str | None, form: str | None, **flags: Any
) -> int:  # depth, sources, remote
    """Show how X was made, or with --down what was made from it.

    X is a path, REV:PATH, any file or folder on disk, an object id or 8 digits of one, a sha256, or a run.
    The word show may be left out.
    """
    from dvlite.commands.lineage import lineage as verb

    if served is not None:
        if subject is not None or way is not None or form not in (None, "json") or flags["depth"] or flags["sources"]:
            raise UsageError("--served takes the place of X, and of other flags --remote alone")
        return _lineage_served(served, flags["remote"], as_json=form == "json")
    if subject is None:
        raise UsageError("missing what to show: a path, a run, an id", hint="dvlite lineage PATH")
    what = subject
    if form == "json":
        click.get_current_context().ensure_object(dict)["json"] = True
    return run(
        lambda s: verb(
            s.repo_if_any(),
            what,
            upwards=way in (None, "up", "both"),
            downwards=way in ("down", "both"),
            **flags,
            environ=s.environ,
            progress=s.progress,
        ),
        text="lineage",
        form=form if form in ("tree", "mermaid", "dot") else "text",
    )


def _lineage_served(place: str, remote: str | None, *, as_json: bool) -> int:
    from dvlite.commands.lineage import lineage_served as verb

    if as_json:
        click.get_current_context().ensure_object(dict)["json"] = True
    return run(
        lambda s: verb(s.repo_if_any(), place, remote=remote, environ=s.environ, progress=s.progress),
        text="lineage",
        form="served",
    )


@lineage.command(
    "find",
    pages=True,
    short_help="List outputs of runs by parameter, metric, tag, stage or status.",
    example="dvlite lineage find lr=0.01 'acc>0.9' path=model.pt",
    codes=(10,),
)
@click.argument("conditions", metavar="KEY=VALUE...", nargs=-1, required=True)
@click.option("-n", "--number", "limit", metavar="N", type=click.IntRange(min=1), help="Show at most N runs.")
@ANY_REMOTE
def lineage_find(conditions: tuple[str, ...], *, limit: int | None, remote: str | None) -> int:
    """List outputs of runs by parameter, metric, tag, stage, status, commit or path."""
    from dvlite.commands.lineage import lineage_find as verb

    return run(
        lambda s: verb(s.repo_if_any(), conditions, limit=limit, remote=remote, environ=s.environ, progress=s.progress),
        text="lineage",
    )


@lineage.command(
    "diff",
    pages=True,
    short_help="Show what differs upstream of A and B.",
    example="dvlite lineage diff HEAD~1:model.pt model.pt",
    codes=(10,),
)
@click.argument("old", metavar="A", type=PathText())
@click.argument("new", metavar="B", type=PathText())
@ANY_REMOTE
def lineage_diff(old: str, new: str, *, remote: str | None) -> int:
    """Show what differs upstream of two things: data, code, parameters, environment."""
    from dvlite.commands.lineage import lineage_diff as verb

    return run(
        lambda s: verb(s.repo_if_any(), old, new, remote=remote, environ=s.environ, progress=s.progress), text="lineage"
    )


@click.command(
    "log", cls=Verb, pages=True, example="dvlite log model.pt -n 10\ndvlite log -p data/birds.csv", codes=(10, 12)
)
@click.argument("path", metavar="PATH", type=PathText())
@REVISION
@click.option("-n", "--number", "limit", metavar="N", type=click.IntRange(min=1), help="Show at most N versions.")
@click.option("-p", "--patch", is_flag=True, help="Show which rows and files each version changed.")
@click.option(
    "--limit", "most", metavar="N", type=click.IntRange(0), help="With -p, list N rows and files (5); 0: all."
)
def log(path: str, *, revision: str | None, limit: int | None, patch: bool, most: int | None) -> int:
    """Show the versions of a path, with commit, run and metrics."""
    from dvlite.commands.log import LogOptions, changes_to_list
    from dvlite.commands.log import log as verb

    options = LogOptions(revision, limit, changes_to_list(patch=patch, limit=most))
    return run(lambda s: verb(s.repo(), path, options, progress=s.progress), text="log")


VERBS = {"Lineage": (runs, view, lineage, log)}
