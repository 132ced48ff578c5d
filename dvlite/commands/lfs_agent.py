"""`dvlite lfs-agent`: objects of Git LFS on a remote of dvlite. git-lfs runs the agent; `install` says so in git's config; `prune` frees its folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Literal

from dvlite.hooks.scripts import running_program
from dvlite.moving import lfs_local
from dvlite.moving.lfs_agent import Agent
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LfsAgentResult(Result):
    """How many objects git-lfs had moved."""

    schema: ClassVar[str] = "dvlite.lfs-agent/1"
    objects: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LfsAgentInstallResult(Result):
    """Whether git-lfs runs the agent in this clone."""

    schema: ClassVar[str] = "dvlite.lfs-agent-install/1"
    action: Literal["installed", "uninstalled"]
    remote: str
    url: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LfsAgentPruneResult(Result):
    """Which local objects of Git LFS were removed because the remote provably has them."""

    schema: ClassVar[str] = "dvlite.lfs-agent-prune/1"
    remote: str
    objects: int = 0
    freed_bytes: int = 0
    in_use: int = 0  # kept: what is checked out or staged needs them
    absent: int = 0  # kept: not on the remote, or damaged there or here
    dry_run: bool = False
    warnings: tuple[str, ...] = ()


def lfs_agent(
    open_repo: Callable[[], Repo],
    requests: BinaryIO,
    answers: BinaryIO,
    *,
    remote: str | None = None,
    progress: Progress,
) -> LfsAgentResult:
    """Moves objects of Git LFS as git-lfs asks for them, until it ends."""
    return LfsAgentResult(objects=Agent(open_repo, remote, progress).run(requests, answers))


def lfs_agent_install(repo: Repo, *, remote: str | None = None, uninstall: bool = False) -> LfsAgentInstallResult:
    """Sets, or removes, what makes git-lfs run the agent in this clone, and what keeps `git lfs prune` from removing the last copy."""
    if uninstall:
        lfs_local.take_down(repo)
        return LfsAgentInstallResult(action="uninstalled", remote=remote or "")
    settings = repo.remote(remote, to_push=True)
    arguments = ["lfs-agent", "serve"] + ([] if remote is None else ["-r", remote])
    lfs_local.set_up(repo, running_program(), shlex.join(arguments))
    return LfsAgentInstallResult(action="installed", remote=settings.name, url=settings.location.text)


def lfs_agent_prune(
    repo: Repo, *, remote: str | None = None, dry_run: bool = False, progress: Progress
) -> LfsAgentPruneResult:
    """Removes the local objects of Git LFS that the remote has, by a look at it now; what is checked out or staged stays."""
    pruned = lfs_local.prune(repo, remote, progress, dry_run=dry_run)
    return LfsAgentPruneResult(
        remote=pruned.remote,
        objects=pruned.objects,
        freed_bytes=pruned.freed_bytes,
        in_use=pruned.in_use,
        absent=pruned.absent,
        dry_run=dry_run,
    )
