"""Plots as one page of HTML: charts drawn before, images side by side, and what could not be read. Pure, but for the file.

Self-contained, and without a script: charts and images stand in it as pictures, in which a browser runs nothing and asks no host.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator

from dvlite import __version__
from dvlite.commands.plots import PlotsPage
from dvlite.plots.collect import Plot
from dvlite.reports.write import replace_file
from dvlite.show import count
from dvlite.text.markdown import legal

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1f2328; --dim: #59636e; --line: #d1d9e0; --bad: #cf222e }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --dim: #9198a1; --line: #3d444d; --bad: #ff7b72 } }
body { margin: 0 auto; max-width: 1400px; padding: 24px; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 24px; margin: 0 } h2 { font-size: 17px; margin: 0 0 8px; overflow-wrap: anywhere }
header p, figcaption, footer { color: var(--dim) } main { display: flex; flex-wrap: wrap; gap: 16px; margin: 24px 0 }
section { border: 1px solid var(--line); border-radius: 6px; padding: 16px; max-width: 100%; box-sizing: border-box }
figure { display: inline-block; margin: 0 16px 0 0; vertical-align: top; max-width: 100% } figcaption { overflow-wrap: anywhere }
img { max-width: 100%; background: #fff; border-radius: 4px } .bad { color: var(--bad); margin: 4px 0; overflow-wrap: anywhere }
"""


def write(page: PlotsPage, name: str) -> int:
    """Writes the page to a file and returns its size in bytes."""
    data = ("\n".join(_lines(page)) + "\n").encode()
    replace_file(name, data)
    return len(data)


def _text(text: str) -> str:
    return html.escape(legal(text))


def _lines(page: PlotsPage) -> Iterator[str]:
    title, sides = _text(f"{page.title}: plots"), ", ".join(side.revision for side in page.result.revisions)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield f"<header><h1>{title}</h1>\n<p>{_text(sides)}</p></header>\n<main>"
    for number, plot in enumerate(page.result.plots):
        yield f"<section><h2>{_text(plot.title)}</h2>"
        if number in page.charts and page.charts[number].svg:
            yield _picture("image/svg+xml", page.charts[number].svg.encode(), _described(plot))
        for image in plot.images:
            caption = f"{image.revision}: {image.file}"
            yield f"<figure>{_picture(image.type, image.content, caption)}<figcaption>{_text(caption)}</figcaption></figure>"
        yield from (f'<p class="bad">{_text(problem)}</p>' for problem in plot.problems)
        gaps = [f"{count(c.gaps)} of {c.column} in {c.file}, {c.revision}" for c in plot.curves if c.gaps]
        yield f"<p><small>Values that are not finite are gaps: {_text('; '.join(gaps))}</small></p>" if gaps else ""
        yield "</section>"
    yield "<p>There are no plots.</p>" if not page.result.plots else ""
    yield f"</main>\n<footer><small>dvlite {_text(__version__)}</small></footer>\n</body>\n</html>"


def _picture(kind: str, content: bytes, words: str) -> str:
    return f'<img alt="{_text(words)}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'


def _described(plot: Plot) -> str:
    curves = dict.fromkeys(f"{curve.column} of {curve.file}, {curve.revision}" for curve in plot.curves)
    return f"{plot.template} of {'; '.join(curves)}"
