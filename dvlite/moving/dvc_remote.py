"""A remote of DVC, read as it is: a folder or a bucket, which the user has approved. It is opened when DVC's cache lacks something."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dvlite import files
from dvlite.errors import UsageError
from dvlite.formats.dvc_files import DvcConfig
from dvlite.moving.dvc_objects import DvcPlace, Folder
from dvlite.repo.remotes import is_approved, place_of
from dvlite.repo.repository import Repo
from dvlite.repo.sources import SourceUntrusted
from dvlite.show import printable, quote
from dvlite.store.object_store import ObjectAbsent, ObjectStore
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import FOLDER, S3, Location, check_options, parse_url

_PIECE_BYTES = 8 << 20
_OPTIONS = {
    "endpointurl": "endpoint_url",
    "region": "region",
    "profile": "profile",
    "access_key_id": "access_key_id",
    "secret_access_key": "secret_access_key",
    "session_token": "session_token",
}


class DvcRemote:
    """The remote with a name, or the default one."""

    def __init__(self, repo: Repo, config: DvcConfig, folder: Path) -> None:
        self._repo, self._folder = repo, folder
        self._name = config.remote or (next(iter(config.remotes)) if len(config.remotes) == 1 else "")
        self._settings = config.remotes.get(self._name, {})
        self._place: DvcPlace | None = None

    def find(self, name: str) -> int | None:
        """Returns a descriptor of the bytes of an object; None without a remote. Raises SourceUntrusted, and UsageError for other kinds."""
        if not self._settings:
            return None
        if self._place is None:
            self._place = self._opened()
        return self._place.find(name)

    def close(self) -> None:
        """Closes connections."""
        if isinstance(self._place, Bucket):
            self._place.close()

    def _opened(self) -> DvcPlace:
        shown = f"the remote {quote(self._name)} of DVC"
        try:
            location, options = _located(self._settings, self._repo.root)
        except UsageError as error:
            raise UsageError(f"cannot read {shown}: {error.message}", hint="dvc fetch, then import again") from None
        place = place_of(location, options, self._repo.root) or (location.text if "profile" in options else None)
        if place is not None and not is_approved(self._repo.config, place, self._repo.root):
            message = f"{shown} is at {printable(place)}, which this user has not approved"
            raise SourceUntrusted(message, place=place, project=None, file=".dvc/config")
        if location.folder is not None:
            return Folder(location.folder)
        budget = RetryBudget(self._repo.config.retry_seconds)
        return Bucket(open_store(location, options, budget=budget, connections=1), self._folder)


class Bucket:
    """A remote in a bucket; what is read lies in a nameless file in `folder` meanwhile."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store, self._folder = store, folder

    def close(self) -> None:
        """Closes connections."""
        self._store.close()

    def find(self, name: str) -> int | None:
        """Returns a descriptor of a copy; one request for each 8 MiB."""
        with tempfile.TemporaryFile(dir=self._folder) as copy:
            offset = 0
            while True:
                try:
                    piece = self._store.get(name, start=offset, end=offset + _PIECE_BYTES)
                except ObjectAbsent:
                    return None
                files.write_at(copy.fileno(), piece, offset)
                offset += len(piece)
                if len(piece) < _PIECE_BYTES:
                    return os.dup(copy.fileno())


def _located(settings: Mapping[str, str], root: Path) -> tuple[Location, dict[str, str]]:
    """Returns where a remote is, and the options of ours that stand for DVC's. Raises UsageError for a kind that is not read."""
    url = settings.get("url", "")
    scheme, colon, _ = url.partition("://")
    if colon and scheme not in (S3, FOLDER):
        raise UsageError(f"{printable(scheme[:20])}:// is not read, only folders and s3://")
    location = parse_url(url, root)
    options = {_OPTIONS[key]: value for key, value in settings.items() if key in _OPTIONS and value}
    if settings.get("allow_anonymous_login") == "true":
        options = {key: value for key, value in options.items() if key in ("endpoint_url", "region")}
        options["anonymous"] = "true"
    if location.scheme == FOLDER:
        return location, {}
    check_options(location.scheme, options)
    return location, options
