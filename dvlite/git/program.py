"""The git program.

The only module that starts a process to talk to git. Each operation is one run of git with `-z` input and output, no hooks, no
prompts and no file system monitor, so that a repository from a stranger cannot make it run anything. Paths are relative to the root
of the work tree, with `/`, undecodable bytes as `os.fsdecode` keeps them. Knows nothing of pointers and lockfiles but their names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from dvlite.errors import DvliteError, FormatError, NotARepository, UsageError
from dvlite.git import output as git_output
from dvlite.git.blobs import BlobReader
from dvlite.git.discover import GitPlaces, trusts_modes
from dvlite.git.output import (
    Change,
    Commit,
    FileDifference,
    FileStatus,
    TooLarge,
    TreeEntry,
    is_commit_id,
    is_lockfile,
    is_pointer,
)
from dvlite.paths import ancestors
from dvlite.show import quote, word

# As git pathspecs, these match in every folder.
ALL_REFS = ("--exclude=refs/dvlite/*", "--all")  # of git log; private ones belong to a collection
_LOCKFILES = ("dvlite.lock", "*/dvlite.lock")
_PIPELINE_FILES = ("dvlite.yaml", "*/dvlite.yaml")
POINTERS = ("*.dvlite", *_LOCKFILES)
OWN_FILES = (
    *(*POINTERS, *_PIPELINE_FILES),
    *(".dvlite", ".dvliteignore", ".gitattributes", ".gitignore", "**/.gitignore"),
)
_SETTINGS = ("core.fsmonitor=", "core.hooksPath=/dev/null", "log.showSignature=false", "log.showRoot=true")
_SAFE = tuple(word for setting in _SETTINGS for word in ("-c", setting))
_GLOB = re.compile(r"[*?\[\\]")  # what is special in a pattern of a sparse checkout
_LITERAL = ":(literal)"  # what follows is a name, never a pattern
_RAW = ("--raw", "-z", "--no-abbrev", "--no-renames")
_NAMES_AT_ONCE = 1000  # on a command line
_PATHS_ON_STDIN = ("--pathspec-from-file=-", "--pathspec-file-nul")
_INDEX = "GIT_INDEX_FILE"
# Set by git for its hooks, or by the user to point git elsewhere: the repository is always the one that `find` found.
_REDIRECTS = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "WORK_TREE", "COMMON_DIR", "OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES"),
        *("NAMESPACE", "CONFIG", "PREFIX"),
        *("GRAFT_FILE", "SHALLOW_FILE", "REPLACE_REF_BASE", "IMPLICIT_WORK_TREE", "INTERNAL_SUPER_PREFIX"),
        *("LITERAL_PATHSPECS", "GLOB_PATHSPECS", "NOGLOB_PATHSPECS", "ICASE_PATHSPECS"),
    )
)
DEEPEN = "git fetch --unshallow     (CI: fetch-depth: 0, GIT_DEPTH: 0)"
_ASK_AT_ONCE = 128  # their names fit into any pipe, so that git and we never wait for each other


def program(environ: Mapping[str, str], *, not_in: Path | None = None) -> str:
    """Returns the absolute path of git on PATH; relative entries and `not_in` are never looked at (git-lfs CVE-2022-24826)."""
    entries = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)]
    path = shutil.which(
        "git", path=os.pathsep.join(entry for entry in entries if not_in is None or Path(entry) != not_in)
    )
    if path is None:
        raise DvliteError("cannot find the program 'git' on PATH", hint="install git: https://git-scm.com/downloads")
    return path


def program_version(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Returns the version of git, for example (2, 45, 1)."""
    done = subprocess.run([program(environ), "version"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    match = re.search(rb"[0-9]+(\.[0-9]+)+", done.stdout)
    if match is None:
        raise DvliteError("git does not say which version it is", hint="git version")
    return tuple(int(part) for part in match[0].split(b"."))


def pager(environ: Mapping[str, str]) -> str:
    """Returns the command line that shows long text to this user: GIT_PAGER, core.pager, PAGER or git's default.

    Asked outside of any repository: what the config of one names is never run.
    """
    command = [program(environ), "-C", "/", "var", "GIT_PAGER"]
    done = subprocess.run(command, env=outside(environ), capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return os.fsdecode(done.stdout).strip()


def clone_into(url: str, target: Path, environ: Mapping[str, str], flags: Sequence[str] = ()) -> None:
    """Clones a repository; git may ask for credentials on the terminal and shows its own progress on standard error."""
    arguments = [program(environ, not_in=Path.cwd()), "clone", *flags, "--", url, str(target)]
    if subprocess.run(arguments, env=outside(environ), stdout=subprocess.DEVNULL, check=False).returncode:
        raise DvliteError(f"git could not clone {quote(without_credentials(url))}", hint="git's own message is above")


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which git works in no repository that a variable names."""
    return {name: value for name, value in environ.items() if name not in _REDIRECTS and name != _INDEX}


def without_credentials(url: str) -> str:
    """Returns a git URL, or a text with one, without the user name, password and tokens that it may carry."""
    bare = re.sub(r"(?<=://)[^/?#\s]*@", "", url)
    return re.sub(r"(?<=://)[^\s']*@[^\s']*", "...", re.sub(r"(://[^\s?#']*)[?#][^\s']*", r"\1", bare))


class Git:
    """Runs git in one work tree."""

    __slots__ = ("_common_dir", "_env", "_left_out", "_start_of_command", "is_sparse", "root", "trusts_modes")

    def __init__(self, places: GitPlaces, environ: Mapping[str, str], *, any_index: bool = False) -> None:
        """`any_index`: GIT_INDEX_FILE is this repository's, wherever it is, for git itself calls us."""
        self.root = places.root
        # Whether a sparse checkout may leave files out of the work tree; asked first, so that others pay nothing.
        self.is_sparse = (places.git_dir / "info" / "sparse-checkout").exists()
        self._left_out: Mapping[str, TreeEntry] | None = None if self.is_sparse else {}
        self._common_dir = Path(os.path.realpath(places.common_dir))
        self.trusts_modes = trusts_modes(places.common_dir)
        self._start_of_command = (program(environ, not_in=places.root), "-C", str(places.root), *_SAFE)
        self._env = {name: value for name, value in environ.items() if name not in _REDIRECTS}
        self._env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        self._env["GIT_NO_REPLACE_OBJECTS"] = "1"  # what git pushes are the objects themselves
        index = self._env.get(_INDEX)  # `git commit PATH` gives its hooks an index of their own, in the git directory
        inside = index is None or Path(os.path.realpath(places.root / index)).is_relative_to(places.git_dir)
        if not inside and not any_index:
            del self._env[_INDEX]

    def run(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> bytes:
        """Runs git once and returns its output; with `check`, a failure raises DvliteError with git's first line."""
        command = (*self._start_of_command, *arguments)
        done = subprocess.run(command, env=self._env, input=stdin, capture_output=True, check=False)
        if check and done.returncode:
            raise git_output.failed(arguments, done.stderr)
        return done.stdout

    def _start(self, arguments: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
        """Starts git for a reader that may stop early; the reader kills it."""
        command = (*self._start_of_command, *arguments)
        return subprocess.Popen(command, env=self._env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def check_ownership(self) -> None:
        """Raises NotARepository if git refuses this repository, for example as another user's (safe.directory)."""
        try:
            self.run("rev-parse", "--git-dir")
        except DvliteError as error:
            raise NotARepository(
                error.message,
                hint=f"if you trust its owner: git config --global --add safe.directory {word(str(self.root))}",
            ) from None

    # -- pointers: pointer files, and lockfiles, which are the pointers of outputs

    def tracking_files(self) -> list[str]:
        """Returns the pointer files, lockfiles and pipeline files that git tracks or would track, sorted; some may be gone."""
        paths = set(self.list_files(*POINTERS, *_PIPELINE_FILES, untracked=True))
        return sorted(path for path in paths if is_pointer(path) or git_output.is_pipeline_file(path))

    def pointer_blobs(self, commit: str) -> dict[str, str]:
        """Returns the pointer files and lockfiles of a commit and their blobs, sorted by path."""
        blobs = {}
        for entry in self.list_tree(commit):
            if is_pointer(entry.path):
                if entry.mode not in git_output.REGULAR:
                    raise FormatError(
                        f"{quote(entry.path)} at {commit[:8]} is not an ordinary file",
                        hint="a pointer cannot be a link",
                    )
                blobs[entry.path] = entry.blob
        return blobs

    def read_blobs(self, blobs: Iterable[str], *, limit_bytes: int) -> dict[str, bytes]:
        """Returns the content of many blobs, with one run of git; raises FormatError for one above the limit, before reading it."""
        return dict(self.each_blob(dict.fromkeys(blobs, limit_bytes)))

    def each_blob(self, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yields `(blob, content)` of many blobs, each with its own limit in bytes, in the order given: memory holds a few at a time.

        Raises TooLarge for one above its limit, before it is read.
        """
        wanted = list(limits)
        process = self._start(("cat-file", "--batch"), subprocess.PIPE) if wanted else None
        if process is None or process.stdin is None:
            return
        with process:
            try:
                for at in range(0, len(wanted), _ASK_AT_ONCE):
                    batch = wanted[at : at + _ASK_AT_ONCE]
                    process.stdin.write("".join(f"{blob}\n" for blob in batch).encode())
                    process.stdin.flush()
                    for blob in batch:
                        yield blob, git_output.next_blob(process.stdout, blob, limits[blob])
            finally:
                process.kill()

    def blob_sizes(self, blobs: Iterable[str]) -> dict[str, int]:
        """Returns the sizes of blobs in bytes; blobs that the repository lacks are left out."""
        wanted = "".join(f"{blob}\n" for blob in dict.fromkeys(blobs))
        lines = self.run("cat-file", "--batch-check", stdin=wanted.encode()).decode().splitlines() if wanted else []
        return {words[0]: int(words[2]) for line in lines if len(words := line.split()) == 3 and words[1] == "blob"}

    def blobs_within(
        self, limits: Mapping[str, int], refuse: Callable[[str, int], None] = lambda *_: None
    ) -> Iterator[tuple[str, bytes]]:
        """Yields `(blob, content)` as `each_blob`; calls `refuse(blob, size)` for a blob above its limit, without reading it."""
        rest = dict(limits)
        while rest:
            try:
                for blob, data in self.each_blob(rest):
                    del rest[blob]
                    yield blob, data
            except TooLarge:  # rare: only now are sizes looked up
                for blob, size in self.blob_sizes(rest).items():
                    if size > rest[blob]:
                        del rest[blob]
                        refuse(blob, size)

    def blob_reader(self) -> BlobReader:
        """Returns a reader for blobs that are asked for one after another; a context manager."""
        return BlobReader(partial(self._start, ("cat-file", "--batch"), subprocess.PIPE))

    def store_pack(self, pack: int) -> None:
        """Takes the objects of a pack, an open file, whole or not at all."""
        with self._start(("index-pack", "--stdin"), pack) as process:
            if process.wait():
                raise DvliteError("git index-pack did not take the new objects", hint="see what it says: git fsck")

    def read_file(self, commit: str, path: str, *, limit_bytes: int) -> bytes | None:
        """Returns one file of a commit, or None if the commit does not have it."""
        for entry in self.list_tree(commit, path, recurse=False):
            if entry.path == path and entry.mode in git_output.REGULAR:
                return self.read_blobs([entry.blob], limit_bytes=limit_bytes)[entry.blob]
        return None

    def pointer_changes(self, *revisions: str, every: bool = False, limit: int | None = None) -> Iterator[Change]:
        """Yields how pointer files and lockfiles came to be, newest commit first; stop whenever enough was seen.

        With `every`, no version is left out: all sides of all merges are looked at, and `revisions` may hold `--all`.
        """
        options = ["--full-history", "-m"] if every else ["-c"]  # of a merge, what neither side had
        options += [f"--max-count={limit}"] if limit is not None else []
        changes = self.each_change(["-M", *options, *revisions], POINTERS)
        return (change for change in changes if is_pointer(change.path))

    def named_by(self, *revisions: str) -> Iterator[Change]:
        """Yields what each commit made of pointer files and lockfiles that none of its parents had, newest commit first."""
        options = ["--no-renames", "--full-history", "-c", "--ignore-missing", *revisions]
        return (change for change in self.each_change(options, POINTERS) if is_pointer(change.path))

    def lockfile_changes(self, *revisions: str) -> Iterator[Change]:
        """Yields every version of every lockfile in the history of `revisions` (`--all`: of all refs), newest commit first.

        A merge is looked at from each of its sides, so that a version may come twice; stop whenever enough was seen.
        """
        options = ["--no-renames", "--full-history", "-m", *revisions]
        return (change for change in self.each_change(options, _LOCKFILES) if is_lockfile(change.path))

    def each_change(self, options: Sequence[str], files: Sequence[str] = ()) -> Iterator[Change]:
        """Yields what commits made of some files, or of all, by options of `git log`; stop whenever enough was seen."""
        arguments = ["log", "--raw", "-z", "--no-abbrev", "--format=%x02%H", *options, "--", *files]
        process = self._start(arguments, subprocess.DEVNULL)
        with process:
            try:
                yield from git_output.changes(git_output.fields(process.stdout))
                if process.wait():
                    raise DvliteError(
                        "git could not list the history of the pointer files", hint="see what it says: git fsck"
                    )
            finally:
                process.kill()

    # -- revisions

    def resolve(self, revision: str) -> str:
        """Returns the commit that a revision names; raises UsageError if there is none."""
        if not revision.startswith("-") and "\0" not in revision:
            arguments = ("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
            commit = self.run(*arguments, check=False).decode().strip()
            if is_commit_id(commit):
                return commit
        raise self._unknown(revision)

    def _unknown(self, revision: str) -> UsageError:
        """Returns the error for a revision that names no commit; its hint is about this clone: a shallow one, a branch of a remote only."""
        if not revision:
            return UsageError("the revision before ':' is empty", hint="REV:PATH, or a path alone for the work tree")
        message = f"{quote(revision)} is not a commit of this clone"
        if (self._common_dir / "shallow").exists():
            return UsageError(f"{message}: the clone is shallow", hint=DEEPEN)
        branch = re.split(r"[~^@:\0]", revision, maxsplit=1)[0]
        if branch in ("HEAD", "") and self.head() is None:
            return UsageError(f"{message}: there is no commit yet", hint="git commit")
        there = self.run("for-each-ref", "--format=%(refname:short)", f"refs/remotes/*/{branch}", check=False).split()
        known = os.fsdecode(there[0]) + revision[len(branch) :] if branch and there else ""
        hint = f"as a remote has it: {word(known)}" if known else "git fetch --tags; see git log --all"
        return UsageError(message, hint=hint)

    def head(self) -> str | None:
        """Returns the current commit, or None before the first one."""
        return self.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).decode().strip() or None

    def read_commits(self, commits: Iterable[str]) -> dict[str, Commit]:
        """Returns subject, author and time of commits, with one run of git; those that are not here are left out."""
        wanted = list(dict.fromkeys(commits))
        if not wanted:
            return {}
        options = ("--ignore-missing", "--no-walk=unsorted", "--stdin", "-z", "--format=%H%x00%at%x00%an%x00%s")
        return git_output.commits(self.run("log", *options, stdin="".join(f"{one}\n" for one in wanted).encode()))

    def merge_base(self, one: str, other: str) -> str | None:
        """Returns the best common ancestor of two commits, or None for unrelated histories."""
        return self.run("merge-base", one, other, check=False).decode().strip() or None

    def is_in_history(self, path: str) -> bool:
        """Returns whether any commit of any ref has a file of this name."""
        return bool(self.run("rev-list", "-n", "1", *ALL_REFS, "--", f":(top,literal){path}").strip())

    def commits_of(self, refs: str) -> list[str]:
        """Returns the commits that the refs under a prefix (`refs/heads`, `refs/tags`) lead to, without repeats."""
        lines = self.run(
            "for-each-ref", "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname)", refs
        ).decode()
        commits: dict[str, None] = {}
        for words in (line.split() for line in lines.splitlines()):
            pairs = zip(words[::2], words[1::2], strict=True)
            commits |= {commit: None for kind, commit in pairs if kind == "commit"}
        return list(commits)

    def is_shallow(self) -> bool:
        """Returns whether history was cut off when this repository was cloned or fetched."""
        return self.run("rev-parse", "--is-shallow-repository").strip() == b"true"

    def ref_commits(self) -> dict[str, str]:
        """Returns the refs that lead to a commit, and the commit; those of other worktrees alone are not seen here."""
        form = "--format=%(refname)%00%(objecttype) %(objectname) %(*objecttype) %(*objectname)"
        commits: dict[str, str] = {}
        for line in self.run("for-each-ref", form).decode("utf-8", "surrogateescape").splitlines():
            ref, _, rest = line.partition("\0")
            words = rest.split()
            kinds = dict(zip(words[::2], words[1::2], strict=True))
            if "commit" not in kinds and "tag" in kinds:  # of another tag, perhaps
                peeled = self.run("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", check=False)
                kinds["commit"] = peeled.decode().strip()
            if kinds.get("commit"):
                commits[ref] = kinds["commit"]
        return commits

    def stashed_commits(self) -> list[str]:
        """Returns the commits of all stashes, if there is `refs/stash`: of the work tree, of the index, and of the files that git did not track."""
        lines = self.run("log", "-g", "--format=%H %P", "refs/stash", "--").decode().splitlines()
        return [commit for words in map(str.split, lines) for commit in (*words[:1], *words[2:])]

    def commit_times(self, commits: Iterable[str]) -> dict[str, int]:
        """Returns when commits were committed, in seconds, with one run of git; those that are not here are left out."""
        options = ("--ignore-missing", "--no-walk=unsorted", "--stdin", "--format=%H %ct")
        wanted = "".join(f"{commit}\n" for commit in dict.fromkeys(commits))
        lines = self.run("log", *options, stdin=wanted.encode()).decode().splitlines() if wanted else []
        return {commit: int(time) for commit, time in map(str.split, lines)}

    def remotes(self) -> list[str]:
        """Returns the names of git's own remotes."""
        return self.run("remote").decode("utf-8", "surrogateescape").splitlines()

    def fetch_refs(self, remote: str, *refspecs: str) -> None:
        """Fetches refs of a git remote into refs of this repository, those that are gone there too; nothing else changes.

        Raises DvliteError with git's reason, without credentials.
        """
        options = ("--quiet", "--prune", "--no-tags", "--refmap=", "--no-write-fetch-head", "--no-recurse-submodules")
        try:
            self.run("fetch", *options, "--no-auto-gc", "--", remote, *refspecs)
        except DvliteError as error:
            raise DvliteError(without_credentials(error.message), hint=error.hint) from None

    def delete_refs(self, prefix: str) -> None:
        """Deletes all refs under a prefix."""
        refs = self.run("for-each-ref", "--format=%(refname)", prefix).splitlines()
        if refs:
            self.run("update-ref", "--stdin", "-z", stdin=b"".join(b"delete %s\0\0" % ref for ref in refs))

    def worktrees(self) -> list[Path]:
        """Returns the folders of the worktrees of this repository, those that are gone too; none of a bare one."""
        entries = self.run("worktree", "list", "--porcelain").decode("utf-8", "surrogateescape").split("\n\n")
        lines = [entry.strip("\n").split("\n") for entry in entries if entry.strip()]
        folders = [Path(entry[0].removeprefix("worktree ")) for entry in lines if "bare" not in entry]
        # git lists the git directory of a submodule in place of its work tree.
        return [self._work_tree_of(folder) if folder == self._common_dir else folder for folder in folders]

    def _work_tree_of(self, git_dir: Path) -> Path:
        return Path(os.path.realpath(git_dir / (self.config_get("core.worktree") or ".")))

    # -- index and work tree

    def list_files(
        self, *pathspecs: str, tracked: bool = True, untracked: bool = False, in_submodules: bool = False
    ) -> list[str]:
        """Returns the files that git has in its index, and those that it would take (`untracked`), of `pathspecs` or of all."""
        options = ["--cached", "--deduplicate"] if tracked else []
        options += ["--others", "--exclude-standard"] if untracked else []
        options += ["--recurse-submodules"] if in_submodules else []
        return git_output.split(self.run("ls-files", "-z", *options, "--", *pathspecs))

    def list_ignorable(self, pattern: str) -> list[str]:
        """Returns the files in git's index that a line of the root's `.gitignore` would match."""
        return git_output.split(self.run("ls-files", "-z", "--ignored", "--cached", f"--exclude={pattern}"))

    def differing(self, *pathspecs: str) -> tuple[list[str], list[str]]:
        """Returns the files that git does not have and would take, and those that are not as its index has them."""
        options = ("ls-files", "-z", "-t", "--others", "--exclude-standard", "--modified", "--deduplicate")
        rows = git_output.split(self.run(*options, "--", *pathspecs))
        return [row[2:] for row in rows if row[:2] == "? "], [row[2:] for row in rows if row[:2] != "? "]

    def list_index(self, *, untracked: bool = False) -> Iterator[TreeEntry]:
        """Yields the files in git's index, and those that it would take."""
        options = ["--others", "--exclude-standard"] if untracked else []
        return git_output.index_entries(self.run("ls-files", "-z", "-t", "-s", "--cached", *options))

    def left_out(self, path: str) -> TreeEntry | None:
        """Returns the entry in git's index of a file that a sparse checkout leaves out of the work tree, None for any other."""
        entry = self.all_left_out().get(path)
        return None if entry is None or os.path.lexists(self.root / path) else entry

    def all_left_out(self) -> Mapping[str, TreeEntry]:
        """Returns what a sparse checkout leaves out, by path; nothing without one. Runs git once; some may have been written since."""
        if self._left_out is None:
            self._left_out = {entry.path: entry for entry in self.list_index() if entry.is_skipped}
        return self._left_out

    def read_left_out(self, path: str, *, limit_bytes: int) -> bytes | None:
        """Returns a file that a sparse checkout leaves out, as git's index has it; None for any other."""
        entry = self.left_out(path)
        if entry is None or entry.mode not in git_output.REGULAR:
            return None
        return self.read_blobs([entry.blob], limit_bytes=limit_bytes)[entry.blob]

    def list_tree(self, commit: str, *paths: str, recurse: bool = True) -> Iterator[TreeEntry]:
        """Yields the files of a commit, or those that are one of `paths` or lie below one, sorted; not `recurse`: a folder stands for its files."""
        options = ["-r"] if recurse else []
        return git_output.tree_entries(self.run("ls-tree", *options, "-z", "--full-tree", commit, "--", *paths))

    def changes(self, *pathspecs: str, untracked: bool = True) -> list[tuple[str, bool]]:
        """Returns the files that are not as in the last commit, each with whether git has it at all."""
        which = "all" if untracked else "no"
        rows = self.run("status", "--porcelain", "-z", f"--untracked-files={which}", "--no-renames", "--", *pathspecs)
        return [(row[3:], not row.startswith("??")) for row in git_output.split(rows)]

    def tracked_under(self, paths: Sequence[str]) -> list[str]:
        """Returns the files in git's index that are one of `paths` or lie below one."""
        if not paths:
            return []
        if len(paths) <= 100:
            return self.list_files(*(_LITERAL + path for path in paths))
        wanted = set(paths)  # too many for a command line: one listing, looked up here
        listed = self.list_files()
        return [path for path in listed if path in wanted or any(parent in wanted for parent in ancestors(path))]

    def ignored(self, paths: Sequence[str]) -> set[str]:
        """Returns those of `paths` that git ignores (tracked files, and folders with some, never are)."""
        if not paths:
            return set()
        # without `--no-index`, git compares each of them with each entry of its index: 7 s of CPU for 20,000
        matched = self.run("check-ignore", "--no-index", "-z", "--stdin", stdin=git_output.join(paths), check=False)
        ignored = set(git_output.split(matched))
        tracked = self.tracked_under(sorted(ignored))
        return ignored.difference(tracked, *map(ancestors, tracked))

    def filters(self, paths: Sequence[str]) -> dict[str, str]:
        """Returns those of `paths` for which git's attributes name a filter, and its name."""
        if not paths:
            return {}
        rows = self.run("check-attr", "-z", "--stdin", "filter", stdin=git_output.join(paths)).split(b"\0")
        named = zip(map(os.fsdecode, rows[::3]), map(os.fsdecode, rows[2::3]), strict=False)
        return {path: value for path, value in named if value not in ("unspecified", "unset")}

    def path_of(self, name: str) -> Path:
        """Returns where a file of git's own folder is, shared by worktrees or not."""
        return self.root / os.fsdecode(self.run("rev-parse", "--git-path", name).rstrip(b"\n"))

    def stage(self, paths: Sequence[str]) -> None:
        """Stages files as they are in the work tree; raises DvliteError naming one that git ignores."""
        if not paths:
            return
        try:
            self.run("add", *_PATHS_ON_STDIN, stdin=git_output.join(paths, _LITERAL))
        except DvliteError:
            ignored = sorted(self.ignored(paths))
            if not ignored:
                self._refuse_outside_sparse(paths)
                raise
            hint = f"see which rule does: git check-ignore -v {word(ignored[0])}"
            raise DvliteError(f"cannot stage {quote(ignored[0])}: git ignores it", hint=hint) from None

    def _refuse_outside_sparse(self, paths: Sequence[str]) -> None:
        """Raises DvliteError for a path that a dry run shows to be outside of a sparse checkout."""
        for path in paths if self.is_sparse else ():
            outside, inside = ("add", "--dry-run", "--sparse", "--"), ("add", "--dry-run", "--")
            is_taken = self.run(*inside, _LITERAL + path, check=False)
            if not is_taken and self.run(*outside, _LITERAL + path, check=False):
                raise self.outside_sparse(path)

    def outside_sparse(self, path: str) -> DvliteError:
        """Returns the error for a file that this sparse checkout leaves out."""
        return DvliteError(f"{quote(path)} is outside of this sparse checkout", hint=self.widening(path))

    def widening(self, path: str) -> str:
        """Returns the command that makes this sparse checkout take in a file: a cone by its folder, else by what a pattern may exclude."""
        folder = path.rpartition("/")[0] or path
        patterns = ("/" + _GLOB.sub(r"\\\g<0>", name) for name in dict.fromkeys((folder, path)))
        is_cone = self.config_get("core.sparseCheckoutCone") == "true"
        return " ".join(["git sparse-checkout add", *map(word, (folder,) if is_cone else patterns)])

    def remove_cached(self, paths: Sequence[str]) -> None:
        """Takes files out of the index and leaves the work tree alone; files that are not in it are passed over."""
        if paths:
            flags = ("--cached", "--quiet", "--force", "--ignore-unmatch", *_PATHS_ON_STDIN)
            self.run("rm", *flags, stdin=git_output.join(paths, _LITERAL))

    def unstaged(self, names: Sequence[str]) -> list[str]:
        """Returns the files among `names` whose content in the work tree is not in the index."""
        unstaged = []
        for start in range(0, len(names), _NAMES_AT_ONCE):
            part = names[start : start + _NAMES_AT_ONCE]
            listing = ("ls-files", "-z", "--full-name", "--cached", "--modified", "-t", "--")
            rows = git_output.split(self.run(*listing, *(f":(top,literal){name}" for name in part)))
            cached = {row[2:] for row in rows if not row.startswith("C ")}
            changed = {row[2:] for row in rows if row.startswith("C ")}
            unstaged += [name for name in part if name not in cached or name in changed]
        return unstaged

    def staged_changes(self, commit: str | None = None) -> list[FileDifference]:
        """Returns the files that differ between the index and the last commit, or another one."""
        options = (*_RAW, "--no-ext-diff", "--ignore-submodules=all", *([commit] if commit else []))
        return list(git_output.differences(self.run("diff", "--cached", *options, "--")))

    def pointer_diff(self, old: str | None, new: str | None) -> list[FileDifference]:
        """Returns the pointer files and lockfiles that differ from `old` (None: an empty tree) to `new` (None: the index)."""
        before = old or self.run("hash-object", "-t", "tree", "--stdin").decode().strip()
        command = ("diff-index", "--cached", *_RAW, before) if new is None else ("diff-tree", "-r", *_RAW, before, new)
        rows = git_output.differences(self.run(*command, "--", *POINTERS))
        return [row for row in rows if is_pointer(row.path)]

    def changed_pointers(self) -> list[str]:
        """Returns the pointer files and lockfiles changed in the work tree since they were staged; not new or deleted ones."""
        names = git_output.split(self.run("ls-files", "-z", "--full-name", "--modified", "--", *POINTERS))
        return [name for name in dict.fromkeys(names) if is_pointer(name) and (self.root / name).is_file()]

    def unmerged(self) -> dict[str, dict[int, str]]:
        """Returns the pointer files and lockfiles with a merge conflict: the blobs of their stages (1 ancestor, 2 ours, 3 theirs) that are there."""
        return self._stages("--unmerged")

    def in_conflict(self) -> list[str]:
        """Returns all files with a merge conflict, also those of git alone."""
        return git_output.split(self.run("diff", "--name-only", "--diff-filter=U", "-z"))

    def settled(self) -> dict[str, dict[int, str]]:
        """Returns the same of those whose conflict `git add` ended: git remembers until the next merge or checkout of a branch."""
        return self._stages("--resolve-undo")

    def _stages(self, which: str) -> dict[str, dict[int, str]]:
        stages: dict[str, dict[int, str]] = {}
        for row in git_output.split(self.run("ls-files", which, "-z", "--", *POINTERS)):
            head, _, path = row.partition("\t")
            mode, blob, stage = head.split(" ")
            if is_pointer(path) and mode in git_output.REGULAR:
                stages.setdefault(path, {})[int(stage)] = blob
        return stages

    def status(self) -> list[FileStatus]:
        """Returns pointers, ignore files and dvlite's own files that are not as in the last commit, sorted by path."""
        output = self.run("status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--", *OWN_FILES)
        return sorted(
            (git_output.file_status(row) for row in git_output.split(output) if row[0] in "1u?"),
            key=lambda status: status.path,
        )

    # -- settings

    def remote_url(self, name: str = "origin") -> str | None:
        """Returns where a git remote is, or None; it may carry credentials."""
        return self.config_get(f"remote.{name}.url")

    def config_get(self, key: str) -> str | None:
        """Returns a setting of git as it applies here, or None."""
        value = self.run("config", "-z", "--get", key, check=False)
        return os.fsdecode(value.removesuffix(b"\0")) if value else None

    def config_set(self, key: str, value: str) -> None:
        """Sets a setting of this repository, never committed."""
        self.run("config", "--local", key, value)
