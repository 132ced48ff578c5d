"""The words of `runs show`, `diff`, `compare`, `tag`, `untag` and `note`; `runs list` is in `run_table`. Records may come from strangers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dvlite.commands.runs import (
    RunsBestResult,
    RunsCompareResult,
    RunsDiffResult,
    RunsListResult,
    RunsNoteResult,
    RunsRmResult,
    RunsShowResult,
    RunsTagResult,
)
from dvlite.formats.record import Imported, ImportedArtifact, Input, MapRun, Output, Status
from dvlite.formats.series import SeriesFile
from dvlite.git.output import is_pipeline_file
from dvlite.runs.compare import EDITS, RunCompareRow, RunValueChange
from dvlite.runs.sides import RunSide
from dvlite.show import (
    Show,
    apart,
    count,
    duration_text,
    one_line,
    pair_text,
    printable,
    printable_text,
    short_oid,
    size_text,
    value_text,
    word,
)
from dvlite.text import run_table
from dvlite.text.run_table import ago_text, when_text
from dvlite.text.style import change_text, range_text, sparkline, table

RunsResult = (
    RunsListResult
    | RunsShowResult
    | RunsDiffResult
    | RunsCompareResult
    | RunsTagResult
    | RunsNoteResult
    | RunsBestResult
    | RunsRmResult
)
_LABEL = 13  # width of the words at the start of a line
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_EDITS = {"+": "green", "-": "red", "@": "cyan"}
_NONE = "-"
_MOST_SERIES = 20
_MOST_FAILURES = 10

csv = run_table.csv_lines
markdown = run_table.markdown


def text(result: RunsResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, RunsListResult):
        yield from run_table.text(result, show)
    elif isinstance(result, RunsShowResult):
        if result.diff is not None:
            yield from _edits(result.diff, show)
        else:
            yield from _log(result.log, show) if result.log is not None else _show(result, show)
    elif isinstance(result, RunsDiffResult):
        yield from _diff(result, show)
    elif isinstance(result, RunsCompareResult):
        yield from _compare(result, show)
    elif isinstance(result, RunsBestResult):
        yield from _best(result, show)
    elif isinstance(result, RunsRmResult):
        yield from () if show.quiet else _removed(result, show)
    elif not show.quiet:
        yield from _said(result, show)


# --- show ---


def _show(result: RunsShowResult, show: Show) -> Iterator[str]:
    run = result.record
    head = [show.bold(printable(result.name)), run_table.status_text(run.status, show)]
    head.append(f"{ago_text(run.start, result.now)} ({when_text(run.start)}, {duration_text(run.seconds)})")
    if run.user or run.host:
        head.append(f"by {printable('@'.join(part for part in (run.user.partition('@')[0], run.host) if part))}")
    yield "  ".join(head)
    yield from _facts("run", [result.run])
    yield from _facts("sweep", [printable(run.sweep)] if run.sweep else [])
    if run.imported is None:
        yield from _facts("stage", [f"{printable(run.stage)} of {show.path(run.file)}", *_odd_folder(run.facts.wdir)])
    else:
        yield from _facts("imported", _imported(run.file, run.imported))
    yield from _facts("command", [printable(line) for line in run.facts.cmd.splitlines()])
    yield from _facts("ended", _ended(result))
    yield from _facts("datums", [] if run.mapped is None else _datums(run.mapped, run.status, show))
    yield from _facts("commit", [commit[:7] for commit in result.commits])
    yield from _facts("code", _code(result, show))
    yield from _facts("edits", [f"dvlite runs show {word(result.name)} --diff"] if run.code.diff else [])
    yield from _facts("models", [", ".join(result.models)] if result.models else [])
    yield from _facts("tags", [" ".join(map(printable, result.tags))] if result.tags else [])
    yield from _facts("notes", [_noted(note.text, note.time, note.user) for note in result.notes])
    yield from _facts("params", _pairs(run.params))
    yield from _facts("metrics", _pairs(run.metrics))
    yield from _facts("series", [] if result.series is None else _series(result.series, show))
    yield from _facts("inputs", _inputs(run.inputs, show))
    yield from _facts("outputs", _outputs(run.outputs, show))
    yield from _facts("artifacts", [] if run.imported is None else _artifacts(run.imported.artifacts, show))
    yield from _facts("environment", _pairs(run.surroundings))
    yield from _facts("set", [f"{printable(name)}={printable(value)}" for name, value in run.facts.env.items()])
    yield from _facts("used", _used(result))
    yield from _facts("log", [f"dvlite runs show {word(result.name)} --log"] if run.log else [])
    yield from _facts("job", [printable(run.ci)] if run.ci else [])


def _facts(label: str, lines: Iterable[str]) -> Iterator[str]:
    """Yields the facts of one kind, the label before the first."""
    for number, line in enumerate(lines):
        yield f"{'' if number else label:<{_LABEL}}{line}".rstrip()


def _imported(program: str, source: Imported) -> Iterator[str]:
    where = " / ".join(printable(part) for part in (source.group, source.name) if part)
    yield f"from {printable(program)}{f': {where}' if where else ''}"
    yield f"id {printable(source.id)}"
    yield from [printable(source.url)] if source.url else []


def _artifacts(artifacts: Sequence[ImportedArtifact], show: Show) -> Iterator[str]:
    """Yields the files that a run read, or left where it ran."""
    shown = artifacts[: None if show.verbose else _MOST_SERIES]
    yield from table(
        (
            "read" if item.role == "input" else "",
            printable(item.path),
            "" if item.size_bytes is None else size_text(item.size_bytes),
            printable(item.digest.partition(":")[0] + " " + item.digest.partition(":")[2][:8]) if item.digest else "",
            printable(item.url),
        )
        for item in shown
    )
    if len(shown) < len(artifacts):
        yield f"and {count(len(artifacts) - len(shown))} more: -v shows all"


def _odd_folder(wdir: str) -> list[str]:
    return [] if wdir == "." else [f"in the folder {printable(wdir)}"]


def _ended(result: RunsShowResult) -> Iterator[str]:
    run = result.record
    if run.status == "cached" and run.of is not None:
        yield f"reused the outputs of {printable(run.stage)}-{run.of[4:10]}, which had the same inputs; nothing was run"
    elif run.imported is not None and run.status == "canceled":
        yield "it was stopped, or had not ended when it was imported"
    elif run.status == "asserted":
        yield "accepted by dvlite commit or import-dvc as it was on disk; nothing was run"
    elif run.timed_out:
        yield f"its time was over after {duration_text(run.seconds)}"
    elif run.signal is not None:
        yield f"by signal {run.signal}"
    elif run.exit_code:
        yield f"with exit code {run.exit_code}"
    if run.retry:
        yield f"retry {run.retry}: it had failed before, see dvlite runs -s {word(run.stage)}"
    for path in run.taint:
        yield f"{printable(path)} changed while it ran: its outputs may be of either version"


def _datums(mapped: MapRun, status: Status, show: Show) -> Iterator[str]:
    """Yields what became of the datums, and the first that failed, each with its problem."""
    counts = [(mapped.ran, "ran"), (mapped.reused, "reused"), (mapped.failed, "failed")]
    if status in ("failed", "canceled"):
        counts.append((mapped.datums - mapped.ran - mapped.reused - mapped.failed, "not run"))
    done = ", ".join(f"{number:,} {what}" for number, what in counts if number > 0)
    yield f"{mapped.datums:,}{f': {done}' if done else ''}"
    shown = mapped.failures[: None if show.verbose else _MOST_FAILURES]
    yield from (f"{printable(one.name)}: {printable(one.problem)}" for one in shown)
    if len(shown) < mapped.failed:
        rest = "" if len(shown) == len(mapped.failures) else ": -v shows more"
        yield f"and {count(mapped.failed - len(shown), 'datum')} more{rest}"


def _code(result: RunsShowResult, show: Show) -> Iterator[str]:
    code = result.record.code
    if code.commit is None:
        yield from ["no commit yet"] if result.record.imported is None else []
        return
    where = f"{printable(code.repo)} " if code.repo else ""
    edits = ""
    if code.dirty or code.diff:
        kept = f" (kept, {short_oid(code.diff)})" if code.diff else " (not kept)"
        edits = f" + edits to {show.paths(code.dirty)}{kept}" if code.dirty else f" + edits{kept}"
    yield f"{where}{code.commit[:7]}{edits}"


def _noted(words: str, at: str, user: str) -> str:
    return f"{printable(words)}  ({when_text(at)}{f', {printable(user)}' if user else ''})"


def _pairs(values: Mapping[str, Any]) -> Iterable[str]:
    return table((printable(key), value_text(value)) for key, value in values.items())


def _series(read: SeriesFile, show: Show) -> Iterator[str]:
    """Yields a line for each series: its curve, the least and the greatest value, how many points."""
    shown = list(read.series.items())[: None if show.verbose else _MOST_SERIES]
    rows = []
    for name, one in shown:
        (curve,) = sparkline(one.values, unicode=show.unicode)
        rows.append((value_text(name), curve, range_text(one.values), count(len(one.values), "point")))
    yield from table(rows)
    if len(shown) < len(read.series):
        yield f"and {count(len(read.series) - len(shown))} more: -v shows all"
    yield from map(one_line, read.problems)


def _inputs(inputs: Sequence[Input], show: Show) -> Iterable[str]:
    return table((show.path(item.path), short_oid(item.oid), _amount(item)) for item in inputs)


def _outputs(outputs: Sequence[Output], show: Show) -> Iterable[str]:
    return table(
        (
            show.path(item.path),
            short_oid(item.oid),
            _amount(item),
            f"sha256 {item.sha256[:8]}" if item.sha256 else "",
            "metrics" if item.role == "metric" else "" if item.cached else "kept by git",
        )
        for item in outputs
    )


def _amount(item: Input | Output) -> str:
    files = f"{count(item.files, 'file')}, " if item.oid.startswith("manifest") else ""
    return files + size_text(item.size_bytes)


def _used(result: RunsShowResult) -> Iterator[str]:
    run = result.record
    parts = [] if run.cpu_seconds is None else [f"{duration_text(run.cpu_seconds)} of processor time"]
    parts += [] if run.max_rss_bytes is None else [f"{size_text(run.max_rss_bytes)} of memory"]
    if parts:
        yield ", ".join(parts)


def _log(log: str, show: Show) -> Iterator[str]:
    """Yields a log as a terminal would show it at the end; only colours pass, no other escape sequences."""
    for line in log.split("\n")[:-1] if log.endswith("\n") else log.split("\n"):
        last = line.removesuffix("\r").rpartition("\r")[2].replace("\t", "    ")
        pieces = [printable_text(piece) for piece in _COLOURS.split(last)]
        colours = [*_COLOURS.findall(last), ""] if show.color else [""] * len(pieces)
        shown = "".join(piece + colour for piece, colour in zip(pieces, colours, strict=True))
        yield shown + ("\x1b[0m" if any(colours) else "")


def _edits(diff: str, show: Show) -> Iterator[str]:
    """Yields a diff as git prints it; control characters are escaped (`--json` has them exact)."""
    for line in diff.removesuffix("\n").split("\n"):
        end = "\r" if line.endswith("\r") else ""  # a line of a file with Windows line ends
        shown = "\t".join(printable_text(piece) for piece in line.removesuffix("\r").split("\t")) + end
        colour = _EDITS.get(line[:1])
        is_file = line.startswith(("+++ ", "--- "))
        yield show.style(colour, shown) if colour and not is_file else shown


# --- best ---


def _best(result: RunsBestResult, show: Show) -> Iterator[str]:
    run, name = result.run, printable(result.run.name)
    if show.quiet:
        yield name
        return
    params = {**run.upstream_params, **run.params}
    words = [f"{_short(key)} {value_text(value)}" for key, value in params.items()]
    yield "  ".join(
        [show.bold(name), f"{_short(result.metric)} {value_text(result.value)}", ago_text(run.start, result.now)]
    )
    yield from _facts("params", [", ".join(words)] if words else [])
    verb = "apply" if is_pipeline_file(run.file) else "show"
    yield from show.next_step(f"dvlite runs {verb} {word(run.name)}")


def _removed(result: RunsRmResult, show: Show) -> Iterator[str]:
    if not result.runs:
        yield "These runs are in lists already." if result.undo else "No run to hide: lists leave these out already."
        return
    names = show.some([printable(run.name) for run in result.runs])
    yield f"{'Shown' if result.undo else 'Hidden'}: {names}"
    if not result.undo:
        yield "To see all: dvlite runs --all; to show one again: dvlite runs rm --undo RUN"
    yield from show.next_step("dvlite push")


# --- diff ---


def _diff(result: RunsDiffResult, show: Show) -> Iterator[str]:
    if result.old.status != result.new.status:
        yield f"{_side(result.old)} -> {_side(result.new)}"
    rows: list[tuple[str, str, str]] = []
    for label, changes in (
        ("param", result.changes.params),
        ("metric", result.changes.metrics),
        ("data", result.changes.data),
        ("code", result.changes.code),
        ("command", result.changes.command),
        ("env", result.changes.environment),
        ("output", result.changes.outputs),
    ):
        rows += [_row(label, change, show) for change in changes]
    ends = {"commit": _commits(result), "same": ", ".join(result.changes.same)}
    labels = [*(row[0] for row in rows), *(label for label, said in ends.items() if said)]
    width = max(map(len, labels), default=0)
    yield from table((label.ljust(width), *cells) for label, *cells in rows)
    yield from (f"{label:<{width}}  {said}" for label, said in ends.items() if said)


def _commits(result: RunsDiffResult) -> str:
    """Returns both commits if they differ; another line says which code differs."""
    if result.old.code == result.new.code:
        return ""
    return f"{_commit(result.old)} -> {_commit(result.new)}"


def _commit(side: RunSide) -> str:
    return _NONE if side.code is None else side.code[:7] + "+edits" * side.edited


def _side(side: RunSide) -> str:
    return f"{printable(side.name)} {side.status}"


def _row(label: str, change: RunValueChange, show: Show) -> tuple[str, str, str]:
    old, new = _values(label, change, show)
    key = show.path(change.key) if label in {"data", "output"} else _short(change.key)
    verdict = f"  {_verdict(change, show)}" if label == "metric" else ""
    return label, key, f"{old} -> {new}{verdict}"


def _values(label: str, change: RunValueChange, show: Show) -> tuple[str, str]:
    if label == "code" and change.key == EDITS:
        return _edited(change.old, show), _edited(change.new, show)
    if label in {"data", "code", "output"}:
        old, new = (_NONE if value is None else short_oid(value) for value in (change.old, change.new))
        return old, new
    if change.state == "changed":
        return pair_text(change.old, change.new)
    return (_NONE, value_text(change.new)) if change.state == "added" else (value_text(change.old), _NONE)


def _edited(edits: Any, show: Show) -> str:
    """Returns the edited files and the id of the kept diff."""
    if edits is None:
        return _NONE
    return show.paths(edits["paths"]) + (f" ({short_oid(edits['diff'])})" if edits["diff"] else "")


def _short(key: str) -> str:
    return printable(key.partition(":")[2] or key)


def _verdict(change: RunValueChange, show: Show) -> str:
    numbers = [v for v in (change.old, change.new) if isinstance(v, (int, float)) and not isinstance(v, bool)]
    by = change_text(numbers[1] - numbers[0]) if len(numbers) == 2 else ""
    if change.better is None:
        return by
    word = show.style("green", "better") if change.better else show.style("red", "worse")
    return f"{by}  {word}" if by else word


# --- compare ---

_PARTS = {"params": "param", "metrics": "metric", "data": "data", "code": "code"}


def _compare(result: RunsCompareResult, show: Show) -> Iterator[str]:
    """Yields a table with a column for each run, in blocks below each other if the terminal is too narrow for all."""
    runs = result.runs
    if not result.rows and not show.quiet:
        yield "The parameters, metrics, data and code of these runs are the same."
    keys = Counter((row.part, _short(row.key)) for row in result.rows)
    even = [None] * len(runs)
    rows: list[tuple[str, str, list[str], Sequence[bool | None]]] = []
    if len({run.status for run in runs}) > 1:
        rows.append(("status", "", [run.status for run in runs], even))
    for row in result.rows:
        key = row.key if row.part in {"data", "code"} or keys[row.part, _short(row.key)] > 1 else _short(row.key)
        named = show.path(key) if row.part == "data" else printable(key)
        rows.append((_PARTS[row.part], named, _cells(row, show), [cell.better for cell in row.cells]))
    if len({(run.code, run.edited) for run in runs}) > 1:
        rows.append(("commit", "", [_commit(run) for run in runs], even))
    if rows:
        yield from _columns([("", "", [printable(run.name) for run in runs], even), *rows], show)


def _columns(rows: Sequence[tuple[str, str, list[str], Sequence[bool | None]]], show: Show) -> Iterator[str]:
    left = [max(len(row[i]) for row in rows) for i in (0, 1)]
    widths = [max(map(len, cells)) for cells in zip(*(row[2] for row in rows), strict=True)]
    for number, block in enumerate(_blocks(widths, run_table.terminal_width() - sum(left) - 2)):
        yield from [""] if number else []
        for label, key, cells, better in rows:
            shown = [_judged(cells[i].ljust(widths[i]), show, better=better[i]) for i in block]
            yield "  ".join([label.ljust(left[0]), key.ljust(left[1]), *shown]).rstrip()


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Returns which columns stand beside each other; one at least in each block."""
    blocks: list[list[int]] = []
    left = -1
    for number, width in enumerate(widths):
        if width + 2 > left:
            blocks.append([])
            left = room
        blocks[-1].append(number)
        left -= width + 2
    return blocks


def _judged(cell: str, show: Show, *, better: bool | None) -> str:
    return cell if better is None else show.style("green" if better else "red", cell)


def _cells(row: RunCompareRow, show: Show) -> list[str]:
    if row.part == "code" and row.key == EDITS:
        return [_edited(cell.value, show) for cell in row.cells]
    if row.part in {"data", "code"}:
        return [short_oid(cell.value) if cell.has else _NONE for cell in row.cells]
    texts = iter(apart([cell.value for cell in row.cells if cell.has]))
    return [next(texts) if cell.has else _NONE for cell in row.cells]


# --- said of a run ---


def _said(result: RunsTagResult | RunsNoteResult, show: Show) -> Iterator[str]:
    name = printable(result.name)
    if isinstance(result, RunsNoteResult):
        yield f"Added a note to {name}: {printable(result.note.text)}"
    elif not result.changed:
        yield f"{name} has {'this tag' if len(result.tags) == 1 else 'these tags'} already: {_tags(result.tags)}"
        return
    else:
        verb = "Tagged" if result.action == "tag" else "Untagged"
        has_others = len(result.tags) > len(result.changed) or result.action == "untag"
        left = f" (now: {_tags(result.tags)})" if result.tags and has_others else ""
        yield f"{verb} {name}: {_tags(result.changed)}{left}"
    yield from show.next_step("dvlite push")


def _tags(tags: Sequence[str]) -> str:
    return " ".join(map(printable, tags))
