"""Removes folders that removing or moving a tracked path left empty; knows paths only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def remove_empty_folders(root: Path, current: Path, path: str) -> None:
    """Removes the folders above a path as far as they are empty, as git does; never `root` and none that holds `current`."""
    folder = (root / path).parent
    with contextlib.suppress(OSError):  # not empty: something else lives there
        while folder != root and not current.is_relative_to(folder):
            os.rmdir(folder)
            folder = folder.parent
