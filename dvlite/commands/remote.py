"""`remote add`, `list`, `remove`, `default`, `trust` and `test`: where data is pushed to.

`remote add` is consent to the place that it names; a place that only a committed file names needs `remote trust`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, NotARepository, RemoteError, UsageError
from dvlite.formats import store_config
from dvlite.formats.config import (
    COMMITTED,
    LOCAL,
    USER,
    RemoteConfig,
    Value,
    check_remote_name,
    checked_value,
    is_dangerous,
    is_secret,
    parse,
)
from dvlite.progress import Progress
from dvlite.repo import config_files
from dvlite.repo.open_stores import refuse_overlap
from dvlite.repo.remotes import (
    RemoteSettings,
    approvals,
    configured,
    destination_of,
    host_part,
    located,
    normal_place,
    place_of,
    unapproved_destination,
    untrusted_place,
)
from dvlite.repo.repository import Repo, open_repo
from dvlite.results import Result
from dvlite.show import Show, printable, quote, word
from dvlite.store.object_store import ObjectAbsent, ObjectStore
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import Location, check_options, parse_url

_PROBE_BYTES = 4 << 20
_PROBE_SECONDS = 5.0  # the settings are written whether the remote answers or not


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRow:
    """One configured remote."""

    name: str
    url: str
    default: bool = False
    trusted: bool = True
    source: str = ""  # the config file that names it
    options: dict[str, str] = field(default_factory=dict)  # never secrets


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RemoteAddResult(Result):
    """A new remote and its state."""

    schema: ClassVar[str] = "dvlite.remote-add/1"
    remote: RemoteRow
    state: Literal["empty", "existing", "unreachable", "unchecked"] = "unchecked"
    writable: bool | None = None
    region: str | None = None
    latency_seconds: float | None = None
    problem: str | None = None  # why it is unreachable or cannot be used
    config_path: str = ""
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RemoteListResult(Result):
    """Every configured remote."""

    schema: ClassVar[str] = "dvlite.remote-list/1"
    remotes: tuple[RemoteRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RemoteChangeResult(Result):
    """A remote that was removed, was renamed or became the default."""

    schema: ClassVar[str] = "dvlite.remote-change/1"
    action: Literal["removed", "renamed", "default"]
    name: str
    default: str | None = None  # the default remote now, the first if there are several
    defaults: tuple[str, ...] = ()  # all of them
    default_changed: bool = False
    config_path: str = ""
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RemoteTrustResult(Result):
    """A place that this user approved, and the user config that says so."""

    schema: ClassVar[str] = "dvlite.remote-trust/1"
    place: str
    already: bool = False
    config_path: str = ""  # absolute: it is the user's, not the clone's


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCheck:
    """One thing that `remote test` tried."""

    name: str  # "write", "read back", "list fresh", "create only once", ...
    ok: bool
    elapsed_seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RemoteTestResult(Result):
    """What a remote can do, and how fast."""

    schema: ClassVar[str] = "dvlite.remote-test/1"
    name: str
    url: str
    ok: bool
    checks: tuple[RemoteCheck, ...] = ()
    upload_bytes_per_second: float | None = None
    download_bytes_per_second: float | None = None
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns the first check that failed."""
        if self.ok:
            return None
        failed = next(check for check in self.checks if not check.ok)
        message = f"remote '{printable(self.name)}' failed its test: {failed.name}: {failed.detail}"
        return RemoteError(message, hint="dvlite doctor  shows this machine's side of it")


def remote_add(
    repo: Repo,
    name: str,
    url: str,
    *,
    options: Mapping[str, str],
    default: bool = False,
    local: bool = False,
    stage: bool = True,
    progress: Progress,
) -> RemoteAddResult:
    """Configures a remote, approves its place for this user, and checks that it answers.

    A relative folder is stored relative to the repository. The first remote becomes the default. A remote that is configured just so is
    approved and staged again: that run may have been stopped. Raises UsageError, with nothing written, for a name in use, an invalid URL
    or option, and secrets without `local`.
    """
    layer = LOCAL if local else COMMITTED
    check_remote_name(name)
    location = parse_url(url, repo.cwd)
    check_options(location.scheme, options)
    inside = _inside_work_tree(repo, location)
    if location.folder is not None:
        refuse_overlap(location.folder, repo.cache_dir, name)
    changes: dict[str, Value | None] = {f"remotes.{name}.url": _stored_url(repo, url, location)}
    for option, value in sorted(options.items()):
        if is_dangerous(option) and not local:
            raise UsageError(
                f"option {quote(option)} is not allowed in a committed file: it is a credential or chooses one",
                hint="keep it in a file that git ignores: dvlite remote add --local with the same words",
            )
        changes[f"remotes.{name}.{option}"] = checked_value(f"remotes.{name}.{option}", value, layer)
    said = {key: each.value for key, each in repo.read_layer(layer).items() if key.startswith(f"remotes.{name}.")}
    if said not in ({}, changes):
        there = said.get(f"remotes.{name}.url", "")
        raise UsageError(
            f"there is a remote {quote(name)} already" + (f", {there}" if there else ""),
            hint=f"to change it: dvlite remote set {word(name)} {word(url)}\na second one: dvlite remote add NAME {word(url)}",
        )
    if default or (repo.config.default_remote is None and not repo.config.remote_names):
        changes["core.remote"] = name
    return _written(repo, name, layer, changes, inside, stage=stage, progress=progress)


def remote_set(
    repo: Repo,
    name: str,
    url: str | None = None,
    *,
    options: Mapping[str, str],
    local: bool = False,
    stage: bool = True,
    progress: Progress,
) -> RemoteAddResult:
    """Changes the place or options of a remote, in the file that names it or with `local` in the clone's own; an empty value removes one.

    What the user types is approved, as by `remote_add`; raises as it does, with nothing written.
    """
    known = configured(repo.config, name)
    layer = LOCAL if local else known.url.layer
    location = parse_url(str(known.url.value), repo.root) if url is None else parse_url(url, repo.cwd)
    after = {option: str(setting.value) for option, setting in known.options.items()} | dict(options)
    check_options(location.scheme, {option: value for option, value in after.items() if value})
    inside: tuple[str, ...] = ()
    changes: dict[str, Value | None] = {}
    if url is not None:
        inside = _inside_work_tree(repo, location)
        if location.folder is not None:
            refuse_overlap(location.folder, repo.cache_dir, name)
        changes[f"remotes.{name}.url"] = _stored_url(repo, url, location)
    for option, value in sorted(options.items()):
        key = f"remotes.{name}.{option}"
        changes[key] = checked_value(key, value, layer) if value else None
    return _written(repo, name, layer, changes, inside, stage=stage, progress=progress)


def remote_rename(
    repo: Repo, name: str, new_name: str, *, stage: bool = True, progress: Progress
) -> RemoteChangeResult:
    """Gives a remote another name, in every config file of the repository, the clone and the user. Raises UsageError for a name in use."""
    configured(repo.config, name)
    check_remote_name(new_name)
    if new_name in repo.config.remote_names:
        raise UsageError(f"there is a remote {quote(new_name)} already", hint="choose another name")
    paths = []
    start = f"remotes.{name}."
    with repo.lock(progress):
        for layer in (COMMITTED, LOCAL, USER):
            said = repo.read_layer(layer)
            own = {key.removeprefix(start): one.value for key, one in said.items() if key.startswith(start)}
            changes: dict[str, Value | None] = {f"remotes.{new_name}.{option}": value for option, value in own.items()}
            if own:
                changes[f"remotes.{name}"] = None
            if "core.remote" in said:
                value = said["core.remote"].value
                names = value if isinstance(value, tuple) else (str(value),)
                after = tuple(new_name if other == name else other for other in names)
                if after != names:
                    changes["core.remote"] = after if len(after) > 1 else after[0]
            if changes:
                paths.append(repo.change_config(layer, changes))
        staged, unstaged = _stage(repo, paths, enabled=stage)
    return RemoteChangeResult(
        action="renamed",
        name=new_name,
        default=repo.config.default_remote,
        defaults=repo.config.default_remotes,
        config_path=str(paths[0]) if paths else "",
        staged=staged,
        unstaged=unstaged,
    )


def _written(
    repo: Repo,
    name: str,
    layer: str,
    changes: Mapping[str, Value | None],
    inside: tuple[str, ...],
    *,
    stage: bool,
    progress: Progress,
) -> RemoteAddResult:
    """Writes what is said of a remote, approves its place for this user, and looks whether it answers."""
    with repo.lock(progress):
        path = repo.change_config(layer, changes)
        warnings = (*inside, *_consent(repo, name))
        staged, unstaged = _stage(repo, [path], enabled=stage)
    row = _row(repo, configured(repo.config, name))
    added = RemoteAddResult(remote=row, config_path=str(path), staged=staged, unstaged=unstaged, warnings=warnings)
    return _with_state(repo, added)


def remote_list(repo: Repo, *, progress: Progress) -> RemoteListResult:
    """Returns every configured remote, sorted by name; makes no request."""
    return RemoteListResult(
        remotes=tuple(_row(repo, configured(repo.config, name)) for name in repo.config.remote_names)
    )


def remote_remove(repo: Repo, name: str, *, stage: bool = True, progress: Progress) -> RemoteChangeResult:
    """Removes a remote from the config files of the repository, the clone and the user; its data stays.

    Stages what a run that was stopped left. Raises UsageError for a remote that is not there.
    """
    paths = [repo.root / config_files.COMMITTED_FILE] if _is_half_removed(repo, name) else []
    if not paths:
        configured(repo.config, name)
    defaults = repo.config.default_remotes
    with repo.lock(progress):
        for layer in (COMMITTED, LOCAL, USER):
            said = repo.read_layer(layer)
            changes: dict[str, Value | None] = {}
            if any(key.startswith(f"remotes.{name}.") for key in said):
                changes[f"remotes.{name}"] = None
            if "core.remote" in said:
                value = said["core.remote"].value
                before = value if isinstance(value, tuple) else (str(value),)
                left = tuple(other for other in before if other != name)
                if left != before:
                    changes["core.remote"] = (left if len(left) > 1 else left[0]) if left else None
            if changes:
                paths.append(repo.change_config(layer, changes))
        staged, unstaged = _stage(repo, paths, enabled=stage)
    where = str(paths[0]) if paths else ""
    return RemoteChangeResult(
        action="removed",
        name=name,
        default=repo.config.default_remote,
        defaults=repo.config.default_remotes,
        default_changed=repo.config.default_remotes != defaults,
        config_path=where,
        staged=staged,
        unstaged=unstaged,
    )


def _is_half_removed(repo: Repo, name: str) -> bool:
    """Returns whether git still has a remote that the committed file has no more, and a change of that file is not staged."""
    file, head = config_files.COMMITTED_FILE, repo.git.head()
    if repo.config.remote(name) is not None or head is None or not repo.git.unstaged([file]):
        return False
    data = repo.git.read_file(head, file, limit_bytes=config_files.LIMIT_BYTES)
    return any(key.startswith(f"remotes.{name}.") for key in parse(data or b"", file, COMMITTED))


def remote_default(repo: Repo, names: Sequence[str], *, stage: bool = True, progress: Progress) -> RemoteChangeResult:
    """Makes remotes the default ones, in the file that configures them: the clone's own, unless all of them are committed."""
    names = tuple(dict.fromkeys(names))
    layers = {configured(repo.config, name).url.layer for name in names}
    layer = COMMITTED if layers == {COMMITTED} else LOCAL
    with repo.lock(progress):
        path = repo.change_config(layer, {"core.remote": names if len(names) > 1 else names[0]})
        staged, unstaged = _stage(repo, [path], enabled=stage)
    return RemoteChangeResult(
        action="default",
        name=names[0],
        default=repo.config.default_remote,
        defaults=repo.config.default_remotes,
        config_path=str(path),
        staged=staged,
        unstaged=unstaged,
    )


def remote_trust(
    environ: Mapping[str, str], place: str, *, project: str | None = None, reads_only: bool = False
) -> RemoteTrustResult:
    """Approves a place (a host, a bucket, a folder, or the name of a remote in this repository) in the user's own config.

    Its host or folder may be read for every repository. A bucket or folder may be pushed to by this project alone, which is that of the
    repository around the current folder unless it is given; with `reads_only`, by none.
    """
    try:
        repo = open_repo(Path.cwd(), environ)
    except NotARepository:
        repo = None
    remote = None if repo is None else repo.config.remote(place)
    if remote is None and not any(mark in place for mark in "/:.~"):
        raise UsageError(
            f"{quote(place)} is no remote here, and no place", hint="name a URL or a folder with a slash: ./folder"
        )
    if remote is not None and repo is not None:
        location, options = located(remote, repo.root)
        read = untrusted_place(repo.config, remote, repo.root) or place_of(location, options, repo.root)
        destination = destination_of(location, options, repo.root)
    else:
        destination = normal_place(place, Path.cwd())
        read = host_part(destination) or destination
        destination = None if destination == host_part(destination) else destination
    owner = project if repo is None or project is not None or reads_only else repo.config.project
    places = {"trust": read, f"push_to.project-{owner}": destination if owner is not None else None}
    path = config_files.file_of(USER, None, environ)
    changes = approvals(config_files.read(USER, None, environ), places)
    if changes:
        config_files.change(USER, changes, None, environ)
    return RemoteTrustResult(place=destination or read or place, already=not changes, config_path=str(path))


def remote_test(repo: Repo, name: str | None, *, progress: Progress) -> RemoteTestResult:
    """Writes to a remote, reads back, lists, creates twice and removes, and times each step; stops at the first failure."""
    remote = repo.remote(name)
    object_name = f"test/{secrets.token_hex(16)}"
    data = secrets.token_bytes(_PROBE_BYTES)
    checks: list[RemoteCheck] = []
    progress.start(f"testing {remote.name}")
    store = _open(remote, repo.config.retry_seconds)
    try:
        for words, step in _steps(store, object_name, data):
            checks.append(_timed(words, step))
            if not checks[-1].ok:
                break
    finally:
        with contextlib.suppress(DvliteError):
            store.delete([object_name])
        store.close()
        progress.finish()
    seconds = {check.name: check.elapsed_seconds for check in checks if check.ok}
    return RemoteTestResult(
        name=remote.name,
        url=remote.location.text,
        ok=all(check.ok for check in checks),
        checks=tuple(checks),
        upload_bytes_per_second=len(data) / seconds["write"] if "write" in seconds else None,
        download_bytes_per_second=len(data) / seconds["read back"] if "read back" in seconds else None,
    )


def _steps(store: ObjectStore, name: str, data: bytes) -> list[tuple[str, Callable[[], str | None]]]:
    """Returns the steps in order; each returns what is wrong, or None."""
    other = data[::-1]

    def write() -> str | None:
        return None if store.put(name, data) else "the store did not accept the object"

    def read() -> str | None:
        return None if store.get(name, end=len(data) + 1) == data else "the bytes read are not those written"

    def read_part() -> str | None:
        part = store.get(name, start=1000, end=3000)
        return None if part == data[1000:3000] else "a range read returned other bytes"

    def list_fresh() -> str | None:
        sizes = {entry.name: entry.size_bytes for entry in store.list("test/").entries}
        missing = "a new object is missing from the listing: pushes are not safe on this store"
        return None if sizes.get(name) == len(data) else missing

    def create_once() -> str | None:
        if store.put(name, other, only_if_absent=True) or read() is not None:
            return "an object that existed was created again"
        return None

    def remove() -> str | None:
        store.delete([name])
        is_listed = any(entry.name == name for entry in store.list("test/").entries)
        return "a removed object is still listed" if is_listed else None

    steps = [("write", write), ("read back", read), ("read a part", read_part), ("list fresh", list_fresh)]
    return [*steps, ("create only once", create_once), ("remove", remove)]


def _timed(words: str, step: Callable[[], str | None]) -> RemoteCheck:
    began = time.monotonic()
    try:
        problem = step()
    except DvliteError as error:
        problem = error.message
    return RemoteCheck(name=words, ok=problem is None, elapsed_seconds=time.monotonic() - began, detail=problem or "")


def _with_state(repo: Repo, added: RemoteAddResult) -> RemoteAddResult:
    """Returns the result with the state of the remote: two requests that read and list, and two that write a test object and remove it."""
    remote = repo.remote(added.remote.name)
    store = _open(remote, min(_PROBE_SECONDS, repo.config.retry_seconds))
    began = time.monotonic()
    try:
        try:
            store.get(store_config.NAME, end=1)
            state: Literal["empty", "existing"] = "existing"
        except ObjectAbsent:
            state = "empty"
            with contextlib.suppress(OSError):  # the cached catalog of an earlier store
                shutil.rmtree(repo.notes_dir / remote.key)
        latency_seconds = time.monotonic() - began
        store.list("test/")  # a right of its own
        found = replace(added, state=state, latency_seconds=latency_seconds, region=remote.options.get("region"))
        writable, problem = _tried_to_write(store, remote.location)
        return replace(found, writable=writable, problem=problem)
    except DvliteError as error:
        return replace(added, state="unreachable", problem=error.message)
    finally:
        store.close()


def _tried_to_write(store: ObjectStore, location: Location) -> tuple[bool, str | None]:
    """Returns whether objects can be written to a store, and what cannot be done. A folder is not written to: the first push makes it."""
    if location.folder is not None:
        folder = location.folder if location.folder.exists() else location.folder.parent
        writable = os.access(folder, os.W_OK | os.X_OK)
        return writable, None if writable else f"{quote(str(folder))} is not writable for you"
    name = f"test/{secrets.token_hex(16)}"
    try:
        store.put(name, b"dvlite remote add\n")
    except RemoteError as error:
        return False, error.message
    try:
        store.delete([name])
    except RemoteError as error:  # buckets that keep everything take pushes
        return True, f"nothing can be deleted, so gc --remote will fail: {error.message}"
    return True, None


def _stored_url(repo: Repo, url: str, location: Location) -> str:
    """Returns how a URL is kept: a relative folder relative to the root, so that every clone finds its own."""
    if location.folder is None or os.path.isabs(url) or "://" in url:
        return location.text
    relative = os.path.relpath(location.folder, repo.root)
    return relative if relative.startswith("..") else f"./{relative}"


def _inside_work_tree(repo: Repo, location: Location) -> tuple[str, ...]:
    """Returns a warning for a folder where git would see the data; raises UsageError where it would be mixed with other files."""
    folder = location.folder
    if folder is None or not folder.is_relative_to(repo.root):
        return ()
    if folder == repo.root or any(map(folder.is_relative_to, (repo.git_dir, repo.root / config_files.FOLDER))):
        raise UsageError(
            f"{quote(str(folder))} cannot be a remote: it has other files", hint="give a folder of its own"
        )
    return (f"{quote(repo.display(repo.relative(folder)))} is in the work tree: keep git from adding it (.gitignore)",)


def _consent(repo: Repo, name: str) -> tuple[str, ...]:
    """Approves the place of a remote that this user just added, for reading and for pushing this project's data."""
    remote = configured(repo.config, name)
    read, destination = (
        untrusted_place(repo.config, remote, repo.root),
        unapproved_destination(repo.config, remote, repo.root),
    )
    places = {"trust": read, f"push_to.project-{repo.config.project}": destination if repo.config.project else None}
    try:
        changes = approvals(repo.read_layer(USER), places)
        if changes:
            repo.change_config(USER, changes)
    except DvliteError as error:
        return (f"your approval of {destination or read} could not be kept: {error.message}",)
    return ()


def _row(repo: Repo, remote: RemoteConfig) -> RemoteRow:
    return RemoteRow(
        name=remote.name,
        url=str(remote.url.value),
        default=remote.name in repo.config.default_remotes,
        trusted=untrusted_place(repo.config, remote, repo.root) is None,
        source=remote.url.source,
        options={option: str(setting.value) for option, setting in remote.options.items() if not is_secret(option)},
    )


def _stage(repo: Repo, paths: Sequence[Path], *, enabled: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Stages the committed one of the config files; returns what was staged, and what is left to stage."""
    names = (config_files.COMMITTED_FILE,) if repo.root / config_files.COMMITTED_FILE in paths else ()
    staged = repo.stage(names, enabled=None if enabled else False)
    return staged, () if staged else names


def _open(remote: RemoteSettings, seconds: float) -> ObjectStore:
    return open_store(
        remote.location,
        remote.options,
        budget=RetryBudget(seconds=seconds, unreached_seconds=min(seconds, 10.0)),
        connections=1,
    )
