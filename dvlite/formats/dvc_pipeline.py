"""Turns a `dvc.yaml` into a `dvlite.yaml`: what means the same is kept, templates too, and the rest written out or named as lost. And back.

DVC puts values into a command as they are; dvlite quotes them. A file in which that makes a difference gets a plain stage for each
instance. Knows no disk: files of values come through a function.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from dvlite.errors import FormatError
from dvlite.files import format_error
from dvlite.formats import pipeline, strict_yaml
from dvlite.formats.pipeline import MAX_STAGES, PARAMS_FILE, VALUE_SUFFIXES, Out, RunLimits, StageSpec
from dvlite.formats.plots import TEMPLATES, PlotSpec, is_image, is_plotted
from dvlite.formats.shell_text import scalar_text, shell_text
from dvlite.formats.strict_yaml import Path, Tree
from dvlite.formats.templates import ReadValues, Templates, Wrong
from dvlite.show import quote

_SAME = ("vars", "foreach", "matrix", "wdir", "cmd", "desc", "frozen")
_OUT_FLAGS = ("cache", "persist", "push")
_PLOT_KEYS = ("x", "y", "title", "x_label", "y_label")
_TEMPLATES = {"linear": "line", "simple": "line", "smooth": "line", "confusion_normalized": "confusion"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_FILE_KEYS = ("vars", "stages", "metrics", "params", "plots")


@dataclass(frozen=True, slots=True)
class Converted:
    """The bytes of a `dvlite.yaml`, and what did not come over; `remotes`: those that outputs name."""

    data: bytes
    notes: tuple[str, ...]
    remotes: tuple[str, ...] = ()


def convert(data: bytes, where: str, read: ReadValues) -> Converted:
    """Returns the pipeline file that means what a `dvc.yaml` means. Raises FormatError, with its line, for one that has no counterpart."""
    document = strict_yaml.load(data, where, foreign=True)

    def wrong(at: Path, reason: str, hint: str | None) -> FormatError:
        line = next((document.lines[at[:end]] for end in range(len(at), 0, -1) if at[:end] in document.lines), 1)
        return format_error(where, line, reason, hint=hint, usual=f"correct {where}, commit, and import again")

    tree = document.value
    if not isinstance(tree.get("stages") or {}, dict):
        raise wrong(("stages",), "'stages' must be a mapping", None)
    plain = _Converter(where)
    written_out = plain.file(
        {**{key: value for key, value in tree.items() if key != "vars"}, **_filled(tree, read, wrong)}
    )
    kept = _Converter(where)
    try:
        own = strict_yaml.dump(kept.file(tree))
        if _meaning(own, where, read) == _meaning(strict_yaml.dump(written_out), where, read):
            return Converted(own, tuple(kept.notes), tuple(plain.remotes))
    except FormatError:
        pass
    result = strict_yaml.dump(written_out)
    pipeline.parse(result, where, read)
    notes = (*plain.notes, f"{where}: its templates are written out, a stage for each instance")
    return Converted(result, notes, tuple(plain.remotes))


@dataclass(frozen=True, slots=True)
class PlainStage:
    """A stage of dvlite under the name that it gets in a `dvc.yaml`, with the paths that its patterns stand for; relative to its `wdir`."""

    name: str
    spec: StageSpec
    deps: tuple[str, ...]
    outs: tuple[Out, ...]


def name_for_dvc(name: str, taken: Collection[str]) -> str:
    """Returns a name that DVC takes for a stage, and that is not taken: an instance of a template becomes a plain stage."""
    plain = _NOT_IN_NAMES.sub("-", name)
    tries = (f"{plain}-{number}" if number else plain for number in count())
    return next(one for one in tries if one not in taken)


def command_for_dvc(cmd: str, env: Mapping[str, str]) -> str:
    """Returns a command for DVC: with the variables that the stage sets, and ending at the first failure, as a script does here."""
    lines = [*(f"export {name}={shlex.quote(value)}" for name, value in env.items()), cmd]
    script = "\n".join(lines)
    return f"set -e\n{script}" if "\n" in script and not script.startswith("set -e\n") else script


def dump(stages: Sequence[PlainStage], loose: StageSpec | None, where: str) -> Converted:
    """Returns the `dvc.yaml` of stages, and what of them DVC has no counterpart for; `loose` has what belongs to no stage."""
    notes: list[str] = []
    tree: dict[str, Tree] = {"stages": {stage.name: _stage_for_dvc(stage, where, notes) for stage in stages}}
    if any(stage.spec.template for stage in stages):
        notes.append(f"{where}: its templates are written out, a stage for each instance")
    if loose is not None:
        tree["params"] = [param.file for param in loose.params]
        tree["metrics"] = [out.path for out in loose.outs]
        notes += [f"{where}: 'better' of {quote(out.path)} has no counterpart" for out in loose.outs if out.better]
        plots = [(plot, _plot_for_dvc(plot)) for plot in loose.plots]
        tree["plots"] = [shown for _, shown in plots if shown]
        notes += [
            f"{where}: the plot of {quote(', '.join(plot.columns))} is left out: DVC has no patterns, nor this template"
            for plot, shown in plots
            if not shown
        ]
    whole = {key: _escaped(value) for key, value in tree.items() if value or key == "stages"}
    return Converted(strict_yaml.dump(whole), tuple(notes))


def _stage_for_dvc(stage: PlainStage, where: str, notes: list[str]) -> Tree:
    spec = stage.spec
    lost = {
        "capture": spec.capture,
        "timeout, retries, resources or mutex": spec.limits != RunLimits(),
        "better or compare of its outputs": any(out.better or out.compare for out in stage.outs),
    }
    notes += [f"{where}: {what} of the stage {spec.name} has no counterpart" for what, is_set in lost.items() if is_set]
    kinds: dict[str, list[Tree]] = {"outs": [], "metrics": []}
    for out in stage.outs:
        flags: dict[str, Tree] = {"cache": out.cache, "persist": out.persist, "push": out.push}
        other = {key: value for key, value in flags.items() if value is not (key != "persist")}
        kinds["metrics" if out.metric and _is_values(out.path) else "outs"].append(
            {out.path: other} if other else out.path
        )
    params: list[Tree] = []
    for param in spec.params:
        keys: list[Tree] = list(param.keys)
        params += keys if keys and param.file == PARAMS_FILE else [{param.file: keys or None}]
    tree: dict[str, Tree] = {
        "cmd": command_for_dvc(spec.cmd, spec.env),
        "wdir": "" if spec.wdir == "." else spec.wdir,
        "deps": list(stage.deps),
        "params": params,
        **kinds,
        "desc": spec.desc,
        "frozen": spec.frozen,
        "always_changed": spec.always,
    }
    return {key: value for key, value in tree.items() if value}


def _plot_for_dvc(plot: PlotSpec) -> Tree:
    """Returns a plot of DVC, None where it has none such."""
    template = {"line": "linear", "scatter": "scatter", "confusion": "confusion"}.get(plot.template)
    if template is None or any(set("*?[") & set(path) for path in plot.columns):
        return None
    labels: dict[str, Tree] = {f"{axis}_label": text for axis, text in plot.labels.items()}
    options: dict[str, Tree] = {"x": plot.x, "title": plot.title, **labels}
    columns: dict[str, Tree] = {path: list(names) for path, names in plot.columns.items()}
    if len(columns) == 1:
        name, names = next(iter(columns.items()))
        options |= {"y": names}
    else:
        name = plot.title or " ".join(columns)
        options |= {"y": columns}
    options["template"] = "" if template == "linear" or is_image(name) else template
    return {name: {key: value for key, value in options.items() if value} or None}


def _meaning(data: bytes, where: str, read: ReadValues) -> list[object]:
    """Returns what the stages of a file run and make, whatever they are called."""
    return [_of_stage(spec) for spec in pipeline.parse(data, where, read).stages]


def _of_stage(spec: StageSpec) -> object:
    outs = [(out.path, out.cache, out.persist, out.push, out.metric) for out in spec.outs]
    params = [(param.file, param.keys) for param in spec.params]
    return spec.cmd, spec.wdir, [dep.path for dep in spec.deps], outs, params, spec.frozen, spec.always


def _filled(tree: Mapping[str, Tree], read: ReadValues, wrong: Wrong) -> dict[str, Tree]:
    """Returns all that has values in it, filled in as DVC does it: a plain stage for each instance."""
    templates = Templates(tree.get("vars"), read, wrong, _word)
    stages: dict[str, Tree] = {}
    given = tree.get("stages")
    hidden = {name: _with_text(stage) for name, stage in given.items()} if isinstance(given, dict) else {}
    for instance in templates.instances(hidden, MAX_STAGES):
        value = instance.value
        if isinstance(value, dict):
            stages[_NOT_IN_NAMES.sub("-", instance.name)] = {
                ("cmd" if key == "text" else key): _escaped(child) for key, child in value.items()
            }
    rest = {key: _escaped(templates.filled(tree[key], (key,))) for key in ("metrics", "params", "plots") if key in tree}
    return {"stages": stages, **rest}


def _with_text(stage: Tree) -> Tree:
    """Returns a stage whose command is called otherwise, so that it is filled in as any text is."""
    if not isinstance(stage, dict):
        return stage
    renamed = {("text" if key == "cmd" else key): value for key, value in stage.items()}
    return {**renamed, "do": _with_text(renamed["do"])} if "do" in renamed else renamed


def _word(value: Tree) -> str | None:
    return shell_text(value, "") if isinstance(value, dict) else scalar_text(value)


def _escaped(value: Tree) -> Tree:
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return {key: _escaped(item) for key, item in value.items()} if isinstance(value, dict) else value


class _Converter:
    """Converts the parts of one file; `notes`: what of them is lost; `remotes`: those that outputs name."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.notes: list[str] = []
        self.remotes: dict[str, None] = {}
        self._plots: list[Tree] = []
        self._in_template = False

    def file(self, tree: Mapping[str, Tree]) -> dict[str, Tree]:
        """Returns the document of a `dvlite.yaml`."""
        found: dict[str, Tree] = {}
        if tree.get("vars"):
            found["vars"] = tree["vars"]
        stages = tree.get("stages")
        found["stages"] = (
            {name: self._stage(name, stage) for name, stage in stages.items()} if isinstance(stages, dict) else {}
        )
        found["metrics"] = [path for path, _ in _items(tree.get("metrics"))]
        found["params"] = [{file: None} for file, _ in _items(tree.get("params")) if _is_values(file)]
        for plot, flags in _items(tree.get("plots")):
            self._plot(plot, flags, ".")
        found["plots"] = self._plots
        self.notes += [f"{self._where}: {key} has no counterpart in dvlite" for key in tree if key not in _FILE_KEYS]
        return {key: value for key, value in found.items() if value}

    def _stage(self, name: str, value: Tree) -> Tree:
        if not isinstance(value, dict):
            return value
        stage: dict[str, Tree] = {key: value[key] for key in _SAME if value.get(key) is not None}
        if "do" in value:
            self._in_template = True
            stage["do"] = self._stage(name, value["do"])
            self._in_template = False
            return stage
        if value.get("always_changed"):
            stage["always"] = value["always_changed"]
        if value.get("meta"):
            self.notes.append(f"{self._where}: 'meta' of the stage {name} has no counterpart")
        params, files = self._params(value.get("params"))
        parts: dict[str, list[Tree]] = {
            "deps": [*self._deps(name, value.get("deps")), *files],
            "params": params,
            "outs": [self._out(path, flags) for path, flags in _items(value.get("outs"))],
            "metrics": [self._out(path, flags) for path, flags in _items(value.get("metrics"))],
        }
        is_template = "foreach" in value or "matrix" in value or self._in_template
        for path, flags in _items(value.get("plots")):
            parts["outs"].append(self._out(path, flags))
            if not is_template:
                self._plot(path, flags, str(value.get("wdir") or "."))
        for file in files:
            self.notes.append(
                f"{self._where}: of {quote(str(file))}, all is a dependency of {name}: dvlite reads no parameters there"
            )
        return {**stage, **{key: child for key, child in parts.items() if child}}

    def _deps(self, name: str, value: Tree) -> Iterator[Tree]:
        for path, _ in _items(value):
            if "://" in path or path.startswith("/"):
                self.notes.append(f"{self._where}: {name} depends on {quote(path)}, outside the repository: left out")
            else:
                yield path

    def _params(self, value: Tree) -> tuple[list[Tree], list[Tree]]:
        """Returns parameters, and the files of which all is a dependency."""
        params: list[Tree] = []
        files: list[Tree] = []
        for item in value if isinstance(value, list) else []:
            for file, keys in item.items() if isinstance(item, dict) else [("", item)]:
                if not file:
                    params.append(keys)
                elif _is_values(file):
                    params.append({file: keys or None})
                else:
                    files.append(file)
        return params, files

    def _out(self, path: str, flags: Mapping[str, Tree]) -> Tree:
        known = {key: flags[key] for key in _OUT_FLAGS if key in flags}
        if isinstance(remote := flags.get("remote"), str):
            self.remotes[remote] = None
        return {"path": path, **known} if known else path

    def _plot(self, name: str, flags: Mapping[str, Tree], wdir: str) -> None:
        """Takes over a plot; without columns where dvlite could not read them."""
        y, x = flags.get("y"), flags.get("x")
        path = posixpath.normpath(posixpath.join(wdir, name))
        if not isinstance(y, dict) and not (is_plotted(path) or not posixpath.splitext(path)[1]):
            self.notes.append(f"{self._where}: {quote(name)} cannot be plotted")
            return
        plot: dict[str, Tree] = {key: flags[key] for key in _PLOT_KEYS if isinstance(flags.get(key), str)}
        if isinstance(y, dict):
            plot["y"] = y
            plot.setdefault("title", name)
            if isinstance(x, dict) and x:
                plot["x"] = next(iter(x.values()))
        else:
            plot["path"] = path
            if isinstance(y, list):
                plot["y"] = y
        if is_image(path):
            plot = {key: child for key, child in plot.items() if key in ("path", "title")}
        wanted = str(flags.get("template") or "line")
        template = _TEMPLATES.get(wanted, wanted)
        if template != "line" and not is_image(path):
            if template in TEMPLATES and all(key in plot for key in TEMPLATES[template]):
                plot["template"] = template
            else:
                self.notes.append(f"{self._where}: the template {quote(wanted)} of the plot {quote(name)} is left out")
        self._plots.append(path if plot == {"path": path} else plot)


def _items(value: Tree) -> Iterator[tuple[str, Mapping[str, Tree]]]:
    """Yields the names in a list or mapping, each with the options that stand below it."""
    rows = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    for row in rows:
        for name, flags in row.items() if isinstance(row, dict) else [(row, None)]:
            if isinstance(name, str):
                yield name, flags if isinstance(flags, dict) else {}


def _is_values(file: str) -> bool:
    return posixpath.splitext(file)[1].lower() in VALUE_SUFFIXES
