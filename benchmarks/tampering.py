"""What a CI job can detect without the data, in dvlite and DVC: `python benchmarks/tampering.py --peers ~/peers`.

Builds the same small pipeline with both tools, pushes it to a folder, and clones it without its data. Then tampers with one thing at a
time, runs the commands that a job can run, and records the exit code and whether the command names what was tampered with, in lines that
it does not print for the untouched clone. For DVC the best of its commands counts; the last column shows its result with all data
downloaded. Then times both on the untouched clone, and tests whether they detect if the pipeline reproduces. `--show` prints the lines.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import peers, table

Command = tuple[str, ...]  # of words
PIPELINE = """\
stages:
  prepare:
    cmd: sh src/prepare.sh
    deps: [src/prepare.sh, data/raw]
    params: [rows]
    outs: [data/prepared]
  train:
    cmd: sh src/train.sh
    deps: [src/train.sh, data/prepared]
    params: [lr]
    outs: [model.bin, weights.bin]
  evaluate:
    cmd: sh src/evaluate.sh
    deps: [src/evaluate.sh, model.bin]
    metrics: [METRICS]
"""
SCRIPTS = {
    "src/prepare.sh": "mkdir -p data/prepared\ncat data/raw/*.csv > data/prepared/train.txt\nhead -1 data/raw/1.csv > data/prepared/test.txt\n",
    "src/train.sh": "cat data/prepared/train.txt params.yaml > model.bin\nwc -l < data/prepared/train.txt > weights.bin\n",
    "src/evaluate.sh": 'echo "{\\"accuracy\\": 0.9$(cksum < model.bin | cut -c1-4)}" > metrics.json\n',
}
RANDOM = "\nhead -c 8 /dev/urandom >> model.bin\n"  # what a script without its seed does
JITTER = 'echo "{\\"accuracy\\": 0.9000$(head -c 4 /dev/urandom | cksum | cut -c1-4)}" > metrics.json\n'
ANOTHER = {"dvlite": "ab" * 32, "dvc": "ab" * 16}  # an id of nothing


@dataclass(frozen=True, slots=True)
class Said:
    """What one command left."""

    code: int
    lines: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class World:
    """One tool's repository, remote and clone without data; tampering works on the clone and the remote."""

    tool: str
    folder: Path
    env: Mapping[str, str]

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def origin(self) -> Path:
        return self.folder / "origin"

    def copied(self, folder: Path) -> World:
        """Returns a copy of it all."""
        shutil.copytree(self.folder, folder, symlinks=True)
        made = World(self.tool, folder, environment(folder, self.env))
        made.must("git", "remote", "set-url", "origin", str(made.origin))
        return made

    def run(self, *words: str, cwd: Path | None = None) -> Said:
        """Runs a command, in the clone if no folder is given."""
        began = time.perf_counter()
        done = subprocess.run(
            words,
            cwd=cwd or self.clone,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        taken = time.perf_counter() - began
        told = f"{done.stdout}\n{done.stderr}".replace(str(self.folder), "")
        return Said(done.returncode, tuple(line.strip() for line in told.splitlines() if line.strip()), taken)

    def must(self, *words: str, cwd: Path | None = None) -> None:
        """Runs a command that has to succeed."""
        said = self.run(*words, cwd=cwd)
        if said.code:
            sys.exit(f"error: {' '.join(words)} left with {said.code}\n" + "\n".join(said.lines))

    def edit(self, path: str, change: Callable[[str], str]) -> None:
        """Changes a file of the clone; a change that changes nothing is a fault of this program."""
        file = self.clone / path
        before = file.read_text()
        after = change(before)
        if after == before:
            sys.exit(f"error: nothing of {path} was tampered with")
        file.write_text(after)

    @property
    def lock(self) -> str:
        return f"{self.tool}.lock"

    @property
    def pipeline(self) -> str:
        return f"{self.tool}.yaml"

    @property
    def pointer(self) -> str:
        return f"data/raw.{self.tool}"

    def oid(self, path: str) -> str:
        """Returns the id that the lockfile or a pointer has for a path."""
        if path == "data/raw":
            found = re.search(r"\b(?:oid: \w+:|md5: )([0-9a-f]{32,})", (self.clone / self.pointer).read_text())
        else:
            words = r": \{oid: \w+:" if self.tool == "dvlite" else r"\n +hash: md5\n +md5: "
            found = re.search(re.escape(path) + words + r"([0-9a-f]+)", (self.clone / self.lock).read_text())
        assert found is not None, path
        return found[1]

    def in_store(self, pattern: str) -> list[Path]:
        """Returns the files of the remote that a pattern fits, the largest first."""
        return sorted((self.folder / "store").glob(pattern), key=lambda file: file.stat().st_size, reverse=True)


@dataclass(frozen=True, slots=True)
class Case:
    """One tampering. `things` are patterns of what names it, `stage` is the stage that it concerns."""

    name: str
    things: tuple[str, ...]
    stage: str
    tamper: Callable[[World], None]


# --- the tamperings


def _swap(text: str, one: str, other: str) -> str:
    return re.sub(f"{one}|{other}", lambda found: other if found[0] == one else one, text)


def _entry(text: str, stage: str) -> tuple[int, int]:
    """Returns where the entry of a stage begins and ends in a lockfile."""
    start = text.index(f"\n  {stage}:") + 1
    found = re.compile(r"^ {0,2}\S", re.MULTILINE).search(text, text.index("\n", start) + 1)
    return start, len(text) if found is None else found.start()


def _without_entry(text: str, stage: str) -> str:
    start, end = _entry(text, stage)
    return text[:start] + text[end:]


def _in_entry(text: str, stage: str, old: str, new: str) -> str:
    start, end = _entry(text, stage)
    return text[:start] + text[start:end].replace(old, new) + text[end:]


def _conflict(text: str) -> str:
    start, end = _entry(text, "train")
    entry = text[start:end]
    return f"{text[:start]}<<<<<<< HEAD\n{entry}=======\n{entry.replace('0.2', '0.3')}>>>>>>> other\n{text[end:]}"


def _remove_object(world: World) -> None:
    """Removes what holds an output on the remote: a pack of dvlite, which may hold more, or an object of DVC."""
    oid = world.oid("weights.bin")
    for file in world.in_store("packs/*" if world.tool == "dvlite" else f"files/md5/{oid[:2]}/{oid[2:]}"):
        if world.tool != "dvlite" or bytes.fromhex(oid) in file.read_bytes():
            file.unlink()


def _remove_listing(world: World) -> None:
    """Removes the listing of a directory: those of dvlite are in packs, and what claims them are roots."""
    oid = world.oid("data/prepared")
    pattern = "roots/*" if world.tool == "dvlite" else f"files/md5/{oid[:2]}/{oid[2:]}.dir"
    for file in world.in_store(pattern):
        file.unlink()


CASES = (
    Case("a parameter is edited", (r"\blr\b",), "train", lambda w: w.edit("params.yaml", lambda t: t.replace("lr: 0.2", "lr: 0.5"))),
    Case("the lockfile is that of the previous commit", (r"\blr\b",), "train", lambda w: w.must("git", "checkout", "-q", "HEAD~1", "--", w.lock)),
    Case("a script is edited", (r"src/train\.sh",), "train", lambda w: w.edit("src/train.sh", lambda t: t + "true\n")),
    Case("a command is edited", (r"command|sh -e src",), "train", lambda w: w.edit(w.pipeline, lambda t: t.replace("sh src/train", "sh -e src/train"))),
    Case("a stage is added", (r"\bextra\b",), "extra", lambda w: w.edit(w.pipeline, lambda t: f"{t}  extra:\n    cmd: cp params.yaml extra.txt\n    deps: [params.yaml]\n    outs: [extra.txt]\n")),
    Case("a dependency is dropped from the pipeline file", (r"src/train\.sh",), "train", lambda w: w.edit(w.pipeline, lambda t: t.replace("src/train.sh, ", ""))),
    Case("an output is added to the pipeline file", (r"other\.bin",), "train", lambda w: w.edit(w.pipeline, lambda t: t.replace("weights.bin]", "weights.bin, other.bin]"))),
    Case("the lockfile is removed", (r"\.lock\b",), "train", lambda w: (w.clone / w.lock).unlink()),
    Case("the entry of a stage is removed from the lockfile", (r"\bevaluate\b",), "evaluate", lambda w: w.edit(w.lock, lambda t: _without_entry(t, "evaluate"))),
    Case("merge-conflict markers in the lockfile", (r"\.lock\b",), "train", lambda w: w.edit(w.lock, _conflict)),
    Case("the id of a script is edited in the lockfile", (r"src/train\.sh|key of train|train.*\bkey\b",), "train", lambda w: w.edit(w.lock, lambda t: t.replace(w.oid("src/train.sh"), ANOTHER[w.tool]))),
    Case("the id of an input differs from that of the output it comes from", (r"data/prepared",), "train", lambda w: w.edit(w.lock, lambda t: _in_entry(t, "train", w.oid("data/prepared"), w.oid("data/raw")))),
    Case("the ids of two outputs are swapped in the lockfile", (r"(model|weights)\.bin",), "train", lambda w: w.edit(w.lock, lambda t: _swap(t, w.oid("model.bin"), w.oid("weights.bin")))),
    Case("a directory output is replaced by another, everywhere in the lockfile", (r"data/prepared",), "prepare", lambda w: w.edit(w.lock, lambda t: t.replace(w.oid("data/prepared"), w.oid("data/raw")))),
    Case("a pointer is edited to another valid id", (r"data/raw",), "prepare", lambda w: w.edit(w.pointer, lambda t: t.replace(w.oid("data/raw"), w.oid("data/prepared")))),
    Case("a pointer is removed", (r"data/raw",), "prepare", lambda w: (w.clone / w.pointer).unlink()),
    Case("an output kept in git is edited", (r"metrics\.json",), "evaluate", lambda w: w.edit("metrics.json", lambda t: t.replace("0.9", "0.99"))),
    Case("an object is missing on the remote", (r"weights\.bin",), "train", _remove_object),
    Case("the tree of a directory is missing on the remote", (r"data/prepared",), "prepare", _remove_listing),
)  # fmt: skip


# --- the tools


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: what a job can run without data, and with all of it."""

    name: str
    program: str

    def commands(self) -> tuple[Command, ...]:
        """Returns what a job can run without data."""
        asked = {
            "dvlite": ("verify --remote",),
            "dvc": ("status", "status -c", "data status --not-in-remote", "repro --dry", "repro --dry --allow-missing"),
        }
        return tuple((self.program, *words.split()) for words in asked[self.name])

    def build(self, world: World) -> None:
        """Makes the repository with two commits of runs, pushes, and clones it without data."""
        world.origin.mkdir(parents=True)
        self._start(world)
        for path, text in (*SCRIPTS.items(), *((f"data/raw/{n}.csv", f"row {n}\n") for n in (1, 2, 3))):
            _write(world.origin / path, text)
        metrics = "{path: metrics.json, cache: false}" if self.name == "dvlite" else "metrics.json: {cache: false}"
        _write(world.origin / world.pipeline, PIPELINE.replace("METRICS", metrics))
        self.do(world, "add", "data/raw")
        for rate in ("0.1", "0.2"):
            _write(world.origin / "params.yaml", f"rows: 3\nlr: {rate}\n")
            self.commit(world)
        world.must("git", "clone", "-q", str(world.origin), str(world.clone), cwd=world.folder)

    def _start(self, world: World) -> None:
        world.must("git", "init", "-q", "-b", "main", cwd=world.origin)
        self.do(world, "init")
        default = () if self.name == "dvlite" else ("-d", "origin")
        self.do(world, "remote", "add", *default, "../store")

    def do(self, world: World, *words: str) -> None:
        """Runs the tool where the repository was made."""
        world.must(self.program, *words, cwd=world.origin)

    def commit(self, world: World) -> None:
        """Runs the pipeline, commits and pushes what it made."""
        self.do(world, "repro")
        world.must("git", "add", "-A", cwd=world.origin)
        world.must("git", "commit", "-qm", "A run", cwd=world.origin)
        self.do(world, "push")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def environment(folder: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of programs in a world: a home of its own, nothing of this machine's settings."""
    kept = {name: value for name, value in base.items() if not name.startswith(("DVC_", "DVLITE_", "GIT", "XDG_"))}
    people = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    own = {
        f"DVC_{name}": str(folder / "home" / name)
        for name in ("SITE_CACHE_DIR", "GLOBAL_CONFIG_DIR", "SYSTEM_CONFIG_DIR")
    }
    (folder / "home").mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        **people,
        **own,
        "HOME": str(folder / "home"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVLITE_TRUST": str(folder / "store"),
    }


# --- judging


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one command made of one tampering."""

    command: str
    said: Said
    names: int  # 2: names the thing; 1: the stage; 0: prints nothing new of either
    fails: bool  # with a code that the untouched clone does not give
    new: tuple[str, ...]

    def text(self) -> str:
        return f"exit {self.said.code}, {('does not name it', 'names the stage', 'names it')[self.names]}"


def judge(case: Case, command: str, untouched: Said, said: Said) -> Verdict:
    """Compares what a command says of the tampered clone with what it says of the untouched one."""
    new = tuple((Counter(said.lines) - Counter(untouched.lines)).elements())
    named = all(any(re.search(thing, line) for line in new) for thing in case.things)
    of_stage = any(re.search(rf"\b{case.stage}\b", line) for line in new)
    fails = bool(said.code) and said.code != untouched.code
    return Verdict(command, said, 2 if named else 1 if of_stage else 0, fails, new)


def best(verdicts: Sequence[Verdict]) -> str:
    """Returns what a job can learn: from the command that names most, and from one that fails if that one does not."""
    first = max(verdicts, key=lambda each: (each.names, each.fails))
    others = [] if first.fails else [each for each in verdicts if each.fails]
    if len(verdicts) == 1 or not (first.names or others):
        return first.text()
    told = [first, *sorted(others, key=lambda each: -each.names)[:1]] if first.names else others[:1]
    return "; ".join(f"`{each.command}`: {each.text()}" for each in told)


def with_data(program: str, world: World) -> Said:
    """Downloads all, then asks: what a job can do that has the time and the room."""
    parts = [world.run(program, "pull"), world.run(program, "status")]
    lines = [line for part in parts for line in part.lines]
    return Said(max(part.code for part in parts), tuple(lines), sum(part.seconds for part in parts))


# --- does the pipeline reproduce


def rerun(tools: Sequence[Tool], clean: Mapping[str, World], folder: Path) -> None:
    """Prints what each tool reports about whether the pipeline reproduces."""
    print("\n| the pipeline | " + " | ".join(tool.name for tool in tools) + " |\n|---|" + "---|" * len(tools))
    for number, (name, change) in enumerate(RERUNS):
        cells = []
        for tool in tools:
            world = clean[tool.name].copied(folder / f"rerun-{number}-{tool.name}")
            change(tool, world)
            cells.append(_reran(tool, world))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _again(tool: Tool, world: World) -> None:
    tool.commit(world)
    world.must("git", "pull", "-q", "origin", "main")


def _same(tool: Tool, world: World) -> None:
    """Changes nothing."""


def _random(tool: Tool, world: World) -> None:
    _write(world.origin / "src/train.sh", SCRIPTS["src/train.sh"] + RANDOM)
    _again(tool, world)


def _tolerated(tool: Tool, world: World) -> None:
    _write(world.origin / "src/evaluate.sh", JITTER)
    if tool.name == "dvlite":
        file = world.origin / world.pipeline
        file.write_text(file.read_text().replace("cache: false", "cache: false, compare: {type: json, rtol: 0.01}"))
    _again(tool, world)


RERUNS: tuple[tuple[str, Callable[[Tool, World], None]], ...] = (
    ("reproduces", _same),
    ("is nondeterministic: a seed was removed", _random),
    ("reproduces within a declared tolerance", _tolerated),
)


def _reran(tool: Tool, world: World) -> str:
    if tool.name == "dvlite":
        said = world.run(tool.program, "verify", "--rerun")
        told = [
            re.sub(r" +", " ", line)
            for line in said.lines
            if re.match(r"(train|evaluate) .*(different|equivalent)|Reproduced|not deterministic", line)
        ]
        return f"`verify --rerun`: exit {said.code}: {'; '.join(told)}".replace("|", "\\|")
    world.must(tool.program, "pull")
    said = world.run(tool.program, "repro", "--force")
    differs = world.run("git", "diff", "--exit-code", "--unified=0", world.lock)
    changed = [line for line in differs.lines if line.startswith("+") and "md5: " in line]
    return f"`repro --force`: exit {said.code}; `git diff --exit-code {world.lock}`: exit {differs.code}, {len(changed)} ids differ"


# --- the whole


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="the venv with dvc (default: PATH)")
    parser.add_argument("--rounds", type=int, default=5, help="how often to time each command on the untouched clone")
    parser.add_argument("--show", action="store_true", help="print the lines behind each verdict")
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints Markdown tables."""
    asked = read_options()
    beside = Path(sys.executable).with_name("dvlite")
    programs = peers.find_programs(beside if beside.exists() else Path("dvlite"), asked.peers)
    tools = [Tool(name, str(programs[name])) for name in (table.DVLITE, table.DVC) if name in programs]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean = {
            tool.name: World(tool.name, folder / tool.name, environment(folder / tool.name, os.environ))
            for tool in tools
        }
        for tool in tools:
            tool.build(clean[tool.name])
        compare(tools, clean, folder, show=asked.show)
        rerun(tools, clean, folder)
        times(tools, clean, folder, asked.rounds)


def compare(tools: Sequence[Tool], clean: Mapping[str, World], folder: Path, *, show: bool) -> None:
    """Prints what each tool reports for each tampering."""
    heads = [f"{tool.name}{'' if tool.name == 'dvlite' else ', best of its commands'}" for tool in tools]
    others = [tool for tool in tools if tool.name == "dvc"]
    heads += [f"{tool.name}, all data downloaded" for tool in others]
    print(f"| tampering | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    untouched = {tool.name: _asked(tool, clean[tool.name].copied(folder / f"clean-{tool.name}")) for tool in tools}
    named, failed = Counter[str](), Counter[str]()
    for number, case in enumerate(CASES):
        cells, shown = [], []
        for tool in tools:
            world = clean[tool.name].copied(folder / f"{number}-{tool.name}")
            case.tamper(world)
            world.must("git", "commit", "--quiet", "--all", "--allow-empty", "-m", "Tampered with")
            verdicts = [
                judge(case, name, untouched[tool.name][name], said) for name, said in _asked(tool, world).items()
            ]
            asked = [each for each in verdicts if each.command != _FULL]
            cells.append(best(asked))
            cells += [each.text() for each in verdicts if each.command == _FULL]
            named[tool.name] += any(each.names == 2 for each in asked)
            failed[tool.name] += any(each.fails for each in asked)
            shown += [f"    {each.command}: [{each.said.code}] {line}" for each in verdicts for line in each.new]
            shutil.rmtree(world.folder)
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)
        if show:
            print("\n".join(shown), file=sys.stderr, flush=True)
    for tool in tools:
        total = f"{tool.name}, without data: names {named[tool.name]} of {len(CASES)}, a command fails for {failed[tool.name]}"
        print(f"\n{total} ({peers.version(tool.name, Path(tool.program), clean[tool.name].env)})")


_FULL = "pull, status"


def _asked(tool: Tool, world: World) -> dict[str, Said]:
    """Asks with every command; last, as it changes the clone, with all data."""
    said = {" ".join(words[1:]): world.run(*words) for words in tool.commands()}
    return said | ({_FULL: with_data(tool.program, world)} if tool.name == "dvc" else {})


def times(tools: Sequence[Tool], clean: Mapping[str, World], folder: Path, rounds: int) -> None:
    """Prints how long each command takes on the untouched clone."""
    print("\n| on the untouched clone | exit | seconds |\n|---|---|---|")
    for tool in tools:
        world = clean[tool.name].copied(folder / f"times-{tool.name}")
        for words in tool.commands():
            said = [world.run(*words) for _ in range(rounds)]
            print(
                f"| {tool.name} {' '.join(words[1:])} | {said[0].code} | {median(each.seconds for each in said):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
