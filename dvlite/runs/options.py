"""Which runs a user asks for, as typed on the command line, and what it means to the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from dvlite.errors import DvliteError, UsageError
from dvlite.formats.record import Status
from dvlite.repo.repository import Repo
from dvlite.runs import columns
from dvlite.runs import filters as search
from dvlite.runs.columns import Space
from dvlite.runs.filters import Filters, SortOrder, parse_condition
from dvlite.runs.index import RunIndex
from dvlite.runs.names import find_stage, parse_time_ms, suggestion
from dvlite.runs.schema import METRIC, PARAM
from dvlite.show import quote, some

_MOST_KEYS = 1000  # that a word may stand for: each is named in the query


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsOptions:
    """Filters, columns and order of a listing, as typed. `sort` is a column, with `-` in front for descending."""

    stage: str | None = None
    statuses: Sequence[str] = ()
    tags: Sequence[str] = ()
    params: Sequence[str] = ()
    metrics: Sequence[str] = ()
    since: str | None = None
    until: str | None = None
    commit: str | None = None
    sweep: str | None = None
    hidden: bool = False  # those that `runs rm` hid too
    limit: int | None = 20
    columns: Sequence[str] = ()
    sort: str | None = None


def parsed(repo: Repo, options: RunsOptions, now_ms: int) -> Filters:
    """Parses what was typed; raises UsageError."""
    known_statuses = get_args(Status)
    for status in options.statuses:
        if status not in known_statuses:
            raise UsageError(f"{quote(status)} is not a status of a run", hint=f"one of {', '.join(known_statuses)}")
    conditions = [parse_condition(PARAM, text) for text in options.params]
    conditions += [parse_condition(METRIC, text) for text in options.metrics]
    return Filters(
        stage=options.stage,
        statuses=tuple(options.statuses),
        tags=tuple(tag for words in options.tags for tag in words.split(",") if tag),
        conditions=tuple(conditions),
        since_ms=None if options.since is None else _since_ms(repo, options.since, now_ms),
        until_ms=None if options.until is None else parse_time_ms(options.until, now_ms, end=True),
        commit=None if options.commit is None else _commit(repo, options.commit),
        sweep=options.sweep,
        hidden=None if options.hidden else False,
        limit=None if options.limit is None else options.limit + 1,  # one more shows that there are more
    )


def resolved(repo: Repo, index: RunIndex, filters: Filters) -> Filters:
    """Returns the filters with the stage that is meant; raises UsageError for a stage, parameter or metric that no run has."""
    words: dict[str, tuple[Space, str]] = {PARAM: ("param", "parameter"), METRIC: ("metric", "metric")}
    for condition in filters.conditions:
        space, noun = words[condition.space]
        keys = index.keys(space)
        meant = columns.find_keys(condition.key, {space: keys})
        if not meant:
            hint = suggestion(condition.key, [key.partition(":")[2] or key for key in keys], f"{noun}s")
            raise UsageError(f"no run has a {noun} {quote(condition.key)}", hint=hint)
        if len(meant) > _MOST_KEYS:
            message = f"{quote(condition.key)} may be any of {len(meant):,} {noun}s"
            raise UsageError(message, hint=f"give the whole key, for example {quote(meant[0][1])}")
    if filters.stage is None:
        return filters
    return replace(filters, stage=find_stage(index, filters.stage, repo.relative))


def order_of(text: str, index: RunIndex) -> SortOrder:
    """Parses the column to sort by; with `-` in front, descending."""
    word = text.removeprefix("-")
    if word in search.COLUMNS:
        return SortOrder("run", word, word != text)
    spaces: tuple[Literal["param", "metric", "env"], ...] = ("param", "metric", "env")
    keys = columns.find_keys(word, {space: index.keys(space) for space in spaces})
    if len(keys) != 1:
        others = f"it may be {some([key for _, key in keys])}" if keys else f"or one of {', '.join(search.COLUMNS)}"
        raise UsageError(
            f"{quote(word)} is not a column to sort by", hint=f"give the key of a parameter or metric; {others}"
        )
    return SortOrder(*keys[0], word != text)


def _since_ms(repo: Repo, text: str, now_ms: int) -> int:
    """Returns the time that a date or a revision stands for: of a commit, when it was made."""
    try:
        return parse_time_ms(text, now_ms)
    except UsageError as error:
        try:
            name = repo.commit_of(text)
            return repo.git.read_commits([name])[name].time * 1000
        except (DvliteError, KeyError):
            message = f"{quote(text)} is neither a date nor a revision"
            raise UsageError(message, hint=f"{error.hint}, v1.0") from None


def _commit(repo: Repo, text: str) -> str:
    """Returns the digits of a commit: as given, or of a revision."""
    if len(text) >= 4 and all(digit in "0123456789abcdef" for digit in text):
        return text
    return repo.commit_of(text)
