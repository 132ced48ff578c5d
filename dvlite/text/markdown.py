"""Markdown as GitHub and GitLab show it, from names that anyone may have chosen. The only writer of it: `Markup` is escaped text. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NewType

from dvlite.show import count, printable

COMMENT = 65_536  # characters of a comment on GitHub; counted in bytes here, to be safe elsewhere
SUMMARY = 1024 * 1024  # bytes of the job summary of one step

Markup = NewType("Markup", str)
_SPECIAL = re.compile(r"[\\`*_{}\[\]#|~!$]")


def legal(text: str, *, lines: bool = False) -> str:
    """Returns text in which every character can be shown and stored; with `lines`, line ends and tabs stay."""
    kept = "\n\t" if lines else ""
    return "".join(letter if letter.isprintable() or letter in kept else printable(letter) for letter in text)


def plain(text: str) -> Markup:
    """Returns text that shows as it is: no markup, no link, no mention by `@name`, no cell that ends early."""
    escaped = _SPECIAL.sub(lambda match: f"\\{match[0]}", html.escape(legal(text), quote=False))
    return Markup(escaped.replace("@", "@<!-- -->").replace("://", r"\://").replace("www.", "www<!-- -->."))


def code(text: str) -> Markup:
    """Returns a name or a command in code type, also inside a table."""
    shown = legal(text)
    if not shown:
        return Markup("")
    if "`" in shown or "|" in shown or shown != shown.strip():  # no code span can hold these in a table
        return Markup(f"<code>{''.join(_entity(letter) for letter in shown)}</code>")
    return Markup(f"`{shown}`")


def _entity(letter: str) -> str:
    return letter if letter.isalnum() else f"&#{ord(letter)};"


def block(lines: Iterable[str]) -> str:
    """Returns lines as they are, in a block that nothing in them can end."""
    return f"<pre>{html.escape(legal(chr(10).join(lines), lines=True))}</pre>"


def opening(title: str) -> str:
    """Returns what opens a folded part, which `</details>` closes."""
    return f"<details><summary>{html.escape(legal(title)).replace('@', '@<!-- -->')}</summary>\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[Markup]], *, right: Collection[int] = ()) -> Iterator[str]:
    """Yields a table; `right` are the columns, from 0, that are aligned to the right."""
    yield _row(map(plain, heads))
    yield _row(Markup("---:" if column in right else "---") for column in range(len(heads)))
    yield from map(_row, rows)


def _row(cells: Iterable[Markup]) -> str:
    return f"| {' | '.join(cells)} |"


@dataclass(slots=True)
class MarkdownDocument:
    """Markdown as it grows, within a limit in bytes; what does not fit is counted, not cut in two."""

    limit_bytes: int
    _lines: list[str] = field(default_factory=list)
    _bytes: int = 0

    def add(self, *lines: str) -> None:
        """Adds lines, whatever the limit."""
        self._lines += lines
        self._bytes += sum(len(line.encode()) + 1 for line in lines)

    def fits(self, *lines: str, share: float = 1.0) -> bool:
        """Returns whether these lines leave the whole within a share of the limit, and a line to spare."""
        return self._bytes + sum(len(line.encode()) + 1 for line in lines) <= self.limit_bytes * share - _SPARE

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[Markup]], *, share: float = 1.0, noun: str) -> None:
        """Adds a table; rows that do not fit are counted below it."""
        title, rule, *_ = table(heads, ())
        self.add("", title, rule)
        left_out = 0
        for line in map(_row, rows):
            if left_out or not self.fits(line, share=share):
                left_out += 1
            else:
                self.add(line)
        if left_out:
            self.add("", f"{count(left_out)} more {noun}{'' if left_out == 1 else 's'} did not fit here.")

    def text(self) -> str:
        return "\n".join(self._lines).rstrip("\n") + "\n"


_SPARE = 600  # bytes: for the words that say what did not fit, and the tags that must be closed
