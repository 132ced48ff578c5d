"""What a project costs that no machine here could hold: `python benchmarks/scale.py`, for docs/explanation/scaling.md.

Unit costs are measured with the program's own code: lists of files and indexes with made-up entries, a look at a remote that lists
more packs than were ever made, the plan of a collection, run records. Each at two sizes, so that what a unit costs is the difference.
The rest is arithmetic, with prices and times of a request that stand below as assumptions. Units and tables are kept with the results.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import draw, plan_collection, process, runs, table
from benchmarks.plan_collection import Maker, Shape
from dvlite.formats import store_config
from dvlite.store import pack, s3_xml
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.folder import FolderStore
from dvlite.store.index import MERGE_ABOVE, MERGE_BELOW_BYTES
from dvlite.store.object_store import Listing, ObjectEntry
from dvlite.store.remote import Remote

# Assumptions. Prices: S3 Standard in us-east-1, as listed in 2025; without taxes and without data that leaves the region.
DOLLARS_PER_GB_MONTH = (
    (50_000, 0.023),
    (450_000, 0.022),
    (math.inf, 0.021),
)  # the first so many GB, then the next, ...
DOLLARS_PER_PUT_OR_LIST, DOLLARS_PER_GET = 0.005 / 1000, 0.0004 / 1000
SECONDS_PER_PAGE = 0.1  # a LIST of 1,000 keys
SECONDS_PER_REQUEST = 0.03
BYTES_PER_SECOND = 100e6
PAGE, LISTS_AT_ONCE = 1_000, 16
PACKS_A_PUSH = 2  # until the collection of the month merges what is small


@dataclass(frozen=True, slots=True)
class Project:
    """What is stored, and what is done in a month."""

    files: int
    bytes: float
    pushes: int
    runs: int


PROJECTS = (
    Project(10**5, 1e11, 10**2, 10**3),
    Project(10**6, 1e13, 10**3, 10**4),
    Project(10**7, 1e14, 10**4, 10**5),
    Project(10**8, 1e15, 10**4, 10**5),
)


class Crowded(FolderStore):
    """A folder that lists packs which nothing stands behind."""

    def __init__(self, folder: Path, packs: int) -> None:
        super().__init__(folder)
        self._packs = packs

    def list(self, prefix: str) -> Listing:
        if not prefix.startswith("packs/"):
            return super().list(prefix)
        entries = (ObjectEntry(f"packs/{n:064x}", pack.TARGET_BYTES, 0.0) for n in range(self._packs))
        return Listing(tuple(entries), time.time())


def measure_listing(folder: Path, size: int) -> dict[str, float]:
    """Writes what two pushes of a directory write, the second after one edit."""
    maker = Maker(folder / "store", Shape(size, 2, large=False))
    digests = [random.Random(number).randbytes(32) for number in range(size)]
    began = time.process_time()
    maker.version(0, digests, [])
    seconds = time.process_time() - began
    first = _stored(folder / "store")
    digests[size // 2] = os.urandom(32)
    maker.version(1, digests, [])
    edit = _stored(folder / "store") - first
    return {"listing_bytes": first, "seconds": seconds, "edit_bytes": edit}


def _stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_rows(folder: Path, size: int) -> dict[str, float]:
    """Writes and reads an index with a row for each of `size` files."""
    maker = Maker(folder / "store", Shape(size, 1, large=False))
    digests = [random.Random(number).randbytes(32) for number in range(size)]
    maker.store.put(store_config.NAME, store_config.dump(store_config.DEFAULT))
    maker.version(0, digests, digests)
    index_bytes = _stored(folder / "store" / "index")
    cache = Cache(folder / "cache")
    cache.create()
    with Remote(FolderStore(folder / "store"), cache, "origin", jobs=8) as remote:
        began = time.process_time()
        catalog = Catalog(remote).look()
        catalog.indexes()
        return {"index_bytes": index_bytes, "seconds": time.process_time() - began}


def measure_look(folder: Path, size: int) -> dict[str, float]:
    """Looks at a remote that lists `size` packs, and reads as many keys from pages of XML."""
    cache = Cache(folder / "cache")
    cache.create()
    contents = "".join(
        f"<Contents><Key>project/packs/{n:064x}</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified><ETag>&quot;{n:032x}&quot;</ETag>"
        f"<Size>33554432</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for n in range(PAGE)
    )
    page = (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
        f"{contents}</ListBucketResult>"
    ).encode()
    began = time.process_time()
    for _ in range(size // PAGE):
        s3_xml.read_page(page)
    read = time.process_time() - began
    store = Crowded(folder / "store", size)
    with Remote(store, cache, "origin", jobs=8) as remote:
        began = time.process_time()
        catalog = Catalog(remote).look()
        seconds = time.process_time() - began
        assert len(catalog.packs) == size
    return {"seconds": read + seconds, "page_bytes": len(page) * size / PAGE}


def measure_plan(folder: Path, size: int) -> dict[str, float]:
    """Plans a collection of two versions."""
    shape = Shape(size, 2, large=False)
    maker = Maker(folder / "store", shape)
    maker.store.put(store_config.NAME, store_config.dump(store_config.DEFAULT))
    made = [
        maker.version(n, digests, new).digest.hex() for n, (digests, new) in enumerate(plan_collection.histories(shape))
    ]
    (folder / "versions").write_text("\n".join(made))
    argv = [sys.executable, plan_collection.__file__, "--measure", folder]
    env = {"HOME": str(folder / "store"), "PATH": os.environ["PATH"]}
    sample = process.run(argv, cwd=folder, env=env, watched=True)
    return {"seconds": sample.cpu_seconds, "peak_bytes": sample.peak_bytes}


def measure_runs(folder: Path, size: int) -> dict[str, float]:
    """Writes records of runs."""
    return {"record_bytes": runs.generate(folder / "runs", size)}


UNITS = {
    "listing": (measure_listing, 100_000, 1_000_000),
    "rows": (measure_rows, 100_000, 1_000_000),
    "look": (measure_look, 100_000, 500_000),
    "plan": (measure_plan, 50_000, 200_000),
    "runs": (measure_runs, 2_000, 10_000),
}


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="work in a new folder below this one")
    parser.add_argument("--unit", choices=UNITS, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> None:
    """Measures the units, each in processes of its own, keeps them and draws the tables."""
    asked = read_options()
    if asked.unit:
        found = UNITS[asked.unit][0](asked.folder, asked.size)
        print(json.dumps(found))
        return
    units = {name: unit_costs(name, asked.folder) for name in UNITS}
    draw.keep("scale", {"taken": time.strftime("%Y-%m-%d"), "units": units})
    draw.write()


def unit_costs(name: str, above: Path | None) -> dict[str, float]:
    """Returns what one more file (pack, run) costs: bytes, CPU seconds, memory."""
    _, *sizes = UNITS[name]
    found: list[dict[str, float]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=above) as text:
            argv = [sys.executable, __file__, "--unit", name, "--size", str(size), "--folder", text]
            env = {"HOME": text, "PATH": os.environ["PATH"]}
            sample = process.run(argv, cwd=Path(text), env=env, watched=True)
            said = (Path(text) / "output.log").read_text().splitlines()[-1]
            found.append({"peak_bytes": sample.peak_bytes, **json.loads(said)})
        print(f"{name} {size:,}: {found[-1]}", file=sys.stderr, flush=True)
    each = {column: (found[1][column] - found[0][column]) / (sizes[1] - sizes[0]) for column in found[0]}
    return {**each, **({"edit_bytes": found[1]["edit_bytes"]} if "edit_bytes" in each else {})}


def text_of(kept: dict[str, Any]) -> str:
    """Returns the tables: what units cost, and what projects of several sizes do."""
    units = kept["units"]
    lines = [["one more", "bytes", "CPU", "memory"]]
    for name, title, column in (
        ("listing", "file in a list of files", "listing_bytes"),
        ("rows", "row in an index", "index_bytes"),
        ("look", "pack in a look at a remote", "page_bytes"),
        ("plan", "file in the plan of a collection", ""),
        ("runs", "run record, stored", "record_bytes"),
    ):
        unit = units[name]
        size = f"{unit[column]:.0f}" if column else "-"
        cpu = f"{unit['seconds'] * 1e6:.1f} us" if "seconds" in unit else "-"
        lines.append(
            [title, size, cpu, f"{max(0.0, unit['peak_bytes']):.0f} bytes" if name in ("look", "plan") else "-"]
        )
    rows = [_projected(project, units) for project in PROJECTS]
    heads = [
        "",
        *(
            f"{table.count(each.files)} files, {bytes_text(each.bytes)}, {table.count(each.pushes)} pushes"
            for each in PROJECTS
        ),
    ]
    body = [[title, *(row[title] for row in rows)] for title in rows[0]]
    return f"{table.pipes(lines)}\n\nMeasured on {kept['taken']}; one edit of a directory of 1,000,000 files writes {units['listing']['edit_bytes']:,.0f} bytes of listing and index.\n\n{table.pipes([heads, *body])}"


def _projected(project: Project, units: dict[str, dict[str, float]]) -> dict[str, str]:
    """Returns what a project costs, line by line."""
    packs = project.bytes / pack.TARGET_BYTES + PACKS_A_PUSH * project.pushes
    pages = math.ceil(packs / PAGE)
    waits = math.ceil(pages / LISTS_AT_ONCE) if packs > 16 * PAGE else pages
    index_bytes = project.files * units["rows"]["index_bytes"]
    listing_bytes = project.files * units["listing"]["listing_bytes"]
    pull = pages + 6
    push = 2 * pages + 12  # before and after it sends
    left, storage = project.bytes / 1e9, 0.0
    for amount, dollars in DOLLARS_PER_GB_MONTH:
        storage += min(left, amount) * dollars
        left -= min(left, amount)
    requests = project.pushes * (push + 8 * pull) * DOLLARS_PER_PUT_OR_LIST  # each push is pulled by eight
    return {
        "packs": f"{packs:,.0f}",
        "all of it once, at 100 MB/s": time_text(project.bytes / BYTES_PER_SECOND),
        "lists of files, stored": bytes_text(listing_bytes),
        "index objects": f"{MERGE_ABOVE + index_bytes / MERGE_BELOW_BYTES:,.0f}, {bytes_text(index_bytes)}",
        "roots after a year": f"{12 * project.pushes:,}",
        "first look of a fresh clone: download": f"{bytes_text(index_bytes)}, {time_text(index_bytes / BYTES_PER_SECOND)}",
        "requests of a push with one edit": f"{push:,}",
        "time of these": time_text(2 * waits * SECONDS_PER_PAGE + 9 * SECONDS_PER_REQUEST),
        "requests of a pull with one edit": f"{pull:,}",
        "CPU of a look": time_text(packs * units["look"]["seconds"] + 0.3),
        "memory of a look": bytes_text(3e7 + packs * units["look"]["peak_bytes"]),
        "plan of a collection: CPU": time_text(project.files * units["plan"]["seconds"]),
        "plan of a collection: memory": bytes_text(3e7 + project.files * units["plan"]["peak_bytes"]),
        "run records": f"{table.count(project.runs)}, {bytes_text(project.runs * units['runs']['record_bytes'])}",
        "storage, dollars a month": f"{storage:,.0f}",
        "requests, dollars a month": f"{requests:,.2f}" if requests < 100 else f"{requests:,.0f}",
    }


def bytes_text(count: float) -> str:
    """Returns a number of bytes in three digits."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def time_text(seconds: float) -> str:
    """Returns a time in the unit that fits."""
    if seconds >= 172_800:
        return f"{seconds / 86_400:.0f} days"
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.2g} s"


if __name__ == "__main__":
    main()
