"""The outputs of a stage around a run: set aside before it, taken into the cache after it, put back if it fails, or restored instead of it.

Bytes that exist only in the workspace are stored before anything takes their place. What a failed command left is moved to a folder of its
own, and never replaces the earlier outputs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError, FormatError, ObjectMissing, UsageError
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, SYMLINK
from dvlite.formats.pointer import Pointer
from dvlite.oid import FILE, MANIFEST, Digest, Oid, digest_bytes, format_oid
from dvlite.paths import check_paths
from dvlite.pipeline.content import Contents, same_data
from dvlite.pipeline.known_data import as_output
from dvlite.pipeline.stages import Stage, StageOut
from dvlite.show import printable, quote, word
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from dvlite.workspace import unpushed
from dvlite.workspace.backups import save_pointer, saved_name
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.ingest import CachingReader
from dvlite.workspace.purged import failure_of, purged_in
from dvlite.workspace.restore import CheckoutOptions, restore
from dvlite.workspace.workspace import Workspace, entries_of, set_aside_damaged_nodes

_FAILURES_KEPT = 5  # of a stage: what a user put among the outputs while the command ran must survive the next failure


@dataclass(frozen=True, slots=True)
class Backup:
    """An output that was moved away while its stage runs; nothing at `place`: it was removed, the cache has it."""

    path: str
    place: Path
    version: Locked


class Outputs:
    """Moves the outputs of stages in one workspace. Callers hold the workspace lock."""

    def __init__(self, work: Workspace, contents: Contents, is_recorded: Callable[[Oid], bool]) -> None:
        self._work, self._contents = work, contents
        self._is_recorded = is_recorded  # does a run record name this version?
        self._folder = work.repo.state_dir / "repro"

    # -- before a run

    def set_aside(self, stage: Stage, locked: Sequence[Locked], moved: list[Backup]) -> None:
        """Moves the outputs away, so that the command starts without them; `persist` ones stay, but are in the cache too.

        What is moved is entered in `moved` just before: whatever happens in between, `put_back` undoes it.
        """
        known = {out.path: out for out in locked}
        for out in stage.outs:
            for path in self._contents.matches(out.path):
                self._contents.forget([path])  # it may have been edited since the plan was made
                current = self._contents.here(path)
                if current is None:
                    os.makedirs((self._work.repo.root / path).parent, exist_ok=True)
                    continue
                version = self._keep(path, current, known.get(path))
                if not out.spec.persist:
                    self._move(stage, path, version, moved)
                elif "hardlink" in self._work.repo.config.links:
                    self._separate(stage, path, version)
        self._contents.forget([backup.path for backup in moved])

    def _keep(self, path: str, current: Locked, known: Locked | None) -> Locked:
        """Makes sure that the cache has what is on disk, and that something names it."""
        if same_data(current, known) and self._is_still(path, current) and self._is_sound(current):
            return current
        taken = self.take(path, reread=True)
        if not same_data(taken, known) and not self._is_recorded(taken.oid) and not self._is_committed(path):
            target = save_pointer(self._work.repo, path, taken.pointer())
            self._work.progress.warn(
                f"{quote(path)} was not what its stage had made; it is kept: dvlite get {word(str(target))} -o PATH"
            )
        return taken

    def _is_still(self, path: str, version: Locked) -> bool:
        """Returns whether what is on disk is a version, by reading all of it: times alone do not show every change."""
        scan = self._work.scan(path)
        if scan is None:
            return False
        have = identify(scan, None, self._work.progress, patient=False)
        if scan.paths == [b""]:
            return format_oid(FILE, have.digest(0)) == version.oid
        return format_oid(MANIFEST, manifest.build(have.entries()).root) == version.oid

    def _is_sound(self, version: Locked) -> bool:
        """Returns whether the cache has all of a version, by reading it; what is damaged is set aside, so that it can be stored again."""
        cache = self._work.cache
        try:
            entries = entries_of(version.pointer(), cache)
        except DvliteError:
            set_aside_damaged_nodes(cache, version.pointer().digest)
            return False
        damaged = [
            entries.digest(i)
            for i, flags in enumerate(entries.flags)
            if flags != EMPTY_DIR and not cache.is_sound(entries.digest(i), entries.sizes[i])
        ]
        for digest in damaged:
            cache.discard(digest)
        return not damaged

    def _is_committed(self, path: str) -> bool:
        """Returns whether git has exactly these bytes in its last commit."""
        git = self._work.repo.git
        return bool(git.tracked_under([path])) and not git.changes(f":(literal){path}")

    def _move(self, stage: Stage, path: str, version: Locked, moved: list[Backup]) -> None:
        source = self._work.repo.root / path
        folder = self._folder / "aside"
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{stage.name}-{len(moved)}-{files.temporary_name()}"
        moved.append(Backup(path, place, version))
        try:
            os.rename(source, place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise files.os_error(error, "move away", path) from error
            _remove(source)

    def _separate(self, stage: Stage, path: str, version: Locked) -> None:
        """Replaces what may share its bytes with the cache by a copy: the command may write into an output that persists."""
        moved: list[Backup] = []
        self._move(stage, path, version, moved)
        restore(self._work, path, version.pointer(), (), CheckoutOptions())
        self.discard(moved)

    # -- after a run

    def collect(self, stage: Stage) -> list[tuple[StageOut, Locked]]:
        """Takes every output into the cache. Raises FormatError, with file and line, for one that the command did not make."""
        outputs = []
        for out, paths in self.on_disk(stage):
            if not paths:
                reason = f"the command succeeded and did not create {quote(out.path)}, which {printable(stage.file)}:{out.line} lists as an output of {stage.address}"
                hint = "correct the name of the output, or the command"
                raise FormatError(reason, hint=hint, file=stage.file, line=out.line, reason=reason)
            for path in paths:
                self._resolve(path)
                taken = self.take(path, tracked=out.spec.cache)
                outputs.append((out, replace(taken, cache=out.spec.cache, push=out.spec.push)))
                if out.spec.cache and out.spec.push:
                    unpushed.note(self._work.repo, taken.oid)
        return outputs

    def on_disk(self, stage: Stage) -> list[tuple[StageOut, list[str]]]:
        """Returns each declared output with the paths that are there for it, looking again."""
        self._contents.forget([out.path for out in stage.outs])
        found = ((out, self._contents.matches(out.path)) for out in stage.outs)
        return [(out, [path for path in paths if self._contents.has(path)]) for out, paths in found]

    def take(self, path: str, *, tracked: bool = True, reread: bool = False) -> Locked:
        """Puts what is at a path into the cache, durably; not `tracked`: git keeps it, and nothing else is remembered of it.

        With `reread`, whatever the stat index says of it.
        """
        work = self._work
        shown = quote(work.repo.display(path))
        scan = work.scan(path)
        if scan is None:
            raise FormatError(f"{shown} is gone", hint="run the command again when nothing else writes to it")
        if scan.paths == [b""] and scan.flags[0] == SYMLINK:
            raise UsageError(
                f"cannot keep the output {shown}: it is a symbolic link",
                hint="write a file or a folder, or copy what it leads to",
            )
        with Writer(work.cache, work.progress) as writer:
            reader = CachingReader(
                work.cache, writer, files.existing_folder(work.location(path).parent), work.repo.display(path)
            )
            rows = None if reread else work.stat_rows(path)
            have = identify(scan, rows, work.progress, reader, lacking=writer.lacking, patient=False)
            version = _stored(have, writer, shown)
            writer.commit()
        if tracked:
            work.remember(path, version.digest, have.scan, have.digests, have.racy)
            work.note_version(path, version.oid, whole=True)
        else:
            work.forget(path)
            _sync(work.location(path), have.scan.paths)
        output = as_output(path, version)
        self._contents.note_output(path, output)
        return output

    def _resolve(self, path: str) -> None:
        """Replaces an output that is a link to what the repository holds by a copy of that: a version of an output is content."""
        place = self._work.repo.root / path
        if not place.is_symlink() or not place.exists():
            return
        target = place.resolve()
        if not target.is_relative_to(self._work.repo.root) or place.is_relative_to(target):
            return
        self._work.progress.warn(
            f"the output {quote(path)} is a link to {quote(os.readlink(place))}; a copy of that takes its place"
        )
        copy = place.with_name(files.temporary_name())
        if target.is_dir():
            shutil.copytree(target, copy, symlinks=True)
            place.unlink()
        else:
            shutil.copy2(target, copy)
        os.replace(copy, place)

    def discard(self, backups: Iterable[Backup]) -> None:
        """Removes what was moved away; the cache has it."""
        for backup in backups:
            _remove(backup.place)

    # -- instead of the outputs of a run that failed

    def put_back(self, backups: Sequence[Backup]) -> None:
        """Restores what was moved away, where nothing else is."""
        for backup in backups:
            target = self._work.repo.root / backup.path
            if files.is_there(target):
                continue
            os.makedirs(target.parent, exist_ok=True)
            with contextlib.suppress(OSError):
                os.rename(backup.place, target)
                continue
            restore(self._work, backup.path, backup.version.pointer(), (), CheckoutOptions())
        self._contents.forget([backup.path for backup in backups])

    def keep_partial(self, stage: Stage) -> str | None:
        """Moves what a failed command wrote into a folder of its own; those of the last few failures of the stage stay."""
        above = self._folder / "failed" / saved_name(stage.address.replace(":", "_"))
        folder = above / f"{time.time_ns()}"
        self._contents.forget([out.path for out in stage.outs])
        written = [
            path
            for out in stage.outs
            if not out.spec.persist
            for path in self._contents.matches(out.path)
            if self._contents.has(path)
        ]
        if not written:
            return None
        for old in sorted(above.glob("[0-9]*"))[: -(_FAILURES_KEPT - 1)]:
            _remove(old)
        for path in written:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self._work.repo.root / path, target)
        root = self._work.repo.root
        return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else os.fspath(folder)

    # -- instead of a run

    def see_changes(self) -> None:
        """Lets the cache see what other threads and processes stored."""
        self._work.cache.refresh_if_changed()

    def counted(self, version: Locked) -> Locked:
        """Returns a version with the size that it has, whatever its record says. Raises ObjectMissing or ObjectCorrupt."""
        current = self._contents.here(version.path)
        if current is not None and same_data(current, version):
            return replace(version, size_bytes=current.size_bytes, files=current.files)
        wanted = version.pointer()
        if wanted.kind == "file":
            return replace(version, files=1)
        entries = entries_of(wanted, self._work.cache)
        counts = [flags != EMPTY_DIR for flags in entries.flags]
        size = sum(size for size, counted in zip(entries.sizes, counts, strict=True) if counted)
        return replace(version, size_bytes=size, files=sum(counts))

    def restore(self, versions: Iterable[Locked]) -> bool:
        """Brings outputs from the cache into the workspace, keeping what they replace; returns False if some bytes are damaged or gone."""
        for version in versions:
            if same_data(self._contents.here(version.path), version):
                self._contents.known.know(version.path, version.pointer())
                continue
            os.makedirs((self._work.repo.root / version.path).parent, exist_ok=True)
            if not version.cache and (self._is_committed(version.path) or self._is_of_a_run(version.path)):
                _remove(self._work.repo.root / version.path)
            outcome = restore(self._work, version.path, version.pointer(), (), CheckoutOptions(force=True))
            if outcome.damaged or outcome.result.missing or outcome.result.conflicts:
                return False
            if not version.cache:  # git's again
                self._work.forget(version.path)
            self._contents.note_output(version.path, version)
        return True

    def receive(self, stage: Stage, versions: Sequence[Locked]) -> list[tuple[StageOut, Locked]]:
        """Brings the outputs of a stage that ran on another machine into the workspace; the cache has them.

        Raises ObjectMissing if it lacks some after all.
        """
        declared = {out.path: out for out in stage.outs}
        outputs = [
            (out, replace(version, cache=out.spec.cache, push=out.spec.push))
            for version in versions
            if (out := declared.get(version.path)) is not None
        ]
        if not self.restore(version for _, version in outputs):
            raise ObjectMissing("its outputs are not whole in the cache", hint="run the command again")
        for out, version in outputs:
            if out.spec.cache and out.spec.push:
                unpushed.note(self._work.repo, version.oid)
        return outputs

    def _is_of_a_run(self, path: str) -> bool:
        """Returns whether what is on disk was made by a run, and the cache has it: it is no edit."""
        here = self._contents.here(path)
        return here is not None and self._is_recorded(here.oid) and self._is_still(path, here) and self._is_sound(here)

    def clear_leftovers(self) -> None:
        """Removes what killed runs left: outputs that were set aside are in the cache."""
        _remove(self._folder / "aside")
        _remove(self._folder / "logs")

    def logs(self) -> Path:
        """Returns the folder for the logs of what runs now."""
        folder = self._folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def is_cached(cache: Cache, version: Locked) -> bool:
    """Returns whether the cache has all of a version."""
    wanted = version.pointer()
    if wanted.kind == "file":
        return cache.has_file(wanted.digest, wanted.size_bytes)
    try:
        entries = entries_of(wanted, cache)
    except DvliteError:
        return False
    return cache.has_all(entries)


def why_purged(cache: Cache, version: Locked) -> str:
    """Returns what of a version was purged, by whom, when and why; '' if nothing was."""
    with contextlib.suppress(DvliteError):
        failure = failure_of(purged_in(cache, version.path, entries_of(version.pointer(), cache)).values())
        return "" if failure is None else failure.message
    return ""


def store_file(work: Workspace, path: Path) -> Digest:
    """Puts a file of ours (a log) into the cache, durably, and returns its digest."""
    with Writer(work.cache, work.progress) as writer:
        if path.stat().st_size <= work.cache.pack_below_bytes:
            raw = path.read_bytes()
            digest = digest_bytes(raw)
            writer.put(KIND_FILE, digest, raw)
        else:
            with path.open("rb") as file:
                digest = writer.put_large(file.fileno(), path.name)
        writer.commit()
    return digest


def _stored(have: Snapshot, writer: Writer, shown: str) -> Pointer:
    """Stores the listing of a directory and returns the version that a snapshot is."""
    if have.scan.paths == [b""]:
        executable = bool(have.scan.flags[0] & EXECUTABLE)
        return Pointer("file", have.digest(0), have.scan.sizes[0], executable=executable)
    entries = have.entries()
    try:
        check_paths(entries.paths)
    except DvliteError as error:
        raise UsageError(
            f"cannot keep the output {shown}: {error.message}", hint="write files with other names"
        ) from None
    tree = manifest.build(entries)
    for digest, data in tree.nodes:
        writer.put(KIND_MANIFEST, digest, data)
    return Pointer("directory", tree.root, tree.size_bytes, tree.files)


def _sync(place: Path, inner: Iterable[bytes]) -> None:
    """Makes a file, or those of a folder, durable: the lockfile names what git is still to take."""
    for name in inner:
        file = place / os.fsdecode(name) if name else place
        if file.is_file() and not file.is_symlink():
            files.sync_path(file)
        files.sync_path(file.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
