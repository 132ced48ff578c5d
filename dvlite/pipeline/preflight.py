"""What is refused before anything runs, so that a typing error does not cost an hour of the stages before it; and data that did not follow git.

Outputs that are something else already, folders and programs that do not exist, data that stages depend on and that is not what its
pointer names. Reads, and changes nothing.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dvlite.errors import DvliteError
from dvlite.formats.pointer import SUFFIX
from dvlite.paths import ancestors, is_inside
from dvlite.pipeline.content import Contents
from dvlite.pipeline.known_data import as_output
from dvlite.pipeline.process import output_of, shell_command
from dvlite.pipeline.stages import Stage, StageOut
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import printable, quote, word
from dvlite.workspace import sparse
from dvlite.workspace.add_checks import refuse_ignored
from dvlite.workspace.outdated import Outdated, find_outdated, keeping
from dvlite.workspace.workspace import Workspace

_WORD = re.compile(r"[A-Za-z0-9_./+-]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def require_free(work: Workspace, stages: Sequence[Stage], tracked: Iterable[Tracked]) -> None:
    """Raises FormatError, with file and line, for an output that is something else already, and UsageError for a lockfile that git ignores."""
    _refuse_links(work, stages)
    _refuse_tracked(stages, {item.path for item in tracked if not item.lockfile})
    _refuse_in_git(work.repo, stages)
    refuse_ignored(work.repo, sorted({stage.lockfile for stage in stages}), "cannot record results in")


def _refuse_links(work: Workspace, stages: Sequence[Stage]) -> None:
    behind: dict[str, bool] = {}
    for stage, out in _outs(stages):
        folder = os.path.dirname(out.path)
        if folder not in behind:
            behind[folder] = work.is_behind_link(out.path)
        if behind[folder]:
            raise stage.wrong(
                out.line,
                f"the output {quote(out.path)} is behind a symbolic link",
                hint="replace the link by a folder, or name another output",
            )
        if (work.repo.root / out.path).is_symlink():
            raise stage.wrong(
                out.line,
                f"the output {quote(out.path)} is a symbolic link",
                hint="remove the link, or name another output",
            )


def _refuse_tracked(stages: Sequence[Stage], tracked: set[str]) -> None:
    above = {folder: path for path in tracked for folder in ancestors(path)}
    for stage, out in _outs(stages):
        inside = (path for path in (out.path, *ancestors(out.path)) if path in tracked)
        path = next(inside, above.get(out.path))
        if path is not None:
            what = "is" if path == out.path else "holds" if out.path in above else "is inside"
            raise stage.wrong(
                out.line,
                f"the output {quote(out.path)} {what} {quote(path)}, which is tracked on its own",
                hint=f"dvlite rm --cached {word(path)}, or name another output",
            )


def _refuse_in_git(repo: Repo, stages: Sequence[Stage]) -> None:
    cached = {out.path: (stage, out) for stage, out in _outs(stages) if out.spec.cache}
    patterns = [path for path in cached if sparse.is_glob(path)]
    names = repo.git.tracked_under([path for path in cached if path not in patterns])
    if patterns:
        names += repo.git.list_files(*(f":(glob){path}" for path in patterns))
    for name in names:
        if name.endswith((SUFFIX, ".gitignore")):
            continue
        chosen = (path for path in patterns if sparse.selector([path])(os.fsencode(name)))
        path = next((path for path in (name, *ancestors(name)) if path in cached), None) or next(chosen, None)
        if path is not None:
            stage, out = cached[path]
            raise stage.wrong(
                out.line,
                f"git tracks the output {quote(name)}" + (f", in {quote(path)}" if name != path else ""),
                hint=f"git rm -r -q --cached {word(path)}   then run again; or let git keep it:  {{path: {out.spec.path}, cache: false}}",
            )


def _outs(stages: Sequence[Stage]) -> Iterator[tuple[Stage, StageOut]]:
    return ((stage, out) for stage in stages for out in stage.outs)


def require_folder(stage: Stage, root: Path, outputs: Iterable[str]) -> None:
    """Raises FormatError if the folder that a stage runs in is not there; `outputs` are still to come."""
    if not (root / stage.wdir).is_dir() and not _is_output(stage.wdir, outputs):
        raise stage.wrong(
            stage.spec.line,
            f"the folder {quote(stage.spec.wdir)} that {stage.address} runs in does not exist",
            hint="make it, or correct its wdir",
        )


def require_command(
    stage: Stage, root: Path, environ: Mapping[str, str], outputs: Iterable[str], *, is_first: bool = True
) -> None:
    """Raises FormatError if the first word of a script is plainly a program that does not exist; `outputs` are still to come.

    A stage that runs before (not `is_first`) may make a program beside its outputs, such as `env/bin/python`.
    """
    words = stage.spec.cmd.split(None, 8)
    word = next((word for word in words if not _ASSIGNMENT.match(word)), "")
    if _WORD.fullmatch(word) is None or "()" in stage.spec.cmd or stage.spec.cmd.lstrip().startswith("PATH="):
        return
    if "/" in word:
        path = os.path.normpath(os.path.join(stage.wdir, word))
        exists = not is_first or os.path.lexists(root / path) or _is_output(path, outputs)
    else:
        exists = shutil.which(word, path=environ.get("PATH")) is not None or _is_word_of_shell(word, root, environ)
    if not exists:
        raise stage.wrong(
            stage.spec.cmd_line,
            f"the command {quote(word)} of {stage.address} is not found",
            hint="install it, or correct its name",
        )


def _is_word_of_shell(name: str, root: Path, environ: Mapping[str, str]) -> bool:
    return bool(output_of([*shell_command('command -v -- "$0"', environ), name], root, environ))


def _is_output(path: str, outputs: Iterable[str]) -> bool:
    return any(is_inside(path, output) for output in outputs)


def assume_followed(
    work: Workspace, contents: Contents, stages: Iterable[Stage], tracked: Iterable[Tracked]
) -> list[DvliteError]:
    """Lets `contents` take untouched earlier versions for what their pointers name; returns why stages cannot run with the others.

    Costs reading a small file for each pointer; a run of git and a look at the data only where the two differ.
    """
    pointers = [item for item in tracked if not item.stage]
    moved = [item for item in pointers if work.other_version(item) is not None]
    used = [place.path for stage in stages for place in (*stage.sources, *stage.params)] if moved else []
    values = [place.path for stage in stages for place in stage.params] if moved else []
    refused = []
    for item in moved:
        scan = work.scan(item.path) if any(_may_read(path, item.path) for path in used) else None
        behind = None if scan is None else find_outdated(work, item.path, item.pointer, scan, ())
        if behind is None:
            continue
        if behind.is_edited or any(_may_read(path, item.path) for path in values):
            refused.append(_refusal(work, item.path, behind))
        else:
            contents.assume(item.path, as_output(item.path, item.pointer))
    return refused


def _refusal(work: Workspace, path: str, behind: Outdated) -> DvliteError:
    shown = work.repo.display(path)
    message = f"cannot run with {quote(shown)}: {printable(shown + SUFFIX)} changed since it was checked out"
    if not behind.is_edited:
        return DvliteError(message, hint=behind.bring)
    add = f"dvlite add {word(shown)}"
    return DvliteError(
        f"{message}, and so did its files",
        hint=f"{behind.bring}   (keeps the files that you changed), then: {add}\n"
        f"to keep what is on disk instead: {keeping(work.repo, path, behind)}, then: {add}",
    )


def _may_read(path: str, data: str) -> bool:
    """Returns whether a dependency, or a pattern of them, may stand for data, for something inside or for a folder around it."""
    if sparse.is_glob(path):
        path = path[: min(path.find(letter) for letter in "*?[" if letter in path)]
        return data.startswith(path) or path.startswith(data + "/")
    return not path or path == data or path.startswith(data + "/") or data.startswith(path + "/")
