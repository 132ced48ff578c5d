"""Changes one value of a YAML document and leaves the rest of its text as it is: comments, order, block and flow style.

Edits the text at the positions of yaml's events; the result is read again and compared. Whole documents are read and written by
`strict_yaml`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dvlite.errors import FormatError, UsageError
from dvlite.formats.strict_yaml import (
    HALF_NUMBER,
    Document,
    Path,
    Tree,
    block_lines,
    dump,
    flow,
    line_value,
    load,
    parse_events,
)
from dvlite.show import quote

if TYPE_CHECKING:
    import yaml

_BLANK_LINE = re.compile(r"\n[ \t]*\n")


@dataclass(frozen=True, slots=True)
class _Entry:
    """The position of an entry of a mapping in the text: its key, the `:`, and its value."""

    key: int
    colon: int
    begin: int
    end: int
    column: int
    in_flow: bool  # the mapping that it is in is written {like: this}


Entries = Mapping[Path, _Entry]


def edit(data: bytes, path: Path, value: Tree, where: str, *, foreign: bool = False) -> bytes:
    """Returns the document with the value at `path` set, or removed if None; all else stays as it is. A mapping that becomes empty is removed too.

    If the text cannot be edited in place, it is rewritten, keeping the comments at its top. A `foreign` file keeps a null, and is never
    rewritten: raises UsageError where a value is used in several places by an alias.
    """
    document = load(data, where, foreign=foreign)
    removes = value is None and not foreign
    tree = _with(document.value, path, value, removes=removes)
    is_same = _is_same(tree, document.value)
    if is_same and not (foreign and isinstance(value, float)):
        return data
    text = data.decode("utf-8").removeprefix("\ufeff")
    entries = _entries(text)
    if is_same and (
        path not in entries or not re.fullmatch(HALF_NUMBER, text[entries[path].begin : entries[path].end])
    ):
        return data  # else: the same number, in a form that other readers take for text
    edited = _without(text, entries, path) if removes else _set(text, entries, path, value)
    edited = edited.rstrip("\n") + "\n"
    # The edit is textual; if the result does not read back as wanted, the document is rewritten.
    if _says(edited, tree, where, foreign=foreign):
        return edited.encode()
    if foreign and any(event.anchor for event in parse_events(text) if hasattr(event, "anchor")):
        shown = quote(".".join(path))
        raise UsageError(
            f"cannot set {shown} in {quote(where)} alone: an anchor uses it in several places",
            hint=f"edit {where} by hand",
        )
    return _top(text, document) + dump(tree)


def rename(data: bytes, path: Path, new: str, where: str) -> bytes:
    """Returns the document with the last key of `path` called `new`; all else stays as it is. Raises FormatError where that cannot be done."""
    load(data, where)
    text = data.decode("utf-8").removeprefix("\ufeff")
    entry = _entries(text)[path]
    edited = f"{text[: entry.key]}{new}{text[entry.colon :]}".encode()
    load(edited, where)
    return edited


def _with(tree: dict[str, Tree], path: Path, value: Tree, *, removes: bool) -> dict[str, Tree]:
    """Returns a copy of the tree with one value set or removed; a mapping that became empty goes too."""
    key, *rest = path
    if rest:
        child = tree.get(key)
        if removes and not isinstance(child, dict):
            return tree
        inner = _with(child if isinstance(child, dict) else {}, tuple(rest), value, removes=removes)
        removes = removes and not inner
        value = inner
    if removes:
        return {name: old for name, old in tree.items() if name != key}
    return {**tree, key: value}


def _says(text: str, tree: dict[str, Tree], where: str, *, foreign: bool) -> bool:
    try:
        return _is_same(load(text.encode(), where, foreign=foreign).value, tree)
    except FormatError:
        return False


def _is_same(one: Tree, other: Tree) -> bool:
    """Returns whether two trees say the same, whatever the order of their keys: 1, 1.0 and true are equal, and not the same."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _top(text: str, document: Document) -> bytes:
    before = text.splitlines(keepends=True)[: min(document.lines.values(), default=1) - 1]
    return "".join(line for line in before if line.startswith("#")).encode()


def _entries(text: str) -> Entries:
    """Returns the entries of all mappings of a document that was read before, by path."""
    import yaml

    found: dict[Path, _Entry] = {}
    events = parse_events(text)
    for event in events:
        if isinstance(event, yaml.MappingStartEvent):
            _note(events, event, (), text, found)
    return found


def _note(events: Iterator[yaml.Event], event: yaml.Event, path: Path, text: str, found: dict[Path, _Entry]) -> int:
    """Notes the entries of the value that begins with `event`; returns where it ends, comments after it left out."""
    import yaml

    begin, end = _place(event)
    if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
        return begin + len(text[begin:end].rstrip())
    in_flow: bool = event.flow_style  # type: ignore[attr-defined]
    if isinstance(event, yaml.SequenceStartEvent):
        number = 0
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            end = _note(events, event, (*path, str(number)), text, found)
            number += 1
    else:
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, key_end = _place(event)
            column = 0 if event.start_mark is None else event.start_mark.column
            name = (*path, event.value)  # type: ignore[attr-defined]
            child = next(events)
            end = _note(events, child, name, text, found)
            found[name] = _Entry(key, text.find(":", key_end), _place(child)[0], end, column, in_flow)
    return _place(event)[1] if in_flow else end


def _place(event: yaml.Event) -> tuple[int, int]:
    if event.start_mark is None or event.end_mark is None:
        return 0, 0
    return event.start_mark.index, event.end_mark.index


def _beside(entries: Entries, folder: Path) -> list[_Entry]:
    """Returns the entries of one mapping, as they stand."""
    depth = len(folder)
    found = [entry for path, entry in entries.items() if len(path) == depth + 1 and path[:depth] == folder]
    return sorted(found, key=lambda entry: entry.key)


def _set(text: str, entries: Entries, path: Path, value: Tree) -> str:
    depth = next(size for size in range(len(path), -1, -1) if not size or path[:size] in entries)
    for key in reversed(path[depth + 1 :]):
        value = {key: value}
    if depth == len(path):
        return _replaced(text, entries[path], value)
    new: dict[str, Tree] = {path[depth]: value}
    beside = _beside(entries, path[:depth])
    if not beside:
        if depth:
            return _replaced(text, entries[path[:depth]], new)
        return text.rstrip("\n") + "\n" * bool(text) + _block(new, 0)
    last = beside[-1]
    if last.in_flow:
        return f"{text[: last.end]}, {flow(new)[1:-1]}{text[last.end :]}"
    at = _line_end(text, last.end)
    gap = "\n" * (len(beside) > 1 and _BLANK_LINE.search(text, beside[-2].end, last.key) is not None)
    return f"{text[:at]}\n{gap}{_block(new, last.column)}{text[at:]}"


def _replaced(text: str, entry: _Entry, value: Tree) -> str:
    """Replaces a value, in its style; a comment on the line of the key stays."""
    space, after = text[entry.colon + 1 : entry.begin], text[entry.end :]
    below = "\n" in space  # the old value stood on lines of its own
    comment = space.partition("\n")[0].rstrip() if below else ""
    if not value or entry.in_flow or not isinstance(value, dict if not below else dict | list):
        shown = flow(value) if entry.in_flow else line_value(value)
        return f"{text[: entry.colon + 1]}{' ' if below else space or ' '}{shown}{comment}{after}"
    if not below:
        end = _line_end(text, entry.end)
        comment, after = text[entry.end : end].rstrip(), text[end:]
    lines = _block({"x": value}, entry.column).partition("\n")[2]
    return f"{text[: entry.colon + 1]}{comment}\n{lines}{after}"


def _without(text: str, entries: Entries, path: Path) -> str:
    """Removes an entry, and a mapping that has no other."""
    while len(path) > 1 and len(_beside(entries, path[:-1])) == 1:
        path = path[:-1]
    entry, beside = entries[path], _beside(entries, path[:-1])
    at = beside.index(entry)
    if not entry.in_flow:
        return text[: text.rfind("\n", 0, entry.key) + 1] + text[_line_end(text, entry.end) + 1 :]
    if at:
        return text[: beside[at - 1].end] + text[entry.end :]
    return text[: entry.key] + text[beside[1].key if len(beside) > 1 else entry.end :]


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _block(value: Mapping[str, Tree], column: int) -> str:
    return "".join(block_lines(value, " " * column)).removesuffix("\n")
