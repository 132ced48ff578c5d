"""The program: runs one command line, and is the one place where an error becomes an exit code.

The verbs are declared in the modules beside this one, by area; a verb's own module in `commands` is loaded when the verb runs, so that
`--help` costs click and the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import shell_complete

from dvlite import __version__
from dvlite.cli import check, export, lineage, model, moving, pipeline, setup, share, tasks, track
from dvlite.cli.options import COMPLETE, Verbs, output_of
from dvlite.errors import UsageError

EXIT_INTERRUPTED, EXIT_PIPE = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; raises nothing."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    flags: dict[str, Any] = {}
    if sys.stdout is None or sys.stderr is None:  # closed by the caller (`dvlite status >&-`)
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for the rest of the process
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    try:
        if os.environ.get(COMPLETE):
            return shell_complete(app, {}, "dvlite", COMPLETE, os.environ[COMPLETE])
        with app.make_context("dvlite", arguments, obj=flags) as ctx:
            code = int(app.invoke(ctx) or 0)
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:  # --help, --version
        return leaving.exit_code
    except BrokenPipeError:  # the reader of standard output closed it
        _forget_stdout()
        return EXIT_PIPE
    except (KeyboardInterrupt, click.Abort) as stopped:
        output_of(flags).plain(f"interrupted; {str(stopped) or 'run the command again to continue'}")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return output_of({"json": "--json" in arguments, **flags}).failure(_usage_error(error))
    except Exception as error:  # the one place: every error becomes a message and an exit code
        return output_of({"json": "--json" in arguments, **flags}).failure(error)
    return code


def _usage_error(error: click.ClickException) -> UsageError:
    ctx = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=f"{ctx.command_path if ctx else 'dvlite'} --help")


def _forget_stdout() -> None:
    """Redirects standard output to /dev/null, so that Python does not complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_EPILOG = """\b
First steps: dvlite init; dvlite add DATA; git commit;
             dvlite remote add s3://BUCKET/PREFIX; dvlite push
Flags and examples of a command: dvlite COMMAND --help"""


@click.group(
    cls=Verbs, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, "-V", "--version", message="dvlite %(version)s")
def app() -> None:
    """Versions data and models next to code: git, and a folder or bucket for the data."""


for _area in (setup, track, share, moving, pipeline, tasks, lineage, model, export, check):
    app.add_area(_area.VERBS)
