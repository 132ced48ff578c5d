"""Measures a collection on a remote: `python benchmarks/collect.py --versions 30 --kept 5`.

Pushes many versions of a directory and of a large file to an S3 server, drops all but the last few from git, and collects. Compares what the
remote takes then with what a fresh push of the kept versions takes, and has a clone from before pull each of them. Does the same with
restic, where it is installed. Prints a table for each.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import data, process
from benchmarks.meter import Meter, metered
from dvlite.store import url
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from tests.store.weed import Weed, running_weed

MIB = 1 << 20


def read_options(
    argv: Sequence[str] | None = None, *, description: str | None = __doc__, versions: int = 30
) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--versions", type=int, default=versions)
    parser.add_argument("--kept", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="work in a new folder below this one")
    return parser.parse_args(argv)


class Bench:
    """A repository, a bucket and what it takes to run commands in them."""

    def __init__(self, folder: Path, weed: Weed, meter: Meter) -> None:
        self.repo, self.meter, self.weed = folder / "repo", meter, weed
        home = folder / "home"
        home.mkdir()
        self.env = {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": weed.access_key_id,
            "AWS_SECRET_ACCESS_KEY": weed.secret_access_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RESTIC_PASSWORD": "not a secret",
            "GIT_AUTHOR_NAME": "Bench",
            "GIT_AUTHOR_EMAIL": "bench@example.com",
            "GIT_COMMITTER_NAME": "Bench",
            "GIT_COMMITTER_EMAIL": "bench@example.com",
        }

    def run(self, *argv: str | Path, cwd: Path | None = None) -> process.Sample:
        return process.run(argv, cwd=cwd or self.repo, env=self.env)

    def do(self, *argv: str | Path, cwd: Path | None = None) -> None:
        """Runs what is not measured."""
        process.do(argv, cwd=cwd or self.repo, env=self.env)

    def text(self, *argv: str) -> str:
        done = subprocess.run(argv, cwd=self.repo, env=self.env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def size(self, prefix: str) -> int:
        store = open_store(
            url.parse_url(f"s3://{self.weed.bucket}/{prefix}", self.repo),
            self.weed.options(),
            budget=RetryBudget(30),
            connections=1,
        )
        try:
            return sum(entry.size_bytes for entry in store.list("").entries)
        finally:
            store.close()

    def start(self, url: str) -> None:
        self.repo.mkdir()
        self.do("git", "init", "-q", "-b", "main")
        self.do("dvlite", "init", "-q")
        self.do("dvlite", "remote", "add", url, "-o", f"endpoint_url={self.meter.url}")
        self.do("git", "add", "-A")
        self.do("git", "commit", "-qm", "Start")


def edit(root: Path, number: int) -> None:
    """Changes one file in a hundred, and a fiftieth of the large file: a stretch of it, and a kilobyte inserted."""
    chance = random.Random(number)
    paths = sorted(path for path in (root / "small").rglob("*") if path.is_file())
    for path in chance.sample(paths, len(paths) // 100):
        path.write_bytes(chance.randbytes(path.stat().st_size))
    large = root / "large.bin"
    size = large.stat().st_size
    with open(large, "r+b") as file:
        file.seek(chance.randrange(size - size // 50))
        file.writelines(chance.randbytes(MIB) for _ in range(size // 50 // MIB))
    inserted = root / "inserted"
    data.write_inserted(large, inserted, extra_bytes=1024, seed=str(number))
    os.replace(inserted, large)


class Restic:
    """The same history in restic, if it is installed: the newest versions in a second repository too, which is what they take alone."""

    def __init__(self, bench: Bench, kept: int) -> None:
        self._bench, self._kept = bench, kept

    @property
    def is_here(self) -> bool:
        return shutil.which("restic") is not None

    def backup(self, number: int, versions: int) -> None:
        for name in ("restic", "restic-fresh")[: 2 if number >= versions - self._kept else 1]:
            if not self._bench.size(name):
                self._bench.do("restic", *self._repository(name), "init")
            self._bench.do("restic", *self._repository(name), "backup", "--quiet", "small", "large.bin")

    def forget(self, *options: str) -> Sequence[str]:
        return "restic", *self._repository("restic"), "forget", "--keep-last", str(self._kept), "--prune", *options

    def check(self) -> None:
        """Reads all that is left."""
        self._bench.do("restic", *self._repository("restic"), "check", "--read-data")

    def _repository(self, name: str) -> Sequence[str]:
        return "--repo", f"s3:{self._bench.meter.url}/{self._bench.weed.bucket}/{name}"


@dataclass(frozen=True, slots=True)
class Step:
    """What one program did: what the remote takes then, or what went over the network, and what that cost."""

    name: str
    size_bytes: int
    sent_bytes: int | None = None
    sample: process.Sample | None = None
    requests: int | None = None


def measured(bench: Bench, name: str, *argv: str) -> Step:
    """Runs one step and returns what it cost."""
    bench.meter.reset()
    sample = bench.run(*argv)
    meter = bench.meter
    return Step(name, meter.sent_bytes + meter.received_bytes, meter.sent_bytes, sample, meter.requests)


def main() -> None:
    """Measures and prints Markdown tables."""
    asked = read_options()
    with (
        tempfile.TemporaryDirectory(dir=asked.folder) as text,
        running_weed(Path(text) / "server") as weed,
        metered(weed.endpoint_url) as meter,
    ):
        folder = Path(text)
        bench = Bench(folder, weed, meter)
        restic = Restic(bench, asked.kept)
        bench.start(f"s3://{weed.bucket}/history")
        trees = []
        for number in range(asked.versions):
            trees.append(make_version(bench, number, asked))
            if restic.is_here:
                restic.backup(number, asked.versions)
        shutil.copytree(bench.repo, folder / "before", symlinks=True)
        before = Step("remote before", bench.size("history"))
        drop(bench, trees[-asked.kept :])
        gc = ("dvlite", "gc", "--remote", "--grace", "0s")
        steps = [before, measured(bench, "plan", *gc), measured(bench, "gc --remote --yes", *gc, "--yes")]
        steps.append(Step("remote after", bench.size("history")))
        bench.do("dvlite", "remote", "add", "fresh", f"s3://{weed.bucket}/fresh", "-o", f"endpoint_url={meter.url}")
        bench.do("dvlite", "fetch", "-q", "--all-commits")
        bench.do("dvlite", "push", "-q", "-r", "fresh", "--all-commits")
        steps.append(Step("a fresh push of the kept versions", bench.size("fresh")))
        check(bench, folder / "before", asked.kept)
        print(
            f"\n{asked.versions} versions of {asked.files:,} files and of a file of {asked.large_mib} MiB; {asked.kept} kept;"
            f" each was pulled by a clone from before, byte for byte"
        )
        show("dvlite", steps)
        if not restic.is_here:
            print("\nrestic: skipped, it is not installed")
            return
        steps = [Step("remote before", bench.size("restic"))]
        steps.append(measured(bench, "plan", *restic.forget("--dry-run")))
        steps.append(measured(bench, "forget --prune", *restic.forget()))
        steps.append(Step("remote after", bench.size("restic")))
        steps.append(Step("fresh backups of the kept versions", bench.size("restic-fresh")))
        restic.check()
        show("restic", steps)


def show(tool: str, steps: Sequence[Step]) -> None:
    """Prints the table of one tool; the last two steps are the sizes that count."""
    own_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # a child begins with it: less cannot be seen
    print(f"\n| {tool} | MiB | of it sent | seconds | peak memory, MiB | requests |\n|---|---|---|---|---|---|")
    for step in steps:
        cells = [f"{step.size_bytes / MIB:,.1f}", "" if step.sent_bytes is None else f"{step.sent_bytes / MIB:,.1f}"]
        if step.sample is None:
            cells += ["", ""]
        else:
            below = "< " if step.sample.peak_bytes <= 1.02 * own_bytes else ""
            cells += [f"{step.sample.seconds:.1f}", f"{below}{step.sample.peak_bytes / MIB:.0f}"]
        print(f"| {step.name} | {' | '.join(cells)} | {'' if step.requests is None else f'{step.requests:,}'} |")
    print(f"\nafter / fresh: {steps[-2].size_bytes / steps[-1].size_bytes:.3f}")


def make_version(bench: Bench, number: int, asked: argparse.Namespace) -> str:
    """Makes, commits and pushes one version; returns its tree in git."""
    print(f"version {number + 1} of {asked.versions}", file=sys.stderr, flush=True)
    if number:
        edit(bench.repo, number)
    else:
        data.write_tree(bench.repo / "small", files=asked.files, folders=100, least_bytes=2_000, most_bytes=18_000)
        data.write_random(bench.repo / "large.bin", asked.large_mib * MIB)
    bench.do("dvlite", "add", "-q", "small", "large.bin")
    bench.do("git", "commit", "-qm", f"Version {number}")
    bench.do("dvlite", "push", "-q")
    bench.do("dvlite", "cache", "prune", "--pushed", "-q")
    return bench.text("git", "rev-parse", "HEAD^{tree}")


def drop(bench: Bench, trees: Sequence[str]) -> None:
    """Leaves only commits of these trees in git."""
    parent: list[str] = []
    for tree in trees:
        parent = ["-p", bench.text("git", "commit-tree", tree, *parent, "-m", "Kept")]
    bench.do("git", "update-ref", "refs/heads/main", parent[1])
    bench.do("git", "reflog", "expire", "--expire=all", "--all")
    (bench.repo / ".git" / "ORIG_HEAD").unlink(missing_ok=True)


def check(bench: Bench, before: Path, kept: int) -> None:
    """Has a clone from before pull each kept version, and compares it with what this one has."""
    shutil.rmtree(before / ".git" / "dvlite" / "cache", ignore_errors=True)
    for back in range(kept):
        bench.do("git", "checkout", "-q", f"main~{back}", cwd=before)
        bench.do("dvlite", "pull", "-q", "--force", cwd=before)
        bench.do("git", "checkout", "-q", f"main~{back}")
        bench.do("dvlite", "checkout", "-q", "--force")
        for name in ("small", "large.bin"):
            subprocess.run(["diff", "-r", bench.repo / name, before / name], check=True)


if __name__ == "__main__":
    main()
