"""The words of `lfs-agent install` and `lfs-agent prune`; the agent itself has none."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.lfs_agent_install import LfsAgentInstallResult
from dvlite.commands.lfs_agent_prune import LfsAgentPruneResult
from dvlite.show import Show, count, printable, size_text


def installed(result: LfsAgentInstallResult, show: Show) -> Iterator[str]:
    """Yields the lines of `lfs-agent install`."""
    if show.quiet:
        return
    if result.action == "uninstalled":
        yield "git-lfs asks its server again in this clone. What is on the remote stays there."
        return
    yield f"git-lfs keeps its objects on {printable(result.remote)} ({printable(result.url)}) in this clone."
    yield "to send what there is: git lfs push --all origin; to fetch: git lfs pull"


def pruned(result: LfsAgentPruneResult, show: Show) -> Iterator[str]:
    """Yields the lines of `lfs-agent prune`."""
    if show.quiet:
        return
    verb = "Would remove" if result.dry_run else "Removed"
    yield f"{verb} {count(result.objects, 'local object')} of Git LFS ({size_text(result.freed_bytes)}) that {printable(result.remote)} has."
    if result.in_use or result.absent:
        yield f"kept: {result.in_use} checked out or staged, {result.absent} not on {printable(result.remote)}"
    if result.absent:
        yield "to send those that commits name: git lfs push --all origin"
