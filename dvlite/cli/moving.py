"""The verbs that move a repository from DVC or Git LFS to dvlite and back, and keep the objects of Git LFS on a remote of dvlite. Declares flags and help; the work is in `commands`."""

from __future__ import annotations

import sys
from typing import Any

import click

from dvlite import __version__
from dvlite.cli.options import DRY_RUN, NO_STAGE, NO_WAIT, REMOTE, DefaultVerbs, PathText, Verb, run


@click.group("lfs-agent", cls=DefaultVerbs, default="serve", takes_word=False)
def lfs_agent() -> None:
    """Keep the objects of Git LFS on a remote of dvlite."""


@lfs_agent.command("serve", example="dvlite lfs-agent serve      # git-lfs runs this", codes=(10,))
@REMOTE
def lfs_agent_serve(*, remote: str | None) -> int:
    """Move objects as git-lfs asks on standard input."""
    from dvlite.commands.lfs_agent import lfs_agent as verb

    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    return run(
        lambda s: verb(s.repo, requests, answers, remote=remote or None, progress=s.progress),
        text=lambda *_: iter(()),  # standard output is git-lfs's
        to_stderr=True,
    )


@lfs_agent.command("install", example="dvlite lfs-agent install && git lfs push --all origin", codes=(10,))
@REMOTE
@click.option("--uninstall", is_flag=True, help="Let git-lfs ask its server again.")
def lfs_agent_install(*, remote: str | None, uninstall: bool) -> int:
    """Make git-lfs use a remote of dvlite in this clone."""
    from dvlite.commands.lfs_agent_install import lfs_agent_install as verb

    return run(lambda s: verb(s.repo(), remote=remote or None, uninstall=uninstall), text="lfs_agent", form="installed")


@lfs_agent.command("prune", example="dvlite lfs-agent prune -n", codes=(10, 13))
@REMOTE
@DRY_RUN
def lfs_agent_prune(*, remote: str | None, dry_run: bool) -> int:
    """Remove local objects of Git LFS that the remote provably has."""
    from dvlite.commands.lfs_agent_prune import lfs_agent_prune as verb

    return run(
        lambda s: verb(s.repo(), remote=remote or None, dry_run=dry_run, progress=s.progress),
        text="lfs_agent",
        form="pruned",
    )


@click.command(
    "import-dvc",
    cls=Verb,
    example="dvlite import-dvc -n\ndvlite import-dvc && git commit -m 'Move from DVC to dvlite'",
    codes=(3, 10, 11, 12, 13),
)
@click.option("--all-history", is_flag=True, help="Copy all commits to the branch from-dvc, with their data tracked.")
@click.option("--rev-range", metavar="A..B", help="Copy the commits of a range only.")
@click.option("--allow-missing", is_flag=True, help="Leave missing and damaged data to DVC; import the rest.")
@DRY_RUN
@NO_STAGE
@NO_WAIT
def import_dvc(**flags: Any) -> int:
    """Turn a repository of DVC into one of dvlite, with its data."""
    import platform

    from dvlite.commands.import_dvc import import_dvc as verb

    return run(
        lambda s: verb(
            s.repo(),
            **flags,
            environ=s.environ,
            host=platform.node(),
            version=__version__,
            stage=s.stage(),
            progress=s.progress,
        ),
        text="import_dvc",
    )


@click.command(
    "export-dvc",
    cls=Verb,
    example="dvlite export-dvc ../birds-dvc\ndvlite export-dvc --in-place -n",
    codes=(3, 10, 11, 12, 13),
)
@click.argument("directory", metavar="[DIR]", required=False, type=PathText())
@click.option("--in-place", is_flag=True, help="Change this work tree, instead of a clone in DIR.")
@DRY_RUN
@NO_STAGE
@NO_WAIT
def export_dvc(directory: str | None, **flags: Any) -> int:
    """Turn this repository into one of DVC, with its data."""
    from dvlite.commands.export_dvc import export_dvc as verb

    return run(lambda s: verb(s.repo(), directory, **flags, stage=s.stage(), progress=s.progress), text="export_dvc")


@click.command(
    "import-lfs",
    cls=Verb,
    example="dvlite import-lfs -n\ndvlite import-lfs && git commit -m 'Move from Git LFS to dvlite'",
    codes=(3, 10, 11, 12, 13),
)
@click.option("--all-history", is_flag=True, help="Rewrite every commit of all branches and tags.")
@click.option("--allow-missing", is_flag=True, help="Leave missing and damaged data to Git LFS; import the rest.")
@DRY_RUN
@NO_WAIT
def import_lfs(**flags: Any) -> int:
    """Track by dvlite what Git LFS keeps, with its data."""
    from dvlite.commands.import_lfs import import_lfs as verb

    return run(lambda s: verb(s.repo(), **flags, progress=s.progress), text="import_lfs")


@click.command(
    "export-lfs",
    cls=Verb,
    example="dvlite export-lfs -n\ndvlite export-lfs && dvlite install --uninstall && git lfs install --local",
    codes=(3, 10, 11, 12, 13),
)
@DRY_RUN
@NO_WAIT
def export_lfs(*, dry_run: bool) -> int:
    """Give tracked paths to Git LFS, with their data."""
    from dvlite.commands.export_lfs import export_lfs as verb

    return run(lambda s: verb(s.repo(), dry_run=dry_run, progress=s.progress), text="export_lfs")


VERBS = {"Move": (import_dvc, export_dvc, import_lfs, export_lfs, lfs_agent)}
