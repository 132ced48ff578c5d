"""Draws what was measured: the Markdown tables of docs/explanation/performance.md, and a chart of each scenario. The same results, the same bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import table

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "benchmarks" / "results" / "measured.json"
PAGES = tuple(
    PROJECT / name for name in ("README.md", "docs/explanation/performance.md", "docs/explanation/scaling.md")
)
CHARTS = PROJECT / "docs" / "explanation" / "charts"
SCHEMA = "dvlite.measured/1"
SUITE = "benchmarks/suite.py"
TABLE, README = "table", "readme"  # what run.py measures; the few lines of it that the README shows
_BLOCK = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# In both light and dark; the first is dvlite's, or the smallest size.
_COLOURS = ("#2f81f7", "#d29922", "#8957e5", "#3fb950", "#db61a2", "#768390", "#a5b0bb")
_STYLE = (
    "text{font:12px sans-serif;fill:#1f2328}.step{font-weight:bold}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}}"
)
_LABELS, _BARS, _TEXT = 130, 430, 150  # px

Row = Mapping[str, Any]  # a step of a tool, as the results keep it


def keep(name: str, results: Mapping[str, Any]) -> None:
    """Stores the results of one scenario, in place of earlier ones."""
    kept = load() if RESULTS.exists() else {"schema": SCHEMA, "scenarios": {}}
    kept["scenarios"][name] = results
    kept["scenarios"] = dict(sorted(kept["scenarios"].items()))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(_dump(kept), encoding="utf-8")


def _dump(kept: Mapping[str, Any]) -> str:
    """Returns JSON with a row on each line."""
    lines = ["{", f' "schema": {json.dumps(kept["schema"])},', ' "scenarios": {']
    for name, found in kept["scenarios"].items():
        rest = {key: value for key, value in found.items() if key != "rows"}
        rows = ",\n   ".join(json.dumps(row) for row in found.get("rows", ()))
        lines += [f"  {json.dumps(name)}: {json.dumps(rest)[:-1]},", f'   "rows": [{rows}]', "  },"]
    lines[-1] = "  }"
    return "\n".join([*lines, " }", "}", ""])


def load() -> dict[str, Any]:
    """Returns all that is kept."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return kept


def write() -> None:
    """Writes the page and the charts anew from what is kept."""
    for path, text in drawn(load(), {page: page.read_text(encoding="utf-8") for page in PAGES}).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def drawn(kept: Mapping[str, Any], pages: Mapping[Path, str]) -> dict[Path, str]:
    """Returns the files that belong to results: the pages with their blocks filled, and the charts."""
    scenarios = dict(kept["scenarios"])
    if TABLE in scenarios:
        scenarios[README] = scenarios[TABLE]

    def block(found: re.Match[str]) -> str:
        name = found[2]
        if name not in scenarios and name in {TABLE, README}:
            return found[0]
        if name not in scenarios:
            return f"{found[1]}No figures yet: `python {SUITE} --only {name}`.\n{found[3]}"
        chart = f"![{scenarios[name]['what']}](charts/{name}.svg)\n\n" if CHARTS / f"{name}.svg" in charts else ""
        return f"{found[1]}{chart}{text_of(name, scenarios[name])}\n{found[3]}"

    charts = {
        CHARTS / f"{name}.svg": svg(name, found)
        for name, found in scenarios.items()
        if "what" in found and name != "latency"
    }
    return {page: _BLOCK.sub(block, text) for page, text in pages.items()} | charts


def text_of(name: str, found: Mapping[str, Any]) -> str:
    """Returns the tables of a scenario."""
    if "sizes" in found:
        return _grown(found)
    if name == "scale":
        from benchmarks import scale  # which keeps its results by this module

        return scale.text_of(found)
    if name == "latency":
        return _far(found)
    if name == README:
        return table.short_text_of(found)
    if name == TABLE:
        return table.text_of(found)
    return _compared(found)


def middle(values: Sequence[float]) -> float:
    return round(median(values), 3)


def _compared(found: Mapping[str, Any]) -> str:
    """Returns a line for each step and tool; in brackets multiples of dvlite's figure."""
    lines = [["step", "tool", "time", "CPU", "memory", "requests"]]
    rows = _ordered(found["rows"])
    ours = {row["step"]: row for row in rows if row["tool"] == table.DVLITE}
    for row in rows:
        first = ours.get(row["step"])
        cells = []
        for column in ("seconds", "cpu_seconds"):
            text = table.quantity(middle(row[column]), table.SECONDS)
            if first is not None and first is not row and middle(first[column]) > 0:
                text += f" ({table.times(middle(row[column]) / middle(first[column]))})"
            cells.append(text)
        step = row["step"] if first in (None, row) else ""
        lines.append([step, row["tool"], *cells, _mib(row["peak_bytes"]), requests_text(row["requests"])])
    text = table.pipes(lines)
    if found["stored"]:
        stored = [
            f"{tool} {objects:,} objects, {table.quantity(size, table.BYTES)}"
            for tool, (objects, size) in found["stored"].items()
        ]
        text += f"\n\nOn the remote at the end: {'; '.join(stored)}."
    if found["failed"]:
        text += f"\n\nLeft out: {'; '.join(found['failed'])}."
    return f"{_caption(found)}\n\n{text}"


def _caption(found: Mapping[str, Any], which: str = "medians") -> str:
    rounds = f"{which} of {found['rounds']} rounds" if found["rounds"] > 1 else "one round"
    return f"{found['what'][:1].upper()}{found['what'][1:]}; {rounds}, {found['taken']}."


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows step by step, in the order in which the first tool took the steps, dvlite first."""
    steps = list(dict.fromkeys(row["step"] for row in sorted(rows, key=_column)))
    return sorted(rows, key=lambda row: (steps.index(row["step"]), _column(row)))


def _column(row: Row) -> int:
    return table.COLUMNS.index(row["tool"].split(",")[0]) if row["tool"].split(",")[0] in table.COLUMNS else 0


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / table.MIB:.0f} MiB" if size_bytes else "-"


def requests_text(requests: Mapping[str, int]) -> str:
    """Returns how many requests there were, and of which kinds."""
    total = sum(requests.values())
    if not total or set(requests) == {"all"}:
        return f"{total:,}" if total else ""
    return f"{total:,}: {', '.join(f'{kind} {number:,}' for kind, number in requests.items() if number)}"


def _grown(found: Mapping[str, Any]) -> str:
    """Returns CPU, memory and requests of each command at each size, and the exponent between the two largest."""
    sizes = found["sizes"]
    lines = [[found["what"], *(f"{size:,}" for size in sizes), "growth"]]
    for step in dict.fromkeys(row["step"] for row in found["rows"]):
        at = [
            next(row for row in found["rows"] if row["step"] == step and row["tool"] == f"{size:,}") for size in sizes
        ]
        cells = []
        for row in at:
            asked = sum(row["requests"].values())
            cells.append(
                f"{middle(row['cpu_seconds']):.2f} s, {_mib(row['peak_bytes'])}" + (f", {asked} req" if asked else "")
            )
        lines.append([step, *cells, f"{exponent(sizes, [middle(row['cpu_seconds']) for row in at]):.2f}"])
    return f"CPU seconds and memory of the whole process tree, requests; {found['taken']}.\n\n{table.pipes(lines)}"


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Returns the exponent of growth between the two largest sizes: below, the start of the program hides it."""
    if len(sizes) < 2:
        return math.nan
    return math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def _far(found: Mapping[str, Any]) -> str:
    """Returns the time of each command at each latency, and the round trips that explain it."""
    by: dict[tuple[str, str], dict[int, Row]] = {}
    for row in _ordered(found["rows"]):
        tool, _, latency = row["tool"].rpartition(", ")
        by.setdefault((row["step"], tool), {})[int(latency.removesuffix(" ms"))] = row
    latencies = sorted({latency for rows in by.values() for latency in rows})
    lines = [["step", "tool", "requests", *(f"{latency} ms" for latency in latencies), "waits"]]
    for (step, tool), rows in by.items():
        seconds = {latency: min(row["seconds"]) for latency, row in rows.items()}  # what else runs only adds to it
        waits = (seconds[latencies[-1]] - seconds[latencies[0]]) / (latencies[-1] - latencies[0]) * 1000
        times = [table.quantity(seconds[latency], table.SECONDS) for latency in latencies]
        lines.append([step, tool, requests_text(rows[latencies[0]]["requests"]), *times, f"{waits:.0f}"])
    return f"{_caption(found, 'the fastest')}\n\n{table.pipes(lines)}"


def svg(name: str, found: Mapping[str, Any]) -> str:
    """Returns a chart: a bar for each tool (or size) in each step. The bars of a step share a scale; those of sizes share one for all steps."""
    rows = _ordered(found["rows"]) if "sizes" not in found else found["rows"]
    column = "cpu_seconds" if "sizes" in found else "seconds"
    series = list(dict.fromkeys(row["tool"] for row in rows))
    logarithmic = "sizes" in found
    everything = [middle(row[column]) for row in rows]
    height, parts = 8, []
    for step in dict.fromkeys(row["step"] for row in rows):
        bars = [row for row in rows if row["step"] == step]
        height += 18
        parts.append(f'<text class="step" x="4" y="{height}">{escape(step)}</text>')
        height += 5
        alone = [middle(row[column]) for row in bars] if len(series) > 1 else everything
        for row in bars:
            value = middle(row[column])
            width = _width(value, everything) if logarithmic else value / (max(alone) or 1)
            parts += _bar(height, row["tool"], max(1.0, width * _BARS), value, _colour(series, row["tool"]))
            height += 16
    unit = (
        "CPU seconds, logarithmic"
        if logarithmic
        else "seconds, each step to its own scale"
        if len(series) > 1
        else "seconds"
    )
    parts.append(f'<text x="4" y="{height + 18}">{escape(found["what"])}: {unit}</text>')
    wide, high = _LABELS + _BARS + _TEXT, height + 26
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img"'
    )
    return "\n".join([f'{head} aria-label="{escape(name)}">', f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


def _width(value: float, values: Sequence[float]) -> float:
    least, most = max(0.01, min(values)) / 2, max(*values, 0.02)
    return math.log(max(value, least) / least) / math.log(most / least)


def _bar(y: int, label: str, width: float, value: float, colour: str) -> Iterator[str]:
    yield f'<text x="{_LABELS - 8}" y="{y + 11}" text-anchor="end">{escape(label)}</text>'
    yield f'<rect x="{_LABELS}" y="{y + 1}" width="{width:.1f}" height="13" rx="2" fill="{colour}"/>'
    yield f'<text x="{_LABELS + width + 6:.1f}" y="{y + 11}">{table.quantity(value, table.SECONDS)}</text>'


def _colour(series: Sequence[str], name: str) -> str:
    tool = name.split(",", maxsplit=1)[0]
    at = table.COLUMNS.index(tool) if tool in table.COLUMNS else series.index(name)
    return _COLOURS[at % len(_COLOURS)]
