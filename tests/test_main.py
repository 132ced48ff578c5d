"""The program itself: how it starts."""

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

# Ctrl-C as the first module of the command line loads.
EARLY = """\
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from dvlite.__main__ import entry
sys.exit(entry())
"""


def test_ctrl_c_while_the_program_loads_prints_no_traceback():
    def interruptible():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    done = subprocess.run(
        [sys.executable, "-c", EARLY, "status"], capture_output=True, text=True, check=False, preexec_fn=interruptible
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; run the command again to continue\n"


def test_the_installed_program_starts_there():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"dvlite": "dvlite.__main__:entry"}
