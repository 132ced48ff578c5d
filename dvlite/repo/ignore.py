"""What is left out: names of data that dvlite ignores (`.dvliteignore`), and tracked paths that git has to ignore (`.gitignore`).

Owns the package pathspec, loaded only if the user's file has patterns. Knows no repository: paths and folders are given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import DvliteError, FormatError
from dvlite.files import TEMP_PATTERN, TEMP_PREFIX, read_regular, write_atomic
from dvlite.show import quote, word

FILE_NAME = ".dvliteignore"
BUILT_IN = frozenset({b".DS_Store", b"Thumbs.db", b"desktop.ini", b"__pycache__", b".ipynb_checkpoints", b".git"})
TEMPLATE = """\
# Files that dvlite leaves out, in the syntax of .gitignore, relative to this folder. Always left out:
# .DS_Store, Thumbs.db, desktop.ini, __pycache__, .ipynb_checkpoints (take one back in with a line like !.DS_Store), .git
"""
TEMPORARY = [
    TEMP_PATTERN.encode(),
    f"{TEMP_PREFIX}get-{'[0-9a-f]' * 16}".encode(),
]  # what a killed command leaves is no file of the user's
LIMIT_BYTES = 1 << 20
MOST_BYTES = 64 << 20  # of a file of git's: it has a line for each tracked path
_SPECIAL = re.compile(rb"[\\*?\[]")


@dataclass(frozen=True, slots=True)
class Ignore:
    """The rules of one repository: only the `.dvliteignore` at its root counts.

    `names` are base names left out wherever and whatever they are: a scanner tests membership inline, a set look-up per file.
    Only if there are `matches`, of patterns, must it also ask `match`.
    """

    names: frozenset[bytes] = BUILT_IN
    matches: Callable[[str], bool] | None = None

    def match(self, path: str | bytes, *, is_dir: bool) -> bool:
        """Returns whether a path relative to the repository is left out; a folder that is takes all in it along."""
        raw = os.fsencode(path)
        if raw.rpartition(b"/")[2] in self.names:
            return True
        return self.matches is not None and self.matches(os.fsdecode(raw) + "/" * is_dir)

    def leaves_out(self, path: str, folder: str) -> bool:
        """Returns whether a file is left out of a folder, itself or one of the folders between."""
        between = (path[:end] for end, letter in enumerate(path) if letter == "/" and end > len(folder))
        return self.match(path, is_dir=False) or any(self.match(outer, is_dir=True) for outer in between)


def parse(data: bytes) -> Ignore:
    """Returns the rules that a `.dvliteignore` states; raises FormatError naming a line that is no pattern."""
    if len(data) > LIMIT_BYTES:
        raise FormatError(
            f"cannot read '{FILE_NAME}': it has more than {LIMIT_BYTES} bytes", hint="use fewer, wider patterns"
        )
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    patterns = sum(bool(line.strip()) and not line.startswith("#") for line in lines)
    if not patterns:
        return Ignore()
    if patterns > _MOST_PATTERNS:  # each is tried on each path
        raise FormatError(
            f"cannot use '{FILE_NAME}': it has {patterns} patterns, more than {_MOST_PATTERNS}",
            hint="use fewer, wider patterns",
        )
    return _compile(lines)


_MOST_STARS = 4
_FEW_LINES = 8
_MARKER = b"<<<<<<< "
_MOST_PATTERNS = 1000


def _compile(lines: list[str]) -> Ignore:
    from pathspec import GitIgnoreSpec  # 30 ms: only for repositories that need it

    for line in lines:
        if any(part.count("*") > _MOST_STARS for part in line.split("/")):
            raise FormatError(
                f"cannot use '{FILE_NAME}': {quote(line[:60])} has more than {_MOST_STARS} '*' in one name, which is too slow to match",
                hint="write a simpler pattern",
            )
    takes_back = any(
        line.startswith("!") for line in lines
    )  # then the order of all rules decides, and no name is certain
    built_in = [name.decode() for name in sorted(BUILT_IN)] if takes_back else []
    try:
        spec = GitIgnoreSpec.from_lines([*built_in, *lines], backend="simple")
    except ValueError as error:
        raise FormatError(f"cannot read '{FILE_NAME}': {error}", hint="the syntax is that of .gitignore") from None
    return Ignore(frozenset() if takes_back else BUILT_IN, spec.match_file)


def pattern(path: str) -> bytes:
    r"""Returns the line of a `.gitignore` that ignores this path, relative to the file's folder, and no other.

    `*`, `?`, `[`, `\` and trailing spaces are escaped. git drops a carriage return at the end of a line, so that one stands in brackets;
    a newline cannot be written at all: a control character stands in, the one case where a path of another name could match.
    """
    line = _SPECIAL.sub(rb"\\\g<0>", os.fsencode(path)).replace(b"\n", b"[[:cntrl:]]")
    stripped = line.rstrip(b" ")
    line = stripped + b"\\ " * (len(line) - len(stripped))
    return b"/" + (line[:-1] + b"[\r]" if line.endswith(b"\r") else line)


def add_lines(path: Path, lines: list[bytes], *, write: bool = True) -> bool:
    """Appends those of `lines` that a file does not have, making it if need be; the user's lines stay. Returns whether that changes it.

    Raises DvliteError for a file that cannot be changed; without `write`, that is all that happens.
    """
    data = _read(path)
    if len(lines) > _FEW_LINES:
        present = set(data.split(b"\n"))
        missing = [line for line in lines if line not in present]
    else:  # a pipeline asks for each stage: a search of the bytes takes a hundredth of the time
        whole = b"\n%b\n" % data
        missing = [line for line in lines if b"\n%b\n" % line not in whole]
    if not missing:
        return False
    if data.startswith(_MARKER) or b"\n" + _MARKER in data:  # it would be staged with its markers
        raise DvliteError(
            f"cannot change {quote(str(path))}: it has an unresolved merge conflict",
            hint=f"edit it, then: git add {word(str(path))}",
        )
    if not write:
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, with_lines(data, missing))
    return True


def with_lines(data: bytes, lines: list[bytes]) -> bytes:
    """Returns the bytes of a file with more lines at its end."""
    end = b"" if data.endswith(b"\n") or not data else b"\n"
    return data + end + b"".join(line + b"\n" for line in lines)


def remove_lines(ignore_file: Path, lines: list[bytes], *, write: bool = True) -> bool:
    """Takes lines out again, and the file with its last line; returns and raises as `add_lines`."""
    data, unwanted = _read(ignore_file), set(lines)
    kept = b"\n".join(line for line in data.split(b"\n") if line not in unwanted)
    if kept == data:
        return False
    if not write:
        return True
    if kept:
        write_atomic(ignore_file, kept)
    else:
        ignore_file.unlink()
    return True


def _read(ignore_file: Path) -> bytes:
    if ignore_file.is_symlink():  # git does not follow one either
        raise DvliteError(
            f"cannot change {quote(str(ignore_file))}: it is a symbolic link", hint="replace it by a file"
        )
    data = read_regular(ignore_file, str(ignore_file), MOST_BYTES + 1) or b""
    if len(data) > MOST_BYTES:
        raise DvliteError(f"cannot change {quote(str(ignore_file))}: it has more than {MOST_BYTES} bytes")
    return data
