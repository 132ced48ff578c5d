"""Dataclasses as JSON objects: fields that differ from their defaults are written; when read, each is checked as a table declares it. For formats with many fields.

A check returns the value to keep, or raises ValueError with the rest of the sentence "'field' ...". Knows no format.
"""
# ruff: noqa: TRY004  # every check raises ValueError, so that one place writes the message

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from dvlite.errors import FormatError
from dvlite.oid import FILE, MANIFEST
from dvlite.paths import check_paths

Check = Callable[[Any], Any]
_CONTAINERS = frozenset({list, dict})
_NO_NAMES = frozenset({"", ".", ".."})
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


class Checks(NamedTuple):
    """The checks of fields, and which of the fields have to be there."""

    by_name: Mapping[str, Check]
    required: tuple[str, ...]


def filled(body: Mapping[str, Any], checks: Checks) -> dict[str, Any]:
    """Returns the known fields of a mapping, checked; those that are absent are left to their defaults."""
    found = {}
    by_name = checks.by_name
    for key, value in body.items():  # runs for each field of a hundred thousand records: most fields are absent
        check = by_name.get(key)
        if check is not None:
            try:
                found[key] = check(value)
            except ValueError as error:
                raise ValueError(f"'{key}' {error}") from None
    for key in checks.required:
        if key not in found:
            raise ValueError(f"'{key}' is missing")
    return found


def written(value: Any, number: Callable[[Any], Any] = lambda value: value) -> Any:
    """Returns a value as JSON has it: a dataclass as an object of the fields that differ from their defaults, which `filled` reads again.

    `number` returns what stands for a value that is neither text nor a container.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {key: written(item, number) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [written(item, number) for item in value]
    if not is_dataclass(value):
        return number(value)
    body: dict[str, Any] = {}
    for item in fields(value):
        own = getattr(value, item.name)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if own != default or type(own) is not type(default):  # 0, 0.0 and false are equal
            body[item.name] = written(own, number)
    return body


def table(cls: type, *, but: Sequence[str] = (), **checks: Check) -> Checks:
    """Returns the checks of a dataclass; the fields `but` are checked elsewhere."""
    items = [item for item in fields(cls) if item.name not in but]
    required = tuple(item.name for item in items if item.default is item.default_factory is MISSING)
    return Checks({item.name: checks[item.name] for item in items}, required)


def text(most: int) -> Check:
    """Accepts a text of at most so many characters."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"is not a text of at most {most} characters")
        return value

    return check


def matching(pattern: re.Pattern[str], what: str) -> Check:
    """Accepts a text of this pattern; `what` says it in words."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise ValueError(f"is not {what}")
        return value

    return check


def one_of(*values: str) -> Check:
    """Accepts one of these texts."""

    def check(value: Any) -> Any:
        if value not in values:
            raise ValueError(f"is not one of {', '.join(values)}")
        return value

    return check


def number(least: int, most: int, *kinds: type) -> Check:
    """Accepts a number of one of these types (a truth value is none) in a range."""

    def check(value: Any) -> Any:
        if type(value) not in kinds or not least <= value <= most:
            raise ValueError("is not a number in its range")
        return value

    return check


def truth(value: Any) -> Any:
    """Accepts true or false."""
    if value is not True and value is not False:
        raise ValueError("is not true or false")
    return value


def or_none(check: Check) -> Check:
    """Accepts null, or what another check says."""
    return lambda value: None if value is None else check(value)


def each(check: Check) -> Check:
    """Accepts a list, kept as a tuple of what another check says of each item."""

    def check_all(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("is not a list")
        return tuple([check(item) for item in value])

    return check_all


def mapping(check: Check) -> Check:
    """Accepts an object with any keys; another check looks at each value."""

    def check_all(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("is not a mapping")
        for item in value.values():
            check(item)
        return value

    return check_all


def an_object(cls: Callable[..., Any], checks: Checks) -> Check:
    """Accepts an object with known fields, kept as what `cls` makes of them."""

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("is not an object")
        try:
            return cls(**filled(value, checks))
        except ValueError as error:
            raise ValueError(f"is wrong: {error}") from None

    return check


def any_mapping(value: Any) -> Any:
    """Accepts an object, whatever it holds."""
    if not isinstance(value, dict):
        raise ValueError("is not a mapping")
    return value


def scalars(value: Any) -> Any:
    """Accepts an object that holds no list and no object."""
    if not _CONTAINERS.isdisjoint(map(type, any_mapping(value).values())):
        raise ValueError("holds more than a number or a text")
    return value


def oid_of(*kinds: str) -> Check:
    """Accepts the text of an oid of one of these kinds."""
    return matching(re.compile(f"(?:{'|'.join(kinds)}):[0-9a-f]{{64}}"), f"an id of the kind {' or '.join(kinds)}")


def relative_path(value: Any) -> Any:
    """Accepts a path below the repository's root, without `.` and `..`."""
    if not isinstance(value, str) or not 0 < len(value) <= 4096 or "\0" in value:
        raise ValueError("is not a path")
    if not _NO_NAMES.isdisjoint(value.split("/")):
        raise ValueError("is not a plain path relative to the repository")
    return value


def written_path(value: Any) -> Any:
    """Accepts a path that something will be written to: the rules for paths of data apply."""
    _check_written(relative_path(value))
    return value


@lru_cache(1000)  # the runs of a repository write the same paths
def _check_written(path: str) -> None:
    try:
        check_paths([os.fsencode(path)])
    except FormatError as error:
        raise ValueError(f"is refused: {error.message}") from None


def relative_folder(value: Any) -> Any:
    """Accepts a relative folder, which may begin with `..`."""
    if not isinstance(value, str) or not 0 < len(value) <= 4096 or "\0" in value or value.startswith("/"):
        raise ValueError("is not a relative folder")
    return value


def timestamp(value: Any) -> Any:
    """Accepts a time as records hold it, or an empty text."""
    if value == "":
        return value
    try:
        if not isinstance(value, str) or _TIME.fullmatch(value) is None:
            raise ValueError(value)
        dt.datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not a time like 2026-11-22T14:02:00.000Z") from None
    return value


hex64 = matching(re.compile(r"[0-9a-f]{64}"), "64 hex digits")
project_id = matching(re.compile(r"(?:[0-9a-f]{32})?"), "32 hex digits")
data_oid = oid_of(FILE, MANIFEST)
size = number(0, (1 << 63) - 1, int)
seconds = number(0, 10**12, int, float)
line = text(4096)
exit_code = or_none(number(-(1 << 31), 1 << 32, int))
signal_number = or_none(number(0, 1 << 16, int))
