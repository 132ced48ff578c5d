"""Temporary work trees beside the workspace, in git's folder: of a snapshot of the workspace, or of a commit. They share cache and run records.

git knows them as worktrees while they are there. What a killed command left goes with the next one: a lock says whose is still in use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from dvlite import files
from dvlite.errors import Busy, DvliteError, NotARepository, UsageError
from dvlite.formats import pointer
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git import discover
from dvlite.git.program import Git
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_repo
from dvlite.rerun.clean_clone import remove
from dvlite.show import printable, quote, some, word

LOCK = "lock"
_FOLDER = "dvlite/try"  # in git's common folder
_TREE = "tree-"
_VARIANT = "variant"
_LOCAL_CONFIG = ".dvlite/config.local.yaml"
_STEADY = frozenset({"ls-files", "check-ignore", "check-attr", "rev-parse", "config"})
_MOST_BYTES = 8 << 20  # of a file that git does not have yet: a larger one is data


def folder_of(repo: Repo, name: str) -> Path:
    """Returns where the trees of one command are, and what else it keeps."""
    return repo.common_dir / _FOLDER / name


@contextlib.contextmanager
def held(repo: Repo, name: str) -> Iterator[int]:
    """Holds a folder of trees, and removes its trees at the end; yields the lock, for child processes to inherit. Raises Busy."""
    clear(repo)
    folder = folder_of(repo, name)
    folder.mkdir(parents=True, exist_ok=True)
    with files.lock(folder / LOCK, wait=False) as descriptor:
        try:
            yield descriptor
        finally:
            _remove_trees(repo, folder)
            if os.listdir(folder) == [LOCK]:
                shutil.rmtree(folder)


def is_held(repo: Repo, name: str) -> bool:
    """Returns whether a command works in a folder of trees."""
    folder = folder_of(repo, name)
    if not any(folder.glob(f"{_TREE}*")):  # else the look at the lock could be in the way of a command that takes it
        return False
    try:
        with files.lock(folder / LOCK, shared=True, wait=False):
            return False
    except Busy:
        return True


def trees(repo: Repo, name: str) -> Iterator[tuple[Repo, int | None]]:
    """Yields the trees in a folder, each with the number of the variant that is in it."""
    for root in sorted(folder_of(repo, name).glob(f"{_TREE}*")):
        with contextlib.suppress(NotARepository):  # it is made or removed just now
            places = discover.find(root, repo.environ)
            tree = Repo(places, root, repo.environ, Git(places, repo.environ), repo.config)
            number = files.read_own(tree.state_dir / _VARIANT)
            yield tree, int(number) if number and number.isdigit() else None


def note_variant(tree: Repo, number: int) -> None:
    """Notes which variant is in a tree."""
    tree.state_dir.mkdir(parents=True, exist_ok=True)
    files.write_atomic(tree.state_dir / _VARIANT, str(number).encode(), sync=False)


def clear(repo: Repo) -> None:
    """Removes the trees that killed commands left."""
    for folder in sorted((repo.common_dir / _FOLDER).glob("*")):
        if any(folder.glob(f"{_TREE}*")):
            with contextlib.suppress(Busy), files.lock(folder / LOCK, wait=False):
                _remove_trees(repo, folder)


def _remove_trees(repo: Repo, folder: Path) -> None:
    trees = sorted(folder.glob(f"{_TREE}*"))
    for tree in trees:
        remove(tree)
    if trees:
        repo.git.run("worktree", "prune", "--expire=now")


def open_tree(repo: Repo, name: str, number: int, commit: str, environ: Mapping[str, str]) -> Repo:
    """Makes a tree at a commit, checked out; no hook runs."""
    root = folder_of(repo, name) / f"{_TREE}{number}"
    repo.git.run("worktree", "add", "--quiet", "--detach", "--no-checkout", "--force", "--", str(root), commit)
    local = repo.root / _LOCAL_CONFIG
    git = Git(discover.find(root, environ), environ)
    git.run("read-tree", "--reset", "-u", commit)
    if local.is_file() and not local.is_symlink():
        (root / _LOCAL_CONFIG).parent.mkdir(exist_ok=True)
        shutil.copyfile(local, root / _LOCAL_CONFIG)
    return open_repo(root, environ_of(repo, environ))


def environ_of(repo: Repo, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Returns variables with which a tree has the same cache as the workspace, wherever its config says that is."""
    if repo.config.cache_dir is None:
        return environ
    return {**environ, "DVLITE_CACHE_DIR": os.fspath(repo.cache_dir)}


class SteadyGit(Git):
    """Runs git in a tree in which one run after another changes data alone: what is asked of index, HEAD, config and ignore rules is asked once.

    A process costs 3 to 5 ms, and a run of a stage asks eight such questions. What depends on the files on disk is asked each time. Not for
    several threads.
    """

    __slots__ = ("_answers",)

    def __init__(self, places: discover.GitPlaces, environ: Mapping[str, str]) -> None:
        super().__init__(places, environ)
        self._answers: dict[tuple[tuple[str, ...], bytes], bytes] = {}

    def run(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> bytes:
        """Does as the method of every Git."""
        if arguments[0] not in _STEADY:
            return super().run(*arguments, stdin=stdin, check=check)
        question = arguments, stdin
        if question not in self._answers:
            self._answers[question] = super().run(*arguments, stdin=stdin, check=check)
        return self._answers[question]


def opened_for_runs(tree: Repo, folder: str, environ: Mapping[str, str]) -> Repo:
    """Returns a tree as it is opened in a folder of it, for runs alone: what git said of it once, it says again."""
    places = discover.find(tree.root, environ)
    return Repo(places, tree.root / folder if folder else tree.root, environ, SteadyGit(places, environ), tree.config)


def fill(tree: Repo, content: str) -> None:
    """Makes files and index of a tree those of a tree of git, whatever a command changed; what git ignores stays."""
    tree.git.run("read-tree", "--reset", "-u", content)
    tree.git.run("clean", "--quiet", "-ffd")


def snapshot(repo: Repo, environ: Mapping[str, str], new: Mapping[str, Pointer], progress: Progress) -> str:
    """Returns a tree of git with the files of the workspace as they are, and pointers to `new` data; git's index stays as it is.

    Files that git does not know are in it unless they are large.
    """
    index = repo.git_dir / files.temporary_name()
    git = Git(discover.find(repo.root, environ), {**environ, "GIT_INDEX_FILE": os.fspath(index)})
    unknown = repo.git.list_files(tracked=False, untracked=True)
    large = [path for path in unknown if _size(repo.root / path) > _MOST_BYTES]
    if large:
        shown = some([quote(repo.display(path)) for path in large])
        progress.warn(
            f"variants do not get {shown}, for git does not have it: dvlite add {word(repo.display(large[0]))}"
        )
    try:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(repo.git.path_of("index"), index)
        git.run("add", "--all", "--", ":/", *(f":(exclude,top,literal){path}" for path in large))
        for path, version in new.items():
            blob = git.run("hash-object", "-w", "--stdin", stdin=pointer.dump(version)).decode().strip()
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}{SUFFIX}")
        return git.run("write-tree").decode().strip()
    finally:
        index.unlink(missing_ok=True)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return os.lstat(path).st_size
    return 0


def keep_alive(repo: Repo, ref: str, content: str, message: str) -> str:
    """Makes a commit of a tree on top of the current one, and a ref of dvlite's that keeps it from git's collection; returns the commit."""
    head = repo.git.head()
    if head is None:
        raise UsageError("there is no commit yet", hint="git add -A && git commit")
    who = ("-c", "user.name=dvlite", "-c", "user.email=dvlite@localhost")
    made = repo.git.run(*who, "commit-tree", content, "-p", head, "-m", message).decode().strip()
    repo.git.run("update-ref", ref, made)
    return made


def require_branch(repo: Repo, name: str) -> None:
    """Raises UsageError for what cannot be the name of a new branch."""
    try:
        repo.git.run("check-ref-format", "--branch", name)
    except DvliteError:
        raise UsageError(f"{quote(name)} cannot be the name of a branch", hint="for example --branch best-lr") from None
    if repo.git.run("rev-parse", "--verify", "--quiet", f"refs/heads/{name}", check=False):
        raise UsageError(
            f"the branch {quote(name)} exists already", hint=f"git switch {word(printable(name))}, or another name"
        )
