"""Kills parts of a Dask cluster at random moments while `dvlite repro --on dask` works: python benchmarks/dask_chaos.py --kills 50 --seed 1

Two workers in folders of their own and a real S3 server. Workers, nannies, the scheduler and the client are killed with SIGKILL, and the S3
server stands still for 20 s. After each round outputs and lockfile have to be those of a local run in another clone; at the end each task
has to have exactly one result on the remote (nothing that was recorded was done again), and no process may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import open_cache, open_repo
from dvlite.store.tasks import look_at_all
from tests.dask_cluster import Cluster, running_cluster
from tests.store.weed import Weed, running_weed

PIPELINE = """\
stages:
  part:
    matrix: {n: [1, 2, 3, 4, 5, 6]}
    cmd: sleep 0.${item.n}; seq $(( $(cat seed) * ${item.n} )) | sort -r > parts/${item.n}
    deps: [seed]
    outs: ["parts/${item.n}"]
  all: {cmd: "sleep 0.5; cat parts/* | sort -n > all", deps: [parts/1, parts/2, parts/3, parts/4, parts/5, parts/6], outs: [all]}
  model: {cmd: "sleep 0.5; sha256sum < all > model", deps: [all], outs: [model], resources: {gpu: 1}}
"""
MAP = """\
  square:
    map: {over: "items/*", batch: 4}
    cmd: sleep 0.05; echo $(( $(cat ${in}) * $(cat seed) )) > ${out}
    deps: [seed]
    outs: ["squares/${stem}"]
  total: {cmd: "cat squares/* | sort -n > total", deps: [squares], outs: [total]}
"""
OUTS = ("all", "model")


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--every", type=float, nargs=2, default=(1, 14), help="seconds between two events, at least and at most"
    )
    parser.add_argument("--map", action="store_true", help="with a map stage of 40 datums, and a reduce")
    return parser.parse_args(argv)


def main() -> None:
    options = read_options()
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=place) as folder, running_weed(Path(folder) / "weed") as weed:
        Chaos(Path(folder), weed, options).run()


class Chaos:
    """One series of rounds."""

    def __init__(self, folder: Path, weed: Weed, options: argparse.Namespace) -> None:
        self.folder, self.weed, self.options = folder, weed, options
        self.random = random.Random(options.seed)
        self.done: Counter[str] = Counter()
        self.outs = (*OUTS, "total") if options.map else OUTS
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "DVLITE_"))},
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "AWS_ACCESS_KEY_ID": weed.access_key_id,
            "AWS_SECRET_ACCESS_KEY": weed.secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "DVLITE_TRUST": weed.endpoint_url,
            "CUDA_VISIBLE_DEVICES": "0",
        }
        (folder / "gitconfig").write_text(
            "[user]\n  name = a\n  email = a@example.com\n[init]\n  defaultBranch = main\n"
        )

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environ)
        away, here = self.clone("away"), self.clone("here")
        began, rounds = time.monotonic(), 0
        with running_cluster(self.folder / "cluster", ["cpu=2", "cpu=2 GPU=1"], self.environ) as cluster:
            while self.done.total() < self.options.kills:
                rounds += 1
                for clone in (away, here):
                    (clone / "seed").write_text(f"{1000 + rounds}\n")
                runs = self.round(away, cluster)
                self.dvlite(here, "repro", "--no-run-cache")
                self.compare(away, here)
                print(f"round {rounds}: {runs} runs of repro, {self.done.total()} events so far", flush=True)
            self.check_results(away)
        events = ", ".join(f"{count} x {name}" for name, count in sorted(self.done.items()))
        print(
            f"{self.done.total()} events ({events}) in {rounds} rounds, {time.monotonic() - began:.0f} s: outputs equal, nothing done twice, no process left"
        )

    def clone(self, name: str) -> Path:
        root = self.folder / name
        root.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        self.dvlite(root, "init")
        url = f"s3://{self.weed.bucket}/{name}"
        self.dvlite(root, "remote", "add", url, "-o", f"endpoint_url={self.weed.endpoint_url}")
        (root / "dvlite.yaml").write_text(PIPELINE + (MAP if self.options.map else ""))
        (root / "items").mkdir()
        for number in range(40):
            (root / "items" / f"{number}.txt").write_text(f"{number}\n")
        return root

    def dvlite(self, root: Path, *words: str) -> None:
        done = subprocess.run([sys.executable, "-m", "dvlite", *words], cwd=root, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"dvlite {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")

    def round(self, root: Path, cluster: Cluster) -> int:
        """Runs `repro` until it succeeds, and kills meanwhile."""
        for runs in range(1, 200):
            cluster.start()
            words = [sys.executable, "-m", "dvlite", "repro", "--on", f"dask:{cluster.address}"]
            with (self.folder / "output").open("w") as output:
                process = subprocess.Popen(words, cwd=root, stdout=output, stderr=output, env={**self.environ})
                while process.poll() is None:
                    deadline = time.monotonic() + self.random.uniform(*self.options.every)
                    while process.poll() is None and time.monotonic() < deadline:
                        time.sleep(0.02)
                    if process.poll() is None and self.done.total() < self.options.kills:
                        self.event(cluster, process)
            if process.returncode == 0:
                return runs
            text = (self.folder / "output").read_text()
            if process.returncode not in (3, -signal.SIGKILL) and "cannot reach the Dask scheduler" not in text:
                sys.exit(f"repro ended with {process.returncode}:\n{text}")
        sys.exit("it never ends")

    def event(self, cluster: Cluster, client: subprocess.Popen[bytes]) -> None:
        kinds = (
            ["worker"] * 8 + ["client"] * 5 + ["scheduler"] * 3 + ["nanny"] * 3 + ["remote"] * (self.done["remote"] < 3)
        )
        kind = self.random.choice(kinds)
        if kind == "worker" and (pids := cluster.worker_pids()):
            cluster.kill_worker(self.random.choice(pids))
        elif kind == "client":
            client.kill()
        elif kind == "scheduler":
            cluster.kill_scheduler()
        elif kind == "nanny":
            cluster.kill_nanny(self.random.randrange(2))
            cluster.start()
        elif kind == "remote":
            os.kill(self.weed.pid, signal.SIGSTOP)
            time.sleep(20)
            os.kill(self.weed.pid, signal.SIGCONT)
        else:
            return
        self.done[kind] += 1
        print(f"  {kind}, after: {(self.folder / 'output').read_text().splitlines()[-1:]}", flush=True)

    def compare(self, away: Path, here: Path) -> None:
        for name in self.outs:
            if (away / name).read_bytes() != (here / name).read_bytes():
                sys.exit(f"{name} is not what a local run makes")
        locks = [
            [line for line in (clone / "dvlite.lock").read_text().splitlines() if "run:" not in line]
            for clone in (away, here)
        ]
        if locks[0] != locks[1]:
            sys.exit("the lockfile is not that of a local run")

    def check_results(self, away: Path) -> None:
        repo = open_repo(away, self.environ)
        _, remote = open_remote(repo, open_cache(repo), None, None)
        with remote:
            twice = {
                name[:12]: len(seen.results) for name, seen in look_at_all(remote).items() if len(seen.results) != 1
            }
        if twice:
            sys.exit(f"tasks without exactly one result: {twice}")


if __name__ == "__main__":
    main()
