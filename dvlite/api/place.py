"""Where a `Repo` of the API is (a folder, a far repository, a remote alone), and how verbs run there: opened, with progress, errors raised.

Each call opens the repository again, so that it sees what changed on disk, and two threads share nothing. Here the environment of the
process is read, and handed down. Knows no verb.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from dvlite.api.progress import ProgressCallback, reporting
from dvlite.errors import DvliteError, NotARepository, UsageError
from dvlite.files import os_error
from dvlite.git.discover import is_bare
from dvlite.git.program import without_credentials
from dvlite.progress import Progress
from dvlite.repo import repository
from dvlite.results import Result
from dvlite.show import Show, quote
from dvlite.store.url import is_place

if TYPE_CHECKING:
    from dvlite.reading.filesystem import DvliteFileSystem

R = TypeVar("R", bound=Result)
ReportsTo = ProgressCallback | Literal["bar"] | None
RemoteChoice = str | bool  # its name; True: the default one, False: none
_HERE = "."
_OIDS = ("blake3:", "manifest:")


class Place:
    """What a `Repo` was given. `where` is an absolute path, a URL, or None for a remote alone."""

    def __init__(
        self, where: str | None, rev: str | None, remote: str | None, progress: ReportsTo, *, wait: bool
    ) -> None:
        self.rev, self.remote, self.progress, self.wait = rev, remote, progress, wait
        alone = where is None and remote is not None and is_place(remote)
        self.where: str | None = None
        self.is_near = False
        self._far: repository.Repo | None = None
        self._file_systems: dict[str | None, DvliteFileSystem] = {}
        if alone:
            return
        where = os.path.expanduser(where or _HERE)
        is_folder = os.path.isdir(where)
        self.is_near = is_folder and not is_bare(Path(where))
        if not is_folder and not _is_address(where):
            raise UsageError(f"cannot find {quote(where)}", hint="give a folder in a repository, or a git URL")
        self.where = os.path.abspath(where) if is_folder else where
        if self.is_near:
            with raised():
                _open_to_read(self.where)

    @property
    def shown(self) -> str:
        """What people see of it: an address without the password that it may carry."""
        return without_credentials(str(self.where or self.remote))

    @property
    def revision(self) -> str | None:
        """The revision that is read where none is given: of a far repository, the default branch."""
        return self.rev if self.is_near else self.rev or "HEAD"

    def sides(self, revisions: Sequence[str]) -> tuple[str, ...]:
        """Returns the revisions to compare; that of the Repo stands where the workspace would."""
        if self.revision is None or len(revisions) > 1 or any(".." in word for word in revisions):
            return tuple(revisions)
        return (*(revisions or ("HEAD",)), self.revision)

    def asked(self, remote: RemoteChoice) -> tuple[str | None, bool]:
        """Returns the remote to check, None for the default one, and whether one is to be checked."""
        return remote if isinstance(remote, str) else self.remote, remote is not False

    def write(self, work: Callable[[repository.Repo, Progress], R]) -> R:
        """Runs a verb in the repository's folder."""
        if not self.is_near:
            raise UsageError(
                f"this needs a clone on disk, and {quote(self.shown)} is none",
                hint="dvlite clone URL; then Repo(FOLDER)",
            )
        return self.read(work)

    def read(self, work: Callable[[repository.Repo, Progress], R]) -> R:
        """Runs a verb in the repository's folder, or in a clone of a far one that lives as long as this object."""
        return self.run(lambda progress: work(self._clone(progress), progress))

    def anywhere(self, work: Callable[..., R]) -> R:
        """Runs a verb that opens what it reads itself."""
        return self.run(lambda progress: work(environ=os.environ, progress=progress))

    def of_runs(self, work: Callable[[repository.Repo, Progress], R]) -> R:
        """Runs a verb about runs; those of a far repository are fetched first."""

        def whole(repo: repository.Repo, progress: Progress) -> R:
            if not self.is_near and repo.config.project is not None and repo.config.remote_names:
                from dvlite.repo.open_stores import open_remote
                from dvlite.runs.records import open_records
                from dvlite.runs.sync import receive
                from dvlite.share.any_repository import refuse_relative_folder

                refuse_relative_folder(repo.config, repo.root, self.remote)
                _, remote = open_remote(repo, repository.open_cache(repo), self.remote, None)
                with remote:
                    receive(remote, open_records(repo, progress), repo.config.project)
            return work(repo, progress)

        return self.read(whole)

    def of_lineage(
        self, remote: RemoteChoice | None, work: Callable[[repository.Repo | None, str | None, Progress], R]
    ) -> R:
        """Runs a verb about lineage: in the records of the clone, or of a remote ('': the default one)."""
        if self.where is None:
            return self.run(lambda progress: work(None, self.remote, progress))
        far = not self.is_near or remote is True
        place = remote if isinstance(remote, str) else self.remote or ("" if far else None)
        return self.read(lambda repo, progress: work(repo, place, progress))

    def file_system(self, rev: str | None) -> DvliteFileSystem:
        """Returns the file system of a version; of a far repository, the same one each time."""
        from dvlite.reading import filesystem  # loads fsspec

        if self.is_near or rev not in self._file_systems:
            opener: Any = filesystem.DvliteFileSystem  # its metaclass takes what names a version
            self._file_systems[rev] = opener(self.where, rev or self.rev, self.remote)
        return self._file_systems[rev]

    def inside(self, path: str) -> str:
        """Returns a path that starts at the folder, as one from the root; an oid as it is."""
        if not self.is_near or path.startswith(_OIDS):
            return path
        return _open_to_read(str(self.where)).relative(path)

    def model(self, text: str) -> tuple[str, str] | None:
        """Splits `model:birds@7:path` into what is its revision, and the path of the data there; None for what is no model."""
        if not self.is_near or not text.startswith("model:"):
            return None
        from dvlite.repo.registered import model_in  # opens no repository that `open` does not need

        found = model_in(_open_to_read(str(self.where)), text)
        return None if found is None else (found[0].reference, found[1] or found[0].path)

    def run(self, work: Callable[[Progress], R]) -> R:
        """Runs a verb, and raises the error that its result ends with."""
        with raised(), reporting(self.progress) as progress:
            result = work(progress)
            failure: DvliteError | None = result.failure(Show()) if hasattr(result, "failure") else None
            if failure is not None:
                failure.result = result
                for sentence in getattr(result, "warnings", ()):  # its hint may be to see them
                    failure.add_note(f"warning: {sentence}")
                raise failure
        return result

    def _clone(self, progress: Progress) -> repository.Repo:
        if self.where is None:
            raise UsageError("this needs a repository, and only the place of its data is named", hint="Repo(GIT_URL)")
        if self.is_near:
            return repository.open_repo(Path(self.where), os.environ, wait=self.wait)
        if self._far is None:  # two threads may both clone, and one clone is kept
            from dvlite.share.any_repository import open_history

            folder = tempfile.mkdtemp(prefix="dvlite-")
            progress.start(f"reading {self.shown}")
            weakref.finalize(self, _remove, folder, os.getpid())
            self._far = open_history(self.where, self.rev, Path(folder) / "clone", os.environ)
            progress.finish()
        return self._far


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Makes every error one of dvlite's, and lets a traceback show its hint."""
    with hinted():
        try:
            yield
        except DvliteError:
            raise
        except OSError as error:
            if error.filename is None:
                raise DvliteError(f"cannot continue: {error.strerror or error}") from error
            raise os_error(error, "use", os.fsdecode(error.filename)) from error


@contextlib.contextmanager
def hinted() -> Iterator[None]:
    """Lets the traceback of an error show its hint."""
    try:
        yield
    except DvliteError as error:
        for line in (error.hint or "").splitlines():
            error.add_note(f"hint: {line}")
        raise


def _open_to_read(folder: str) -> repository.Repo:
    try:
        return repository.open_repo(Path(folder), os.environ)
    except NotARepository:  # of DVC, perhaps
        from dvlite.share.any_repository import open_to_read

        return open_to_read(Path(folder), os.environ)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # not in a fork
        shutil.rmtree(folder, ignore_errors=True)


def _is_address(text: str) -> bool:
    from dvlite.share.any_repository import is_address

    return is_address(text)
