"""Opens what lineage commands read: the records of this clone, or of a remote, with or without a clone.

Without a clone, records and listings are kept in the user's own cache, so that the next command costs one LIST. A URL that the user
typed is consent to connect; a configured remote follows the rules of trust.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dvlite.errors import DvliteError, FormatError, NotARepository, RemoteError, UsageError
from dvlite.files import os_error
from dvlite.formats.config import Config
from dvlite.git.program import Git
from dvlite.oid import Digest, digest_bytes
from dvlite.progress import Progress
from dvlite.repo import config_files, remotes
from dvlite.repo.open_stores import open_remote, plain_cache
from dvlite.repo.repository import Repo, open_cache
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.records import Records, open_records
from dvlite.runs.sync import receive
from dvlite.show import quote
from dvlite.store import fetch
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.remote import Remote, open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import Location, parse_url

_RECORDS = "runs"  # in the user's cache: a folder of records for each remote


class LineageContext:
    """What one command reads: `repo` is the clone, if any, `remote` where records and listings come from, if given."""

    def __init__(
        self, repo: Repo | None, index: RunIndex, cache: Cache, remote: Remote | None, label: str, progress: Progress
    ) -> None:
        self.repo, self.index, self.cache, self.remote = repo, index, cache, remote
        self.label, self.progress = label, progress
        self._catalog: Catalog | None = None
        self._default_catalog: Catalog | None = None
        self._tried_default = False
        self.unreachable = ""  # why listings could not be fetched
        self._open_remotes = contextlib.ExitStack()

    def close(self) -> None:
        """Closes the default remote, if it was opened."""
        self._open_remotes.close()

    @property
    def git(self) -> Git | None:
        return None if self.repo is None else self.repo.git

    def relative(self, path: str) -> str:
        """Returns a path given by the user, relative to the root of the clone; without one, it is that already."""
        if self.repo is not None:
            return self.repo.relative(path)
        return "" if path == "." else posixpath.normpath(path)

    @property
    def catalog(self) -> Catalog | None:
        """What the given remote holds, listed once, when it is needed."""
        if self._catalog is None and self.remote is not None:
            self._catalog = Catalog(self.remote, self.progress, to_read=True).look()
        return self._catalog

    def searched(self) -> str:
        """Returns how many runs a command searched, for its errors."""
        runs = self.index.count_runs()
        return f"{runs:,} {'run' if runs == 1 else 'runs'} searched"

    def fetch_listings(self, listings: Sequence[Digest]) -> None:
        """Fetches listings from the given remote, else from the clone's default one if it is trusted; unavailable ones are skipped."""
        catalog = self.catalog if self.remote is not None else self._default()
        if catalog is None:
            return
        self.cache.create()
        self.progress.start(f"reading lists of files on {catalog.remote.shown}")
        try:
            for name in listings:
                with contextlib.suppress(FormatError):  # a stranger's, and useless
                    fetch.fetch_nodes(catalog, self.cache, [name])
        except RemoteError as error:
            if self.remote is not None:
                raise
            self.unreachable = error.message
        finally:
            self.progress.finish()

    def _default(self) -> Catalog | None:
        """Returns the catalog of the clone's default remote; None if there is none that is trusted and answers."""
        if not self._tried_default and self.repo is not None:
            self._tried_default = True
            try:
                _, remote = open_remote(self.repo, self.cache, None, None)
                self.progress.start(f"reading lists of files on {remote.shown}")
                self._default_catalog = Catalog(
                    self._open_remotes.enter_context(remote), self.progress, to_read=True
                ).look()
            except DvliteError as error:
                self.unreachable = error.message
            self.progress.finish()
        return self._default_catalog


@contextlib.contextmanager
def open_context(
    repo: Repo | None, remote: str | None, environ: Mapping[str, str], progress: Progress
) -> Iterator[LineageContext]:
    """Opens the records of the clone, or of a remote given by name or URL ('': the default one); a URL works without a clone.

    Raises NotARepository without either, UsageError for a remote that does not exist, Untrusted for one that was not approved.
    """
    if repo is None and not remote:
        raise NotARepository(
            "this is not a clone that uses dvlite, and no remote is given",
            hint="ask a remote: --remote s3://BUCKET/PREFIX   or   --remote /a/folder",
        )
    if repo is not None and remote is None:
        records = open_records(repo, progress)
        with open_index(records) as index:
            context = LineageContext(repo, index, open_cache(repo), None, "this clone", progress)
            with contextlib.closing(context):
                yield context
        return
    place = remote or ""
    name = _configured(repo, place) if repo is not None and place else None
    if repo is not None and (name is not None or not place):
        _, connection = open_remote(repo, open_cache(repo), name, None)
        with connection:
            records = open_records(repo, progress)
            yield from _received(repo, connection, records, repo.config.project, progress)
        return
    if not _is_place(place):
        raise UsageError(
            f"there is no folder {quote(place)}, and names of remotes mean something in a clone only",
            hint="give its URL: --remote s3://BUCKET/PREFIX   or   --remote /a/folder",
        )
    location = parse_url(place, Path.cwd())
    with _users_cache(environ) as cache, _connected(location, cache, environ) as connection:
        records = Records(cache.folder / _RECORDS / connection.folder.name, progress)
        yield from _received(None, connection, records, None, progress)


def _received(
    repo: Repo | None, connection: Remote, records: Records, project: str | None, progress: Progress
) -> Iterator[LineageContext]:
    label = connection.store.label
    progress.start(f"reading the runs on {label}")
    receive(connection, records, project)
    progress.finish()
    with open_index(records) as index:
        context = LineageContext(repo, index, connection.cache, connection, label, progress)
        if not context.index.count_runs() and context.catalog is not None and context.catalog.config is None:
            raise UsageError(
                f"there is no dvlite remote at {label}", hint="see which one the data is on: dvlite remote list"
            )
        yield context


def _configured(repo: Repo, text: str) -> str | None:
    """Returns the name of the configured remote with this name or URL; None for a place that is not configured."""
    names = repo.config.remote_names
    if text in names:
        return text
    if not _is_place(text):
        remotes.configured(repo.config, text)  # raises, listing the configured names
    location = parse_url(text, repo.cwd)
    return _with_location(repo.config, location, repo.root)


def _is_place(text: str) -> bool:
    return "/" in text or ":" in text or os.path.isdir(text)


def _with_location(config: Config, location: Location, root: Path) -> str | None:
    for name in config.remote_names:
        with contextlib.suppress(DvliteError):
            if remotes.located(remotes.configured(config, name), root)[0].text == location.text:
                return name
    return None


@contextlib.contextmanager
def open_place(url: str, environ: Mapping[str, str], *, cache: Path | None = None) -> Iterator[Remote]:
    """Opens a remote by its URL or folder alone, with the user's cache or one in a folder; the user typed it, which is consent. Needs no clone."""
    location = parse_url(url, Path.cwd())
    opening = _users_cache(environ) if cache is None else contextlib.nullcontext(plain_cache(cache))
    with opening as opened, _connected(location, opened, environ) as connection:
        yield connection


@contextlib.contextmanager
def _connected(location: Location, cache: Cache, environ: Mapping[str, str]) -> Iterator[Remote]:
    """Opens a place; the options are those that the user's own config has for it."""
    config = config_files.load(None, environ)
    name = _with_location(config, location, Path("/"))
    options = {} if name is None else remotes.located(remotes.configured(config, name), Path("/"))[1]
    key = digest_bytes(f"{location.text}\n{options.get('endpoint_url', '')}".encode()).hex()[:32]
    store = open_store(location, options, budget=RetryBudget(config.retry_seconds), connections=config.jobs)
    with Remote(store, cache, key, jobs=config.jobs) as connection:
        yield connection


@contextlib.contextmanager
def _users_cache(environ: Mapping[str, str]) -> Iterator[Cache]:
    """Yields the user's cache for what belongs to no clone, in this platform's place; a temporary one where there is none."""
    folder = config_files.own_cache_folder(environ)
    if folder is not None:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                yield plain_cache(folder)
                return
    try:
        temporary = tempfile.TemporaryDirectory(prefix="dvlite-")
    except OSError as error:
        raise os_error(error, "make a folder in", tempfile.gettempdir()) from error
    with temporary as name:
        yield plain_cache(Path(name))
