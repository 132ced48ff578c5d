"""What stages are called across a repository, and which of them a word means in a folder. Knows no pipeline file and no run."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Callable, Collection

from dvlite.errors import UsageError
from dvlite.git.output import is_lockfile, is_pipeline_file
from dvlite.show import quote, word

GLOB = frozenset("*?[")  # no name of a stage has them

Relative = Callable[[str], str]  # from a path given by the user to one relative to the root; '.' is the current folder


def address(file: str, stage: str) -> str:
    """Returns the address of a stage: `train`, or `ml:train` for one of a pipeline file (or its lockfile) in a folder.

    Imported runs have a program in place of a file: `mlflow:birds`.
    """
    folder = posixpath.dirname(file) if is_pipeline_file(file) or is_lockfile(file) else file
    return f"{folder}:{stage}" if folder else stage


def stages_named(text: str, known: Collection[str], relative: Relative) -> list[str]:
    """Returns which of the `known` addresses `NAME`, `FOLDER:NAME` or `FOLDER/dvlite.yaml:NAME`, or a glob of names, means.

    The name of a template means all its instances (`train@...`). Without a folder, those of the current folder come first, then those at
    the root, then a name that stands in one other folder. Raises UsageError if it stands in several.
    """
    above, colon, name = text.rpartition(":")
    if colon and text in known:
        return [text]
    above = posixpath.dirname(above) if is_pipeline_file(above) else above
    folders = [relative(above or ".")] if colon else [relative("."), ""]
    alike = [each for each in known if name in (called := _parts(each)[1], template_of(called))]
    is_glob = not alike and not GLOB.isdisjoint(name)
    if is_glob:
        alike = [each for each in known if fnmatch.fnmatchcase(_parts(each)[1], name)]
    for folder in folders:
        if in_folder := [each for each in alike if _parts(each)[0] == folder]:
            return in_folder
    folders = list(dict.fromkeys(_parts(each)[0] for each in alike))
    if len(folders) > 1 and not is_glob and not colon:
        names = ", ".join(word(f"{folder}:{name}") for folder in folders)
        raise UsageError(f"{quote(text)} is a stage of several pipeline files", hint=f"one of: {names}")
    return [] if colon else alike


def is_called(called: str, text: str) -> bool:
    """Returns whether a word means a stage by its address or name, that of its template, or a glob; a name without a folder, in any."""
    folder, name = _parts(called)
    above, colon, wanted = text.rpartition(":")
    return (not colon or above == folder) and (wanted == template_of(name) or fnmatch.fnmatchcase(name, wanted))


def template_of(name: str) -> str:
    """Returns the name of the template that an instance was made from; of any other stage, its own."""
    return name.partition("@")[0]


def metrics_file(file: str, stage: str, path: str) -> str:
    """Returns what a metrics file of a stage is called in the keys of metrics: relative to the pipeline file, with `*` for the name of an instance.

    So the instances of a template have the same metrics: `train@lr0.1` has `models/*/metrics.json:acc` of its `models/lr0.1/metrics.json`.
    """
    local = posixpath.relpath(path, posixpath.dirname(file) or ".")
    instance = stage.partition("@")[2]
    return local.replace(instance, "*") if instance else local


def _parts(called: str) -> tuple[str, str]:
    """Returns the folder of the pipeline file and the name, of an address."""
    folder, _, name = called.rpartition(":")
    return folder, name
