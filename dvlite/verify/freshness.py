"""Whether the lockfile agrees with everything else: what `pipeline.staleness` says of each stage, as findings with file, line and fix.

Starts nothing and reads no data. What is wrong is reported once, where it is wrong; what only follows from it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dvlite.errors import DvliteError
from dvlite.formats.lockfile import LockedStage
from dvlite.formats.pointer import SUFFIX
from dvlite.pipeline.content import same_data
from dvlite.pipeline.journal import with_flags
from dvlite.pipeline.params import Params
from dvlite.pipeline.reasons import Reason, sentence
from dvlite.pipeline.revision_content import RevisionContent
from dvlite.pipeline.stages import Stage, StageParams
from dvlite.pipeline.staleness import Gap, LockedCaptures, StageNow, now_of, stands_for
from dvlite.show import short_oid, value_text, word
from dvlite.verify.findings import Finding, Unchecked
from dvlite.verify.lock_entries import Examiner, differ_from_now
from dvlite.verify.parsed import Lock, as_format_error, correction
from dvlite.verify.source import NotFetched
from dvlite.workspace import sparse

_NOT_CLONED = "will be missing in a clone: git ignores it and dvlite does not track it"
Reported = Finding | Unchecked


class Freshness:
    """Compares stages of one revision. `unknown` are paths whose content something that is reported keeps from being known."""

    def __init__(self, content: RevisionContent, params: Params, unknown: Sequence[str]) -> None:
        self._content, self._params = content, params
        self._unknown = [path for path in unknown if path]

    def compare(self, stage: Stage, entry: LockedStage, lock: Lock) -> list[Reported]:
        """Returns what is not as the entry says; `entry` holds what is trusted of it."""
        now = self._now(stage, entry)
        reported = [finding for gap in now.gaps for finding in self._of_gap(stage, gap)]
        reasons = [reason for reason in now.differences(entry) if not self._follows(stage, reason)]
        reported += [self._out_of_date(stage, reason, lock) for reason in reasons]
        reported += self._sizes(now, entry, lock)
        return reported or list(self._redeclared(now, entry, lock))

    def settle(self, stage: Stage, entry: LockedStage, lock: Lock, examiner: Examiner) -> Finding:
        """Returns the finding for an entry whose key does not fit and whose run has no record: perhaps its stage now has that key."""
        now = self._now(stage, entry).entry
        differences = differ_from_now(entry, now) if now.key == entry.key else []
        if differences:
            return examiner.edited(entry, stage.address, "key-mismatch", differences, "the stage")
        return examiner.doubtful(entry, stage.address)

    def _now(self, stage: Stage, entry: LockedStage) -> StageNow:
        return now_of(stage, self._content, self._params, lambda: LockedCaptures().values(stage, entry))

    def outputs_in_git(self, stage: Stage, entry: LockedStage, lock: Lock) -> Iterator[Reported]:
        """Yields outputs that git keeps and that are not what the stage made."""
        for out in entry.outs:
            if out.cache:
                continue
            path = stage.placed(out.path)
            line = lock.line(lock.by_name[entry.name], "outs", out.path)
            try:
                found = self._content.look(path)
            except DvliteError as error:
                yield self._unchecked(f"the output {path} of {stage.address}", error, lock.file, line, stage)
                continue
            if same_data(found, out):
                continue
            if found is None:
                gone = "ignored by git" if self._content.is_ignored(path) else "missing"
                what = f"is {gone}, and git should keep it"
            elif found.oid == out.oid:
                what = f"has another mode than {stage.address} gave it"
            else:
                what = f"is {short_oid(found.oid)}, {stage.address} made {short_oid(out.oid)}"
            yield Finding(
                kind="output-missing" if found is None else "output-changed",
                message=f"the output {value_text(path)} {what}",
                file=lock.file,
                line=line,
                stage=stage.address,
                path=path,
                old=out.oid,
                new=None if found is None else found.oid,
                fix=f"dvlite repro {word(stage.address)}",
            )

    # -- what is not known

    def _is_unknown(self, path: str) -> bool:
        """Returns whether the content of a path cannot be known because of something that is reported."""
        return any(stands_for(path, other) or stands_for(other, path) for other in self._unknown)

    def _follows(self, stage: Stage, reason: Reason) -> bool:
        return reason.kind == "dep-removed" and self._is_unknown(stage.placed(reason.name))

    def _of_gap(self, stage: Stage, gap: Gap) -> Iterator[Reported]:
        """Yields why it is not known what a declared dependency or parameter is now; nothing if that follows from what is reported."""
        place, path = gap.place, gap.place.path
        is_param = isinstance(place, StageParams)
        if not gap.is_missing and not is_param:
            yield self._unchecked(f"the dependency {path} of {stage.address}", gap.error, stage.file, place.line, stage)
        elif self._is_unknown(path):
            return
        elif isinstance(gap.error, NotFetched):
            yield self._unchecked(f"the parameters in {path}", gap.error, stage.file, place.line, stage)
        elif self._content.is_ignored(path):
            what, kind = ("the file of parameters", "param-missing") if is_param else ("the dependency", "dep-missing")
            top = self._content.to_add(path, by_git=is_param)
            fix = f"git add -f {word(top)}" if is_param else f"dvlite add {word(top)}"
            message = f"{what} {value_text(path)} {_NOT_CLONED}"
            yield replace(self._wrong(stage, kind, message, place.line, path), fix=fix)
        elif is_param:
            yield self._param_missing(stage, gap)
        else:
            what = "matches nothing" if sparse.is_glob(path) else "is neither in git nor data, and no stage makes it"
            message = f"the dependency {value_text(path)} {what}"
            yield self._wrong(stage, "dep-missing", message, place.line, path)

    def _param_missing(self, stage: Stage, gap: Gap) -> Finding:
        path, error = gap.place.path, as_format_error(gap.error)
        if error.file != path or path == stage.file:
            return self._wrong(stage, "param-missing", error.reason, gap.place.line, path)
        return Finding(  # the same for each stage that reads the file
            kind="param-missing",
            message=f"the file of parameters cannot be read: {error.reason}",
            file=path,
            line=error.line or 1,
            stage=stage.address,
            path=path,
            fix=correction(path, error),
        )

    # -- what differs

    def _out_of_date(self, stage: Stage, reason: Reason, lock: Lock) -> Finding:
        """Returns the finding at the line of the lockfile, or of the pipeline file for what the lockfile does not have."""
        what, _, how = reason.kind.rpartition("-")
        entry = lock.by_name[stage.name]
        field = {"dep": "deps", "param": "params", "output": "outs"}.get(what, what)
        path = stage.placed(reason.name) if field in ("deps", "outs") else None
        line = _declared_line(stage, what, reason.name) if how == "added" else None
        by = self._content.named_by(path) if what == "dep" and path is not None else ""
        finding = Finding(
            kind=reason.kind,
            message=f"{stage.address} is out of date: {sentence(reason, stage, by)}",
            file=lock.file if line is None else stage.file,
            line=lock.line(entry, field, reason.name) if line is None else line,
            stage=stage.address,
            path=path,
            old=reason.old,
            new=reason.new,
            fix=f"dvlite repro {word(stage.address)}",
        )
        if reason.kind == "dep-changed" and path is not None and not by and (name := self._content.filter_of(path)):
            again = f"rm {word(path)} && git checkout -- {word(path)} && {finding.fix}"
            return replace(finding, message=f"{finding.message}: git's filter {name} changes it on commit", fix=again)
        if reason.kind != "dep-removed" or path is None or not self._content.is_ignored(path):
            return finding
        message = f"{stage.address}: the dependency {value_text(path)} of the recorded run {_NOT_CLONED}"
        return replace(finding, message=message, fix=f"dvlite add {word(self._content.to_add(path, by_git=False))}")

    def _sizes(self, now: StageNow, entry: LockedStage, lock: Lock) -> Iterator[Finding]:
        """Yields dependencies with the right content and a wrong size: one of two files was edited."""
        stage, locked = now.stage, {dep.path: dep for dep in entry.deps}
        for dep in now.entry.deps:
            was = locked.get(dep.path)
            if was is None or was.oid != dep.oid or (was.size_bytes, was.files) == (dep.size_bytes, dep.files):
                continue
            path = stage.placed(dep.path)
            by = self._content.named_by(path)
            is_pointer = by == path + SUFFIX
            fetch = "" if self._content.is_on_disk(path) else f"dvlite pull {word(path)} && "
            line = 4 if was.size_bytes != dep.size_bytes else 5  # of a pointer
            yield Finding(
                kind="size-mismatch",
                message=f"{value_text(path)} has {dep.size_bytes} bytes in {dep.files} files{by and f' by {by}'}, "
                f"locked with {was.size_bytes} in {was.files}",
                file=by if is_pointer else lock.file,
                line=line if is_pointer else lock.line(lock.by_name[stage.name], "deps", dep.path),
                stage=stage.address,
                path=path,
                old=was.size_bytes,
                new=dep.size_bytes,
                fix=f"{fetch}dvlite add {word(path)}" if is_pointer else f"dvlite repro {word(stage.address)}",
            )

    def _redeclared(self, now: StageNow, entry: LockedStage, lock: Lock) -> Iterator[Finding]:
        """Yields that outputs are declared otherwise than the lockfile has them; a stage need not run again for where they are kept."""
        stage = now.stage
        for out in entry.outs:
            declared = with_flags(stage, out)
            if (declared.cache, declared.push) != (out.cache, out.push):
                pushed = "pushed" if declared.push else "not pushed"
                how = (
                    pushed if declared.cache == out.cache else "kept in the cache" if declared.cache else "kept in git"
                )
                message = f"its output {value_text(out.path)} is declared to be {how}, and its entry says otherwise"
                line = lock.line(lock.by_name[entry.name], "outs", out.path)
                yield self._wrong(stage, "output-redeclared", message, line, out.path, file=lock.file)
                return
        if now.entry.key != entry.key and not now.gaps:
            message = sentence(Reason(kind="definition-changed"), stage)
            line = stage.outs[0].line if stage.outs else stage.spec.line
            yield self._wrong(stage, "output-redeclared", message, line, None)

    # -- findings

    def _unchecked(self, what: str, error: DvliteError, file: str, line: int, stage: Stage) -> Unchecked:
        return Unchecked(
            what=what,
            why=error.message,
            file=file,
            line=line,
            stage=stage.address,
            hint=error.hint,
        )

    def _wrong(self, stage: Stage, kind: str, message: str, line: int, path: str | None, *, file: str = "") -> Finding:
        to_run = kind == "output-redeclared"
        return Finding(
            kind=kind,
            message=f"{stage.address}: {message}",
            file=file or stage.file,
            line=line,
            stage=stage.address,
            path=path,
            fix=f"dvlite repro {word(stage.address)}" if to_run else f"correct line {line} of {stage.file}",
        )


def _declared_line(stage: Stage, what: str, name: str) -> int | None:
    """Returns the line of the pipeline file that declares something, None if it is not known."""
    if what == "dep":
        path = stage.placed(name)
        return next((place.line for place in stage.sources if stands_for(place.path, path)), None)
    if what == "param":
        return next((place.line for place in stage.params if place.covers(name)), None)
    if what == "output":
        return next((out.line for out in stage.outs if stage.local(out.path) == name), stage.spec.line)
    return stage.spec.line
