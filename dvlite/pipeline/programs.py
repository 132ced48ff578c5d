"""Tells before anything runs that a command cannot be found: a typing error should not cost an hour of the stages before it. Pure but for PATH."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from dvlite.files import quote
from dvlite.pipeline.stages import Stage

_WORD = re.compile(r"[A-Za-z0-9_./+-]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_WORDS = """
. : [ alias bg break builtin cd command continue declare echo eval exec exit export false fg for getopts hash if jobs kill let
local mapfile popd printf pushd pwd read readarray readonly return select set shift shopt source test time times trap true type
typeset ulimit umask unalias unset until wait while case function { ( [[ !
"""
_BUILT_IN = frozenset(_WORDS.split())


def require_folder(stage: Stage, root: Path, made: Iterable[str]) -> None:
    """Raises FormatError if the folder that a stage runs in is not there; `made` are outputs still to come."""
    if not (root / stage.wdir).is_dir() and not _is_made(stage.wdir, made):
        raise stage.wrong(
            stage.spec.line,
            f"the folder {quote(stage.spec.wdir)} that {stage.address} runs in does not exist",
            hint="make it, or correct its wdir",
        )


def require_command(stage: Stage, root: Path, environ: Mapping[str, str], made: Iterable[str]) -> None:
    """Raises FormatError if the first word of a script is plainly a program that does not exist; `made` are outputs still to come."""
    words = stage.spec.cmd.split(None, 8)
    word = next((word for word in words if not _ASSIGNMENT.match(word)), "")
    if _WORD.fullmatch(word) is None or word in _BUILT_IN or "()" in stage.spec.cmd:
        return
    if "/" in word:
        path = os.path.normpath(os.path.join(stage.wdir, word))
        found = os.path.lexists(root / path) or _is_made(path, made)
    else:
        found = shutil.which(word, path=environ.get("PATH")) is not None
    if not found:
        raise stage.wrong(
            stage.spec.cmd_line,
            f"the command {quote(word)} of {stage.address} is not found",
            hint="install it, or correct its name; nothing was run",
        )


def _is_made(path: str, made: Iterable[str]) -> bool:
    return any(path == each or path.startswith(each + "/") for each in made)
