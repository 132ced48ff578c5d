"""`dvlite commit`: takes what is on disk as the outputs of stages, without running them, and records that the user vouches for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.pipeline.invocation import Invocation, Outcome, ReproOptions
from dvlite.pipeline.run_record import author
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.workspace import running_outputs


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CommitResult(Result):
    """What became of the stages: `asserted`, `up to date`, `frozen`, or `not run` if an output is not there."""

    schema: ClassVar[str] = "dvlite.commit/1"
    outcome: Outcome
    elapsed_seconds: float = 0.0


def commit(
    repo: Repo,
    targets: Sequence[str],
    *,
    environ: Mapping[str, str],
    host: str = "",
    version: str = "",
    add: bool = True,
    stage: bool = True,
    progress: Progress,
) -> CommitResult:
    """Accepts the outputs of the stages that the targets stand for and that are out of date; without targets, of all whose outputs are there.

    The lockfile then names a record with the status `asserted`. Raises FormatError, with nothing stored, for a named stage that lacks an
    output, and for a dependency that is nowhere. Frozen stages count only if they are named.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.enter_context(running_outputs.hold(repo, environ, progress))
        run = Invocation(repo, targets, ReproOptions(single=True, add=add), environ, progress)
        if run.outdated:
            raise run.outdated[0]
        outcome = run.accept(author(repo, environ, host, version), stack).stage_in(repo, enabled=stage)
    return CommitResult(outcome=outcome, elapsed_seconds=time.monotonic() - started)
