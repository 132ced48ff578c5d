"""Many commits, one after the other: what differs between neighbours is looked at again, and what a finding has in common is told once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace

from dvlite import ignore
from dvlite.errors import UsageError
from dvlite.git import Git
from dvlite.git_output import is_pipeline_file, is_pointer, split
from dvlite.results.verify import Finding, Unchecked
from dvlite.verify.holdings import expression
from dvlite.verify.reading import Named
from dvlite.verify.sides import GitFile, above, files_at
from dvlite.workspace import sparse

_GONE = "000000"


def listed(git: Git, words: str) -> list[str]:
    """Returns the commits of `A..B`, oldest first; raises UsageError for anything else."""
    old, dots, new = words.partition("..")
    if not dots or new.startswith("."):
        raise UsageError(f"'{words}' is no range of commits", hint="give A..B: the commits of B that A does not have")
    first, last = git.resolve(old or "HEAD"), git.resolve(new or "HEAD")
    return git.run("rev-list", "--reverse", "--topo-order", f"{first}..{last}").decode().split()


@dataclass(slots=True)
class Steps:
    """The files of commits in turn; `changed` are the paths that differ from the commit before, None for the first."""

    files: dict[str, GitFile]
    changed: set[str] | None = None


def steps(git: Git, commits: list[str]) -> Iterator[tuple[str, Steps]]:
    """Yields each commit with its files, from one listing and one run of git for all differences; the files are changed in place."""
    if not commits:
        return
    here = Steps(files_at(git, commits[0]))
    yield commits[0], here
    pairs = "".join(f"{new} {old}\n" for old, new in itertools.pairwise(commits))
    options = ("--stdin", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--always")
    fields = iter(split(git.run("diff-tree", *options, stdin=pairs.encode())) if pairs else [])
    waiting = list(reversed(commits[1:]))
    changed: set[str] | None = None
    for text in fields:
        if text[0] != ":":  # the next pair begins
            if changed is not None:
                here.changed = changed
                yield waiting.pop(), here
            changed = set()
            continue
        _, mode, _, blob, _ = text.split(" ")
        path = next(fields)
        assert changed is not None
        changed.add(path)
        if mode == _GONE:
            here.files.pop(path, None)
        else:
            here.files[path] = GitFile(mode, blob)
    if changed is not None:
        here.changed = changed
        yield waiting.pop(), here


def watched(named: Named) -> Callable[[str], bool]:
    """Returns whether a change of a path can make a difference to what is found."""
    places = [place.path for stage in named.stages for place in (*stage.deps, *stage.params)]
    outs = [out.path for stage in named.stages for out in stage.outs if not out.spec.cache]
    plain = {path for path in (*places, *outs) if not sparse.is_glob(path)}
    globs = [expression(path).fullmatch for path in {*places, *outs} if sparse.is_glob(path)]

    def matters(path: str) -> bool:
        if is_pointer(path) or is_pipeline_file(path) or path == ignore.FILE_NAME or path in plain:
            return True
        folders = list(above(path))
        return any(folder in plain for folder in folders) or any(
            matches(place) for matches in globs for place in (path, *folders)
        )

    return matters


@dataclass(slots=True)
class Together:
    """Findings of many commits; one that the next commit has too is told once, with how many have it."""

    findings: list[Finding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    _open: dict[Hashable, int] = field(default_factory=dict)
    _unsure: set[Hashable] = field(default_factory=set)

    def add(self, findings: list[Finding], unchecked: list[Unchecked]) -> None:
        """Takes in what was found of the next commit."""
        still: dict[Hashable, int] = {}
        for each in findings:
            key = (each.kind, each.file, each.stage, each.path, each.message)
            if key in self._open:
                at = self._open[key]
                self.findings[at] = replace(self.findings[at], also=self.findings[at].also + 1)
            else:
                at = len(self.findings)
                self.findings.append(each)
            still[key] = at
        self._open = still
        for one in unchecked:
            what = (one.what, one.why, one.file)
            if what not in self._unsure:
                self._unsure.add(what)
                self.unchecked.append(one)
