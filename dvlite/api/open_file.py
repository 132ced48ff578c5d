"""`open`: a file of any version, to read from it."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, Literal, TextIO, overload

from dvlite.api.place import Place, hinted
from dvlite.errors import UsageError
from dvlite.show import quote

Name = str | os.PathLike[str]


@overload
def open(  # noqa: A001  # dvlite.open
    path: Name,
    mode: Literal["rb"] = "rb",
    *,
    repo: Name | None = None,
    rev: str | None = None,
    remote: str | None = None,
) -> BinaryIO: ...
@overload
def open(  # noqa: A001  # dvlite.open
    path: Name,
    mode: Literal["r", "rt"],
    *,
    repo: Name | None = None,
    rev: str | None = None,
    remote: str | None = None,
    encoding: str | None = None,
) -> TextIO: ...
def open(  # noqa: A001  # dvlite.open
    path: Name,
    mode: str = "rb",
    *,
    repo: Name | None = None,
    rev: str | None = None,
    remote: str | None = None,
    encoding: str | None = None,
) -> BinaryIO | TextIO:
    """Opens a file of any version to read from it: only the parts that are read are fetched, and each is verified.

    `repo` is a folder in a repository (the current one if it is left out), or a URL; nothing where `remote` is the place of data: then
    `rev` is a snapshot there. The path starts at that folder; it may be an oid. Text is UTF-8 unless `encoding` says otherwise. Raises
    FileNotFoundError for what the version does not have.
    """
    at = Place(None if repo is None else os.fspath(repo), rev, remote, None, wait=True)
    return opened(at, os.fspath(path), mode, rev, encoding)


def opened(at: Place, path: str, mode: str, rev: str | None, encoding: str | None) -> BinaryIO | TextIO:
    """Opens a file as `open` and `Repo.open` do."""
    if mode not in ("rb", "r", "rt"):
        hint = 'modes are "rb" and "r"; to change data, write the file in the work tree, and dvlite add it'
        raise UsageError(f"cannot open {quote(path)} as {mode!r}: versions are only read", hint=hint)
    with hinted():
        if rev is None and (model := at.model(path)) is not None:
            rev, inner = model
            model_file: BinaryIO = at.file_system(rev).open(inner, "rb")
            return model_file if mode == "rb" else io.TextIOWrapper(model_file, encoding or "utf-8")
        file: BinaryIO = at.file_system(rev).open(at.inside(path), "rb")
    return file if mode == "rb" else io.TextIOWrapper(file, encoding or "utf-8")
