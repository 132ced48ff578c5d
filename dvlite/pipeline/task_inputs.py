"""Stores what a task reads in the cache, whoever keeps it (git does most code), so that it can be sent to where the task runs."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dvlite import files
from dvlite.errors import FileChanged
from dvlite.formats import manifest
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import EXECUTABLE, Entry
from dvlite.formats.manifest import FILE as FILE_ENTRY
from dvlite.formats.task import Task
from dvlite.oid import FILE, MANIFEST, Oid, format_oid
from dvlite.pipeline.content import Contents
from dvlite.pipeline.outputs import is_cached, store_file
from dvlite.show import quote
from dvlite.store.cache_writer import Writer, version_of_entries
from dvlite.workspace.hashing import identify
from dvlite.workspace.ingest import CachingReader
from dvlite.workspace.scan import Scan, selected_scan
from dvlite.workspace.workspace import Workspace


class TaskInputs:
    """Stores inputs of tasks; what tracked data holds is in the cache or on the remote already, all but the listing of a part of it."""

    def __init__(self, work: Workspace, contents: Contents) -> None:
        self._work, self._contents = work, contents

    def of(self, tasks: Iterable[Task]) -> list[Locked]:
        """Returns what tasks read; of datums in tracked data all of that: one version, and not one for each."""
        tasks, contents = list(tasks), self._contents
        versions = {file.path: file.locked() for task in tasks for file in task.files}
        for file in (file for task in tasks for unit in task.units for file in unit.inputs):
            holder = contents.known.holder(file.path)
            version = (None if holder is None else contents.tracked(holder)) or file.locked()
            versions.setdefault(version.path, version)
        return [versions[path] for path in sorted(versions)]

    def store(self, versions: Iterable[Locked]) -> None:
        """Makes sure that the cache has these versions, or that a remote may. Raises FileChanged for one that is not what it was."""
        for version in versions:
            if not is_cached(self._work.cache, version) and not self._has_stored_part(version):
                self._store(version)

    def _has_stored_part(self, version: Locked) -> bool:
        """Stores the listing of a folder in tracked data; returns False for another version than the one that is tracked."""
        entries = self._contents.known.inner_listing(version.path) if version.oid.startswith(MANIFEST) else None
        if entries is None:
            return False
        with Writer(self._work.cache, self._work.progress) as writer:
            if version_of_entries(entries, writer).oid != version.oid:
                return False
            writer.commit()
        return True

    def _store(self, version: Locked) -> None:
        path, contents = version.path, self._contents
        if contents.is_assumed(path) or not contents.has(path):
            return  # the remote may have it
        if self._stored(path) != version.oid:
            raise FileChanged(
                f"cannot send {quote(path)}: it changed while dvlite looked at it", hint="run the command again"
            )

    def _stored(self, path: str) -> Oid | None:
        """Takes what is on disk into the cache, durably, and returns its version."""
        work, place = self._work, self._work.location(path)
        if place.is_symlink() and place.is_file():  # it stands for the file
            return format_oid(FILE, store_file(work, place.resolve()))
        scan = work.scan(path)
        if scan is None:
            return None
        linked: dict[bytes, Entry] = {}
        if scan.paths != [b""]:
            scan, followed = self._contents.dependency_scan(path, scan)
            linked = {name: self._linked(scan, name, version) for name, version in followed.items()}
            scan = selected_scan(scan, lambda name: name not in linked) if linked else scan
        with Writer(work.cache, work.progress) as writer:
            reader = CachingReader(work.cache, writer, files.existing_folder(place.parent), work.repo.display(path))
            have = identify(scan, work.stat_rows(path), work.progress, reader, lacking=writer.lacking, patient=False)
            entries = have.entries()
            if linked:
                rows = [*(entries[i] for i in range(len(entries))), *linked.values()]
                entries = manifest.from_entries(sorted(rows, key=lambda entry: entry.path))
            stored = version_of_entries(entries, writer)
            writer.commit()
        return stored.oid

    def _linked(self, scan: Scan, name: bytes, version: Locked) -> Entry:
        """Stores the file that a link leads to, out of the folder."""
        digest = store_file(self._work, (scan.root / os.fsdecode(name)).resolve())
        flags = FILE_ENTRY | EXECUTABLE if version.executable else FILE_ENTRY
        return Entry(name, flags, version.size_bytes, digest)
