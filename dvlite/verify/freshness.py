"""Does the lockfile agree with everything else: what each stage ran with, compared with what it would run with now.

Starts nothing and reads no data. A thing that is wrong is told of once, where it is wrong: what only follows from it is not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dvlite.errors import DvliteError, FormatError
from dvlite.files import word
from dvlite.formats.lockfile import Facts, Locked, LockedStage
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.strict_yaml import Tree
from dvlite.paths import is_inside, overlap
from dvlite.pipeline import reasons
from dvlite.pipeline.content import same_data
from dvlite.pipeline.journal import with_flags
from dvlite.pipeline.params import Params
from dvlite.pipeline.reasons import Reason
from dvlite.pipeline.revision_content import RevisionContent
from dvlite.pipeline.stages import Stage, StageParams, StagePath
from dvlite.pipeline.staleness import LockedCaptures, undeclared
from dvlite.verify.findings import Finding, Unchecked, short_oid, value_text
from dvlite.verify.lock_entries import Examiner, differ_from_now
from dvlite.verify.parsed import Lock, as_format_error, correction
from dvlite.verify.source import NotFetched
from dvlite.workspace import sparse

Told = Finding | Unchecked


class Freshness:
    """Compares stages of one side. `unknown` are paths of which something that was told of already keeps the content from being known."""

    def __init__(self, content: RevisionContent, params: Params, unknown: Sequence[str], commit: str | None) -> None:
        self._content, self._params, self._commit = content, params, commit
        self._unknown = [path for path in unknown if path]

    def compare(self, stage: Stage, entry: LockedStage, lock: Lock) -> Iterator[Told]:
        """Yields what is not as the entry says; `entry` is what can be believed of it."""
        look = _Look(self, stage, entry, lock)
        yield from look.told()

    def settle(self, stage: Stage, entry: LockedStage, lock: Lock, examiner: Examiner) -> Finding:
        """Returns the finding for an entry whose key does not fit and whose run nobody has: perhaps its stage now has that key."""
        look = _Look(self, stage, entry, lock)
        now = look.entry_now()
        if now.key == entry.key:
            differences = differ_from_now(entry, now)
            if differences:
                return examiner.edited(entry, stage.address, "key-mismatch", differences, "the stage")
        return examiner.doubtful(entry, stage.address)

    def outputs_in_git(self, stage: Stage, entry: LockedStage, lock: Lock) -> Iterator[Told]:
        """Yields outputs that git keeps and that are not what the stage made."""
        for out in entry.outs:
            if out.cache:
                continue
            path = stage.placed(out.path)
            line = lock.line(lock.by_name[entry.name], "outs", out.path)
            try:
                found = self._content.look(path)
            except DvliteError as error:
                yield self.unchecked(f"the output {path} of {stage.address}", error, lock.file, line, stage)
                continue
            if same_data(found, out):
                continue
            kind = "output-missing" if found is None else "output-changed"
            gone = "is ignored by git" if self._content.is_ignored(path) else "is not there"
            told = f"{gone}, and git should keep it" if found is None else f"is {short_oid(found.oid)}"
            made = "" if found is None else f", {stage.address} made {short_oid(out.oid)}"
            if found is not None and found.oid == out.oid:
                told, made = "has another mode", f" than {stage.address} gave it"
            yield Finding(
                kind=kind,
                message=f"the output {value_text(path)} {told}{made}",
                file=lock.file,
                line=line,
                stage=stage.address,
                path=path,
                old=out.oid,
                new=None if found is None else found.oid,
                fix=f"dvlite repro {stage.address}",
                commit=self._commit,
            )

    def is_unknown(self, path: str) -> bool:
        """Says whether the content of a path cannot be known because of something that was told of."""
        chosen = sparse.selector([path]) if sparse.is_glob(path) else None
        for other in self._unknown:
            if overlap(path, other):
                return True
            if chosen is not None and chosen(os.fsencode(other)):
                return True
            if sparse.is_glob(other) and sparse.selector([other])(os.fsencode(path)):
                return True
        return False

    def unchecked(self, what: str, error: DvliteError, file: str, line: int, stage: Stage) -> Unchecked:
        """Returns that something could not be checked."""
        return Unchecked(
            what=what,
            why=error.message,
            file=file,
            line=line,
            stage=stage.address,
            commit=self._commit,
            hint=error.hint,
        )

    @property
    def parts(self) -> tuple[RevisionContent, Params, str | None]:
        return self._content, self._params, self._commit


class _Look:
    """One look at one stage."""

    def __init__(self, owner: Freshness, stage: Stage, entry: LockedStage, lock: Lock) -> None:
        self._owner, self._stage, self._entry, self._lock = owner, stage, entry, lock
        self._written = lock.by_name[entry.name]  # as it stands in the file, for lines
        self._content, self._params, self._commit = owner.parts
        self._told: list[Told] = []
        self._skipped: list[str] = []  # declared dependencies of which nothing is known
        self._lost: list[StageParams] = []

    def entry_now(self) -> LockedStage:
        """Returns what the stage would run with now, as far as that is known."""
        stage, entry = self._stage, self._entry
        deps = {stage.local(found.path): found for place in stage.deps for found in self._deps(place)}
        params = {name: value for place in stage.params for name, value in self._values(place).items()}
        facts = Facts(stage.spec.cmd, stage.spec.wdir, params, stage.spec.env, LockedCaptures().values(stage, entry))
        return stage.entry(facts, [replace(deps[path], path=path) for path in sorted(deps)])

    def told(self) -> list[Told]:
        stage, entry = self._stage, self._entry
        now = self.entry_now()
        found = [
            *(reason for reason in reasons.of_facts(entry, now) if not self._follows(reason)),
            *undeclared(stage, entry),
        ]
        self._told += [self._finding(reason) for reason in found]
        self._told += self._sizes(now)
        if not self._told:
            self._told += self._redeclared(now)
        return self._told

    # -- what it would run with

    def _deps(self, place: StagePath) -> Iterator[Locked]:
        stage = self._stage
        try:
            paths = [part for path in self._content.matches(place.path) for part in self._content.parts(path)]
            found = [self._content.expected(path) for path in paths]
        except DvliteError as error:
            self._skipped.append(place.path)
            what = f"the dependency {place.path} of {stage.address}"
            self._told.append(self._owner.unchecked(what, error, stage.file, place.line, stage))
            return
        yield from (item for item in found if item is not None)
        if paths and all(item is not None for item in found):
            return
        self._skipped.append(place.path)
        if self._owner.is_unknown(place.path):
            return
        if self._content.is_ignored(place.path):
            self._told.append(self._ignored("dep-missing", "the dependency", place))
            return
        what = "matches nothing" if sparse.is_glob(place.path) else "is neither in git nor data, and no stage makes it"
        self._told.append(
            self._wrong("dep-missing", f"the dependency {value_text(place.path)} {what}", place.line, path=place.path)
        )

    def _ignored(self, kind: str, what: str, place: StagePath | StageParams) -> Finding:
        """Returns the finding for what is here and nowhere else."""
        told = f"{what} {value_text(place.path)} is here only: git ignores it, and it is not data"
        fix = f"dvlite add {word(place.path)}" if kind == "dep-missing" else f"git add -f {word(place.path)}"
        return replace(self._wrong(kind, told, place.line, path=place.path), fix=fix)

    def _unreadable(self, error: FormatError, place: StageParams) -> Finding:
        """Returns the finding for a file of parameters that is malformed; the same for each stage that reads it."""
        return Finding(
            kind="param-missing",
            message=f"the file of parameters cannot be read: {error.reason}",
            file=place.path,
            line=error.line or 1,
            stage=self._stage.address,
            path=place.path,
            fix=correction(place.path, error),
            commit=self._commit,
        )

    def _values(self, place: StageParams) -> Mapping[str, Tree]:
        found: dict[str, Tree] = {}
        keys: list[tuple[str, ...]] = [(key,) for key in place.spec.keys] or [()]
        for one in keys:
            single = replace(self._stage, params=(replace(place, spec=replace(place.spec, keys=one)),))
            try:
                found |= self._params.values(single)
            except DvliteError as error:
                self._lost.append(single.params[0])
                if self._owner.is_unknown(place.path):
                    continue
                if isinstance(error, NotFetched):
                    what = f"the parameters in {place.path}"
                    self._told.append(self._owner.unchecked(what, error, self._stage.file, place.line, self._stage))
                elif self._content.is_ignored(place.path):
                    self._told.append(self._ignored("param-missing", "the file of parameters", place))
                    break
                elif (known := as_format_error(error)).file == place.path != self._stage.file:
                    self._told.append(self._unreadable(known, place))
                    self._lost[-1] = place
                    break
                else:
                    self._told.append(self._wrong("param-missing", known.reason, place.line, path=place.path))
        return found

    # -- what differs

    def _follows(self, reason: Reason) -> bool:
        """Says whether a difference only follows from something that was told of."""
        if reason.kind == "dep-removed":
            path = self._stage.placed(reason.name)
            skipped = any(is_inside(path, each) for each in self._skipped)
            globs = [each for each in self._skipped if sparse.is_glob(each)]
            return skipped or bool(globs and sparse.selector(globs)(os.fsencode(path))) or self._owner.is_unknown(path)
        if reason.kind == "param-removed":
            return any(_covers(place, reason.name) for place in self._lost)
        return False

    def _finding(self, reason: Reason) -> Finding:
        stage, name = self._stage, reason.name
        what, _, how = reason.kind.rpartition("-")
        old, new = value_text(reason.old), value_text(reason.new)
        if what == "dep":
            return self._dep(reason, how)
        if what == "param":
            shown = value_text(name.replace(":", " ", 1))
            told = {
                "changed": f"{shown} is {_different(reason.new, reason.old)}, locked with {_different(reason.old, reason.new)}",
                "added": f"{shown} is {new}, it did not run with this parameter",
                "removed": f"it ran with {shown} = {old}, which is none of its parameters any more",
            }
            place = next((place for place in stage.params if _covers(place, name)), None)
            return self._out_of_date(reason, told[how], "params", None if place is None else place.line)
        if what in ("env", "capture"):
            shown = f"the variable {name}" if what == "env" else f"what is recorded of {value_text(name)}"
            told = {
                "changed": f"{shown} is {new}, locked with {old}",
                "added": f"{shown} is new",
                "removed": f"it ran with {shown}",
            }
            return self._out_of_date(reason, told[how], what, stage.spec.line)
        if what == "output":
            if how == "added":
                line = next((out.line for out in stage.outs if stage.local(out.path) == name), stage.spec.line)
                return self._out_of_date(reason, f"its output {value_text(name)} was never made", "outs", line)
            return self._out_of_date(
                reason, f"it made {value_text(name)}, which is not declared as its output", "outs", None
            )
        shown = {"cmd": "its command", "wdir": "the folder that it runs in"}[what]
        return self._out_of_date(reason, f"{shown} is '{new}', locked with '{old}'", what, None)

    def _dep(self, reason: Reason, how: str) -> Finding:
        path = self._stage.placed(reason.name)
        if how == "changed":
            told = f"{value_text(path)} is {short_oid(str(reason.new))}{self._by(path)}, locked with {short_oid(str(reason.old))}"
        elif how == "added":
            told = f"it depends on {value_text(path)}, with which it did not run"
        else:
            told = f"it ran with {value_text(path)}, which is none of its dependencies any more"
        line = next((place.line for place in self._stage.deps if self._stands_for(place.path, path)), None)
        found = self._out_of_date(reason, told, "deps", line)
        if how != "removed" or not self._content.is_ignored(path):
            return found
        told = f"{self._stage.address}: it ran with {value_text(path)}, which is here only: git ignores it, and it is not data"
        return replace(found, message=told, fix=f"dvlite add {word(path)}")

    def _by(self, path: str) -> str:
        """Returns who says what a dependency is."""
        name = self._content.named_by(path)
        return f" by {name}" if name else ""

    @staticmethod
    def _stands_for(pattern: str, path: str) -> bool:
        return is_inside(path, pattern) or sparse.selector([pattern])(os.fsencode(path))

    def _out_of_date(self, reason: Reason, told: str, field: str, line: int | None) -> Finding:
        """Returns the finding at the line of the lockfile, or of the pipeline file for what the lockfile does not have."""
        added = reason.kind.endswith("-added")
        here = line if added and line is not None else self._lock.line(self._written, field, reason.name)
        path = self._stage.placed(reason.name) if field in ("deps", "outs") else None
        return Finding(
            kind=reason.kind,
            message=f"{self._stage.address} is out of date: {told}",
            file=self._stage.file if added and line is not None else self._lock.file,
            line=here,
            stage=self._stage.address,
            path=path,
            old=reason.old,
            new=reason.new,
            fix=f"dvlite repro {self._stage.address}",
            commit=self._commit,
        )

    def _sizes(self, now: LockedStage) -> Iterator[Finding]:
        """Yields dependencies with the right content and a wrong size: one of two files was edited."""
        locked = {dep.path: dep for dep in self._entry.deps}
        for dep in now.deps:
            was = locked.get(dep.path)
            if was is None or was.oid != dep.oid or (was.size_bytes, was.files) == (dep.size_bytes, dep.files):
                continue
            path = self._stage.placed(dep.path)
            by = self._content.named_by(path) if self._content.holder(path) is None else ""
            is_pointer = by.endswith(SUFFIX)
            line = 4 if was.size_bytes != dep.size_bytes else 5  # of a pointer
            yield Finding(
                kind="size-mismatch",
                message=f"{value_text(path)} has {dep.size_bytes} bytes in {dep.files} files{self._by(path)}, "
                f"locked with {was.size_bytes} in {was.files}",
                file=by if is_pointer else self._lock.file,
                line=line if is_pointer else self._lock.line(self._written, "deps", dep.path),
                stage=self._stage.address,
                path=path,
                old=was.size_bytes,
                new=dep.size_bytes,
                fix=f"dvlite add {path}" if is_pointer else f"dvlite repro {self._stage.address}",
                commit=self._commit,
            )

    def _redeclared(self, current: LockedStage) -> Iterator[Finding]:
        stage, entry = self._stage, self._entry
        for out in entry.outs:
            now = with_flags(stage, out)
            if (now.cache, now.push) != (out.cache, out.push):
                line = self._lock.line(self._written, "outs", out.path)
                how = (
                    "kept by git"
                    if not now.cache
                    else "kept in the cache"
                    if now.cache != out.cache
                    else "pushed"
                    if now.push
                    else "not pushed"
                )
                told = f"its output {value_text(out.path)} is to be {how}, the lockfile has it otherwise"
                yield self._wrong("output-redeclared", told, line, path=out.path, file=self._lock.file)
                return
        # if the names are equal, the key is that of the entry, which was examined
        is_plain = {out.path for out in entry.outs} == {stage.local(out.path) for out in stage.outs}
        if not is_plain and current.key != entry.key and not self._skipped and not self._lost:
            told = f"the outputs of {stage.address} are declared in another way than it ran with"
            line = stage.outs[0].line if stage.outs else stage.spec.line
            yield self._wrong("output-redeclared", told, line, path=None)

    def _wrong(self, kind: str, message: str, line: int, *, path: str | None, file: str = "") -> Finding:
        stage = self._stage
        return Finding(
            kind=kind,
            message=message if message.startswith("the outputs") else f"{stage.address}: {message}",
            file=file or stage.file,
            line=line,
            stage=stage.address,
            path=path,
            fix=f"dvlite repro {stage.address}"
            if kind == "output-redeclared"
            else f"correct line {line} of {stage.file}",
            commit=self._commit,
        )


def _covers(place: StageParams, name: str) -> bool:
    """Says whether a place of parameters stands for a name like `params.yaml:net.depth`."""
    key = name.removeprefix(f"{place.name}:")
    if key == name:
        return False
    return not place.spec.keys or any(key == each or key.startswith(each + ".") for each in place.spec.keys)


def _different(one: object, other: object) -> str:
    """Returns a value so that it looks different from another."""
    said = value_text(one)
    return said if said != value_text(other) else repr(one)[:60]
