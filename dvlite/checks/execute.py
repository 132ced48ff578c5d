"""Runs checks on the data that is on disk, and records the results. Besides `repro`, what a pipeline file says runs here: `dvlite check` only.

A result that is there for the same content and the same check is not made again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dvlite.checks.tables import Sources, ruled
from dvlite.checks.verdicts import (
    Bases,
    CheckReading,
    CheckVerdict,
    KnownResults,
    judged,
    path_of,
    reading,
    spec_of,
    verdict,
)
from dvlite.errors import DvliteError, ObjectMissing
from dvlite.files import temporary_name
from dvlite.formats import record
from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import Entries
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import CheckRecord, Input, RuleOutcome
from dvlite.pipeline.content import Contents
from dvlite.pipeline.executor import Command, Ended, Interrupted, interruptible, tail_of
from dvlite.pipeline.process import Processes
from dvlite.pipeline.run_record import Author, new_id
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.repo.repository import Repo, open_cache
from dvlite.runs.records import open_records
from dvlite.runs.schema import CheckRow
from dvlite.show import printable_text, quote, word
from dvlite.workspace.fetch import with_listings
from dvlite.workspace.workspace import Workspace, entries_of

_MOST_DETAIL = 1000  # letters


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How to check: `force` makes results again that are there, `dry_run` makes none."""

    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Answers:
    """What running a check gave."""

    rules: tuple[RuleOutcome, ...] = ()
    exit_code: int | None = None
    output: str = ""
    expires: str = ""


class Checker:
    """Checks what is on disk."""

    def __init__(
        self, repo: Repo, options: CheckOptions, environ: Mapping[str, str], made_by: Author, progress: Progress
    ) -> None:
        self._repo, self._options, self._environ, self._author = repo, options, environ, made_by
        self._progress = progress
        self._cache = cache = open_cache(repo)

        def listing(path: str, pointer: Pointer) -> Entries:
            return with_listings(repo, cache, path, [pointer], lambda: entries_of(pointer, cache), progress)

        self._contents = Contents(Workspace(repo, cache, progress), repo.work_tree.tracked([]))
        self._bases = Bases(repo, listing)
        self._known = KnownResults(open_records(repo, progress))

    def run(self, checks: Sequence[Stage]) -> list[CheckVerdict]:
        """Checks, in the order given, what has no result yet, and what failed: its reason may lie outside of what the check reads."""
        readings = [reading(check, self._contents, self._bases.of) for check in checks]
        verdicts = self._known.verdicts(readings)
        if self._options.dry_run:
            return verdicts
        self._progress.start("checking", total_files=len(checks))
        done = []
        try:
            for each, known in zip(readings, verdicts, strict=True):
                again = self._options.force or known.state in ("failed", "not checked")
                done.append(self._made(each, known) if again and each.key else known)
                self._progress.advance(files=1)
        except Interrupted:
            raise KeyboardInterrupt("results until then are kept; the same command goes on") from None
        self._progress.finish()
        return done

    def _made(self, read: CheckReading, known: CheckVerdict) -> CheckVerdict:
        """Returns a result made now; the known one where the data is not here."""
        absent = [path for path in self._paths(read.check) if not self._is_here(path)]
        if absent:
            if known.record is not None:
                return known
            problem = f"{quote(absent[0])} is not here"
            return verdict(read, "not checked", problems=(problem,), hint=f"dvlite pull {word(absent[0])}")
        started_ns, began = time.time_ns(), time.monotonic()
        try:
            outcome = self._outcome(read)
        except ObjectMissing as error:
            base = spec_of(read.check).against
            fetch = f"dvlite fetch --rev {word(base)} {word(path_of(read.check))}"
            return verdict(read, "unknown", problems=(error.message,), hint=fetch)
        except DvliteError as error:
            return verdict(read, "unknown", problems=(error.message,), hint=error.hint)
        self._contents.forget(self._paths(read.check))
        after = reading(read.check, self._contents, self._bases.of)
        if after.key != read.key:
            problem = f"what it reads changed while {read.check.address} ran"
            return verdict(read, "unknown", problems=(problem,), hint=f"dvlite check {word(read.check.address)}")
        result = self._record(read, outcome, started_ns, time.monotonic() - began)
        row = CheckRow(
            self._known.records.put(result),
            result.check,
            result.status == "passed",
            result.expires,
            result.start,
            result.user,
        )
        return replace(judged(read, row, result.rules, record.time_text(time.time_ns())), ran=True)

    def _paths(self, check: Stage) -> list[str]:
        return [path for dep in check.deps for path in self._contents.matches(dep.path)]

    def _parts_of(self, pattern: str) -> list[str]:
        return [part for path in self._contents.matches(pattern) for part in self._contents.parts(path)]

    def _is_here(self, path: str) -> bool:
        return all(self._contents.has(part) for part in self._contents.parts(path))

    def _outcome(self, read: CheckReading) -> _Answers:
        check, outcome = read.check, _Answers()
        if spec_of(check).rules:
            against = spec_of(check).against
            base = self._bases.files(path_of(check), against) if against else []
            sources = Sources(self._repo.root, self._repo.real_file, self._cache, self._parts_of, base)
            rules, expires = ruled(check, sources, time.time_ns())
            outcome = replace(outcome, rules=tuple(rules), expires=expires)
        if check.spec.cmd:
            ended, tail = self._command(check)
            problem = ended.problem
            last = printable_text(tail[-1].strip())[:_MOST_DETAIL] if tail else ""
            detail = "" if problem is None else f"{last} ({problem})" if last else problem
            rule = RuleOutcome(rule="cmd", passed=problem is None, detail=detail)
            outcome = replace(outcome, rules=(*outcome.rules, rule), exit_code=ended.exit_code, output="\n".join(tail))
        return outcome

    def _command(self, check: Stage) -> tuple[Ended, tuple[str, ...]]:
        """Runs the script of a check in the folder of its file; returns how it ended, and the end of its output."""
        log = self._repo.state_dir / temporary_name()
        log.parent.mkdir(parents=True, exist_ok=True)
        environ = {"PYTHONUNBUFFERED": "1", **self._environ, "DVLITE_CHECK": check.address}
        folder = self._repo.root / check.folder
        timeout = check.spec.limits.timeout_seconds
        command = Command(check.address, check.spec.cmd, folder, environ, log, _ignored, timeout)
        executor = Processes()
        try:
            with interruptible():
                executor.start(command)
                ended = executor.wait()[0]
            return ended, tail_of(log)
        finally:
            executor.stop()
            log.unlink(missing_ok=True)

    def _record(self, read: CheckReading, outcome: _Answers, started_ns: int, seconds: float) -> CheckRecord:
        check, who = read.check, self._author
        return CheckRecord(
            id=new_id(),
            key=read.key,
            check=check.name,
            file=check.file,
            status="passed" if all(rule.passed for rule in outcome.rules) else "failed",
            data=tuple(_input(check, item) for item in read.data),
            inputs=tuple(_input(check, item) for item in read.inputs),
            rules=outcome.rules,
            cmd=check.spec.cmd,
            exit_code=outcome.exit_code,
            output=outcome.output,
            expires=outcome.expires,
            start=record.time_text(started_ns),
            seconds=round(seconds, 3),
            user=who.user,
            host=who.host,
            ci=who.ci,
            project=who.project,
            dvlite=who.dvlite,
        )


def _input(check: Stage, item: Locked) -> Input:
    return Input(path=check.placed(item.path), oid=item.oid, size_bytes=item.size_bytes, files=item.files)


def _ignored(_line: str) -> None:
    """What a script prints is shown only if it fails."""
