"""What a remote lacks of the pointers on disk, by one fresh look."""

from __future__ import annotations

from collections.abc import Sequence

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, RemoteError
from dvlite.formats.snapshot import version_of
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.push_plan import no_bases, plan
from dvlite.store.snapshots import claimed_together
from dvlite.store.upkeep import advice
from dvlite.workspace.path_status import AbsentPath


def missing_on_remote(
    repo: Repo, cache: Cache, chosen: Sequence[Tracked], remote: str | None, progress: Progress
) -> tuple[str, tuple[AbsentPath, ...]]:
    """Returns a remote's name and the paths it lacks, those lost everywhere included, those never pushed left out; one fresh look at each.

    Of several default remotes, it is the first that answers and has all, else the first that answers; the others are warned of.
    """
    names = repo.usable_remotes(remote)
    first: tuple[str, tuple[AbsentPath, ...]] | None = None
    problems: list[DvliteError] = []
    for wanted in names:
        try:
            found = _missing_on(repo, cache, chosen, wanted, progress)
        except (RemoteError, ObjectCorrupt, ObjectMissing) as error:
            if len(names) == 1:
                raise
            problems.append(error)
            progress.warn(f"remote {wanted} was not used: {error.message}")
            continue
        first = first or found
        if not found[1]:
            return found
    if first is None:
        raise problems[0]
    return first


def _missing_on(
    repo: Repo, cache: Cache, chosen: Sequence[Tracked], remote: str | None, progress: Progress
) -> tuple[str, tuple[AbsentPath, ...]]:
    name, opened = open_remote(repo, cache, remote, None)
    with opened:
        catalog = Catalog(opened, progress, to_read=True).look()
        for sentence in advice(catalog, name):
            progress.warn(sentence)
        absent = []
        pushed = [(item, version_of(item.path, item.pointer)) for item in chosen if item.push]
        claimed = claimed_together(catalog, [version for _, version in pushed])
        together = plan(catalog, cache, [version for _, version in pushed], no_bases)
        unsure = {version.id for version in together.incomplete}
        for item, version in pushed:
            if version.id not in unsure and version.id in claimed:
                continue
            wanted = item.pointer
            todo = plan(catalog, cache, [version], no_bases)
            lost = [path for names in todo.missing.values() for path in names]
            files, size_bytes = todo.files + len(lost), todo.size_bytes + todo.missing_bytes
            if wanted.kind == "directory" and item.path in lost:  # its tree is: nothing says what of it is there
                files, size_bytes = wanted.files, wanted.size_bytes
            if todo.uploads or lost or todo.rescue or version.id not in claimed:
                absent.append(
                    AbsentPath(
                        path=item.path,
                        kind="directory" if wanted.kind == "directory" else "file",
                        files=files,
                        size_bytes=size_bytes,
                        whole=files >= wanted.files,
                        example=lost[0] if lost else None,
                        stage=item.stage or None,
                    )
                )
    return name, tuple(absent)
