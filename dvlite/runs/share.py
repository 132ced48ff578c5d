"""What a push takes along: run records, the commits that name them, their logs and kept diffs; and what a pull brings of them.

Notes say which commit's lockfile names a run, and which commit brought the data that it began with, so that somebody without the git
repository can be told.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dvlite.formats import lockfile, record
from dvlite.formats.record import Note
from dvlite.oid import MANIFEST, Digest, Oid, parse_oid
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.runs import sync
from dvlite.runs.history import History
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.queries import Lookups
from dvlite.runs.records import Records, open_records
from dvlite.store.cache import Cache
from dvlite.store.pack import KIND_FILE
from dvlite.store.remote import Remote

_SMALL_BYTES = (
    1 << 20
)  # outputs that git keeps go along up to this size: who takes the run from the cache has no commit with them yet
_AT_ONCE = 20  # versions of lockfiles that are read together
_MOST_LETTERS = 1000  # of a commit's subject and author
_RUN = re.compile(rb"^    run: (run:[0-9a-f]{64})$", re.MULTILINE)

Content = tuple[Digest, int]  # an object and its size in bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Records that a remote lacks, and the logs and diffs that they name and the cache has."""

    records: Records
    found: sync.RemoteRuns
    project: str
    contents: tuple[Content, ...]


def outgoing(repo: Repo, remote: Remote, cache: Cache, user: str, progress: Progress) -> Outgoing | None:
    """Returns what a push has to take along; None where nothing was ever run. Costs one LIST, and a GET for each batch that is not here."""
    records, project = open_records(repo, progress), repo.config.project
    if project is None or not (records.loose() or records.batches()):
        return None
    _note_commits(repo, records, user, project)
    found = sync.look(remote, records, project)
    return Outgoing(records, found, project, tuple(_contents(records, found, cache)))


def send(remote: Remote, taken: Outgoing) -> int:
    """Uploads the records, after their logs; returns how many."""
    return len(sync.send(remote, taken.records, taken.project, taken.found))


def receive(repo: Repo, remote: Remote, progress: Progress) -> int:
    """Brings the project's records that are not here, if it has a pipeline; returns how many."""
    records = open_records(repo, progress)
    if repo.config.project is None or not (
        repo.work_tree.lockfiles(as_seen=True) or repo.work_tree.pipeline_files(as_seen=True) or records.folder.is_dir()
    ):
        return 0
    return sync.receive(remote, records, repo.config.project)


def _note_commits(repo: Repo, records: Records, user: str, project: str) -> None:
    """Notes the first commit of each run that a lockfile names; goes back in history only to where all was noted before."""
    first: dict[Oid, str] = {}
    with open_index(records) as index:
        for pairs in _named_runs(repo):
            new = {run: commit for run, commit in pairs if not index.commits(run)}
            if pairs and not new:
                break
            first |= new  # from the newest on: what stays is the first commit
        known = {run for run in first if index.row(run) is not None}
        brought = list(_brought(repo, known, index)) if known else []
    named: list[tuple[Oid, str, Oid | None]] = [(run, first[run], None) for run in sorted(known)]
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
    """Yields the tracked data that these runs began with and that no note names yet, each with one run and the commit that was first to name it."""
    history, lookups = History(repo), Lookups(index)
    seen: set[Oid] = set()
    for run, ran in lookups.runs(sorted(runs), inputs=True).items():
        for thing in ran.inputs:
            content = thing.oid if thing.inside is None else thing.inside[1]
            named = None if content in seen else history.version(content)
            if named is not None and lookups.source(content) is None:
                yield run, named.commit, content
            seen.add(content)


def _named_runs(repo: Repo) -> Iterator[list[tuple[Oid, str]]]:
    """Yields, newest first and a few versions of lockfiles at a time, the runs that they name, each with the commit."""
    changes = repo.git.lockfile_changes("--all", *(["HEAD"] if repo.git.head() is not None else []))
    while chunk := list(itertools.islice(changes, _AT_ONCE)):
        commits = {change.blob: change.commit for change in chunk if change.blob is not None}
        found = dict(repo.git.blobs_within(dict.fromkeys(commits, lockfile.LIMIT_BYTES)))
        yield [
            (Oid(run.decode()), commit)
            for blob, commit in commits.items()
            for run in _RUN.findall(found.get(blob, b""))
        ]


def _contents(records: Records, found: sync.RemoteRuns, cache: Cache) -> Iterator[Content]:
    with open_index(records) as index:
        for oid in found.unsent:
            run = index.run(oid)
            if run is None:
                continue
            kept_by_git = [out.oid for out in run.outputs if not out.cached and out.size_bytes <= _SMALL_BYTES]
            for named in (run.log, run.code.diff, *kept_by_git):
                content = None if named is None or named.startswith(MANIFEST) else _in_cache(cache, named)
                if content is not None:
                    yield content


def _in_cache(cache: Cache, oid: Oid) -> Content | None:
    _, digest = parse_oid(oid)
    places = cache.locations(digest, (KIND_FILE,))
    if places:
        return digest, places[0].record.raw_length
    if cache.has_large(digest):
        return digest, cache.large_path(digest).stat().st_size
    return None
