"""The kinds of tracked paths and of changes, as results name them."""

from __future__ import annotations

from typing import Literal

Kind = Literal["file", "directory"]
ChangeKind = Literal["added", "removed", "modified", "renamed"]
