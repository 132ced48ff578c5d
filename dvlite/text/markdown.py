"""Markdown as GitHub and GitLab show it, from names that anyone may have chosen: escaping, tables and blocks that fit into a limit. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dvlite.files import printable
from dvlite.show import count

COMMENT = 65_536  # characters of a comment on GitHub; counted in bytes here, to be safe elsewhere
SUMMARY = 1024 * 1024  # bytes of the job summary of one step

_SPECIAL = re.compile(r"[\\`*_{}\[\]#|~!$]")


def legal(text: str, *, lines: bool = False) -> str:
    """Returns text in which every character can be shown and stored; with `lines`, line ends and tabs stay."""
    kept = "\n\t" if lines else ""
    return "".join(each if each.isprintable() or each in kept else printable(each) for each in text)


def plain(text: str) -> str:
    """Returns text that shows as it is: no markup, no link, no cell that ends early, and nobody who is called by `@name`."""
    escaped = _SPECIAL.sub(lambda found: f"\\{found[0]}", html.escape(legal(text), quote=False))
    return escaped.replace("@", "@<!-- -->").replace("://", r"\://").replace("www.", "www<!-- -->.")


def code(text: str) -> str:
    """Returns a name or a command in code type, also inside a table."""
    shown = legal(text)
    if not shown:
        return ""
    if "`" in shown or "|" in shown or shown != shown.strip():  # no code span can hold these in a table
        return f"<code>{''.join(_entity(each) for each in shown)}</code>"
    return f"`{shown}`"


def _entity(letter: str) -> str:
    return letter if letter.isalnum() else f"&#{ord(letter)};"


def block(lines: Iterable[str]) -> str:
    """Returns lines as they are, in a block that nothing in them can end."""
    return f"<pre>{html.escape(legal(chr(10).join(lines), lines=True))}</pre>"


def opening(title: str) -> str:
    """Returns what opens a folded part, which `</details>` closes."""
    return f"<details><summary>{html.escape(legal(title)).replace('@', '@<!-- -->')}</summary>\n"


def row(cells: Sequence[str]) -> str:
    """Returns a row of a table."""
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
        """Says whether these lines leave the whole within a share of the limit, and a line to spare."""
        return self._bytes + sum(len(line.encode()) + 1 for line in lines) <= self.limit_bytes * share - _SPARE

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], *, share: float = 1.0, noun: str) -> None:
        """Adds a table; rows that do not fit are counted below it."""
        self.add("", row(heads), row(["---"] * len(heads)))
        left_out = 0
        for cells in rows:
            line = row(cells)
            if left_out or not self.fits(line, share=share):
                left_out += 1
            else:
                self.add(line)
        if left_out:
            self.add("", f"{count(left_out)} more {noun}{'' if left_out == 1 else 's'} did not fit here.")

    def text(self) -> str:
        return "\n".join(self._lines).rstrip("\n") + "\n"


_SPARE = 600  # bytes: for the words that say what did not fit, and the tags that must be closed
