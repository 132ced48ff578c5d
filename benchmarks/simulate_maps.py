"""What a map stage costs with more datums than were ever run: `python benchmarks/simulate_maps.py`, for docs/explanation/scaling.md.

Unit costs are measured with the program's own code, at two sizes, so that what a datum costs is the difference; each in a process of its
own: the plans of plan_maps.py, the listings of inputs and outputs, and giving datums out as tasks to a remote that counts its requests.
The rest is arithmetic: all of it linear, but for the nodes that one new datum reads and writes, one for each level of the listing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import plan_maps, scale, table
from dvlite.formats import manifest, task
from dvlite.formats.lockfile import Facts
from dvlite.formats.map_stage import facts_of
from dvlite.formats.task import Task
from dvlite.oid import digest_bytes
from dvlite.pipeline.map_inputs import row_of_known
from dvlite.pipeline.map_plan import plan_map
from dvlite.pipeline.over_rows import OverRows
from dvlite.store import tasks
from dvlite.store.cache import Cache
from dvlite.store.folder import FolderStore
from dvlite.store.object_store import Buffer, Listing
from dvlite.store.remote import Remote

# Assumptions.
DATUMS_A_TASK = 1_000  # as `repro --to` and `batch: 1000` have it
SECONDS_PER_REQUEST = 0.03
REQUESTS_AT_ONCE = 8
PAGE = 1_000  # names in the answer to a LIST
OBJECTS_A_TASK = 3  # what a LIST names when a task is done: task, note of who gave it out, result
DATUMS = (10**6, 10**7, 10**8)
OVER, OUT = "data/images/**/*.jpg", "thumbs/${stem}.png"


Costs = dict[str, dict[str, float]]


class Counting(FolderStore):
    """A folder that counts requests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.requests: Counter[str] = Counter()

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        self.requests["PUT"] += 1
        return super().put(name, data, only_if_absent=only_if_absent)

    def list(self, prefix: str) -> Listing:
        self.requests["LIST"] += 1
        return super().list(prefix)


def measure_listings(size: int) -> dict[str, float]:
    """Returns the bytes of the listings of inputs and outputs, and what one more file adds to the first."""
    names = sorted(b"%03d/img_%07d.jpg" % (number % 1000, number) for number in range(size))
    inputs = manifest.build(plan_maps.listing_of(names))
    outputs = manifest.build(plan_maps.listing_of([name.replace(b".jpg", b".png") for name in names]))
    entry = manifest.Entry(b"500/new.jpg", manifest.FILE, 1000, digest_bytes(b"new"))
    edit = manifest.edit(inputs.root, {entry.path: entry}, dict(inputs.nodes).__getitem__)
    return {
        "listing_bytes": sum(len(data) for tree in (inputs, outputs) for _, data in tree.nodes),
        "edit_bytes": sum(len(data) for _, data in edit.nodes),
        "edit_nodes": len(edit.nodes),
    }


def measure_tasks(size: int) -> dict[str, float]:
    """Gives out all datums of a stage as `repro --to` does, and looks at them once, as `dvlite task` does."""
    with tempfile.TemporaryDirectory() as text:
        store, cache = Counting(Path(text) / "store"), Cache(Path(text) / "cache")
        cache.create()
        began = time.process_time()
        made = list(_tasks(size, Path(text) / "rows"))
        known = {item.id: task.dump(item) for item in made}
        with Remote(store, cache, "origin", jobs=REQUESTS_AT_ONCE) as remote:
            tasks.give_out(remote, known.values(), "0" * 32, "")
            seen = tasks.look_at_all(remote)
        if len(seen) != len(made):
            raise SystemExit(f"the remote has {len(seen)} tasks, not {len(made)}")
        return {
            "seconds": time.process_time() - began,
            "task_bytes": sum(map(len, known.values())),
            "puts": store.requests["PUT"],
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def _tasks(size: int, rows: Path) -> Iterator[Task]:
    stage, folder, nodes, _ = plan_maps.prepare(size, OVER, OUT)
    assert stage.spec.map is not None
    row = row_of_known(folder, stage.over[0], OverRows(rows), nodes.__getitem__, nodes.__setitem__)
    assert row is not None
    entry = stage.entry(Facts(stage.spec.cmd, map=facts_of(stage.spec.map)), [row])
    plan = plan_map(stage, entry, folder, nodes.__getitem__)
    units = iter(plan.to_run())
    while batch := tuple(islice(units, DATUMS_A_TASK)):
        yield Task(stage="t", file="dvlite.yaml", key=plan.base, cmd=stage.spec.cmd, units=batch)


UNITS = {"listings": measure_listings, "tasks": measure_tasks}


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=2, default=[100_000, 500_000], help="of what is measured")
    parser.add_argument("--unit", choices=UNITS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> None:
    """Measures the units and prints what they cost, and what stages of several sizes would."""
    asked = read_options()
    if asked.unit:
        print(json.dumps(UNITS[asked.unit](asked.sizes[0])))
        return
    found = [{"plan": _plan(size), **{name: _measured(name, size) for name in UNITS}} for size in asked.sizes]
    between = asked.sizes[1] - asked.sizes[0]
    costs = {
        name: {what: (more - found[0][name][what]) / between for what, more in large.items()}
        for name, large in found[1].items()
    }
    print(_units(costs))
    rows = [_projected(datums, costs, found[1]) for datums in DATUMS]
    print()
    print(
        table.pipes(
            [["datums", *(f"{each:,}" for each in DATUMS)], *([key, *(row[key] for row in rows)] for key in rows[0])]
        )
    )


def _plan(size: int) -> dict[str, float]:
    """Returns what plan_maps.py measures: CPU seconds by column, and the most memory."""
    argv = [sys.executable, plan_maps.__file__, "--files", str(size), "--over", OVER, "--out", OUT]
    line = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    _, *cells, mib = (float(cell.replace(",", "")) for cell in line.strip("| ").split("|"))
    listing, _, listing_new, first, datums, noop, new, failed = cells
    return {
        "first": listing + first,
        "datums": datums,
        "noop": noop,
        "new": listing_new + new,
        "failed": failed,
        "peak_bytes": mib * 2**20,
    }


def _measured(unit: str, size: int) -> dict[str, float]:
    argv = [sys.executable, __file__, "--unit", unit, "--sizes", str(size), str(size)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _units(costs: Costs) -> str:
    plan, listings, given = costs["plan"], costs["listings"], costs["tasks"]
    lines = [
        ["one more datum", "bytes", "CPU", "memory"],
        ["in the listings of inputs and outputs", f"{listings['listing_bytes']:.0f}", "-", "-"],
        ["in a first plan", "-", f"{plan['first'] * 1e6:.1f} us", f"{plan['peak_bytes']:.0f} bytes"],
        ["made from the plan, as a run does", "-", f"{plan['datums'] * 1e6:.1f} us", "-"],
        ["in a plan after a failure", "-", f"{plan['failed'] * 1e6:.1f} us", "-"],
        [
            "given out in a task",
            f"{given['task_bytes']:.0f}",
            f"{given['seconds'] * 1e6:.1f} us",
            f"{given['peak_bytes']:.0f} bytes",
        ],
    ]
    return table.pipes(lines)


def _projected(datums: int, costs: Costs, large: Costs) -> dict[str, str]:
    """Returns what a stage with so many datums costs, line by line."""
    plan, listings, given = costs["plan"], costs["listings"], costs["tasks"]
    count = -(-datums // DATUMS_A_TASK)
    puts = round(datums * given["puts"])
    pages = -(-count * OBJECTS_A_TASK // PAGE)
    return {
        "listings, stored": scale.bytes_text(datums * listings["listing_bytes"]),
        "first plan: CPU": scale.time_text(datums * plan["first"]),
        "first plan: memory": scale.bytes_text(datums * plan["peak_bytes"]),
        "making all datums: CPU": scale.time_text(datums * plan["datums"]),
        "nothing changed, or one new: CPU of the plan": f"{large['plan']['noop'] + large['plan']['new']:.2f} s",
        "one new: listing written": f"{large['listings']['edit_nodes']:.0f} nodes, {scale.bytes_text(large['listings']['edit_bytes'])}",
        "plan after a failure: CPU": scale.time_text(datums * plan["failed"]),
        "tasks": f"{count:,}, {scale.bytes_text(datums * given['task_bytes'])}",
        "publishing them: requests": f"{puts:,} PUT, {scale.time_text(puts * SECONDS_PER_REQUEST / REQUESTS_AT_ONCE)}",
        "publishing them: CPU": scale.time_text(datums * given["seconds"]),
        "publishing them: memory": scale.bytes_text(datums * given["peak_bytes"]),
        "a look at them: requests": f"{pages:,} LIST",
    }


if __name__ == "__main__":
    main()
