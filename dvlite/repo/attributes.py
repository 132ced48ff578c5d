"""The lines that `init` writes into `.gitattributes`, and whether git goes by them.

In git, later lines win over earlier ones, a file of a deeper folder over one above, and `info/attributes` over all. A filter of Git LFS or
git-crypt that covers a pointer would put other bytes into the commit than are on disk: no clone could read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dvlite.errors import FormatError
from dvlite.files import read_regular, write_atomic
from dvlite.git.output import is_pipeline_file, is_pointer
from dvlite.git.program import Git
from dvlite.paths import ancestors
from dvlite.repo import ignore
from dvlite.show import quote, word

FILE_NAME = ".gitattributes"
LINES = [
    b"*.dvlite merge=dvlite diff=dvlite text eol=lf -filter",
    b"dvlite.lock merge=dvlite linguist-generated text eol=lf -filter",
    b"dvlite.yaml -filter",
    b".dvlite/** -filter",
    b".dvliteignore -filter",
    b".gitignore merge=union",  # each tracked path has a line of its own
]
_FILTER = b"filter="
_MOST_BYTES = 1 << 20


def write_lines(root: Path, above: Sequence[bytes] = ()) -> bool:
    """Makes the lines those that win in the file at the root: adds what is missing, moves all to the end if a filter stands below one.

    Lines of others that are missing go `above` them. Returns whether that changed the file, in one write. Raises DvliteError for one in conflict.
    """
    path = root / FILE_NAME
    ignore.add_lines(path, [*above, *LINES], write=False)
    before = _read(path)
    there = set(before.split(b"\n"))
    after = with_lines(ignore.with_lines(before, [line for line in above if line not in there]))
    if after == before:
        return False
    write_atomic(path, after)
    return True


def with_lines(data: bytes) -> bytes:
    """Returns a `.gitattributes` in which the lines are those that win."""
    lines = data.split(b"\n")
    if _is_filter_below(data):
        lines = [line for line in lines if line not in LINES]
    return ignore.with_lines(b"\n".join(lines), [line for line in LINES if line not in lines])


def _is_filter_below(data: bytes) -> bool:
    """Returns whether a filter stands below one of the lines."""
    lines = data.split(b"\n")
    ours = [number for number, line in enumerate(lines) if line in LINES]
    return bool(ours) and any(_FILTER in line for line in lines[ours[0] :] if line not in LINES)


def filtered(git: Git, paths: Sequence[str]) -> FormatError | None:
    """Returns the error for the first of dvlite's own files among `paths` that a filter of git, of Git LFS for example, would change."""
    own = [path for path in paths if is_pointer(path) or is_pipeline_file(path)]
    filters = git.filters(own)
    path = next((path for path in own if path in filters), None)
    if path is None:
        return None
    name = path.rpartition("/")[2]
    line = f"{name if name.startswith('dvlite.') else '*.dvlite'} -filter"
    below = [f"{folder}/{FILE_NAME}" for folder in ancestors(path) if folder]
    culprit = next((file for file in below if _FILTER in _read(git.root / file)), None)
    of_clone = git.path_of("info/attributes")
    if _FILTER in _read(of_clone):
        hint = f"add the line  {line}  at the end of {word(str(of_clone))}"
    elif culprit is not None:
        hint = f"add the line  {line}  at the end of {word(culprit)}"
    else:
        hint = f"dvlite init   (puts the line  {line}  at the end of {FILE_NAME})"
    reason = f"git's filter {quote(filters[path])} would change {quote(path)} in the commit: no clone could read it"
    return FormatError(reason, hint=hint, file=path)


def _read(path: Path) -> bytes:
    return read_regular(path, str(path), _MOST_BYTES) or b""
