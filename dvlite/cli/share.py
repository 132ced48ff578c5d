"""The verbs that move data: remotes, push, pull, fetch and get. Declares flags and help; the work is in `commands`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from dvlite.cli.complete import NameOf
from dvlite.cli.options import (
    DRY_RUN,
    EXCLUDE,
    FORCE,
    JOBS,
    NO_STAGE,
    NO_WAIT,
    PATHS,
    REMOTE,
    REVISION,
    RUNS_OF,
    DefaultVerbs,
    PathText,
    R,
    Verb,
    key_value,
    run,
    scope_of,
    scoped,
)
from dvlite.errors import UsageError

ALLOW_MISSING = click.option("--allow-missing", is_flag=True, help="Leave out files that are nowhere, with a warning.")
MOVE_CODES = (3, 10, 11, 12, 13)
FOLLOWED = click.option(
    "--rev", "revision", metavar="R", help="Take and follow this branch, tag or commit of the source."
)


def _move(
    verb: Callable[..., R],
    text: str,
    *,
    paths: tuple[str, ...],
    revision: str | None,
    all_branches: bool,
    all_tags: bool,
    all_commits: bool,
    asks: bool = False,  # whether the verb wants to know if the user can be asked
    **flags: Any,  # remote, jobs, dry_run, and force of pull
) -> int:
    if "remote" in flags:
        flags["remote"] = flags["remote"] or None
    scope = scope_of(revision, all_branches=all_branches, all_tags=all_tags, all_commits=all_commits)
    return run(
        lambda s: verb(
            s.repo(), paths, scope=scope, progress=s.progress, **({"may_ask": s.may_ask()} if asks else {}), **flags
        ),
        text=text,
    )


@click.group(cls=DefaultVerbs, default="list", takes_word=False)
def remote() -> None:
    """Manage remotes, the places that data is pushed to."""


@remote.command("add", example="dvlite remote add s3://acme-data/birds -o region=eu-west-1", codes=(10,))
@click.argument("words", nargs=-1, required=True, metavar="[NAME] URL")
@click.option("-d", "--default", is_flag=True, help="Make this the default remote.")
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="A setting of the store.")
@click.option("--local", is_flag=True, help="Write to the file that git ignores (for secrets).")
@NO_STAGE
def remote_add(words: tuple[str, ...], *, default: bool, options: tuple[str, ...], local: bool) -> int:
    """Add a remote: a folder or s3://bucket/prefix. NAME is `origin` if left out."""
    from dvlite.commands.remote import remote_add as verb

    if len(words) > 2:
        raise UsageError(f"expected [NAME] URL, got {len(words)} words", hint="dvlite remote add --help")
    pairs = dict(key_value(option, "-o region=eu-west-1") for option in options)
    name = words[0] if len(words) == 2 else "origin"
    return run(
        lambda s: verb(
            s.repo(), name, words[-1], options=pairs, default=default, local=local, stage=s.stage(), progress=s.progress
        ),
        text="remote",
    )


@remote.command(
    "set",
    example="dvlite remote set origin -o endpoint_url=https://minio.example.com\ndvlite remote set origin s3://other/prefix",
    codes=(10,),
)
@click.argument("name", metavar="NAME", type=NameOf("remote"))
@click.argument("url", metavar="[URL]", required=False)
@click.option(
    "-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="Set an option; without VALUE, remove it."
)
@click.option("--local", is_flag=True, help="Write to the file that git ignores (for secrets).")
@NO_STAGE
def remote_set(name: str, url: str | None, *, options: tuple[str, ...], local: bool) -> int:
    """Change the place or options of a remote."""
    from dvlite.commands.remote import remote_set as verb

    pairs = dict(key_value(option, "-o region=eu-west-1") for option in options)
    if url is None and not pairs:
        raise UsageError("say what to change", hint="dvlite remote set NAME URL, or -o KEY=VALUE")
    return run(
        lambda s: verb(s.repo(), name, url, options=pairs, local=local, stage=s.stage(), progress=s.progress),
        text="remote",
    )


@remote.command("rename", example="dvlite remote rename origin backup", codes=(10,))
@click.argument("name", metavar="OLD", type=NameOf("remote"))
@click.argument("new_name", metavar="NEW")
@NO_STAGE
def remote_rename(name: str, new_name: str) -> int:
    """Give a remote another name."""
    from dvlite.commands.remote import remote_rename as verb

    return run(lambda s: verb(s.repo(), name, new_name, stage=s.stage(), progress=s.progress), text="remote")


@remote.command("list", example="dvlite remote list -v", codes=(10,))
def remote_list() -> int:
    """List the remotes."""
    from dvlite.commands.remote import remote_list as verb

    return run(lambda s: verb(s.repo(), progress=s.progress), text="remote")


@remote.command("remove", example="dvlite remote remove old", codes=(10,))
@click.argument("name", metavar="NAME", type=NameOf("remote"))
@NO_STAGE
def remote_remove(name: str) -> int:
    """Forget a remote; its data stays where it is."""
    from dvlite.commands.remote import remote_remove as verb

    return run(lambda s: verb(s.repo(), name, stage=s.stage(), progress=s.progress), text="remote")


@remote.command("default", example="dvlite remote default backup\ndvlite remote default origin backup", codes=(10,))
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=NameOf("remote"))
@NO_STAGE
def remote_default(names: tuple[str, ...]) -> int:
    """Choose the remote that push and pull use. With several, push fills each, and pull uses the first that has the data."""
    from dvlite.commands.remote import remote_default as verb

    return run(lambda s: verb(s.repo(), names, stage=s.stage(), progress=s.progress), text="remote")


@remote.command("trust", example="dvlite remote trust https://minio.example.com")
@click.argument("place", metavar="PLACE")
def remote_trust(place: str) -> int:
    """Approve a host or folder that a committed config names, for this user."""
    from dvlite.commands.remote import remote_trust as verb

    return run(lambda s: verb(s.environ, place), text="remote")


@remote.command("test", example="dvlite remote test origin", codes=(10,))
@click.argument("name", metavar="[NAME]", required=False, type=NameOf("remote"))
def remote_test(name: str | None) -> int:
    """Test and time what a remote must be able to do."""
    from dvlite.commands.remote import remote_test as verb

    return run(lambda s: verb(s.repo(), name, progress=s.progress), text="remote")


@click.command(cls=Verb, example="dvlite push\ndvlite push -r backup --all-branches", codes=MOVE_CODES)
@scoped
@REMOTE
@click.option("--allow-missing", is_flag=True, help="Skip versions whose data is lost, with a warning.")
def push(**flags: Any) -> int:
    """Upload data to a remote."""
    from dvlite.commands.push import push as verb

    return _move(verb, "push", asks=True, **flags)


@click.command(cls=Verb, example="dvlite pull data/images/val", codes=MOVE_CODES)
@scoped
@REMOTE
@FORCE
@EXCLUDE
@ALLOW_MISSING
def pull(**flags: Any) -> int:
    """Download data and check it out."""
    from dvlite.commands.pull import pull as verb

    return _move(verb, "pull", **flags)


@click.command(cls=Verb, example="dvlite fetch --all-tags", codes=MOVE_CODES)
@scoped
@REMOTE
@EXCLUDE
@ALLOW_MISSING
def fetch(**flags: Any) -> int:
    """Download data into the cache only."""
    from dvlite.commands.fetch import fetch as verb

    return _move(verb, "fetch", **flags)


@click.command(cls=Verb, example="dvlite sync origin backup\ndvlite sync origin backup --all-commits", codes=MOVE_CODES)
@click.argument("source", metavar="FROM", type=NameOf("remote"))
@click.argument("target", metavar="TO", type=NameOf("remote"))
@scoped
@click.option("--allow-missing", is_flag=True, help="Skip versions that FROM does not have, with a warning.")
def sync(**flags: Any) -> int:
    """Copy data from one remote to another."""
    from dvlite.commands.sync import sync as verb

    source, target = flags.pop("source"), flags.pop("target")
    return _move(lambda repo, paths, **how: verb(repo, source, target, paths, **how), "sync", **flags)


@click.command(
    cls=Verb,
    example="dvlite get git@example.com:acme/birds model.pt --rev v1.2 -o model.pt\ndvlite get https://example.com/birds.csv",
    codes=(3, 10, 12, 13),
)
@click.argument("source", metavar="[REPO]", type=PathText())
@click.argument("path", metavar="[REV:]PATH", required=False)
@REVISION
@click.option("-o", "--output", metavar="OUT", type=PathText(), help="Write to OUT; - is standard output.")
@JOBS
@click.option(
    "-r",
    "--remote",
    metavar="NAME_OR_URL",
    help="Fetch from this remote of REPO; or, by its URL, copy a snapshot on it: SNAPSHOT[:PATH], without git.",
)
@click.option(
    "--delta-version",
    metavar="N",
    type=click.IntRange(min=0),
    help="Of a Delta table, copy version N: its log up to there and its data files.",
)
def get(source: str, path: str | None, *, output: str | None, **flags: Any) -> int:
    """Copy data, or files of git, out of any repository, without a clone.

    With the URL of a file alone, download that.
    """
    return _copied(source, path, output, **flags)


@click.command(cls=Verb, example="dvlite cat HEAD~1:metrics.json", codes=(3, 10, 12, 13))
@click.argument("path", metavar="[REV:]PATH", type=PathText())
@REVISION
@REMOTE
def cat(path: str, remote: str | None, **flags: Any) -> int:
    """Print a file, as it is on disk or at a revision."""
    return _copied(".", path, "-", jobs=None, remote=remote or None, **flags)


@click.command(
    cls=Verb,
    example="dvlite sql \"SELECT count(*) FROM 'data/birds.csv'\"\ndvlite sql \"SELECT * FROM 'data/t.parquet@v1.0' JOIN 'data/t.parquet' USING (id)\" -o both.csv",
    codes=(10, 12, 13),
)
@click.argument("query", metavar="SELECT")
@REVISION
@click.option("-o", "--output", metavar="FILE", type=PathText(), help="Write to a new file: .csv, .parquet or .jsonl.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(0), help="Print N rows at most; 0 prints all.  [default: 100]"
)
@REMOTE
def sql(query: str, *, limit: int | None, remote: str | None, **flags: Any) -> int:
    """Query tables as they are on disk, or at any revision.

    Paths of tables stand in quotes: 'data/t.csv', a folder or a pattern, 'data/t.csv@v1.0' at a revision, 'app.db#users' in a database.
    """
    from dvlite.commands.sql import sql as verb

    if limit is None:
        limit = 0 if click.get_current_context().ensure_object(dict).get("json") else 100
    return run(
        lambda s: verb(s.repo(), query, limit=limit or None, remote=remote or None, progress=s.progress, **flags),
        text="sql",
    )


@click.command(
    "import",
    cls=Verb,
    example="dvlite import git@example.com:acme/registry data/birds -o data/\ndvlite import ../registry models/wren.pt --rev v2 -o models/",
    codes=(3, 10, 11, 12, 13),
)
@click.argument("address", metavar="REPO", type=PathText())
@click.argument("path", metavar="[REV:]PATH")
@FOLLOWED
@click.option("-o", "--output", metavar="OUT", type=PathText(), help="Track it as OUT, or in the folder OUT/.")
@JOBS
@NO_STAGE
@NO_WAIT
def import_(address: str, path: str, **flags: Any) -> int:
    """Track data of another repository, and remember where it is from."""
    from dvlite.commands.import_ import import_ as verb
    from dvlite.show import word

    if address in RUNS_OF and not os.path.exists(f"{address}/.git"):
        raise UsageError(
            "import is for data of other repositories", hint=f"dvlite runs import {word(address)} {word(path)}"
        )
    return run(
        lambda s: verb(s.repo(), address, path, **flags, stage=s.stage(), progress=s.progress),
        text="import_",
    )


@click.command(
    cls=Verb,
    example="dvlite import-url https://example.com/birds.csv data/\ndvlite import-url s3://acme-raw/2026/ data/raw",
    codes=(10, 11),
)
@click.argument("url", metavar="URL", type=PathText())
@click.argument("output", metavar="[OUT]", required=False, type=PathText())
@click.option(
    "--no-download",
    "download",
    flag_value=False,
    default=True,
    help="Track a list of what is in a bucket or folder: names, sizes, versions. The data stays there.",
)
@JOBS
@NO_STAGE
@NO_WAIT
def import_url(url: str, output: str | None, **flags: Any) -> int:
    """Track data from a URL, bucket or folder, and remember its source."""
    from dvlite.commands.import_url import import_url as verb

    return run(
        lambda s: verb(s.repo(), url, output, **flags, stage=s.stage(), progress=s.progress),
        text="import_",
    )


@click.command(cls=Verb, example="dvlite update\ndvlite update data/birds --rev v3", codes=(3, 10, 11, 12, 13))
@PATHS
@FOLLOWED
@DRY_RUN
@click.option("-f", "--force", is_flag=True, help="Replace data that was changed here since it was imported.")
@JOBS
@NO_STAGE
@NO_WAIT
def update(paths: tuple[str, ...], **flags: Any) -> int:
    """Bring imported data to what its source has now."""
    from dvlite.commands.update import update as verb

    return run(
        lambda s: verb(s.repo(), paths, **flags, stage=s.stage(), progress=s.progress),
        text="update",
    )


def _copied(source: str, path: str | None, output: str | None, **flags: Any) -> int:
    from dvlite.commands.get import get as verb

    common: dict[str, Any] = click.get_current_context().ensure_object(dict)
    if output == "-" and common.get("json"):
        raise UsageError("-o - and --json both want standard output", hint="give -o a file")
    where = sys.stdout.buffer if output == "-" else output
    return run(lambda s: verb(source, path, output=where, environ=s.environ, progress=s.progress, **flags), text="get")


VERBS = {
    "Start": (remote,),
    "Share": (push, pull, fetch, sync, import_, import_url, update),
    "Inspect": (get, cat, sql),
}
