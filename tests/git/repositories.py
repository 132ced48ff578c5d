"""Repositories of git for tests: commits in them, and dvlite's view of them."""

import os
import subprocess
from pathlib import Path

from dvlite.git.discover import find
from dvlite.git.program import Git


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def opened(folder: Path, **environ: str) -> Git:
    env = {**os.environ, **environ}
    return Git(find(folder, env), env)


def commit(repo: Path, files: dict[str, str], message: str = "Change") -> str:
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", message)
    return git(repo, "rev-parse", "HEAD")
