"""`doctor`: the installed versions, what this disk supports, and problems of this repository, each with its fix. Changes nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import posixpath
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar, Literal

from dvlite import __version__
from dvlite.errors import DvliteError
from dvlite.files import bytes_on_disk, existing_folder, file_system, share_blocks, temporary_name
from dvlite.formats import store_config
from dvlite.formats.config import LOCAL, is_secret
from dvlite.git.program import program, program_version
from dvlite.hooks.scripts import HOOKS, installed_hooks, obstacle
from dvlite.moving import lfs_local
from dvlite.progress import Progress
from dvlite.repo import attributes, ignore
from dvlite.repo.config_files import LOCAL_FILE
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.share.needs import stale_refs
from dvlite.show import Show, count, duration_text, printable, quote, size_text, word
from dvlite.store import check_round
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.workspace.add_checks import kept_by_git, unread_ignore
from dvlite.workspace.running_outputs import running

_PACKAGES = (
    "blake3",
    "click",
    "fsspec",
    "pathspec",
    "pyfastcdc",
    "pyyaml",
    "rich",
    "s3fs",
    "xxhash",
    "zstandard",
)
_OLDEST_GIT = (2, 31)  # ls-files --deduplicate
_PATIENCE_SECONDS = 3.0
_LITTLE_SPACE = 0.05  # of a disk
_LARGE, _LARGE_BYTES = 5, 1 << 30  # a cache
_LONG_SECONDS = 90 * 86400  # without a check


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorLine:
    """One fact that `doctor` found, and how to fix it if it is a problem."""

    topic: str  # "versions", "links", "remotes", "cache", "git", ...
    text: str
    level: Literal["ok", "warning", "problem"] = "ok"
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DoctorResult(Result):
    """The state of this installation and, inside one, of this repository."""

    schema: ClassVar[str] = "dvlite.doctor/1"
    ok: bool
    lines: tuple[DoctorLine, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns how many problems there are."""
        if self.ok:
            return None
        problems = sum(line.level == "problem" for line in self.lines)
        return DvliteError(f"{count(problems, 'problem')} found", hint="each is listed with its fix")


def doctor(repo: Repo | None, environ: Mapping[str, str], *, progress: Progress) -> DoctorResult:
    """Checks the installation and, if there is one, the repository. Sends a request to each trusted remote; writes temporary files only."""
    lines = [*_versions(environ)]
    if repo is None:
        lines.append(
            DoctorLine(topic="repository", text="no dvlite repository here: only the installation was checked")
        )
    else:
        for check in (_git, _hooks, _links, _cache, _checks, _pointers, _running, _settings, _lfs):
            progress.start(f"checking {check.__name__.strip('_')}")
            lines += check(repo)
        progress.start("asking the remotes")
        lines += _remotes(repo)
    progress.finish()
    return DoctorResult(ok=all(line.level != "problem" for line in lines), lines=tuple(lines))


def _versions(environ: Mapping[str, str]) -> Iterator[DoctorLine]:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield DoctorLine(topic="versions", text=f"dvlite {__version__}, Python {platform.python_version()}, {system}")
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield DoctorLine(topic="versions", text=", ".join(found))
    if missing:
        text = f"not installed: {', '.join(missing)}"
        yield DoctorLine(topic="versions", text=text, level="problem", fix="install dvlite again")
    try:
        git = program_version(environ)
    except DvliteError as error:
        yield DoctorLine(topic="versions", text=error.message, level="problem", fix=error.hint)
        return
    line = f"git {'.'.join(map(str, git))} ({printable(program(environ))})"
    if git < _OLDEST_GIT:
        yield DoctorLine(topic="versions", text=f"{line} is too old", level="problem", fix="install git 2.31 or newer")
    else:
        yield DoctorLine(topic="versions", text=line)


def _git(repo: Repo) -> Iterator[DoctorLine]:
    yield DoctorLine(
        topic="git", text=f"{printable(str(repo.root))} on {file_system(repo.root) or 'an unknown file system'}"
    )
    if repo.git.config_get("core.autocrlf") == "true":
        text = "core.autocrlf is true: git would change the line ends of pointers"
        yield DoctorLine(topic="git", text=text, level="problem", fix="git config core.autocrlf input")
    if (repo.git_dir / "index.lock").exists():
        text = "git's index is locked: git is running here, or was killed"
        yield DoctorLine(
            topic="git",
            text=text,
            level="warning",
            fix=f"if none is running: rm {word(str(repo.git_dir / 'index.lock'))}",
        )
    if private := stale_refs(repo):
        text = f"a gc that was stopped left {count(private, 'private ref')}, which git log --all shows"
        yield DoctorLine(topic="git", text=text, level="warning", fix="dvlite gc")
    if not repo.git.config_get("diff.dvlite.command"):
        text = "git diff shows pointers as text in this clone"
        yield DoctorLine(topic="git", text=text, level="warning", fix="dvlite init")


def _hooks(repo: Repo) -> Iterator[DoctorLine]:
    """Reports hooks and the merge driver; they are optional, but their absence is easily overlooked."""
    there = installed_hooks(repo)
    gone = [name for name in HOOKS if name not in there]
    why_not = obstacle(repo) if gone else None
    fix = "dvlite install" if why_not is None else why_not.hint
    because = "" if why_not is None else f"; {why_not.message}"
    if not there:
        yield DoctorLine(topic="hooks", text=f"none: git does not check or update the data{because}", fix=fix)
    elif gone:
        text = f"{', '.join(there)}; not {', '.join(gone)}{because}"
        yield DoctorLine(topic="hooks", text=text, level="warning", fix=fix)
    else:
        yield DoctorLine(topic="hooks", text=f"all: {', '.join(there)}")
    if repo.git.config_get("merge.dvlite.driver"):
        yield DoctorLine(topic="merges", text="merge driver: on")
    else:
        text = "merge driver: off, so git merges pointers by lines"
        yield DoctorLine(
            topic="merges", text=text, level="warning", fix="dvlite install, or without hooks: dvlite init --no-hooks"
        )


def _links(repo: Repo) -> Iterator[DoctorLine]:
    """Tries each way in which a checkout can place a file of the cache in the work tree."""
    folder = existing_folder(repo.cache_dir)
    source, target = folder / temporary_name(), repo.root / temporary_name()
    try:
        source.write_bytes(b"dvlite doctor\n")
        with source.open("rb") as origin, target.open("wb") as copy:
            works = ["reflink"] if share_blocks(origin.fileno(), copy.fileno()) else []
        for name, link in (("hardlink", os.link), ("symlink", os.symlink)):
            target.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                link(source, target)
                works.append(name)
    except OSError as error:
        text = f"cannot write to {quote(str(error.filename or folder))}: {error.strerror}"
        yield DoctorLine(topic="links", text=text, level="problem", fix="check who owns the folder")
        return
    finally:
        for file in (source, target):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
    yield DoctorLine(topic="links", text=f"from cache to work tree: {', '.join([*works, 'copy'])}")
    if "reflink" not in works:
        text = f"files cannot share blocks ({file_system(folder) or 'this file system'}): checked out files take their space twice"
        yield DoctorLine(topic="links", text=text, fix="a disk with xfs or btrfs (Linux) or apfs (macOS)")


def _cache(repo: Repo) -> Iterator[DoctorLine]:
    folder = repo.cache_dir
    disk = shutil.disk_usage(existing_folder(folder))
    free = size_text(disk.free)
    if not folder.exists():
        yield DoctorLine(topic="cache", text=f"{printable(str(folder))}: not created yet, {free} free")
        return
    size_bytes = bytes_on_disk(folder)
    yield DoctorLine(topic="cache", text=f"{printable(str(folder))}: {size_text(size_bytes)}, {free} free")
    if (closed := open_cache(repo).unwritable()) is not None:
        text = f"this user may not write to {quote(str(closed))}"
        fix = f"its owner: chmod -R g+rwX {word(str(folder))}, or dvlite config --user cache.dir FOLDER"
        yield DoctorLine(topic="cache", text=text, level="problem", fix=fix)
    if disk.free < _LITTLE_SPACE * disk.total:
        text = f"little space is left on the disk of the cache: {free} of {size_text(disk.total)}"
        fix = "dvlite gc shows what nothing needs; dvlite cache prune --pushed drops what a remote has"
        yield DoctorLine(topic="cache", text=text, level="warning", fix=fix)
    with contextlib.suppress(DvliteError):  # `_pointers` says it
        here = sum(item.pointer.size_bytes for item in repo.work_tree.tracked())
        if size_bytes > max(_LARGE * here, _LARGE_BYTES):
            text = f"that is more than {_LARGE} times what is tracked here now ({size_text(here)}): old versions"
            fix = "dvlite gc shows what nothing needs; dvlite cache prune --pushed drops what a remote has"
            yield DoctorLine(topic="cache", text=text, fix=fix)
    if folder.stat().st_mode & stat.S_IWOTH:
        text = f"every user of this machine can write to {quote(str(folder))}"
        yield DoctorLine(topic="cache", text=text, level="problem", fix=f"chmod o-w {printable(str(folder))}")


def _checks(repo: Repo) -> Iterator[DoctorLine]:
    """Reports when `fsck` last read every byte of the cache, and what was not right then."""
    if not repo.cache_dir.exists():
        return
    known = check_round.load(repo.common_dir / "dvlite" / "fsck" / "cache")
    if known.bad:
        text = f"{count(len(known.bad), 'object')} of the cache {'was' if len(known.bad) == 1 else 'were'} damaged at the last check"
        yield DoctorLine(topic="checks", text=text, level="problem", fix="dvlite fsck --repair")
    if known.completed:
        day = dt.datetime.fromtimestamp(known.completed, dt.UTC).date()
        yield DoctorLine(topic="checks", text=f"every byte of the cache was last read on {day}")
        if time.time() - known.completed > _LONG_SECONDS:
            yield DoctorLine(topic="checks", text="that is over 90 days ago", level="warning", fix="dvlite fsck --deep")
    else:
        yield DoctorLine(topic="checks", text="no check has read every byte of the cache yet: dvlite fsck --deep")


def _pointers(repo: Repo) -> Iterator[DoctorLine]:
    for name in repo.git.list_files(f"*/{ignore.FILE_NAME}", untracked=True):
        fix = (
            f"move its lines to {ignore.FILE_NAME} at the top, each with {printable(posixpath.dirname(name))}/ in front"
        )
        yield DoctorLine(topic="pointers", text=unread_ignore(repo, name), level="warning", fix=fix)
    try:
        tracked = repo.work_tree.tracked()
    except DvliteError as error:
        yield DoctorLine(topic="pointers", text=error.message, level="problem", fix=error.hint)
        return
    if filtered := attributes.filtered(repo.git, repo.work_tree.own_files(as_seen=True)):
        yield DoctorLine(topic="pointers", text=filtered.message, level="problem", fix=filtered.hint)
    size = size_text(sum(item.pointer.size_bytes for item in tracked))
    yield DoctorLine(topic="pointers", text=f"{len(tracked)} tracked path{'s' * (len(tracked) != 1)}, {size}")
    for path in sorted(kept_by_git(repo, [item.path for item in tracked])):
        text = f"git tracks {quote(repo.display(path))}, which dvlite tracks too"
        yield DoctorLine(
            topic="pointers", text=text, level="problem", fix=f"git rm -r -q --cached {word(repo.display(path))}"
        )


def _running(repo: Repo) -> Iterator[DoctorLine]:
    now = running(repo)
    if now is not None:
        stages = "".join(f", {one.stage} for {duration_text(one.seconds)}" for one in now.stages)
        text = f"{now.process or 'a dvlite repro'} runs stages here{printable(stages)}"
        yield DoctorLine(topic="pipeline", text=text)


def _settings(repo: Repo) -> Iterator[DoctorLine]:
    secret = any(key.startswith("remotes.") and is_secret(key.rpartition(".")[2]) for key in repo.read_layer(LOCAL))
    path = repo.root / LOCAL_FILE
    if secret and path.stat().st_mode & 0o077:
        text = f"'{LOCAL_FILE}' holds secrets and other users can read it"
        yield DoctorLine(topic="config", text=text, level="problem", fix=f"chmod 600 {LOCAL_FILE}")


def _lfs(repo: Repo) -> Iterator[DoctorLine]:
    if lfs_local.is_installed(repo):
        if lfs_local.is_prune_safe(repo):
            yield DoctorLine(topic="git-lfs", text="its objects are kept on a remote of dvlite (lfs-agent)")
        else:
            text = "git lfs prune, even with --verify-remote, may remove the last copy: it cannot ask the agent what the remote has"
            yield DoctorLine(topic="git-lfs", text=text, level="warning", fix="dvlite lfs-agent install")
        if reason := lfs_local.why_not_sent(repo):
            yield DoctorLine(topic="git-lfs", text=reason, level="warning", fix=lfs_local.HOOK_FIX)


def _remotes(repo: Repo) -> Iterator[DoctorLine]:
    names = repo.config.remote_names
    if not names:
        yield DoctorLine(topic="remotes", text="none is configured", fix="dvlite remote add s3://BUCKET/PREFIX")
    for name in names:
        try:
            remote = repo.remote(name)
            budget = RetryBudget(seconds=_PATIENCE_SECONDS, unreached_seconds=_PATIENCE_SECONDS)
            store = open_store(remote.location, remote.options, budget=budget, connections=1)
            try:
                text = "has data" if store.get(store_config.NAME, end=1) else "has an empty config"
            except ObjectAbsent:
                text = "empty"
            finally:
                store.close()
            yield DoctorLine(topic="remotes", text=f"{name} = {printable(remote.location.text)}: reachable, {text}")
            if bad := len(check_round.load(repo.common_dir / "dvlite" / "fsck" / remote.key).bad):
                text = f"{count(bad, 'object')} of {name} {'was' if bad == 1 else 'were'} damaged at the last check"
                fix = f"dvlite fsck --remote {word(name)} --repair"
                yield DoctorLine(topic="checks", text=text, level="problem", fix=fix)
        except DvliteError as error:
            yield DoctorLine(topic="remotes", text=f"{name}: {error.message}", level="problem", fix=error.hint)
