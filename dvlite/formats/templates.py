"""Values and templates of a pipeline file: `vars`, `${...}`, `foreach` and `matrix`, filled in before stages are read.

Gets the document as it was parsed, and files of values through a function: knows no disk, and not what a stage is. Alone, a value keeps
its type; in a text it is text; in a command it is quoted (`shell_text`). Linear in what it makes, which is bounded.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from dvlite.errors import FormatError
from dvlite.formats import parameters
from dvlite.formats.shell_text import quotes_at, scalar_text, shell_text
from dvlite.formats.strict_yaml import Path, Scalar, Tree
from dvlite.show import closest, quote, some

ReadValues = Callable[
    [str], bytes | None
]  # a file beside the pipeline file; None if it is not there, or outside the repository
Wrong = Callable[[Path, str, str | None], FormatError]  # an error at a place of the document, with a hint
TextOf = Callable[[Tree], str | None]  # how a value stands in a text that is no script; None: not at all
Scope = Mapping[str, Tree]  # `item` and `key` of an instance
Keys = tuple[str | int, ...]

VALUES_FILE = "params.yaml"  # whose values have names unasked
DATUM_NAMES = ("in", "out", "path", "stem", "name")  # in `cmd` and `outs` of a map stage, filled in for each datum
FOREACH_KEYS = ("foreach", "do")
MATRIX = "matrix"
MAX_PART = 120  # characters of a name after the '@'
_MAX_SIZE = 32 << 20  # of all that is made: characters, and _VALUE for each value
_VALUE = 64
_MAX_NESTED = 50  # variables that refer to others, and values inside of values
_NAME = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+|\[[0-9]{1,6}\])*"
_MARK = re.compile(rf"\\\$\{{|\$\{{(?: *({_NAME}) *\}})?")
_KEY = re.compile(r"([A-Za-z0-9_-]+)|\[([0-9]+)\]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,255}")
_CAPTURE = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+-]")


@dataclass(frozen=True, slots=True)
class Instance:
    """One stage, its values filled in; `at` is where its definition stands, `template` the name that it was made from, if any.

    `axes`: the values of `matrix` that it stands for, those that are numbers, texts or booleans.
    """

    name: str
    template: str
    at: Path
    value: Tree
    axes: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Blank:
    """A value of the document that needs an `item` or `key`."""

    fill: Callable[[Scope], Tree]


@dataclass(frozen=True, slots=True)
class _StageBody:
    """A stage that waits for an `item` or `key`, with the variables of its own, in order."""

    variables: Mapping[str, Tree | _Blank]
    rest: Tree | _Blank


class Templates:
    """The variables of one pipeline file, and what is made with them; `files` are those that values were looked for in."""

    def __init__(self, variables: Tree, read: ReadValues, wrong: Wrong, text_of: TextOf = scalar_text) -> None:
        self._read, self._wrong, self._text_of = read, wrong, text_of
        self._named: dict[
            str, tuple[Tree, Path | None]
        ] = {}  # the value, and where it stands unless it needs no filling in
        self._nodes: dict[Keys, tuple[Tree, Path | None]] = {}
        self._open: dict[Keys, None] = {}
        self._own: Collection[str] = ()  # the variables of the stage that is being prepared
        self._datum: Collection[str] = ()  # of a map stage: the names that stay as they are in its `cmd` and `outs`
        self._size = 0
        self._defaults: dict[str, Tree] | None = None  # of VALUES_FILE
        self.files: dict[str, None] = {}
        for name, value, place in self._declared(variables, ("vars",), ()):
            self._named[name] = value, place

    def filled(self, value: Tree, at: Path) -> Tree:
        """Returns a value of the document with its variables filled in. Raises FormatError naming the line."""
        return self._counted(_fill(self._prepared(value, at), {}), at)

    def instances(self, stages: Mapping[str, Tree], most: int) -> Iterator[Instance]:
        """Yields the stages, instead of each template what it makes. Raises FormatError for more than `most`, and for equal names."""
        made = 0
        for name, value in stages.items():
            at = ("stages", name)
            if not isinstance(value, dict) or not ("foreach" in value or MATRIX in value):
                made += 1
                yield Instance(name, "", at, self._filled_stage(self._prepared_stage(value, at), {}, at))
                continue
            is_matrix = "foreach" not in value
            rest = {key: child for key, child in value.items() if key != MATRIX} if is_matrix else value.get("do")
            body = at if is_matrix else (*at, "do")
            prepared = self._prepared_stage(rest, body)
            seen: dict[str, Path] = {}
            for part, place, scope in (self._matrix if is_matrix else self._foreach)(value, at, most - made):
                self._check_part(name, part, place, seen)
                axes = _axes(scope["item"]) if is_matrix else {}
                yield Instance(f"{name}@{part}", name, body, self._filled_stage(prepared, scope, body), axes)
            made += len(seen)

    # -- foreach and matrix

    def _foreach(self, value: dict[str, Tree], at: Path, most: int) -> Iterator[tuple[str, Path, Scope]]:
        for key in value:
            if key not in FOREACH_KEYS:
                hint = "use one of them" if key == MATRIX else "put it under 'do'"
                raise self._wrong((*at, key), f"{quote(key[:60])} is not known beside 'foreach'", hint)
        at = (*at, "foreach")
        items = self.filled(value["foreach"], at)
        if not isinstance(items, list | dict) or not items:
            raise self._wrong(at, "'foreach' must be a list or mapping that is not empty", "for example  [us, uk]")
        self._check_count(len(items), at, most)
        if isinstance(items, dict):
            yield from ((_part(key), (*at, key), {"item": item, "key": key}) for key, item in items.items())
            return
        for number, item in enumerate(items):
            text = scalar_text(item)
            part = str(number) if text is None else _part(text)
            yield part, (*at, str(number)), {"item": item, "key": part}

    def _matrix(self, value: dict[str, Tree], at: Path, most: int) -> Iterator[tuple[str, Path, Scope]]:
        at = (*at, MATRIX)
        axes = self.filled(value[MATRIX], at)
        if not isinstance(axes, dict) or not axes:
            raise self._wrong(at, "'matrix' must be a mapping of lists", "for example  {lr: [0.1, 0.01], seed: [1, 2]}")
        columns: list[list[tuple[str, Tree]]] = []
        for axis, values in axes.items():
            if _VARIABLE.fullmatch(axis) is None or not isinstance(values, list) or not values:
                hint = "for example  {lr: [0.1, 0.01], seed: [1, 2]}"
                raise self._wrong(
                    (*at, axis), f"{quote(axis[:60])} in 'matrix' must be a name, and a list of values", hint
                )
            columns.append([(_axis_part(axis, number, item), item) for number, item in enumerate(values)])
        self._check_count(math.prod(map(len, columns)), at, most)
        for row in itertools.product(*columns):
            part = "-".join(word for word, _ in row)
            yield part, at, {"item": dict(zip(axes, (item for _, item in row), strict=True)), "key": part}

    def _check_count(self, count: int, at: Path, most: int) -> None:
        if count > most:
            raise self._wrong(
                at, f"it makes {count:,} stages, and the file may have {most:,} more", "name fewer values"
            )

    def _check_part(self, name: str, part: str, place: Path, seen: dict[str, Path]) -> None:
        hint = "a mapping gives each instance a name:  foreach: {NAME: VALUE, ...}   and ${item} is the value"
        if part in seen:
            raise self._wrong(place, f"two items make the same stage, {quote(f'{name}@{part}')}", hint)
        if not part or len(part) > MAX_PART:
            raise self._wrong(
                place, f"{quote(part[:60])} cannot be part of a name: it has {len(part)} characters", hint
            )
        seen[part] = place

    # -- what is filled in

    def _prepared_stage(self, value: Tree, at: Path) -> _StageBody:
        """Prepares a stage and the variables of its own, each of which may use those before it."""
        self._datum = _datum_names(value)
        if not isinstance(value, dict) or "vars" not in value:
            return _StageBody({}, self._prepared(value, at))
        variables: dict[str, Tree | _Blank] = {}
        self._own = variables.keys()
        for name, child, place in self._declared(value["vars"], (*at, "vars"), variables.keys()):
            if len(variables) == _MAX_NESTED:  # each may hold the one before it
                raise self._wrong(
                    (*at, "vars"),
                    f"a stage has at most {_MAX_NESTED} variables of its own",
                    "put them under 'vars' of the file",
                )
            variables[name] = child if place is None else self._prepared(child, place)
        rest = self._prepared({key: child for key, child in value.items() if key != "vars"}, at)
        self._own = ()
        return _StageBody(variables, rest)

    def _filled_stage(self, stage: _StageBody, scope: Scope, at: Path) -> Tree:
        own = dict(scope)
        for name, value in stage.variables.items():
            own[name] = _fill(value, own)
        return self._counted(_fill(stage.rest, own), at)

    def _prepared(self, value: Tree, at: Path) -> Tree | _Blank:
        """Returns a value with its variables filled in, or a blank if it needs more than these."""
        if isinstance(value, str):
            return self._prepared_text(value, at) if "${" in value else value
        if isinstance(value, list):
            items = [self._prepared(item, (*at, str(number))) for number, item in enumerate(value)]
            is_blank = any(isinstance(item, _Blank) for item in items)
            return _Blank(lambda scope: [_fill(item, scope) for item in items]) if is_blank else items  # type: ignore[return-value]
        if not isinstance(value, dict):
            return value
        pairs = [(self._prepared(key, at), self._prepared(item, (*at, key))) for key, item in value.items()]

        def fill(scope: Scope) -> Tree:
            filled = {self._key(_fill(key, scope), at): _fill(item, scope) for key, item in pairs}
            if len(filled) < len(pairs):
                raise self._wrong(at, "a key is given twice, once its values are filled in", "take one of them out")
            return filled

        return _Blank(fill) if any(isinstance(part, _Blank) for pair in pairs for part in pair) else fill({})

    def _key(self, value: Tree, at: Path) -> str:
        text = scalar_text(value)
        if text is None:
            raise self._wrong(at, f"a key must be text, not {kind_of(value)}", "name one of its values")
        return text

    def _prepared_text(self, text: str, at: Path) -> Tree | _Blank:
        """Reads a text: between what stays as it is, what is filled in, and how."""
        is_script = _is_script(at)
        datum = self._datum if self._datum and _is_of_datum(at) else ()
        parts: list[
            str | tuple[Keys, str | None]
        ] = []  # text, or a variable and, in a script, what is open where it stands
        end, opened = 0, ""
        for match in _MARK.finditer(text):
            parts.append(text[end : match.start()])
            if is_script:
                opened = quotes_at(text, match.start(), end, opened)
            if match[1] is None:
                if match[0] == "${" and not is_script:
                    raise self._wrong(
                        at,
                        f"{quote(text[match.start() :][:40])} names no variable",
                        "for the characters themselves:  \\${",
                    )
                parts.append(match[0] if datum else "${")
            elif _keys(match[1])[0] in datum:
                parts.append(f"${{{match[1]}}}")
            else:
                parts.append((_keys(match[1]), opened if is_script else None))
            end = match.end()
        parts.append(text[end:])
        alone = parts[1] if len(parts) == 3 and not parts[0] and not parts[2] else None
        needs_scope = any(isinstance(part, tuple) and part[0][0] in ("item", "key", *self._own) for part in parts)

        def fill(scope: Scope) -> Tree:
            if isinstance(alone, tuple):
                value = self._value(alone[0], at, scope)
                if alone[1] is None or isinstance(value, str):
                    return value.replace("${", "\\${") if datum and isinstance(value, str) else value
            words = [part if isinstance(part, str) else self._word(part, at, scope) for part in parts]
            if datum:
                words = [
                    word if isinstance(part, str) else word.replace("${", "\\${")
                    for part, word in zip(parts, words, strict=True)
                ]
            self._count(sum(map(len, words)), at)
            return "".join(words)

        return _Blank(fill) if needs_scope else fill({})

    def _word(self, part: tuple[Keys, str | None], at: Path, scope: Scope) -> str:
        keys, opened = part
        value = self._value(keys, at, scope)
        text = self._text_of(value) if opened is None else shell_text(value, opened)
        if text is None:
            hint = (
                f"name one of its values:  ${{{_name(keys)}.{next(iter(value))}}}"
                if isinstance(value, dict) and value
                else None
            )
            raise self._wrong(at, f"${{{_name(keys)}}} is {kind_of(value)}, where text is needed", hint)
        return text

    def _counted(self, value: Tree, at: Path) -> Tree:
        """Returns the value; raises FormatError if all that was made is too large: values may stand for others in many places."""
        stack = [value]
        while stack:
            top = stack.pop()
            self._count(_VALUE + (len(top) if isinstance(top, str) else 0), at)
            if isinstance(top, dict):
                stack += top.values()
            elif isinstance(top, list):
                stack += top
        return value

    def _count(self, size: int, at: Path) -> None:
        self._size += size
        if self._size > _MAX_SIZE:
            raise self._wrong(
                at, f"the stages take more than {_MAX_SIZE >> 20} MiB with their values filled in", "name fewer values"
            )

    # -- variables

    def _declared(
        self, variables: Tree, outer: Path, taken: Collection[str]
    ) -> Iterator[tuple[str, Tree, Path | None]]:
        """Yields what `vars` give: each item is a mapping of values, or a file of them, of which `FILE:KEY,KEY` takes some.

        With the place of a value that has to be filled in. Raises FormatError for a name that is given already, also in what is `taken`.
        """
        if variables is not None and not isinstance(variables, list):
            raise self._wrong(outer, "'vars' must be a list", "for example  [conf/train.yaml, {lr: 0.1}]")
        for number, item in enumerate(variables or ()):
            at = (*outer, str(number))
            if isinstance(item, dict):
                found: dict[str, tuple[Tree, Path | None]] = {
                    name: (value, (*at, name)) for name, value in item.items()
                }
            elif isinstance(item, str):
                file, _, names = item.partition(":")
                values = self._values(posixpath.normpath(file), at)
                if values is None:
                    raise self._wrong(at, f"there is no {quote(file)}", "paths are relative to the folder of this file")
                for name in names.split(",") if names else ():
                    if name not in values:
                        raise self._wrong(at, f"there is no {quote(name)} in {quote(file)}", _meant(name, values))
                found = {name: (value, None) for name, value in values.items() if not names or name in names.split(",")}
            else:
                raise self._wrong(at, f"expected a file or a mapping, found {kind_of(item)}", "for example  {lr: 0.1}")
            for name in found:
                if name in self._named or name in taken or name in ("item", "key"):
                    why = (
                        "stands for an item of 'foreach' and 'matrix'" if name in ("item", "key") else "is given twice"
                    )
                    raise self._wrong(at, f"the variable {quote(name[:60])} {why}", "choose another name")
            for name, (value, place) in found.items():
                yield name, value, place

    def _values(self, file: str, at: Path) -> dict[str, Tree] | None:
        self.files[file] = None
        try:
            data = self._read(file)
            tree = {} if data is None else parameters.load(data, file)
        except FormatError as error:
            line = "" if error.line is None else f" line {error.line}"
            reason = f"cannot read {quote(file)}{line}: {error.reason or error.message}"
            raise self._wrong(at, reason, f"correct {file}{line}") from None
        return tree if data is not None and isinstance(tree, dict) else None

    def _value(self, keys: Keys, at: Path, scope: Scope) -> Tree:
        """Returns the value of a variable, whole."""
        if keys[0] not in scope:
            return self._whole(keys, at)
        value = scope[str(keys[0])]
        for depth, key in enumerate(keys[1:], 1):
            value = self._child(value, keys[:depth], key, at)
        return value

    def _whole(self, keys: Keys, at: Path) -> Tree:
        value, place = self._node(keys, at)
        if place is None or not isinstance(value, dict | list):
            return value
        with self._opened(keys, at):
            if isinstance(value, dict):
                value = {key: self._whole((*keys, key), at) for key, child in value.items()}
            else:
                value = [self._whole((*keys, number), at) for number in range(len(value))]
        self._nodes[keys] = value, None
        return value

    def _node(self, keys: Keys, at: Path) -> tuple[Tree, Path | None]:
        """Returns a value and where it stands in the document if more of it, inside, has to be filled in."""
        if keys in self._nodes:
            return self._nodes[keys]
        if len(keys) == 1:
            value, place = self._variable(str(keys[0]), at)
        else:
            outer, place = self._node(keys[:-1], at)
            value = self._child(outer, keys[:-1], keys[-1], at)
            place = None if place is None else (*place, str(keys[-1]))
        if place is not None and isinstance(value, str):
            if "${" in value:
                with self._opened(keys, place):
                    value = self.filled(value, place)
            place = None
        self._nodes[keys] = value, place
        return value, place

    def _variable(self, name: str, at: Path) -> tuple[Tree, Path | None]:
        if name in self._named:
            return self._named[name]
        if self._defaults is None:
            self._defaults = self._values(VALUES_FILE, at) or {}
        if name in self._defaults:
            return self._defaults[name], None
        if name in ("item", "key"):
            raise self._wrong(at, f"${{{name}}} has a value only in stages with 'foreach' or 'matrix'", None)
        hint = f"give it in 'vars' or in {VALUES_FILE}"
        if _is_script(at):
            hint = f"for a variable of the shell: ${name} or \\${{{name}}}; to fill in a value, {hint}"
        meant = closest(name, {**self._named, **self._defaults, **dict.fromkeys(self._datum)})
        raise self._wrong(
            at, f"there is no variable {quote(name[:60])}", f"did you mean ${{{meant}}}?" if meant else hint
        )

    def _child(self, value: Tree, keys: Keys, key: str | int, at: Path) -> Tree:
        if isinstance(value, dict) and isinstance(key, str) and key in value:
            return value[key]
        if isinstance(value, list) and isinstance(key, int) and key < len(value):
            return value[key]
        outer = f"${{{_name(keys)}}}"
        if isinstance(value, dict) and isinstance(key, str):
            raise self._wrong(at, f"{outer} has no {quote(key[:60])}", _meant(key, value))
        if isinstance(value, list) and isinstance(key, int):
            raise self._wrong(
                at,
                f"{outer} has no item {key}: it has {len(value)}, counted from 0",
                f"for example  ${{{_name(keys)}[0]}}",
            )
        raise self._wrong(at, f"${{{_name((*keys, key))}}} leads nowhere: {outer} is {kind_of(value)}", f"use {outer}")

    @contextlib.contextmanager
    def _opened(self, keys: Keys, at: Path) -> Iterator[None]:
        """Notes that a value is being filled in; raises FormatError if it is already, or nested too deeply."""
        if keys in self._open:
            circle = [*list(self._open)[list(self._open).index(keys) :], keys]
            names = " <- ".join(dict.fromkeys(_name(each) for each in circle)) + f" <- {_name(keys)}"
            raise self._wrong(
                at, f"the variables need each other in a circle: {names[:300]}", "give one of them a value"
            )
        if len(self._open) >= _MAX_NESTED:
            raise self._wrong(at, f"variables are nested deeper than {_MAX_NESTED} levels", "write the values out")
        self._open[keys] = None
        try:
            yield
        finally:
            del self._open[keys]


def _fill(value: Tree | _Blank, scope: Scope) -> Tree:
    return value.fill(scope) if isinstance(value, _Blank) else value


def _is_script(at: Path) -> bool:
    """Returns whether a text at this place is given to a shell."""
    rest = at[3:] if at[2:3] == ("do",) else at[2:]
    return at[0] == "stages" and (
        rest[:1] == ("cmd",)
        or (rest[:1] == ("capture",) and rest[-1] == "cmd")
        or ("compare" in rest and rest[-1] == "run")
    )


def _is_of_datum(at: Path) -> bool:
    """Returns whether a text of a stage with `map` is filled in for each datum."""
    rest = at[3:] if at[2:3] == ("do",) else at[2:]
    return at[0] == "stages" and rest[:1] in (("cmd",), ("outs",))


def _datum_names(stage: Tree) -> Collection[str]:
    """Returns the names that have a value for each datum: those that every one has, and the captures in `over`; of a stage without `map` none."""
    declared = stage.get("map") if isinstance(stage, dict) else None
    if not isinstance(declared, dict):
        return ()
    over = declared.get("over")
    patterns = over.values() if isinstance(over, dict) else [over]
    captures = {name for text in patterns if isinstance(text, str) for name in _CAPTURE.findall(text)}
    return captures.union(DATUM_NAMES)


def _keys(text: str) -> Keys:
    return tuple(match[1] or int(match[2]) for match in _KEY.finditer(text))


def _name(keys: Keys) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)[1:]


def _part(text: str) -> str:
    """Returns a value as it stands in the name of an instance."""
    return _NOT_IN_NAMES.sub("_", text)


def _axis_part(axis: str, number: int, item: Tree) -> str:
    """Returns what a value adds to the name of an instance: a text itself, a number with its axis, of others their place."""
    if isinstance(item, str):
        return _part(item)
    text = scalar_text(item)
    return f"{axis}{number if text is None else _part(text)}"


def _axes(item: Tree) -> dict[str, Scalar]:
    items = item.items() if isinstance(item, dict) else ()
    return {axis: value for axis, value in items if not isinstance(value, dict | list)}


def kind_of(value: Tree) -> str:
    """Returns a description of a value that does not fit."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else quote((scalar_text(value) or "")[:60])


def _meant(name: str, known: Mapping[str, Tree]) -> str:
    close = closest(name, known)
    return f"did you mean '{close}'?" if close else f"it has {some([quote(key) for key in known])}"
