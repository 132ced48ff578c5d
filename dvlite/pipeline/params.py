"""The parameters of stages, as their files have them now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from dvlite.errors import DvliteError
from dvlite.formats import parameters
from dvlite.formats.strict_yaml import Tree
from dvlite.pipeline.stages import Stage, StageParams
from dvlite.show import quote


class Params:
    """Reads files of parameters, each once; `read`: path -> bytes, None for nothing."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._files: dict[str, Tree] = {}

    def forget(self) -> None:
        """Reads the files again when asked next."""
        self._files.clear()

    def values(
        self, stage: Stage, *, awaited: Callable[[str], bool] = lambda _: False
    ) -> Iterator[tuple[StageParams, Mapping[str, Tree] | DvliteError]]:
        """Yields each parameter that a stage declares, as `file:dotted.key` -> value, a mapping flattened; or why it is not known.

        What `awaited` files, still to be made, lack is left out. A file that cannot be read is one error for all of its parameters.
        """
        for place in stage.params:
            try:
                tree = self._tree(stage, place, awaited=awaited(place.path))
            except DvliteError as error:
                yield place, error
                continue
            if tree is None:
                continue
            if not place.spec.keys:
                flat = parameters.flatten(tree) if isinstance(tree, dict) else {"": tree}
                yield place, {f"{place.name}:{key}": value for key, value in flat.items()}
            for key in place.spec.keys:
                one = replace(place, spec=replace(place.spec, keys=(key,)))
                value = parameters.find(tree, key)
                if value is not parameters.ABSENT:
                    yield one, _named(f"{place.name}:{key}", value)
                elif not awaited(place.path):
                    hint = f"add it to {place.path}, or correct its name"
                    reason = f"the parameter {quote(key)} is not in {quote(place.path)}"
                    yield one, stage.wrong(place.line, reason, hint=hint)

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
