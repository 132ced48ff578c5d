"""The words of `dag`: a tree for the terminal, and the languages of two drawing programs."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.dag import DagResult, DagStage
from dvlite.paths import overlap
from dvlite.show import Show, printable
from dvlite.text.style import dot_label, mermaid_label


def text(result: DagResult, show: Show) -> Iterator[str]:
    """Yields a tree: below each stage its dependencies; a stage that was shown in full before is marked."""
    stages = {stage.stage: stage for stage in result.stages}
    needed = {other for stage in result.stages for other in stage.after}
    seen: set[str] = set()
    for stage in reversed(result.stages):
        if stage.stage not in needed:
            yield from _tree(stage, stages, seen, show)


def _tree(top: DagStage, stages: dict[str, DagStage], seen: set[str], show: Show) -> Iterator[str]:
    # Stage or finished words, the start of its line, the start of those below it.
    last, inner, beside = ("└── ", "├── ", "│   ") if show.unicode else ("`-- ", "+-- ", ":   ")
    stack: list[tuple[DagStage | str, str, str]] = [(top, "", "")]
    while stack:
        node, first, rest = stack.pop()
        if isinstance(node, str):
            yield first + node
            continue
        again = node.stage in seen and bool(node.deps)
        yield first + _words(node, show) + ("  (as above)" if again else "")
        if again:
            continue
        seen.add(node.stage)
        children: list[DagStage | str] = [stages[other] for other in node.after]
        outs = {path for other in node.after for path in stages[other].outs}
        sources = [show.path(dep) for dep in node.deps if not any(overlap(dep, path) for path in outs)]
        if sources:
            children.append(show.style("dim", ", ".join(sources)))
        for number, child in reversed(list(enumerate(children))):
            is_last = number == len(children) - 1
            stack.append((child, rest + (last if is_last else inner), rest + ("    " if is_last else beside)))


def _words(stage: DagStage, show: Show) -> str:
    outs = ", ".join(show.path(path) for path in stage.outs)
    frozen = "  (frozen)" if stage.frozen else ""
    return f"{show.bold(printable(stage.stage))}{f'  -> {outs}' if outs else ''}{frozen}"


def mermaid(result: DagResult, _: Show) -> Iterator[str]:
    """Yields a flowchart that Markdown pages show (mermaid.js.org)."""
    names = {stage.stage: f"s{number}" for number, stage in enumerate(result.stages)}
    yield "flowchart TD"
    for stage in result.stages:
        yield f'    {names[stage.stage]}["{mermaid_label(stage.stage)}"]'
    for stage in result.stages:
        for other in stage.after:
            yield f"    {names[other]} --> {names[stage.stage]}"


def dot(result: DagResult, _: Show) -> Iterator[str]:
    """Yields the graph for Graphviz."""
    yield "digraph pipeline {"
    yield "    node [shape=box];"
    for stage in result.stages:
        yield f'    "{dot_label(stage.stage)}";'
    for stage in result.stages:
        for other in stage.after:
            yield f'    "{dot_label(other)}" -> "{dot_label(stage.stage)}";'
    yield "}"
