"""The page of runs: one HTML file with its program, its style and the runs as JSON. Pure, but for the files of this package.

The page is opened from disk and mailed around, and records may come from strangers: a policy lets nothing run but the program that was
built from `web/`, by its hash, and no request leave; the JSON cannot end its element; the program shows names and values as text only.
Columns are sent as columns, a value that many runs share once.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from dvlite import __version__
from dvlite.commands.view import PageCheck, RunDetail, ViewPage
from dvlite.formats import record
from dvlite.formats.record import Imported, MapRun, Status
from dvlite.formats.series import Series
from dvlite.oid import MANIFEST, Oid
from dvlite.reports.write import replace_file
from dvlite.runs.curves import thinned
from dvlite.runs.names import name_of
from dvlite.runs.page import PageColumn, PageContent, RunsOfPage
from dvlite.runs.previews import FilePreview, TextPreview
from dvlite.runs.schema import METRIC, loaded_value
from dvlite.text.markdown import legal

SCRIPT, STYLE = "runs_page.js", "runs_page.css"  # built by `make web`
_POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'"
)
_MOST_ARTIFACTS = 100  # of an imported run
_DIGITS = 12  # of ids
_MILLION = 10**6


def write(page: ViewPage, name: str) -> int:
    """Writes the page to a file and returns its size in bytes."""
    data = document(page)
    replace_file(name, data)
    return len(data)


def document(page: ViewPage) -> bytes:
    """Returns the document."""
    script, style = (files("dvlite.reports").joinpath(name).read_text(encoding="utf-8") for name in (SCRIPT, STYLE))
    policy = _POLICY.format(script=_hash(script), style=_hash(style))
    title = html.escape(legal(f"{page.title}: runs"))
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>",
            '<div id="page"></div>\n<noscript>This page shows runs with JavaScript, which is switched off.</noscript>',
            f'<script type="application/json" id="runs">{_json(_content(page))}</script>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    ).encode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: Any) -> str:
    """Returns JSON in ASCII that may stand in an element: without `<`, it has no tag and no comment."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # some value is not finite, which JSON has no word for
        text = json.dumps(_worded(value), separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _worded(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _worded(item) for key, item in value.items()}
    return [*map(_worded, value)] if isinstance(value, (list, tuple)) else value


# --- content


def _content(page: ViewPage) -> dict[str, Any]:
    runs = page.runs
    return {
        "title": page.title,
        "written": page.written,
        "dvlite": __version__,
        "known": page.known,
        "listed": runs.listed,
        "asked": list(page.columns),
        "order": page.order,
        "fields": _fields(page),
        "columns": [
            {
                "space": column.space,
                "key": column.key,
                **_column(column.values, len(runs.runs)),
                **_better(page, column),
            }
            for column in runs.columns
        ],
        "makers": [runs.makers.get(place, 0) for place in range(len(runs.runs))],
        "contents": _contents(runs.contents, page.checks),
        "tags": runs.tags,
        "notes": {place: [[note.text, note.time, note.user] for note in notes] for place, notes in runs.notes.items()},
        "details": {place: _detail(detail) for place, detail in page.details.items()},
        "unread": {
            place: [legal(text) for text in read.problems] for place, read in page.series.items() if read.problems
        },
        "files": {place: [_file(item) for item in items] for place, items in page.files.items()},
        "series": [
            _series(place, name, series) for place, read in page.series.items() for name, series in read.series.items()
        ],
    }


def _fields(page: ViewPage) -> dict[str, Any]:
    runs: RunsOfPage = page.runs
    places = {run.oid: place for place, run in enumerate(runs.runs)}
    commits = [page.commits.get(place) or run.code for place, run in enumerate(runs.runs)]
    return {
        "name": {"v": runs.names},
        "start": {"v": [record.time_ns(run.start) // _MILLION or None for run in runs.runs]},
        "seconds": {"v": [run.seconds for run in runs.runs]},
        "commit": _coded([commit and commit[:_DIGITS] for commit in commits]),
        "of": _coded([None if run.origin is None else _name(run.stage, run.origin, places, runs) for run in runs.runs]),
        "edited": _coded([run.dirty for run in runs.runs]),
        **{
            key: _coded([getattr(run, key) for run in runs.runs])
            for key in ("stage", "file", "status", "exit_code", "user", "host", "sweep")
        },
    }


def _name(stage: str, oid: Oid, places: Mapping[Oid, int], runs: RunsOfPage) -> str:
    return runs.names[places[oid]] if oid in places else name_of(stage, oid)


def _coded(values: Sequence[Any]) -> dict[str, Any]:
    """Returns values as `v`, or where many are the same each once as `u`, with the place of each as `c`; -1 is none."""
    unique = dict.fromkeys(values)
    unique.pop(None, None)
    if len(unique) * 2 > len(values):
        return {"v": values}
    codes = {value: code for code, value in enumerate(unique)}
    codes[None] = -1
    return {"u": [*unique], "c": [codes[value] for value in values]}


def _column(stored: Mapping[int, float | str], count: int) -> dict[str, Any]:
    column = _coded([*map(stored.get, range(count))])
    key = "u" if "u" in column else "v"
    return {**column, key: [None if value is None else loaded_value(value) for value in column[key]]}


def _better(page: ViewPage, column: PageColumn) -> dict[str, str]:
    is_judged = column.space == METRIC and column.key in page.better
    return {"better": page.better[column.key]} if is_judged else {}


def _contents(rows: Sequence[PageContent], checks: Mapping[Oid, tuple[PageCheck, ...]]) -> dict[str, Any]:
    place = {oid: position for position, oid in enumerate(checks)}
    return {
        "run": [item.run for item in rows],
        "output": [item.output for item in rows],
        "path": _coded([item.path for item in rows]),
        "id": _coded([item.oid.rpartition(":")[2][:_DIGITS] for item in rows]),
        "directory": _coded([item.oid.startswith(MANIFEST) for item in rows]),
        "size": _coded([item.size_bytes for item in rows]),
        "files": _coded([item.files for item in rows]),
        "checks": {
            "u": [[(each.check, each.state, each.problems) for each in known] for known in checks.values()],
            "c": [place.get(item.oid, -1) for item in rows],
        },
    }


def _detail(detail: RunDetail) -> dict[str, Any]:
    run = detail.record
    facts = {
        "cmd": run.facts.cmd,
        "wdir": run.facts.wdir,
        "repo": run.code.repo,
        "code": run.code.commit,
        "edited": run.code.dirty,
        "taint": run.taint,
        "signal": run.signal,
        "cpu_seconds": run.cpu_seconds,
        "max_rss_bytes": run.max_rss_bytes,
        "ci": run.ci,
        "dvlite": run.dvlite,
        "log": _text(detail.log),
        "diff": _text(detail.diff),
        "datums": _datums(run.mapped, run.status),
        **_imported(run.file, run.imported),
    }
    return {key: value for key, value in facts.items() if value not in (None, (), "")}


def _datums(mapped: MapRun | None, status: Status) -> dict[str, Any] | None:
    if mapped is None:
        return None
    failures = [(legal(one.name), legal(one.problem)) for one in mapped.failures]
    left = mapped.datums - mapped.ran - mapped.reused - mapped.failed
    counts = {"total": mapped.datums, "ran": mapped.ran, "reused": mapped.reused, "failed": mapped.failed}
    not_run = max(0, left) if status in ("failed", "canceled") else 0
    return {**counts, "not_run": not_run, "failures": failures}


def _imported(program: str, source: Imported | None) -> dict[str, Any]:
    if source is None:
        return {}
    artifacts = [
        (f"{item.path} (read)" if item.role == "input" else item.path, item.size_bytes, item.digest or item.url)
        for item in source.artifacts[:_MOST_ARTIFACTS]
    ]
    where = " / ".join(part for part in (source.group, source.name) if part)
    return {"imported": f"{program}: {where}", "url": source.url, "artifacts": artifacts or None}


def _text(preview: TextPreview | None) -> dict[str, Any] | None:
    if preview is None:
        return None
    text = legal(preview.text, lines=True)
    return {"text": text, "left_out": preview.left_out_bytes, "problem": legal(preview.problem)}


def _file(item: FilePreview) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": item.path, "kind": item.kind}
    if item.problem:
        return {**shown, "problem": legal(item.problem)}
    if item.kind == "table":
        return {**shown, "rows": item.rows}
    return {**shown, "uri": f"data:{item.kind};base64,{base64.b64encode(item.picture).decode()}"}


def _series(place: int, name: str, whole: Series) -> dict[str, Any]:
    """Returns a series as the page draws it; a value that is not finite is a gap."""
    series = thinned(whole)
    return {
        "run": place,
        "name": name,
        "points": len(whole.values),
        "steps": [*series.steps],
        "values": [value if math.isfinite(value) else None for value in series.values],
        **({"times": [*series.times]} if series.times else {}),
    }
