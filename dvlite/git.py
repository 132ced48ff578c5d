"""The git program.

The only module that starts a process to talk to git. Each operation is one run of git with `-z` input and output, no hooks, no
prompts and no file system monitor, so that a repository from a stranger cannot make it run anything. Paths are relative to the root
of the work tree, with `/`, undecodable bytes as `os.fsdecode` keeps them. Knows nothing of pointers but their suffix.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite.errors import DvliteError, FormatError, NotARepository, UsageError
from dvlite.files import printable, quote
from dvlite.places import GitPlaces

POINTERS = "*.dvlite"  # as a git pathspec it matches in every folder
OWN_FILES = (
    POINTERS,
    ".dvlite",
    ".dvliteignore",
    ".gitattributes",
    ".gitignore",
    "**/.gitignore",
    "dvlite.yaml",
    "dvlite.lock",
)
_SAFE = ("-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false")
_LITERAL = ":(literal)"  # what follows is a name, never a pattern
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
_REGULAR = ("100644", "100755")
_ASK_AT_ONCE = 128  # their names fit into any pipe, so that git and we never wait for each other
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class PointerChange:
    """A pointer file as one commit left it; `blob` is None where the commit removed it, `old_path` is set where it was renamed."""

    commit: str
    path: str
    blob: str | None
    old_path: str | None = None


@dataclass(frozen=True, slots=True)
class FileStatus:
    """How a file differs between commit, index and work tree, in git's letters (`.` equal, `?` untracked, `U` unmerged)."""

    path: str
    staged: str
    unstaged: str


def program(environ: Mapping[str, str], *, not_in: Path | None = None) -> str:
    """Returns the absolute path of git on PATH; relative entries and `not_in` are never looked at (git-lfs CVE-2022-24826)."""
    entries = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)]
    found = shutil.which(
        "git", path=os.pathsep.join(entry for entry in entries if not_in is None or Path(entry) != not_in)
    )
    if found is None:
        raise DvliteError("cannot find the program 'git' on PATH", hint="install git: https://git-scm.com/downloads")
    return found


def program_version(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Returns the version of git, for example (2, 45, 1)."""
    done = subprocess.run([program(environ), "version"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    match = re.search(rb"[0-9]+(\.[0-9]+)+", done.stdout)
    if match is None:
        raise DvliteError("git does not say which version it is", hint="git version")
    return tuple(int(part) for part in match[0].split(b"."))


def clone_into(url: str, target: Path, environ: Mapping[str, str], *, quiet: bool = False) -> None:
    """Clones a repository; git may ask for credentials on the terminal and shows its own progress on standard error."""
    arguments = [program(environ, not_in=Path.cwd()), "clone", *(["--quiet"] if quiet else []), "--", url, str(target)]
    if subprocess.run(arguments, env=_outside(environ), stdout=subprocess.DEVNULL, check=False).returncode:
        raise DvliteError(f"git could not clone {quote(without_credentials(url))}", hint="git's own message is above")


def clone_silently(url: str, target: Path, environ: Mapping[str, str], options: Sequence[str]) -> None:
    """Clones a repository with nothing checked out and no hooks; git may ask for credentials. Raises DvliteError with its reason."""
    arguments = ["clone", "--quiet", "--no-checkout", "--template=", *options, "--", url, str(target)]
    command = [program(environ, not_in=Path.cwd()), *arguments]
    done = subprocess.run(
        command, env=_outside(environ) | {"LC_ALL": "C"}, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        reason = without_credentials(_failed(arguments, done.stderr).message)
        raise DvliteError(
            f"cannot read {quote(without_credentials(url))}: {reason}", hint="give a URL that git clone takes"
        )


def _outside(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _REDIRECTS and name != _INDEX}


def without_credentials(url: str) -> str:
    """Returns a git URL without the user name and password that it may carry."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


class Git:
    """Runs git in one work tree."""

    __slots__ = ("_env", "_program", "root")

    def __init__(self, places: GitPlaces, environ: Mapping[str, str]) -> None:
        self.root = places.root
        self._program = program(environ, not_in=places.root)
        self._env = {name: value for name, value in environ.items() if name not in _REDIRECTS}
        self._env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        index = self._env.get(_INDEX)  # `git commit PATH` gives its hooks an index of their own, in the git directory
        if index is not None and not (places.root / index).is_relative_to(places.git_dir):
            del self._env[_INDEX]

    def run(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> bytes:
        """Runs git once and returns its output; with `check`, a failure raises DvliteError with git's first line."""
        done = subprocess.run(self._command(arguments), env=self._env, input=stdin, capture_output=True, check=False)
        if check and done.returncode:
            raise _failed(arguments, done.stderr)
        return done.stdout

    def _start(self, arguments: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
        """Starts git for a reader that may stop early; the reader kills it."""
        return subprocess.Popen(
            self._command(arguments), env=self._env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [self._program, "-C", str(self.root), *_SAFE, *arguments]

    def check_ownership(self) -> None:
        """Raises NotARepository if git refuses this repository, for example as another user's (safe.directory)."""
        try:
            self.run("rev-parse", "--git-dir")
        except DvliteError as error:
            raise NotARepository(
                error.message, hint=f"if you trust its owner: git config --global --add safe.directory {self.root}"
            ) from None

    # -- pointer files

    def pointer_files(self) -> list[str]:
        """Returns the pointer files that git tracks or would track, sorted; some may be gone from the work tree."""
        listed = self.run("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", POINTERS)
        return sorted({path for path in _split(listed) if _is_pointer(path)})

    def pointer_blobs(self, commit: str) -> dict[str, str]:
        """Returns the pointer files of a commit and their blobs, sorted by path."""
        found = {}
        for row in _split(self.run("ls-tree", "-r", "-z", "--full-tree", commit)):
            head, _, path = row.partition("\t")
            if _is_pointer(path):
                mode, _, blob = head.split(" ")
                if mode not in _REGULAR:
                    raise FormatError(
                        f"{quote(path)} at {commit[:8]} is not an ordinary file", hint="a pointer cannot be a link"
                    )
                found[path] = blob
        return found

    def read_blobs(self, blobs: Iterable[str], *, limit_bytes: int) -> dict[str, bytes]:
        """Returns the content of many blobs, with one run of git; raises FormatError for one above the limit, before reading it."""
        wanted = sorted(set(blobs))
        found: dict[str, bytes] = {}
        process = self._start(("cat-file", "--batch"), subprocess.PIPE) if wanted else None
        if process is None or process.stdin is None:
            return found
        with process:
            try:
                for at in range(0, len(wanted), _ASK_AT_ONCE):
                    batch = wanted[at : at + _ASK_AT_ONCE]
                    process.stdin.write("".join(f"{blob}\n" for blob in batch).encode())
                    process.stdin.flush()
                    found |= {blob: _next_blob(process, blob, limit_bytes) for blob in batch}
            finally:
                process.kill()
        return found

    def read_file(self, commit: str, path: str, *, limit_bytes: int) -> bytes | None:
        """Returns one file of a commit, or None if the commit does not have it."""
        for row in _split(self.run("ls-tree", "-z", "--full-tree", commit, "--", path)):
            mode, kind, blob = row.partition("\t")[0].split(" ")
            if kind == "blob" and mode in _REGULAR:
                return self.read_blobs([blob], limit_bytes=limit_bytes)[blob]
        return None

    def pointer_changes(
        self, *revisions: str, every: bool = False, limit: int | None = None
    ) -> Iterator[PointerChange]:
        """Yields how pointer files came to be, newest commit first; stop whenever enough was seen.

        With `every`, no version is left out: all sides of all merges are looked at, and `revisions` may hold `--all`.
        """
        options = ["--full-history", "-m"] if every else []
        options += [f"--max-count={limit}"] if limit is not None else []
        arguments = ["log", "--raw", "-z", "-M", "--no-abbrev", "--format=%x02%H", *options, *revisions, "--", POINTERS]
        process = self._start(arguments, subprocess.DEVNULL)
        with process:
            try:
                yield from _parse_log(_fields(process))
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
            found = self.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False).decode().strip()
            if _COMMIT.fullmatch(found):
                return found
        raise UsageError(
            f"{quote(revision)} is not a commit that is known here", hint="git fetch --tags; see git log --all"
        )

    def head(self) -> str | None:
        """Returns the current commit, or None before the first one."""
        return self.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).decode().strip() or None

    def merge_base(self, one: str, other: str) -> str | None:
        """Returns the best common ancestor of two commits, or None for unrelated histories."""
        return self.run("merge-base", one, other, check=False).decode().strip() or None

    def is_in_history(self, path: str) -> bool:
        """Says whether any commit of any ref has a file of this name."""
        return bool(self.run("rev-list", "-n", "1", "--all", "--", f":(top,literal){path}").strip())

    def commits_of(self, refs: str) -> list[str]:
        """Returns the commits that the refs under a prefix (`refs/heads`, `refs/tags`) lead to, without repeats."""
        lines = self.run(
            "for-each-ref", "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname)", refs
        ).decode()
        found: dict[str, None] = {}
        for words in (line.split() for line in lines.splitlines()):
            pairs = zip(words[::2], words[1::2], strict=True)
            found |= {commit: None for kind, commit in pairs if kind == "commit"}
        return list(found)

    # -- index and work tree

    def tracked_under(self, paths: Sequence[str]) -> list[str]:
        """Returns the files in git's index that are one of `paths` or lie below one."""
        if not paths:
            return []
        if len(paths) <= 100:
            return _split(
                self.run("ls-files", "--cached", "--deduplicate", "-z", "--", *(_LITERAL + path for path in paths))
            )
        wanted = set(paths)  # too many for a command line: one listing, looked up here
        listed = _split(self.run("ls-files", "--cached", "--deduplicate", "-z"))
        return [path for path in listed if path in wanted or any(parent in wanted for parent in _parents(path))]

    def ignored(self, paths: Sequence[str]) -> set[str]:
        """Returns those of `paths` that git ignores (tracked files never are)."""
        if not paths:
            return set()
        return set(_split(self.run("check-ignore", "-z", "--stdin", stdin=_join(paths), check=False)))

    def stage(self, paths: Sequence[str]) -> None:
        """Stages files as they are in the work tree; raises DvliteError naming one that git ignores."""
        if not paths:
            return
        try:
            self.run("add", *_PATHS_ON_STDIN, stdin=_join(paths, _LITERAL))
        except DvliteError:
            ignored = sorted(self.ignored(paths))
            if not ignored:
                raise
            hint = f"see which rule does: git check-ignore -v {printable(ignored[0])}"
            raise DvliteError(f"cannot stage {quote(ignored[0])}: git ignores it", hint=hint) from None

    def remove_cached(self, paths: Sequence[str]) -> None:
        """Takes files out of the index and leaves the work tree alone; files that are not in it are passed over."""
        if paths:
            self.run(
                "rm",
                "--cached",
                "--quiet",
                "--force",
                "--ignore-unmatch",
                *_PATHS_ON_STDIN,
                stdin=_join(paths, _LITERAL),
            )

    def status(self) -> list[FileStatus]:
        """Returns pointers, ignore files and dvlite's own files that are not as in the last commit, sorted by path."""
        output = self.run("status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--", *OWN_FILES)
        return sorted((_file_status(row) for row in _split(output) if row[0] in "1u?"), key=lambda status: status.path)

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


def _failed(arguments: Sequence[str], stderr: bytes) -> DvliteError:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    first = next((line for line in lines if not line.startswith(("warning:", "hint:"))), "it gave no reason")
    reason = first.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")
    hint = "another git command is running here, or one was killed: see git status" if "index.lock" in reason else None
    return DvliteError(f"git {arguments[0]} failed: {printable(reason)}", hint=hint)


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(field) for field in output.split(b"\0") if field]


def _join(paths: Sequence[str], magic: str = "") -> bytes:
    return b"".join(os.fsencode(magic + path) + b"\0" for path in paths)


def _parents(path: str) -> Iterator[str]:
    position = path.find("/")
    while position >= 0:
        yield path[:position]
        position = path.find("/", position + 1)


def _is_pointer(path: str) -> bool:
    return path.endswith(POINTERS[1:]) and not path.endswith("/" + POINTERS[1:]) and path != POINTERS[1:]


def _next_blob(process: subprocess.Popen[bytes], blob: str, limit_bytes: int) -> bytes:
    output = process.stdout
    words = output.readline().split() if output is not None else []
    if output is None or len(words) != 3 or words[1] != b"blob":
        raise DvliteError(f"git does not have the object {blob[:8]}", hint="git fetch, or git fsck")
    size = int(words[2])
    if size > limit_bytes:
        raise FormatError(f"a pointer file has at most {limit_bytes} bytes, git object {blob[:8]} has {size}")
    return output.read(size + 1)[:-1]


def _fields(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yields the NUL-separated fields of a running git's output as they arrive."""
    rest = b""
    while process.stdout is not None and (piece := os.read(process.stdout.fileno(), 1 << 16)):
        *whole, rest = (rest + piece).split(b"\0")
        yield from (os.fsdecode(field) for field in whole)
    if rest:
        yield os.fsdecode(rest)


def _parse_log(fields: Iterator[str]) -> Iterator[PointerChange]:
    """Reads `git log --raw -z`: a commit per field that starts with 0x02, then `:modes blobs status`, path, and for renames a path."""
    commit = ""
    for field in fields:
        text = field.lstrip("\n")
        if text.startswith("\x02"):
            commit = text[1:].strip()
        elif text.startswith(":"):
            _, mode, _, blob, status = text.split(" ")
            path = next(fields)
            old_path, path = (path, next(fields)) if status[0] in "RC" else (None, path)
            if _is_pointer(path):
                yield PointerChange(
                    commit, path, blob if mode in _REGULAR else None, old_path if status[0] == "R" else None
                )


def _file_status(row: str) -> FileStatus:
    if row[0] == "?":
        return FileStatus(row[2:], "?", "?")
    skipped = 10 if row[0] == "u" else 8  # the fields before the path, see git-status(1)
    words = row.split(" ", skipped)
    return FileStatus(words[skipped], "U" if row[0] == "u" else words[1][0], "U" if row[0] == "u" else words[1][1])
