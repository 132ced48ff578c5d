"""A remote: looked at, and mended from the cache, the workspace and other remotes.

What is mended is looked at again: only that says what became right.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dvlite.errors import DvliteError, ObjectCorrupt
from dvlite.formats import tombstone
from dvlite.formats.root import Root
from dvlite.formats.snapshot import Version, VersionId, version_of
from dvlite.health.findings import Depth, Health, LostVersion, NotChecked
from dvlite.health.needs import LostIn, NeededVersion, files_needed, name_lost
from dvlite.health.sources import from_remote, from_workspace, is_missing, missing_files, opened, remote_names
from dvlite.oid import Digest, format_oid
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Scope
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs import sync
from dvlite.runs.records import open_records
from dvlite.share.needs import gather, named_versions
from dvlite.show import count
from dvlite.store import batch, check_remote, repair
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.check import lost_paths
from dvlite.store.check_remote import RemoteHolder, RemoteState
from dvlite.store.check_round import Reading
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.push_protocol import claim_again
from dvlite.store.remote import Remote

_TRIES = 6  # pushes and collections may move things under each look; three did, in one of 27,000 schedules


@dataclass(slots=True)
class RemoteLook:
    """All that one look at a remote found, and what a repair needs of it."""

    check: RemoteState
    health: Health = field(default_factory=Health)
    needed: dict[VersionId, NeededVersion] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)  # damaged batches of this project


def look(
    repo: Repo,
    remote: Remote,
    cache: Cache,
    depth: Depth,
    reading: Reading,
    progress: Progress,
    *,
    only: Collection[Digest] | None = None,
) -> RemoteLook:
    """Looks at a remote; reads bytes as `depth` says, or those of the packs in `only`. Looks again if a gc was at work."""
    first: RemoteLook | None = None
    for attempt in range(_TRIES):
        try:
            result = _look(repo, remote, cache, depth, reading, progress, only)
        except ObjectAbsent:
            if attempt == _TRIES - 1:
                raise
            continue
        if first is not None:
            counted, health = first.health, result.health
            health.read_objects, health.read_bytes, health.stopped = (
                counted.read_objects,
                counted.read_bytes,
                counted.stopped,
            )
            health.completed = counted.completed
        if result.health.is_sound or not check_remote.was_disturbed(result.check):
            return result
        first = first or result
        only = frozenset(result.check.found.bad_packs)
    return result


def _look(
    repo: Repo,
    remote: Remote,
    cache: Cache,
    depth: Depth,
    reading: Reading,
    progress: Progress,
    only: Collection[Digest] | None,
) -> RemoteLook:
    catalog = Catalog(remote, progress)
    result = RemoteLook(RemoteState(catalog, cache, progress, depth.is_over))
    check, health = result.check, result.health
    try:
        check_remote.look(check)
    except ObjectCorrupt:
        if not catalog.unread_tombstones:
            raise
        _unread_tombstones(result)
        return result
    if catalog.is_empty:
        error = catalog.empty_error()
        health.unchecked.append(NotChecked(what=remote.store.label, why=error.message, hint=error.hint))
        return result
    for name in check.found.bad_packs:
        reading.read(name, right=False)
    is_reading = depth.deep and only is None
    chosen = reading.choose(check.packs) if is_reading else [name for name in check.packs if name in (only or ())]
    if not check.found.stopped:
        check_remote.read_packs(check, chosen, reading.read)
    if check.found.damages or not catalog.condemned.isdisjoint(catalog.packs):
        with contextlib.suppress(DvliteError):  # what cannot be read here: `dvlite fsck` says it
            check.left_by_runs = gather(repo, progress, fetched=False).left_by_runs()[0]
    check_remote.close(check)
    if is_reading and not check.found.stopped:
        bad = set(check.found.bad_packs)
        proven = reading.round.proven
        large = [digest for digest, (name, _) in check.recipes.items() if name not in proven]
        check_remote.read_files(check, large, lambda item, right: proven.add(item) if right else None)
        if check.found.bad_packs.keys() - bad:
            check_remote.close(check)
    _own_root(repo, check, progress)
    _runs(repo, remote, result, deep=depth.deep or only is not None)
    health.read_objects = len(check.checked) + sum(name in check.found.bad_packs for name in chosen)
    health.read_bytes = sum(catalog.packs.get(name, 0) for name in chosen)
    health.objects = len(catalog.packs) + len(catalog.index_sizes) + len(check.roots)
    health.stopped = check.found.stopped
    if is_reading:
        files = {name for name, _ in check.recipes.values()}
        waiting = [next(iter(check.packs), Digest(bytes(32)))] if check.found.stopped else []
        reading.end([*check.packs, *waiting], files)
    health.completed = reading.round.completed
    _name(repo, result, progress)
    return result


def _unread_tombstones(result: RemoteLook) -> None:
    """Notes tombstones that are damaged and not known here. All else waits: what counts as lost, and what may be sent, is not known without them."""
    catalog = result.check.catalog
    for name in sorted(catalog.unread_tombstones):
        address, reason = f"{tombstone.FOLDER}{name}", "it does not say any more what was purged"
        otherwise = f"if there is none: remove purged/{name} there, then purge the same files again"
        fix = f"dvlite fsck --remote --repair     in a clone that was used since the purge; {otherwise}"
        result.check.found.note(address, "damaged", reason)
        result.health.note(address, "damaged", reason, fix)
    what, why = f"all else on {catalog.remote.store.label}", "what was purged there is not known"
    result.health.unchecked.append(NotChecked(what=what, why=why))


def _own_root(repo: Repo, check: RemoteState, progress: Progress) -> None:
    with contextlib.suppress(DvliteError):  # what is needed here cannot be read: `dvlite fsck` says it
        check_remote.find_own_roots(check, lambda: named_versions(repo, progress))


def _name(repo: Repo, result: RemoteLook, progress: Progress) -> None:
    """Says in the words of the clone what is wrong."""
    check, health = result.check, result.health
    for damage in check.found.damages.values():
        health.note(damage.name, damage.problem, damage.reason)
        if damage.problem == "foreign":
            health.ignored.add(damage.name)
    health.unchecked += [
        NotChecked(what=what, why="a later dvlite wrote it", hint="upgrade dvlite")
        for what in sorted(check.found.later)
    ]
    items: dict[VersionId, Tracked] = {}
    if check.lost or check.lost_snapshots:
        with contextlib.suppress(DvliteError):
            for item in committed_versions.reachable(repo.git, Scope(all_commits=True), progress=progress):
                items.setdefault(version_of(item.path, item.pointer).id, item)
    result.needed = {
        version_id: NeededVersion(claim.version, items.get(version_id), tuple(claim.users))
        for version_id, claim in check.claims.items()
    }
    if check.lost:
        verb = "dvlite push     in a clone that has the data"
        names = name_lost(repo, check.lost, result.needed.values(), RemoteHolder(check), verb=verb)
        fix = "dvlite fsck --remote --repair     in the clone of that run: this is its log, or what else it left"
        those = (each if each.path else replace(each, fix=fix) for each in names)
        health.lost = {(each.path, each.oid): each for each in _given_up(check, those)}
    for digest, roots in check.lost_snapshots.items():
        bodies = [body for each in roots if (body := check.roots[each][1]) is not None]
        oid = f"snapshot:{digest.hex()}"
        health.lost["", oid] = LostVersion(
            path="",
            oid=oid,
            commit=next((body.commit for body in bodies if body.commit), None),
            who=tuple(dict.fromkeys(body.user for body in bodies if body.user)),
            fix="dvlite push     in the clone of that user",
        )


def _given_up(check: RemoteState, lost: Iterable[LostVersion]) -> Iterator[LostVersion]:
    """Yields versions that are lost, and notes those that can still be read from packs that a gc gave up."""
    if check.nowhere is check.lost:
        yield from lost
        return
    day = dt.datetime.fromtimestamp(check_remote.given_up_at(check), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with check.catalog.counting_condemned(damaged_too=False):
        holder = RemoteHolder(check)
        nowhere = {format_oid(*version) for version in check.claims if lost_paths(version, check.nowhere, holder) != []}
    for each in lost:
        if each.oid in nowhere:
            yield each
        else:
            yield replace(each, given_up=day, files=(), lost_files=0, who=(), fix=None)


def _runs(repo: Repo, remote: Remote, result: RemoteLook, *, deep: bool) -> None:
    """Compares batches of run records with the copies here; with `deep`, reads and hashes them."""
    records = open_records(repo, result.check.progress)
    project = repo.config.project
    listed = remote.store.list(batch.FOLDER).entries
    if project is not None:
        names = {
            entry.name.rpartition("/")[2] for entry in listed if entry.name.startswith(f"{batch.FOLDER}{project}/")
        }
        gone = sync.vanished(remote, records, project, names)
        if gone:
            result.runs.append("")
            reason = f"{count(len(gone), 'run record')} that stood there before and no other batch has"
            result.health.note(f"{batch.FOLDER}{project}/...", "missing", reason)
    for entry in listed:
        folder, _, short = entry.name.rpartition("/")
        here = records.batch_bytes(short)
        is_bad = here not in (-1, entry.size_bytes)
        if deep and not is_bad:
            try:
                is_bad = batch.name_of(remote.get(entry.name, end=batch.MAX_BYTES + 1)) != short
            except ObjectAbsent:
                continue
        if is_bad:
            result.health.note(entry.name, "damaged", "its bytes are not the ones that its name promises")
            if folder == f"{batch.FOLDER}{project}":
                result.runs.append(short)
                if here == -1:
                    fix = "dvlite fsck --remote --repair     first in a clone that has these run records; others save what is good in it, and set it aside"
                    is_long = entry.size_bytes > batch.MAX_BYTES
                    result.health.fixes[entry.name] = "remove that object: no batch is so long" if is_long else fix
            else:
                result.health.fixes[entry.name] = "dvlite fsck --remote --repair     in a clone of that project"


# --- mending ---


def mend(
    repo: Repo, remote: Remote, cache: Cache, first: RemoteLook, name: str, progress: Progress
) -> list[NotChecked]:
    """Puts right what can be put right; returns which remotes could not be asked. May be run again after a kill."""
    health = Health()
    cache.create()
    with contextlib.ExitStack() as stack:
        asked = [
            stack.enter_context(opened(repo, cache, other, health, progress)) for other in remote_names(repo, but=name)
        ]
        others = [other for other in asked if other is not None]
        try:
            first.check.catalog.require_writable()  # a damaged config is written again as this clone knows it
        except DvliteError as error:
            return [NotChecked(what=f"a repair of {name}", why=error.message, hint=error.hint)]
        repair.replace_objects(first.check, cache, others)
        with contextlib.suppress(DvliteError):  # they say which logs are needed
            if repo.config.project is not None:
                sync.receive(remote, open_records(repo, progress), repo.config.project)
        _mend_runs(repo, remote, first, progress)
        claim_again(first.check.catalog, first.check.missing_roots)
        again = look_again(repo, remote, cache, first.check.found.bad_packs, progress)
        _send(repo, cache, again, others, progress)
        repair.correct_indexes(again.check)
    return health.unchecked


def look_again(repo: Repo, remote: Remote, cache: Cache, packs: Collection[Digest], progress: Progress) -> RemoteLook:
    """Looks as `look` does, and reads these packs."""
    return look(repo, remote, cache, Depth(), Reading(cache.folder / "tmp" / "none", lambda: 0.0), progress, only=packs)


def _send(repo: Repo, cache: Cache, again: RemoteLook, others: Sequence[Catalog], progress: Progress) -> None:
    """Sends again what is lost, from wherever it is."""
    check, gone = again.check, again.check.lost
    if not gone and not check.lost_snapshots:
        return
    wanted = LostIn(gone, again.needed, RemoteHolder(check))
    from_workspace(repo, cache, wanted, progress)
    repair.salvage(check, cache, missing_files(cache, wanted))
    for other in others:
        if is_missing(cache, wanted):
            from_remote(other, cache, wanted, progress)
    needs = files_needed(wanted)
    nodes = repair.snapshot_nodes(check, others, lambda body: _versions_of(repo, body))
    repair.send_lost(check, cache, needs, nodes, progress)


def _versions_of(repo: Repo, body: Root) -> Iterable[Version]:
    """Returns the versions that the commit of a root names."""
    try:
        items = repo.at(body.commit).tracked(broken=[])
    except DvliteError:
        return []
    return [version_of(item.path, item.pointer) for item in items if item.push]


def _mend_runs(repo: Repo, remote: Remote, first: RemoteLook, progress: Progress) -> None:
    """Writes damaged batches of run records again under their name, or the good records of them as new batches: then they are set aside here."""
    if not first.runs or repo.config.project is None:
        return
    records = open_records(repo, progress)
    unknown = []
    for short in filter(None, first.runs):
        data = records.read_batch(short)
        if data is not None:
            remote.put(f"{batch.FOLDER}{repo.config.project}/{short}", data)
        else:
            unknown.append(short)
    sync.send_again(remote, records, repo.config.project, unknown)
