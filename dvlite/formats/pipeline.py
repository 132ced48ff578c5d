"""The pipeline file `dvlite.yaml` as its author wrote it, each part with its line (docs/reference/formats/pipeline.md).

Paths are relative to the stage's folder (`wdir`, itself relative to the file's folder), patterns are not expanded. Knows no disk.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dvlite.errors import FormatError
from dvlite.files import format_error
from dvlite.formats import comparator, strict_yaml, tables
from dvlite.formats.checks import MOST_CHECKS, CheckReader, CheckSpec
from dvlite.formats.comparator import Comparator
from dvlite.formats.config import duration_seconds, size_bytes
from dvlite.formats.map_stage import MapReader, MapSpec
from dvlite.formats.parameters import PLAIN_SUFFIXES
from dvlite.formats.plots import MOST_PLOTS, PlotReader, PlotSpec
from dvlite.formats.series import SERIES_SUFFIXES, is_series
from dvlite.formats.shell_text import scalar_text
from dvlite.formats.strict_yaml import Path, Scalar, Tree
from dvlite.formats.tables import TableSpec
from dvlite.formats.templates import Instance, ReadValues, Templates, kind_of
from dvlite.paths import MAX_PATH_BYTES, is_reserved
from dvlite.show import closest, quote

FILE_NAME = "dvlite.yaml"
PARAMS_FILE = "params.yaml"  # where a plain parameter is
STAGE_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
MAX_STAGES = 10_000  # those that templates make too
MAX_RETRIES = 100
MAX_CPUS = 100_000
MAX_GPUS = 1024
MAX_TIMEOUT_SECONDS = 366 * 86_400
MAX_CMD_BYTES = (128 << 10) - 1  # Linux takes no longer argument
# What may stand in each kind of mapping; pipeline_schema.json says the same to editors.
STAGE_KEYS = (
    *("cmd", "deps", "params", "outs", "metrics", "env", "capture", "wdir", "desc", "always", "frozen"),
    *("timeout", "retries", "resources", "mutex", "map", "function"),
)
RESOURCE_KEYS = ("cpu", "memory", "gpu")
OUT_KEYS = ("path", "cache", "persist", "push", "compare")
METRIC_KEYS = (*OUT_KEYS, "better")
FILE_KEYS = ("vars", "stages", "metrics", "params", "plots", "tables", "checks")
LOOSE_METRIC_KEYS = ("path", "better")
CAPTURE_KEYS = ("env", "cmd")
Direction = Literal["higher", "lower"]
VALUE_SUFFIXES = (".yaml", ".yml", ".json", ".toml")  # of files that parameters and metrics are read from
MAX_PATTERN_CHARACTERS = 1000
MAX_STARS = 4  # in one part of a pattern between two `/`
MAX_PATTERNS = 2000  # dependencies with wildcards, for each is looked up in turn
MAX_DEEP = 3  # `**` in a pattern
_GLOB = re.compile(r"[*?\[]")
_SET = re.compile(r"\[([^\]]+)\]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_MAY_BE_RESERVED = re.compile(r"(?:^|/)\.|~|[^ -~]")  # all others need no closer look
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_HINTS = {
    "cmd": "for example  cmd: python src/train.py",
    "list": "for example  [src/train.py, data/raw]",
    "mapping": "for example  {OMP_NUM_THREADS: 1}",
    "text": "put it in quotes if it is text",
    "pattern": "for example  data/**/*.csv  or  img/[0-9]*.png",
    "path": "paths are relative to the folder that the stage runs in, and stay inside the repository",
}


@dataclass(frozen=True, slots=True)
class Dep:
    """A dependency: a path or pattern, relative to the stage's folder."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Out:
    """An output. `cache` False: git keeps it; `persist`: it stays while the command runs; `push` False: it stays in this clone.

    `better` says of keys of a metrics file in which direction they improve: `higher` or `lower`; `compare`, by pattern, when what
    `verify --rerun` makes is as good as what was recorded.
    """

    path: str
    line: int
    cache: bool = True
    persist: bool = False
    push: bool = True
    metric: bool = False
    better: Mapping[str, Direction] = field(default_factory=dict)
    compare: Mapping[str, Comparator] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Param:
    """Keys (dotted) of one file of parameters; no keys: all of it."""

    file: str
    keys: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Capture:
    """What is to be recorded: the version of a Python package, an environment variable, or what a command prints."""

    kind: Literal["package", "env", "command"]
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How a stage may run; no part of what its outputs depend on. `gpu` None: it gets those that there are.

    `mutex`: names; stages with one in common never run at the same time.
    """

    timeout_seconds: int | None = None
    retries: int = 0
    cpu: float = 0
    memory_bytes: int = 0
    gpu: int | None = None
    mutex: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage; `cmd` is one shell script (a list in the file is joined by newlines) or the function of a map stage, `outs` holds the metrics too.

    `template`: the name in the file of the stage with `foreach` or `matrix` that it was made from, '' for none; `axes`: its values of `matrix`.
    """

    name: str
    line: int
    cmd: str
    cmd_line: int
    wdir: str = "."
    deps: tuple[Dep, ...] = ()
    outs: tuple[Out, ...] = ()
    params: tuple[Param, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    capture: tuple[Capture, ...] = ()
    desc: str = ""
    always: bool = False
    frozen: bool = False
    limits: RunLimits = field(default_factory=RunLimits)
    template: str = ""
    plots: tuple[PlotSpec, ...] = ()
    axes: Mapping[str, Scalar] = field(default_factory=dict)
    map: MapSpec | None = None  # it runs once for each datum; `outs` are the folders of its outputs
    check: CheckSpec | None = None  # of what is declared under `checks`: it has no outputs, and `repro` never runs it


_NO_LIMITS = RunLimits()


@dataclass(frozen=True, slots=True)
class PipelineFile:
    """The stages of one file, in its order; `metrics`, `params` and `plots` belong to none: a stage of no name, which never runs, has them.

    `values`: the files that values were looked for in, relative to its folder; `tables`: how rows are compared and merged; `checks`: what is
    demanded of data, each a stage without outputs.
    """

    stages: tuple[StageSpec, ...]
    loose: StageSpec | None = None
    values: tuple[str, ...] = ()
    tables: tuple[TableSpec, ...] = ()
    checks: tuple[StageSpec, ...] = ()


def parse(data: bytes, where: str, read: ReadValues = lambda _: None) -> PipelineFile:
    """Reads a pipeline file; `where` is its path, for errors, `read` returns files of values relative to its folder.

    Raises FormatError naming file and line, for an unknown key with the nearest.
    """
    document = strict_yaml.load(data, where)
    return _PipelineReader(document.lines, where).file(document.value, read)


class _PipelineReader:
    """Reads one document; `at` is the path of a value in it."""

    def __init__(self, lines: Mapping[Path, int], where: str) -> None:
        self._lines, self._where = lines, where

    def file(self, tree: dict[str, Tree], read: ReadValues) -> PipelineFile:
        self._check_keys(tree, (), FILE_KEYS, "a pipeline file")
        stages = self._mapping(tree.get("stages"), ("stages",))
        if len(stages) > MAX_STAGES:
            raise self._wrong(("stages",), f"it has {len(stages)} stages, more than {MAX_STAGES}")
        for name in stages:
            self._check_name(name)
        templates = Templates(tree.get("vars"), read, self._wrong)
        specs = tuple(self._stage(instance) for instance in templates.instances(stages, MAX_STAGES))
        patterns = sum(_GLOB.search(dep.path) is not None for stage in specs for dep in stage.deps)
        if patterns > MAX_PATTERNS:
            raise self._wrong(("stages",), f"it has {patterns} dependencies with wildcards, more than {MAX_PATTERNS}")
        loose = {key: templates.filled(tree.get(key), (key,)) for key in ("metrics", "params", "plots")}
        declared: tuple[TableSpec, ...] = ()
        if "tables" in tree:
            value = templates.filled(tree["tables"], ("tables",))
            declared = tables.read(value, ("tables",), self._line, self._pattern, self._wrong)
        checks = tuple(self._checks(tree)) if "checks" in tree else ()
        return PipelineFile(specs, self._loose(loose), tuple(templates.files), declared, checks)

    def _check_name(self, name: str, within: str = "stages", kind: str = "a stage") -> None:
        if STAGE_NAME.fullmatch(name) is None:
            hint = "use letters, digits, '_' and '-', at most 100"
            raise self._wrong((within, name), f"{quote(name[:120])} cannot be the name of {kind}", hint)

    def _checks(self, tree: dict[str, Tree]) -> Iterator[StageSpec]:
        checks = self._mapping(tree["checks"], ("checks",))
        if len(checks) > MOST_CHECKS:
            raise self._wrong(("checks",), f"it has {len(checks)} checks, more than {MOST_CHECKS}")
        reader = CheckReader(self._line, self._pattern, self._wrong)
        for name, item in checks.items():
            at = ("checks", name)
            self._check_name(name, "checks", "a check")
            value = self._mapping(item, at)
            check = reader.check(value, at)
            written = [
                Dep(self._pattern(dep, place), self._line(place)) for place, dep in self._list(value, at, "deps")
            ]
            line = self._line((*at, "path"))
            yield StageSpec(
                name=name,
                line=self._line(at),
                cmd=self._cmd(name, value["cmd"], (*at, "cmd")) if value.get("cmd") is not None else "",
                cmd_line=self._line((*at, "cmd")),
                deps=(*(Dep(path, line) for path in (check.path, *check.references)), *written),
                desc="" if value.get("desc") is None else self._text(value["desc"], (*at, "desc")).strip(),
                limits=self._limits({"timeout": value.get("timeout")}, at),
                check=check,
            )

    def _loose(self, tree: dict[str, Tree]) -> StageSpec | None:
        metrics = [self._out(item, place, LOOSE_METRIC_KEYS) for place, item in self._list(tree, (), "metrics")]
        params = [found for place, item in self._list(tree, (), "params") for found in self._params(item, place)]
        plots = tuple(self._plots(tree)) if tree["plots"] else ()
        if not metrics and not params and not plots:
            return None
        outs = tuple(replace(out, cache=False) for out in metrics)
        return StageSpec(name="", line=1, cmd="", cmd_line=1, outs=outs, params=tuple(params), plots=plots)

    def _plots(self, tree: dict[str, Tree]) -> Iterator[PlotSpec]:
        reader = PlotReader(self._line, self._pattern, self._wrong)
        for number, (place, item) in enumerate(self._list(tree, (), "plots")):
            if number == MOST_PLOTS:
                raise self._wrong(("plots",), f"it has more than {MOST_PLOTS} plots")
            yield reader.plot(item, place)

    def _stage(self, instance: Instance) -> StageSpec:
        name, at, value = instance.name, instance.at, instance.value
        if not isinstance(value, dict):
            raise self._wrong(at, f"the stage {quote(name)} is not a mapping", _HINTS["cmd"])
        self._check_keys(value, at, STAGE_KEYS, "a stage")
        cmd, mapped, outs = self._work(name, value, at)
        return StageSpec(
            name=name,
            line=self._line(at[:2]),
            cmd=cmd,
            cmd_line=self._line((*at, "function" if "function" in value else "cmd")),
            wdir=self._path(value["wdir"], (*at, "wdir")) if value.get("wdir") is not None else ".",
            deps=tuple(
                Dep(self._pattern(item, place), self._line(place)) for place, item in self._list(value, at, "deps")
            ),
            outs=outs,
            params=tuple(
                found for place, item in self._list(value, at, "params") for found in self._params(item, place)
            ),
            env=self._env(self._mapping(value.get("env"), (*at, "env")), (*at, "env")),
            capture=tuple(self._capture(item, place) for place, item in self._list(value, at, "capture")),
            desc="" if value.get("desc") is None else self._text(value["desc"], (*at, "desc")).strip(),
            always=self._flag(value, at, "always", default=False),
            frozen=self._flag(value, at, "frozen", default=False),
            limits=self._limits(value, at),
            template=instance.template,
            axes=instance.axes,
            map=mapped,
        )

    def _work(self, name: str, value: dict[str, Tree], at: Path) -> tuple[str, MapSpec | None, tuple[Out, ...]]:
        """Returns what a stage runs, whether once for each datum, and its outputs: of a map stage their folders."""
        outs = self._outs(value, at)
        if value.get("map") is None:
            if "function" in value:
                hint = "map: {over: 'data/**/*.jpg'}   or, in place of it,  cmd: python -m MODULE"
                raise self._wrong((*at, "function"), f"the stage {quote(name)} has a function and no 'map'", hint)
            return self._cmd(name, value.get("cmd"), (*at, "cmd")), None, outs
        reader = MapReader(self._line, self._pattern, self._wrong)
        if "function" in value and "cmd" in value:
            raise self._wrong(
                (*at, "function"), f"the stage {quote(name)} has a cmd and a function", "keep one of them"
            )
        for key, why in (
            ("metrics", "its outputs are a file or folder for each datum"),
            ("always", "it runs for what is new"),
        ):
            if value.get(key):
                raise self._wrong(
                    (*at, key), f"a map stage cannot have '{key}': {why}", "put that into a stage after it"
                )
        if "function" in value:
            cmd = reader.function(value["function"], (*at, "function"))
        else:
            cmd = self._cmd(name, value.get("cmd"), (*at, "cmd"))
        places = [place for place, _ in self._list(value, at, "outs")]
        for place, out in zip(places, outs, strict=True):
            if out.persist or not out.cache:
                key = "persist" if out.persist else "cache"
                hint = "take it out: the outputs of each datum are kept in the cache"
                raise self._wrong(
                    place, f"an output of a map stage cannot have '{key}: {str(out.persist).lower()}'", hint
                )
        templates = [(place, out.path) for place, out in zip(places, outs, strict=True)]
        declared = self._mapping(value["map"], (*at, "map"))
        mapped = reader.spec(declared, (*at, "map"), templates, cmd, function="function" in value)
        folders: dict[str, Out] = {}
        for out, template in zip(outs, mapped.outs, strict=True):
            known = folders.setdefault(template.folder, replace(out, path=template.folder))
            if (known.push, known.compare) != (out.push, out.compare):
                reason = f"two outputs in {quote(template.folder)} are declared in different ways"
                raise self._wrong_at(out.line, reason, "declare them alike, or give each a folder of its own")
        return cmd, mapped, tuple(folders.values())

    def _limits(self, value: dict[str, Tree], at: Path) -> RunLimits:
        if not any(key in value for key in ("timeout", "retries", "resources", "mutex")):
            return _NO_LIMITS
        found = self._mapping(value.get("resources"), (*at, "resources"))
        self._check_keys(found, (*at, "resources"), RESOURCE_KEYS, "resources")
        resources = (*at, "resources")
        timeout, memory = value.get("timeout"), found.get("memory")
        seconds = None if timeout is None else duration_seconds(timeout)
        if timeout is not None and not 0 < (seconds or 0) <= MAX_TIMEOUT_SECONDS:
            raise self._wrong(
                (*at, "timeout"), f"'timeout' must be a duration, not {kind_of(timeout)}", "for example  30s, 5m or 2h"
            )
        size = 0 if memory is None else size_bytes(memory)
        if size is None:
            raise self._wrong(
                (*resources, "memory"), f"'memory' must be a size, not {kind_of(memory)}", "for example  8GiB"
            )
        mutex = (
            [value["mutex"]]
            if isinstance(value.get("mutex"), str)
            else [item for _, item in self._list(value, at, "mutex")]
        )
        for name in mutex:
            if not isinstance(name, str) or STAGE_NAME.fullmatch(name) is None:
                raise self._wrong(
                    (*at, "mutex"),
                    f"'mutex' must be a name, or a list of them, not {kind_of(name)}",
                    "for example  database",
                )
        gpu = found.get("gpu")
        return RunLimits(
            timeout_seconds=seconds,
            retries=int(self._number(value.get("retries", 0), (*at, "retries"), MAX_RETRIES)),
            cpu=self._number(found.get("cpu", 0), (*resources, "cpu"), MAX_CPUS, whole=False),
            memory_bytes=size,
            gpu=None if gpu is None else int(self._number(gpu, (*resources, "gpu"), MAX_GPUS)),
            mutex=tuple(str(name) for name in mutex),
        )

    def _number(self, value: Tree, at: Path, most: int, *, whole: bool = True) -> float:
        wanted = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not 0 <= value <= most:
            what = "a whole number" if whole else "a number"
            raise self._wrong(at, f"'{at[-1]}' must be {what} from 0 to {most:,}, not {kind_of(value)}")
        return value

    def _cmd(self, name: str, value: Tree, at: Path) -> str:
        if isinstance(value, list):
            script = "\n".join(self._text(line, (*at, str(number))) for number, line in enumerate(value))
        else:
            script = "" if value is None else self._text(value, at)
        if not script.strip():
            raise self._wrong(at, f"the stage {quote(name)} has no cmd", _HINTS["cmd"])
        if "\0" in script:
            raise self._wrong(at, "a NUL character is not allowed in a cmd", "take it out")
        if len(os.fsencode(script)) > MAX_CMD_BYTES:
            hint = "put it into a script, list that in deps, and run it:  cmd: bash script.sh"
            raise self._wrong(at, f"the cmd of {quote(name)} is longer than {MAX_CMD_BYTES:,} bytes", hint)
        return script.rstrip("\n")

    def _outs(self, value: dict[str, Tree], at: Path) -> tuple[Out, ...]:
        outs = [self._out(item, place, OUT_KEYS) for place, item in self._list(value, at, "outs")]
        outs += [self._out(item, place, METRIC_KEYS) for place, item in self._list(value, at, "metrics")]
        seen: set[str] = set()
        for out in outs:
            if out.path in seen:
                raise self._wrong_at(out.line, f"the output {quote(out.path)} is given twice", "take one of them out")
            seen.add(out.path)
        return tuple(outs)

    def _out(self, item: Tree, at: Path, known: Sequence[str]) -> Out:
        metric, line = known is not OUT_KEYS, self._line(at)
        kind = "a metric" if metric else "an output"
        entry = item if isinstance(item, dict) else {"path": item}
        self._check_keys(entry, at, known, kind)
        if "path" not in entry:
            raise self._wrong(at, f"{kind} without a path", "for example  {path: model.pt, cache: false}")
        path = self._pattern(entry["path"], at)
        if path == "." or path.endswith("/..") or path == "..":
            raise self._wrong(at, f"{quote(path)} cannot be {kind}", "name a file or folder that the stage makes")
        if metric and not is_series(path):
            self._check_suffix(path, at, (*VALUE_SUFFIXES, *PLAIN_SUFFIXES))
        flags = {key: self._flag(entry, at, key, default=key != "persist") for key in ("cache", "persist", "push")}
        compare = comparator.read(entry.get("compare"), (*at, "compare"), self._line, self._wrong)
        better = self._better(entry.get("better"), (*at, "better"))
        return Out(path, line, **flags, metric=metric, better=better, compare=compare)

    def _better(self, value: Tree, at: Path) -> dict[str, Direction]:
        found: dict[str, Direction] = {}
        for key, direction in self._mapping(value, at).items():
            if direction not in ("higher", "lower"):
                raise self._wrong(
                    (*at, key), f"the better {quote(key)} is 'higher' or 'lower', not {kind_of(direction)}"
                )
            found[key] = "higher" if direction == "higher" else "lower"
        return found

    def _params(self, item: Tree, at: Path) -> Iterator[Param]:
        if not isinstance(item, dict):
            yield Param(PARAMS_FILE, (self._key(item, at),), self._line(at))
            return
        for file, keys in item.items():
            inner = (*at, file)
            path = self._path(file, inner)
            self._check_suffix(path, inner)
            if isinstance(keys, list) and not keys:
                raise self._wrong(inner, f"no keys of {quote(file)} are named", f"for the whole file:  {{{file}: }}")
            listed = [] if keys is None else keys if isinstance(keys, list) else [keys]
            yield Param(path, tuple(self._key(key, inner) for key in listed), self._line(inner))

    def _key(self, value: Tree, at: Path) -> str:
        key = self._text(value, at)
        if not key or not key.isprintable() or len(key) > 1000:
            raise self._wrong(at, f"{quote(key[:60])} cannot be the name of a parameter", "for example  net.depth")
        return key

    def _env(self, values: dict[str, Tree], at: Path) -> dict[str, str]:
        found = {}
        for name, value in values.items():
            self._check_variable(name, (*at, name))
            text = scalar_text(value)
            if text is None or "\0" in text:
                hint = f"a variable that is only to be recorded:  capture: [{{env: {name}}}]" if value is None else None
                raise self._wrong((*at, name), f"the value of {name} must be text or a number", hint)
            found[name] = text
        return found

    def _capture(self, item: Tree, at: Path) -> Capture:
        line = self._line(at)
        if not isinstance(item, dict):
            name = self._text(item, at)
            if _PACKAGE.fullmatch(name) is None:
                hint = "to record what a command prints:  {cmd: nvcc --version}"
                raise self._wrong(at, f"{quote(name[:60])} cannot be the name of a package", hint)
            return Capture("package", name, line)
        self._check_keys(item, at, CAPTURE_KEYS, "a capture")
        if len(item) != 1:
            raise self._wrong(at, "a capture is one of a package, env and cmd", "for example  {env: HOSTNAME}")
        kind, value = next(iter(item.items()))
        text = self._text(value, (*at, kind))
        if kind == "env":
            self._check_variable(text, (*at, kind))
            return Capture("env", text, line)
        if not text.strip() or "\0" in text:
            raise self._wrong((*at, kind), "the command is empty", "for example  {cmd: nvcc --version}")
        return Capture("command", text.strip(), line)

    # -- the parts

    def _pattern(self, value: Tree, at: Path) -> str:
        path = self._path(value, at)
        reason = _why_not_a_pattern(path) if _GLOB.search(path) else None
        if reason is not None:
            raise self._wrong(at, f"the pattern {quote(path[:200])} cannot be used: {reason}", _HINTS["pattern"])
        return path

    def _path(self, value: Tree, at: Path) -> str:
        """Returns a path or pattern in its plain form (`./a//b/` is `a/b`)."""
        text = self._text(value, at)
        reason = why_not_a_path(text)
        if reason is not None:
            raise self._wrong(at, f"{quote(text[:200])} cannot be used: {reason}", _HINTS["path"])
        return posixpath.normpath(text)

    def _check_suffix(self, path: str, at: Path, known: tuple[str, ...] = VALUE_SUFFIXES) -> None:
        if posixpath.splitext(path)[1].lower() not in known:
            also = () if known == VALUE_SUFFIXES else SERIES_SUFFIXES
            kinds = "YAML, JSON or TOML" if not also else "YAML, JSON, TOML, CSV, JSON lines or text"
            ends = ", ".join(filter(None, (*known, *also)))
            raise self._wrong(at, f"{quote(path)} is not {kinds}", f"it must end in {ends}")

    def _check_variable(self, name: str, at: Path) -> None:
        if _VARIABLE.fullmatch(name) is None:
            hint = "use letters, digits and '_', no digit first"
            raise self._wrong(at, f"{quote(name[:60])} cannot be the name of a variable", hint)

    def _check_keys(self, tree: Mapping[str, Tree], at: Path, known: Sequence[str], kind: str) -> None:
        for key in tree:
            if key not in known:
                close = closest(key[:60], known)
                meant = f"; did you mean '{close}'?" if close else ""
                hint = f"the keys of {kind}: {', '.join(known)}"
                raise self._wrong((*at, key), f"{quote(key[:60])} is not known in {kind}{meant}", hint)

    def _list(self, tree: dict[str, Tree], at: Path, key: str) -> Iterator[tuple[Path, Tree]]:
        """Yields the items of a list with where they stand."""
        value = tree.get(key)
        if value is not None and not isinstance(value, list):
            raise self._wrong((*at, key), f"'{key}' must be a list, not {kind_of(value)}", _HINTS["list"])
        for number, item in enumerate(value or ()):
            yield (*at, key, str(number)), item

    def _mapping(self, value: Tree, at: Path) -> dict[str, Tree]:
        if value is not None and not isinstance(value, dict):
            raise self._wrong(at, f"'{at[-1]}' must be a mapping, not {kind_of(value)}", _HINTS["mapping"])
        return value or {}

    def _text(self, value: Tree, at: Path) -> str:
        if not isinstance(value, str):
            raise self._wrong(at, f"expected text, found {kind_of(value)}", _HINTS["text"])
        return value

    def _flag(self, tree: Mapping[str, Tree], at: Path, key: str, *, default: bool) -> bool:
        value = tree.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong((*at, key), f"'{key}' must be true or false, not {kind_of(value)}")
        return value

    def _line(self, at: Path) -> int:
        """Returns the line of the innermost part of a path that has one."""
        while at and at not in self._lines:
            at = at[:-1]
        return self._lines[at] if at else 1

    def _wrong(self, at: Path, reason: str, hint: str | None = None) -> FormatError:
        return self._wrong_at(self._line(at), reason, hint)

    def _wrong_at(self, line: int, reason: str, hint: str | None = None) -> FormatError:
        return format_error(self._where, line, reason, hint=hint, usual=f"correct line {line}")


def why_not_a_path(text: str) -> str | None:
    """Returns why a text is not a path or pattern of a stage, or None; does not check that it stays in the repository."""
    if not text.strip():
        return "it is empty"
    if "\0" in text:
        return "it has a NUL character"
    if text.startswith("/"):
        return "it is absolute"
    if text.startswith("~"):
        return "'~' is not expanded"
    if len(os.fsencode(text)) > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes"
    if _MAY_BE_RESERVED.search(text) and any(is_reserved(os.fsencode(part)) for part in text.split("/")):
        return "a name in it could be taken for '.git' or '.dvlite'"
    return None


def _why_not_a_pattern(text: str) -> str | None:
    """Returns why a pattern is too slow to match or invalid, or None."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        return f"it is longer than {MAX_PATTERN_CHARACTERS:,} characters"
    if any(part.count("*") > MAX_STARS for part in text.split("/")):
        return f"more than {MAX_STARS} '*' in one name"
    if text.count("**") > MAX_DEEP:
        return f"more than {MAX_DEEP} '**'"
    for found in _SET.finditer(text):
        letters = os.fsencode(found[1][found[1][0] in "!^" :])
        if _falls(letters):
            return f"a range in {quote(found[0][:60])} goes downwards"
    return None


def _falls(letters: bytes) -> bool:
    """Returns whether a range in a set of letters has its ends the wrong way round."""
    place = 0
    while place < len(letters):
        is_range = letters[place + 1 : place + 2] == b"-" and place + 2 < len(letters)
        if is_range and letters[place] > letters[place + 2]:
            return True
        place += 3 if is_range else 1
    return False
