"""Imports a path of another repository: its data comes into this cache, and the pointer says where it is from.

The data is this repository's from then on: pushed to its own remote, kept whatever becomes of the source.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import manifest
from dvlite.formats.manifest import Entries
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.formats.source import ImportSource
from dvlite.git.discover import is_bare
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.sources import open_address
from dvlite.results import Result
from dvlite.runs import sync
from dvlite.runs.records import nonces, open_records, open_source_records
from dvlite.share.any_repository import Opened, open_any, refuse_relative_folder
from dvlite.share.bring import bring
from dvlite.show import printable, quote
from dvlite.store import batch
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer, version_of_entries
from dvlite.store.pack import KIND_FILE
from dvlite.workspace.add_checks import AddTarget
from dvlite.workspace.adder import AddedPath, Adder
from dvlite.workspace.elsewhere import TakenIn, take_in
from dvlite.workspace.export import refuse_leaving_links
from dvlite.workspace.path_args import pass_over
from dvlite.workspace.purged import failure_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ImportResult(Result):
    """Data that came from elsewhere, tracked here; `source` is what its pointer says."""

    schema: ClassVar[str] = "dvlite.import/1"
    path: AddedPath
    source: ImportSource
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()  # written, for the user to `git add` (`--no-stage`)
    readers: tuple[str, ...] = ()  # stages whose lockfile entry is out of date by this
    has_remote: bool = True
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def result_of(repo: Repo, taken: TakenIn, started: float, warnings: tuple[str, ...] = ()) -> ImportResult:
    """Returns what `import` and `import-url` report of a path that was taken in."""
    assert taken.version.source is not None
    return ImportResult(
        path=taken.added,
        source=taken.version.source,
        staged=taken.staged,
        unstaged=taken.unstaged,
        readers=taken.readers,
        has_remote=bool(repo.config.remote_names),
        elapsed_seconds=time.monotonic() - started,
        warnings=(*taken.warnings, *warnings),
    )


def output_path(repo: Repo, output: str | None, name: str) -> str:
    """Returns the path that an import is tracked as: `output`, or `name` in the folder that it names (the current one without it)."""
    if output is not None:
        path = repo.relative(output)
        is_tracked = os.path.lexists(repo.root / (path + SUFFIX))
        if is_tracked or not (output.endswith("/") or os.path.isdir(repo.root / path)):
            return path
    if not name:
        raise UsageError("the data needs a name here", hint="give it one: -o NAME")
    return repo.relative(os.path.join(output or ".", name))


@contextlib.contextmanager
def open_source(repo: Repo, sources: Sequence[ImportSource], progress: Progress) -> Iterator[Opened]:
    """Opens the repository and revision that all of these sources name, to take their paths; the caller knows that the user trusts it.

    Its run records are kept when all were taken.
    """
    with _opened(repo, sources[0], sources[0].revision, progress, also=[source.path for source in sources]) as opened:
        yield opened
        _keep_runs(repo, sources[0], opened, progress)


def take_from_repository(
    repo: Repo,
    path: str,
    source: ImportSource,
    opened: Opened,
    *,
    jobs: int | None = None,
    stage: bool = True,
    progress: Progress,
) -> TakenIn:
    """Tracks as `path` what a source names, in the repository that was opened for it; the caller holds the lock of the work tree.

    Raises UsageError for what is not there, Purged and ObjectMissing for what has no bytes any more; nothing is written then.
    """
    assert opened.repo is not None
    there = replace(opened, path=opened.repo.relative(source.path or "."))

    def supply(adder: Adder, target: AddTarget, writer: Writer) -> AddedPath:
        new, entries = _brought(there, writer, jobs, progress)
        from_there = replace(source, path=there.path, commit=there.commit, oid=new.oid)
        meta = target.old.meta if target.old is not None else ""
        return adder.from_version(target, replace(new, source=from_there, meta=meta), entries)

    return take_in(repo, path, supply, stage=stage, progress=progress)


def fetch_runs(repo: Repo, source: ImportSource, progress: Progress) -> None:
    """Brings the run records of the repository that a source names, which the user trusts. Raises DvliteError where it cannot be read."""
    with _opened(repo, source, source.commit, progress) as opened:
        _keep_runs(repo, source, opened, progress)


@contextlib.contextmanager
def _opened(
    repo: Repo, source: ImportSource, revision: str, progress: Progress, also: Sequence[str] = ()
) -> Iterator[Opened]:
    address = open_address(source.repository, repo)
    wanted = revision or ("HEAD" if os.path.isdir(address) and not is_bare(Path(address)) else None)
    with open_any(address, source.path, wanted, repo.environ, progress, also=also) as opened:
        paths = [opened.path, *(os.path.normpath(path or ".").removeprefix(".") for path in also)]
        pass_over(opened.broken, paths, opened.tracked, progress.warn, whole=True)
        if not opened.commit:
            raise UsageError(f"{quote(revision)} is a run there, not a commit", hint="give a branch, tag or commit")
        yield opened


def _keep_runs(repo: Repo, source: ImportSource, opened: Opened, progress: Progress) -> None:
    """Keeps the run records of the other repository, if it has a pipeline: so lineage goes on there. What fails is a warning."""
    there = opened.repo
    if there is None or not any(item.lockfile for item in opened.tracked):
        return
    records = open_source_records(repo, source.repository, progress)
    try:
        if not opened.far:
            known = {oid for oid, _ in records}
            new = (data for oid, data in open_records(there, progress) if oid not in known)
            for one in batch.encode(new, nonces()):
                records.adopt(one.name, one.data)
        elif there.config.project is not None and there.config.remote_names:
            refuse_relative_folder(there.config, there.root)
            _, remote = open_remote(there, open_cache(repo), opened.remote, None)
            with remote:
                sync.receive(remote, records, there.config.project)
    except DvliteError as error:
        progress.warn(f"the runs of {printable(source.repository)} are not here: {error.message}")


def _brought(opened: Opened, writer: Writer, jobs: int | None, progress: Progress) -> tuple[Pointer, Entries]:
    """Brings what the path means into the cache of the writer; returns the version, without its source, and its entries."""
    place = replace(opened, cache=writer.cache) if opened.far else opened
    wanted, purged = bring(place, jobs, progress)
    failure = failure_of(purged)
    if failure is not None:
        failure.hint = "import what is left of it, path by path; or ask who purged it"
        raise failure
    refuse_leaving_links(wanted.entries, place.cache)
    if not opened.far:
        _copy_files(wanted.entries, opened.cache, writer, progress)
    new = version_of_entries(wanted.entries, writer)
    writer.commit()
    return new, wanted.entries


def _copy_files(entries: Entries, source: Cache, writer: Writer, progress: Progress) -> None:
    """Stores what another cache has and this one lacks; large files share their blocks where the disk can."""
    lacking = [i for i in writer.lacking(entries.digests, entries.sizes) if entries.flags[i] != manifest.EMPTY_DIR]
    progress.start("copying", total_bytes=sum(entries.sizes[i] for i in lacking), total_files=len(lacking))
    for i in lacking:
        digest, size = entries.digest(i), entries.sizes[i]
        if size <= writer.cache.pack_below_bytes or source.has_packed(digest, (KIND_FILE,)):
            writer.put(KIND_FILE, digest, source.read_file(digest, size))
        else:
            with source.open_verified(digest, size) as descriptor:
                writer.put_large(descriptor, os.fsdecode(entries.paths[i]))
        progress.advance(size_bytes=size, files=1)
    progress.finish()
