"""The verbs for git and CI on the command line: hooks, merges, verify; one short function for each. See `cli`."""

from __future__ import annotations

import click

VERBS: list[click.Command] = []
