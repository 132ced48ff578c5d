"""The tasks that this work tree gave out, until their results are taken up: one file each in git's directory, for each remote a folder.

A result is believed only if its task is one of these, or is what this clone would give out now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from dvlite import files
from dvlite.errors import FormatError
from dvlite.formats import task
from dvlite.formats.task import Task
from dvlite.oid import digest_task
from dvlite.repo.repository import Repo

_FOLDER = "tasks"


def remember(repo: Repo, remote: str, items: Mapping[str, bytes]) -> None:
    """Records that these tasks (their canonical bytes, by their ids) were given out to a remote (its key). Losing it costs only results whose inputs changed since."""
    folder = _folder(repo, remote)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in items.items():
        files.write_atomic(folder / f"{name}.json", data, sync=False)


def remembered(repo: Repo, remote: str) -> dict[str, Task]:
    """Returns the tasks that were given out to a remote and not taken up, by their ids; a file that is damaged counts as none."""
    found: dict[str, Task] = {}
    for path in sorted(_folder(repo, remote).glob("*.json")):
        data = files.read_own(path, task.MAX_BYTES) or b""
        if digest_task(data) == path.stem:
            with contextlib.suppress(FormatError):  # of another version of dvlite
                found[path.stem] = task.parse(data, path.name)
    return found


def forget(repo: Repo, remote: str, names: Iterable[str]) -> None:
    """Removes tasks whose results were taken up."""
    for name in names:
        (_folder(repo, remote) / f"{name}.json").unlink(missing_ok=True)


def _folder(repo: Repo, remote: str) -> Path:
    return repo.state_dir / _FOLDER / remote
