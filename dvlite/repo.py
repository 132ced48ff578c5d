"""A git work tree that uses dvlite: where its parts are, what it tracks, and which revisions refer to what.

The one definition of "tracked" and "referenced". Holds no store and no data; looks at git, pointers and config only. Paths inside are
relative to the root of the work tree, with `/`; undecodable bytes are kept as `os.fsdecode` keeps them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dvlite import files, ignore, layers, places, remotes
from dvlite.errors import DvliteError, FormatError, NotARepository, UsageError
from dvlite.files import quote
from dvlite.formats import pointer
from dvlite.formats.config import Config, Setting, Value
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git import Git
from dvlite.paths import is_reserved
from dvlite.progress import NullProgress, Progress
from dvlite.remotes import RemoteSettings

_DIFF_KEY = "diff.dvlite.command"
# git shows nothing at all if the program it is told to call is missing: where dvlite is not on PATH, the pointers themselves are shown.
_DIFF_COMMAND = (
    'f() { if command -v dvlite >/dev/null; then dvlite diff --driver -- "$@"; else diff -u "$2" "$5" || true; fi; }; f'
)
_OWN_NAMES = ("dvlite.yaml", "dvlite.lock")


@dataclass(frozen=True, slots=True)
class Tracked:
    """A tracked path and its pointer."""

    path: str
    pointer: Pointer


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a tracked path, and a commit that names it."""

    path: str
    pointer: Pointer
    commit: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Which revisions a command is about: one, all of a kind, or (as made by default) the pointers on disk."""

    revision: str | None = None
    all_branches: bool = False
    all_tags: bool = False
    all_commits: bool = False

    @property
    def is_workspace(self) -> bool:
        return self == Scope()


WORKSPACE = Scope()


class Repo:
    """An open repository; made by `open_repo`."""

    def __init__(
        self,
        found: places.GitPlaces,
        cwd: Path,
        environ: Mapping[str, str],
        git: Git,
        config: Config,
        *,
        wait: bool = True,
    ) -> None:
        self.root = found.root
        self.git_dir = found.git_dir
        self.common_dir = found.common_dir
        self.cwd = cwd
        self.git = git
        self.config = config
        self._environ = environ
        self.waits = wait  # for locks; False: Busy instead

    @property
    def state_dir(self) -> Path:
        """What belongs to this worktree alone: stat index, sparse patterns, lock."""
        return self.git_dir / "dvlite"

    @property
    def cache_dir(self) -> Path:
        """The cache: `cache.dir` (relative to the root) or DVLITE_CACHE_DIR (relative to the current folder), else inside git's directory."""
        chosen = self.config.cache_dir
        if chosen is None:
            return self.common_dir / "dvlite" / "cache"
        home = self._environ.get("HOME", "")
        if chosen.startswith("~/") and home:
            chosen = home + chosen[1:]
        base = self.cwd if self.config.settings["cache.dir"].source == "DVLITE_CACHE_DIR" else self.root
        return Path(os.path.normpath(base / chosen))

    @property
    def is_initialised(self) -> bool:
        return (self.root / layers.COMMITTED_FILE).is_file()

    def remote(self, name: str | None = None) -> RemoteSettings:
        """Returns where a remote is (the default one without a name) and how to reach it; makes no request.

        Raises UsageError if there is none such, and Untrusted if a committed file chose its place and the user has not approved it.
        """
        return remotes.settings(self.config, name, self.root)

    def lock(
        self, *, wait: bool | None = None, waiting: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Holds this worktree's lock, exclusively: for whatever writes the work tree. Raises Busy if it must not `wait`."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        return files.lock(self.state_dir / "lock", wait=self.waits if wait is None else wait, waiting=waiting)

    # -- paths

    def relative(self, user_path: str | Path) -> str:
        """Returns a path given by the user, relative to the root; the root is ''. It need not exist.

        Raises UsageError if it is outside the repository, or behind a symbolic link (whose content is not the repository's).
        """
        text = os.fspath(user_path)
        if "\0" in text:
            raise UsageError(f"{quote(text)} is not a path")
        whole = os.path.normpath(self.cwd / text)
        root = str(self.root)
        if whole == root:
            return ""
        parent = os.path.realpath(os.path.dirname(whole))
        if not _is_within(whole, root):  # perhaps written through a link to the repository
            whole = os.path.join(parent, os.path.basename(whole))
            if whole == root or os.path.realpath(whole) == root:
                return ""
        if not _is_within(whole, root):
            raise UsageError(f"{quote(text)} is outside the repository {quote(root)}", hint="give a path inside it")
        if parent != os.path.dirname(whole):
            raise UsageError(f"{quote(text)} is behind a symbolic link", hint="give the path without the link")
        return whole[len(root) + 1 :].replace(os.sep, "/") if root != "/" else whole[1:]

    def display(self, path: str) -> str:
        """Returns a path of this repository as the user, in the current folder, would write it; not quoted."""
        if self.cwd == self.root:
            return path or "."
        return os.path.relpath(self.root / path, self.cwd)

    # -- what is tracked

    def tracked(self) -> list[Tracked]:
        """Returns the tracked paths of the work tree, sorted; raises FormatError for a pointer that cannot be used."""
        found = []
        real_folders: dict[str, bool] = {}
        for name in self.git.pointer_files():
            folder = os.path.dirname(self.root / name)
            if folder not in real_folders:
                real_folders[folder] = os.path.realpath(folder) == folder
            if not real_folders[folder]:  # git's index has it, the work tree has a link there: to git, it is deleted
                continue
            data = layers.read_regular(self.root / name, self.display(name), pointer.LIMIT_BYTES + 1)
            if data is not None:
                found.append(Tracked(_tracked_path(name), pointer.parse(data, self.display(name))))
        return _without_overlap(found)

    def tracked_at(self, revision: str) -> list[Tracked]:
        """Returns the tracked paths of a revision, sorted; raises UsageError if there is no such revision."""
        commit = self.git.resolve(revision)
        blobs = self.git.pointer_blobs(commit)
        contents = self.git.read_blobs(blobs.values(), limit_bytes=pointer.LIMIT_BYTES)
        return _without_overlap(
            [
                Tracked(_tracked_path(name), pointer.parse(contents[blob], f"{commit[:8]}:{name}"))
                for name, blob in blobs.items()
            ]
        )

    def history(self, path: str, limit: int) -> list[Pointer]:
        """Returns the committed versions of a tracked path, newest first, at most `limit`; renames are followed."""
        return self.histories([path], limit)[path]

    def histories(self, paths: Iterable[str], limit: int) -> dict[str, list[Pointer]]:
        """Returns the committed versions of many tracked paths with one look at git; what is no pointer is passed over."""
        blobs: dict[str, list[str]] = {path: [] for path in paths}
        if not blobs or (head := self.git.head()) is None:
            return {path: [] for path in blobs}
        names = {path + SUFFIX: path for path in blobs}  # what each was called at the commit being looked at
        for change in self.git.pointer_changes(head):
            path = names.get(change.path)
            if path is None:
                continue
            if change.blob is not None and change.blob not in blobs[path]:
                blobs[path].append(change.blob)
            if change.old_path is not None or len(blobs[path]) >= limit:
                del names[change.path]
            if change.old_path is not None and len(blobs[path]) < limit:
                names[change.old_path] = path
            if not names:
                break
        known = self._readable({blob: path for path, found in blobs.items() for blob in found}, NullProgress())
        return {path: [known[blob] for blob in found if blob in known] for path, found in blobs.items()}

    def reachable(self, scope: Scope, *, progress: Progress | None = None) -> list[Version]:
        """Returns each version that the revisions name, once, with a path and a commit of it; those of HEAD if it names none.

        A pointer that cannot be read stops a single revision; in many, it names no data that could be had, and is warned of.
        """
        if scope.revision is not None:
            commit = self.git.resolve(scope.revision)
            return _unique(Version(tracked.path, tracked.pointer, commit) for tracked in self.tracked_at(commit))
        named = self._pointers_of_all() if scope.all_commits else self._pointers_of_refs(scope)
        known = self._readable(
            {blob: f"{commit[:8]}:{name}" for commit, name, blob in named}, progress or NullProgress()
        )
        return _unique(
            Version(_tracked_path(name), known[blob], commit) for commit, name, blob in named if blob in known
        )

    def _pointers_of_all(self) -> list[tuple[str, str, str]]:
        """Returns (commit, pointer file, blob) for every version in every commit of every ref and HEAD."""
        revisions = ["--all"] if self.git.head() is None else ["--all", "HEAD"]
        changes = self.git.pointer_changes(*revisions, every=True)
        return [(change.commit, change.path, change.blob) for change in changes if change.blob is not None]

    def _pointers_of_refs(self, scope: Scope) -> list[tuple[str, str, str]]:
        commits = dict.fromkeys(self.git.commits_of("refs/heads") if scope.all_branches else ())
        commits |= dict.fromkeys(self.git.commits_of("refs/tags") if scope.all_tags else ())
        if not scope.all_branches and not scope.all_tags and (head := self.git.head()) is not None:
            commits[head] = None
        return [(commit, name, blob) for commit in commits for name, blob in self.git.pointer_blobs(commit).items()]

    def _readable(self, blobs: Mapping[str, str], progress: Progress) -> dict[str, Pointer]:
        """Reads the pointers among blobs, given with where they stand; warns of the others."""
        found = {}
        for blob, data in self.git.read_blobs(blobs, limit_bytes=pointer.LIMIT_BYTES).items():
            try:
                found[blob] = pointer.parse(data, blobs[blob])
            except FormatError as error:
                progress.warn(error.message)
        return found

    # -- changes

    def stage(self, paths: Sequence[str], *, enabled: bool | None = None) -> tuple[str, ...]:
        """Puts files into git's index as they are now (gone ones leave it), unless `core.autostage` or `enabled` says no.

        Returns what was staged.
        """
        if not paths or not (self.config.autostage if enabled is None else enabled):
            return ()
        there = [path for path in paths if os.path.lexists(self.root / path)]
        self.git.stage(there)
        self.git.remove_cached([path for path in paths if path not in there])
        return tuple(paths)

    def ensure_ignored(self, paths: Sequence[str]) -> list[str]:
        """Makes git ignore tracked paths: in the `.gitignore` of their folders, and in `info/exclude` for branches without them.

        Returns the `.gitignore` files that changed. Doing it again changes nothing.
        """
        return self._edit_ignore_files(paths, ignore.add_patterns)

    def exclude(self, paths: Sequence[str]) -> None:
        """Makes git ignore tracked paths in this clone alone: `git mv` and `git pull` bring pointers that no .gitignore knows."""
        ignore.add_patterns(self.common_dir / "info" / "exclude", list(paths))

    def forget_ignored(self, paths: Sequence[str]) -> list[str]:
        """Takes the lines of `ensure_ignored` out again; returns the `.gitignore` files that changed or went."""
        return self._edit_ignore_files(paths, ignore.remove_patterns)

    def _edit_ignore_files(self, paths: Sequence[str], edit: Callable[[Path, list[str]], bool]) -> list[str]:
        by_folder: dict[str, list[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            by_folder.setdefault(folder, []).append(name)
        changed = []
        for folder, names in sorted(by_folder.items()):
            file = f"{folder}/.gitignore".lstrip("/")
            if edit(self.root / file, names):
                changed.append(file)
        if paths:
            edit(self.common_dir / "info" / "exclude", list(paths))
        return changed

    def prepare_clone(self) -> None:
        """Sets what git keeps in this clone only: how `git diff` shows pointers, and `info/exclude` for all tracked paths."""
        if self.git.config_get(_DIFF_KEY) != _DIFF_COMMAND:
            self.git.config_set(_DIFF_KEY, _DIFF_COMMAND)
        ignore.add_patterns(self.common_dir / "info" / "exclude", [tracked.path for tracked in self.tracked()])

    def read_layer(self, layer: str) -> Mapping[str, Setting]:
        """Returns what one layer's config file says."""
        return layers.read(layer, self.root, self._environ)

    def change_config(self, layer: str, settings: Mapping[str, Value | None]) -> Path:
        """Changes a layer's config file, reads all of them again, and returns the path of the one that changed."""
        path = layers.change(layer, settings, self.root, self._environ)
        self.config = layers.load(self.root, self._environ, self.git)
        return path


def open_repo(start: Path, environ: Mapping[str, str], *, must_be_initialised: bool = True, wait: bool = True) -> Repo:
    """Opens the repository that holds the folder `start`, which becomes its current folder.

    Raises NotARepository outside a git work tree, in one of another user, and where `dvlite init` was not run.
    """
    cwd = Path(os.path.realpath(start))
    found = places.find(cwd, environ)
    git = Git(found, environ)
    if _owner(found.git_dir) not in _own_ids(environ):
        git.check_ownership()  # git knows which strangers this user trusts
    repo = Repo(found, cwd, environ, git, layers.load(found.root, environ, git), wait=wait)
    if must_be_initialised and not repo.is_initialised:
        raise NotARepository(f"dvlite is not initialised in {quote(str(found.root))}", hint="dvlite init")
    return repo


def why_untrackable(path: str) -> str | None:
    """Returns the rule that keeps a path from being tracked, or None."""
    parts = path.split("/")
    last = parts[-1].casefold()
    if (
        any(is_reserved(os.fsencode(part)) for part in parts)
        or last.startswith((".git", ".dvlite"))
        or last in _OWN_NAMES
    ):
        return "git and dvlite use that name themselves"
    if last.endswith(SUFFIX):
        return "it has the name of a pointer"
    if any(part in ("", ".", "..") for part in parts):
        return "it is not a plain path"
    return None


def overlap(paths: Iterable[str]) -> tuple[str, str] | None:
    """Returns two paths of which one lies inside the other, or None."""
    outer: list[str] | None = None
    for parts in sorted(path.split("/") for path in paths):
        if outer is not None and parts[: len(outer)] == outer:
            return "/".join(outer), "/".join(parts)
        outer = parts
    return None


def _tracked_path(name: str) -> str:
    path = name.removesuffix(SUFFIX)
    reason = why_untrackable(path)
    if reason is not None:
        raise FormatError(
            f"refused {quote(name)}: {quote(path)} cannot be tracked, {reason}", hint=f"git rm --cached {quote(name)}"
        )
    return path


def _without_overlap(tracked: list[Tracked]) -> list[Tracked]:
    pair = overlap(item.path for item in tracked)
    if pair is not None:
        outer, inner = pair
        raise FormatError(
            f"refused {quote(inner + SUFFIX)}: {quote(inner)} is inside {quote(outer)}, which is tracked too",
            hint=f"keep one of the two: git rm --cached {quote(inner + SUFFIX)}",
        )
    return sorted(tracked, key=lambda item: item.path)


def _unique(versions: Iterable[Version]) -> list[Version]:
    found: dict[tuple[str, bytes, bool], Version] = {}
    for version in versions:
        found.setdefault((version.pointer.kind, version.pointer.digest, version.pointer.executable), version)
    return list(found.values())


def _is_within(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _owner(path: Path) -> int:
    try:
        return os.stat(path).st_uid
    except OSError as error:
        raise files.os_error(error, "read", path) from error


def _own_ids(environ: Mapping[str, str]) -> Iterator[int]:
    """Yields the users whose repositories are taken as one's own: as git, with sudo also those of the user before it."""
    if not hasattr(os, "geteuid"):
        raise DvliteError("dvlite does not run on this system yet", hint="on Windows, use WSL2")
    yield os.geteuid()
    if os.geteuid() == 0 and environ.get("SUDO_UID", "").isdigit():
        yield int(environ["SUDO_UID"])
