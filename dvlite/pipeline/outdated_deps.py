"""Finds data that stages depend on and that did not follow its pointer: git moved on, by a merge, a stash, a step of a rebase, and the data did not.

To run with it would lock what no commit has together. What nobody touched is taken for what its pointer says and gives way to that when a
command needs it; what was edited since is the user's to put together.
"""

from __future__ import annotations

from collections.abc import Iterable

from dvlite.errors import DvliteError
from dvlite.files import printable, quote, word
from dvlite.formats.pointer import SUFFIX
from dvlite.pipeline.content import Contents, as_output
from dvlite.pipeline.stages import Stage
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace import sparse
from dvlite.workspace.outdated import Behind, find_behind, keeping
from dvlite.workspace.workspace import Workspace


def assume_followed(
    work: Workspace, contents: Contents, stages: Iterable[Stage], tracked: Iterable[Tracked]
) -> list[DvliteError]:
    """Lets `contents` take untouched earlier versions for what their pointers name; returns why stages cannot run with the others.

    Costs reading a small file for each pointer; a run of git and a look at the data only where the two differ.
    """
    pointers = [item for item in tracked if not item.stage]
    moved = [item for item in pointers if work.other_version(item) is not None]
    used = [place.path for stage in stages for place in (*stage.deps, *stage.params)] if moved else []
    values = [place.path for stage in stages for place in stage.params] if moved else []
    refused = []
    for item in moved:
        found = work.scan(item.path) if any(_may_read(path, item.path) for path in used) else None
        behind = None if found is None else find_behind(work, item.path, item.pointer, found, ())
        if behind is None:
            continue
        if behind.is_edited or any(_may_read(path, item.path) for path in values):
            refused.append(_refusal(work, item.path, behind))
        else:
            contents.assume(item.path, as_output(item.path, item.pointer))
    return refused


def _refusal(work: Workspace, path: str, behind: Behind) -> DvliteError:
    shown = work.repo.display(path)
    message = f"cannot run with {quote(shown)}: {printable(shown + SUFFIX)} changed since it was checked out"
    if not behind.is_edited:
        return DvliteError(message, hint=behind.bring)
    add = f"dvlite add {word(shown)}"
    return DvliteError(
        f"{message}, and so did its files",
        hint=f"{behind.bring}   (keeps the files that you changed), then: {add}\n"
        f"to keep what is on disk instead: {keeping(work.repo, path, behind)}, then: {add}",
    )


def _may_read(path: str, data: str) -> bool:
    """Says whether a dependency, or a pattern of them, may stand for data, for something inside or for a folder around it."""
    if sparse.is_glob(path):
        path = path[: min(path.find(letter) for letter in "*?[" if letter in path)]
        return data.startswith(path) or path.startswith(data + "/")
    return not path or path == data or path.startswith(data + "/") or data.startswith(path + "/")
