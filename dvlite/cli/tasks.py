"""Verbs for stages that run on other machines: `exec-task`, where they run, and `task`, in the clone."""

from __future__ import annotations

import click

from dvlite import __version__
from dvlite.cli.complete import NameOf
from dvlite.cli.options import NO_STAGE, NO_WAIT, DefaultVerbs, PathText, Verb, run


@click.command(
    "exec-task",
    cls=Verb,
    example="dvlite exec-task --remote s3://bucket/birds 5e1f...     # as dvlite repro --to has it\n"
    "dvlite exec-task --remote s3://bucket/birds --index-from SLURM_ARRAY_TASK_ID 5e1f...",
    codes=(4, 11, 12, 13),
)
@click.argument("spec", metavar="SPEC", type=PathText())
@click.option("-r", "--remote", metavar="URL", required=True, help="Fetch from, and push to, this bucket or folder.")
@click.option("--cache", metavar="DIR", type=PathText(), help="Keep data there instead of the user's cache.")
@click.option("--index-from", metavar="VAR", help="Run only the task of the list that this variable numbers, from 0.")
def exec_task(spec: str, *, remote: str, cache: str | None, index_from: str | None) -> int:
    """Run tasks that were given out, without a clone.

    SPEC is the id of a task, or of a list of tasks, on the remote, or a file with a task. Of a list, each task runs that no other worker has.
    """
    import platform

    from dvlite.commands.exec_task import ExecOptions
    from dvlite.commands.exec_task import exec_task as verb

    return run(
        lambda s: verb(
            spec,
            ExecOptions(remote, cache, index_from),
            environ=s.environ,
            host=platform.node(),
            progress=s.progress,
        ),
        text="exec_task",
    )


@click.group(cls=DefaultVerbs, default="list", takes_word=False)
def task() -> None:
    """List tasks that were given out, and collect their results."""


@task.command("list", cls=Verb, example="dvlite task list", codes=(10,))
def task_list() -> int:
    """List the tasks that were given out and not collected."""
    from dvlite.commands.task import task_list as verb

    return run(lambda s: verb(s.repo(), progress=s.progress), text="task")


@task.command("collect", cls=Verb, example="dvlite task collect", codes=(3, 4, 10, 11, 12, 13))
@click.argument("targets", nargs=-1, metavar="[STAGE]...", type=NameOf("stage"))
@NO_STAGE
@NO_WAIT
def task_collect(targets: tuple[str, ...]) -> int:
    """Bring results of tasks into the work tree and the lockfile."""
    import platform

    from dvlite.commands.task import task_collect as verb

    return run(
        lambda s: verb(
            s.repo(),
            targets,
            environ=s.environ,
            host=platform.node(),
            version=__version__,
            stage=s.stage(),
            progress=s.progress,
        ),
        text="task",
        form="collect",
    )


VERBS = {"Pipeline": (exec_task, task)}
