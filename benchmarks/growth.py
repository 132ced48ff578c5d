"""Measures how the cost of each command grows: `python benchmarks/growth.py --only files --sizes 1000 10000 100000`.

Prints, for each size, CPU seconds of the whole process tree, the memory of the largest process and the requests to an S3 server, and the
exponent of growth from the smallest size to the largest: 1 is linear in the size, 0 is the cost of the change alone.

- files: files of 1 KB in one tracked directory, 100 to a folder
- paths: tracked files in one folder, each with a pointer of its own
- stages: stages of a pipeline that copy a file each

`python benchmarks/suite.py --only growth-files` keeps what it measures, for docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import data, draw, process
from benchmarks.collect import MIB, Bench
from benchmarks.meter import metered
from benchmarks.process import Sample
from tests.store.weed import running_weed

Measured = tuple[str, Sample, int]  # what was done, what it cost, requests


class Scene(Bench):
    """A repository, and clones of it, in which commands are measured."""

    def measure(self, title: str, *argv: str | Path, cwd: Path | None = None) -> Measured:
        self.meter.reset()
        sample = process.run(argv, cwd=cwd or self.repo, env=self.env, watched=True)
        return title, sample, self.meter.requests

    def clone(self, name: str) -> Path:
        """Clones the repository, without data."""
        place = self.repo.parent / name
        self.do("git", "clone", "-q", self.repo, place)
        self.do("dvlite", "install", "-q", cwd=place)
        return place

    def save(self, message: str) -> None:
        self.do("git", "add", "-A")
        self.do("git", "commit", "-qnm", message)


def measure_everyday(scene: Scene, edited: Path) -> Iterator[Measured]:
    """Measures commands with nothing to do, and with one file to edit, which is committed."""
    yield scene.measure("status, clean", "dvlite", "status")
    yield scene.measure("push, first", "dvlite", "push")
    yield scene.measure("push, nothing new", "dvlite", "push")
    yield scene.measure("status --remote", "dvlite", "status", "--remote")
    yield scene.measure("pull, nothing new", "dvlite", "pull")
    yield scene.measure("checkout, nothing to do", "dvlite", "checkout")
    edited.write_bytes(b"edited")
    yield scene.measure("status, one edit", "dvlite", "status")
    yield scene.measure("add -u, one edit", "dvlite", "add", "-u")
    yield scene.measure("git commit, one edit", "git", "commit", "-qam", "Edit")


def measure_files(scene: Scene, size: int) -> Iterator[Measured]:
    """Measures commands on one directory of `size` files, from the first `add` to a merge."""
    folder = scene.repo / "data"
    data.write_tree(folder, files=size, folders=max(1, size // 100), least_bytes=1_000, most_bytes=1_000)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    yield scene.measure("add, first", "dvlite", "add", "data")
    scene.save("Data")
    yield from measure_everyday(scene, paths[0])
    yield scene.measure("push, one edit", "dvlite", "push")
    yield scene.measure("diff HEAD~1", "dvlite", "diff", "HEAD~1")
    yield scene.measure("git checkout, one edit", "git", "checkout", "-q", "HEAD~1")
    yield scene.measure("verify", "dvlite", "verify")
    paths[-1].write_bytes(b"edited too")
    scene.do("git", "checkout", "-q", "-b", "side")
    scene.do("dvlite", "add", "-u")
    scene.do("git", "commit", "-qam", "Edit on the side")
    scene.do("git", "checkout", "-q", "main")
    yield scene.measure("git merge, one edit each", "git", "merge", "-q", "--no-edit", "side")
    scene.do("dvlite", "push", "-q", "--all-commits")
    bob = scene.clone("bob")
    yield scene.measure("verify, fresh clone", "dvlite", "verify", cwd=bob)
    one = paths[size // 2].relative_to(scene.repo)
    yield scene.measure("get one file", "dvlite", "get", scene.repo, one, "-o", scene.repo.parent / "one")
    yield scene.measure("pull one file", "dvlite", "pull", one, cwd=bob)
    yield from measure_part(scene, one)
    dave = scene.clone("dave")
    yield scene.measure("pull, cold", "dvlite", "pull", cwd=dave)
    paths[1].write_bytes(b"edited last")
    scene.do("dvlite", "add", "-u")
    scene.do("git", "commit", "-qam", "Last")
    scene.do("dvlite", "push", "-q")
    yield scene.measure("git pull, one edit", "git", "pull", "-q", cwd=dave)
    yield scene.measure("pull, one edit", "dvlite", "pull", "-q", cwd=dave)
    (dave / "data").rename(scene.repo.parent / "aside")  # removed files would slow what creates some next
    yield scene.measure("checkout, warm cache", "dvlite", "checkout", cwd=dave)
    yield scene.measure("fsck", "dvlite", "fsck")
    yield scene.measure("gc, plan", "dvlite", "gc")
    yield scene.measure("gc --remote, plan", "dvlite", "gc", "--remote")


def measure_part(scene: Scene, one: Path) -> Iterator[Measured]:
    """Measures work on one folder of 100 files, in a clone that has nothing else of the directory."""
    carol = scene.clone("carol")
    yield scene.measure("100 files: pull", "dvlite", "pull", one.parent, cwd=carol)
    yield scene.measure("100 files: status", "dvlite", "status", cwd=carol)
    yield scene.measure("100 files: pull, nothing new", "dvlite", "pull", cwd=carol)
    yield scene.measure("100 files: checkout, nothing to do", "dvlite", "checkout", cwd=carol)
    (carol / one).write_bytes(b"edited by carol")
    yield scene.measure("100 files: add -u, one edit", "dvlite", "add", "-u", cwd=carol)
    yield scene.measure("100 files: git commit, one edit", "git", "commit", "-qam", "Edit", cwd=carol)
    yield scene.measure("100 files: git checkout, one edit", "git", "checkout", "-q", "HEAD~1", cwd=carol)


def measure_paths(scene: Scene, size: int) -> Iterator[Measured]:
    """Measures commands on `size` tracked files of one folder."""
    folder = scene.repo / "data"
    folder.mkdir()
    names = [f"data/{number}.bin" for number in range(size)]
    for name in names:
        (scene.repo / name).write_bytes(name.encode() * 100)
    yield scene.measure("add, first", "dvlite", "add", *names)
    scene.save("Data")
    yield from measure_everyday(scene, scene.repo / names[0])
    yield scene.measure("git push, one edit", "git", "push", "-q", "hub", "main")
    yield scene.measure("git checkout, one edit", "git", "checkout", "-q", "HEAD~1")
    yield scene.measure("verify", "dvlite", "verify")
    scene.do("git", "checkout", "-q", "main")
    bob = scene.clone("bob")
    yield scene.measure("pull, cold", "dvlite", "pull", cwd=bob)
    yield scene.measure("gc --remote, plan", "dvlite", "gc", "--remote")


def measure_stages(scene: Scene, size: int) -> Iterator[Measured]:
    """Measures commands on `size` stages without a dependency on each other."""
    (scene.repo / "in").write_text("in\n")
    stages = "".join(
        f"  s{number}:\n    cmd: echo {number} > out{number}\n    deps: [in]\n    outs: [out{number}]\n"
        for number in range(size)
    )
    (scene.repo / "dvlite.yaml").write_text("stages:\n" + stages)
    scene.save("Pipeline")
    yield scene.measure("repro, first", "dvlite", "repro", "-j", "2")
    scene.save("Results")
    yield scene.measure("repro, nothing to do", "dvlite", "repro")
    yield scene.measure("status, clean", "dvlite", "status")
    yield scene.measure("push, first", "dvlite", "push")
    yield scene.measure("push, nothing new", "dvlite", "push")
    yield scene.measure("verify", "dvlite", "verify")
    yield scene.measure("runs", "dvlite", "runs")
    yield scene.measure("lineage", "dvlite", "lineage", "out0")
    bob = scene.clone("bob")
    yield scene.measure("verify, fresh clone", "dvlite", "verify", cwd=bob)
    yield scene.measure("pull, cold", "dvlite", "pull", cwd=bob)


GROUPS: dict[str, Callable[[Scene, int], Iterator[Measured]]] = {
    "files": measure_files,
    "paths": measure_paths,
    "stages": measure_stages,
}
WHAT = {
    "files": "files of 1 KB in one tracked directory",
    "paths": "tracked files in one folder, each with a pointer",
    "stages": "stages",
}
SIZES = {"files": (1_000, 10_000, 100_000, 1_000_000), "paths": (100, 1_000, 4_000), "stages": (10, 100, 1_000)}


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=GROUPS, help="this group (repeatable)")
    parser.add_argument("--sizes", type=int, nargs="+", help="instead of those of the group")
    parser.add_argument("--folder", type=Path, help="work in a new folder below this one")
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints a Markdown table for each group."""
    asked = read_options()
    for group in asked.only or GROUPS:
        sizes = asked.sizes or SIZES[group]
        results = [measure_at(group, size, asked.folder) for size in sizes]
        show(group, sizes, results)


def measure_at(group: str, size: int, above: Path | None) -> list[Measured]:
    """Measures one group at one size, in a repository and with a server of its own."""
    with (
        tempfile.TemporaryDirectory(dir=above) as text,
        running_weed(Path(text) / "server") as weed,
        metered(weed.endpoint_url) as meter,
    ):
        scene = Scene(Path(text), weed, meter)
        scene.env["DVLITE_TRUST"] = meter.url
        scene.start(f"s3://{weed.bucket}/growth")
        hub = scene.repo.parent / "hub.git"
        scene.do("git", "init", "-q", "--bare", hub)
        scene.do("git", "remote", "add", "hub", hub)
        measured = []
        for title, sample, requests in GROUPS[group](scene, size):
            print(
                f"{group} {size:,}: {title}: {sample.cpu_seconds:.2f} s of CPU, {sample.seconds:.2f} s,"
                f" {sample.peak_bytes / MIB:.0f} MiB, {requests} requests",
                file=sys.stderr,
                flush=True,
            )
            measured.append((title, sample, requests))
        shutil.rmtree(scene.repo, ignore_errors=True)
        return measured


def show(group: str, sizes: Sequence[int], results: Sequence[Sequence[Measured]]) -> None:
    """Prints one table: per size CPU seconds, memory and requests."""
    print(f"\n| {group} | " + " | ".join(f"{size:,}" for size in sizes) + " | growth |")
    print("|---" * (len(sizes) + 2) + "|")
    for rows in zip(*results, strict=True):
        cells = [
            f"{sample.cpu_seconds:.2f} s, {sample.peak_bytes / MIB:.0f} MiB" + (f", {requests} req" if requests else "")
            for _, sample, requests in rows
        ]
        print(
            f"| {rows[0][0]} | {' | '.join(cells)} | {draw.exponent(sizes, [row[1].cpu_seconds for row in rows]):.2f} |"
        )


if __name__ == "__main__":
    main()
