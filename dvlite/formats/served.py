"""`dvlite.json`: what stands beside a model that a server reads, and names it (docs/reference/formats/served.md).

No time and no machine are in it: the same model gives the same bytes. Whoever can change the model can change this file too: `verify`
compares its digest with what a clone knows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dvlite.errors import FormatError
from dvlite.formats import strict_json
from dvlite.formats.strict_fields import Checks, an_object, each, filled, matching, number, or_none, table, text, truth
from dvlite.paths import check_paths

NAME = "dvlite.json"
VERSION = 1
LIMIT_BYTES = 32 << 20
MOST_FILES = 100_000
_OID = re.compile(r"(?:blake3|manifest):[0-9a-f]{64}")
_RUN = re.compile(r"run:[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST = 4096
_MOST_INPUTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFile:
    """A file of the model, by its path in the folder (or archive) of the version."""

    path: str
    size: int  # bytes
    sha256: str
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedInput:
    """What the run that made the model read."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One version of a model as a server has it. `at`: where in the folder of the version the model lies; empty: it is that folder.

    `digest` is the version's id in dvlite: of a directory, that of the listing of `files` below `at`, and of the empty `folders`.
    """

    model: str
    version: int
    digest: str
    files: tuple[ServedFile, ...]
    at: str = ""
    folders: tuple[str, ...] = ()
    extra: tuple[ServedFile, ...] = ()  # for the server: a handler, a copy of its config
    handler: str = ""  # of TorchServe, by its name there
    path: str = ""  # in the repository
    registered: str = ""  # the name in the registry of the repository; `version` is the version there
    project: str = ""
    run: str | None = None
    commit: str | None = None
    inputs: tuple[ServedInput, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what `sha256sum` prints for the files, sorted by their paths: to be checked without dvlite."""
        rows = sorted((file.path, file.sha256) for file in self.files)
        text = "".join(f"{sha256}  {path}\n" for path, sha256 in rows)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


_FILE = table(
    ServedFile,
    path=text(_LONGEST),
    size=number(0, 1 << 62, int),
    sha256=matching(_SHA256, "64 hex digits"),
    executable=truth,
)
_INPUT = table(ServedInput, path=text(_LONGEST), digest=matching(_OID, "an object id"))
_MODEL: Checks = table(
    ServedModel,
    model=text(255),
    version=number(1, (1 << 63) - 1, int),
    digest=matching(_OID, "an object id"),
    files=each(an_object(ServedFile, _FILE)),
    at=text(_LONGEST),
    folders=each(text(_LONGEST)),
    extra=each(an_object(ServedFile, _FILE)),
    handler=text(255),
    path=text(_LONGEST),
    registered=text(255),
    project=text(255),
    run=or_none(matching(_RUN, "a run")),
    commit=or_none(matching(_COMMIT, "a commit")),
    inputs=each(an_object(ServedInput, _INPUT)),
)


def dump(model: ServedModel) -> bytes:
    """Returns the one encoding, for people to read as well: indented, keys in the order of the fields, what is empty left out."""
    body: dict[str, Any] = {"dvlite": VERSION, "model": model.model, "version": model.version, "digest": model.digest}
    for key in ("at", "path", "registered", "project", "run", "commit", "handler"):
        if getattr(model, key):
            body[key] = getattr(model, key)
    if model.inputs:
        body["inputs"] = [{"path": item.path, "digest": item.digest} for item in model.inputs]
    for key in ("files", "extra"):
        if getattr(model, key):
            body[key] = [_file_body(file) for file in getattr(model, key)]
    if model.folders:
        body["folders"] = list(model.folders)
    body["checksum"] = _checksum(body)
    return json.dumps(body, indent=1, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(strict_json.dump(body)).hexdigest()


def _file_body(file: ServedFile) -> dict[str, Any]:
    body: dict[str, Any] = {"path": file.path, "size": file.size, "sha256": file.sha256}
    return {**body, "executable": True} if file.executable else body


def parse(data: bytes, where: str) -> ServedModel:
    """Reads the file of a stranger. Keys that are not known pass; raises FormatError for anything that cannot be, a path that leaves the folder too."""
    body = strict_json.parse(data, where, limit_bytes=LIMIT_BYTES)
    strict_json.require_version(body.get("dvlite"), VERSION, f"cannot read {where}")
    strict_json.require_whole_characters(body, where)
    if body.pop("checksum", None) != _checksum(body):
        raise FormatError(f"cannot read {where}: it was changed, its checksum is wrong")
    return of_mapping(body, where)


def of_mapping(body: Mapping[str, Any], where: str) -> ServedModel:
    """Returns the model of a mapping that was read as JSON; raises FormatError."""
    try:
        model = ServedModel(**filled(body, _MODEL))
    except ValueError as error:
        raise FormatError(f"cannot read {where}: {error}") from None
    if not model.files or len(model.files) + len(model.extra) > MOST_FILES or len(model.inputs) > _MOST_INPUTS:
        raise FormatError(f"cannot read {where}: it names no file, or too many")
    paths = [file.path for file in model.files]
    every = [*paths, *model.folders, *(file.path for file in model.extra)]
    if len(set(every)) != len(every):
        raise FormatError(f"cannot read {where}: it names a file twice")
    within = f"{model.at}/" if model.at else ""
    if model.digest.startswith("blake3:"):
        outside = [path for path in paths if path != model.at]
    else:
        outside = [path for path in (*paths, *model.folders) if not path.startswith(within)]
    if outside:
        raise FormatError(f"cannot read {where}: it names a file that is not of the model")
    try:
        check_paths([path.encode("utf-8", "surrogateescape") for path in every])
    except FormatError as error:
        raise FormatError(f"cannot read {where}: {error.message}") from None
    return model
