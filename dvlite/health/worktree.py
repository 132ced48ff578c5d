"""What is wrong with what a clone keeps beside its cache: stat indexes, sparse patterns, notes about remotes, its id; and with files on disk.

A file whose times say that it is what it was, and whose bytes are not, went bad on disk.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FormatError, LaterVersion
from dvlite.health.findings import Depth, Health
from dvlite.oid import DIGEST_BYTES, Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.repo.clone_id import FILE as CLONE_ID
from dvlite.repo.clone_id import clone_id, is_known
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import count, word
from dvlite.store import index
from dvlite.store.cache import Cache
from dvlite.store.check_round import Reading
from dvlite.store.remote import note_checksum
from dvlite.workspace import sparse, statindex
from dvlite.workspace.hashing import identify, reread
from dvlite.workspace.restore import CheckoutOptions, restore
from dvlite.workspace.workspace import Workspace

_BLOCK = 1024  # files of a tracked path that are read together
_BY_NAME = ("index", "condemned", "meta")  # notes about remotes that are named by their bytes ...
_BY_CHECKSUM = ("complete", "footers", "claims")  # ... or begin with a checksum


@dataclass(slots=True)
class WorktreeCheck:
    """What is to be set aside, and the files on disk that went bad, by tracked path."""

    strange: list[Path]
    bad: dict[str, list[bytes]]
    items: list[Digest]  # blocks of files, as a round counts them


def look(repo: Repo, health: Health) -> WorktreeCheck:
    """Reads dvlite's own files."""
    check = WorktreeCheck([], {}, [])
    for path in _scan(repo.state_dir / "index"):
        name = f"stat index {path.name[:8]}"
        if not files.is_temporary_name(path.name.encode()) and not _is_stat_index(path):
            check.strange.append(path)
            health.note(name, "damaged", "its checksum is wrong")
    try:
        sparse.load(repo.state_dir)
    except LaterVersion:
        pass
    except FormatError as error:
        fix = f"rm {word(str(repo.state_dir / sparse.FILE))}; dvlite pull"
        health.note(sparse.FILE, "damaged", "which part of a directory is checked out is not known", fix)
        if error.hint is None:
            health.fixes.pop(sparse.FILE)
    if not is_known(repo.common_dir):
        health.note(CLONE_ID, "stale", "it is damaged, or of another place: this clone was copied or moved")
    else:
        for remote in _scan(repo.notes_dir):
            _notes(remote, clone_id(repo.common_dir), check, health)
    return check


def _is_stat_index(path: Path) -> bool:
    if path.suffix == ".path":
        lines = (files.read_own(path) or b"").split(b"\n")
        while lines and lines[0].startswith((b"blake3:", b"manifest:")):
            del lines[0]
        return path.stem == digest_bytes(b"\n".join(lines)).hex()[:32]
    known = statindex.open_index(path)
    return known is not None and known.load() is not None


def _notes(remote: Path, clone: str, check: WorktreeCheck, health: Health) -> None:
    """Looks at the notes about one remote; all of them may be deleted. Those of an id that this clone had before are passed over."""
    strangers = 0
    for kind in (*_BY_NAME, *_BY_CHECKSUM):
        for path in _scan(remote / kind):
            data = files.read_own(path, index.MAX_BYTES)
            if data is None or files.is_temporary_name(path.name.encode()):
                continue
            if kind in _BY_CHECKSUM:
                place = f"{remote.name}/{kind}/{path.name}"
                strangers += data[:DIGEST_BYTES] != note_checksum(clone, place, data[DIGEST_BYTES:])
            elif digest_bytes(data).hex() != path.name:
                check.strange.append(path)
                health.note(f"remote/{remote.name[:8]}/{kind}/{path.name[:64]}", "damaged", "its checksum is wrong")
    if strangers:
        name = f"remote/{remote.name[:8]}"
        health.note(name, "stale", f"{count(strangers, 'note')} damaged, or of another clone: they do not count")
        health.ignored.add(name)


def read(
    repo: Repo, cache: Cache, check: WorktreeCheck, depth: Depth, reading: Reading, health: Health, progress: Progress
) -> None:
    """Hashes files on disk that no command would read, for their times did not change."""
    work = Workspace(repo, cache, progress)
    for item in repo.work_tree.tracked(broken=[]):
        blocks = list(_blocks(work, item))
        check.items += [block for block, _ in blocks]
        chosen = set(reading.choose([block for block, _ in blocks])) if depth.deep and not health.stopped else set()
        if not chosen:
            continue
        with contextlib.suppress(DvliteError):  # what cannot be read now is not what is known: `dvlite status` shows it
            _read(
                work, item, [(block, numbers) for block, numbers in blocks if block in chosen], check, reading, health
            )
        if depth.is_over():
            health.stopped = True


def _blocks(work: Workspace, item: Tracked) -> Iterator[tuple[Digest, range]]:
    rows = work.stat_rows(item.path)
    for start in range(0, len(rows.scan.paths) if rows is not None else 0, _BLOCK):
        yield (
            digest_bytes(f"{work.repo.root}\0{item.path}\0{start}".encode(errors="surrogateescape")),
            range(start, start + _BLOCK),
        )


def _read(
    work: Workspace,
    item: Tracked,
    blocks: Sequence[tuple[Digest, range]],
    check: WorktreeCheck,
    reading: Reading,
    health: Health,
) -> None:
    scan, rows = work.scan(item.path), work.stat_rows(item.path)
    if scan is None or rows is None:
        for block, _ in blocks:  # nothing is there
            reading.read(block, right=True)
        return
    position = {path: i for i, path in enumerate(rows.scan.paths)}
    have = identify(scan, rows, work.progress)
    before = bytes(have.digests)
    for block, numbers in blocks:
        chosen = [i for i, path in enumerate(scan.paths) if position.get(path, -1) in numbers and scan.flags[i] != 2]
        reread(have, chosen, work.progress)
        bad = [i for i in chosen if have.digests[i * 32 : i * 32 + 32] != before[i * 32 : i * 32 + 32]]
        for i in bad:
            inner = scan.paths[i]
            check.bad.setdefault(item.path, []).append(inner)
            name = f"{item.path}/{os.fsdecode(inner)}" if inner else item.path
            health.note(
                name, "damaged", "its bytes changed, and its times did not", f"dvlite checkout --force {word(name)}"
            )
        health.read_objects += len(chosen)
        health.read_bytes += sum(scan.sizes[i] for i in chosen)
        reading.read(block, right=not bad)


def mend_notes(repo: Repo, cache: Cache, check: WorktreeCheck) -> None:
    """Sets aside what is damaged; a command that needs it makes it again."""
    for path in check.strange:
        cache.set_aside(path)
    if not is_known(repo.common_dir):
        clone_id(repo.common_dir)


def mend_files(repo: Repo, cache: Cache, check: WorktreeCheck, progress: Progress) -> None:
    """Puts files that went bad on disk back from the cache; as they are now, they go into the cache first. The caller holds the lock."""
    work = Workspace(repo, cache, progress)
    tracked = {item.path: item for item in repo.work_tree.tracked(broken=[])}
    for bad, inner in check.bad.items():
        work.forget_rows(bad)
        with contextlib.suppress(DvliteError):
            patterns = [os.fsdecode(each) for each in inner if each]
            restore(work, bad, tracked[bad].pointer, patterns, CheckoutOptions(force=True, keep_sparse=True))


def _scan(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
