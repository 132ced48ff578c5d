"""Sends what tasks read to the remote that other machines read it from, as a push does."""

from __future__ import annotations

from collections.abc import Iterable

from dvlite.files import lock
from dvlite.formats.lockfile import Locked
from dvlite.formats.snapshot import version_of
from dvlite.progress import Progress
from dvlite.repo.open_stores import refuse_emptied, signature
from dvlite.repo.repository import Repo
from dvlite.store import push_protocol
from dvlite.store.catalog import Catalog
from dvlite.store.push_plan import no_bases
from dvlite.store.push_protocol import PushOutcome
from dvlite.store.remote import Remote


def send(repo: Repo, name: str, remote: Remote, versions: Iterable[Locked], progress: Progress) -> PushOutcome:
    """Makes versions complete on a remote (`name` is what it is called), with a root; what is there already is not sent.

    Raises ObjectMissing for what is neither in the remote's cache nor there.
    """
    signer = signature(repo, repo.git.config_get("user.email") or "", "")
    chosen = [version_of(version.path, version.pointer()) for version in versions]
    remote.folder.mkdir(parents=True, exist_ok=True)
    with lock(remote.folder / "lock", wait=repo.waits, waiting=progress.warn):
        catalog = Catalog(remote, progress).look()
        refuse_emptied(catalog, name)
        return push_protocol.run(catalog, remote.cache, chosen, no_bases, lambda _path: (), signer, progress)
