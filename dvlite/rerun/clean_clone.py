"""A temporary clone of the repository at one commit, holding only what is in git; removed afterwards.

It shares git's objects with the original, which is only read: git commands of its stages change the clone alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite.git import discover
from dvlite.git.program import Git
from dvlite.pipeline.executor import uninterruptible
from dvlite.repo.repository import Repo, open_repo
from dvlite.repo.revisions import SUBMODULE

# Set by git for its hooks: with them, git commands of stages would change another repository than the clone.
_GIT_LOCATIONS = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "WORK_TREE", "INDEX_FILE", "COMMON_DIR", "NAMESPACE", "PREFIX"),
        *("OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "QUARANTINE_PATH"),
    )
)


@dataclass(frozen=True, slots=True)
class CleanClone:
    """The clone, a folder beside it for logs and copies, and the environment for commands in it."""

    repo: Repo
    aside: Path
    environ: Mapping[str, str]


@contextlib.contextmanager
def clean_clone(repo: Repo, commit: str, environ: Mapping[str, str], *, keep: bool = False) -> Iterator[CleanClone]:
    """Clones the repository and checks the commit out; no hook runs. `keep` leaves the clone in place afterwards.

    Raises NotARepository if the commit does not use dvlite.
    """
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="dvlite-verify-")))
    inside = {name: value for name, value in environ.items() if name not in _GIT_LOCATIONS}
    try:
        root = folder / (repo.root.name or "clone")
        git = _empty_clone(repo, root, inside)
        promisor = _promisor(repo)
        if promisor is not None:
            git.run("remote", "add", "origin", promisor)
            git.config_set("remote.origin.promisor", "true")
        git.run("checkout", "--quiet", "--detach", commit)
        if promisor is not None:  # a stage that pushes would write there
            git.run("remote", "remove", "origin")
        aside = folder / "aside"
        aside.mkdir()
        yield CleanClone(open_repo(root, inside), aside, inside)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            with uninterruptible():
                remove(folder)


def changed_files(repo: Repo) -> list[str]:
    """Returns the files in git with uncommitted changes, which a clone does not have."""
    return sorted(path for path, _ in repo.git.changes(untracked=False))


def submodules(repo: Repo) -> list[str]:
    """Returns the submodules of the checked out commit; a clean clone has only their empty folders."""
    return [entry.path for entry in repo.git.list_index() if entry.mode == SUBMODULE]


def _empty_clone(repo: Repo, root: Path, environ: Mapping[str, str]) -> Git:
    """Makes a repository with the objects and tags of another one, by reference: git's own clone sends them if that is shallow, and fails if it is partial too."""
    form = repo.git.run("rev-parse", "--show-object-format").decode().strip()
    repo.git.run("init", "--quiet", "--template=", f"--object-format={form}", "--", str(root))
    info = root / ".git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_bytes(os.fsencode(repo.common_dir / "objects") + b"\n")
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(repo.common_dir / "shallow", root / ".git" / "shallow")
    git = Git(discover.find(root, environ), environ)
    tags = repo.git.run("for-each-ref", "--format=create %(refname) %(objectname)", "refs/tags")
    git.run("update-ref", "--stdin", stdin=tags)
    return git


def _promisor(repo: Repo) -> str | None:
    """Returns where git fetches what a partial clone (`git clone --filter`) lacks; without it a checkout leaves out those files and goes on."""
    names = (name for name in repo.git.remotes() if repo.git.config_get(f"remote.{name}.promisor") == "true")
    return next((url for name in names if (url := repo.git.remote_url(name))), None)


def remove(folder: Path) -> None:
    """Removes everything, including what a stage made read-only."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for place, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                os.chmod(place, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
