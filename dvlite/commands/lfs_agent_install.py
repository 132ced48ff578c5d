"""`dvlite lfs-agent install`: says in git's config that git-lfs moves its objects by the agent."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar, Literal

from dvlite.hooks.scripts import running_program
from dvlite.moving import lfs_local
from dvlite.repo.repository import Repo
from dvlite.results import Result


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LfsAgentInstallResult(Result):
    """Whether git-lfs runs the agent in this clone."""

    schema: ClassVar[str] = "dvlite.lfs-agent-install/1"
    action: Literal["installed", "uninstalled"]
    remote: str
    url: str = ""
    warnings: tuple[str, ...] = ()


def lfs_agent_install(repo: Repo, *, remote: str | None = None, uninstall: bool = False) -> LfsAgentInstallResult:
    """Sets, or removes, what makes git-lfs run the agent in this clone, and what keeps `git lfs prune` from removing the last copy."""
    if uninstall:
        lfs_local.take_down(repo)
        return LfsAgentInstallResult(action="uninstalled", remote=remote or "")
    settings = repo.remote(remote, to_push=True)
    arguments = ["lfs-agent", "serve"] + ([] if remote is None else ["-r", remote])
    lfs_local.set_up(repo, running_program(), shlex.join(arguments))
    reason = lfs_local.why_not_sent(repo)
    return LfsAgentInstallResult(
        action="installed",
        remote=settings.name,
        url=settings.location.text,
        warnings=(f"{reason}; to have it: {lfs_local.HOOK_FIX}",) if reason else (),
    )
