"""The pre-commit hook: checks the content of a commit before git creates it. Reads data only if its times changed."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dvlite.errors import DvliteError, FormatError
from dvlite.formats import lockfile, pointer
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.strict_yaml import Tree
from dvlite.git import operation
from dvlite.git.output import FileDifference, is_lockfile, is_pipeline_file, is_pointer
from dvlite.hooks.result import Blocked, HookResult
from dvlite.hooks.tracked_twice import held_twice
from dvlite.merge.markers import marker_line
from dvlite.paths import ancestors
from dvlite.repo import attributes, tracked_paths
from dvlite.repo.repository import Repo, open_cache
from dvlite.repo.stage_names import address
from dvlite.show import printable, quote, short_oid, size_text, some, value_text, word
from dvlite.workspace.changes import Counts, counts_text, files_text
from dvlite.workspace.hashing import HashOnly
from dvlite.workspace.workspace import Workspace, entries_of

if TYPE_CHECKING:
    from dvlite.pipeline.stages import Stage
    from dvlite.progress import Progress
    from dvlite.repo.tracked_paths import Tracked
    from dvlite.workspace.path_status import ChangedPath, PathStatus

_NAMED = 3
_MOST_FILES = 100_000  # in tracked paths that are looked at for a note: a second of scanning, or less
_MOST_BYTES = 256 << 20  # read for a note
_SKIP = "to skip: git commit --no-verify"
_SUBMODULE = "160000"


class _Findings:
    """What blocks the commit, and the notes to print."""

    def __init__(self) -> None:
        self.blocked: list[Blocked] = []
        self.notes: list[str] = []


class _TooMuch(DvliteError):
    """Too much would have to be read for a note."""


class _Brief(HashOnly):
    """A reader that raises _TooMuch instead of reading more than `_MOST_BYTES`."""

    def expect(self, sizes: Sequence[int]) -> None:
        if sum(sizes) > _MOST_BYTES:
            raise _TooMuch("much changed")


def hook_commit(repo: Repo, *, progress: Progress) -> HookResult:
    """Checks the files that the commit changes: pointers and lockfiles against the disk, others against tracked data and `hooks.large_file`.

    What a merge or a cherry-pick brings in is not checked. Changed data that is not in the commit becomes a note, or blocks if `hooks.pre_commit` is `block`.
    """
    mode = repo.config.get("hooks.pre_commit")
    if mode == "off":
        return HookResult(hook="pre-commit")
    found = _Findings()
    all_staged = repo.git.staged_changes()
    staged = [file for file in _made_here(repo, all_staged) if file.mode.strip("0")]
    work = Workspace(repo, open_cache(repo), progress)
    items = _named(repo, [file for file in staged if is_pointer(file.path)], found)
    for item in items:
        _compare(work, item, found)
    _refuse_other_inputs(work, [file for file in staged if is_lockfile(file.path)], all_staged, found)
    _refuse_unreadable(repo, [file for file in staged if is_pipeline_file(file.path)], found)
    others = [file for file in staged if not is_pointer(file.path) and file.mode != _SUBMODULE]
    known = list(work.known_paths())
    kept_twice = _refuse_tracked(work, [file.path for file in others], known, found)
    _refuse_large(repo, [file for file in others if file.is_ordinary and file.path not in kept_twice], found)
    committed = {item.path for item in items}
    changed = _changed_outside(work, [path for path in known if path not in committed], thorough=mode == "block")
    if changed and mode == "block":
        message = f"{_listed(repo, changed)} changed and is not in this commit"
        found.blocked.append(Blocked(message=message, fixes=("to include it: dvlite add -u", _SKIP)))
    elif changed:
        # To amend is right only after a commit: git makes none of nothing, nor of what is blocked.
        amend = " --amend --no-edit" if all_staged and not found.blocked else ""
        how = f"to include it: dvlite add -u && git commit{amend}"
        found.notes.append(f"{_listed(repo, changed)} changed and is not in this commit; {how}")
    _report_unstaged(repo, committed.union(path.path for path in changed), found, blocks=mode == "block")
    if operation.is_merging(repo.git_dir):
        blocked, notes = _unchecked(repo, progress)
        found.blocked += blocked
        found.notes += notes
    return HookResult(hook="pre-commit", blocked=tuple(found.blocked), notes=tuple(found.notes), changed=tuple(changed))


def hook_merge(repo: Repo, *, progress: Progress) -> HookResult:
    """The pre-merge-commit hook: looks for results of the checks that read what the merge changes. git calls it where there was no conflict."""
    is_off = repo.config.get("hooks.pre_commit") == "off"
    blocked, notes = ([], []) if is_off else _unchecked(repo, progress)
    return HookResult(hook="pre-merge-commit", blocked=tuple(blocked), notes=tuple(notes))


def _unchecked(repo: Repo, progress: Progress) -> tuple[list[Blocked], list[str]]:
    """Returns why the merge that is about to be committed must not be, and what else its data has not passed."""
    if not repo.work_tree.pipeline_files():
        return [], []
    from dvlite.checks import gates  # 30 ms that a merge without a pipeline does not need
    from dvlite.checks.verdicts import reads_any

    changed = [file.path for file in repo.git.staged_changes()]
    paths = [path.removesuffix(pointer.SUFFIX) for path in changed]
    reads_all = any(is_lockfile(path) or is_pipeline_file(path) for path in changed)

    def concerns(check: Stage) -> bool:
        return reads_all or reads_any(check, paths)

    blocking, notes = gates.stopped(repo, repo.work_tree, "merge", concerns, progress=progress)
    if not blocking:
        return [], notes
    data = " ".join(dict.fromkeys(word(repo.display(each.path)) for each in blocking))
    names = " ".join(word(each.check) for each in blocking)
    fix = f"dvlite checkout {data} && dvlite check {names} && git commit --no-edit"
    if any(each.state != "not checked" for each in blocking):
        fix = f"correct {data} and add it, then: dvlite check {names} && git commit --no-edit"
    skip = "to commit it all the same: git commit --no-verify --no-edit"
    return [Blocked(message=f"the merge is not committed: {gates.message(blocking)}", fixes=(fix, skip))], notes


def _report_unstaged(repo: Repo, reported: set[str], found: _Findings, *, blocks: bool) -> None:
    """Reports pointers that differ between the work tree and the commit: the commit would name other data than the one on disk."""
    changed = repo.git.changed_pointers()
    files = [repo.display(file) for file in changed if file.removesuffix(pointer.SUFFIX) not in reported]
    if not files:
        return
    message = f"{some([printable(file) for file in files])} changed and is not staged"
    add = f"to include it: git add {' '.join(map(word, files[:_NAMED]))}"
    if blocks:
        found.blocked.append(Blocked(message=message, fixes=(add, _SKIP)))
    else:
        found.notes.append(f"{message}; {add}")


def _made_here(repo: Repo, staged: list[FileDifference]) -> list[FileDifference]:
    """Returns the changes of the commit, without those that come from a commit being merged or picked."""
    for commit in operation.others(repo.git_dir):
        other = {file.path for file in repo.git.staged_changes(commit)}
        staged = [file for file in staged if file.path in other]
    return staged


# -- pointers and lockfiles


def _named(repo: Repo, files: Sequence[FileDifference], found: _Findings) -> list[Tracked]:
    """Returns the new versions in staged pointers and lockfiles; blocks for those that cannot be read."""
    blobs = {blob: lockfile.LIMIT_BYTES for file in files for blob in (file.old, file.new) if blob is not None}
    contents = dict(repo.git.blobs_within(blobs))
    items: list[Tracked] = []
    for file in files:
        try:
            items += _read(repo, file, contents)
        except FormatError as error:
            found.blocked.append(_refused(attributes.filtered(repo.git, [file.path]) or error))
    return items


def _read(repo: Repo, file: FileDifference, contents: dict[str, bytes]) -> list[Tracked]:
    shown = repo.display(file.path)
    if file.new is None:
        raise FormatError(f"refused {quote(shown)}: it is not an ordinary file", hint="a pointer cannot be a link")
    data = contents.get(file.new)
    if data is None or (len(data) > pointer.LIMIT_BYTES and not is_lockfile(file.path)):
        raise FormatError(
            f"refused {quote(shown)}: it is too long for a pointer or lockfile", hint="restore it from git"
        )
    if not is_lockfile(file.path):
        return [tracked_paths.read_pointer(file.path, data, shown)]
    known = set(_outputs_before(file, contents))
    return [
        item
        for item in tracked_paths.read_lockfile(file.path, data, shown)
        if (item.path, item.pointer.oid) not in known
    ]


def _outputs_before(file: FileDifference, contents: dict[str, bytes]) -> Iterator[tuple[str, str]]:
    if file.old is not None:
        try:
            for item in tracked_paths.read_lockfile(file.path, contents.get(file.old, b""), file.path):
                yield item.path, item.pointer.oid
        except FormatError:
            return  # all outputs in the new one count as new


def _refused(error: DvliteError) -> Blocked:
    return Blocked(message=error.message, fixes=tuple((error.hint or "").splitlines()))


def _refuse_unreadable(repo: Repo, files: Sequence[FileDifference], found: _Findings) -> None:
    """Blocks for pipeline files that cannot be read or have an unresolved conflict."""
    if not files:
        return
    from dvlite.formats import pipeline  # 20 ms that a commit without a pipeline file does not need

    contents = repo.git.read_blobs([file.new for file in files if file.new], limit_bytes=lockfile.LIMIT_BYTES)
    for file in files:
        data = contents.get(file.new or "")
        if data is None:
            continue
        shown, number = repo.display(file.path), marker_line(data)
        if number is not None:
            message = f"{shown}:{number}: there is an unresolved merge conflict"
            found.blocked.append(Blocked(message=message, fixes=(f"edit the file, then: git add {word(shown)}",)))
            continue
        try:
            pipeline.parse(data, shown, repo.work_tree.beside(file.path))
        except FormatError as error:
            found.blocked.append(_refused(error))


def _compare(work: Workspace, item: Tracked, found: _Findings) -> None:
    """Compares the data on disk with its version in the commit; data that is not on disk is not compared."""
    from dvlite.workspace.outdated import bringing  # 8 ms that a commit without data does not need
    from dvlite.workspace.path_status import PathStatus

    repo = work.repo
    look = PathStatus(work, item)
    look.run()
    path = repo.display(item.path)
    file = repo.display(item.lockfile or item.path + pointer.SUFFIX)
    is_far = look.not_in_cache is not None and repo.config.remote_names
    restore = bringing(work, item.path, "pull" if is_far else "checkout")
    if look.is_earlier and operation.is_replaying(repo.git_dir):
        found.notes.append(f"{path} on disk differs from this commit; to update it: {restore}")
    elif look.changed is not None and not look.is_counted:
        found.notes.append(
            f"{path} cannot be compared with {file}: its list of files is not here; dvlite fetch {word(path)}"
        )
    elif look.changed is not None or look.is_earlier:
        what = "another version" if look.changed is None else _difference(look.changed)
        subject = f"{file} in this commit" if not item.lockfile else f"{path} in {file} of this commit"
        now = None if item.lockfile else _on_disk(repo, item.path)
        if now is not None and not now.pointer.same_version(item.pointer) and _is_as(work, now):
            add, what = f"git add {word(file)}", "the one on disk is, and is not staged"
        else:
            add = f"dvlite repro {word(item.stage)}" if item.lockfile else _taking(work, look, item)
        message = f"{subject} is not what is on disk ({what})"
        fixes = (f"to commit what is on disk: {add}", f"to restore it: {restore}", _SKIP)
        found.blocked.append(Blocked(message=message, fixes=fixes))


def _taking(work: Workspace, look: PathStatus, item: Tracked) -> str:
    """Returns the command that makes the pointer match the disk; for a version of an earlier commit, that is not `add`."""
    from dvlite.workspace.outdated import back_to, commit_of

    path = work.repo.display(item.path)
    here = work.versions_here(item.path)
    commit = commit_of(work.repo, item.path + pointer.SUFFIX, here[0]) if look.is_earlier and here else None
    return f"dvlite add {word(path)}" if commit is None else back_to(commit, path)


def _on_disk(repo: Repo, path: str) -> Tracked | None:
    """Returns the version in the pointer of the work tree, which may be newer than the staged one; None if it cannot be read."""
    name = path + pointer.SUFFIX
    try:
        data = repo.work_tree.read(name)
        return None if data is None else tracked_paths.read_pointer(name, data, name)
    except DvliteError:
        return None


def _is_as(work: Workspace, item: Tracked) -> bool:
    found = work.scan(item.path)
    return found is not None and work.is_vouched(item.path, found, item.pointer)


def _difference(changed: ChangedPath) -> str:
    """Returns the difference in a few words: `+1,204 -3 files`, `-1 file: oops.jpg`."""
    if changed.kind == "file":
        return "its content differs"
    words = files_text(changed.counts)
    if not changed.examples or not words.endswith(" file"):
        return words
    return f"{words}: {printable(changed.examples[0].path.removeprefix(changed.path + '/'))}"


# -- what results were made with


def _refuse_other_inputs(
    work: Workspace, files: Sequence[FileDifference], all_staged: Sequence[FileDifference], found: _Findings
) -> None:
    """Blocks for entries of lockfiles that the commit changes and whose dependencies are not the versions that its pointers name."""
    stages = [(file.path, stage) for file in files for stage in _changed_stages(work.repo, file)]
    _refuse_other_params(work.repo, stages, all_staged, found)
    entries = [
        (address(name, stage.name), replace(dep, path=_placed(name, dep.path)))
        for name, stage in stages
        for dep in stage.deps
    ]
    if not entries:
        return
    git, head = work.repo.git, work.repo.git.head()
    blobs: dict[str, str] = {}
    with contextlib.suppress(DvliteError):  # a pointer that is none is reported where it is committed
        blobs = {} if head is None else git.pointer_blobs(head)
    blobs.update({file.path: file.new or "" for file in all_staged if is_pointer(file.path)})
    seen = set()
    for stage, dep in entries:
        path = next((name for name in (dep.path, *ancestors(dep.path)) if name + pointer.SUFFIX in blobs), None)
        data = None
        if path is not None and (blob := blobs[path + pointer.SUFFIX]):
            data = dict(git.blobs_within({blob: pointer.LIMIT_BYTES})).get(blob)
        names = [path] if path is not None else [dep.path, *ancestors(dep.path)]
        here = next((item for name in names if (item := _on_disk(work.repo, name)) is not None), None)
        if (data is None and here is None) or (stage, path) in seen:
            continue  # a file that git keeps, or the output of a stage
        committed = None if data is None or path is None else _version_in(work, path, data, dep.path)
        if data is not None and (committed is None or committed.oid == dep.oid):
            continue
        seen.add((stage, path))
        found.blocked.append(_other_input(work, stage, dep, committed, here))


def _changed_stages(repo: Repo, file: FileDifference) -> Iterator[LockedStage]:
    """Yields the entries that the commit adds to a lockfile or changes."""
    blobs = [blob for blob in (file.new, file.old) if blob]
    contents = dict(repo.git.blobs_within(dict.fromkeys(blobs, lockfile.LIMIT_BYTES)))
    try:
        stages, before = (
            lockfile.parse(contents[blob], file.path).stages if blob in contents else ()
            for blob in (file.new, file.old)
        )
    except FormatError:
        return  # it is reported where all of it is read
    known = {(stage.name, stage.key, stage.run) for stage in before}
    yield from (stage for stage in stages if (stage.name, stage.key, stage.run) not in known)


def _placed(lockfile_name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(lockfile_name), path))


def _refuse_other_params(
    repo: Repo,
    stages: Sequence[tuple[str, LockedStage]],
    all_staged: Sequence[FileDifference],
    found: _Findings,
) -> None:
    """Blocks for entries whose parameters are not those of the same commit; a file that git does not keep is not compared."""
    names = {(name, key): key.partition(":")[0] for name, stage in stages for key in stage.facts.params}
    if not names:
        return
    from dvlite.formats import parameters  # 10 ms that a commit without parameters does not need

    staged = {file.path: file.new for file in all_staged}
    head = repo.git.head()
    committed: dict[str, Tree] = {}
    for path in {_placed(name, file) for (name, _), file in names.items()}:
        data = None
        with contextlib.suppress(DvliteError):  # one that cannot be read is for `repro` and `verify`
            if (blob := staged.get(path)) is not None:
                data = dict(repo.git.blobs_within({blob: parameters.LIMIT_BYTES})).get(blob)
            elif path not in staged and head is not None:
                data = repo.git.read_file(head, path, limit_bytes=parameters.LIMIT_BYTES)
            if data is not None:
                committed[path] = parameters.load(data, path)
    for name, stage in stages:
        for key, value in stage.facts.params.items():
            file, _, inner = key.partition(":")
            path = _placed(name, file)
            now = parameters.find(committed[path], inner) if path in committed else value
            if now != value:
                found.blocked.append(_other_param(repo, address(name, stage.name), path, inner, value, now))
                break  # one for each stage


def _other_param(repo: Repo, stage: str, path: str, key: str, value: object, now: object) -> Blocked:
    from dvlite.formats import parameters

    fix = f"dvlite repro {word(stage)}"
    with contextlib.suppress(DvliteError):
        here = repo.work_tree.read(path, parameters.LIMIT_BYTES)
        if here is not None and parameters.find(parameters.load(here, path), key) == value:
            fix = f"git add {word(repo.display(path))}"
    has = "does not have it" if now is parameters.ABSENT else f"has {value_text(now)}"
    message = (
        f"{stage} was run with {printable(key)} {value_text(value)}, and {repo.display(path)} of this commit {has}"
    )
    return Blocked(message=message, fixes=(f"to make them agree: {fix}", _SKIP))


def _version_in(work: Workspace, path: str, data: bytes, inside: str) -> Locked | None:
    """Returns what a pointer says of a path in it; None if that is not known here."""
    from dvlite.pipeline.known_data import KnownData  # 5 ms that a commit without a lockfile does not need

    with contextlib.suppress(DvliteError):
        named = tracked_paths.read_pointer(path + pointer.SUFFIX, data, path + pointer.SUFFIX).pointer
        return KnownData({path: named}, lambda _, version: entries_of(version, work.cache)).at(inside)
    return None


def _other_input(work: Workspace, stage: str, dep: Locked, committed: Locked | None, here: Tracked | None) -> Blocked:
    repo = work.repo
    shown = printable(repo.display(dep.path))
    fix = f"dvlite repro {word(stage)}"
    if here is not None:
        present = _version_in(work, here.path, pointer.dump(here.pointer), dep.path)
        if present is not None and present.oid == dep.oid:
            fix = f"git add {word(repo.display(here.path + pointer.SUFFIX))}"
    named = "no version" if committed is None else short_oid(committed.oid)
    message = f"{stage} was made with {short_oid(dep.oid)} of {shown}, and this commit names {named} of it"
    return Blocked(message=message, fixes=(f"to make them agree: {fix}", _SKIP))


# -- files that dvlite tracks


def _refuse_tracked(work: Workspace, paths: Sequence[str], known: Sequence[str], found: _Findings) -> set[str]:
    """Blocks for files that are tracked data or inside it, and returns them."""
    refused: set[str] = set()
    for item, files in held_twice(work, paths, known):
        found.blocked.append(_kept_twice(work.repo, item, files))
        refused.update(files)
    return refused


def _kept_twice(repo: Repo, item: Tracked, files: Sequence[str]) -> Blocked:
    outer = repo.display(item.path)
    one = len(files) == 1
    shown = some([quote(repo.display(path)) for path in files])
    where = "tracked by dvlite" if files[0] == item.path else f"inside {printable(outer)}, which dvlite tracks"
    message = f"{shown} {'is' if one else 'are'} {where}: git would keep {'it' if one else 'them'} too"
    names = [repo.display(path) for path in files]
    few = len(names) <= _NAMED
    take = f"git rm --cached {'' if few else '-r -q '}" + " ".join(map(word, names if few else [outer]))
    fixes = [f"to leave {'it' if one else 'them'} to dvlite: {take}"]
    if not item.lockfile:
        fixes.append(f"to leave {printable(outer)} to git: dvlite rm --cached {word(outer)}")
    return Blocked(message=message, fixes=(*fixes, _SKIP))


# -- large files


def _refuse_large(repo: Repo, files: Sequence[FileDifference], found: _Findings) -> None:
    limit = repo.config.limit_bytes("hooks.large_file")
    if not limit or not files:
        return
    sizes = repo.git.blob_sizes(file.new for file in files if file.new is not None)
    large = [(file.path, sizes[file.new]) for file in files if file.new is not None and sizes.get(file.new, 0) > limit]
    if not large:
        return
    large.sort(key=lambda row: -row[1])
    shown = some([f"{quote(repo.display(path))} ({size_text(size)})" for path, size in large])
    names = " ".join(word(repo.display(path)) for path, _ in large[:_NAMED])
    fixes = (
        f"to track {'them' if len(large) > 1 else 'it'} with dvlite: git rm --cached {names} && dvlite add {names}",
        "to allow larger files: dvlite config hooks.large_file SIZE",
        _SKIP,
    )
    message = (
        f"{shown}: larger than {size_text(limit)}, and git would keep {'them' if len(large) > 1 else 'it'} for ever"
    )
    found.blocked.append(Blocked(message=message, fixes=fixes))


# -- what is not in the commit


def _changed_outside(work: Workspace, known: Sequence[str], *, thorough: bool) -> list[ChangedPath]:
    """Returns tracked data that changed and is not in the commit; unless `thorough`, only if finding out is cheap.

    `known` are the paths in the stat index: that saves a run of git, and data that was never on disk did not change.
    """
    items = [item for path in known if (item := _on_disk(work.repo, path)) is not None]
    if not thorough and sum(item.pointer.files for item in items) > _MOST_FILES:
        return []
    found = []
    for item in items:
        with contextlib.suppress(DvliteError):  # a FIFO in it, an unreadable folder: `dvlite status` reports them
            if not _is_as(work, item) and (changed := _change(work, item, thorough=thorough)) is not None:
                found.append(changed)
    return found


def _change(work: Workspace, item: Tracked, *, thorough: bool) -> ChangedPath | None:
    from dvlite.workspace.path_status import ChangedPath, PathStatus  # as above

    look = PathStatus(work, item, None if thorough else _Brief())
    try:
        look.run()
    except _TooMuch:
        is_folder = item.pointer.kind == "directory"
        return ChangedPath(path=item.path, kind="directory" if is_folder else "file", counts=Counts())
    return look.changed


def _listed(repo: Repo, changed: Sequence[ChangedPath]) -> str:
    counts = [counts_text(path.counts) if path.kind == "directory" else "" for path in changed]
    names = [printable(repo.display(path.path)) for path in changed]
    return some([f"{name} ({count})" if count else name for name, count in zip(names, counts, strict=True)])
