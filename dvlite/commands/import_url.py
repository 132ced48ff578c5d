"""`dvlite import-url`: takes data from a URL, a bucket or a folder, and records what its server says to distinguish versions."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from dvlite.formats.source import ImportSource
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.sources import consent, url_address
from dvlite.share.imports import ImportResult, output_path, result_of
from dvlite.share.url_imports import take_from_url
from dvlite.store.origins import name_in


def import_url(
    repo: Repo,
    url: str,
    output: str | None = None,
    *,
    download: bool = True,
    jobs: int | None = None,
    stage: bool = True,
    progress: Progress,
) -> ImportResult:
    """Tracks what is at a URL (http, https, s3, a file or folder on disk, and what fsspec reaches) as `output`, or by its own name.

    Without `download`, a list of what is there comes in place of it: the data stays where it is. Nothing is written if any of it cannot be read.
    """
    started = time.monotonic()
    source = ImportSource(url=url_address(url, repo))
    name = name_in(source.url) or urlsplit(source.url).netloc.partition(":")[0]
    target = output_path(repo, output, name if download else f"{name}.jsonl")
    with repo.lock(progress):
        taken = take_from_url(repo, target, source, download=download, jobs=jobs, stage=stage, progress=progress)
        return result_of(repo, taken, started, consent(repo, source))
