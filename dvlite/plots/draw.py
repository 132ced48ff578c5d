"""Draws Vega-Lite charts as SVG with vl-convert (the extra `plots`), in a process of its own: a template may make its engine run or grow without end.

`python -m dvlite.plots.draw` is that process: a specification on each line of standard input, an SVG or an error on each line of standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from dvlite.errors import UsageError

_BATCH = 16  # charts that one process draws
_SECONDS = 60  # that it may take: it starts in 0.6 s and needs 0.1 s for each
_MISSING = "missing"
_MOST_LETTERS = 300  # of an error


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart, or why it could not be drawn."""

    svg: str = ""
    problem: str = ""


def drawn(specs: Sequence[dict[str, Any]]) -> list[Drawing]:
    """Returns a drawing for each specification; one that ends the process, or takes too long, spoils no other.

    Raises UsageError where vl-convert is not installed.
    """
    drawings: list[Drawing] = []
    while len(drawings) < len(specs):
        drawings += _answers(specs[len(drawings) : len(drawings) + _BATCH])
    return drawings


def _answers(specs: Sequence[dict[str, Any]]) -> list[Drawing]:
    """Returns the answers to the first specifications; the last may be that there was none."""
    lines = "".join(json.dumps(spec) + "\n" for spec in specs).encode()
    # -P: no module of the folder that this is run in, which may be anyone's
    words, why = [sys.executable, "-P", "-m", "dvlite.plots.draw"], "its drawing failed"
    try:
        output = subprocess.run(words, input=lines, capture_output=True, check=False, timeout=_SECONDS).stdout
    except subprocess.TimeoutExpired as error:
        output, why = error.stdout or b"", "its drawing took too long"
    answers = [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    if _MISSING in answers:
        raise UsageError("charts are drawn by vl-convert, which is not installed", hint="pip install 'dvlite[plots]'")
    drawings = [Drawing(**answer) for answer in answers]
    return drawings if len(drawings) == len(specs) else [*drawings, Drawing(problem=why)]


def _serve() -> None:
    try:
        import vl_convert
    except ImportError:
        sys.stdout.write(json.dumps(_MISSING) + "\n")
        return
    for line in sys.stdin:
        try:
            answer = {"svg": vl_convert.vegalite_to_svg(json.loads(line), allowed_base_urls=[])}
            expat.ParserCreate().Parse(answer["svg"], True)  # control characters pass Vega, and no browser
        except (ValueError, expat.ExpatError) as error:
            answer = {"problem": " ".join(str(error).split())[:_MOST_LETTERS]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
