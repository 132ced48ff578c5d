"""`dvlite check`: whether data is as the checks of the pipeline files demand. It runs what they say, as `repro` does; results are kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dvlite.checks.execute import Checker, CheckOptions
from dvlite.checks.verdicts import CheckVerdict, reads_any
from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.pipeline.run_record import author
from dvlite.pipeline.stages import Stage, checks_of
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import is_called
from dvlite.results import TableResult
from dvlite.show import Show, one_line, quote

_EXAMPLE = "declare one in dvlite.yaml, for example\nchecks: {sales: {path: data/sales.csv, rows: 1.., unique: [id]}}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CheckResult(TableResult):
    """How each check stands, in the order of the pipeline files."""

    schema: ClassVar[str] = "dvlite.check/1"
    ROWS = ("checks", CheckVerdict)
    checks: tuple[CheckVerdict, ...] = ()
    dry_run: bool = False
    elapsed_seconds: float = 0.0

    @property
    def is_finding(self) -> bool:
        """Whether a check failed, or is passed no more, that blocks anything: exit code 1."""
        return any(check.state in ("failed", "expired") and "block" in check.on.values() for check in self.checks)

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns what could not be checked, unless there is a finding."""
        left = [check for check in self.checks if check.state in ("not checked", "unknown")]
        if not left or self.is_finding:
            return None
        why = f": {left[0].problems[0]}" if left[0].problems else ""
        more = f" and {len(left) - 1:,} more" if len(left) > 1 else ""
        return PartlyDone(f"could not check {left[0].check}{more}{one_line(why)}", hint=left[0].hint)


def check(
    repo: Repo,
    words: Sequence[str],
    options: CheckOptions,
    *,
    environ: Mapping[str, str],
    host: str = "",
    version: str = "",
    progress: Progress,
) -> CheckResult:
    """Runs the checks that words mean (all without any): names of checks, paths that they read, or pipeline files.

    What is on disk is checked. A result that is there for the same content and the same check counts; what failed is checked again. Raises
    UsageError if there is no check, or a word means none, and FormatError for a pipeline file that cannot be read.
    """
    started = time.monotonic()
    checks = checks_of(repo.work_tree)
    if not checks:
        raise UsageError("there are no checks here", hint=_EXAMPLE)
    checker = Checker(repo, options, environ, author(repo, environ, host, version), progress)
    verdicts = checker.run(_chosen(repo, checks, words))
    return CheckResult(checks=tuple(verdicts), dry_run=options.dry_run, elapsed_seconds=time.monotonic() - started)


def _chosen(repo: Repo, checks: Sequence[Stage], words: Sequence[str]) -> list[Stage]:
    chosen: dict[str, Stage] = {}
    for word in words:
        path = repo.relative(word)
        meant = [
            each for each in checks if is_called(each.address, word) or each.file == path or reads_any(each, [path])
        ]
        if not meant:
            raise UsageError(
                f"no check is called {quote(word)} or reads it",
                hint="see all of them, with their paths: dvlite check -n",
            )
        chosen |= {each.address: each for each in meant}
    return list(chosen.values()) if words else list(checks)
