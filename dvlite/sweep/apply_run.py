"""Brings a run, with the runs before it, back: parameters, edits, lockfile entries and outputs, into the workspace or onto a new branch.

Nothing is executed. What would not be as it was when the run began is refused before anything is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from dvlite.errors import DvliteError, ObjectMissing, UsageError
from dvlite.files import write_atomic
from dvlite.formats import manifest, parameters, pointer, record
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.formats.record import Input, Run
from dvlite.oid import MANIFEST, Oid, parse_oid
from dvlite.pipeline.content import Contents
from dvlite.pipeline.fetcher import Fetcher
from dvlite.pipeline.invocation import ParamSet
from dvlite.pipeline.journal import Locks, with_flags
from dvlite.pipeline.outputs import Outputs, is_cached
from dvlite.pipeline.stages import Stage, load
from dvlite.pipeline.staleness import of_stages
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.runs.index import RunIndex
from dvlite.runs.logs import load_text
from dvlite.runs.names import name_of
from dvlite.runs.queries import RunQueries
from dvlite.runs.upstream import upstream_runs
from dvlite.show import quote, word
from dvlite.sweep import side_tree
from dvlite.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Chain:
    """A run and the runs that made what it read, those first; each with the name that a lockfile gives it: that of the run whose outputs it has."""

    name: str
    runs: tuple[tuple[Oid, Run], ...]

    @property
    def last(self) -> Run:
        return self.runs[-1][1]

    @property
    def made(self) -> set[str]:
        return {out.path for _, run in self.runs for out in run.outputs}

    @property
    def inputs(self) -> dict[str, Input]:
        """What the runs read and none of them made, by path."""
        made = {(out.path, out.oid) for _, run in self.runs for out in run.outputs}
        items = (item for _, run in self.runs for item in run.inputs)
        return {item.path: item for item in items if not made & {(item.path, item.oid), (item.inside, item.inside_oid)}}


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written: parameters, edited files, pointers of data, and outputs with their lockfiles; on a branch its commit."""

    params: tuple[ParamSet, ...] = ()
    edits: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    written: tuple[str, ...] = ()  # files of git
    commit: str | None = None


def chain_of(index: RunIndex, oid: Oid) -> Chain:
    """Returns a run with those upstream of it. Raises UsageError for one without outputs, ObjectMissing without its record."""
    first = index.run(oid)
    if first is None:
        raise ObjectMissing(f"the record of the run {oid} cannot be read", hint="dvlite pull fetches a remote's copy")
    name = name_of(first.stage, oid)
    if first.imported is not None:
        hint = f"its parameters: dvlite runs show {word(name)}"
        raise UsageError(
            f"the run {name} was imported from {first.file}: no stage of this repository made it", hint=hint
        )
    if first.status not in ("ok", "cached", "asserted"):
        hint = f"its log: dvlite runs show {word(name)} --log"
        raise UsageError(f"the run {name} is {first.status}: there are no outputs to apply", hint=hint)
    known = {run: index.run(run) for run in upstream_runs(RunQueries(index), [oid])[oid]}
    before = [(run, found) for run, found in known.items() if found is not None]
    before.sort(key=lambda pair: pair[1].invocation != first.invocation)  # of several that made the same, its own
    chain: dict[tuple[str, str], tuple[Oid, Run]] = {}
    waiting = [(oid, first)]
    while waiting:
        run_oid, run = waiting.pop(0)
        if (run.file, run.stage) in chain:
            continue
        chain[run.file, run.stage] = (run.of or run_oid, run)
        for item in run.inputs:
            waiting += [pair for pair in before if _made(pair[1], item)][:1]
    return Chain(name, tuple(reversed(chain.values())))


def _made(run: Run, item: Input) -> bool:
    return any((out.path, out.oid) in ((item.path, item.oid), (item.inside, item.inside_oid)) for out in run.outputs)


def onto_branch(repo: Repo, chain: Chain, branch: str, environ: Mapping[str, str], progress: Progress) -> Applied:
    """Makes a branch at the commit that the run had, with one commit on top: all as the run had it. The workspace stays as it is."""
    side_tree.require_branch(repo, branch)
    commit = _commit_of(repo, chain)
    patch = _patch(repo, chain, progress)
    with _fetching(repo, chain, progress), side_tree.held(repo, f"branch-{os.getpid()}"):
        tree = side_tree.open_tree(repo, f"branch-{os.getpid()}", 1, commit, environ)
        if patch:
            tree.git.run("apply", "--index", "--whitespace=nowarn", "-", stdin=patch)
        place = _Place(tree, chain, progress)
        entries = place.entries()
        data = place.write_pointers()
        place.restore([out for out in place.outs(entries) if not out.cache])
        place.lock(entries)
        tree.git.run("add", "--all", "--", ":/")
        content = tree.git.run("write-tree").decode().strip()
        message = f"Apply {chain.name}\n\n{_said(chain)}"
        made = repo.git.run("commit-tree", content, "-p", commit, "-F", "-", stdin=message.encode()).decode().strip()
        repo.git.run("update-ref", "-m", f"dvlite: apply {chain.name}", f"refs/heads/{branch}", made, "0" * len(made))
    edits = tuple(sorted({path for _, run in chain.runs for path in run.code.dirty}))
    outputs = tuple(out.path for out in place.outs(entries))
    return Applied(edits=edits, data=tuple(data), outputs=outputs, commit=made)


def into_workspace(
    repo: Repo, chain: Chain, environ: Mapping[str, str], progress: Progress, *, force: bool = False
) -> Applied:
    """Makes the workspace have the run's parameters, edits, lockfile entries and outputs; the caller holds the lock of pipeline runs.

    Raises UsageError, with nothing written, where code or data is not as the run had it and its edits do not fit, and without `force` where
    an output was edited.
    """
    params = _Place(repo, chain, progress).params()
    place = _Place(repo, chain, progress, params.files)
    entries = place.entries()
    differing = place.differing()
    patch = _fitting(repo, chain, differing, environ, progress) if differing else b""
    outs = place.outs(entries)
    if not force:
        place.refuse_edited(outs)
    with _fetching(repo, chain, progress):
        if patch:
            repo.git.run("apply", "--whitespace=nowarn", *_without(chain), "-", stdin=patch)
        for file, content in params.files.items():
            write_atomic(repo.root / file, content)
        with repo.lock(progress):
            place.restore(outs)
            ignored, locked = place.lock(entries)
    edits = tuple(sorted({path for _, run in chain.runs for path in run.code.dirty})) if patch else ()
    kept = [out.path for out in outs if not out.cache]
    written = tuple(dict.fromkeys([*params.files, *edits, *kept, *ignored, *locked]))
    return Applied(params.done, edits, outputs=tuple(out.path for out in outs), written=written)


def _commit_of(repo: Repo, chain: Chain) -> str:
    commit = chain.last.code.commit
    if commit is None:
        raise UsageError(f"{chain.name} ran before the first commit", hint="dvlite runs apply RUN, without --branch")
    if repo.git.run("cat-file", "-t", commit, check=False).strip() != b"commit":
        raise ObjectMissing(
            f"the commit {commit[:8]} that {chain.name} ran at is not in this clone", hint="git fetch --all"
        )
    return commit


def _patch(repo: Repo, chain: Chain, progress: Progress) -> bytes:
    code = chain.last.code
    if code.diff is None:
        if code.dirty:
            raise UsageError(f"the edits that {chain.name} ran with were too long to be kept")
        return b""
    text = load_text(repo, code.diff, f"the diff of {chain.name}", chain.last.host, progress)
    return text.encode("utf-8", "surrogateescape")


def _said(chain: Chain) -> str:
    """Returns parameters and metrics as a commit message has them."""
    params = [f"{key} = {value}" for _, run in chain.runs for key, value in run.facts.params.items()]
    metrics = [f"{key} = {value}" for key, value in chain.last.metrics.items()]
    return "\n".join([*dict.fromkeys(params), *metrics]) + "\n"


@contextlib.contextmanager
def _fetching(repo: Repo, chain: Chain, progress: Progress) -> Iterator[None]:
    """Brings outputs that the cache lacks. Raises ObjectMissing for what is nowhere."""
    cache = open_cache(repo)
    outs = [out for _, run in chain.runs for out in run.locked()[1]]
    missing = [out for out in outs if not is_cached(cache, out)]
    if missing:
        cache.create()
        with Fetcher(repo, cache, progress) as fetcher:
            has_all = bool(repo.config.remote_names) and fetcher.bring(missing)
        if not has_all:
            hint = f"dvlite push where it ran ({chain.last.host or 'unknown'}), with a tag: dvlite runs tag {word(chain.name)} best"
            raise ObjectMissing(
                f"the output {quote(missing[0].path)} of {chain.name} is neither in the cache nor on a remote",
                hint=hint,
            )
    yield


def _fitting(
    repo: Repo, chain: Chain, differing: Sequence[str], environ: Mapping[str, str], progress: Progress
) -> bytes:
    """Returns the run's edits if they make files that differ what the run had: tried in a tree of its own. Raises UsageError."""
    patch, name = _patch(repo, chain, progress), f"apply-{os.getpid()}"
    head = repo.git.head()
    if patch and head is not None:
        content = side_tree.snapshot(repo, environ, {}, progress)
        with side_tree.held(repo, name):
            tree = side_tree.open_tree(repo, name, 1, head, environ)
            side_tree.fill(tree, content)
            with contextlib.suppress(DvliteError):
                tree.git.run("apply", "--whitespace=nowarn", *_without(chain), "-", stdin=patch)
                if not set(differing) & set(_Place(tree, chain, progress).differing()):
                    return patch
    raise UsageError(
        f"{quote(repo.display(differing[0]))} is not as it was when {chain.name} ran",
        hint=f"to have all as it was, on a branch of its own: dvlite runs apply {word(chain.name)} --branch NAME",
    )


def _without(chain: Chain) -> list[str]:
    """Returns the options that leave out files of parameters: their values are set one by one."""
    files = {
        os.path.normpath(os.path.join(os.path.dirname(run.file), key.partition(":")[0]))
        for _, run in chain.runs
        for key in run.facts.params
    }
    return [f"--exclude={file}" for file in sorted(files)]


@dataclass(frozen=True, slots=True)
class _Params:
    files: Mapping[str, bytes]
    done: tuple[ParamSet, ...]


class _Place:
    """A work tree that a chain of runs is brought into; `instead` of files of values, the stages are read with these bytes."""

    def __init__(
        self, repo: Repo, chain: Chain, progress: Progress, instead: Mapping[str, bytes] = MappingProxyType({})
    ) -> None:
        self._repo, self._chain = repo, chain
        loaded = load(repo.work_tree, instead=instead)
        self._stages = {(stage.file, stage.name): stage for stage in loaded.stages}
        self._all = loaded.stages
        self._work = Workspace(repo, open_cache(repo), progress)
        self._tracked = of_stages(repo.work_tree.tracked([]), loaded.stages)
        self._contents = Contents(self._work, self._tracked)
        self._outputs = Outputs(self._work, self._contents, lambda _: True)

    def _stage(self, run: Run) -> Stage:
        stage = self._stages.get((run.file, run.stage))
        if stage is None:
            name = self._chain.name
            raise UsageError(
                f"there is no stage {quote(run.stage)} in {quote(run.file)}, which {name} needs",
                hint=f"to have the pipeline as it was: dvlite runs apply {word(name)} --branch NAME",
            )
        return stage

    def entries(self) -> list[tuple[Stage, LockedStage]]:
        """Returns the lockfile entries of the runs. Raises UsageError for a stage that is another one now."""
        entries = []
        for oid, run in self._chain.runs:
            stage = self._stage(run)
            deps, outs = run.locked()
            entry = stage.entry(run.facts, deps)
            is_same = (stage.spec.cmd, stage.spec.wdir, dict(stage.spec.env)) == (
                run.facts.cmd,
                run.facts.wdir,
                dict(run.facts.env),
            )
            if entry.key != run.key or not is_same:
                name = self._chain.name
                raise UsageError(
                    f"the stage {stage.address} is another one than when {name} ran",
                    hint=f"to have the pipeline as it was: dvlite runs apply {word(name)} --branch NAME",
                )
            flagged = sorted((with_flags(stage, out) for out in outs), key=lambda out: out.path)
            entries.append((stage, replace(entry, run=oid, outs=tuple(flagged))))
        return entries

    def outs(self, entries: Iterable[tuple[Stage, LockedStage]]) -> list[Locked]:
        """Returns the outputs of lockfile entries, with paths of the repository."""
        return [out for stage, entry in entries for out in stage.placed_outs(entry)]

    def differing(self) -> list[str]:
        """Returns the inputs that are not as the runs had them."""
        known = ((item, self._contents.expected(path)) for path, item in self._chain.inputs.items())
        return [item.path for item, version in known if version is None or version.oid != item.oid]

    def refuse_edited(self, outs: Iterable[Locked]) -> None:
        """Raises UsageError for an output on disk that the cache does not have."""
        for out in outs:
            current = self._contents.here(out.path)
            if current is not None and current.oid != out.oid and not is_cached(self._work.cache, current):
                shown = quote(self._repo.display(out.path))
                raise UsageError(
                    f"{shown} was edited, and would be replaced", hint="to keep it in the cache and go on: --force"
                )

    def params(self) -> _Params:
        """Returns the files of parameters as they are to be, and what changes in them."""
        files: dict[str, bytes] = {}
        done = []
        for _, run in self._chain.runs:
            stage = self._stage(run)
            for name, value in run.facts.params.items():
                place = next((place for place in stage.params if name.startswith(f"{place.name}:")), None)
                if place is None:
                    continue
                key = name.removeprefix(f"{place.name}:")
                data = files.get(place.path) or self._repo.work_tree.read(place.path) or b""
                old = parameters.find(parameters.load(data, place.path), key)
                if old is not parameters.ABSENT and repr(record.held({key: old})[key]) == repr(value):
                    continue
                files[place.path] = parameters.changed(data, place.path, key, value)
                done.append(
                    ParamSet(file=place.path, name=key, old=None if old is parameters.ABSENT else old, new=value)
                )
        return _Params(files, tuple(done))

    def write_pointers(self) -> list[str]:
        """Makes pointers name the data that the runs read; returns the paths."""
        known = {item.path: item.pointer for item in self._tracked if not item.stage}
        in_git = set(self._repo.git.tracked_under([*self._chain.inputs]))
        changed: dict[str, Pointer] = {}
        for item in self._chain.inputs.values():
            path, oid = item.path, item.oid
            if item.inside is not None and item.inside in known and item.inside_oid is not None:
                path, oid = item.inside, item.inside_oid
            if path in known and known[path].oid == oid:
                continue
            is_git_s = path in in_git or any(name.startswith(f"{path}/") for name in in_git)
            new = self._pointer(oid, item, known.get(path))
            is_stored = is_cached(self._work.cache, Locked(path, oid, new.size_bytes, new.files))
            if is_stored and (path in known or not is_git_s):
                changed[path] = new
        for path, version in changed.items():
            self._work.require_real_folder(path)
            file = self._repo.root / (path + SUFFIX)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, pointer.dump(version), sync=False)  # a commit has it, and this tree goes
        self._repo.ensure_ignored([*changed])
        return sorted(changed)

    def _pointer(self, oid: Oid, item: Input, old: Pointer | None) -> Pointer:
        kind, digest = parse_oid(oid)
        size_bytes, files = item.size_bytes, item.files
        if kind == MANIFEST and oid != item.oid:
            size_bytes, files = manifest.totals(digest, self._work.cache.read_node)
        new = Pointer("directory" if kind == MANIFEST else "file", digest, size_bytes, files)
        return new if old is None else replace(new, executable=old.executable, meta=old.meta, source=old.source)

    def restore(self, outs: Sequence[Locked]) -> None:
        """Writes outputs, keeping what they replace. Raises ObjectMissing."""
        if not self._outputs.restore(outs):
            raise ObjectMissing(f"an output of {self._chain.name} is damaged in the cache", hint="dvlite fsck --repair")

    def lock(self, entries: Sequence[tuple[Stage, LockedStage]]) -> tuple[list[str], tuple[str, ...]]:
        """Writes lockfiles and ignore lines; returns the ignore files and the lockfiles that changed."""
        ignored = self._repo.ensure_ignored([out.path for out in self.outs(entries) if out.cache])
        locks = Locks(self._repo, self._all)
        for stage, entry in entries:
            locks.put(stage, entry)
        return ignored, locks.finish()
