"""Which versions were made in this clone and not pushed since: what `status` knows without asking a remote.

An empty file per version, named by its id; `add` and `repro` write it, whatever makes the version complete on a remote removes it. Losing one
costs a line of `status`: neither push nor collection rely on it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.oid import Oid
from dvlite.repo.repository import Repo

_FOLDER = "dvlite/unpushed"  # in git's common folder


def note(repo: Repo, version: Oid) -> None:
    """Records that a version was made in this clone."""
    name = repo.common_dir / _FOLDER / version.replace(":", "-")
    with contextlib.suppress(DvliteError, OSError):  # a full disk: nothing is said of it later
        name.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(name, b"", sync=False)


def drop(repo: Repo, versions: Iterable[Oid]) -> None:
    """Forgets versions that a remote has."""
    for version in among(repo, versions):
        with contextlib.suppress(OSError):
            os.unlink(repo.common_dir / _FOLDER / version.replace(":", "-"))


def has_other(repo: Repo, known: Iterable[Oid]) -> bool:
    """Returns whether a version was made here and not pushed that is not among these."""
    try:
        names = set(os.listdir(repo.common_dir / _FOLDER))
    except OSError:
        return False
    return bool(names.difference(version.replace(":", "-") for version in known))


def among(repo: Repo, versions: Iterable[Oid]) -> set[Oid]:
    """Returns those versions that were made here and not pushed."""
    try:
        names = set(os.listdir(repo.common_dir / _FOLDER))
    except OSError:
        return set()
    return {version for version in versions if version.replace(":", "-") in names} if names else set()
