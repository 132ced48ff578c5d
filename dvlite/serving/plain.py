"""A plain folder for whatever else serves a model: `<model>/<version>/...`, and `current`: in a folder a link to the version, in a bucket its number."""

from __future__ import annotations

import re

from dvlite.serving.layout import ServingLayout

_NUMBER = re.compile(rb"([1-9][0-9]{0,17})\n?")


def current(data: bytes, where: str) -> int | None:
    """Returns the version that `current` names."""
    match = _NUMBER.fullmatch(data)
    return None if match is None else int(match[1])


LAYOUT = ServingLayout(to="dir", front="{name}/current", current=current)
