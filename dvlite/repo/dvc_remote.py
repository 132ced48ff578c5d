"""A remote of DVC, read as it is: a folder or a bucket, which the user has approved. It is opened when what is asked before it lacks something."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from dvlite import files
from dvlite.errors import UsageError
from dvlite.formats.config import Config
from dvlite.formats.dvc_files import DvcConfig
from dvlite.formats.reference import Item
from dvlite.progress import NullProgress
from dvlite.repo.remotes import is_approved, normal_place, place_of
from dvlite.repo.sources import SourceUntrusted
from dvlite.show import printable, quote
from dvlite.store.dvc_objects import Folder
from dvlite.store.object_store import ObjectAbsent, ObjectStore
from dvlite.store.origins import Download, NothingThere, Origin, download
from dvlite.store.remote import open_origin, open_store
from dvlite.store.retry import Retries, RetryBudget
from dvlite.store.url import FOLDER, S3, Location, check_options, parse_url

_PIECE_BYTES = 8 << 20
_WEB = ("http://", "https://")
_NOWHERE = Path(os.devnull) / "clone"  # in place of a root that is not on this disk: nothing is inside of it
_OPTIONS = {
    "endpointurl": "endpoint_url",
    "region": "region",
    "profile": "profile",
    "access_key_id": "access_key_id",
    "secret_access_key": "secret_access_key",
    "session_token": "session_token",
}


class DvcRemote:
    """A remote of DVC by its name; `root` is None for a repository that is not on this disk."""

    def __init__(self, config: Config, root: Path | None, theirs: DvcConfig, folder: Path, name: str) -> None:
        self._config, self._root, self._folder, self._name = config, root, folder, name
        self._settings = theirs.remotes[name]
        self._place: Folder | Bucket | Web | None = None
        self._expected: deque[str] = deque()
        self._flying: dict[str, Future[int | None]] = {}
        self._threads = ThreadPoolExecutor(config.jobs, thread_name_prefix="dvlite-dvc")

    def find(self, name: str) -> int | None:
        """Returns a descriptor of the bytes of an object. Raises SourceUntrusted, and UsageError for other kinds of remotes."""
        if self._place is None:
            self._place = self._opened()
        if isinstance(self._place, Folder):
            return self._place.find(name)
        while self._expected and len(self._flying) < self._config.jobs:
            following = self._expected.popleft()
            self._flying[following] = self._threads.submit(self._place.find, following)
        return self._flying.pop(name).result() if name in self._flying else self._place.find(name)

    def expect(self, names: Sequence[str]) -> Sequence[str]:
        """Has these sent several at a time, once the first is asked for; returns none of them."""
        self._expected = deque(names)
        return ()

    def close(self) -> None:
        """Closes connections, and drops what nothing asked for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if isinstance(self._place, Bucket | Web):
            self._place.close()
        self._threads.shutdown()
        for future in self._flying.values():
            descriptor = None if future.cancelled() or future.exception() is not None else future.result()
            if descriptor is not None:
                os.close(descriptor)

    def _opened(self) -> Folder | Bucket | Web:
        shown = f"the remote {quote(self._name)} of DVC"
        url = self._settings.get("url", "")
        try:
            if url.startswith(_WEB):
                self._require_approval(_host(url), shown)
                return Web(url, self._folder, self._config.retry_seconds)
            location, options = self._located()
        except UsageError as error:
            hint = error.hint or "dvc fetch, in a clone, where dvlite finds DVC's cache"
            raise UsageError(f"cannot read {shown}: {error.message}", hint=hint) from None
        place = place_of(location, options, self._root or _NOWHERE) or (location.text if "profile" in options else None)
        if place is not None:
            self._require_approval(place, shown)
        if location.folder is not None:
            return Folder(location.folder)
        budget = RetryBudget(self._config.retry_seconds)
        return Bucket(open_store(location, options, budget=budget, connections=self._config.jobs), self._folder)

    def _require_approval(self, place: str, shown: str) -> None:
        if not is_approved(self._config, place, self._root or _NOWHERE):
            message = f"{shown} is at {printable(place)}, which this user has not approved"
            raise SourceUntrusted(message, place=place, project=None, file=".dvc/config")

    def _located(self) -> tuple[Location, dict[str, str]]:
        """Returns where the remote is, and the options of ours that stand for DVC's. Raises UsageError for a kind that is not read."""
        url = self._settings.get("url", "")
        scheme, colon, _ = url.partition("://")
        if colon and scheme not in (S3, FOLDER):
            raise UsageError(f"{printable(scheme[:20])}:// is not read, only folders, s3:// and https://")
        if self._root is None and not colon and not url.startswith("/"):
            raise UsageError(
                f"{quote(url)} is relative to a clone",
                hint="clone the repository beside that folder, and name the clone",
            )
        location = parse_url(url, self._root or _NOWHERE)
        if location.scheme == FOLDER:
            return location, {}
        options = {_OPTIONS[key]: value for key, value in self._settings.items() if key in _OPTIONS and value}
        if self._settings.get("allow_anonymous_login") == "true":
            options = {key: value for key, value in options.items() if key in ("endpoint_url", "region")}
            options["anonymous"] = "true"
        check_options(location.scheme, options)
        return location, options


def _host(url: str) -> str:
    """Returns the host of a plain http(s) address, as people approve it. Raises UsageError for any other."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.hostname and not (parts.username or parts.password or parts.query or parts.fragment):
            return normal_place(f"{parts.scheme}://{parts.netloc}", _NOWHERE)
    raise UsageError("its url is no plain address, or has credentials in it")


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


class Web:
    """A remote at an http or https URL; what is read lies in a nameless file in `folder` meanwhile. No credentials are sent."""

    def __init__(self, url: str, folder: Path, retry_seconds: float) -> None:
        self._url, self._folder = url.rstrip("/"), folder
        self._retries = Retries(RetryBudget(retry_seconds))
        self._open: set[Origin] = set()

    def close(self) -> None:
        """Ends what is on its way."""
        self._retries.close()
        for origin in list(self._open):
            origin.close()

    def find(self, name: str) -> int | None:
        """Returns a descriptor of a copy; one request."""
        temporary = self._folder / files.temporary_name()
        with contextlib.closing(open_origin(f"{self._url}/{name}", None, {}, 1)) as origin:
            self._open.add(origin)
            into = Download(None, temporary, NullProgress(), self._retries)
            try:
                download(origin, Item(""), into, self._retries)
                return os.open(temporary, files.READ)
            except NothingThere:
                return None
            finally:
                self._open.discard(origin)
                into.close()
                temporary.unlink(missing_ok=True)
