"""What checks stop: a push, the commit of a merge. Looks at results only: neither runs a check nor reads data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dvlite.checks.verdicts import CheckVerdict, KnownResults, content_at, reading, spec_of
from dvlite.errors import DvliteError
from dvlite.formats.checks import Event
from dvlite.pipeline.stages import Stage, checks_of
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.revisions import Revision
from dvlite.runs import share
from dvlite.runs.records import open_records
from dvlite.show import some

_MOST_SHOWN = 3


def stopped(
    repo: Repo,
    at: Revision,
    event: Event,
    concerns: Callable[[Stage], bool],
    *,
    remote: str | None = None,
    progress: Progress,
) -> tuple[list[CheckVerdict], list[str]]:
    """Returns the checks of a revision that stop an event, of those that it `concerns`, and what others warn of.

    A result that is not here is looked for on a remote, once. A repository without checks costs reading its pipeline files. Raises
    FormatError for one that cannot be read.
    """
    checks = [check for check in checks_of(at) if event in spec_of(check).on and concerns(check)]
    if not checks:
        return [], []
    content, bases = content_at(repo, at, progress)
    known = KnownResults(open_records(repo, progress), lambda: _received(repo, remote, progress))
    verdicts = known.verdicts([reading(check, content, bases.of) for check in checks])
    left = [each for each in verdicts if not each.passed]
    return [each for each in left if each.on[event] == "block"], [
        each.sentence for each in left if each.on[event] == "warn"
    ]


def _received(repo: Repo, remote: str | None, progress: Progress) -> DvliteError | None:
    """Fetches results that others pushed; returns what prevented it."""
    try:
        _, opened = open_remote(repo, open_cache(repo), remote, None)
        with opened:
            share.receive(repo, opened, progress)
    except DvliteError as error:
        return error
    return None


def message(blocking: Sequence[CheckVerdict]) -> str:
    """Returns why something is stopped, in a sentence."""
    return some([each.sentence for each in blocking], _MOST_SHOWN)


def hints(blocking: Sequence[CheckVerdict]) -> list[str]:
    """Returns what to do about it, a way in each line."""
    return list(dict.fromkeys(each.hint for each in blocking if each.hint is not None))[:_MOST_SHOWN]
