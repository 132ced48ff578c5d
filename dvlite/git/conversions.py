"""Which files git commits in another form than they have on disk: filters of the user's config, line ends.

Asks git, which runs a filter only to learn what it makes of a file. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dvlite.git import output as git_output
from dvlite.git.program import Git

LINE_ENDS = "line ends"


def active_filters(git: Git, paths: Sequence[str]) -> dict[str, str]:
    """Returns those of `paths` that a filter changes on commit in this clone, and its name.

    Filters that give the same bytes back at a checkout are left out: those of Git LFS, git-crypt, and others that have a command for it.
    """
    named = git.filters(paths)
    active = {name for name in set(named.values()) if _is_one_way(git, name)}
    return {path: name for path, name in named.items() if name in active}


def changed_on_commit(git: Git, *pathspecs: str) -> dict[str, str]:
    """Returns the files, of those that git has or would take, that it commits in another form, and what changes them."""
    listed = git.run("ls-files", "-z", "--eol", "--cached", "--others", "--exclude-standard", "--", *pathspecs)
    names = [row.partition("\t")[2] for row in git_output.split(listed)]
    causes = dict.fromkeys(_with_other_line_ends(listed, lambda: git.config_get("core.autocrlf")), LINE_ENDS)
    causes |= {path: f"filter {name}" for path, name in active_filters(git, names).items()}
    asked = [path for path in causes if "\n" not in path and (git.root / path).is_file()]
    if not asked:
        return {}
    stdin = git_output.join(asked).replace(b"\0", b"\n")
    as_is = git.run("hash-object", "--no-filters", "--stdin-paths", stdin=stdin).split()
    committed = git.run("hash-object", "--stdin-paths", stdin=stdin).split()
    return {path: causes[path] for path, one, other in zip(asked, as_is, committed, strict=True) if one != other}


def _is_one_way(git: Git, name: str) -> bool:
    clean, smudge, process = (git.config_get(f"filter.{name}.{command}") for command in ("clean", "smudge", "process"))
    return bool(clean) and not process and smudge in (None, "", "cat")


def _with_other_line_ends(output: bytes, autocrlf: Callable[[], str | None]) -> Iterator[str]:
    """Reads `git ls-files -z --eol`: yields the files whose line ends git changes; `autocrlf` is the setting, asked for if it counts."""
    for row in git_output.split(output):
        head, _, path = row.partition("\t")
        in_index, on_disk, attributes = (*head.split(None, 2), "attr/")[:3]
        said = attributes.removeprefix("attr/").split()
        if on_disk not in ("w/crlf", "w/mixed") or "-text" in said:
            continue
        is_sure = "text" in said or any(word.startswith("eol=") for word in said)
        is_kept = in_index in ("i/crlf", "i/mixed") and not is_sure  # committed with these line ends before
        if is_sure or (not is_kept and ("text=auto" in said or autocrlf() in ("true", "input"))):
            yield path
