"""`dvlite push`: makes versions complete on a remote; success means that they are there and were looked at twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dvlite.checks import gates
from dvlite.checks.verdicts import reads_any
from dvlite.errors import DvliteError
from dvlite.git.tags import TAGS
from dvlite.progress import Progress
from dvlite.registry.models import SEEN, named_by_refs
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import WORKSPACE, Scope
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.outputs import outputs_of_tagged_runs
from dvlite.share.needs import stale_refs
from dvlite.share.publish import PushOptions, PushResult, chosen_versions, joined, publish
from dvlite.workspace import unpushed


def push(
    repo: Repo,
    paths: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = WORKSPACE,
    jobs: int | None = None,
    dry_run: bool = False,
    allow_missing: bool = False,
    may_ask: bool = False,
    progress: Progress,
) -> PushResult:
    """Uploads what the remote, or each default remote, lacks of the pointers on disk, or of the revisions in `scope`.

    Raises DvliteError, with nothing published, if a check of `dvlite.yaml` has not passed that blocks pushes, and ObjectMissing
    if something is neither in the cache nor on the remote; with `allow_missing` the versions that lack it are left out and warned of. Of several remotes all are tried; raises the most specific error if none of them took it. One that
    was not approved counts as failed, unless the user `may_ask` be asked.
    """
    stale_refs(repo, drop=True)
    names = repo.usable_remotes(remote, to_push=not dry_run, may_ask=may_ask)
    named = chosen_versions(repo, paths, scope, progress)
    warned = [] if dry_run else _require_checked(repo, named, scope, names[0], progress)
    tagged = _tagged(repo, named, progress) if scope.is_workspace and not paths else []
    done: list[PushResult] = []
    failed: list[tuple[str, DvliteError]] = []
    for name in names:
        terms = PushOptions(name, jobs, dry_run, allow_missing, by_commit=not scope.is_workspace)
        try:
            result = publish(repo, named, terms, progress=progress)
            done.append(_with_tagged(result, repo, tagged, terms, progress) if tagged else result)
        except DvliteError as error:
            if len(names) == 1:
                raise
            failed.append((name or "", error))
    result = done[0] if len(names) == 1 else joined(done, failed)
    return replace(result, warnings=(*result.warnings, *warned))


def _require_checked(
    repo: Repo, named: Sequence[Tracked], scope: Scope, remote: str | None, progress: Progress
) -> list[str]:
    """Raises DvliteError for versions that a check keeps from being pushed; returns warnings of others. Several revisions are not looked at."""
    if not named or (scope.revision is None and not scope.is_workspace):
        return []
    at, paths = repo.work_tree if scope.revision is None else repo.at(scope.revision), [item.path for item in named]
    blocking, warnings = gates.stopped(
        repo, at, "push", lambda check: reads_any(check, paths), remote=remote, progress=progress
    )
    if blocking:
        raise DvliteError(f"nothing is pushed: {gates.message(blocking)}", hint="\n".join(gates.hints(blocking)))
    return warnings


def _tagged(repo: Repo, named: Sequence[Tracked], progress: Progress) -> list[Tracked]:
    """Returns the outputs of runs with a tag, and the versions of models, that were made in this clone and never pushed: no commit need name them."""
    known = {item.pointer.oid for item in named}
    items: list[Tracked] = []
    if unpushed.has_other(repo, known):
        models = (Tracked(*each) for each in named_by_refs(repo.git, (SEEN, TAGS)))
        items = [*outputs_of_tagged_runs(repo, progress), *models]
        items = list({(item.path, item.pointer.oid): item for item in items}.values())
    new = unpushed.among(repo, [item.pointer.oid for item in items]) - known
    return [item for item in items if item.pointer.oid in new]


def _with_tagged(
    result: PushResult, repo: Repo, tagged: Sequence[Tracked], terms: PushOptions, progress: Progress
) -> PushResult:
    """Pushes the outputs of runs with a tag, with a claim of their own: the first one names a commit, whose versions it has."""
    more = publish(repo, tagged, replace(terms, allow_missing=True), progress=progress)
    return replace(
        result,
        paths=(*result.paths, *more.paths),
        files=result.files + more.files,
        objects=result.objects + more.objects,
        uploaded_bytes=result.uploaded_bytes + more.uploaded_bytes,
        size_bytes=result.size_bytes + more.size_bytes,
        records=result.records + more.records,
        warnings=(*result.warnings, *more.warnings),
    )
