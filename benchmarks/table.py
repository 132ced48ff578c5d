"""The rows that are measured, their goals, and the Markdown and JSON made of the samples. Pure: no files, programs or clocks.

The columns are tools; `dvlite` is the first. A tool without a sample prints as `-`: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

DVLITE, DVC, S5CMD, RESTIC, GIT_LFS, CP, CP_SYNC = "dvlite", "dvc", "s5cmd", "restic", "git-lfs", "cp -r", "cp + sync"
COLUMNS = (DVLITE, DVC, S5CMD, RESTIC, GIT_LFS, CP, CP_SYNC)
SECONDS, BYTES, TIMES = "s", "bytes", "x"
MIB = float(1 << 20)
SCHEMA = "dvlite.benchmarks/1"
CLAIMS = (  # beside what run.py measures: docs/how-to/verify.md has the first
    "| tampered pipelines that fail the check in CI | **19 of 19** | 11 of 19 | - | - |",
    '| "which run made this file?", for any copy of it | yes | no | no | no |',
)

Samples = Mapping[str, Mapping[str, Sequence[float]]]  # row key -> tool -> what each round measured


@dataclass(frozen=True, slots=True)
class Goal:
    """dvlite is at most `limit`, or at most `limit` times what a peer takes."""

    limit: float
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `key` is `GROUP-STEP`."""

    key: str
    title: str
    unit: str
    goals: tuple[Goal, ...]


def faster(times: float, peer: str) -> Goal:
    """Returns the goal to be `times` times as fast as a peer."""
    return Goal(1 / times, peer)


ROWS = (
    Row("small-add", "small files: add", SECONDS, (Goal(1.0, CP_SYNC), faster(5, DVC))),
    Row("small-status", "small files: status, clean", SECONDS, (faster(5, DVC),)),
    Row("small-push", "small files: push", SECONDS, (Goal(0.6, RESTIC), faster(12, DVC))),
    Row("small-again", "small files: push, nothing new", SECONDS, (faster(4, RESTIC),)),
    Row("small-checkout", "small files: checkout, warm cache", SECONDS, (Goal(0.7, CP), faster(5, DVC))),
    Row("small-pull", "small files: pull, cold", SECONDS, (Goal(0.7, RESTIC), faster(15, DVC))),
    Row("large-add", "large file: add", SECONDS, (Goal(1.3, CP_SYNC),)),
    Row("large-push", "large file: push", SECONDS, (Goal(1.05, S5CMD),)),
    Row("large-pull", "large file: pull, cold", SECONDS, (Goal(1.2, S5CMD),)),
    Row("edit-upload", "large file: 1 KB inserted in the middle, upload", BYTES, (Goal(MIB),)),
    Row("edit-download", "large file: 1 KB inserted, a colleague's download", BYTES, ()),
    Row("csv-total", "versions of a CSV: remote total", BYTES, (Goal(12 * MIB),)),
    Row("start-help", "--help: CPU, as a multiple of a Python that imports click", TIMES, (Goal(1.3),)),
    Row("start-status", "status in a small repository: CPU, likewise", TIMES, (Goal(2.0),)),
    Row("pipeline-chain", "80 quick stages in a chain: repro", SECONDS, (faster(6, DVC),)),
    Row("pipeline-again", "80 stages, nothing to do: repro", SECONDS, (faster(4, DVC),)),
    Row("pipeline-wide", "8 independent stages of 1 s: repro -j 8", SECONDS, (faster(4, DVC),)),
)


def with_reflinks(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Returns the rows with the stricter goals of a disk that can share blocks: adding a large file takes half of the time."""
    return tuple(
        Row(row.key, row.title, row.unit, (Goal(0.65, CP_SYNC),)) if row.key == "large-add" else row for row in rows
    )


def medians(samples: Samples, row: Row) -> dict[str, float]:
    """Returns the median of every tool that measured the row."""
    return {tool: median(taken) for tool, taken in samples.get(row.key, {}).items() if taken}


def verdict(row: Row, middle: Mapping[str, float]) -> str:
    """Says `yes` or `no`, `?` where a peer that decides is absent, and nothing where there is no goal."""
    if not row.goals:
        return ""
    ours = middle.get(DVLITE)
    if ours is None:
        return "?"
    answers = [_met(goal, ours, middle) for goal in row.goals]
    if False in answers:
        return "no"
    return "?" if None in answers else "yes"


def _met(goal: Goal, ours: float, middle: Mapping[str, float]) -> bool | None:
    if goal.peer is None:
        return ours <= goal.limit
    return ours <= goal.limit * middle[goal.peer] if goal.peer in middle else None


def goal_text(row: Row) -> str:
    """Returns the goals of a row for people."""
    return ", ".join(_goal_text(goal, row.unit) for goal in row.goals)


def _goal_text(goal: Goal, unit: str) -> str:
    if goal.peer is None:
        return f"<= {goal.limit:g} s" if unit == SECONDS else f"<= {quantity(goal.limit, unit)}"
    if goal.limit < 0.5:
        return f"{1 / goal.limit:.3g}x faster than {goal.peer}"
    return f"<= {goal.peer}" if goal.limit == 1 else f"<= {goal.limit:.3g} x {goal.peer}"


def quantity(value: float, unit: str) -> str:
    """Returns a measured value with its unit, in three digits."""
    if unit == TIMES:
        return f"{value:.2f} x"
    if unit == SECONDS:
        return f"{value:.1f} s" if value >= 9.95 else f"{value:.2f} s" if value >= 0.995 else f"{value:.3f} s"
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value / size:.3g} {name}" if value < 1000 * size else f"{value / size:.0f} {name}"
    return f"{value:.0f} B"


def markdown(samples: Samples, rows: Sequence[Row]) -> str:
    """Returns the table: medians, and in brackets what multiple of dvlite's figure a peer's is. Rows without samples are left out."""
    measured = [row for row in rows if medians(samples, row)]
    tools = [tool for tool in COLUMNS if any(tool in medians(samples, row) for row in measured)]
    lines = [["step", *tools, "goal of dvlite", "met"]]
    for row in measured:
        middle = medians(samples, row)
        lines.append([row.title, *(_cell(row, middle, tool) for tool in tools), goal_text(row), verdict(row, middle)])
    return pipes(lines)


def _cell(row: Row, middle: Mapping[str, float], tool: str) -> str:
    if tool not in middle:
        return "-"
    text = quantity(middle[tool], row.unit)
    ours = middle.get(DVLITE, 0.0)
    return text if tool == DVLITE or ours <= 0 else f"{text} ({times(middle[tool] / ours)})"


def count(number: int) -> str:
    """Returns a round number in words: 10,000 or 100 million."""
    return f"{number // 10**6:,} million" if number >= 10**6 else f"{number:,}"


def times(ratio: float) -> str:
    """Returns a multiple in two digits."""
    return f"{ratio:,.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x" if ratio >= 0.95 else f"{ratio:.2g}x"


def stored_markdown(stored: Mapping[str, Mapping[str, tuple[int, int]]]) -> str:
    """Returns the table of what stood on the remote: group -> tool -> (objects, bytes)."""
    tools = [tool for tool in COLUMNS if any(tool in by_tool for by_tool in stored.values())]
    lines = [["on the remote", *tools]]
    for group, by_tool in stored.items():
        found = [by_tool.get(tool) for tool in tools]
        lines.append(
            [
                group,
                *(
                    "-" if at is None else f"{at[0]:,} object{'s' * (at[0] != 1)}, {quantity(at[1], BYTES)}"
                    for at in found
                ),
            ]
        )
    return pipes(lines)


def pipes(lines: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; the first line is its head."""
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


def text_of(content: Mapping[str, Any]) -> str:
    """Returns the tables of what `as_json` returned, and the conditions in a sentence."""
    conditions = content["conditions"]
    rows = with_reflinks(ROWS) if conditions["reflinks"] else ROWS
    samples = {row["key"]: row["samples"] for row in content["rows"]}
    text = markdown(samples, rows)
    if content["remote"]:
        stored = {
            group: {tool: (at["objects"], at["bytes"]) for tool, at in by_tool.items()}
            for group, by_tool in content["remote"].items()
        }
        text += f"\n\n{stored_markdown(stored)}"
    versions = ", ".join(f"{name} {version}" for name, version in conditions["versions"].items())
    rounds = f"Medians of {conditions['rounds']} rounds" if conditions["rounds"] > 1 else "One round"
    size = ", a tenth of the data or less: too little to judge the goals" if conditions["quick"] else ""
    return (
        f"{text}\n\n{rounds}{size}; in brackets: multiples of dvlite's figure. {conditions['cpus']} cores,"
        f" {conditions['memory_gib']} GiB, {conditions['system']}, {conditions['file_system']}, Python {conditions['python']},"
        f" SeaweedFS on loopback. {versions}."
    )


def short_text_of(content: Mapping[str, Any]) -> str:
    """Returns the few lines that the README shows."""
    rows = {row["key"]: row for row in content["rows"]}
    stored = content["remote"].get("small", {})
    dvc = ".".join(content["conditions"]["versions"].get(DVC, "").split(".")[:2])
    lines = [["", DVLITE, f"DVC {dvc}", "Git LFS", RESTIC]]
    for key, title, of_lfs in (
        ("small-push", "push 20,000 small files to S3", "one object a file"),
        ("small-pull", "pull them into an empty clone", "one request a file"),
        ("edit-upload", "upload after inserting 1 KB into a 1 GiB file", "the whole file"),
        ("csv-total", "six versions of a 27 MB CSV, stored", "whole files"),
    ):
        cells = []
        for tool in (DVLITE, DVC, RESTIC):
            middle = rows[key]["medians"].get(tool) if key in rows else None
            text = "-" if middle is None else quantity(middle, rows[key]["unit"])
            text = f"**{text}**" if tool == DVLITE else text
            objects = stored.get(tool) if key == "small-push" else None
            cells.append(text if objects is None else f"{text}, {objects['objects']:,} objects")
        lines.append([title, *cells[:2], of_lfs, cells[2]])
    return pipes(lines) + "\n" + "\n".join(CLAIMS)


def as_json(
    samples: Samples,
    rows: Sequence[Row],
    stored: Mapping[str, Mapping[str, tuple[int, int]]],
    conditions: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns everything that was measured, for a file."""
    found = []
    for row in rows:
        middle = medians(samples, row)
        found.append(
            {
                "key": row.key,
                "title": row.title,
                "unit": row.unit,
                "goal": goal_text(row),
                "met": verdict(row, middle),
                "medians": middle,
                "samples": {tool: list(taken) for tool, taken in samples.get(row.key, {}).items()},
            }
        )
    on_remote = {
        group: {tool: {"objects": at[0], "bytes": at[1]} for tool, at in by_tool.items()}
        for group, by_tool in stored.items()
    }
    return {"schema": SCHEMA, "conditions": dict(conditions), "rows": found, "remote": on_remote}
