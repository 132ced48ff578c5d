"""Files of values, YAML, JSON or TOML: parameters that stages read, metrics that they write (docs/reference/formats/parameters.md).

Bytes <-> plain values, found by dotted keys and changed in place. What a format has beyond text, numbers, booleans, lists and mappings
becomes text (dates, NaN), so that every value has one form in lockfiles and records. Knows no stage and no disk.
"""

from __future__ import annotations

import csv
import enum
import io
import json
import math
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from dvlite.errors import FormatError, UsageError
from dvlite.files import format_error
from dvlite.formats import series, strict_yaml, yaml_edit
from dvlite.formats.strict_yaml import MAX_DEPTH, Path, Tree
from dvlite.show import closest, quote, some

LIMIT_BYTES = strict_yaml.VALUES_LIMIT_BYTES
PLAIN_SUFFIXES = ("", ".txt")  # of metrics: one number, or YAML
_MAX_DIGITS = 4000  # Python converts no longer number
_HALF_NUMBER = re.compile(rf"(?:^\s*|[:,\[-]\s+|[\[,])({strict_yaml.HALF_NUMBER})(?=\s*(?:[,\]}}]|$|\s#))")
_TOML_LINE = re.compile(r"\(at line (\d+)")
_TOML_LONG_KEY = re.compile(r"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){100}")
_TOML_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_TOML_TABLE = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?")
_TOML_ENTRY = re.compile(r"(\s*([^=#\[]+?)\s*=\s*)(.+)")


class Absent(enum.Enum):
    """The type of ABSENT."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""What `find` returns for a key that is not there; None is a value."""


def load(data: bytes, name: str, where: str | None = None) -> Tree:
    """Reads a file of values; its name says what it is. `where` names it in errors, if not its name. Raises FormatError with the line."""
    kind = _kind(name)
    name = where or name
    if kind == "yaml":
        return strict_yaml.load(data, name, foreign=True).value
    if len(data) > LIMIT_BYTES:
        raise _wrong(name, None, f"it has more than {LIMIT_BYTES:,} bytes")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _wrong(name, data[: error.start].count(b"\n") + 1, "it is not UTF-8 text") from None
    tree = _load_json(text, name) if kind == "json" else _load_toml(text, name)
    if not isinstance(tree, dict):
        raise _wrong(name, 1, "it is not a mapping of keys to values")
    _check_depth(tree, name, 0)
    return tree


def find(tree: Tree, dotted: str) -> Tree | Literal[Absent.ABSENT]:
    """Returns the value of a dotted key (`net.depth`), or ABSENT; of keys that have dots themselves, the longest that fits."""
    path = path_of(tree, dotted)
    return ABSENT if path is None else _at(tree, path)


def path_of(tree: Tree, dotted: str) -> Path | None:
    """Returns the keys that a dotted key goes through, or None if it leads nowhere."""
    if not isinstance(tree, dict):
        return None
    if dotted in tree:
        return (dotted,)
    for at in reversed([match.start() for match in re.finditer(r"\.", dotted)]):
        if dotted[:at] in tree and (rest := path_of(tree[dotted[:at]], dotted[at + 1 :])) is not None:
            return (dotted[:at], *rest)
    return None


def full_key(tree: Tree, key: str, name: str) -> str:
    """Returns the dotted key that a key as typed means: itself, or the only one that ends with it (`lr` for `train.lr`).

    Raises UsageError, naming what it may mean, where it means nothing, or several.
    """
    if path_of(tree, key) is not None:
        return key
    known = flatten(tree)
    sections = {full.rpartition(".")[0] for full in known if "." in full}
    meant = [full for full in (*known, *sorted(sections)) if full.endswith(f".{key}")]
    if len(meant) == 1:
        return meant[0]
    reason = f"there is no {quote(key)} in {quote(name)}"
    if meant:
        raise UsageError(reason, hint=f"did you mean one of {some([quote(full) for full in meant])}?")
    close = closest(key, known)
    raise UsageError(reason, hint=f"did you mean '{close}'?" if close else f"add it to {name} first")


def metrics_limit_bytes(name: str) -> int:
    """Returns how many bytes a file of metrics may have: training may write one for days."""
    return series.LIMIT_BYTES if series.is_series(name) else LIMIT_BYTES


def load_metrics(data: bytes, name: str, where: str | None = None) -> Tree:
    """Reads a file of metrics: a file of values, one number, which is called as the file, the last row of a table (`.csv`, `.tsv`),
    or the last value of each series (JSON lines, TensorBoard event files).

    A name that ends in `.txt`, or has no ending, is read as YAML if it is not a number.
    """
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in series.TABLE_SUFFIXES:
        return _last_row(data, where or name, series.TABLE_SUFFIXES[suffix])
    if series.is_series(name):
        found = series.parse(data, name, where).series
        last = {key: one.values[-1] for key, one in found.items()}
        return {key: value if math.isfinite(value) else json.dumps(value) for key, value in last.items()}
    alone = strict_yaml.scalar(data.decode("utf-8", "replace").strip(), foreign=True) if len(data) < _MAX_DIGITS else ""
    if isinstance(alone, int | float) and not isinstance(alone, bool):
        return {posixpath.splitext(posixpath.basename(name))[0]: alone}
    if suffix in PLAIN_SUFFIXES:
        return load(data, f"{name}.yaml", where or name)
    return load(data, name, where)


def flatten(tree: Tree) -> dict[str, Tree]:
    """Returns the values by dotted key; a list, and a mapping that is empty, is one value."""
    return dict(_leaves(tree, "")) if isinstance(tree, dict) else {}


def changed(data: bytes, name: str, dotted: str, value: Tree) -> bytes:
    """Returns the file with the value of one key replaced; its other lines, comments and style stay.

    Raises UsageError for a key that is not there, naming the nearest, and where a TOML file cannot be edited line by line.
    """
    tree = load(data, name)
    path = path_of(tree, full_key(tree, dotted, name)) or ()
    kind = _kind(name)
    if kind == "yaml":
        return yaml_edit.edit(data, path, value, name, foreign=True)
    text = data.decode("utf-8").removeprefix("\ufeff")
    return (_changed_json(text, path, value) if kind == "json" else _changed_toml(text, name, path, value)).encode()


def numbers_as_text(data: bytes, name: str) -> Iterator[tuple[int, str, str]]:
    """Yields each number of a YAML file that readers of YAML 1.1, PyYAML among them, take for text: its line, itself, and as all read it."""
    if name.lower().endswith((".yaml", ".yml")) and len(data) <= LIMIT_BYTES:
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            for match in _HALF_NUMBER.finditer(line):
                yield number, match[1], strict_yaml.flow(float(match[1]))


def value_of(text: str) -> Tree:
    """Returns what a value on the command line means: as in YAML, so `0.003` is a number and `[1, 2]` a list. Raises UsageError."""
    if text[:1] not in ("[", "{", '"', "'"):
        return strict_yaml.scalar(text, foreign=True)
    reason = "it has several lines"
    try:
        found = strict_yaml.load(b"value: " + text.encode("utf-8", "surrogateescape"), "value", foreign=True).value
        if len(found) == 1:
            return found["value"]
    except FormatError as error:
        reason = error.reason
    raise UsageError(f"{quote(text)} is not a value: {reason}", hint="put text with special characters in quotes")


def _kind(name: str) -> Literal["yaml", "json", "toml"]:
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in (".yaml", ".yml"):
        return "yaml"
    if suffix == ".json":
        return "json"
    if suffix == ".toml":
        return "toml"
    hint = "it must end in .yaml, .yml, .json or .toml"
    raise format_error(name, None, "it is not YAML, JSON or TOML", hint=hint, usual="")


def _at(tree: Tree, path: Path) -> Tree:
    for key in path:
        tree = tree[key] if isinstance(tree, dict) else None
    return tree


def _leaves(tree: Mapping[str, Tree], start: str) -> Iterator[tuple[str, Tree]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{start}{key}.")
        else:
            yield start + key, value


def _check_depth(tree: Tree, name: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _wrong(name, None, f"it is nested deeper than {MAX_DEPTH} levels")
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        _check_depth(child, name, depth + 1)


# --- tables


def _last_row(data: bytes, name: str, delimiter: str) -> Tree:
    """Returns the last row of a table by the names in its first."""
    if len(data) > series.LIMIT_BYTES:
        raise _wrong(name, None, f"it has more than {series.LIMIT_BYTES:,} bytes")
    first: list[str] | None = None
    last: list[str] | None = None
    rows = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""), delimiter=delimiter, strict=True)
    try:
        for row in filter(None, rows):
            first, last = (row, None) if first is None else (first, row)
    except UnicodeDecodeError:
        raise _wrong(name, None, "it is not UTF-8 text") from None
    except csv.Error as error:
        raise _wrong(name, None, f"it is not a table: {error}") from None
    heads = [head.strip() for head in first or ()]
    lengths = {len(heads), len(heads if last is None else last)}
    if len(set(heads)) != len(heads) or len(lengths) > 1 or not all(heads):
        raise _wrong(name, rows.line_num, "its last row does not have one value for each name in its first")
    return {head: strict_yaml.scalar(cell.strip(), foreign=True) for head, cell in zip(heads, last or (), strict=False)}


# --- JSON


def _load_json(text: str, name: str) -> Tree:
    try:
        tree: Tree = json.loads(
            text, object_pairs_hook=_once, parse_constant=str, parse_float=_finite, parse_int=_whole
        )
    except json.JSONDecodeError as error:
        raise _wrong(name, error.lineno, _lower(error.msg)) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _wrong(name, None, reason) from None
    if "\\u" in text and re.search("[\ud800-\udfff]", json.dumps(tree, ensure_ascii=False)):
        raise _wrong(name, None, "it has half of a surrogate pair, which is no text")
    return tree


def _once(pairs: list[tuple[str, Tree]]) -> dict[str, Tree]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{quote(next(key for key in found if keys.count(key) > 1)[:60])} is given twice")
    return found


def _finite(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _changed_json(text: str, path: Path, value: Tree) -> str:
    """Replaces one value of a JSON text that was read before."""
    begin, end = _span(text, path)
    return text[:begin] + json.dumps(value, ensure_ascii=text.isascii(), allow_nan=False) + text[end:]


def _span(text: str, path: Path) -> tuple[int, int]:
    """Returns where the value at a path begins and ends; the path is there."""
    after: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().raw_decode

    def skip(at: int) -> int:
        while text[at] in " \t\r\n":
            at += 1
        return at

    at = skip(0)
    for wanted in path:
        at = skip(at + 1)  # after the bracket
        while True:
            key, at = after(text, at)
            at = skip(skip(at) + 1)  # after the colon
            if key == wanted:
                break
            at = skip(skip(after(text, at)[1]) + 1)  # after the comma
    return at, after(text, at)[1]


# --- TOML


def _load_toml(text: str, name: str) -> Tree:
    import tomllib  # 4 ms: only for who has such a file

    if _TOML_LONG_KEY.search(_TOML_QUOTED.sub("q", text)):  # tomllib takes minutes for a key of 100,000 parts
        raise _wrong(name, None, "a key has 100 parts or more")
    try:
        return _plain(tomllib.loads(text, parse_float=_finite))
    except tomllib.TOMLDecodeError as error:
        line = _TOML_LINE.search(str(error))
        raise _wrong(name, int(line[1]) if line else None, _lower(str(error).partition(" (at ")[0])) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _wrong(name, None, reason) from None


def _plain(value: Any) -> Tree:
    """Returns a value of TOML with dates and times as text."""
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return value if isinstance(value, str | int | float) else str(value.isoformat())


def _changed_toml(text: str, name: str, path: Path, value: Tree) -> str:
    """Replaces the value on the line that gives it; raises UsageError if no line does, or the value has no form in TOML."""
    before = _load_toml(text, name)
    wanted = _with(before, path, value)
    table: Path = ()
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if header := _TOML_TABLE.fullmatch(line):
            table = _toml_key(header[1])
        elif (entry := _TOML_ENTRY.match(line)) and table + _toml_key(entry[2]) == path:
            old = _at(before, path)
            end = next((end for end in _ends(entry[3]) if _says(f"x = {entry[3][:end]}", name, {"x": old})), None)
            new = entry[1] + _toml_text(value, name) + entry[3][end:]
            edited = "\n".join([*lines[:number], new, *lines[number + 1 :]])
            if end is not None and _says(edited, name, wanted):
                return edited
    shown = quote(".".join(path))
    raise UsageError(f"cannot change {shown} in {quote(name)}: it is not a plain line", hint=f"edit {name} by hand")


def _toml_key(text: str) -> Path:
    """Returns the parts of a key as written; quotes around a part are taken off, keys in need of more are not found."""
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _ends(rest: str) -> Iterator[int]:
    """Yields where the value at the start of a text may end: at its end, or before a comment."""
    for match in re.finditer(r"\s*(?:#|$)", rest):
        yield match.start()


def _says(text: str, name: str, wanted: Tree) -> bool:
    try:
        return repr(_load_toml(text, name)) == repr(wanted)
    except FormatError:
        return False


def _with(tree: Tree, path: Path, value: Tree) -> Tree:
    if not path or not isinstance(tree, dict):
        return value
    return {key: _with(child, path[1:], value) if key == path[0] else child for key, child in tree.items()}


def _toml_text(value: Tree, name: str) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml_text(item, name) for item in value) + "]"
    if value is None or isinstance(value, dict):
        raise UsageError(
            f"{quote(name)} can hold no {'null' if value is None else 'mapping'} here", hint=f"edit {name} by hand"
        )
    if not isinstance(value, str | bool):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _wrong(name: str, line: int | None, reason: str) -> FormatError:
    return format_error(name, line, reason, hint=None, usual=f"correct it, or restore {name} from git")
