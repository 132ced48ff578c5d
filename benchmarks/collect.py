"""Measures a collection on a remote: `python benchmarks/collect.py --versions 30 --kept 5`.

Pushes many versions of a directory and of a large file to an S3 server, drops all but the last few from git, and collects. Compares what the
remote takes then with what a fresh push of the kept versions takes, and has a clone from before pull each of them. Prints a table.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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
            "GIT_AUTHOR_NAME": "Bench",
            "GIT_AUTHOR_EMAIL": "bench@example.com",
            "GIT_COMMITTER_NAME": "Bench",
            "GIT_COMMITTER_EMAIL": "bench@example.com",
        }

    def run(self, *argv: str | Path, cwd: Path | None = None) -> process.Sample:
        return process.run(argv, cwd=cwd or self.repo, env=self.env)

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
        self.run("git", "init", "-q", "-b", "main")
        self.run("dvlite", "init", "-q")
        self.run("dvlite", "remote", "add", url, "-o", f"endpoint_url={self.meter.url}")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "Start")


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


def main() -> None:
    """Measures and prints a Markdown table."""
    asked = read_options()
    with (
        tempfile.TemporaryDirectory(dir=asked.folder) as text,
        running_weed(Path(text) / "server") as weed,
        metered(weed.endpoint_url) as meter,
    ):
        folder = Path(text)
        bench = Bench(folder, weed, meter)
        bench.start(f"s3://{weed.bucket}/history")
        trees = [make_version(bench, number, asked) for number in range(asked.versions)]
        shutil.copytree(bench.repo, folder / "before", symlinks=True)
        grown = bench.size("history")
        drop(bench, trees[-asked.kept :])
        rows = [("remote before", grown, None, None)]
        meter.reset()
        plan = bench.run("dvlite", "gc", "--remote", "--grace", "0s")
        rows.append(("plan", meter.received_bytes, plan, meter.requests))
        meter.reset()
        done = bench.run("dvlite", "gc", "--remote", "--grace", "0s", "--yes")
        rows.append(("gc --remote --yes", meter.sent_bytes + meter.received_bytes, done, meter.requests))
        left = bench.size("history")
        rows.append(("remote after", left, None, None))
        bench.run("dvlite", "remote", "add", "fresh", f"s3://{weed.bucket}/fresh", "-o", f"endpoint_url={meter.url}")
        bench.run("dvlite", "fetch", "-q", "--all-commits")
        bench.run("dvlite", "push", "-q", "-r", "fresh", "--all-commits")
        fresh = bench.size("fresh")
        rows.append(("a fresh push of the kept versions", fresh, None, None))
        check(bench, folder / "before", asked.kept)
    print(
        f"\n{asked.versions} versions of {asked.files:,} files and of a file of {asked.large_mib} MiB; {asked.kept} kept\n"
    )
    print("| | MiB | seconds | peak memory, MiB | requests |\n|---|---|---|---|---|")
    for name, size, sample, requests in rows:
        cells = [f"{size / MIB:,.1f}"]
        cells += [f"{sample.seconds:.1f}", f"{sample.peak_bytes / MIB:.0f}"] if sample else ["", ""]
        print(f"| {name} | {' | '.join(cells)} | {'' if requests is None else f'{requests:,}'} |")
    print(
        f"\nafter / fresh: {left / fresh:.3f}; each of the {asked.kept} versions was pulled by a clone from before, byte for byte"
    )


def make_version(bench: Bench, number: int, asked: argparse.Namespace) -> str:
    """Makes, commits and pushes one version; returns its tree in git."""
    print(f"version {number + 1} of {asked.versions}", file=sys.stderr, flush=True)
    if number:
        edit(bench.repo, number)
    else:
        data.write_tree(bench.repo / "small", files=asked.files, folders=100, least_bytes=2_000, most_bytes=18_000)
        data.write_random(bench.repo / "large.bin", asked.large_mib * MIB)
    bench.run("dvlite", "add", "-q", "small", "large.bin")
    bench.run("git", "commit", "-qm", f"Version {number}")
    bench.run("dvlite", "push", "-q")
    bench.run("dvlite", "cache", "prune", "--pushed", "-q")
    return bench.text("git", "rev-parse", "HEAD^{tree}")


def drop(bench: Bench, trees: Sequence[str]) -> None:
    """Leaves only commits of these trees in git."""
    parent: list[str] = []
    for tree in trees:
        parent = ["-p", bench.text("git", "commit-tree", tree, *parent, "-m", "Kept")]
    bench.run("git", "update-ref", "refs/heads/main", parent[1])
    bench.run("git", "reflog", "expire", "--expire=all", "--all")
    (bench.repo / ".git" / "ORIG_HEAD").unlink(missing_ok=True)


def check(bench: Bench, before: Path, kept: int) -> None:
    """Has a clone from before pull each kept version, and compares it with what this one has."""
    shutil.rmtree(before / ".git" / "dvlite" / "cache", ignore_errors=True)
    for back in range(kept):
        bench.run("git", "checkout", "-q", f"main~{back}", cwd=before)
        bench.run("dvlite", "pull", "-q", "--force", cwd=before)
        bench.run("git", "checkout", "-q", f"main~{back}")
        bench.run("dvlite", "checkout", "-q", "--force")
        for name in ("small", "large.bin"):
            subprocess.run(["diff", "-r", bench.repo / name, before / name], check=True)


if __name__ == "__main__":
    main()
