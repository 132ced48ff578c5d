"""`dvlite pull`: fetches, then makes the workspace what the pointers say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, StrangeFile
from dvlite.oid import Digest
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.runs import share
from dvlite.share.fetch_plan import FetchOptions, PullResult, fetch_from_first, fetch_result, parts_of, unfetched
from dvlite.show import word
from dvlite.store.catalog import Catalog
from dvlite.store.push_protocol import stay_awake
from dvlite.workspace import sparse
from dvlite.workspace.fetch import FetchRequest, fetch_versions
from dvlite.workspace.path_args import warning_of
from dvlite.workspace.restore import (
    CheckedOutPath,
    CheckoutOptions,
    CheckoutResult,
    of_stages,
    remove_untracked,
    restore,
    writer_process_for,
)
from dvlite.workspace.running_outputs import skip_running_outputs
from dvlite.workspace.workspace import Workspace


def pull(
    repo: Repo,
    paths: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    force: bool = False,
    exclude: Sequence[str] = (),
    allow_missing: bool = False,
    progress: Progress,
) -> PullResult:
    """Downloads what the cache lacks and writes it; local edits are kept and listed unless `force`, what `exclude` names is left out.

    With revisions in `scope` only the cache is filled. Objects that turn out damaged in the cache are set aside and fetched again once.
    The result names what a fresh look at the remote did not find, and pointers that could not be read; all else is done. Of a version
    with missing files nothing is written, or with `allow_missing` the rest.
    """
    started = time.monotonic()
    cache = open_cache(repo)
    repo.usable_remotes(remote)
    options = FetchOptions(remote, jobs, dry_run, exclude, allow_missing)
    broken: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(repo.lock(progress))
        work = Workspace(repo, cache, progress)
        asked = parts_of(work, paths, scope, options, broken)
        parts = [part for part in asked if part.patterns != sparse.NOTHING]
        writes = scope.is_workspace and not dry_run
        helper = stack.enter_context(writer_process_for(work, ((part.path, part.pointer) for part in parts if writes)))
        source = fetch_from_first(repo, cache, parts, options, stack, progress)
        catalog, fetched = source.catalog, source.outcome
        if not dry_run:
            stay_awake(catalog)
        records = 0 if dry_run else share.receive(repo, catalog.remote, progress)
        checkout = None
        if writes:
            repo.exclude([part.path for part in asked])
            how = CheckoutOptions(force, "hardlink" in repo.config.links, not paths, allow_missing, helper)
            is_being_made = skip_running_outputs(repo, progress.warn)
            present = [part for part in asked if not is_being_made(part.path)]
            absent = {*fetched.missing, *(path.path for path in fetched.paths if path.state == "dropped")}
            checkout = _restore(work, catalog, present, how, absent)
            if not paths and not broken:
                gone = remove_untracked(work, {item.path for item in repo.work_tree.tracked()})
                checkout = replace(checkout, paths=(*checkout.paths, *gone))
            if any(path.conflicts for path in checkout.paths):
                checkout = replace(checkout, paths=of_stages(repo, checkout.paths))
        result = fetch_result(source, started, options, () if paths else broken, records=records)
    warnings = tuple(broken) if paths else ()
    return PullResult(fetch=result, checkout=checkout, elapsed_seconds=time.monotonic() - started, warnings=warnings)


def _restore(
    work: Workspace, catalog: Catalog, parts: Sequence[FetchRequest], how: CheckoutOptions, missing: set[str]
) -> CheckoutResult:
    """Writes every part; what is damaged in the cache is fetched again, once. Raises the first damage without a good copy, after the rest."""
    started = time.monotonic()
    done: dict[str, CheckedOutPath] = {}
    strange: list[str] = []
    lost: list[DvliteError] = []
    for part in parts:
        if part.path in missing and part.pointer.kind == "directory" and not work.cache.has_node(part.pointer.digest):
            continue
        try:
            done[part.path] = _restore_one(work, catalog, part, how)
        except StrangeFile as error:  # stops only the path that it stands in
            error.hint = f"to have it moved away: dvlite pull --force {word(work.repo.display(part.path))}"
            strange.append(warning_of(error))
        except (ObjectCorrupt, ObjectMissing) as error:
            lost.append(error)
    if lost and not missing:
        raise lost[0]
    return CheckoutResult(
        paths=tuple(done.values()),
        unusable=tuple(strange),
        may_lack=how.allow_missing,
        elapsed_seconds=time.monotonic() - started,
    )


def _restore_one(work: Workspace, catalog: Catalog, part: FetchRequest, how: CheckoutOptions) -> CheckedOutPath:
    restored = restore(work, part.path, part.pointer, part.patterns, how)
    if not restored.damaged:
        return restored.result
    _fetch_again(work, catalog, part, (digest for digest, _ in restored.damaged))
    first = restored.result
    restored = restore(work, part.path, part.pointer, part.patterns, how)
    if restored.damaged:
        raise restored.damaged[0][1]
    return CheckedOutPath(
        path=part.path,
        written=first.written + restored.result.written,
        removed=first.removed,
        kept=first.kept,
        extra=restored.result.extra,
        written_bytes=first.written_bytes,
        conflicts=restored.result.conflicts,
        missing=restored.result.missing,
    )


def _fetch_again(work: Workspace, catalog: Catalog, part: FetchRequest, damaged: Iterable[Digest]) -> None:
    for digest in damaged:
        work.cache.discard(digest)
        work.progress.warn(f"object blake3:{digest.hex()} was damaged in the cache; fetching a good copy")
    fetched = fetch_versions(catalog, work.cache, [part], work.progress)
    if fetched.missing:
        raise unfetched(fetched, catalog)
