"""`clone`: git clone, and what a clone needs before its data can be pulled. The pull itself is `pull`, put after it by the command line."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.git.program import clone_into, without_credentials
from dvlite.hooks.scripts import install_if_possible, installed_hooks
from dvlite.progress import Progress
from dvlite.repo.repository import open_repo
from dvlite.results import Result
from dvlite.share.fetch_plan import PullResult
from dvlite.show import Show, quote


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CloneResult(Result):
    """Where a repository was cloned to; the pull that follows has its own result in `pull`."""

    schema: ClassVar[str] = "dvlite.clone/1"
    url: str
    directory: str  # absolute
    hooks: tuple[str, ...] = ()
    has_dvlite: bool = True  # False: the repository does not use dvlite, nothing to pull
    pull: PullResult | None = None
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what the pull left undone."""
        return None if self.pull is None else self.pull.failure(replace(show, folder=None))


def clone(
    url: str,
    directory: Path | None,
    environ: Mapping[str, str],
    *,
    hooks: bool = True,
    git_flags: Sequence[str] = (),
    progress: Progress,
) -> CloneResult:
    """Clones a git repository into `directory` (else a folder named like it) and sets up dvlite's settings of the clone.

    git shows its own progress and may ask for credentials. A failure leaves nothing behind, as git does.
    """
    began = time.monotonic()
    target = Path(os.path.abspath(directory if directory is not None else folder_name(url)))
    if (target / ".git").exists():  # perhaps by a clone that was stopped
        hint = f"to finish a clone that was stopped: cd {shlex.quote(str(target))} && dvlite install && dvlite pull"
        raise DvliteError(f"cannot clone into {quote(str(target))}: there is a git repository already", hint=hint)
    clone_into(url, target, environ, git_flags)
    repo = open_repo(target, environ, must_be_initialised=False)
    warnings: list[str] = []
    if repo.is_initialised:
        repo.prepare_clone()
        warnings = install_if_possible(repo) if hooks else []
    return CloneResult(
        url=url,
        directory=str(target),
        hooks=tuple(installed_hooks(repo)) if repo.is_initialised else (),
        has_dvlite=repo.is_initialised,
        elapsed_seconds=time.monotonic() - began,
        warnings=tuple(warnings),
    )


def folder_name(url: str) -> str:
    """Returns the folder that git would clone a URL into: its last part, without `.git`."""
    name = (
        re.split(r"[/:]", re.sub(r"(/+|/\.git/*)$", "", url.rstrip("/")))[-1]
        .removesuffix(".git")
        .removesuffix(".bundle")
    )
    if name in ("", ".", "..") or name.startswith("-"):
        raise UsageError(
            f"cannot derive a folder name from {quote(without_credentials(url))}", hint="dvlite clone URL DIR"
        )
    return name
