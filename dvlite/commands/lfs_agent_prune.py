"""`dvlite lfs-agent prune`: removes local objects of Git LFS that a remote provably has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dvlite.moving import lfs_local
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result


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
