"""Run records in push and pull, with their logs, kept diffs and the commits that name them.

Notes record which commit's lockfile names a run, and which commit brought its source data, for readers without the git repository.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from dvlite.errors import ObjectCorrupt
from dvlite.formats import lockfile, record
from dvlite.formats.record import Note, Run
from dvlite.git.program import ALL_REFS
from dvlite.oid import MANIFEST, Digest, Oid, parse_oid
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.runs import sync
from dvlite.runs.history import History
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import Records, open_records
from dvlite.store import batch
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE
from dvlite.store.remote import Remote

_SMALL_BYTES = (
    1 << 20
)  # outputs in git up to this size are pushed too: for clones that reuse the run before they have its commit
_AT_ONCE = 20  # versions of lockfiles read together
_MOST_LETTERS = 1000  # of a commit's subject and author

Content = tuple[Digest, int]  # an object and its size in bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Records that a remote lacks, and what is kept beside their outputs (logs, diffs, histories) as far as the cache has it."""

    records: Records
    remote_runs: sync.RemoteRuns
    project: str
    contents: tuple[Content, ...]


def outgoing(repo: Repo, remote: Remote, cache: Cache, user: str, progress: Progress) -> Outgoing | None:
    """Returns what a push uploads of runs; None if nothing was ever run. Costs one LIST, and a GET for each missing batch."""
    records, project = open_records(repo, progress), repo.config.project
    if project is None or not _has_any(records):
        return None
    _note_commits(repo, records, user, project)
    remote_runs = sync.compare(remote, records, project)
    found = (_in_cache(cache, oid) for _, oid in _left_by(records, remote_runs))
    return Outgoing(records, remote_runs, project, tuple(content for content in found if content is not None))


def between(repo: Repo, source: Remote, target: Remote, progress: Progress) -> Outgoing | None:
    """Returns the records that one remote has and another lacks, with their logs and diffs, of which no size is known; None for none.

    The records are fetched. Those that the first remote lacks too are left out.
    """
    records, project = open_records(repo, progress), repo.config.project
    if project is None:
        return None
    unpushed = set(sync.compare(source, records, project).unsent)
    there = sync.compare(target, records, project)
    there = replace(there, unsent=tuple(oid for oid in there.unsent if oid not in unpushed))
    if not there.unsent:
        return None
    return Outgoing(records, there, project, tuple((parse_oid(oid)[1], 0) for _, oid in _left_by(records, there)))


def send(remote: Remote, outgoing: Outgoing, *, lacking: Collection[Digest] = ()) -> int:
    """Uploads the records and returns how many; their logs must have been uploaded before.

    Records whose logs are `lacking` wait: with the record there, none would look for its log again.
    """
    runs, waiting = outgoing.remote_runs, set[Oid]()
    if lacking:
        waiting = {run for run, oid in _left_by(outgoing.records, runs) if parse_oid(oid)[1] in lacking}
    runs = replace(runs, unsent=tuple(oid for oid in runs.unsent if oid not in waiting))
    return len(sync.send(remote, outgoing.records, outgoing.project, runs))


def receive(repo: Repo, remote: Remote, progress: Progress) -> int:
    """Fetches the project's missing records, if it has a pipeline; returns how many."""
    records = open_records(repo, progress)
    if repo.config.project is None or not _may_have_any(repo, records):
        return 0
    return sync.receive(remote, records, repo.config.project)


def ask_ahead(repo: Repo, remote: Remote, progress: Progress, *, to_send: bool) -> None:
    """Starts the listing that `outgoing`, or `receive`, is going to need."""
    records, project = open_records(repo, progress), repo.config.project
    if project is not None and (_has_any(records) if to_send else _may_have_any(repo, records)):
        remote.list_ahead(sync.folder_of(project))


def _has_any(records: Records) -> bool:
    return bool(records.loose() or records.batches())


def _may_have_any(repo: Repo, records: Records) -> bool:
    work_tree = repo.work_tree
    return bool(work_tree.lockfiles(as_seen=True) or work_tree.pipeline_files(as_seen=True) or records.folder.is_dir())


def left_by_others(remote: Remote, project: str | None) -> frozenset[Digest]:
    """Returns the logs and diffs of the runs of other projects on a remote, and their outputs in git: a collection here must keep them.

    One LIST, and a GET for each of their batches. Raises ObjectCorrupt, FormatError or LaterVersion for one that cannot be read, and
    ObjectAbsent for one that was merged since.
    """
    names = [entry.name for entry in remote.store.list(batch.FOLDER).entries]
    others = [name for name in names if not name.startswith(f"{batch.FOLDER}{project}/")]
    left: set[Digest] = set()
    for name, data in zip(
        others, remote.run_all(lambda name: remote.get(name, end=batch.MAX_BYTES + 1), others), strict=True
    ):
        if batch.name_of(data) != name.rpartition("/")[2]:
            raise ObjectCorrupt(
                f"{name} on {remote.store.label} is damaged: what the runs of that project need is not known",
                hint="in a clone of that project: dvlite fsck --remote --deep --repair",
            )
        for line in batch.decode(data, name):
            content = record.parse(line.data, f"a run record in {name}")
            if isinstance(content, Run):
                left.update(parse_oid(oid)[1] for oid in _kept(content))
    return frozenset(left)


def _note_commits(repo: Repo, records: Records, user: str, project: str) -> None:
    """Notes the first commit of each run in a lockfile; reads history back to where all runs have a note."""
    first: dict[Oid, str] = {}
    with open_index(records) as index:
        for pairs in _named_runs(repo):
            noted = index.commits([run for run, _ in pairs])
            new = {run: commit for run, commit in pairs if run not in noted}
            if pairs and not new:
                break
            first |= new  # newest first: the first commit is written last
        recorded = {run for run in first if index.row(run) is not None}
        brought = list(_brought(repo, recorded, index)) if recorded else []
    named: list[tuple[Oid, str, Oid | None]] = [(run, first[run], None) for run in sorted(recorded)]
    commits = repo.git.read_commits(commit for _, commit, _ in (*named, *brought))
    now = record.time_text(time.time_ns())
    for run, name, content in (*named, *brought):
        commit = commits.get(name)
        note = Note(
            id=record.new_id(time.time_ns(), os.urandom(10)),
            run=run,
            op="commit" if content is None else "source",
            value=name,
            time=now,
            user=user,
            project=project,
            content=content,
            subject="" if commit is None else commit.subject[:_MOST_LETTERS],
            author="" if commit is None else commit.author[:_MOST_LETTERS],
            written="" if commit is None else record.time_text(commit.time * 10**9),
        )
        records.put(note, durable=False)
    records.sync()


def _brought(repo: Repo, runs: Iterable[Oid], index: RunIndex) -> Iterator[tuple[Oid, str, Oid]]:
    """Yields the tracked inputs of these runs that have no note yet, each with one run and the first commit that names it."""
    history, queries = History(repo), RunQueries(index)
    seen: set[Oid] = set()
    for run, inputs in queries.inputs(sorted(runs)).items():
        for item in inputs:
            content = item.oid if item.inside is None else item.inside[1]
            version = None if content in seen else history.version(content)
            if version is not None and queries.source(content) is None:
                yield run, version.commit, content
            seen.add(content)


def _named_runs(repo: Repo) -> Iterator[list[tuple[Oid, str]]]:
    """Yields the runs in lockfiles, each with the commit, newest first and a few versions of lockfiles at a time."""
    changes = repo.git.lockfile_changes(*ALL_REFS, *(["HEAD"] if repo.git.head() is not None else []))
    while chunk := list(itertools.islice(changes, _AT_ONCE)):
        commits = {change.blob: change.commit for change in chunk if change.blob is not None}
        contents = dict(repo.git.blobs_within(dict.fromkeys(commits, lockfile.LIMIT_BYTES)))
        yield [(run, commit) for blob, commit in commits.items() for run in lockfile.run_ids(contents.get(blob, b""))]


def _left_by(records: Records, remote_runs: sync.RemoteRuns) -> Iterator[tuple[Oid, Oid]]:
    """Yields the logs and diffs of runs that a remote lacks, and their small outputs in git, each after its run."""
    with open_index(records) as index:
        for oid in remote_runs.unsent:
            run = index.run(oid)
            if run is None:
                continue
            for kept in _kept(run):
                yield oid, kept


def _kept(run: Run) -> Iterator[Oid]:
    kept_by_git = [out.oid for out in run.outputs if not out.cached and out.size_bytes <= _SMALL_BYTES]
    for kept in (*run.left_apart, *kept_by_git):
        if not kept.startswith(MANIFEST):
            yield kept


def _in_cache(cache: Cache, oid: Oid) -> Content | None:
    _, digest = parse_oid(oid)
    places = cache.locations(digest, (KIND_FILE,))
    if places:
        return digest, places[0].record.raw_length
    if cache.has_large(digest):
        return digest, cache.large_path(digest).stat().st_size
    return None
