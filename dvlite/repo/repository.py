"""A git work tree that uses dvlite: where its parts are, its config, and what dvlite changes in git's files.

Opens its cache, and holds no data; the files of its revisions and what they track: `revisions`. Paths inside are relative to the
root of the work tree, with `/`; undecodable bytes are kept as `os.fsdecode` keeps them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, NotARepository, Untrusted, UsageError
from dvlite.formats.config import COMMITTED, Config, Setting, Value
from dvlite.git import discover
from dvlite.git.program import Git
from dvlite.paths import is_inside
from dvlite.progress import Progress
from dvlite.repo import attributes, config_files, ignore, remotes
from dvlite.repo.remotes import RemoteSettings
from dvlite.repo.revisions import WORK_TREE, Revision
from dvlite.show import quote
from dvlite.store.cache import Cache

_REVISIONS = 16  # kept in memory
# An entry of PATH that is not absolute could lead into the repository, whose programs are never run: then as if there were no dvlite.
_IF_ON_PATH = 'case "$(command -v dvlite)" in /*)'
# git shows nothing if the configured program is missing: without dvlite on PATH, the pointers themselves are shown.
_DIFF_COMMAND = (
    f'f() {{ {_IF_ON_PATH} dvlite diff --driver -- "$@" ;; *) command -p diff -u "$2" "$5" || true ;; esac; }}; f'
)
# Codes above 1 mean that dvlite wrote nothing, as where it is not on PATH: then git merges by lines, and marks what both sides changed.
_MERGE_COMMAND = (
    f'f() {{ {_IF_ON_PATH} dvlite merge-driver%s -- "$@"; code=$?; [ $code -gt 1 ] || return $code ;; esac;'
    ' git merge-file -L ours -L base -L theirs --marker-size="$4" "$2" "$1" "$3" || return 1; }; f %%O %%A %%B %%L %%P'
)
CLONE_SETTINGS = {  # what `prepare_clone` sets in git's config of a clone
    "diff.dvlite.command": _DIFF_COMMAND,
    # The commands come first: git refuses to merge at all with a driver that has a name and no command.
    "merge.dvlite-ancestor.driver": _MERGE_COMMAND % " --ancestor",
    "merge.dvlite-ancestor.name": "dvlite: one common ancestor out of several",
    "merge.dvlite.driver": _MERGE_COMMAND % "",
    "merge.dvlite.recursive": "dvlite-ancestor",
    "merge.dvlite.name": "dvlite: pointers by file, lockfiles by stage",
}


class Repo:
    """An open repository; made by `open_repo`."""

    def __init__(
        self,
        places: discover.GitPlaces,
        cwd: Path,
        environ: Mapping[str, str],
        git: Git,
        config: Config,
        *,
        wait: bool = True,
    ) -> None:
        self.root = places.root
        self.git_dir = places.git_dir
        self.common_dir = places.common_dir
        self.state_dir = places.git_dir / "dvlite"  # of this worktree alone: stat index, sparse patterns, lock
        self.cwd = cwd
        self.git = git
        self.config = config
        self.environ = environ
        self.work_tree = Revision(git, WORK_TREE, self.display)
        self._revisions: dict[tuple[str, str], Revision] = {}  # by name and commit
        self.waits = wait  # for locks; False: Busy instead

    @property
    def notes_dir(self) -> Path:
        """What this clone knows of its remotes: never in a cache that others write, for a push relies on it."""
        return self.common_dir / "dvlite" / "remote"

    @property
    def cache_dir(self) -> Path:
        """The cache: `cache.dir` (relative to the root) or DVLITE_CACHE_DIR (relative to the current folder), else inside git's directory."""
        chosen = self.config.cache_dir
        if chosen is None:
            return self.common_dir / "dvlite" / "cache"
        home = self.environ.get("HOME", "")
        if chosen.startswith("~/") and home:
            chosen = home + chosen[1:]
        base = self.cwd if self.config.settings["cache.dir"].source == "DVLITE_CACHE_DIR" else self.root
        return Path(os.path.normpath(base / chosen))

    @property
    def is_initialised(self) -> bool:
        file = config_files.COMMITTED_FILE
        return (self.root / file).is_file() or self.git.left_out(file) is not None

    def remote(self, name: str | None = None, *, to_push: bool = False) -> RemoteSettings:
        """Returns where a remote is (the default one without a name) and how to reach it; makes no request.

        Raises UsageError if there is none such, and Untrusted if a committed file chose its place and the user has not approved it, for
        reading or `to_push`.
        """
        return remotes.settings(self.config, name, self.root, to_push=to_push)

    def usable_remotes(self, name: str | None, *, to_push: bool = False, may_ask: bool = True) -> Sequence[str | None]:
        """Returns the remote that is named, else the default ones; makes no request.

        Raises as `remote` does; of several, one that the user has not approved is refused when it is used, unless the user `may_ask` be asked.
        """
        names: Sequence[str | None] = [name] if name is not None else self.config.default_remotes or [None]
        for each in names:
            try:
                self.remote(each, to_push=to_push)
            except Untrusted:
                if len(names) == 1 or (to_push and may_ask):
                    raise
        return names

    @contextlib.contextmanager
    def lock(self, progress: Progress, *, wait: bool | None = None) -> Iterator[int]:
        """Holds this worktree's lock, exclusively: for whatever writes the work tree. git ignores what it may leave if it is killed.

        Warns through `progress` if another process holds it; raises Busy if it must not `wait`.
        """
        self.state_dir.mkdir(parents=True, exist_ok=True)
        wait = self.waits if wait is None else wait
        with files.lock(self.state_dir / "lock", wait=wait, waiting=progress.warn) as descriptor:
            with contextlib.suppress(DvliteError):  # for a clone that git alone made, or one whose file is a link
                ignore.add_lines(self.common_dir / "info" / "exclude", ignore.TEMPORARY)
            yield descriptor

    # -- paths

    def relative(self, user_path: str | Path) -> str:
        """Returns a path given by the user, relative to the root; the root is ''. It need not exist.

        Raises UsageError if it is outside the repository, or behind a symbolic link (whose content is not the repository's).
        """
        text = os.fspath(user_path)
        if not text:
            raise UsageError("an empty text is no path", hint="is a variable of a script not set?")
        if "\0" in text:
            raise UsageError(f"{quote(text)} is not a path")
        whole = os.path.normpath(self.cwd / text)
        root = str(self.root)
        if whole == root:
            return ""
        parent = os.path.realpath(os.path.dirname(whole))
        inside = root.rstrip("/") + "/"
        if not whole.startswith(inside):  # perhaps written through a link to the repository
            whole = os.path.join(parent, os.path.basename(whole))
            if whole == root or os.path.realpath(whole) == root:
                return ""
        if not whole.startswith(inside):
            raise UsageError(f"{quote(text)} is outside the repository {quote(root)}", hint="give a path inside it")
        if parent != os.path.dirname(whole):
            raise UsageError(f"{quote(text)} is behind a symbolic link", hint="give the path without the link")
        return whole[len(inside) :].replace(os.sep, "/")

    def display(self, path: str) -> str:
        """Returns a path of this repository as the user, in the current folder, would write it; not quoted."""
        if self.cwd == self.root:
            return path or "."
        return os.path.relpath(self.root / path, self.cwd)

    # -- revisions

    def commit_of(self, revision: str) -> str:
        """Returns the commit that a revision names, or the tag of `model:NAME`; raises UsageError if there is none."""
        if revision.startswith("model:"):
            from dvlite.registry.models import version_named  # 6 ms that other revisions do not need

            return version_named(self.git, revision).commit
        return self.git.resolve(revision)

    def real_file(self, path: str) -> Path:
        """Returns where a file of the work tree really is. Raises UsageError for a link that leads neither into the repository nor its cache."""
        real = os.path.realpath(self.root / path)
        if not any(is_inside(real, os.path.realpath(place)) for place in (self.root, self.cache_dir)):
            hint = "name a file of the repository"
            raise UsageError(f"{quote(path)} is a link that leads out of the repository", hint=hint)
        return Path(real)

    def at(self, revision: str) -> Revision:
        """Returns the repository at a revision; raises UsageError if there is no such revision."""
        commit = self.commit_of(revision)
        key = revision, commit
        if key not in self._revisions:
            if len(self._revisions) >= _REVISIONS:
                self._revisions.clear()
            self._revisions[key] = Revision(self.git, revision, lambda path: f"{revision}:{path}", commit=commit)
        return self._revisions[key]

    # -- changes

    def stage(self, paths: Sequence[str], *, enabled: bool | None = None) -> tuple[str, ...]:
        """Puts files into git's index as they are now (gone ones leave it), unless `core.autostage` or `enabled` says no.

        Returns what was staged. Raises FormatError, with nothing staged, where a filter of git would change one of dvlite's own files.
        """
        if not paths or not (self.config.autostage if enabled is None else enabled):
            return ()
        there = [path for path in paths if files.is_there(self.root / path)]
        if error := attributes.filtered(self.git, there):
            raise error
        self.git.stage(there)
        if len(there) < len(paths):
            self.git.remove_cached([path for path in paths if path not in there])
        return tuple(paths)

    def left_to_stage(self, paths: Sequence[str], staged: Sequence[str]) -> tuple[str, ...]:
        """Returns what `git add` has to be given after `stage` staged nothing: git refuses a name that is neither on disk nor in its index."""
        if staged:
            return ()
        there = [path for path in paths if files.is_there(self.root / path)]
        left = {*self.git.unstaged(there), *self.git.tracked_under([path for path in paths if path not in there])}
        return tuple(path for path in paths if path in left)

    def ensure_ignored(
        self, paths: Sequence[str], *, write: bool = True, edit: Callable[..., bool] = ignore.add_lines
    ) -> list[str]:
        """Makes git ignore tracked paths: in the `.gitignore` of their folders, and in `info/exclude` for branches without them.

        Do it before a pointer is written: a pointer without these lines lets `git add` take the data. Returns the `.gitignore` files that
        change; doing it again changes nothing. Raises DvliteError, with nothing written, if one of them cannot be changed; without `write`,
        that is all that happens.
        """
        by_folder: dict[str, set[bytes]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            by_folder.setdefault(folder, set()).add(ignore.pattern(name))
        edits = [(f"{folder}/.gitignore".lstrip("/"), sorted(lines)) for folder, lines in sorted(by_folder.items())]
        exclude, excluded = self.common_dir / "info" / "exclude", sorted(set(map(ignore.pattern, paths)))
        changed = [
            file
            for file, lines in edits
            if edit(self.root / file, lines, write=False)
            and not (self.git.is_sparse and self._index_ignores(file, lines))
        ]
        ignored = self.git.ignored(changed)  # as in a folder that git ignores whole: no line is needed there
        changed = [file for file in changed if file not in ignored]
        is_excluded = not paths or not edit(exclude, excluded, write=False)
        if write:
            for file, lines in edits:
                if file in changed:
                    edit(self.root / file, lines)
            if not is_excluded:
                edit(exclude, excluded)
        return changed

    def _index_ignores(self, file: str, lines: Sequence[bytes]) -> bool:
        """Returns whether a `.gitignore` that a sparse checkout leaves out has these lines: git reads it from its index."""
        data = self.git.read_left_out(file, limit_bytes=ignore.MOST_BYTES)
        return data is not None and set(data.split(b"\n")).issuperset(lines)

    def unstaged_ignore_files(self, paths: Sequence[str]) -> list[str]:
        """Returns the `.gitignore` files beside paths that are not in git's index as they are: a run that was stopped leaves them so."""
        names = list(dict.fromkeys(f"{path.rpartition('/')[0]}/.gitignore".lstrip("/") for path in paths))
        there = {name for name in names if files.is_there(self.root / name)}
        tracked = set(self.git.tracked_under(names))
        new = sorted(there - tracked)
        known = {*tracked, *new} - set(self.git.ignored(new))
        return self.git.unstaged([name for name in names if name in known])

    def exclude(self, paths: Sequence[str]) -> None:
        """Makes git ignore tracked paths in this clone alone: `git mv` and `git pull` bring pointers that no .gitignore knows."""
        ignore.add_lines(self.common_dir / "info" / "exclude", sorted(set(map(ignore.pattern, paths))))

    def forget_ignored(self, paths: Sequence[str], *, write: bool = True) -> list[str]:
        """Takes the lines of `ensure_ignored` out again; returns the `.gitignore` files that change or go, and raises as it does."""
        return self.ensure_ignored(paths, write=write, edit=ignore.remove_lines)

    def prepare_clone(self) -> None:
        """Sets what git keeps in this clone only: how it shows and merges pointers, and `info/exclude` for all tracked paths."""
        for key, value in CLONE_SETTINGS.items():
            if self.git.config_get(key) != value:
                self.git.config_set(key, value)
        self.sync_git_config()
        self.exclude([tracked.path for tracked in self.work_tree.tracked(broken=[])])

    def sync_git_config(self) -> None:
        """Makes git's own settings of this clone durable: git does not."""
        for path in (self.common_dir / "config", self.common_dir):
            files.sync_path(path)

    def open_other(self, start: Path) -> Repo:
        """Opens another repository, or another worktree of this one, for the same user."""
        return open_repo(start, self.environ, must_be_initialised=False)

    def read_layer(self, layer: str) -> Mapping[str, Setting]:
        """Returns what one layer's config file says."""
        return config_files.read(layer, self.root, self.environ)

    def change_config(self, layer: str, settings: Mapping[str, Value | None]) -> Path:
        """Changes a layer's config file, reads all of them again, and returns the path of the one that changed.

        Raises DvliteError for a file that a sparse checkout leaves out.
        """
        if layer == COMMITTED and self.git.left_out(config_files.COMMITTED_FILE) is not None:
            raise self.git.outside_sparse(config_files.COMMITTED_FILE)
        path = config_files.change(layer, settings, self.root, self.environ, private=self.git_dir)
        self.config = config_files.load(self.root, self.environ, self.git)
        return path


def open_repo(
    start: Path,
    environ: Mapping[str, str],
    *,
    must_be_initialised: bool = True,
    wait: bool = True,
    for_hook: bool = False,
) -> Repo:
    """Opens the repository that holds the folder `start`, which becomes its current folder.

    Raises NotARepository outside a git work tree, in one of another user, and where `dvlite init` was not run.
    """
    if not hasattr(os, "geteuid"):
        raise DvliteError("dvlite does not run on this system yet", hint="on Windows, use WSL2")
    cwd = Path(os.path.realpath(start))
    places = discover.find(cwd, environ)
    if for_hook:
        cwd = _folder_of_user(places, environ)
    git = Git(places, environ, any_index=for_hook)
    own = {str(os.geteuid())}
    if os.geteuid() == 0:
        own.add(
            environ.get("SUDO_UID", "")
        )  # as git: with sudo, the repositories of the user before it are one's own too
    try:
        owner = os.stat(places.git_dir).st_uid
    except OSError as error:
        raise files.os_error(error, "read", places.git_dir) from error
    if str(owner) not in own:
        git.check_ownership()  # git knows which strangers this user trusts
    config = config_files.load(places.root, environ, git)
    if must_be_initialised and not (
        (places.root / config_files.COMMITTED_FILE).is_file() or git.left_out(config_files.COMMITTED_FILE)
    ):
        raise config_files.removed(git) or NotARepository(
            f"dvlite is not initialised in {quote(str(places.root))}", hint="dvlite init"
        )
    return Repo(places, cwd, environ, git, config, wait=wait)


def open_cache(repo: Repo) -> Cache:
    """Returns the repository's cache; makes no folder."""
    shared = (repo.common_dir, repo.root) if repo.config.cache_dir is not None else None
    config = repo.config
    cache = Cache(
        repo.cache_dir, pack_below_bytes=config.pack_below_bytes, group=config.cache_is_shared, project=shared
    )
    with contextlib.suppress(DvliteError, OSError):  # of others, to be read only
        cache.register()
    return cache


def open_for_hook(environ: Mapping[str, str]) -> Repo:
    """Opens, for a hook, the repository at the current folder: git runs its hooks at the top of the work tree, with the index that it uses.

    The folder that git's user is in becomes the current one. Raises NotARepository where dvlite would look at another repository than git.
    """
    return open_repo(Path(), environ, must_be_initialised=False, for_hook=True)


def _folder_of_user(places: discover.GitPlaces, environ: Mapping[str, str]) -> Path:
    git_dir = environ.get("GIT_DIR")
    if git_dir and Path(os.path.realpath(git_dir)) != places.git_dir:
        raise NotARepository(
            f"git works with {quote(git_dir)}, and dvlite knows only {quote(str(places.git_dir))} here",
            hint="run git in a work tree that has a .git of its own",
        )
    cwd = Path(os.path.realpath(places.root / environ.get("GIT_PREFIX", "")))
    return cwd if cwd.is_dir() and cwd.is_relative_to(places.root) else places.root


def place_of_page(repo: Repo, file: str | None, name: str) -> str:
    """Returns where a page for a browser is written, `file` or a place in git's folder, and makes the folder. Raises UsageError for a folder."""
    if file is not None and (os.path.isdir(file) or file.endswith("/")):
        raise UsageError(f"--html: {quote(file)} is a folder", hint="give the file to write")
    place = str(repo.common_dir / "dvlite" / "view" / name) if file is None else file
    try:
        os.makedirs(os.path.dirname(os.path.realpath(place)), exist_ok=True)
    except OSError as error:
        raise files.os_error(error, "write", place) from error
    return place
