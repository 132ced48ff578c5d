"""The scripts in git's hooks folder that call `dvlite hook`: finding the folder, installing and removing them.

An earlier hook moves to a folder beside git's under its own name, because hooks may depend on their name; ours runs it first. Knows how
the scripts use dvlite's exit code, not what dvlite does.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.errors import DvliteError, UsageError
from dvlite.files import open_without_waiting, os_error, write_atomic
from dvlite.repo.repository import Repo
from dvlite.show import quote

HOOKS = ("pre-commit", "pre-merge-commit", "pre-push", "post-checkout", "post-merge", "post-rewrite")
KEPT = ".before-dvlite"  # after the name of the hooks folder: the folder of the earlier hooks
_MARK = b'# Made by "dvlite install"'
_WITH_INPUT = ("pre-push", "post-rewrite")  # git passes them more on standard input
_LIMIT_BYTES = 64 * 1024

_HEAD = """\
#!/bin/sh
# Made by "dvlite install"; "dvlite install --uninstall" puts back what was here before. Off: DVLITE_HOOKS=0
before="$(CDPATH= cd -- "${{0%/*}}" && pwd -P){kept}/{name}"  # a hook that was here before runs first
"""
_CHAIN = """\
if [ -x "$before" ]; then "$before" "$@" || exit $?; fi
"""
_CHAIN_WITH_INPUT = """\
input=$(command -p cat)
input() { [ -z "$input" ] || printf '%s\\n' "$input"; }
if [ -x "$before" ]; then input 2>/dev/null | "$before" "$@" || exit $?; fi
"""
_SWITCH = """\
case "${DVLITE_HOOKS:-}" in 0 | off | no | false) exit 0 ;; esac
"""
# A sparse checkout may leave the folder out.
_ONLY_WITH_DVLITE = """\
[ -f .dvlite/config.yaml ] || git cat-file -e :.dvlite/config.yaml 2>/dev/null || exit 0
"""
# A branch with data may be pushed from one without.
_ONLY_WHERE_IT_WAS_USED = """\
[ -f .dvlite/config.yaml ] || [ -d "$(git rev-parse --git-common-dir)/dvlite" ] || exit 0
"""
_NOTHING_TO_DO = {  # decided in the script: starting dvlite takes 50 ms
    "pre-merge-commit": "git grep -q --cached checks -- dvlite.yaml '*/dvlite.yaml' || exit 0 # nothing is demanded of data\n",
    "post-checkout": '[ "$3" = 1 ] && [ "$1" != "$2" ] || exit 0 # single files, or a new branch\n',
    "post-rewrite": '[ "$1" = rebase ] || exit 0 # an amended commit\n',
}
# An entry of PATH that is not absolute could lead into the repository, whose programs hooks never run.
_FIND = """\
program=$(command -v dvlite)
case "$program" in
/*) ;;
*) program={program} ;;
esac
if [ ! -x "$program" ]; then
{missing}fi
"""
_CALL = 'exec "$program" hook {name} "$@"\n'
_CALL_WITH_INPUT = 'input | "$program" hook {name} "$@"\n'
_MISSING = {
    **dict.fromkeys(
        ("pre-commit", "pre-merge-commit"),
        '  echo "dvlite: note: this commit was not checked: the program dvlite is not on PATH" >&2\n  exit 0\n',
    ),
    "pre-push": (
        '  echo "dvlite: blocked: cannot check that the data of these commits is pushed: the program dvlite is not on PATH" >&2\n'
        '  echo "dvlite: install dvlite, or push without its data: DVLITE_HOOKS=0 git push" >&2\n  exit 1\n'
    ),
}
_SILENTLY = "  exit 0\n"  # without dvlite, no message at each step


@dataclass(slots=True)
class Installed:
    """What was done in a hooks folder: the hooks that call dvlite now, those that run before them, and what could not be done."""

    folder: Path
    hooks: list[str] = field(default_factory=list)
    chained: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HooksFolder:
    """The folder that git takes hooks from. `shared`: others may get them with the repository."""

    folder: Path
    shared: bool = False


def hooks_place(repo: Repo, *, force: bool = False) -> HooksFolder:
    """Returns where git takes hooks from: the folder that all worktrees share, or that of `core.hooksPath`.

    Raises UsageError, unless `force`, for a folder outside the repository: other repositories take their hooks from there too.
    """
    chosen = _chosen_folder(repo)
    folder = repo.common_dir / "hooks" if chosen is None else repo.root / chosen
    real = Path(os.path.realpath(folder))
    if real.is_relative_to(repo.common_dir) or real.is_relative_to(repo.git_dir):
        return HooksFolder(folder)
    if real.is_relative_to(repo.root):
        return HooksFolder(folder, shared=True)
    if not force:
        why = "core.hooksPath" if chosen is not None else "a symbolic link"
        raise UsageError(
            f"hooks of this repository are in {quote(str(folder))} ({why}), outside of it, where other repositories have theirs",
            hint="to install them there all the same (in repositories without dvlite they do nothing): dvlite install --force\n"
            'or call dvlite from your own hooks, for example: dvlite hook pre-push "$@"',
        )
    return HooksFolder(folder)


def install_hooks(repo: Repo, place: HooksFolder, *, force: bool = False) -> Installed:
    """Writes the scripts; an earlier hook moves to the folder beside and runs first. Idempotent.

    Raises UsageError, unless `force`, before it would move a hook of the work tree.
    """
    done = Installed(place.folder)
    foreign = _foreign_hooks(repo, place, force=force)
    program = "''" if place.shared else shlex.quote(running_program())  # other users have other folders
    with _reported(place.folder):
        place.folder.mkdir(parents=True, exist_ok=True)
        _move_away(place.folder, foreign)
        for name in HOOKS:
            path = place.folder / name
            if _is_ours(_legacy(path)):
                done.hooks.append(name)  # of pre-commit, which calls what it found
                continue
            text = script(name, program).encode()
            if _read(path) != text:
                write_atomic(path, text, mode=0o777)
            done.hooks.append(name)
            original = _kept(place.folder) / name
            if os.access(original, os.X_OK):
                done.chained.append(name)
            elif os.path.lexists(original):
                done.warnings.append(_never_ran(name, original))
    if place.shared:
        places = [place.folder, *([_kept(place.folder)] if done.chained else [])]
        where = " and ".join(quote(_within(repo, folder)) for folder in places)
        done.warnings.append(
            f"hooks of this repository are in the work tree: commit {where} for all, or have git ignore it"
        )
    return done


def obstacle(repo: Repo) -> DvliteError | None:
    """Returns why `install_hooks` would refuse, None if it would not; changes nothing."""
    try:
        _foreign_hooks(repo, hooks_place(repo), force=False)
    except DvliteError as error:
        return error
    return None


def install_if_possible(repo: Repo) -> list[str]:
    """Installs the hooks, unless all of them call dvlite already; returns warnings, with the ways out where it is not possible."""
    if len(installed_hooks(repo)) == len(HOOKS):
        return []
    try:
        return install_hooks(repo, hooks_place(repo)).warnings
    except DvliteError as error:
        return ["; ".join([f"git hooks were not installed: {error.message}", *(error.hint or "").splitlines()])]


def _never_ran(name: str, original: Path) -> str:
    return (
        f"the hook {quote(name)} that was here before is not executable: git did not run it, and dvlite's does not either; "
        f"it is kept as {quote(f'{original.parent.name}/{name}')} (to let it run first: chmod +x {shlex.quote(str(original))})"
    )


def installed_hooks(repo: Repo) -> list[str]:
    """Returns the hooks of git that call dvlite: through its scripts, from the user's own, or through the program pre-commit."""
    folder = hooks_place(repo, force=True).folder
    framework = _read(repo.root / ".pre-commit-config.yaml")
    above = folder.parent if folder.name == "_" else None  # husky's hooks call those in the folder above
    return [
        name
        for name in HOOKS
        if _calls(folder / name, framework) or (above is not None and b"dvlite hook" in _read(above / name))
    ]


def has_text(repo: Repo, name: str, text: bytes) -> bool:
    """Returns whether a hook has a text in it, or the one that runs before it or, with husky, by it."""
    folder = hooks_place(repo, force=True).folder
    return any(text in _read(place / name) for place in (folder, _kept(folder), folder.parent))


def _calls(path: Path, framework: bytes) -> bool:
    text = _read(path) if os.access(path, os.X_OK) else b""
    through_it = b"pre-commit.com" in text and f"dvlite-{path.name}".encode() in framework
    return _MARK in text or b"dvlite hook" in text or through_it or (bool(text) and _is_ours(_legacy(path)))


def uninstall_hooks(place: HooksFolder) -> Installed:
    """Removes the scripts and restores the earlier hooks; `hooks` are those that were removed."""
    done = Installed(place.folder)
    with _reported(place.folder):
        for name in HOOKS:
            path = place.folder / name
            original = _kept(place.folder) / name
            if _is_ours(path):
                if os.path.lexists(original):
                    os.replace(original, path)
                    done.chained.append(name)
                else:
                    os.unlink(path)
                done.hooks.append(name)
            elif os.path.lexists(original):
                done.warnings.append(
                    f"{quote(str(path))} is not dvlite's any more; the hook that was there before is still {quote(str(original))}"
                )
            if _is_ours(_legacy(path)):
                os.unlink(_legacy(path))
                done.hooks.append(name)
        _tidy(place.folder)
    return done


def script(name: str, program: str) -> str:
    """Returns the script of a hook; `program`, quoted for the shell, is tried where dvlite is not on PATH."""
    with_input = name in _WITH_INPUT
    parts = [_HEAD.format(name=name, kept=KEPT), _CHAIN_WITH_INPUT if with_input else _CHAIN, _SWITCH]
    parts.append(_ONLY_WITH_DVLITE if name != "pre-push" else _ONLY_WHERE_IT_WAS_USED)
    parts.append(_NOTHING_TO_DO.get(name, ""))
    parts.append(_FIND.format(program=program, missing=_MISSING.get(name, _SILENTLY)))
    parts.append((_CALL_WITH_INPUT if with_input else _CALL).format(name=name))
    return "".join(parts)


def _chosen_folder(repo: Repo) -> str | None:
    """Returns the folder in `core.hooksPath`; what dvlite itself gives every git that it runs does not count."""
    listed = repo.git.run("config", "-z", "--show-scope", "--type=path", "--get-all", "core.hooksPath", check=False)
    words = [os.fsdecode(word) for word in listed.split(b"\0")]
    folders = [value for scope, value in zip(words[::2], words[1::2], strict=False) if scope != "command"]
    return folders[-1] if folders and folders[-1] else None


def running_program() -> str:
    """Returns the program that is running, as a path."""
    beside = Path(sys.executable).parent / "dvlite"
    started = Path(sys.argv[0])
    return str(beside if beside.is_file() or started.name != "dvlite" else Path(os.path.abspath(started)))


def _within(repo: Repo, path: Path) -> str:
    return Path(os.path.realpath(path.parent), path.name).relative_to(repo.root).as_posix()


def _is_ours(path: Path) -> bool:
    return _MARK in _read(path)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            return file.read(_LIMIT_BYTES)
    except OSError:
        return b""


def _legacy(path: Path) -> Path:
    """Returns where the program pre-commit keeps the hook that it found, which it calls."""
    return path.with_name(f"{path.name}.legacy")


def _is_foreign(path: Path) -> bool:
    return os.path.lexists(path) and not _is_ours(path) and not _is_ours(_legacy(path))


# -- earlier hooks


def _kept(folder: Path) -> Path:
    return Path(os.path.realpath(folder) + KEPT)


def _move_away(folder: Path, foreign: Sequence[str]) -> None:
    """Moves hooks to the folder beside this one, with links to all other files: a hook may call what lies beside it."""
    backup_folder = _kept(folder)
    if foreign:
        backup_folder.mkdir(exist_ok=True)
    for name in foreign:
        os.rename(folder / name, backup_folder / name)
    if backup_folder.is_dir():
        _drop_links(folder)
        for entry in sorted(os.listdir(folder)):
            if entry not in HOOKS and not _is_ours(folder / entry) and not os.path.lexists(backup_folder / entry):
                os.symlink(_link_to(folder, entry), backup_folder / entry)


def _tidy(folder: Path) -> None:
    """Removes the folder beside this one, unless it has files that are not dvlite's."""
    backup_folder = _kept(folder)
    if backup_folder.is_dir() and not any(os.path.lexists(backup_folder / name) for name in HOOKS):
        _drop_links(folder)
        with contextlib.suppress(OSError):
            backup_folder.rmdir()


def _drop_links(folder: Path) -> None:
    for entry in os.listdir(_kept(folder)):
        if _is_link(folder, entry):
            os.unlink(_kept(folder) / entry)


def _is_link(folder: Path, entry: str) -> bool:
    """Returns whether this is a link that `_move_away` made."""
    path = _kept(folder) / entry
    return path.is_symlink() and os.readlink(path) == _link_to(folder, entry)


def _link_to(folder: Path, entry: str) -> str:
    return os.path.join("..", os.path.basename(os.path.realpath(folder)), entry)


def _foreign_hooks(repo: Repo, place: HooksFolder, *, force: bool) -> list[str]:
    """Returns the hooks that have to run before dvlite's; raises as `install_hooks`."""
    foreign = [name for name in HOOKS if _is_foreign(place.folder / name)]
    _refuse_two(place.folder, foreign)
    if place.shared and foreign and not force:
        _refuse_in_work_tree(repo, [_within(repo, place.folder / name) for name in foreign])
    return foreign


def _refuse_two(folder: Path, foreign: Sequence[str]) -> None:
    for name in foreign:
        if os.path.lexists(_kept(folder) / name):
            raise DvliteError(
                f"there are two hooks to run before dvlite's: {quote(str(folder / name))} and {quote(str(_kept(folder) / name))}",
                hint=f"put both into one file {quote(name)} and remove the other, then: dvlite install",
            )


def _refuse_in_work_tree(repo: Repo, hooks: Sequence[str]) -> None:
    tracked = repo.git.tracked_under(hooks)
    if tracked:
        raise UsageError(
            f"{quote(tracked[0])} is a hook that git tracks; dvlite does not move it",
            hint='call dvlite from it: dvlite hook NAME "$@", or move it all the same: dvlite install --force',
        )
    name = posixpath.basename(hooks[0])
    raise UsageError(
        f"{quote(hooks[0])} is a hook that git does not track: what made it, husky for example, would make it again in place of dvlite's",
        hint=f'call dvlite from your own hook (with husky .husky/{name}), each of {", ".join(HOOKS)} likewise: dvlite hook {name} "$@"\n'
        "or move what is there all the same: dvlite install --force",
    )


@contextlib.contextmanager
def _reported(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise os_error(error, "write hooks to", folder) from error
