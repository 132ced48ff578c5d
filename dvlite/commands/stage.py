"""`dvlite stage add`, `list`, `remove`, `rename`, `freeze` and `thaw`: the stages in the pipeline files, edited as text."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, FormatError, PartlyDone, UsageError
from dvlite.files import read_regular, write_atomic
from dvlite.formats import lockfile, pipeline
from dvlite.formats.lockfile import Lockfile
from dvlite.formats.pipeline import FILE_NAME, PARAMS_FILE, STAGE_NAME
from dvlite.formats.strict_yaml import Tree, load
from dvlite.formats.yaml_edit import edit, rename
from dvlite.paths import overlap
from dvlite.pipeline import graph, stages
from dvlite.pipeline.stages import Stage
from dvlite.progress import Progress
from dvlite.repo import config_files
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import address, stages_named
from dvlite.results import Result
from dvlite.show import Show, closest, count, quote, word
from dvlite.workspace.add_checks import refuse_ignored
from dvlite.workspace.sparse import is_glob

Action = Literal["remove", "rename", "freeze", "thaw"]
SCHEMA_FILE = f"{config_files.FOLDER}/schema.json"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StageAddResult(Result):
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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StageListResult(Result):
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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StageEditResult(Result):
    """Stages that were removed, renamed, frozen or thawed in their pipeline files; `unchanged`: they were frozen, or not, already."""

    schema: ClassVar[str] = "dvlite.stage-edit/1"
    action: Action
    stages: tuple[str, ...]  # their addresses, with `rename` the new one
    old: str | None = None  # the address before `rename`
    unchanged: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # that changed
    freed: tuple[str, ...] = ()  # outputs that stay on disk, and that no stage makes any more
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


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
    with repo.lock(progress):
        before = repo.work_tree.read(file)
        known = pipeline.parse(before or b"", repo.display(file), repo.work_tree.beside(file)).stages
        template = next((spec for spec in known if spec.template == new.name), None)
        if template is not None:
            raise UsageError(
                f"{quote(new.name)} makes several stages ({template.name}, ...)",
                hint=f"edit line {template.line} of {repo.display(file)}, or choose another name",
            )
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
        stage=address(file, new.name),
        file=file,
        replaced=replaced,
        created=created,
        staged=staged,
        unstaged=() if staged else written,
    )


def stage_remove(repo: Repo, names: Sequence[str], *, stage: bool = True, progress: Progress) -> StageEditResult:
    """Takes stages out of their pipeline files and lockfiles; their outputs and run records stay."""
    with repo.lock(progress):
        chosen = _named(repo, names)
        edits = _Edits(repo)
        for file in dict.fromkeys(one.lockfile for one in chosen):
            edits.lock(file, {one.name: None for one in chosen if one.lockfile == file})
        for one in _definitions(chosen):
            edits.set(one, (), None)
        outs = [out.path for one in chosen for out in one.outs if out.spec.cache and not is_glob(out.path)]
        ignored = repo.forget_ignored(outs)
        changed = (*edits.write(), *ignored)
        freed = tuple(path for path in outs if os.path.lexists(repo.root / path))
        return replace(_edited(repo, "remove", chosen, changed, stage=stage), freed=freed)


def stage_rename(repo: Repo, name: str, new: str, *, stage: bool = True, progress: Progress) -> StageEditResult:
    """Gives a stage another name in its pipeline file and lockfile: it stays up to date. Its run records keep the old name.

    Raises UsageError for a name that is taken, or that no stage can have.
    """
    _require_name(new)
    with repo.lock(progress):
        found = _named(repo, [name])
        if len(_definitions(found)) > 1:
            raise UsageError(f"{quote(name)} is several stages", hint="give the name of one")
        one = found[0]
        was = one.spec.template or one.name
        taken = [other for other in stages.load(repo.work_tree).stages if other.file == one.file]
        if any(new in (other.name, other.spec.template) for other in taken):
            raise UsageError(f"there is a stage {quote(address(one.file, new))} already", hint="choose another name")
        edits = _Edits(repo)
        edits.lock(one.lockfile, {each.name: new + each.name.removeprefix(was) for each in found})
        edits.change(one.file, lambda data: rename(data, ("stages", was), new, repo.display(one.file)))
        result = _edited(repo, "rename", found, edits.write(), stage=stage)
        return replace(result, stages=(address(one.file, new),), old=address(one.file, was))


def stage_freeze(
    repo: Repo, names: Sequence[str], *, frozen: bool = True, stage: bool = True, progress: Progress
) -> StageEditResult:
    """Sets `frozen: true` for stages, or with `frozen` False takes it out."""
    with repo.lock(progress):
        chosen = _named(repo, names)
        edits = _Edits(repo)
        for one in _definitions(chosen):
            edits.set(one, ("frozen",), frozen or None)
        same = tuple(one.address for one in chosen if one.spec.frozen == frozen)
        return replace(
            _edited(repo, "freeze" if frozen else "thaw", chosen, edits.write(), stage=stage), unchanged=same
        )


def _edited(
    repo: Repo, action: Action, chosen: Sequence[Stage], changed: tuple[str, ...], *, stage: bool
) -> StageEditResult:
    staged = repo.stage(changed, enabled=None if stage else False) if changed else ()
    return StageEditResult(
        action=action,
        stages=tuple(one.address for one in chosen),
        files=changed,
        staged=staged,
        unstaged=() if staged else changed,
    )


def _named(repo: Repo, names: Sequence[str]) -> list[Stage]:
    """Returns the stages with these names or addresses, globs too. Raises UsageError for a name that no stage has."""
    loaded = stages.load(repo.work_tree)
    known = {one.address: one for one in loaded.stages}
    chosen: dict[str, Stage] = {}
    for name in names:
        found = stages_named(name, list(known), repo.relative)
        if not found and loaded.broken:
            raise loaded.broken[0]
        if not found:
            close = closest(name, known)
            hint = f"did you mean {close}?" if close else "all stages: dvlite stage list"
            raise UsageError(f"there is no stage {quote(name)}", hint=hint)
        chosen |= {called: known[called] for called in found}
    _require_whole(chosen, loaded.stages)
    return list(chosen.values())


def _require_whole(chosen: Mapping[str, Stage], known: Sequence[Stage]) -> None:
    """Raises UsageError for some of the stages that a template makes: the file has one definition for all."""
    templates = {(one.file, one.spec.template): one for one in chosen.values() if one.spec.template}
    for other in known:
        one = templates.get((other.file, other.spec.template))
        if one is not None and other.address not in chosen:
            whole = address(one.file, one.spec.template)
            raise UsageError(
                f"{quote(one.address)} is made by {quote(whole)}, like {quote(other.address)}",
                hint=f"name them all: {word(whole)}; or edit line {one.spec.line} of {one.file}",
            )


def _definitions(chosen: Sequence[Stage]) -> list[Stage]:
    """Returns the stages, one of each template."""
    return list({(one.file, one.spec.template or one.name): one for one in chosen}.values())


class _Edits:
    """Files of pipelines as they are going to be; none is written unless all can be."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._changed: dict[str, bytes] = {}

    def change(self, file: str, edited: Callable[[bytes], bytes]) -> None:
        """Edits a file as it is by now."""
        before = self._changed.get(file) or self._repo.work_tree.read(file) or b""
        after = edited(before)
        if after != before:
            self._changed[file] = after

    def set(self, stage: Stage, key: tuple[str, ...], value: Tree) -> None:
        """Sets a key of a stage, or removes it with None; without a key, the stage."""
        shown, name = self._repo.display(stage.file), stage.spec.template or stage.name

        def edited(data: bytes) -> bytes:
            whole = load(data, shown).value["stages"]
            definition = whole[name] if isinstance(whole, dict) else None
            inner = ("do",) * (bool(key) and isinstance(definition, dict) and "foreach" in definition)
            return edit(data, ("stages", name, *inner, *key), value, shown)

        self.change(stage.file, edited)

    def lock(self, file: str, names: Mapping[str, str | None]) -> None:
        """Renames entries of a lockfile, or drops those whose new name is None."""
        if self._repo.work_tree.read(file) is None:
            return

        def edited(data: bytes) -> bytes:
            entries = lockfile.parse(data, self._repo.display(file)).stages
            kept = [(entry, names.get(entry.name, entry.name)) for entry in entries]
            return lockfile.dump(Lockfile(tuple(replace(entry, name=name) for entry, name in kept if name is not None)))

        self.change(file, edited)

    def write(self) -> tuple[str, ...]:
        """Writes the files in the order of their edits, and returns them: what names a stage comes last, so that a stopped command can be repeated."""
        for file, data in self._changed.items():
            write_atomic(self._repo.root / file, data)
        return tuple(self._changed)


def stage_list(repo: Repo, *, progress: Progress) -> StageListResult:
    """Returns the stages of every pipeline file, in the order of files and of lines; a file that cannot be read is warned of."""
    loaded = stages.load(repo.work_tree)
    rows = tuple(
        StageRow(
            stage=known.address,
            file=known.file,
            line=known.spec.line,
            cmd=known.spec.cmd,
            deps=tuple(dep.path for dep in known.sources),
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
    _require_name(name)
    try:
        parsed = pipeline.parse(data, file, repo.work_tree.beside(file))
        own = stages.bind(file, parsed.stages, parsed.values)
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


def _require_name(name: str) -> None:
    if STAGE_NAME.fullmatch(name) is None:
        raise UsageError(
            f"{quote(name)} cannot be the name of a stage", hint="use letters, digits, '_' and '-', at most 100"
        )


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
