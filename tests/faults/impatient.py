"""The warm program (tests/warm.py) with short time limits: a stalled request is given up in a second, and a command that hangs dies."""

from __future__ import annotations

import signal
import sys

from dvlite.cli import main as command_line
from dvlite.store import s3_http
from tests import warm

ANSWER_SECONDS = 1
HANGS_AFTER_SECONDS = 60  # then SIGALRM ends the child, and its client leaves with 137


def main() -> None:
    assert {"_SILENT_SECONDS", "_CONNECT_SECONDS"} <= vars(s3_http).keys()
    s3_http._SILENT_SECONDS = s3_http._CONNECT_SECONDS = ANSWER_SECONDS
    whole = command_line.main

    def limited(*arguments):
        signal.alarm(HANGS_AFTER_SECONDS)
        return whole(*arguments)

    command_line.main = limited
    warm.serve(sys.argv[1])


if __name__ == "__main__":
    main()
