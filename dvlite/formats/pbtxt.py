"""Protobuf's text format, as model servers keep their config in it: reads fields and where they stand; knows no schema.

Bounded: the text by its length, nesting by its depth; nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dvlite.errors import FormatError

LIMIT_BYTES = 1 << 20
_DEEPEST = 32
_TOKEN = re.compile(
    r"""(?P<blank>(?:[ \t\r\n\f\v]|\#[^\n]*)+)
    |(?P<text>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
    |(?P<word>[-+]?[A-Za-z0-9_.][A-Za-z0-9_.+-]*)
    |(?P<mark>[{}<>\[\]:,;/-])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_PLAIN = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CLOSES = {"{": "}", "<": ">"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its value is a text, the fields of a message, or a list of these; `start` and `end` are where it stands in the text."""

    name: str
    value: Value
    start: int
    end: int


Value = str | tuple[Field, ...] | list["Value"]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def parse(text: str, where: str) -> tuple[Field, ...]:
    """Returns the fields of a message. Raises FormatError, with the line."""
    if len(text) > LIMIT_BYTES:
        raise FormatError(f"cannot read {where}: it has more than {LIMIT_BYTES} characters")
    return _Reader(text, where).message("", 0)


def texts(fields: Sequence[Field], name: str) -> list[str]:
    """Returns the scalars of a field, which may be repeated or a list."""
    found: list[str] = []
    for field in fields:
        if field.name == name:
            found += [one for one in _each(field.value) if isinstance(one, str)]
    return found


def messages(fields: Sequence[Field], name: str) -> list[tuple[Field, ...]]:
    """Returns the messages of a field, which may be repeated or a list."""
    found: list[tuple[Field, ...]] = []
    for field in fields:
        if field.name == name:
            found += [one for one in _each(field.value) if isinstance(one, tuple)]
    return found


def texts_at(fields: Sequence[Field], *names: str) -> list[str]:
    """Returns the scalars of a field in messages: those of `c` in `a { b { c: 1 } }` for a, b, c."""
    *above, last = names
    inside = [fields]
    for name in above:
        inside = [one for each in inside for one in messages(each, name)]
    return [text for each in inside for text in texts(each, last)]


def decoded(data: bytes, where: str) -> str:
    """Returns the text of a file. Raises FormatError."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormatError(f"cannot read {where}: it is not UTF-8") from None


def quoted(text: str) -> str:
    """Returns a text as the format writes it."""
    escaped = "".join(_written(character) for character in text)
    return f'"{escaped}"'


def _written(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _each(value: Value) -> Sequence[Value]:
    return value if isinstance(value, list) else [value]


class _Reader:
    """Reads one text, token by token."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._tokens = self._each_token()
        self._next = next(self._tokens, None)

    def _each_token(self) -> Iterator[_Token]:
        at = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._wrong(at, "there is a character that cannot stand there")
            if match.lastgroup != "blank":
                yield _Token(str(match.lastgroup), match[0], at, match.end())
            at = match.end()

    def message(self, closes: str, depth: int) -> tuple[Field, ...]:
        """Reads fields up to what closes the message, or to the end of the text."""
        if depth > _DEEPEST:
            raise self._wrong(self._place(), "it is nested too deeply")
        fields: list[Field] = []
        while True:
            token = self._next
            if token is None or token.text == closes:
                if token is None and closes:
                    raise self._wrong(len(self._text), f"it ends before {closes}")
                return tuple(fields)
            if token.kind != "word":
                raise self._wrong(token.start, "a name is expected")
            fields.append(self._field(depth))

    def _field(self, depth: int) -> Field:
        name = self._take()
        has_colon = self._next is not None and self._next.text == ":"
        if has_colon:
            self._take()
        value, end = self._value(depth, has_colon=has_colon)
        if self._next is not None and self._next.text in (",", ";"):
            end = self._take().end
        return Field(name.text, value, name.start, end)

    def _value(self, depth: int, *, has_colon: bool) -> tuple[Value, int]:
        token = self._next
        if token is not None and token.text in _CLOSES:
            closes = _CLOSES[self._take().text]
            inside = self.message(closes, depth + 1)
            return inside, self._take().end
        if token is not None and token.text == "[":
            return self._list(depth)
        if not has_colon:
            raise self._wrong(self._place(), "a colon or { is expected")
        return self._scalar()

    def _list(self, depth: int) -> tuple[Value, int]:
        if depth > _DEEPEST:
            raise self._wrong(self._place(), "it is nested too deeply")
        self._take()
        values: list[Value] = []
        while self._next is not None and self._next.text != "]":
            if values:
                self._expect(",")
            values.append(self._value(depth + 1, has_colon=True)[0])
        return values, self._expect("]").end

    def _scalar(self) -> tuple[Value, int]:
        sign = ""
        if self._next is not None and self._next.text == "-":
            sign = self._take().text
        if self._next is None or self._next.kind == "mark":
            raise self._wrong(self._place(), "a value is expected")
        token = self._take()
        if token.kind == "word":
            return sign + token.text, token.end
        parts, end = [_unescaped(token.text[1:-1])], token.end
        while (more := self._peek()) is not None and more.kind == "text":  # texts that follow each other are one
            self._take()
            parts.append(_unescaped(more.text[1:-1]))
            end = more.end
        return "".join(parts), end

    def _peek(self) -> _Token | None:
        return self._next

    def _take(self) -> _Token:
        token = self._next
        if token is None:
            raise self._wrong(len(self._text), "it ends too early")
        self._next = next(self._tokens, None)
        return token

    def _expect(self, text: str) -> _Token:
        if self._next is None or self._next.text != text:
            raise self._wrong(self._place(), f"{text} is expected")
        return self._take()

    def _place(self) -> int:
        return len(self._text) if self._next is None else self._next.start

    def _wrong(self, at: int, reason: str) -> FormatError:
        line = self._text.count("\n", 0, at) + 1
        return FormatError(f"cannot read {self._where} line {line}: {reason}")


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    data = bytearray()
    at = 0
    for match in _ESCAPE.finditer(text):
        data += text[at : match.start()].encode("utf-8", "surrogatepass")
        octal, digits, other = match.groups()
        if octal is not None:
            data.append(int(octal, 8) & 0xFF)
        elif digits is not None:
            data.append(int(digits, 16))
        else:
            data += _PLAIN.get(other, other).encode("utf-8", "surrogatepass")
        at = match.end()
    data += text[at:].encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "surrogateescape")
