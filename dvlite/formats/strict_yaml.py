"""YAML without its traps, for files that people write: bytes <-> plain values, each with its line.

At most 1 MiB and 50 levels; no anchors or aliases (but in `foreign` files), tags, duplicate keys or second documents. `true`, `false`, `null` and plain decimal
numbers are what they look like; everything else (`NO`, `1:30`, `0o17`, dates) is text. The plain block form that dvlite itself writes
is read by a few lines here, because importing yaml takes 12 ms of every command; anything beyond it goes to yaml (a test compares the two).
Documents are changed in place by `yaml_edit`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dvlite.errors import FormatError
from dvlite.files import format_error, merge_conflict
from dvlite.show import quote

if TYPE_CHECKING:
    import yaml

Scalar = str | int | float | bool | None
Tree = Scalar | list["Tree"] | dict[str, "Tree"]
Path = tuple[str, ...]

LIMIT_BYTES = 1 << 20
VALUES_LIMIT_BYTES = 4 << 20  # of a file of values, in any format (formats.parameters)
MAX_DEPTH = 50
_CORRECT = "correct the line, or restore the file from git"
_HINTS = {  # for what libyaml says of the commonest slips
    "mapping values are not allowed": "quote a value that has ': ' in it; begin each key in the column of the key above",
    "cannot start any token": "quote a value that begins with @, % or a backtick; indent by spaces, not by tabs",
    "did not find expected key": "quote the whole value, or begin the key in the column of the key above",
}
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}
_CONFLICT = re.compile(r"^<<<<<<< ", re.MULTILINE)
_LONG_LINE = 4096  # beyond it these expressions need too much memory
_OTHER_BREAKS = "\r\x85\u2028\u2029"  # ends of lines to yaml
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,4})?")
_TITLED = frozenset(["True", "TRUE", "False", "FALSE", "Null", "NULL"])
_POSITIVE = re.compile(r"^\+(?=[0-9.])")
_NO_ZERO = re.compile(r"\.[0-9]+([eE][-+]?[0-9]{1,4})?")
_CONTROL = re.compile(  # what is not allowed: to compile what is allowed takes 5 ms
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]"
)
_MAX_VALUES = 200_000  # bounds the memory that a small hostile file can take
_WORD = (
    r"[A-Za-z0-9/._~](?:[A-Za-z0-9/._~+=@%,:-]*[A-Za-z0-9/._~+=@%-])?|-[0-9][0-9.]*"  # means the same in a flow list
)
_PLAIN = (
    rf"(?:{_WORD}|[A-Za-z0-9/._](?:[!-~]*[!-9;-~])?(?: +(?!#)[!-~]*[!-9;-~])*)"  # a whole line: `python a.py | tee log`
)
_WORDS_IN_FLOW = rf"(?:{_WORD})(?: (?:{_WORD}))*"
_QUOTED = r'"[ !#-\[\]-~]*"'
_BLANK = re.compile(r"[ ]*(?:#.*)?")
_ENTRY = re.compile(rf"((?:  )*)([A-Za-z_][A-Za-z0-9_-]*):(?: +({_PLAIN}|{_QUOTED}))?((?: +#.*)?) *")
_ITEM = re.compile(rf"((?:  )*)- ({_PLAIN}|{_QUOTED})(?: +#.*)? *")


@dataclass(frozen=True, slots=True)
class Document:
    """The mapping in a file; `lines` says on which line (from 1) the key of each path of keys stands, or the item of a list (`"0"`)."""

    value: dict[str, Tree]
    lines: Mapping[Path, int]


def load(data: bytes, where: str, *, foreign: bool = False, limit_bytes: int = LIMIT_BYTES) -> Document:
    """Reads one document, which must be a mapping or empty; `where` is its path, for errors. Raises FormatError naming the line.

    `foreign`: the file is not dvlite's: anchors, aliases and merge keys are read, and more spellings of numbers and truth.
    """
    if len(data) > limit_bytes:
        raise _wrong(where, 1, f"it has more than {limit_bytes:,} bytes")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _wrong(where, data[: error.start].count(b"\n") + 1, "it is not UTF-8 text") from None
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise _wrong(where, line, f"the control character {quote(control[0])} is not allowed")
    plain = _read_plain_blocks(text, foreign=foreign)
    if plain is not None:
        return plain
    return _read_yaml(text, where, foreign=foreign, most_values=_MAX_VALUES * (1 + len(data) // LIMIT_BYTES))


def dump(value: Mapping[str, Tree]) -> bytes:
    """Returns the tidy block form, keys in the order given; reading it back gives the same values."""
    return "".join(block_lines(value, "")).encode()


def block_lines(value: Mapping[str, Tree], indent: str) -> Iterator[str]:
    """Yields the lines of the block form of a mapping, each with its end."""
    for key, child in value.items():
        if isinstance(child, dict) and child:
            yield f"{indent}{_text(key)}:\n"
            yield from block_lines(child, indent + "  ")
        elif isinstance(child, list) and child:
            yield f"{indent}{_text(key)}:\n"
            yield from (f"{indent}  - {line_value(item)}\n" for item in child)
        else:
            yield f"{indent}{_text(key)}: {line_value(child)}\n"


HALF_NUMBER = (
    r"[-+]?(?:\d+[eE][-+]?\d+|(?:\d+\.\d*|\.\d+)[eE]\d+)"  # for YAML 1.2; text for YAML 1.1, which wants dot and sign
)


def line_value(value: Tree) -> str:
    """Returns a value as it can stand to the end of a line, where less has to be quoted."""
    plain = isinstance(value, str) and re.fullmatch(_PLAIN, value) and scalar(value) == value
    return str(value) if plain else flow(value)


def flow(value: Tree) -> str:
    """Returns a value as it can stand anywhere in a line, also inside a list."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return (
        shown.replace("e", ".0e") if isinstance(value, float) and "." not in shown else shown
    )  # 1e-05: YAML 1.1 reads text


def scalar(text: str, *, foreign: bool = False) -> Scalar:
    """Returns what an unquoted word in a document means; `foreign`: also `True`, `.5` and `+1.5`, as YAML 1.1 reads them."""
    if foreign:
        text = text.lower() if text in _TITLED else _POSITIVE.sub("", text)
        text = f"{text[: text.index('.')]}0{text[text.index('.') :]}" if _NO_ZERO.fullmatch(text) else text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("-").isdigit() and math.isfinite(float(text)):
        return float(text)
    return text


def _read_plain_blocks(text: str, *, foreign: bool = False) -> Document | None:
    """Reads the form that `dump` writes, with comments; returns None for anything else, however valid."""
    root: dict[str, Tree] = {}
    lines: dict[Path, int] = {}
    stack: list[tuple[str, dict[str, Tree]]] = [("", root)]  # the open mappings, with the key that each one is under
    pending: list[Tree] | None = None  # the list of a key that had no value, until it turns out to be a mapping
    above: Path = ()  # the key that `pending` is under
    if any(mark in text for mark in _OTHER_BREAKS):
        return None
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > _LONG_LINE:
            return None
        if _BLANK.fullmatch(line):
            continue
        if item := _ITEM.fullmatch(line):
            if pending is None or len(item[1]) != 2 * len(stack):
                return None
            lines[*above, str(len(pending))] = number
            pending.append(_plain_value(item[2], foreign=foreign))
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
        above = (*(name for name, _ in stack[1:]), key)
        lines[above] = number
        pending = None if entry[3] else []
        mapping[key] = _plain_value(entry[3], foreign=foreign) if entry[3] else pending
    return Document(root, lines) if pending != [] else None


def _plain_value(text: str, *, foreign: bool) -> Scalar:
    return text[1:-1] if text.startswith('"') else scalar(text, foreign=foreign)


def _read_yaml(text: str, where: str, *, foreign: bool = False, most_values: int = _MAX_VALUES) -> Document:
    import yaml  # 12 ms: only for documents beyond the plain form

    try:
        events = parse_events(text)
        next(events)  # the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            return Document({}, {})
        builder = _Builder(events, where, foreign=foreign, most_values=most_values)
        value = builder.value(next(events), ())
        next(events)  # the end of the document
        if not isinstance(after := next(events), yaml.StreamEndEvent):
            raise _wrong(where, _line(after), "a second document begins here")
    except yaml.MarkedYAMLError as error:
        if conflict := _CONFLICT.search(text):
            line = text.count("\n", 0, conflict.start()) + 1
            raise merge_conflict(where, line, _CORRECT) from None
        mark = error.problem_mark or error.context_mark
        if deep := _too_deep(text[: mark.index if mark else None]):  # libyaml looks ahead, and has a limit of its own
            raise _wrong(where, deep, _TOO_DEEP) from None
        problem = error.problem or "it is not YAML"
        usual = next((hint for words, hint in _HINTS.items() if words in problem), _CORRECT)
        raise format_error(where, mark.line + 1 if mark else 1, problem, hint=None, usual=usual) from None
    except yaml.YAMLError as error:
        raise _wrong(where, 1, str(error).splitlines()[0]) from None
    if value is None:
        return Document({}, {})
    if not isinstance(value, dict):
        raise _wrong(where, 1, "it is not a mapping of keys to values")
    return Document(value, builder.lines)


def _too_deep(text: str) -> int | None:
    """Returns the line on which more than MAX_DEPTH brackets are open, None if that is nowhere. For text that is no YAML: quotes do not count."""
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > MAX_DEPTH:
            return text.count("\n", 0, bracket.start()) + 1
    return None


def parse_events(text: str) -> Iterator[yaml.Event]:
    """Yields what a text is made of, lazily; the caller bounds the depth. libyaml is 17x faster, and as good at saying what is wrong."""
    import yaml

    # Only its events: composing with libyaml recurses in C, and 100,000 open brackets end the process.
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
    return events


class _Builder:
    """Builds one document; with `foreign`, values that are anchored may be used again, and `<<` merges them."""

    def __init__(self, events: Iterator[yaml.Event], where: str, *, foreign: bool, most_values: int) -> None:
        self._events, self._where, self._foreign, self._most_values = events, where, foreign, most_values
        self._anchored: dict[str, Tree] = {}
        self._repeated = 0  # values that aliases stand for
        self.lines: dict[Path, int] = {}

    def value(self, event: yaml.Event, path: Path) -> Tree:
        """Builds the value that begins with `event`."""
        import yaml

        line, anchor = _line(event), event.anchor  # type: ignore[attr-defined]
        if not self._foreign and (isinstance(event, yaml.AliasEvent) or anchor is not None):
            hint = "write the value out, or quote it"
            raise _wrong(self._where, line, "anchors and aliases (& and *) are not allowed", hint=hint)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(anchor, path, line)
        if event.tag is not None:  # type: ignore[attr-defined]
            raise _wrong(self._where, line, "tags (!) are not allowed", hint="leave the tag out, or quote the value")
        if isinstance(event, yaml.ScalarEvent):
            _refuse_surrogates(event.value, line, self._where)
            value: Tree = event.value if event.style else scalar(event.value, foreign=self._foreign)
        elif len(path) >= MAX_DEPTH:
            raise _wrong(self._where, line, _TOO_DEEP)
        else:
            value = self._list(path) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path)
        if anchor is not None:
            self._anchored[anchor] = value
        return value

    def _alias(self, anchor: str, path: Path, line: int) -> Tree:
        if anchor not in self._anchored:
            raise _wrong(self._where, line, f"there is no anchor &{anchor[:60]} before it")
        value = self._anchored[anchor]
        values, depth = _extent(value)
        self._repeated += values
        if self._repeated > self._most_values:
            raise _wrong(self._where, line, f"its aliases stand for more than {self._most_values} values")
        if len(path) + depth > MAX_DEPTH:
            raise _wrong(self._where, line, _TOO_DEEP)
        return value

    def _note(self, path: Path, line: int) -> None:
        self.lines[path] = line
        if len(self.lines) > self._most_values:
            raise _wrong(self._where, line, f"it has more than {self._most_values} values")

    def _list(self, path: Path) -> list[Tree]:
        import yaml

        values: list[Tree] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._note((*path, str(len(values))), _line(event))
            values.append(self.value(event, (*path, str(len(values)))))
        return values

    def _mapping(self, path: Path) -> dict[str, Tree]:
        import yaml

        mapping: dict[str, Tree] = {}
        merged: list[Tree] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None or event.tag is not None:
                raise _wrong(self._where, line, "a key must be plain text")
            key = event.value
            _refuse_surrogates(key, line, self._where)
            if self._foreign and key == "<<" and not event.style:
                value = self.value(next(self._events), (*path, key))
                merged += value if isinstance(value, list) else [value]
                if not all(isinstance(part, dict) for part in merged):
                    raise _wrong(self._where, line, "'<<' must be followed by a mapping, or a list of them")
                continue
            if key in mapping:
                raise _wrong(self._where, line, f"{quote(key)} is given twice")
            self._note((*path, key), line)
            mapping[key] = self.value(next(self._events), (*path, key))
        for part in merged:  # of two, the first counts; what the mapping itself says counts more
            mapping = {**part, **mapping} if isinstance(part, dict) else mapping
        return mapping


def _extent(value: Tree) -> tuple[int, int]:
    """Returns how many values a tree has, and how deep it is."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    extents = [_extent(child) for child in children]
    return 1 + sum(values for values, _ in extents), 1 + max((depth for _, depth in extents), default=-1)


def _refuse_surrogates(text: str, line: int, where: str) -> None:
    """Refuses half of a surrogate pair, which cannot be printed or stored. libyaml refuses it itself."""
    if not text.isascii() and (half := re.search("[\ud800-\udfff]", text)):
        raise _wrong(where, line, f"the character \\u{ord(half[0]):04x} is not allowed")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _text(value: str) -> str:
    """Returns text plain if it reads back as the same text, else quoted."""
    if re.fullmatch(_WORDS_IN_FLOW, value) and scalar(value) == value and "," not in value:
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


def _wrong(where: str, line: int, reason: str, *, hint: str | None = None) -> FormatError:
    return format_error(where, line, reason, hint=hint, usual=_CORRECT)
