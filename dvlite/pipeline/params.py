"""The parameters of stages, as their files have them now."""

from __future__ import annotations

from collections.abc import Callable

from dvlite.files import quote
from dvlite.formats import parameters
from dvlite.formats.strict_yaml import Tree
from dvlite.pipeline.stages import Stage, StageParams
from dvlite.repo.repository import Repo


class Params:
    """Reads files of parameters, each once; with `read` (path -> bytes, None for nothing) from elsewhere than the work tree."""

    def __init__(self, repo: Repo, read: Callable[[str], bytes | None] | None = None) -> None:
        self._read = read or repo.work_tree.read
        self._files: dict[str, Tree] = {}

    def forget(self) -> None:
        """Reads the files again when asked next."""
        self._files.clear()

    def values(self, stage: Stage, *, awaited: Callable[[str], bool] = lambda _: False) -> dict[str, Tree]:
        """Returns `file:dotted.key` -> value of a stage, a mapping flattened; what `awaited` files, still to be made, lack is left out.

        Raises FormatError, with file and line of the pipeline, for a file or key that is not there.
        """
        found: dict[str, Tree] = {}
        for place in stage.params:
            tree = self._tree(stage, place, awaited=awaited(place.path))
            if tree is None:
                continue
            for key in place.spec.keys:
                value = parameters.find(tree, key)
                if value is parameters.ABSENT and awaited(place.path):
                    continue
                if value is parameters.ABSENT:
                    raise stage.wrong(
                        place.line,
                        f"the parameter {quote(key)} is not in {quote(place.path)}",
                        hint=f"add it to {place.path}, or correct its name",
                    )
                found |= _named(f"{place.name}:{key}", value)
            if not place.spec.keys:
                flat = parameters.flatten(tree) if isinstance(tree, dict) else {"": tree}
                found |= {f"{place.name}:{key}": value for key, value in flat.items()}
        return found

    def _tree(self, stage: Stage, place: StageParams, *, awaited: bool) -> Tree:
        if place.path not in self._files:
            data = self._read(place.path)
            if data is None:
                if awaited:
                    return None
                raise stage.wrong(
                    place.line,
                    f"the file of parameters {quote(place.path)} does not exist",
                    hint="make it, or correct its name",
                )
            self._files[place.path] = parameters.load(data, place.path)
        return self._files[place.path]


def _named(name: str, value: Tree) -> dict[str, Tree]:
    if isinstance(value, dict) and value:
        return {f"{name}.{inner}": each for inner, each in parameters.flatten(value).items()}
    return {name: value}
