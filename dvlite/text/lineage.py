"""The words of `lineage`, `lineage find` and `lineage diff`. Records are untrusted: names and values are escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dvlite.commands.lineage import (
    LineageDiffResult,
    LineageFindResult,
    LineageResult,
    LineageServedResult,
    LineageSide,
)
from dvlite.lineage.compare import LineageContentChange, LineageValueChange
from dvlite.lineage.report import LineageArtefact, LineageGraph, LineageLink, LineageRun, key_of
from dvlite.show import Show, count, one_line, printable, short_oid, size_text, some, word
from dvlite.text import lineage_tree
from dvlite.text.lineage_tree import amount, commit_text, named, run_named, scalar, short_values, unrecorded
from dvlite.text.style import origin, table
from dvlite.workspace.changes import counts_text

_WIDTH = 8  # of the word before a fact
_CHAIN = 12  # runs in one line; the tree shows more
_PARAMS = 6  # runs whose parameters are printed
_LINE = 100  # what is longer takes several
_FILES = 5


def text(result: LineageResult | LineageFindResult | LineageDiffResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, LineageFindResult):
        yield from _hits(result, show)
    elif isinstance(result, LineageDiffResult):
        yield from _difference(result, show)
    else:
        yield _subject(result, show)
        if result.up is not None:
            yield from _Upstream(result, result.up, show).lines()
        yield from _imports(result, show)
        yield from _downstream(result, show)
        yield from _facts("models", [", ".join(each.labels) for each in result.models])


def served(result: LineageServedResult, show: Show) -> Iterator[str]:
    """Yields each model that is served: what it is, then how it was made."""
    for number, one in enumerate(result.models):
        if number:
            yield ""
        version = "" if one.version is None else f" version {one.version}"
        where = "" if one.is_served is not False else ", which no server follows"
        server = f" ({one.server})" if one.server else ""
        yield show.bold(f"{printable(one.model)}{version}") + f"{server} at {printable(one.place)}{where}"
        if not result.bytes_seen:
            yield "  as the server says; its bytes were not seen"
        if one.models:
            yield f"  registered as {', '.join(one.models)}"
        if one.lineage is not None:
            yield from text(one.lineage, show)
            continue
        facts = {"digest": one.digest, "path": one.path, "run": one.run, "commit": one.commit, **one.inputs}
        yield f"  not resolved: {one_line(one.problem)}"
        for name, value in facts.items():
            if value:
                yield f"  it says {printable(name)}: {printable(value)}"


def tree(result: LineageResult, show: Show) -> Iterator[str]:
    """Yields the whole walk as trees, without the summary."""
    yield _subject(result, show)
    if result.up is not None:
        yield from lineage_tree.tree(result.up, down=False)
    yield from _imports(result, show)
    yield from _downstream(result, show)


def mermaid(result: LineageResult, show: Show) -> Iterator[str]:
    """Yields a Mermaid diagram."""
    yield from lineage_tree.mermaid([graph for graph in (result.up, result.down) if graph is not None])


def dot(result: LineageResult, show: Show) -> Iterator[str]:
    """Yields a Graphviz diagram."""
    yield from lineage_tree.dot([graph for graph in (result.up, result.down) if graph is not None])


def _subject(result: LineageResult, show: Show) -> str:
    subject = result.subject
    parts = [printable(subject.text)]
    if subject.size_bytes is not None:
        parts.append(amount(subject.size_bytes, subject.files or 0, subject.oid))
    parts.append(f"{subject.oid.partition(':')[0]}:{short_oid(subject.oid)}")
    if subject.sha256 is not None:
        parts.append(f"sha256:{subject.sha256[:8]}")
    if result.up is None and result.down is not None and result.down.starts:
        start = result.down.artefacts[0]
        parts += lineage_tree.facts_of(start, subject.path or "", down=True)
    return show.bold(parts[0]) + "".join(f"  {part}" for part in parts[1:])


def _imports(result: LineageResult, show: Show) -> Iterator[str]:
    """Yields what goes on in other repositories, a tree for each path that is from one."""
    for item in result.imports:
        yield ""
        where = f"{show.bold(printable(item.path))} is from {origin(item.source)}"
        if item.up is not None:
            yield f"{where}, where it was made:"
            yield from lineage_tree.tree(item.up, down=False)
        elif item.has_runs:
            yield f"{where}; no run made it there"
        else:
            yield f"{where}; its runs there: dvlite lineage --sources {word(result.subject.text)}"


# --- up ---


class _Upstream:
    """The upstream of an artefact or run in lines: the run, its facts by kind, and a tree if it branches."""

    def __init__(self, result: LineageResult, graph: LineageGraph, show: Show) -> None:
        self._result, self._graph, self._show = result, graph, show
        self._artefacts = {key_of(artefact): artefact for artefact in graph.artefacts}
        self._runs = {run.run: run for run in graph.runs}
        self._branches = False

    def lines(self) -> Iterator[str]:
        if self._graph.run is not None:
            yield from self._about(self._runs[self._graph.run], None)
        elif len(self._graph.starts) != 1:
            yield from lineage_tree.tree(self._graph, down=False)
            return
        else:
            yield from self._made(self._artefacts[key_of(self._graph.starts[0])])
        if self._branches:
            yield ""
            yield from lineage_tree.tree(self._graph, down=False)

    def _made(self, artefact: LineageArtefact) -> Iterator[str]:
        """Yields the run that made an artefact, or its other origin; via the directory that holds it, if there is one."""
        if artefact.made_by and artefact.made_by[0].run in self._runs:
            yield from self._about(self._runs[artefact.made_by[0].run], artefact)
        elif artefact.held_by:
            holder = self._artefact(artefact.held_by[0])
            more = len(artefact.held_by) - 1
            others = f" (and {count(more, 'other version')} of it)" if more else ""
            inner = artefact.path.removeprefix(holder.path + "/")
            yield f"in {named(holder.path, holder.oid)} as {printable(inner)}{others}"
            yield from self._made(holder)
        elif artefact.parts:
            yield f"a directory with {count(len(artefact.parts), 'part')} that runs made"
            self._branches = True
        elif artefact.cut_runs:
            yield _cut(artefact.cut_runs)
        else:
            yield _source(artefact)

    def _about(self, run: LineageRun, artefact: LineageArtefact | None) -> Iterator[str]:
        action = "ran"
        if artefact is not None:
            output = next((link for link in run.outputs if link.oid == artefact.oid), None)
            name = f" as {printable(output.path)}" if output else ""
            action = f"made{name} by {printable(run.name)}"
        between = " on " if "@" in run.user else "@"  # of a person's address, or of the name of an account
        who = between.join(printable(part) for part in (run.user, run.host) if part)
        yield f"{action} on {_minute(run.start)}{f', {who}' if who else ''}, status {_status(run)}"
        if artefact is not None and len(artefact.made_by) > 1:
            names = [run_named(other) for other in artefact.made_by[1:]]
            yield f"also made by {count(len(names), 'other run')}: {self._show.some(names)}"
        if run.imported is not None:
            yield from _facts(
                "from", [f"{printable(run.file)}, {printable(run.imported)}: inputs and outputs are not known"]
            )
        elif artefact is None:
            yield from _facts("made", [named(link.path, link.oid) for link in run.outputs] or ["nothing"])
        yield from _facts("data", [self._chain(link) for link in run.inputs if not self._is_code(link)])
        yield from _facts("code", [_code(run)] if run.code_commit or run.commit else [])
        yield from _facts("params", list(self._params(run)))
        environment = _environment(run, verbose=self._show.verbose > 0)
        yield from _facts("env", [environment] if environment else [])
        yield from _facts("result", list(self._results(run)))

    def _params(self, run: LineageRun) -> Iterator[str]:
        """Yields the parameters of the run and of earlier ones; each with the name of its run if several have some."""
        runs = [run for run in {run.run: run, **self._runs}.values() if run.params]
        if runs == [run]:
            yield short_values(run.params)
            return
        shown = runs if self._show.verbose else runs[:_PARAMS]
        texts = [f"{short_values(run.params)} ({printable(run.name)})" for run in shown]
        texts += [f"{len(runs) - len(shown):,} more with -v"] if len(shown) < len(runs) else []
        yield from ["  ".join(texts)] if texts and sum(map(len, texts)) <= _LINE else texts

    def _results(self, run: LineageRun) -> Iterator[str]:
        """Yields the metrics of the run; without any, those of runs that read its outputs, as an evaluation does."""
        if run.metrics:
            yield short_values(run.metrics)
        if run.metrics and not self._show.verbose:
            return
        for measure in self._result.measured:
            others = f", and {count(measure.others, 'other run')}" if measure.others else ""
            status = "" if measure.status == "ok" else f" {printable(measure.status)}"
            yield f"{short_values(measure.metrics)} ({printable(measure.name)}{status}{others})"

    def _chain(self, link: LineageLink) -> str:
        """Returns the chain from an input back to its source, as long as it does not branch."""
        parts: list[str] = []
        for _ in range(_CHAIN):
            artefact = self._artefact(link)
            parts.append(named(link.path, link.oid))
            if artefact.held_by and not artefact.made_by:
                link = artefact.held_by[0]
                parts[-1] += " in"
                continue
            if not artefact.made_by or artefact.made_by[0].run not in self._runs:
                self._branches |= bool(artefact.parts)
                return _joined(parts) + _end(artefact, link)
            run = self._runs[artefact.made_by[0].run]
            parts.append(printable(run.name) + (f" ({_status(run)})" if run.status != "ok" else ""))
            data = [link for link in run.inputs if not self._is_code(link)]
            if len(data) != 1:
                self._branches |= len(data) > 1
                return _joined(parts) + (f" <- {count(len(data), 'input')}, see below" if data else "")
            link = data[0]
        self._branches = True
        return _joined(parts) + " <- ... see below"

    def _artefact(self, link: LineageLink) -> LineageArtefact:
        artefact = self._artefacts.get(key_of(link))
        return artefact or LineageArtefact(oid=link.oid, path=link.path, size_bytes=link.size_bytes, files=link.files)

    def _is_code(self, link: LineageLink) -> bool:
        return self._artefact(link).origin == "code"


def _joined(parts: Sequence[str]) -> str:
    return " <- ".join(parts).replace(" in <- ", " in ")


def _end(artefact: LineageArtefact, link: LineageLink) -> str:
    """Returns the facts of the last artefact in a chain."""
    facts = [count(link.files, "file") if link.oid.startswith("manifest:") else size_text(link.size_bytes)]
    if artefact.commit is not None:
        facts.append(f"commit {commit_text(artefact.commit)}")
    elif artefact.origin == "data":
        facts.append("not committed")
    if artefact.imported is not None:
        facts.append(f"from {origin(artefact.imported)}")
    text = f" ({', '.join(facts)})"
    if artefact.cut_runs:
        return f"{text} <- {_cut(artefact.cut_runs)}"
    if artefact.parts:
        return f"{text} <- {count(len(artefact.parts), 'part')} inside, see below"
    if artefact.origin == "stage":
        return f"{text} <- {unrecorded(artefact)}"
    return text if artefact.origin in ("data", "code") else f"{text} <- unknown (not recorded)"


def _cut(runs: int) -> str:
    return f"... {runs:,} more, --depth"


def _source(artefact: LineageArtefact) -> str:
    if artefact.imported is not None:
        commit = f", in commit {commit_text(artefact.commit)}" if artefact.commit is not None else ""
        return f"imported from {origin(artefact.imported)}{commit}"
    if artefact.commit is not None:
        by = f" by {printable(artefact.commit.author)}" if artefact.commit.author else ""
        when = f", {_minute(artefact.commit.time)}" if artefact.commit.time else ""
        word = "source data: added" if artefact.origin == "data" else "kept by git:"
        return f"{word} in commit {commit_text(artefact.commit)}{by}{when}"
    if artefact.origin == "data":
        return "source data: no commit names it yet"
    if artefact.origin == "stage":
        return unrecorded(artefact)
    return "kept by git" if artefact.origin == "code" else "unknown (not recorded)"


def _code(run: LineageRun) -> str:
    """Returns the commit whose lockfile names the run; without one, the commit that it started from, and the edits."""
    repo = f"{printable(run.repo)} " if run.repo else ""
    edits = f" + edits to {_paths(run.dirty)}" if run.dirty or run.diff else ""
    kept = f"kept, {short_oid(run.diff)}" if run.diff else ""
    start = printable((run.code_commit or "")[:7])
    if run.commit is None:
        return f"{repo}{start}{edits}{f' ({kept})' if kept else ''}"
    text = f"{repo}{commit_text(run.commit)}"
    if edits and start:
        return f"{text} (run at {start}{edits}{f'; {kept}' if kept else ''})"
    return text


def _paths(paths: Sequence[str]) -> str:
    return some([printable(path) for path in paths]) or "files"


def _status(run: LineageRun) -> str:
    text = printable(run.status)
    if run.status == "asserted":
        text += ": accepted by dvlite commit or import-dvc, not run"
    if run.of is not None:
        text += f" (of run:{short_oid(run.of)[:6]})"
    return text + (f" ({_paths(run.taint)} changed while it ran)" if run.taint else "")


def _environment(run: LineageRun, *, verbose: bool) -> str:
    facts = dict(run.environment)
    parts = [f"Python {scalar(facts.pop('python'))}"] if "python" in facts else []
    for key, value in run.capture.items():
        kind, _, name = key.partition(" ")
        first_line = value.strip().splitlines()[-1:] or [""]
        if kind == "env" and name:
            parts.append(f"{printable(name)}={printable(value)}")
        elif kind == "command" and name:
            parts.append(f"{printable(name)}: {printable(first_line[0][:60])}")
        else:
            parts.append(f"{printable(key)} {printable(value)}")
    for key in ("gpu", "image", *(sorted(facts) if verbose else ())):
        if facts.get(key) not in (None, ""):
            value = facts.pop(key)
            parts.append(scalar(value) if key in ("gpu", "image") else f"{printable(key)} {scalar(value)}")
    return ", ".join(parts)


def _facts(word: str, facts: Sequence[str]) -> Iterator[str]:
    for number, fact in enumerate(facts):
        yield f"  {(word if not number else '').ljust(_WIDTH)}{fact}"


def _minute(time: str) -> str:
    """Returns `2026-11-22 14:02 UTC`."""
    return f"{printable(time[:10])} {printable(time[11:16])} UTC" if len(time) >= 16 else "an unknown date"


# --- down ---


def _downstream(result: LineageResult, show: Show) -> Iterator[str]:
    graph = result.down
    if graph is None:
        return
    outputs = {key_of(link) for run in graph.runs for link in run.outputs} - {key_of(link) for link in graph.starts}
    hidden = graph.cut_runs
    if not graph.runs and not hidden:
        yield f"nothing was made from it ({count(result.runs_searched, 'run')} searched)"
        return
    if result.up is not None:
        yield "made from it:"
    itself = len(graph.starts) == 1 and graph.starts[0].oid == result.subject.oid
    yield from lineage_tree.tree(graph, down=True, below_start=itself)
    if not show.quiet:
        more = f", {hidden:,} more runs with a larger --depth" if hidden else ""
        yield f"{count(len(outputs), 'artefact')} by {count(len(graph.runs), 'run')}{more}"


# --- find ---


def _hits(result: LineageFindResult, show: Show) -> Iterator[str]:
    if not result.found:
        if not show.quiet:
            yield f"nothing found in {count(result.runs, 'run')}"
        return
    keys = list(dict.fromkeys(key for hit in result.found for key in hit.values))
    head = ("PATH", "OID", "RUN", "WHEN", "STATUS", "COMMIT", *(printable(key) for key in keys))
    rows = [
        (
            show.path(hit.path),
            short_oid(hit.oid),
            printable(hit.name),
            _minute(hit.start),
            printable(hit.status),
            f"{printable(hit.commit.commit[:7])}{'+edits' if hit.edits else ''}" if hit.commit is not None else "",
            *(scalar(hit.values[key]) if key in hit.values else "" for key in keys),
        )
        for hit in result.found
    ]
    yield from table([head, *rows])
    if result.more and not show.quiet:
        yield "... older runs: -n"


# --- diff ---


def _difference(result: LineageDiffResult, show: Show) -> Iterator[str]:
    yield f"{_side(result.old)}  ->  {_side(result.new)}"
    rows = [("data" if row[0] else "", *row) for change in result.changes.data for row in _content(change, show)]
    at = len(rows)
    rows += [("code" if row[0] else "", *row) for change in result.changes.code for row in _content(change, show)]
    if result.old.commit is not None and result.new.commit is not None and result.old.commit != result.new.commit:
        rows.insert(at, ("commit", "", f"{commit_text(result.old.commit)} -> {commit_text(result.new.commit)}"))
    for noun, changes in (
        ("stage", result.changes.stages),
        ("param", result.changes.params),
        ("env", result.changes.environment),
        ("metric", result.changes.metrics),
    ):
        rows += [(noun, *row) for row in _values(changes)]
    if rows:
        yield from table(rows)
    if result.changes.same:
        yield f"same: {', '.join(result.changes.same)}"


def _side(side: LineageSide) -> str:
    by = f" by {printable(side.name)}" if side.name and side.oid.partition(":")[0] != "run" else ""
    oid = "" if side.oid.startswith("run:") else f" {short_oid(side.oid)}"
    return f"{printable(side.name if side.oid.startswith('run:') and side.name else side.text)}{oid}{by}"


def _content(change: LineageContentChange, show: Show) -> Iterator[tuple[str, str]]:
    old = short_oid(change.old_oid) if change.old_oid else "(none)"
    new = short_oid(change.oid) if change.oid else "(none)"
    amounts = f"   {counts_text(change.counts, wide=True)} files" if change.counts is not None else ""
    yield printable(change.path), f"{old} -> {new}{amounts}"
    marks = {"added": "+", "removed": "-", "modified": "~"}
    shown = change.files if show.verbose else change.files[:_FILES]
    for file in shown:
        yield "", f"  {marks.get(file.change, '~')} {printable(file.path)}"
    if change.counts is not None:
        left = change.counts.added + change.counts.removed + change.counts.modified - len(shown)
        if left > 0:
            yield "", f"  {left:,} more"


def _values(changes: Sequence[LineageValueChange]) -> Iterator[tuple[str, str]]:
    names = [change.key.partition(":")[2] or change.key for change in changes]
    for change, name in zip(changes, names, strict=True):
        key = name if names.count(name) == 1 else f"{change.stage} {change.key}"
        old = "(none)" if change.old is None else scalar(change.old)
        new = "(none)" if change.new is None else scalar(change.new)
        yield printable(key), f"{old} -> {new}"
