"""What `push` and `fetch` have in common: tracked paths that moved, were there, or could not be moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.errors import DvliteError, ObjectMissing, PartlyDone
from dvlite.text.style import NAMED, Show, amount_text, count
from dvlite.workspace.fetch import MovedPath


def in_state(paths: Sequence[MovedPath], *states: str) -> list[MovedPath]:
    """Returns the paths in one of the states."""
    return [path for path in paths if path.state in states]


def named(paths: Sequence[MovedPath], show: Show) -> str:
    """Returns the first few different paths."""
    return show.paths(list(dict.fromkeys(path.path for path in paths)), most=NAMED)


def planned(paths: Sequence[MovedPath], verb: str, remote: str, show: Show) -> Iterator[str]:
    """Yields what a dry run found."""
    todo = in_state(paths, "planned")
    for path in todo:
        at = f" at {path.revision[:8]}" if path.revision else ""
        yield f"would {verb} {show.path(path.path)}{at}: {amount_text(path.files, path.size_bytes)}"
    if not todo:
        yield f"Nothing to {verb}: {remote} and the cache agree on {count(len(paths), 'tracked path')}."


def undone(paths: Sequence[MovedPath], where: str, verb: str, hint: str, show: Show) -> DvliteError | None:
    """Returns what could not be moved, as the error to end with."""
    missing = in_state(paths, "missing")
    if missing:
        reason = next((f": {path.problem}" for path in missing if path.problem), "")
        return ObjectMissing(f"{named(missing, show)}: {where}{reason}", hint=hint)
    failed = in_state(paths, "failed")
    if failed:
        reason = next((f": {path.problem}" for path in failed if path.problem), "")
        left = f"{len(failed)} of {count(len(paths), 'tracked path')}"
        return PartlyDone(
            f"cannot {verb} {left}, {named(failed, show)}{reason}", hint=f"run dvlite {verb} again: it continues"
        )
    return None
