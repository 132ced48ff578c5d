"""The verbs of runs and lineage on the command line: one short function for each. See `cli`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.errors import NotARepository
from dvlite.frame import REVISION, PathText, Session, Verb, Verbs, run

if TYPE_CHECKING:
    from dvlite.repo import Repo

VERBS: list[click.Command] = []


# --- lineage and log ------------------------------------------------------------------------------------------------------------

ANY_REMOTE = click.option("--remote", metavar="URL_OR_NAME", help="Ask this remote; needs no clone.")


class LineageVerbs(Verbs):
    """`lineage`, whose first form needs no name: `dvlite lineage model.pt` is `dvlite lineage show model.pt`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `show` before the words of the first form."""
        words = [word for before, word in zip(["", *args], args, strict=False) if before not in ("-C", "--color")]
        first = next((word for word in words if not word.startswith("-") or word == "--"), None)
        asks_help = first is None and (not args or any(word in ("-h", "--help") for word in args))
        if first not in self.commands and not asks_help:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=LineageVerbs)
def lineage() -> None:
    """Show what made something, or what was made of it: dvlite lineage X."""


@lineage.command(
    "show",
    example="dvlite lineage model.pt\ndvlite lineage --down data/images\ndvlite lineage /srv/current.pt --remote s3://acme-data/birds",
    codes=(10,),
)
@click.argument("subject", metavar="X", type=PathText())
@click.option("--up", "way", flag_value="up", help="What made it (the default).")
@click.option("--down", "way", flag_value="down", help="What was made of it.")
@click.option("--both", "way", flag_value="both", help="Both.")
@click.option("--depth", metavar="N", type=click.IntRange(min=1), help="At most so many runs away.")
@click.option(
    "--format", "form", type=click.Choice(["tree", "mermaid", "dot", "json"]), help="A tree, a diagram, JSON."
)
@ANY_REMOTE
def lineage_show(subject: str, *, way: str | None, depth: int | None, form: str | None, remote: str | None) -> int:
    """X is a path, REV:PATH, any file or folder on disk, an object id or 8 digits of one, a sha256, or a run."""
    from dvlite.commands.lineage import lineage as verb

    flags: dict[str, Any] = click.get_current_context().ensure_object(dict)
    if form == "json":
        flags["json"] = True
    return run(
        lambda s: verb(
            _repo_if_any(s),
            subject,
            upwards=way in (None, "up", "both"),
            downwards=way in ("down", "both"),
            depth=depth,
            remote=remote,
            environ=s.environ,
            progress=s.progress,
        ),
        words=form if form in ("tree", "mermaid", "dot") else "text",
    )


@lineage.command("find", example="dvlite lineage find lr=0.01 'acc>0.9' path=model.pt", codes=(10,))
@click.argument("asked", metavar="KEY=VALUE...", nargs=-1, required=True)
@click.option("-n", "--number", "limit", metavar="N", type=click.IntRange(min=1), help="At most so many runs.")
@ANY_REMOTE
def lineage_find(asked: tuple[str, ...], *, limit: int | None, remote: str | None) -> int:
    """List what runs left, by parameter, metric, tag, stage, status, commit or path."""
    from dvlite.commands.lineage import lineage_find as verb

    return run(
        lambda s: verb(_repo_if_any(s), asked, limit=limit, remote=remote, environ=s.environ, progress=s.progress)
    )


@lineage.command("diff", example="dvlite lineage diff HEAD~1:model.pt model.pt", codes=(10,))
@click.argument("old", metavar="A", type=PathText())
@click.argument("new", metavar="B", type=PathText())
@ANY_REMOTE
def lineage_diff(old: str, new: str, *, remote: str | None) -> int:
    """Show what differs upstream of two things: data, code, parameters, environment."""
    from dvlite.commands.lineage import lineage_diff as verb

    return run(lambda s: verb(_repo_if_any(s), old, new, remote=remote, environ=s.environ, progress=s.progress))


def _repo_if_any(session: Session) -> Repo | None:
    """Opens the repository around the current folder; a remote can be asked without one."""
    try:
        return session.repo()
    except NotARepository:
        return None


@click.command("log", cls=Verb, example="dvlite log model.pt -n 10", codes=(10, 12))
@click.argument("path", metavar="PATH", type=PathText())
@REVISION
@click.option("-n", "--number", "limit", metavar="N", type=click.IntRange(min=1), help="At most so many versions.")
def log(path: str, *, revision: str | None, limit: int | None) -> int:
    """Show the versions of a path, with commit, run and metrics."""
    from dvlite.commands.log import log as verb

    return run(lambda s: verb(s.repo(), path, revision=revision, limit=limit, progress=s.progress))


VERBS += [lineage, log]
