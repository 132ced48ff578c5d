"""The cache of a clone, its run records and all that is beside them: looked at, and mended from the workspace and from remotes.

Mending sets aside and never deletes: what is damaged goes to the cache's quarantine after its good records were copied.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.formats import manifest, tombstone
from dvlite.formats.snapshot import Version, VersionId
from dvlite.health import worktree
from dvlite.health.findings import Depth, Health, NotChecked
from dvlite.health.needs import LostIn, NeededVersion, name_lost, needed_here, sized
from dvlite.health.sources import from_remote, from_workspace, is_missing, missing_files, opened, remote_names
from dvlite.health.worktree import WorktreeCheck
from dvlite.oid import FILE, MANIFEST, Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.runs import check as runs_check
from dvlite.runs import sync
from dvlite.runs.index import NAME, forget
from dvlite.runs.records import open_records
from dvlite.share.needs import gather
from dvlite.show import word
from dvlite.store import check_cache, pack
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.check import Lost, Problem, lost
from dvlite.store.check_cache import CacheHolder, CacheState, sound_records
from dvlite.store.check_round import Reading, load_unfinished, store_unfinished
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from dvlite.store.reachable import present


@dataclass(slots=True)
class LocalCheck:
    """All that one look found, and what a repair needs of it."""

    cache: CacheState
    worktree: WorktreeCheck
    health: Health = field(default_factory=Health)
    needed: dict[VersionId, NeededVersion] = field(default_factory=dict)
    lost: Lost = field(default_factory=Lost)
    runs: list[str] = field(default_factory=list)


def look(
    repo: Repo,
    cache: Cache,
    depth: Depth,
    reading: Reading,
    progress: Progress,
    *,
    only: Collection[Digest] | None = None,
) -> LocalCheck:
    """Looks at everything; reads bytes as `depth` says, or those of the objects in `only`."""
    health = Health()
    checked = LocalCheck(CacheState(cache, progress, depth.is_over), worktree.look(repo, health), health)
    found = checked.cache.found
    check_cache.look(checked.cache)
    items = [*sorted(checked.cache.packs), *sorted(checked.cache.large)]
    for name in found.bad_packs:
        reading.read(name, right=False)
    chosen = reading.choose(items) if depth.deep and only is None else list(only or ())
    check_cache.read_objects(checked.cache, chosen, reading.read, jobs=depth.jobs)
    health.stopped = found.stopped
    health.read_objects = len([name for name in chosen if name in reading.round.done or name in reading.round.bad])
    sizes = checked.cache.packs | checked.cache.large
    health.read_bytes = sum(sizes.get(name, 0) for name in chosen)
    _close(repo, checked, progress)

    def note(name: str, problem: Problem, reason: str) -> None:
        checked.runs.append(name)
        health.note(f"runs/{name}", problem, reason)

    records = runs_check.look(open_records(repo, progress), note)
    if only is None:
        worktree.read(repo, cache, checked.worktree, depth, reading, health, progress)
    for damage in found.damages.values():
        health.note(damage.name, damage.problem, damage.reason)
        if damage.name.startswith(tombstone.FOLDER):
            otherwise = f"if none has it: rm {word(str(cache.folder / damage.name))}, then purge the same files again"
            health.fixes[damage.name] = f"dvlite fsck --repair     brings it from a remote; {otherwise}"
    health.unchecked += [
        NotChecked(what=what, why="a later dvlite wrote it", hint="upgrade dvlite") for what in found.later
    ]
    health.objects = len(items) + records
    if depth.deep and only is None:
        reading.end([*items, *checked.worktree.items])
    health.completed = reading.round.completed
    return checked


def look_again(repo: Repo, cache: Cache, first: LocalCheck, progress: Progress) -> LocalCheck:
    """Looks as `look` does after a repair, and reads what was bad or is new."""
    found, known = first.cache, first.cache.packs | first.cache.large
    fresh = CacheState(cache, progress)
    cache.refresh()
    check_cache.look(fresh)
    standing = fresh.packs | fresh.large
    only = {name for name in standing if name not in known or name in found.bad_files or name in found.found.bad_packs}
    return look(repo, cache, Depth(), Reading(cache.folder / "tmp" / "none", lambda: 0.0), progress, only=only)


def _close(repo: Repo, checked: LocalCheck, progress: Progress) -> None:
    """Finds what versions need and neither the cache nor a remote has, and what the cache had and has no more."""
    health, cache = checked.health, checked.cache.cache
    checked.needed = needed_here(repo, cache, health, progress)
    unfinished = load_unfinished(_unfinished(repo))
    if bad := {digest for _, digest in checked.cache.damaged | unfinished}:
        with contextlib.suppress(DvliteError):  # said already: the same records and history are read
            left_by_runs = gather(repo, progress, fetched=False).left_by_runs()[0]
            for digest in left_by_runs & bad:
                version = Version("", FILE, digest, -1)
                checked.needed.setdefault(version.id, NeededVersion(version))
    holder = CacheHolder(checked.cache)
    gone = lost(sized(checked.needed.values()), holder)
    unfinished = {each for each in unfinished if each[1] in gone.nodes | gone.files}
    damaged = {digest for _, digest in checked.cache.damaged | unfinished}
    elsewhere = Lost(gone.nodes - damaged, gone.files - damaged)
    if elsewhere:
        kept_here = {
            version_id for version_id, each in checked.needed.items() if each.item is not None and not each.item.push
        }
        elsewhere = _nowhere(repo, cache, checked, elsewhere, kept_here, progress)
    checked.lost = Lost((gone.nodes & damaged) | elsewhere.nodes, (gone.files & damaged) | elsewhere.files)
    if checked.lost:
        names = name_lost(repo, checked.lost, checked.needed.values(), holder, verb="dvlite pull")
        fix = "dvlite fsck --repair     brings it from a remote that has it"  # what no path names
        health.lost = {(each.path, each.oid): each if each.path else replace(each, fix=fix) for each in names}


def _nowhere(
    repo: Repo, cache: Cache, checked: LocalCheck, gone: Lost, kept_here: set[VersionId], progress: Progress
) -> Lost:
    """Returns what no remote has either; what is not here may never have been fetched."""
    names = remote_names(repo)
    left = Lost(set(gone.nodes), set(gone.files))
    for kind, digest in kept_here:  # what is in one clone alone is not missed in the others
        (left.nodes if kind == MANIFEST else left.files).discard(digest)
    unchecked: list[NotChecked] = []
    for name in names:
        if not left:
            break
        health = Health()
        with opened(repo, cache, name, health, progress) as catalog:
            if catalog is not None:
                left.files.difference_update(present(catalog, left.files))
                left.nodes.difference_update([node for node in left.nodes if catalog.locations(node, (KIND_MANIFEST,))])
        unchecked += health.unchecked
    if left and unchecked:  # it may be where nothing could be asked
        checked.health.unchecked += unchecked
        return Lost()
    return left


# --- mending ---


def mend(repo: Repo, cache: Cache, checked: LocalCheck, progress: Progress) -> list[NotChecked]:
    """Sets aside what is damaged and brings good copies; returns which remotes could not be asked. May be run again after a kill."""
    progress.start("repairing the cache")
    cache.refresh()
    gone = Lost(set(checked.lost.nodes), {*checked.lost.files, *_bad_on_disk(cache, checked)})
    damaged = checked.cache.damaged  # of which versions, is not known where a listing could not be read
    store_unfinished(_unfinished(repo), _objects(gone) | damaged)
    worktree.mend_notes(repo, cache, checked.worktree)
    for path in checked.cache.strange:
        cache.set_aside(path)
    _set_aside_large(cache, checked.cache, gone.files)
    _correct_indexes(cache, checked.cache)
    for name in checked.cache.found.bad_packs:
        _drop_rows(cache, name)
    for name in checked.cache.found.bad_packs:
        _salvage(cache, name)
    cache.refresh()
    cache.segments()  # indexes packs that have no index
    health = Health()
    unread = {
        name[len(tombstone.FOLDER) :] for name in checked.cache.found.damages if name.startswith(tombstone.FOLDER)
    }
    for remote_name in remote_names(repo) if unread else ():
        with opened(repo, cache, remote_name, health, progress):
            unread -= cache.tombstones.keys()  # those of the remote were read
    gone.files.difference_update(cache.purged)
    wanted = LostIn(gone, checked.needed, CacheHolder(CacheState(cache, progress)))
    if gone:
        if not unread:  # else it might bring back what was purged
            from_workspace(repo, cache, wanted, progress)
        for remote_name in remote_names(repo):
            if not is_missing(cache, wanted):
                break
            with opened(repo, cache, remote_name, health, progress) as catalog:
                if catalog is not None:
                    from_remote(catalog, cache, wanted, progress)
    left = Lost(
        {node for node in gone.nodes if not cache.has_node(node)},
        {need.digest for need in missing_files(cache, wanted)},
    )
    away = {(kind, each) for kind, each in damaged if not (cache.has_packed(each, (kind,)) or cache.has_large(each))}
    store_unfinished(_unfinished(repo), _objects(left) | away)
    worktree.mend_files(repo, cache, checked.worktree, progress)
    _mend_runs(repo, cache, checked, progress)
    progress.finish()
    return health.unchecked


def _unfinished(repo: Repo) -> Path:
    return repo.common_dir / "dvlite" / "fsck" / "unfinished"


def _objects(gone: Lost) -> set[tuple[int, Digest]]:
    return {(KIND_MANIFEST, node) for node in gone.nodes} | {(KIND_FILE, file) for file in gone.files}


def _bad_on_disk(cache: Cache, checked: LocalCheck) -> Iterator[Digest]:
    """Yields what files that went bad on disk should be: a good copy must be in the cache before it is put back."""
    for each in checked.needed.values():
        inner = checked.worktree.bad.get(each.version.path, ())
        if each.version.kind != MANIFEST:
            yield from (each.version.digest for _ in inner[:1])
        elif inner:
            with contextlib.suppress(DvliteError):
                found = (manifest.find(each.version.digest, path, cache.read_node) for path in inner)
                yield from [entry.digest for entry in found if entry is not None]


def _set_aside_large(cache: Cache, check: CacheState, wanted: Collection[Digest]) -> None:
    """Sets bad large files aside; those of them that are another file which is wanted, as after two were swapped, are stored under its name."""
    aside = {digest: cache.set_aside(cache.large_path(digest)) for digest in check.bad_files}
    with Writer(cache) as writer:
        for digest, name in check.misplaced.items():
            if digest in wanted and digest not in cache.purged and name in aside:
                with contextlib.suppress(OSError, DvliteError), open(os.open(aside[name], files.READ), "rb") as file:
                    writer.put_large(file.fileno(), aside[name].name)
        writer.commit()


def _correct_indexes(cache: Cache, check: CacheState) -> None:
    """Writes index objects without the rows that proved wrong, then sets the old ones aside."""
    for name, rows in check.found.replaced.items():
        cache.write_index(rows)
        with contextlib.suppress(FileNotFoundError):
            cache.set_aside(cache.folder / "index" / name)


def _salvage(cache: Cache, name: Digest) -> None:
    """Copies the good records of a bad pack to another one, then sets it aside.

    The rows of all bad packs went before, for what is indexed is not stored again; if this is killed, the pack is indexed again, and found
    again.
    """
    path = cache.folder / "packs" / name.hex()
    found = files.read_own(path, pack.MAX_PACK_BYTES)
    if found is None and path.exists():  # it may be read another time, and what it holds comes from elsewhere
        return
    data = memoryview(found or b"")
    with Writer(cache) as writer:
        for record in sound_records(data, name) or sound_records(data, digest_bytes(data)):  # a pack of another name
            if record.kind in (KIND_FILE, KIND_MANIFEST) and record.digest not in cache.purged:
                writer.put_stored(record, data[record.offset : record.offset + record.stored_length])
        writer.commit()
    cache.forget_map(name)
    cache.set_aside(path)


def _drop_rows(cache: Cache, name: Digest) -> None:
    for named_by, segment in list(cache.segments().items()):
        if name in segment.packs:
            cache.write_index([place for place in segment if place.pack != name])
            with contextlib.suppress(FileNotFoundError):
                os.unlink(cache.folder / "index" / named_by)
            cache.segments().pop(named_by, None)


def _mend_runs(repo: Repo, cache: Cache, checked: LocalCheck, progress: Progress) -> None:
    """Sets damaged run records aside after their good ones were copied, and fetches the batches that a remote has."""
    if not checked.runs:
        return
    records = open_records(repo, progress)
    for name in checked.runs:
        if name == NAME:
            forget(records)
        else:
            records.salvage(name)
    for remote_name in remote_names(repo):
        with contextlib.suppress(DvliteError):
            _, remote = open_remote(repo, cache, remote_name, None)
            with remote:
                sync.receive(remote, records, repo.config.project)
