"""The model registry of a repository: which git remote gives out its numbers, and a version that this clone may not know yet."""

from __future__ import annotations

import contextlib

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import model_tag
from dvlite.formats.model_tag import PREFIX
from dvlite.registry import models
from dvlite.registry.claim import ask
from dvlite.registry.models import ModelVersion
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import quote


def registry_remote(repo: Repo) -> str | None:
    """Returns the git remote that gives out numbers: the configured one, else `origin`, else the only one; None without any.

    Raises DvliteError for several, or one that is not there.
    """
    names, configured = repo.git.remotes(), repo.config.get("models.git_remote")
    if isinstance(configured, str):
        if configured not in names:
            raise DvliteError(
                f"there is no git remote {quote(configured)}, which models.git_remote names",
                hint="git remote -v; dvlite config models.git_remote NAME",
            )
        return configured
    if "origin" in names or len(names) <= 1:
        return "origin" if "origin" in names else next(iter(names), None)
    raise DvliteError(
        f"which of {len(names)} git remotes keeps the registry is not known: {', '.join(map(quote, names[:4]))}",
        hint="dvlite config models.git_remote NAME",
    )


def find_model(repo: Repo, text: str) -> ModelVersion:
    """Returns the version that `model:birds@prod` means; one that this clone does not know is looked for on the git remote.

    Raises UsageError for what is not registered, DvliteError for a version that is in doubt.
    """
    model_tag.parse_reference(text)
    try:
        return models.version_named(repo.git, text)
    except DvliteError:  # or what this clone has does not fit, as where only some tags were fetched
        with contextlib.suppress(DvliteError):
            remote = registry_remote(repo)
            if remote is not None:
                ask(repo.git, remote)
        return models.version_named(repo.git, text)


def model_in(repo: Repo, text: str) -> tuple[ModelVersion, str] | None:
    """Splits `model:birds@7:path`, and returns the version and the path; None for what is no model but `REV:PATH`, of a branch called `model`."""
    if not models.is_reference(text):
        return None
    reference, _, path = text.removeprefix(PREFIX).partition(":")
    try:
        return find_model(repo, f"{PREFIX}{reference}"), path
    except UsageError as error:
        try:
            repo.git.resolve("model")
        except UsageError:
            raise error from None
        return None


def tracked_of(version: ModelVersion) -> Tracked:
    """Returns a version as a tracked path."""
    return Tracked(version.path, version.pointer, commit=version.commit)
