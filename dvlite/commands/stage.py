"""`dvlite stage add` and `stage list`: the stages in the pipeline files."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

from dvlite.errors import DvliteError, FormatError, PartlyDone, UsageError
from dvlite.files import read_regular, write_atomic
from dvlite.formats import lockfile, pipeline
from dvlite.formats.pipeline import FILE_NAME, PARAMS_FILE, STAGE_NAME
from dvlite.formats.strict_yaml import Tree, load
from dvlite.formats.yaml_edit import edit
from dvlite.paths import overlap
from dvlite.pipeline import graph, stages
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.repo import config_files
from dvlite.repo.repository import Repo
from dvlite.show import Show, count, quote, word
from dvlite.workspace.add_checks import refuse_ignored

SCHEMA_FILE = f"{config_files.FOLDER}/schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAddResult:
    """A stage that was written into a pipeline file."""

    schema: ClassVar[str] = "dvlite.stage-add/1"
    stage: str  # its address
    file: str
    replaced: bool = False
    created: tuple[str, ...] = ()  # files that did not exist before
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One stage as its file says it; paths and patterns are relative to the repository."""

    stage: str
    file: str
    line: int
    cmd: str
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    desc: str = ""
    always: bool = False
    frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageListResult:
    """The stages of all pipeline files that could be read."""

    schema: ClassVar[str] = "dvlite.stage-list/1"
    stages: tuple[StageRow, ...] = ()
    unread: int = 0  # pipeline files with an error
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns how many pipeline files could not be read."""
        if not self.unread:
            return None
        message = f"{count(self.unread, 'pipeline file')} could not be read"
        return PartlyDone(message, hint="correct what the warnings above name")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStage:
    """A stage in the words of a command line; paths are relative to the current folder."""

    name: str
    command: Sequence[str]
    deps: Sequence[str] = ()
    outs: Sequence[str] = ()
    outs_no_cache: Sequence[str] = ()
    persist: Sequence[str] = ()
    params: Sequence[str] = ()
    metrics: Sequence[str] = ()
    metrics_no_cache: Sequence[str] = ()
    env: Sequence[str] = ()
    capture: Sequence[str] = ()
    wdir: str | None = None
    desc: str = ""
    always: bool = False


def stage_add(
    repo: Repo, new: NewStage, *, force: bool = False, stage: bool = True, progress: Progress
) -> StageAddResult:
    """Writes a stage into the pipeline file of the current folder, which is created if it does not exist; comments in it stay.

    Raises UsageError, with nothing written, for a stage that exists (without `force`), for outputs that others have, and for a circle.
    """
    folder = repo.relative(".")
    file = posixpath.join(folder, FILE_NAME)
    with repo.lock():
        before = repo.work_tree.read(file)
        known = pipeline.parse(before or b"", repo.display(file)).stages
        replaced = any(spec.name == new.name for spec in known)
        if replaced and not force:
            raise UsageError(
                f"there is a stage {quote(new.name)} in {quote(repo.display(file))} already",
                hint="to replace it: --force",
            )
        data = _with_stage(
            before if before is not None else _head(folder), new, _tree(repo, folder, new), repo.display(file)
        )
        _check(repo, file, new.name, data)
        refuse_ignored(repo, [file, posixpath.join(folder, lockfile.FILE_NAME)], "cannot keep stages in")
        created = _write(repo, file, data, is_new=before is None)
        written = (file, SCHEMA_FILE)
        staged = repo.stage(written, enabled=None if stage else False)
    return StageAddResult(
        stage=f"{folder}:{new.name}" if folder else new.name,
        file=file,
        replaced=replaced,
        created=created,
        staged=staged,
        unstaged=() if staged else written,
    )


def stage_list(repo: Repo, *, progress: Progress) -> StageListResult:
    """Returns the stages of every pipeline file, in the order of files and of lines; a file that cannot be read is warned of."""
    loaded = stages.load(repo.work_tree)
    rows = tuple(
        StageRow(
            stage=known.address,
            file=known.file,
            line=known.spec.line,
            cmd=known.spec.cmd,
            deps=tuple(dep.path for dep in known.deps),
            outs=tuple(out.path for out in known.outs if not out.spec.metric),
            metrics=tuple(out.path for out in known.outs if out.spec.metric),
            desc=known.spec.desc,
            always=known.spec.always,
            frozen=known.spec.frozen,
        )
        for known in loaded.stages
    )
    return StageListResult(
        stages=rows, unread=len(loaded.broken), warnings=tuple(error.message for error in loaded.broken)
    )


# --- from words to a mapping


def _tree(repo: Repo, folder: str, new: NewStage) -> dict[str, Tree]:
    """Returns the stage as the file will say it, its paths relative to the folder that it runs in."""
    wdir = folder if new.wdir is None else repo.relative(new.wdir)

    def local(text: str) -> str:
        return posixpath.relpath(repo.relative(text) or ".", wdir or ".")

    outs: list[Tree] = [local(out) for out in new.outs]
    outs += [{"path": local(out), "cache": False} for out in new.outs_no_cache]
    outs += [{"path": local(out), "persist": True} for out in new.persist]
    metrics: list[Tree] = [local(out) for out in new.metrics]
    metrics += [{"path": local(out), "cache": False} for out in new.metrics_no_cache]
    tree: dict[str, Tree] = {
        "desc": new.desc,
        "wdir": "" if wdir == folder else posixpath.relpath(wdir or ".", folder or "."),
        "cmd": _script(new.command),
        "deps": [local(dep) for dep in new.deps],
        "params": list(_params(new.params, local)),
        "outs": outs,
        "metrics": metrics,
        "env": dict(_variable(text) for text in new.env),
        "capture": [_capture(text) for text in new.capture],
        "always": new.always,
    }
    return {key: value for key, value in tree.items() if value}


def _script(command: Sequence[str]) -> Tree:
    """Returns the words as one line for the shell; one word with spaces is a line already, one with line ends a list of lines."""
    script = command[0] if len(command) == 1 and " " in command[0].strip() else shlex.join(command)
    lines = script.strip("\n").split("\n")
    return [*lines] if len(lines) > 1 and all(line.strip() for line in lines) else script.strip("\n")


def _params(words: Sequence[str], local: Callable[[str], str]) -> Iterator[Tree]:
    """Yields what `lr`, `lr,net.depth`, `conf/other.toml:seed` and `conf/all.json:` mean."""
    for text in words:
        file, colon, keys = text.rpartition(":")
        names: list[Tree] = [key.strip() for key in keys.split(",") if key.strip()]
        if not colon or (local(file) == PARAMS_FILE and names):
            yield from names
        else:
            yield {local(file): names or None}


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(
            f"{quote(text)} is not NAME=VALUE", hint=f"to record a variable, and not set it: -c env:{name}"
        )
    return name, value


def _capture(text: str) -> Tree:
    """Returns what `numpy`, `env:HOSTNAME` and `cmd:nvcc --version` mean."""
    kind, colon, rest = text.partition(":")
    return {kind: rest} if colon and kind in pipeline.CAPTURE_KEYS else text


# --- the file


def _head(folder: str) -> bytes:
    """Returns how a new pipeline file begins: editors complete what the schema knows."""
    return f"# yaml-language-server: $schema={posixpath.relpath(SCHEMA_FILE, folder or '.')}\n".encode()


def _with_stage(data: bytes, new: NewStage, tree: dict[str, Tree], shown: str) -> bytes:
    """Returns the file with the stage in it; of one that is replaced, comments beside what stays are kept."""
    known = load(data, shown).value.get("stages")
    old = known.get(new.name) if isinstance(known, dict) else None
    if not isinstance(old, dict):
        return edit(data, ("stages", new.name), tree, shown)
    for key, value in tree.items():
        data = edit(data, ("stages", new.name, key), value, shown)
    for key in old.keys() - tree.keys():
        data = edit(data, ("stages", new.name, key), None, shown)
    return data


def _check(repo: Repo, file: str, name: str, data: bytes) -> None:
    """Raises UsageError if the file as it would be is wrong, or does not go with what else there is."""
    if STAGE_NAME.fullmatch(name) is None:
        raise UsageError(
            f"{quote(name)} cannot be the name of a stage", hint="use letters, digits, '_' and '-', at most 100"
        )
    try:
        specs = pipeline.parse(data, file).stages
        own = stages.bind(file, specs)
    except FormatError as error:
        raise _in_words(error) from None
    others = stages.load(repo.work_tree, [other for other in repo.work_tree.pipeline_files() if other != file]).stages
    everything = [*others, *own]
    added = next(known for known in own if known.name == name)
    rest = [known for known in everything if known is not added]
    _refuse_taken(repo, added, rest)
    try:
        graph.build(rest)
    except FormatError:
        return  # it was wrong before: repro says so
    try:
        graph.build(everything)
    except FormatError as error:
        raise _in_words(error) from None


def _in_words(error: FormatError) -> UsageError:
    """Returns an error of a file that was never written, as one of the command line."""
    return UsageError(error.reason, hint=error.hint)


def _refuse_taken(repo: Repo, added: Stage, others: Sequence[Stage]) -> None:
    """Raises UsageError for an output that is, holds or is inside what is tracked or another stage makes."""
    tracked = {item.path: "is tracked" for item in repo.work_tree.tracked([]) if not item.lockfile}
    taken = tracked | {out.path: f"is an output of {other.address}" for other in others for out in other.outs}
    for out in added.outs:
        for path, reason in taken.items():
            if path == out.path:
                raise UsageError(
                    f"{quote(repo.display(path))} {reason} already",
                    hint=_way_out(repo, path, is_tracked=reason == tracked.get(path)),
                )
            if path != out.path and overlap(path, out.path):
                inner, outer = sorted((path, out.path), key=len, reverse=True)
                shown = f"{quote(repo.display(inner))} is inside {quote(repo.display(outer))}"
                raise UsageError(
                    f"{shown}; {quote(repo.display(path))} {reason}",
                    hint=_way_out(repo, path, is_tracked=reason == tracked.get(path)),
                )


def _way_out(repo: Repo, path: str, *, is_tracked: bool) -> str:
    if is_tracked:
        return f"choose another name, or stop tracking it: dvlite rm --cached {word(repo.display(path))}"
    return "give each stage outputs of its own"


def _write(repo: Repo, file: str, data: bytes, *, is_new: bool) -> tuple[str, ...]:
    """Writes the pipeline file and the schema that editors use; returns those that did not exist before."""
    schema = files("dvlite.formats").joinpath("pipeline_schema.json").read_bytes()
    known = read_regular(repo.root / SCHEMA_FILE, SCHEMA_FILE, len(schema) + 1)
    if known != schema:
        write_atomic(repo.root / SCHEMA_FILE, schema)
    write_atomic(repo.root / file, data)
    return (file,) * is_new + (SCHEMA_FILE,) * (known is None)
