"""What plots show: points of columns, thinned so that no peak is lost, and images, for each side. What cannot be read is a problem of its plot."""

from __future__ import annotations

import itertools
import math
import operator
import posixpath
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.formats import event_file, series
from dvlite.formats.plots import IMAGE_TYPES, MOST_COLUMNS, TEMPLATES, PlotSpec, is_image, is_plotted
from dvlite.formats.series import Cell, Notes, Series
from dvlite.paths import is_inside
from dvlite.pipeline.globs import expression
from dvlite.pipeline.stages import Stage
from dvlite.plots.side import PlotSide
from dvlite.runs.curves import MOST_POINTS, thinned
from dvlite.runs.previews import picture_kind
from dvlite.show import closest, printable, quote, some
from dvlite.workspace import sparse

IMAGE_LIMIT_BYTES = 8 << 20
MOST_IMAGE_BYTES = 64 << 20  # of all images
_MOST_FILES = 200  # of one side of a plot
_MOST_CURVES = 500  # of one plot
_MOST_ROWS = 5_000_000  # that are read of a file
_MOST_WORDS = 10_000  # different ones in a column
_MOST_CLASSES = 100  # of a confusion matrix
_BINS = 30  # of a histogram
_MOST_NAMES = 1000  # of columns, that a message may name
_STEP = "step"
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!DOCTYPE svg|<!--|<svg\b)[^\0]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotCurve:
    """The points of one column of a file on one side; `points` is how many there are, of which those that show are here.

    None in `y` is a gap: the value is not finite; `gaps` counts them. Of a histogram `x` has the edges of the bins, `y` how many values are
    between them; of a confusion matrix each pair of `x` and `y` comes once, with its number in `counts`.
    """

    revision: str
    file: str
    column: str
    points: int
    gaps: int = 0
    x: Sequence[Cell]
    y: Sequence[Cell | None]
    counts: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotImage:
    """An image on one side."""

    revision: str
    file: str
    type: str
    size_bytes: int
    content: bytes = field(default=b"", repr=False, metadata={"json": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One plot; `x` and `y` are the columns of its axes, '' for several. `problems`: what of it could not be read."""

    title: str
    template: str
    x: str = ""
    y: str = ""
    x_label: str = ""
    y_label: str = ""
    curves: tuple[PlotCurve, ...] = ()
    images: tuple[PlotImage, ...] = ()
    problems: tuple[str, ...] = ()


def curve_names(curves: Sequence[PlotCurve]) -> list[str]:
    """Returns what each curve is, but for its side: its file, its column, or both, as far as they differ."""
    files, columns = len({curve.file for curve in curves}) > 1, len({curve.column for curve in curves}) > 1
    return [printable(": ".join([curve.file] * files + [curve.column] * columns)) for curve in curves]


def in_class_order(labels: Iterable[str]) -> list[str]:
    """Returns the different classes of a confusion matrix, numbers by their size."""
    return sorted(set(labels), key=_by_number)


def _by_number(text: str) -> tuple[float, str]:
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), text


def plots_of(
    sides: Sequence[PlotSide], stages: Sequence[Stage], targets: Mapping[str, str] | None = None
) -> list[Plot]:
    """Returns the plots that stages declare, then those of their series and images for which none is declared.

    With `targets`, words and the paths that they may be, only plots of that title, path or folder, or of any file that can be drawn.
    Raises UsageError for a word that is none of it.
    """
    declared = [spec for stage in stages for spec in stage.plots]
    own = [
        PlotSpec(out.line, {out.path: ()})
        for stage in stages
        for out in stage.outs
        if is_image(out.path) or (out.spec.metric and series.is_series(out.path))
        if not any(_covers(path, out.path) for spec in declared for path in spec.columns)
    ]
    chosen = [*declared, *own]
    if targets:
        named = (spec for word, path in targets.items() for spec in _named(chosen, word, path, sides))
        chosen = list({id(spec): spec for spec in named}.values())
    collector = _Collector(sides)
    return [plot for spec in chosen for plot in collector.plots(spec)]


def _named(specs: Sequence[PlotSpec], word: str, path: str, sides: Sequence[PlotSide]) -> Sequence[PlotSpec]:
    """Returns the plots that a user's word means: by title, by path, or of a file in a folder or pattern; else one of the file itself."""
    hits = [spec for spec in specs if word == spec.title or any(is_inside(file, path) for file in spec.columns)]
    parts = ((spec, names) for spec in specs for file, names in spec.columns.items() if _covers(file, path))
    hits = hits or [replace(spec, columns={path: names}) for spec, names in parts]
    if not hits and not is_plotted(path) and all(side.names(path) == [path] for side in sides):
        raise UsageError(f"{quote(word)} is no plot", hint="see which there are: dvlite plots show")
    return hits or [PlotSpec(0, {path: ()})]


def _covers(pattern: str, path: str) -> bool:
    return path == pattern or path.startswith(f"{pattern}/") or expression(pattern).fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class _PlotFile:
    """A file of one side; `group`: what the plots are called that are made of its columns, if none is named."""

    side: PlotSide
    path: str
    group: str
    columns: tuple[str, ...]
    data: bytes

    def wrong(self, reason: str) -> FormatError:
        """Returns the error for what the file has not, or has wrong."""
        return FormatError(f"{quote(self.side.shown(self.path))}: {reason}")


class _Collector:
    """Reads the files of all sides; problems are those of the plot that is read."""

    def __init__(self, sides: Sequence[PlotSide]) -> None:
        self._sides = sides
        self._series: dict[tuple[str, str, bool], dict[str, tuple[Series, int]]] = {}
        self._problems: list[str] = []
        self._image_bytes = 0

    def plots(self, spec: PlotSpec) -> Iterator[Plot]:
        """Yields the plot of a declaration, or, where it names no column, one for each that has numbers."""
        self._problems = []
        curves: dict[str, list[PlotCurve]] = {}
        images: dict[str, list[PlotImage]] = {}
        name = spec.title or ", ".join(spec.columns)
        for file in self._files(spec):
            try:
                if is_image(file.path):
                    images.setdefault(file.path, []).append(self._image(file))
                    continue
                for curve in self._curves(spec, file):
                    title = name if file.columns else f"{spec.title or file.group}: {curve.column}"
                    curves.setdefault(title, []).append(curve)
            except DvliteError as error:
                self._note(error)
        if not curves and not images and self._problems:
            yield self._made(spec, name, [])
        for title, drawn in curves.items():
            yield self._made(spec, title, drawn)
        for path, shown in images.items():
            title = spec.title if spec.title and len(images) == 1 else path
            yield replace(self._made(spec, title, []), template="image", x="", x_label="", images=tuple(shown))

    def _made(self, spec: PlotSpec, title: str, curves: Sequence[PlotCurve]) -> Plot:
        """Returns a plot, which takes the problems."""
        if len(curves) > _MOST_CURVES:
            self._problems.append(f"{quote(title)}: of {len(curves)} curves {_MOST_CURVES} are shown")
        columns = {curve.column for curve in curves}
        y = columns.pop() if len(columns) == 1 else ""
        x, y = (y, "") if spec.template == "histogram" else (spec.x or _STEP, y)
        kept = tuple(curves[:_MOST_CURVES])
        problems, self._problems = tuple(self._problems), []
        return Plot(
            title=title,
            template=spec.template,
            x=x,
            y=y,
            x_label=spec.labels.get("x") or x,
            y_label=spec.labels.get("y") or y,
            curves=_binned(kept) if spec.template == "histogram" else kept,
            problems=problems,
        )

    def _note(self, error: DvliteError) -> None:
        self._problems.append(error.message if error.hint is None else f"{error.message}; {error.hint}")

    def _files(self, spec: PlotSpec) -> Iterator[_PlotFile]:
        """Yields the files of each side; what no side has is a problem."""
        for pattern, columns in spec.columns.items():
            is_there = False
            for side in self._sides:
                try:
                    paths = side.names(pattern)
                except DvliteError as error:
                    self._note(error)
                    paths, is_there = [], True
                if len(paths) > _MOST_FILES:
                    shown = quote(side.shown(pattern))
                    self._problems.append(f"{shown}: of {len(paths)} files {_MOST_FILES} are shown")
                for path in paths[:_MOST_FILES]:
                    try:
                        data = side.read(path, IMAGE_LIMIT_BYTES if is_image(path) else series.LIMIT_BYTES)
                    except DvliteError as error:
                        self._note(error)
                        is_there = True
                        continue
                    if data is not None:
                        is_there = True
                        yield _PlotFile(side, path, pattern if sparse.is_glob(pattern) else path, columns, data)
            if not is_there:
                names = some([side.name for side in self._sides])
                self._problems.append(f"there is no {quote(pattern)} in {names}")

    # -- images

    def _image(self, file: _PlotFile) -> PlotImage:
        kind = IMAGE_TYPES[posixpath.splitext(file.path)[1].lower()]
        self._image_bytes += len(file.data)
        if self._image_bytes > MOST_IMAGE_BYTES:
            raise file.wrong("left out, for the page has enough images")
        is_svg = _SVG.match(file.data[:4096]) is not None and b"<svg" in file.data[:4096]
        if ("image/svg+xml" if is_svg else picture_kind(file.data)) != kind:
            raise file.wrong(f"not the image that its name says ({kind})")
        return PlotImage(
            revision=file.side.name, file=file.path, type=kind, size_bytes=len(file.data), content=file.data
        )

    # -- points

    def _curves(self, spec: PlotSpec, file: _PlotFile) -> Iterator[PlotCurve]:
        if spec.template == "confusion":
            yield from self._confusion(spec, file)
        elif event_file.is_event_file(file.path) or (spec.x in ("", _STEP) and spec.template != "histogram"):
            if spec.x not in ("", _STEP):
                raise file.wrong(f"there is no column {quote(spec.x)}: event files have steps")
            yield from self._by_step(spec, file)
        else:
            yield from self._by_column(spec, file)

    def _by_step(self, spec: PlotSpec, file: _PlotFile) -> Iterator[PlotCurve]:
        whole = spec.template == "histogram"
        place = (file.side.name, file.path, whole)
        if place not in self._series:
            read = series.parse(file.data, file.path, file.side.shown(file.path))
            self._problems += [f"{quote(file.side.shown(file.path))}: {problem}" for problem in read.problems]
            kept = {name: (one if whole else thinned(one), len(one.values)) for name, one in read.series.items()}
            self._series[place] = kept
        known = self._series[place]
        if not file.columns and len(known) > MOST_COLUMNS:
            self._note(file.wrong(f"of {len(known)} columns {MOST_COLUMNS} are shown"))
        for name in file.columns or list(known)[:MOST_COLUMNS]:
            if name not in known:
                self._note(_no_column(file, name, known))
                continue
            one, points = known[name]
            yield self._curve(file, name, points, one.steps, one.values)

    def _by_column(self, spec: PlotSpec, file: _PlotFile) -> Iterator[PlotCurve]:
        """Yields a curve of each column over another, by rows; sorted where that has numbers. Of a histogram, all values.

        Words are drawn by files of users only.
        """
        columns: dict[str, tuple[_Column, _Column]] = {name: (_Column(), _Column()) for name in file.columns}
        takes_words = spec.template not in TEMPLATES
        rows = _Rows(file, self._problems)
        for row in rows:
            x = row.get(spec.x) if spec.x else 0.0
            if x is None or (isinstance(x, float) and not math.isfinite(x)):
                continue
            for name in file.columns or row:
                y = row.get(name)
                if isinstance(y, float) or (takes_words and y is not None):
                    if name not in columns and name != spec.x and len(columns) < MOST_COLUMNS:
                        columns[name] = _Column(), _Column()
                    if name in columns:
                        columns[name][1].append(y)
                        if spec.x:
                            columns[name][0].append(x)
        if spec.x and spec.x not in rows.names:
            raise _no_column(file, spec.x, rows.names)
        for name, (over, values) in columns.items():
            if name not in rows.names:
                self._note(_no_column(file, name, rows.names))
            elif not values.values:
                self._note(file.wrong(f"the column {quote(name)} has no numbers"))
            else:
                yield self._over(spec, file, name, over, values)

    def _over(self, spec: PlotSpec, file: _PlotFile, name: str, over: _Column, values: _Column) -> PlotCurve:
        number = len(values.values)
        if values.words:
            kept = range(min(number, MOST_POINTS))
            made = self._curve(file, name, number, over.cells(kept), ())
            return replace(made, y=values.cells(kept))
        if not spec.x:
            finite = array("d", filter(math.isfinite, values.values))
            return replace(self._curve(file, name, number, (), ()), gaps=number - len(finite), y=finite)
        is_sorted = over.words or all(map(operator.le, over.values, itertools.islice(over.values, 1, None)))
        order = range(number) if is_sorted else sorted(range(number), key=over.values.__getitem__)
        line = Series(name, array("q", order), array("d", map(values.values.__getitem__, order)), array("d"))
        few = thinned(line)
        return self._curve(file, name, number, over.cells(few.steps), few.values)

    def _curve(self, file: _PlotFile, name: str, points: int, x: Sequence[Cell], y: Sequence[float]) -> PlotCurve:
        finite = [value if math.isfinite(value) else None for value in y]
        return PlotCurve(
            revision=file.side.name,
            file=file.path,
            column=name,
            points=points,
            gaps=finite.count(None),
            x=tuple(x),
            y=tuple(finite),
        )

    def _confusion(self, spec: PlotSpec, file: _PlotFile) -> Iterator[PlotCurve]:
        for name in file.columns:
            pairs: Counter[tuple[str, str]] = Counter()
            rows = _Rows(file, self._problems)
            for row in rows:
                if spec.x in row and name in row:
                    pairs[label(row[spec.x]), label(row[name])] += 1
                    if len(pairs) > _MOST_CLASSES**2:
                        raise file.wrong(f"more than {_MOST_CLASSES} different values: that is no confusion matrix")
            missing = next((column for column in (spec.x, name) if column not in rows.names), None)
            if missing is not None:
                raise _no_column(file, missing, rows.names)
            if not pairs:
                raise file.wrong(f"no row has both {quote(spec.x)} and {quote(name)}")
            xs, ys = zip(*sorted(pairs), strict=True)
            yield PlotCurve(
                revision=file.side.name,
                file=file.path,
                column=name,
                points=pairs.total(),
                x=xs,
                y=ys,
                counts=[pairs[pair] for pair in sorted(pairs)],
            )


class _Rows:
    """The rows of a file, once; then `names` are its columns, and what could not be read is among the problems."""

    def __init__(self, file: _PlotFile, problems: list[str]) -> None:
        self._file, self._problems = file, problems
        self.names: dict[str, None] = {}

    def __iter__(self) -> Iterator[Mapping[str, Cell]]:
        file, notes = self._file, Notes()
        shown = file.side.shown(file.path)
        for number, row in series.rows(file.data, file.path, notes, shown):
            if number > _MOST_ROWS:
                notes.note(f"it has more than {_MOST_ROWS:,} rows: the others are left out")
                break
            if len(self.names) < _MOST_NAMES:
                self.names.update(dict.fromkeys(row))
            yield row
        self._problems += [f"{quote(shown)}: {problem}" for problem in notes.sentences()]


class _Column:
    """Cells of a column in 8 bytes each: numbers, or from the first word on places in `words`."""

    def __init__(self) -> None:
        self.values = array("d")
        self.words: dict[str, int] = {}

    def append(self, cell: Cell) -> None:
        if isinstance(cell, str) and not self.words:
            self.values = array("d", [self._place(label(value)) for value in self.values])
        self.values.append(self._place(label(cell)) if self.words or isinstance(cell, str) else cell)

    def _place(self, text: str) -> int:
        if len(self.words) == _MOST_WORDS and text not in self.words:
            raise FormatError(f"a column has more than {_MOST_WORDS} different words: nothing can be drawn over it")
        return self.words.setdefault(text, len(self.words))

    def cells(self, places: Sequence[int]) -> list[Cell]:
        words = list(self.words)
        return [words[int(self.values[place])] if words else self.values[place] for place in places]


def label(cell: Cell) -> str:
    """Returns a cell as one of several classes: `7` for 7.0."""
    if isinstance(cell, str):
        return cell
    return str(int(cell)) if cell.is_integer() else repr(cell)


def _no_column(file: _PlotFile, name: str, known: Iterable[str]) -> FormatError:
    names = list(known)
    close = closest(name[:60], names[:_MOST_NAMES])
    meant = f"; did you mean {quote(close)}?" if close else f"; it has {some(list(map(quote, names)))}" if names else ""
    return file.wrong(f"there is no column {quote(name)}{meant}")


def _binned(curves: Sequence[PlotCurve]) -> tuple[PlotCurve, ...]:
    """Returns how many values of each curve are in each of some bins, which all curves share."""
    finite = [array("d", (y for y in curve.y if isinstance(y, float))) for curve in curves]
    least = min((min(values) for values in finite if values), default=0.0)
    greatest = max((max(values) for values in finite if values), default=0.0)
    step = greatest / _BINS - least / _BINS
    edges = [least + step * number for number in range(_BINS)] + [greatest] if step else [least - 0.5, least + 0.5]
    binned = []
    for curve, values in zip(curves, finite, strict=True):
        numbers = [0] * (len(edges) - 1)
        for value in values:
            numbers[min(int(value / step - least / step), _BINS - 1) if step else 0] += 1
        binned.append(replace(curve, x=tuple(edges), y=tuple(map(float, numbers))))
    return tuple(binned)
