"""Measures copies from a bucket to a bucket and to a folder: `python benchmarks/copies.py --versions 4`.

Pushes versions of a directory and of a large file to an S3 server, and copies all of them with `dvlite sync` from a clone whose cache and
temporary folder are on a file system of 64 MiB, where the data would not fit. Prints a table; needs root, for that file system.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.collect import MIB, Bench, make_version, read_options
from benchmarks.meter import metered
from tests.store.weed import running_weed

SMALL_MIB = 64


def main() -> None:
    """Measures and prints a Markdown table."""
    asked = read_options(description=__doc__, versions=4)
    with (
        tempfile.TemporaryDirectory(dir=asked.folder) as text,
        running_weed(Path(text) / "server") as weed,
        metered(weed.endpoint_url) as meter,
        small_disk(Path(text) / "small") as small,
    ):
        folder = Path(text)
        bench = Bench(folder, weed, meter)
        bench.start(f"s3://{weed.bucket}/origin")
        for number in range(asked.versions):
            make_version(bench, number, asked)
        subprocess.run(["git", "clone", "-q", bench.repo, small / "clone"], check=True)
        bench.repo = small / "clone"
        (small / "tmp").mkdir()
        bench.env |= {"TMPDIR": str(small / "tmp"), "DVLITE_TRUST": meter.url}
        size = bench.size("origin")
        print(
            f"\n{asked.versions} versions of {asked.files:,} files and of a file of {asked.large_mib} MiB: {size / MIB:,.0f} MiB\n"
        )
        print(
            "| copy | seconds | peak memory, MiB | requests | MiB received | MiB on the local disk |\n|---|---|---|---|---|---|"
        )
        places = {"bucket": f"s3://{weed.bucket}/backup", "folder": str(folder / "backup")}
        for name, url in places.items():
            options = ("-o", f"endpoint_url={meter.url}") if name == "bucket" else ()
            bench.run("dvlite", "remote", "add", "-q", name, url, *options)
            for which in ("first", "again", "again, from a fresh clone"):
                if which.endswith("clone"):
                    bench.run("rm", "-rf", ".git/dvlite/cache", ".git/dvlite/remote")
                meter.reset()
                done = bench.run("dvlite", "sync", "-q", "origin", name, "--all-commits")
                used = os.statvfs(small)
                cells = (
                    f"{done.seconds:.1f}",
                    f"{done.peak_bytes / MIB:.0f}",
                    f"{meter.requests:,}",
                    f"{meter.received_bytes / MIB:,.1f}",
                )
                disk = (used.f_blocks - used.f_bfree) * used.f_frsize / MIB
                print(f"| bucket to {name}, {which} | {' | '.join(cells)} | {disk:.1f} |", flush=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mounts a small file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m", "dvlite", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


if __name__ == "__main__":
    main()
