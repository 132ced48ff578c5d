"""Measures how long a collection is planned, and in how much memory: `python benchmarks/plan_collection.py --files 1000000 --versions 20`.

Makes a remote without content: lists of files and index objects as a push makes them, and packs that are only as long as they should be.
Each version changes one file in a hundred; git names half of them, the newest. The listings are not in the cache at first, then they are.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import process
from dvlite.formats import manifest, recipe, root, snapshot, store_config
from dvlite.formats.manifest import FILE, Entries
from dvlite.formats.recipe import Recipe, Term
from dvlite.formats.snapshot import Version
from dvlite.oid import DIGEST_BYTES, MANIFEST, Digest, digest_bytes
from dvlite.store import claims, collect, index, pack
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.claims import Claims, Owner
from dvlite.store.collect import RunNeeds
from dvlite.store.folder import FolderStore
from dvlite.store.index import PackEntry, RecordLocation
from dvlite.store.pack import PackWriter, Record
from dvlite.store.remote import Remote

MIB = 1 << 20
CLONE = "ab" * 16
FILE_BYTES, CHUNK_BYTES = 10_000, 100_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What is measured; `large` files are chunks with a recipe each, one chunk a file."""

    files: int
    versions: int
    large: bool


class Maker:
    """Writes a remote, pack by pack."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.store, self.folder, self.shape = FolderStore(folder), folder, shape
        self._rows: list[RecordLocation] = []
        self._packs: dict[Digest, PackEntry] = {}
        self._meta = PackWriter(pack.META, os.urandom(16))
        self._known: set[Digest] = set()

    def version(self, number: int, digests: Sequence[bytes], new: Sequence[bytes]) -> Version:
        """Writes what a push of one version writes, of which these contents are new."""
        size_bytes = CHUNK_BYTES if self.shape.large else FILE_BYTES
        self._contents([Digest(each) for each in new], size_bytes)
        count = len(digests)
        paths = [b"%04d/%07d.bin" % (i * 1000 // count, i) for i in range(count)]
        entries = Entries(paths, bytes([FILE]) * count, array("Q", [size_bytes]) * count, b"".join(digests))
        tree = manifest.build(entries)
        made = Version("data", MANIFEST, tree.root, tree.size_bytes)
        claim = snapshot.build([made])
        for kind, nodes in ((pack.KIND_MANIFEST, tree.nodes), (pack.KIND_SNAPSHOT, claim.nodes)):
            for digest, data in nodes:
                if digest not in self._known:
                    self._known.add(digest)
                    self._add(kind, digest, data)
        self._ship()
        data = index.encode(self._rows, os.urandom(16), self._packs)
        self.store.put(f"index/{digest_bytes(data).hex()}", data)
        self._rows, self._packs = [], {}
        name = root.name(claim.root, CLONE, os.urandom(16))
        self.store.put(name, root.dump(root.Root(clone=CLONE, count=1), name))
        return made

    def _contents(self, new: Sequence[Digest], size_bytes: int) -> None:
        """Writes packs that are as long as if these contents were in them; with a recipe for each if they are large."""
        at_once = pack.TARGET_BYTES // size_bytes
        for start in range(0, len(new), at_once):
            part = new[start : start + at_once]
            kind = pack.KIND_CHUNK if self.shape.large else pack.KIND_FILE
            stride = pack.RECORD_BYTES + size_bytes
            records = [
                Record(kind, pack.RAW, pack.HEADER_BYTES + i * stride + pack.RECORD_BYTES, size_bytes, size_bytes, each)
                for i, each in enumerate(part)
            ]
            footer = pack.encode_footer(pack.table_of(records))
            name = Digest(os.urandom(DIGEST_BYTES))
            path = self.folder / "packs" / name.hex()
            path.parent.mkdir(exist_ok=True)
            with open(path, "wb") as file:  # a hole, but for its end
                file.seek(pack.HEADER_BYTES + len(part) * stride)
                file.write(footer)
            self._packs[name] = PackEntry(index.class_of(kind), path.stat().st_size)
            if not self.shape.large:
                self._rows += [RecordLocation(name, record) for record in records]
            else:
                for i, each in enumerate(part):
                    self._add(
                        pack.KIND_RECIPE,
                        each,
                        recipe.dump(Recipe(each, size_bytes, (Term(name, i, 1, 1, size_bytes),))),
                    )

    def _add(self, kind: int, digest: Digest, data: bytes) -> None:
        if kind == pack.KIND_RECIPE:
            self._meta.add_stored(Record(kind, pack.RAW, 0, len(data), len(data), digest), data)
        else:
            self._meta.add(kind, digest, data)
        if self._meta.size_bytes >= pack.TARGET_BYTES:
            self._ship()

    def _ship(self) -> None:
        whole = self._meta.finish()
        self.store.put(f"packs/{whole.name.hex()}", whole.data)
        self._rows += index.rows_of(whole)
        self._packs[whole.name] = PackEntry(pack.META, len(whole.data))
        self._meta = PackWriter(pack.META, os.urandom(16))


def histories(shape: Shape) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yields the contents of each version, and those of them that are new."""
    chance = random.Random("plan")
    digests = [chance.randbytes(DIGEST_BYTES) for _ in range(shape.files)]
    yield digests, digests
    for _ in range(shape.versions - 1):
        new = [chance.randbytes(DIGEST_BYTES) for _ in range(shape.files // 100)]
        for i, each in zip(chance.sample(range(shape.files), len(new)), new, strict=True):
            digests[i] = each
        yield digests, new


class Watch:
    """Samples how much memory this process has for itself: what it maps of files (the cache's packs, indexes) does not count."""

    def __init__(self) -> None:
        self.peak_kib = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            with open("/proc/self/status") as lines:
                used = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.peak_kib = max(self.peak_kib, used)
            time.sleep(0.02)


def measure(folder: Path) -> None:
    """Plans a collection, as a clone that needs the newer half of the versions."""
    watch = Watch()
    names = (folder / "versions").read_text().split()
    versions = [Version("data", MANIFEST, Digest(bytes.fromhex(name)), 1) for name in names]
    kept = versions[len(versions) // 2 :]
    cache = Cache(folder / "cache")
    cache.create()
    began, cpu = time.perf_counter(), time.process_time()
    with Remote(FolderStore(folder / "store"), cache, "origin", jobs=8, clone=CLONE) as remote:
        catalog = Catalog(remote)
        roots = collect.look(catalog)
        looked = time.perf_counter()
        ids = {version.id for version in kept}

        def divide(own: Sequence[Version]) -> Claims:
            covered = {version.id for version in own}
            claimed = snapshot.build(own).root if own else None
            by = Owner(CLONE, "", ids, ids, lambda commits: commits, claimed, covered, own_seconds=0)
            return claims.judge(catalog, roots, by)

        plan = collect.plan(catalog, cache, divide, RunNeeds(), kept, young_seconds=0)
    assert len(plan.own) == len(kept), "not all versions are there"
    assert not plan.absent
    print(
        f"look {looked - began:.1f} s, plan {time.perf_counter() - looked:.1f} s, {time.process_time() - cpu:.1f} s of a processor;"
        f" {watch.peak_kib >> 10} MiB of its own;"
        f" {len(plan.garbage):,} packs go, {len(plan.repacked):,} are written again, {len(plan.live):,} stay"
    )


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="files with a recipe each")
    parser.add_argument("--folder", type=Path, help="work in a new folder below this one")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> None:
    """Makes a remote, then plans twice, each in a process of its own; prints a table."""
    asked = read_options()
    if asked.measure:
        measure(asked.measure)
        return
    shape = Shape(asked.files, asked.versions, asked.large)
    with tempfile.TemporaryDirectory(dir=asked.folder) as text:
        folder = Path(text)
        maker = Maker(folder / "store", shape)
        maker.store.put(store_config.NAME, store_config.dump(store_config.DEFAULT))
        names = []
        for number, (digests, new) in enumerate(histories(shape)):
            print(f"version {number + 1} of {shape.versions}", file=sys.stderr, flush=True)
            names.append(maker.version(number, digests, new).digest.hex())
        (folder / "versions").write_text("\n".join(names))
        print(f"{shape.versions} versions of {shape.files:,} {'large' if shape.large else 'small'} files\n")
        print("| | seconds | peak memory with mapped files, MiB | |\n|---|---|---|---|")
        for name in ("listings are not in the cache", "listings are in the cache"):
            env = {"HOME": text, "PATH": os.environ["PATH"]}
            sample = process.run([sys.executable, __file__, "--measure", folder], cwd=folder, env=env)
            said = (folder / "output.log").read_text().strip()
            print(f"| {name} | {sample.seconds:.1f} | {sample.peak_bytes / MIB:.0f} | {said} |", flush=True)


if __name__ == "__main__":
    main()
