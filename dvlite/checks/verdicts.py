"""What is known of the checks that pipeline files declare: whether the content that belongs at their paths was checked, and passed.

Reads run records and names of content, no data; starts nothing. Running checks: `execute`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import record
from dvlite.formats.checks import CheckSpec, Event
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import FILE, Entries
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import RuleOutcome
from dvlite.oid import Digest
from dvlite.paths import is_inside, overlap
from dvlite.pipeline.globs import may_go_into
from dvlite.pipeline.known_data import KnownData
from dvlite.pipeline.params import Params
from dvlite.pipeline.revision_content import GitContent, RevisionContent
from dvlite.pipeline.stages import Stage
from dvlite.pipeline.staleness import StageContent, now_of, stands_for
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Revision
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.records import Records
from dvlite.runs.schema import CheckRow
from dvlite.show import printable, printable_text, quote, short_oid, word
from dvlite.workspace import sparse
from dvlite.workspace.fetch import with_listings
from dvlite.workspace.workspace import Workspace, entries_of

State = Literal[
    "passed",
    "failed",
    "expired",  # it passed, and what should be new has grown old since
    "not checked",  # no result is known
    "unknown",  # what it reads cannot be said, or could not be read
]
BaseOf = Callable[[str, str], Locked | None]  # of a path at a revision
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckVerdict:
    """How one check stands. `on`: what follows if it has not passed, at `push`, `merge` and `ci`; `problems` say why it has not.

    `oid` is the content at its path (of a pattern that stands for several files, of the first), `record` the result, from `time` and `user`.
    """

    check: str
    path: str
    state: State
    on: Mapping[Event, Literal["block", "warn"]]
    file: str
    line: int
    oid: str | None = None
    record: str | None = None
    problems: tuple[str, ...] = ()
    hint: str | None = None
    time: str = ""
    user: str = ""
    ran: bool = False  # now; else the result was there

    @property
    def passed(self) -> bool:
        return self.state == "passed"

    @property
    def sentence(self) -> str:
        """What is wrong, in one line without the place."""
        more = f" (and {len(self.problems) - 1:,} more)" if len(self.problems) > 1 else ""
        why = f": {self.problems[0]}{more}" if self.problems else ""
        named = f"{quote(self.path)} {short_oid(self.oid)}" if self.oid is not None else quote(self.path)
        if self.state == "not checked":
            return f"{named} has no result of the check {printable(self.check)}"
        if self.state == "unknown":
            return f"the check {printable(self.check)} cannot be made{why}"
        ended = "failed" if self.state == "failed" else "no longer passes"
        return f"{named} {ended} the check {printable(self.check)}{why}"


@dataclass(frozen=True, slots=True)
class CheckReading:
    """What a check reads: `data` is checked, `inputs` are read besides. `key` is empty, and `gap` says why, if that is not known."""

    check: Stage
    key: str = ""
    data: tuple[Locked, ...] = ()
    inputs: tuple[Locked, ...] = ()
    gap: DvliteError | None = None


def spec_of(check: Stage) -> CheckSpec:
    """Returns what a check demands."""
    assert check.spec.check is not None
    return check.spec.check


def path_of(check: Stage) -> str:
    """Returns the path or pattern that a check is about, relative to the repository."""
    return check.deps[0].path


def reading(check: Stage, content: StageContent, base_of: BaseOf) -> CheckReading:
    """Returns what a check would read of some content, and the key of its result."""
    now = now_of(check, content, Params(lambda _: None), dict)
    if now.gaps:
        gap = now.gaps[0]
        what = "matches nothing" if sparse.is_glob(gap.place.path) else "is neither in git nor data"
        hint = f"correct its name in {word(check.file)}; git add and dvlite add make others have it"
        error = DvliteError(f"{quote(gap.place.path)} {what}", hint=hint) if gap.is_missing else gap.error
        return CheckReading(check, gap=error)
    spec, deps = spec_of(check), list(now.entry.deps)
    if spec.against:
        try:
            base = base_of(path_of(check), spec.against)
        except DvliteError as error:
            return CheckReading(check, gap=error)
        if base is None:
            reason = f"{quote(path_of(check))} is no data at {quote(spec.against)}, which 'drift' compares with"
            return CheckReading(check, gap=check.wrong(check.spec.line, reason, hint="name a revision that tracks it"))
        deps.append(replace(base, path=f"{check.local(path_of(check))}@{spec.against}"))
    facts = replace(now.entry.facts, params={"check": spec.terms()})
    mine = [dep for dep in now.entry.deps if stands_for(path_of(check), check.placed(dep.path))]
    others = [dep for dep in deps if dep not in mine]
    return CheckReading(check, check.entry(facts, deps).key, tuple(mine), tuple(others))


@dataclass(slots=True)
class KnownResults:
    """The results that are here, and a way to get more: `fetch` is asked once, when one is missing, and returns why it could not."""

    records: Records
    fetch: Callable[[], DvliteError | None] = lambda: None
    unfetched: DvliteError | None = None
    _asked: bool = field(default=False, init=False)

    def verdicts(self, readings: Sequence[CheckReading]) -> list[CheckVerdict]:
        """Returns how checks stand now, in the order given."""
        now = record.time_text(time.time_ns())
        wanted = [each.key for each in readings if each.key]
        with open_index(self.records) as index:
            rows = index.checks(wanted)
            if len(rows) == len(set(wanted)) or self._asked:
                return [_verdict(each, rows.get(each.key), index, now) for each in readings]
        self._asked = True
        self.unfetched = self.fetch()
        return self.verdicts(readings)


def _verdict(reading: CheckReading, row: CheckRow | None, index: RunIndex, now: str) -> CheckVerdict:
    if reading.gap is not None:
        return verdict(reading, "unknown", problems=(reading.gap.message,), hint=reading.gap.hint)
    if row is None:
        return verdict(reading, "not checked", hint=f"dvlite check {word(reading.check.address)}")
    result = None if row.passed else index.check_record(row.oid)
    return judged(reading, row, () if result is None else result.rules, now)


def standing(row: CheckRow, rules: Iterable[RuleOutcome], now: str) -> tuple[State, list[str]]:
    """Returns how a result stands at a time, and why: the newest row of data may be too old by now. `rules` say why it failed."""
    if not row.passed:
        wrong = (f"{each.rule}: {each.detail}" if each.detail else each.rule for each in rules if not each.passed)
        return "failed", [printable_text(sentence) for sentence in wrong]  # a record may be anyone's
    if "" < row.expires <= now:
        return "expired", [f"its newest row was new until {row.expires[:16].replace('T', ' ')} UTC"]
    return "passed", []


def judged(reading: CheckReading, row: CheckRow, rules: Iterable[RuleOutcome], now: str) -> CheckVerdict:
    """Returns how a check stands by its result, at a time; `rules` say why it failed."""
    state, problems = standing(row, rules, now)
    again = f"correct {word(path_of(reading.check))}, then: dvlite check {word(reading.check.address)}"
    return replace(
        verdict(reading, state, problems=problems[:_MOST_PROBLEMS], hint=None if state == "passed" else again),
        record=row.oid,
        time=row.start,
        user=row.user,
    )


def verdict(
    reading: CheckReading, state: State, *, problems: Sequence[str] = (), hint: str | None = None
) -> CheckVerdict:
    """Returns how a check stands, without a result."""
    check = reading.check
    return CheckVerdict(
        check=check.address,
        path=path_of(check),
        state=state,
        on=spec_of(check).on,
        file=check.file,
        line=check.spec.line,
        oid=reading.data[0].oid if reading.data else None,
        problems=tuple(problems),
        hint=hint,
    )


# --- of a revision


class Bases:
    """The versions that `drift` compares with: tracked data at named revisions, each revision read once."""

    def __init__(self, repo: Repo, listing: Callable[[str, Pointer], Entries]) -> None:
        self._repo, self._listing = repo, listing
        self._known: dict[str, KnownData] = {}

    def of(self, path: str, revision: str) -> Locked | None:
        """Returns the version of data at a revision, None if it is not tracked there. Raises UsageError for a revision that does not exist."""
        if sparse.is_glob(path):
            raise UsageError("'drift' compares one path, not a pattern", hint="name the file or the folder")
        if revision not in self._known:
            items = self._repo.at(revision).tracked([])
            self._known[revision] = KnownData({item.path: item.pointer for item in items}, self._listing)
        return self._known[revision].at(path)

    def files(self, path: str, revision: str) -> list[tuple[str, Digest, int]]:
        """Returns name, content and size of each file of such a version."""
        version, known = self.of(path, revision), self._known[revision]
        if version is None or version.pointer().kind == "file":
            return [] if version is None else [(path, version.pointer().digest, version.size_bytes)]
        outer = path if path in known.pointers else known.holder(path) or ""
        entries = self._listing(outer, known.pointers[outer])
        named = ((f"{outer}/{os.fsdecode(entries.paths[i])}", entries[i]) for i in range(len(entries)))
        return [
            (name, each.digest, each.size_bytes) for name, each in named if each.kind == FILE and is_inside(name, path)
        ]


def content_at(repo: Repo, at: Revision, progress: Progress) -> tuple[RevisionContent, Bases]:
    """Returns what belongs at the paths of a revision (of the work tree, as its pointers say), for `reading`."""
    cache = open_cache(repo)

    def listing(path: str, pointer: Pointer) -> Entries:
        return with_listings(repo, cache, path, [pointer], lambda: entries_of(pointer, cache), progress)

    data = at.tracked([])
    work = Workspace(repo, cache, progress) if at.commit is None else None
    content = RevisionContent(at, data, (), listing, GitContent(at, data, work, {}).look)
    return content, Bases(repo, listing)


def reads_any(check: Stage, paths: Iterable[str]) -> bool:
    """Returns whether a check reads one of these tracked paths, or a part of it."""
    patterns = [dep.path for dep in check.deps]
    return any(
        overlap(pattern, path) or stands_for(pattern, path) or (sparse.is_glob(pattern) and may_go_into(pattern, path))
        for path in paths
        for pattern in patterns
    )
