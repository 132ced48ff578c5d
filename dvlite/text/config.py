"""The words of `config`: bare values for one setting, so that scripts can read them."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.config import ConfigResult, ConfigValue
from dvlite.show import Show, printable
from dvlite.text.style import table


def text(result: ConfigResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if result.action == "get":
        for value in result.values:
            yield _value(value)
    elif result.action == "list":
        yield from table(
            (value.key, _value(value), show.style("dim", printable(value.source))) for value in result.values
        )
    elif not show.quiet:
        for value in result.values:
            verb = "=" if result.action == "set" else "removed, now"
            yield f"{value.key} {verb} {_value(value)}" + (
                f"  in {printable(result.config_path)}" if result.config_path else ""
            )
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
