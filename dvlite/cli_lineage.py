"""The verbs of runs and lineage on the command line: one short function for each. See `cli`."""

from __future__ import annotations

import click

VERBS: list[click.Command] = []
