"""The words of `config`: bare values for one setting, so that scripts can read them."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.config import ConfigResult, ConfigValue
from dvlite.formats.config import written
from dvlite.show import Show, printable

_LONG = 64


def text(result: ConfigResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if result.action == "get":
        for value in result.values:
            yield _value(value)
    elif result.action == "list":
        short = [
            row for row in result.values if len(row.key) + len(_value(row)) <= _LONG
        ]  # the others push no line apart
        keys, values = (max(map(len, texts), default=0) for texts in ([r.key for r in short], [*map(_value, short)]))
        for row in result.values:
            yield f"{row.key:<{keys}}  {_value(row):<{values}}  {show.style('dim', printable(row.source))}"
    elif not show.quiet:
        for value in result.values:
            file = printable(result.config_path or "")
            is_set = result.action == "set"
            yield f"{value.key} = {_value(value)}  in {file}" if is_set else f"Removed {value.key} from {file}"
            yield from _in_force(value, result.in_force)
        yield from show.staged(result.staged, result.unstaged)


def _in_force(changed: ConfigValue, now: ConfigValue | None) -> Iterator[str]:
    """Yields what holds after a change, where the line above does not say so."""
    if now is None:
        yield f"{changed.key} is not set any more"
    elif now.value != changed.value:
        source = "the default" if now.source == "default" else f"from {printable(now.source)}"
        yield f"in force: {_value(now)}, {source}"


def _value(value: ConfigValue) -> str:
    match value.value:
        case None:
            return ""
        case bool() as flag:
            return "true" if flag else "false"
        case list() as items:
            return ", ".join(map(printable, items))
        case other:
            return printable(str(written(value.key, other)))
