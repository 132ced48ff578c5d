"""Whether the remote is complete: data, outputs that are pushed, and the records of runs, by a fresh look at listings and indexes.

Whether every byte there is what its name promises: `remote_bytes`. What is missing is reported at the pointer or the line that names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dvlite.errors import DvliteError, FormatError, LaterVersion, ObjectCorrupt, RemoteError
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.pointer import Pointer
from dvlite.formats.snapshot import Version, VersionId, version_of
from dvlite.oid import FILE, MANIFEST, Digest, Oid, each_digest
from dvlite.runs import sync
from dvlite.runs.names import name_of
from dvlite.share.needs import dropped_by
from dvlite.show import printable, some, word
from dvlite.store.catalog import Catalog
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.push_plan import PushPlan, no_bases, plan
from dvlite.store.remote import Remote
from dvlite.store.snapshots import claimed_together
from dvlite.verify.findings import Finding, Unchecked
from dvlite.verify.source import ContentSource

MEND = "dvlite fsck --remote --deep --repair     in a clone that has the data"
_TRIES = 4  # gc may move things between two looks


@dataclass(frozen=True, slots=True)
class Mention:
    """Where something is named: file, line (asked for only if it is reported), stage and commit."""

    file: str
    line: Callable[[], int]
    stage: str | None = None
    commit: str | None = None


CONFIG_FILE = Mention(".dvlite/config.yaml", lambda: 1)  # where a remote is named


@dataclass(frozen=True, slots=True)
class Requirement:
    """A version that the remote has to have complete."""

    path: str
    pointer: Pointer
    place: Mention

    @property
    def kind(self) -> str:
        return MANIFEST if self.pointer.kind == "directory" else FILE

    @property
    def version(self) -> Version:
        return version_of(self.path, self.pointer)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the remote gave: findings, and of what is complete the packs that it lies in."""

    findings: tuple[Finding | Unchecked, ...]
    complete: Mapping[Requirement, frozenset[Digest]]


def look(source: ContentSource, wanted: Sequence[Requirement], runs: Mapping[Oid, Mention]) -> Looked:
    """Says what of the versions and of the records of runs is not on the remote. Raises UsageError without one, NotFetched offline."""
    for attempt in range(_TRIES):
        try:
            return _look(source, wanted, runs)
        except ObjectAbsent as error:
            if attempt == _TRIES - 1:
                return _unreachable(source, error)
            source.catalog().look()
        except (RemoteError, FormatError, ObjectCorrupt) as error:  # of its config: nothing else can be understood
            return _unreachable(source, error)
    raise AssertionError("every try returns or raises")


def corrupt(message: str, place: Mention, path: str | None, fix: str = MEND) -> Finding:
    """Returns the finding for damaged bytes on the remote."""
    return Finding(
        kind="remote-corrupt",
        message=message,
        file=place.file,
        line=place.line(),
        stage=place.stage,
        path=path,
        fix=fix,
        commit=place.commit,
    )


def damaged_object(source: ContentSource, name: str) -> Finding:
    """Returns the finding for an index object or a list of the remote, which no tracked path names."""
    message = f"object {name[:20]} on {printable(source.name or 'the remote')} is damaged"
    return corrupt(message, CONFIG_FILE, None)


def not_there(message: str, fix: str) -> Finding:
    """Returns the finding for what is gone from the remote, and no version that was looked at needs."""
    return Finding(kind="not-on-remote", message=message, file=CONFIG_FILE.file, line=CONFIG_FILE.line(), fix=fix)


def _unreachable(source: ContentSource, error: DvliteError) -> Looked:
    return Looked(
        (Unchecked(what=f"what is on {source.name or 'the remote'}", why=error.message, hint=error.hint),), {}
    )


def _look(source: ContentSource, wanted: Sequence[Requirement], runs: Mapping[Oid, Mention]) -> Looked:
    reports: list[Finding | Unchecked] = []
    complete: dict[Requirement, frozenset[Digest]] = {}
    catalog = source.catalog()
    if (wanted or runs) and catalog.is_empty:
        raise catalog.empty_error()
    catalog.indexes()
    promised = claimed_together(catalog, [requirement.version for requirement in wanted])
    source.prefetch(requirement.pointer for requirement in wanted if requirement.pointer.kind == "directory")
    lacking: dict[Requirement, list[Finding | Unchecked]] = {}
    for requirement in wanted:
        findings, packs = _one(source, catalog, requirement, promised)
        if findings:
            lacking[requirement] = findings
        else:
            complete[requirement] = packs
    reports += _explained(source, lacking)
    reports += [damaged_object(source, name) for name in catalog.damaged]
    if catalog.config is None and not catalog.is_empty:
        what = "damaged" if catalog.settings.is_damaged else "gone"
        message = f"object config on {printable(source.name or 'the remote')} is {what}"
        reports.append(
            corrupt(message, CONFIG_FILE, None, "dvlite push     in a clone that has used this remote before")
        )
    reports += _unsent(source, catalog.remote, runs)
    return Looked(tuple(reports), complete)


def _explained(
    source: ContentSource, lacking: Mapping[Requirement, list[Finding | Unchecked]]
) -> Iterator[Finding | Unchecked]:
    """Yields what is wrong with versions; of one that keep rules dropped, that: no clone can push it."""
    dropped = dropped_by(source.repo, [requirement.version.id for requirement in lacking])
    for requirement, findings in lacking.items():
        rules = dropped.get(requirement.version.id)
        for report in findings:
            if rules is not None and isinstance(report, Finding) and report.kind == "not-on-remote":
                yield Unchecked(
                    what=f"{printable(requirement.path)} on {printable(source.name or 'the remote')}",
                    why=f"dropped by {rules}",
                    file=report.file,
                    line=report.line,
                    stage=report.stage,
                    commit=report.commit,
                    hint="verify a commit whose versions the rules keep",
                )
            else:
                yield report


def _one(
    source: ContentSource, catalog: Catalog, requirement: Requirement, promised: set[VersionId]
) -> tuple[list[Finding | Unchecked], frozenset[Digest]]:
    """Looks at one version; returns what is wrong, and the packs that it lies in."""
    path, remote = printable(requirement.path), printable(source.name or "the remote")
    known = set(catalog.damage)
    try:
        push = plan(catalog, source.cache, [requirement.version], no_bases, may_rescue=False)
    except ObjectCorrupt as error:
        return [
            corrupt(f"{path} cannot be read from {remote}: {error.message}", requirement.place, requirement.path)
        ], frozenset()
    except LaterVersion as error:
        return [Unchecked(what=f"{path} on {remote}", why=error.message, hint=error.hint)], frozenset()
    except FormatError as error:
        return [
            _finding(requirement, "size-mismatch", error.message, f"git log -p -- {word(requirement.place.file)}")
        ], frozenset()
    damage = next((error for digest, error in catalog.damage.items() if digest not in known), None)
    if isinstance(damage, ObjectCorrupt) and (push.uploads or push.missing):
        message = f"{path} cannot be read from {remote}: {damage.message}"
        return [corrupt(message, requirement.place, requirement.path)], frozenset()
    message = _lacking(source, requirement, push, remote)
    if not message and (requirement.kind, requirement.pointer.digest) not in promised:
        message = f"{path} was not pushed as a whole: {remote} does not promise to keep it"
    if message:
        return [_finding(requirement, "not-on-remote", message, "dvlite push")], frozenset()
    return [], frozenset(push.relies.get((requirement.kind, requirement.pointer.digest), ()))


def _lacking(source: ContentSource, requirement: Requirement, push: PushPlan, remote: str) -> str:
    """Says what of a version is not there, or nothing."""
    gone = {*each_digest(push.small), *(digest for digest, _, _ in push.large)}
    names = [name for paths in push.missing.values() for name in paths]
    if not gone and not names:
        return f"the list of files of {printable(requirement.path)} is not on {remote}" if push.nodes else ""
    if requirement.pointer.kind == "file" or names == [requirement.path]:
        return f"{printable(requirement.path)} is not on {remote}"
    missing = set(names)
    inner = []
    entries = source.entries(requirement.path, requirement.pointer)
    for i, flags in enumerate(entries.flags):
        name = f"{requirement.path}/{os.fsdecode(entries.paths[i])}"
        if flags != EMPTY_DIR and (name in missing or entries.digest(i) in gone):
            inner.append(name)
    are = "is" if len(inner) == 1 else "are"
    return f"{len(inner):,} of {requirement.pointer.files:,} files {are} not on {remote}: {some([printable(name) for name in inner], 1)}"


def _finding(requirement: Requirement, kind: str, message: str, fix: str) -> Finding:
    place = requirement.place
    return Finding(
        kind=kind,
        message=message,
        file=place.file,
        line=place.line(),
        stage=place.stage,
        path=requirement.path,
        fix=fix,
        commit=place.commit,
    )


def _unsent(source: ContentSource, remote: Remote, runs: Mapping[Oid, Mention]) -> Iterator[Finding]:
    """Yields, for each lockfile, that records of its runs are not on the remote; a lost record is reported by `checking`."""
    project = source.repo.config.project
    if not runs or project is None:
        return
    unsent = set(sync.compare(remote, source.records, project).unsent)
    by_file: dict[tuple[str, str | None], list[Oid]] = {}
    for oid, place in runs.items():
        if oid in unsent:
            by_file.setdefault((place.file, place.commit), []).append(oid)
    for (file, commit), oids in by_file.items():
        names = [printable(name_of((runs[oid].stage or "run").rpartition(":")[2], oid)) for oid in oids]
        what = "the record of the run" if len(oids) == 1 else f"the records of {len(oids):,} runs"
        yield Finding(
            kind="not-on-remote",
            message=f"{what} {some(names)} {'is' if len(oids) == 1 else 'are'} not on {printable(source.name or '')}",
            file=file,
            line=runs[oids[0]].line(),
            stage=runs[oids[0]].stage,
            fix="dvlite push",
            commit=commit,
        )
