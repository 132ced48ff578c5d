"""Text that a terminal cannot show at once, through the user's pager, chosen as git chooses it. The only module that starts one.

Loaded only where a verb that lists much writes to a terminal.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TextIO

from dvlite.git import program

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_SETTINGS = {"LESS": "FRX", "LV": "-c"}  # git's: keep colours, leave at once if all fits, do not clear the screen


def write(lines: Iterable[str], stream: TextIO, environ: Mapping[str, str]) -> None:
    """Writes whole lines to a terminal; returns once the user has left the pager, which may be before all was written."""
    width, height = shutil.get_terminal_size()
    rest = iter(lines)
    first, rows = [], 0
    for line in rest:
        first.append(line)
        rows += max(1, -(-len(_COLOR.sub("", line.rstrip("\n"))) // max(1, width)))
        if rows >= height:
            break
    command = _command(environ) if rows >= height else ""
    if not command:
        stream.writelines(chain(first, rest))
        return
    stream.flush()
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the pager, which gets it too
    try:
        with (
            contextlib.suppress(BrokenPipeError),  # the user has seen enough
            subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=stream,
                env={**_SETTINGS, **environ},
                encoding=stream.encoding,
                errors=stream.errors,
            ) as process,
        ):
            assert process.stdin is not None
            process.stdin.writelines(chain(first, rest))
    finally:
        signal.signal(signal.SIGINT, before)


def _command(environ: Mapping[str, str]) -> str:
    """Returns the command line of the pager; '' if the user wants none, or the program is not there."""
    command = program.pager(environ)
    try:
        name = next((word for word in shlex.split(command) if "=" not in word), "cat")
    except ValueError:  # an open quote
        return ""
    return command if name != "cat" and shutil.which(name, path=environ.get("PATH")) else ""
