"""One version of a Delta table in an opened repository: its log up to that version, and the data files that are live in it."""

from __future__ import annotations

import os
from dataclasses import replace

from dvlite.errors import FormatError, UsageError
from dvlite.formats import delta_log
from dvlite.formats.delta_log import FOLDER, HINT, LIMIT_BYTES
from dvlite.formats.manifest import Entry
from dvlite.progress import Progress
from dvlite.share.any_repository import Opened
from dvlite.share.bring import bring
from dvlite.show import quote, some, word
from dvlite.store.cache import Cache
from dvlite.workspace import sparse
from dvlite.workspace.workspace import chosen_of

_SIDECARS = b"_sidecars/"


def files_of(opened: Opened, version: int, jobs: int | None, progress: Progress) -> frozenset[bytes]:
    """Returns the paths, from the table's folder on, that make up one version of the table that is opened; its log is in the cache then.

    Raises UsageError for what is no Delta table, for a version that its log does not have, and for one whose files are not all there any more.
    """
    shown = quote(opened.path or ".")
    try:
        log, _ = bring(replace(opened, path=f"{opened.path}/{FOLDER.decode()}".lstrip("/")), jobs, progress)
    except UsageError:
        raise UsageError(
            f"there is no Delta table {shown} there", hint=f"what is there: dvlite ls {opened.place}"
        ) from None
    entries = {log.entries.paths[i]: log.entries[i] for i in range(len(log.entries))}
    files = delta_log.log_files(entries)
    if not files:
        raise UsageError(f"{shown} has no log of a Delta table", hint=f"what is there: dvlite ls -R {opened.place}")
    try:
        table, _ = delta_log.read_table(files, lambda name: _read(opened.cache, entries.get(name)), version)
        hint = entries.get(HINT)
        hinted = None if hint is None else delta_log.hinted_version(_read(opened.cache, hint))
    except FormatError as error:
        raise UsageError(
            f"cannot get version {version} of {shown}: {error.message}",
            hint=f"its versions: dvlite log {word(opened.path)}",
        ) from None
    live = [name for file in table.live.values() for name in (file.name, file.vector)]
    if any(file.name is None for file in table.live.values()):
        raise UsageError(f"cannot get version {version} of {shown}: its log names files outside of it")
    names = frozenset(name for name in live if name is not None)
    _require(opened, names, version)
    of_log = (name for name in entries if name.startswith(_SIDECARS) or _is_until(name, version, hinted))
    return names.union(FOLDER + b"/" + name for name in of_log)


def _is_until(name: bytes, version: int, hinted: int | None) -> bool:
    last = hinted if name == HINT else delta_log.log_version(name)
    return last is not None and last <= version


def _read(cache: Cache, entry: Entry | None) -> bytes:
    if entry is None or entry.size_bytes > LIMIT_BYTES:
        raise FormatError("a file of its log is missing" if entry is None else "a file of its log is too large")
    return cache.read_file(entry.digest, entry.size_bytes)


def _require(opened: Opened, names: frozenset[bytes], version: int) -> None:
    """Raises UsageError if the version of the directory lacks some of its files: they were vacuumed."""
    item = next((item for item in opened.tracked if f"{opened.path}/".startswith(f"{item.path}/")), None)
    if item is None:  # what another program tracks is brought whole
        return
    inner = opened.path[len(item.path) + 1 :]
    listed = chosen_of(item.pointer, opened.cache, [sparse.literal(inner)] if inner else [])
    start = len(os.fsencode(inner)) + 1 if inner else 0
    gone = sorted(names.difference(path[start:] for path in listed.paths))
    if gone:
        raise UsageError(
            f"cannot get version {version} of {quote(opened.path)}: {some([quote(os.fsdecode(name)) for name in gone], 1)} is not in it any more",
            hint=f"an earlier commit may have it, as REV:PATH: dvlite log {word(opened.path)}",
        )
