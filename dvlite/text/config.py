"""The words of `config`: bare values for one setting, so that scripts can read them."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.config import ConfigResult, ConfigValue
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
            verb = f"= {_value(value)}" if result.action == "set" else "is not set any more"
            yield f"{value.key} {verb}" + (f"  in {printable(result.config_path)}" if result.config_path else "")
        yield from show.staged(result.staged)


def _value(value: ConfigValue) -> str:
    match value.value:
        case None:
            return ""
        case bool() as flag:
            return "true" if flag else "false"
        case list() as items:
            return ", ".join(map(printable, items))
        case other:
            return printable(str(other))
