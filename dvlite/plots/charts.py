"""Plots as Vega-Lite: the specification of each template, and that of a user's file with its anchors filled in (docs/how-to/plots.md).

Nothing in a specification leads out of it: data stands inside, and a file that names a URL is refused.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.files import format_error
from dvlite.formats.series import Series
from dvlite.plots.collect import Plot, PlotCurve, curve_names, in_class_order
from dvlite.plots.draw import Drawing, drawn
from dvlite.repo.revisions import Revision
from dvlite.runs.curves import thinned
from dvlite.show import printable, quote

TEMPLATE_LIMIT_BYTES = 1 << 20
_WIDTH, _HEIGHT, _SMALL = 460, 280, 240
_REV, _SOURCE = "rev", "source"
_LEADS_OUT = ("url", "href", "sequence", "graticule", "sphere")  # keys of what is read, linked to or made from nothing
_MOST_DEPTH = 60
_MOST_POINTS = 40_000  # of one chart
_CONFIG = {
    "aria": False,  # a picture has its `alt`; and in these descriptions Vega takes `\\x1b` in a title for the character
    "view": {"continuousWidth": _WIDTH, "continuousHeight": _HEIGHT},
    "axis": {"labelLimit": 160, "titleLimit": 400, "titlePadding": 14},
}

Spec = dict[str, Any]


def drawings_of(at: Revision, plots: Sequence[Plot], *, titled: bool = False) -> dict[int, Drawing]:
    """Returns the charts of plots that have curves, by position, with their title if they are to stand alone.

    Templates are files of the revision `at`. Raises what `drawn` raises.
    """
    specs: dict[int, Spec] = {}
    drawings: dict[int, Drawing] = {}
    for number, plot in enumerate(plots):
        if not plot.curves:
            continue
        try:
            specs[number] = chart(plot, titled=titled) if plot.template in _BUILDERS else _of_file(at, plot)
        except DvliteError as error:
            drawings[number] = Drawing(problem=error.message)
    return drawings | dict(zip(specs, drawn(list(specs.values())), strict=True))


def _of_file(at: Revision, plot: Plot) -> Spec:
    template = at.read(plot.template, TEMPLATE_LIMIT_BYTES)
    if template is None:
        raise UsageError(f"there is no template {quote(at.shown(plot.template))}")
    if len(template) > TEMPLATE_LIMIT_BYTES:
        raise _wrong(at.shown(plot.template), f"it has more than {TEMPLATE_LIMIT_BYTES} bytes")
    return filled(template, at.shown(plot.template), plot)


def chart(plot: Plot, *, titled: bool = False) -> Spec:
    """Returns the specification of a plot with one of dvlite's own templates; sides differ by colour, files and columns by their dashes."""
    title = {"title": {"text": printable(plot.title), "anchor": "start"}} if titled else {}
    spec = {**title, **_BUILDERS[plot.template](_lighter(plot))}
    return {
        "background": "white",
        "padding": {"left": 8, "right": 20, "top": 8, "bottom": 8},
        "config": _CONFIG,
        **spec,
    }


def filled(template: bytes, where: str, plot: Plot) -> Spec:
    """Returns the specification in a file, with DVC's anchors filled in; without one for the data, the data is that of the whole.

    Rows have the columns `x` and `y` under their own names, `rev`, `filename` and `field`. Raises FormatError.
    """
    try:
        spec = json.loads(template.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise _wrong(where, "it is not JSON") from None
    if not isinstance(spec, dict):
        raise _wrong(where, "it is not a JSON object")
    _refuse_ways_out(spec, where, 0)
    plot = _lighter(plot)
    sources = {key: {getattr(curve, key) for curve in plot.curves} for key in ("file", "column")}
    x, y = plot.x, next(iter(sources["column"])) if len(sources["column"]) == 1 else "value"
    rows = [
        {x: px, y: py, _REV: curve.revision, "filename": curve.file, "field": curve.column}
        for curve in plot.curves
        for px, py in zip(curve.x, curve.y, strict=True)
    ]
    varied = [name for key, name in (("file", "filename"), ("column", "field")) if len(sources[key]) > 1]
    for row in rows if len(varied) > 1 else ():
        row["::".join(varied)] = "::".join(str(row[name]) for name in varied)
    anchors = {**_anchors(plot, x, y, "::".join(varied)), "DATA": rows}
    data = {} if _has(spec, "<DVC_METRIC_DATA>") else {"data": {"values": rows}}
    return {**_fill(spec, anchors), **data}


# --- dvlite's own


def _lighter(plot: Plot) -> Plot:
    """Returns a plot of many long curves with fewer points of each: a chart of a million takes minutes."""
    if sum(len(curve.x) for curve in plot.curves if not curve.counts) <= _MOST_POINTS:
        return plot
    return replace(plot, curves=tuple(_thinner(curve, _MOST_POINTS // len(plot.curves)) for curve in plot.curves))


def _thinner(curve: PlotCurve, most: int) -> PlotCurve:
    values = array("d", [y if isinstance(y, float) else math.nan for y in curve.y])
    kept = thinned(Series(curve.column, array("q", range(len(values))), values, array("d")), most).steps
    return replace(curve, x=[curve.x[place] for place in kept], y=[curve.y[place] for place in kept])


def _rows(plot: Plot) -> list[Spec]:
    names = curve_names(plot.curves)
    return [
        {"x": _cell(x), "y": _cell(y), _REV: printable(curve.revision), _SOURCE: source}
        for curve, source in zip(plot.curves, names, strict=True)
        for x, y in zip(curve.x, curve.y, strict=True)
    ]


def _cell(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _channel(plot: Plot, field: str) -> Spec:
    names = (
        dict.fromkeys(printable(curve.revision) for curve in plot.curves)
        if field == _REV
        else dict.fromkeys(curve_names(plot.curves))
    )
    return {"field": field, "type": "nominal", "title": None, "scale": {"domain": [*names]}}


def _colours(plot: Plot, other: str = "strokeDash") -> Spec:
    """Returns the channels by which curves differ."""
    sides, sources = len({curve.revision for curve in plot.curves}) > 1, len(set(curve_names(plot.curves))) > 1
    if not sides:
        return {"color": _channel(plot, _SOURCE)} if sources else {}
    return {"color": _channel(plot, _REV), **({other: _channel(plot, _SOURCE)} if sources else {})}


def _axes(plot: Plot, scale: Spec) -> Spec:
    words = any(isinstance(x, str) for curve in plot.curves for x in curve.x)
    x = {"type": "nominal", "sort": None} if words else {"type": "quantitative", "scale": scale}
    return {
        "x": {"field": "x", "title": printable(plot.x_label), **x},
        "y": {"field": "y", "title": printable(plot.y_label) or None, "type": "quantitative", "scale": scale},
    }


def _line(plot: Plot) -> Spec:
    few = max((len(curve.x) for curve in plot.curves), default=0) <= 30
    mark = {"type": "line", "point": few, "clip": True}
    encoding = {**_axes(plot, {"zero": False}), **_colours(plot)}
    return {"data": {"values": _rows(plot)}, "mark": mark, "encoding": encoding, "width": _WIDTH, "height": _HEIGHT}


def _scatter(plot: Plot) -> Spec:
    encoding = {**_axes(plot, {"zero": False}), **_colours(plot, "shape")}
    mark = {"type": "point", "filled": True, "opacity": 0.7}
    return {"data": {"values": _rows(plot)}, "mark": mark, "encoding": encoding, "width": _WIDTH, "height": _HEIGHT}


def _roc(plot: Plot) -> Spec:
    chance = {
        "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
        "mark": {"type": "line", "color": "#999", "strokeDash": [4, 4]},
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
    }
    curves = {
        "data": {"values": _rows(plot)},
        "mark": {"type": "line", "clip": True},
        "encoding": {**_axes(plot, {"domain": [0, 1]}), **_colours(plot)},
    }
    return {"layer": [curves, chance], "width": _HEIGHT, "height": _HEIGHT}


def _histogram(plot: Plot) -> Spec:
    names = curve_names(plot.curves)
    rows = [
        {"x": low, "x2": high, "y": number, _REV: printable(curve.revision), _SOURCE: source}
        for curve, source in zip(plot.curves, names, strict=True)
        for low, high, number in zip(curve.x, curve.x[1:], curve.y, strict=False)
    ]
    colours = _colours(plot)
    encoding = {
        "x": {"field": "x", "title": printable(plot.x_label), "type": "quantitative", "scale": {"zero": False}},
        "x2": {"field": "x2"},
        "y": {"field": "y", "title": printable(plot.y_label) or "count", "type": "quantitative", "stack": None},
        "y2": {"datum": 0},
        **({"color": colours["color"]} if colours else {}),
    }
    mark = {"type": "bar", "opacity": 0.55 if colours else 1, "binSpacing": 0}
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding, "width": _WIDTH, "height": _HEIGHT}


def _confusion(plot: Plot) -> Spec:
    names = curve_names(plot.curves)
    rows = [
        {
            "x": _cell(x),
            "y": _cell(y),
            "count": number,
            _SOURCE: ", ".join(filter(None, (printable(curve.revision), source))),
        }
        for curve, source in zip(plot.curves, names, strict=True)
        for x, y, number in zip(curve.x, curve.y, curve.counts, strict=True)
    ]
    classes = in_class_order(cell for row in rows for cell in (row["x"], row["y"]))
    most = max((row["count"] for row in rows), default=0)
    axes = {
        "x": {"field": "x", "type": "nominal", "title": printable(plot.x_label), "scale": {"domain": classes}},
        "y": {"field": "y", "type": "nominal", "title": printable(plot.y_label) or None, "scale": {"domain": classes}},
    }
    colour = {"field": "count", "type": "quantitative", "scale": {"scheme": "blues", "domain": [0, most]}}
    text = {
        "text": {"field": "count", "type": "quantitative"},
        "color": {"condition": {"test": f"datum.count > {most / 2}", "value": "white"}, "value": "black"},
    }
    size = min(max(_SMALL, 22 * len(classes)), 1200)
    layers = [{"mark": "rect", "encoding": {**axes, "color": colour}}]
    if len(classes) <= 30:
        layers.append({"mark": "text", "encoding": {**axes, **text}})
    inner = {"layer": layers, "width": size, "height": size}
    order = list(dict.fromkeys(row[_SOURCE] for row in rows))
    facet = {"field": _SOURCE, "type": "nominal", "title": None, "sort": order}
    return {"data": {"values": rows}, "facet": facet, "columns": 3, "spec": inner}


_BUILDERS = {"line": _line, "scatter": _scatter, "confusion": _confusion, "histogram": _histogram, "roc": _roc}


# --- files of users


def _refuse_ways_out(value: Any, where: str, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise _wrong(where, "it is nested too deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _LEADS_OUT:
                raise _wrong(
                    where, f"it has {quote(key)}: data comes from the plot alone, and nothing is fetched or linked"
                )
            _refuse_ways_out(inner, where, depth + 1)
    for inner in value if isinstance(value, list) else ():
        _refuse_ways_out(inner, where, depth + 1)


def _anchors(plot: Plot, x: str, y: str, source: str) -> dict[str, Any]:
    """Returns what DVC fills into its templates, by the name of the anchor; `source` is the field in which curves of a side differ."""
    sides = list(dict.fromkeys(curve.revision for curve in plot.curves))
    over, of, apart = _escaped(x), _escaped(y), {"field": source, "type": "nominal"} if source else {}
    group = [_REV, source] if source else [_REV]
    return {
        "X": over,
        "Y": of,
        "X_LABEL": plot.x_label,
        "Y_LABEL": plot.y_label or y,
        "TITLE": plot.title,
        "COLOR": {"field": _REV, "type": "nominal", "scale": {"domain": sides}},
        **dict.fromkeys(("STROKE_DASH", "SHAPE", "ROW", "COLUMN"), apart),
        "TOOLTIP": [{"field": name} for name in (_REV, over, of)],
        "PIVOT_FIELD": f"datum.{_REV}" + (f" + '::' + datum['{source}']" if source else ""),
        "ZOOM_AND_PAN": {"name": "grid", "select": "interval", "bind": "scales"},
        **dict.fromkeys(("PLOT_WIDTH", "PLOT_HEIGHT", "COLUMN_WIDTH", "ROW_HEIGHT"), _HEIGHT),
        "GROUP_BY": group,
        "GROUP_BY_X": [*group, over],
        "GROUP_BY_Y": [*group, of],
    }


def _fill(value: Any, anchors: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(inner, anchors) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, anchors) for inner in value]
    if not isinstance(value, str) or "<DVC_METRIC_" not in value:
        return value
    for name, content in anchors.items():
        anchor = f"<DVC_METRIC_{name}>"
        if value == anchor:
            return content
        if isinstance(content, str):
            value = value.replace(anchor, content)
    return value


def _has(value: Any, anchor: str) -> bool:
    return value == anchor or any(
        _has(inner, anchor)
        for inner in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    )


def _escaped(name: str) -> str:
    r"""Returns the name of a column as Vega-Lite takes it: `val\.loss`, for a dot leads into an object."""
    return "".join(f"\\{letter}" if letter in ".[]\\'\"" else letter for letter in name)


def _wrong(where: str, reason: str) -> FormatError:
    return format_error(where, None, reason, hint=None, usual="correct the template", failed="cannot draw by")
