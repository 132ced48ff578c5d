"""Whether two versions of a file are equivalent by the comparator that the pipeline file declares for it.

`command` is run by whoever knows where: it is handed in. A file that cannot be read in its format is not equivalent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from dvlite.compare import text
from dvlite.compare.csv import compare_tables
from dvlite.compare.json import compare_values
from dvlite.compare.npy import compare_arrays
from dvlite.compare.outcome import Comparison, Tolerance, Unreadable, clipped
from dvlite.formats.comparator import EVERY, Comparator
from dvlite.workspace import sparse

RunCommand = Callable[[str, Path, Path], Comparison]  # (script, recorded version, new version)
_ARGUMENT = r"\$\{?[12@*]"
# What a script is made of, to find its arguments: not in a comment nor in single quotes, as the $1 of an awk program is.
_PARTS = re.compile(
    rf"\\.|'[^']*'|(?<!\S)#[^\n]*|(?P<takes>{_ARGUMENT}|\"(?:\\.|(?!{_ARGUMENT})[^\"\\])*{_ARGUMENT})|\"(?:\\.|[^\"\\])*\"",
    re.DOTALL,
)


def comparator_for(declared: Mapping[str, Comparator], inner: str, name: str) -> Comparator | None:
    """Returns the first comparator whose pattern fits a file of an output; `inner` is its path in the folder, '' for a plain file.

    As in .gitignore, a pattern without a slash fits in every folder.
    """
    path = os.fsencode(inner or name)
    for pattern, found in declared.items():
        if pattern == EVERY or sparse.selector([pattern if "/" in pattern else f"**/{pattern}"])(path):
            return found
    return None


def compare_files(old: Path, new: Path, name: str, how: Comparator, run: RunCommand) -> Comparison:
    """Compares two versions of the file `name` as declared."""
    tolerance = Tolerance(how.rtol, how.atol)
    try:
        if how.kind == "json":
            return compare_values(old, new, name, tolerance, how.ignore)
        if how.kind == "csv":
            return compare_tables(old, new, name, tolerance, how.ignore, how.key)
        if how.kind == "npy":
            return compare_arrays(old, new, tolerance)
        if how.kind == "text":
            return text.compare_text(old, new, how.ignore)
        found = run(script_of(how), old, new)
        if found.equivalent or found.lines:
            return found
        return Comparison(
            equivalent=False, lines=("the command says so, without words", *text.compare_bytes(old, new).lines)
        )
    except Unreadable as error:
        return Comparison(equivalent=False, lines=(clipped(str(error)), *text.compare_bytes(old, new).lines))


def script_of(how: Comparator) -> str:
    """Returns the script of a comparison by command; the two versions are $1 and $2, and are added where it names neither."""
    if any(match["takes"] for match in _PARTS.finditer(how.run)):
        return how.run
    script = how.run.rstrip(" \t\r\n;")  # else the recorded version would be run
    return f'{script} "$1" "$2"'
