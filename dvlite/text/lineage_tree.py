"""Lineage as lines of text: an indented tree, Mermaid, Graphviz. Pure. Names are untrusted and escaped for each format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dvlite.lineage.report import LineageArtefact, LineageGraph, LineageLink, LineageRun, LineageRunName, key_of
from dvlite.runs.history import LineageCommit
from dvlite.show import count, printable, short_oid, size_text, some
from dvlite.text.style import dot_label, mermaid_label, origin

_METRICS = 4  # in a line


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a tree, not yet drawn: an artefact, a run, or words."""

    indent: int
    link: LineageLink | None = None
    run: str = ""
    others: tuple[LineageRunName, ...] = ()
    words: str = ""


def tree(graph: LineageGraph, *, down: bool, below_start: bool = False) -> Iterator[str]:
    """Yields the tree from the starts on; each artefact and run is drawn with its subtree once, then only named.

    `below_start` leaves out the line of the start itself, which the caller has printed.
    """
    lines = _Tree(graph, down=down).lines()
    if below_start:
        next(lines, None)
    yield from lines


def mermaid(graphs: Iterable[LineageGraph]) -> Iterator[str]:
    """Yields a Mermaid flowchart, from inputs to outputs."""
    yield "flowchart LR"
    for name, label, is_run in _nodes(graphs := list(graphs)):
        yield f'  {name}(["{mermaid_label(label)}"])' if is_run else f'  {name}["{mermaid_label(label)}"]'
    for start, end, holds in _edges(graphs):
        yield f"  {start} {'-.->' if holds else '-->'} {end}"


def dot(graphs: Iterable[LineageGraph]) -> Iterator[str]:
    """Yields a Graphviz graph, from inputs to outputs."""
    yield "digraph lineage {"
    yield "  rankdir=LR;"
    for name, label, is_run in _nodes(graphs := list(graphs)):
        yield f'  {name} [label="{dot_label(label)}", shape={"ellipse" if is_run else "box"}];'
    for start, end, holds in _edges(graphs):
        yield f"  {start} -> {end}{' [style=dashed]' if holds else ''};"
    yield "}"


def named(path: str, oid: str) -> str:
    """Returns content as people see it: `data/tiles 5b0f77c2`."""
    return f"{printable(path)} {short_oid(oid)}" if path else short_oid(oid)


def amount(size_bytes: int, files: int, oid: str) -> str:
    """Returns how much content there is: `97.5 MiB`, or `385,412 files, 50.3 GiB`."""
    size = size_text(size_bytes)
    return f"{count(files, 'file')}, {size}" if oid.startswith("manifest:") else size


def commit_text(commit: LineageCommit) -> str:
    """Returns a commit as people see it: `0d9e8f7 "More gulls"`."""
    subject = "" if not commit.subject else f' "{printable(commit.subject)}"'
    return printable(commit.commit[:7]) + subject


def scalar(value: object) -> str:
    """Returns a value of a parameter or metric as people write it; text that could be misread is quoted."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(str(value))


def short_values(values: Mapping[str, object], *, most: int | None = None) -> str:
    """Returns `lr=0.003 epochs=20`, at most `most`; the file of a key is left out if the key alone is unique."""
    keys = [key.partition(":")[2] or key for key in values]
    shown = (key if keys.count(key) == 1 else whole for key, whole in zip(keys, values, strict=True))
    texts = [f"{printable(key)}={scalar(value)}" for key, value in zip(shown, values.values(), strict=True)]
    return some(texts, len(texts) if most is None else most, separator=" ")


class _Tree:
    """Draws one graph, each node in full once."""

    def __init__(self, graph: LineageGraph, *, down: bool) -> None:
        self._graph, self._down = graph, down
        self._artefacts = {key_of(artefact): artefact for artefact in graph.artefacts}
        self._runs = {run.run: run for run in graph.runs}
        self._drawn: set[str] = set()

    def lines(self) -> Iterator[str]:
        # A stack: a graph may be deeper than Python's.
        waiting = [_Line(0, link) for link in reversed(self._graph.starts)]
        while waiting:
            line = waiting.pop()
            if line.words:
                yield _indented(line.indent, line.words)
                continue
            text, below = self._artefact(line) if line.link is not None else self._run(line)
            yield _indented(line.indent, text)
            waiting.extend(reversed(list(below)))

    def _artefact(self, line: _Line) -> tuple[str, Iterable[_Line]]:
        link = line.link
        assert link is not None
        artefact = self._artefacts.get(key_of(link))
        text = f"{named(link.path, link.oid)} ({amount(link.size_bytes, link.files, link.oid)})"
        if artefact is None:
            return text, ()
        text += "".join(f"  {fact}" for fact in facts_of(artefact, link.path, down=self._down))
        below = list(self._behind(artefact, line.indent + 1))
        if key_of(link) in self._drawn and (below or self._down):
            return f"{text}  (above)", ()
        self._drawn.add(key_of(link))
        return text, below

    def _behind(self, artefact: LineageArtefact, indent: int) -> Iterator[_Line]:
        """Yields the lines below an artefact: its maker, or its users; the directories that hold it, and its parts."""
        shown = 0
        if self._down:
            for use in artefact.used_by:
                shown += use.run in self._runs
                if use.run in self._runs:
                    yield _Line(indent, run=use.run, others=use.others)
        elif artefact.made_by and artefact.made_by[0].run in self._runs:
            shown = 1
            yield _Line(indent, run=artefact.made_by[0].run, others=artefact.made_by[1:])
        for number, link in enumerate((*artefact.held_by, *artefact.parts)):
            holder = number < len(artefact.held_by)
            if holder and not self._down and number:
                yield _Line(indent, words=f"also in {count(len(artefact.held_by) - 1, 'other version')} of directories")
                break
            if self._leads_on(link):
                yield _Line(indent, link)
        if artefact.cut_runs:
            yield _Line(indent, words=f"... {artefact.cut_runs:,} more, --depth")

    def _leads_on(self, link: LineageLink) -> bool:
        """Returns whether a directory or a part gets a line: going down, only if it was used."""
        artefact = self._artefacts.get(key_of(link))
        return artefact is not None and (not self._down or bool(artefact.used_by or artefact.cut_runs))

    def _run(self, line: _Line) -> tuple[str, Iterable[_Line]]:
        run = self._runs[line.run]
        above = line.run in self._drawn
        text = run_text(run, metrics=not above)
        if line.others:
            names = [run_named(other) for other in line.others]
            text += f"  (and {some(names)})" if self._down else f"  (also made by {some(names)})"
        if above:
            return f"{text}  (above)", ()
        self._drawn.add(line.run)
        indent = line.indent + 1
        if self._down:
            below = [_Line(indent, link) for link in run.outputs]
            return text, below or [_Line(indent, words="(left nothing)")]
        code = [link.path for link in run.inputs if self._is_code(link)]
        below = [_Line(indent, link) for link in run.inputs if not self._is_code(link)]
        words = f"code: {some([printable(path) for path in code], 6)}"
        return text, [*below, *([_Line(indent, words=words)] if code else [])]

    def _is_code(self, link: LineageLink) -> bool:
        artefact = self._artefacts.get(key_of(link))
        return artefact is not None and artefact.origin == "code"


def run_named(run: LineageRunName) -> str:
    """Returns a run as a list of runs names it: `train-7f3a9c`, with its status if that is not ok."""
    return printable(run.name) + ("" if run.status == "ok" else f" ({printable(run.status)})")


def run_text(run: LineageRun, *, metrics: bool = True) -> str:
    """Returns a run in a line of a tree, with some of its metrics."""
    status = printable(run.status)
    parts = [printable(run.name), status if run.of is None else f"{status} (of {short_oid(run.of)[:6]})"]
    if run.datums:
        parts[-1] += f" for {some([printable(name) for name in run.datums])}"
    if run.taint:
        parts[-1] += f" ({some([printable(path) for path in run.taint])} changed while it ran)"
    if run.commit is not None:
        parts.append(f"commit {commit_text(run.commit)}")
    elif run.code_commit is not None:
        parts.append(f"{printable(run.code_commit[:7])}{'+edits' if run.dirty else ''}")
    if run.metrics and metrics:
        parts.append(short_values(run.metrics, most=_METRICS))
    return "  ".join(parts)


def facts_of(artefact: LineageArtefact, path: str, *, down: bool) -> list[str]:
    """Returns the facts beside the name of an artefact: the commit, whether it is in use now, or that its origin is unknown."""
    facts = []
    if artefact.commit is not None:
        facts.append(f"commit {commit_text(artefact.commit)}")
    elif artefact.origin == "stage" and not down:
        facts.append(unrecorded(artefact))
    elif artefact.origin == "unknown" and not down and not artefact.cut_runs:
        facts.append("unknown (not recorded)")
    if artefact.imported is not None:
        facts.append(f"from {origin(artefact.imported)}")
    if down and artefact.now:
        others = [printable(name) for name in artefact.now if name != path]
        facts.append("in use" + (f" as {some(others)}" if others else ""))
    return facts


def unrecorded(artefact: LineageArtefact) -> str:
    """Returns the words for an output whose run record is missing."""
    return f"made by {printable(artefact.stage)} ({printable(artefact.lockfile)}), its record is not here: dvlite pull"


def _indented(indent: int, text: str) -> str:
    return "  " * indent + text


# --- diagrams ---


def _nodes(graphs: Iterable[LineageGraph]) -> Iterator[tuple[str, str, bool]]:
    """Yields the name, label and kind (a run?) of each node, once."""
    artefacts, runs = _numbered(graphs)
    for artefact, name in artefacts.values():
        text = f"{named(artefact.path, artefact.oid)} ({amount(artefact.size_bytes, artefact.files, artefact.oid)})"
        more = f", {artefact.cut_runs:,} more runs" if artefact.cut_runs else ""
        commit = f", commit {commit_text(artefact.commit)}" if artefact.commit is not None else ""
        is_unknown = artefact.origin == "unknown" and not more and not artefact.used_by
        unknown = ", unknown (not recorded)" if is_unknown else ""
        yield name, text + commit + unknown + more, False
    for run, name in runs.values():
        yield name, run_text(run), True


def _edges(graphs: Iterable[LineageGraph]) -> Iterator[tuple[str, str, bool]]:
    """Yields the ends of each edge once, and whether it only joins a directory to its content."""
    artefacts, runs = _numbered(graphs)
    seen: set[tuple[str, str, bool]] = set()
    edges: list[tuple[str, str, bool]] = []
    name_of: Callable[[LineageLink], str] = lambda link: artefacts[key_of(link)][1] if key_of(link) in artefacts else ""  # noqa: E731
    for run, name in runs.values():
        edges += [(name_of(link), name, False) for link in run.inputs]
        edges += [(name, name_of(link), False) for link in run.outputs]
    for artefact, name in artefacts.values():
        edges += [(name_of(link), name, True) for link in artefact.held_by]
        edges += [(name, name_of(link), True) for link in artefact.parts]
        for oid in (maker.run for maker in artefact.made_by[:1]):
            # A start without a path: its maker names it by one.
            if oid in runs and not any(key_of(link) == key_of(artefact) for link in runs[oid][0].outputs):
                edges.append((runs[oid][1], name, False))
    for edge in edges:
        if all(edge[:2]) and edge not in seen:
            seen.add(edge)
            yield edge


def _numbered(
    graphs: Iterable[LineageGraph],
) -> tuple[dict[str, tuple[LineageArtefact, str]], dict[str, tuple[LineageRun, str]]]:
    artefacts: dict[str, tuple[LineageArtefact, str]] = {}
    runs: dict[str, tuple[LineageRun, str]] = {}
    for graph in graphs:
        for artefact in graph.artefacts:
            artefacts.setdefault(key_of(artefact), (artefact, f"a{len(artefacts)}"))
        for run in graph.runs:
            runs.setdefault(run.run, (run, f"r{len(runs)}"))
    return artefacts, runs
