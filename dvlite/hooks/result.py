"""What a git hook prints: the reasons why it stops git, notes, and what it did. Built by the hook verbs in `commands`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dvlite.results import Result

if TYPE_CHECKING:
    from dvlite.share.publish import PushResult
    from dvlite.workspace.path_status import ChangedPath
    from dvlite.workspace.restore import CheckedOutPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Why a hook stops git, and what settles it, a way in each line."""

    message: str
    fixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HookResult(Result):
    """What a hook has to say to git's user: why it stops git, notes, and what it did."""

    schema: ClassVar[str] = "dvlite.hook/1"
    hook: str
    blocked: tuple[Blocked, ...] = ()
    notes: tuple[str, ...] = ()
    changed: tuple[ChangedPath, ...] = ()  # pre-commit: tracked data that changed and is not in the commit
    followed: tuple[CheckedOutPath, ...] = ()  # post-checkout, post-merge, post-rewrite
    downloaded_bytes: int = 0
    push: PushResult | None = None  # pre-push
    commits: int = 0  # pre-push: that the remote did not have
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
