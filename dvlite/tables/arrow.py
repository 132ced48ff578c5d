"""Arrow files (IPC, Feather), by way of pyarrow: handed to the table engine as they are, and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvlite.errors import FormatError, UsageError
from dvlite.tables.engine import Connection, identifier


def register(engine: Connection, paths: Sequence[Path], which: str) -> str:
    """Makes files known to the engine, which reads them batch by batch; returns what SQL calls them. Raises FormatError."""
    pyarrow, dataset = packages()
    name = "arrow_" + "_".join(part for part in (paths[0].parent.name, paths[0].stem))
    try:
        engine.register(name, dataset.dataset([str(path) for path in paths], format="ipc"))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"cannot read {which}: it is no Arrow file ({type(error).__name__})") from None
    return identifier(name)


def packages() -> tuple[Any, Any]:
    """Returns pyarrow and its datasets. Raises UsageError without the package."""
    try:
        import pyarrow as pa
        from pyarrow import dataset
    except ImportError:
        raise UsageError(
            "tables need the package pyarrow, which is not installed", hint="pip install 'dvlite[tables]'"
        ) from None
    return pa, dataset
