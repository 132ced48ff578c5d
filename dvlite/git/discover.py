"""Where the git work tree around a folder is, found without starting git (every command needs it, and a process costs milliseconds).

Follows git's own rules: looks upwards, understands the `.git` files of submodules and worktrees, stops at GIT_CEILING_DIRECTORIES.
Reads two tiny files at most; knows nothing of what the repository holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import NotARepository
from dvlite.files import open_without_waiting, read_own
from dvlite.show import quote

_GITFILE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class GitPlaces:
    """Where a work tree and its git data are; `common_dir` is shared by the worktrees of a repository."""

    root: Path
    git_dir: Path
    common_dir: Path


def find(start: Path, environ: Mapping[str, str]) -> GitPlaces:
    """Returns the git work tree that holds `start`, its symbolic links resolved.

    Raises NotARepository where there is none, in a bare repository and inside a git directory.
    """
    folder = Path(os.path.realpath(start))
    ceilings = {
        Path(os.path.realpath(entry)) for entry in environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep) if entry
    }
    for candidate in (folder, *folder.parents):
        if candidate in ceilings and candidate != folder:
            break
        dot_git = candidate / ".git"
        if dot_git.is_file() or (dot_git / "HEAD").exists():
            git_dir = _follow_gitfile(dot_git) if dot_git.is_file() else Path(os.path.realpath(dot_git))
            common = read_own(git_dir / "commondir")
            if common is None:
                return GitPlaces(candidate, git_dir, git_dir)
            above = git_dir / os.fsdecode(common.rstrip(b"\r\n").replace(b"\0", b"?"))
            return GitPlaces(candidate, git_dir, Path(os.path.realpath(above)))
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir() and (candidate / "refs").is_dir():
            raise NotARepository(
                f"{quote(str(candidate))} is a git directory without a work tree", hint="run dvlite in a clone of it"
            )
    if not folder.is_dir():  # of a file system that was pickled, it may be elsewhere now
        raise NotARepository(
            f"there is no folder {quote(str(folder))}", hint="check its name, and that its disk is there"
        )
    raise NotARepository(
        f"{quote(str(folder))} is not in a git repository",
        hint="go into your clone with cd; to start a repository here: git init && dvlite init",
    )


def trusts_modes(common_dir: Path) -> bool:
    """Returns whether executable bits on disk count (`core.fileMode`), as git's config of this clone says, which `git init` writes.

    It is false where all files look alike: exFAT, CIFS, the disks of Windows in WSL.
    """
    config = read_own(common_dir / "config") or b""
    said = re.findall(rb"(?im)^[ \t]*filemode[ \t]*=[ \t]*(\w+)", config)
    return not said or said[-1].lower() not in (b"false", b"no", b"off", b"0")


def _follow_gitfile(dot_git: Path) -> Path:
    """Reads the `.git` file that stands in for the directory in submodules and worktrees."""
    with open(dot_git, "rb", opener=open_without_waiting) as file:
        data = file.read(_GITFILE_LIMIT)
    target = dot_git.parent / os.fsdecode(data.removeprefix(b"gitdir: ").rstrip(b"\r\n").replace(b"\0", b"?"))
    if not data.startswith(b"gitdir: ") or not (target / "HEAD").exists():
        raise NotARepository(
            f"{quote(str(dot_git))} does not lead to a git directory", hint="git worktree repair, or clone again"
        )
    return Path(os.path.realpath(target))


def is_bare(folder: Path) -> bool:
    """Returns whether a folder is a repository without a work tree: read as a far one."""
    return not (folder / ".git").exists() and (folder / "HEAD").is_file() and (folder / "objects").is_dir()
