"""The lockfile `dvlite.lock`: what each stage ran with, and its outputs; the pointer of the cached ones (docs/reference/formats/lockfile.md).

A strict block form of one line per path or value, in stage order, that any YAML reader understands and that merges line by line. Paths
are relative to the lockfile's folder and may begin with `../`. Read without a YAML parser: every command reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONDecodeError, dumps, loads
from operator import attrgetter
from typing import ClassVar

from dvlite.errors import FormatError
from dvlite.files import format_error, later_format, merge_conflict
from dvlite.formats.pointer import MAX_SIZE, Pointer
from dvlite.formats.strict_yaml import Tree
from dvlite.oid import MANIFEST, RUN, Oid, digest_stage_key, parse_oid
from dvlite.show import quote, word

FILE_NAME = "dvlite.lock"
VERSION = 1
KEY_VERSION = 1
LIMIT_BYTES = 64 << 20
HEADER = "# Written by dvlite repro: what each stage ran with and made. Commit it; do not edit it.\n"
END = "# end\n"  # the last line: a file that was cut reads as no lockfile. No count of stages: git merges without the merge driver, too.
_MAX_LINE = 1 << 20
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_RUN_LINE = re.compile(rb"^    run: (run:[0-9a-f]{64})$", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./@+=-]*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
_VERSION = re.compile(r"dvlite: [0-9]{1,9}$")
STAGE = r"[A-Za-z0-9_-]{1,100}(?:@[A-Za-z0-9_.+-]{1,120})?"  # the name of a stage, or of an instance of one
_STAGE = re.compile(rf"  ({STAGE}):")
_FIELD = re.compile(r"    ([a-z]+):(?: (.+))?")
_ITEM = re.compile(r'      ([A-Za-z0-9_./][A-Za-z0-9_./@+=-]*|"(?:[^"\\]|\\.)*"): (.+)')
_CONTENT = re.compile(
    r"\{oid: ((?:blake3|manifest):[0-9a-f]{64}), size: (0|[1-9][0-9]{0,18})(?:, files: (0|[1-9][0-9]{0,18}))?"
    r"((?:, (?:executable: true|cache: false|push: false))*)\}"
)
_SCALARS = ("key", "run", "cmd", "wdir", "map")
_SECTIONS = ("deps", "params", "env", "capture", "outs")
_FACTS = ("cmd", "wdir", "params", "env", "capture", "map")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Locked:
    """A version of a dependency or an output. `cache` False: git keeps it; `push` False: it is not pushed."""

    path: str
    oid: Oid
    size_bytes: int
    files: int = 1
    executable: bool = False
    cache: bool = True
    push: bool = True

    def pointer(self) -> Pointer:
        """Returns the same version as a pointer."""
        kind, digest = parse_oid(self.oid)
        if kind == MANIFEST:
            return Pointer("directory", digest, self.size_bytes, self.files)
        return Pointer("file", digest, self.size_bytes, executable=self.executable)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a stage runs with besides its dependencies, as the lockfile and the run record hold it.

    `wdir` is relative to the folder of the pipeline file, `params` is `file:dotted.key` -> value, `env` the variables that the stage sets,
    `capture` the values that it asks to record (`torch`, `env NAME`, `command nvcc --version`); `map` the declaration of a stage that runs
    once for each datum (`map_stage.facts_of`), of others nothing.
    """

    INLINE: ClassVar[bool] = True  # in JSON, the fields stand among those of what holds it
    cmd: str
    wdir: str = "."
    params: Mapping[str, Tree] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    map: Mapping[str, Tree] = field(default_factory=dict)

    @property
    def mappings(self) -> dict[str, Mapping[str, Tree]]:
        """The sections with a value for each name."""
        return {"params": self.params, "env": self.env, "capture": self.capture}


@dataclass(frozen=True, slots=True)
class LockedStage:
    """What a stage ran with, or would run with now, and its outputs; `run` is the run that made them."""

    name: str
    key: str
    facts: Facts
    run: Oid | None = None
    deps: tuple[Locked, ...] = ()
    outs: tuple[Locked, ...] = ()
    line: int = 0  # where it begins, from 1


def stage_key(facts: Facts, deps: Iterable[Locked], outs: Iterable[str]) -> str:
    """Returns the stage key, 64 hex digits, from everything that determines the outputs; `outs` are named as in the pipeline file.

    Two runs with the same key have the same command, dependencies, parameters, variables and captured environment, so the outputs of one
    can stand for those of the other. Paths in it are relative to the pipeline file's folder: a pipeline that moves keeps its runs.
    """
    value: dict[str, object] = {
        "v": KEY_VERSION,
        "cmd": facts.cmd,
        "wdir": facts.wdir,
        "deps": sorted([dep.path, dep.oid, *(["x"] if dep.executable else [])] for dep in deps),
        "params": dict(facts.params),
        "env": dict(facts.env),
        "capture": dict(facts.capture),
        "outs": sorted(outs),
    }
    if facts.map:
        value["map"] = dict(facts.map)
    text = dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return digest_stage_key(text.encode())


@dataclass(frozen=True, slots=True)
class Lockfile:
    """The stages of one lockfile, in its order."""

    stages: tuple[LockedStage, ...] = ()

    def stage(self, name: str) -> LockedStage | None:
        return next((stage for stage in self.stages if stage.name == name), None)


def dump(lock: Lockfile) -> bytes:
    """Returns the canonical bytes; the same stages give the same bytes. Raises FormatError for what is given twice: `parse` would."""
    _require_once([stage.name for stage in lock.stages])
    lines = [HEADER, f"dvlite: {VERSION}\n", "stages:\n"]
    for stage in lock.stages:
        lines += _stage_lines(stage)
    return encoded("".join([*lines, END]))


def stage_text(stage: LockedStage) -> str:
    """Returns the lines of one stage as `dump` writes them; equal for equal stages."""
    return "".join(_stage_lines(stage))


def encoded(text: str) -> bytes:
    """Returns a text as it stands in a lockfile."""
    return text.encode("utf-8", "surrogateescape")


def parse(data: bytes, where: str) -> Lockfile:
    """Reads a lockfile; `where` is its path, for errors. Raises FormatError naming the line that is wrong."""
    if len(data) > LIMIT_BYTES:
        raise _wrong(where, 1, f"a lockfile has at most {LIMIT_BYTES} bytes, this one has {len(data)}")
    return _LockfileReader(data.decode("utf-8", "surrogateescape"), where).read()


def run_ids(data: bytes) -> list[Oid]:
    """Returns the runs in the bytes of a lockfile, without parsing the rest."""
    return [Oid(run.decode()) for run in _RUN_LINE.findall(data)]


def line_of(lines: Sequence[str], stage: LockedStage, field_name: str, item: str | None = None) -> int:
    r"""Returns the line (from 1) of a stage's field, or of an item in it; what is not there is where it would be.

    `lines` are those of the file that the stage was read from: `data.decode("utf-8", "surrogateescape").split("\n")`.
    """
    best, inside = stage.line, False
    for number in range(stage.line + 1, len(lines) + 1):
        line = lines[number - 1]
        if line.startswith("      "):
            match = _ITEM.fullmatch(line) if inside else None
            if match is not None and item in (match[1], loads(match[1]) if match[1].startswith('"') else None):
                return number
        elif line.startswith("    "):
            inside = line[4:].startswith(f"{field_name}:")
            best = number if inside else best
        elif line and not line.startswith("#"):
            break
    return best


def _require_once(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise FormatError(
            f"cannot write the lockfile: {quote(twice)} would be in it twice",
            hint="see that no two outputs or dependencies of a stage are the same path",
        )


def _stage_lines(stage: LockedStage) -> Iterator[str]:
    yield f"  {stage.name}:\n    key: {stage.key}\n"
    if stage.run is not None:
        yield f"    run: {stage.run}\n"
    facts = stage.facts
    yield f"    cmd: {_json(facts.cmd)}\n"
    if facts.wdir != ".":
        yield f"    wdir: {_json(facts.wdir)}\n"
    if facts.map:
        yield f"    map: {_json(dict(facts.map))}\n"
    yield from _section("deps", ((item.path, _locked(item)) for item in sorted(stage.deps, key=attrgetter("path"))))
    for name, values in facts.mappings.items():
        yield from _section(name, ((key, _json(value)) for key, value in sorted(values.items())))
    yield from _section("outs", ((item.path, _locked(item)) for item in sorted(stage.outs, key=attrgetter("path"))))


def _section(name: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    items = list(rows)
    _require_once([key for key, _ in items])
    written = [f"      {_name(key)}: {value}\n" for key, value in items]
    if written:
        yield f"    {name}:\n"
        yield from written


def _locked(item: Locked) -> str:
    more = f", files: {item.files}" if item.oid.startswith(MANIFEST) else ""
    more += ", executable: true" * item.executable + ", cache: false" * (not item.cache)
    return f"{{oid: {item.oid}, size: {item.size_bytes}{more}{', push: false' * (not item.push)}}}"


def _name(text: str) -> str:
    """Returns a key plain if every YAML reader takes it for the same text, else quoted."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not text[0].isdigit() and text[0] != "."
    return text if plain else _json(text)


def _json(value: Tree) -> str:
    return dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False).translate(_BREAKS)


# JSON does not escape these in a string, but they end a line for YAML readers.
_BREAKS = {code: f"\\u{code:04x}" for code in (0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, 0xFEFF)}


class _LockfileReader:
    """Reads one lockfile line by line."""

    def __init__(self, text: str, where: str) -> None:
        self._lines = text.split("\n")
        self._where = where
        self._stages: list[LockedStage] = []
        self._names: set[str] = set()

    def read(self) -> Lockfile:
        numbered = enumerate(self._lines[:200], 1)
        head = [(n, line) for n, line in numbered if line.strip() and not line.startswith("#")][:2]
        for number, line in head:
            self._refuse_conflict(line, number)
        texts = [line for _, line in head]
        if not texts:
            raise self._wrong(1, "it is empty")
        if texts[0] != f"dvlite: {VERSION}":
            if _VERSION.match(texts[0]):
                reason = f"version {quote(texts[0][8:28])} of the format is not known"
                raise later_format(self._where, head[0][0], reason)
            raise self._wrong(head[0][0], "it is not a lockfile: it does not begin with 'dvlite: 1'")
        if len(texts) < 2 or texts[1] not in ("stages:", "stages: {}"):
            raise self._wrong(head[-1][0], "expected 'stages:'")
        self._body(head[1][0])
        if self._lines[-2:] != [END[:-1], ""]:
            raise self._wrong(len(self._lines), f"the file was cut: its last line is not {quote(END[:-1])}")
        return Lockfile(tuple(self._stages))

    def _body(self, number: int) -> None:
        name, begun = "", 0
        fields: dict[str, object] = {}
        section: dict[str, object] | list[Locked] | None = None
        keys: set[str] = set()
        for number, line in enumerate(self._lines[number:], number + 1):  # noqa: PLR1704, B020  # goes on where the head ended
            if line.startswith("      "):
                if section is None:
                    raise self._wrong(number, f"unexpected {quote(line[:40])}")
                self._item(line, number, section, keys)
            elif line.startswith("    "):
                section, keys = self._field(line, number, fields if name else None), set()
            elif match := _STAGE.fullmatch(line):
                self._finish(name, begun, fields)
                name, begun, fields, section = match[1], number, {}, None
            elif line and not line.startswith("#"):
                self._refuse_conflict(line, number)
                raise self._wrong(number, f"unexpected {quote(line[:40])}")
        self._finish(name, begun, fields)

    def _field(
        self, line: str, number: int, fields: dict[str, object] | None
    ) -> dict[str, object] | list[Locked] | None:
        match = _FIELD.fullmatch(line)
        if match is None or fields is None or match[1] not in _SCALARS + _SECTIONS or match[1] in fields:
            self._refuse_conflict(line.strip(), number)
            raise self._wrong(number, f"unexpected {quote(line[:40])}")
        name, value = match[1], match[2]
        if name in _SECTIONS:
            if value is not None:
                raise self._wrong(number, f"unexpected {quote(line[:40])}")
            section: dict[str, object] | list[Locked] = [] if name in ("deps", "outs") else {}
            fields[name] = section
            return section
        fields[name] = self._scalar(name, value or "", number)
        return None

    def _scalar(self, name: str, value: str, number: int) -> str | dict[str, Tree]:
        if name == "key" and _KEY.fullmatch(value):
            return value
        if name == "run":
            try:
                if parse_oid(value)[0] == RUN:
                    return value
            except FormatError:
                pass
        if name in ("cmd", "wdir", "map"):
            held = self._value(value, number)
            if isinstance(held, dict if name == "map" else str) and (held or name != "map"):
                return held
        raise self._wrong(number, f"'{name}' is malformed")

    def _item(self, line: str, number: int, section: dict[str, object] | list[Locked], keys: set[str]) -> None:
        match = _ITEM.fullmatch(line)
        if match is None or len(line) > _MAX_LINE:
            self._refuse_conflict(line.strip(), number)
            raise self._wrong(number, f"expected 'name: value', found {quote(line.strip()[:40])}")
        key = match[1]
        if key.startswith('"'):
            key = str(self._value(key, number))
        if key in keys:
            raise self._wrong(number, f"{quote(key)} is given twice")
        keys.add(key)
        if isinstance(section, list):
            section.append(self._locked(key, match[2], number))
        else:
            section[key] = self._value(match[2], number)

    def _locked(self, path: str, text: str, number: int) -> Locked:
        match = _CONTENT.fullmatch(text)
        if match is None:
            raise self._wrong(number, f"what stands after {quote(path)} is malformed")
        why = why_not_a_path(path)
        if why is not None:
            raise self._wrong(number, f"{quote(path)} {why}")
        oid, size, files, flags = Oid(match[1]), int(match[2]), match[3], match[4]
        is_directory = oid.startswith(MANIFEST)
        if size > MAX_SIZE or (files is None) == is_directory or (is_directory and "executable" in flags):
            raise self._wrong(number, f"what stands after {quote(path)} is malformed")
        return Locked(
            path, oid, size, int(files or 1), "executable" in flags, "cache" not in flags, "push" not in flags
        )

    def _finish(self, name: str, line: int, fields: dict[str, object]) -> None:
        if not name:
            return
        if name in self._names:
            raise self._wrong(line, f"the stage '{name}' is given twice")
        for required in ("key", "cmd"):
            if required not in fields:
                raise self._wrong(line, f"'{required}' of the stage '{name}' is missing")
        for mapping in ("env", "capture"):
            if not all(isinstance(value, str) for value in dict(fields.get(mapping, {})).values()):  # type: ignore[call-overload]
                raise self._wrong(line, f"'{mapping}' of the stage '{name}' must hold text")
        self._names.add(name)
        parts = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
        facts = Facts(**{key: parts.pop(key) for key in _FACTS if key in parts})  # type: ignore[arg-type]  # each was checked when it was read
        self._stages.append(LockedStage(name=name, line=line, facts=facts, **parts))  # type: ignore[arg-type]

    def _value(self, text: str, number: int) -> Tree:
        if text.count("[") + text.count("{") > 1000:
            raise self._wrong(number, "a value is nested too deeply")
        try:
            value: Tree = loads(text, parse_constant=_refuse)
        except (JSONDecodeError, ValueError, RecursionError):
            raise self._wrong(number, f"{quote(text[:40])} is not a value") from None
        return value

    def _refuse_conflict(self, line: str, number: int) -> None:
        if line.startswith(_CONFLICT):
            hint = f"dvlite resolve {word(self._where)} --ours or --theirs, then: dvlite repro"
            raise merge_conflict(self._where, number, hint)

    def _wrong(self, number: int, reason: str) -> FormatError:
        return _wrong(self._where, number, reason)


def _refuse(text: str) -> Tree:
    raise ValueError(f"the number {text} is not accepted")


def why_not_a_path(path: str) -> str | None:
    """Returns why a text is not a path relative to the lockfile's folder, or None; `../` is allowed at the start."""
    parts = path.split("/")
    while parts and parts[0] == "..":
        del parts[0]
    if not path or "\0" in path or path.startswith("/") or not parts or any(part in ("", ".", "..") for part in parts):
        return "is not a plain relative path"
    return None


def _wrong(where: str, line: int, reason: str) -> FormatError:
    usual = (
        f"restore it from git, or recreate it: git checkout HEAD -- {word(where)}, or: rm {word(where)} && dvlite repro"
    )
    return format_error(where, line, reason, hint=None, usual=usual)
