"""Calls one Python function for one unit after another, in the Python that the user's PATH has: a script of its own, run by path.

Arguments: `module:function`. Standard input has a line of JSON for each call, its two arguments; standard output takes the answers. What the
function prints goes to standard error. Written for any Python 3.7 and later, with nothing but its standard library.
"""

from __future__ import annotations

import sys

sys.path[0] = ""  # the folder of the unit, and not that of this script, whose modules have the names of others

import contextlib  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from typing import Any  # noqa: E402


def _usage() -> tuple[float, int]:
    try:
        import resource
    except ImportError:
        return 0.0, 0
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return seconds, max(own.ru_maxrss, children.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def _found(name: str) -> Any:
    module, _, function = name.partition(":")
    value = importlib.import_module(module)
    for part in function.split("."):
        value = getattr(value, part)
    return value


def _problem(error: BaseException) -> str | None:
    """Returns one line about an exception; its traceback is in the log."""
    if isinstance(error, SystemExit):
        return None if error.code in (None, 0) else f"exit {error.code}"
    text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()
    return text[-1][:500] if text else type(error).__name__


def main() -> None:
    """Answers one call after another."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.path[0] = os.getcwd()
    function = None
    for line in iter(requests.readline, b""):
        arguments = json.loads(line.decode("ascii"))
        before, started, problem = _usage()[0], time.time(), None
        try:
            if function is None:
                function = _found(sys.argv[1])
            started = time.time()
            function(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problem = _problem(error)
            if problem is not None:
                traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        after, memory = _usage()
        answer = [problem, max(0.0, time.time() - started), after - before, memory]
        answers.write(json.dumps(answer).encode("ascii") + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
