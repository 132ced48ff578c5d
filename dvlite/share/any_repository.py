"""A repository that a user names by a URL or a folder, opened to read data and files of git out of it, without a checkout.

A far one is cloned as briefly as its server allows. Decides which of git's files are shown; knows no output.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, NotARepository, UsageError
from dvlite.files import write_atomic
from dvlite.formats import pointer
from dvlite.formats.config import Config
from dvlite.formats.manifest import EXECUTABLE, FILE, SYMLINK
from dvlite.git.copied_commits import BRANCH, copy_of
from dvlite.git.discover import GitPlaces, is_bare
from dvlite.git.far import clone_silently
from dvlite.git.output import TreeEntry, is_lockfile, is_pointer
from dvlite.git.program import Git, without_credentials
from dvlite.paths import check_paths
from dvlite.progress import Progress
from dvlite.repo import config_files, dvc_version
from dvlite.repo.dvc_version import DvcVersion
from dvlite.repo.open_stores import plain_cache
from dvlite.repo.remotes import configured
from dvlite.repo.repository import Repo, open_cache, open_repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.outputs import at_start, at_word
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.url import FOLDER, parse_url

LINK = "120000"
FLAGS = {"100644": FILE, "100755": FILE | EXECUTABLE, LINK: SYMLINK}  # by the modes of git; the rest is no file
_CONFIG_LIMIT_BYTES = pointer.LIMIT_BYTES
_SMALL = f"--filter=blob:limit={pointer.LIMIT_BYTES + 1}"  # files that can be pointers
_DEFAULT = "refs/remotes/origin/HEAD"
_SSH = re.compile(r"[^/:]+@[^/:]+:.*")  # as git writes an address: git@example.com:acme/birds


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened repository, what it tracks, and what of it is meant. `commit` is empty for the pointers on disk.

    `place` are the words by which `ls` shows what is there.
    """

    repo: Repo | None
    cache: Cache
    tracked: Sequence[Tracked]
    path: str  # relative to the root
    commit: str = ""
    far: bool = False
    catalog: Catalog | None = None  # of the remote itself, without a repository
    remote: str | None = None  # of the repository, to fetch from; None: the default one
    place: str = ""
    of_run: bool = False  # `tracked` are the outputs of a run, and nothing else is there
    theirs: DvcVersion | None = None  # what DVC tracks there, beside `tracked`
    broken: tuple[DvliteError, ...] = ()  # pointers and lockfiles there that cannot be used


def is_address(text: str) -> bool:
    """Returns whether a word is the address of a git repository: a URL, `git@HOST:PATH`, or a folder that is one."""
    folder = Path(text)
    is_folder = files.is_there(folder / ".git") or is_bare(folder)
    return is_folder or "://" in text or _SSH.fullmatch(text) is not None


def from_remote(opened: Opened, name: str) -> Opened:
    """Returns an opened repository of which data is read from the remote with a name, dvlite's or DVC's. Raises UsageError if there is none."""
    repo, theirs = opened.repo, opened.theirs
    assert repo is not None
    remotes = {} if theirs is None else dvc_version.config_of(theirs, repo.environ).remotes
    if theirs is not None and name in remotes:
        return replace(opened, theirs=replace(theirs, remote=name))
    if not repo.is_initialised:
        known = ", ".join(map(quote, remotes)) or "none"
        raise UsageError(f"there is no remote {quote(name)} there", hint=f"DVC's remotes are: {known}")
    configured(repo.config, name)
    return replace(opened, remote=name)


def git_files(opened: Opened) -> list[TreeEntry]:
    """Returns the files that git keeps at the path or below it, but for pointers and its own; modes and blobs of a commit only.

    Raises FormatError for a commit with names that lead out of a folder, which git itself would not check out: anyone can make one.
    """
    repo, path = opened.repo, opened.path
    if repo is None or opened.of_run:
        return []
    if opened.commit:
        listed = _listed(repo.git, opened.commit, path)
    else:
        names = repo.git.tracked_under([path or "."])
        listed = [TreeEntry(name, "", "") for name in names if _is_wanted(name, path)]
    check_paths([os.fsencode(entry.path) for entry in listed if entry.path != path])
    if opened.theirs is None:
        return listed
    return [entry for entry in listed if entry.path == path or not dvc_version.is_own(entry.path)]


@contextlib.contextmanager
def open_any(
    source: str,
    path: str,
    revision: str | None,
    environ: Mapping[str, str],
    progress: Progress,
    *,
    reads: bool = True,
    also: Sequence[str] = (),
) -> Iterator[Opened]:
    """Opens what `source` names, at `[REV:]path`; a far repository is cloned as briefly as its server allows, and gone afterwards.

    Files of git at the path, and at `also` other ones, can be read if `reads`, else only listed. Raises NotARepository for one that uses neither dvlite nor DVC.
    """
    if os.path.isdir(source) and not is_bare(Path(source)):
        with cache_to_read(repo := open_to_read(Path(source), environ)) as cache:
            yield _near(Opened(repo, cache, (), "", place=word(str(Path(source)))), repo, path, revision, progress)
        return
    rev, colon, inner = path.partition(":")
    if colon and revision is None:
        revision, path = rev, inner
    if not os.path.exists(source) and "://" not in source and ":" not in source:
        raise UsageError(f"cannot find {quote(source)}", hint="give a git URL, or the folder of a repository")
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        progress.start(f"reading {without_credentials(source)}")
        far = _far(source, [path, *also], revision, Path(folder) / "clone", environ, reads=reads)
        progress.finish()
        yield far


def open_to_read(folder: Path, environ: Mapping[str, str]) -> Repo:
    """Opens the repository that holds a folder, to read from it: one that uses dvlite, or DVC. Raises NotARepository for any other."""
    try:
        return open_repo(folder, environ)
    except NotARepository:
        repo = open_repo(folder, environ, must_be_initialised=False)
        if not _uses_dvc(repo):
            raise
        return repo


@contextlib.contextmanager
def cache_to_read(repo: Repo) -> Iterator[Cache]:
    """Opens the cache of a repository; that of the user, or one for a while, for one that does not use dvlite: nothing is written there."""
    own = open_cache(repo) if repo.is_initialised else own_cache(repo.config, repo.environ)
    if own is not None:
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        yield plain_cache(Path(folder))


def _uses_dvc(repo: Repo) -> bool:
    return (repo.root / dvc_version.CONFIG).is_file()


def _near(opened: Opened, repo: Repo, path: str, revision: str | None, progress: Progress) -> Opened:
    broken: list[DvliteError] = []
    if revision is not None:
        at, inner = at_word(repo, revision, progress, in_git=True, broken=broken), path
    else:
        found = at_start(repo, path, progress, in_git=True, broken=broken)
        if found is None:
            tracked = repo.work_tree.tracked(broken)
            theirs = dvc_version.on_disk(repo) if _uses_dvc(repo) else None
            opened = replace(opened, tracked=tracked, broken=tuple(broken))
            return replace(opened, path=repo.relative(path), theirs=_beside(theirs, tracked))
        at, inner = found
        revision = path[: len(path) - len(inner) - 1]
    theirs = dvc_version.of_commit(repo.git, at.commit) if at.commit and _uses_dvc(repo) else None
    return replace(
        opened,
        tracked=at.tracked,
        path=repo.relative(inner or "."),
        commit=at.commit,
        place=f"{opened.place} --rev {word(revision)}",
        of_run=not at.commit,
        theirs=_beside(theirs and replace(theirs, root=str(repo.root)), at.tracked),
        broken=tuple(broken),
    )


def _beside(theirs: DvcVersion | None, tracked: Sequence[Tracked]) -> DvcVersion | None:
    """Returns what DVC tracks and dvlite does not."""
    paths = {item.path for item in tracked}
    outs = {} if theirs is None else {path: out for path, out in theirs.outs.items() if path not in paths}
    return replace(theirs, outs=outs) if theirs is not None and outs else None


def _far(
    url: str, paths: Sequence[str], revision: str | None, target: Path, environ: Mapping[str, str], *, reads: bool
) -> Opened:
    """Reads config and pointers of a commit, nothing else; opens it at the first of the paths."""
    normal = [os.path.normpath(path or ".") for path in paths]
    outside = next((path for path in normal if path.startswith(("/", "../")) or path == ".."), None)
    if outside is not None:
        raise UsageError(
            f"{quote(outside)} is outside the repository {quote(without_credentials(url))}",
            hint="give a path inside it",
        )
    git, commit = _clone_briefly(url, target, environ, revision, normal if reads else [])
    theirs = dvc_version.of_commit(git, commit)
    repo = _with_config(git, url, _settings(git, commit), target, environ, is_needed=theirs is None)
    shown = word(without_credentials(url))
    place = shown if revision is None else f"{shown} --rev {word(revision)}"
    broken: list[DvliteError] = []
    tracked = repo.at(commit).tracked(broken)
    if theirs is not None and not repo.config.remote_names:  # then only DVC's remote can have it
        tracked = [item for item in tracked if item.path not in theirs.outs]
    return Opened(
        repo,
        own_cache(repo.config, environ) or plain_cache(target / "cache"),
        tracked,
        repo.relative(paths[0] or "."),
        commit,
        far=True,
        place=place,
        theirs=_beside(theirs, tracked),
        broken=tuple(broken),
    )


def open_history(url: str, revision: str | None, target: Path, environ: Mapping[str, str]) -> Repo:
    """Clones a far repository with its branches, tags and history, but for large files, and opens it; nothing is checked out.

    HEAD is its default branch. Raises UsageError for a revision that is not there.
    """
    clone_silently(url, target, environ, [] if os.path.isdir(url) else [_SMALL])
    git = Git(GitPlaces(target, target / ".git", target / ".git"), environ)
    branches = ("refs/remotes/origin/*:refs/heads/*", "^refs/remotes/origin/HEAD")
    git.run("fetch", "--quiet", "--update-head-ok", ".", *branches)
    commit = git.resolve(revision or "HEAD")
    _forget_origin(git)
    return _with_config(git, url, _settings(git, commit), target, environ)


def _with_config(
    git: Git, url: str, commit: str, target: Path, environ: Mapping[str, str], *, is_needed: bool = True
) -> Repo:
    """Opens a clone without a work tree by the config of a commit, which is that of a stranger, as in any clone."""
    config = git.read_file(commit, config_files.COMMITTED_FILE, limit_bytes=_CONFIG_LIMIT_BYTES)
    if config is None and not is_needed:
        return open_repo(target, environ, must_be_initialised=False)
    if config is None:
        raise NotARepository(
            f"{quote(without_credentials(url))} does not use dvlite at {commit[:8]}",
            hint="choose a revision that does: --rev R",
        )
    (target / config_files.FOLDER).mkdir()
    write_atomic(target / config_files.COMMITTED_FILE, config, sync=False)
    return open_repo(target, environ)


def _settings(git: Git, commit: str) -> str:
    """Returns the commit whose config counts for a commit: itself; the default branch's, or else its copy's, for one from before a move."""
    copy = None if _has(git, commit, config_files.COMMITTED_FILE) else copy_of(git, commit)
    if copy is None:
        return commit
    default = _resolved(git, _DEFAULT)
    return default if default is not None and _has(git, default, config_files.COMMITTED_FILE) else copy


def _has(git: Git, commit: str, name: str) -> bool:
    return git.read_file(commit, name, limit_bytes=_CONFIG_LIMIT_BYTES) is not None


def _fetch_copy(git: Git, commit: str) -> None:
    """Brings the copies of commits into a clone of a single commit, and the default branch, if that commit is one from before a move."""
    is_before = _has(git, commit, dvc_version.CONFIG) and not _has(git, commit, config_files.COMMITTED_FILE)
    if is_before and git.is_shallow():
        fetch = ("fetch", "--quiet", "--no-tags")
        git.run(*fetch, "origin", f"refs/heads/{BRANCH}:refs/remotes/origin/{BRANCH}", check=False)
        if copy_of(git, commit) is not None:
            git.run(*fetch, "--depth=1", "origin", f"+HEAD:{_DEFAULT}", check=False)


def _forget_origin(git: Git) -> None:
    """Keeps git from fetching, one by one, what a partial clone lacks."""
    for key in ("remote.origin.promisor", "remote.origin.partialclonefilter", "extensions.partialClone"):
        git.run("config", "--local", "--unset-all", key, check=False)


def _clone_briefly(
    url: str, target: Path, environ: Mapping[str, str], revision: str | None, paths: Sequence[str]
) -> tuple[Git, str]:
    """Clones as little as the server allows and returns the commit that is meant: one commit for a branch, a tag or nothing.

    For any other revision it is the history. Files too large for a pointer are not fetched, but for lockfiles and what is at `paths`: git
    fetches these as soon as their size is queried.
    """
    near = os.path.isdir(url)  # git ignores such options for a folder, and says so
    small = [] if near else [_SMALL]
    one = small if near else [*small, "--depth=1"]
    names = ["HEAD"]
    try:
        clone_silently(url, target, environ, one if revision is None else [*one, f"--branch={revision}"])
    except DvliteError:
        if revision is None:
            raise
        names = [revision, f"origin/{revision}"]
        shutil.rmtree(target, ignore_errors=True)
        clone_silently(url, target, environ, small)
    git = Git(GitPlaces(target, target / ".git", target / ".git"), environ)
    commit = next(filter(None, (_resolved(git, name) for name in names)), None)
    if commit is not None:
        if revision is not None:
            _fetch_copy(git, commit)
        pointers = git.pointer_blobs(commit) or git.pointer_blobs(copy_of(git, commit) or commit)
        large = [blob for name, blob in pointers.items() if is_lockfile(name)]
        large += [entry.blob for entry in git.list_tree(commit) if dvc_version.is_lock(entry.path)]
        large += [entry.blob for path in paths for entry in _listed(git, commit, "" if path == "." else path)]
        git.run("cat-file", "--batch-check", stdin="".join(f"{blob}\n" for blob in large).encode(), check=False)
    _forget_origin(git)
    if commit is not None:
        return git, commit
    which = "" if revision is None else f" {quote(revision)}"
    raise UsageError(
        f"{quote(without_credentials(url))} has no commit{which}",
        hint=f"see what it has: git ls-remote {word(without_credentials(url))}",
    )


def _resolved(git: Git, name: str) -> str | None:
    with contextlib.suppress(UsageError):
        return git.resolve(name)
    return None


def own_cache(config: Config, environ: Mapping[str, str]) -> Cache | None:
    """Returns the user's cache for what belongs to no clone: `cache.dir` if it is set, else in this platform's place for caches; None without one."""
    chosen = config.cache_dir
    if chosen is None:
        folder = config_files.own_cache_folder(environ)
        return None if folder is None else plain_cache(folder)
    folder = Path(os.path.abspath(os.path.expanduser(chosen)))
    return Cache(folder, pack_below_bytes=config.pack_below_bytes, group=config.cache_is_shared)


def _listed(git: Git, commit: str, path: str) -> list[TreeEntry]:
    entries = git.list_tree(commit, *([path] if path else []))
    return [entry for entry in entries if entry.mode in FLAGS and _is_wanted(entry.path, path)]


def _is_wanted(name: str, path: str) -> bool:
    """Returns whether a file of git is meant by a path: one of git's or dvlite's own only by its name."""
    is_own = is_pointer(name) or name.rpartition("/")[2].startswith((".git", ".dvlite")) or "/.dvlite/" in f"/{name}"
    return name == path or not is_own


def refuse_relative_folder(config: Config, root: Path, name: str | None = None) -> None:
    """Raises DvliteError for a remote (the default one without a name) in a folder relative to the work tree: of a clone that vanishes, it is nowhere."""
    remote = config.remote(name or config.default_remote or "")
    if remote is None:
        return
    text = str(remote.url.value)
    if parse_url(text, root).scheme == FOLDER and "://" not in text and not text.startswith(("/", "~")):
        raise DvliteError(
            f"the remote {quote(remote.name)} is {quote(text)}, relative to a clone: it cannot be reached by the repository's URL",
            hint="clone the repository beside that folder: dvlite clone URL",
        )
