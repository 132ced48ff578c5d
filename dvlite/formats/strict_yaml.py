"""YAML without its traps, for files that people write: bytes <-> plain values, each with the line it stands on.

At most 1 MiB and 50 levels; no anchors, aliases, tags, duplicate keys or second documents. `true`, `false`, `null` and plain decimal
numbers are what they look like; everything else (`NO`, `1:30`, `0o17`, dates) is text. The plain block form that dvlite itself writes
is read by a few lines here, because importing yaml takes 12 ms of every command; anything beyond it goes to yaml (a test compares the two).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dvlite.errors import FormatError
from dvlite.files import quote

if TYPE_CHECKING:
    import yaml

Scalar = str | int | float | bool | None
Tree = Scalar | list["Tree"] | dict[str, "Tree"]
Path = tuple[str, ...]

LIMIT_BYTES = 1 << 20
MAX_DEPTH = 50
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,4})?")
_PLAIN = r"[A-Za-z0-9/._~](?:[A-Za-z0-9/._~+=@%,:-]*[A-Za-z0-9/._~+=@%-])?|-[0-9][0-9.]*"
_QUOTED = r'"[ !#-\[\]-~]*"'
_BLANK = re.compile(r"[ ]*(?:#.*)?")
_ENTRY = re.compile(rf"((?:  )*)([A-Za-z_][A-Za-z0-9_-]*):(?: +({_PLAIN}|{_QUOTED}))?((?: +#.*)?) *")
_ITEM = re.compile(rf"((?:  )*)- ({_PLAIN}|{_QUOTED})(?: +#.*)? *")


@dataclass(frozen=True, slots=True)
class Document:
    """The mapping in a file; `lines` says on which line (from 1) the key of each path of keys stands."""

    value: dict[str, Tree]
    lines: Mapping[Path, int]


def load(data: bytes, where: str) -> Document:
    """Reads one document, which must be a mapping or empty; `where` is its path, for errors. Raises FormatError naming the line."""
    if len(data) > LIMIT_BYTES:
        raise _wrong(where, 1, f"it has {len(data)} bytes, more than {LIMIT_BYTES}")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _wrong(where, data[: error.start].count(b"\n") + 1, "it is not UTF-8 text") from None
    plain = _read_plain_blocks(text)
    return plain if plain is not None else _read_yaml(text, where)


def dump(value: Mapping[str, Tree]) -> bytes:
    """Returns the tidy block form, keys in the order given; reading it back gives the same values."""
    return "".join(_dump_lines(value, "")).encode()


def edit(data: bytes, path: Path, value: Tree, where: str) -> bytes:
    """Returns the document with the value at `path` set, or removed if None; other lines and comments stay as they are.

    A document beyond the plain block form is written anew, keeping only the comments at its top.
    """
    document = load(data, where)
    tree = _with(document.value, path, value)
    text = data.decode("utf-8")
    if _read_plain_blocks(text) is None:
        top = [
            line
            for line in text.splitlines(keepends=True)[: min(document.lines.values(), default=1) - 1]
            if line.startswith("#")
        ]
        return "".join(top).encode() + dump(tree)
    lines = text.split("\n")
    if path in document.lines:
        _replace(lines, document, path, value)
    elif value is not None:
        _insert(lines, document, path, value)
    edited = ("\n".join(lines).rstrip("\n") + "\n").encode()
    # The edit is textual; if it says anything else than was asked for, tidiness gives way.
    return edited if load(edited, where).value == tree else dump(tree)


def scalar(text: str) -> Scalar:
    """Returns what an unquoted word in a document means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("-").isdigit() and math.isfinite(float(text)):
        return float(text)
    return text


def _read_plain_blocks(text: str) -> Document | None:
    """Reads the form that `dump` writes, with comments; returns None for anything else, however valid."""
    root: dict[str, Tree] = {}
    lines: dict[Path, int] = {}
    stack: list[tuple[str, dict[str, Tree]]] = [("", root)]  # the open mappings, with the key that each one is under
    pending: list[Tree] | None = None  # the list of a key that had no value, until it turns out to be a mapping
    for number, line in enumerate(text.split("\n"), 1):
        if _BLANK.fullmatch(line):
            continue
        if item := _ITEM.fullmatch(line):
            if pending is None or len(item[1]) != 2 * len(stack):
                return None
            pending.append(_plain_value(item[2]))
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            return None
        depth, key = len(entry[1]) // 2, entry[2]
        if pending is not None and not pending:  # the key before had nothing but this below it
            if depth != len(stack):
                return None
            holder = stack[-1][1]
            name = next(reversed(holder))
            inner: dict[str, Tree] = {}
            holder[name] = inner
            stack.append((name, inner))
        if depth >= min(len(stack), MAX_DEPTH):
            return None
        del stack[depth + 1 :]
        mapping = stack[-1][1]
        if key in mapping:
            return None
        lines[(*(name for name, _ in stack[1:]), key)] = number
        pending = None if entry[3] else []
        mapping[key] = _plain_value(entry[3]) if entry[3] else pending
    return Document(root, lines) if pending != [] else None


def _plain_value(text: str) -> Scalar:
    return text[1:-1] if text.startswith('"') else scalar(text)


def _read_yaml(text: str, where: str) -> Document:
    import yaml  # 12 ms: only for what people wrote in their own way

    lines: dict[Path, int] = {}
    try:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        next(events)  # the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            return Document({}, lines)
        value = _build(events, next(events), (), lines, where)
        next(events)  # the end of the document
        if not isinstance(after := next(events), yaml.StreamEndEvent):
            raise _wrong(where, _line(after), "a second document begins here")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _wrong(where, mark.line + 1 if mark else 1, error.problem or "it is not YAML") from None
    except yaml.YAMLError as error:
        raise _wrong(where, 1, str(error).splitlines()[0]) from None
    if value is None:
        return Document({}, lines)
    if not isinstance(value, dict):
        raise _wrong(where, 1, "it is not a mapping of keys to values")
    return Document(value, lines)


def _build(events: Iterator[yaml.Event], event: yaml.Event, path: Path, lines: dict[Path, int], where: str) -> Tree:
    """Builds the value that begins with `event`."""
    import yaml

    line = _line(event)
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:  # type: ignore[attr-defined]
        raise _wrong(
            where, line, "anchors and aliases (& and *) are not allowed", hint="write the value out, or quote it"
        )
    if event.tag is not None:  # type: ignore[attr-defined]
        raise _wrong(where, line, "tags (!) are not allowed", hint="leave the tag out, or quote the value")
    if isinstance(event, yaml.ScalarEvent):
        return scalar(event.value) if event.style is None else event.value
    if len(path) >= MAX_DEPTH:
        raise _wrong(where, line, f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, yaml.SequenceStartEvent):
        values: list[Tree] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            values.append(_build(events, event, (*path, str(len(values))), lines, where))
        return values
    mapping: dict[str, Tree] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key_line = _line(event)
        if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None or event.tag is not None:
            raise _wrong(where, key_line, "a key must be plain text")
        key = event.value
        if key in mapping:
            raise _wrong(where, key_line, f"{quote(key)} is given twice")
        lines[*path, key] = key_line
        mapping[key] = _build(events, next(events), (*path, key), lines, where)
    return mapping


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _dump_lines(value: Mapping[str, Tree], indent: str) -> Iterator[str]:
    for key, child in value.items():
        if isinstance(child, dict) and child:
            yield f"{indent}{_text(key)}:\n"
            yield from _dump_lines(child, indent + "  ")
        elif isinstance(child, list) and child:
            yield f"{indent}{_text(key)}:\n"
            yield from (f"{indent}  - {_flow(item)}\n" for item in child)
        else:
            yield f"{indent}{_text(key)}: {_flow(child)}\n"


def _flow(value: Tree) -> str:
    """Returns a value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _text(value: str) -> str:
    """Returns text as it is where that reads back as the same text, else quoted."""
    if re.fullmatch(_PLAIN, value) and scalar(value) == value and "," not in value:
        return value
    inner = "".join(_quoted_character(character) for character in value)
    return f'"{inner}"'


def _quoted_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _with(tree: dict[str, Tree], path: Path, value: Tree) -> dict[str, Tree]:
    """Returns a copy of the tree with one value set or, if None, removed; a mapping that became empty goes too."""
    key, *rest = path
    child = tree.get(key)
    if rest:
        inner = _with(child if isinstance(child, dict) else {}, tuple(rest), value)
        value = inner or None
    if value is None:
        return {name: old for name, old in tree.items() if name != key}
    return {**tree, key: value}


def _replace(lines: list[str], document: Document, path: Path, value: Tree) -> None:
    """Writes `path` anew where it stands; if it is to go, a mapping that holds nothing else goes with it."""
    while value is None and len(path) > 1 and not any(_is_sibling(other, path) for other in document.lines):
        path = path[:-1]
    first = document.lines[path] - 1
    entry = _ENTRY.fullmatch(lines[first])
    comment = entry[4] if entry is not None else ""
    new = [] if value is None else _block(path[-1:], value, len(path) - 1)
    lines[first : _end(lines, first)] = [line + comment if index == 0 else line for index, line in enumerate(new)]


def _is_sibling(one: Path, other: Path) -> bool:
    return len(one) == len(other) and one[:-1] == other[:-1] and one != other


def _insert(lines: list[str], document: Document, path: Path, value: Tree) -> None:
    """Writes `path` below the deepest mapping of it that stands in the lines; at the end where there is none."""
    depth = next((size for size in range(len(path) - 1, 0, -1) if path[:size] in document.lines), 0)
    if depth:
        position = _end(lines, document.lines[path[:depth]] - 1)
    else:
        position = next((index + 1 for index in range(len(lines) - 1, -1, -1) if lines[index]), 0)
    lines[position:position] = _block(path[depth:], value, depth)


def _block(path: Path, value: Tree, depth: int) -> list[str]:
    tree: dict[str, Tree] = {path[-1]: value}
    for key in reversed(path[:-1]):
        tree = {key: tree}
    return "".join(_dump_lines(tree, "  " * depth)).splitlines()


def _end(lines: list[str], first: int) -> int:
    """Returns the index after the block that the key on line `first` opens, comments after it left out."""
    indent = len(lines[first]) - len(lines[first].lstrip())
    end = first + 1
    for index in range(first + 1, len(lines)):
        line = lines[index]
        if _BLANK.fullmatch(line):
            continue
        if len(line) - len(line.lstrip()) <= indent:
            break
        end = index + 1
    return end


def _wrong(where: str, line: int, reason: str, *, hint: str | None = None) -> FormatError:
    return FormatError(
        f"cannot read {quote(where)} line {line}: {reason}",
        hint=hint or "correct the line, or restore the file from git",
    )
