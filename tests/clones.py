"""Repositories for acceptance tests: real git, the real command line, a folder or a bucket as the remote."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Runner
from tests.copies import copy_of
from tests.trees import facts


def git(folder: Path, *args: str) -> str:
    """Runs git in a folder and returns what it printed; fails the test if git fails."""
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, errors="surrogateescape")
    assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr}"
    return done.stdout


@dataclass
class Clone:
    """A git work tree in which dvlite commands run."""

    path: Path
    run: Runner

    def dv(self, *args: str | Path, **options):
        """Runs dvlite and fails the test unless it leaves with 0."""
        return self.run(*args, cwd=self.path, check=True, **options)

    def fails(self, code: int, *args: str | Path, **options) -> str:
        """Runs dvlite, which must leave with `code` and one line (and hints) on stderr; returns that line."""
        done = self.run(*args, cwd=self.path, **options)
        assert done.returncode == code, f"left with {done.returncode}\n{done.stdout}\n{done.stderr}"
        lines = [line for line in done.stderr.splitlines() if not line.startswith(("hint: ", "warning: "))]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: "), done.stderr
        assert "Traceback" not in done.stderr
        return lines[0]

    def json(self, *args: str | Path, **options) -> dict:
        return json.loads(self.dv(*args, "--json", **options).stdout)

    def commit(self, message: str = "Change") -> None:
        git(self.path, "add", "-A")
        git(self.path, "commit", "-qm", message)

    def clone(self, target: Path) -> Clone:
        """Returns a colleague's clone, made by git alone."""
        git(self.path.parent, "clone", "-q", str(self.path), str(target))
        return Clone(target, self.run)

    def is_clean(self) -> bool:
        return self.run("status", "--exit-code", cwd=self.path).returncode == 0

    @property
    def cache(self) -> Path:
        return self.path / ".git" / "dvlite" / "cache"

    def forget_cache(self) -> None:
        """Removes the cache and all that is derived, as a fresh machine would."""
        shutil.rmtree(self.path / ".git" / "dvlite")


def start(path: Path, run: Runner, url: str | None = None, *options: str) -> Clone:
    """Returns a repository in which dvlite is initialised, committed, with `origin` at `url`."""

    def initialised(folder: Path) -> None:
        git(folder, "init", "-q")
        Clone(folder, run).dv("init", "--no-hooks")

    def committed(folder: Path) -> None:
        Clone(copy_of("initialised", initialised, folder), run).commit("Start")

    made = Clone(path, run)
    if url is None:
        copy_of("started", committed, path)
    else:
        copy_of("initialised", initialised, path)
        made.dv("remote", "add", url, *options)
        made.commit("Start")
    return made


def objects(store: Path) -> dict[str, Path]:
    """Returns the objects of a folder remote by name."""
    return {path.relative_to(store).as_posix(): path for path in sorted(store.rglob("*")) if path.is_file()}


def everything(folder: Path) -> dict:
    """Returns all that is in a repository but git's and dvlite's own bookkeeping of times."""
    return {
        path: fact
        for path, fact in facts(folder).items()
        if not path.startswith((b".git/dvlite", b".git/index", b".git/info")) and path != b".git"
    }


def refused(clone: Clone, code: int, *args: str | Path, **options) -> str:
    """The command fails with one line, and leaves everything as it was."""
    before, staged = everything(clone.path), git(clone.path, "status", "--porcelain")
    said = clone.fails(code, *args, **options)
    assert everything(clone.path) == before
    assert git(clone.path, "status", "--porcelain") == staged
    return said


def contents(clone: Clone) -> dict:
    return {path: found for path, found in facts(clone.path).items() if path.startswith((b"data/", b"model.bin"))}


def flip(path: Path, at: int) -> bytes:
    data = path.read_bytes()
    damaged = bytearray(data)
    damaged[at] ^= 0x08
    path.chmod(0o644)
    path.write_bytes(damaged)
    return data


def assert_nothing_wrong(found: dict, expected: dict) -> None:
    for path, fact in found.items():
        if path.endswith(b".dvlite"):
            continue
        assert fact == expected[path], f"wrong bytes in {path!r}"


def trusting_clone(here: Clone, target: Path, store: Path) -> Clone:
    """Returns a colleague's clone whose user approved the folder remote."""
    there = here.clone(target)
    there.dv("remote", "trust", str(store))
    return there


def total(store: Path) -> int:
    """Returns the bytes that a folder remote takes."""
    return sum(path.stat().st_size for path in objects(store).values())
