"""Sends what tasks read to a remote, as a push does, and gives the tasks out there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dvlite.files import lock
from dvlite.formats import task
from dvlite.formats.snapshot import version_of
from dvlite.formats.task import Task, TaskFile
from dvlite.progress import Progress
from dvlite.repo.open_stores import refuse_emptied, signature
from dvlite.repo.repository import Repo
from dvlite.store import push_protocol, tasks
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.push_plan import no_bases
from dvlite.store.push_protocol import PushOutcome, RootAuthor
from dvlite.store.remote import Remote


def give_out(
    repo: Repo, name: str, remote: Remote, items: Sequence[Task], inputs: Sequence[TaskFile], progress: Progress
) -> PushOutcome:
    """Uploads what tasks read (`inputs`) and the remote lacks, then puts the tasks there; `name` is the remote's.

    Raises ObjectMissing, with nothing given out, for what is neither in the cache nor on the remote.
    """
    known = {item.id: task.checked(item) for item in items}
    signer = signature(repo, repo.git.config_get("user.email") or "", "")
    remote.folder.mkdir(parents=True, exist_ok=True)
    with lock(remote.folder / "lock", wait=repo.waits, waiting=progress.warn):
        catalog = Catalog(remote, progress).look()
        refuse_emptied(catalog, name)
        done = send(catalog, remote.cache, inputs, signer, progress)
        tasks.give_out(remote, known.values(), remote.clone, repo.config.project or "")
    return done


def send(
    catalog: Catalog, cache: Cache, files: Iterable[TaskFile], signer: RootAuthor, progress: Progress
) -> PushOutcome:
    """Makes files of tasks complete on a remote, with a root; what is there already is not sent."""
    versions = [version_of(file.path, file.pointer()) for file in files]
    return push_protocol.run(catalog, cache, versions, no_bases, lambda _path: (), signer, progress)
