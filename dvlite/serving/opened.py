"""Opens the place that a user names: a folder, or a prefix of a bucket."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dvlite.errors import UsageError
from dvlite.repo import config_files
from dvlite.repo.repository import Repo
from dvlite.repo.sources import options_of
from dvlite.serving.bucket import BucketPlace
from dvlite.serving.folder import FolderPlace
from dvlite.serving.look import SeenVersion, look, look_at_archive, look_at_stored
from dvlite.serving.place import ServingPlace
from dvlite.show import quote
from dvlite.store.retry import RetryBudget
from dvlite.store.url import FOLDER, S3, parse_url


@contextlib.contextmanager
def opened_place(text: str, repo: Repo | None, environ: Mapping[str, str]) -> Iterator[ServingPlace]:
    """Opens a folder or a bucket; the user named it, which is consent. A bucket is reached as the remote in it is, if one is configured.

    Raises UsageError for anything else.
    """
    start = Path.cwd() if repo is None else repo.cwd
    if "://" not in text:
        yield FolderPlace(Path(os.path.abspath(start / text)))
        return
    location = parse_url(text, start)
    if location.scheme == FOLDER and location.folder is not None:
        yield FolderPlace(location.folder)
        return
    if location.scheme != S3:
        raise UsageError(
            f"cannot use {quote(location.text)}: models are exported to folders and to s3://", hint="--dest s3://..."
        )
    config = config_files.load(None, environ) if repo is None else repo.config
    options = {} if repo is None else options_of(location, repo)
    place = BucketPlace(location, options, budget=RetryBudget(config.retry_seconds), jobs=config.jobs)
    try:
        yield place
    finally:
        place.close()


@contextlib.contextmanager
def looked_at(text: str, repo: Repo | None, environ: Mapping[str, str]) -> Iterator[list[SeenVersion]]:
    """Yields the versions of models at a place: a folder, a prefix of a bucket, an archive of TorchServe."""
    start = Path.cwd() if repo is None else repo.cwd
    file = Path(os.path.abspath(start / text))
    if "://" not in text and file.is_file():
        yield [look_at_archive(file)]
        return
    if "://" not in text and not file.exists():
        raise UsageError(f"there is nothing at {quote(text)}", hint="name a folder, an archive, s3://... or http://...")
    above, _, name = text.rpartition("/")
    with opened_place(above if name.endswith(".mar") else text, repo, environ) as place:
        yield look_at_stored(place, name) if name.endswith(".mar") else look(place)
