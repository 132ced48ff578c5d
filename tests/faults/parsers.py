"""Fuzzing of every parser: bytes that were whole are flipped, cut, joined and repeated; only the documented errors come out.

`python -m tests.faults.parsers [--inputs N] [--only WORD]` prints for each parser how many were accepted and refused, what else came out,
and the most time and memory that one took; tests/faults/test_parsers.py runs a sample.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import tracemalloc
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import DvliteError, FormatError, LaterVersion, ObjectCorrupt, UsageError
from dvlite.formats import (
    condemned,
    config,
    lockfile,
    manifest,
    parameters,
    pipeline,
    pointer,
    recipe,
    record,
    reference,
    root,
    snapshot,
    store_config,
    strict_json,
    strict_yaml,
)
from dvlite.oid import Digest, digest_bytes
from dvlite.store import batch, index, pack
from dvlite.workspace import sparse, statindex
from dvlite.workspace.scan import Scan

REFERENCE = b'{"path": "a/b", "size": 1, "etag": "\\"x\\""}\n{"path": "c", "modified": "1 1"}\n'
GOLDEN = Path(__file__).parent.parent / "golden"
NAME = Digest(bytes(32))
BATCH = b"".join(one.data for one in batch.encode([b'{"a":%d}\n' % n for n in range(40)], iter([bytes(16)])))
YAML = b"stages:\n  one:\n    cmd: cp a b\n    deps: [a]\n    params: [lr, {p.json: [x]}]\n    outs:\n      - b: {cache: false}\n"
CONFIG = (
    b"project: "
    + b"ab" * 16
    + b"\ncore:\n  remote: origin\nremotes:\n  origin:\n    url: s3://bucket/x\n    region: us-east-1\n"
)
NUMBERS = b'{"lr": 0.1, "layers": [1, 2, {"n": -3e2}], "name": "\\u00e9"}'
OURS = (FormatError, ObjectCorrupt)


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser, whole examples of what it reads, and the errors that it documents."""

    name: str
    examples: Sequence[bytes]
    parse: Callable[[bytes], object]
    errors: tuple[type[DvliteError], ...] = OURS


def golden(*names: str) -> list[bytes]:
    return [(GOLDEN / name).read_bytes() for name in names]


def parsers(folder: Path) -> list[Parser]:
    nodes = golden("manifest-leaf.bin", "manifest-branch.bin")
    packs = golden("pack.bin")
    footer = packs[0][-pack.footer_length(packs[0], NAME) :]
    return [
        Parser("condemned list", golden("condemned.bin"), lambda data: condemned.parse(data, "x")),
        Parser("config", [CONFIG], lambda data: config.parse(data, "x", config.COMMITTED), (FormatError, UsageError)),
        Parser("lockfile", golden("lockfile.lock"), lambda data: lockfile.parse(data, "x"), (FormatError,)),
        Parser("runs named in a lockfile", golden("lockfile.lock"), lockfile.run_ids, ()),
        Parser("listing node", nodes, lambda data: manifest.decode(data, NAME)),
        Parser("snapshot node", golden("snapshot.bin"), lambda data: list(snapshot.versions(NAME, lambda _: data))),
        Parser("parameters, JSON", [NUMBERS], lambda data: parameters.load(data, "p.json"), (FormatError,)),
        Parser(
            "parameters, YAML",
            [b"lr: 0.1\na: [1, {b: c}]\nd: |\n  text\n"],
            lambda data: parameters.load(data, "p.yaml"),
            (FormatError,),
        ),
        Parser(
            "parameters, TOML",
            [b'lr = 0.1\n[a]\nb = [1, 2]\nd = "x"\n'],
            lambda data: parameters.load(data, "p.toml"),
            (FormatError,),
        ),
        Parser("pipeline", [YAML], lambda data: pipeline.parse(data, "x"), (FormatError,)),
        Parser(
            "pointer",
            golden(*(f"pointer-{name}.dvlite" for name in ("file", "directory", "meta", "imported", "url"))),
            lambda data: pointer.parse(data, "x"),
            (FormatError,),
        ),
        Parser(
            "recipe, checksum right",
            golden("recipe.bin", "recipe-stretches.bin", "recipe-parts.bin"),
            lambda data: recipe.parse(data[:-16] + digest_bytes(data[:-16])[:16], Digest(bytes(range(32)))),
        ),
        Parser("run record", golden("run.json", "note.json"), lambda data: record.parse(data, "x"), (FormatError,)),
        Parser("reference", [REFERENCE], lambda data: reference.parse(data, "x"), (FormatError,)),
        Parser("root", golden("root.json"), lambda data: root.parse(data, "x")),
        Parser("root, checksum right", golden("root.json"), lambda data: root.parse(resealed(data, "x"), "x")),
        Parser("store config", golden("store-config.json"), lambda data: store_config.parse(data, "x")),
        Parser(
            "store config, checksum right",
            golden("store-config.json"),
            lambda data: store_config.parse(resealed(data, ""), "x"),
        ),
        Parser("JSON", golden("run.json"), lambda data: strict_json.parse(data, "x", floats=True), (FormatError,)),
        Parser("YAML", [YAML, CONFIG], lambda data: strict_yaml.load(data, "x"), (FormatError,)),
        Parser("pack", packs, read_pack),
        Parser("pack footer", [footer], lambda data: pack.decode_footer(data, NAME, len(packs[0]))),
        Parser("index object", golden("index.bin"), read_index),
        Parser("run batch", [BATCH], lambda data: list(batch.decode(data, "x"))),
        Parser("damaged run batch", [BATCH], lambda data: batch.salvage(data, "x")),
        Parser("stat index", [stat_index(folder)], lambda data: read_stat_index(folder / "read", data), ()),
        Parser("sparse patterns", [sparse_file(folder)], lambda data: read_sparse(folder, data)),
    ]


def resealed(data: bytes, binds: str) -> bytes:
    """Returns an object with a checksum that is right, so that the reader looks further."""
    body = strict_json.parse(data, "x")
    body.pop("checksum", None)
    return strict_json.seal(body, binds)


def read_pack(data: bytes) -> None:
    for read in pack.open_whole(data, NAME):
        pack.unpack(read, data[read.offset : read.offset + read.stored_length])


def read_index(data: bytes) -> None:
    for place in index.Index(data, "x"):
        list(index.Index(data, "x").find(place.record.digest, pack.KINDS))


def stat_index(folder: Path) -> bytes:
    scan = Scan([b"a", b"b/c"], bytearray(2), *(array("q", [1, 2]) for _ in range(3)), array("Q", [1, 2]))
    statindex.write(folder / "read", NAME, scan, bytes(64), bytes(2))
    return (folder / "read").read_bytes()


def read_stat_index(path: Path, data: bytes) -> object:
    path.write_bytes(data)
    head = statindex.open_index(path)
    return None if head is None else head.load()


def sparse_file(folder: Path) -> bytes:
    sparse.store(folder, {"data": ("a", "b/*")})
    return (folder / sparse.FILE).read_bytes()


def read_sparse(folder: Path, data: bytes) -> object:
    (folder / sparse.FILE).write_bytes(data)
    return sparse.load(folder)


def mutations(examples: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yields `count` inputs: each is an example after one to three changes."""
    draw = random.Random(seed)
    for _ in range(count):
        data = bytearray(draw.choice(examples))
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            mutate(data, draw, examples)
        yield bytes(data)


EXTREME = (
    b"\xff" * 8,
    b"\x00" * 8,
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"9" * 5000,
    b"[" * 20_000,
    b"{" * 99,
    b'"',
    b"\n",
    b"- " * 999,
    b"&a *a",
)


def mutate(data: bytearray, draw: random.Random, examples: Sequence[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 2, 4, 8, 40, 400)))
    match draw.randrange(9):
        case 0 | 1 if at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        case 2:
            del data[at:end]
        case 3:
            del data[at:]
        case 4:
            data[at:at] = data[at:end] * draw.choice((1, 2, 50))
        case 5:
            extreme = draw.choice(EXTREME)
            data[at : at + (len(extreme) if draw.randrange(2) else 0)] = extreme
        case 6:
            other = draw.choice(examples)
            start = draw.randrange(len(other) + 1)
            data[at:end] = other[start : start + end - at]
        case 7:
            data[at:end] = draw.randbytes(end - at)
        case _:
            data[at:at] = draw.randbytes(draw.choice((1, 4, 30)))


@dataclass(slots=True)
class Outcome:
    """What came out of one parser. `odd`: errors that it does not document."""

    accepted: int = 0
    refused: int = 0
    odd: int = 0
    slowest_seconds: float = 0.0
    most_bytes: int = 0
    example: str = ""


def fuzz(parser: Parser, inputs: Sequence[bytes], *, measure: bool = False) -> Outcome:
    outcome = Outcome()
    for data in inputs:
        if measure:
            tracemalloc.reset_peak()
        began = time.perf_counter()
        try:
            parser.parse(data)
            outcome.accepted += 1
        except parser.errors:
            outcome.refused += 1
        except LaterVersion:
            outcome.refused += 1
        except Exception as error:
            outcome.odd += 1
            outcome.example = outcome.example or f"{type(error).__name__}: {str(error)[:100]} from {data[:400]!r}"
        outcome.slowest_seconds = max(outcome.slowest_seconds, time.perf_counter() - began)
        if measure:
            outcome.most_bytes = max(outcome.most_bytes, tracemalloc.get_traced_memory()[1])
    return outcome


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--inputs", type=int, default=5000, help="for each parser")
    arguments.add_argument("--only", default="", help="parsers with this in their name")
    wanted = arguments.parse_args()
    odd = 0
    tracemalloc.start()
    print(f"{'parser':32}{'inputs':>8}{'accepted':>10}{'refused':>9}{'odd':>5}{'slowest':>10}{'memory':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for parser in parsers(Path(folder)):
            if wanted.only in parser.name:
                found = fuzz(parser, list(mutations(parser.examples, wanted.inputs, 1)), measure=True)
                odd += found.odd
                counts = f"{wanted.inputs:>8}{found.accepted:>10}{found.refused:>9}{found.odd:>5}"
                print(
                    f"{parser.name:32}{counts}{found.slowest_seconds * 1000:>7.0f} ms{found.most_bytes / 1e6:>7.1f} MB",
                    flush=True,
                )
                if found.example:
                    print(f"  {found.example}")
    return int(odd > 0)


if __name__ == "__main__":
    sys.exit(main())
