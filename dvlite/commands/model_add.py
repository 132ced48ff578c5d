"""`dvlite model add`: registers content as the next version of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import model_tag
from dvlite.formats.model_tag import ModelEntry, TagName
from dvlite.formats.record import Run
from dvlite.oid import Oid
from dvlite.progress import Progress
from dvlite.registry.claim import Draft, claim
from dvlite.registry.models import Registry, RegistryProblem, find_version
from dvlite.repo.registered import registry_remote
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.results import Result
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.model_rows import ModelRow, message_of, row_of
from dvlite.runs.names import find_run, is_run, name_of
from dvlite.runs.outputs import outputs_of
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import open_records
from dvlite.show import quote, some, word
from dvlite.workspace import unpushed


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelAddResult(Result):
    """A registered version. `added` False: the newest version is this content already. `unpushed`: no remote has its data yet."""

    schema: ClassVar[str] = "dvlite.model-add/1"
    model: ModelRow
    added: bool
    git_remote: str | None = None  # that has the tag
    unpushed: bool = False
    problems: tuple[RegistryProblem, ...] = ()  # with other tags of this model


@dataclass(frozen=True, slots=True)
class _ToRegister:
    """What is to be registered: data, the run that made it, and the commit for the tag."""

    item: Tracked
    run: Oid | None
    commit: str


def model_add(repo: Repo, name: str, source: str, *, message: str = "", progress: Progress) -> ModelAddResult:
    """Registers `source` as the next version of a model: a tracked path as HEAD has it, REV:PATH, a run, or RUN:OUT.

    The number is given out by the git remote, if there is one: it has the tag when this returns. Raises UsageError for a bad name, and for
    what is not committed or has no outputs; DvliteError if the git remote does not take the tag.
    """
    model_tag.check_name(name, "model")
    said = message_of(message)
    remote = registry_remote(repo)
    with open_index(open_records(repo, progress)) as index:
        chosen = _chosen(repo, index, source)
        pointer = replace(chosen.item.pointer, meta="", source=None)
        empty = ModelEntry(
            name=TagName(name, "", 0), order=0, after={}, path=chosen.item.path, pointer=pointer, run=chosen.run
        )

        def draft(registry: Registry) -> Draft | None:
            model = registry.models.get(name)
            newest = None if model is None else model.newest
            if newest is not None and (newest.path, newest.pointer, newest.run) == (empty.path, pointer, empty.run):
                return None
            return Draft(empty, chosen.commit, said)

        progress.start("registering")
        entry, registry = claim(repo.git, remote, draft)
        progress.finish()
        version = find_version(registry, name if entry is None else f"{name}@{entry.name.number}")
        return ModelAddResult(
            model=row_of(version, registry, index),
            added=entry is not None,
            git_remote=remote,
            unpushed=bool(unpushed.among(repo, [version.oid])),
            problems=registry.problems_of(name),
        )


def _chosen(repo: Repo, index: RunIndex, text: str) -> _ToRegister:
    path = ""
    with contextlib.suppress(UsageError):
        path = repo.relative(text)
    tracked = {item.path: item for item in repo.work_tree.tracked(broken=[])}
    if path in tracked:
        return _at_head(repo, index, tracked[path])
    holder = next((each for each in tracked if path.startswith(f"{each}/")), None)
    if holder is not None:
        raise UsageError(
            f"{quote(text)} is a part of {quote(holder)}, which is tracked as a whole",
            hint=f"register all of it: dvlite model add NAME {word(repo.display(holder))}",
        )
    revision, colon, name = text.partition(":")
    if is_run(index, text):
        return _of_run(repo, index, find_run(index, text, repo.relative), text, None)
    if colon:
        run, _, rest = text.rpartition(":")
        for first, path in ((run, rest), (revision, name)):
            if is_run(index, first) and not _is_commit(repo, first):
                return _of_run(repo, index, find_run(index, first, repo.relative), first, repo.relative(path))
        at = repo.at(revision)
        return _in(repo, index, at.tracked(), repo.relative(name), at.commit or "", text)
    raise UsageError(
        f"{quote(text)} is neither a tracked path nor a run", hint="dvlite ls lists paths, dvlite runs lists runs"
    )


def _is_commit(repo: Repo, text: str) -> bool:
    try:
        repo.git.resolve(text)
    except UsageError:
        return False
    return True


def _at_head(repo: Repo, index: RunIndex, item: Tracked) -> _ToRegister:
    """Returns a tracked path as HEAD has it. Raises DvliteError if the work tree names another version: no clone has that."""
    head = repo.git.head()
    there = [] if head is None else repo.at(head).tracked(broken=[])
    if not any(each.path == item.path and each.pointer.same_version(item.pointer) for each in there):
        raise DvliteError(
            f"{quote(item.path)} is not committed as it is here",
            hint=f"git commit, then dvlite model add; as the last commit has it: HEAD:{word(repo.display(item.path))}",
        )
    return _in(repo, index, there, item.path, head or "", item.path)


def _in(repo: Repo, index: RunIndex, tracked: Sequence[Tracked], path: str, commit: str, text: str) -> _ToRegister:
    item = next((each for each in tracked if each.path == path), None)
    if item is None:
        raise UsageError(f"{quote(path)} is not tracked at {quote(text.partition(':')[0])}", hint="dvlite ls --rev REV")
    _require_pushed(item)
    makers = RunQueries(index).makers([item.pointer.oid]).get(item.pointer.oid, ())
    runs = [run for run, made in makers if made == path] or [run for run, _ in makers]
    return _ToRegister(item, runs[-1] if runs else None, commit)


def _of_run(repo: Repo, index: RunIndex, oid: Oid, text: str, path: str | None) -> _ToRegister:
    run = index.run(oid)
    outputs = [] if run is None else list(outputs_of(run))
    if run is None or not outputs:
        raise UsageError(
            f"the run {quote(text)} has no outputs that dvlite keeps",
            hint="dvlite runs --status ok   lists those that have",
        )
    plain = {output.path for output in run.outputs if output.role == "out"}  # no metrics
    named = [item for item in outputs if item.path == path or (path is None and (item.path in plain or not plain))]
    if len(named) != 1:
        what = f"has no output {quote(path)}" if path is not None else f"has {len(named)} outputs"
        names = some([word(f"{text}:{item.path}") for item in (named or outputs)])
        raise UsageError(f"the run {quote(text)} {what}", hint=f"name one of them: {names}")
    return _ToRegister(named[0], oid, _commit_of(repo, index, oid, run, named[0]))


def _commit_of(repo: Repo, index: RunIndex, oid: Oid, run: Run, item: Tracked) -> str:
    """Returns the commit for the tag of a run's output: one that names the run, else HEAD if it has the output, else that of the code."""
    head = repo.git.head()
    noted = index.commits([oid]).get(oid, [])
    here = repo.git.commit_times([*noted, *([run.code.commit] if run.code.commit else [])])
    if noted and noted[0] in here:
        return noted[0]
    at_head = [] if head is None else repo.at(head).tracked(broken=[])
    if head and any(each.path == item.path and each.pointer.same_version(item.pointer) for each in at_head):
        return head
    if run.code.commit is not None and run.code.commit in here:
        return run.code.commit
    raise UsageError(
        f"the commit of the run {name_of(run.stage, oid)} is not in this clone",
        hint="git fetch, or git fetch --unshallow",
    )


def _require_pushed(item: Tracked) -> None:
    if not item.push:
        raise UsageError(
            f"{quote(item.path)} is declared with push: false, so no other clone could have it",
            hint=f"remove push: false of {item.stage} in its dvlite.yaml",
        )
