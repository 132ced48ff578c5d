"""Measures the scenarios of docs/explanation/performance.md, and draws its tables and charts from what was kept.

Examples:
  python benchmarks/suite.py --small                       # a hundredth of the data, one round, nothing is kept: does it work?
  python benchmarks/suite.py --peers ~/peers               # all of it: hours; with --full a day
  python benchmarks/suite.py --only pushes --size 1000     # one scenario, at another size
  python benchmarks/suite.py --only growth-files --sizes 1000 10000
  python benchmarks/suite.py --draw                        # only draw

Every command is run as a user runs it, in a process of its own, against one S3 server: wall time, CPU seconds and memory of the whole
process tree, and the requests that the server counted. Results are kept in benchmarks/results/measured.json, a scenario at a time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import data, draw, growth, run, runs, table
from benchmarks.meter import metered
from benchmarks.peers import TOOLS, Dvlite, Site
from benchmarks.process import Sample, StepFailed
from tests import warm
from tests.store.weed import Weed, running_weed

MIB = 1 << 20
PEOPLE = 8
WITH_REMOTE = (table.DVLITE, table.DVC, table.RESTIC)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one step cost one tool, or why it failed."""

    step: str
    tool: str
    sample: Sample | None
    requests: Mapping[str, int]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """What stands for one round of a scenario."""

    folder: Path
    env: Mapping[str, str]
    programs: Mapping[str, Path]
    weed: Weed
    list_remote: Callable[[str], tuple[int, int]]
    most_seconds: float
    turn: int
    stored: dict[str, tuple[int, int]]  # tool -> objects and bytes on the remote

    def tools(self, *names: str) -> list[Any]:
        """Returns the tools that are here, of these if any are named; the first of a round is another one each time."""
        here = [tool for tool in TOOLS if tool.name in self.programs and (not names or tool.name in names)]
        at = self.turn % max(1, len(here))
        return here[at:] + here[:at]

    def site(self, tool: Any, source: Path, *, name: str = "site", each: bool = False) -> Site:
        place = f"{self.turn}/{tool.name.replace(' ', '')}/{name}"
        folder = self.folder / place
        folder.mkdir(parents=True)
        return Site(
            folder=folder,
            source=source,
            bucket=self.weed.bucket,
            prefix=place,
            endpoint_url=self.weed.endpoint_url,
            env=self.env,
            programs=self.programs,
            each=each,
            watched=True,
            most_seconds=self.most_seconds,
        )

    def take(self, step: str, tool: str, work: Callable[..., Sample], *arguments: Any) -> Taken:
        """Does a step and notes what it cost."""
        before = self.weed.requests()
        try:
            sample = work(*arguments)
        except StepFailed as error:
            return Taken(step, tool, None, {}, str(error))
        return Taken(step, tool, sample, self.weed.requests() - before)

    def note_stored(self, site: Site, tool: str) -> None:
        found = self.list_remote(f"{site.prefix}/")
        if found[0]:
            self.stored[tool] = found


Measure = Callable[[Field, int], Iterator[Taken]]
EVERYDAY = {
    "add": "add",
    "status, clean": "status",
    "push": "push",
    "push, nothing new": "push_again",
    "checkout, warm cache": "checkout",
    "pull, cold": "pull",
}


def climb(
    field: Field, source: Path, steps: Mapping[str, str], *, each: bool = False, tools: Sequence[str] = ()
) -> Iterator[Taken]:
    """Does all steps by one tool after the other; a tool that fails does no more, and its folder goes."""
    for tool in field.tools(*tools):
        site = field.site(tool, source, each=each)
        try:
            tool.start(site)
        except StepFailed as error:
            yield Taken("start", tool.name, None, {}, str(error))
            continue
        for step, method in steps.items():
            if not hasattr(tool, method):
                continue
            taken = field.take(step, tool.name, getattr(tool, method), site)
            yield taken
            if taken.failure:
                break
        field.note_stored(site, tool.name)
        shutil.rmtree(field.folder / str(field.turn))


def trees(size_bytes: int, *, each: bool = False, tools: Sequence[str] = ()) -> Measure:
    """Returns the scenario of many files of about one size, in one tracked folder or each for itself."""

    def measure(field: Field, size: int) -> Iterator[Taken]:
        source = field.folder / "data"
        if not source.exists():
            least, most = size_bytes - size_bytes // 5, size_bytes + size_bytes // 5
            folders = max(1, size // 1000)
            data.write_tree(source, files=size, folders=folders, least_bytes=least, most_bytes=most)
        yield from climb(field, source, EVERYDAY, each=each, tools=tools)

    return measure


def large_file(field: Field, size: int) -> Iterator[Taken]:
    """One file of `size` MiB that cannot be compressed; then a kilobyte is inserted in its middle."""
    source, inserted = field.folder / "large", field.folder / "inserted"
    if not source.exists():
        data.write_random(source, size * MIB)
        data.write_inserted(source, inserted, extra_bytes=1_000)
    for tool in field.tools():
        site = field.site(tool, source)
        tool.start(site)
        for step, method in {"add": "add", "push": "push", "pull, cold": "pull"}.items():
            if hasattr(tool, method):
                yield field.take(step, tool.name, getattr(tool, method), site)
        if hasattr(tool, "replace") and tool.name in WITH_REMOTE:
            tool.replace(site, inserted)
            yield field.take("push, 1 KB inserted", tool.name, tool.push, site)
        if hasattr(tool, "pull_again"):
            yield field.take("pull, 1 KB inserted", tool.name, tool.pull_again, site)
        field.note_stored(site, tool.name)
        shutil.rmtree(field.folder / str(field.turn))


def versions(field: Field, size: int) -> Iterator[Taken]:
    """Versions of a table, each added and pushed."""
    sources = [field.folder / f"table-{number}" for number in range(size)]
    if not sources[0].exists():
        for source, content in zip(sources, data.csv_versions(100_000, size), strict=True):
            source.write_bytes(content)
    for tool in field.tools(*WITH_REMOTE):
        site = field.site(tool, sources[0])
        tool.start(site)
        for number, source in enumerate(sources):
            site.put(source)
            steps = {"add of a version": "add", "push of a version": "push"}
            for step, method in steps.items():
                if hasattr(tool, method):
                    yield field.take(step, tool.name, getattr(tool, method), site)
            if number in (0, size - 1) and hasattr(tool, "pull"):
                step = f"pull, cold, after {number + 1} version{'s' * (number > 0)}"
                yield field.take(step, tool.name, tool.pull, site)
        field.note_stored(site, tool.name)
        shutil.rmtree(field.folder / str(field.turn))


def stages(field: Field, size: int) -> Iterator[Taken]:
    """Stages that depend on the same file and on nothing of each other."""
    source = field.folder / "in"
    source.write_text("in\n")
    steps = {
        "repro": "repro",
        "repro, nothing to do": "repro",
        "status": "status",
        "push": "push",
        "push, nothing new": "push",
        "pull, cold": "pull",
    }
    for tool in field.tools(table.DVLITE, table.DVC):
        site = field.site(tool, source)
        tool.start(site)
        (site.repo / tool.pipeline_file).write_text(data.alike_stages(size))
        for step, method in steps.items():
            taken = field.take(step, tool.name, getattr(tool, method), site)
            yield taken
            if taken.failure:
                break
            if step == "repro":
                site.commit()
        shutil.rmtree(field.folder / str(field.turn))


def pushes(field: Field, size: int) -> Iterator[Taken]:
    """Pushes of one new file each, by eight people in turn, each with a clone and a branch; the last ones before 10, 100, ... are measured.

    The others are made by a program that is loaded once, and peers stop at 100.
    """
    source = field.folder / "data"
    if not source.exists():
        data.write_tree(source, files=1_000, folders=10, least_bytes=8_000, most_bytes=12_000)
    program_folder = field.folder / f"warm-{field.turn}"
    program_folder.mkdir()
    with warm.running(program_folder) as loaded:
        for tool in field.tools(*WITH_REMOTE):
            most = size if tool.name == table.DVLITE else min(size, 100)
            first = field.site(tool, source, name="0")
            tool.start(first)
            if hasattr(tool, "add"):
                tool.add(first)
            tool.push(first)
            people = [first]
            for number in range(1, PEOPLE):
                site = replace(field.site(tool, source, name=str(number)), prefix=first.prefix)
                tool.join(site, first)
                people.append(site)
            ends = [10**power for power in range(1, 9) if 10**power <= most] or [most]
            quick = {**field.programs, table.DVLITE: loaded}
            for number in range(1, most + 1):
                site = people[number % PEOPLE]
                (site.repo / site.target / f"new-{number}.bin").write_bytes(f"{number}\n".encode() * 500)
                end = next(end for end in [*ends, most + PEOPLE] if end >= number)
                is_measured = end - number < min(PEOPLE, 5)
                site = site if is_measured else replace(site, programs=quick, watched=False)
                if hasattr(tool, "add"):
                    tool.add(site)
                taken = field.take(f"push number {end:,}", tool.name, tool.push, site)
                if is_measured or taken.failure:
                    yield taken
                if number in (*ends, most):
                    yield field.take(f"pull, cold, after {number:,} pushes", tool.name, tool.pull, first)
            if isinstance(tool, Dvlite):
                dvlite = field.programs[tool.name]
                for words in (("status", "--remote"), ("gc", "--remote")):
                    step = f"{' '.join(words)}{', plan' * (words[0] == 'gc')}, after {most:,} pushes"
                    yield field.take(step, tool.name, first.measure, dvlite, *words)
            field.note_stored(first, tool.name)
            shutil.rmtree(field.folder / str(field.turn))


def many_runs(field: Field, size: int) -> Iterator[Taken]:
    """A history of `size` run records, three to an experiment, made without running anything, and one stage that ran."""
    tool = Dvlite()
    dvlite = field.programs[tool.name]
    source = field.folder / "in"
    source.write_text("in\n")
    site = field.site(tool, source)
    tool.start(site)
    (site.repo / tool.pipeline_file).write_text(data.alike_stages(1))
    tool.repro(site)
    site.commit()
    runs.generate(site.repo / ".git" / "dvlite" / "runs", size, project=runs.project_of(site.repo))
    for step, *words in (
        ("runs, the first time", "runs"),
        ("runs", "runs"),
        ("runs, three conditions", "runs", "--stage", "train", "-p", "lr=0.1", "-m", "acc>0.9"),
        ("push of the records", "push"),
        ("push after that: what was sent is indexed", "push"),
        ("push, nothing new", "push"),
    ):
        yield field.take(step, tool.name, site.measure, dvlite, *words)
    site.run("git", "clone", "--quiet", site.repo, site.clone)
    for step, *words in (
        ("verify, fresh clone", "verify"),
        ("pull, fresh clone: all records", "pull"),
        ("pull, nothing new", "pull"),
        ("runs, fresh clone", "runs"),
    ):
        yield field.take(step, tool.name, site.measure_there, dvlite, *words)
    field.note_stored(site, tool.name)
    shutil.rmtree(field.folder / str(field.turn))


def far_away(field: Field, size: int) -> Iterator[Taken]:
    """Everyday commands on `size` small files, with a server 0, 5 and 30 ms away."""
    source = field.folder / "data"
    if not source.exists():
        data.write_tree(source, files=size, folders=10, least_bytes=8_000, most_bytes=12_000)
    edits = [field.folder / f"edit-{number}" for number in range(2)]
    for number, edit in enumerate(edits):
        if not edit.exists():
            shutil.copytree(source, edit)
            (edit / "0000" / "0000000.bin").write_bytes(b"%d" % number * 5000)
    for milliseconds in (0, 5, 30):
        with metered(field.weed.endpoint_url, latency_seconds=milliseconds / 1000) as meter:
            for tool in field.tools(table.DVLITE, table.RESTIC):
                site = replace(field.site(tool, source, name=f"{milliseconds}"), endpoint_url=meter.url)
                tool.start(site)
                name = f"{tool.name}, {milliseconds} ms"
                if hasattr(tool, "add"):
                    tool.add(site)
                yield field.take("push, first", name, tool.push, site)
                yield field.take("push, nothing new", name, tool.push_again, site)
                yield field.take("pull into a fresh clone", name, tool.pull, site)
                tool.replace(site, edits[0])
                yield field.take("push, one edit", name, tool.push, site)
                if hasattr(tool, "pull_again"):
                    yield field.take("pull, one edit", name, tool.pull_again, site)
                    yield field.take("pull, nothing new", name, tool.pull_again, site)
                if isinstance(tool, Dvlite):
                    yield field.take(
                        "status --remote",
                        name,
                        site.measure,
                        field.programs[table.DVLITE],
                        "status",
                        "--remote",
                    )
            shutil.rmtree(field.folder / str(field.turn))


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is measured, at which size, and how often; `what` has the size in it. `full` is more than a small machine has room or hours for."""

    what: str
    size: int
    small: int
    measure: Measure
    rounds: int = 1
    full: int = 0


SCENARIOS: Mapping[str, Scenario] = {
    "latency": Scenario("{:,} files of 10 KB, with a server 0, 5 and 30 ms away", 1_000, 100, far_away, 5),
    "stages": Scenario("{:,} stages", 1_000, 30, stages),
    "pointers": Scenario("{:,} tracked files, each with a pointer", 10_000, 100, trees(2_000, each=True)),
    "versions": Scenario("{:,} versions of a CSV of 100,000 rows", 200, 3, versions),
    "runs": Scenario("{:,} run records", 100_000, 3_000, many_runs),
    "pushes": Scenario("{:,} pushes by 8 people", 1_000, 20, pushes, full=10_000),
    "medium": Scenario("{:,} files of 100 KB", 20_000, 200, trees(100_000), full=100_000),
    "large": Scenario("one file of {:,} MiB", 4_096, 32, large_file, full=20_480),
    "million": Scenario(
        "{:,} files of 1 KB",
        1_000_000,
        10_000,
        trees(1_000, tools=(table.DVLITE, table.RESTIC, table.CP, table.CP_SYNC)),
    ),
}
GROWTH = {f"growth-{group}": group for group in growth.GROUPS}


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", choices=[draw.TABLE, *SCENARIOS, *GROWTH], help="this one; repeatable"
    )
    parser.add_argument("--small", action="store_true", help="at a size that only shows that it works; kept nowhere")
    parser.add_argument(
        "--full", action="store_true", help="10,000 pushes, 100,000 files of 100 KB, a file of 20 GiB: needs 250 GB"
    )
    parser.add_argument("--size", type=int, help="how many, in place of what the scenario says")
    parser.add_argument("--sizes", type=int, nargs="+", help="the sizes of a growth")
    parser.add_argument("--rounds", type=int, help="rounds to take medians of")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="look for the peers in DIR and DIR/bin first")
    parser.add_argument("--tools", help="only these tools, separated by commas (default: all that are installed)")
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a tool is out of a scenario")
    parser.add_argument("--folder", type=Path, help="work in a new folder below this one (needs 40 GB)")
    parser.add_argument("--draw", action="store_true", help="measure nothing, only draw")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, keeps and draws."""
    asked = read_options(argv)
    for name in () if asked.draw else asked.only or [*SCENARIOS, *GROWTH, draw.TABLE]:
        for results in measure_one(name, asked):
            if asked.small:
                print(draw.text_of(name, results))
            else:
                draw.keep(name, results)
    if not asked.small:
        draw.write()
    return 0


def measure_one(name: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields what is kept of a scenario; of a growth after each size, for the last takes longest."""
    if name == draw.TABLE:
        yield measure_table(asked)
    elif name in GROWTH:
        yield from measure_growth(GROWTH[name], asked)
    else:
        yield measure(name, asked)


def measure(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Measures one scenario and returns what is kept of it."""
    scenario = SCENARIOS[name]
    full = scenario.full if asked.full else 0
    size = asked.size or (scenario.small if asked.small else full or scenario.size)
    rounds = asked.rounds or (1 if asked.small else scenario.rounds)
    taken: list[Taken] = []
    stored: dict[str, tuple[int, int]] = {}
    with run.scratch(asked.folder) as folder, running_weed(folder / "server") as weed:
        env = run.environment(folder, weed, asked.peers)
        programs = run.find_programs(folder, env, asked)
        list_remote, _ = run.remote(weed)
        conditions = run.describe(folder, programs, env)
        for turn in range(rounds):
            field = Field(folder, env, programs, weed, list_remote, asked.limit, turn, stored)
            for each in scenario.measure(field, size):
                print(_line(f"{name} {size:,}", each), file=sys.stderr, flush=True)
                taken.append(each)
    return _kept(scenario.what.format(size), rounds, taken, stored) | {"conditions": conditions}


def measure_growth(group: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measures how the cost of commands grows with the size."""
    sizes = list(asked.sizes or (growth.SIZES[group][:1] if asked.small else growth.SIZES[group]))
    taken = []
    for size in sizes:
        for title, sample, requests in growth.measure_at(group, size, asked.folder):
            taken.append(Taken(title, f"{size:,}", sample, {"all": requests} if requests else {}))
        yield _kept(growth.WHAT[group], 1, taken, {}) | {"sizes": sizes[: sizes.index(size) + 1]}


def measure_table(asked: argparse.Namespace) -> dict[str, Any]:
    """Measures the table of the README."""
    found: dict[str, Any] = {}
    words = [
        f"--{name}={getattr(asked, name)}" for name in ("folder", "peers", "tools", "rounds") if getattr(asked, name)
    ]
    run.main([*words, *(["--quick"] if asked.small else [])], found.update)
    return found


def _kept(what: str, rounds: int, taken: Sequence[Taken], stored: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for each in taken:
        if each.sample is None:
            continue
        row = rows.setdefault((each.step, each.tool), {"step": each.step, "tool": each.tool})
        row.setdefault("seconds", []).append(round(each.sample.seconds, 3))
        row.setdefault("cpu_seconds", []).append(round(each.sample.cpu_seconds, 3))
        row["peak_bytes"] = max(row.get("peak_bytes", 0), each.sample.peak_bytes)
        row["requests"] = dict(sorted(each.requests.items()))
    for row in rows.values():  # of many versions the medians are enough
        if len(row["seconds"]) > 5:
            row["of"] = len(row["seconds"])
            for column in ("seconds", "cpu_seconds"):
                row[column] = [draw.middle(row[column])]
    return {
        "what": what,
        "rounds": rounds,
        "taken": time.strftime("%Y-%m-%d"),
        "rows": list(rows.values()),
        "stored": {tool: list(found) for tool, found in stored.items()},
        "failed": [f"{each.tool}, {each.step}: {each.failure.splitlines()[0]}" for each in taken if each.failure],
    }


def _line(name: str, taken: Taken) -> str:
    if taken.sample is None:
        return f"{name}: {taken.step}: {taken.tool}: failed: {taken.failure}"
    sample = taken.sample
    return (
        f"{name}: {taken.step}: {taken.tool}: {sample.seconds:.2f} s, {sample.cpu_seconds:.2f} s of CPU,"
        f" {sample.peak_bytes / MIB:.0f} MiB, {json.dumps(dict(taken.requests))}"
    )


if __name__ == "__main__":
    sys.exit(main())
