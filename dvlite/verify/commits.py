"""Many commits, one after the other: what differs between neighbours is looked at again, and what a finding has in common is told once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
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
    found = git.run("rev-list", "--reverse", "--topo-order", f"{first}..{last}").decode().split()
    if not found and first != last:
        raise UsageError(
            f"'{words}' has no commits: {last[:8]} is older", hint=f"turn it round: {new or 'HEAD'}..{old or 'HEAD'}"
        )
    return found


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


class Watch:
    """Which stages a change of a file can make a difference to."""

    def __init__(self, named: Named) -> None:
        self._plain: dict[str, set[str]] = {}
        self._globs: list[tuple[Callable[[str], object], str]] = []
        for stage in named.stages:
            kept = [out.path for out in stage.outs if not out.spec.cache]
            for path in (*(place.path for place in (*stage.deps, *stage.params)), *kept):
                if sparse.is_glob(path):
                    self._globs.append((expression(path).fullmatch, stage.address))
                self._plain.setdefault(path, set()).add(stage.address)

    def stages(self, changed: Iterable[str]) -> set[str] | None:
        """Returns the addresses of stages; None if a file changed that says what the stages and the data are."""
        found: set[str] = set()
        for path in changed:
            if is_pointer(path) or is_pipeline_file(path) or path == ignore.FILE_NAME:
                return None
            places = [path, *above(path)]
            found.update(address for place in places for address in self._plain.get(place, ()))
            found.update(address for matches, address in self._globs if any(map(matches, places)))
        return found


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
