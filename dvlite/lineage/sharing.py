"""What a push takes along: run records, the commits that name them, their logs and kept diffs; and what a pull brings of them.

A note says which commit's lockfile names a run, so that somebody without the git repository can be told.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dvlite.formats import lockfile, record
from dvlite.formats.record import Note
from dvlite.lineage import exchange
from dvlite.lineage.here import open_records
from dvlite.lineage.index import open_index
from dvlite.lineage.records import Records
from dvlite.oid import Digest, Oid, parse_oid
from dvlite.progress import Progress
from dvlite.repo import Repo
from dvlite.store.cache import Cache
from dvlite.store.connection import Remote
from dvlite.store.pack import KIND_FILE

_AT_ONCE = 20  # versions of lockfiles that are read together
_RUN = re.compile(rb"^    run: (run:[0-9a-f]{64})$", re.MULTILINE)

Content = tuple[Digest, int]  # an object and its size in bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Records that a remote lacks, and the logs and diffs that they name and the cache has."""

    records: Records
    found: exchange.Look
    project: str
    contents: tuple[Content, ...]


def outgoing(repo: Repo, remote: Remote, cache: Cache, user: str, progress: Progress) -> Outgoing | None:
    """Returns what a push has to take along; None where nothing was ever run. Costs one LIST, and a GET for each batch that is not here."""
    records, project = open_records(repo, progress), repo.config.project
    if project is None or not (records.loose() or records.batches()):
        return None
    _note_commits(repo, records, user, project)
    found = exchange.look(remote, records, project)
    return Outgoing(records, found, project, tuple(_contents(records, found, cache)))


def send(remote: Remote, taken: Outgoing) -> int:
    """Uploads the records, after their logs; returns how many."""
    return len(exchange.send(remote, taken.records, taken.project, taken.found))


def receive(repo: Repo, remote: Remote, progress: Progress) -> int:
    """Brings the project's records that are not here, if it has a pipeline; returns how many."""
    records = open_records(repo, progress)
    if repo.config.project is None or not (
        repo.lockfiles(as_seen=True) or repo.pipeline_files(as_seen=True) or records.folder.is_dir()
    ):
        return 0
    return exchange.receive(remote, records, repo.config.project)


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
    now = record.time_text(time.time_ns())
    for run in sorted(known):
        made = record.new_id(time.time_ns(), os.urandom(10))
        note = Note(id=made, run=run, op="commit", value=first[run], time=now, user=user, project=project)
        records.put(note, durable=False)
    records.sync()


def _named_runs(repo: Repo) -> Iterator[list[tuple[Oid, str]]]:
    """Yields, newest first and a few versions of lockfiles at a time, the runs that they name, each with the commit."""
    changes = repo.git.lockfile_changes("--all", *(["HEAD"] if repo.git.head() is not None else []))
    while chunk := list(itertools.islice(changes, _AT_ONCE)):
        commits = {change.blob: change.commit for change in chunk if change.blob is not None}
        found = dict(repo.git.each_blob(dict.fromkeys(commits, lockfile.LIMIT_BYTES)))
        yield [
            (Oid(run.decode()), commit)
            for blob, commit in commits.items()
            for run in _RUN.findall(found.get(blob, b""))
        ]


def _contents(records: Records, found: exchange.Look, cache: Cache) -> Iterator[Content]:
    with open_index(records) as index:
        for oid in found.unsent:
            run = index.run(oid)
            for named in () if run is None else (run.log, run.code.diff):
                content = None if named is None else _in_cache(cache, named)
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
