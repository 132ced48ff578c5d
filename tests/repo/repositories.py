"""Repositories for tests: pointers and settings in them, and dvlite's view of them."""

import os
import subprocess
from pathlib import Path

from dvlite.formats import pointer
from dvlite.formats.pointer import Pointer
from dvlite.oid import digest_bytes
from dvlite.repo import config_files
from dvlite.repo.repository import Repo, open_repo


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def opened(folder: Path, **environ: str) -> Repo:
    return open_repo(folder, {**os.environ, **environ})


def version(text: str) -> Pointer:
    return Pointer("file", digest_bytes(text.encode()), len(text))


def put(repo: Path, **contents: str) -> None:
    for path, text in contents.items():
        (repo / f"{path}.dvlite").parent.mkdir(parents=True, exist_ok=True)
        (repo / f"{path}.dvlite").write_bytes(pointer.dump(version(text)))


def commit(repo: Path, **contents: str) -> str:
    put(repo, **contents)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", "Change")
    return git(repo, "rev-parse", "HEAD")


def write_config(work: Path, text: str, name: str = "config.yaml") -> None:
    (work / ".dvlite" / name).write_text(f"project: {'0' * 32}\n{text}" if name == "config.yaml" else text)


def write_user_config(text: str) -> Path:
    path = config_files.path_of(config_files.USER, None, os.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
