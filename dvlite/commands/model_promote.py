"""`dvlite model promote` and `rollback`: which version is in a stage, by a rule if one is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.errors import DvliteError, ObjectMissing, PartlyDone, UsageError
from dvlite.formats import model_tag
from dvlite.formats.model_tag import ModelEntry, TagName
from dvlite.formats.record import time_text
from dvlite.oid import Oid
from dvlite.progress import Progress
from dvlite.registry.claim import Draft, claim, current
from dvlite.registry.models import ModelVersion, Promotion, Registry, RegistryProblem, find_version
from dvlite.repo.registered import registry_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.runs.filters import Condition, Filters, keys_meant, parse_condition
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.model_rows import ModelRow, message_of, row_of
from dvlite.runs.names import name_of
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import open_records
from dvlite.runs.schema import METRIC, PARAM
from dvlite.runs.upstream import source_data
from dvlite.show import count, quote, some, value_text, word
from dvlite.verify.findings import Finding
from dvlite.verify.remote_complete import Mention, Requirement, look
from dvlite.verify.source import ContentSource

_OK = ("ok", "cached", "asserted")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelPromoteResult(Result):
    """The version that a stage has now. `promoted` False: it had it before. `before` is the version that it replaced."""

    schema: ClassVar[str] = "dvlite.model-promote/1"
    model: ModelRow
    stage: str
    promoted: bool
    tag: str = ""  # of the promotion
    before: int | None = None
    rolled_back: bool = False
    when: tuple[str, ...] = ()  # the conditions, each with the value that was compared
    checks: tuple[str, ...] = ()  # those that had passed
    git_remote: str | None = None
    remote: str | None = None  # that has the data
    problems: tuple[RegistryProblem, ...] = ()


def model_promote(
    repo: Repo,
    name: str,
    stage: str,
    *,
    when: Sequence[str] = (),
    checks: bool = False,
    message: str = "",
    now_ns: int,
    progress: Progress,
) -> ModelPromoteResult:
    """Puts a version (`birds@7`; `birds`: the newest) into a stage.

    `when` are conditions on metrics of the run that made it, or of a later run that read it; `checks`: all recorded checks of it, and of
    the data that it was made from, must have passed. Raises DvliteError for one that is not met, ObjectMissing if the default remote does
    not have the version whole.
    """
    _require_stage(repo, stage)
    remote = registry_remote(repo)
    registry = current(repo.git, remote)
    version = find_version(registry, name)
    with open_index(open_records(repo, progress)) as index:
        met = tuple(_met(index, version, text) for text in when)
        passed = _passed(repo, index, version, time_text(now_ns)) if checks else ()
        return _promote(repo, index, version, stage, met, passed, message, remote, registry, progress)


def model_rollback(repo: Repo, name: str, stage: str, *, message: str = "", progress: Progress) -> ModelPromoteResult:
    """Puts the version back into a stage that it had before; again, the one before that. Raises UsageError if there was none."""
    _require_stage(repo, stage)
    model_tag.check_name(name, "model")
    remote = registry_remote(repo)
    registry = current(repo.git, remote)
    find_version(registry, f"{name}@{stage}")
    before = _before(registry.models[name].stages[stage])
    if before is None:
        raise UsageError(
            f"{quote(stage)} had no other version of {quote(name)} before", hint=f"dvlite model history {word(name)}"
        )
    version = find_version(registry, f"{name}@{before}")
    with open_index(open_records(repo, progress)) as index:
        return _promote(repo, index, version, stage, (), (), message, remote, registry, progress, rolls_back=True)


def _promote(
    repo: Repo,
    index: RunIndex,
    version: ModelVersion,
    stage: str,
    when: tuple[str, ...],
    checks: tuple[str, ...],
    message: str,
    remote: str | None,
    known: Registry,
    progress: Progress,
    *,
    rolls_back: bool = False,
) -> ModelPromoteResult:
    data_on = _require_complete(repo, version, progress)
    entry = ModelEntry(
        name=TagName(version.name, stage, 0),
        order=0,
        after={},
        version=version.number,
        version_digest=version.digest,
        when=when,
        checks=checks,
    )
    said, was = message_of(message), [0]

    def draft(registry: Registry) -> Draft | None:
        now = find_version(registry, f"{version.name}@{version.number}")  # in doubt since?
        if now.digest != version.digest:
            raise DvliteError(f"{version.tag} is another model now", hint=f"dvlite model history {word(version.name)}")
        promotions = registry.models[version.name].stages.get(stage, [])
        was[0] = promotions[-1].version if promotions else 0
        return None if was[0] == version.number else Draft(entry, version.commit, said)

    progress.start("promoting")
    done, registry = claim(repo.git, remote, draft, known)
    progress.finish()
    return ModelPromoteResult(
        model=row_of(version, registry, index),
        stage=stage,
        promoted=done is not None,
        tag="" if done is None else str(done.name),
        before=was[0] or None,
        rolled_back=rolls_back,
        when=when,
        checks=checks,
        git_remote=remote,
        remote=data_on,
        problems=registry.problems_of(version.name),
    )


def _require_stage(repo: Repo, stage: str) -> None:
    model_tag.check_name(stage, "stage")
    known = repo.config.get("models.stages")
    stages = [str(each) for each in known] if isinstance(known, tuple) else []
    if stage not in stages:
        raise UsageError(
            f"{quote(stage)} is not a stage of this project, which are {some(stages, 8)}",
            hint=f"dvlite config models.stages {','.join([*stages, stage])}",
        )


def _before(promotions: Sequence[Promotion]) -> int | None:
    """Returns the version that a stage had before the one it has: a promotion to the version before undoes the last one."""
    stack: list[int] = []
    for promotion in promotions:
        if len(stack) > 1 and stack[-2] == promotion.version:
            stack.pop()
        elif not stack or stack[-1] != promotion.version:
            stack.append(promotion.version)
    return stack[-2] if len(stack) > 1 else None


# --- what a version has to meet ---


def _require_complete(repo: Repo, version: ModelVersion, progress: Progress) -> str | None:
    """Returns the default remote, which has the version; None for a project without remotes. Raises ObjectMissing, or PartlyDone if it cannot be asked."""
    if not repo.config.remote_names:
        return None
    cache = open_cache(repo)
    place = Mention(version.tag, lambda: 1)
    with ContentSource(repo, cache, None, progress, offline=False) as source:
        progress.start(f"looking at {source.name}")
        try:
            found = look(source, [Requirement(version.path, version.pointer, place)], {}).findings
        except DvliteError as error:
            raise PartlyDone(
                f"{version.tag} is not promoted: whether {quote(source.name or '')} has its data is not known: {error.message}",
                hint=error.hint or "try again when it answers",
            ) from None
        progress.finish()
    if found and isinstance(found[0], Finding):
        raise ObjectMissing(
            f"{version.tag} is not promoted: {found[0].message}", hint="dvlite push, in a clone that has the data"
        )
    if found:
        why = "; ".join(str(getattr(each, "why", "")) for each in found[:1])
        raise PartlyDone(
            f"{version.tag} is not promoted: its data could not be looked for: {why}",
            hint="try again when the remote answers",
        )
    return source.name


def _met(index: RunIndex, version: ModelVersion, text: str) -> str:
    """Returns a condition with the value that meets it. Raises DvliteError if no run of the version has it, or the newest that has does not meet it."""
    condition = parse_condition("metric", text)
    for run in _runs_about(index, version):
        for space in (METRIC, PARAM):
            values = index.values([run], space).get(run, {})
            keys = keys_meant(condition.key, values)
            if not keys:
                continue
            wanted = Condition(space, condition.key, condition.operator, condition.value)
            row = index.row(run)
            name = "" if row is None else name_of(row.stage, run)
            shown = f"{condition.key} {condition.operator} {condition.value}"
            value = f"{value_text(values[keys[0]])} in {name}"
            if row is None or not any(each.oid == run for each in index.find(Filters(conditions=(wanted,)))):
                raise DvliteError(
                    f"{version.tag} is not promoted: it needs {shown}, and has {value}",
                    hint=f"dvlite runs show {word(name)}",
                )
            return f"{shown}: {value}"
    known = "" if version.run is not None else ": no run is known that made it"
    raise DvliteError(
        f"{version.tag} is not promoted: no run of it here has a value {quote(condition.key)}{known}",
        hint="dvlite pull brings the runs of others; dvlite model show prints what is known",
    )


def _runs_about(index: RunIndex, version: ModelVersion) -> Iterator[Oid]:
    """Yields the run that made a version, then those that read it, newest first."""
    if version.run is not None:
        yield version.run
    users = [run for run, _ in RunQueries(index).users([version.oid]).get(version.oid, ())]
    yield from (run for run in reversed(users) if (row := index.row(run)) is not None and row.status in _OK)


def _passed(repo: Repo, index: RunIndex, version: ModelVersion, now: str) -> tuple[str, ...]:
    """Returns the checks of a version and its data. Raises DvliteError if there is none, or one has not passed."""
    data = {version.path: version.oid}
    if version.run is not None:
        queries = RunQueries(index)
        data |= {item.path: item.oid for item in queries.inputs([version.run]).get(version.run, [])}
        data |= source_data(repo, queries, [version.run]).get(version.run, {})
    paths = {oid: path for path, oid in data.items()}
    failed: list[str] = []
    passed: list[str] = []
    for oid, rows in index.checks_of(paths).items():
        for row in rows:
            label = f"{row.name} of {paths[oid]}"
            is_fine = row.passed and (not row.expires or row.expires > now)
            (passed if is_fine else failed).append(label)
    if failed:
        raise DvliteError(
            f"{version.tag} is not promoted: {count(len(failed), 'check')} of its data did not pass: {some(sorted(failed))}",
            hint="dvlite check",
        )
    if not passed:
        raise DvliteError(
            f"{version.tag} is not promoted: no result of a check of its data is known here",
            hint="dvlite check; dvlite pull brings those of others",
        )
    return tuple(sorted(passed))
