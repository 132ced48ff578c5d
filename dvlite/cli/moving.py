"""The verbs for repositories that other programs manage too: Git LFS on a remote of dvlite. Declares flags and help; the work is in `commands`."""

from __future__ import annotations

import sys

import click

from dvlite.cli.options import DRY_RUN, NO_WAIT, REMOTE, DefaultVerbs, Verb, run


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
    "import-lfs",
    cls=Verb,
    example="dvlite import-lfs -n\ndvlite import-lfs && git commit -m 'Move from Git LFS to dvlite'",
    codes=(3, 10, 11, 12, 13),
)
@click.option("--allow-missing", is_flag=True, help="Leave to Git LFS what has no bytes; import the rest.")
@DRY_RUN
@NO_WAIT
def import_lfs(*, allow_missing: bool, dry_run: bool) -> int:
    """Track by dvlite what Git LFS keeps: its data comes from this clone."""
    from dvlite.commands.import_lfs import import_lfs as verb

    return run(
        lambda s: verb(s.repo(), allow_missing=allow_missing, dry_run=dry_run, progress=s.progress),
        text="import_lfs",
    )


@click.command(
    "export-lfs",
    cls=Verb,
    example="dvlite export-lfs -n\ndvlite export-lfs && git lfs install --local && git commit -m 'Move to Git LFS'",
    codes=(3, 10, 11, 12, 13),
)
@DRY_RUN
@NO_WAIT
def export_lfs(*, dry_run: bool) -> int:
    """Give tracked paths to Git LFS: its objects come from the cache."""
    from dvlite.commands.export_lfs import export_lfs as verb

    return run(lambda s: verb(s.repo(), dry_run=dry_run, progress=s.progress), text="export_lfs")


VERBS = {"Share": (lfs_agent, import_lfs, export_lfs)}
