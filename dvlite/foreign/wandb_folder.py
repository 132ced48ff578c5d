"""Runs of W&B: the folders that its client writes on disk, `wandb/offline-run-*` and `wandb/run-*`, each with a file `run-ID.wandb`.

The client itself is not needed. Older ones have the machine and the program in `files/wandb-metadata.json`.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.foreign.curves import Curves
from dvlite.foreign.foreign_run import MOST_ARTIFACTS, ForeignRun, milliseconds, text_of
from dvlite.foreign.opened import ODD, files_below, odd, open_file, read_json
from dvlite.formats import wandb_log
from dvlite.formats.record import ImportedArtifact, Status
from dvlite.formats.strict_yaml import Scalar, Tree
from dvlite.formats.wandb_log import WandbArtifactFile, WandbRun
from dvlite.show import quote

_OWN = "_"  # the names of W&B's own values begin so
_FOLDER = re.compile(r"(?:offline-)?run-(.+)")
_TIME = ("_timestamp",)
_MOST_DEEP = 40
_LONGEST_TEXT = 1000  # of a metric that is text


def read_runs(place: Path, shown: str) -> Iterator[ForeignRun | DvliteError]:
    """Yields the runs below a folder, or that of one file; an error for a file that cannot be read. Raises UsageError where there is none."""
    found = files_below(place, ".wandb") if place.is_dir() else iter([place])
    first = next(found, None)
    if first is None:
        raise UsageError(f"{quote(shown)} has no run of W&B", hint="name a folder with wandb/offline-run-... in it")
    for file in itertools.chain([first], found):
        try:
            yield _run(file)
        except FormatError as error:
            yield FormatError(f"cannot read {quote(str(file))}: {error.message}")
        except DvliteError as error:
            yield error
        except ODD:
            yield odd(quote(str(file)))


def _run(path: Path) -> ForeignRun:
    run, curves = WandbRun(), Curves()
    with open_file(path) as file:
        for number, (step, row) in enumerate(wandb_log.read(file, run)):
            time = row.get(_TIME)
            moment = float(time) if isinstance(time, int | float) else None
            for keys, value in row.items():
                for name, number_of in _numbers(".".join(keys), value):
                    curves.add(name, number if step is None else step, number_of, moment)
    if not run.id:
        raise FormatError("it names no run")
    machine = {**read_json(path.parent / "files" / "wandb-metadata.json"), **run.machine}
    about_git = machine.get("git")
    git = about_git if isinstance(about_git, dict) else {}
    start_ms = milliseconds(run.start)
    series = curves.series()
    url = f"https://wandb.ai/{run.entity}/{run.project}/runs/{run.id}" if run.entity and run.project else ""
    last = [one.times[-1] for one in series.values() if one.times]
    end_ms = start_ms + run.runtime * 1000 if run.runtime is not None else milliseconds(max(last)) if last else None
    return ForeignRun(
        id=_id(path, run),
        group=run.project,
        status=_status(run.exit_code),
        name=run.name,
        url=url,
        start_ms=start_ms,
        end_ms=end_ms,
        exit_code=run.exit_code,
        user=text_of(machine.get("email") or machine.get("username")),
        host=run.host or text_of(machine.get("host")),
        command=_command(machine),
        params=dict(_nested(run.config)),
        metrics=dict(_summary(run.summary)),
        series=series,
        tags=dict.fromkeys(run.tags, ""),
        notes=(run.notes,),
        environment=dict(_environment(run, machine)),
        repository=run.git_url or text_of(git.get("remote")),
        commit=run.git_commit or text_of(git.get("commit")),
        artifacts=tuple(map(_artifact, run.artifacts[:MOST_ARTIFACTS])),
        is_thinned=curves.is_thinned,
        problems=(*run.problems, *curves.problems),
    )


def _id(path: Path, run: WandbRun) -> str:
    """Returns what names one execution: the folder is called by its start and the id, which a run that is resumed has again."""
    folder = _FOLDER.fullmatch(path.parent.name)
    return folder[1] if folder and folder[1].endswith(f"-{run.id}") else run.id


def _status(exit_code: int | None) -> Status:
    """A run that did not end in order, or not yet, was stopped as far as is known."""
    return "canceled" if exit_code is None else "failed" if exit_code else "ok"


def _numbers(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yields the numbers of a row of the history; pictures, tables and histograms are objects with a `_type`."""
    if name.startswith(_OWN):
        return
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name, _float(value)
    elif isinstance(value, dict) and "_type" not in value and depth < _MOST_DEEP:
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}", inner, depth + 1)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _nested(values: Mapping[tuple[str, ...], Any]) -> Iterator[tuple[str, Tree]]:
    for keys, value in values.items():
        yield from _leaves(".".join(keys), value, 0)


def _leaves(name: str, value: Any, depth: int) -> Iterator[tuple[str, Tree]]:
    if name.startswith(_OWN) or (isinstance(value, dict) and "_type" in value):
        return
    if isinstance(value, dict) and value and depth < _MOST_DEEP:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner, depth + 1)
    else:
        yield name, value


def _summary(values: Mapping[tuple[str, ...], Any]) -> Iterator[tuple[str, Scalar]]:
    """Yields numbers, truth values and short texts of a summary, which may be better than the last of the history."""
    for name, value in _nested(values):
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _LONGEST_TEXT):
            yield name, value


def _command(machine: Mapping[str, Any]) -> str:
    words = machine.get("args")
    arguments = words if isinstance(words, list) else []
    return " ".join([text_of(machine.get("codePath") or machine.get("program")), *map(str, arguments)]).strip()


def _environment(run: WandbRun, machine: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    facts = {
        "group": run.group,
        "job_type": run.job_type,
        "sweep": run.sweep,
        "python": machine.get("python"),
        "platform": machine.get("os"),
        "gpu": machine.get("gpu"),
    }
    yield from ((key, value) for key, value in facts.items() if isinstance(value, str) and value)


def _artifact(item: WandbArtifactFile) -> ImportedArtifact:
    """Returns a file of an artifact; its digest is known to be an MD5 where it has the length of one."""
    try:
        md5 = base64.b64decode(item.digest, validate=True).hex()
    except (binascii.Error, ValueError):
        md5 = ""
    return ImportedArtifact(
        path=item.path,
        size_bytes=item.size_bytes,
        digest=f"md5:{md5}" if len(md5) == 32 and not item.ref else "",
        url=item.ref,
    )
