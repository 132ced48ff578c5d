"""Plots as a pipeline file declares them: `plots:` (docs/reference/formats/pipeline.md). Only parses the declaration. Knows no disk."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from dvlite.errors import FormatError
from dvlite.formats.series import is_series
from dvlite.formats.strict_yaml import Path, Tree
from dvlite.formats.templates import kind_of
from dvlite.show import closest, quote

PLOT_KEYS = ("path", "x", "y", "template", "title", "x_label", "y_label")
TEMPLATES: Mapping[str, tuple[str, ...]] = {  # with the keys that each needs
    "line": (),
    "scatter": ("x", "y"),
    "confusion": ("x", "y"),
    "histogram": ("y",),
    "roc": ("x", "y"),
}
IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
MOST_PLOTS = 1000
MOST_COLUMNS = 100
_MOST_LETTERS = 1000  # of a title, or the name of a column
_EXAMPLE = "for example  {path: roc.csv, x: fpr, y: tpr, template: roc}"

Wrong = Callable[[Path, str, str | None], FormatError]


@dataclass(frozen=True, slots=True)
class PlotSpec:
    """One plot; paths and patterns are relative to the file's folder.

    `columns`: what is drawn over `x`, by path or pattern of the file; no columns: each that has numbers, in a plot of its own. `template` is
    one of TEMPLATES, or the path of a Vega-Lite file.
    """

    line: int
    columns: Mapping[str, tuple[str, ...]]
    x: str = ""
    template: str = "line"
    title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)  # of the axes `x` and `y`


def is_image(path: str) -> bool:
    """Returns whether a file is shown as an image, by its name."""
    return posixpath.splitext(path)[1].lower() in IMAGE_TYPES


def is_plotted(path: str) -> bool:
    """Returns whether a file can be drawn, by its name."""
    return is_image(path) or is_series(path) or path.lower().endswith(".json")


class PlotReader:
    """Reads declarations; `path_of` checks a path or pattern and returns its plain form, `wrong` makes errors with file and line."""

    def __init__(self, line_of: Callable[[Path], int], path_of: Callable[[Tree, Path], str], wrong: Wrong) -> None:
        self._line, self._path, self._wrong = line_of, path_of, wrong

    def plot(self, item: Tree, at: Path) -> PlotSpec:
        """Returns one plot: of a path, or of a mapping with the keys PLOT_KEYS."""
        if not isinstance(item, dict):
            return PlotSpec(self._line(at), {self._file(item, at): ()})
        for key in item:
            if key not in PLOT_KEYS:
                close = closest(key[:60], PLOT_KEYS)
                meant = f"; did you mean '{close}'?" if close else ""
                hint = f"the keys of a plot: {', '.join(PLOT_KEYS)}"
                raise self._wrong((*at, key), f"{quote(key[:60])} is not known in a plot{meant}", hint)
        columns = dict(self._columns(item, at))
        template = self._template(item, at)
        for key in TEMPLATES.get(template, ()):
            if not item.get(key):
                raise self._wrong(at, f"a plot with the template {template} needs {key!r}", _EXAMPLE)
        if template == "histogram" and "x" in item:
            raise self._wrong((*at, "x"), "a histogram has no 'x': it counts the values of 'y'", _EXAMPLE)
        if any(map(is_image, columns)) and item.keys() & {"x", "y", "template"}:
            raise self._wrong(at, "an image has no columns and no template", "for example  {path: map.png, title: Map}")
        return PlotSpec(
            self._line(at),
            columns,
            x=self._text(item, at, "x"),
            template=template,
            title=self._text(item, at, "title"),
            labels={axis: self._text(item, at, f"{axis}_label") for axis in ("x", "y") if item.get(f"{axis}_label")},
        )

    def _columns(self, item: dict[str, Tree], at: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
        y, paths = item.get("y"), item.get("path")
        if isinstance(y, dict):
            if paths is not None:
                raise self._wrong((*at, "path"), "'y' names files already: leave out 'path'", _EXAMPLE)
            for file, names in y.items():
                yield self._file(file, (*at, "y", file)), self._names(names, (*at, "y", file))
        elif paths is None:
            raise self._wrong(at, "a plot without a path", _EXAMPLE)
        else:
            for number, path in enumerate(paths if isinstance(paths, list) else [paths]):
                yield self._file(path, (*at, "path", str(number))), self._names(y, (*at, "y"))

    def _names(self, value: Tree, at: Path) -> tuple[str, ...]:
        names = value if isinstance(value, list) else [] if value is None else [value]
        for name in names:
            if not isinstance(name, str) or not 0 < len(name) <= _MOST_LETTERS:
                raise self._wrong(at, f"'y' names columns, not {kind_of(name)}", "for example  y: [loss, val.loss]")
        if len(names) > MOST_COLUMNS:
            raise self._wrong(at, f"{len(names)} columns in a plot, more than {MOST_COLUMNS}", None)
        return tuple(dict.fromkeys(map(str, names)))

    def _file(self, value: Tree, at: Path) -> str:
        path = self._path(value, at)
        ending = posixpath.splitext(path)[1]
        is_folder = not ending or str(value).endswith("/")
        if not is_folder and "*" not in ending and not is_plotted(path):
            known = ".jsonl, .ndjson, .csv, .tsv, .json, .png, .jpg or .svg, or be an event file of TensorBoard"
            raise self._wrong(at, f"{quote(path)} cannot be plotted", f"it must end in {known}")
        return path

    def _template(self, item: dict[str, Tree], at: Path) -> str:
        value = item.get("template", "line")
        if isinstance(value, str) and value in TEMPLATES:
            return value
        if not isinstance(value, str) or not value.lower().endswith(".json"):
            close = closest(value[:60], TEMPLATES) if isinstance(value, str) else ""
            meant = f"; did you mean '{close}'?" if close else ""
            what = quote(value[:60]) if isinstance(value, str) else kind_of(value)
            hint = f"one of {', '.join(TEMPLATES)}, or a Vega-Lite file (.json)"
            raise self._wrong((*at, "template"), f"{what} is not a template{meant}", hint)
        return self._path(value, (*at, "template"))

    def _text(self, item: dict[str, Tree], at: Path, key: str) -> str:
        value = item.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > _MOST_LETTERS):
            reason = f"{key!r} must be text of at most {_MOST_LETTERS} letters, not {kind_of(value)}"
            raise self._wrong((*at, key), reason, "put it in quotes if it is text")
        return value or ""
