"""`dvlite runs apply`: brings a run's parameters, edits, lockfile entries and outputs into the workspace, or onto a new branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dvlite.pipeline.invocation import ParamSet
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.runs.index import open_index
from dvlite.runs.names import find_run
from dvlite.runs.records import open_records
from dvlite.sweep import side_tree
from dvlite.sweep.apply_run import chain_of, into_workspace, onto_branch
from dvlite.workspace import running_outputs


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunsApplyResult(Result):
    """What a run brought. With `branch` its `commit`, and the workspace is as it was; else `staged` and `unstaged` are the files for git."""

    schema: ClassVar[str] = "dvlite.runs-apply/1"
    run: str
    name: str
    branch: str | None = None
    commit: str | None = None
    params_set: tuple[ParamSet, ...] = ()
    edits: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def runs_apply(
    repo: Repo,
    text: str,
    *,
    branch: str | None = None,
    force: bool = False,
    environ: Mapping[str, str],
    stage: bool = True,
    progress: Progress,
) -> RunsApplyResult:
    """Brings a run and the runs upstream of it back; nothing is executed.

    Raises UsageError, with nothing written, where code or data is not as it was, or an edited output would be replaced without `force`.
    """
    side_tree.clear(repo)
    with open_index(open_records(repo, progress)) as index:
        oid = find_run(index, text, repo.relative)
        chain = chain_of(index, oid)
    if branch is not None:
        done = onto_branch(repo, chain, branch, environ, progress)
        return RunsApplyResult(
            run=oid,
            name=chain.name,
            branch=branch,
            commit=done.commit,
            edits=done.edits,
            data=done.data,
            outputs=done.outputs,
        )
    with running_outputs.hold(repo, environ, progress):
        done = into_workspace(repo, chain, environ, progress, force=force)
        written = repo.git.unstaged(list(done.written))
        staged = repo.stage(written, enabled=stage)
    return RunsApplyResult(
        run=oid,
        name=chain.name,
        params_set=done.params,
        edits=done.edits,
        outputs=done.outputs,
        staged=staged,
        unstaged=() if staged else tuple(written),
    )
