"""Which files of a map stage's run belong together: what an output was made from, what was made from an input.

From the run's record and the listings that it names: nothing is stored for it. Knows no clone.
"""

from __future__ import annotations

from collections.abc import Collection

from dvlite.formats.manifest import ReadNode
from dvlite.formats.record import Input, Run
from dvlite.paths import ancestors, is_inside
from dvlite.pipeline.datums import Datums, MapShape, listings_of_run, shape_of_run


class DatumLinks:
    """The datums of one run. All methods raise what `read` raises, for listings that are missing."""

    def __init__(self, run: Run, shape: MapShape, datums: Datums) -> None:
        self._shape, self._datums = shape, datums
        self._rows = {item.path: item for item in run.inputs}
        self._patterns = frozenset(over.glob for over in shape.over)

    @property
    def patterns(self) -> Collection[str]:
        """The paths of the inputs that stand for all that the stage goes over."""
        return self._patterns

    def reading(self, paths: Collection[str]) -> tuple[str, ...]:
        """Returns the names of the datums that read any of these files or folders."""
        names: dict[str, None] = {}
        for number, over in enumerate(self._shape.over):
            start = f"{over.fixed}/" if over.fixed else ""
            for path in sorted(paths):
                name = self._datums.key_of(number, path[len(start) :]) if path.startswith(start) else None
                if name is not None:
                    names[name] = None
        return tuple(names)

    def making(self, paths: Collection[str]) -> tuple[str, ...]:
        """Returns the names of the datums that wrote any of these files, or files in these folders. A walk over all datums."""
        wanted = frozenset(paths)
        around = wanted.union(*(ancestors(path) for path in wanted))
        return tuple(
            name
            for name in self._datums.all_keys()
            if any(out in around or not wanted.isdisjoint(ancestors(out)) for out in self._datums.outs(name))
        )

    def inputs(self, names: Collection[str]) -> list[Input]:
        """Returns what these datums read of what their stage goes over."""
        found = []
        for file in (file for unit in self._datums.units(names) for file in unit.inputs):
            row = next(
                (row for path, row in self._rows.items() if path in self._patterns and self._holds(path, file.path)),
                None,
            )
            inside = None if row is None else row.inside
            inside_oid = None if row is None else row.inside_oid
            found.append(
                Input(
                    path=file.path,
                    oid=file.oid,
                    size_bytes=file.size_bytes,
                    files=file.files,
                    inside=inside,
                    inside_oid=inside_oid,
                )
            )
        return found

    def _holds(self, pattern: str, path: str) -> bool:
        return any(over.glob == pattern and is_inside(path, over.fixed) for over in self._shape.over)

    def outputs(self, names: Collection[str]) -> list[str]:
        """Returns the paths of what these datums wrote."""
        return [path for name in names for path in self._datums.outs(name)]


def datums_of_run(run: Run, read: ReadNode) -> DatumLinks | None:
    """Returns the datums of the run of a map stage; None if its record does not say enough."""
    try:
        shape = shape_of_run(run)
    except ValueError:  # records come from anyone
        return None
    listings = listings_of_run(shape, run.inputs)
    return None if listings is None else DatumLinks(run, shape, Datums(shape, listings, read))
