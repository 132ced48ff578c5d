"""Measures what versions of a table take, by how its file is written: `python benchmarks/table_formats.py --rows 200000`.

Each version of a table (300 cells changed, 500 rows added at one place, 200 removed at another) is added and pushed to a folder. Prints a
Markdown table of sizes. Needs pyarrow 21 or later.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import data
from benchmarks.process import run
from benchmarks.versions import Database, environment

Write = Callable[[bytes], bytes]


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--versions", type=int, default=10)
    parser.add_argument("--only", default="", metavar="WORDS", help="files with these words in their title")
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile")
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints a Markdown table."""
    asked = read_options()
    print(
        f"| file | a version, MiB | {asked.versions} versions stored, MiB | a later version takes |\n|---|---|---|---|"
    )
    versions = list(data.csv_versions(asked.rows, asked.versions))
    for title, write in _writers().items():
        if asked.only not in title:
            continue
        with tempfile.TemporaryDirectory(dir=asked.folder) as text:
            _measure(Path(text), title, map(write, versions), asked.versions)


def _writers() -> dict[str, Write]:
    chunked = {"use_content_defined_chunking": True}
    return {
        "CSV": bytes,
        "JSON lines": _json_lines,
        "Parquet (snappy, row groups of 1,048,576)": partial(_parquet),
        "Parquet, row groups of 20,000": partial(_parquet, row_group_size=20_000),
        "Parquet, zstd": partial(_parquet, compression="zstd"),
        "Parquet, no compression": partial(_parquet, compression="none"),
        "Parquet, no compression, no dictionary": partial(_parquet, compression="none", use_dictionary=False),
        "Parquet, content-defined chunks": partial(_parquet, **chunked),
        "Parquet, content-defined chunks, zstd": partial(_parquet, compression="zstd", **chunked),
        "Parquet, content-defined chunks, no dictionary, zstd": partial(
            _parquet, compression="zstd", use_dictionary=False, **chunked
        ),
        "Parquet, content-defined chunks, no compression, no dictionary": partial(
            _parquet, compression="none", use_dictionary=False, **chunked
        ),
        "SQLite, updated in place": Database().updated,
        "SQLite, VACUUM after each update": Database(after="vacuum").updated,
        "SQLite, pages of 16 KiB": Database(before="pragma page_size = 16384").updated,
        "SQLite, pages of 1 KiB": Database(before="pragma page_size = 1024").updated,
    }


def _json_lines(table: bytes) -> bytes:
    head, *rows = table.decode().splitlines()
    names = head.split(",")
    lines = (", ".join(f'"{name}": {cell}' for name, cell in zip(names, row.split(","), strict=True)) for row in rows)
    return "".join(f"{{{line}}}\n" for line in lines).encode()


def _parquet(table: bytes, **options: Any) -> bytes:
    columns: pa.Table = csv.read_csv(io.BytesIO(table))
    parquet.write_table(columns, sink := io.BytesIO(), **options)
    return sink.getvalue()


def _measure(folder: Path, title: str, versions: Any, count: int) -> None:
    repo, env = folder / "repo", environment(folder)
    repo.mkdir()
    for words in (("git", "init", "-q"), ("dvlite", "init"), ("dvlite", "remote", "add", "origin", folder / "store")):
        run(words, cwd=repo, env=env)
    stored, size = [], 0
    for content in versions:
        size = len(content)
        (repo / "table").write_bytes(content)
        for words in (
            ("dvlite", "add", "table"),
            ("git", "add", "-A"),
            ("git", "commit", "-qm", "A version"),
            ("dvlite", "push"),
        ):
            run(words, cwd=repo, env=env)
        stored.append(sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file()))
    later = (stored[-1] - stored[0]) / (count - 1)
    print(
        f"| {title} | {size / data.MIB:.1f} | {stored[-1] / data.MIB:.1f} | {later / 1024:,.0f} KiB, {later / stored[0]:.1%} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
