"""`dvlite import`: takes data of another repository, and records where it is from."""

from __future__ import annotations

import posixpath
import time

from dvlite.formats.source import ImportSource
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.sources import consent, repository_address
from dvlite.share.imports import ImportResult, open_source, output_path, result_of, take_from_repository


def import_(
    repo: Repo,
    address: str,
    path: str,
    *,
    revision: str | None = None,
    output: str | None = None,
    jobs: int | None = None,
    stage: bool = True,
    progress: Progress,
) -> ImportResult:
    """Tracks `[REV:]path` of another repository here, as `output`: a tracked path there, a part of one, files of git, a folder above them.

    Its bytes come into the cache; the pointer names repository, path, revision and commit. Nothing is written if any of it cannot be read.
    """
    started = time.monotonic()
    first, colon, inner = path.partition(":")
    if colon and revision is None:
        revision, path = first, inner
    normal = posixpath.normpath(path or ".").removeprefix("/")
    normal = "" if normal == "." else normal
    source = ImportSource(repository=repository_address(address, repo), path=normal, revision=revision or "")
    target = output_path(repo, output, posixpath.basename(normal))
    with repo.lock(progress), open_source(repo, [source], progress) as there:
        taken = take_from_repository(repo, target, source, there, jobs=jobs, stage=stage, progress=progress)
    return result_of(repo, taken, started, consent(repo, source))
