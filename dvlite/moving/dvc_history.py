"""The history of a repository of DVC for dvlite: each commit that used DVC gets a copy on a branch, in which dvlite tracks what DVC did.

So all that dvlite does with history serves it: `log`, `lineage`, `get --rev`, `push --all-branches`, and collections keep its data. The commits themselves stay
as they are. What of one could not be carried is named, and is DVC's in the copy too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.files import refused
from dvlite.formats import dvc_files, pointer, record
from dvlite.formats.dvc_files import DvcConfig, DvcFile, DvcLockedStage, DvcOut
from dvlite.formats.pointer import SUFFIX
from dvlite.git.copied_commits import BRANCH, Changes, RawCommit, branches, read_commits, write_copies
from dvlite.git.output import REGULAR
from dvlite.git.program import DEEPEN
from dvlite.moving.dvc_pipelines import Locker, MovedPipeline, convert
from dvlite.moving.dvc_project import DvcProject, is_named, why_left
from dvlite.moving.dvc_runs import DvcRuns, Voucher
from dvlite.moving.dvc_versions import DvcTaker, DvcVersions, with_notes
from dvlite.oid import digest_bytes
from dvlite.pipeline.revision_content import BLOB_LIMIT_BYTES, Digests, GitContent, RevisionContent
from dvlite.pipeline.run_record import Author, Recorder
from dvlite.pipeline.stages import StageOut
from dvlite.progress import Progress
from dvlite.repo.dvc_version import check_places, placed
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Revision
from dvlite.repo.tracked_paths import Tracked, overlap
from dvlite.show import quote, word
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE
from dvlite.verify.commit_range import listed, steps
from dvlite.workspace.workspace import entries_of

_CONFIG = ".dvlite/config.yaml"
_NAMES = (dvc_files.SUFFIX, dvc_files.PIPELINE_NAME, dvc_files.LOCK_NAME)
_KEPT_FILES, _KEPT_LOCKS = 10_000, 50  # parsed ones in memory: most commits have the same
_TWICE = "dvlite tracks its data already"

ReadDvcFile = Callable[[str, str], DvcFile]  # from blob and name, as the next
ReadLock = Callable[[str, str], Mapping[str, DvcLockedStage]]


@dataclass(frozen=True, slots=True)
class _Used:
    """A commit that used DVC: what can be carried of it. `tracked`: what each `X.dvc` tracks, with its path."""

    text: RawCommit
    at: Revision
    project: DvcProject
    tracked: dict[str, list[tuple[str, DvcOut]]]
    pipelines: list[MovedPipeline]

    def outs(self) -> list[tuple[str, DvcOut]]:
        """Returns the data, with its paths."""
        return [
            *(row for rows in self.tracked.values() for row in rows),
            *(row for one in self.pipelines for row in one.made()),
        ]

    def kept(self) -> Iterator[StageOut]:
        """Yields the outputs that git keeps."""
        outs = (out for one in self.pipelines for stage in one.stages for out in stage.stage.outs)
        return (out for out in outs if not out.spec.cache)


@dataclass(slots=True)
class DvcHistory:
    """Commits, a parent before its children. `outs`: their data, each version once, with the first commit and path that has it; `remotes`: those that it names.

    `used`: how many of them used DVC. `left`: what could not be carried, with the reason, by the first commit and file that has it.
    """

    repo: Repo
    texts: Sequence[RawCommit]
    progress: Progress
    outs: list[tuple[str, str, DvcOut]] = field(default_factory=list)
    remotes: dict[str, None] = field(default_factory=dict)
    used: int = 0
    left: dict[str, str] = field(default_factory=dict)
    _kept: dict[str, None] = field(default_factory=dict)  # blobs of outputs that git keeps
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _digests: Digests = field(default_factory=dict)

    def survey(self) -> None:
        """Reads what DVC's files say in each commit."""
        seen: set[tuple[str, bool, bool]] = set()
        for used in self._each("reading history"):
            self.used += 1
            for path, out in used.outs():
                self.remotes |= {out.remote: None}
                if (key := (out.md5, out.old, out.executable)) not in seen:
                    seen.add(key)
                    self.outs.append((used.text.id[:8], path, out))
            self.remotes |= {name: None for one in used.pipelines for name in one.remotes}
            blobs = (used.at.blob(out.path) for out in used.kept())
            self._kept |= {blob: None for blob in blobs if blob is not None}

    def take(self, taker: DvcTaker, writer: Writer) -> dict[str, DvliteError]:
        """Takes all data into the cache, and the outputs that git keeps; returns why what could not be, by commit and path."""
        for _, data in self.repo.git.blobs_within(dict.fromkeys(self._kept, BLOB_LIMIT_BYTES)):
            writer.put(KIND_FILE, digest_bytes(data), data)
        return taker.take((f"{commit}:{path}", out) for commit, path, out in self.outs).lost

    def write(self, taker: DvcTaker, runs: DvcRuns) -> int:
        """Stores the records and writes the copies, and returns their number; what was taken is in the cache."""
        config = self.repo.work_tree.read(_CONFIG)

        def each() -> Iterator[tuple[RawCommit, Changes]]:
            for used in self._each("copying history"):
                yield used.text, self._changes(used, taker.take(used.outs()), runs, config)
            runs.records.sync()  # before any commit names them

        return write_copies(self.repo.git, each(), open_cache(self.repo).folder / "tmp")

    def _changes(self, used: _Used, versions: DvcVersions, runs: DvcRuns, config: bytes | None) -> Changes:
        written: dict[str, bytes] = {} if config is None or _CONFIG in used.at.files.by_name else {_CONFIG: config}
        removed: list[str] = []
        for file, rows in used.tracked.items():
            if not any(path in versions.lost for path, _ in rows):
                removed.append(file)
                for path, out in rows:
                    new, _ = with_notes(versions.pointers[path], out, used.project.files[file].source, self.repo)
                    written[path + SUFFIX] = pointer.dump(new)
        written |= {one.file: one.data for one in used.pipelines}
        written |= self._locker(used, versions, runs).lockfiles(used.pipelines)
        for one in used.pipelines:
            lock = posixpath.join(posixpath.dirname(one.source), dvc_files.LOCK_NAME)
            removed += [one.source, *([lock] if lock in used.project.locks else [])]
        return dict.fromkeys(removed) | written

    def _locker(self, used: _Used, versions: DvcVersions, runs: DvcRuns) -> Locker:
        at, text, cache = used.at, used.text, open_cache(self.repo)
        data = [Tracked(path, known) for path, known in versions.pointers.items()]
        look = GitContent(at, data, None, self._digests).look
        in_git = []
        for out in used.kept():
            try:
                here = look(out.path)
            except DvliteError:  # of a submodule, as it happens
                continue
            if here is not None:
                in_git.append(out.path)
                data.append(Tracked(out.path, here.pointer()))
        look = GitContent(at, data, None, self._digests).look
        content = RevisionContent(at, data, in_git, lambda _, known: entries_of(known, cache), look)

        def read(path: str, limit_bytes: int) -> bytes | None:
            known = versions.pointers.get(path)
            if known is None:
                return at.read(path, limit_bytes)
            return cache.read_file(known.digest, known.size_bytes) if known.size_bytes <= limit_bytes else None

        invocation = record.new_id(text.time_ns, digest_bytes(text.id.encode()))
        made_by = Author(invocation, text.email, "", None, self.repo.config.project or "", "")
        voucher = Voucher(runs, Recorder(self.repo, cache, made_by, ()), content, read, text)
        return Locker(at, versions, content, voucher.vouch)

    # -- what commits have

    def _each(self, doing: str) -> Iterator[_Used]:
        """Yields the commits that used DVC; its files are those of the next one when that comes."""
        texts = {text.id: text for text in self.texts}
        if texts:
            self.progress.start(doing, total_files=len(texts))
        with self.repo.git.blob_reader() as blobs:

            @lru_cache(_KEPT_FILES)
            def read_file(blob: str, name: str) -> DvcFile:
                return dvc_files.parse_file(blobs.read(blob, dvc_files.FILE_LIMIT_BYTES), name)

            @lru_cache(_KEPT_LOCKS)
            def read_lock(blob: str, name: str) -> dict[str, DvcLockedStage]:
                return dvc_files.parse_lock(blobs.read(blob, dvc_files.LOCK_LIMIT_BYTES), name)

            for commit, here in steps(self.repo.git, [*texts]):
                at = Revision(
                    self.repo.git, commit, partial(_shown, commit), commit=commit, files=here.files, blobs=blobs
                )
                used = self._used(texts[commit], at, read_file, read_lock)
                if used is not None:
                    yield used
                self.progress.advance(files=1)
            self.progress.finish()

    def _used(self, text: RawCommit, at: Revision, read_file: ReadDvcFile, read_lock: ReadLock) -> _Used | None:
        files, pipelines, locks = dict[str, DvcFile](), dict[str, bytes](), dict[str, Mapping[str, DvcLockedStage]]()
        tracked: dict[str, list[tuple[str, DvcOut]]] = {}
        for name in [name for name in at.names if name.endswith(_NAMES) and is_named(name)]:
            base, blob = posixpath.basename(name), at.blob(name) or ""
            try:
                if at.files.by_name[name].mode not in REGULAR:
                    raise refused(name, "it is a symbolic link")
                if base == dvc_files.PIPELINE_NAME:
                    pipelines[name] = at.read(name, dvc_files.FILE_LIMIT_BYTES) or b""
                elif base == dvc_files.LOCK_NAME:
                    locks[name] = read_lock(blob, name)
                else:
                    parsed = files[name] = read_file(blob, name)
                    check_places((name, out) for out in parsed.outs)
                    rows = [(placed(name, out), out) for out in parsed.outs]
                    reason = why_left(parsed) or next(
                        (_TWICE for path, _ in rows if path + SUFFIX in at.files.by_name), ""
                    )
                    if reason:
                        self._leave(text, name, reason)
                    else:
                        tracked[name] = rows
            except FormatError as error:
                self._leave(text, name, error.message)
        project = DvcProject(DvcConfig(), files=files, pipelines=pipelines, locks=locks)
        used = _Used(text, at, project, tracked, [*self._pipelines(text, at, project)])
        outs = [out.path for one in used.pipelines for stage in one.stages for out in stage.stage.outs]
        pair = overlap([*outs, *(path for rows in tracked.values() for path, _ in rows)])
        if pair is not None:
            self._leave(text, pair[1], f"it lies inside {quote(pair[0])}, and both are data")
            return None
        return used if tracked or used.pipelines else None

    def _pipelines(self, text: RawCommit, at: Revision, project: DvcProject) -> Iterator[MovedPipeline]:
        for source in project.pipelines:
            try:
                moved = convert(at, project, source)
                if moved.file in at.files.by_name:
                    raise UsageError(f"{quote(moved.file)} is there already")
                yield moved
            except DvliteError as error:
                self._leave(text, source, error.message)

    def _leave(self, text: RawCommit, name: str, reason: str) -> None:
        """Notes what could not be carried, once for all commits."""
        if (name, reason) not in self._seen:
            self._seen.add((name, reason))
            self.left[f"{text.id[:8]}:{name}"] = reason


def _shown(commit: str, path: str) -> str:
    return f"{commit[:8]}:{path}"


def history_of(repo: Repo, commits: str | None, progress: Progress) -> DvcHistory:
    """Returns the history of a range `A..B`, None: of all branches and tags. Raises UsageError where it is cut off, or has copies already."""
    git = repo.git
    if there := branches(git):
        name = there[0].removeprefix("refs/heads/").removeprefix("refs/remotes/")
        hint = f"git branch -D {BRANCH}   to copy it again" if name == BRANCH else f"git branch {BRANCH} {word(name)}"
        raise UsageError(f"the branch {quote(name)} has the history already", hint=hint)
    if commits is None and git.is_shallow():
        raise UsageError("this clone is shallow: it has a part of the history only", hint=DEEPEN)
    if commits is not None:
        names = listed(git, commits)
    else:
        everything = ("--branches", "--tags", "--remotes", *([] if git.head() is None else ["HEAD"]))
        names = git.run("rev-list", "--topo-order", "--reverse", *everything).decode().split()
    return DvcHistory(repo, [*read_commits(git, names)], progress)
