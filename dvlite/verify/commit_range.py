"""Many commits in turn: only what differs from the commit before is checked again, and a finding that several have is reported once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dvlite.errors import UsageError
from dvlite.files import read_own
from dvlite.formats.lockfile import LockedStage
from dvlite.formats.pipeline import VALUE_SUFFIXES
from dvlite.git.output import REGULAR, is_pipeline_file, is_pointer, split
from dvlite.git.program import DEEPEN, Git
from dvlite.paths import ancestors
from dvlite.pipeline.globs import expression
from dvlite.repo import ignore
from dvlite.repo.revisions import Files, GitFile, Revision, files_at
from dvlite.verify.findings import Finding, Unchecked
from dvlite.verify.parsed import TrackedFiles
from dvlite.workspace import sparse

_GONE = "000000"
_MODES = frozenset((*REGULAR, _GONE))  # of what is an ordinary file, or nothing


def listed(git: Git, words: str) -> list[str]:
    """Returns the commits of `A..B`, oldest first; raises UsageError for anything else, and where a shallow clone may lack some."""
    old, dots, new = words.partition("..")
    if not dots or new.startswith("."):
        raise UsageError(f"'{words}' is no range of commits", hint="give A..B: the commits of B that A does not have")
    first, last = git.resolve(old or "HEAD"), git.resolve(new or "HEAD")
    commits = git.run("rev-list", "--reverse", "--topo-order", f"{first}..{last}").decode().split()
    if not commits and first != last:
        raise UsageError(
            f"'{words}' has no commits: {last[:8]} is older", hint=f"turn it round: {new or 'HEAD'}..{old or 'HEAD'}"
        )
    ends = _shallow(git).intersection(commits)
    if ends:
        raise UsageError(f"'{words}' goes back to {min(ends)[:8]}, where this shallow clone ends", hint=DEEPEN)
    return commits


def _shallow(git: Git) -> set[str]:
    """Returns the commits of a shallow clone whose parents it does not have."""
    place = os.fsdecode(git.run("rev-parse", "--git-path", "shallow")).removesuffix("\n")
    return set((read_own(git.root / place) or b"").decode("ascii", "replace").split())


@dataclass(slots=True)
class Steps:
    """The files of commits in turn; `changed` are the paths that differ from the commit before, None for the first or if a link does."""

    files: Files
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
    begun, paths, is_plain = False, set[str](), True
    for text in fields:
        if text[0] != ":":  # the next pair begins
            if begun:
                here.changed = paths if is_plain else None
                yield waiting.pop(), here
            begun, paths, is_plain = True, set(), True
            continue
        was, mode, _, blob, _ = text.split(" ")
        path = next(fields)
        paths.add(path)
        is_plain = is_plain and _MODES.issuperset((was[1:], mode))
        here.files.change(path, None if mode == _GONE else GitFile(mode, blob))
    if begun:
        here.changed = paths if is_plain else None
        yield waiting.pop(), here


class Watch:
    """Which stages of a commit a change of a file can make a difference to, as long as no link changes."""

    def __init__(self, named: TrackedFiles, trusted: Mapping[str, LockedStage], files: Files, at: Revision) -> None:
        self._plain: dict[str, set[str]] = {}
        self._globs: dict[str, set[str]] = {}
        self._values = {file for stage in named.stages for file in stage.values}
        self._is_broken = any(map(is_pipeline_file, named.broken))
        self._data = {item.path for item in named.pointers}
        self._data.update(item.path for lock in named.locks.values() for item in lock.outputs)
        for stage in named.stages:
            entry = trusted.get(stage.address)
            kept = [out.path for out in stage.outs if not out.spec.cache]
            kept += [stage.placed(out.path) for out in entry.outs if not out.cache] if entry is not None else []
            for path in (*(place.path for place in (*stage.sources, *stage.params)), *kept):
                if sparse.is_glob(path):
                    self._globs.setdefault(path, set()).add(stage.address)
                for place in {path, at.real(path) or path}:
                    self._plain.setdefault(place, set()).add(stage.address)
        self._patterns = [(expression(path).fullmatch, stages) for path, stages in self._globs.items()]
        for link in files.links:
            for matches, stages in self._patterns:
                if matches(link):
                    self._plain.setdefault(at.real(link) or link, set()).update(stages)

    def stages(self, changed: Iterable[str] | None) -> set[str] | None:
        """Returns the addresses of stages; None if a file changed that says what the stages and the data are, or where data is."""
        if changed is None:
            return None
        chosen: set[str] = set()
        for path in changed:
            places = [path, *ancestors(path)]
            if is_pointer(path) or is_pipeline_file(path) or path == ignore.FILE_NAME or path in self._values:
                return None
            if self._is_broken and path.endswith(VALUE_SUFFIXES):  # its values may be what was wrong
                return None
            if not self._data.isdisjoint(places):
                return None
            chosen.update(address for place in places for address in self._plain.get(place, ()))
            for matches, stages in self._patterns:
                if not chosen.issuperset(stages) and any(map(matches, places)):
                    chosen |= stages
        return chosen


@dataclass(slots=True)
class Together:
    """Findings of many commits; one that the next commit has too is reported once, with how many have it."""

    findings: list[Finding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    _also: dict[int, int] = field(default_factory=dict)  # of those findings that later commits have too
    _open: dict[Hashable, int] = field(default_factory=dict)
    _repeats: int = 0  # commits since the last that was taken in
    _unsure: set[Hashable] = field(default_factory=set)

    def add(self, findings: list[Finding], unchecked: list[Unchecked]) -> None:
        """Takes in what is reported of the next commit."""
        self._count_repeats()
        still: dict[Hashable, int] = {}
        for finding in findings:
            key = (finding.kind, finding.file, finding.stage, finding.path, finding.message)
            if key in self._open:
                at = self._open[key]
                self._also[at] = self._also.get(at, 0) + (key not in still)
            else:
                at = len(self.findings)
                self.findings.append(finding)
            still[key] = at
        self._open = still
        for one in unchecked:
            what = (one.what, one.why, one.file)
            if what not in self._unsure:
                self._unsure.add(what)
                self.unchecked.append(one)

    def repeat(self) -> None:
        """Takes in that the next commit is as the last one."""
        self._repeats += 1

    def finish(self) -> None:
        """Notes in the findings how many commits have them."""
        self._count_repeats()
        for at, count in self._also.items():
            self.findings[at] = replace(self.findings[at], also=count)

    def _count_repeats(self) -> None:
        if self._repeats:
            for at in set(self._open.values()):
                self._also[at] = self._also.get(at, 0) + self._repeats
            self._repeats = 0
