"""Measures stages that run once for each file: `python benchmarks/maps.py --files 10000`.

Three parts (`--only`): `peers`, many small files through a trivial function, beside Snakemake, Make and DVC in one run; `overhead`, what a datum
costs above the function or the process itself; `growth`, dvlite alone with more and more datums. Each prints a Markdown table. CPU seconds are
of the program and all that it started. Peers are found on PATH, or in `--peers` (folders of virtual environments named after them).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.process import Sample, StepFailed, do, run

FUNCTION = """
def step(source, target):
    with open(source, "rb") as read, open(target, "wb") as written:
        written.write(read.read()[::-1])
"""
ALL = """
import os
from steps import step
os.makedirs("out", exist_ok=True)
for name in os.listdir("data"):
    step(f"data/{name}", f"out/{name}")
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to do it: the files that say so, and the command; `most` files, above which it is too slow to be waited for."""

    title: str
    program: str
    files: Callable[[Sequence[str]], Mapping[str, str]]
    command: tuple[str, ...]
    most: int = 10**9
    before: tuple[tuple[str, ...], ...] = ()


def _map_function(names: Sequence[str]) -> dict[str, str]:
    return {
        "steps.py": FUNCTION,
        "dvlite.yaml": "stages:\n  s:\n    map: {over: data/*}\n    function: steps:step\n    deps: [steps.py]\n    outs: [out]\n",
    }


def _map_cmd(names: Sequence[str]) -> dict[str, str]:
    return {"dvlite.yaml": "stages:\n  s:\n    map: {over: data/*}\n    cmd: cp ${in} ${out}\n    outs: [out]\n"}


def _one_stage(names: Sequence[str]) -> dict[str, str]:
    return {
        "steps.py": FUNCTION,
        "all.py": ALL,
        "dvlite.yaml": "stages:\n  s:\n    cmd: python all.py\n    deps: [all.py, steps.py, data]\n    outs: [out]\n",
    }


def _dvc_one(names: Sequence[str]) -> dict[str, str]:
    files = _one_stage(names)
    return {**files, "dvc.yaml": files.pop("dvlite.yaml")}


def _dvc_foreach(names: Sequence[str]) -> dict[str, str]:
    items = "".join(f"      - {name}\n" for name in names)
    text = f"stages:\n  s:\n    foreach:\n{items}    do:\n      cmd: mkdir -p out && cp data/${{item}} out/${{item}}\n      deps:\n      - data/${{item}}\n      outs:\n      - out/${{item}}\n"
    return {"dvc.yaml": text}


def _snakemake(names: Sequence[str]) -> dict[str, str]:
    text = (
        'NAMES = glob_wildcards("data/{name}").name\n'
        'rule all:\n    input: expand("out/{name}", name=NAMES)\n'
        'rule s:\n    input: "data/{name}"\n    output: "out/{name}"\n    shell: "cp {input} {output}"\n'
    )
    return {"Snakefile": text}


def _make(names: Sequence[str]) -> dict[str, str]:
    return {
        "Makefile": "all: $(patsubst data/%,out/%,$(wildcard data/*))\nout/%: data/% | out\n\tcp $< $@\nout:\n\tmkdir out\n"
    }


_DVC = (("dvc", "init", "-q"), ("dvc", "config", "core.analytics", "false"))
_DVLITE = (("dvlite", "init"),)
TOOLS = (
    Tool("dvlite, map, function", "dvlite", _map_function, ("repro", "-j", "2"), before=_DVLITE),
    Tool("dvlite, map, cmd", "dvlite", _map_cmd, ("repro", "-j", "2"), before=_DVLITE),
    Tool("dvlite, one stage for all", "dvlite", _one_stage, ("repro",), before=_DVLITE),
    Tool("Make, cmd", "make", _make, ("-s", "-j", "2")),
    Tool("Snakemake, cmd", "snakemake", _snakemake, ("-c", "2", "-q", "all"), most=1000),
    Tool("DVC, one stage for all", "dvc", _dvc_one, ("repro", "-q"), before=_DVC),
    Tool("DVC, foreach, cmd", "dvc", _dvc_foreach, ("repro", "-q"), most=200, before=_DVC),
)


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a file")
    parser.add_argument("--only", default="", choices=("", "peers", "overhead", "growth"))
    parser.add_argument("--peers", type=Path, help="where the virtual environments of the peers are")
    parser.add_argument("--most", type=int, help="files for peers that are slow, in place of what is known of them")
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile")
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints."""
    asked = read_options()
    path = os.pathsep.join(
        [
            str(Path(sys.executable).parent),
            *(str(asked.peers / name / "bin") for name in ("dvc", "snakemake") if asked.peers),
            os.environ["PATH"],
        ]
    )
    with tempfile.TemporaryDirectory(dir=asked.folder) as text:
        place = Path(text)
        env = {**os.environ, "PATH": path, "HOME": text, "XDG_CONFIG_HOME": text, "XDG_CACHE_HOME": f"{text}/cache"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
            env |= {f"{name}_NAME": "bench", f"{name}_EMAIL": "bench@example.com"}
        if asked.only in ("", "overhead"):
            _overhead(place, env, min(asked.files, 5000), asked.size)
        if asked.only in ("", "peers"):
            _peers(place, env, asked)
        if asked.only in ("", "growth"):
            _growth(place, env, asked)


def _prepare(folder: Path, tool: Tool, env: Mapping[str, str], files: int, size: int) -> None:
    (folder / "data").mkdir(parents=True)
    source = random.Random(7)
    names = [f"{number:07}.bin" for number in range(files)]
    for name in names:
        (folder / "data" / name).write_bytes(source.randbytes(size))
    for name, text in tool.files(names).items():
        (folder / name).write_text(text)
    do(["git", "init", "-q"], cwd=folder, env=env)
    for words in tool.before:
        do([*words], cwd=folder, env=env)
    if tool.program in ("dvlite", "dvc"):
        do([tool.program, "add", "data"], cwd=folder, env=env)
    (folder / ".gitignore").open("a").write("/data\n/out\n.snakemake\n")
    do(["git", "add", "-A"], cwd=folder, env=env)
    do(["git", "commit", "-qm", "all"], cwd=folder, env=env)


def _add(folder: Path, tool: Tool, env: Mapping[str, str], size: int) -> None:
    name = "new.bin"
    (folder / "data" / name).write_bytes(random.Random(8).randbytes(size))
    if tool.program in {"dvlite", "dvc"}:
        do([tool.program, "add", "data"], cwd=folder, env=env)
    if "foreach" in tool.title:
        names = sorted(os.listdir(folder / "data"))
        (folder / "dvc.yaml").write_text(tool.files(names)["dvc.yaml"])


def _peers(place: Path, env: Mapping[str, str], asked: argparse.Namespace) -> None:
    print(f"\n{asked.files:,} files of {asked.size:,} bytes; wall seconds (CPU seconds)\n")
    print("| tool | files | first run | a file, ms | nothing changed | one file new |\n|---|---:|---:|---:|---:|---:|")
    for tool in TOOLS:
        if shutil.which(tool.program, path=env["PATH"]) is None:
            print(f"| {tool.title} | not installed | | | | |")
            continue
        files = min(asked.files, asked.most or tool.most if tool.most < 10**9 else asked.files)
        folder = place / "peer"
        try:
            _prepare(folder, tool, env, files, asked.size)
            words = (tool.program, *tool.command)
            first = run(words, cwd=folder, env=env)
            again = run(words, cwd=folder, env=env)
            _add(folder, tool, env, asked.size)
            new = run(words, cwd=folder, env=env)
            made = len(os.listdir(folder / "out"))
            if made != files + 1:
                raise StepFailed(f"{made} outputs of {files + 1}")
        except StepFailed as error:
            print(f"| {tool.title} | {files:,} | failed: {str(error).splitlines()[-1][:80]} | | | |")
        else:
            each = first.seconds * 1000 / files
            print(
                f"| {tool.title} | {files:,} | {_cell(first)} | {each:.2f} | {_cell(again)} | {_cell(new)} |",
                flush=True,
            )
        shutil.rmtree(folder, ignore_errors=True)


def _overhead(place: Path, env: Mapping[str, str], files: int, size: int) -> None:
    """Measures the slope between a fifth of the files and all: what a run costs whatever it has to do is no cost of a datum."""
    few = max(1, files // 5)
    print(f"\nOverhead of a datum, between {few:,} and {files:,} files of {size:,} bytes, one worker\n")
    print("| what runs | by itself, ms | as a datum, ms | above it, ms | of that CPU, ms |\n|---|---:|---:|---:|---:|")
    loop = "import os, subprocess\nos.makedirs('out')\nfor name in os.listdir('data'):\n    subprocess.run(['bash', '--noprofile', '--norc', '-eo', 'pipefail', '-c', f'cp data/{name} out/{name}'])\n"
    for title, tool, alone in (("Python function", TOOLS[0], ALL), ("cp, by a shell", TOOLS[1], loop)):
        samples = [_alone_and_as_datums(place / "overhead", tool, alone, env, number, size) for number in (few, files)]
        bare, ran = (
            [(getattr(samples[1][i], name) - getattr(samples[0][i], name)) * 1000 / (files - few) for name in _TIMES]
            for i in (0, 1)
        )
        print(
            f"| {title} | {bare[0]:.2f} | {ran[0]:.2f} | {ran[0] - bare[0]:.2f} | {ran[1] - bare[1]:.2f} |", flush=True
        )


_TIMES = ("seconds", "cpu_seconds")


def _alone_and_as_datums(
    folder: Path, tool: Tool, alone: str, env: Mapping[str, str], files: int, size: int
) -> tuple[Sample, Sample]:
    _prepare(folder, tool, env, files, size)
    (folder / "alone.py").write_text(alone)
    bare = run(("python3", "alone.py"), cwd=folder, env=env)
    shutil.rmtree(folder / "out")
    (folder / "alone.py").unlink()
    ran = run(("dvlite", "repro", "-j", "1"), cwd=folder, env=env)
    shutil.rmtree(folder)
    return bare, ran


def _growth(place: Path, env: Mapping[str, str], asked: argparse.Namespace) -> None:
    print("\ndvlite alone, a function, files of 100 bytes; wall seconds (CPU seconds), MiB at most in one process\n")
    print(
        "| datums | first run | a datum, ms | memory | nothing changed | one file new |\n|---:|---:|---:|---:|---:|---:|"
    )
    files = 1000
    while files <= asked.files:
        folder, tool = place / "growth", TOOLS[0]
        _prepare(folder, tool, env, files, 100)
        words = (tool.program, *tool.command)
        first, again = run(words, cwd=folder, env=env), run(words, cwd=folder, env=env)
        _add(folder, tool, env, 100)
        new = run(words, cwd=folder, env=env)
        each, memory = first.seconds * 1000 / files, first.peak_bytes / (1 << 20)
        print(f"| {files:,} | {_cell(first)} | {each:.2f} | {memory:.0f} | {_cell(again)} | {_cell(new)} |", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        files *= 10


def _cell(sample: Sample) -> str:
    return f"{sample.seconds:.2f} ({sample.cpu_seconds:.2f})"


if __name__ == "__main__":
    main()
