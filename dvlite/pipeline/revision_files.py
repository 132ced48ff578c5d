"""What is compared: the work tree or a revision, with its pipeline files, its files of values, and what its lockfiles say.

Reads files from the disk, from git, and, for cached outputs of a revision, from the cache. Compares nothing.
"""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence

from dvlite.errors import DvliteError, FormatError, ObjectMissing, UsageError
from dvlite.files import quote
from dvlite.formats import lockfile, parameters, pipeline
from dvlite.formats.lockfile import Lockfile
from dvlite.formats.strict_yaml import Tree
from dvlite.git.output import REGULAR, is_pipeline_file
from dvlite.pipeline import stages
from dvlite.pipeline.stages import Loaded, Stage, StageOut
from dvlite.repo import config_files
from dvlite.repo.open_stores import open_cache
from dvlite.repo.repository import Repo
from dvlite.workspace import sparse

WORKSPACE = "workspace"
HEAD = "HEAD"


class RevisionFiles:
    """One side; `name` is as the user said it, `commit` None for the work tree, and for HEAD before the first commit."""

    def __init__(self, repo: Repo, name: str) -> None:
        self.name = name
        self._repo = repo
        self.is_workspace = name == WORKSPACE
        self.commit = None if self.is_workspace else repo.git.head() if name == HEAD else repo.git.resolve(name)
        self._blobs = {} if self.commit is None else _blobs(repo, self.commit)
        self._locks: dict[str, Lockfile] = {}

    def load(self) -> Loaded:
        """Returns the stages, and the errors of pipeline files that cannot be read."""
        if self.is_workspace:
            return stages.load(self._repo, self._repo.work_tree.pipeline_files())
        found: list[Stage] = []
        broken: list[DvliteError] = []
        for file in filter(is_pipeline_file, self._blobs):
            try:
                data = self.read(file, stages.LIMIT_BYTES)
                found += stages.bind(file, pipeline.parse(data or b"", self.shown(file)).stages)
            except DvliteError as error:
                broken.append(error)
        return Loaded(tuple(found), tuple(broken))

    def read(self, path: str, limit_bytes: int = parameters.LIMIT_BYTES) -> bytes | None:
        """Returns a file of the work tree or of git, None if it is not there; raises FormatError for one that is too large."""
        if self.is_workspace:
            # one byte more than what is allowed, so that the format can say so
            return config_files.read_regular(self._repo.root / path, self.shown(path), limit_bytes + 1)
        blob = self._blobs.get(path)
        if blob is None:
            return None
        try:
            return self._repo.git.read_blobs([blob], limit_bytes=limit_bytes)[blob]
        except FormatError:
            reason = f"it has more than {limit_bytes} bytes"
            raise FormatError(f"cannot read {quote(self.shown(path))}: {reason}", hint="split the file") from None

    def values(self, path: str) -> Tree:
        """Returns what a file of values holds, nothing where it is not there. Raises FormatError."""
        data = self.read(path)
        return {} if data is None else parameters.load(data, path, self.shown(path))

    def metrics(self, stage: Stage, out: StageOut) -> Iterator[tuple[str, Tree | DvliteError]]:
        """Yields the files of a metric, by path, with what they hold or why that is not known; none for what was never made."""
        for path in sorted(self._matches(stage, out)):
            try:
                data = self._data(stage, out, path)
                if data is not None:
                    yield path, parameters.load(data, path, self.shown(path))
            except DvliteError as error:
                yield path, error

    def shown(self, path: str) -> str:
        """Returns what a file of this side is called in messages."""
        return self._repo.display(path) if self.is_workspace else f"{self.name}:{path}"

    def _matches(self, stage: Stage, out: StageOut) -> set[str]:
        if not sparse.is_glob(out.path):
            return {out.path}
        if self.is_workspace:
            root = self._repo.root
            return {path for path in glob.iglob(out.path, root_dir=root, recursive=True) if (root / path).is_file()}
        chosen = sparse.selector([out.path])
        known = self._blobs if not out.spec.cache else self._locked(stage)
        return {path for path in known if chosen(os.fsencode(path))}

    def _data(self, stage: Stage, out: StageOut, path: str) -> bytes | None:
        if self.is_workspace or not out.spec.cache:
            return self.read(path)
        made = self._locked(stage).get(path)
        if made is None:
            return None
        pointer = made.pointer()
        try:
            if pointer.kind == "file" and pointer.size_bytes <= parameters.LIMIT_BYTES:
                return open_cache(self._repo).read_file(pointer.digest, pointer.size_bytes)
        except ObjectMissing as error:
            hint = f"dvlite fetch --rev {self.name}"
            raise ObjectMissing(f"{quote(self.shown(path))} is not in the cache", hint=hint) from error
        raise FormatError(f"cannot read {quote(self.shown(path))}: it is a folder, or too large", hint="name one file")

    def _locked(self, stage: Stage) -> Mapping[str, lockfile.Locked]:
        """Returns the outputs of a stage as this side's lockfile has them, by path."""
        file = stage.lockfile
        if file not in self._locks:
            data = self.read(file, lockfile.LIMIT_BYTES)
            self._locks[file] = Lockfile() if data is None else lockfile.parse(data, self.shown(file))
        entry = self._locks[file].stage(stage.name)
        outs = () if entry is None else entry.outs
        return {posixpath.normpath(posixpath.join(stage.folder, made.path)): made for made in outs}


def two_sides(repo: Repo, revisions: Sequence[str]) -> tuple[RevisionFiles, RevisionFiles]:
    """Returns what is compared: `A B`, `A..B`, `A` with the work tree, or HEAD with it. Raises UsageError for anything else."""
    words = list(revisions)
    if len(words) == 1 and ".." in words[0]:
        words = [word or HEAD for word in words[0].split("..", 1)]
    if len(words) > 2:
        raise UsageError(f"at most two revisions can be compared, not {len(words)}", hint="give A, or A and B")
    old, new = [*words, *(HEAD, WORKSPACE)[len(words) :]] if words else (HEAD, WORKSPACE)
    return RevisionFiles(repo, old), RevisionFiles(repo, new)


def chosen(repo: Repo, paths: Sequence[str], known: Sequence[str], what: str) -> set[str]:
    """Returns the files among `known` that are, or are inside, the paths given; all if none is. Raises UsageError for one that is nothing."""
    if not paths:
        return set(known)
    found: set[str] = set()
    for argument in paths:
        path = repo.relative(argument)
        inside = {file for file in known if file == path or not path or file.startswith(path + "/")}
        if not inside:
            raise UsageError(
                f"{quote(argument)} is no {what} of a stage", hint="see what the stages have: dvlite stage list"
            )
        found |= inside
    return found


def _blobs(repo: Repo, commit: str) -> dict[str, str]:
    """Returns the ordinary files of a commit and their blobs."""
    found = {}
    for row in repo.git.run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
        head, _, path = os.fsdecode(row).partition("\t")
        if head.startswith(REGULAR):
            found[path] = head.rpartition(" ")[2]
    return found
