"""The stages of a repository: what the pipeline files say, with paths relative to the repository.

Loads every `dvlite.yaml`; a broken one is returned with its error, so that it breaks only what depends on it. Expands no pattern, reads
no data.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from dvlite.errors import DvliteError, FormatError
from dvlite.files import format_error
from dvlite.formats import lockfile, pipeline
from dvlite.formats.config import is_secret
from dvlite.formats.lockfile import Facts, Locked, LockedStage
from dvlite.formats.map_stage import MapInput, MapOut, MapSpec
from dvlite.formats.pipeline import Capture, Direction, Out, Param, StageSpec
from dvlite.formats.plots import TEMPLATES, PlotSpec
from dvlite.repo.revisions import Revision
from dvlite.repo.stage_names import metrics_file
from dvlite.repo.tracked_paths import Unusable, why_untrackable
from dvlite.show import quote

LIMIT_BYTES = 1 << 20
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


@dataclass(frozen=True, slots=True)
class StagePath:
    """A path or pattern of a stage, relative to the repository, and the line that it stands on."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class StageOut(StagePath):
    """An output: where it is, and what the file says of it."""

    spec: Out


@dataclass(frozen=True, slots=True)
class StageOver(StagePath):
    """What a map stage goes over: `path` is the pattern as lockfile and graph have it, `spec` with its captures, relative to the repository."""

    spec: MapInput


@dataclass(frozen=True, slots=True)
class StageParams(StagePath):
    """Parameters: `path` is their file; `name` what it is called in the lockfile (relative to the pipeline file's folder)."""

    spec: Param
    name: str

    def covers(self, name: str) -> bool:
        """Returns whether it stands for a name like `params.yaml:net.depth`."""
        key = name.removeprefix(f"{self.name}:")
        return key != name and (
            not self.spec.keys or any(key == own or key.startswith(own + ".") for own in self.spec.keys)
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the repository. `address` is `train`, or `sub/dir:train` in a pipeline file below the root.

    `values`: the files that the values in its pipeline file come from.
    """

    address: str
    file: str
    spec: StageSpec
    deps: tuple[StagePath, ...]
    outs: tuple[StageOut, ...]
    params: tuple[StageParams, ...]
    values: tuple[str, ...] = ()
    plots: tuple[PlotSpec, ...] = ()  # their paths relative to the repository
    over: tuple[StageOver, ...] = ()  # of a map stage
    templates: tuple[MapOut, ...] = ()  # of the outputs of each datum, relative to the repository

    @property
    def sources(self) -> tuple[StagePath, ...]:
        """All that it reads: its dependencies, and what it goes over."""
        return (*self.deps, *self.over)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def folder(self) -> str:
        """The pipeline file's folder; '' is the root."""
        return posixpath.dirname(self.file)

    @property
    def wdir(self) -> str:
        """The folder that the command runs in; '' is the root."""
        path = posixpath.normpath(posixpath.join(self.folder, self.spec.wdir))
        return "" if path == "." else path

    @property
    def lockfile(self) -> str:
        return posixpath.join(self.folder, lockfile.FILE_NAME)

    def local(self, path: str) -> str:
        """Returns a path of the repository relative to the pipeline file's folder, as lockfile and key have it."""
        return posixpath.relpath(path or ".", self.folder) if self.folder else posixpath.normpath(path or ".")

    def placed(self, path: str) -> str:
        """Returns a path of the lockfile relative to the repository."""
        path = posixpath.normpath(posixpath.join(self.folder, path))
        return "" if path == "." else path

    def placed_outs(self, locked: LockedStage | None) -> list[Locked]:
        """Returns the outputs of a lockfile entry, their paths relative to the repository."""
        return [] if locked is None else [replace(out, path=self.placed(out.path)) for out in locked.outs]

    def entry(self, facts: Facts, deps: Sequence[Locked]) -> LockedStage:
        """Returns the lockfile entry of a run with these facts and dependencies, before it has outputs."""
        key = lockfile.stage_key(facts, deps, [self.local(out.path) for out in self.outs])
        return LockedStage(self.name, key, facts, deps=tuple(deps))

    def base(self, entry: LockedStage) -> str:
        """Returns the key of a map stage without what it goes over: with a datum's name and inputs, it determines what the datum gives."""
        rows = {self.local(item.path) for item in self.over}
        outs = [self.local(out.path) for out in self.outs]
        return lockfile.stage_key(entry.facts, [dep for dep in entry.deps if dep.path not in rows], outs)

    def wrong(self, line: int, reason: str, *, hint: str | None = None) -> FormatError:
        """Returns the error for something that the pipeline file says on a line."""
        return wrong(self.file, line, reason, hint=hint)


def wrong(file: str, line: int, reason: str, *, hint: str | None = None) -> FormatError:
    """Returns the error for something that a pipeline file says on a line."""
    return format_error(file, line, reason, hint=hint, usual="correct the line", failed="cannot use")


@dataclass(frozen=True, slots=True)
class Loaded:
    """All stages that could be read, in the order of their files, and the errors (of `load`: Unusable) of files that could not.

    `loose`: for each file that has metrics, parameters or plots of no stage, a stage without a name that has them, and never runs.
    """

    stages: tuple[Stage, ...]
    broken: tuple[DvliteError, ...]
    loose: tuple[Stage, ...] = ()


def load(
    at: Revision, files: Sequence[str] | None = None, *, instead: Mapping[str, bytes] = MappingProxyType({})
) -> Loaded:
    """Reads the pipeline files of a revision: all, or those given; `instead` of files of values, these bytes."""
    stages: list[Stage] = []
    loose: list[Stage] = []
    broken: list[DvliteError] = []
    for file in at.pipeline_files() if files is None else files:
        try:
            parsed = pipeline.parse(at.read(file, LIMIT_BYTES) or b"", at.shown(file), at.beside(file, instead))
            stages += bind(file, parsed.stages, parsed.values)
            loose += bind(file, [] if parsed.loose is None else [parsed.loose])
        except DvliteError as error:
            broken.append(Unusable(file, error))
    return Loaded(tuple(stages), tuple(broken), tuple(loose))


def left_out(at: Revision, stages: Sequence[Stage]) -> dict[str, str]:
    """Returns the stages that a sparse checkout leaves out, by address, each with a file of it or a dependency that is not here."""
    files = {
        stage.address: [stage.file, *stage.values, *(place.path for place in (*stage.sources, *stage.params))]
        for stage in stages
    }
    absent = {
        name: next((file for path in paths if (file := at.left_out(path))), None) for name, paths in files.items()
    }
    return {name: file for name, file in absent.items() if file is not None}


def checks_of(at: Revision) -> list[Stage]:
    """Returns the checks of a revision, each a stage with a `check` and without outputs; files that have none are not parsed. Raises FormatError."""
    checks: list[Stage] = []
    for file in at.pipeline_files():
        data = at.read(file, LIMIT_BYTES) or b""
        if b"checks" in data:
            checks += bind(file, pipeline.parse(data, at.shown(file), at.beside(file)).checks)
    return checks


def stages_of(at: Revision, file: str) -> list[Stage] | None:
    """Returns the stages of one pipeline file, and behind them its checks, None where there is none. Raises FormatError."""
    data = at.read(file, LIMIT_BYTES)
    if data is None:
        return None
    parsed = pipeline.parse(data, at.shown(file), at.beside(file))
    return bind(file, (*parsed.stages, *parsed.checks), parsed.values)


def declared_better(at: Revision, files: Iterable[str] | None = None) -> dict[str, Direction]:
    """Returns which values of metrics are better, by their keys in runs (`metrics.json:acc`), as pipeline files declare: all, or those given.

    Broken files, and metrics of which two stages say the opposite, are left out.
    """
    declared: dict[str, set[Direction]] = {}
    for stage in load(at, None if files is None else sorted(files)).stages:
        for out in stage.outs:
            for key, direction in out.spec.better.items():
                declared.setdefault(f"{metrics_file(stage.file, stage.name, out.path)}:{key}", set()).add(direction)
    return {key: next(iter(directions)) for key, directions in declared.items() if len(directions) == 1}


def captured_name(capture: Capture) -> str:
    """Returns what a captured value is called in lockfile, key and record: `torch`, `env NAME`, `command nvcc --version`."""
    return capture.name if capture.kind == "package" else f"{capture.kind} {capture.name}"


def secret_warnings(stages: Iterable[Stage]) -> list[str]:
    """Returns a warning for each variable of a stage whose value seems to be a secret: it is going to stand in the lockfile."""
    return [
        f"{stage.address} {verb} the variable {name}: its value is written to {stage.lockfile}, for all to read"
        for stage in stages
        for verb, names in (
            ("captures", [capture.name for capture in stage.spec.capture if capture.kind == "env"]),
            ("sets", stage.spec.env),
        )
        for name in names
        if is_secret(name.lower())
    ]


def bind(file: str, specs: Sequence[StageSpec], values: Sequence[str] = ()) -> list[Stage]:
    """Returns the stages of one pipeline file, its paths relative to the repository. Raises FormatError for one that leaves it."""
    placed = tuple(posixpath.normpath(posixpath.join(posixpath.dirname(file), name)) for name in values)
    return [_Binder(file, spec, placed).stage() for spec in specs]


class _Binder:
    def __init__(self, file: str, spec: StageSpec, values: tuple[str, ...]) -> None:
        self._file, self._spec, self._values = file, spec, values
        self._folder = posixpath.dirname(file)

    def stage(self) -> Stage:
        spec = self._spec
        if spec.wdir != ".":
            self._path(spec.wdir, spec.line, within=self._folder, whole=True)
        wdir = posixpath.normpath(posixpath.join(self._folder, spec.wdir))
        outs = tuple(self._out(out, wdir) for out in spec.outs)
        deps = tuple(StagePath(self._path(dep.path, dep.line, within=wdir), dep.line) for dep in spec.deps)
        params = tuple(self._param(param, wdir) for param in spec.params)
        plots = tuple(self._plot(plot, wdir) for plot in spec.plots)
        address = f"{self._folder}:{spec.name}" if self._folder else spec.name
        over, templates = ((), ()) if spec.map is None else self._mapped(spec.map, wdir)
        return Stage(address, self._file, spec, deps, outs, params, self._values, plots, over, templates)

    def _mapped(self, mapped: MapSpec, wdir: str) -> tuple[tuple[StageOver, ...], tuple[MapOut, ...]]:
        """Returns what a map stage goes over and makes, relative to the repository."""
        if any(letter in wdir for letter in "*?[{$"):
            raise self._wrong(
                self._spec.line, f"a map stage cannot be in a folder named {quote(wdir)}: its paths are patterns"
            )
        over = []
        for item in mapped.over:
            item = replace(item, pattern=self._path(item.pattern, item.line, within=wdir))  # noqa: PLW2901
            over.append(StageOver(item.glob, item.line, item))
        return tuple(over), tuple(out.placed(wdir) for out in mapped.outs)

    def _out(self, out: Out, wdir: str) -> StageOut:
        path = self._path(out.path, out.line, within=wdir)
        reason = why_untrackable(path)
        if reason is not None:
            raise self._wrong(out.line, f"{quote(out.path)} cannot be an output: {reason}")
        return StageOut(path, out.line, out)

    def _param(self, param: Param, wdir: str) -> StageParams:
        path = self._path(param.file, param.line, within=wdir)
        return StageParams(path, param.line, param, posixpath.relpath(path, self._folder or "."))

    def _plot(self, plot: PlotSpec, wdir: str) -> PlotSpec:
        columns = {self._path(path, plot.line, within=wdir): names for path, names in plot.columns.items()}
        is_file = plot.template not in TEMPLATES
        template = self._path(plot.template, plot.line, within=wdir) if is_file else plot.template
        return replace(plot, columns=columns, template=template)

    def _path(self, text: str, line: int, *, within: str, whole: bool = False) -> str:
        """Returns a path relative to the repository; raises FormatError if it is outside. `whole`: it may be all of it."""
        if _URL.match(text):
            raise self._wrong(
                line,
                f"{quote(text)} is not a path in the repository: stages depend on files",
                hint="download it in a stage of its own, and depend on what that makes",
            )
        path = posixpath.normpath(posixpath.join(within, text))
        if path == ".." or path.startswith(("../", "/")):
            raise self._wrong(
                line, f"{quote(text)} is outside the repository", hint="keep the data inside, or link to it"
            )
        if path == "." and not whole:
            raise self._wrong(line, f"{quote(text)} is the whole repository", hint="name a file or folder in it")
        return "" if path == "." else path

    def _wrong(self, line: int, reason: str, *, hint: str | None = None) -> FormatError:
        return wrong(self._file, line, reason, hint=hint)
