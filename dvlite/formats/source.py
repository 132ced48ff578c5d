"""Where imported data is from: the `source` block of a pointer (docs/reference/formats/pointer.md).

Each line is a name and a JSON string of ASCII letters, which is YAML too, so that any name of a file can stand there. Nothing in it is
contacted by who reads it, nor taken for harmless: `repo.sources` decides that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields

_LINE = re.compile(rb'  ([a-z]+): ("[ -~]*")')
_MOST_LETTERS = 8192
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_OID = re.compile(r"(blake3|manifest):[0-9a-f]{64}")
_OF_URL = ("etag", "version", "modified", "size", "listing")
_OF_REPOSITORY = ("path", "revision", "commit")


@dataclass(frozen=True, slots=True)
class ImportSource:
    """A version that came from a path of a `repository`, or from a `url`; the other one is empty.

    `revision` is what the user asked for (empty: the default branch) and `commit` what it was then. Of a URL, `etag`, `version`,
    `modified` and `size` are what its server said, `listing` a hash of that for all that was below it. `oid` is the version that came: a pointer that names
    another one was changed since.
    """

    repository: str = ""
    url: str = ""
    path: str = ""
    revision: str = ""
    commit: str = ""
    etag: str = ""
    version: str = ""
    modified: str = ""
    size: str = ""
    listing: str = ""
    oid: str = ""

    @property
    def address(self) -> str:
        return self.repository or self.url


NAMES = tuple(field.name for field in fields(ImportSource))


def dump(source: ImportSource) -> str:
    """Returns the lines of a block, its head included."""
    values = ((name, getattr(source, name)) for name in NAMES)
    return "source:\n" + "".join(f"  {name}: {json.dumps(value)}\n" for name, value in values if value)


def parse_line(line: bytes) -> tuple[str, str] | None:
    """Returns name and value of a line of a block; None for any other line."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    try:
        return match[1].decode("ascii"), json.loads(match[2])
    except ValueError:
        return None


def problem(values: dict[str, str]) -> str | None:
    """Returns what is wrong with the names and values of a block; None for a sound one."""
    if ("repository" in values) == ("url" in values):
        return "'source' needs 'repository' or 'url', not both"
    rest = {*values} - {"oid", "repository", "url"}
    allowed = {*_OF_REPOSITORY} if "repository" in values else {*_OF_URL}
    if rest - allowed:
        return f"'{min(rest - allowed)}' is not known in this 'source'"
    if not all(values.values()) or any(len(value) > _MOST_LETTERS for value in values.values()):
        return f"the values of 'source' have 1 to {_MOST_LETTERS} letters"
    if "repository" in values and _COMMIT.fullmatch(values.get("commit", "")) is None:
        return "'commit' in 'source' must be the whole id of a commit"
    if _OID.fullmatch(values.get("oid", "")) is None:
        return "'oid' in 'source' must be the id of a file or directory"
    return None
