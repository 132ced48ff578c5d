"""The pointer file `X.dvlite`: what git keeps in place of the data at `X` (docs/reference/formats/pointer.md).

A strict line format of at most 64 KiB, so that no YAML parser ever reads a stranger's pointer. A `source` block names where the data
was imported from. What follows `meta:` belongs to the user: it is kept byte for byte and never interpreted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from dvlite.errors import FormatError
from dvlite.files import format_error, later_format, merge_conflict
from dvlite.formats import source as sources
from dvlite.formats.source import ImportSource
from dvlite.oid import FILE, MANIFEST, Digest, Oid, format_oid, parse_oid
from dvlite.show import quote, word

SUFFIX = ".dvlite"
CONFLICTS_SUFFIX = ".conflicts.csv"  # of a list of cells in conflict, beside a tracked path, too
VERSION = 1
LIMIT_BYTES = 64 * 1024
MAX_SIZE = 2**63 - 1
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE = re.compile(rb"([a-z]+): ([!-~]+)")
_SIZE = _NUMBER.pattern.encode()
_WRITTEN = re.compile(  # what `dump` writes, without `source` and `meta`
    rb"dvlite: %d\nkind: (?:file\noid: blake3:([0-9a-f]{64})\nsize: (%b)\n(executable: true\n)?"
    rb"|directory\noid: manifest:([0-9a-f]{64})\nsize: (%b)\nfiles: (%b)\n)" % (VERSION, _SIZE, _SIZE, _SIZE)
)
_VERSION = re.compile(rb"dvlite: ([0-9]{1,9})\n")
_CONFLICT = (b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")
_FIELDS = {
    "file": ("dvlite", "kind", "oid", "size"),
    "directory": ("dvlite", "kind", "oid", "size", "files"),
}


@dataclass(frozen=True, slots=True)
class Pointer:
    """One version of a tracked path. `files` counts files and symlinks; `meta` is the user's text from `meta:` to the end."""

    kind: str  # "file" or "directory"
    digest: Digest
    size_bytes: int
    files: int = 1
    executable: bool = False
    meta: str = ""
    source: ImportSource | None = None  # where it was imported from

    @property
    def oid_kind(self) -> str:
        return MANIFEST if self.kind == "directory" else FILE

    @property
    def oid(self) -> Oid:
        return format_oid(MANIFEST if self.kind == "directory" else FILE, self.digest)

    def same_version(self, other: Pointer | None) -> bool:
        """Returns whether both name the same content, mode included, wherever it is from and whatever the user wrote under `meta`."""
        return other is not None and (self.kind, self.digest, self.executable) == (
            other.kind,
            other.digest,
            other.executable,
        )


def from_oid(oid: str) -> Pointer | None:
    """Returns a pointer of unknown size (0); None for text that is not the oid of a file or directory."""
    try:
        kind, digest = parse_oid(oid)
    except FormatError:
        return None
    return Pointer("directory" if kind == MANIFEST else "file", digest, 0)


def dump(pointer: Pointer) -> bytes:
    """Returns the canonical bytes of a pointer file."""
    lines = [f"dvlite: {VERSION}", f"kind: {pointer.kind}", f"oid: {pointer.oid}", f"size: {pointer.size_bytes}"]
    if pointer.kind == "directory":
        lines.append(f"files: {pointer.files}")
    elif pointer.executable:
        lines.append("executable: true")
    source = "" if pointer.source is None else sources.dump(pointer.source)
    text = "\n".join(lines) + "\n" + source + pointer.meta
    return text.encode("utf-8", "surrogateescape")


def parse(data: bytes, where: str) -> Pointer:
    """Reads a pointer file; `where` is its path, for errors. Raises FormatError naming the line that is wrong."""
    if len(data) > LIMIT_BYTES:
        raise _wrong(where, 1, f"a pointer file has at most {LIMIT_BYTES} bytes, this one has {len(data)}")
    written = _WRITTEN.fullmatch(data)
    if written is not None:  # nearly all: they take a fifth of the time of those that people edited
        file, size, executable, folder, folder_size, files = written.groups()
        if int(size or folder_size) <= MAX_SIZE and int(files or 0) <= MAX_SIZE:
            digest = Digest(bytes.fromhex((file or folder).decode()))
            if folder:
                return Pointer("directory", digest, int(folder_size), int(files))
            return Pointer("file", digest, int(size), 1, executable is not None)
    first = _VERSION.match(data)  # before the rest: a later version may have lines of another form
    if first is not None and first[1] != b"%d" % VERSION:
        raise later_format(where, 1, f"version {quote(first[1].decode())} of the format is not known")
    values, block, meta = _fields(data, where)
    if "dvlite" not in values:
        raise _wrong(where, 1, "it is not a pointer file: 'dvlite' is missing")
    if values["dvlite"][1] != str(VERSION):
        line, version = values["dvlite"]
        raise later_format(where, line, f"version {quote(version)} of the format is not known")
    line, kind = values.get("kind", (1, ""))
    if kind not in _FIELDS:
        raise _wrong(where, line, "'kind' must be file or directory")
    return replace(_build(kind, values, meta, where), source=_source(block, where))


_Fields = dict[str, tuple[int, str]]  # name -> line number, value


def _fields(data: bytes, where: str) -> tuple[_Fields, _Fields, str]:
    """Splits the head and the `source` block into fields and returns the user's part as it is."""
    values: _Fields = {}
    block: _Fields = {}
    position = number = 0
    while position < len(data):
        number += 1
        end = data.find(b"\n", position)
        line = data[position : len(data) if end < 0 else end]
        if line.startswith(_CONFLICT):
            raise _conflict(where, number, values)
        if line == b"meta:" or line.startswith(b"meta: "):
            return values, block, _meta(data[position:], where, number, values)
        inside = sources.parse_line(line) if block and end >= 0 else None
        if inside is not None or (line == b"source:" and not block and end >= 0):
            name, value = inside or ("", "")
            if name in block:
                raise _wrong(where, number, f"'{name}' is given twice in 'source'")
            block[name] = (number, value)
            position = end + 1
            continue
        match = _LINE.fullmatch(line)
        if match is None or end < 0:
            raise _no_field(line, where, number)
        name = match[1].decode("ascii")
        if name in values:
            raise _wrong(where, number, f"'{name}' is given twice")
        values[name] = (number, match[2].decode("ascii"))
        position = end + 1
    return values, block, ""


def _source(block: _Fields, where: str) -> ImportSource | None:
    """Returns what a block says, which begins with its head: a field without a name."""
    if not block:
        return None
    line, _ = block.pop("")
    unknown = next((name for name in block if name not in sources.NAMES), None)
    if unknown is not None:
        raise later_format(where, block[unknown][0], f"'{unknown}' is not known in 'source'")
    values = {name: value for name, (_, value) in block.items()}
    reason = sources.problem(values)
    if reason is not None:
        raise _wrong(where, line, reason)
    return ImportSource(**values)


def _conflict(where: str, number: int, values: _Fields) -> FormatError:
    """Returns the error for a conflict below these fields; of a file only one version can be kept."""
    choices = "--ours or --theirs or --union" if values.get("kind", (0, ""))[1] == "directory" else "--ours or --theirs"
    hint = f"dvlite resolve {word(where.removesuffix(SUFFIX))} {choices}"
    return merge_conflict(where, number, hint)


def _no_field(line: bytes, where: str, number: int) -> FormatError:
    if line.startswith(b"\xef\xbb\xbf"):
        return _wrong(where, number, "it starts with a byte order mark")
    if line.endswith(b"\r"):
        hint = "set 'core.autocrlf' to false for this repository"
        return _wrong(where, number, "lines must end in LF, not CR LF", hint=hint)
    if not line.isascii():
        return _wrong(where, number, "it is not a pointer file")
    return _wrong(where, number, f"expected 'name: value', found {quote(line[:40].decode())}")


def _meta(data: bytes, where: str, number: int, values: _Fields) -> str:
    for offset, line in enumerate(data.split(b"\n")[1:], 1):
        if line.startswith(_CONFLICT):
            raise _conflict(where, number + offset, values)
        if line and not line.startswith((b" ", b"#")):
            raise _wrong(where, number + offset, "lines below 'meta:' must be indented")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong(where, number, "'meta' is not UTF-8 text") from None


def _build(kind: str, values: _Fields, meta: str, where: str) -> Pointer:
    required = _FIELDS[kind]
    for name in required:
        if name not in values:
            raise _wrong(where, 1, f"'{name}' is missing")
    for name, (line, _) in values.items():
        if name not in required and not (kind == "file" and name == "executable"):
            reason = f"'{name}' is not known in a pointer to a {kind}"
            raise later_format(where, line, reason)
    line, text = values["oid"]
    try:
        oid_kind, digest = parse_oid(text)
    except FormatError as error:
        raise _wrong(where, line, error.message) from None
    if oid_kind != (MANIFEST if kind == "directory" else FILE):
        raise _wrong(where, line, f"a {kind} cannot have an oid of kind '{oid_kind}'")
    if values.get("executable", (0, "true"))[1] != "true":
        raise _wrong(where, values["executable"][0], "'executable' must be true, or absent")
    for name in required[3:]:
        line, text = values[name]
        if _NUMBER.fullmatch(text) is None or int(text) > MAX_SIZE:
            raise _wrong(where, line, f"'{name}' must be a whole number from 0 to 2^63 - 1")
    files = int(values["files"][1]) if kind == "directory" else 1
    return Pointer(kind, digest, int(values["size"][1]), files, "executable" in values, meta)


def _wrong(where: str, line: int, reason: str, *, hint: str | None = None) -> FormatError:
    usual = "restore it from git, for example: git checkout HEAD -- " + quote(where)
    return format_error(where, line, reason, hint=hint, usual=usual)
