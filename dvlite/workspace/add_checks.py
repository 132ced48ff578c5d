"""Which paths `add` may begin to track, and why not: their names, what git has already, what is tracked above and below them."""

from __future__ import annotations

import os
import re
import unicodedata
from array import array
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import ne

from dvlite.errors import DvliteError, UsageError
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.git.output import is_lockfile
from dvlite.paths import ancestors, is_inside
from dvlite.repo import attributes, ignore
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked, Unusable, why_untrackable
from dvlite.show import NAMED, count, quote, some, word
from dvlite.workspace.path_args import is_about_pointer


@dataclass(slots=True)
class AddTarget:
    """One path to be tracked; `inside`: the parts of a tracked directory that were named (none: all of it)."""

    path: str
    old: Pointer | None
    inside: list[str] = field(default_factory=list)


_MAX_NAME_BYTES = 255
DATABASE_LOGS = ("-wal", "-journal")  # what follows the name of a database in that of such a file
_WAL, _JOURNAL = b"\x37\x7f\x06", b"\xd9\xd5\x05"  # how files begin in which SQLite keeps changes
_TOGETHER = 4096  # paths looked at together
_NOT_EVERYWHERE = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (rb'[<>:"|?*\\\x01-\x1f\x7f]', "has a character that Windows cannot hold"),
        (rb"[. ](?=[/\0])", "ends in a dot or a space, which Windows cannot hold"),
        (
            rb"(?i)[\0/](?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.[^/\0]*)?(?=[/\0])",
            "is the name of a device on Windows",
        ),
        (
            rb"[\0/]\.dvliteignore(?=\0)",
            "is data like any other file: only the .dvliteignore at the top of the repository counts",
        ),
    )
)


def tracked_above(path: str, tracked: Container[str]) -> str | None:
    """Returns the tracked path that a path is or is inside of, or None."""
    return next((folder for folder in (path, *ancestors(path)) if folder and folder in tracked), None)


def is_output(repo: Repo, path: str, output: Tracked) -> UsageError:
    """Returns why a path cannot be added that is an output of a stage, inside one or above one."""
    shown, which = quote(repo.display(path)), quote(repo.display(output.path))
    what = f"an output of the stage {output.stage}"
    if path == output.path:
        message = f"{shown} is {what}"
    elif path.startswith(output.path + "/"):
        message = f"{shown} is inside {which}, {what}"
    else:
        message = f"{shown} holds {which}, {what}"
    called = word(output.stage)
    return UsageError(
        message, hint=f"its stage makes it: dvlite repro {called}\nto accept what is on disk: dvlite commit {called}"
    )


def refuse_broken(broken: Sequence[DvliteError], paths: Sequence[str]) -> None:
    """Raises the error of a pointer that cannot be used and is that of one of the paths, or above or below one."""
    for error in broken:
        file = error.file if isinstance(error, Unusable) else ""
        if file and not is_lockfile(file):
            for path in paths:
                if is_about_pointer(file, path) or file.startswith(path + "/"):
                    raise error


def refuse_untrackable(
    repo: Repo, paths: Sequence[str], tracked: Mapping[str, Tracked], *, are_there: bool = True
) -> None:
    """Raises UsageError for the first path that cannot be tracked; all of them are new, and must be there unless their data is elsewhere."""
    given = set(paths)
    for path in paths:
        if not path:
            raise UsageError(
                "dvlite tracks the files and folders that are named, not the whole repository",
                hint="name them: dvlite add PATH...; all that are tracked and changed: dvlite add -u",
            )
        shown = repo.display(path)
        reason = why_untrackable(path)
        if reason is not None:
            raise UsageError(
                f"cannot track {quote(shown)}: {reason}", hint="name files or folders inside the repository"
            )
        if len(os.fsencode(os.path.basename(path) + SUFFIX)) > _MAX_NAME_BYTES:
            folder = repo.display(os.path.dirname(path)) if "/" in path else "FOLDER"
            raise UsageError(
                f"cannot track {quote(shown)}: the name of its pointer would have more than {_MAX_NAME_BYTES} bytes",
                hint=f"track the folder that it is in: dvlite add {word(folder)}",
            )
        other = next((above for above in ancestors(path) if os.path.lexists(repo.root / above / ".git")), None)
        if other is not None:
            inner = path.removeprefix(f"{other}/")
            raise UsageError(
                f"cannot track {quote(shown)}: it is in another git repository, {quote(repo.display(other))}",
                hint=f"track it there: dvlite -C {word(repo.display(other))} add {word(inner)}",
            )
        if os.path.lexists(repo.root / (path + SUFFIX)):
            raise UsageError(
                f"cannot track {quote(shown)}: {quote(repo.display(path + SUFFIX))} exists and is no pointer of it",
                hint="move that file away",
            )
        if repo.cache_dir.is_relative_to(repo.root / path):
            raise UsageError(
                f"cannot track {quote(shown)}: the cache is in it", hint="dvlite config --user cache.dir /elsewhere"
            )
        if are_there and not os.path.lexists(repo.root / path):
            hint = "check the name; a path is relative to the current folder"
            if re.match(r"[a-z][a-z0-9+.-]+:/", shown):
                hint = "add takes files on disk: download it, or pipe it into  dvlite add - -o PATH"
            raise UsageError(f"cannot find {quote(shown)}", hint=hint)
        _refuse_tracked_around(repo, path, tracked)
        above = tracked_above(path.rpartition("/")[0], given)
        if above is not None:
            raise UsageError(
                f"cannot track {quote(shown)}: it is inside {quote(repo.display(above))}, which is given too"
            )
    refuse_ignored(repo, [path + SUFFIX for path in paths], "cannot track the data of")
    if error := attributes.filtered(repo.git, [path + SUFFIX for path in paths]):
        raise error
    _refuse_in_git(repo, paths)


def _refuse_tracked_around(repo: Repo, path: str, tracked: Mapping[str, Tracked]) -> None:
    below = next((other for other in tracked if other.startswith(path + "/")), None)
    if below is not None and tracked[below].lockfile:
        raise is_output(repo, path, tracked[below])
    if below is not None:
        raise UsageError(
            f"cannot track {quote(repo.display(path))}: {quote(repo.display(below))} inside it is tracked on its own",
            hint=f"dvlite rm --cached {word(repo.display(below))}   and add the folder again",
        )


def _refuse_in_git(repo: Repo, paths: Sequence[str]) -> None:
    in_git = kept_by_git(repo, paths)
    if not in_git:
        return
    given = next((path for path in paths if is_inside(in_git[0], path)), in_git[0])
    shown, inside = repo.display(given), [name for name in in_git if is_inside(name, given)]
    what, hint = "it already", f"git rm -r -q --cached {word(shown)} && dvlite add {word(shown)}"
    if given not in in_git:
        named = some([quote(repo.display(name)) for name in inside])
        what = f"{count(len(inside), 'file')} in it already, {named}"
        lines = " ".join(word(f"/{name}") for name in inside)
        write = "echo" if len(inside) == 1 else "printf '%s\\n'"
        if len(inside) <= NAMED:
            hint += f"\nor leave to git what it has: {write} {lines} >> {word(repo.display(ignore.FILE_NAME))}"
        else:
            hint += f"\nor leave to git what it has: name it in {ignore.FILE_NAME}"
    raise UsageError(f"cannot track {quote(shown)}: git tracks {what}", hint=hint)


def kept_by_git(repo: Repo, paths: Sequence[str]) -> list[str]:
    """Returns the files that git tracks and that would be data of `paths`: `.dvliteignore` may leave some to git."""
    rules, given = repo.work_tree.ignore_rules, set(paths)

    def is_data(name: str) -> bool:
        folder = next((above for above in (name, *ancestors(name)) if above in given), "")
        return name in given or not rules.leaves_out(name, folder)

    return [name for name in repo.git.tracked_under(paths) if is_data(name)]


def unread_ignores(repo: Repo, paths: Iterable[str]) -> list[str]:
    """Returns a warning for each `.dvliteignore` in a folder above one of the paths: the one at the top of the repository counts alone."""
    folders = dict.fromkeys(folder for path in paths for folder in ancestors(path) if folder)
    names = (f"{folder}/{ignore.FILE_NAME}" for folder in folders)
    return [unread_ignore(repo, name) for name in names if os.path.lexists(repo.root / name)]


def unread_ignore(repo: Repo, name: str) -> str:
    """Returns what to say of a `.dvliteignore` that is not at the top of the repository."""
    return f"{quote(repo.display(name))} is not read: only the {ignore.FILE_NAME} at the top of the repository counts"


def open_databases(repo: Repo, logs: Iterable[str]) -> list[str]:
    """Returns a warning for each database of SQLite of which a program keeps changes in one of these files, while it has it open."""
    found = [log for log in logs if os.path.isfile(repo.root / log) and not os.path.islink(repo.root / log)]
    return [
        f"{quote(repo.display(log.rpartition('-')[0]))} lacks what is in {quote(repo.display(log))}: close the program that has it open first"
        for log in found
        if (repo.work_tree.read(log, len(_WAL)) or b"").startswith((_WAL, _JOURNAL))
    ]


def refuse_ignored(repo: Repo, files: Sequence[str], cannot: str) -> None:
    """Raises UsageError, which begins with `cannot`, for a pointer, lockfile or pipeline file that git ignores: it would be in no commit."""
    ignored = repo.git.ignored([*files, *{folder for file in files for folder in ancestors(file)}])
    file = next((file for file in files if file in ignored), None)
    if file is None:
        return
    name = f"*{SUFFIX}" if file.endswith(SUFFIX) else file.rpartition("/")[2]
    folder = next((folder for folder in reversed([*ancestors(file)]) if folder in ignored), None)
    change = f"add the line  !{name}"
    if folder is not None:  # git looks at nothing in it
        change = f"replace the rule for {folder}/ by the lines  /{folder}/**  !/{folder}/**/  !/{folder}/**/{name}"
    raise UsageError(
        f"{cannot} {quote(repo.display(file))}: git ignores that file",
        hint=f"in .gitignore, {change}     which rule it is: git check-ignore -v {word(repo.display(file))}",
    )


def portable_warnings(paths: list[bytes]) -> list[str]:
    """Returns a warning for each kind of name that some other system cannot hold; an example in each."""
    examples: dict[str, bytes] = {}  # by the reason
    may_have_twins, is_text = False, True
    for start in range(0, len(paths), _TOGETHER):
        joined = b"\0%b\0" % b"\0".join(paths[start : start + _TOGETHER])
        for pattern, reason in _NOT_EVERYWHERE:
            match = None if reason in examples else pattern.search(joined)
            if match is not None:
                first = joined.rfind(b"\0", 0, match.start() + 1) + 1
                examples[reason] = joined[first : joined.find(b"\0", max(match.end() - 1, match.start() + 1))]
        is_ascii = joined.isascii()
        may_have_twins = may_have_twins or not is_ascii or joined != joined.lower()
        is_text = is_text and (is_ascii or not _undecodable(joined))
    reasons = [reason for _, reason in _NOT_EVERYWHERE if reason in examples]
    warnings = [f"{quote(os.fsdecode(examples[reason]))} {reason}" for reason in reasons]
    if may_have_twins and (pair := _twins(paths)):
        warnings.append(_twin_warning(*pair))
    if is_text:
        return warnings
    broken = next(path for path in paths if _undecodable(path))
    return [*warnings, f"{quote(os.fsdecode(broken))} is not UTF-8: macOS and Windows cannot hold it"]


def twin_warnings(fresh: Sequence[str], tracked: Iterable[str]) -> list[str]:
    """Returns a warning for each new path that some other system takes for another tracked path."""
    seen: dict[str | bytes, str] = {}
    for path in (*tracked, *fresh):
        seen.setdefault(_folded(os.fsencode(path)), path)
    pairs = ((seen[_folded(os.fsencode(path))], path) for path in fresh)
    return [_twin_warning(os.fsencode(other), os.fsencode(path)) for other, path in pairs if other != path]


def _twins(paths: list[bytes]) -> tuple[bytes, bytes] | None:
    """Returns two paths that are one on a system that ignores case or composes letters; hashes first, for a million paths."""
    hashes = sorted(array("q", map(hash, map(_folded, paths))))
    if all(map(ne, hashes, islice(hashes, 1, None))):
        return None
    seen: dict[str | bytes, bytes] = {}
    for path in paths:
        other = seen.setdefault(_folded(path), path)
        if other is not path:
            return other, path
    return None


def _folded(path: bytes) -> str | bytes:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", os.fsdecode(path)).casefold()


def _twin_warning(one: bytes, other: bytes) -> str:
    both = f"{quote(os.fsdecode(one))} and {quote(os.fsdecode(other))}"
    if os.fsdecode(one).lower() == os.fsdecode(other).lower():
        return f"{both} differ only in case: macOS and Windows cannot hold both"
    return f"{both} differ only in how letters are composed (Unicode NFC and NFD): macOS cannot hold both"


def _undecodable(path: bytes) -> bool:
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
