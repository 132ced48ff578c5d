"""Measures 20 versions of a table, as CSV, SQLite and Parquet, beside restic: `python benchmarks/versions.py --rows 200000`.

Each version is added and pushed to a folder, and the last one is pulled by a fresh clone. Prints a Markdown table of sizes and CPU seconds.
Parquet is left out where pyarrow is not installed.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import data
from benchmarks.process import run

_PULLS = 5


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile")
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints a Markdown table."""
    asked = read_options()
    print(
        "| table | tool | stored, MiB | add and send a version, CPU s | fetch the last, CPU s |\n|---|---|---|---|---|"
    )
    for kind, convert in _kinds().items():
        with tempfile.TemporaryDirectory(dir=asked.folder) as text:
            _measure(Path(text), kind, map(convert, data.csv_versions(asked.rows, asked.versions)))


def _kinds() -> dict[str, Callable[[bytes], bytes]]:
    kinds = {"csv": bytes, "sqlite": Database().updated}
    try:
        from pyarrow import csv, parquet
    except ImportError:
        return kinds

    def columns(table: bytes) -> bytes:
        parquet.write_table(csv.read_csv(io.BytesIO(table)), sink := io.BytesIO())
        return sink.getvalue()

    return kinds | {"parquet": columns}


class Database:
    """A database that lives on from version to version: only rows that differ are written. `before` and `after` it runs a statement."""

    def __init__(self, *, before: str = "", after: str = "") -> None:
        self._rows: dict[int, bytes] = {}
        self._after = after
        self._base = sqlite3.connect(":memory:")
        self._base.execute(before)
        self._base.execute(
            "create table t (id integer primary key, a real, b real, c real, d real, e real, f real, g real)"
        )
        self._base.execute("create index i on t (b)")

    def updated(self, table: bytes) -> bytes:
        rows = {int(line.split(b",")[0]): line for line in table.splitlines()[1:]}
        with self._base:
            self._base.executemany("delete from t where id = ?", [(key,) for key in self._rows.keys() - rows.keys()])
            changed = [line for key, line in rows.items() if self._rows.get(key) != line]
            self._base.executemany(
                "insert or replace into t values (?, ?, ?, ?, ?, ?, ?, ?)",
                [tuple(map(float, line.split(b","))) for line in changed],
            )
        self._rows = rows
        self._base.execute(self._after)
        return self._base.serialize()


def _measure(folder: Path, kind: str, versions: Iterator[bytes]) -> None:
    repo, clone, env = folder / "repo", folder / "clone", environment(folder)
    repo.mkdir()

    def cost(*words: str | Path, cwd: Path = repo) -> float:
        return run(words, cwd=cwd, env=env).cpu_seconds

    for words in (("git", "init", "-q"), ("dvlite", "init"), ("dvlite", "remote", "add", "origin", folder / "store")):
        cost(*words)
    cost("restic", "init")
    sent: dict[str, list[float]] = {"dvlite": [], "restic": []}
    for content in versions:
        (repo / "table").write_bytes(content)
        sent["restic"].append(cost("restic", "backup", "table"))
        added = cost("dvlite", "add", "table")
        cost("git", "add", "-A")
        cost("git", "commit", "-qm", "version")
        sent["dvlite"].append(added + cost("dvlite", "push"))
    fetched: dict[str, list[float]] = {"dvlite": [], "restic": []}
    for _ in range(_PULLS):
        for tool, costs in fetched.items():
            shutil.rmtree(clone, ignore_errors=True)
            cost("git", "clone", "-q", repo, clone)
            words = ("dvlite", "pull") if tool == "dvlite" else ("restic", "restore", "latest", "--target", clone)
            costs.append(cost(*words, cwd=clone))
            if not any(path.read_bytes() == content for path in clone.rglob("table")):
                sys.exit(f"error: {tool} restored other bytes")
    for tool, store in (("dvlite", folder / "store"), ("restic", folder / "restic")):
        stored = sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) / data.MIB
        median = statistics.median(sent[tool][1:]), statistics.median(fetched[tool])
        print(
            f"| {kind}, {len(content) / data.MIB:.1f} MiB | {tool} | {stored:.1f} | {median[0]:.2f} | {median[1]:.2f} |",
            flush=True,
        )


def environment(folder: Path) -> dict[str, str]:
    """Returns the environment of all commands, with a home in the folder."""
    (folder / "home").mkdir()
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "XDG_CONFIG_HOME": str(folder / "home"),
        "RESTIC_REPOSITORY": str(folder / "restic"),
        "RESTIC_PASSWORD": "password",
        **{f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }


if __name__ == "__main__":
    main()
