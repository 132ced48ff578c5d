"""Measures reading through `dvlite://` beside s3fs and DVC's file system: `python benchmarks/reads.py --peers ~/peers`.

One S3 server on this machine; every reader is a fresh process with nothing in its cache. Prints, for each, the wall time of the reading
itself and of the whole process, CPU seconds of the whole process, and what moved, as medians of rounds that take turns.

- sequential: one file read from its start to its end, 8 MiB at a time
- ranges: 1,000 ranges of 64 KiB at random places of it, in one call; beside it, a download of the file
- small: files of 2 KB of one folder, all of them in one call
- open: a table of contents and one file, by the URL of a bare git repository
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import data, process
from benchmarks.collect import MIB, Bench
from benchmarks.meter import Meter
from tests.store.weed import running_weed

START = "import json, os, random, sys, time\nurl, endpoint, bucket, size, folder = sys.argv[1:6]\nsize = int(size)\n"
DVLITE = (
    START
    + "from dvlite.reading.filesystem import DvliteFileSystem as FS\nbegan = time.perf_counter()\nfs, path, small = FS(repo=url), 'large.bin', 'small'\n"
)
S3FS = (
    START
    + "import s3fs\nbegan = time.perf_counter()\nfs = s3fs.S3FileSystem(endpoint_url=endpoint)\npath, small = f'{bucket}/plain/large.bin', f'{bucket}/plain/small'\n"
)
DVC = (
    START + "from dvc.api import DVCFileSystem\nbegan = time.perf_counter()\nfs, small = DVCFileSystem(url), 'small'\n"
)
END = "\ntook = time.perf_counter() - began\nmoved = fs.traffic.bytes_read if hasattr(fs, 'traffic') else 0\nprint(json.dumps([took, moved]))\nsys.stdout.flush()\nos._exit(0)\n"
SEQUENTIAL = "with fs.open(path, 'rb') as file:\n    read = sum(map(len, iter(lambda: file.read(8 << 20), b'')))\nassert read == size"
RANGES = "starts = [random.Random(i).randrange(size - 65536) for i in range(1000)]\nread = fs.cat_ranges([path] * 1000, starts, [start + 65536 for start in starts])\nassert sum(map(len, read)) == 65536000"
GET = "fs.get_file(path, folder + '/got')"
SMALL = "read = fs.cat(fs.find(small))\nassert len(read) >= size, len(read)"
SMALL_OF_DVC = "read = {name: fs.cat_file(name) for name in fs.find(small)}\nassert len(read) >= size, len(read)"
OPEN = "names = fs.ls('')\nread = fs.cat_file('small/0000/0000000.bin')"

# what is read, by whom, the program
CASES = (
    ("sequential", "dvlite", DVLITE + SEQUENTIAL + END),
    ("sequential", "s3fs", S3FS + SEQUENTIAL + END),
    ("ranges", "dvlite", DVLITE + RANGES + END),
    ("ranges", "s3fs", S3FS + RANGES + END),
    ("download", "dvlite", DVLITE + GET + END),
    ("download", "s3fs", S3FS + GET + END),
    ("small", "dvlite", DVLITE + SMALL + END),
    ("small", "s3fs", S3FS + SMALL + END),
    ("small", "dvc", DVC + SMALL_OF_DVC + END),
    ("open", "dvlite", DVLITE + OPEN + END),
)


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures reading through dvlite:// beside s3fs and DVC.")
    parser.add_argument("--peers", type=Path, help="a virtual environment that has dvc with its S3 support")
    parser.add_argument("--size-mib", type=int, default=1024, help="of the large file")
    parser.add_argument("--files", type=int, default=2000, help="small ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="sequential, ranges, download, small, open")
    parser.add_argument("--folder", type=Path, help="where to work")
    return parser.parse_args(argv)


def main() -> None:
    options = read_options()
    with (
        tempfile.TemporaryDirectory(dir=options.folder, prefix="reads-") as text,
        running_weed(Path(text) / "server") as weed,
    ):
        bench = Bench(Path(text), weed, Meter(weed.endpoint_url))
        bench.env["DVLITE_TRUST"] = weed.endpoint_url
        dvc = None if options.peers is None else options.peers / "bin"
        url = prepare(bench, options, dvc)
        results: dict[tuple[str, str], list[tuple[float, ...]]] = {}
        for _ in range(options.rounds):
            for what, who, program in CASES:
                if (options.only and what not in options.only) or (who == "dvc" and dvc is None):
                    continue
                if who == "dvc":
                    sample = measure(bench, options, what, program, str(bench.repo.parent / "dvc.git"), dvc)
                else:
                    sample = measure(bench, options, what, program, url)
                results.setdefault((what, who), []).append(sample)
                print(f"{what} {who}: {sample[0]:.2f} s", file=sys.stderr, flush=True)
        show(results)


def prepare(bench: Bench, options: argparse.Namespace, dvc: Path | None) -> str:
    """Pushes the data with dvlite and with DVC, and puts it into the bucket as plain objects; returns the URL of a bare repository."""
    import s3fs

    source = bench.repo.parent / "source"
    data.write_random(source / "large.bin", options.size_mib * MIB)
    data.write_tree(source / "small", files=options.files, folders=1, least_bytes=1000, most_bytes=3000)
    bench.start(f"s3://{bench.weed.bucket}/dvlite")
    plain = s3fs.S3FileSystem(
        endpoint_url=bench.weed.endpoint_url, key=bench.weed.access_key_id, secret=bench.weed.secret_access_key
    )
    plain.put(str(source), f"{bench.weed.bucket}/plain", recursive=True)
    os.link(source / "large.bin", bench.repo / "large.bin")
    shutil.copytree(source / "small", bench.repo / "small")
    bench.do("dvlite", "add", "large.bin", "small")
    bench.do("git", "commit", "-qam", "Data")
    bench.do("dvlite", "push")
    bench.do("git", "clone", "-q", "--bare", bench.repo, bench.repo.parent / "dvlite.git")
    if dvc is not None:
        repo = bench.repo.parent / "dvc"
        repo.mkdir()
        shutil.copytree(source / "small", repo / "small")
        for words in (
            ("git", "init", "-q"),
            (dvc / "dvc", "init", "--quiet"),
            (dvc / "dvc", "remote", "add", "--default", "origin", f"s3://{bench.weed.bucket}/dvc"),
            (dvc / "dvc", "remote", "modify", "origin", "endpointurl", bench.weed.endpoint_url),
            (dvc / "dvc", "add", "small"),
            ("git", "add", "-A"),
            ("git", "commit", "-qm", "Data"),
            (dvc / "dvc", "push"),
            ("git", "clone", "-q", "--bare", ".", "../dvc.git"),
        ):
            bench.do(*words, cwd=repo)
        shutil.rmtree(repo)
    shutil.rmtree(source)
    return (bench.repo.parent / "dvlite.git").as_uri()


def measure(
    bench: Bench, options: argparse.Namespace, what: str, program: str, url: str, peers: Path | None = None
) -> tuple[float, ...]:
    """Runs one reader in a fresh home, with the Python in the folder `peers` if one is given."""
    home = bench.repo.parent / "reader"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    interpreter = sys.executable if peers is None else peers / "python"
    size = options.files if what == "small" else options.size_mib * MIB
    words = [interpreter, "-c", program, url, bench.weed.endpoint_url, bench.weed.bucket, str(size), str(home)]
    env = bench.env | {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(Path(__file__).parent.parent)}
    if peers is not None:
        env.pop("PYTHONPATH")
    sample = process.run(words, cwd=home, env=env, watched=True)
    took, moved = json.loads((home / "output.log").read_text().splitlines()[-1])
    return took, sample.seconds, sample.cpu_seconds, moved / MIB, sample.peak_bytes / MIB


def show(results: dict[tuple[str, str], list[tuple[float, ...]]]) -> None:
    print("| what | reader | reading (s) | process (s) | CPU (s) | from the remote (MiB) | memory (MiB) |")
    print("|---|---|---|---|---|---|---|")
    for (what, who), samples in results.items():
        took, whole, cpu, moved, memory = map(statistics.median, zip(*samples, strict=True))
        shown = f"{moved:,.1f}" if moved else "-"
        print(f"| {what} | {who} | {took:.2f} | {whole:.2f} | {cpu:.2f} | {shown} | {memory:,.0f} |")


if __name__ == "__main__":
    main()
