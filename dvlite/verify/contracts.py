"""Whether the data that a revision names passed the checks that it declares: by the results that were recorded, without data.

Starts nothing: a check without a result is a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from dvlite.checks.verdicts import Bases, CheckVerdict, KnownResults, reading, spec_of
from dvlite.pipeline.revision_content import GitContent, RevisionContent
from dvlite.pipeline.stages import Stage
from dvlite.repo.revisions import Revision
from dvlite.show import printable
from dvlite.verify.findings import Finding, Unchecked
from dvlite.verify.parsed import TrackedFiles
from dvlite.verify.source import ContentSource
from dvlite.workspace.workspace import Workspace


def look(
    at: Revision, named: TrackedFiles, source: ContentSource, chooses: Callable[[Stage], bool]
) -> tuple[list[CheckVerdict], list[Finding | Unchecked]]:
    """Returns how the checks of a revision stand that are for CI, and what is wrong with those that block."""
    checks = [check for check in named.checks if "ci" in spec_of(check).on and chooses(check)]
    if not checks:
        return [], []
    data = [*named.pointers, *(item for lock in named.locks.values() for item in lock.outputs)]
    work = Workspace(source.repo, source.cache, source.progress) if at.commit is None else None
    content = RevisionContent(at, data, (), source.listing, GitContent(at, data, work, {}).look)
    source.prefetch(listing for check in checks for dep in check.deps for listing in content.directories(dep.path))
    bases, known = Bases(source.repo, source.listing), KnownResults(source.records, source.fetch_records)
    verdicts = known.verdicts([reading(check, content, bases.of) for check in checks])
    verdicts = [replace(each, on={"ci": each.on["ci"]}) for each in verdicts]
    return verdicts, list(_reports(at, verdicts, known))


def _reports(at: Revision, verdicts: Sequence[CheckVerdict], known: KnownResults) -> Iterator[Finding | Unchecked]:
    for verdict in verdicts:
        if verdict.passed or verdict.on["ci"] == "warn":
            continue
        unfetched = known.unfetched if verdict.state == "not checked" else None
        if verdict.state == "unknown" or unfetched is not None:
            why = verdict.problems[0] if unfetched is None else f"no result is here: {unfetched.message}"
            yield Unchecked(
                what=f"{printable(verdict.path)} by the check {printable(verdict.check)}",
                why=why,
                file=verdict.file,
                line=verdict.line,
                stage=verdict.check,
                commit=at.commit,
                hint=verdict.hint if unfetched is None else unfetched.hint,
            )
            continue
        yield Finding(
            kind="check-missing" if verdict.state == "not checked" else "check-failed",
            message=verdict.sentence,
            file=verdict.file,
            line=verdict.line,
            stage=verdict.check,
            path=verdict.path,
            fix=verdict.hint,
            commit=at.commit,
        )
