"""`dvlite params diff`: the parameters that stages declare, on two sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dvlite.errors import DvliteError, PartlyDone
from dvlite.formats.parameters import ABSENT, find, flatten
from dvlite.pipeline.revision_files import chosen, compared, values
from dvlite.pipeline.stages import Stage, load
from dvlite.results import TableResult
from dvlite.show import Show, count

if TYPE_CHECKING:
    from dvlite.formats.strict_yaml import Tree
    from dvlite.progress import Progress
    from dvlite.repo.repository import Repo
    from dvlite.repo.revisions import Revision

Declared = Mapping[str, set[str] | None]  # keys by file; None: all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamDifference:
    """One parameter on two sides; a side without it is None."""

    file: str
    key: str
    state: Literal["equal", "changed", "added", "removed"]
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ParamsDiffResult(TableResult):
    """The parameters that stages declare, on two sides (`workspace` or a revision as given)."""

    schema: ClassVar[str] = "dvlite.params-diff/1"
    ROWS = ("params", ParamDifference)
    old: str
    new: str
    params: tuple[ParamDifference, ...] = ()
    absent: tuple[str, ...] = ()  # `file:key` of declared parameters that neither side has
    unread: int = 0  # files that could not be read
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns how many files could not be read."""
        message = f"{count(self.unread, 'file')} could not be read"
        return PartlyDone(message, hint="see the warnings above") if self.unread else None


def params_diff(repo: Repo, revisions: Sequence[str], paths: Sequence[str], *, progress: Progress) -> ParamsDiffResult:
    """Compares parameters of a revision (HEAD if none is given) with another one or the work tree; equal ones are returned too.

    A parameter counts if a stage declares it on either side. Raises UsageError for a revision or path that there is not.
    """
    old, new = compared(repo, revisions)
    loaded = [load(side) for side in (old, new)]
    problems: list[DvliteError] = [error for pipeline in loaded for error in pipeline.broken]
    declared = _declared(stage for pipeline in loaded for stage in (*pipeline.stages, *pipeline.loose))
    rows: list[ParamDifference] = []
    absent: list[str] = []
    for file in sorted(chosen(repo, paths, sorted(declared), "file of parameters")):
        try:
            before, after = (_values(side, file, declared[file]) for side in (old, new))
        except DvliteError as error:
            problems.append(error)
            continue
        rows += [_difference(file, key, before, after) for key in dict.fromkeys([*after, *before])]
        keys = sorted(declared[file] or ())
        absent += [f"{file}:{key}" for key in keys if not any(_covers(key, name) for name in (*before, *after))]
    warnings = tuple(dict.fromkeys(error.message for error in problems))
    return ParamsDiffResult(
        old=old.name, new=new.name, params=tuple(rows), absent=tuple(absent), unread=len(warnings), warnings=warnings
    )


def _covers(key: str, name: str) -> bool:
    return name == key or name.startswith(f"{key}.")


def _declared(stages: Iterable[Stage]) -> Declared:
    declared: dict[str, set[str] | None] = {}
    for stage in stages:
        for place in stage.params:
            known = declared.setdefault(place.path, set())
            declared[place.path] = {*known, *place.spec.keys} if known is not None and place.spec.keys else None
    return declared


def _values(side: Revision, file: str, keys: set[str] | None) -> dict[str, Tree]:
    """Returns the declared values of one file by dotted key, flattened."""
    tree = values(side, file)
    if keys is None:
        return flatten(tree)
    declared: dict[str, Tree] = {}
    for key in sorted(keys):
        value = find(tree, key)
        if isinstance(value, dict) and value:
            declared |= {f"{key}.{inner}": item for inner, item in flatten(value).items()}
        elif value is not ABSENT:
            declared[key] = value
    return declared


def _difference(file: str, key: str, before: Mapping[str, Tree], after: Mapping[str, Tree]) -> ParamDifference:
    old, new = before.get(key), after.get(key)
    if key not in before:
        return ParamDifference(file=file, key=key, state="added", new=new)
    if key not in after:
        return ParamDifference(file=file, key=key, state="removed", old=old)
    # by repr: 1, 1.0 and true are equal in Python, and not the same parameter
    return ParamDifference(file=file, key=key, state="equal" if repr(old) == repr(new) else "changed", old=old, new=new)
