"""Reads every byte of a version in a place, and names what is not as dvlite wrote it.

The SHA-256 of each file is compared with the sidecar, and the id of the whole is computed again: a sidecar that was changed along with a
file is found by the id, which a clone, a registry or a manifest has, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dvlite import files as disk
from dvlite.errors import FormatError
from dvlite.formats import manifest, mar, served
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, Entry
from dvlite.formats.served import ServedModel
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, Digest, Oid, format_oid
from dvlite.progress import Progress
from dvlite.serving import torchserve
from dvlite.serving.layout import ServingLayout
from dvlite.serving.place import PIECE_BYTES, Hashed, Hasher, ServingPlace
from dvlite.serving.versions import HeldVersion
from dvlite.show import quote

Kind = Literal["changed", "missing", "added", "unreadable", "front", "digest", "compiled", "unfinished"]
UNCHECKED = frozenset({"compiled", "unfinished"})  # what is no change of something that dvlite wrote
_COMPILED = re.compile(r"(?:.*/)?__pycache__/[^/]+\.pyc")
MOST_NAMED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFinding:
    """Something that is not as dvlite wrote it. `path` is relative to the place.

    `compiled`: what Python wrote beside a file of the model when a server loaded it; it would be run, and cannot be checked. `unfinished`: no
    server sees the version, and files of it are missing in a bucket: an export or a removal was interrupted.
    """

    kind: Kind
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class ServedFiles:
    """The files of one version, wherever they are: their sizes, and a way to read one."""

    sizes: Mapping[str, int]
    hashed: Callable[[str, int], Hashed | None]


def files_in(place: ServingPlace, folder: str, progress: Progress) -> ServedFiles:
    """Returns the files below a folder of a place."""
    within = f"{folder}/" if folder else ""
    return ServedFiles(
        place.sizes(folder),
        lambda path, most: place.hashed(within + path, most, lambda size: progress.advance(size_bytes=size)),
    )


def files_of(archive: mar.MarReader, progress: Progress) -> ServedFiles:
    """Returns the files of an archive."""

    def hashed(path: str, most_bytes: int) -> Hashed | None:
        if path not in archive.sizes:
            return None
        hasher = Hasher()
        for piece in archive.pieces(path, PIECE_BYTES):
            hasher.update(piece)
            progress.advance(size_bytes=len(piece))
            if hasher.size_bytes > most_bytes:
                break
        return hasher.hashed()

    return ServedFiles(archive.sizes, hashed)


def check_files(
    model: ServedModel, files: ServedFiles, own: Collection[str], folder: str, progress: Progress
) -> Iterator[ServedFinding]:
    """Yields what is not as the sidecar says. `own` are names that are not of the model; `folder` begins the paths of findings."""
    within = f"{folder}/" if folder else ""
    known = {file.path: file for file in (*model.files, *model.extra)}
    progress.start(f"reading {folder or model.model}", total_bytes=sum(file.size for file in known.values()))
    digests: dict[str, Digest] = {}
    for path, file in known.items():
        try:
            found = files.hashed(path, file.size)
        except FormatError as error:  # no ordinary file, or a damaged archive
            yield ServedFinding(kind="unreadable", path=within + path, message=error.message)
            continue
        if found is None:
            yield ServedFinding(kind="missing", path=within + path, message=f"{quote(within + path)} is missing")
        elif (found.size_bytes, found.sha256) != (file.size, file.sha256):
            message = f"{quote(within + path)} was changed: it is not the file that dvlite wrote"
            yield ServedFinding(kind="changed", path=within + path, message=message)
        else:
            digests[path] = found.digest
    for path in sorted(files.sizes.keys() - known.keys() - {*own})[:MOST_NAMED]:
        kind: Kind = "compiled" if _COMPILED.fullmatch(path) else "added"
        message = f"{quote(within + path)} was added: dvlite did not write it"
        if kind == "compiled":
            message = f"{quote(within + path)} was compiled by a server, and cannot be checked"
        yield ServedFinding(kind=kind, path=within + path, message=message)
    progress.finish()
    if len(digests) == len(known) and (actual := digest_of(model, digests)) != model.digest:
        message = f"{quote(within + served.NAME)} was changed: the files are {actual}, and it says {model.digest}"
        yield ServedFinding(kind="digest", path=within + served.NAME, message=message)


def digest_of(model: ServedModel, digests: Mapping[str, Digest]) -> Oid:
    """Returns the id that files have together."""
    if model.digest.startswith(f"{FILE_OID}:"):
        return format_oid(FILE_OID, digests[model.files[0].path])
    start = len(f"{model.at}/") if model.at else 0
    rows = [
        Entry(_inside(file.path, start), FILE | (EXECUTABLE if file.executable else 0), file.size, digests[file.path])
        for file in model.files
    ]
    rows += [Entry(_inside(path, start), EMPTY_DIR, 0, Digest(manifest.NO_DIGEST)) for path in model.folders]
    return format_oid(MANIFEST, manifest.build(manifest.from_entries(sorted(rows, key=lambda row: row.path))).root)


def _inside(path: str, start: int) -> bytes:
    return path[start:].encode("utf-8", "surrogateescape")


def check_held(
    place: ServingPlace, layout: ServingLayout, held: HeldVersion, progress: Progress
) -> list[ServedFinding]:
    """Returns what is wrong with a version whose files stand in a folder of its own."""
    assert held.model is not None
    if layout is torchserve.LAYOUT:
        return _check_archive(place, held, held.model, progress)
    return list(
        check_files(held.model, files_in(place, held.folder, progress), {layout.sidecar}, held.folder, progress)
    )


def _check_archive(
    place: ServingPlace, held: HeldVersion, model: ServedModel, progress: Progress
) -> list[ServedFinding]:
    name = torchserve.LAYOUT.copy_of(model.model)
    path = f"{held.folder}/{name}"
    with place.fetched(path) as file:
        if file is None:
            return [ServedFinding(kind="missing", path=path, message=f"{quote(path)} is missing")]
        return check_archive(file, path, progress, model)[1]


def check_archive(
    file: Path, shown: str, progress: Progress, wanted: ServedModel | None = None
) -> tuple[ServedModel | None, list[ServedFinding]]:
    """Returns the model that an archive has, and what in it is not as dvlite wrote it; `wanted` is what it should be. Raises DvliteError."""
    with opened_archive(file, shown) as archive:
        try:
            model = sidecar_of(archive, shown)
            if model is None:
                return None, []
            own = {mar.MANIFEST, served.NAME}
            findings = list(check_files(model, files_of(archive, progress), own, shown, progress))
            manifest_now = archive.read(mar.MANIFEST, 1 << 20)
        except FormatError as error:
            return None, [ServedFinding(kind="unreadable", path=shown, message=error.message)]
    if wanted is not None and model != wanted:
        message = f"{quote(f'{shown}/{served.NAME}')} was changed: it names another model"
        findings.append(ServedFinding(kind="digest", path=f"{shown}/{served.NAME}", message=message))
    if manifest_now != torchserve.manifest_of(model).dump():
        message = f"{quote(f'{shown}/{mar.MANIFEST}')} was changed: it is not of this model"
        findings.append(ServedFinding(kind="changed", path=f"{shown}/{mar.MANIFEST}", message=message))
    return model, findings


def sidecar_of(archive: mar.MarReader, shown: str) -> ServedModel | None:
    """Returns what an archive says of itself; None for one that dvlite did not make. Raises FormatError."""
    data = archive.read(served.NAME, served.LIMIT_BYTES)
    return None if data is None else served.parse(data, quote(f"{shown}/{served.NAME}"))


@contextlib.contextmanager
def opened_archive(file: Path, shown: str) -> Iterator[mar.MarReader]:
    """Opens an archive of anyone's. Raises FormatError."""
    try:
        with open(file, "rb", opener=disk.open_without_waiting) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise disk.refused(shown, "it is not an ordinary file")
            yield mar.MarReader(opened, status.st_size, quote(shown))
    except OSError as error:
        raise disk.os_error(error, "read", shown) from error
