"""Runs dvlite commands that die by SIGKILL at their Nth change to the disk; started once, it forks for each command.

Run as `python -m tests.mortal`: reads one JSON object a line ({"cwd", "args", "kill_at", "torn", "output"}), answers with one ({"code",
"events"}). A change is a call that writes, creates, renames, links, removes or syncs. `kill_at` 0 lets the command live and counts its
changes; `torn` lets the fatal write put down half of its bytes first. Knows nothing of what the commands do.
"""

from __future__ import annotations

import json
import os
import signal
import sys

NAMES = [
    "chmod",
    "copy_file_range",
    "fchmod",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "mkdir",
    "pwrite",
    "remove",
    "rename",
    "replace",
    "rmdir",
    "symlink",
    "truncate",
    "unlink",
    "write",
]


class Counter:
    """Counts changes and dies at the chosen one."""

    def __init__(self, kill_at: int, *, torn: bool) -> None:
        self.events, self.kill_at, self.torn = 0, kill_at, torn

    def due(self) -> bool:
        self.events += 1
        return self.events == self.kill_at

    def wrap(self, name: str):
        original = getattr(os, name)
        write = os.write

        def wrapped(*args, **options):
            if name == "write" and args[0] in (1, 2):
                return original(*args, **options)
            if self.due():
                if self.torn and name in ("write", "pwrite"):
                    data = bytes(args[1])
                    (os.pwrite if name == "pwrite" else write)(args[0], data[: len(data) // 2], *args[2:])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **options)

        setattr(os, name, wrapped)

    def heard(self, event: str, args: tuple) -> None:
        """Counts files that are opened to be written, by whatever means, and programs that are started."""
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_TRUNC):
            if self.due():
                os.kill(os.getpid(), signal.SIGKILL)
        elif event == "subprocess.Popen" and self.due():
            os.kill(os.getpid(), signal.SIGKILL)


def live(order: dict, answer: int) -> None:
    """Is the child: runs one command and reports how many changes it made, if it lives to see its end."""
    os.chdir(order["cwd"])
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    from dvlite.cli.main import main

    report = os.write
    counter = Counter(order["kill_at"], torn=order["torn"])
    for name in NAMES:
        counter.wrap(name)
    sys.addaudithook(counter.heard)
    try:
        code = main(order["args"]) or 0
    except SystemExit as leaving:
        code = leaving.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    report(answer, json.dumps({"code": code, "events": counter.events}).encode())
    os._exit(0)


def warm() -> None:
    """Loads what commands load, once for all of them."""
    import importlib
    import pkgutil

    import dvlite

    for module in pkgutil.walk_packages(dvlite.__path__, "dvlite."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for package in ("yaml", "pyfastcdc", "zstandard", "rich.console"):
        importlib.import_module(package)


def serve() -> None:
    """Forks a child for each order; a child that was killed answers nothing."""
    warm()
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            live(order, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        found = json.loads(answer) if answer else {"code": status, "events": 0}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    serve()
