"""The verbs for git and CI on the command line: hooks, merges, verify; one short function for each. See `cli`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvlite.frame import NO_STAGE, NO_WAIT, PATHS, Verb, run

if TYPE_CHECKING:
    from dvlite.workspace.merging import Choice

VERBS: list[click.Command] = []


# --- merges ---------------------------------------------------------------------------------------------------------------------


@click.command(
    "resolve",
    cls=Verb,
    example="dvlite resolve data/images\ndvlite resolve data/images --theirs",
    codes=(10, 11, 12, 13),
)
@PATHS
@click.option("--ours", "choice", flag_value="ours", help="Take our version of what both sides changed.")
@click.option("--theirs", "choice", flag_value="theirs", help="Take their version of it.")
@click.option("--union", "choice", flag_value="union", help="Keep both: theirs as NAME.theirs.EXT.")
@NO_STAGE
@NO_WAIT
def resolve(paths: tuple[str, ...], *, choice: Choice | None) -> int:
    """Settle merge conflicts in pointers and lockfiles."""
    from dvlite.commands.resolve import resolve as verb

    return run(lambda s: verb(s.repo(), paths, choice or "", stage=s.stage(), progress=s.progress))


@click.command("merge-driver", cls=Verb, hidden=True, example="git config merge.dvlite.driver")
@click.argument("words", nargs=-1, metavar="BASE OURS THEIRS MARKERS PATH")
@click.option("--ancestor", is_flag=True, help="Make one common ancestor out of several.")
def merge_driver(words: tuple[str, ...], *, ancestor: bool) -> int:
    """Be git's merge driver."""
    from pathlib import Path

    from dvlite.commands.merge_driver import merge_driver as verb

    return run(lambda s: verb(Path(), s.environ, words, ancestor=ancestor, progress=s.progress))


VERBS += [resolve, merge_driver]
