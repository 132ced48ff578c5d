"""Whether paths can be outputs of stages: not what git keeps, not what is tracked on its own, not behind a link. Looks, changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from dvlite.files import quote
from dvlite.formats.pointer import SUFFIX
from dvlite.pipeline.stages import Stage, StageOut
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.workspace import sparse
from dvlite.workspace.workspace import Workspace


def require_free(work: Workspace, stages: Sequence[Stage], tracked: Iterable[Tracked]) -> None:
    """Raises FormatError, with file and line, for an output that is something else already."""
    _refuse_links(work, stages)
    _refuse_tracked(stages, {item.path for item in tracked if not item.lockfile})
    _refuse_in_git(work.repo, stages)


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
    above = {folder: path for path in tracked for folder in _folders_above(path)}
    for stage, out in _outs(stages):
        inside = (path for path in (out.path, *_folders_above(out.path)) if path in tracked)
        path = next(inside, above.get(out.path))
        if path is not None:
            what = "is" if path == out.path else "holds" if out.path in above else "is inside"
            raise stage.wrong(
                out.line,
                f"the output {quote(out.path)} {what} {quote(path)}, which is tracked on its own",
                hint=f"dvlite rm --cached {path}, or name another output",
            )


def _refuse_in_git(repo: Repo, stages: Sequence[Stage]) -> None:
    cached = {out.path: (stage, out) for stage, out in _outs(stages) if out.spec.cache}
    patterns = [path for path in cached if sparse.is_glob(path)]
    found = repo.git.tracked_under([path for path in cached if path not in patterns])
    if patterns:
        named = (f":(glob){path}" for path in patterns)
        found += [os.fsdecode(name) for name in repo.git.run("ls-files", "-z", "--", *named).split(b"\0") if name]
    for name in found:
        if name.endswith((SUFFIX, ".gitignore")):
            continue
        chosen = (path for path in patterns if sparse.selector([path])(os.fsencode(name)))
        path = next((path for path in (name, *_folders_above(name)) if path in cached), None) or next(chosen, None)
        if path is not None:
            stage, out = cached[path]
            raise stage.wrong(
                out.line,
                f"git tracks the output {quote(name)}" + (f", in {quote(path)}" if name != path else ""),
                hint=f"git rm -r --cached {path}   then run again; or let git keep it:  {{path: {out.spec.path}, cache: false}}",
            )


def _outs(stages: Sequence[Stage]) -> Iterator[tuple[Stage, StageOut]]:
    return ((stage, out) for stage in stages for out in stage.outs)


def _folders_above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
