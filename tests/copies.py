"""Prepared repositories: each is built once in a test process, and every test gets a copy."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

_TEMPORARY = tempfile.gettempdir()  # now: a test may set another one, and see that nothing is left there


def copy_of(name: str, build: Callable[[Path], object], target: Path) -> Path:
    """Copies the folder that `build` makes to `target`; it is built for the first that asks for `name`."""
    prepared = _folder() / name
    if not prepared.exists():
        building = prepared.with_suffix(".building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        build(building)
        for sample in building.rglob("*.sample"):  # git's examples of hooks
            sample.unlink()
        building.rename(prepared)
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", f"{prepared}/.", str(target)], check=True)  # a fifth of the CPU of shutil.copytree
    return target


def first_commit(folder: Path) -> None:
    """Makes a folder a git work tree with one empty commit."""
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "--quiet", "--allow-empty", "-m", "Start"], cwd=folder, check=True)


def initialised(folder: Path) -> None:
    """Makes a folder such a work tree with dvlite in it, not committed."""
    from dvlite.commands.init import init
    from dvlite.progress import NullProgress

    first_commit(folder)
    init(folder, os.environ, hooks=False, progress=NullProgress())


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="dvlite-prepared-", dir=_TEMPORARY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
