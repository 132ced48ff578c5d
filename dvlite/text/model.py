"""The words of `model`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dvlite.commands.model import (
    ModelDiffResult,
    ModelHistoryResult,
    ModelListResult,
    ModelShowResult,
)
from dvlite.commands.model_add import ModelAddResult
from dvlite.commands.model_promote import ModelPromoteResult
from dvlite.commands.runs import RunsCompareResult
from dvlite.registry.models import RegistryProblem
from dvlite.runs.model_rows import ModelRow
from dvlite.show import Show, count, printable, size_text, value_text, word
from dvlite.text import markdown as md
from dvlite.text import runs
from dvlite.text.style import table

_DIGITS = 8  # of an id, as people see it


def text(
    result: ModelListResult
    | ModelShowResult
    | ModelHistoryResult
    | ModelDiffResult
    | ModelAddResult
    | ModelPromoteResult,
    show: Show,
) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, ModelListResult):
        yield from _list(result, show)
    elif isinstance(result, ModelShowResult):
        yield from _facts(result.model, show)
        yield from _values("params", result.params)
        yield from _values("metrics", result.metrics)
        yield from _problems(result.problems, show)
    elif isinstance(result, ModelHistoryResult):
        yield from _history(result, show)
        yield from _problems(result.problems, show)
    elif isinstance(result, ModelDiffResult):
        yield from _diff(result, show)
    elif isinstance(result, ModelAddResult):
        yield from _add(result, show)
    else:
        yield from _promote(result, show)


def markdown(result: ModelListResult, _show: Show) -> Iterator[str]:
    """Yields a table for a README."""
    stages = sorted({stage for line in result.models for stage in line.stages})
    rows = [
        [
            md.code(line.name),
            md.plain(str(line.newest)),
            *(md.plain(str(line.stages.get(stage, ""))) for stage in stages),
            md.code(_short(line.oid)),
            md.code(line.run_name) if line.run_name else md.plain(""),
        ]
        for line in result.models
    ]
    yield from md.table(["model", "newest", *map(md.code, stages), "content", "run"], rows)


def _list(result: ModelListResult, show: Show) -> Iterator[str]:
    if result.models:
        rows = [("MODEL", "NEWEST", "STAGES", "PATH", "RUN", "DATE")]
        for line in result.models:
            stages = ", ".join(f"{stage} {version}" for stage, version in line.stages.items())
            rows.append(
                (
                    line.name,
                    str(line.newest),
                    stages or "-",
                    show.path(line.path),
                    printable(line.run_name) or "-",
                    line.time[:10],
                )
            )
        yield from table(rows)
    elif not show.quiet:
        yield "No models."
        if result.git_remote is not None and result.asked is None:
            where = "this clone is shallow and may lack the tags" if result.shallow else "the git remote may have some"
            yield from show.next_step(f"dvlite model list --fetch     ({where})")
        else:
            yield from show.next_step("dvlite model add NAME PATH")
    yield from _problems(result.problems, show)


def _facts(row: ModelRow, show: Show) -> Iterator[str]:
    rows = [
        ("model", f"{row.name} {row.version}"),
        ("stages", ", ".join(row.stages) or "-"),
        ("path", show.path(row.path)),
        (
            "content",
            f"{row.oid} ({size_text(row.size_bytes)}{f', {count(row.files)} files' if row.oid.startswith('manifest') else ''})",
        ),
        ("run", printable(row.run_name) or (f"{row.run} (its record is not here)" if row.run else "not known")),
        ("commit", row.commit),
        ("by", f"{printable(row.user)}, {row.time}"),
    ]
    rows += [("message", printable(line)) for line in row.message.splitlines()[:1]]
    yield from table(rows)
    for line in row.message.splitlines()[1:]:
        yield f"         {printable(line)}"


def _values(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    if values:
        yield f"{title}:"
        yield from table([(printable(key), value_text(value)) for key, value in sorted(values.items())], indent="  ")


def _history(result: ModelHistoryResult, show: Show) -> Iterator[str]:
    rows = [("TAG", "WHAT", "BY", "DATE", "MESSAGE")]
    for event in result.events:
        what = f"version {event.version}" + (f" to {event.stage}" if event.stage else "")
        what += " (now)" if event.in_force else ""
        why = "; ".join((*event.when, *([f"checks: {', '.join(event.checks)}"] if event.checks else [])))
        said = event.message.splitlines()[0] if event.message else ""
        rows.append(
            (event.tag, what, printable(event.user), event.time[:10], printable("; ".join(filter(None, (said, why)))))
        )
    yield from table(rows)


def _diff(result: ModelDiffResult, show: Show) -> Iterator[str]:
    for row in (result.old, result.new):
        yield f"{row.name} {row.version}: {show.path(row.path)} {_short(row.oid)}, {size_text(row.size_bytes)}, run {printable(row.run_name) or 'not known'}"
    if result.same:
        yield "The content is the same."
    if result.rows:
        yield from runs.text(RunsCompareResult(runs=result.runs, rows=result.rows), show)
    if not result.same:
        yield from show.next_step(
            f"dvlite diff {word(f'model:{result.old.name}@{result.old.version}')} {word(f'model:{result.new.name}@{result.new.version}')}"
        )


def _add(result: ModelAddResult, show: Show) -> Iterator[str]:
    row = result.model
    run = f", run {printable(row.run_name)}" if row.run_name else ""
    if not result.added:
        yield f"{show.path(row.path)} is version {row.version} of {row.name} already."
    else:
        where = f", on {printable(result.git_remote)}" if result.git_remote else ""
        yield f"Registered {show.path(row.path)} as version {show.bold(str(row.version))} of {row.name}: tag {row.tag}{where}{run}"
    yield from _problems(result.problems, show)
    if result.unpushed:
        yield from show.next_step("dvlite push     (no remote has its data yet)")
    elif result.added:
        yield from show.next_step(f"dvlite model promote {row.name}@{row.version} STAGE")


def _promote(result: ModelPromoteResult, show: Show) -> Iterator[str]:
    row = result.model
    if not result.promoted:
        yield f"{result.stage} has version {row.version} of {row.name} already."
    else:
        before = f", before: {result.before}" if result.before else ""
        verb = "Rolled back" if result.rolled_back else "Promoted"
        where = f", on {printable(result.git_remote)}" if result.git_remote else ""
        yield f"{verb} {row.name} to version {show.bold(str(row.version))} in {result.stage}{before}: tag {result.tag}{where}"
    for line in result.when:
        yield f"  {printable(line)}"
    if result.checks:
        yield f"  passed: {show.some([printable(each) for each in result.checks])}"
    if result.promoted and result.remote is None and not show.quiet:
        yield "note: there is no remote, so whether others can get the data was not checked"
    yield from _problems(result.problems, show)
    if result.promoted:
        yield from show.next_step(f"dvlite get model:{row.name}@{result.stage}")


def _problems(problems: Sequence[RegistryProblem], show: Show) -> Iterator[str]:
    for problem in problems:
        color = "yellow" if problem.is_harmless else "red"
        yield f"{show.style(color, problem.kind)}: {printable(problem.message)}"
        if not show.quiet:
            yield f"  {problem.hint}"


def _short(oid: str) -> str:
    kind, _, digest = oid.partition(":")
    return f"{kind}:{digest[:_DIGITS]}"
