"""What is done in a round: for each group of rows its steps in order, every step by all tools before the next (interleaved).

A tool that fails leaves the group's round with a note; its cells count the other rounds only. Knows nothing of goals.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import data, table
from benchmarks.meter import Meter
from benchmarks.peers import TOOLS, Site
from benchmarks.process import Sample, StepFailed, run

CHAIN, WIDE = 80, 8  # stages
STARTS = 10  # of each program in a round: a start is short and its time scatters


@dataclass(frozen=True, slots=True)
class Ground:
    """What stands for the whole run: the folder, the server, the programs and the made data."""

    folder: Path
    sizes: data.Sizes
    env: Mapping[str, str]
    programs: Mapping[str, Path]
    endpoint_url: str
    bucket: str
    meter: Meter
    list_remote: Callable[[str], tuple[int, int]]  # prefix -> (objects, bytes)
    remove_remote: Callable[[str], None]
    wanted: Collection[str]  # keys of rows

    def wants(self, *keys: str) -> bool:
        return any(key in self.wanted for key in keys)

    def tools(self, turn: int) -> list[Any]:
        """Returns the tools that are here; the first of a round is another one each time."""
        here = [tool for tool in TOOLS if tool.name in self.programs]
        return here[turn % len(here) :] + here[: turn % len(here)]

    def site(self, tool: Any, group: str, turn: int, source: Path) -> Site:
        place = f"{group}-{turn}/{tool.name.replace(' ', '')}"
        folder = self.folder / place
        folder.mkdir(parents=True)
        return Site(folder, source, self.bucket, place, self.endpoint_url, self.env, self.programs)


@dataclass(slots=True)
class Found:
    """What was measured so far."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    stored: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def note(self, key: str, tool: str, value: float) -> None:
        self.samples.setdefault(key, {}).setdefault(tool, []).append(value)
        row = next(row for row in table.ROWS if row.key == key)
        print(f"  {key:16} {tool:10} {table.quantity(value, row.unit)}", file=sys.stderr, flush=True)


Step = Callable[[Any, Site], float | None]  # (tool, site) -> what is noted; None: nothing


def seconds_of(method: str) -> Step:
    """Returns the step that is one method of a tool."""

    def step(tool: Any, site: Site) -> float | None:
        taken: Sample | None = getattr(tool, method)(site) if hasattr(tool, method) else None
        return None if taken is None else taken.seconds

    return step


def small(ground: Ground, found: Found, turn: int) -> None:
    """Many small files: add, status, push twice, checkout, pull."""
    keys = ("small-add", "small-status", "small-push", "small-again", "small-checkout", "small-pull")
    needed = {"small-add": keys, "small-push": ("small-push", "small-again", "small-pull")}
    methods = ("add", "status", "push", "push_again", "checkout", "pull")
    steps = [
        (key, seconds_of(method))
        for key, method in zip(keys, methods, strict=True)
        if ground.wants(*needed.get(key, (key,)))
    ]
    climb(ground, found, turn, "small", ground.folder / "data" / "small", steps)


def large(ground: Ground, found: Found, turn: int) -> None:
    """One large file: add, push, pull."""
    keys = ("large-add", "large-push", "large-pull")
    needed = {"large-add": keys, "large-push": keys[1:]}
    steps = [
        (key, seconds_of(method))
        for key, method in zip(keys, ("add", "push", "pull"), strict=True)
        if ground.wants(*needed.get(key, (key,)))
    ]
    climb(ground, found, turn, "large", ground.folder / "data" / "large", steps)
    _clear(ground, f"large-{turn}")


def edit(ground: Ground, found: Found, turn: int) -> None:
    """An insertion into the large file: what is sent, and what a colleague who has the first version receives.

    All of it goes through the meter, so that nobody's notes about the remote are lost by a change of address; bytes do not scatter, so
    once is enough.
    """
    if turn:
        return
    meter, inserted = ground.meter, ground.folder / "data" / "inserted"

    def upload(tool: Any, site: Site) -> float | None:
        if not hasattr(tool, "replace"):
            return None
        tool.push(site)
        if hasattr(tool, "pull_again"):
            tool.pull(site)
        tool.replace(site, inserted)
        meter.reset()
        tool.push(site)
        return meter.sent_bytes

    def download(tool: Any, site: Site) -> float | None:
        if not hasattr(tool, "pull_again"):
            return None
        meter.reset()
        tool.pull_again(site)
        return meter.received_bytes

    steps: list[tuple[str, Step]] = [("edit-add", seconds_of("add")), ("edit-upload", upload)]
    if ground.wants("edit-download"):
        steps.append(("edit-download", download))
    metered = replace(ground, endpoint_url=meter.url, programs=_keepers(ground.programs))
    climb(metered, found, turn, "edit", ground.folder / "data" / "large", steps)
    _clear(ground, f"edit-{turn}")


def _keepers(programs: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the tools that have a remote."""
    return {tool.name: programs[tool.name] for tool in TOOLS if hasattr(tool, "push") and tool.name in programs}


def _clear(ground: Ground, place: str) -> None:
    """Makes room for the next round; the files are few, so removing them slows nobody."""
    shutil.rmtree(ground.folder / place)
    ground.remove_remote(f"{place}/")


def csv(ground: Ground, found: Found, turn: int) -> None:
    """The versions of a table, each pushed: bytes do not scatter, so once is enough."""
    if turn:
        return
    versions = sorted((ground.folder / "data").glob("table-*"))

    def push_all(tool: Any, site: Site) -> float | None:
        if not hasattr(tool, "replace") or tool.name == table.S5CMD:  # it keeps no versions
            return None
        for version in versions:
            tool.replace(site, version)
            tool.push(site)
        return ground.list_remote(f"{site.prefix}/")[1]

    climb(ground, found, turn, "csv", versions[0], [("csv-total", push_all)])


def start(ground: Ground, found: Found, turn: int) -> None:
    """Starting up, as a multiple of what an interpreter takes that imports the command-line library."""
    python = Path(sys.executable)
    source = ground.folder / "data" / "one"
    for tool in ground.tools(turn):
        if not hasattr(tool, "help"):
            continue
        site = ground.site(tool, "start", turn, source)
        program = ground.programs[tool.name]
        commands: dict[str, list[str | Path]] = {"click": [python, "-c", "import click"]}
        commands |= {"start-help": [program, "--help"], "start-status": [program, "status"]}
        try:
            tool.start(site)
            tool.add(site)
            taken: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(STARTS):
                for name, command in commands.items():
                    taken[name].append(run(command, cwd=site.repo, env=ground.env).cpu_seconds)
        except StepFailed as error:
            _failed(found, "start", tool.name, error)
            continue
        yardstick = median(taken.pop("click"))
        for key, seconds in taken.items():
            if ground.wants(key):
                found.note(key, tool.name, median(seconds) / yardstick)


def pipeline(ground: Ground, found: Found, turn: int) -> None:
    """A chain of quick stages, the same again with nothing to do, and stages of a second each that need nothing of each other."""
    source = ground.folder / "data" / "one"
    for key, stages, command in (
        ("pipeline-chain", data.chain_of_stages(CHAIN), ("repro",)),
        ("pipeline-wide", data.independent_stages(WIDE), ("repro",)),
    ):
        for tool in ground.tools(turn):
            if not hasattr(tool, "pipeline_file") or not ground.wants(key, f"{key.removesuffix('chain')}again"):
                continue
            site = ground.site(tool, key, turn, source)
            with _trying(found, key, tool.name):
                tool.start(site)
                (site.repo / tool.pipeline_file).write_text(stages)
                words = [*command, *(tool.all_at_once if key.endswith("wide") else ())]
                found.note(key, tool.name, site.measure(ground.programs[tool.name], *words).seconds)
                if key.endswith("chain"):
                    found.note("pipeline-again", tool.name, site.measure(ground.programs[tool.name], *words).seconds)


def climb(ground: Ground, found: Found, turn: int, group: str, source: Path, steps: Sequence[tuple[str, Step]]) -> None:
    """Does the steps one after the other, each by all tools; notes those that are wanted."""
    sites: dict[str, Site] = {}
    for tool in ground.tools(turn):
        site = ground.site(tool, group, turn, source)
        with _trying(found, group, tool.name):
            tool.start(site)
            sites[tool.name] = site
    for key, step in steps:
        for tool in ground.tools(turn):
            if tool.name not in sites:
                continue
            site = sites.pop(tool.name)
            with _trying(found, key, tool.name):
                value = step(tool, site)
                sites[tool.name] = site
                if value is not None and ground.wants(key):
                    found.note(key, tool.name, value)
        if key.endswith(("-push", "-total")):
            found.stored[group] = {name: ground.list_remote(f"{site.prefix}/") for name, site in sites.items()}
            found.stored[group] = {name: at for name, at in found.stored[group].items() if at[0]}


@contextlib.contextmanager
def _trying(found: Found, key: str, tool: str) -> Iterator[None]:
    try:
        yield
    except StepFailed as error:
        _failed(found, key, tool, error)


def _failed(found: Found, key: str, tool: str, error: StepFailed) -> None:
    found.failed.append(f"{key} {tool}")
    print(f"  {key:16} {tool:10} failed: {error}", file=sys.stderr, flush=True)


GROUPS: Mapping[str, Callable[[Ground, Found, int], None]] = {
    "small": small,
    "large": large,
    "edit": edit,
    "csv": csv,
    "start": start,
    "pipeline": pipeline,
}
