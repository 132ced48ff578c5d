r"""Stages that run once for each file, folder or group of files: `map:` (docs/reference/formats/pipeline.md). Knows no disk.

The declaration, what stands for it in lockfile, key and record (`facts_of`), and the texts of such a stage that are filled in for each
datum: `cmd` and `outs`. In them `${...}` is a value of the datum and `\${` the characters `${`; values of the file are filled in already.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dvlite.errors import FormatError
from dvlite.formats.config import size_bytes
from dvlite.formats.shell_text import quotes_at, shell_text
from dvlite.formats.strict_yaml import Path, Tree
from dvlite.formats.templates import DATUM_NAMES, Wrong, kind_of
from dvlite.show import closest, quote

MAP_KEYS = ("over", "by", "batch")
MAX_BATCH = 1_000_000
MOST_OVER = 20
MOST_OUTS = 20
Values = Mapping[
    str, tuple[str, ...]
]  # of `${in}`, `${in.NAME}`, `${out}`, `${path}`, `${stem}`, `${name}` and captures
_ALONE = ("path", "stem")  # what only a datum of a single file or folder has
_CAPTURE = re.compile(r"\{([^{}/]*)\}")
_TOKEN = re.compile(r"\[!?\]?[^\]]*\]|\{[^{}/]*\}|.", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MARK = re.compile(r"\\\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)?)\}")
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*")
_WILD = re.compile(r"[*?\[{]")
_OVER = "for example  over: data/images/**/*.jpg   or, for each folder,  over: data/scenes/*/"

PathOf = Callable[[Tree, Path], str]


@dataclass(frozen=True, slots=True)
class MapInput:
    """One pattern of `over`, relative to the stage's folder; `name` is '' for one without a name.

    `pattern` has captures as `{name}`, and no `/` at its end: `folders` says that folders are the units.
    """

    name: str
    pattern: str
    folders: bool = False
    line: int = 0

    @property
    def captures(self) -> tuple[str, ...]:
        """The names of its captures, each once, in order."""
        return tuple(dict.fromkeys(token[1:-1] for token in _TOKEN.findall(self.pattern) if _is_capture(token)))

    @property
    def fixed(self) -> str:
        """The folders before the first wildcard or capture; '' for none."""
        parts = self.pattern.split("/")
        plain = next((number for number, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
        return "/".join(parts[:plain])

    @property
    def glob(self) -> str:
        """What it is called in lockfile and record: captures are `*`, and of folders all files inside count."""
        plain = "".join("*" if _is_capture(token) else token for token in _TOKEN.findall(self.pattern))
        return f"{plain}/**" if self.folders else plain

    @property
    def written(self) -> str:
        return f"{self.pattern}/" if self.folders else self.pattern


@dataclass(frozen=True, slots=True)
class MapOut:
    """The template of one output of each datum; `folder` is the fixed folder before its first `${`, an output of the stage."""

    template: str
    folder: str

    def placed(self, wdir: str) -> MapOut:
        """Returns it relative to the repository, for a stage whose folder is `wdir` there."""
        return MapOut(*(posixpath.normpath(posixpath.join(wdir, path)) for path in (self.template, self.folder)))


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map stage goes over and what each datum makes. Paths are relative to the stage's folder.

    `by`: files with the same values of these captures are one datum. `function`: the stage's `cmd` is `module:function`. A task has
    `batch_datums` datums, or as many as have `batch_bytes`; 0: as it comes.
    """

    over: tuple[MapInput, ...]
    outs: tuple[MapOut, ...]
    by: tuple[str, ...] = ()
    function: bool = False
    batch_datums: int = 0
    batch_bytes: int = 0

    @property
    def is_single(self) -> bool:
        """Whether each file (or folder) is a datum of its own."""
        return not self.by


def facts_of(spec: MapSpec) -> dict[str, Tree]:
    """Returns what determines results, as lockfile, stage key and record have it: not the size of a batch."""
    over: Tree = {item.name: item.written for item in spec.over}
    if spec.over[0].name == "":
        over = spec.over[0].written
    facts: dict[str, Tree] = {"over": over, "outs": [out.template for out in spec.outs]}
    if spec.by:
        facts["by"] = list(spec.by)
    return {**facts, "function": True} if spec.function else facts


def spec_of(facts: Mapping[str, Tree], cmd: str) -> MapSpec:
    """Reverts `facts_of`; raises ValueError for what no stage can declare: records come from anyone."""

    def wrong(at: Path, reason: str, hint: str | None) -> FormatError:
        return FormatError(reason, hint=hint or "the record is not sound")

    try:
        if not facts.keys() <= {"over", "outs", "by", "function"} or not isinstance(facts.get("function", False), bool):
            raise ValueError("'map' has fields that are not known")
        reader = MapReader(lambda _: 0, _plain_path, wrong)
        value = {key: item for key, item in facts.items() if key in MAP_KEYS}
        outs = facts.get("outs")
        if not isinstance(outs, list) or not all(isinstance(out, str) for out in outs):
            raise ValueError("'outs' of 'map' must be a list of texts")
        templates = [(("outs", str(number)), str(out)) for number, out in enumerate(outs)]
        return reader.spec(value, ("map",), templates, cmd, function=bool(facts.get("function", False)))
    except FormatError as error:
        raise ValueError(f"'map' is refused: {error.message}") from None


def _plain_path(value: Tree, at: Path) -> str:
    if not isinstance(value, str) or not value or value.startswith("/") or "\0" in value or len(value) > 4096:
        raise FormatError("it is not a path", hint="the record is not sound")
    return posixpath.normpath(value)


class MapReader:
    """Reads declarations; `path_of` checks a path or pattern and returns its plain form, `wrong` makes errors with file and line."""

    def __init__(self, line_of: Callable[[Path], int], path_of: PathOf, wrong: Wrong) -> None:
        self._line, self._path, self._wrong = line_of, path_of, wrong

    def spec(
        self, value: Mapping[str, Tree], at: Path, outs: Sequence[tuple[Path, str]], cmd: str, *, function: bool
    ) -> MapSpec:
        """Returns what `map` says together with the templates of `outs`, each with its place, and `cmd`, whose place is beside `map`."""
        for key in value:
            if key not in MAP_KEYS:
                close = closest(key[:60], MAP_KEYS)
                meant = f"; did you mean '{close}'?" if close else ""
                raise self._wrong(
                    (*at, key), f"{quote(key[:60])} is not known in 'map'{meant}", f"its keys: {', '.join(MAP_KEYS)}"
                )
        over = tuple(self._over(value.get("over"), (*at, "over")))
        by = self._by(value.get("by"), (*at, "by"), over)
        datums, size = self._batch(value.get("batch"), (*at, "batch"))
        captured = {name for item in over for name in item.captures}
        known = _names(over, by)
        if not outs:
            raise self._wrong(at[:-1], "a map stage has no outs", "for example  outs: ['thumbs/${stem}.png']")
        if len(outs) > MOST_OUTS:
            raise self._wrong(at[:-1], f"a map stage has {len(outs)} outs, more than {MOST_OUTS}", None)
        written = tuple(self._out(text, place, known - {"in", "out"}, captured, by) for place, text in outs)
        if not function:
            marks = self._check_marks(cmd, (*at[:-1], "cmd"), known, captured, by)
            if not marks:
                hint = "for example  cmd: convert ${in} -resize 64x64 ${out}"
                raise self._wrong(
                    (*at[:-1], "cmd"), "the cmd uses no value of the datum, such as ${in} and ${out}", hint
                )
        return MapSpec(over, written, by, function, datums, size)

    def function(self, value: Tree, at: Path) -> str:
        """Returns the name of a function, `module:function`."""
        if not isinstance(value, str) or _FUNCTION.fullmatch(value) is None or len(value) > 200:
            raise self._wrong(
                at,
                f"'function' must name a module and a function, not {kind_of(value)}",
                "for example  features:extract",
            )
        return value

    def _over(self, value: Tree, at: Path) -> Iterator[MapInput]:
        if isinstance(value, dict):
            if not value or len(value) > MOST_OVER:
                raise self._wrong(at, f"'over' names from 1 to {MOST_OVER} inputs, not {len(value)}", _OVER)
            for name, pattern in value.items():
                if _NAME.fullmatch(name) is None:
                    raise self._wrong(
                        (*at, name),
                        f"{quote(name[:60])} cannot be the name of an input",
                        "use letters, digits and '_', no digit first",
                    )
                yield self._input(name, pattern, (*at, name))
            return
        if value is None:
            raise self._wrong(at[:-1], "'map' has no 'over': what the stage goes over", _OVER)
        yield self._input("", value, at)

    def _input(self, name: str, value: Tree, at: Path) -> MapInput:
        if not isinstance(value, str):
            hint = (
                "a name for each:  over: {image: 'images/{id}.jpg', label: 'labels/{id}.txt'}"
                if isinstance(value, list)
                else _OVER
            )
            raise self._wrong(at, f"'over' must be a pattern, not {kind_of(value)}", hint)
        item = MapInput(name, self._path(value, at), value.endswith("/"), self._line(at))
        if _WILD.search(item.pattern) is None:
            hint = f"for each file in it:  over: {item.pattern}/**   for each folder:  over: {item.pattern}/*/"
            raise self._wrong(
                at, f"{quote(value[:200])} is a single path: 'over' goes over what a pattern matches", hint
            )
        self._check_captures(item, at)
        if item.folders and "**" in item.pattern:
            raise self._wrong(
                at,
                f"{quote(value[:200])} could match a folder and another one inside of it",
                "use '*' for each level:  data/*/*/",
            )
        return item

    def _check_captures(self, item: MapInput, at: Path) -> None:
        before = ""
        for piece in _TOKEN.findall(item.pattern):
            shown = quote(item.written[:200])
            if piece in ("{", "}"):
                raise self._wrong(at, f"a brace in {shown} has no partner", "for the character itself:  [{]  or  [}]")
            if _is_capture(piece):
                name = piece[1:-1]
                if _NAME.fullmatch(name) is None:
                    what = (
                        "an empty capture"
                        if not name
                        else f"{quote(name[:60])}, which cannot be the name of a capture,"
                    )
                    raise self._wrong(at, f"{what} is in {shown}", "for example  data/{patient}/*.dcm")
                if name in DATUM_NAMES or name in ("item", "key"):
                    raise self._wrong(
                        at,
                        f"the capture {quote(name)} in {shown} has a name with a meaning of its own",
                        "choose another name",
                    )
                if before == "*" or _is_capture(before):
                    raise self._wrong(
                        at,
                        f"it is not clear where {quote(name)} begins in {shown}",
                        "put something between it and what comes before:  {a}_{b}",
                    )
            elif piece == "*" and _is_capture(before):
                raise self._wrong(
                    at,
                    f"it is not clear where {quote(before[1:-1])} ends in {shown}",
                    "put something between it and the '*':  {a}_*",
                )
            before = piece

    def _by(self, value: Tree, at: Path, over: Sequence[MapInput]) -> tuple[str, ...]:
        names = [] if value is None else value if isinstance(value, list) else [value]
        for name in names:
            lacking = next((item for item in over if name not in item.captures), None)
            if not isinstance(name, str) or lacking is not None:
                shown = quote(name[:60]) if isinstance(name, str) else kind_of(name)
                where = "" if lacking is None else f" in {quote(lacking.written[:200])}"
                raise self._wrong(
                    at,
                    f"'by' names {shown}, but there is no such capture{where}",
                    "write it in braces:  over: 'data/{patient}/*.dcm'",
                )
        if len(set(map(str, names))) < len(names):
            raise self._wrong(at, "'by' names a capture twice", "take one of them out")
        if not names and len(over) > 1:
            raise self._wrong(
                at[:-1],
                "'over' has several inputs, and 'by' does not say what belongs together",
                "name a capture that all of them have:  by: id",
            )
        return tuple(map(str, names))

    def _batch(self, value: Tree, at: Path) -> tuple[int, int]:
        if value is None:
            return 0, 0
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_BATCH:
            return value, 0
        size = size_bytes(value) if isinstance(value, str) else None
        if not size:
            raise self._wrong(
                at,
                f"'batch' must be a number of datums from 1 to {MAX_BATCH:,}, or a size, not {kind_of(value)}",
                "for example  100  or  64MiB",
            )
        return 0, size

    def _out(self, text: str, at: Path, known: frozenset[str], captured: set[str], by: Sequence[str]) -> MapOut:
        marks = self._check_marks(text, at, known, captured, by)
        path = self._path(text, at)
        if not marks:
            path = f"{path}/${{name}}"
        first = next(match.start() for match in _MARK.finditer(path) if match[1] is not None)
        folder = posixpath.dirname(path[:first])
        if not folder or folder.split("/")[-1] == "..":
            raise self._wrong(
                at,
                f"the output {quote(text[:200])} of a map stage has no folder of its own before '${{'",
                f"for example  results/{text.rpartition('/')[2][:60]}",
            )
        if _WILD.search(folder):
            raise self._wrong(
                at,
                f"the folder {quote(folder)} of an output of a map stage has a wildcard in its name",
                "name the folder plainly",
            )
        return MapOut(path, folder)

    def _check_marks(
        self, text: str, at: Path, known: frozenset[str], captured: set[str], by: Sequence[str]
    ) -> list[str]:
        """Returns the values that a text uses; raises FormatError for one that a datum does not have."""
        marks = [match[1] for match in _MARK.finditer(text) if match[1] is not None]
        for mark in marks:
            if mark in known:
                continue
            shown = f"${{{mark[:60]}}}"
            if by and (mark in _ALONE or mark in captured):
                what = f"{shown} is not one value for a datum, which has several files: they are grouped by {' and '.join(by)}"
                raise self._wrong(at, what, f"use  ${{name}}  or  ${{{by[0]}}}")
            close = closest(mark, sorted(known))
            names = ", ".join(f"${{{name}}}" for name in sorted(known))
            raise self._wrong(
                at,
                f"{shown} is no value of a datum here",
                f"did you mean ${{{close}}}?" if close else f"there is {names}",
            )
        return marks


def _names(over: Sequence[MapInput], by: Sequence[str]) -> frozenset[str]:
    """Returns the names of the values that a datum has."""
    own = {"in", "out", "name", *(f"in.{item.name}" for item in over if item.name)}
    return frozenset(own | (set(by) if by else {*_ALONE, *over[0].captures}))


def _is_capture(token: str) -> bool:
    return len(token) > 1 and token[0] == "{"


# --- filled in ---


def script(cmd: str, values: Values) -> str:
    """Returns the command of a datum, each value quoted for the place where it stands. Raises FormatError for several files inside quotes."""
    parts = []
    for part, is_value, opened in pieces(cmd):
        if not is_value:
            parts.append(part)
            continue
        value = values[part]
        text = shell_text(value[0] if len(value) == 1 else list(value), opened)
        if text is None:
            raise FormatError(
                f"${{{part}}} stands inside quotes, and is {len(value)} paths",
                hint="take the quotes away: values are quoted already",
            )
        parts.append(text)
    return "".join(parts)


@lru_cache(100)  # once for all datums of a stage
def pieces(text: str) -> tuple[tuple[str, bool, str], ...]:
    """Returns a text as its parts in order: what stands there, or the name of a value, and (True) which; in a script, what is open there (`quotes_at`)."""
    parts: list[tuple[str, bool, str]] = []
    end, done, opened = 0, "", ""
    for match in [*_MARK.finditer(text), None]:
        plain = text[end : len(text) if match is None else match.start()]
        if match is not None and match[1] is None:
            plain += "${"
        opened = quotes_at(done + plain, len(done) + len(plain), len(done), opened)
        done += plain
        parts.append((plain, False, opened))
        if match is None:
            break
        if match[1] is not None:
            parts.append((match[1], True, opened))
            done += "_"  # of a value no more matters than that a word goes on
        end = match.end()
    return tuple(part for part in parts if part[0])
