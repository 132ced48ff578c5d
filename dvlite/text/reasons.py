"""Why a stage is out of date, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvlite.show import Show, pair_text, printable, short_oid, value_text
from dvlite.workspace.changes import files_text

if TYPE_CHECKING:
    from dvlite.pipeline.reasons import Reason


def reason_text(reason: Reason, show: Show) -> str:
    """Returns why a stage is out of date, in a few words."""
    what, _, how = reason.kind.rpartition("-")
    name = short_name(reason.name) if what == "param" else printable(reason.name)
    if reason.kind in _FIXED:
        return _FIXED[reason.kind]
    if what == "output":
        return f"output {show.path(reason.name)} {_CHANGES.get(how, how)}"
    if what == "dep" and how == "changed" and reason.old == reason.new:
        return f"the executable bit of {show.path(reason.name)} changed"
    if what == "dep":
        versions = f" {short_oid(str(reason.old))} -> {short_oid(str(reason.new))}" if how == "changed" else ""
        counts = f" ({files_text(reason.counts, reason.files)})" if reason.counts is not None else ""
        return f"{show.path(reason.name)} {how}{versions}{counts}"
    if what in ("param", "env", "capture"):
        label = {"param": "", "env": "variable ", "capture": "captured "}[what]
        values = {
            "changed": " -> ".join(pair_text(reason.old, reason.new)),
            "added": f"added ({value_text(reason.new)})",
            "removed": f"removed (was {value_text(reason.old)})",
        }
        return f"{label}{name} {values[how]}"
    if reason.kind in ("cmd-changed", "wdir-changed", "map-changed"):
        return f"{what} changed: {value_text(reason.old)} -> {value_text(reason.new)}"
    return f"{what} {how}"


_FIXED = {
    "never-run": "never run",
    "forced": "forced",
    "always": "runs always",
    "upstream": "a stage before it runs",
    "definition-changed": "the declaration of its outputs changed",
}
_CHANGES = {
    "changed": "differs from what the stage produced",
    "missing": "is nowhere",
    "added": "is new in the pipeline file",
    "removed": "is no longer an output",
}


def short_name(name: str) -> str:
    """Returns a parameter or metric without its file."""
    return printable(name.rpartition(":")[2] or name)
