"""`dvlite lfs-agent`: moves objects of Git LFS as git-lfs asks. It is started often: what installs it and frees its folder is in modules of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

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
