"""Times merges of two branches that changed a large directory: `python benchmarks/merge.py --files 100000 --added 1000`.

Creates only the trees, in a new repository: a merge reads no data, and there is no remote to fetch any from. Each branch adds files and
changes others; with `--conflicts`, both change some. Prints wall time and peak memory of `git merge`, which calls the driver, and of
`dvlite resolve`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dvlite.formats import manifest, pointer
from dvlite.formats.manifest import FILE, Entry
from dvlite.formats.pointer import Pointer
from dvlite.oid import digest_bytes
from dvlite.repo.repository import open_cache, open_repo
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_MANIFEST

Tree = dict[bytes, bytes]  # path -> content
MIB = float(1 << 20)


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=1_000, help="files added on each branch; as many are changed")
    parser.add_argument("--conflicts", type=int, default=3)
    return parser.parse_args(argv)


def main() -> None:
    """Measures and prints a Markdown table."""
    asked = read_options()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "repo"
        subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
        run(root, "dvlite", "init", "-q")
        base = {b"%03d/%07d.jpg" % (i % 500, i): b"%d" % i for i in range(asked.files)}
        commit(root, base, "Base")
        for conflicts in (0, asked.conflicts):
            measure(root, base, asked.added, conflicts)


def measure(root: Path, base: Tree, added: int, conflicts: int) -> None:
    """Makes two branches on the base, merges them, and prints what it took."""
    run(root, "git", "checkout", "-q", "-B", "theirs", ":/Base")
    commit(root, edited(base, b"theirs", added, 0, conflicts), "Theirs")
    run(root, "git", "checkout", "-q", "-B", "ours", ":/Base")
    commit(root, edited(base, b"ours", added, 1, conflicts), "Ours")
    print(f"\n{len(base):,} files; each branch adds {added:,}, changes {added:,}; {conflicts:,} changed on both\n")
    print("| step | seconds | peak memory, MiB |\n|---|---|---|")
    code, seconds, memory = timed(root, "git", "merge", "-q", "-m", "Merge", "theirs")
    if code != (1 if conflicts else 0):
        sys.exit(f"git merge exited with {code}")
    print(f"| git merge | {seconds:.2f} | {memory:.0f} |")
    if conflicts:
        code, seconds, memory = timed(root, "dvlite", "resolve", "data", "--theirs")
        print(f"| dvlite resolve --theirs | {seconds:.2f} | {memory:.0f} |")
        run(root, "git", "merge", "--abort")


def edited(base: Tree, who: bytes, added: int, parity: int, conflicts: int) -> Tree:
    """Returns the base with files added, others changed, and the first few changed whoever it is."""
    paths = list(base)
    step = max(2, len(paths) // added // 2 * 2)
    changed = paths[conflicts + parity :: step][:added] + paths[:conflicts]
    new = {b"%03d/new-%s-%06d.jpg" % (i % 500, who, i): b"new %s %d" % (who, i) for i in range(added)}
    return base | dict.fromkeys(changed, b"changed by " + who) | new


def commit(root: Path, tree: Tree, message: str) -> None:
    """Commits a pointer to a directory whose listing alone is in the cache."""
    rows = [Entry(path, FILE, len(content), digest_bytes(content)) for path, content in sorted(tree.items())]
    built = manifest.build(manifest.from_entries(rows))
    with Writer(open_cache(open_repo(root, os.environ))) as writer:
        for digest, data in built.nodes:
            writer.put(KIND_MANIFEST, digest, data)
        writer.commit()
    (root / "data.dvlite").write_bytes(pointer.dump(Pointer("directory", built.root, built.size_bytes, built.files)))
    run(root, "git", "add", "-A")
    run(root, "git", "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", message)


def run(root: Path, *command: str) -> None:
    """Runs a command that has to succeed."""
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def timed(root: Path, *command: str) -> tuple[int, float, float]:
    """Returns exit code, seconds, and the peak memory in MiB of the largest process that has ended so far."""
    environ = os.environ | {
        f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    start = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    return done.returncode, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / MIB


if __name__ == "__main__":
    main()
