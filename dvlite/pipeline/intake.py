"""Changed tracked data that stages read: taken into the cache, with its pointer, before anything is made of it; or refused.

A result whose inputs are in no cache can be made by no other clone, and by this one only until the next edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dvlite.errors import DvliteError
from dvlite.formats.map_stage import MapInput
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.pipeline.content import Contents
from dvlite.pipeline.globs import expression, may_go_into
from dvlite.pipeline.known_data import as_output
from dvlite.pipeline.stages import Stage
from dvlite.show import quote, some, word
from dvlite.store.cache_writer import Writer
from dvlite.workspace.add_checks import AddTarget
from dvlite.workspace.adder import AddedPath, Adder
from dvlite.workspace.workspace import Workspace


class Intake:
    """Adds what stages depend on. `added` are the paths that have pointers of their own; with `refuse`, they are left as they are."""

    def __init__(self, work: Workspace, contents: Contents, added: Mapping[str, Pointer], *, refuse: bool) -> None:
        self._work, self._contents, self._refuse = work, contents, refuse
        self._added = dict(added)
        self.done: list[AddedPath] = []

    def take(self, stages: Sequence[Stage]) -> None:
        """Makes the pointers of all tracked data that the stages read name what is on disk; the cache has it then, durably.

        Raises DvliteError with `refuse` if one of them does not, FileChanged for data that is being written.
        """
        changed = self._changed(stages)
        if not changed:
            return
        work = self._work
        if self._refuse:
            raise _refusal(work, changed, stages)
        with work.repo.lock(work.progress), Writer(work.cache, work.progress) as writer:
            adder = Adder(work, work.progress, force=False)
            results = [adder.one(AddTarget(path, self._added[path]), writer, update=False) for path in changed]
            writer.commit()
            adder.write_pointers(writer)
        for path in changed:
            self._added[path] = new = adder.version(path)
            self._contents.note_output(path, as_output(path, new))
        for warning in adder.warnings:
            work.progress.warn(warning)
        self.done += [result for result in results if result is not None and not result.unchanged]

    def store(self, stages: Sequence[Stage]) -> dict[str, Pointer]:
        """Takes what changed into the cache, durably, and returns its versions by path; pointers stay as they are."""
        changed, work = self._changed(stages), self._work
        if not changed:
            return {}
        with work.repo.lock(work.progress), Writer(work.cache, work.progress) as writer:
            adder = Adder(work, work.progress, force=False)
            for path in changed:
                adder.one(AddTarget(path, self._added[path]), writer, update=False)
            writer.commit()
        return {path: adder.version(path) for path in changed}

    def pointers(self, stages: Iterable[Stage]) -> list[str]:
        """Returns the pointer files of all tracked data that the stages read."""
        return [path + SUFFIX for path in self._read_by(stages)]

    def _changed(self, stages: Iterable[Stage]) -> list[str]:
        """Returns the tracked data that stages read and that is not what its pointer says; not what is going to follow its pointer."""
        contents = self._contents
        changed = []
        for path in self._read_by(stages):
            present = None if contents.is_assumed(path) else contents.here(path)
            if present is not None and not present.pointer().same_version(self._added[path]):
                changed.append(path)
        return changed

    def _read_by(self, stages: Iterable[Stage]) -> list[str]:
        contents = self._contents
        named = {path for stage in stages for dep in stage.deps for path in contents.matches(dep.path)}
        named |= {path for stage in stages for place in stage.over for path in self._gone_over(place.spec)}
        named |= {place.path for stage in stages for place in stage.params}
        parts = {part for path in named for part in contents.parts(path)}
        used = parts.union(holder for path in parts if (holder := contents.known.holder(path)) is not None)
        return sorted(used & self._added.keys())

    def _gone_over(self, over: MapInput) -> list[str]:
        """Returns the data that a map stage goes over: not file by file, for there may be a million."""
        known, fixed = self._contents.known, over.fixed
        outer = fixed if fixed in known.pointers else known.holder(fixed)
        if outer is not None:
            return [outer]
        matches = expression(over.glob).fullmatch
        return [path for path in known.pointers if may_go_into(over.glob, path) or matches(path)]


def _refusal(work: Workspace, changed: Sequence[str], stages: Sequence[Stage]) -> DvliteError:
    shown = [work.repo.display(path) for path in changed]
    what = f"{stages[0].address} could not be traced to it" if len(stages) == 1 else "results could not be traced to it"
    return DvliteError(
        f"{some([quote(path) for path in shown])} changed and is not added: {what}",
        hint=f"dvlite add {' '.join(map(word, shown))}, or leave out --no-add",
    )
