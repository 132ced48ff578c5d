"""Measures what it costs to plan a map stage: `python benchmarks/plan_maps.py --files 1000 10000 100000 1000000`.

The listing of a folder of so many files is made, not the files: what a plan costs beside the status of the folder is the same. Each size is
measured in a process of its own. Prints CPU seconds, and MiB at most, the listings themselves (in memory here) included:

- listing: what the pattern stands for, with nothing known; `known` is the same folder again, `one new` the folder with one file more
- first plan: no earlier run; `datums` is making all of them one by one, as a run or changed code does
- no-op, one new: plans against the last run; after a failure: against a run that lacks one datum
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent))

from dvlite.formats import manifest, pipeline
from dvlite.formats.lockfile import Facts, Locked, LockedStage
from dvlite.formats.manifest import Entries, Entry
from dvlite.formats.map_stage import facts_of
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Input, MapRun, Output, Run
from dvlite.oid import MANIFEST, Digest, digest_bytes, format_oid, parse_oid
from dvlite.pipeline import stages
from dvlite.pipeline.known_data import KnownData
from dvlite.pipeline.map_inputs import row_of_known
from dvlite.pipeline.map_plan import plan_map
from dvlite.pipeline.over_rows import OverRows

T = TypeVar("T")
FOLDER = "data/images"
COLUMNS = ("listing", "known", "listing, one new", "first plan", "datums", "no-op", "one new", "after a failure")


class Folder:
    """A tracked folder of which only the listing is there."""

    def __init__(self, nodes: dict[Digest, bytes], tree: manifest.Tree) -> None:
        self._nodes = nodes
        nodes |= dict(tree.nodes)
        pointer = Pointer("directory", tree.root, tree.size_bytes, tree.files)
        self.known = KnownData({FOLDER: pointer}, lambda _path, known: manifest.load(known.digest, nodes.__getitem__))

    def matches(self, pattern: str) -> list[str]:
        return [pattern]

    def expected(self, path: str) -> Locked | None:
        known = self.known.pointers[path]
        return Locked(path, known.oid, known.size_bytes, known.files)

    def leaves(self, path: str, version: Locked) -> Iterable[Entries]:
        return manifest.leaves(parse_oid(version.oid)[1], self._nodes.__getitem__)


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--over", default=f"{FOLDER}/**/*.jpg")
    parser.add_argument("--out", default="thumbs/${stem}.png")
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints a table."""
    asked = read_options()
    print(f"| datums | {' | '.join(COLUMNS)} | MiB |\n|---:|{'---:|' * (len(COLUMNS) + 1)}")
    for files in asked.files:
        process = multiprocessing.get_context("spawn").Process(target=_measure, args=(files, asked.over, asked.out))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{files:,} files could not be measured")


def prepare(files: int, over: str, out: str) -> tuple[stages.Stage, Folder, dict[Digest, bytes], manifest.Tree]:
    """Returns a map stage, the folder of so many files that it goes over, and the nodes and the tree of its listing."""
    nodes: dict[Digest, bytes] = {}
    names = sorted(b"%03d/img_%07d.jpg" % (number % 1000, number) for number in range(files))
    tree = manifest.build(listing_of(names))
    folder = Folder(nodes, tree)
    text = f"stages:\n  t:\n    map:\n      over: '{over}'\n    cmd: x ${{in}} ${{out}}\n    outs: ['{out}']\n"
    (stage,) = stages.bind("dvlite.yaml", pipeline.parse(text.encode(), "dvlite.yaml").stages)
    return stage, folder, nodes, tree


def _measure(files: int, over: str, out: str) -> None:
    stage, folder, nodes, tree = prepare(files, over, out)
    place, cells, read = stage.over[0], list[float](), nodes.__getitem__
    assert stage.spec.map is not None
    facts = Facts(stage.spec.cmd, map=facts_of(stage.spec.map))

    def timed(work: Callable[[], T]) -> T:
        begun = time.process_time()
        result = work()
        cells.append(time.process_time() - begun)
        return result

    with tempfile.TemporaryDirectory() as state:
        rows = OverRows(Path(state))

        def entry(content: Folder) -> LockedStage:
            row = row_of_known(content, place, rows, read, nodes.__setitem__)
            assert row is not None
            return stage.entry(facts, [row])

        now = timed(lambda: entry(folder))
        timed(lambda: entry(folder))
        new = Entry(b"500/new.jpg", manifest.FILE, 1000, digest_bytes(b"new"))
        grown = Folder(nodes, manifest.edit(tree.root, {new.path: new}, read))
        later = timed(lambda: entry(grown))
    first = timed(lambda: plan_map(stage, now, folder, read))
    timed(lambda: sum(1 for _ in first.to_run()))
    made = sorted(os.fsencode(path) for key in first.datums.all_keys() for path in first.datums.outs(key))
    cut = len(stage.outs[0].path) + 1
    run = _run(stage, now, folder, first.base, [name[cut:] for name in made], nodes)
    failed = replace(_run(stage, now, folder, first.base, [name[cut:] for name in made[1:]], nodes), status="failed")
    del made
    for content, locked, earlier, left in ((folder, now, run, 0), (grown, later, run, 1), (grown, later, failed, 2)):
        plan = timed(lambda: plan_map(stage, locked, content, read, [earlier]))  # noqa: B023  # it is called at once
        if plan.left != left or sum(1 for _ in plan.to_run()) != left:
            raise SystemExit(f"the plan has {plan.left} datums to run, not {left}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"| {files:,} | {' | '.join(f'{cell:.3f}' for cell in cells)} | {peak} |", flush=True)


def _run(
    stage: stages.Stage, now: LockedStage, folder: Folder, base: str, made: list[bytes], nodes: dict[Digest, bytes]
) -> Run:
    tree = manifest.build(listing_of(made))
    nodes |= dict(tree.nodes)
    inside = folder.expected(FOLDER)
    row = now.deps[0]
    assert inside is not None
    item = Input(path=stage.over[0].path, oid=row.oid, size_bytes=row.size_bytes, inside=FOLDER, inside_oid=inside.oid)
    out = Output(path=stage.outs[0].path, oid=format_oid(MANIFEST, tree.root), size_bytes=tree.size_bytes)
    mapped = MapRun(base=base, datums=row.files, ran=len(made))
    return Run(
        id="",
        invocation="",
        stage="t",
        file="dvlite.yaml",
        status="ok",
        facts=now.facts,
        inputs=(item,),
        outputs=(out,),
        mapped=mapped,
    )


def listing_of(paths: list[bytes]) -> Entries:
    """Returns a listing of files with made-up content."""
    digests = bytearray()
    for path in paths:
        digests += digest_bytes(path)
    return Entries(paths, bytes(len(paths)), array("Q", [1000]) * len(paths), bytes(digests))


if __name__ == "__main__":
    main()
