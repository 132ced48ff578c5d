"""Which stages the words that a user gave stand for, and which file of parameters `-S` means. Pure but for paths."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import lockfile
from dvlite.git.conversions import LINE_ENDS, changed_on_commit
from dvlite.git.output import is_lockfile
from dvlite.paths import is_inside
from dvlite.pipeline.graph import StageGraph
from dvlite.pipeline.stages import Stage, left_out
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Revision
from dvlite.repo.stage_names import stages_named
from dvlite.repo.tracked_paths import Tracked, Unusable
from dvlite.show import closest, quote, some, word
from dvlite.workspace import sparse

DEFAULT_PARAMS = "params.yaml"
_MOST_NAMED = 500  # what fits into a command line


@dataclass(frozen=True, slots=True)
class Chosen:
    """The stages of a command, in order, and those among them that were named."""

    stages: tuple[Stage, ...]
    named: frozenset[str]


def choose(
    repo: Repo, graph: StageGraph, words: Sequence[str], *, single: bool = False, downstream: bool = False
) -> Chosen:
    """Returns the stages that words stand for, with all before them; `single`: without; `downstream`: with all after them instead.

    A word is a stage, a glob of their names, an output or something in it, a pipeline file, or a folder (all stages of pipeline files
    below). No words: all stages.
    """
    if not words:
        return Chosen(graph.stages, frozenset(stage.address for stage in graph.stages))
    named = {address for word in words for address in _meant(repo, graph, word)}
    wanted = named if single else graph.downstream(named) if downstream else graph.upstream(named)
    return Chosen(tuple(stage for stage in graph.stages if stage.address in wanted), frozenset(named))


def _meant(repo: Repo, graph: StageGraph, word: str) -> list[str]:
    by_address = [stage.address for stage in graph.stages]
    if named := stages_named(word, by_address, repo.relative):
        return named
    path = repo.relative(word)
    stages = [stage.address for stage in graph.stages if path in (stage.file, stage.lockfile)]
    stages = stages or [stage.address for stage in graph.stages if any(_makes(out.path, path) for out in stage.outs)]
    stages = stages or [stage.address for stage in graph.stages if is_inside(stage.file, path)]
    if not stages:
        raise _unknown(word, by_address)
    return stages


def without_left_out(at: Revision, stages: Sequence[Stage], *, is_chosen: bool) -> tuple[tuple[Stage, ...], list[str]]:
    """Returns the stages that a sparse checkout does not leave out, and a warning about the others.

    Raises UsageError if nothing remains, and where the user has chosen the stages.
    """
    absent = left_out(at, stages)
    if not absent:
        return tuple(stages), []
    file = next(iter(absent.values()))
    reason = f"{some(list(absent))}: the sparse checkout leaves out {quote(file)}"
    if is_chosen or len(absent) == len(stages):
        raise UsageError(f"cannot run {reason}", hint=at.widening(file))
    return tuple(stage for stage in stages if stage.address not in absent), [f"not looked at: {reason}"]


def require_readable(stages: Iterable[Stage], broken: Iterable[DvliteError], tracked: Iterable[Tracked]) -> None:
    """Raises the error of a pipeline file that cannot be read if a stage needs what, by the lockfile beside it, its stages make."""
    errors = {posixpath.dirname(error.file): error for error in broken if isinstance(error, Unusable)}
    outputs = {item.path: posixpath.dirname(item.lockfile) for item in tracked if item.lockfile} if errors else {}
    for path, folder in outputs.items():
        if folder in errors:
            for stage in stages:
                if any(_holds(dep.path, path) or _holds(path, dep.path) for dep in stage.sources):
                    raise errors[folder]


def _makes(out: str, path: str) -> bool:
    return _holds(out, path) or (sparse.is_glob(out) and sparse.selector([out])(os.fsencode(path)))


def _holds(out: str, path: str) -> bool:
    return is_inside(path, out)


def _unknown(word: str, known: Iterable[str]) -> UsageError:
    close = closest(word, sorted(known))
    hint = f"did you mean {close}?   all stages: dvlite stage list" if close else "all stages: dvlite stage list"
    return UsageError(f"{quote(word)} is neither a stage nor an output of one", hint=hint)


def params_file(repo: Repo, stages: Sequence[Stage], text: str) -> tuple[str, str]:
    """Returns the file (relative to the repository) and the dotted key that `FILE:KEY`, or a key that stages declare, means.

    Of several files with a key, the one in the current folder is meant, unless that is the root. Raises UsageError if none is.
    """
    file, colon, key = text.rpartition(":")
    if colon:
        return repo.relative(file), key
    files = [
        place.path
        for stage in stages
        for place in stage.params
        if any(_related(text, declared) for declared in place.spec.keys)
    ]
    files = files or [place.path for stage in stages for place in stage.params if not place.spec.keys]
    unique = list(dict.fromkeys(files))
    nearest = [name for name in unique if posixpath.dirname(name) == (repo.relative(".") or None)]
    if len(unique) > 1 and len(nearest) != 1:
        names = [word(f"{repo.display(name)}:{text}=VALUE") for name in unique]
        raise UsageError(
            f"{quote(text)} is a parameter in several files",
            hint=f"one of: {', '.join(f'-S {name}' for name in names)}",
        )
    return (*nearest, *unique, repo.relative(DEFAULT_PARAMS))[0], text


def _related(word: str, declared: str) -> bool:
    return word == declared or word.startswith(declared + ".") or f".{declared}.".find(f".{word}.") >= 0


def differing_files(repo: Repo, stages: Iterable[Stage], paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns what of a pipeline git does not have and would not ignore, and what its index has otherwise: a commit of the index would not fit."""
    named = _pathspecs(stages, paths)
    unknown, modified = repo.git.differing(*named) if named else ([], [])
    return unknown, [name for name in modified if not is_lockfile(name)]


def changed_by_git(repo: Repo, stages: Sequence[Stage]) -> list[str]:
    """Returns a warning for each way in which git changes files on commit that stages read, or that they make for git to keep."""
    paths = [dep.path for stage in stages for dep in stage.sources]
    paths += [out.path for stage in stages for out in stage.outs if not out.spec.cache]
    named = _pathspecs(stages, paths)
    changed = changed_on_commit(repo.git, *named) if named else {}
    by_cause: dict[str, list[str]] = {}
    for path, cause in changed.items():
        by_cause.setdefault(cause, []).append(path)
    return [
        f"git changes {some([quote(path) for path in names])} on commit ({cause}): other clones have other bytes, and verify --rev"
        f" compares those; to use them here, once they are committed: {'' if cause != LINE_ENDS else 'git config core.autocrlf input && '}"
        f"rm {word(names[0])} && git checkout -- {word(names[0])} && dvlite repro"
        for cause, names in by_cause.items()
    ]


def _pathspecs(stages: Iterable[Stage], paths: Iterable[str]) -> list[str]:
    """Returns what git is asked for: these paths, and the pipeline files and files of parameters of stages."""
    wanted = {file for stage in stages for file in (stage.file, *stage.values)} | set(paths)
    wanted |= {place.path for stage in stages for place in stage.params}
    wanted = {path for path in wanted if path and posixpath.basename(path) != lockfile.FILE_NAME}
    return [f":({'glob' if sparse.is_glob(path) else 'literal'}){path}" for path in sorted(wanted)[:_MOST_NAMED]]
