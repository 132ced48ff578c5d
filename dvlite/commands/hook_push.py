"""The pre-push hook: the data of exactly the commits that git is about to push goes first, or git does not push."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dvlite.errors import DvliteError, FormatError, ObjectMissing
from dvlite.formats.config import COMMITTED, RemoteConfig, parse
from dvlite.git.output import is_commit_id
from dvlite.hooks.result import Blocked, HookResult
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.config_files import COMMITTED_FILE
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Scope
from dvlite.repo.tracked_paths import Tracked
from dvlite.show import printable, quote, size_text

if TYPE_CHECKING:
    from dvlite.share.publish import PushResult

_LOST = "if it is lost for ever: DVLITE_ALLOW_MISSING=1 git push"
_SKIP = "to push the commits without their data: DVLITE_HOOKS=0 git push"
_UNCHECKED = "to push them all the same, without their data: DVLITE_HOOKS=0 git push"
_MOST_CONFIG = 1 << 20  # bytes
_REMOTE = re.compile(r"[A-Za-z0-9_][\w./-]*")  # what may stand in a pattern for refs


def hook_push(
    repo: Repo, words: Sequence[str], lines: Sequence[str], *, allow_missing: bool = False, progress: Progress
) -> HookResult:
    """Pushes the data of commits that git's remote does not have, up to `hooks.push_limit`; blocks if that fails.

    The rest that the tips of the pushed refs name is pushed too: git's remote may have commits whose data was never pushed. What is
    missing of it is reported, and blocks nothing. `words` are the name and URL of git's remote, `lines` its refs as githooks(5) says.
    Commits without new data cost no request where this clone knows that the data of the tips is complete.
    """
    started = time.monotonic()
    revisions = [] if repo.config.get("hooks.pre_push") == "off" else revisions_of(words, lines)
    if not revisions:
        return HookResult(hook="pre-push")
    named = [
        version for version in committed_versions.introduced(repo.git, revisions, progress=progress) if version.push
    ]
    tips = _at_tips(repo, revisions, named, progress)
    if not named and not tips:
        return HookResult(hook="pre-push")
    without = _without_remote(repo)
    blocked, notes = [] if without is None else [without], list[str]()
    if without is None:
        unchecked, notes = _unchecked(repo, revisions, named, progress)
        blocked += unchecked
    done: list[PushResult] = []
    for remote in () if blocked else repo.config.default_remotes or (None,):  # all are tried
        pushed, reason, more = _to_remote(repo, remote, named, tips, allow_missing=allow_missing, progress=progress)
        notes += more
        blocked += [] if reason is None else [_of_several(repo, remote, reason)]
        done += [] if pushed is None else [pushed]
    notes += [] if blocked else _unnamed_remote(repo, revisions)
    counted = repo.git.run("rev-list", "--count", "--ignore-missing", *revisions, check=False).strip()
    return HookResult(
        hook="pre-push",
        blocked=tuple(blocked),
        notes=tuple(dict.fromkeys(notes)),
        push=_joined(done),
        commits=int(counted or b"0"),
        elapsed_seconds=time.monotonic() - started,
    )


def _unchecked(
    repo: Repo, revisions: Sequence[str], named: Sequence[Tracked], progress: Progress
) -> tuple[list[Blocked], list[str]]:
    """Returns what checks of the pushed commits say against the versions that they bring; of each ref, its last commit counts."""
    paths = list(dict.fromkeys(item.path for item in named))
    blocked, notes = list[Blocked](), list[str]()
    for tip in _tips(revisions) if paths else ():
        at = repo.at(tip)
        if not at.pipeline_files():
            continue
        from dvlite.checks import gates  # 30 ms of modules that commits without a pipeline do not need
        from dvlite.checks.verdicts import reads_any

        blocking, warnings = gates.stopped(repo, at, "push", lambda check: reads_any(check, paths), progress=progress)
        notes += warnings
        if blocking:
            blocked.append(Blocked(message=gates.message(blocking), fixes=(*gates.hints(blocking), _UNCHECKED)))
    return blocked, notes


def _tips(revisions: Sequence[str]) -> list[str]:
    """Returns the commits that are pushed themselves."""
    return [revision for revision in revisions if not revision.startswith(("^", "--"))]


def _to_remote(
    repo: Repo,
    remote: str | None,
    named: Sequence[Tracked],
    tips: Sequence[Tracked],
    *,
    allow_missing: bool,
    progress: Progress,
) -> tuple[PushResult | None, Blocked | None, list[str]]:
    """Pushes to one remote what is named, then what the tips name; returns what was pushed, why git must stop, and notes."""
    pushed, blocked, notes = None, None, list[str]()
    if named:
        pushed, blocked = _publish(repo, remote, named, tips, allow_missing=allow_missing, progress=progress)
    if blocked is None and (pushed is None or len(pushed.paths) < len(named) + len(tips)):
        rest, problem = _publish(repo, remote, tips, allow_missing=True, progress=progress)
        notes = [] if rest is None else [*rest.warnings]
        if problem is not None:
            notes.append(f"data of commits that git has already is not pushed: {problem.message}; {problem.fixes[0]}")
        pushed = pushed or (None if rest is None else replace(rest, warnings=()))
    return pushed, blocked, notes


def _of_several(repo: Repo, remote: str | None, blocked: Blocked) -> Blocked:
    """Returns a block that names its remote, if there are several."""
    if len(repo.config.default_remotes) < 2:
        return blocked
    return replace(blocked, message=f"not pushed to {printable(remote or '')}: {blocked.message}")


def _joined(done: Sequence[PushResult]) -> PushResult | None:
    if len(done) < 2:
        return done[0] if done else None
    from dvlite.share.publish import joined  # loaded by now

    return joined(done, [])


def _at_tips(repo: Repo, revisions: Sequence[str], named: Sequence[Tracked], progress: Progress) -> list[Tracked]:
    """Returns the other versions that the pushed commits themselves name.

    Without new data, only those that this clone does not know to be complete, and none where it may not push: that is for those who do.
    """
    known = {(item.path, item.pointer.oid) for item in named}
    tips: dict[tuple[str, str], Tracked] = {}
    for tip in _tips(revisions):
        try:
            items = committed_versions.reachable(repo.git, Scope(revision=tip), progress=progress)
        except DvliteError as error:  # what cannot be read names no data
            progress.warn(error.message)
            continue
        tips |= {(item.path, item.pointer.oid): item for item in items if item.push}
    others = [item for key, item in tips.items() if key not in known]
    if named or not others:
        return others
    places = []
    for remote in repo.config.default_remotes or (None,):
        with contextlib.suppress(DvliteError):
            places.append(repo.notes_dir / repo.remote(remote, to_push=True).key / "complete")
    names = {(item.path, item.pointer.oid): f"{item.pointer.oid_kind}-{item.pointer.digest.hex()}" for item in others}
    return [
        item for item in others if any(not (place / names[item.path, item.pointer.oid]).exists() for place in places)
    ]


def _publish(
    repo: Repo,
    remote: str | None,
    named: Sequence[Tracked],
    tips: Sequence[Tracked] = (),
    *,
    allow_missing: bool,
    progress: Progress,
) -> tuple[PushResult | None, Blocked | None]:
    """Pushes what is named and, if all of it is there and within the limit, what the tips name."""
    from dvlite.share.publish import (  # 60 ms of modules that commits without data do not need
        OverLimit,
        PushOptions,
        publish,
    )

    terms = PushOptions(
        remote, allow_missing=allow_missing, limit_bytes=repo.config.limit_bytes("hooks.push_limit"), by_commit=True
    )
    if tips:
        with contextlib.suppress(ObjectMissing, OverLimit):  # of either; the tips must not stop what is new
            return publish(repo, [*named, *tips], terms, progress=progress), None
    try:
        return publish(repo, named, terms, progress=progress), None
    except OverLimit as error:
        return None, _over_limit(repo, named, error, error.paths)
    except ObjectMissing as error:
        return None, Blocked(message=error.message, fixes=(*(error.hint or "").splitlines(), _LOST))
    except DvliteError as error:
        return None, Blocked(message=error.message, fixes=(*(error.hint or "").splitlines(), _SKIP))


def lines_of(environ: Mapping[str, str]) -> list[str]:
    """Returns the lines of git's standard input, from the variables that the program pre-commit sets instead."""
    new, old = environ.get("PRE_COMMIT_TO_REF", ""), environ.get("PRE_COMMIT_FROM_REF", "")
    branch = environ.get("PRE_COMMIT_LOCAL_BRANCH", "")
    if not new and not branch:
        return []
    return [f"{branch or 'HEAD'} {new or branch} {environ.get('PRE_COMMIT_REMOTE_BRANCH') or 'HEAD'} {old or '0'}"]


def revisions_of(words: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Returns the commits that git is about to push and its remote does not have, as arguments of `git rev-list`; none for nothing.

    Raises FormatError for a line that is not as githooks(5) says.
    """
    new: list[str] = []
    known: list[str] = []
    for line in lines:
        fields = line.rsplit(" ", 3)  # the first is as the user typed it: HEAD^{/some words}
        if len(fields) != 4 or fields[1].startswith("-"):
            raise FormatError(f"cannot read the ref line from git: {quote(line)}", hint=_SKIP)
        if fields[1].strip("0"):  # all zeros: to be deleted
            new.append(fields[1])
            if is_commit_id(fields[3]) and fields[3].strip("0"):
                known.append(f"^{fields[3]}")
    if not new:
        return []
    name = words[0] if words else ""
    tracking = ["--not", f"--remotes={name}"] if _REMOTE.fullmatch(name) else []
    return [*dict.fromkeys([*new, *known]), *tracking]


def _without_remote(repo: Repo) -> Blocked | None:
    if repo.config.remote_names:
        return None
    if not repo.is_initialised:
        message = "these commits name data, and the branch that is checked out does not name a remote for it"
        return Blocked(message=message, fixes=("check out a branch that uses dvlite and push again", _SKIP))
    message = "these commits name data, and there is no dvlite remote to push it to"
    return Blocked(message=message, fixes=("dvlite remote add s3://BUCKET/PREFIX   or a folder", _SKIP))


def _unnamed_remote(repo: Repo, revisions: Sequence[str]) -> list[str]:
    """Returns a note if none of the commits names the remote of the data: a clone could not find it."""
    notes = []
    for name in repo.config.default_remotes:
        remote = repo.config.remote(name)
        if remote is not None and remote.url.layer == COMMITTED and not _is_named(repo, remote, revisions):
            how = f"git commit {COMMITTED_FILE}, and push again"
            notes.append(
                f"{quote(COMMITTED_FILE)} with remote {printable(name)} is not committed: others cannot find the data; {how}"
            )
    return notes


def _is_named(repo: Repo, remote: RemoteConfig, revisions: Sequence[str]) -> bool:
    for commit in _tips(revisions):
        with contextlib.suppress(FormatError):
            data = repo.git.read_file(commit, COMMITTED_FILE, limit_bytes=_MOST_CONFIG)
            known = parse(data or b"", COMMITTED_FILE, COMMITTED).get(f"remotes.{remote.name}.url")
            if known is not None and known.value == remote.url.value:
                return True
    return False


def _over_limit(repo: Repo, named: Sequence[Tracked], error: DvliteError, paths: Sequence[str]) -> Blocked:
    """Returns the block with the command that pushes the data: `--all-commits` for versions that are not on disk now."""
    now = {(item.path, item.pointer.oid) for item in repo.work_tree.tracked(broken=[])}
    elsewhere = any((version.path, version.pointer.oid) not in now for version in named if version.path in paths)
    command = "dvlite push --all-commits && git push" if elsewhere else "dvlite push && git push"
    limit = size_text(repo.config.limit_bytes("hooks.push_limit"))
    return Blocked(
        message=f"{error.message} (hooks.push_limit)",
        fixes=(command, f"to allow more than {limit}: dvlite config --user hooks.push_limit SIZE", _SKIP),
    )
