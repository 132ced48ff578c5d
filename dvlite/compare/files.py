"""Compares two versions of a file with the comparator that the pipeline file declares for it.

The caller passes in the function that runs a `command`. A file that cannot be read in its format is not equivalent.
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
# The parts of a script, to find its arguments: a $1 in a comment or in single quotes (an awk program) is none.
_PARTS = re.compile(
    rf"\\.|'[^']*'|(?<!\S)#[^\n]*|(?P<takes>{_ARGUMENT}|\"(?:\\.|(?!{_ARGUMENT})[^\"\\])*{_ARGUMENT})|\"(?:\\.|[^\"\\])*\"",
    re.DOTALL,
)


def comparator_for(declared: Mapping[str, Comparator], inner: str, name: str) -> Comparator | None:
    """Returns the first comparator whose pattern matches a file of an output; `inner` is its path in the folder, '' for a plain file.

    As in .gitignore, a pattern without a slash matches in every folder.
    """
    path = os.fsencode(inner or name)
    for pattern, comparator in declared.items():
        if pattern == EVERY or sparse.selector([pattern if "/" in pattern else f"**/{pattern}"])(path):
            return comparator
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
        comparison = run(script_of(how), old, new)
        if comparison.equivalent or comparison.lines:
            return comparison
        reason = "the compare command reported a difference and printed nothing"
    except Unreadable as error:
        reason = clipped(str(error))
    return Comparison(equivalent=False, lines=(reason, *text.compare_bytes(old, new).lines))


def script_of(how: Comparator) -> str:
    """Returns the script of a compare command; the two versions are $1 and $2, appended if the script uses neither."""
    if any(match["takes"] for match in _PARTS.finditer(how.run)):
        return how.run
    script = how.run.rstrip(" \t\r\n;")  # after a `;` the recorded version would be run as a command
    return f'{script} "$1" "$2"'
