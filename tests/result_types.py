"""Every result type of the package, found by walking its modules: a new verb is in the tests without being listed."""

import importlib
import pkgutil
import re
from dataclasses import fields, is_dataclass

import dvlite


def dataclasses_of_the_package() -> dict[str, type]:
    """Returns every dataclass by its full name, in a stable order."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(dvlite.__path__, "dvlite."):
        if module.name != "dvlite.__main__":
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and is_dataclass(value):
                    found[f"{value.__module__}.{value.__qualname__}"] = value
    return dict(sorted(found.items()))


def results() -> list[type]:
    """Returns what verbs return: the dataclasses with a `schema` of their own."""
    return [found for found in dataclasses_of_the_package().values() if "schema" in vars(found)]


def results_and_rows() -> list[type]:
    """Returns the results and all dataclasses that their fields hold, at any depth: what `--json` can print."""
    by_name = {found.__name__: found for found in dataclasses_of_the_package().values()}
    reached = list(results())
    for found in reached:
        for field in fields(found):
            if not field.metadata.get("json", True):
                continue
            inner = [by_name[name] for name in re.findall(r"\w+", str(field.type)) if name in by_name]
            reached += [kind for kind in inner if kind not in reached]
    return reached


def json_names(cls: type) -> list[str]:
    """Returns the names that `--json` prints for a dataclass: those of an inlined field stand in its place."""
    inlined = {kind.__name__: kind for kind in dataclasses_of_the_package().values() if hasattr(kind, "INLINE")}
    return [
        name
        for field in fields(cls)
        if field.metadata.get("json", True)
        for name in (json_names(inlined[str(field.type)]) if str(field.type) in inlined else [field.name])
    ]
